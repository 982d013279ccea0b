"""What another version of the operator wrote into a status is never read as if nobody stood there."""

from __future__ import annotations

import re

import pytest

from mandate.api.kinds import ModelDeploymentStatus
from mandate.api.moments import instant
from mandate.controller.choice import StatusNotUnderstoodError, evaluation_status, status_of
from mandate.controller.decide import decide
from tests.unit.controller.judged import declared, granted, judged, namespace, standing, written

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


def test_every_condition_is_explained() -> None:
    """The field's explanation names those that are always written, and those that sometimes are."""
    snapshot = judged(declared("1", useCase__fallback={"serviceRef": {"name": "rule", "port": 80}}), accuracy=0.8)
    snapshot.mevals[0]["status"]["criteriaDigest"] = "sha256:" + "9" * 64
    snapshot.mdep["metadata"]["annotations"] = {"mandate.dev/halt": "off"}
    status = written(decide(snapshot, NOW))
    assert status is not None
    explained = re.findall("[A-Z][A-Za-z]+", ModelDeploymentStatus.model_fields["conditions"].description or "")
    # test_climb.py, test_pairs.py, test_replay.py, test_drill.py, test_gateway.py, test_shares.py,
    # test_external.py
    elsewhere = {"Degraded", "Watched", "Compared", "Replayed", "ClockTrusted", "FallbackDrilled"}
    elsewhere |= {"SharesByEntity", "SharesAsDeclared", "ServedElsewhere"}
    assert {condition.type for condition in status.conditions} | elsewhere == set(explained)
