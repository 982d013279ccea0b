"""Sends requests at a declared rate, whether or not the answers come, and notes how long each took.

The schedule is open-loop: arrivals are a Poisson process, as from many independent clients, and don't wait for
answers. Latency counts from the moment at which a request was due, so a stalled server isn't forgiven the requests
that queued up meanwhile (no coordinated omission). The event loop sleeps in whole milliseconds, so up to one
millisecond of a latency is ours.
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


@dataclass(frozen=True)
class Loaded:
    """What came of it: latencies (seconds) by block, unanswered ones at the timeout, and what went wrong."""

    blocks: tuple[Floats, ...]
    requests: int
    crashes: int
    timeouts: int
    first_error: str | None


async def run(send: Send, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> Loaded:
    """Load the predictor as planned. Raises InferenceError where it refuses a request: that says nothing of speed."""
    for number in range(plan.warm_up):
        try:
            await send(number)
        except InferenceError as error:
            if error.code not in ("PredictorCrashed", "PredictorTimeout"):
                raise
    random = np.random.default_rng(plan.seed)
    tally = _Tally()
    blocks: list[Floats] = []
    for index in range(plan.blocks):
        due = np.cumsum(random.exponential(1 / plan.rate, plan.per_block()))
        blocks.append(await _block(send, due, plan, first=index * plan.per_block(), clock=clock, tally=tally))
        await asyncio.sleep(plan.pause)
    return Loaded(tuple(blocks), sum(len(block) for block in blocks), tally.crashes, tally.timeouts, tally.first_error)


@dataclass
class _Tally:
    crashes: int = 0
    timeouts: int = 0
    first_error: str | None = None


async def _block(
    send: Send, due: Floats, plan: Plan, *, first: int, clock: Callable[[], float], tally: _Tally
) -> Floats:
    latencies = np.full(len(due), plan.timeout)
    under_way = 0
    start = clock()

    async def one(index: int) -> None:
        nonlocal under_way
        try:
            await send(first + index)
            latencies[index] = min(clock() - start - due[index], plan.timeout)
        except InferenceError as error:
            match error.code:
                case "PredictorCrashed":
                    tally.crashes += 1
                case "PredictorTimeout":
                    tally.timeouts += 1
                case _:
                    raise
            tally.first_error = tally.first_error or str(error)
        finally:
            under_way -= 1

    try:
        async with asyncio.TaskGroup() as group:
            for index, offset in enumerate(due):
                if (wait := start + offset - clock()) > 0:
                    await asyncio.sleep(wait)
                if under_way >= plan.in_flight:
                    tally.timeouts += 1
                    tally.first_error = tally.first_error or f"{under_way} requests were waiting for an answer"
                    continue
                under_way += 1
                group.create_task(one(index))
    except BaseExceptionGroup as errors:
        # Not `except*`: Python before 3.11.4 puts what is raised in there into a group again.
        refused: BaseException | None = errors.subgroup(InferenceError)
        if refused is None:
            raise
        while isinstance(refused, BaseExceptionGroup):
            refused = refused.exceptions[0]
        raise refused from None
    return latencies
