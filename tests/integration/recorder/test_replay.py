"""A champion and a candidate at Shadow, both real model servers: what one is asked, the other is asked as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mandate.api.moments import stamp
from mandate.controller.replay_source import ReplaySource
from mandate.evidence.replay import ReplayOrder, ReplayState
from mandate.recorder.__main__ import now
from mandate.recorder.replay import Place, Replays
from mandate.recorder.server import Recorder, serving
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.writer import Writer
from mandate.telemetry.recorder import RecorderMetrics
from tests.integration.recorder.test_predictor import arguments, body, folder, infer
from tests.models import predictor
from tests.processes import free_port
from tests.recording import call, live_path

OLD, NEW = "0" * 32, "1" * 32
REQUESTS = 40
PLACE = ("lending", "credit")


async def told(source: ReplaySource, order: ReplayOrder | None) -> ReplayState:
    state = await source.tell(PLACE, order)
    assert isinstance(state, ReplayState), state
    return state


async def until(url: str, path: str, condition: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(120):
        while True:
            status, live = await asyncio.to_thread(call, url + path)
            assert status == 200, live
            if condition(live):
                return live
            await asyncio.sleep(0.1)


async def test_a_candidate_at_shadow_answers_what_the_champion_was_asked(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        servers = {}
        for revision, weight in ((OLD, 1.0), (NEW, 2.0)):
            model = folder(tmp_path / revision, weight=weight)
            starting = predictor(model, *arguments(revision, url))
            servers[revision], _ = await asyncio.to_thread(stack.enter_context, starting)
        old, new = servers[OLD], servers[NEW]

        def address(place: Place, revision: str) -> str:
            assert (place, revision) == (PLACE, NEW)
            return new

        storage, metrics = SqliteStorage(tmp_path / "db"), RecorderMetrics()
        writer = Writer(storage, clock=now, committed=metrics.commit_seconds.observe)
        replays = Replays(writer, clock=now, address=address)
        recorder = Recorder(storage, writer, clock=now, metrics=metrics, replays=replays)
        writing = asyncio.create_task(writer.run())
        async with (
            serving(recorder.application(), host="127.0.0.1", port=port),
            serving(recorder.orders(), host="127.0.0.1", port=0) as orders_port,
            replays.running(),
        ):
            source = ReplaySource(url=f"http://127.0.0.1:{orders_port}", every=0.0)
            began = stamp(datetime.now(UTC).timestamp())
            order = ReplayOrder(revision=NEW, since=began, rate=999, inputs=1000, keep_seconds=60, lease_seconds=60)

            async def ask(number: int, server: str = old) -> None:
                assert await asyncio.to_thread(infer, server, body(number), f"q{number}") == 200

            def seen(revision: str, **more: str) -> str:
                return live_path(revision, **{"since": began, "grace": "0"} | more)

            # Nobody is at Shadow: what is asked is nobody's business.
            await ask(1000)
            await until(url, seen(OLD), lambda live: live["predictions"] == 2)
            assert await source.state(PLACE) == ReplayState()

            await told(source, order)
            await ask(1001)  # the answer to this one's predictions tells that inputs are wanted
            await until(url, seen(OLD), lambda live: live["predictions"] == 4)
            for number in range(REQUESTS):
                await ask(number)
                await asyncio.sleep(0.005)
            path = seen(NEW, against=OLD)
            live = await until(url, path, lambda live: live["predictions"] == 2 * REQUESTS)
            assert (live["failed"], live["conflicts"], live["dropped"]) == (0, 0, 0)
            pairs = live["pairs"]["overall"]
            assert (pairs["paired"], pairs["compared"], pairs["missing"]) == (2 * REQUESTS, 2 * REQUESTS, 4)
            # The two aren't the same model: its own answers were recorded, not copies of the champion's.
            assert pairs["scoreDifference"]["min"] < 0 < pairs["scoreDifference"]["max"]
            state = await source.state(PLACE)
            assert isinstance(state, ReplayState)
            assert (state.replayed, state.failed, state.waiting, state.dropped) == (REQUESTS, 0, 0, 0)

            # At Suggest nothing more is replayed, and what was replayed before is no use of that level.
            assert (await told(source, None)) == ReplayState()
            await ask(2000)
            await until(url, seen(OLD), lambda live: live["predictions"] == 2 * REQUESTS + 6)
            live = await until(url, path, lambda live: True)
            assert live["predictions"] == 2 * REQUESTS
            await ask(0, new)  # asked by somebody, under an identity that is known: still counted once
            live = await until(url, path, lambda live: True)
            assert live["predictions"] == 2 * REQUESTS
        await writer.close()
        await writing
        recorder.close()
        storage.close()
