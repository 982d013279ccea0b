"""A work queue of keys, as client-go's: each key is worked on by one worker at a time, and asking twice is once.

A key that is added while it is being worked on is worked on again afterwards. Time comes from the running event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row: base · 2ⁿ⁻¹, at most cap, spread by ± jitter (a share)."""

    base: float = 0.5
    cap: float = 300.0
    jitter: float = 0.1

    def delay(self, failures: int, *, spread: float) -> float:
        """`failures` ≥ 1; `spread` in [-1, 1] chooses within the jitter."""
        return float(min(self.cap, self.base * 2.0 ** min(failures - 1, 60))) * (1 + self.jitter * spread)


class Queue(Generic[Key]):
    """Keys to work on, now or later.

    A delayed add waits its turn beside an immediate one; of several delayed adds of a key the earliest counts. Working
    on a key forgets the delayed add that was due.
    """

    def __init__(self, *, backoff: Backoff | None = None, spread: Callable[[], float] | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._spread = spread or (lambda: random.uniform(-1, 1))  # noqa: S311 - spreads load, guards nothing
        self._ready: dict[Key, None] = {}  # insertion-ordered set
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key) -> None:
        """Work on `key` as soon as a worker is free, or once more if one is at it."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._wake.set()

    def add_after(self, key: Key, delay: float) -> None:
        """Work on `key` in `delay` seconds, or sooner if that is planned already."""
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        planned = self._timers.get(key)
        if planned is not None:
            if planned.when() <= due:
                return
            planned.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def add_failed(self, key: Key) -> float:
        """Work on `key` again after its back-off; returns the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, spread=self._spread())
        self.add_after(key, delay)
        return delay

    def forget_failures(self, key: Key) -> None:
        """The next failure of `key` counts as its first."""
        self._failures.pop(key, None)

    def depth(self) -> int:
        """How many keys wait for a worker, delayed ones left out."""
        return len(self._ready) + len(self._again)

    def idle(self) -> bool:
        """Whether nothing is being worked on or waiting, delayed adds left out."""
        return not (self._ready or self._active)

    async def take(self) -> Key:
        """The next key; give it back with `done`."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = next(iter(self._ready))
        del self._ready[key]
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """The worker that took `key` has finished with it."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)


async def work(queue: Queue[Key], handle: Callable[[Key], Awaitable[float | None]], *, workers: int) -> None:
    """Run `workers` workers for ever. `handle` returns in how many seconds to look at the key again, or None.

    What `handle` raises is for it to log; here it means back-off.
    """

    async def worker() -> None:
        while True:
            key = await queue.take()
            try:
                again = await handle(key)
            except Exception:
                queue.add_failed(key)
            else:
                queue.forget_failures(key)
                if again is not None:
                    queue.add_after(key, again)
            finally:
                queue.done(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
