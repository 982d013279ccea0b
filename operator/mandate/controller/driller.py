"""Sends the requests of drills, beside everything else: a fallback that hangs mustn't keep a halt waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import aiohttp

from mandate.controller.cache import Recent
from mandate.controller.drill import PATH, DrillRequest, drill_asked, judged, to_send, unanswered
from mandate.controller.snapshot import DrillOutcome, ModelSnapshot

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for one answer, connecting included."""
MOST_BYTES = 2**20
"""Of one answer."""
AT_ONCE = 4
"""Requests under way at the same time."""


def in_cluster(namespace: str, service: str, port: int) -> str:
    """The Service's URL as Pods know it."""
    return f"http://{service}.{namespace}.svc:{port}"


class Driller:
    """Sends one request per drill that is asked, without credentials, proxies or redirects, and remembers the outcome.

    `address` gives the URL for a namespace, a Service and its port; `clock` and `patience` are in seconds.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        address: Callable[[str, str, int], str] = in_cluster,
        clock: Callable[[], float] = time.perf_counter,
        patience: float = PATIENCE,
    ) -> None:
        self._enabled = enabled
        self._address = address
        self._clock = clock
        self._patience = patience
        self._known: Recent[DrillOutcome] = Recent(1024)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._then: Callable[[str, str], None] | None = None

    def then(self, tell: Callable[[str, str], None]) -> None:
        """Call `tell` with the model's namespace and name whenever an outcome is known."""
        self._then = tell

    def outcome(self, snapshot: ModelSnapshot) -> DrillOutcome | None:
        """What came of the drill that is asked; None where none is, or its answer is still to come."""
        ask = drill_asked(snapshot.mdep)
        if ask is None:
            return None
        metadata = snapshot.mdep["metadata"]
        identity = f"{metadata.get('uid')} {ask.id}"
        known = self._known.get(identity)
        if known is not None or identity in self._under_way:
            return known
        asked = to_send(snapshot, ask, enabled=self._enabled)
        if isinstance(asked, DrillOutcome):
            return asked
        sending = self._send(asked, identity, place=(metadata["namespace"], metadata["name"]))
        self._under_way[identity] = asyncio.create_task(sending)
        return None

    async def _send(self, asked: DrillRequest, identity: str, *, place: tuple[str, str]) -> None:
        try:
            async with self._places:
                outcome = await self._sent(asked)
        except Exception:
            log.exception("drill of %s/%s", *place)
            outcome = unanswered(
                asked, reason="NotReached", words="the operator couldn't send the request; see its log"
            )
        self._known.put(identity, outcome)
        del self._under_way[identity]
        if self._then is not None:
            self._then(*place)

    async def _sent(self, asked: DrillRequest) -> DrillOutcome:
        headers = {"Content-Type": "application/json", "x-request-id": f"drill-{asked.id}", "Mandate-Drill": asked.id}
        url = self._address(asked.namespace, asked.service, asked.port) + PATH
        start = self._clock()
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=self._patience),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    auto_decompress=False,
                ) as session,
                session.post(url, data=asked.body, headers=headers, allow_redirects=False) as response,
            ):
                body = await _bounded(response)
                seconds = self._clock() - start
        except TimeoutError:
            return unanswered(asked, reason="NoAnswer", words=f"no answer within {self._patience:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return unanswered(asked, reason="NotReached", words=f"can't be reached: {type(error).__name__}")
        return judged(asked, status=response.status, body=body, seconds=seconds)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body; nothing that could be read as an answer where it is too long."""
    body = b""
    async for part in response.content.iter_chunked(65_536):
        body += part
        if len(body) > MOST_BYTES:
            return b""
    return body
