"""What reports say of whose labels are known, and of where the data comes from."""

from __future__ import annotations

import dataclasses
from typing import Any
from xml.etree import ElementTree

import pytest

from mandate.evidence.labels import LabelsKnown
from mandate.evidence.schema import Evidence
from mandate.report import document, github, html, junit, markdown, model_card, text
from tests.unit.report.sample import SPEC, changed, evidence, judged
from tests.unit.verdict.test_required import LINEAGE, TRAINING

FORMS = (text, markdown, html, model_card, document)
COUNTS = {"train": 600, "validation": 200, "test": 200}


def with_labels(status: Any, reason: str = "labels show where column 'decision' says 'approve'") -> Evidence:
    found = evidence()
    measured = COUNTS | {"test": 120}
    known = LabelsKnown(status=status, reason=reason, rows=COUNTS, revealed=measured, measured=measured)
    return found.model_copy(update={"computed": found.computed.model_copy(update={"labels": known})})


def words(form: Any, report: Any) -> str:
    return " ".join(form.render(report).replace("\\", "").split())


@pytest.mark.row("P5/corrected")
@pytest.mark.parametrize("form", [*FORMS, junit, github], ids=lambda form: form.__name__)
def test_every_form_marks_numbers_of_the_accepted_only(form: Any) -> None:
    told = judged(changed(), with_labels("AcceptedOnly"))
    assert "of the accepted only" in words(form, told)
    for report in (judged(changed(), with_labels("Holdout")), judged(changed(), evidence())):
        assert "accepted only" not in words(form, report)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_says_what_numbers_are_measured_on(form: Any) -> None:
    told = judged(changed(), with_labels("Holdout", reason="measured where column drawn is true"))
    assert "Holdout: measured where column drawn is true; 120 of 200 test rows measured" in words(form, told)
    properties = ElementTree.fromstring(junit.render(told)).iter("property")  # our own
    assert any("120 of 200" in item.get("value", "") for item in properties if item.get("name") == "labels")


def test_what_stands_in_the_way_says_what_to_do() -> None:
    told = judged(changed(useCase={"riskTier": "High"}), with_labels("AcceptedOnly"))
    obstacle = next(item for item in told.obstacles if item.gate == "revealed-labels")
    assert (obstacle.level, obstacle.verdict) == ("Suggest", "Inconclusive")
    assert "task.labels.holdout" in obstacle.step
    assert next(gate.title for gate in told.gates if gate.name == "revealed-labels") == "Numbers are of everyone"


@pytest.mark.row("D4/source")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_tells_the_lineage(form: Any) -> None:
    data, model = SPEC["data"] | {"lineage": LINEAGE}, SPEC["model"] | {"training": TRAINING}
    page = words(form, judged(changed(data=data, model=model), evidence()))
    for told in (*LINEAGE.values(), "abc123"):
        assert told in page, told
    plain = judged(changed(data=SPEC["data"] | {"lineage": {}}), evidence())
    assert dataclasses.replace(plain, criteria_digest="") == dataclasses.replace(
        judged(changed(), evidence()), criteria_digest=""
    )


def test_lineage_that_is_missing_names_what_to_declare() -> None:
    told = judged(changed(readiness={"lineage": "Shadow"}), evidence())
    obstacle = next(item for item in told.obstacles if item.gate == "declared-lineage")
    assert "data.lineage.source" in obstacle.step
    assert told.reached is None
