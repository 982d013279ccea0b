"""Which evidence is kept, and that what isn't kept any more is measured again where it is needed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from mandate.api.moments import instant, stamp
from mandate.api.names import ANNOTATION_RETRY
from mandate.controller.decide import decide
from mandate.controller.desired import owner
from mandate.controller.intake import IntakeError
from mandate.controller.plan import Create, Delete, Look, SetStatus
from mandate.controller.snapshot import ModelSnapshot
from tests.unit.controller.judged import SETTINGS, declared, judged, standing
from tests.unit.controller.samples import MODEL_DIGEST

NOW = instant("2026-01-02T00:00:00Z")
Object = dict[str, Any]


def measured(number: int, *, stored: bool = True, record: str = "") -> Object:
    """A finished measurement of some earlier version, completed at `number` o'clock."""
    name = f"credit-{number}"
    status = {"evidence": "{}", "completed": f"2026-01-01T{number:02}:00:00Z"}
    status |= {"evidenceConfigMap": record or f"of-{name}"} if stored else {}
    metadata = {"name": name, "namespace": "lending", "uid": f"uid-{name}"}
    return {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelEvaluation",
        "metadata": metadata,
        "spec": {},
        "status": status,
    }


def record(meval: Object, name: str = "") -> Object:
    metadata = {"name": name or f"of-{meval['metadata']['name']}", "namespace": "lending", "uid": "uid"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"ownerReferences": [owner(meval)]}}


def situation(*mevals: Object, records: tuple[Object, ...] | None = None, **status: Object) -> ModelSnapshot:
    """The present version is judged; before it, these were measured."""
    snapshot = judged(declared("9", status=status), accuracy=0.3)
    present = snapshot.mevals[0]
    present["status"]["completed"] = "2026-01-01T20:00:00Z"
    kept = records if records is not None else tuple(record(meval) for meval in mevals)
    return replace(snapshot, mevals=(present, *mevals), records=(record(present), *kept))


def deleted(snapshot: ModelSnapshot) -> set[str]:
    return {action.name for action in decide(snapshot, NOW).actions if isinstance(action, Delete)}


def forgotten(snapshot: ModelSnapshot) -> set[str]:
    return {
        action.document["metadata"]["name"]
        for action in decide(snapshot, NOW).actions
        if isinstance(action, SetStatus) and action.document["kind"] == "ModelEvaluation"
    }


def test_the_last_three_are_kept() -> None:
    snapshot = situation(*(measured(number) for number in range(1, 6)))
    assert forgotten(snapshot) == {"credit-1", "credit-2", "credit-3"}
    assert deleted(snapshot) == {"of-credit-1", "of-credit-2", "of-credit-3"}


@pytest.mark.parametrize("role", ["champion", "previous"])
def test_so_is_what_a_champion_stands_on(role: str) -> None:
    snapshot = situation(*(measured(number) for number in range(1, 6)), **{role: standing("1", "Suggest")})
    assert "credit-1" not in forgotten(snapshot)
    assert "of-credit-1" not in deleted(snapshot)


def test_so_is_what_is_being_judged_however_old() -> None:
    snapshot = situation(*(measured(number) for number in range(3, 8)))
    snapshot.mevals[0]["status"]["completed"] = "2026-01-01T01:00:00Z"
    snapshot = replace(snapshot, looks={})
    assert any(isinstance(action, Look) for action in decide(snapshot, NOW).actions)
    assert forgotten(snapshot) == {"credit-3", "credit-4"}


def test_a_record_that_two_measurements_share_stays_for_the_later_one() -> None:
    mevals = [measured(number) for number in range(2, 6)]
    first, last = measured(1, record="shared"), measured(10, record="shared")
    snapshot = situation(first, *mevals, last, records=(record(first, "shared"),))
    assert "credit-1" in forgotten(snapshot)
    assert deleted(snapshot) == set()


def test_a_record_that_its_measurement_does_not_name_yet_stays() -> None:
    unfinished = measured(1)
    unfinished["status"] = {}
    assert deleted(situation(unfinished)) == set()


def test_what_a_crash_left_behind_is_deleted() -> None:
    assert deleted(situation(measured(1, stored=False))) == {"of-credit-1"}


@pytest.mark.parametrize("code", ["EvidenceLost", "EvidenceDamaged", "EvidenceOutdated"])
def test_what_cannot_be_read_any_more_is_measured_again(code: str) -> None:
    before = situation()
    name = before.mevals[0]["metadata"]["name"]
    unreadable = replace(before, evidence={name: IntakeError(code, "as the test says")})
    assert forgotten(unreadable) == {name}

    (update,) = (
        action.document
        for action in decide(unreadable, NOW).actions
        if isinstance(action, SetStatus) and action.document["kind"] == "ModelEvaluation"
    )
    assert update["status"] == {key: text for key, text in before.mevals[0]["status"].items() if "Map" not in key}
    afterwards = replace(unreadable, mevals=({**before.mevals[0], "status": update["status"]},), evidence={})
    (created,) = (action.document for action in decide(afterwards, NOW).actions if isinstance(action, Create))
    assert created["metadata"]["name"] != name
    images = {role: getattr(SETTINGS.images, role) for role in ("fetch", "predictor")}
    assert created["spec"] == before.mevals[0]["spec"] | {"repeat": 1, "images": images}


def repeats(source: Object | None = None) -> list[float]:
    """When the present version is measured in a day, in seconds, while its evidence is deleted as soon as it is stored.

    A measurement takes no time, and nobody looks again but when the operator said it would.
    """
    changes = {} if source is None else {"model__source": source}
    snapshot = judged(declared("1", **changes), accuracy=0.3)
    snapshot.mevals[0]["status"] |= {"completed": stamp(NOW), "modelDigest": MODEL_DIGEST}
    moments, now = [0.0], NOW
    while now < NOW + 86400:
        snapshot = replace(snapshot, evidence={meval["metadata"]["name"]: LOST for meval in snapshot.mevals})
        plan = decide(snapshot, now)
        before = {meval["metadata"]["name"]: meval for meval in snapshot.mevals}
        mevals = dict(before)
        for action in plan.actions:
            match action:
                case SetStatus(document) if document["kind"] == "ModelEvaluation":
                    name = document["metadata"]["name"]
                    mevals[name] = {**mevals[name], "status": document["status"]}
                case Create(document) if document["kind"] == "ModelEvaluation":
                    done = snapshot.mevals[0]["status"] | {"completed": stamp(now), "evidenceConfigMap": "x"}
                    mevals[document["metadata"]["name"]] = {**document, "status": done}
                    mevals[document["metadata"]["name"]]["metadata"] |= {
                        "uid": str(len(mevals)),
                        "creationTimestamp": stamp(now),
                    }
                    moments.append(now - NOW)
                    assert len(moments) < 100
        if mevals == before:
            assert plan.again
            now += plan.again
        snapshot = replace(snapshot, mevals=tuple(mevals.values()))
    return moments


LOST = IntakeError("EvidenceLost", "somebody deletes it")
UNDECLARED = {"uri": "pvc://models/credit/1/model.onnx", "format": "ONNX"}


@pytest.mark.parametrize("source", [None, UNDECLARED], ids=["digest declared", "digest learnt"])
def test_whoever_deletes_evidence_again_and_again_starts_no_more_jobs_than_failures_do(source: Object | None) -> None:
    moments = repeats(source)
    rests = [after - before for before, after in pairwise(moments)]
    assert rests[:8] == [30, 60, 120, 240, 480, 960, 1800, 1800]
    assert set(rests[8:]) == {1800}


@pytest.mark.parametrize(("age", "at_once"), [(29, False), (30, True), (86400, True)])
def test_what_was_measured_long_ago_is_measured_again_at_once(age: int, at_once: bool) -> None:
    snapshot = situation()
    (present,) = snapshot.mevals
    present["status"] |= {"completed": stamp(NOW - age), "evidenceConfigMap": ""}
    plan = decide(snapshot, NOW)
    assert any(isinstance(action, Create) for action in plan.actions) == at_once
    assert plan.again == (None if at_once else 30 - age)


def test_a_retry_that_somebody_asks_for_waits_for_nothing() -> None:
    snapshot = situation()
    (present,) = snapshot.mevals
    present["status"] |= {"completed": stamp(NOW), "evidenceConfigMap": ""}
    refusal = {"revision": present["spec"]["revision"], "version": "9", "reason": "GatesNotMet"}
    snapshot.mdep["status"] = {"refused": [refusal]}
    snapshot.mdep["metadata"]["annotations"] = {ANNOTATION_RETRY: "please"}
    (created,) = (action.document for action in decide(snapshot, NOW).actions if isinstance(action, Create))
    assert created["spec"]["retry"] == "please"
