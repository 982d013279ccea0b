"""The recorder's replays: told what to replay, and asked how it goes, over HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from mandate.controller.cache import Recent
from mandate.controller.live import REST
from mandate.controller.replay import NOT_SWITCHED_ON
from mandate.controller.snapshot import LiveUnavailable
from mandate.evidence.replay import ReplayOrder, ReplayState

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for one answer."""
MOST_BYTES = 65_536
Answer = ReplayState | LiveUnavailable


class ReplaySource:
    """Talks to the recorder where it takes orders, at `url`, empty where it takes none.

    What it says of a model is believed for `every` seconds of `clock`.
    """

    def __init__(
        self, *, url: str, every: float, clock: Callable[[], float] = time.monotonic, size: int = 4096
    ) -> None:
        self._url = url
        self._every = every
        self._clock = clock
        self._recent: Recent[tuple[float, Answer]] = Recent(size)

    async def state(self, place: tuple[str, str]) -> Answer:
        """How a model's replays go; `place` is its namespace and name. Never raises."""
        known = self._recent.get(repr(place))
        if known is not None and self._clock() < known[0]:
            return known[1]
        return await self._asked("GET", place)

    async def tell(self, place: tuple[str, str], order: ReplayOrder | None) -> Answer:
        """Have the recorder replay, or stop; what it says then counts as asked. Never raises."""
        if order is None:
            return await self._asked("DELETE", place)
        return await self._asked("PUT", place, order.model_dump_json(by_alias=True).encode())

    async def _asked(
        self, method: Literal["GET", "PUT", "DELETE"], place: tuple[str, str], body: bytes = b""
    ) -> Answer:
        if not self._url:
            return LiveUnavailable(NOT_SWITCHED_ON)
        try:
            answer = await self._answer(method, place, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            answer = LiveUnavailable(f"the recorder at {self._url} can't be asked: {type(error).__name__}")
        lasts = self._every
        if isinstance(answer, LiveUnavailable):
            log.info("%s replays of %s: %s", method, "/".join(place), answer.reason)
            lasts = max(lasts, REST)
        self._recent.put(repr(place), (self._clock() + lasts, answer))
        return answer

    async def _answer(self, method: str, place: tuple[str, str], body: bytes) -> Answer:
        namespace, model = (quote(part, safe="") for part in place)
        url = f"{self._url}/v1/namespaces/{namespace}/models/{model}/replay"
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(method, url, data=body or None, allow_redirects=False) as response,
        ):
            text = await response.content.read(MOST_BYTES)
        if method == "GET" and response.status in (403, 404):  # switched off, or older than replays
            return LiveUnavailable(NOT_SWITCHED_ON)
        if response.status != 200:
            return LiveUnavailable(f"the recorder at {self._url} answered {response.status}: {text[:200]!r}")
        try:
            return ReplayState.model_validate_json(text)
        except ValidationError as error:
            return LiveUnavailable(f"the recorder's answer isn't understood ({error.error_count()} fields)")
