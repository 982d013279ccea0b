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
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mandate.evidence.intervals import AllPairs, Beta, GroupPair, Interval, Paired, StudentT, Unbounded
from mandate.evidence.schema import Support

from .metrics import Floats, Link, Point

MIN_DF = 5.0
"""Below this a Student-t limit is too sensitive to its own variance estimate to be kept."""
MIN_CLUSTERS = 30
MIN_MINORITY = 15
MIN_DISCORDANT = 10
KORN_GRAUBARD_LEVEL = 0.001
"""One-sided level at which effective counts are adjusted for the clusters' degrees of freedom."""

Clusters = NDArray[np.intp]
_BindingUnit = Literal["rows", "positives", "negatives", "minority", "clusters", "discordant"]


@dataclass(frozen=True)
class Spread:
    """Contributions per unit, of an estimate or of a difference. `freedom`: units less the means taken from them."""

    units: Floats
    freedom: int

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
        found = len(np.unique(clusters[counted]))
        return Spread(sums * math.sqrt(found / (found - 1)) if found > 1 else sums * 0.0, found - 1)
    sizes = np.bincount(point.stratum[counted])
    scale = np.sqrt(np.divide(sizes, sizes - 1, out=np.zeros(len(sizes)), where=sizes > 1))
    freedom = int(sizes.sum()) - int(np.count_nonzero(sizes))
    return Spread(np.where(counted, scale[point.stratum], 0.0) * point.psi / rows, freedom)


def support(point: Point, clusters: Clusters | None) -> Support:
    """What the number rests on."""
    counted = None if clusters is None else len(np.unique(clusters[point.stratum >= 0]))
    return Support(rows=len(point.psi), events=point.events, clusters=counted)


def alone(point: Point, clusters: Clusters | None) -> Interval:
    """Interval of one number."""
    if (unbounded := _too_few_clusters(point, clusters)) is not None:
        return unbounded
    if point.proportion is not None:
        return _proportion(point, clusters)
    if (unbounded := _too_few_events(point)) is not None:
        return unbounded
    value, link = point.value, point.link
    if (link == "Log" and value <= 0) or (link == "Logit" and not 0 < value < 1):
        return _no_variance(point)
    return _student(contributions(point, clusters), centre=value, link=link, point=point)


def paired(a: Point, b: Point, clusters: Clusters | None, *, differ: NDArray[np.bool_] | None = None) -> Interval:
    """Interval of `a` against `b`, measured on the same rows.

    `differ` (n,) marks the rows that one gets right and the other wrong: for shares only those carry information.
    """
    for point in (a, b):
        if (unbounded := _too_few_clusters(point, clusters)) is not None:
            return unbounded
    if (unbounded := _too_few_events(a)) is not None:
        return unbounded
    if a.proportion is not None and differ is not None:
        found = int(np.count_nonzero(differ & ((a.stratum >= 0) | (b.stratum >= 0))))
        if found < MIN_DISCORDANT:
            return Unbounded(
                reason=f"only {found} rows are right by one and wrong by the other",
                unit="discordant",
                found=found,
                needed=MIN_DISCORDANT,
            )
    return _pair(a, contributions(a, clusters), b, contributions(b, clusters))


def apart(a: Point, b: Point, clusters: tuple[Clusters | None, Clusters | None]) -> Interval:
    """Interval of `a` against `b`, measured on different rows; clusters may reach over both (one code space)."""
    for point, codes in zip((a, b), clusters, strict=True):
        unbounded = _too_few_clusters(point, codes) or _too_few_events(point, proportion_too=True)
        if unbounded is not None:
            return unbounded
    first, second = _aligned(a, b, clusters)
    return _pair(a, first, b, second)


def _aligned(a: Point, b: Point, clusters: tuple[Clusters | None, Clusters | None]) -> tuple[Spread, Spread]:
    """Contributions of both over one common list of units."""
    first, second = contributions(a, clusters[0]), contributions(b, clusters[1])
    if clusters[0] is None:
        u = np.concatenate([first.units, np.zeros(len(second.units))])
        v = np.concatenate([np.zeros(len(first.units)), second.units])
    else:
        size = max(len(first.units), len(second.units))
        u = np.pad(first.units, (0, size - len(first.units)))
        v = np.pad(second.units, (0, size - len(second.units)))
    return Spread(u, first.freedom), Spread(v, second.freedom)


def _pair(a: Point, u: Spread, b: Point, v: Spread) -> Interval:
    difference = Spread(u.units - v.units, min(u.freedom, v.freedom) if v.variance else u.freedom)
    if _vanishes(difference.variance, scale=max(u.variance, v.variance, 1e-30 * a.value**2)):
        return _no_variance(a)
    degrees = difference.degrees()
    if degrees < MIN_DF:
        return _too_skewed(a, degrees)
    return Paired(
        a=a.value,
        b=b.value,
        var_a=u.variance,
        var_b=v.variance,
        cov=float(u.units @ v.units),
        df=degrees,
    )


def all_pairs(groups: dict[str, tuple[Point, Clusters | None]], *, ratio: bool) -> AllPairs | Unbounded:
    """Every group against every other, on differences or log ratios; the first hindrance makes it all Unbounded."""
    pairs: list[GroupPair] = []
    names = sorted(groups)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            (a, codes_a), (b, codes_b) = groups[first], groups[second]
            for point, codes, name in ((a, codes_a, first), (b, codes_b, second)):
                hindrance = _too_few_clusters(point, codes) or _too_few_events(point, proportion_too=True)
                if hindrance is None and ratio and point.value <= 0:
                    hindrance = _no_variance(point)
                if hindrance is not None:
                    return hindrance.model_copy(update={"reason": f"{name}: {hindrance.reason}"})
            u, v = _aligned(a, b, (codes_a, codes_b))
            scale_a, scale_b = (1 / a.value, 1 / b.value) if ratio else (1.0, 1.0)
            spread = Spread(u.units * scale_a - v.units * scale_b, min(u.freedom, v.freedom))
            centre = math.log(a.value / b.value) if ratio else a.value - b.value
            interval = _student(spread, centre=centre, link="Identity", point=a)
            if isinstance(interval, Unbounded):
                return interval.model_copy(update={"reason": f"{first} and {second}: {interval.reason}"})
            pairs.append(GroupPair(first=first, second=second, interval=interval))
    return AllPairs(pairs=tuple(pairs))


def _proportion(point: Point, clusters: Clusters | None) -> Beta:
    """Exact counts, or effective ones where rows come in clusters (Korn & Graubard 1998).

    Without variation the clusters' likeness can't be seen, so each cluster counts as one trial.
    """
    assert point.proportion is not None
    successes, trials = point.proportion
    if clusters is None:
        return Beta(successes=successes, trials=trials)
    spread = contributions(point, clusters)
    found = spread.freedom + 1
    if spread.variance == 0:
        return Beta(successes=point.value * found, trials=found)
    degrees = spread.degrees_of_variance()
    adjust = (special.stdtrit(trials - 1, KORN_GRAUBARD_LEVEL) / special.stdtrit(degrees, KORN_GRAUBARD_LEVEL)) ** 2
    effective = min(float(trials), point.value * (1 - point.value) / spread.variance * float(adjust))
    return Beta(successes=point.value * effective, trials=effective)


def _student(spread: Spread, *, centre: float, link: Link, point: Point) -> StudentT | Unbounded:
    if _vanishes(spread.variance, scale=centre**2 * 1e-24):
        return _no_variance(point)
    error = math.sqrt(spread.variance)
    match link:
        case "Identity":
            on_link, slope, bend = centre, 1.0, 0.0
        case "Log":
            on_link, slope, bend = math.log(centre), 1.0 / centre, -1.0 / centre
        case "Logit":
            within = centre * (1.0 - centre)
            on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / within, (2.0 * centre - 1.0) / within
    degrees = spread.degrees(curvature=bend * error)
    if degrees < MIN_DF:
        return _too_skewed(point, degrees)
    return StudentT(link=link, centre=on_link, se=error * slope, df=degrees)


def _vanishes(variance: float, *, scale: float) -> bool:
    return variance <= 1e-18 * scale or variance < 1e-300


def _too_few_clusters(point: Point, clusters: Clusters | None) -> Unbounded | None:
    if clusters is None:
        return None
    found = len(np.unique(clusters[point.stratum >= 0]))
    if found >= MIN_CLUSTERS:
        return None
    return Unbounded(reason=f"{found} clusters only", unit="clusters", found=found, needed=MIN_CLUSTERS)


def _too_few_events(point: Point, *, proportion_too: bool = False) -> Unbounded | None:
    if point.events >= MIN_MINORITY or (point.proportion is not None and not proportion_too):
        return None
    return Unbounded(reason=f"{point.events} events only", unit=point.unit, found=point.events, needed=MIN_MINORITY)


def _no_variance(point: Point) -> Unbounded:
    return Unbounded(
        reason="no variation was seen, so nothing is known about the error",
        unit=point.unit,
        found=point.events,
        needed=max(2 * point.events, MIN_MINORITY),
    )


def _too_skewed(point: Point, degrees: float) -> Unbounded:
    needed = math.ceil(point.events * (MIN_DF / max(degrees, 0.5)) ** 2)
    return Unbounded(
        reason=f"a few rows decide the number ({degrees:.1f} degrees of freedom)",
        unit=point.unit,
        found=point.events,
        needed=max(needed, point.events + 1),
    )


def codes(values: NDArray[Any]) -> Clusters:
    """Cluster codes 0 … of arbitrary values."""
    return np.unique(values, return_inverse=True)[1].astype(np.intp)
