"""What replays take: of an answer whose request is kept to be handed over, and of the recorder that asks it again.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.replay [--requests 1500] [--rows 10]

First the wrapper around Mandate's model server, with a model that takes no time: microseconds of processor time that an
exchange takes more whose request is kept, the least of seven rounds each. Then a recorder, in this process, asks a
real model server one request after another: replays per second, and milliseconds of the recorder's own processor time
for each, the record of the answer included.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mandate.api.moments import stamp
from mandate.evidence.replay import MOST_INPUTS, MOST_RATE, ReplayOrder
from mandate.predictor.recording import Answered, Exchanges, under_way
from mandate.recorder.__main__ import now
from mandate.recorder.facts import Input
from mandate.recorder.replay import Replays
from mandate.recorder.server import Recorder, serving
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.writer import Writer
from mandate.telemetry.recorder import RecorderMetrics
from tests.bench.beside import INFER, request
from tests.models import columns_model, predictor
from tests.processes import free_port

OLD, NEW = "0" * 32, "1" * 32
PLACE = ("lending", "credit")
ROUNDS = 7


async def exchanged(body: bytes, *, wanted: bool, count: int = 3000) -> float:
    """Microseconds of processor time of one exchange."""
    kept: list[Answered] = []

    async def application(_: Any, receive: Any, send: Any) -> None:
        await receive()
        under_way().asked(request_id="q", rows=1)
        under_way().values = np.array([0.1])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_: Any) -> None:
        return None

    exchanges = Exchanges(application, record=kept.append, inputs=lambda: wanted)
    headers = [(b"content-type", b"application/json"), (b"x-request-id", b"q")]
    began = time.process_time()
    for _ in range(count):
        await exchanges({"type": "http", "method": "POST", "path": INFER, "headers": headers}, receive, send)
    spent = time.process_time() - began
    assert [each.input is not None for each in kept] == [wanted] * count
    return 1e6 * spent / count


async def replayed(folder: Path, stack: ExitStack, body: str, count: int) -> tuple[float, float]:
    """Replays per second, and milliseconds of the recorder's processor time for one."""
    (folder / "model.onnx").write_bytes(columns_model())
    port = free_port()
    names = ("--namespace", PLACE[0], "--model-deployment", PLACE[1], "--revision", NEW)
    more = ("--record", f"http://127.0.0.1:{port}", *names, "--class", "good", "--class", "bad", "--positive=bad")
    url, _ = await asyncio.to_thread(stack.enter_context, predictor(folder, *more))
    storage, metrics = SqliteStorage(folder / "db"), RecorderMetrics()
    writer = Writer(storage, clock=now, committed=metrics.commit_seconds.observe)
    replays = Replays(writer, clock=now, address=lambda *_: url)
    recorder = Recorder(storage, writer, clock=now, metrics=metrics, replays=replays)
    writing = asyncio.create_task(writer.run())
    async with serving(recorder.application(), host="127.0.0.1", port=port), replays.running():
        since = stamp(time.time() - 1)
        bounds = {"rate": MOST_RATE, "inputs": MOST_INPUTS, "keep_seconds": 3600, "lease_seconds": 3600}
        replays.order(PLACE, ReplayOrder(revision=NEW, since=since, **bounds))
        whose = {"namespace": PLACE[0], "model": PLACE[1], "revision": OLD}
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            assert replays.offer(Input(**whose, request=f"q{number}", time=now(), path=INFER, body=body)) == "accepted"
        while replays.state(PLACE).waiting:  # noqa: ASYNC110 - the recorder tells nobody that it is done
            await asyncio.sleep(0.05)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        state = replays.state(PLACE)
        assert (state.dropped, state.last_failure, state.problem) == (0, "", "")
    await writer.close()
    await writing
    recorder.close()
    storage.close()
    return count / wall, 1000 * cpu / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--rows", type=int, default=10)
    options = parser.parse_args()
    for size in (1_000, 10_000, 100_000):
        found = [
            [asyncio.run(exchanged(b"x" * size, wanted=wanted)) for wanted in (False, True)] for _ in range(ROUNDS)
        ]
        plain, kept = (min(each) for each in zip(*found, strict=True))
        print(f"{size:,} bytes: an exchange takes {plain:.1f} µs, {kept - plain:.1f} µs more where its request is kept")
    body = request(options.rows).decode()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rate, each = asyncio.run(replayed(Path(folder), stack, body, options.requests))
        what = f"{options.requests:,} replays of {len(body):,} bytes"
        print(f"{what}: {rate:.0f}/s, {each:.2f} ms of the recorder's processor each")


if __name__ == "__main__":
    main()
