"""Which evidence is kept, and that what isn't kept any more is measured again where it is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.controller.decide import decide
from mandate.controller.desired import owner
from mandate.controller.intake import IntakeError
from mandate.controller.moments import instant
from mandate.controller.plan import Create, Delete, Look, SetStatus
from mandate.controller.snapshot import ModelSnapshot
from tests.unit.controller.judged import SETTINGS, declared, judged, standing

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
