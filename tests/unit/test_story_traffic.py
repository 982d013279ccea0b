"""Every request of the story has an entry, whatever comes back; against a server on the loopback address."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.story import traffic
from tests.e2e.story.traffic import PATH, Flight, Flights, Traffic, who_answered

FLIGHT = Flight(id="UA1", inputs=({"name": "x", "data": [1.0]},), truth="late", rule="on time", origin="JFK")
HEADERS = {"Mandate-Autonomy": "Automate", "Mandate-Model-Version": "1"}
OUTPUTS = [{"name": "probabilities", "data": [0.5, 0.5]}]


def body(version: Any = "1", **fields: Any) -> str:
    return json.dumps({"model_name": "model", "model_version": version, "outputs": OUTPUTS, **fields})


@contextmanager
def serving(answer: Callable[[int], web.Response]) -> Iterator[str]:
    """A server whose `answer` to the n-th request, from 1, is given; its address and port."""
    loop = asyncio.new_event_loop()
    asked = iter(range(1, 10_000))

    async def handle(_: web.Request) -> web.Response:
        return answer(next(asked))

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_post(PATH, handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    runner, port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def callers(address: str, *, told: list[Any], flight: Flight = FLIGHT, **fields: Any) -> Traffic:
    options: dict[str, Any] = {"tell": told.extend, "revisions": dict, "rate": 200.0, **fields}
    flights = Flights(well=[flight], faulty=[flight])
    return Traffic(
        address=address, host="flights.test", flights=flights, place={"namespace": "x", "model": "flights"}, **options
    )


def run(found: Traffic, *, count: int) -> None:
    """Send at least so many."""
    found.start()
    until = time.monotonic() + 30
    while found.sent < count and not found.problem and time.monotonic() < until:
        time.sleep(0.01)
    found.end()


def test_whatever_comes_back_each_request_has_an_entry() -> None:
    answers: dict[int, web.Response] = {
        1: web.Response(text=body("1"), headers=HEADERS),
        2: web.Response(text=body("2"), headers=HEADERS),  # the headers say otherwise
        3: web.Response(text="not JSON", headers=HEADERS),
        4: web.Response(text=body("1"), headers=HEADERS | {"Mandate-Blind-Percent": "some"}),
        5: web.Response(status=503, text="no healthy upstream"),
        6: web.Response(text=body("rule"), headers={"Mandate-Autonomy": "Fallback"}),
        7: web.Response(text=body(outputs=[]), headers=HEADERS),
    }
    told: list[Any] = []
    with serving(lambda number: answers.get(number) or web.Response(text=body(), headers=HEADERS)) as address:
        found = callers(address, told=told, concurrency=1)
        run(found, count=10)
    entries = sorted(found.entries, key=lambda entry: entry.id)
    assert len(entries) == found.sent >= 10
    seen = [(entry.status, entry.version, entry.answered, entry.lost) for entry in entries[:8]]
    assert seen == [
        (200, "1", "1", False),
        (200, "1", "2", False),
        (200, "1", "", True),
        (0, "", "", True),
        (503, "", "", True),
        (200, "", "rule", False),
        (200, "1", "", True),
        (200, "1", "1", False),
    ]
    assert "not JSON" in entries[2].error
    assert "ValueError: invalid literal for int() with base 10: 'some'" in entries[3].error
    assert entries[4].error == "no healthy upstream"
    assert "without outputs" in entries[6].error
    outcomes = [event for event in told if event["type"] == "dev.mandate.outcome"]
    assert len(outcomes) == found.sent


def test_what_goes_wrong_before_anything_is_sent_has_an_entry_too() -> None:
    broken = Flight(id="UA1", inputs=({"name": "x", "data": [float("nan")]},), truth="late", rule="late", origin="JFK")
    found = callers("127.0.0.1:1", told=[], flight=broken)
    run(found, count=5)
    assert len(found.entries) == found.sent >= 5
    assert {entry.status for entry in found.entries} == {0}
    assert "Out of range float" in found.entries[0].error


def test_what_goes_wrong_after_an_answer_ends_the_story() -> None:
    def lost() -> dict[str, str]:
        raise KeyError("revision")

    suggested = {"Mandate-Autonomy": "Suggest", "Mandate-Model-Version": "1"}
    with serving(lambda _: web.Response(text=body(), headers=suggested)) as address:
        found = callers(address, told=[], revisions=lost)
        with pytest.raises(RuntimeError, match=r"didn't end well: request \d+: KeyError: 'revision'"):
            run(found, count=9)


def test_an_entry_that_is_missing_or_doubled_ends_the_story() -> None:
    with serving(lambda _: web.Response(text=body(), headers=HEADERS)) as address:
        for doubled in (False, True):
            found = callers(address, told=[])
            found.start()
            while len(found.entries) < 5:
                time.sleep(0.01)
            if doubled:
                found.entries.append(found.entries[0])
            else:
                found.entries.pop()
            with pytest.raises(RuntimeError, match=r"requests were sent, and .* expected one of each"):
                found.end()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_telling_that_is_given_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: list[Any]) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(traffic, "TELLING", 0.2)
    monkeypatch.setattr(traffic, "REST", 0.05)
    with serving(lambda _: web.Response(text=body(), headers=HEADERS)) as address:
        found = callers(address, told=[], tell=away)
        with pytest.raises(
            RuntimeError, match=r"given up after 0.2 s: \d+ events are untold \(OSError: connection refused"
        ):
            run(found, count=5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_event_that_the_recorder_refuses_ends_the_story() -> None:
    def refuses(_: list[Any]) -> None:
        raise ValueError("the recorder refused events")

    with serving(lambda _: web.Response(text=body(), headers=HEADERS)) as address:
        found = callers(address, told=[], tell=refuses)
        with pytest.raises(RuntimeError, match="the recorder refused events"):
            run(found, count=10_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        body(None),
        body(2),
        body(""),
        body(outputs=None),
        body(outputs=[]),
        body(outputs=[{"data": []}]),
        body(outputs=[{"name": "probabilities"}]),
    ],
)
def test_what_says_not_who_answered_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r"answer|model_version"):
        who_answered(text.encode())


def test_an_answer_says_who_it_is_from() -> None:
    assert who_answered(body("2").encode()) == "2"
