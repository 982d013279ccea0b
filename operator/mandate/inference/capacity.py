"""How much a server can do: what it answers when it never runs out of work, and the highest rate that it holds.

Two steps. With a constant number of requests under way the server is busy all the time, so the answers per second are
its capacity; this is no latency, so a closed loop is right here. How many it takes is tried first: one that waits for
others, or joins requests, answers more the more there are. Then requests come at random moments (open loop, see
`load`) at a share of that capacity, and at the next lower share until they are kept pace with: the highest rate that
holds.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from mandate.evidence.schema import OWN_CPU

from .errors import InferenceError
from .latency import LEVELS, MIN_BLOCKS
from .load import KEPT, Floats, Loaded, Plan, Send, run

if TYPE_CHECKING:
    from .client import Usage

Account = Callable[[], Awaitable["Usage | None"]]
"""What the server has used so far; None where it doesn't say."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long and how hard to try. Times are in seconds."""

    under_way: int = 8
    """Requests under way at once while capacity is measured, at least; they are doubled for as long as that helps."""
    most: int = 256
    """Requests under way at once at most."""
    helps: float = 0.1
    """By which share more must be answered where there are twice as many."""
    finding: float = 0.5
    """Share of `seconds` after which no more are tried."""
    blocks: int = 10
    block: float = 0.5
    """At least, and until each request under way could have ended once."""
    seconds: float = 30.0
    """After which no further block begins, though fewer than `blocks` were done."""
    shares: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5)
    """Of the capacity: rates at which it is tried whether they hold."""
    runs: int = 3
    """Of each rate; all must hold."""
    run: float = 3.0
    behind: float = 0.05
    """Share of a run by which its last answers may come later than those of an idle server would."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What was found. Rates are requests per second."""

    answers: tuple[int, ...]
    """Right answers by block."""
    seconds: tuple[float, ...]
    """What each block took."""
    cpu: tuple[float, ...] | None
    """CPU seconds that the server used in each block; None where it doesn't say."""
    failed: int
    """Requests without a right answer."""
    own: float
    """Share of a CPU that this process used meanwhile."""
    held: float | None
    """The highest rate that was tried and held; None where none did."""
    memory: tuple[float, ...] | None = None
    """The most bytes that the server had used so far, at the end of each block; None where it doesn't say."""
    under_way: int = Effort.under_way
    """Requests that were under way at once."""
    more: bool = False
    """Whether more of them might have been answered faster: there were as many as may be, or time was up."""

    @property
    def rate(self) -> float:
        """Answers per second over all blocks."""
        return sum(self.answers) / sum(self.seconds)


async def measure(
    send: Send,
    effort: Effort,
    *,
    timeout: float,  # noqa: ASYNC109  # per request
    usage: Account,
    clock: Callable[[], float] = time.monotonic,
    own: Callable[[], float] = time.process_time,
) -> Capacity:
    """Find the capacity and the highest rate that holds.

    `usage` is asked before the first block and after each, and after each run; `own` is this process's CPU time in
    seconds.
    """
    start, start_own = clock(), own()
    found = await _saturated(send, effort, usage=usage, clock=clock)
    found = replace(found, own=(own() - start_own) / (clock() - start))
    held = None if found.rate == 0 else await _held(send, found, effort, timeout=timeout, usage=usage, clock=clock)
    return replace(found, held=held)


async def _saturated(send: Send, effort: Effort, *, usage: Account, clock: Callable[[], float]) -> Capacity:
    """The capacity, without `own` and `held`.

    Requests go on across blocks, so that the server is as busy at a block's end as in its middle.
    """
    answers: list[int] = []
    seconds: list[float] = []
    accounts: list[Usage | None] = []
    right, wrong, allowed, ended = 0, 0, 0, False
    start = clock()

    async def work(place: int) -> None:
        nonlocal right, wrong
        while not ended and place < allowed:
            try:
                await send(right + wrong)
                right += 1
            except InferenceError:
                wrong += 1
                await asyncio.sleep(0.01)  # a server that fails at once needn't be hammered

    async def block(least: float, *, share: float = 1.0) -> tuple[int, float]:
        """Right answers and seconds: at `least` so many, and until each request under way could have ended once."""
        began, counted, done = clock(), right, right + wrong
        await asyncio.sleep(least)
        while right + wrong - done < allowed and clock() - start < effort.seconds * share:  # noqa: ASYNC110
            await asyncio.sleep(effort.block / 10)
        return right - counted, clock() - began

    async def tried(places: int) -> float:
        """Answers per second with so many requests under way, once there are."""
        nonlocal allowed
        before, allowed = allowed, places
        for place in range(before, places):
            group.create_task(work(place))
        await block(effort.block / 10, share=effort.finding)
        count, took = await block(effort.block, share=effort.finding)
        return count / took

    async with asyncio.TaskGroup() as group:
        rate, more = await tried(effort.under_way), False
        while rate > 0:
            more = 2 * allowed > effort.most or clock() - start >= effort.seconds * effort.finding
            if more:
                break
            faster = await tried(2 * allowed)
            if faster < rate * (1 + effort.helps):
                allowed //= 2
                await block(effort.block / 10)  # until those beyond have ended
                break
            rate = faster
        failed = wrong
        accounts.append(await usage())
        while len(answers) < effort.blocks and clock() - start < effort.seconds:
            count, took = await block(effort.block)
            answers.append(count)
            seconds.append(took)
            accounts.append(None if accounts[-1] is None else await usage())
        ended = True
    known = [account for account in accounts if account is not None]
    told = len(known) == len(accounts)
    return Capacity(
        answers=tuple(answers),
        seconds=tuple(seconds),
        cpu=tuple(after.cpu - before.cpu for before, after in pairwise(known)) if told else None,
        memory=tuple(account.memory for account in known[1:]) if told else None,
        failed=wrong - failed,
        own=math.nan,
        held=None,
        under_way=allowed,
        more=more,
    )


async def _held(
    send: Send,
    found: Capacity,
    effort: Effort,
    *,
    timeout: float,  # noqa: ASYNC109  # per request
    usage: Account,
    clock: Callable[[], float],
) -> float | None:
    patience = effort.behind * effort.run + found.under_way / found.rate
    for share in effort.shares:
        rate = found.rate * share
        plan = Plan(
            rate=rate,
            blocks=effort.runs,
            requests=math.ceil(rate * effort.run * effort.runs),
            seconds=effort.run * effort.runs,
            warm_up=0,
            timeout=timeout,
        )
        if holds(await run(send, plan, clock=clock, after=usage), patience=patience):
            return rate
    return None


def holds(loaded: Loaded, *, patience: float) -> bool:
    """Whether a rate was kept pace with: nothing failed, and no run's last answers came later than `patience` seconds.

    Where requests come faster than they are answered, the wait grows until the end, so the end tells. The last
    twentieth of a run is looked at, by its median: one slow answer is no backlog.
    """
    ends = [float(np.median(block[-max(1, len(block) // 20) :])) for block in loaded.blocks]
    return loaded.failed == 0 and loaded.kept >= KEPT and max(ends) <= patience


def limits(found: Capacity) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """One-sided limits of the highest rate that holds, at `LEVELS`; None where there is none.

    Upper: of the capacity, Student-t on the logarithms of the blocks' rates. Where this process was the limit, or more
    requests under way might have been answered faster, the server could do more, so there is none. Lower: the rate that
    held, or the capacity's lower limit where that is less.
    """
    rates = np.array(found.answers) / np.array(found.seconds)
    nothing: tuple[float | None, ...] = (None,) * len(LEVELS)
    if len(rates) < MIN_BLOCKS or (rates <= 0).any():
        return nothing, nothing
    logs: Floats = np.log(rates)
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    if error == 0:  # no variance was seen, so nothing is shown
        return nothing, nothing
    reach = [float(stdtrit(len(logs) - 1, 1 - level)) * error for level in LEVELS]
    centre = float(logs.mean())
    upper = nothing if found.more or found.own > OWN_CPU else tuple(math.exp(centre + far) for far in reach)
    held = found.held
    lower = nothing if held is None else tuple(min(held, math.exp(centre - far)) for far in reach)
    return lower, upper
