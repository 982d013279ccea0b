"""Exact sums that can be added up in any order, as an SQL aggregate and beyond it.

A sum is kept as an expansion: a few floats whose exact sum is the exact sum of all values. Expansions are merged by
listing their terms; the sum that is shown is the expansion's, correctly rounded (`math.fsum`, Shewchuk 1997).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from mandate.evidence import live
from mandate.evidence.canonical import rounded

_TERMS = 16
"""Terms beyond which a merged expansion is made short again."""


def expansion(values: list[float]) -> list[float]:
    """A short list of floats with exactly the same sum. Raises OverflowError beyond the floats' range."""
    terms: list[float] = []
    while total := math.fsum(values if not terms else [*values, *(-term for term in terms)]):
        terms.append(total)
    return terms


@dataclass
class Sums:
    """Count, sum, sum of squares, least and greatest; grows by `add`."""

    count: int = 0
    sum: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    least: float = math.inf
    greatest: float = -math.inf

    def add(self, other: Sums) -> None:
        """Take in another's values."""
        self.count += other.count
        self.sum = _joined(self.sum, other.sum)
        self.squares = _joined(self.squares, other.squares)
        self.least = min(self.least, other.least)
        self.greatest = max(self.greatest, other.greatest)

    def moments(self) -> live.Moments:
        """As shown: sums at 12 significant digits, least and greatest too."""
        return live.Moments(
            count=self.count,
            sum=self.total(),
            sum_squares=self.total_squares(),
            min=rounded(self.least) if self.count else None,
            max=rounded(self.greatest) if self.count else None,
        )

    def total(self) -> float:
        """The sum at 12 significant digits."""
        return rounded(math.fsum(self.sum))

    def total_squares(self) -> float:
        """The sum of squares at 12 significant digits."""
        return rounded(math.fsum(self.squares))


def _joined(first: list[float], second: list[float]) -> list[float]:
    terms = [*first, *second]
    return expansion(terms) if len(terms) > _TERMS else terms


class MomentsAggregate:
    """SQL: `moments(x)` gives a text that `parse` reads; NULLs are left out."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def step(self, value: float | None) -> None:
        """One row."""
        if value is not None:
            self._values.append(float(value))

    def finalize(self) -> str | None:
        """The group's text, NULL for an empty group."""
        if not self._values:
            return None
        squares = expansion([value * value for value in self._values])
        return json.dumps(
            [len(self._values), expansion(self._values), squares, min(self._values), max(self._values)],
        )


def parse(text: str | None) -> Sums:
    """What `moments(x)` gave."""
    return Sums() if text is None else Sums(*json.loads(text))
