"""How long a server takes to start, from several starts: their median, with limits from order statistics.

A start is slow for many reasons (files that aren't cached, a busy machine), so nothing is assumed of how starts are
distributed: of n independent ones the number below the median is Binomial(n, 1/2), whatever they look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from scipy.special import bdtr

from mandate.evidence.intervals import Interval, Table, Unbounded

from .latency import LEVELS

STARTS = 16
"""How often a server is started: as often as limits at the smallest of LEVELS need."""
FEWEST = 6
"""Starts without which not even the slowest is an upper limit at the first of LEVELS: 0.5 ** 6 < 0.025."""


def middle(seconds: Sequence[float]) -> tuple[float, Interval]:
    """The median of several starts (in any unit) with its one-sided limits at LEVELS, exact for any distribution.

    The k-th fastest of n is a lower limit at a level where at most k - 1 of n fair coins show heads no more often than
    that; the k-th slowest likewise an upper one. Equal starts make them conservative.
    """
    ordered, count = sorted(seconds), len(seconds)
    if count < FEWEST:
        return median(ordered), Unbounded(
            reason="too few starts to bound their median", unit="blocks", found=count, needed=FEWEST
        )
    places = [_place(count, level) for level in LEVELS]
    lower = tuple(None if place is None else ordered[place] for place in places)
    upper = tuple(None if place is None else ordered[count - 1 - place] for place in places)
    return median(ordered), Table(levels=LEVELS, lower=lower, upper=upper)


def _place(count: int, level: float) -> int | None:
    """Index of the largest order statistic that lies above the median with a probability of at most `level`."""
    fitting = [place for place in range((count + 1) // 2) if float(bdtr(place, count, 0.5)) <= level]
    return fitting[-1] if fitting else None
