"""The champion to fall back on stays granted until its successor has held; an entry stays while anything serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mandate.api.moments import instant
from mandate.controller.decide import decide
from mandate.controller.decide_grant import holders
from mandate.controller.plan import Delete, Replace
from mandate.controller.snapshot import GrantSnapshot, ModelSnapshot
from tests.unit.controller.judged import (
    applied,
    declared,
    deployment,
    granted,
    judged,
    namespace,
    raw,
    standing,
    written,
)

NOW = instant("2026-01-02T00:00:00Z")
STEP = 6 * 3600.0
OLD = standing("1", "Suggest")


def promoted(*, ready: bool = True) -> ModelSnapshot:
    """Version 2 was promoted just now; where it is ready, both addresses lead to it and nothing of version 1 runs."""
    first, old = declared("1", status={"champion": OLD}), deployment(declared("1"))
    alone = judged(first, accuracy=0.8, deployments=[old], grant=granted(OLD))
    services = applied(decide(alone, NOW), "Service")
    assert _answering(services) == OLD["revision"]
    before = declared("2", status={"champion": OLD})
    status = written(
        decide(judged(before, accuracy=0.8, deployments=[old], services=services, grant=granted(OLD)), NOW)
    )
    assert status is not None
    document, new = declared("2", status=raw(status)), standing("2", "Suggest")
    both = [old, deployment(document, ready=ready)]
    snapshot = judged(document, accuracy=0.8, deployments=both, services=services, grant=granted(OLD, new))
    snapshot = replace(snapshot, services=services | applied(decide(snapshot, NOW), "Service"))
    assert _answering(snapshot.services) == (new if ready else OLD)["revision"]
    left = [item for item in both if item["metadata"]["name"] not in _deleted(snapshot)]
    assert left == (both[1:] if ready else both)
    return replace(snapshot, deployments=tuple(left))


def _answering(services: Mapping[str, Any]) -> str:
    return str(services["credit-suggest"]["spec"]["selector"]["mandate.dev/revision"])


def _deleted(snapshot: ModelSnapshot) -> list[str]:
    return [action.name for action in decide(snapshot, NOW).actions if isinstance(action, Delete)]


def after(snapshot: ModelSnapshot, now: float) -> tuple[ModelSnapshot, dict[str, Any], float | None]:
    """One decision, its status taken over; what it says of the previous champion, and when to look again."""
    plan = decide(snapshot, now)
    status = written(plan)
    if status is not None:
        snapshot = replace(snapshot, mdep={**snapshot.mdep, "status": raw(status)})
    return snapshot, snapshot.mdep["status"].get("previous", {}), plan.again


def test_a_promotion_remembers_whom_to_fall_back_on() -> None:
    status = promoted().mdep["status"]
    assert status["champion"]["version"] == "2"
    assert status["previous"].items() >= OLD.items()
    assert "replaced" not in status["previous"], "its clock isn't started yet"


def test_it_leaves_the_grant_one_step_after_its_successor_answers_alone() -> None:
    snapshot, previous, again = after(promoted(), NOW)
    assert previous["replaced"] == "2026-01-02T00:00:00Z"
    assert again == STEP
    assert decide(snapshot, NOW + 60).actions == (), "nothing is written while the clock runs"
    assert decide(snapshot, NOW + 60).again == STEP - 60
    snapshot, previous, again = after(snapshot, NOW + STEP)
    assert (previous["released"], again) == (True, None), "it is remembered for a rollback"
    assert OLD["revision"] not in _grant(_namespace(snapshot.mdep["status"]))


def test_the_clock_starts_anew_when_its_successor_stops_answering() -> None:
    snapshot, _, _ = after(promoted(), NOW)
    down = replace(snapshot, deployments=(deployment(snapshot.mdep, ready=False),))
    down, previous, again = after(down, NOW + STEP)
    assert previous["revision"] == OLD["revision"]
    assert "replaced" not in previous
    assert again is None, "that Pods become ready is an event, not a time"
    back = replace(down, deployments=snapshot.deployments)
    back, previous, again = after(back, NOW + STEP + 100)
    assert (previous["replaced"], again) == ("2026-01-02T06:01:40Z", STEP)


def test_a_successor_that_never_answered_never_held() -> None:
    _, previous, _ = after(promoted(ready=False), NOW + 100 * STEP)
    assert previous["revision"] == OLD["revision"]


@pytest.mark.parametrize(
    ("version", "before", "expected"),
    [
        ("3", {"champion": standing("2", "Suggest"), "previous": OLD}, "1"),
        ("1", {"champion": standing("2", "Suggest"), "previous": OLD}, "2"),
        ("3", {"previous": OLD}, "1"),
        ("3", {"champion": standing("2", "Suggest")}, "2"),
        ("3", {}, None),
    ],
    ids=["the one that held", "not oneself", "the champion fell", "the champion", "nobody"],
)
def test_who_is_fallen_back_on(version: str, before: dict[str, Any], expected: str | None) -> None:
    status = written(decide(judged(declared(version, status=before), accuracy=0.8), NOW))
    assert status is not None
    assert (status.previous.version if status.previous else None) == expected


@pytest.mark.parametrize(("accuracy", "level"), [(0.3, None), (0.6, "Shadow"), (0.97, "Suggest")])
def test_one_judged_again_is_kept_at_what_its_evidence_carries(accuracy: float, level: str | None) -> None:
    before = {"champion": standing("2", "Suggest"), "candidate": {**OLD, "level": "Shadow"}, "previous": OLD}
    slow = {"minDuration": "7d", "minPredictions": 0}
    snapshot = judged(declared("1", status=before, autonomy__shadow=slow), accuracy=accuracy)
    status = written(decide(snapshot, NOW))
    assert status is not None
    assert (status.previous.level if status.previous else None) == level


def _grant(snapshot: GrantSnapshot) -> dict[str, str]:
    """What the grant holds after one decision: level by revision."""
    templates = {revision: holder.template for revision, holder in holders(snapshot).items()}
    plan = decide(replace(snapshot, templates=templates), NOW)
    if not plan.actions:
        return {revision: entry["level"] for revision, entry in (snapshot.grant or {})["spec"]["grants"].items()}
    (action,) = plan.actions
    assert isinstance(action, Replace)
    return {revision: entry["level"] for revision, entry in action.document["spec"]["grants"].items()}


def _namespace(status: dict[str, Any], **more: Any) -> GrantSnapshot:
    old, new = declared("1"), declared("2", status=status)
    revisions = namespace(old, new).revisions
    return namespace(new, revisions=revisions, **more)


def test_the_grant_holds_it_though_nothing_of_it_runs() -> None:
    new = standing("2", "Suggest")
    both = {"champion": new, "previous": OLD}
    assert _grant(_namespace(both)) == {OLD["revision"]: "Suggest", new["revision"]: "Suggest"}
    assert _grant(_namespace({"champion": new})) == {new["revision"]: "Suggest"}


def test_as_the_candidate_it_still_stands_in_for_the_champion() -> None:
    status = {"champion": standing("2", "Suggest"), "candidate": {**OLD, "level": "Shadow"}, "previous": OLD}
    assert _grant(_namespace(status))[OLD["revision"]] == "Suggest"


def test_its_pods_are_deleted_at_once_as_only_the_entry_stays() -> None:
    snapshot = promoted()
    old = deployment(declared("1"))
    assert _deleted(replace(snapshot, deployments=(*snapshot.deployments, old))) == [old["metadata"]["name"]]
    assert _grant(_namespace(snapshot.mdep["status"]))[OLD["revision"]] == "Suggest"


@pytest.mark.parametrize("phase", ["Running", "Pending", "Unknown"])
def test_an_entry_stays_while_a_pod_of_it_runs(phase: str) -> None:
    new = standing("2", "Suggest")
    template = {"metadata": {}, "spec": {"containers": []}}
    entry = {"model": "credit", "level": "Suggest", "modelDigest": OLD["modelDigest"], "evaluation": "credit-1"}
    grant = granted(new)
    grant["metadata"]["resourceVersion"] = "1"
    grant["spec"]["grants"] = {OLD["revision"]: entry | {"template": template}}
    labels = {"mandate.dev/model": "credit", "mandate.dev/revision": OLD["revision"]}
    pod = {"metadata": {"name": "p", "namespace": "lending", "labels": labels}, "status": {"phase": phase}}
    assert OLD["revision"] in _grant(_namespace({"champion": new}, grant=grant, pods=(pod,)))
    assert OLD["revision"] not in _grant(_namespace({"champion": new}, grant=grant))
