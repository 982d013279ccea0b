"""What a level requires beside its gates."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.evidence.labels import LabelsKnown
from mandate.evidence.measurement import evaluation_spec
from mandate.evidence.schema import Evidence
from mandate.verdict.criteria import criteria_digest, looked_digest
from mandate.verdict.required import Required, required
from tests.unit.report.sample import SPEC, changed
from tests.unit.verdict.test_judge import evidence, gate, judged, proportion

LINEAGE = {
    "source": "core banking, table loans",
    "collection": "every application of the branches",
    "period": "2019-01-01 to 2023-12-31",
    "consent": "contract, Art. 6 (1) b",
}
TRAINING = {"run": "mlflow/3", "codeRevision": "abc123"}

SERVED = {"version": "7", "source": {"uri": "model.onnx", "format": "ONNX"}, "inputs": {"columns": ["amount"]}}
PROMISE = {"latency": {"p99": "40ms", "load": "50/s"}}
COVERED = {"fallback": {"serviceRef": {"name": "rules", "port": 8080}}}
FAST = [{"name": "fast", "metric": "latency_p99", "load": "5/s", "require": {"Shadow": "<= 1s"}}]


def declared(*, lineage: Any = None, training: Any = None, **parts: Any) -> Any:
    data = SPEC["data"] | ({} if lineage is None else {"lineage": lineage})
    model = SPEC["model"] | ({} if training is None else {"training": training})
    return load_spec(changed(data=data, model=model, **parts))


def labelled(status: str | None) -> Evidence:
    record = evidence(proportion(900, 1000), held_out="Proven")
    known = None
    if status is not None:
        counts = {"train": 0, "validation": 0, "test": 1000}
        known = LabelsKnown(
            status=status,  # type: ignore[arg-type]
            reason="for the test",
            rows=counts,
            revealed=counts,
            measured=counts,
        )
    return record.model_copy(update={"computed": record.computed.model_copy(update={"labels": known})})


@pytest.mark.row("P5/gated")
@pytest.mark.parametrize(
    ("status", "tier", "asked", "reached"),
    [
        ("AcceptedOnly", "Medium", None, "Automate"),
        ("AcceptedOnly", "High", None, "Shadow"),
        ("AcceptedOnly", "Medium", "Automate", "Suggest"),
        ("AcceptedOnly", "Low", "Shadow", None),
        ("AcceptedOnly", "High", "Automate", "Shadow"),
        ("Holdout", "High", "Shadow", "Automate"),
        ("Weighted", "High", "Shadow", "Automate"),
        (None, "High", None, "Automate"),
        (None, "Medium", "Suggest", "Shadow"),
    ],
)
def test_a_level_may_ask_for_numbers_that_are_of_everyone(
    status: str | None, tier: str, asked: Any, reached: str | None
) -> None:
    found = judged(gate({"Shadow": ">= 0.70"}), labelled(status), tier=tier, required=Required(labels=asked))
    assert found.reached == reached


def test_numbers_of_the_accepted_only_are_marked_where_nothing_asks() -> None:
    found = judged(gate({"Shadow": ">= 0.70"}), labelled("AcceptedOnly"))
    for level in ("Shadow", "Suggest", "Automate"):
        told = found.at(level).gates[-1]  # type: ignore[arg-type]
        assert (told.name, told.verdict, told.holds) == ("revealed-labels", "Inconclusive", True)
        assert "of the accepted only" in told.message


def test_requirements_alone_are_nothing_to_stand_on() -> None:
    assert judged([], labelled("Holdout"), required=Required(labels="Shadow", lineage="Shadow")).reached is None


@pytest.mark.row("D4/gated")
@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("source", "data.lineage.source"),
        ("collection", "data.lineage.collection"),
        ("period", "data.lineage.period"),
        ("consent", "data.lineage.consent or licence"),
        ("run", "model.training.run"),
        ("codeRevision", "model.training.codeRevision"),
        (None, ""),
    ],
)
@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_level_may_ask_that_the_lineage_is_declared(missing: str | None, named: str, blank: str) -> None:
    lineage = {key: blank if key == missing else words for key, words in LINEAGE.items()}
    training = {key: blank if key == missing else words for key, words in TRAINING.items()}
    asks = required(declared(readiness={"lineage": "Suggest"}, lineage=lineage, training=training))
    found = judged(gate({"Shadow": ">= 0.70"}), evidence(proportion(900, 1000)), required=asks)
    assert found.reached == ("Automate" if missing is None else "Shadow")
    assert named in found.at("Suggest").gates[-1].message
    assert [item.name for item in found.at("Shadow").gates] == ["g"]


@pytest.mark.row("R3/scanned")
def test_a_level_may_ask_that_the_models_file_is_signed() -> None:
    asks = required(declared(readiness={"signature": "Suggest"}))
    plain = evidence(proportion(900, 1000))
    inputs = plain.computed.inputs.model_copy(update={"signer": "sha256:" + "a" * 64})
    signed = plain.model_copy(update={"computed": plain.computed.model_copy(update={"inputs": inputs})})
    without, found = (judged(gate({"Shadow": ">= 0.70"}), each, required=asks) for each in (plain, signed))
    assert (without.reached, found.reached) == ("Shadow", "Automate")
    assert "declare model.source.signature" in without.at("Suggest").gates[-1].message
    assert "by the key sha256:aaaa" in found.at("Suggest").gates[-1].message
    assert [item.name for item in without.at("Shadow").gates] == ["g"]
    assert criteria_digest(declared()) != criteria_digest(declared(readiness={"signature": "Suggest"}))


def test_a_licence_is_as_good_as_consent_and_nothing_is_no_lineage() -> None:
    asked: dict[str, Any] = {"readiness": {"lineage": "Shadow"}, "training": TRAINING}
    licensed = {**{k: v for k, v in LINEAGE.items() if k != "consent"}, "licence": "CC BY 4.0"}
    assert required(declared(**asked, lineage=licensed)).undeclared == ()
    assert len(required(declared(**asked)).undeclared) == 4


def test_what_is_required_is_a_criterion_and_lineage_measures_nothing() -> None:
    plain, asked = declared(), declared(readiness={"lineage": "Suggest"})
    assert criteria_digest(plain) != criteria_digest(asked)
    assert looked_digest(plain) == looked_digest(asked), "no row is looked at for it"
    told = declared(lineage=LINEAGE)
    assert criteria_digest(told) == criteria_digest(plain)
    assert evaluation_spec("credit", told) == evaluation_spec("credit", plain)


@pytest.mark.row("G4/defaults")
@pytest.mark.parametrize(
    ("parts", "asked", "promised"),
    [
        ({"gates": []}, None, False),
        ({"gates": [], "model": SERVED, "useCase": COVERED}, "Suggest", False),
        ({"gates": [], "model": SERVED, "serving": PROMISE, "useCase": COVERED}, "Suggest", True),
        ({"gates": [], "model": SERVED, "useCase": COVERED, "readiness": {"latency": "Automate"}}, "Automate", False),
        ({"model": SERVED}, None, False),
        ({"model": SERVED, "readiness": {"latency": "Shadow"}}, "Shadow", False),
        ({"model": SERVED, "gates": FAST, "readiness": {"latency": "Shadow"}}, "Shadow", True),
    ],
)
def test_built_in_gates_ask_how_fast_answers_must_come(parts: dict[str, Any], asked: Any, promised: bool) -> None:
    spec = load_spec(changed(**parts))
    asks = required(spec)
    assert (asks.latency, asks.promised) == (asked, promised)
    assert required(effective(spec)) == asks
    found = judged(gate({"Shadow": ">= 0.70"}), evidence(proportion(900, 1000)), required=asks)
    before = {"Shadow": None, "Suggest": "Shadow", "Automate": "Suggest"}
    assert found.reached == ("Automate" if asked is None or promised else before[asked])
    told = [item for item in found.at("Automate").gates if item.name == "declared-latency"]
    assert len(told) == (asked is not None)
    assert all(promised or "serving.latency: {p99: 40ms, load: 50/s}" in item.message for item in told)


@pytest.mark.row("G4/defaults")
@pytest.mark.parametrize(
    ("parts", "asked", "covered"),
    [
        ({"gates": []}, None, False),
        ({"gates": [], "model": SERVED, "serving": PROMISE}, "Suggest", False),
        ({"gates": [], "model": SERVED, "serving": PROMISE, "useCase": COVERED}, "Suggest", True),
        ({"model": SERVED}, None, False),
        ({"model": SERVED, "readiness": {"fallback": "Shadow"}}, "Shadow", False),
        ({"model": SERVED, "readiness": {"fallback": "Shadow"}, "useCase": COVERED}, "Shadow", True),
    ],
)
def test_built_in_gates_ask_what_answers_where_no_model_may(parts: dict[str, Any], asked: Any, covered: bool) -> None:
    asks = required(load_spec(changed(**parts)))
    assert (asks.fallback, asks.covered) == (asked, covered)
    found = judged(gate({"Shadow": ">= 0.70"}), evidence(proportion(900, 1000)), required=asks)
    before = {"Shadow": None, "Suggest": "Shadow"}
    assert found.reached == ("Automate" if asked is None or covered else before[asked])
    told = [item for item in found.at("Automate").gates if item.name == "declared-fallback"]
    assert len(told) == (asked is not None)
    assert all(covered or "useCase.fallback: {serviceRef" in item.message for item in told)
