"""Group commit: whatever waits is written in one transaction, and answered once that is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .facts import Fact, Result
from .storage import Storage, StorageError

Answered = asyncio.Future[list[list[Result]]]


class BusyError(Exception):
    """More facts wait already than are let wait; try again later."""


@dataclass(frozen=True)
class _Waiting:
    groups: Sequence[Sequence[Fact]]
    facts: int
    answered: Answered


class Writer:
    """The one that writes; `run` must be running. A storage's `write` and `prune` are called on one thread of its own.

    `most_facts` bounds one transaction, `most_waiting` the facts that may wait. `clock` gives milliseconds since 1970.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], int],
        committed: Callable[[float], None],
        most_facts: int = 5000,
        most_waiting: int = 50_000,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._committed = committed
        self._most_facts = most_facts
        self._most_waiting = most_waiting
        self._waiting: list[_Waiting] = []
        self._facts = 0
        self._work = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self.failing: str | None = None
        """Why the last transaction failed; None after one that held."""

    async def write(self, groups: Sequence[Sequence[Fact]]) -> list[list[Result]]:
        """What became of each group's facts, once they are on disk. Raises BusyError, StorageError."""
        facts = sum(len(group) for group in groups)
        if self._closing or self._facts + facts > self._most_waiting:
            raise BusyError
        answered: Answered = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(groups, facts, answered))
        self._facts += facts
        self._work.set()
        # A client that goes away doesn't take its facts back: they are written all the same.
        return await asyncio.shield(answered)

    async def prune(self, *, before: int | None, rows: int | None) -> int:
        """Forget what is too old, a little at a time so that writes come between. Raises StorageError."""
        loop = asyncio.get_running_loop()
        total = 0
        while removed := await loop.run_in_executor(
            self._thread, lambda: self._storage.prune(before=before, rows=rows)
        ):
            total += removed
        return total

    async def run(self) -> None:
        """Write until `close`."""
        loop = asyncio.get_running_loop()
        while not self._closing or self._waiting:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                batch = self._take()
                began = loop.time()
                await self._commit(batch)
                self._committed(loop.time() - began)

    async def close(self) -> None:
        """Take nothing more, and let `run` end once everything that waits is written."""
        self._closing = True
        self._work.set()

    def _take(self) -> list[_Waiting]:
        taken, facts = 0, 0
        for waiting in self._waiting:
            if taken and facts + waiting.facts > self._most_facts:
                break
            taken += 1
            facts += waiting.facts
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._facts -= facts
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        groups = [group for waiting in batch for group in waiting.groups]
        received = self._clock()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, lambda: self._storage.write(groups, received=received))
        except StorageError as error:
            self.failing = str(error)
            for waiting in batch:
                waiting.answered.set_exception(error)
                waiting.answered.exception()  # read: nobody may wait for it any more
            return
        self.failing = None
        rest = iter(results)
        for waiting in batch:
            waiting.answered.set_result([next(rest) for _ in waiting.groups])
