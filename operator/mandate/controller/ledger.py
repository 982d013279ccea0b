"""The ledger of looks: how often test rows were looked at, by whichever model, for as long as the ledger is kept.

One ConfigMap per set of test rows, in the operator's own namespace. Rows are known by a sketch (the smallest row
hashes); sets whose sketches share a hash overlap, and their looks count together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mandate.api.names import LABEL_RECORD
from mandate.evidence.canonical import digest
from mandate.evidence.measurement import key
from mandate.kube.client import Client
from mandate.kube.errors import AlreadyExistsError, ConflictError
from mandate.kube.resources import CONFIG_MAPS
from mandate.verdict.looks import overlap

Object = dict[str, Any]
NO_SKETCH = ("",)
"""Rows without a sketch: they overlap with each other, which counts more looks rather than fewer."""


class Ledger:
    """Every look that was ever recorded, in memory and on the API server."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._lock = asyncio.Lock()
        self._books: dict[str, Object] = {}
        self._looks: dict[str, int] = {}

    @property
    def looks(self) -> Mapping[str, int]:
        """Look number by look identity; a live view."""
        return MappingProxyType(self._looks)

    async def load(self) -> None:
        """Read the whole ledger."""
        async with self._lock:
            await self._load()

    async def record(self, sketch: tuple[str, ...], identity: str, *, former: str = "") -> int:
        """The number of this look, 1 for the first at these rows; the same look keeps its number.

        An entry under the `former` identity, which knew no settings, is that of the first settings that ask for it.
        """
        rows = sketch or NO_SKETCH
        async with self._lock:
            if identity not in self._looks:
                try:
                    await self._enter(rows, identity, former)
                except ConflictError:
                    await self._load()
                    raise
            return self._looks[identity]

    async def _load(self) -> None:
        listing = await self._client.list(CONFIG_MAPS, namespace=self._namespace, selector=f"{LABEL_RECORD}=Ledger")
        self._books = {book["metadata"]["name"]: book for book in listing.items}
        self._looks = {identity: number for book in self._books.values() for identity, number in _looks(book).items()}

    async def _enter(self, rows: tuple[str, ...], identity: str, former: str) -> None:
        overlapping = [book for book in self._books.values() if overlap(rows, _sketch(book))]
        number = 1 + sum(len(set(_looks(book).values())) for book in overlapping)
        name = f"mandate-looks-{key(digest(list(rows)))}"
        earlier = next((found for found, book in self._books.items() if former in _looks(book)), None)
        if earlier is not None:
            numbers = list(_looks(self._books[earlier]).values())
            known = _looks(self._books[earlier])[former]
            if numbers.count(known) == 1:  # within a book each look has a number of its own
                name, number, rows = earlier, known, _sketch(self._books[earlier])
        before = self._books.get(name)
        looks = (_looks(before) if before is not None else {}) | {identity: number}
        metadata: Object = {"name": name, "namespace": self._namespace, "labels": {LABEL_RECORD: "Ledger"}}
        data = {"sketch": " ".join(rows), "looks": json.dumps(looks, sort_keys=True)}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        if before is None:
            try:
                self._books[name] = await self._client.create(CONFIG_MAPS, document)
            except AlreadyExistsError as error:
                raise ConflictError(error.message, status=409) from error
        else:
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
            self._books[name] = await self._client.replace(CONFIG_MAPS, document)
        self._looks[identity] = number


def _sketch(book: Object) -> tuple[str, ...]:
    return tuple(str((book.get("data") or {}).get("sketch", "")).split(" "))


def _looks(book: Object) -> dict[str, int]:
    document = json.loads((book.get("data") or {}).get("looks") or "{}")
    return {str(identity): int(number) for identity, number in document.items()}
