"""Leadership by a Lease: at most one operator acts, and one that isn't sure that it leads stops at once.

As client-go's leader election: nobody's clock is compared with anybody else's. A candidate notes, on its own monotonic
clock, when it last saw the record change, and takes over only after the record stood still for the duration written
in it. The leader stops being leader `renew_deadline` after its last successful renewal began, which is sooner than
anyone else may take over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from mandate.kube.client import Client, Object
from mandate.kube.errors import ApiError, ConflictError, NotFoundError
from mandate.kube.resources import LEASES

log = logging.getLogger(__name__)


class LostLeadershipError(Exception):
    """This process doesn't lead any more and must stop."""


@dataclass(frozen=True)
class LeaseSettings:
    """Which Lease, who asks, and how long things take (seconds); needs duration > renew_deadline > retry_period."""

    name: str
    namespace: str
    identity: str
    duration: float = 10.0
    renew_deadline: float = 6.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry_period > 0:
            raise ValueError(
                "a Lease needs duration > renew deadline > retry period > 0 seconds, got "
                f"{self.duration:g}, {self.renew_deadline:g}, {self.retry_period:g}"
            )


class LeaseStore(Protocol):
    """Where the Lease is kept; each call raises ApiError, ConflictError if the Lease changed since it was read."""

    async def read(self) -> Object | None: ...
    async def create(self, lease: Object) -> Object: ...
    async def replace(self, lease: Object) -> Object: ...


class ApiLeaseStore:
    """The Lease on the API server; `client` needs a time limit below the retry period."""

    def __init__(self, client: Client, *, name: str, namespace: str) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace

    async def read(self) -> Object | None:
        try:
            return await self._client.get(LEASES, self._name, namespace=self._namespace)
        except NotFoundError:
            return None

    async def create(self, lease: Object) -> Object:
        return await self._client.create(LEASES, lease)

    async def replace(self, lease: Object) -> Object:
        return await self._client.replace(LEASES, lease)


class Elector:
    """One process's view of the Lease. `monotonic` and `now` (for the record's timestamps only) are parameters."""

    def __init__(
        self,
        store: LeaseStore,
        settings: LeaseSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._settings = settings
        self._monotonic = monotonic
        self._now = now
        self._sleep = sleep
        self._observed: Object | None = None
        self._observed_at = 0.0
        self._renewed_at = 0.0

    async def acquire(self) -> None:
        """Return once this process leads. Errors of the API server are logged and asked again."""
        while True:
            try:
                if await self._try(take_over=True):
                    log.info("leading as %s", self._settings.identity)
                    return
            except ConflictError:
                log.debug("lease %s: another candidate was quicker", self._settings.name)
            except ApiError as error:
                log.warning("lease %s: %s", self._settings.name, error)
            await self._sleep(self._settings.retry_period)

    async def hold(self) -> None:
        """Renew for ever; raises LostLeadershipError when renewing didn't succeed in time or someone else leads."""
        settings = self._settings
        while True:
            await self._sleep(settings.retry_period)
            remaining = self._renewed_at + settings.renew_deadline - self._monotonic()
            if remaining <= 0:
                raise LostLeadershipError(f"the lease wasn't renewed within {settings.renew_deadline:g} s")
            try:
                async with asyncio.timeout(remaining):
                    held = await self._try(take_over=False)
            except TimeoutError as error:
                raise LostLeadershipError(f"the lease wasn't renewed within {settings.renew_deadline:g} s") from error
            except ApiError as error:
                log.warning("renewing lease %s: %s", settings.name, error)
                continue
            if not held:
                raise LostLeadershipError(f"{_holder(self._observed) or 'nobody'} leads now")

    async def release(self) -> None:
        """Give the Lease back, so that the next leader needn't wait. Best effort: whoever waits takes over anyway."""
        try:
            lease = await self._store.read()
            if lease is None or _holder(lease) != self._settings.identity:
                return
            spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._timestamp()}
            await self._store.replace({**lease, "spec": spec})
        except ApiError as error:
            log.warning("releasing lease %s: %s", self._settings.name, error)

    async def _try(self, *, take_over: bool) -> bool:
        """Create, renew or take over the Lease; False while someone else holds it.

        Raises ConflictError where the record changed in between; it may have been by our own earlier request.
        """
        began = self._monotonic()
        lease = await self._store.read()
        if lease is None:
            self._observe(await self._store.create(self._fresh()))
        else:
            self._observe(lease)
            holder = _holder(lease)
            free = take_over and (not holder or self._expired(lease))
            if holder != self._settings.identity and not free:
                return False
            self._observe(await self._store.replace(self._mine(lease)))
        self._renewed_at = began
        return True

    def _observe(self, lease: Object) -> None:
        if lease.get("spec") != (self._observed or {}).get("spec"):
            self._observed_at = self._monotonic()
        self._observed = lease

    def _expired(self, lease: Object) -> bool:
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._settings.duration)
        return self._monotonic() >= self._observed_at + duration

    def _fresh(self) -> Object:
        metadata = {"name": self._settings.name, "namespace": self._settings.namespace}
        spec = self._held() | {"acquireTime": self._timestamp(), "leaseTransitions": 0}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _mine(self, lease: Object) -> Object:
        spec = dict(lease.get("spec") or {})
        if _holder(lease) != self._settings.identity:
            spec |= {
                "acquireTime": self._timestamp(),
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
            }
        return {**lease, "spec": spec | self._held()}

    def _held(self) -> Object:
        return {
            "holderIdentity": self._settings.identity,
            # The record holds whole seconds; rounding up keeps others waiting longer, never shorter.
            "leaseDurationSeconds": max(1, -int(-self._settings.duration // 1)),
            "renewTime": self._timestamp(),
        }

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _holder(lease: Object | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


async def lead(elector: Elector, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for leadership, then run `work` while it lasts.

    Returns when `work` returns; raises what `work` raised, or LostLeadershipError. Either way `work` has been cancelled
    and awaited before the Lease is given back, and the Lease isn't given back when it was lost.
    """
    await elector.acquire()
    working = asyncio.create_task(work(), name="work under the lease")
    holding = asyncio.create_task(elector.hold(), name="lease renewal")
    try:
        await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        lost = holding.done()
        for task in (working, holding):
            task.cancel()
        await asyncio.gather(working, holding, return_exceptions=True)
        if not lost:
            await elector.release()
    for task in (holding, working):
        if not task.cancelled():
            task.result()
