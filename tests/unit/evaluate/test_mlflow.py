"""An MLflow model's folder: which file is meant, and which folders are refused.

tests/data/mlflow holds MLmodel files as MLflow 3.17.2 wrote them (`mlflow.sklearn.save_model`, as skops and as
cloudpickle, and `mlflow.onnx.save_model`).
"""

import shutil
from pathlib import Path

import pytest

from mandate.evaluate.failures import EvaluationError
from mandate.evaluate.mlflow import model_in
from mandate.evaluate.model_file import fetch_model, file_of
from mandate.inference.errors import InferenceError
from mandate.sources import Place, Reader, SourceError

WRITTEN = Path(__file__).resolve().parents[2] / "data" / "mlflow"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    return made


def place(folder):
    return Place(uri=f"{folder}/")


def reader(folder):
    return Reader(mounts={}, base=folder.parent)


@pytest.mark.parametrize(("flavour", "file"), [("skops", "model.skops"), ("onnx", "model.onnx")])
def test_the_file_that_mlflow_wrote_is_found(folder, flavour, file):
    shutil.copy(WRITTEN / f"{flavour}.MLmodel", folder / "MLmodel")
    (folder / file).write_bytes(b"the model")
    into = folder.parent / "fetched"
    into.mkdir()
    digest = fetch_model(place(folder), format="MLflow", digest=None, reader=reader(folder), model_dir=into)
    assert (into / "model.onnx").read_bytes() == b"the model"
    assert digest.startswith("sha256:")
    with pytest.raises(EvaluationError, match="DigestMismatch"):
        fetch_model(place(folder), format="MLflow", digest="sha256:" + "0" * 64, reader=reader(folder), model_dir=into)


def test_other_formats_are_the_file_itself(folder):
    assert file_of(place(folder), format="ONNX", reader=reader(folder)) == place(folder)


def test_a_folder_without_an_mlmodel_is_refused(folder):
    with pytest.raises(SourceError):
        model_in(place(folder), reader=reader(folder))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ((WRITTEN / "cloudpickle.MLmodel").read_text(), "cloudpickle, which runs any code"),
        ("flavors: {pytorch: {model_data: data}}", "got pytorch"),
        ("flavors: {onnx: {data: ../../etc/passwd}}", "'../../etc/passwd'"),
        ("flavors: {onnx: {data: /etc/passwd}}", "expected one in its folder"),
        ("flavors: {sklearn: {serialization_format: skops}}", "with `flavors`"),
        ("flavors: [onnx]", "with `flavors`"),
        ("flavors: !!python/object/apply:os.getcwd []", "with `flavors`"),
        ("- nothing", "with `flavors`"),
        ("{", "with `flavors`"),
        ("", "with `flavors`"),
        ("x" * (1 << 21), "at most 1048576"),
    ],
)
def test_what_names_no_file_that_can_be_served_is_refused(folder, text, words):
    (folder / "MLmodel").write_text(text)
    with pytest.raises(InferenceError) as caught:
        model_in(place(folder), reader=reader(folder))
    assert caught.value.code == "Unreadable"
    assert words in str(caught.value)


def test_bytes_that_are_no_text_are_refused(folder):
    (folder / "MLmodel").write_bytes(b"\xff\xfe\x00flavors")
    with pytest.raises(InferenceError, match="isn't a description"):
        model_in(place(folder), reader=reader(folder))
