"""Work cut into tasks that know nothing of each other. Whoever does them, results come in the tasks' order.

How work is cut, and in which order it is put together, never depends on who does it: so one core, all cores and a
cluster give the same bytes. Tasks are taken only as results are asked for, so that few of them are in memory at a time.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

Submit = Callable[..., "Future[Any]"]
"""Takes a function and its arguments, as an executor's `submit`."""
AHEAD = 2
"""Tasks that are under way or wait, for each worker."""


class Workers(Protocol):
    """Who does tasks. What may run on other machines is a function of a module, of plain arguments."""

    @property
    def here(self) -> Workers:
        """Who does tasks that aren't worth sending away: this process."""

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task], /) -> Iterator[Result]:
        """The results, in the order of `tasks`; raises what the first failing one raised."""

    def aside(self) -> AbstractContextManager[Submit]:
        """Unlike pieces of work in this process, beside what the caller does meanwhile."""


class Serial:
    """One after the other, here."""

    @property
    def here(self) -> Workers:
        """Itself."""
        return self

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task], /) -> Iterator[Result]:
        """As of Workers."""
        return map(function, tasks)

    @contextmanager
    def aside(self) -> Iterator[Submit]:
        """As of Workers; each is done at once."""

        def submit(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            done: Future[Any] = Future()
            try:
                done.set_result(function(*arguments, **options))
            except Exception as error:  # as of threads: told when its result is asked for
                done.set_exception(error)
            return done

        yield submit


class Threads:
    """`count` (>= 1) threads of this process: to sort, count and cast leaves the interpreter free."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"count is {count}, must be at least 1")
        self.count = count

    @property
    def here(self) -> Workers:
        """Itself."""
        return self

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task], /) -> Iterator[Result]:
        """As of Workers."""
        with ThreadPoolExecutor(max_workers=self.count) as pool:
            yield from in_order(lambda task: pool.submit(function, task), tasks, ahead=AHEAD * self.count)

    @contextmanager
    def aside(self) -> Iterator[Submit]:
        """As of Workers."""
        with ThreadPoolExecutor(max_workers=self.count) as pool:
            yield pool.submit


class Promise(Protocol):
    """A result to come: a future of this process or of a cluster's."""

    def result(self) -> Any:
        """Wait for it; raises what the task raised."""

    def cancel(self) -> Any:
        """It isn't needed any more."""


def in_order(submit: Callable[[Task], Promise], tasks: Iterable[Task], *, ahead: int) -> Iterator[Any]:
    """Results in the order of `tasks`, of which at most `ahead` (>= 1) are submitted and not yet taken."""
    waiting: deque[Promise] = deque()
    try:
        for task in tasks:
            waiting.append(submit(task))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for promise in waiting:
            promise.cancel()


SERIAL = Serial()
MOST = 4
"""Threads that are taken without being asked for: each holds some columns of its own in memory."""
QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The container's share of the processors, in microseconds of each period; `max` where it has no limit."""


def available(*, quota: Path = QUOTA) -> int:
    """How many threads this process can keep busy, MOST at most: its processors, or the container's share of them."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        found = min(found, math.ceil(int(share) / int(period)))
    except (OSError, ValueError):  # not Linux, an older kernel, or no limit
        pass
    return max(1, min(found, MOST))


def threads(count: int) -> Workers:
    """`count` threads, or none where it is 1."""
    return SERIAL if count == 1 else Threads(count)


def others(workers: Workers) -> Workers:
    """Those who are left while a thread of this process does something else: each has memory of its own at hand."""
    return threads(max(workers.count - 1, 1)) if isinstance(workers, Threads) else workers
