"""Which revision is asked again what others are asked, what the recorder is told of it, and what a person is told."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mandate.api.check import SpecError
from mandate.api.kinds import Condition
from mandate.api.moments import instant, stamp
from mandate.api.names import workload_name
from mandate.controller.choice import status_of, understood
from mandate.controller.conditions import find
from mandate.controller.decide import decide
from mandate.controller.loop import Controller
from mandate.controller.plan import Delete, Key, Plan, Replay
from mandate.controller.replay import NOT_SWITCHED_ON, concerns
from mandate.controller.replay_source import ReplaySource
from mandate.controller.snapshot import LiveUnavailable, ModelSnapshot
from mandate.evidence.live import Live, Moments
from mandate.evidence.replay import ReplayOrder, ReplayState
from mandate.kube.resources import MODEL_DEPLOYMENTS
from tests.processes import free_port
from tests.unit.controller.fake_api import FakeApi
from tests.unit.controller.judged import (
    SETTINGS,
    applied,
    carried_out,
    declared,
    deployment,
    granted,
    judged,
    raw,
    revision_of,
    standing,
    written,
)
from tests.unit.recorder.test_replay import recording

NOW = instant("2026-01-02T00:00:00Z")
SINCE = "2026-01-01T00:00:00Z"
REPLAY: dict[str, Any] = {"rate": "7/s", "inputs": 20, "keep": "2m"}
SHADOW = {"minDuration": "0s", "minPredictions": 500}


def shadowing(version: str = "1", **changes: Any) -> ModelSnapshot:
    """A candidate at Shadow that must have seen 500 predictions, with its Pod ready, and nothing known of replays."""
    changes = {"serving__replay": REPLAY, "autonomy__shadow": SHADOW} | changes
    candidate = standing(version, "Shadow", stepped=SINCE, begun=SINCE)
    document = declared(version, status={"candidate": candidate}, **changes)
    return judged(document, accuracy=0.8, deployments=[deployment(document)], grant=granted(candidate))


def order_of(snapshot: ModelSnapshot) -> ReplayOrder:
    return ReplayOrder(
        revision=revision_of(snapshot.mdep), since=SINCE, rate=7, inputs=20, keep_seconds=120, lease_seconds=600
    )


def going(snapshot: ModelSnapshot, **more: Any) -> ModelSnapshot:
    """The recorder carries the right order out."""
    said = {"order": order_of(snapshot), "lapses": stamp(NOW + 600)} | more
    return replace(snapshot, replay=ReplayState(**said))


def ready(snapshot: ModelSnapshot) -> ModelSnapshot:
    """The revision's own Service is there."""
    return carried_out(snapshot, decide(replace(snapshot, replay=ReplayState()), NOW))


def told(plan: Plan) -> list[ReplayOrder | None]:
    return [action.order for action in plan.actions if isinstance(action, Replay)]


def said(snapshot: ModelSnapshot) -> Condition | None:
    """The condition as it stands after the next decision."""
    status = written(decide(snapshot, NOW))
    conditions = status.conditions if status is not None else ()
    return find(conditions, "Replayed")


def test_the_revision_at_shadow_gets_a_service_and_then_the_recorder_an_order() -> None:
    snapshot = replace(shadowing(), replay=ReplayState())
    plan = decide(snapshot, NOW)
    name = workload_name("credit", revision_of(snapshot.mdep))
    assert applied(plan, "Service")[name]["spec"]["selector"]["mandate.dev/revision"] == revision_of(snapshot.mdep)
    assert told(plan) == []
    snapshot = carried_out(snapshot, plan)
    plan = decide(snapshot, NOW)
    assert told(plan) == [order_of(snapshot)]
    assert plan.again is not None
    assert plan.again <= 60
    snapshot = going(carried_out(snapshot, plan))
    assert told(decide(snapshot, NOW)) == []


@pytest.mark.parametrize(
    "changes", [{"order": None}, {"lapses": stamp(NOW + 299)}, {"rate": 8}, {"since": "2025-01-01T00:00:00Z"}]
)
def test_an_order_that_lapses_or_differs_is_given_again(changes: dict[str, Any]) -> None:
    snapshot = ready(shadowing())
    order = order_of(snapshot)
    fields = {"order": order, "lapses": stamp(NOW + 600)}
    fields |= changes if changes.keys() & fields.keys() else {"order": order.model_copy(update=changes)}
    assert told(decide(replace(snapshot, replay=ReplayState(**fields)), NOW)) == [order]


def test_nobody_asks_for_it_nothing_is_told_and_no_service_made() -> None:
    snapshot = shadowing(serving={"replicas": 1})
    plan = decide(snapshot, NOW)
    assert told(plan) == []
    assert set(applied(plan, "Service")) == {"credit", "credit-suggest"}
    assert said(snapshot) is None


def test_beyond_shadow_it_ends_and_the_service_goes() -> None:
    snapshot = going(ready(shadowing()))
    enough: Any = SHADOW | {"minPredictions": 0}
    document = declared("1", status=snapshot.mdep["status"], serving__replay=REPLAY, autonomy__shadow=enough)
    plan = decide(replace(snapshot, mdep=document), NOW)
    status = written(plan)
    assert status is not None
    assert status.champion is not None
    assert status.champion.level == "Suggest"
    assert told(plan) == [None]
    gone = [action.name for action in plan.actions if isinstance(action, Delete) and action.kind == "Service"]
    assert gone == [workload_name("credit", revision_of(snapshot.mdep))]
    # Still to be asked about: the recorder mightn't have heard it.
    ending = find(status.conditions, "Replayed")
    assert ending is not None
    assert ending.reason == "Ending"
    ended = replace(carried_out(replace(snapshot, mdep=document), plan), replay=ReplayState())
    assert (told(decide(ended, NOW)), said(ended)) == ([], None)


def test_who_no_longer_wants_it_has_it_ended_and_is_told_until_it_is() -> None:
    snapshot = going(ready(shadowing(serving={"replicas": 1})))
    plan = decide(snapshot, NOW)
    assert told(plan) == [None]
    condition = said(snapshot)
    assert condition is not None
    assert condition.reason == "Ending"
    ended = replace(carried_out(snapshot, plan), replay=ReplayState())
    assert (told(decide(ended, NOW)), said(ended)) == ([], None)


SILENT = LiveUnavailable("the recorder at http://r:8081 can't be asked: TimeoutError")


@pytest.mark.parametrize("change", ["no longer wanted", "not understood", "beyond Shadow"])
def test_a_recorder_that_does_not_answer_is_told_to_end_it_until_it_does(change: str) -> None:
    wanting = going(ready(shadowing()))
    status = carried_out(wanting, decide(wanting, NOW)).mdep["status"]
    changes: dict[str, Any] = {
        "no longer wanted": {"serving": {"replicas": 1}},
        "not understood": {"serving__replay": REPLAY | {"rate": "a lot"}},
        "beyond Shadow": {"serving__replay": REPLAY, "autonomy__shadow": SHADOW | {"minPredictions": 0}},
    }[change]
    document = declared("1", status=status, **changes)
    snapshot = replace(wanting, mdep=document, replay=SILENT)
    for _ in range(3):
        assert concerns(snapshot, None)
        plan = decide(snapshot, NOW)
        assert told(plan) == [None]
        assert plan.again is not None
        snapshot = carried_out(snapshot, plan)
        condition = find(status_of(snapshot.mdep).conditions, "Replayed")
        assert condition is not None
        assert (condition.status, condition.reason) == ("False", "Ending")
        assert f"is told again and again: {SILENT.reason}" in condition.message
    for known, more in (
        (ReplayState(order=order_of(wanting), lapses=stamp(NOW + 60)), [None]),
        (ReplayState(), []),
        (LiveUnavailable(NOT_SWITCHED_ON), []),
    ):
        found = replace(snapshot, replay=known)
        plan = decide(found, NOW)
        assert told(plan) == more
        left = find(status_of(carried_out(found, plan).mdep).conditions, "Replayed")
        assert (left is None) is not bool(more)


def test_where_nothing_was_begun_a_silent_recorder_is_told_nothing() -> None:
    snapshot = replace(ready(shadowing(serving={"replicas": 1})), replay=SILENT)
    assert told(decide(snapshot, NOW)) == []
    assert said(snapshot) is None


def test_out_of_an_enrolled_namespace_a_silent_recorder_is_told_to_end_it() -> None:
    wanting = going(ready(shadowing()))
    space: Any = {"metadata": {"name": "lending", "labels": {}}}
    silent = replace(carried_out(wanting, decide(wanting, NOW)), replay=SILENT, namespace=space)
    assert told(decide(silent, NOW)) == [None]
    condition = said(silent)
    assert condition is not None
    assert condition.reason == "NotEnrolled"


@pytest.mark.parametrize(
    ("known", "status", "reason", "words"),
    [
        (
            LiveUnavailable(NOT_SWITCHED_ON),
            "False",
            "RecorderUnavailable",
            "recorder.enabled=true and recorder.replay=true",
        ),
        (
            {"problem": "http://x can't be reached"},
            "False",
            "Unreachable",
            "http://x can't be reached; let the recorder",
        ),
        ({}, "Unknown", "NoInputs", "no input came yet since version 1 came to Shadow"),
        ({"waiting": 1}, "True", "Replaying", "version 1 was asked 0 requests again; 1 wait"),
        (
            {"replayed": 12, "failed": 2, "last_failure": "status 500", "dropped": 3},
            "True",
            "Replaying",
            "was asked 12 requests again, 2 of them failed (last: status 500); 0 wait; 3 were too many or too old",
        ),
    ],
)
def test_how_it_goes_is_said(known: Any, status: str, reason: str, words: str) -> None:
    snapshot = ready(shadowing())
    snapshot = replace(snapshot, replay=known) if isinstance(known, LiveUnavailable) else going(snapshot, **known)
    condition = said(snapshot)
    assert condition is not None
    assert (condition.status, condition.reason) == (status, reason)
    assert words in condition.message


def nothing_seen(snapshot: ModelSnapshot) -> ModelSnapshot:
    live = Live.model_validate(
        {
            "namespace": "lending",
            "model": "credit",
            "revision": revision_of(snapshot.mdep),
            "task": "Binary",
            "positive": "bad",
            "since": SINCE,
            "until": "2026-01-02T00:00:00Z",
            "predictions": 0,
            "failed": 0,
            "labelled": 0,
            "latency": Moments(count=0, sum=0, sum_squares=0),
            "outcomes": {"overall": {"tp": 0, "fp": 0, "tn": 0, "fn": 0}},
            "decisions": {side: dict.fromkeys(DECIDED, 0) for side in ("shown", "blind")},
            "conflicts": 0,
            "unknown": 0,
            "dropped": 0,
        }
    )
    return replace(snapshot, live={revision_of(snapshot.mdep): live})


DECIDED = ("count", "overridden", "labelled", "humanRight", "modelRight", "bothRight")


def test_what_shadow_misses_names_what_keeps_replays_from_coming() -> None:
    snapshot = nothing_seen(ready(shadowing()))
    for known, words in (
        (
            LiveUnavailable(NOT_SWITCHED_ON),
            "500 predictions can't be shown: spec.serving.replay: no recorder replays",
        ),
        (ReplayState(order=order_of(snapshot), lapses=stamp(NOW + 600), waiting=1), "0 of 500 predictions"),
    ):
        status = written(decide(replace(snapshot, replay=known), NOW))
        assert status is not None
        condition = find(status.conditions, "Granted")
        assert condition is not None
        assert words in condition.message


def test_only_where_nobody_else_can_take_the_versions_place() -> None:
    snapshot = going(ready(shadowing()))
    space: Any = {"metadata": {"name": "lending", "labels": {"mandate.dev/enforce": "Strict"}}}
    assert told(decide(replace(snapshot, namespace=space), NOW)) == []
    space["metadata"]["labels"] = {}
    plan = decide(replace(snapshot, namespace=space), NOW)
    assert told(plan) == [None]
    status = written(plan)
    assert status is not None
    condition = find(status.conditions, "Replayed")
    assert condition is not None
    assert condition.reason == "NotEnrolled"
    assert "kubectl label namespace lending mandate.dev/enforce=Labelled" in condition.message


def test_a_service_of_that_name_that_is_somebody_elses_is_said() -> None:
    snapshot = shadowing()
    name = workload_name("credit", revision_of(snapshot.mdep))
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "lending", "uid": "x"}}
    snapshot = replace(snapshot, services={name: foreign}, replay=ReplayState())
    plan = decide(snapshot, NOW)
    status = written(plan)
    assert told(plan) == []
    assert status is not None
    stalled = find(status.conditions, "Stalled")
    assert stalled is not None
    assert stalled.reason == "NameTaken"


async def test_the_recorder_is_told_and_answers(tmp_path: Path) -> None:
    order = order_of(shadowing())
    place, time = ("lending", "credit"), [0.0]
    async with recording(tmp_path / "db", to=free_port()) as client:
        source = ReplaySource(url=client.orders_url, every=60, clock=lambda: time[0])
        assert await source.state(place) == ReplayState()
        began = await source.tell(place, order)
        assert isinstance(began, ReplayState)
        assert began.order == order
        assert await source.state(place) == began
        await client.end()
        assert await source.state(place) == began
        time[0] = 60.0
        assert await source.state(place) == ReplayState()
        await source.tell(place, order)
        assert await source.tell(place, None) == ReplayState()
    time[0] = 120.0
    gone = await source.tell(place, order)
    assert isinstance(gone, LiveUnavailable)
    assert "can't be asked: ClientConnectorError" in gone.reason
    async with recording(tmp_path / "db", to=1, switched_on=False) as client:
        source = ReplaySource(url=client.orders_url, every=60)
        assert await source.state(place) == LiveUnavailable(NOT_SWITCHED_ON)
    assert await ReplaySource(url="", every=60).state(place) == LiveUnavailable(NOT_SWITCHED_ON)


async def test_the_wrong_port_is_named(tmp_path: Path) -> None:
    async with recording(tmp_path / "db", to=free_port()) as client:
        source = ReplaySource(url=str(client.session._base_url).rstrip("/"), every=60)
        told = await source.tell(("lending", "credit"), order_of(shadowing()))
        assert isinstance(told, LiveUnavailable)
        assert "answered 403" in told.reason
        assert "--orders-port" in told.reason


def test_a_status_that_was_written_keeps_being_asked_about() -> None:
    wanting = going(ready(shadowing()))
    status = written(decide(wanting, NOW))
    assert status is not None
    document = declared("1", status=raw(status), serving={"replicas": 1})
    snapshot = replace(wanting, mdep=document)
    assert concerns(snapshot, understood(document))
    assert not concerns(replace(snapshot, mdep=declared("1")), understood(document))


async def test_what_was_begun_is_ended_while_the_spec_is_not_understood(tmp_path: Path) -> None:
    wanting = going(ready(shadowing()))
    status = carried_out(wanting, decide(wanting, NOW)).mdep["status"]
    document = declared("1", status=status, serving__replay=REPLAY | {"rate": "a lot"})
    with pytest.raises(SpecError):
        understood(document)
    place = (document["metadata"]["namespace"], document["metadata"]["name"])
    async with recording(tmp_path / "db", to=free_port()) as client:
        settings = replace(SETTINGS, recorder_orders_url=client.orders_url)
        api: Any = FakeApi(random.Random(0))
        controller = Controller(api, settings, identity="x", operator_namespace="mandate-system", now=lambda: NOW)
        api.put(MODEL_DEPLOYMENTS, document)
        controller.store.upsert(MODEL_DEPLOYMENTS, await api.get(MODEL_DEPLOYMENTS, place[1], namespace=place[0]))
        await client.order()
        await controller.reconcile(Key("Model", *place))
        assert await client.state() == ReplayState()
