"""Distances between two samples, from cumulative counts or from counts per bin. Definitions and their sources.

Nothing here knows columns or tables: arrays in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from .grid import Counts, Floats, Grid

EMPTY = 1e-4
"""PSI: a bin's share below this counts as this, in either sample."""
EXACT_KS = 500
"""The p-value of Kolmogorov and Smirnov is exact where neither sample is larger; beyond, it is asymptotic."""
LEAST_EXPECTED = 5.0
"""Cells expected to hold fewer rows of either sample are pooled before a chi-square test (Cochran 1954)."""
BLOCK = 1 << 14
"""Cells of the reference that are compared at once."""
MOST = float(np.finfo(np.float64).max)
PSI_BINS = 10
"""Bins of PSI by the reference's deciles."""


Extremes = tuple[tuple[int, int], tuple[int, int]]
"""Counts of -inf and inf, of the reference and of the current sample."""


@dataclass(frozen=True, kw_only=True)
class Apart:
    """Two distribution functions F and G: how far F is `above` G at most, how far `below`, infinities counted.

    `area` is ∫ |F - G| dx of the finite values alone, times the factor that was given.
    """

    above: float
    below: float
    area: float


def apart(
    reference: Grid,
    current: Grid,
    *,
    at: tuple[Floats, Floats] | None = None,
    extremes: Extremes = ((0, 0), (0, 0)),
    factor: float = 1.0,
) -> Apart:
    """Compare two samples along one line, each cell's values `at` the rising places given (default: its middle).

    Block by block: whole columns at once would spend more time on fresh memory than on numbers.
    """
    here, there = at or (reference.middle, current.middle)
    n, m = reference.size, current.size
    (below_n, above_n), (below_m, above_m) = extremes
    all_n, all_m = n + below_n + above_n, m + below_m + above_m
    most = least = below_n * all_m - below_m * all_n
    area, last, upto_n, upto_m = 0.0, math.nan, 0, 0
    starts: Sequence[int] = range(0, len(here), BLOCK) or range(bool(len(there)))
    cuts = [0, *np.searchsorted(there, here[BLOCK::BLOCK], side="left").tolist(), len(there)]
    for block, first in enumerate(starts):
        own, other = slice(first, first + BLOCK), slice(cuts[block], cuts[block + 1])
        places = np.concatenate([here[own], there[other]])
        order = np.argsort(places, kind="stable")  # two rising runs: merged, not sorted
        places = places[order]
        ends = np.flatnonzero(np.concatenate([places[1:] != places[:-1], [True]]))
        counts = np.concatenate([reference.count[own], current.count[other]])[order]
        ours = np.cumsum(np.where(order < len(here[own]), counts, 0))[ends]
        theirs = np.cumsum(counts)[ends] - ours + upto_m
        ours += upto_n
        gaps = (ours + below_n) * all_m - (theirs + below_m) * all_n
        most, least = max(most, int(gaps.max())), min(least, int(gaps.min()))
        places = places[ends] * factor
        if n and m:
            if block:
                area += abs(upto_n / n - upto_m / m) * (float(places[0]) - last)
            area += float(np.sum(np.abs(ours[:-1] / n - theirs[:-1] / m) * np.diff(places)))
        last, upto_n, upto_m = float(places[-1]), int(ours[-1]), int(theirs[-1])
    return Apart(above=max(most, 0) / (all_n * all_m), below=max(-least, 0) / (all_n * all_m), area=area)


def ks(reference: Grid, current: Grid, found: Apart, *, extremes: Extremes) -> tuple[float, float]:
    """Two-sample Kolmogorov–Smirnov: the largest gap between both distribution functions, and its error bound.

    `found` is how far both are `apart` at their cells' middles. Beyond the exact size the bound compares with all
    values of a cell at its lower, and at its upper end.
    """
    value = max(found.above, found.below)
    if reference.exact and current.exact:
        return value, 0.0
    one = apart(reference, current, at=(reference.low, current.high), extremes=extremes)
    other = apart(reference, current, at=(reference.high, current.low), extremes=extremes)
    most, least = max(one.above, other.below), max(other.above, one.below)
    return value, max(most - value, value - least, 0.0)


def ks_p(value: float, n: int, m: int) -> float:
    """Two-sided p-value of a gap between samples of n and m rows; too large, never too small, where values are tied.

    Exact by counting lattice paths (Hodges 1958) up to EXACT_KS rows, else Kolmogorov's limit.
    """
    if max(n, m) > EXACT_KS:
        return float(special.kolmogorov(value * math.sqrt(n * m / (n + m))))
    # Pooled values in order are a path of steps of one sample or the other. `inside[j]`: the share of paths with j
    # steps of the second among t, all orders alike, whose gap never reached `value`; the last step was a second's
    # with chance j / t.
    limit = round(value * n * m) - 0.5
    j = np.arange(m + 1)
    inside = np.zeros(m + 1)
    inside[0] = 1.0 if limit > 0 else 0.0
    for t in range(1, n + m + 1):
        first = max(0, t - n, math.ceil((t * m - limit) / (n + m)))
        last = min(m, t, math.floor((t * m + limit) / (n + m)))
        if first > last:
            return 1.0
        now = j[first : last + 1]
        before = np.concatenate([inside[first - 1 : first] if first else np.zeros(1), inside[first:last]])
        kept = (inside[first : last + 1] * (t - now) + before * now) / t
        inside[max(first - 1, 0)], inside[first : last + 1] = 0.0, kept
    return float(min(max(1.0 - inside[m], 0.0), 1.0))


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of finite values times `factor`, a power of two that keeps squares finite: standard `deviation`, and `skew`."""

    factor: float
    deviation: float
    skew: float


def moments(values: Grid) -> Moments:
    """Of all values, as of a population. With one value only, deviation and skew are 0."""
    most = max(abs(float(values.low[0])), abs(float(values.high[-1])))
    factor = 1.0 if 1e-50 < most < 1e50 else 2.0 ** -max(min(math.frexp(most)[1], 1000), -1000)
    scaled, rows = values.middle * factor, values.size
    away = scaled - float(np.sum(scaled * values.count)) / rows
    squares = away * away * values.count
    deviation = math.sqrt(float(np.sum(squares)) / rows)
    if deviation <= 1e-12 * most * factor:
        return Moments(factor=factor, deviation=0.0, skew=0.0)
    return Moments(factor=factor, deviation=deviation, skew=float(np.sum(squares * away)) / rows / deviation**3)


def wasserstein(reference: Grid, current: Grid, found: Apart, of: Moments) -> tuple[float, float | None] | None:
    """Wasserstein-1 between the finite values over the reference's standard deviation, and its error bound.

    `found` is how far both are `apart` at their cells' middles, by the factor of the reference's moments, `of`. None
    where the reference has no spread; no bound where its cells are wider than that.
    """
    if not of.deviation:
        return None
    value = found.area / of.deviation
    if reference.exact and current.exact:
        return min(value, MOST), 0.0
    # A cell's middle is at most half its width from its values; a deviation moves at most by such moves' root mean
    # square.
    halves = [(grid.high * of.factor - grid.low * of.factor) / 2 for grid in (reference, current)]
    moved = sum(float(np.sum(w * grid.count)) / grid.size for w, grid in zip(halves, (reference, current), strict=True))
    deviation = of.deviation - math.sqrt(float(np.sum(halves[0] ** 2 * reference.count)) / reference.size)
    if deviation <= 0:
        return min(value, MOST), None
    return min(value, MOST), min((found.area + moved) / deviation - value, MOST)


def psi_edges(reference: Grid) -> Floats:
    """Inner edges of the bins of PSI, of the reference alone; a value on an edge belongs above it.

    Where there are at most ten values each has a bin, and so has what lies below and above; else deciles, and a value
    with a tenth of the rows or more has a bin of its own. The outer bins are open.
    """
    values, counts = reference.low, reference.count
    if len(values) <= PSI_BINS:
        return _apart(values, reference.high[-1])
    upto = np.cumsum(counts)
    rows = int(upto[-1])
    at = np.searchsorted(upto * PSI_BINS, rows * np.arange(1, PSI_BINS), side="left")
    heavy = np.flatnonzero(counts * PSI_BINS >= rows)
    above = [math.nextafter(value, math.inf) for value in reference.high[heavy].tolist()]
    edges = np.unique(np.concatenate([values[at], values[heavy], above]))
    inner: Floats = edges[edges > values[0]]
    return inner


def doane_edges(reference: Grid, of: Moments) -> Floats:
    """Inner edges of equal bins over the reference's range, as many as Doane's rule says (Doane 1976).

    NumPy's "doane", but the outer bins are open. Beyond the exact size each edge moves up to the next cell. `of` are
    the reference's moments.
    """
    low, high, rows = float(reference.low[0]), float(reference.high[-1]), reference.size
    if rows < 3 or not of.deviation:
        return _apart(reference.low, high)
    sigma = math.sqrt(6.0 * (rows - 2) / ((rows + 1.0) * (rows + 3)))
    bins = math.ceil(1.0 + math.log2(rows) + math.log2(1.0 + abs(of.skew) / sigma))
    edges = np.unique(2 * np.linspace(low / 2, high / 2, bins + 1)[1:-1])  # halves: their difference is finite
    if not reference.exact:
        at = np.unique(np.searchsorted(reference.low, edges, side="left"))
        edges = reference.low[at[at < len(reference.low)]]
    return edges


def _apart(values: Floats, high: float) -> Floats:
    """Edges that give each value a bin, and what lies above the last."""
    return np.append(values, math.nextafter(high, math.inf))


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Counts per bin (k,). Where an edge divides a cell, a bin's true count lies between `least` and `most`."""

    count: Counts
    least: Counts
    most: Counts


def bins(values: Grid, edges: Floats, *, extremes: tuple[int, int], missing: int) -> Bins:
    """Counts (len(edges) + 2,) between the edges, infinities in the outer bins, and of missing values, last."""
    upto = np.concatenate([[0], np.cumsum(values.count)])
    at = upto[np.searchsorted(values.middle, edges, side="left")]
    count = np.append(np.diff(at, prepend=0, append=upto[-1]), missing)
    count[0] += extremes[0]
    count[-2] += extremes[1]
    if values.exact:
        return certain(count)
    first, last = (np.searchsorted(edges, ends, side="right") for ends in (values.low, values.high))
    divided = np.flatnonzero(first != last)
    own = np.searchsorted(edges, values.middle[divided], side="right")
    least, reach = count.copy(), np.zeros(len(count) + 1, dtype=np.int64)
    np.subtract.at(least, own, values.count[divided])
    np.add.at(reach, first[divided], values.count[divided])
    np.subtract.at(reach, last[divided] + 1, values.count[divided])
    return Bins(count=count, least=least, most=least + np.cumsum(reach)[:-1])


def certain(count: Counts) -> Bins:
    """Counts that are known."""
    return Bins(count=count, least=count, most=count)


def psi(reference: Bins, current: Bins) -> tuple[float, float]:
    """Population stability index Σ (p - q) ln(p / q) over bins, and its error bound; see EMPTY."""

    def terms(p: Floats, q: Floats) -> Floats:
        p, q = np.maximum(p, EMPTY), np.maximum(q, EMPTY)
        return (p - q) * np.log(p / q)

    value, least, most = _summed(terms, reference, current)
    return value, max(most - value, value - least)


def jensen_shannon(reference: Bins, current: Bins) -> tuple[float, float]:
    """Jensen–Shannon distance, between 0 and 1, and its error bound.

    The square root of the divergence, with logarithms to base 2.
    """

    def terms(p: Floats, q: Floats) -> Floats:
        middle = (p + q) / 2
        found: Floats = (special.rel_entr(p, middle) + special.rel_entr(q, middle)) / (2 * math.log(2))
        return found

    value, least, most = (math.sqrt(min(max(sum_, 0.0), 1.0)) for sum_ in _summed(terms, reference, current))
    return value, max(most - value, value - least)


def _summed(terms: Callable[[Floats, Floats], Floats], reference: Bins, current: Bins) -> tuple[float, float, float]:
    """A sum over bins, and the least and the most that it can be.

    The reference's bins are certain. Each term is 0 where both shares are equal and rises on both sides of it.
    """
    p, rows = reference.count / reference.count.sum(), current.count.sum()
    value = float(np.sum(terms(p, current.count / rows)))
    if current.least is current.most:
        return value, value, value
    low, high = current.least / rows, current.most / rows
    least = float(np.sum(terms(p, np.clip(p, low, high))))
    return value, least, float(np.sum(np.maximum(terms(p, low), terms(p, high))))


@dataclass(frozen=True, kw_only=True)
class ChiSquare:
    """Pearson's `statistic` with `df` degrees of freedom and its `p`; `effect` is between 0 and 1."""

    statistic: float
    df: int
    p: float
    effect: float


def chi_square(reference: Counts | Floats, current: Counts | Floats) -> ChiSquare | None:
    """Two-sample test of a contingency table with both samples as rows, and cells (k,) as columns; no correction.

    Cells that are expected to hold fewer than LEAST_EXPECTED rows of either sample are pooled first, smallest last:
    by the sums over both samples, which keeps the test's level. None where fewer than two cells remain. The effect is
    Cramér's V as two samples of equal size with these shares would have it.
    """
    table = _pooled(np.stack([reference, current]).astype(np.float64))
    if table is None:
        return None
    rows = table.sum(axis=1, keepdims=True)
    expected = rows * table.sum(axis=0) / rows.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    df = table.shape[1] - 1
    p, q = table / rows
    effect = math.sqrt(min(float(np.sum((p - q) ** 2 / (p + q))) / 2, 1.0))
    return ChiSquare(statistic=statistic, df=df, p=float(special.chdtrc(df, statistic)), effect=effect)


def _pooled(table: Floats) -> Floats | None:
    rows, cells = table.sum(axis=1), table.sum(axis=0)
    if not rows.all():
        return None
    least = LEAST_EXPECTED * float(rows.sum()) / float(rows.min())
    kept = cells >= least
    pool = table[:, ~kept].sum(axis=1)
    table = table[:, kept]
    if pool.sum() >= least:
        table = np.column_stack([table, pool])
    elif pool.any() and table.shape[1]:
        table[:, int(np.argmin(table.sum(axis=0)))] += pool
    return table if table.shape[1] > 1 else None


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for all tests together (Holm 1979), in the order given."""
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, most = [1.0] * len(p), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = most
    return adjusted
