"""Loading takes one self-contained ONNX file with the digest that was asked for, and nothing else."""

import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mandate.predictor.datatypes import Tensor
from mandate.predictor.errors import ModelError
from mandate.predictor.model import load
from tests.models import columns_model, matrix_model, nan_model
from tests.processes import OPERATOR


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def refusal(path, **options):
    with pytest.raises(ModelError) as caught:
        load(path, **options)
    return caught.value.code, str(caught.value)


def test_it_knows_its_inputs_outputs_and_digest(path):
    path.write_bytes(columns_model())
    model = load(path)
    assert model.digest == "sha256:" + hashlib.sha256(columns_model()).hexdigest()
    assert model.inputs == {
        "amount": Tensor("amount", "FP32", (-1, 1)),
        "age": Tensor("age", "INT64", (-1, 1)),
        "purpose": Tensor("purpose", "BYTES", (-1, 1)),
    }
    assert list(model.outputs) == ["probabilities", "label"]


def test_it_computes_what_the_model_says(path):
    path.write_bytes(columns_model(weight=2))
    inputs = {
        "amount": np.array([[0.5], [np.nan]], np.float32),
        "age": np.array([[30], [0]]),
        "purpose": np.array([["car"], ["tv"]], dtype=object),
    }
    found = load(path).run(inputs)
    logits = np.array([2 * 0.5 + 0.3 + 1, 0.0])
    np.testing.assert_allclose(found["probabilities"][:, 1], 1 / (1 + np.exp(-logits)), rtol=1e-6)
    assert found["label"].tolist() == [1, 0]
    assert list(load(path).run(inputs, ("label",))) == ["label"]


def test_the_wrong_file_is_not_loaded(path):
    path.write_bytes(columns_model())
    code, message = refusal(path, digest="sha256:" + "0" * 64)
    assert code == "DigestMismatch"
    assert "sha256:000" in message


def test_no_file(path):
    assert refusal(path)[0] == "NotFound"


class Bomb:
    def __reduce__(self):
        return (print, ("exploded",))


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(Bomb()), columns_model()[:200]])
def test_what_is_no_model_is_refused_unopened(path, content, capsys):
    path.write_bytes(content)
    assert refusal(path)[0] == "Unreadable"
    assert "exploded" not in capsys.readouterr().out


def test_weights_in_another_file_are_refused_since_no_digest_covers_them(path, monkeypatch):
    model = onnx.load_from_string(matrix_model(300))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(path.parent)  # where onnxruntime would look
    assert (path.parent / "weights.bin").exists()
    assert refusal(path)[0] == "Unreadable"


def test_a_failing_run_says_why(path):
    path.write_bytes(matrix_model(3))
    with pytest.raises(ModelError, match="refused its input") as caught:
        load(path).run({"input": np.zeros((1, 4), np.float32)})
    assert caught.value.code == "RunFailed"


def test_outputs_that_are_no_tensors_do_not_exist_for_clients(path):
    graph = helper.make_graph(
        [
            helper.make_node("ZipMap", ["p"], ["dictionaries"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
            helper.make_node("Identity", ["p"], ["probabilities"]),
        ],
        "zip",
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_value_info(
                "dictionaries",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
                    )
                ),
            ),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    model = load(path)
    assert list(model.outputs) == ["probabilities"]
    assert model.run({"p": np.ones((1, 2), np.float32)})["probabilities"].tolist() == [[1, 1]]


def test_not_a_number_comes_out_as_it_is(path):
    path.write_bytes(nan_model())
    found = load(path).run({"amount": np.array([[-1.0], [0.0]], np.float32)})["probabilities"]
    np.testing.assert_array_equal(found, np.array([[np.nan], [0.5]], np.float32))


def test_the_runtime_reports_nothing_to_its_maker(path):
    path.write_bytes(columns_model())

    def announced(code):
        """Where the runtime can't keep its telemetry's device id, telemetry that is on says so."""
        nowhere = {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
        environment = {**os.environ, **nowhere, "PYTHONPATH": str(OPERATOR)}
        for name in ("ORT_DISABLE_TELEMETRY", "CI"):  # either switches it off
            environment.pop(name, None)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return "telemetry" in done.stderr

    assert announced(f"import onnxruntime; onnxruntime.InferenceSession({str(path)!r})")
    assert not announced(
        f"from pathlib import Path; from mandate.predictor.model import load; load(Path({str(path)!r}))"
    )


@pytest.mark.row("R3/formats")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_by_name_and_not_loaded(path, tmp_path, protocol):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path.write_bytes(pickle.dumps(Trap(), protocol=protocol))
    code, words = refusal(path)
    assert code == "Unreadable"
    assert "a Python pickle" in words
    assert "export the model" in words
    assert not (tmp_path / "sprung").exists()


@pytest.mark.row("R3/formats")
@pytest.mark.parametrize(
    ("data", "name"), [(b"PK\x03\x04" + b"\0" * 60, "a ZIP"), (b"\x89HDF\r\n\x1a\n" + b"\0" * 60, "HDF5")]
)
def test_other_formats_are_refused_by_name(path, data, name):
    path.write_bytes(data)
    assert f"expected ONNX, got {name}" in refusal(path)[1]
