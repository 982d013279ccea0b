"""What the recorder keeps: plain facts, checked already. Times are milliseconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Slices = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

Result = Literal["accepted", "duplicate", "conflict"]
"""What became of a fact: new; known already; contradicting the one that is kept under the same identity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One answer to one row of one request. Identity: namespace, model, revision, request, row.

    Either `failed`, or `label` (with `probability` where the model gave one) or `value`. `latency` in milliseconds.
    `exchange` names the request and response that a logger sent one by one; the request's time gives the latency.
    `unit` is what a gateway drew to choose the revision; missing where it didn't.
    """

    namespace: str
    model: str
    revision: str
    request: str
    row: int
    time: int
    label: str | None = None
    probability: float | None = None
    value: float | None = None
    latency: float | None = None
    failed: bool = False
    entity: str | None = None
    unit: str | None = None
    slices: Slices = ()
    exchange: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """When a request came whose response is logged on its own. Identity: namespace, model, key."""

    namespace: str
    model: str
    key: str
    time: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The truth about a prediction, by (request, row), or about an entity. Identity: namespace, model, that address."""

    namespace: str
    model: str
    time: int
    request: str | None = None
    row: int | None = None
    entity: str | None = None
    label: str | None = None
    value: float | None = None
    slices: Slices = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a person decided. Identity: namespace, model, address, by, shown. `revision`: whose answer it was about."""

    namespace: str
    model: str
    time: int
    by: str
    shown: bool
    request: str | None = None
    row: int | None = None
    entity: str | None = None
    label: str | None = None
    value: float | None = None
    revision: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drops:
    """Predictions that one server process couldn't deliver since it started; only ever grows."""

    namespace: str
    model: str
    revision: str
    reporter: str
    dropped: int
    time: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """One request that was sent again, to a revision at Shadow. Identity: namespace, model, revision, request.

    `since`: when the stay at Shadow began that it was sent for. Known before it is sent, and again when it is over.
    """

    namespace: str
    model: str
    revision: str
    request: str
    since: int
    time: int
    state: Literal["UnderWay", "Answered", "Failed"]


Fact = Prediction | Exchange | Outcome | Decision | Drops | Replayed


@dataclass(frozen=True, kw_only=True)  # no slots: `size` is kept in what they would leave out
class Input:
    """What a revision was asked, to be asked of another one. Never written anywhere. Identity as a prediction's."""

    namespace: str
    model: str
    revision: str
    request: str
    time: int
    path: str
    body: str

    @cached_property
    def size(self) -> int:
        """Bytes of the body, as it is sent."""
        return len(self.body.encode())
