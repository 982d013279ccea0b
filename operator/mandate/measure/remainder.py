"""Numbers of all rows but a slice's, without going through them all: what `versus rest` compares with.

What a number and its interval take are sums over rows, so those of the rest are the whole's less the slice's, and a
slice costs what its own rows do. Metrics of labels see how often each pair of actual and answered class occurs. Means
take their values' powers. ROC AUC takes powers of placements, which within the rest move by a step at each row of the
slice. The calibration slope takes sums over points that stand for the rows. Average precision takes the scores that
positives have; where they are more than MAX_STEPS, its influences are good to about 1e-5.

Where the difference of two sums isn't as good as a sum (FAITHFUL), where there are weights, and where the number has no
value, there is None, and the metric is computed on the rest's rows as on any others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mandate.evidence.schema import Fault

from .metrics import METRICS, Floats, Point, Sample, UndefinedError, labels, logistic, probabilities, ranking
from .metrics.point import STEADY_PRECISIONS, STEADY_SCORES, scores
from .metrics.regression import steady_mean
from .shelf import HELD, Shelf
from .uncertainty import MIN_MINORITY, Summed, Sums

FAITHFUL = 1e-3
"""The rest's share of a sum over all rows, below which too many digits are lost in taking the slice's away."""
BLOCK = 1 << 14
"""Rows whose powers are taken at a time."""
MIXED = 1 << 20
"""Rows whose powers and products are there at a time, ten numbers each."""
MAX_STEPS = 1 << 14
"""Different scores of positives up to which average precision has each of them; beyond, steps."""
VARIES = 1e-6
"""Determinant over squared trace of a fit's information, below which its digits aren't taken for granted."""
FINE = 2048
"""A step's rows are at most one in so many of those above it."""
LABELS = frozenset(name for name, metric in METRICS.items() if metric.__module__ == labels.__name__)
MEANS = frozenset(
    {
        "log_loss",
        "brier_score",
        "top_k_accuracy",
        "mean_absolute_error",
        "root_mean_squared_error",
        "bias",
        "pinball_loss",
        "interval_coverage",
        *(name for name, metric in METRICS.items() if metric.__module__ == ranking.__name__),
    }
)
INFLUENCES = MEANS | {"average_precision"}
"""Those of which the whole's influence values are asked for, beside its number."""

Rows = NDArray[np.intp]
Powers = tuple[float, float, float]
"""Sums of second, third and fourth powers."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one value of a slice takes away from sums over all rows, by metric: `powers` (4,) of the first to fourth,
    `mixed` as of `_mixed`; and its rows by class."""

    classes: NDArray[np.intp]
    powers: Mapping[str, Floats]
    mixed: Floats
    expected: float
    memo: dict[str, Floats] = field(default_factory=dict, repr=False, compare=False)
    """What is found of its rows as it is asked for."""


class Remainder:
    """All of a sample's rows, with their points, of which slices are taken away. Rows have no weights or clusters."""

    def __init__(self, sample: Sample, whole: Mapping[str, Point | Fault], *, shelf: Shelf = HELD) -> None:
        self.shelf = shelf
        self.sample, self.total = sample, len(sample)
        self.actual = shelf.keep(sample.actual.astype(np.intp)) if sample.actual.dtype.kind != "f" else None
        points = {name: point for name, point in whole.items() if isinstance(point, Point)}
        self.values = {name: point.value for name, point in points.items()}
        self.whole = points
        self.means = {name: point for name, point in points.items() if name in MEANS}
        self.special: dict[str, Callable[[Rows, int | None, Taken | None], Summed | None]] = {
            "roc_auc": self._roc_auc,
            "average_precision": self._average_precision,
            "calibration_slope": self._calibration_slope,
            "observed_expected": self._observed_expected,
        }

    def ready(self) -> None:
        """Prepare now what is of all rows, rather than with the first slice that is taken away."""
        if self.sample.share is not None or not self.sample.binary or self.sample.score is None:
            return
        prepared = {"roc_auc": "_placements", "average_precision": "_steps", "calibration_slope": "_slope"}
        for name in prepared:
            if name in self.values:
                getattr(self, prepared[name])

    def taken(self, code: NDArray[Any], size: int) -> list[Taken] | None:
        """What each of `size` values of a slice takes away, going through all rows once; `code` (n,) is each row's.

        Binary only: None elsewhere.
        """
        score = self.sample.score
        if not self.sample.binary or score is None:
            return None

        classes = np.zeros(2 * size, dtype=np.intp)
        powers = {name: np.zeros((size, 4)) for name in self.means}
        mixed, expected = np.zeros((size, 3, 5)), np.zeros(size)
        for start in range(0, self.total, BLOCK):  # as many as a processor's cache holds with their powers
            part = slice(start, start + BLOCK)
            some = code[part].astype(np.intp)
            classes += np.bincount(some * 2 + self.sample.actual[part], minlength=2 * size)
            for name, point in self.means.items():
                away = point.psi[part]
                squares = away * away
                for power, each in enumerate((away, squares, squares * away, squares * squares)):
                    powers[name][:, power] += np.bincount(some, weights=each, minlength=size)
            if "observed_expected" in self.values:
                for k, j, product in _products(self._away[part], score[part]):
                    mixed[:, k - 2, j] += np.bincount(some, weights=product, minlength=size)
                expected += np.bincount(some, weights=score[part], minlength=size)
        return [
            Taken(
                classes=classes[2 * place : 2 * place + 2],
                powers={name: found[place] for name, found in powers.items()},
                mixed=mixed[place],
                expected=float(expected[place]),
            )
            for place in range(size)
        ]

    def without(self, names: Iterable[str], rows: Rows, taken: Taken | None = None) -> dict[str, Summed]:
        """Metrics on all rows but `rows` (m,), which are different ones; those that are to be had so.

        `taken` is what those rows take away, where it is known.
        """
        if self.sample.share is not None or 2 * len(rows) > self.total:
            return {}
        known = [name for name in names if name in self.values]
        pairs = self._pairs(rows) if LABELS.intersection(known) else None
        rarest = self._rarest(rows, taken)
        found: dict[str, Summed] = {}
        for name in known:
            if name in LABELS:
                summed = None if pairs is None else _of_labels(name, pairs)
            elif name in MEANS:
                summed = self._mean(name, self.means[name], rows, rarest, taken)
            elif name in self.special and self.sample.binary:
                summed = self.special[name](rows, rarest, taken)
            else:
                summed = None
            if summed is not None and math.isfinite(summed.value):
                found[name] = summed
        return found

    # Labels

    @cached_property
    def _cell(self) -> tuple[Rows, NDArray[np.intp]] | None:
        """Each row's pair of actual and answered class, and how often each occurs."""
        size = self.sample.classes
        if self.actual is None or self.sample.label is None or size**2 > self.total:
            return None
        cell = self.shelf.keep(self.actual * size + self.sample.label)
        return cell, np.bincount(cell, minlength=size**2)

    def _pairs(self, rows: Rows) -> Sample | None:
        """The pairs of classes that are left, as rows whose weights are how often they occur."""
        if self._cell is None:
            return None
        cell, counts = self._cell
        left = counts - np.bincount(cell[rows], minlength=len(counts))
        found = np.flatnonzero(left)
        kind, classes = self.sample.actual.dtype, self.sample.classes
        return Sample(
            actual=(found // classes).astype(kind),
            label=(found % classes).astype(kind),
            classes=classes,
            declared=self.sample.declared,
            weight=left[found].astype(np.float64),
        )

    # Means

    def _mean(
        self, name: str, point: Point, rows: Rows, rarest: int | None, taken: Taken | None = None
    ) -> Summed | None:
        """A mean of what each row has by itself: the whole's influence values are its deviations from their mean.

        Of a ranking, what each query has, at its first row: they stay whole, here and there.
        """
        root, queries = name == "root_mean_squared_error", point.unit == "queries"
        slope = 2.0 * point.value if root else point.events / self.total if queries else 1.0
        all_ = self._once(f"powers of {name}", lambda: _first_powers(point.psi * slope))
        left = self.total - len(rows)
        events = rarest if point.unit == "minority" else left
        if queries:
            events = left = point.events - int(np.count_nonzero(point.stratum[rows] >= 0))
            if left < 2:
                return None
        one, two, three, four = all_ - (_first_powers(point.psi[rows] * slope) if taken is None else taken.powers[name])
        middle = one / left
        powers = (
            two - left * middle**2,
            three - 3.0 * middle * two + 2.0 * left * middle**3,
            four - 4.0 * middle * three + 6.0 * middle**2 * two - 3.0 * left * middle**4,
        )
        if events is None or not _faithful(powers, (all_[1], all_[3])):
            return None
        value = math.sqrt(point.value**2 + middle) if root else point.value + middle
        scale = math.sqrt(left / (left - 1)) / left / (2.0 * value if root else 1.0)
        return Summed(
            value=value,
            sums=_sums(self.total - len(rows), powers, scale=scale, freedom=left - 1),
            events=events,
            unit=point.unit,
            step=point.step * self.total / left,
            steady=steady_mean(left) if name in ("mean_absolute_error", "pinball_loss") else point.steady,
        )

    @property
    def _away(self) -> Floats:
        """Each row's positive less what was expected of it."""
        ratio = self.values["observed_expected"]
        return self._once("observed less expected", lambda: self.sample.actual - ratio * scores(self.sample))

    def _observed_expected(self, rows: Rows, events: int | None, taken: Taken | None) -> Summed | None:
        if events is None:
            return None
        ratio, score, left = self.values["observed_expected"], scores(self.sample), self.total - len(rows)
        expected = self._once("expected", lambda: score.sum(keepdims=True))
        away = self._away
        all_ = self._once("mixed powers", lambda: _mixed(away, score))
        mixed = all_ - (_mixed(away[rows], score[rows]) if taken is None else taken.mixed)
        gone = float(score[rows].sum()) if taken is None else taken.expected
        mean = (float(expected[0]) - gone) / left
        value = (self._positives - int(np.count_nonzero(self.sample.actual[rows]))) / left / mean
        moved = ratio - value
        powers = (
            sum(math.comb(2, j) * moved**j * float(mixed[0, j]) for j in range(3)),
            sum(math.comb(3, j) * moved**j * float(mixed[1, j]) for j in range(4)),
            sum(math.comb(4, j) * moved**j * float(mixed[2, j]) for j in range(5)),
        )
        if not _faithful(powers, (all_[0, 0], all_[2, 0])):
            return None
        scale = math.sqrt(left / (left - 1)) / left / mean
        return self._score(value, _sums(left, powers, scale=scale, freedom=left - 1), events)

    # Ranks

    @cached_property
    def _positives(self) -> int:
        return int(np.count_nonzero(self.sample.actual))

    @cached_property
    def _ranked(self) -> tuple[Rows, Floats, Floats]:
        """Each row's place among the distinct scores, and the positives and negatives at each."""
        place, count = self.sample.ranks
        place = self.shelf.keep(place)
        hits = np.bincount(place[self.sample.actual], minlength=count).astype(np.float64)
        misses = np.bincount(place, minlength=count) - hits
        return place, self.shelf.keep(hits), self.shelf.keep(misses)

    @cached_property
    def _placements(self) -> tuple[_Side, _Side]:
        _, hits, misses = self._ranked
        below = np.cumsum(misses) - misses / 2
        above = self._positives - (np.cumsum(hits) - hits / 2)
        return (
            _Side(hits, self.shelf.keep(below), others=self.total - self._positives, shelf=self.shelf),
            _Side(misses, self.shelf.keep(above), others=self._positives, shelf=self.shelf),
        )

    def _roc_auc(self, rows: Rows, events: int | None, _: Taken | None) -> Summed | None:
        """DeLong's placements: a positive's is the negatives below it, less the slice's ones, over the rest's."""
        if events is None or events < 2:
            return None
        place, actual = self._ranked[0][rows], self.sample.actual[rows]
        hits, misses = place[actual], place[~actual]
        left = self._positives - len(hits), self.total - self._positives - len(misses)
        one = self._placements[0].without(hits, misses, above=False)
        other = self._placements[1].without(misses, hits, above=True)
        if one is None or other is None:
            return None
        scales = [math.sqrt(count / (count - 1)) / count for count in left]
        powers = [a * scales[0] ** k + b * scales[1] ** k for k, a, b in zip((2, 3, 4), one[1], other[1], strict=True)]
        sums = _sums(sum(left), (powers[0], powers[1], powers[2]), freedom=sum(left) - 2)
        return self._score(one[0], sums, events)

    @cached_property
    def _steps(self) -> _Steps:
        place, hits, misses = self._ranked
        known = hits > 0
        group = self.shelf.empty(len(known), np.intp)
        np.cumsum(known, out=group)
        lost: Floats = np.bincount(group, weights=misses, minlength=int(group[-1]) + 1).astype(np.float64)
        whole = self.whole["average_precision"]
        return _Steps(group[place], self.sample.actual, whole, hits=hits[known], misses=lost[1:], shelf=self.shelf)

    def _average_precision(self, rows: Rows, events: int | None, _: Taken | None) -> Summed | None:
        """As the metric itself, by steps of the scores that positives have."""
        if events is None:
            return None
        left, positives = self.total - len(rows), self._positives - int(np.count_nonzero(self.sample.actual[rows]))
        value, powers = self._steps.without(rows, positives=positives)
        scale = math.sqrt(left / (left - 1)) / positives
        sums = _sums(left, (powers[0], powers[1], powers[2]), scale=scale, freedom=left - 1)
        return self._score(value, sums, events, steady=STEADY_PRECISIONS)

    # Calibration

    @cached_property
    def _slope(self) -> _Fit | None:
        if self.sample.score is None:
            return None
        fit = _Fit(probabilities.logit(self.sample.score), self.sample.actual)
        return fit if fit.converged else None

    def _calibration_slope(self, rows: Rows, events: int | None, taken: Taken | None) -> Summed | None:
        fit = None if events is None else self._slope
        found = None if fit is None else fit.without(self._stands_for(fit, rows, taken))
        if found is None or events is None:
            return None
        left = self.total - len(rows)
        value, powers = found
        return self._score(value, _sums(left, powers, scale=math.sqrt(left / (left - 1)), freedom=left - 1), events)

    def calibration_slope(self, rows: Rows, taken: Taken) -> Summed | None:
        """That of `rows` themselves, by points that stand for them; None where they may not tell it.

        Few rows of a class bound nothing, and a slope much steeper than that of all is beyond what points are made for.
        """
        events, count = int(taken.classes.min()), len(rows)
        if events < MIN_MINORITY or "calibration_slope" not in self.values or self._slope is None:
            return None
        found = self._slope.within(self._stands_for(self._slope, rows, taken))
        if found is None:
            return None
        value, powers = found
        return self._score(value, _sums(count, powers, scale=math.sqrt(count / (count - 1)), freedom=count - 1), events)

    def _stands_for(self, fit: _Fit, rows: Rows, taken: Taken | None) -> Floats:
        """The weights of points that stand for these rows."""
        if taken is None:
            return fit.ranges.points(rows).weight
        if "slope" not in taken.memo:
            taken.memo["slope"] = fit.ranges.points(rows).weight
        return taken.memo["slope"]

    # Common

    def _score(self, value: float, sums: Sums, events: int, *, steady: float = STEADY_SCORES) -> Summed:
        return Summed(value=value, sums=sums, events=events, unit="minority", step=0.0, steady=steady)

    def _rarest(self, rows: Rows, taken: Taken | None = None) -> int | None:
        """Rows that are left of the rarest class that occurs among them; None where only one does, or none is known."""
        actual = self.actual
        if actual is None:
            return None
        counts = self._once("classes", lambda: np.bincount(actual))
        gone = np.bincount(actual[rows], minlength=len(counts)) if taken is None else taken.classes[: len(counts)]
        left = counts - gone
        occurring = left[left > 0]
        return int(occurring.min()) if len(occurring) > 1 else None

    def _once(self, name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if name not in self._known:
            self._known[name] = self.shelf.keep(compute())
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, NDArray[Any]]:
        return {}


def _of_labels(name: str, pairs: Sample) -> Summed | None:
    """A table of pairs of classes, with their counts as weights, has the value and the influences of its rows."""
    try:
        point = METRICS[name](pairs)
    except UndefinedError:
        return None
    if not point.step:  # of errors that cost nothing: how many there are would be asked
        return None
    sizes = np.ones(len(pairs)) if pairs.weight is None else pairs.weight
    share = np.ones(len(pairs)) if pairs.share is None else pairs.share
    count, counted = int(sizes.sum()), point.stratum >= 0
    strata = np.bincount(point.stratum[counted], weights=sizes[counted])
    scale = np.sqrt(np.divide(strata, strata - 1, out=np.zeros(len(strata)), where=strata > 1))
    away = np.where(counted, scale[point.stratum], 0.0) * (point.psi / share) / count
    return Summed(
        value=point.value,
        sums=_sums(count, _powers(away, sizes), freedom=int(strata.sum()) - int(np.count_nonzero(strata))),
        events=0,  # not asked of numbers with a step
        unit=point.unit,
        step=point.step / float(share.max()) * len(pairs) / count,
        steady=point.steady,
    )


class _Side:
    """Rows of one class by score: `count` (d,) of them at each, and `placed` (d,), how many others each is ahead of."""

    def __init__(self, count: Floats, placed: Floats, *, others: int, shelf: Shelf = HELD) -> None:
        self.count, self.placed, self.others, self.rows = count, placed, others, int(count.sum())
        self.sum = float(count @ placed)
        self.middle = self.sum / self.rows / others
        self.away: Floats = shelf.keep(placed / others - self.middle)
        self.until: Floats = shelf.empty((len(count) + 1, 5), np.float64)
        """Sums of the deviations' powers over the scores before each, side by side: they are asked for together."""
        self.until[0] = 0.0
        each = count.copy()
        for power in range(5):
            np.cumsum(each, out=self.until[1:, power])
            each *= self.away

    def without(self, own: Rows, other: Rows, *, above: bool) -> tuple[float, Powers] | None:
        """Mean of the placements, and powers of the deviations, less the rows of this and of the other class at these
        scores. A placement counts others below, or `above`."""
        own, other = _rising(own), _rising(other)  # to be looked up side by side
        ends = np.flatnonzero(np.append(other[1:] != other[:-1], True)) if len(other) else other
        at, until = other[ends], ends + 1
        times = np.diff(until, prepend=0)
        gone, bound = np.zeros(2 * len(at) + 1), np.zeros(2 * len(at) + 2, dtype=np.intp)
        gone[1::2], gone[2::2] = until - times / 2, until  # at each of their scores, and between it and the next
        bound[1:-1:2], bound[2:-1:2], bound[-1] = at, at + 1, len(self.placed)
        kept = np.ones(len(bound), dtype=np.bool_)
        kept[1:-1:2] = self.count[at] > 0  # most scores are of one class alone: there none of this one lies between
        gone, bound = gone[kept[:-1]], bound[kept]
        if above:
            gone = len(other) - gone
        part = np.searchsorted(bound, own, side="right") - 1
        sums = np.diff(self.until.take(bound, axis=0), axis=0).T
        left, others = self.rows - len(own), self.others - len(other)
        mean = (self.sum - float(sums[0] @ gone) - float((self.placed[own] - gone[part]).sum())) / left / others
        grown = self.others / others
        shift = grown * self.middle - mean - gone / others
        found, mixed = _powers(grown * self.away[own] + shift[part]), sums @ _up_to(4, shift).T
        powers = [
            sum(math.comb(k, j) * grown**j * float(mixed[j, k - j]) for j in range(k + 1)) - found[k - 2]
            for k in (2, 3, 4)
        ]
        least = (grown**2 * float(self.until[-1, 2]), grown**4 * float(self.until[-1, 4]))
        return (mean, (powers[0], powers[1], powers[2])) if _faithful(powers, least) else None


class _Steps:
    """Precision by the scores that positives have, rising: `hits` (d,) positives at each, `misses` (d,) negatives from
    it to the next. `group` (n,): how many of them each row's score is at least.

    More than MAX_STEPS are put together: as many as the number of rows above hardly changes over. Rows are taken to
    lie evenly over a step, and what that does to the whole's own number is taken off each rest's, which differs little.
    """

    def __init__(
        self,
        group: Rows,
        actual: NDArray[np.bool_],
        whole: Point,
        *,
        hits: Floats,
        misses: Floats,
        shelf: Shelf = HELD,
    ) -> None:
        level = np.arange(len(hits)) if len(hits) <= MAX_STEPS else _levels(hits, misses)
        begins = np.diff(level, prepend=level[0] + 1) != 0
        start = np.flatnonzero(begins)
        sizes = np.diff(start, append=len(hits))
        self.hits, self.misses = np.add.reduceat(hits, start), np.add.reduceat(misses, start)
        self.within = (sizes + 1) / (2 * sizes)
        """What share of a step's rows is above one of them, and itself, on average."""
        step = np.concatenate([[0], np.cumsum(begins)])
        cell = step[group]
        cell *= 2
        cell += actual
        self.cell: Rows = shelf.keep(cell)
        """Each row's step, from 1 on, and 0 below all positives; and whether it is positive."""
        self.off, self.grown, self.moved = 0.0, np.ones(3), 0.0
        positives, none = int(hits.sum()), np.empty(0, dtype=np.intp)
        value, powers = self.without(none, positives=positives)
        exact = np.array(_powers(whole.psi * (positives / len(whole.psi))))
        self.off, self.moved = whole.value - value, float(exact[1] - powers[1])  # cubes may add up to about nothing
        self.grown[::2] = np.divide(exact[::2], powers[::2], out=np.ones(2), where=powers[::2] > 0)

    def without(self, rows: Rows, *, positives: int) -> tuple[float, Floats]:
        """Average precision without `rows`, of which `positives` are left; and its influences' powers, times those of
        the number of positives."""
        away = np.bincount(self.cell[rows], minlength=2 * len(self.hits) + 2).astype(np.float64).reshape(-1, 2)[1:]
        at, below = self.hits - away[:, 1], self.misses - away[:, 0]
        found = self._above(at)
        above = np.maximum(found + self._above(below), 1.0)
        precision = found / above
        value = min(float(at @ precision) / positives + self.off, 1.0)
        each = at / above
        gain = np.cumsum(each) - each + each * self.within
        each *= precision
        loss = np.cumsum(each) - each + each * self.within
        powers: Floats = np.add(_powers(gain + precision - loss - value, at), _powers(-loss, below), dtype=np.float64)
        powers[1] += self.moved
        return value, powers * self.grown

    def _above(self, at: Floats) -> Floats:
        found: Floats = np.cumsum(at[::-1])[::-1] - at + at * self.within
        return found


class _Fit:
    """A logistic regression of truth values on one number, and what it is without some rows."""

    def __init__(self, x: Floats, y: NDArray[np.bool_]) -> None:
        self.converged = False
        begun = logistic.start(x, y, None)
        found = None if begun is None else logistic.ranges(x, y, slope=float(begun[1]))
        if begun is None or found is None:
            return
        self.ranges, self.points, self.beta = found, found.points(), begun
        self.whole, self.converged = self.points.sums(begun), True

    def without(self, gone: Floats) -> tuple[float, Powers] | None:
        """The slope, and powers of the rows' influences over their number, less those that weights `gone` stand for."""
        found = self._at(self.points.weight - gone)
        if found is None:
            return None
        slope, powers, sums = found
        return (
            (slope, powers) if _faithful((sums[2, 0], 0.0, sums[4, 0]), (self.whole[2, 0], self.whole[4, 0])) else None
        )

    def within(self, weight: Floats) -> tuple[float, Powers] | None:
        """The same of the rows alone that `weight` stands for; None where x hardly varies, too."""
        found = self._at(weight)
        if found is None:
            return None
        slope, powers, sums = found
        first, second, third = sums[1, :3]
        return (slope, powers) if first * third - second**2 > VARIES * (first + third) ** 2 else None

    def _at(self, weight: Floats) -> tuple[float, Powers, Floats] | None:
        left = replace(self.points, weight=weight)
        beta = logistic.fit(left, start=self.beta, steps=20)
        if beta is None or abs(beta[1]) > 2.0 * max(abs(float(self.beta[1])), 1.0):
            return None
        sums = left.sums(beta)
        information = np.array([[sums[1, 0], sums[1, 1]], [sums[1, 1], sums[1, 2]]])
        a, b = (float(value) for value in np.linalg.inv(information)[1])
        powers = [
            sum(math.comb(k, j) * a ** (k - j) * b**j * float(sums[k, j]) for j in range(k + 1)) for k in (2, 3, 4)
        ]
        return float(beta[1]), (powers[0], powers[1], powers[2]), sums


def _levels(hits: Floats, misses: Floats) -> Rows:
    """Which step each score of positives is in: one by one where there are few rows above. In place: they are many."""
    above = (hits + misses)[::-1]
    np.cumsum(above, out=above)
    level = above[::-1] / FINE
    np.log(level, out=level)
    level += 1.0
    level *= FINE
    np.copyto(level, above[::-1], where=above[::-1] < FINE)
    return level.astype(np.intp)


def _rising(places: Rows) -> Rows:
    """Sorted, which they are where rows are in their scores' order."""
    return places if (places[1:] >= places[:-1]).all() else np.sort(places)


def _up_to(order: int, values: Floats) -> Floats:
    """(order + 1, n): powers from 0 on, as products."""
    found = np.empty((order + 1, len(values)))
    found[0] = 1.0
    for power in range(order):
        np.multiply(found[power], values, out=found[power + 1])
    return found


def _powers(away: Floats, times: Floats | None = None) -> Powers:
    """Of `away` (n,), each of them so many `times`."""
    found = np.zeros(3)
    for start in range(0, len(away), MIXED):
        some = away[start : start + MIXED]
        squares = some * some
        second = squares if times is None else squares * times[start : start + MIXED]
        found += (second.sum(), second @ some, second @ squares)
    return float(found[0]), float(found[1]), float(found[2])


def _first_powers(away: Floats) -> Floats:
    return np.array([away.sum(), *_powers(away)])


def _mixed(a: Floats, b: Floats) -> Floats:
    """(3, 5): sums of a^(k - j) b^j for k of 2, 3, 4 and j up to k."""
    found = np.zeros((3, 5))
    for start in range(0, len(a), MIXED):
        ups, downs = _up_to(4, a[start : start + MIXED]), _up_to(4, b[start : start + MIXED])
        for k in (2, 3, 4):
            for j in range(k + 1):
                found[k - 2, j] += ups[k - j] @ downs[j]
    return found


def _products(a: Floats, b: Floats) -> Iterator[tuple[int, int, Floats]]:
    """What `_mixed` sums up, one after the other, with k and j."""
    ups, downs = _up_to(4, a), _up_to(4, b)
    for k in (2, 3, 4):
        for j in range(k + 1):
            yield k, j, ups[k - j] * downs[j]


def _faithful(powers: Any, whole: tuple[float, float]) -> bool:
    """Whether the second and fourth powers of a difference have lost no more than a few digits of the whole's."""
    return bool(powers[0] > FAITHFUL * whole[0] and powers[2] > FAITHFUL * whole[1])


def _sums(count: int, powers: Powers, *, freedom: int, scale: float = 1.0) -> Sums:
    return Sums(
        count=count,
        second=powers[0] * scale**2,
        third=powers[1] * scale**3,
        fourth=powers[2] * scale**4,
        freedom=freedom,
    )
