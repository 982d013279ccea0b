"""Up the ladder, decision by decision: what is on record, who is granted, who answers, and what one waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentStatus
from mandate.controller import desired
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.moments import instant
from mandate.controller.plan import Delete, SetStatus
from mandate.controller.snapshot import ModelSnapshot
from mandate.rollout.record import state_of
from mandate.verdict.criteria import criteria_digest
from tests.unit.controller.judged import (
    SETTINGS,
    applied,
    declared,
    deployment,
    judged,
    raw,
    revision_of,
    standing,
    written,
)
from tests.unit.controller.samples import MODEL_DIGEST

NOW = instant("2026-01-02T00:00:00Z")
STEP = 6 * 3600.0
OLD = standing("1", "Automate", share=100)


def settled(snapshot: ModelSnapshot, now: float) -> tuple[ModelSnapshot, float | None]:
    """Decision after decision at one moment, each carried out at once, with Pods ready at once, until all is done."""
    for _ in range(20):
        plan = decide(snapshot, now)
        if not plan.actions:
            return snapshot, plan.again
        status = written(plan)
        if status is not None:
            snapshot = replace(snapshot, mdep={**snapshot.mdep, "status": raw(status)})
        grants = {
            revision: {"level": level, "modelDigest": MODEL_DIGEST}
            for revision, level in state_of(status_of(snapshot.mdep)).granted().items()
        }
        gone = {action.name for action in plan.actions if isinstance(action, Delete)}
        running = {item["metadata"]["name"]: item for item in snapshot.deployments}
        running = {name: item for name, item in running.items() if name not in gone}
        for name, item in applied(plan, "Deployment").items():
            metadata = item["metadata"] | {"uid": f"uid-{name}", "generation": 1}
            running[name] = item | {"metadata": metadata, "status": {"observedGeneration": 1, "availableReplicas": 1}}
        snapshot = replace(
            snapshot,
            grant={"metadata": {"name": "mandate", "namespace": "lending"}, "spec": {"grants": grants}},
            deployments=tuple(running.values()),
            services={**snapshot.services, **applied(plan, "Service")},
        )
    raise AssertionError(f"it doesn't come to rest: {plan.actions}")


def start(version: str = "2", *, accuracy: float = 0.97, **changes: Any) -> ModelSnapshot:
    """A new version's evidence is in; version 1 is the champion and has its Pods."""
    changes = {"autonomy__target": "Automate"} | changes
    document = declared(version, status={"champion": OLD}, **changes)
    first = declared("1")
    snapshot = judged(document, accuracy=accuracy, deployments=[deployment(first)])
    kept = desired.controller_revision(first, understood(first), images=SETTINGS.images)
    return replace(snapshot, revisions=(*snapshot.revisions, kept))


def status(snapshot: ModelSnapshot) -> ModelDeploymentStatus:
    return status_of(snapshot.mdep)


def selected(snapshot: ModelSnapshot, address: str) -> str:
    revision: str = snapshot.services[address]["spec"]["selector"]["mandate.dev/revision"]
    return revision


def test_a_candidate_holds_all_traffic_for_a_step_before_it_is_the_champion() -> None:
    snapshot, again = settled(start(), NOW)
    new = revision_of(snapshot.mdep)
    before = status(snapshot)
    assert before.champion is not None
    assert before.champion.version == "1"
    assert before.candidate is not None
    assert (before.candidate.level, before.candidate.share) == ("Automate", 100)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == new
    assert again == STEP

    snapshot, again = settled(snapshot, NOW + STEP)
    after = status(snapshot)
    assert after.champion is not None
    assert after.champion.version == "2"
    assert after.candidate is None
    assert after.previous is not None
    assert (after.previous.version, after.previous.released) == ("1", False)
    assert again == STEP
    snapshot, again = settled(snapshot, NOW + 2 * STEP)
    released = status(snapshot).previous
    assert released is not None
    assert released.released
    assert again is None


def test_every_transition_is_in_the_history_with_what_it_rests_on() -> None:
    snapshot, _ = settled(start(), NOW)
    history = status(snapshot).history
    assert [item.after for item in history] == ["Shadow", "Suggest", "Automate at 100 %"]
    assert {item.what for item in history} == {"Promoted"}
    assert {item.by for item in history} == {"mandate"}
    assert {item.evidence for item in history} == {snapshot.mevals[0]["metadata"]["name"]}


@pytest.mark.parametrize(
    ("minimum", "words"),
    [
        ({"minDuration": "1h", "minPredictions": 0}, "Suggest isn't granted: Shadow must last 1h, about 60 min more"),
        ({"minDuration": "0s", "minPredictions": 5}, "Suggest isn't granted: 0 of 5 predictions"),
    ],
    ids=["time", "predictions"],
)
def test_what_shadow_must_still_see_is_said_and_the_champion_serves_on(minimum: dict[str, Any], words: str) -> None:
    snapshot, again = settled(start(autonomy__shadow=minimum), NOW)
    granted = next(item for item in status(snapshot).conditions if item.type == "Granted")
    assert granted.message.startswith(f"version 2 may act at Shadow; {words}")
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == OLD["revision"]
    assert again == (3600.0 if "1h" in minimum.values() else None)
    ready = next(item for item in status(snapshot).conditions if item.type == "Ready")
    assert ready.status == "True", "time that must pass isn't work under way"


def test_a_champion_goes_on_by_the_criteria_it_was_judged_by() -> None:
    """Judged again by criteria that were recorded before others were, it might fall, or rise, without any news."""
    snapshot = start(accuracy=0.3)
    first = declared("1")
    own = judged(first, accuracy=0.3)
    mevals = (*snapshot.mevals, {**own.mevals[0], "metadata": {**own.mevals[0]["metadata"], "name": "credit-1"}})
    found = next(iter(own.evidence.values()))
    snapshot = replace(
        snapshot,
        mevals=mevals,
        evidence={**snapshot.evidence, "credit-1": found},
        looks={**snapshot.looks, **own.looks},
    )
    unknown, _ = settled(snapshot, NOW)
    champion = status(unknown).champion
    assert champion is not None
    assert champion.level == "Automate"

    same = {"champion": OLD | {"criteriaDigest": criteria_digest(understood(first))}}
    fallen, _ = settled(replace(snapshot, mdep={**snapshot.mdep, "status": same}), NOW)
    assert status(fallen).champion is None


def test_a_halted_model_stops_answering_though_its_spec_is_broken() -> None:
    snapshot, _ = settled(start(), NOW)
    halted = {"by": "ann", "at": "2026-01-02T00:00:00Z"}
    document = {**snapshot.mdep, "status": {**snapshot.mdep["status"], "halted": halted}}
    document["spec"] = {**document["spec"], "gates": [{"name": "g", "metric": "none", "require": {"Shadow": ">= 1"}}]}
    snapshot, _ = settled(replace(snapshot, mdep=document), NOW + 1)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == "none"
    champion = status(snapshot).champion
    assert champion is not None
    assert champion.level is None


def test_a_broken_spec_alone_changes_nothing() -> None:
    snapshot, _ = settled(start(), NOW)
    document = {**snapshot.mdep}
    document["spec"] = {**document["spec"], "gates": [{"name": "g", "metric": "none", "require": {"Shadow": ">= 1"}}]}
    plan = decide(replace(snapshot, mdep=document), NOW + 10 * STEP)
    assert [type(action) for action in plan.actions] == [SetStatus]
    after = written(plan)
    assert after is not None
    before = status(snapshot)
    assert (after.champion, after.candidate, after.previous) == (before.champion, before.candidate, before.previous)


def test_a_retry_lets_a_refused_version_be_measured_again() -> None:
    snapshot, _ = settled(start(accuracy=0.3), NOW)
    (refused,) = status(snapshot).refused
    assert (refused.reason, refused.retry) == ("GatesNotMet", "")
    metadata = {**snapshot.mdep["metadata"], "annotations": {"mandate.dev/retry": "1"}}
    plan = decide(replace(snapshot, mdep={**snapshot.mdep, "metadata": metadata}), NOW + 1)
    after = written(plan)
    assert after is not None
    assert after.refused == ()
    assert after.handled == {"Retry": "1"}
    assert after.history[-1].what == "Retried"
