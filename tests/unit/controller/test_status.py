"""What another version of the operator wrote into a status is never read as if nobody stood there."""

from __future__ import annotations

import pytest

from mandate.controller.choice import StatusNotUnderstoodError, evaluation_status, status_of
from mandate.controller.decide import decide
from mandate.controller.moments import instant
from tests.unit.controller.judged import declared, granted, judged, namespace, standing

NOW = instant("2026-01-02T00:00:00Z")


def test_fields_of_a_newer_version_are_left_aside() -> None:
    champion = standing("1", "Suggest", colour="blue")
    known = status_of(declared("1", status={"champion": champion, "weather": {"rain": 1}}))
    assert known.champion is not None
    assert (known.champion.version, known.champion.level) == ("1", "Suggest")


def test_what_cannot_be_read_is_no_empty_status() -> None:
    document = declared("1", status={"champion": standing("1", "Autopilot"), "weather": 1})
    with pytest.raises(StatusNotUnderstoodError, match=r"lending/credit: status\.champion\.level: .*got 'Autopilot'"):
        status_of(document)


def test_then_nothing_is_decided_about_it_nor_about_its_namespaces_grant() -> None:
    champion = standing("1", "Suggest")
    document = declared("1", status={"champion": champion})
    model, grants = judged(document, accuracy=0.3, grant=granted(champion)), namespace(document)
    document["status"]["champion"]["level"] = "Autopilot"
    for snapshot in (model, grants):
        with pytest.raises(StatusNotUnderstoodError):
            decide(snapshot, NOW)


def test_an_evaluation_that_cannot_be_read_is_measured_again() -> None:
    known = {"metadata": {"name": "e"}, "status": {"attempt": 2, "mood": "good", "evidence": "{}"}}
    assert evaluation_status(known).attempt == 2
    assert evaluation_status({**known, "status": {"attempt": "many"}}).evidence is None
