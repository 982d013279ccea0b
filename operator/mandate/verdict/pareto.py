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


def dominates(one: Sequence[Span], other: Sequence[Span]) -> bool:
    """Whether `one` is nowhere worse than `other` (neither the number nor a limit) and surely better somewhere.

    Surely: its interval lies wholly above. This is a strict partial order: nobody dominates itself, no two each other,
    and whom the dominated dominates is dominated too.
    """
    pairs = list(zip(one, other, strict=True))
    nowhere_worse = all(a.lower >= b.lower and a.value >= b.value and a.upper >= b.upper for a, b in pairs)
    return nowhere_worse and any(a.lower > b.upper for a, b in pairs)


def dominators(candidates: Mapping[str, Sequence[Span]]) -> dict[str, tuple[str, ...]]:
    """By candidate: who dominates it, in the given order. Those whom nobody dominates are the Pareto front."""
    return {
        name: tuple(rival for rival, theirs in candidates.items() if dominates(theirs, spans))
        for name, spans in candidates.items()
    }
