"""When the operator first knew a model's digest: written once, before the model is measured, and kept for ever.

One immutable ConfigMap per digest, in the operator's own namespace, owned by nobody: it outlives evaluations and
ModelDeployments. The time is its `creationTimestamp`, which the API server sets: neither a clock of ours nor whoever
creates such an object can choose it. Who names a sha256 digest has the bytes, or has it from somebody who has: so the
bytes are at least as old as the entry. An entry that an administrator deletes is made anew with a later time, of which
fewer rows are later: it can show less than the first one, never more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mandate.api.names import LABEL_RECORD
from mandate.evidence.measurement import key
from mandate.kube.client import Client
from mandate.kube.errors import AlreadyExistsError
from mandate.kube.resources import CONFIG_MAPS

log = logging.getLogger(__name__)
Object = dict[str, Any]
RECORD = "FirstSeen"
MOST = 10_000
"""Entries, of about 400 bytes. Where there are as many, no other is made, and none is ever dropped for another: of the
digests that find no place nothing is known."""


class FirstSeen:
    """Every digest that was ever entered, in memory and on the API server."""

    def __init__(self, client: Client, *, namespace: str, most: int = MOST) -> None:
        self._client = client
        self._namespace = namespace
        self._most = most
        self._lock = asyncio.Lock()
        self._times: dict[str, str] = {}
        self._left_out: set[str] = set()

    @property
    def times(self) -> Mapping[str, str]:
        """RFC 3339 time by digest, empty for those that found no place; a live view."""
        return MappingProxyType(self._times)

    async def load(self) -> None:
        """Read every entry."""
        async with self._lock:
            listing = await self._client.list(
                CONFIG_MAPS, namespace=self._namespace, selector=f"{LABEL_RECORD}={RECORD}"
            )
            self._times = dict(found for item in listing.items if (found := _read(item)) is not None)
            self._left_out.clear()

    async def see(self, digest: str) -> str:
        """When the digest was entered, now unless it was before; empty where there is no place, or another's object."""
        async with self._lock:
            if digest not in self._times:
                full = len(self._times) - len(self._left_out) >= self._most
                found = None if full else await self._enter(digest)
                if found is None:
                    why = "no place is left" if full else "another object has its entry's name"
                    log.warning("%s: when it was first seen isn't kept: %s", digest, why)
                    self._left_out.add(digest)
                self._times[digest] = found or ""
            return self._times[digest]

    async def _enter(self, digest: str) -> str | None:
        name = f"mandate-first-seen-{key(digest)}"
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self._namespace, "labels": {LABEL_RECORD: RECORD}},
            "data": {"digest": digest},
            "immutable": True,
        }
        try:
            item = await self._client.create(CONFIG_MAPS, document)
        except AlreadyExistsError:
            # Another operator's, or ours, whose answer was lost: the first one stands.
            item = await self._client.get(CONFIG_MAPS, name, namespace=self._namespace)
        found = _read(item)
        return found[1] if found is not None and found[0] == digest else None


def _read(item: Object) -> tuple[str, str] | None:
    """Digest and time of an entry; None where it isn't one that nobody could have changed."""
    digest, metadata = (item.get("data") or {}).get("digest"), item["metadata"]
    if not digest or item.get("immutable") is not True or metadata["name"] != f"mandate-first-seen-{key(digest)}":
        return None
    return str(digest), str(metadata["creationTimestamp"])
