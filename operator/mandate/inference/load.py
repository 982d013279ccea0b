"""Sends requests at a declared rate, whether or not the answers come, and notes how long each took.

The schedule is open-loop: arrivals are a Poisson process, as from many independent clients, and don't wait for
answers. Latency counts from the moment at which a request was due, so a stalled server isn't forgiven the requests
that queued up meanwhile (no coordinated omission). The event loop sleeps in whole milliseconds, so up to one
millisecond of a latency is ours.

Where this process is slow itself, requests leave late. How many did is counted, each latency is noted from the moment
of sending as well, so that the truth lies between the two, and so is the share of the rate that was kept up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mandate.api.catalogue import LOAD_REQUESTS, LOAD_SECONDS

from .errors import InferenceError

Floats = npt.NDArray[np.float64]
Send = Callable[[int], Awaitable[object]]
"""Sends request number i and returns when its answer is there; raises InferenceError."""

KEPT = 0.9
"""Share of the declared rate that must have been kept up for what was seen to be the server's doing."""
LATE = 0.01
"""Seconds after which a request that leaves behind its schedule counts as late."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to load the predictor. Times are in seconds."""

    rate: float
    """Requests per second."""
    blocks: int = 20
    requests: int = LOAD_REQUESTS
    """Over all blocks, if `seconds` allows."""
    seconds: float = LOAD_SECONDS
    """Length of all blocks together at most; low rates get fewer requests."""
    pause: float = 0.1
    """Between blocks, so that they begin unloaded and say something of their own."""
    warm_up: int = 50
    """Requests beforehand, one after the other, that don't count."""
    timeout: float = 10.0
    in_flight: int = 1000
    """Requests under way at once; beyond that they count as unanswered."""
    seed: int = 0

    def per_block(self) -> int:
        """Requests in each block."""
        return max(1, int(min(self.requests, self.rate * self.seconds) // self.blocks))


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of it. Latencies are in seconds, by block; those of requests that failed are the timeout."""

    blocks: tuple[Floats, ...]
    """From the moment at which each request was due."""
    sent: tuple[Floats, ...]
    """The same from the moment at which it was sent."""
    crashes: int = 0
    """Connections lost, and answers with a status from 500."""
    timeouts: int = 0
    """Without an answer in time."""
    refused: int = 0
    """With another status than 200, or with what is no right answer."""
    late: int = 0
    """Sent more than LATE after they were due."""
    kept: float = 1.0
    """Share of the declared rate at which they were sent, from 0 to 1."""
    first_error: str | None = None

    @property
    def requests(self) -> int:
        """How many there were, whatever became of them."""
        return sum(len(block) for block in self.blocks)

    @property
    def failed(self) -> int:
        """How many got no answer that could be used."""
        return self.crashes + self.timeouts + self.refused


async def run(
    send: Send,
    plan: Plan,
    *,
    clock: Callable[[], float] = time.monotonic,
    after: Callable[[], Awaitable[object]] | None = None,
) -> Loaded:
    """Load the predictor as planned; `after` is awaited after each block, while nothing is under way.

    Raises InferenceError where it refuses a request of the warm-up: that says nothing of speed.
    """
    for number in range(plan.warm_up):
        try:
            await send(number)
        except InferenceError as error:
            if error.code not in ("PredictorCrashed", "PredictorTimeout"):
                raise
    random = np.random.default_rng(plan.seed)
    tally = _Tally()
    blocks: list[Floats] = []
    sent: list[Floats] = []
    for index in range(plan.blocks):
        due = np.cumsum(random.exponential(1 / plan.rate, plan.per_block()))
        first = index * plan.per_block()
        from_due, from_sent = await _block(send, due, plan, first=first, clock=clock, tally=tally)
        blocks.append(from_due)
        sent.append(from_sent)
        if after is not None:
            await after()
        await asyncio.sleep(plan.pause)
    return Loaded(
        blocks=tuple(blocks),
        sent=tuple(sent),
        crashes=tally.crashes,
        timeouts=tally.timeouts,
        refused=tally.refused,
        late=tally.late,
        kept=tally.planned / tally.taken,
        first_error=tally.first_error,
    )


@dataclass
class _Tally:
    crashes: int = 0
    timeouts: int = 0
    refused: int = 0
    late: int = 0
    planned: float = 0.0
    """Seconds that sending was to take …"""
    taken: float = 0.0
    """… and took."""
    first_error: str | None = None

    def failed(self, error: InferenceError) -> None:
        match error.code:
            case "PredictorCrashed":
                self.crashes += 1
            case "PredictorTimeout":
                self.timeouts += 1
            case _:
                self.refused += 1
        self.first_error = self.first_error or str(error)


async def _block(
    send: Send, due: Floats, plan: Plan, *, first: int, clock: Callable[[], float], tally: _Tally
) -> tuple[Floats, Floats]:
    """Latencies from the moment due, and from the moment of sending."""
    from_due = np.full(len(due), plan.timeout)
    from_sent = np.full(len(due), plan.timeout)
    began = np.zeros(len(due))
    under_way = 0
    start = clock()

    async def one(index: int) -> None:
        nonlocal under_way
        began[index] = clock() - start
        try:
            await send(first + index)
            ended = clock() - start
            from_due[index] = min(ended - due[index], plan.timeout)
            from_sent[index] = min(ended - began[index], plan.timeout)
        except InferenceError as error:
            tally.failed(error)
        finally:
            under_way -= 1

    async with asyncio.TaskGroup() as group:
        for index, offset in enumerate(due):
            if (wait := start + offset - clock()) > 0:
                await asyncio.sleep(wait)
            if under_way >= plan.in_flight:
                tally.failed(InferenceError("PredictorTimeout", f"{under_way} requests were waiting for an answer"))
                continue
            under_way += 1
            group.create_task(one(index))
    tally.late += int(np.count_nonzero(began - due > LATE))
    tally.planned += float(due[-1])
    tally.taken += float(max(due[-1], began.max()))
    return from_due, from_sent
