"""What a store must do, whatever database stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mandate.evidence.live import Drawn, Live, LiveTask

from .facts import Fact, Result


class StorageError(Exception):
    """The database refused or couldn't: nothing of the transaction is kept, and trying again later may help."""


class SchemaError(StorageError):
    """The database was written by a newer program, or isn't the recorder's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A question about one revision's predictions from `since` until before `until` (milliseconds since 1970).

    `positive` is set for Binary only. Pairs are of the predictions that `against` made from `pairs_since` (`since`
    where None). One of them from before `missing_before` that has no partner is missing; a later one is waited for.
    `blind_share` is the percentage of decisions that were to be taken blind.
    """

    namespace: str
    model: str
    revision: str
    task: LiveTask
    since: int
    until: int
    positive: str | None = None
    against: str | None = None
    pairs_since: int | None = None
    blind_share: int = 0
    missing_before: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnQuery:
    """A question about where draws led, of `revisions`, from `since` until before `until` (milliseconds since 1970)."""

    namespace: str
    model: str
    revisions: tuple[str, ...]
    since: int
    until: int


class Storage(Protocol):
    """One writer; readers see whole transactions only. Every method may raise StorageError."""

    def write(self, groups: Sequence[Sequence[Fact]], *, received: int) -> list[list[Result]]:
        """Keep all groups' facts in one transaction, on disk before it returns; what became of each."""
        ...

    def live(self, query: Query) -> Live:
        """The aggregates, from one consistent view. May be called from any thread, beside a write."""
        ...

    def drawn(self, query: DrawnQuery) -> Drawn:
        """Where draws led, from one consistent view. May be called from any thread, beside a write."""
        ...

    def replayed(self, *, namespace: str, model: str, revision: str, since: int) -> tuple[int, int]:
        """Requests that were sent again to a revision for its stay at Shadow since then; how many of them failed.

        May be called from any thread, beside a write.
        """
        ...

    def prune(self, *, before: int | None, rows: int | None) -> int:
        """Forget a bounded number of facts received before a time, or beyond so many predictions; how many."""
        ...

    def close(self) -> None:
        """Leave everything on disk in order."""
        ...
