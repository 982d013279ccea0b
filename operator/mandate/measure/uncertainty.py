"""From influence values to intervals: variances, covariances, degrees of freedom, and when there are too few events.

A unit is a row, or a cluster of rows where one is declared. `contributions` gives one number per unit whose squares
add up to the estimate's variance; products of two estimates' contributions add up to their covariance. So paired,
sliced and clustered comparisons are sums over units, whatever the metric.

Degrees of freedom are what the variance estimate is worth (Satterthwaite 1946, by the contributions' kurtosis), and
no more than the skewness of the studentised estimate allows: to first order its quantile at z moves by λz², and
Student's by (z³ + z)/4df, so df = 2/(3|λ|) covers the worse side at z >= 2.24, the first look's share.
The support rules below are set by simulation (tests/peers/coverage.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mandate.evidence.intervals import AllPairs, Beta, GroupPair, Interval, Link, Paired, StudentT, Unbounded
from mandate.evidence.schema import Support

from .metrics import Floats, Point, Unit

MIN_CLUSTERS = 30
MIN_ROWS = 50
"""Rows behind a number whose errors have no bound: fewer can't show how heavy the tails are."""
MIN_MINORITY = 20
"""Rows of the rarer class behind a number made of scores."""
MIN_STEPS = 10
"""Right or wrong labels that the variance is worth, behind a number made of labels; for pairs, discordant ones."""
KORN_GRAUBARD_LEVEL = 0.001
"""One-sided level at which effective counts are adjusted for the clusters' degrees of freedom."""

ROUNDING = 1e-9
"""A variance below this share of its parts is rounding."""
TINY = 1e-100
"""A variance below this has no square in floating point."""
HUGE = 1e150
"""Nor has one above this."""

Clusters = NDArray[np.intp]


@dataclass(frozen=True)
class Spread:
    """Contributions per unit, of an estimate or of a difference. `freedom`: units less the means taken from them.

    `clusters` is how many there are where clusters are the units, else None.
    """

    units: Floats
    freedom: int
    clusters: int | None = None

    @property
    def variance(self) -> float:
        """Variance of the estimate."""
        return float(self.units @ self.units)

    def degrees_of_variance(self) -> float:
        """What the variance estimate is worth: 2 Var² / Var(Var), by the contributions' fourth powers."""
        squares = self.units * self.units  # products: NumPy's general power is ten times slower
        fourth = float(squares @ squares) / self.variance**2 - 1.0 / len(self.units)
        return min(float(self.freedom), 2.0 / fourth if fourth > 0 else math.inf)

    def degrees(self, *, curvature: float = 0.0) -> float:
        """Degrees of freedom for limits; `curvature` is g''/g' of the link times the standard error."""
        skewness = float((self.units * self.units) @ self.units) / self.variance**1.5
        bend = abs(skewness / 3.0 + curvature / 2.0)
        return min(self.degrees_of_variance(), 2.0 / (3.0 * bend) if bend > 0 else math.inf)


def contributions(point: Point, clusters: Clusters | None) -> Spread:
    """One contribution per unit; `clusters` (n,) holds codes 0 … or None where rows are independent.

    Rows: influence / n, centred groups of size k scaled by √(k/(k-1)), which makes means' and DeLong's variances
    the usual unbiased ones. Clusters: sums within the cluster, scaled by √(C/(C-1)).
    """
    counted = point.stratum >= 0
    rows = len(point.psi)
    if clusters is not None:
        sums = np.bincount(clusters, weights=point.psi) / rows
        found = _distinct(clusters[counted])
        return Spread(sums * math.sqrt(found / (found - 1)) if found > 1 else sums * 0.0, found - 1, found)
    sizes = np.bincount(point.stratum[counted])
    scale = np.sqrt(np.divide(sizes, sizes - 1, out=np.zeros(len(sizes)), where=sizes > 1))
    freedom = int(sizes.sum()) - int(np.count_nonzero(sizes))
    return Spread(np.where(counted, scale[point.stratum], 0.0) * point.psi / rows, freedom)


def support(point: Point, clusters: Clusters | None) -> Support:
    """What the number rests on."""
    counted = None if clusters is None else _distinct(clusters[point.stratum >= 0])
    return Support(rows=len(point.psi), events=point.events, clusters=counted)


def alone(point: Point, clusters: Clusters | None) -> Interval:
    """Interval of one number."""
    if (unbounded := _too_few(point, clusters)) is not None:
        return unbounded
    if point.proportion is not None:
        return _proportion(point, clusters)
    value, link = point.value, point.link
    low, high = {"Log": (0.0, math.inf), "Logit": (0.0, 1.0), "LogComplement": (-math.inf, 1.0)}.get(
        link, (-math.inf, math.inf)
    )
    if not low < value < high:
        return _no_variance(point)
    return _student(contributions(point, clusters), (point,), centre=value, link=link)


def paired(a: Point, b: Point, clusters: Clusters | None) -> Interval:
    """Interval of `a` against `b`, measured on the same rows."""
    unbounded = _too_few(a, clusters) or _too_few(b, clusters)
    if unbounded is not None:
        return unbounded
    return _pair(a, contributions(a, clusters), b, contributions(b, clusters), unit="discordant")


def apart(a: Point, b: Point, clusters: tuple[Clusters | None, Clusters | None]) -> Interval:
    """Interval of `a` against `b`, measured on different rows; clusters may reach over both (one code space)."""
    unbounded = _too_few(a, clusters[0]) or _too_few(b, clusters[1])
    if unbounded is not None:
        return unbounded
    u, v = _aligned(a, b, clusters)
    return _pair(a, u, b, v, unit=a.unit)


def _aligned(a: Point, b: Point, clusters: tuple[Clusters | None, Clusters | None]) -> tuple[Spread, Spread]:
    """Contributions of both over one common list of units."""
    u, v = contributions(a, clusters[0]), contributions(b, clusters[1])
    before, after = (len(u.units), len(v.units)) if clusters[0] is None else (0, 0)
    size = max(len(u.units) + after, before + len(v.units))
    return (
        replace(u, units=np.pad(u.units, (0, size - len(u.units)))),
        replace(v, units=np.pad(v.units, (before, size - before - len(v.units)))),
    )


def _pair(a: Point, u: Spread, b: Point, v: Spread, *, unit: Unit | Literal["discordant"]) -> Interval:
    difference = Spread(u.units - v.units, min(u.freedom, v.freedom) if v.variance else u.freedom, u.clusters)
    if difference.variance >= HUGE:
        return _too_large(a)
    rounding = ROUNDING * (u.variance + v.variance) + ROUNDING * a.value * (ROUNDING * a.value)
    if difference.variance <= rounding + TINY:
        return _no_variance(a)
    degrees = difference.degrees()
    unbounded = _unsteady(difference, (a, b), degrees, step=max(a.step, b.step), unit=unit)
    if unbounded is not None:
        return unbounded
    cov = float(u.units @ v.units)
    return Paired(a=a.value, b=b.value, var_a=u.variance, var_b=v.variance, cov=cov, df=degrees)


def all_pairs(groups: dict[str, tuple[Point, Clusters | None]], *, ratio: bool) -> AllPairs | Unbounded:
    """Every group against every other, on differences or log ratios; the first hindrance makes it all Unbounded."""
    pairs: list[GroupPair] = []
    for name, (point, clusters) in sorted(groups.items()):
        hindrance = _too_few(point, clusters) or (_no_variance(point) if ratio and point.value <= 0 else None)
        if hindrance is not None:
            return _of(name, hindrance)
    for first, second in combinations(sorted(groups), 2):
        (a, codes_a), (b, codes_b) = groups[first], groups[second]
        u, v = _aligned(a, b, (codes_a, codes_b))
        scale_a, scale_b = (1 / a.value, 1 / b.value) if ratio else (1.0, 1.0)
        spread = Spread(u.units * scale_a - v.units * scale_b, min(u.freedom, v.freedom), u.clusters)
        interval = _student(
            spread,
            (a, b),
            centre=math.log(a.value / b.value) if ratio else a.value - b.value,
            link="Identity",
            step=max(a.step * scale_a, b.step * scale_b),
        )
        if isinstance(interval, Unbounded):
            return _of(f"{first} and {second}", interval)
        pairs.append(GroupPair(first=first, second=second, interval=interval))
    return AllPairs(pairs=tuple(pairs))


def _proportion(point: Point, clusters: Clusters | None) -> Beta:
    """Exact counts, or effective ones where rows have weights or come in clusters (Korn & Graubard 1998).

    With weights never more than Kish's number, however little the rows that were seen vary: errors on heavy rows may
    not have been among them. Without variation the clusters' likeness can't be seen, so each cluster counts as one
    trial, or for its weight.
    """
    assert point.proportion is not None
    successes, trials = point.proportion
    if clusters is None and point.weight is None:
        return Beta(successes=successes, trials=trials)
    spread = contributions(point, clusters)
    if spread.variance == 0 or not 0.0 < point.value < 1.0:
        found = trials if clusters is None else _effective_clusters(point, clusters)
        return Beta(successes=point.value * found, trials=found)
    rows = int(np.count_nonzero(point.stratum >= 0))
    degrees = spread.degrees_of_variance()
    adjust = (special.stdtrit(rows - 1, KORN_GRAUBARD_LEVEL) / special.stdtrit(degrees, KORN_GRAUBARD_LEVEL)) ** 2
    effective = min(float(trials), point.value * (1 - point.value) / spread.variance * float(adjust))
    return Beta(successes=point.value * effective, trials=effective)


def _student(
    spread: Spread, points: tuple[Point, ...], *, centre: float, link: Link, step: float | None = None
) -> StudentT | Unbounded:
    if spread.variance >= HUGE:
        return _too_large(points[0])
    if spread.variance <= ROUNDING * centre * (ROUNDING * centre) + TINY:
        return _no_variance(points[0])
    error = math.sqrt(spread.variance)
    match link:
        case "Identity":
            on_link, slope, bend = centre, 1.0, 0.0
        case "Log":
            on_link, slope, bend = math.log(centre), 1.0 / centre, -1.0 / centre
        case "Logit":
            within = centre * (1.0 - centre)
            on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / within, (2.0 * centre - 1.0) / within
        case "LogComplement":
            # What is left is a ratio, whose own curvature the logarithm takes away.
            on_link, slope, bend = -math.log1p(-centre), 1.0 / (1.0 - centre), 0.0
    degrees = spread.degrees(curvature=bend * error)
    step = points[0].step if step is None else step
    unbounded = _unsteady(spread, points, degrees, step=step, unit=points[0].unit)
    return unbounded or StudentT(link=link, centre=on_link, se=error * slope, df=degrees)


def _too_few(point: Point, clusters: Clusters | None) -> Unbounded | None:
    """Whether there are too few clusters, rows or rows of the rarer class, whatever the numbers say."""
    if clusters is not None:
        found = _distinct(clusters[point.stratum >= 0])
        if found < MIN_CLUSTERS:
            return Unbounded(reason=f"{found} clusters only", unit="clusters", found=found, needed=MIN_CLUSTERS)
    if point.step:
        return None
    needed = MIN_MINORITY if point.unit == "minority" else MIN_ROWS
    if point.events >= needed:
        return None
    kind = {"minority": "rows of the rarer class", "queries": "queries with a relevant row"}.get(point.unit, "rows")
    return Unbounded(reason=f"{point.events} {kind} only", unit=point.unit, found=point.events, needed=needed)


def _unsteady(
    spread: Spread, points: tuple[Point, ...], degrees: float, *, step: float, unit: Unit | Literal["discordant"]
) -> Unbounded | None:
    """Whether a few labels or a few rows decide the number, so that its variance estimate can't be trusted."""
    if step:
        found = int(spread.variance / step**2 * (1 + ROUNDING))
        if found < MIN_STEPS:
            return Unbounded(
                reason=f"it rests on the spread of {found} labels", unit=unit, found=found, needed=MIN_STEPS
            )
    needed = max(point.steady * _design_effect(point) for point in points)
    if degrees >= needed:
        return None
    # Skewness falls with the root of the sample, so degrees of freedom grow with it.
    events = points[0].events if spread.clusters is None else spread.clusters
    more = math.ceil(events * (needed / max(degrees, 1.0)) ** 2)
    return Unbounded(
        reason=f"a few rows decide the number ({degrees:.1f} degrees of freedom of {needed:.4g})",
        unit=points[0].unit if spread.clusters is None else "clusters",
        found=events,
        needed=max(more, events + 1),
    )


def _distinct(clusters: Clusters) -> int:
    """How many codes occur; counting takes a tenth of the time of sorting."""
    return int(np.count_nonzero(np.bincount(clusters)))


def _design_effect(point: Point) -> float:
    """How many rows with weights tell as much as one without: 1 + the weights' squared variation (Kish 1965).

    A weighted mean is a ratio whose tails are the weights' as well: with lognormal weights, limits of a log loss on as
    many degrees of freedom as are enough without weights were wrong 2.7 % of the time instead of 1.25 %.
    """
    return 1.0 if point.weight is None else float(point.weight @ point.weight) / len(point.weight)


def _effective_clusters(point: Point, clusters: Clusters) -> float:
    """How many clusters of equal weight tell as much as those that occur."""
    counted = point.stratum >= 0
    if point.weight is None:
        return _distinct(clusters[counted])
    sums = np.bincount(clusters[counted], weights=point.weight[counted])
    return float(sums.sum()) ** 2 / float(sums @ sums)


def _no_variance(point: Point) -> Unbounded:
    return Unbounded(
        reason="no variation was seen, so nothing is known about the error",
        unit=point.unit,
        found=point.events,
        needed=max(2 * point.events, MIN_MINORITY),
    )


def _too_large(point: Point) -> Unbounded:
    return _no_variance(point).model_copy(update={"reason": "the numbers are so large that their squares overflow"})


def _of(name: str, unbounded: Unbounded) -> Unbounded:
    return unbounded.model_copy(update={"reason": f"{name}: {unbounded.reason}"[:512]})
