"""Shadow by replay: what others were asked is held in memory, asked of a revision at Shadow once, and forgotten.

Inputs are people's data. They are taken only while an order of the operator's stands, are never written to disk, can't
be read back, and leave for one address only: the Service of the revision, in the model's own namespace.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import aiohttp

from mandate.api.names import workload_name
from mandate.evidence.replay import ReplayOrder, ReplayState

from .aggregates import rfc3339
from .events import milliseconds
from .facts import Input, Replayed
from .storage import StorageError
from .writer import BusyError, Writer

log = logging.getLogger("mandate.recorder")

MARK = "Mandate-Replayed"
"""On every request that is sent again, so that nobody takes it for a new one."""
REQUEST_ID = "x-request-id"
MODEL_BYTES = 16 * 2**20
"""Of one model's inputs that wait; the oldest go first."""
ALL_BYTES = 256 * 2**20
"""Of all inputs that wait; then none is taken."""
PATIENCE = 10.0
"""Seconds for one answer; a later one is a failure."""
PAUSE = (1.0, 30.0)
"""Seconds until a Service that can't be reached is tried again: at first, and at most."""

Place = tuple[str, str]
"""A model's namespace and name."""
Offered = Literal["accepted", "duplicate", "ignored"]


def service_url(place: Place, revision: str) -> str:
    """The Service that the operator makes for a revision: nobody can name another one."""
    namespace, model = place
    return f"http://{workload_name(model, revision)}.{namespace}.svc"


@dataclass
class _Ring:
    """One model's order, what waits for it, and whose turn it is. `lapses` in milliseconds since 1970."""

    order: ReplayOrder
    lapses: int
    waiting: OrderedDict[str, Input] = field(default_factory=OrderedDict)
    turn: Input | None = None
    size: int = 0
    dropped: int = 0
    last_failure: str = ""
    problem: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def since(self) -> int:
        return int(milliseconds(self.order.since))

    def is_for(self, order: ReplayOrder) -> bool:
        return (self.order.revision, self.order.since) == (order.revision, order.since)

    def put(self, given: Input) -> None:
        self.waiting[given.request] = given
        self.size += given.size
        while len(self.waiting) > self.order.inputs or self.size > MODEL_BYTES:
            self.take()
            self.dropped += 1
        self.news.set()

    def take(self) -> Input:
        _, first = self.waiting.popitem(last=False)
        self.size -= first.size
        return first

    def holds(self, request: str) -> bool:
        return request in self.waiting or (self.turn is not None and self.turn.request == request)

    def forget_before(self, moment: int) -> None:
        if self.turn is not None and self.turn.time < moment:
            self.turn = None
            self.dropped += 1
        while self.waiting and next(iter(self.waiting.values())).time < moment:
            self.take()
            self.dropped += 1


class Replays:
    """Orders by model, and the tasks that carry them out within `running`.

    `clock` gives milliseconds since 1970. `address` is where a revision answers.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        clock: Callable[[], int],
        address: Callable[[Place, str], str] = service_url,
        pause: tuple[float, float] = PAUSE,
        patience: float = PATIENCE,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._address = address
        self._pause = pause
        self._patience = patience
        self._rings: dict[Place, _Ring] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Orders are taken, and lapsed ones forgotten, while the context lasts."""
        timeout = aiohttp.ClientTimeout(total=self._patience, connect=self._patience / 2)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            self._session = session
            sweeping = asyncio.create_task(self._sweep())
            try:
                yield
            finally:
                tasks = [sweeping, *self._tasks.values()]
                self._rings.clear()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._session = None

    def order(self, place: Place, order: ReplayOrder) -> None:
        """Begin or go on; inputs that were held for another revision or stay are forgotten."""
        lapses = self._clock() + 1000 * order.lease_seconds
        ring = self._rings.get(place)
        if ring is not None and ring.is_for(order):
            ring.order, ring.lapses = order, lapses
            return
        self.end(place)
        self._rings[place] = _Ring(order, lapses)
        self._tasks[place] = asyncio.create_task(self._carry_out(place, self._rings[place]))

    def end(self, place: Place) -> None:
        """Take and send nothing more of a model, and forget what waits."""
        self._rings.pop(place, None)
        task = self._tasks.pop(place, None)
        if task is not None:
            task.cancel()

    def state(self, place: Place) -> ReplayState:
        """What is known without asking the store: `replayed` and `failed` are left at 0."""
        ring = self._standing(place)
        if ring is None:
            return ReplayState()
        return ReplayState(
            order=ring.order,
            lapses=rfc3339(ring.lapses),
            waiting=len(ring.waiting) + (ring.turn is not None),
            dropped=ring.dropped,
            last_failure=ring.last_failure,
            problem=ring.problem,
        )

    def wanted(self, place: Place, revision: str) -> int:
        """How many inputs a second are wanted of a server of `revision`."""
        ring = self._standing(place)
        return ring.order.rate if ring is not None and ring.order.revision != revision else 0

    def offer(self, given: Input) -> Offered:
        """Hold an input until its turn, where an order asks for it: of another revision, from this stay on."""
        ring = self._standing((given.namespace, given.model))
        if ring is None or given.revision == ring.order.revision or given.time < ring.since:
            return "ignored"
        if ring.holds(given.request):
            return "duplicate"
        if sum(each.size for each in self._rings.values()) + given.size > ALL_BYTES:
            ring.dropped += 1
            return "ignored"
        ring.put(given)
        return "accepted"

    def _standing(self, place: Place) -> _Ring | None:
        ring = self._rings.get(place)
        if ring is not None and ring.lapses <= self._clock():
            self.end(place)
            return None
        return ring

    async def _sweep(self) -> None:
        """Neither an order nor an input outlives its time because nobody asks about it."""
        while True:
            await asyncio.sleep(1.0)
            for place in tuple(self._rings):
                ring = self._standing(place)
                if ring is not None:
                    ring.forget_before(self._clock() - 1000 * ring.order.keep_seconds)

    async def _carry_out(self, place: Place, ring: _Ring) -> None:
        pause = self._pause[0]
        while True:
            ring.forget_before(self._clock() - 1000 * ring.order.keep_seconds)
            if ring.turn is None and not ring.waiting:
                ring.news.clear()
                await ring.news.wait()
                continue
            ring.turn = ring.turn or ring.take()
            began = asyncio.get_running_loop().time()
            ring.problem = await self._replay(place, ring, ring.turn)
            if ring.problem:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._pause[1])
            else:
                ring.turn = None
                pause = self._pause[0]
                await asyncio.sleep(max(0.0, began + 1 / ring.order.rate - asyncio.get_running_loop().time()))

    async def _replay(self, place: Place, ring: _Ring, given: Input) -> str:
        """Ask once more, and put down how it went; says why it couldn't be asked, which counts for nothing."""
        url = self._address(place, ring.order.revision)
        fact = Replayed(
            namespace=given.namespace,
            model=given.model,
            revision=ring.order.revision,
            request=given.request,
            since=ring.since,
            time=self._clock(),
            state="UnderWay",
        )
        try:
            # First, so that an answer is never taken for one to somebody who asked, whatever happens meanwhile.
            await self._writer.write([[fact]])
            failure = await self._failure(url + given.path, given)
            ring.last_failure = _cut(failure) or ring.last_failure
            await self._writer.write([[replace(fact, state="Failed" if failure else "Answered")]])
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return _cut(f"{url} can't be reached: {error}")
        except (BusyError, StorageError) as error:
            return _cut(f"what is replayed can't be put down: {error or 'too much waits'}")
        return ""

    async def _failure(self, url: str, given: Input) -> str:
        """Ask; what went wrong then, empty where nothing did. Raises where nobody could be asked."""
        try:
            return await self._ask(url, given)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"no answer: {type(error).__name__}"

    async def _ask(self, url: str, given: Input) -> str:
        """What is wrong with the answer, empty where nothing is. Nobody looks at what it says."""
        assert self._session is not None, "within `running`"
        headers = {"Content-Type": "application/json", REQUEST_ID: given.request, MARK: "true"}
        data = given.body.encode()
        async with self._session.post(url, data=data, headers=headers, allow_redirects=False) as response:
            async for _ in response.content.iter_chunked(65_536):
                pass
            return "" if response.status == 200 else f"status {response.status}"


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
