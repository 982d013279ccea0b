"""Which of several candidates is surely better than which, on several measures at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A number with its limits, turned so that larger is better; infinite where there is no limit."""

    lower: float
    value: float
    upper: float


def dominates(one: Sequence[Span | None], other: Sequence[Span | None]) -> bool:
    """Whether `one` is nowhere worse than `other` (neither the number nor a limit) and surely better somewhere.

    Surely: its interval lies wholly above. None: not measured, which is worse than any number, but never surely so.
    This is a strict partial order: nobody dominates itself, no two each other, and whom the dominated dominates is
    dominated too.
    """
    surely = False
    for a, b in zip(one, other, strict=True):
        if b is None:
            continue
        if a is None or a.lower < b.lower or a.value < b.value or a.upper < b.upper:
            return False
        surely = surely or a.lower > b.upper
    return surely


def dominators(candidates: Mapping[str, Sequence[Span | None]]) -> dict[str, tuple[str, ...]]:
    """By candidate: who dominates it, in the given order. Those whom nobody dominates are the Pareto front."""
    return {
        name: tuple(rival for rival, theirs in candidates.items() if dominates(theirs, spans))
        for name, spans in candidates.items()
    }
