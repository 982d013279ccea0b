"""How often a gap in time is told where none is: simulated, of tables of many kinds that lack nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mandate.measure.data.gaps import gaps

Times = NDArray[np.int64]
HOUR = 3_600_000_000
DAY = 24 * HOUR
TABLES = 12
"""Of each kind, length and size."""
LENGTHS = (20, 60, 180, 730)
"""Days."""
SIZES = (0.2, 1, 5, 50)
"""Rows a day."""


def at_random(rates: NDArray[np.float64], rng: np.random.Generator) -> Times:
    """Rows at random moments of hours with these rates."""
    counts = rng.poisson(rates)
    hours = np.repeat(np.arange(len(counts)), counts)
    return np.asarray(hours * HOUR + rng.integers(0, HOUR, len(hours)) + 19_000 * DAY)


def always(days: int, rows: float, rng: np.random.Generator) -> Times:
    return at_random(np.full(days * 24, rows / 24), rng)


def office(days: int, rows: float, rng: np.random.Generator) -> Times:
    hours = np.arange(days * 24)
    opened = (hours // 24 % 7 < 5) & (hours % 24 >= 8) & (hours % 24 < 18)
    return at_random(np.where(opened, rows / 10, 0.0), rng)


def nights(days: int, rows: float, rng: np.random.Generator) -> Times:
    hours = np.arange(days * 24)
    weekend = np.where(hours // 24 % 7 >= 5, 0.2, 1.0)
    return at_random(rows / 24 * (1 + 0.9 * np.cos(2 * np.pi * hours / 24)) * weekend, rng)


def growing(days: int, rows: float, rng: np.random.Generator) -> Times:
    return at_random(rows / 24 * np.exp(3 * np.linspace(0, 1, days * 24)) / 5, rng)


def by_season(days: int, rows: float, rng: np.random.Generator) -> Times:
    return at_random(rows / 24 * (1 + 0.95 * np.sin(2 * np.pi * np.arange(days * 24) / 8766)), rng)


def restless(days: int, rows: float, rng: np.random.Generator) -> Times:
    """Busy weeks and quiet ones: logarithms of the days' rates are AR(0.9)."""
    walk = np.zeros(days)
    for day in range(1, days):
        walk[day] = 0.9 * walk[day - 1] + 0.4 * rng.normal()
    return at_random(np.repeat(np.exp(walk) * rows / 24, 24), rng)


def by_month(days: int, rows: float, rng: np.random.Generator) -> Times:
    begins = np.arange(max(days // 30, 1)).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    return np.repeat(begins, rng.poisson(rows * 30, len(begins)))


def by_week(days: int, rows: float, rng: np.random.Generator) -> Times:
    return np.repeat(np.arange(days // 7) * 7 * DAY, rng.poisson(rows * 7, days // 7))


KINDS = (always, office, nights, growing, by_season, restless, by_month, by_week)


def in_groups(days: int, rows: float, rng: np.random.Generator) -> Times:
    """Twenty rows at once, at random moments: the rarer the groups, the longer what lies between them."""
    moments = rng.integers(0, days * DAY, rng.poisson(days * rows / 20))
    return np.repeat(moments, rng.poisson(20, len(moments)))


def told(kind: Callable[..., Times], rng: np.random.Generator, *, tables: int = TABLES) -> float:
    """The share of tables in which a gap is told."""
    found = [bool(gaps(kind(days, rows, rng))) for days in LENGTHS for rows in SIZES for _ in range(tables)]
    return float(np.mean(found))


def test_gaps_are_told_of_hardly_any_table_that_lacks_nothing():
    rng = np.random.default_rng(5)
    assert np.mean([told(kind, rng) for kind in KINDS]) <= 0.001


def test_rows_that_come_in_rare_groups_have_some():
    assert 0 < told(in_groups, np.random.default_rng(6)) <= 0.06


@pytest.mark.parametrize("kind", [always, office, nights, growing, restless])
def test_a_week_that_is_missing_is_told_nearly_always_and_for_what_it_would_have_had(kind):
    rng, found, shares = np.random.default_rng(7), 0, []
    for _ in range(TABLES):
        at = kind(180, 50, rng)
        start = (19_000 + 100) * DAY
        lost = (at >= start) & (at < start + 7 * DAY)
        over = [gap for gap in gaps(at[~lost]) if gap.start * HOUR < start + 7 * DAY and gap.end * HOUR > start]
        found += bool(over)
        shares += [sum(gap.expected for gap in over) / lost.sum() for _ in over[:1]]
    assert found >= TABLES - 1
    assert np.median(shares) == pytest.approx(1, abs=0.5 if kind is restless else 0.2)


def test_the_check_objects_to_a_rule_that_knows_no_weekends():
    rng = np.random.default_rng(8)

    def share(kind: Callable[..., Times]) -> float:
        spaces = [np.diff(np.sort(kind(180, 50, rng))) for _ in range(TABLES)]
        return float(np.mean([space.max() > 4 * space.mean() * np.log(len(space)) for space in spaces]))

    assert share(always) == 0
    assert share(office) == 1
