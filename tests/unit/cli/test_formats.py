"""A scikit-learn model and an MLflow folder are judged like any other file, in process and served."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, table

MLMODEL = Path(__file__).resolve().parents[2] / "data" / "mlflow" / "skops.MLmodel"


@pytest.fixture
def trained(project: Project) -> Project:
    (project.folder / "model").mkdir()
    rows = table().to_pandas()
    model = LogisticRegression().fit(rows[["amount", "age"]], rows["risk"])
    skops.io.dump(model, project.folder / "model" / "model.skops")
    project.write("model/MLmodel", MLMODEL.read_text())
    return project


def judged(project: Project, *options: str, **source: str) -> dict[str, Any]:
    declared = {"source": source, "output": {"name": "probabilities", "classes": ["bad", "good"]}}
    project.manifest(model=copy.deepcopy(SPEC["model"]) | declared)
    code = project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json", *options)
    assert code in (0, 1), project.err
    found: dict[str, Any] = json.loads((project.folder / "e.json").read_text())
    return found


def test_a_skops_file_is_judged(trained: Project) -> None:
    found = judged(trained, uri="model/model.skops", format="Skops")
    assert found["computed"]["inputs"]["model"].startswith("sha256:")
    served = judged(trained, "--serve", uri="model/model.skops", format="Skops")
    assert served["computed"] == found["computed"], "the server's answers are those in process"


def test_an_mlflow_folder_is_its_file(trained: Project) -> None:
    file, folder = (
        judged(trained, uri=uri, format=format_)["computed"]
        for uri, format_ in (("model/model.skops", "Skops"), ("model", "MLflow"))
    )
    assert file["inputs"] == folder["inputs"]
    assert file["estimates"] == folder["estimates"]


def test_a_skops_file_that_is_declared_as_onnx_is_refused(trained: Project) -> None:
    source = {"source": {"uri": "model/model.skops", "format": "ONNX"}}
    trained.manifest(model=copy.deepcopy(SPEC["model"]) | source)
    assert trained.run("evaluate", "-f", "model.yaml") == 2
    assert "declare format: Skops" in trained.err


@pytest.mark.parametrize(
    ("model", "expected"),
    [("m.onnx", "ONNX"), ("m.skops", "Skops"), ("pvc://models/7/", "MLflow"), ("model", "MLflow")],
)
def test_init_tells_the_format_by_the_name(project: Project, model: str, expected: str) -> None:
    assert project.run("init", "loans.csv", "--target", "risk", "--model", model) == 0
    assert f"format: {expected}" in project.out
