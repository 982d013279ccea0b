"""What is to be done, as data; and whether an object already is as it should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mandate.api.quantity import quantity
from mandate.evidence.canonical import digest
from mandate.evidence.replay import ReplayOrder

Object = dict[str, Any]


class Key(NamedTuple):
    """What the queue holds: one thing to bring up to date. A grant's `name` is empty, as there is one per namespace."""

    kind: Literal["Model", "Evaluation", "Grant"]
    namespace: str
    name: str


@dataclass(frozen=True)
class Create:
    """Create an object that never changes; one of the same name is the same object."""

    document: Object


@dataclass(frozen=True)
class Apply:
    """Server-side apply: create, or bring to this state."""

    document: Object


@dataclass(frozen=True)
class Replace:
    """Replace an object if it still has its `resourceVersion`; create it where the document has none."""

    document: Object


@dataclass(frozen=True)
class SetStatus:
    """Server-side apply of the whole status, to the object with this uid only."""

    document: Object


@dataclass(frozen=True)
class Delete:
    """Delete this very object."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Look:
    """Enter a look at test rows into the ledger. `sketch` says which rows, `identity` which look; `former` is the
    identity that it would have had before settings were in it."""

    sketch: tuple[str, ...]
    identity: str
    former: str = ""


@dataclass(frozen=True)
class See:
    """Enter a model's digest as seen, unless it was before."""

    digest: str


@dataclass(frozen=True)
class Replay:
    """Tell the recorder what of a model is to be replayed; without `order` nothing, and what it holds is forgotten."""

    namespace: str
    model: str
    order: ReplayOrder | None


Action = Create | Apply | Replace | SetStatus | Delete | Look | See | Replay


@dataclass(frozen=True)
class Plan:
    """Actions in the order in which they're to be done; `again` is in how many seconds to look again, at the latest."""

    actions: tuple[Action, ...] = ()
    again: float | None = None


def delete(item: Mapping[str, Any]) -> Delete:
    """Delete `item`, if it is still there and still the same."""
    metadata = item["metadata"]
    return Delete(item["apiVersion"], item["kind"], metadata["namespace"], metadata["name"], metadata["uid"])


APPLIED = "mandate.dev/applied"
"""Digest of what we last applied: shows that something we stated before is no longer stated."""


def stamped(document: Object) -> Object:
    """The document with its own digest as an annotation."""
    metadata = document["metadata"]
    annotations = dict(metadata.get("annotations") or {}) | {APPLIED: digest(document)}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def bring(document: Object, live: Object | None) -> tuple[Apply, ...]:
    """Apply `document` unless `live` is so already."""
    wanted = stamped(document)
    return () if live is not None and holds(wanted, live) else (Apply(wanted),)


def holds(wanted: Any, live: Any, *, quantities: bool = False) -> bool:
    """Whether everything that is stated in `wanted` is so in `live`, which may say more (defaults, status).

    Empty containers and absent ones are the same. Below `resources` numbers are compared as quantities, which the API
    server rewrites (`1000m` is `1`).
    """
    if wanted in ({}, [], "", None):
        return wanted == live or live in ({}, [], "", None) or isinstance(live, dict)
    match wanted, live:
        case dict(), dict():
            return all(
                holds(value, live.get(name), quantities=quantities or name in ("resources", "sizeLimit"))
                for name, value in wanted.items()
            )
        case list() | tuple(), list():
            return len(wanted) == len(live) and all(
                holds(left, right, quantities=quantities) for left, right in zip(wanted, live, strict=True)
            )
        case str(), str() if quantities and wanted != live:
            left, right = quantity(wanted), quantity(live)
            return left is not None and left == right
        case _:
            return bool(wanted == live)
