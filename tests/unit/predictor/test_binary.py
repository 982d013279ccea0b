"""Tensors as bytes behind the JSON: the same answers as in JSON, and errors that name what was wrong."""

import asyncio
import json
import struct
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.inference.codec import Body, decode_response, encode_request
from mandate.predictor.answering import Answering
from mandate.predictor.binary import Binary
from mandate.predictor.model import load
from mandate.predictor.raw import EXTENSION, HEADER_LENGTH, from_bytes, to_bytes
from mandate.predictor.recording import Exchanges
from tests.models import columns_model, predictor

ROWS = {
    "amount": np.array([[0.5], [np.nan]], np.float32),
    "age": np.array([[30], [40]]),
    "purpose": np.array([["car"], ["ü"]], dtype=object),
}
DATATYPES = {"amount": "FP32", "age": "INT64", "purpose": "BYTES"}
OUTPUTS = ("probabilities", "label")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(columns_model())
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with predictor(folder, "--version", "7") as (url, _):
        yield url


def post(url, body):
    request = urllib.request.Request(f"{url}/v2/models/model/infer", data=body.data, headers=dict(body.headers))
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, Body(response.read(), dict(response.headers))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_answers_are_those_in_json(server):
    with urllib.request.urlopen(f"{server}/v2", timeout=30) as response:
        assert json.load(response)["extensions"] == [EXTENSION]
    found = []
    for binary in (False, True):
        status, answer = post(server, encode_request(ROWS, datatypes=DATATYPES, outputs=OUTPUTS, binary=binary))
        assert status == 200
        assert (HEADER_LENGTH.lower() in {name.lower() for name in answer.headers}) == binary
        found.append(decode_response(answer, outputs=OUTPUTS))
    for name in OUTPUTS:
        (datatype, said), (other, same) = found[0][name], found[1][name]
        assert (datatype, said.tobytes()) == (other, same.tobytes())


def exchange(folder, header, blobs=b"", *, length=None, path="/v2/models/model/infer"):
    """Status, JSON or bytes, and what was recorded of one request to the application, without a server."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    sent, recorded, passed = [], [], []

    async def others(scope, receive, send):
        passed.append(scope["path"])
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive():
        return {"type": "http.request", "body": text + blobs, "more_body": False}

    async def send(message):
        sent.append(message)

    async def run():
        with ThreadPoolExecutor(1) as threads:
            answering = Answering(model=load(folder / "model.onnx"), recorded="probabilities")
            application = Binary(
                others,
                answering=answering,
                paths=["/v2/models/model/infer"],
                name="model",
                version="7",
                threads=threads,
            )
            said = str(len(text)) if length is None else length
            headers = [(HEADER_LENGTH.lower().encode(), said.encode())]
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
            await Exchanges(application, record=recorded.append, inputs=lambda: True)(scope, receive, send)

    asyncio.run(run())
    return sent[0]["status"], sent[1]["body"], recorded, passed


def good(**changes):
    body = encode_request(ROWS, datatypes=DATATYPES, outputs=OUTPUTS, binary=True)
    end = int(body.headers[HEADER_LENGTH])
    return json.loads(body.data[:end]) | changes, body.data[end:]


def test_what_is_recorded_is_the_answer_without_its_input(folder):
    header, blobs = good(id="q", outputs=[{"name": "label"}])
    status, text, (answered,), _ = exchange(folder, header, blobs)
    assert (status, answered.request_id, answered.rows, answered.input) == (200, "q", 2, None)
    document = json.loads(text)
    assert [output["name"] for output in document["outputs"]] == ["label"]
    assert (document["id"], document["model_name"], document["model_version"]) == ("q", "model", "7")
    expected = load(folder / "model.onnx").run(ROWS)
    assert answered.values.tobytes() == expected["probabilities"].tobytes()


def test_all_outputs_come_as_bytes_where_the_request_wants_it_so(folder):
    header, blobs = good(parameters={"binary_data_output": True})
    del header["outputs"]
    status, text, _, _ = exchange(folder, header, blobs)
    assert status == 200
    assert b'"binary_data_size":16' in text


def test_bytes_and_json_mix(folder):
    header, blobs = good()
    amount = header["inputs"][0]
    size = amount.pop("parameters")["binary_data_size"]
    amount["data"] = [0.5, None]
    status, _, (answered,), _ = exchange(folder, header, blobs[size:])
    assert status == 200
    assert answered.values.tobytes() == load(folder / "model.onnx").run(ROWS)["probabilities"].tobytes()


def test_other_models_are_not_ours(folder):
    header, blobs = good()
    status, _, _, passed = exchange(folder, header, blobs, path="/v2/models/other/infer")
    assert (status, passed) == (404, ["/v2/models/other/infer"])


def changed(place, **changes):
    header, blobs = good()
    header["inputs"][place] |= changes
    return header, blobs


HEADER, BLOBS = good()
REFUSED = {
    "no JSON": (b"x", b"", "the JSON isn't a request"),
    "a list": ([], b"", "the JSON isn't a request"),
    "no inputs": ({}, b"", "the JSON isn't a request"),
    "none at all": ({"inputs": []}, b"", "input 'amount': missing"),
    "too deep": (b"[" * 100_000, b"", "the JSON isn't a request"),
    "cut": (HEADER, BLOBS[:-1], "input 'purpose': binary_data_size is 13, 12 bytes are left"),
    "too long": (HEADER, BLOBS + b"x", "1 bytes more than the inputs announce"),
    "a size below zero": (*changed(0, parameters={"binary_data_size": -1}), "binary_data_size is -1"),
    "a size in words": (*changed(0, parameters={"binary_data_size": "8"}), "binary_data_size is 8"),
    "half a float": (*changed(0, parameters={"binary_data_size": 7}), "input 'amount': its bytes aren't FP32"),
    "another type": (*changed(0, datatype="FP64"), "input 'amount': expected datatype FP32, got FP64"),
    "another name": (*changed(0, name="sum"), "input 'sum': unknown"),
    "twice": (*changed(1, name="amount"), "input 'amount': given twice"),
    "another shape": (*changed(0, shape=[3, 1]), "shape [3, 1] holds 3 values"),
    "no rows": (*changed(0, shape=[0, 1]), "a shape of at least one row"),
    "a shape in words": (*changed(0, shape=["2", 1]), "expected a shape"),
    "neither": (*changed(0, parameters={}), "expected data"),
    "a broken string": (HEADER, BLOBS[:-2] + b"\xff\xff", "input 'purpose': its bytes aren't BYTES"),
    "a long string": (HEADER, BLOBS[:-13] + struct.pack("<I", 99) + BLOBS[-9:], "longer than the bytes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_request_is_a_400_that_names_the_column(folder, what):
    header, blobs, words = REFUSED[what]
    status, text, recorded, _ = exchange(folder, header, blobs)
    assert status == 400
    assert words in json.loads(text)["error"]
    assert all(answered.values is None for answered in recorded)


@pytest.mark.parametrize("length", ["", "-1", "0", "x", "99999", "1e3", "٣"])
def test_a_length_that_is_none_is_a_400(folder, length):
    header, blobs = good()
    status, text, _, _ = exchange(folder, header, blobs, length=length)
    assert status == 400
    assert HEADER_LENGTH in json.loads(text)["error"]


@given(st.lists(st.text(max_size=5), max_size=6))
def test_strings_survive_their_bytes(words):
    words = [word.encode("utf-8", "ignore").decode() for word in words]
    assert from_bytes("BYTES", to_bytes(np.array(words, dtype=object))).tolist() == words


def test_a_truth_value_is_0_or_1():
    assert from_bytes("BOOL", b"\x01\x00").tolist() == [True, False]
    with pytest.raises(ValueError, match="a truth value is 2"):
        from_bytes("BOOL", b"\x02")
