"""What the recorder says of a revision's use, asked over HTTP; a recorder that can't be asked is said to be so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mandate.api.spec import Task
from mandate.controller import live as asking
from mandate.controller.live import ALONE, MOST_BYTES, NO_RECORDER, LiveSource
from mandate.controller.snapshot import LiveAnswer, LiveQuestion, LiveUnavailable
from mandate.evidence.live import Drawn, Live
from mandate.recorder.sqlite import SqliteStorage
from mandate.rollout.pairs import Comparison
from mandate.rollout.ratio import Divided
from mandate.rollout.record import seen_of
from mandate.rollout.state import Holder, Rung
from tests.recording import decision, outcome, prediction
from tests.unit.controller.answering import answering
from tests.unit.recorder.test_server import recording

PLACE = ("lending", "credit")
TASK = Task.model_validate({"type": "Binary", "target": "risk", "positive": "bad"})
REVISION = prediction()["data"]["revision"]
HOLDER = Holder(revision=REVISION, version="7", since=1_769_850_000, stepped=1_769_850_000, rung=Rung("Shadow"))
QUESTION = LiveQuestion(holder=HOLDER, task=TASK)
PAIRED = LiveQuestion(holder=HOLDER, task=TASK, compared=Comparison(against="champion", since="2026-01-31T10:00:00Z"))


def test_the_recorder_s_own_answer_is_understood(tmp_path: Path) -> None:
    async def asked() -> Any:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            assert (await client.send(prediction(), outcome()))[0] == 200
            return (await LiveSource(url=f"http://127.0.0.1:{client.port}", every=60).ask(PLACE, QUESTION)).live

    live = asyncio.run(asked())
    assert isinstance(live, Live), live
    seen = seen_of(live, {})
    assert (seen.since, seen.predictions, seen.labelled) == (HOLDER.since, 1, 1)


@pytest.mark.parametrize(
    "declared",
    [
        {"type": "Forecast", "target": "sold", "time": "day"},
        {"type": "Ranking", "target": "grade", "query": "search"},
    ],
    ids=lambda declared: declared["type"],
)
def test_what_answers_with_numbers_is_asked_about_as_the_numbers_that_it_is(declared: dict[str, str]) -> None:
    questions: list[str] = []

    async def count(request: web.Request) -> web.Response:
        questions.append(request.query["task"])
        return web.Response(status=503)

    async def asked() -> None:
        task = Task.model_validate(declared)
        async with answering(count) as url:
            await LiveSource(url=url, every=60).ask(PLACE, LiveQuestion(holder=HOLDER, task=task))

    asyncio.run(asked())
    assert questions == ["Regression"]


def test_one_question_a_period() -> None:
    time, questions = [0.0], []

    async def count(request: web.Request) -> web.Response:
        questions.append(request.query_string)
        return web.Response(status=503)

    async def asked() -> None:
        async with answering(count) as url:
            source = LiveSource(url=url, every=60, clock=lambda: time[0])
            for moment, expected in ((0.0, 1), (59.0, 1), (60.0, 2)):
                time[0] = moment
                await source.ask(PLACE, QUESTION)
                assert len(questions) == expected
            await source.ask(("lending", "other"), QUESTION)
            assert len(questions) == 3

    asyncio.run(asked())


OTHER = {"revision": "0" * 32}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"", "answered 503"),
        (302, b"", "answered 302"),
        (200, b"not JSON", "isn't understood"),
        (200, b"{}", "isn't understood"),
        (200, b" " * (MOST_BYTES + 1), "can't be asked: ValueError"),
        (200, None, "another question"),
    ],
)
def test_an_answer_that_helps_nobody(status: int, body: bytes | None, words: str, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=other if body is None else body, headers={"Location": "/elsewhere"})

    async def asked() -> Any:
        nonlocal other
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            document = await client.live()
            other = json.dumps(document | OTHER).encode()
        async with answering(answer) as url:
            return (await LiveSource(url=url, every=60).ask(PLACE, QUESTION)).live

    other = b""
    found = asyncio.run(asked())
    assert isinstance(found, LiveUnavailable)
    assert words in found.reason


def test_nobody_there() -> None:
    found = asyncio.run(LiveSource(url="http://127.0.0.1:9", every=60).ask(PLACE, QUESTION)).live
    assert isinstance(found, LiveUnavailable)
    assert "can't be asked" in found.reason
    found = asyncio.run(LiveSource(url="", every=60).ask(PLACE, QUESTION)).live
    assert found == LiveUnavailable(NO_RECORDER)


def test_a_recorder_that_hangs_up_is_left_alone_for_a_while() -> None:
    time: list[float] = [0.0]
    questions: list[str] = []

    async def hang_up(request: web.Request) -> web.Response:
        questions.append(request.path)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def asked() -> None:
        async with answering(hang_up) as url:
            source = LiveSource(url=url, every=60, clock=lambda: time[0])
            for moment, model, expected in ((0.0, "a", 1), (9.0, "b", 1), (10.0, "b", 2)):
                time[0] = moment
                found = (await source.ask(("lending", model), QUESTION)).live
                assert isinstance(found, LiveUnavailable)
                assert len(set(questions)) == expected

    asyncio.run(asked())


def test_pairs_come_with_the_same_answer(tmp_path: Path) -> None:
    async def asked() -> Any:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            await client.send(prediction(), prediction(revision="champion"))
            return (await LiveSource(url=f"http://127.0.0.1:{client.port}", every=60).ask(PLACE, PAIRED)).live

    live = asyncio.run(asked())
    assert isinstance(live, Live), live
    assert (live.predictions, live.against, live.pairs_since) == (1, "champion", "2026-01-31T10:00:00.000Z")
    assert live.pairs is not None
    assert (live.pairs.overall.paired, live.pairs.overall.agree) == (1, 1)


def test_an_answer_that_leaves_out_the_pairs_is_asked_for_without_them(tmp_path: Path) -> None:
    async def asked() -> LiveAnswer:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            body = json.dumps(await client.live()).encode()

        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=body)

        async with answering(answer) as url:
            return await LiveSource(url=url, every=60).ask(PLACE, PAIRED)

    found = asyncio.run(asked())
    assert isinstance(found.live, Live), found
    assert (found.live.pairs, found.alone) == (None, "the recorder answered another question")


def test_a_recorder_that_knows_no_pairs_still_says_the_rest(tmp_path: Path) -> None:
    """As the operator is newer than the recorder while an upgrade is under way."""
    time: list[float] = [0.0]
    questions: list[bool] = []

    async def asked() -> list[LiveAnswer]:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            await client.send(prediction())
            body = json.dumps(await client.live()).encode()

        async def older(request: web.Request) -> web.Response:
            questions.append("against" in request.query)
            return web.Response(status=400) if "against" in request.query else web.Response(body=body)

        async with answering(older) as url:
            source = LiveSource(url=url, every=60, clock=lambda: time[0])
            return [await source.ask(PLACE, PAIRED) for time[0] in (0.0, 60.0, ALONE)]

    answers = asyncio.run(asked())
    assert questions == [True, False, False, True, False]
    for answer in answers:
        assert isinstance(answer.live, Live), answer
        assert answer.live.predictions == 1
        assert "answered 400 to a question about pairs, which older ones don't know: upgrade it" in answer.alone


def test_the_blind_share_comes_back_with_the_answer(tmp_path: Path) -> None:
    asked_for = replace(QUESTION, blind_share=30)

    async def asked() -> list[Any]:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            await client.send(prediction(), decision(shown=False))
            body = json.dumps(await client.live()).encode()
            answers = [await LiveSource(url=f"http://127.0.0.1:{client.port}", every=60).ask(PLACE, asked_for)]

        async def ignores(_: web.Request) -> web.Response:
            return web.Response(body=body)

        async def older(_: web.Request) -> web.Response:
            return web.Response(status=400)

        for handler in (ignores, older):
            async with answering(handler) as url:
                answers.append(await LiveSource(url=url, every=60).ask(PLACE, asked_for))
        return [answer.live for answer in answers]

    live, ignored, refused = asyncio.run(asked())
    assert isinstance(live, Live), live
    assert (live.blind_share, live.decisions.blind.count) == (30, 1)  # q, row 0: drawn from 10.36 % on
    assert ignored == LiveUnavailable("the recorder answered another question")
    assert refused.reason.endswith(
        "answered 400 to a question about blind decisions, which older ones don't know: upgrade it"
    )


def test_pairs_that_take_too_long_are_left_out_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    time: list[float] = [0.0]
    questions: list[bool] = []
    over = asyncio.Event()

    async def slow_with_pairs(request: web.Request) -> web.Response:
        questions.append("against" in request.query)
        if "against" in request.query:
            await over.wait()
        return web.Response(status=503)

    async def asked() -> list[LiveAnswer]:
        async with answering(slow_with_pairs) as url:
            source = LiveSource(url=url, every=60, clock=lambda: time[0])
            found = []
            for time[0] in (0.0, 60.0, ALONE - 1, ALONE):
                # Short only where no answer comes, and long enough for the question to arrive on a busy machine.
                monkeypatch.setattr(asking, "PATIENCE", 1.0 if time[0] in (0.0, ALONE) else 60.0)
                found.append(await source.ask(PLACE, PAIRED))
            over.set()
            return found

    answers = asyncio.run(asked())
    assert questions == [True, False, False, True]
    reasons = [answer.live.reason for answer in answers if isinstance(answer.live, LiveUnavailable)]
    assert [reason.rpartition(" ")[2] for reason in reasons] == ["TimeoutError", "503", "503", "TimeoutError"]
    assert {answer.alone for answer in answers} == {reasons[0]}


STEP = Divided(holder=HOLDER, others=("champion",), share=Fraction(1, 10), since=HOLDER.since)


def test_where_draws_led_is_asked_of_the_real_recorder(tmp_path: Path) -> None:
    async def asked() -> Any:
        async with recording(SqliteStorage(tmp_path / "events")) as client:
            drawn = (("a", {"unit": "e1"}), ("b", {"unit": "e1", "revision": "champion"}), ("c", {}))
            sent = [prediction(id_, time="2026-01-31T11:00:00Z", **fields) for id_, fields in drawn]
            assert (await client.send(*sent))[0] == 200
            return await LiveSource(url=f"http://127.0.0.1:{client.port}", every=60).drawn(PLACE, STEP)

    found = asyncio.run(asked())
    assert isinstance(found, Drawn), found
    assert sum(found.units.values()) == 1
    assert (found.several, found.undrawn) == (1, {REVISION: 1, "champion": 0})


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, "", "answered 404, as older ones do to this question: upgrade it"),
        (503, "", "answered 503"),
        (200, "{}", "isn't understood"),
        (200, "x" * (MOST_BYTES + 1), "can't be asked"),
    ],
)
def test_where_draws_led_may_not_be_known(status: int, body: str, words: str) -> None:
    questions: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        questions.append(request.path)
        return web.Response(status=status, text=body)

    async def asked() -> Any:
        async with answering(answer) as url:
            source = LiveSource(url=url, every=60)
            return [await source.drawn(PLACE, STEP) for _ in range(2)][-1]

    found = asyncio.run(asked())
    assert isinstance(found, LiveUnavailable)
    assert words in found.reason
    assert questions == ["/v1/namespaces/lending/models/credit/drawn"]


def test_without_a_recorder_nobody_is_asked_where_draws_led() -> None:
    assert asyncio.run(LiveSource(url="", every=60).drawn(PLACE, STEP)) == LiveUnavailable(NO_RECORDER)
