"""Drills: a real request to a real server on loopback, what is made of its answer, and what the status says of it."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from mandate.api.kinds import FallbackDrill, ModelDeploymentStatus
from mandate.api.moments import instant
from mandate.controller.choice import understood
from mandate.controller.conditions import find
from mandate.controller.decide import decide
from mandate.controller.drill import PATH, RequestError, request_of, undrilled
from mandate.controller.driller import MOST_BYTES, Driller
from mandate.controller.events import changes, told
from mandate.controller.snapshot import DrillOutcome, ModelSnapshot
from tests.unit.controller.answering import Handler, answering
from tests.unit.controller.judged import declared, judged, raw, written

NOW = instant("2026-01-02T00:00:00Z")
Object = dict[str, Any]
TENSORS = [
    {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [number]}
    for name, number in (("amount", 900), ("duration", 12))
]
REQUEST = json.dumps({"inputs": TENSORS})
ANSWER = {"outputs": [{"name": "probabilities", "shape": [1, 1], "datatype": "FP32", "data": [0.25]}]}
SERVICE = {"spec": {"selector": {"app": "rule"}, "ports": [{"port": 80, "targetPort": 8080}]}}


def asking(request: str | None = REQUEST, *, value: str = "7 by ann", **more: Any) -> ModelSnapshot:
    """A model with a fallback of which a drill is asked; `more` replaces fields of the snapshot."""
    fallback = {"serviceRef": {"name": "rule", "port": 80}} | ({} if request is None else {"request": request})
    document = declared("1", useCase__fallback=fallback)
    document["metadata"]["annotations"] = {"mandate.dev/drill": value}
    return replace(judged(document, accuracy=0.8), **({"fallback": SERVICE} | more))


async def drilled(
    snapshot: ModelSnapshot, url: str = "", *, enabled: bool = True, patience: float = 30
) -> DrillOutcome:
    """What a driller finds, asked again once it says that it knows."""
    places, known = [], asyncio.Event()
    driller = Driller(enabled=enabled, address=lambda *place: places.append(place) or url, patience=patience)  # type: ignore[func-returns-value]
    driller.then(lambda *_: known.set())
    outcome = driller.outcome(snapshot)
    if outcome is None:
        assert driller.outcome(snapshot) is None  # under way: not sent twice
        await asyncio.wait_for(known.wait(), 60)
        outcome = driller.outcome(snapshot)
        assert places == [("lending", "rule", 80)]
    else:
        assert places == []
    assert outcome is not None
    return outcome


async def against(handler: Handler, *, patience: float = 30) -> DrillOutcome:
    async with answering(handler) as url:
        return await drilled(asking(), url, patience=patience)


def test_a_fallback_that_answers() -> None:
    got: list[tuple[str, str, Any, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.method, request.path, request.headers.copy(), await request.json()))
        return web.json_response(ANSWER)

    outcome = asyncio.run(against(answer))
    assert (outcome.answered, outcome.reason, outcome.service, outcome.port) == (True, "Answered", "rule", 80)
    assert outcome.microseconds is not None
    assert outcome.message.startswith("Service rule:80 answered in ")
    assert outcome.message.endswith("ms with probabilities for 1 row")
    ((method, path, headers, body),) = got
    assert (method, path) == ("POST", PATH)
    assert body == {"inputs": TENSORS, "outputs": [{"name": "probabilities"}]}
    assert (headers["X-Request-Id"], headers["Mandate-Drill"]) == ("drill-7", "7")
    assert not {"Authorization", "Cookie"} & set(headers)


def output(**changes: Any) -> str:
    return json.dumps({"outputs": [ANSWER["outputs"][0] | changes]})


@pytest.mark.parametrize(
    ("status", "body", "reason", "words"),
    [
        (404, "{}", "BadStatus", "status 404 at /v2/models/model/infer"),
        (503, json.dumps(ANSWER), "BadStatus", "status 503"),
        (302, json.dumps(ANSWER), "BadStatus", "status 302"),
        (200, "<html>", "Malformed", "something that isn't JSON"),
        (200, "[" * 100_000, "Malformed", "something that isn't JSON"),
        (200, " " * (MOST_BYTES + 1) + json.dumps(ANSWER), "Malformed", "something that isn't JSON"),
        (200, "[]", "Malformed", "no output probabilities"),
        (200, '{"outputs": {}}', "Malformed", "no output probabilities"),
        (200, output(name="score"), "Malformed", "no output probabilities"),
        (200, output(shape=[2, 1], data=[0.1, 0.2]), "Malformed", "of another shape than 1 rows"),
        (200, output(shape=[True]), "Malformed", "of another shape"),
        (200, output(shape=[1], data=[]), "Malformed", "of another shape"),
        (200, output(data=[float("nan")]), "Malformed", "missing or non-finite"),
        (200, output(data=[[0.5, [None]]]), "Malformed", "missing or non-finite"),
    ],
)
def test_what_is_no_answer(status: int, body: str, reason: str, words: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Location": "/elsewhere"} if status == 302 else None)

    outcome = asyncio.run(against(answer))
    assert (outcome.answered, outcome.reason) == (False, reason)
    assert words in outcome.message
    assert "html" not in outcome.message  # a stranger's words aren't quoted


def test_classes_are_values_too() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=output(datatype="BYTES", data=["good"]))

    assert asyncio.run(against(answer)).answered is True


def test_one_that_hangs_and_one_that_is_not_there() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    outcome = asyncio.run(against(hang, patience=0.2))
    assert (outcome.answered, outcome.reason) == (False, "NoAnswer")
    assert "no answer within 0.2 s" in outcome.message
    with socket.socket() as taken:  # bound and not listening, so that nobody answers there
        taken.bind(("127.0.0.1", 0))
        outcome = asyncio.run(drilled(asking(), f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert (outcome.answered, outcome.reason, outcome.microseconds) == (False, "NotReached", None)


def tensors(*shapes: Any, names: tuple[str, ...] = ("amount", "duration")) -> str:
    return json.dumps({"inputs": [{"name": name, "shape": shape} for name, shape in zip(names, shapes, strict=True)]})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (None, "isn't declared; put a request there"),
        ("{inputs}", "isn't JSON"),
        ('{"inputs": [NaN]}', "NaN is no JSON number"),
        ("[" * 10_000, "isn't JSON"),
        ('{"inputs": []}', "expected an object with inputs"),
        (tensors([1], names=("amount",)), "inputs amount, expected those that the model is fed: amount, duration"),
        (tensors([1], [2]), "the same number of rows"),
        (tensors([0], [0]), "the same number of rows"),
        (tensors([1], None), "the same number of rows"),
    ],
)
def test_a_request_that_cannot_be_sent_is_said_and_proves_nothing(request_: str | None, words: str) -> None:
    outcome = asyncio.run(drilled(asking(request_)))
    assert (outcome.answered, outcome.reason) == (None, "RequestInvalid")
    assert words in outcome.message


def test_a_matrix_is_one_tensor_and_outputs_that_the_request_names_stay() -> None:
    fallback = {"serviceRef": {"name": "rule", "port": 80}}
    document = {"inputs": [{"name": "x", "shape": [3, 2], "data": [0] * 6}], "outputs": [{"name": "probabilities"}]}
    inputs = {"columns": ["amount", "duration"], "encoding": "Matrix", "name": "x"}
    spec = understood(
        declared("1", useCase__fallback=fallback | {"request": json.dumps(document)}, model__inputs=inputs)
    )
    body, rows = request_of(spec)
    assert (json.loads(body), rows) == (document, 3)
    other = document | {"inputs": [{"name": "y", "shape": [3, 2]}]}
    spec = understood(declared("1", useCase__fallback=fallback | {"request": json.dumps(other)}, model__inputs=inputs))
    with pytest.raises(RequestError, match="inputs y, expected those that the model is fed: x"):
        request_of(spec)


@pytest.mark.parametrize(
    ("snapshot", "enabled", "expected"),
    [
        (asking(fallback=None), True, (False, "FallbackUnusable")),
        (asking(fallback={"spec": {"ports": [{"port": 80}]}}), True, (False, "FallbackUnusable")),
        (asking(fallback={"spec": {**SERVICE["spec"], "type": "ExternalName"}}), True, (None, "NotSent")),
        (asking(value=f"7 of {'0' * 32} by ann"), True, (None, "NotSent")),
        (asking(), False, (None, "DrillsOff")),
        (asking(namespace={"metadata": {"name": "lending", "labels": {"team": "a"}}}), True, (None, "NotEnrolled")),
    ],
)
def test_where_nothing_is_sent(snapshot: ModelSnapshot, enabled: bool, expected: tuple[bool | None, str]) -> None:
    outcome = asyncio.run(drilled(snapshot, enabled=enabled))
    assert (outcome.answered, outcome.reason) == expected


def test_no_fallback_and_no_spec() -> None:
    snapshot = asking()
    del snapshot.mdep["spec"]["useCase"]["fallback"]
    assert asyncio.run(drilled(snapshot)).reason == "NoFallback"
    snapshot.mdep["spec"]["task"] = {}
    outcome = asyncio.run(drilled(snapshot))
    assert (outcome.answered, outcome.reason) == (None, "InvalidSpec")


# --- What the status says


def outcome_of(answered: bool | None, reason: str = "Answered", **more: Any) -> DrillOutcome:
    message = f"Service rule:80: {reason}"
    return DrillOutcome(id="7", answered=answered, reason=reason, message=message, service="rule", port=80, **more)


def decided(snapshot: ModelSnapshot, *, at: float = NOW) -> ModelDeploymentStatus:
    status = written(decide(snapshot, at))
    assert status is not None
    return status


def after(snapshot: ModelSnapshot, status: ModelDeploymentStatus) -> ModelSnapshot:
    return replace(snapshot, mdep={**snapshot.mdep, "status": raw(status)}, drill=None)


def test_a_drill_is_seen_to_once_it_is_known_what_came_of_it() -> None:
    waiting = decided(asking())
    assert "Drill" not in waiting.handled
    assert waiting.drill is None
    assert find(waiting.conditions, "FallbackDrilled") is None

    known = replace(after(asking(), waiting), drill=outcome_of(True, microseconds=1500))
    status = decided(known, at=NOW + 5)
    assert status.handled["Drill"] == "7"
    assert status.drill is not None
    assert (status.drill.at, status.drill.by, status.drill.answered) == ("2026-01-02T00:00:05Z", "ann", True)
    assert status.drill.microseconds == 1500
    condition = find(status.conditions, "FallbackDrilled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "Answered")
    assert condition.message == "Service rule:80: Answered, at 2026-01-02T00:00:05Z, asked by ann"
    assert [(item.what, item.by) for item in status.history if item.what == "Drilled"] == [("Drilled", "ann")]

    later = written(decide(after(known, status), NOW + 60))
    assert later is None or (later.drill, later.history) == (status.drill, status.history)


def test_another_id_s_outcome_is_not_taken_for_this_one_s() -> None:
    other = replace(asking(value="8 by ann"), drill=outcome_of(True))
    status = decided(other)
    assert ("Drill" in status.handled, status.drill) == (False, None)


@pytest.mark.parametrize(
    ("answered", "reason", "expected"), [(False, "NoAnswer", "False"), (None, "RequestInvalid", "Unknown")]
)
def test_a_drill_that_proved_nothing_is_told_as_a_warning(answered: bool | None, reason: str, expected: str) -> None:
    snapshot = replace(asking(value="7 by ann: monthly"), drill=outcome_of(answered, reason))
    status = decided(snapshot)
    condition = find(status.conditions, "FallbackDrilled")
    assert condition is not None
    assert (condition.status, condition.reason) == (expected, reason)
    (seen,) = [item for item in raw(status)["history"] if item["what"].startswith("Drill")]
    assert seen["what"] == "DrillFailed"
    note = told(seen)
    assert note.warning
    assert note.text == f"Service rule:80: {reason} (monthly) (asked by ann)"
    assert not [item for item in changes((), raw(status)["conditions"]) if "FallbackDrilled" in item.text]  # told once


def test_another_fallback_is_not_the_one_that_was_drilled() -> None:
    status = decided(replace(asking(), drill=outcome_of(True)))
    moved = after(asking(), status)
    moved.mdep["spec"]["useCase"]["fallback"]["serviceRef"]["port"] = 81
    condition = find(decided(moved).conditions, "FallbackDrilled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("Unknown", "FallbackChanged")


def test_what_was_wrong_with_no_fallback_is_not_wrong_with_one() -> None:
    asked = asking()
    del asked.mdep["spec"]["useCase"]["fallback"]
    none = DrillOutcome(id="7", answered=False, reason="NoFallback", message="none")
    status = decided(replace(asked, drill=none))
    condition = find(status.conditions, "FallbackDrilled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "NoFallback")
    condition = find(decided(after(asking(), status)).conditions, "FallbackDrilled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("Unknown", "FallbackChanged")


def test_a_drill_that_is_off_says_which_value_turns_it_on() -> None:
    outcome = asyncio.run(drilled(asking(), enabled=False))
    status = raw(decided(replace(asking(), drill=outcome)))
    (condition,) = [item for item in status["conditions"] if item["type"] == "FallbackDrilled"]
    assert (condition["status"], condition["reason"]) == ("Unknown", "DrillsOff")
    (seen,) = [item for item in status["history"] if item["what"] == "DrillFailed"]
    for text in (condition["message"], told(seen).text):
        assert "drills.enabled=true" in text


def test_a_drill_moves_nobody() -> None:
    before = decided(asking(value=""))
    status = decided(replace(after(asking(), before), drill=outcome_of(False, "NoAnswer")))
    for field in ("champion", "candidate", "previous", "refused", "paused", "halted"):
        assert getattr(status, field) == getattr(before, field)


@pytest.mark.parametrize(
    ("drill", "words"),
    [
        (None, "no drill is on record"),
        ({"answered": True}, ""),
        ({"answered": False}, "for the test"),
        ({"answered": None}, "for the test"),
        ({"answered": True, "service": "another"}, "another fallback was drilled"),
        ({"answered": True, "port": 81}, "another fallback was drilled"),
    ],
)
def test_only_an_answer_of_the_fallback_that_is_declared_now_proves_it(drill: Object | None, words: str) -> None:
    usual: Object = {"at": "2026-01-02T00:00:00Z", "by": "ann", "service": "rule", "port": 80, "reason": "Known"}
    record = None if drill is None else FallbackDrill(**(usual | {"message": "for the test"} | drill))
    found = undrilled(record, understood(asking().mdep))
    assert found.startswith(words)
    assert bool(found) == bool(words)
    bare = understood(declared("1"))
    assert undrilled(record, bare) == "spec.useCase.fallback isn't declared"
