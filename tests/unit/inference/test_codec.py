"""Requests and answers survive their journey, in JSON and in binary; garbage is MalformedAnswer."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from mandate.inference.codec import Body, decode_response, encode_request
from mandate.inference.errors import InferenceError
from mandate.predictor.datatypes import DTYPES, Tensor
from mandate.predictor.raw import HEADER_LENGTH
from mandate.predictor.tensors import decode

shapes = st.tuples(st.integers(1, 4), st.integers(1, 3))
words = st.text(max_size=6)


@st.composite
def tensors(draw):
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    if datatype == "BYTES":
        return datatype, draw(hnp.arrays(object, shapes, elements=words))
    options = {"allow_infinity": False} if datatype.startswith("FP") else {}
    dtype = DTYPES[datatype]
    return datatype, draw(hnp.arrays(dtype, shapes, elements=hnp.from_dtype(dtype, **options)))


def same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@given(st.dictionaries(words, tensors(), min_size=1, max_size=3))
def test_the_predictor_reads_what_the_client_writes(named):
    arrays = {name: array for name, (_, array) in named.items()}
    datatypes = {name: datatype for name, (datatype, _) in named.items()}
    body = encode_request(arrays, datatypes=datatypes, outputs=["y"], binary=False)
    document = json.loads(body.data)
    assert document["outputs"] == [{"name": "y"}]
    for item in document["inputs"]:
        array = arrays[item["name"]]
        tensor = Tensor(item["name"], datatypes[item["name"]], (-1, array.shape[1]))
        same(decode(tensor, datatype=item["datatype"], shape=item["shape"], data=item["data"]), array)


@given(st.dictionaries(words, tensors(), min_size=1, max_size=3))
def test_binary_requests_are_what_triton_defines(named):
    arrays = {name: array for name, (_, array) in named.items()}
    datatypes = {name: datatype for name, (datatype, _) in named.items()}
    body = encode_request(arrays, datatypes=datatypes, outputs=["y"], binary=True)
    end = int(body.headers[HEADER_LENGTH])
    document = json.loads(body.data[:end])
    assert document["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]
    for item in document["inputs"]:
        size = item["parameters"]["binary_data_size"]
        raw, end = body.data[end : end + size], end + size
        array = arrays[item["name"]]
        if item["datatype"] == "BYTES":
            found = [value.decode() for value in deserialize_bytes_tensor(raw)]
            assert found == array.ravel().tolist()
        else:
            same(np.frombuffer(raw, array.dtype).reshape(item["shape"]), array)
    assert end == len(body.data)


def response(arrays, *, binary):
    """A server's answer, written independently of the client's own encoder."""
    outputs, blobs = [], []
    for name, (datatype, array) in arrays.items():
        output = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if binary:
            blob = array.tobytes()
            if datatype == "BYTES":
                packed = serialize_byte_tensor(np.vectorize(str.encode, otypes=[object])(array))
                blob = packed.item() if packed.size else b""
            output["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            values = array.ravel().tolist()
            output["data"] = [None if isinstance(v, float) and math.isnan(v) else v for v in values]
        outputs.append(output)
    header = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    return Body(b"".join([header, *blobs]), {HEADER_LENGTH.lower(): str(len(header))} if binary else {})


@given(st.dictionaries(words, tensors(), min_size=1, max_size=3), st.booleans())
def test_answers_are_read_as_they_were_meant(arrays, binary):
    found = decode_response(response(arrays, binary=binary), outputs=list(arrays))
    assert found.keys() == arrays.keys()
    for name, (datatype, array) in arrays.items():
        assert found[name][0] == datatype
        same(found[name][1], array)


@given(st.binary(max_size=60) | words.map(str.encode), st.none() | words | st.integers(-5, 99).map(str))
def test_garbage_is_malformed(data, length):
    headers = {} if length is None else {HEADER_LENGTH: length}
    with pytest.raises(InferenceError) as caught:
        decode_response(Body(data, headers), outputs=["y"])
    assert caught.value.code == "MalformedAnswer"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"name": st.just("y") | values, "datatype": st.sampled_from([*DTYPES, "X"]) | values},
        optional={"shape": st.lists(st.integers(-2, 3), max_size=3) | values, "data": values, "parameters": values},
    )
)
@example({"name": None, "datatype": "FP16", "shape": [], "data": None})
def test_any_json_is_an_answer_or_malformed(output):
    body = Body(json.dumps({"outputs": [output]}).encode(), {})
    code = "Read"
    try:
        decode_response(body, outputs=["y"])
    except InferenceError as error:
        code = error.code
    assert code in ("Read", "MalformedAnswer", "UnknownOutput")


def test_a_missing_output_names_those_that_came():
    array = np.ones((1, 1), np.float32)
    with pytest.raises(InferenceError, match="holds the outputs label, expected 'probabilities'") as caught:
        decode_response(response({"label": ("FP32", array)}, binary=False), outputs=["probabilities"])
    assert caught.value.code == "UnknownOutput"


@pytest.mark.parametrize("cut", [1, 3, 4, 5])
def test_cut_binary_answers_are_malformed(cut):
    whole = response({"y": ("BYTES", np.array([["abc"]], dtype=object))}, binary=True)
    with pytest.raises(InferenceError, match="isn't Open Inference Protocol"):
        decode_response(Body(whole.data[:-cut], whole.headers), outputs=["y"])
