"""The manifests say what they claim: loadable, equal criteria, the right files, features of the right time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.flights import prepare
from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.measure.split import divide
from mandate.predictor.model import load
from mandate.sources import digest_of, read_table

EXAMPLES = Path(__file__).parents[3] / "examples"
CREDIT = EXAMPLES / "credit"
MANIFESTS = ["flights/flights-v1.yaml", "flights/flights-v2.yaml", "credit/credit.yaml", "minimal.yaml"]


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return found


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_can_be_judged(name: str) -> None:
    assert effective(load_spec(document(name)["spec"])).gates


def test_the_two_flights_versions_differ_in_their_model_only() -> None:
    first, second = document("flights/flights-v1.yaml"), document("flights/flights-v2.yaml")
    assert first["spec"].pop("model") != second["spec"].pop("model")
    assert first == second


def test_the_minimal_example_is_minimal() -> None:
    assert len((EXAMPLES / "minimal.yaml").read_text().splitlines()) <= 15


def test_flights_are_known_by_what_is_known_at_the_gate() -> None:
    for name in ("flights/flights-v1.yaml", "flights/flights-v2.yaml"):
        spec = load_spec(document(name)["spec"])
        assert spec.model.inputs is not None
        inputs = set(spec.model.inputs.columns)
        assert inputs <= {*prepare.STRINGS, *prepare.NUMBERS}
        assert not inputs & {spec.task.target, spec.task.id, spec.task.time, spec.task.cluster}
        assert not [column for column in inputs if column.startswith("arr") or column in ("air_time", "dep_time")]


def test_the_sample_request_is_one_row_of_the_second_flights_model() -> None:
    request = json.loads((EXAMPLES / "flights" / "request.json").read_text())
    spec = load_spec(document("flights/flights-v2.yaml")["spec"])
    assert spec.model.inputs is not None
    assert [tensor["name"] for tensor in request["inputs"]] == list(spec.model.inputs.columns)
    for tensor in request["inputs"]:
        assert tensor["shape"] == [1, 1]
        assert tensor["datatype"] == ("BYTES" if tensor["name"] in prepare.STRINGS else "FP32")


def test_credit_files_are_the_declared_ones() -> None:
    spec = load_spec(document("credit/credit.yaml")["spec"])
    assert spec.data.source is not None
    table = CREDIT / "data" / "german_credit.csv"
    assert digest_of(table) == spec.data.source.digest
    assert (spec.data.source.digest or "").removeprefix("sha256:") in (CREDIT / "README.md").read_text()
    model = load(CREDIT / "models" / "credit" / "1" / "model.onnx", digest=spec.model.source.digest)
    assert spec.model.inputs is not None
    assert set(model.inputs) == set(spec.model.inputs.columns)


def test_credit_claims_the_split_that_its_manifest_declares() -> None:
    spec = load_spec(document("credit/credit.yaml")["spec"])
    assert spec.data.split is not None
    split = divide(read_table(CREDIT / "data" / "german_credit.csv"), how=spec.data.split, task=spec.task)
    assert split.digest == spec.model.training.split_digest


def test_the_minimal_example_trains_on_no_row_that_it_tests() -> None:
    """It judges the model that was trained on credit.yaml's training rows."""
    table = read_table(CREDIT / "data" / "german_credit.csv")
    parts = []
    for name in ("credit/credit.yaml", "minimal.yaml"):
        spec = load_spec(document(name)["spec"])
        assert spec.data.split is not None
        parts.append(divide(table, how=spec.data.split, task=spec.task))
    assert not (parts[0].rows("train") & parts[1].rows("test")).any()
