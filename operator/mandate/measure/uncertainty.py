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
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mandate.evidence.intervals import (
    AllPairs,
    Beta,
    GroupPair,
    Interval,
    Link,
    Paired,
    Proportions,
    StudentT,
    Unbounded,
)
from mandate.evidence.schema import Support

from . import caution
from .metrics import Floats, Point, Unit
from .metrics.point import effective

MIN_CLUSTERS = 30
MIN_EFFECTIVE_CLUSTERS = 10
"""(Σ m)² / Σ m² over the clusters' mass: a cluster that holds nearly all moves the estimate to its own, and its
deviation, so the variance, to 0."""
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


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums of powers of `count` units' contributions: all that an interval takes, but for a covariance.

    `freedom`: units less the means taken from them. `clusters` is how many there are where they are the units. `least`
    is what limits take for the variance at least.
    """

    count: int
    second: float
    third: float
    fourth: float
    freedom: int
    clusters: int | None = None
    least: float = 0.0

    @property
    def variance(self) -> float:
        """Variance of the estimate."""
        return self.second

    @property
    def cautious(self) -> float:
        """Variance of the estimate for limits."""
        return self.least if self.least > self.second * (1.0 + ROUNDING) else self.second

    def degrees_of_variance(self) -> float:
        """What the variance estimate is worth: 2 Var² / Var(Var), by the contributions' fourth powers."""
        fourth = self.fourth / self.variance**2 - 1.0 / self.count
        return min(float(self.freedom), 2.0 / fourth if fourth > 0 else math.inf)

    def degrees(self, *, curvature: float = 0.0) -> float:
        """Degrees of freedom for limits; `curvature` is g''/g' of the link times the standard error."""
        skewness = self.third / self.variance**1.5
        bend = abs(skewness / 3.0 + curvature / 2.0)
        return min(self.degrees_of_variance(), 2.0 / (3.0 * bend) if bend > 0 else math.inf)

    def less(self, other: Sums, *, freedom: int, scale: tuple[float, float] = (1.0, 1.0)) -> Sums:
        """Of the difference of two, each times its `scale`, that have no unit in common."""
        a, b = scale
        return Sums(
            count=self.count + other.count,
            second=a**2 * self.second + b**2 * other.second,
            third=a**3 * self.third - b**3 * other.third,
            fourth=a**4 * self.fourth + b**4 * other.fourth,
            freedom=freedom,
            clusters=self.clusters,
            least=a**2 * self.cautious + b**2 * other.cautious,
        )


@dataclass(frozen=True)
class Spread:
    """Contributions per unit, of an estimate or of a difference; `freedom`, `clusters` and `least` as in Sums."""

    units: Floats
    freedom: int
    clusters: int | None = None
    least: float = 0.0

    @cached_property
    def sums(self) -> Sums:
        """The sums of their powers."""
        squares = self.units * self.units  # products: NumPy's general power is ten times slower
        return Sums(
            count=len(self.units),
            second=float(self.units @ self.units),
            third=float(squares @ self.units),
            fourth=float(squares @ squares),
            freedom=self.freedom,
            clusters=self.clusters,
            least=self.least,
        )

    @property
    def variance(self) -> float:
        """Variance of the estimate."""
        return self.sums.variance

    def degrees_of_variance(self) -> float:
        """As of Sums."""
        return self.sums.degrees_of_variance()

    def degrees(self) -> float:
        """As of Sums, without curvature."""
        return self.sums.degrees()


@dataclass(frozen=True, kw_only=True)
class Summed:
    """A metric's value on rows that aren't at hand, with its contributions' sums; the rest as of Point."""

    value: float
    sums: Sums
    events: int
    unit: Unit
    step: float
    steady: float


def contributions(point: Point, clusters: Clusters | None) -> Spread:
    """One contribution per unit; `clusters` (n,) holds codes 0 … or None where rows are independent. Computed once.

    Rows: influence / n, centred groups of size k scaled by √(k/(k-1)), which makes means' and DeLong's variances
    the usual unbiased ones. Clusters: sums within the cluster, scaled by √(C/(C-1)).
    """
    known = point.memo.get("spread")
    if known is None or known[0] is not clusters:
        known = point.memo["spread"] = (clusters, _contributions(point, clusters))
    found: Spread = known[1]
    return found


def _contributions(point: Point, clusters: Clusters | None) -> Spread:
    found = _of_units(point, clusters)
    in_time = _least_in_time(point.psi, point)
    return replace(found, least=in_time) if in_time > found.least else found


def _of_units(point: Point, clusters: Clusters | None) -> Spread:
    rows = len(point.psi)
    if clusters is None and rows > 1 and point.stratum.strides == (0,):  # one stratum for all, which needs no counting
        whole = point.psi * (math.sqrt(rows / (rows - 1)) / rows)
        return Spread(whole, rows - 1, least=_least_of_rows(point))
    counted = point.stratum >= 0
    if clusters is not None:
        sums = np.bincount(clusters, weights=point.psi) / rows
        counted = point.stratum >= 0
        found = _distinct(clusters[counted])
        units = sums * math.sqrt(found / (found - 1)) if found > 1 else sums * 0.0
        least = caution.of_clusters(point.psi, point.weight, counted, clusters, _least_of_rows(point))
        return Spread(units, found - 1, found, least)
    sizes, left_out = _strata(point.stratum)
    scale = np.sqrt(np.divide(sizes, sizes - 1, out=np.zeros(len(sizes)), where=sizes > 1))
    freedom = int(sizes.sum()) - int(np.count_nonzero(sizes))
    scale /= rows
    units = point.psi * (scale[0] if len(scale) == 1 else scale[point.stratum])
    if left_out is not None:
        np.copyto(units, 0.0, where=left_out)
    return Spread(units, freedom, least=_least_of_rows(point))


def _strata(stratum: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """Rows by stratum, and which are in none, or None where each is in one. Few are counted: most numbers have one."""
    rows = len(stratum)
    if rows and stratum.strides == (0,) and stratum[0] == 0:  # as `everywhere` has it
        return np.array([rows]), None
    left_out = stratum < 0
    among = rows - int(np.count_nonzero(left_out))
    one = among > 0 and stratum.max() == 0
    return np.array([among]) if one else np.bincount(stratum + 1)[1:], None if among == rows else left_out


def _least_of_rows(point: Point) -> float:
    """What heavy rows are taken to vary at least: as light ones do. Numbers of labels have their steps instead."""
    if point.weight is None or point.step:
        return 0.0
    return caution.of_rows(point.psi, point.weight, point.stratum)


def _least_in_time(psi: Floats, point: Point) -> float:
    """What rows of blocks of time vary at least, though blocks near each other may be alike."""
    return 0.0 if point.block is None else caution.of_blocks(psi, point.block)


def support(point: Point, clusters: Clusters | None) -> Support:
    """What the number rests on."""
    counted = None if clusters is None else contributions(point, clusters).clusters
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
    return _student(contributions(point, clusters).sums, (point,), centre=value, link=link)


def paired(a: Point, b: Point, clusters: Clusters | None) -> Interval:
    """Interval of `a` against `b`, measured on the same rows."""
    unbounded = _too_few(a, clusters) or _too_few(b, clusters)
    if unbounded is not None:
        return unbounded
    u, v = contributions(a, clusters), contributions(b, clusters)
    return _on_same(a, u, b, v, least=_least(a, b, clusters), unit="discordant")


def _least(a: Point, b: Point, clusters: Clusters | None) -> float:
    """The least that the variance of a difference on the same rows is taken for.

    Numbers of labels have their steps: at least MIN_STEPS of the heaviest row's.
    """
    if a.weight is None and clusters is None and a.block is None:
        return 0.0
    psi, rows = a.psi - b.psi, 0.0
    in_time = _least_in_time(psi, a)
    if a.weight is not None and not max(a.step, b.step):
        rows = caution.of_rows(psi, a.weight, a.stratum)
    units = rows if clusters is None else caution.of_clusters(psi, a.weight, a.stratum >= 0, clusters, rows)
    return max(units, in_time)


def apart(a: Point, b: Point | Summed, clusters: tuple[Clusters | None, Clusters | None]) -> Interval:
    """Interval of `a` against `b`, measured on different rows; clusters may reach over both (one code space)."""
    unbounded = _too_few(a, clusters[0]) or _too_few(b, clusters[1])
    if unbounded is not None:
        return unbounded
    if isinstance(b, Point) and clusters[0] is not None:
        both = _aligned(contributions(a, clusters[0]), contributions(b, clusters[1]))
        return _on_same(a, both[0], b, both[1], least=None, unit=a.unit)
    u = contributions(a, None).sums
    v = b.sums if isinstance(b, Summed) else contributions(b, None).sums
    return _pair(a, u, b, v, u.less(v, freedom=_freedom(u, v)), cov=0.0, unit=a.unit)


def _aligned(u: Spread, v: Spread) -> tuple[Spread, Spread]:
    """Contributions of both over one common list of clusters."""
    size = max(len(u.units), len(v.units))
    return (
        replace(u, units=np.pad(u.units, (0, size - len(u.units)))),
        replace(v, units=np.pad(v.units, (0, size - len(v.units)))),
    )


def _less(
    u: Spread, v: Spread, *, freedom: int, scale: tuple[float, float] = (1.0, 1.0), least: float | None = None
) -> Spread:
    """Of the difference of two, each times its `scale`, over the same units; by default as cautious as either alone."""
    units = u.units - v.units if scale == (1.0, 1.0) else scale[0] * u.units - scale[1] * v.units
    if least is None:
        least = max(w.cautious / w.variance if w.variance else 1.0 for w in (u.sums, v.sums)) * float(units @ units)
    return Spread(units, freedom, u.clusters, least)


def _freedom(u: Sums, v: Sums) -> int:
    return min(u.freedom, v.freedom) if v.variance else u.freedom


def _on_same(
    a: Point, u: Spread, b: Point, v: Spread, *, least: float | None, unit: Unit | Literal["discordant"]
) -> Interval:
    """`a` against `b`, whose contributions are of the same units."""
    difference = _less(u, v, freedom=_freedom(u.sums, v.sums), least=least)
    cov = float(u.units @ v.units)
    return _pair(a, u.sums, b, v.sums, difference.sums, cov=cov, unit=unit)


def _pair(
    a: Point, u: Sums, b: Point | Summed, v: Sums, difference: Sums, *, cov: float, unit: Unit | Literal["discordant"]
) -> Interval:
    if difference.variance >= HUGE:
        return _too_large(a)
    rounding = ROUNDING * (u.variance + v.variance) + ROUNDING * a.value * (ROUNDING * a.value)
    if difference.variance <= rounding + TINY:
        return _no_variance(a)
    degrees = difference.degrees()
    unbounded = _unsteady(difference, (a, b), degrees, step=max(a.step, b.step), unit=unit)
    if unbounded is not None:
        return unbounded
    wider = difference.cautious / difference.variance
    return Paired(a=a.value, b=b.value, var_a=wider * u.variance, var_b=wider * v.variance, cov=wider * cov, df=degrees)


def all_pairs(groups: dict[str, tuple[Point, Clusters | None]], *, ratio: bool) -> AllPairs | Unbounded:
    """Every group against every other, on differences or log ratios.

    A group or a pair that can't be bounded is the hindrance, and the others still show how far apart they are: a small
    group mustn't hide the gap between large ones. Unbounded where nothing is left. The ratio of a proportion to one
    that is 0 has its two sides.
    """
    pairs: list[GroupPair] = []
    hindered: dict[str, Unbounded] = {}
    for name, (point, clusters) in sorted(groups.items()):
        hindrance = _too_few(point, clusters) or (_no_variance(point) if ratio and point.value <= 0 else None)
        if hindrance is not None:
            hindered[name] = _of(name, hindrance)
    hindrances, left_out = list(hindered.values()), 0
    for first, second in combinations(sorted(groups), 2):
        interval: StudentT | Proportions | Unbounded | None
        if first in hindered or second in hindered:
            interval = _sides(groups[first], groups[second]) if ratio else None
        else:
            interval = _between(groups[first], groups[second], ratio=ratio)
        if interval is None or isinstance(interval, Unbounded):
            left_out += 1
            hindrances += [] if interval is None else [_of(f"{first} and {second}", interval)]
        else:
            pairs.append(GroupPair(first=first, second=second, interval=interval))
    if not pairs:
        return hindrances[0]
    return AllPairs(pairs=tuple(pairs), hindrance=next(iter(hindrances), None), left_out=left_out or None)


def _between(
    one: tuple[Point, Clusters | None], other: tuple[Point, Clusters | None], *, ratio: bool
) -> StudentT | Unbounded:
    """The difference or log ratio of two groups."""
    (a, codes_a), (b, codes_b) = one, other
    scale_a, scale_b = (1 / a.value, 1 / b.value) if ratio else (1.0, 1.0)
    if codes_a is None:
        s, t = contributions(a, None).sums, contributions(b, None).sums
        sums = s.less(t, freedom=min(s.freedom, t.freedom), scale=(scale_a, scale_b))
    else:
        u, v = _aligned(contributions(a, codes_a), contributions(b, codes_b))
        sums = _less(u, v, freedom=min(u.freedom, v.freedom), scale=(scale_a, scale_b)).sums
    return _student(
        sums,
        (a, b),
        centre=math.log(a.value / b.value) if ratio else a.value - b.value,
        link="Identity",
        step=max(a.step * scale_a, b.step * scale_b),
    )


def _sides(one: tuple[Point, Clusters | None], other: tuple[Point, Clusters | None]) -> Proportions | None:
    """Two proportions of which one is 0; None where they aren't, or where there are too few clusters to bound them."""
    if any(point.proportion is None or _too_few(point, clusters) is not None for point, clusters in (one, other)):
        return None
    if (one[0].value > 0) == (other[0].value > 0):
        return None
    return Proportions(first=_proportion(*one), second=_proportion(*other))


def _proportion(point: Point, clusters: Clusters | None) -> Beta:
    """Exact counts, or effective ones where rows have weights or come in clusters (Korn & Graubard 1998).

    With weights never more than Kish's number, however little the rows that were seen vary: errors on heavy rows may
    not have been among them. Without variation the clusters' likeness can't be seen, so each cluster counts as one
    trial, or for its weight; and where one of the kind that wasn't seen may weigh more, for less in proportion.
    """
    assert point.proportion is not None
    successes, trials = point.proportion
    if clusters is None and point.weight is None:
        return Beta(successes=successes, trials=trials)
    spread = contributions(point, clusters)
    if spread.variance == 0 or not 0.0 < point.value < 1.0:
        found = trials
        if clusters is not None:
            heavier = 1.0 if point.weight is None else trials / effective(point.stratum >= 0, point.weight)
            found = heavier * _effective_clusters(point, clusters)
        return Beta(successes=point.value * found, trials=found)
    rows = int(np.count_nonzero(point.stratum >= 0))
    degrees = spread.degrees_of_variance()
    adjust = (special.stdtrit(rows - 1, KORN_GRAUBARD_LEVEL) / special.stdtrit(degrees, KORN_GRAUBARD_LEVEL)) ** 2
    worth = min(float(trials), point.value * (1 - point.value) / spread.sums.cautious * float(adjust))
    return Beta(successes=point.value * worth, trials=worth)


def _student(
    spread: Sums, points: tuple[Point, *tuple[Point, ...]], *, centre: float, link: Link, step: float | None = None
) -> StudentT | Unbounded:
    if spread.variance >= HUGE:
        return _too_large(points[0])
    if spread.variance <= ROUNDING * centre * (ROUNDING * centre) + TINY:
        return _no_variance(points[0])
    error = math.sqrt(spread.cautious)
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


def _too_few(point: Point | Summed, clusters: Clusters | None) -> Unbounded | None:
    """Whether there are too few clusters, rows or rows of the rarer class, whatever the numbers say."""
    if isinstance(point, Point) and clusters is not None:
        found = contributions(point, clusters).clusters or 0
        if found < MIN_CLUSTERS:
            return Unbounded(reason=f"{found} clusters only", unit="clusters", found=found, needed=MIN_CLUSTERS)
        if (worth := _effective_clusters(point, clusters)) < MIN_EFFECTIVE_CLUSTERS:
            return Unbounded(
                reason=f"a few of {found} clusters hold most of the weight, all worth {worth:.1f} equal ones",
                unit="clusters",
                found=int(worth),
                needed=MIN_EFFECTIVE_CLUSTERS,
            )
    if point.step:
        return None
    needed = MIN_MINORITY if point.unit == "minority" else MIN_ROWS
    if point.events >= needed:
        return None
    kind = {"minority": "rows of the rarer class", "queries": "queries with a relevant row"}.get(point.unit, "rows")
    return Unbounded(reason=f"{point.events} {kind} only", unit=point.unit, found=point.events, needed=needed)


def _unsteady(
    spread: Sums,
    points: tuple[Point, *tuple[Point | Summed, ...]],
    degrees: float,
    *,
    step: float,
    unit: Unit | Literal["discordant"],
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


def _design_effect(point: Point | Summed) -> float:
    """How many rows with weights tell as much as one without: 1 + the weights' squared variation (Kish 1965).

    A weighted mean is a ratio whose tails are the weights' as well: with lognormal weights, limits of a log loss on as
    many degrees of freedom as are enough without weights were wrong 2.7 % of the time instead of 1.25 %.
    """
    weight = None if isinstance(point, Summed) else point.weight
    return 1.0 if weight is None else float(weight @ weight) / len(weight)


def _effective_clusters(point: Point, clusters: Clusters) -> float:
    """How many clusters of equal weight tell as much as those that occur."""
    counted = point.stratum >= 0
    mass = np.bincount(clusters[counted], weights=None if point.weight is None else point.weight[counted])
    return float(mass.sum()) ** 2 / float(mass @ mass)


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
