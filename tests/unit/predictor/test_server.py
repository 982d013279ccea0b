"""The predictor as a process, over its loopback port."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from mandate.controller.progress import UNLOADABLE
from mandate.evaluate.frame import read_termination
from mandate.predictor.model import load
from mandate.predictor.server import cpu_limit
from tests.models import columns_model, predictor
from tests.processes import OPERATOR

GOOD = [
    {"name": "amount", "datatype": "FP32", "shape": [2, 1], "data": [0.5, None]},
    {"name": "age", "datatype": "INT64", "shape": [2], "data": [30, 40]},
    {"name": "purpose", "datatype": "BYTES", "shape": [2, 1], "data": ["car", "ü"]},
]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.onnx").write_bytes(columns_model())
    return folder


@pytest.fixture(scope="module")
def server(model_dir):
    with predictor(model_dir, "--version", "7") as (url, process):
        yield url, process


def call(url, document=None):
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read() or "{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or "{}")


def test_it_is_ready_and_says_what_it_serves(server):
    url, _ = server
    assert call(f"{url}/v2/health/live")[0] == 200
    assert call(f"{url}/v2/models/model/ready")[0] == 200
    status, metadata = call(f"{url}/v2/models/model")
    assert status == 200
    assert metadata["versions"] == ["7"]
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"]] == [
        ("amount", "FP32", [-1, 1]),
        ("age", "INT64", [-1, 1]),
        ("purpose", "BYTES", [-1, 1]),
    ]


def test_it_answers_as_the_model_does_in_process(server, model_dir):
    url, _ = server
    status, answer = call(f"{url}/v2/models/model/infer", {"inputs": GOOD})
    assert status == 200
    assert answer["model_version"] == "7"
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["probabilities"]["shape"] == [2, 2]
    expected = load(model_dir / "model.onnx").run(
        {
            "amount": np.array([[0.5], [np.nan]], np.float32),
            "age": np.array([[30], [40]]),
            "purpose": np.array([["car"], ["ü"]], dtype=object),
        }
    )
    found = np.array(outputs["probabilities"]["data"], np.float32).reshape(2, 2)
    assert found.tobytes() == expected["probabilities"].tobytes()
    assert outputs["label"]["data"] == expected["label"].tolist()


def test_only_the_wanted_output_is_answered(server):
    url, _ = server
    _, answer = call(f"{url}/v2/models/model/infer", {"inputs": GOOD, "outputs": [{"name": "label"}]})
    assert [output["name"] for output in answer["outputs"]] == ["label"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inputs: inputs[:2], "input 'purpose': missing"),
        (lambda inputs: [*inputs, inputs[0]], "input 'amount': given twice"),
        (lambda inputs: [*inputs, {**inputs[0], "name": "sex"}], "input 'sex': unknown; the model takes amount"),
        (lambda inputs: [{**inputs[0], "datatype": "FP64"}, *inputs[1:]], "input 'amount': expected datatype FP32"),
        (lambda inputs: [{**inputs[0], "shape": [3, 1]}, *inputs[1:]], "input 'amount': shape [3, 1] holds 3 values"),
        (lambda inputs: [inputs[0], {**inputs[1], "data": [1, None]}, inputs[2]], "input 'age': value 1 is null"),
    ],
)
def test_a_wrong_request_is_a_400_that_names_the_column(server, change, message):
    url, _ = server
    status, answer = call(f"{url}/v2/models/model/infer", {"inputs": change(GOOD)})
    assert status == 400
    assert message in answer["error"]


def test_an_unknown_output_is_a_400(server):
    url, _ = server
    status, answer = call(f"{url}/v2/models/model/infer", {"inputs": GOOD, "outputs": [{"name": "score"}]})
    assert (status, answer["error"]) == (400, "output 'score': unknown; the model answers probabilities, label")


@pytest.mark.parametrize(
    ("header", "document", "expected"),
    [
        ("from-gateway", {"id": "oip", "inputs": GOOD}, "from-gateway"),
        (None, {"id": "oip", "inputs": GOOD}, "oip"),
        ("from-gateway", {"inputs": GOOD[:1]}, "from-gateway"),
        ("from-gateway", {"no": "request"}, "from-gateway"),
    ],
)
def test_the_request_id_comes_back(server, header, document, expected):
    url, _ = server
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"X-Request-Id": header})
    request = urllib.request.Request(f"{url}/v2/models/model/infer", json.dumps(document).encode(), headers)
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        assert response.headers.get_all("x-request-id") == [expected]
        assert (response.status == 200) == (document.get("inputs") == GOOD)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--positive", "bad", "--record", "http://recorder:8080"), 2, "--namespace is needed with --record"),
        (("--record", "http://recorder:8080"), 2, "a Probability needs a positive class"),
        (("--positive", "bad", "--record", "recorder:8080"), 2, "--record: expected a URL"),
        (("--positive", "bad", "--record", "http://recorder:8080", "--output", "score"), 2, "UnknownOutput: --output"),
    ],
)
def test_what_it_cannot_record_it_does_not_serve(model_dir, arguments, code, message):
    named = {"MANDATE_NAMESPACE": "lending", "MANDATE_MODEL_DEPLOYMENT": "credit", "MANDATE_REVISION": "r1"}
    environment = {**os.environ, "PYTHONPATH": str(OPERATOR), **(named if "--namespace" not in message else {})}
    command = [sys.executable, "-m", "mandate.predictor", "--model-dir", str(model_dir), *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == code
    assert message in ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/model/load",
        "/v2/repository/models/model/unload",
        "/v2/repository/index",
        "/v2/models/model/infer_stream",
        "/v2/docs",
        "/docs",
        "/openapi.json",
        "/metrics",
    ],
)
def test_nothing_else_is_offered(server, path):
    url, _ = server
    assert call(url + path, {})[0] == 404
    assert call(f"{url}/v2/models/model/ready")[0] == 200


def test_an_idle_connection_stays_open(server):
    """A gateway sends on connections that were idle; one that the server closes just then costs a request."""
    url, _ = server
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/v2/health/ready")
    connection.getresponse().read()
    before = connection.sock
    time.sleep(6)  # Uvicorn's own limit is 5
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().status == 200
    assert connection.sock is before, "it was closed, and opened anew"
    connection.close()


def test_it_listens_on_one_port_and_has_one_process(server):
    url, process = server
    own = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in own
    ]
    assert [int(row[1].split(":")[1], 16) for row in listening] == [int(url.rsplit(":", 1)[1])]
    assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""


def test_settings_in_the_environment_change_nothing_and_sigterm_ends_it_with_0(model_dir):
    environment = {"MLSERVER_DEBUG": "true", "MLSERVER_PARALLEL_WORKERS": "2", "MLSERVER_METRICS_ENDPOINT": "/metrics"}
    with predictor(model_dir, **environment) as (url, process):
        assert call(f"{url}/metrics")[0] == 404
        assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "NotFound: "),
        (b"\x80\x04K\x01.", (), "Unreadable: "),
        (columns_model(), ("--digest", "sha256:" + "1" * 64), "DigestMismatch: "),
    ],
)
def test_what_it_cannot_load_it_does_not_serve(tmp_path, content, arguments, message):
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    log = tmp_path / "ended"
    command = [sys.executable, "-m", "mandate.predictor", "--model-dir", str(tmp_path), *arguments]
    command += ["--termination-log", str(log)]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(OPERATOR)}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith(message)
    failure = read_termination(log.read_text("utf-8")).failure
    assert ended.stderr.strip().splitlines()[-1] == f"{failure.code}: {failure.message}"
    assert failure.code in UNLOADABLE


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
        ({"cpu.max": "garbage"}, None),
    ],
)
def test_threads_follow_the_cpu_limit(tmp_path, files, expected):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    allowed = len(os.sched_getaffinity(0))
    assert cpu_limit(tmp_path) == (allowed if expected is None else min(expected, allowed))


def test_it_imports_nothing_else_of_ours():
    code = "import sys, mandate.predictor.server; print(sorted(m for m in sys.modules if m.startswith('mandate.')))"
    found = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(OPERATOR)}, capture_output=True, text=True
    )
    assert "mandate.predictor.server" in found.stdout
    assert all(name.startswith("mandate.predictor") for name in eval(found.stdout))


def test_it_says_what_it_uses(server):
    url, process = server
    status, said = call(f"{url}/mandate/usage")
    assert status == 200
    assert 0.1 < said["cold"] < 120
    with open(f"/proc/{process.pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    assert 0.5 * peak * 1024 < said["process"]["memory"] <= peak * 1024
    assert said["process"]["cpu"] > 0.1
    for _ in range(20):
        call(f"{url}/v2/models/model/infer", {"inputs": GOOD})
    assert call(f"{url}/mandate/usage")[1]["process"]["cpu"] > said["process"]["cpu"]


def test_what_it_uses_is_for_its_own_pod_only(server):
    """The server believes a proxy on its own address who it asks for: whoever comes from elsewhere finds nothing."""
    url, _ = server
    request = urllib.request.Request(f"{url}/mandate/usage", headers={"X-Forwarded-For": "203.0.113.7"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value:
        assert refused.value.code == 404
