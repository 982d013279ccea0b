"""What every metric takes and gives: a `Sample` of rows, and a `Point` with influence values.

Errors of a metric's value are, to first order, the mean of independent influence values, so one mechanism
(`uncertainty`) gives variances, covariances with a reference on the same rows, clustered variances and degrees of
freedom for all metrics alike. Each is the derivative of the value by a row's weight, times the number of rows (Hampel
1974); tests/peers differentiates scikit-learn's weighted metrics to compare.

Rows may have weights, and then a row counts for as much as its weight says: every sum over rows is a weighted one, and
the influence values hold the weights, so that variances are those of a sample whose rows were drawn with them (Binder
1983). What counts rows counts effective ones, (Σ w)² / Σ w² (Kish 1965). Weights that are all equal are none.

Shapes: `actual` is (n,) bool for Binary, (n,) int class index for Multiclass, (n,) float for Regression, Forecast and
Ranking, where it is the relevance; `label` has the dtype of `actual`; `score` is (n,) P(positive) for Binary,
(n, classes) for Multiclass;
`quantiles` is (n, levels) for Regression that has them, and then `score` is the median.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mandate.evidence.intervals import Link

Floats = NDArray[np.float64]
Unit = Literal["rows", "positives", "negatives", "minority", "queries"]

STEADY_LABELS = 5.0
"""Numbers made of right and wrong labels."""
STEADY_SCORES = 15.0
"""Numbers made of scores and ranks."""
STEADY_PRECISIONS = 30.0
"""Averages of precisions, whose plug-in estimate is a little too high."""
STEADY_MEAN = 20.0
"""Means of errors without a bound."""
STEADY_SQUARES = 40.0
"""Means of their squares."""
STEADY_RATIO = 60.0
"""Ratios of such means."""
STEADY_TAIL_ROWS = 40_000.0
"""Few rows can't show how heavy one tail is: means of absolute errors need this over the number of rows, too."""


class UndefinedError(Exception):
    """The metric has no value on these rows. `code` is CamelCase and stable; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Numbers that some metrics take from the spec; those metrics aren't measured where they are None.

    `costs` (classes, classes): cost of one answer, by actual and by answered class; Binary has negative, positive.
    """

    beta: float | None = None
    top_k: int | None = None
    costs: Floats | None = None
    quantiles: tuple[float, ...] | None = None
    by_class: bool = False
    """Whether rows have weights for having been drawn by their class, and for nothing else."""

    def has(self, field: str) -> bool:
        """Whether the spec's `field` is declared, by the catalogue's name for it; "" always is."""
        return {
            "": True,
            "task.beta": self.beta is not None,
            "task.topK": self.top_k is not None,
            "task.quantiles": self.quantiles is not None,
            "useCase.errorCosts": self.costs is not None,
        }[field]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows to measure on. `score` or `label` is None where the model doesn't give it.

    `weight` (n,), each above 0 and finite, on any scale: how much a row counts for; None where all count alike.
    """

    actual: NDArray[Any]
    label: NDArray[Any] | None = None
    score: Floats | None = None
    classes: int = 2
    declared: Declared = Declared()
    weight: Floats | None = None
    quantiles: Floats | None = None
    scale: Floats | None = None
    """Forecast (n,): what an error of the row's series is measured in, above 0; NaN where the series has none."""
    days: Floats | None = None
    """Forecast (n,): days from the last training row to the time that the row's forecast is for."""
    block: NDArray[np.intp] | None = None
    """Forecast (n,): which block of time a row is of, by codes that rise with time; None where series are clusters."""
    query: NDArray[np.intp] | None = None
    """Ranking (n,): which query a row belongs to, by codes 0 …"""
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What several metrics need of it."""

    def __len__(self) -> int:
        return len(self.actual)

    @property
    def binary(self) -> bool:
        """Whether `actual` says positive or not, rather than which class."""
        return self.actual.dtype == np.bool_

    @cached_property
    def share(self) -> Floats | None:
        """The weights with mean 1; None where all are equal."""
        return shares(self.weight)

    @cached_property
    def ranks(self) -> tuple[NDArray[np.intp], int]:
        """Binary: each row's place among the distinct scores, and how many there are."""
        score = scores(self)
        order = None if (score[1:] >= score[:-1]).all() else np.argsort(score, kind="stable")
        rising = score if order is None else score[order]
        place = np.zeros(len(score), dtype=np.intp)
        np.cumsum(rising[1:] != rising[:-1], out=place[1:])
        count = int(place[-1]) + 1 if len(place) else 0
        if order is None:
            return place, count
        found = np.empty_like(place)
        found[order] = place
        return found, count

    def take(self, rows: NDArray[Any]) -> Sample:
        """The sample restricted to `rows`, a mask or indices."""
        return Sample(
            actual=self.actual[rows],
            label=None if self.label is None else self.label[rows],
            score=None if self.score is None else self.score[rows],
            classes=self.classes,
            declared=self.declared,
            weight=None if self.weight is None else self.weight[rows],
            quantiles=None if self.quantiles is None else self.quantiles[rows],
            scale=None if self.scale is None else self.scale[rows],
            days=None if self.days is None else self.days[rows],
            block=None if self.block is None else self.block[rows],
            query=None if self.query is None else self.query[rows],
        )

    def one_quantile(self, place: int) -> Sample:
        """Regression: the sample with the quantile at `place` alone."""
        levels, quantiles = self.declared.quantiles, self.quantiles
        return replace(
            self,
            declared=replace(self.declared, quantiles=None if levels is None else levels[place : place + 1]),
            quantiles=None if quantiles is None else quantiles[:, place : place + 1],
        )

    def one_class(self, place: int) -> Sample:
        """Multiclass labels as Binary ones: the class at `place` against all others."""
        return Sample(
            actual=self.actual == place, label=labels(self) == place, declared=self.declared, weight=self.weight
        )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A metric's value with its influence values.

    `psi` (n,): the value's error is about mean(psi). `stratum` (n,) int: the group within which a row's influence is
    centred, -1 for rows that don't count; each group of size k loses one degree of freedom. `events` counts what the
    number really rests on, in `unit`. `proportion` is (successes, trials) where the metric is a plain proportion.
    `weight` (n,) are the rows' weights with mean 1, None where all count alike; they are in `psi`, and counts are of
    effective rows. `step` is how far one more right or wrong label can move the value, for metrics of labels. `steady`
    is how many degrees of freedom its limits need to hold, as found by simulation (tests/peers/coverage.py).
    `block` (n,) as of Sample: rows of blocks near each other may be alike.
    """

    value: float
    psi: Floats
    stratum: NDArray[np.intp]
    events: int
    unit: Unit = "rows"
    link: Link = "Identity"
    proportion: tuple[float, float] | None = None
    weight: Floats | None = None
    step: float = 0.0
    steady: float = STEADY_SCORES
    block: NDArray[np.intp] | None = None
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What others computed of it and may need again."""


def known_shares(point: Point, code: NDArray[np.intp]) -> Point:
    """The point of rows whose weights give the groups `code` (n,) shares that are known (Holt & Smith 1979).

    How many rows of each were drawn is then no error: the influence is that of one row more within its group, whose
    others count for less in return. Unchanged where the number depends on no group's share.
    """
    sums = np.bincount(code, weights=point.psi)
    if np.abs(sums).max() <= 1e-9 * np.abs(point.psi).sum():
        return point
    mass = tally(code, point.weight, size=len(sums))
    psi = point.psi - weighed((sums / np.where(mass > 0, mass, 1.0))[code], point.weight)
    return replace(point, psi=psi, stratum=code)


def labels(sample: Sample) -> NDArray[Any]:
    """The answered classes; raises UndefinedError where there are none."""
    if sample.label is None:
        raise UndefinedError(
            "NoLabels", "the answers hold no class labels; declare model.output.kind Label or Probability"
        )
    return sample.label


def scores(sample: Sample) -> Floats:
    """The answered numbers; raises UndefinedError where there are none."""
    if sample.score is None:
        raise UndefinedError("NoProbabilities", "the answers hold labels only; this metric needs probabilities")
    return sample.score


def shares(weight: Floats | None) -> Floats | None:
    """Weights with mean 1; None where all are equal."""
    if weight is None or not len(weight) or weight.min() == weight.max():
        return None
    scaled = weight / weight.max()  # weights may be so large that their sum overflows
    return np.asarray(scaled * (len(scaled) / scaled.sum()), dtype=np.float64)


def total(values: NDArray[Any], weight: Floats | None) -> float:
    """Sum of `values`, numbers or truth values, each times its weight."""
    if weight is not None:
        return float(weight @ values)
    return int(np.count_nonzero(values)) if values.dtype == np.bool_ else float(np.sum(values))


def average(values: NDArray[Any], weight: Floats | None) -> float:
    """Mean of `values`, weighted."""
    return float(np.mean(values)) if weight is None else float(weight @ values) / len(values)


def tally(
    code: NDArray[np.intp], weight: Floats | None, *, size: int, values: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Number of rows by code, or the sum of their `values`, weighted."""
    if values is None:
        return np.bincount(code, weights=weight, minlength=size)
    return np.bincount(code, weights=weighed(values, weight), minlength=size)


def weighed(values: NDArray[Any], weight: Floats | None) -> NDArray[Any]:
    """`values` times their weights."""
    return values if weight is None else values * weight


def heaviest(weight: Floats | None) -> float:
    """The largest weight."""
    return 1.0 if weight is None else float(weight.max())


def effective(among: NDArray[np.bool_], weight: Floats | None) -> float:
    """How many equal rows tell as much as the rows `among`: (Σ w)² / Σ w², their number where weights are equal."""
    if weight is None:
        return int(np.count_nonzero(among))
    chosen = weight[among]
    return float(chosen.sum()) ** 2 / float(chosen @ chosen) if len(chosen) else 0.0


def whole(count: float) -> int:
    """A number of effective rows as events: rounded down, but for rounding errors."""
    return math.floor(count * (1.0 + 1e-9))


def rows_of(sample: Sample) -> float:
    """The sample's number of effective rows."""
    return effective(np.ones(len(sample), dtype=np.bool_), sample.share)


def both_classes(sample: Sample) -> tuple[float, float]:
    """Sums of weights of the positives and of the negatives; both occur."""
    positives = int(np.count_nonzero(sample.actual))
    if positives == 0 or positives == len(sample):
        raise UndefinedError(
            "OneClass", f"all {len(sample)} rows have the same label; this metric needs positives and negatives"
        )
    if sample.share is None:
        return positives, len(sample) - positives
    return total(sample.actual, sample.share), total(~sample.actual, sample.share)


def class_counts(sample: Sample) -> NDArray[Any]:
    """Multiclass rows by their actual class, of which two occur at least; sums of their weights."""
    counts = tally(sample.actual, sample.share, size=sample.classes)
    if np.count_nonzero(counts) < 2:
        raise UndefinedError("OneClass", f"all {len(sample)} rows have the same label; this metric needs at least two")
    return counts


def rarest(sample: Sample) -> int:
    """Rows of the rarest class that occurs; at least two must."""
    if sample.binary:
        both_classes(sample)
        return whole(min(effective(sample.actual, sample.share), effective(~sample.actual, sample.share)))
    occur = np.flatnonzero(class_counts(sample))
    if sample.share is None:
        return int(np.bincount(sample.actual)[occur].min())
    return whole(min(effective(sample.actual == place, sample.share) for place in occur))


def everywhere(rows: int) -> NDArray[np.intp]:
    """One stratum for all rows."""
    return np.broadcast_to(np.intp(0), rows)


def proportion(
    hit: NDArray[np.bool_],
    among: NDArray[np.bool_],
    weight: Floats | None,
    *,
    unit: Unit,
    empty: str,
    alike: bool = False,
) -> Point:
    """Share of `hit` among the rows `among`.

    Where rows have weights and all are hits, or none is, the trials are the rows' weight over that of the heaviest one
    of the other kind that may not have been drawn (`_unseen`); `alike`: it is known to weigh as much as these do.
    """
    both, count = hit & among, int(np.count_nonzero(among))
    if not count:
        raise UndefinedError("NoRows", empty)
    trials: float = count
    mass: float = count
    hits: float = int(np.count_nonzero(both))
    misses = trials - hits
    value, told = hits / mass, trials
    if weight is not None:
        told = trials = effective(among, weight)
        mass = total(among, weight)
        value = min(total(both, weight) / mass, 1.0)
        if not 0.0 < value < 1.0:
            trials = min(trials, mass / _unseen(hit == (value == 0.0), among, weight, alike=alike))
        hits, misses = effective(both, weight), effective(among & ~hit, weight)
    return Point(
        value=value,
        psi=weighed(np.where(among, hit - value, 0.0) * (len(hit) / mass), weight),
        stratum=everywhere(len(among)) if count == len(among) else np.where(among, 0, -1),
        events=whole(min(hits, misses) if unit == "rows" else told),
        unit=unit,
        link="Logit",
        proportion=(hits, trials) if weight is None else (value * trials, trials),
        weight=weight,
        step=heaviest(weight) / mass,
        steady=STEADY_LABELS,
    )


def _unseen(kind: NDArray[np.bool_], among: NDArray[np.bool_], weight: Floats, *, alike: bool) -> float:
    """The weight that a row of a `kind` may have of which there is none `among` these rows.

    The heaviest of them, times how much more rows of the kind weigh than others among the rest; the heaviest row of
    all where the rest doesn't show both. Nothing in the weights of those that were seen tells of the others.
    """
    own = weight[among]
    if alike or len(own) == len(weight):
        return float(own.max())
    same, other = weight[~among & kind], weight[~among & ~kind]
    if not (len(same) and len(other)):
        return heaviest(weight)
    return float(own.max()) * max(1.0, float(same.mean() / other.mean()))


def mean(
    values: Floats, weight: Floats | None, *, events: int, unit: Unit, link: Link, steady: float, step: float = 0.0
) -> Point:
    """The mean of `values`."""
    value = average(values, weight)
    return Point(
        value=value,
        psi=weighed(values - value, weight),
        stratum=everywhere(len(values)),
        events=events,
        unit=unit,
        link=link,
        weight=weight,
        step=step,
        steady=steady,
    )
