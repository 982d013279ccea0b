"""All values of a slice at once, by sums: what a number and its interval take, without going through each value's rows.

What is made of labels is a function of how often each pair of actual and answered class occurs, and a comparison of
two parties of how often each triple does. Means of what each row has by itself take sums of powers, and of products
with the other party's. So the rows are gone through once for all values, and each value costs a handful of numbers.

Binary tasks, rows without weights and clusters. Where a number has no value there is none here, and the metric is
computed on the value's rows as on any others, which says why. tests/property/test_tallies.py holds both ways together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mandate.evidence.intervals import Interval, Link
from mandate.evidence.schema import Support

from . import remainder, uncertainty
from .metrics import Declared, Floats, Point, Sample, Unit
from .metrics.point import STEADY_LABELS, STEADY_SCORES
from .metrics.probabilities import TINY
from .uncertainty import Clusters, Spread, Summed, Sums

Counts = NDArray[np.intp]
Rows = NDArray[np.intp]
Powers = tuple[Floats, Floats, Floats]
"""Second, third and fourth powers, or sums of them by value."""
ByRow = Callable[[slice, Rows], Floats]
"""What each row of a part of the table has, whose values of the slice are given."""

TN, FP, FN, TP = range(4)
"""Cells of the table: 2 × actual + answered class."""
ALL = (TN, FP, FN, TP)
_PROPORTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Unit]] = {
    "accuracy": ((TN, TP), ALL, "rows"),
    "recall": ((TP,), (FN, TP), "positives"),
    "precision": ((TP,), (FP, TP), "rows"),
    "false_positive_rate": ((FP,), (TN, FP), "negatives"),
    "specificity": ((TN,), (TN, FP), "negatives"),
    "negative_predictive_value": ((TN,), (TN, FN), "rows"),
    "selection_rate": ((FP, TP), ALL, "rows"),
}
"""The cells that are hits, those that are trials, and what events are."""
LABELS = frozenset({*_PROPORTIONS, "balanced_accuracy", "f1", "f_beta", "matthews_corrcoef", "expected_cost"})
SCORES = frozenset({"log_loss", "brier_score", "observed_expected"})

_NONE: Floats = np.empty(0)
_NOWHERE: Rows = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Of the difference from another party on the same rows: sums of its contributions' powers, and the covariance."""

    second: float
    third: float
    fourth: float
    cov: float


@dataclass(frozen=True, kw_only=True)
class Tally(Point):
    """A number on `rows` rows of a slice's value, whose contributions are known by their sums alone: `psi` is empty."""

    rows: int
    sums: Sums
    beside: Beside | None = None
    """A reference's, beside the model's."""


def support(point: Point, clusters: Clusters | None) -> Support:
    """As `uncertainty.support`, of either kind."""
    if isinstance(point, Tally):
        return Support(rows=point.rows, events=point.events)
    return uncertainty.support(point, clusters)


def paired(a: Point, b: Point, clusters: Clusters | None) -> Interval:
    """As `uncertainty.paired`, of either kind; both are of the same."""
    if not isinstance(a, Tally) and not isinstance(b, Tally):
        return uncertainty.paired(a, b, clusters)
    assert isinstance(a, Tally)
    assert isinstance(b, Tally)
    assert b.beside is not None
    unbounded = uncertainty._too_few(a, None) or uncertainty._too_few(b, None)
    if unbounded is not None:
        return unbounded
    found = b.beside
    difference = Sums(
        count=a.sums.count,
        second=found.second,
        third=found.third,
        fourth=found.fourth,
        freedom=uncertainty._freedom(a.sums, b.sums),
    )
    return uncertainty._pair(a, a.sums, b, b.sums, difference, cov=found.cov, unit="discordant")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric by the slice's values. Each is (values,), but for `away`.

    `known`: where it has a value. `away`: contributions by cell, (values, 4), of metrics of labels. `deviations` gives
    those of some rows, of other metrics, to be multiplied by `scale`.
    """

    known: NDArray[np.bool_]
    value: Floats
    rows: Counts
    powers: Powers
    freedom: Counts
    events: Counts
    step: Floats
    unit: Unit
    link: Link
    steady: float
    away: Floats | None = None
    deviations: ByRow | None = None
    scale: Floats | None = None
    proportion: tuple[Counts, Counts] | None = None

    def sums(self, place: int) -> Sums:
        second, third, fourth = self.powers
        return Sums(
            count=int(self.rows[place]),
            second=float(second[place]),
            third=float(third[place]),
            fourth=float(fourth[place]),
            freedom=int(self.freedom[place]),
        )

    def tally(self, place: int, beside: Beside | None = None) -> Tally | None:
        """The number of one value; None where it has none."""
        if not self.known[place]:
            return None
        sums = self.sums(place)
        spread = Spread(_NONE, sums.freedom)
        vars(spread)["sums"] = sums  # in place of what it would sum itself
        found = Tally(
            value=float(self.value[place]),
            psi=_NONE,
            stratum=_NOWHERE,
            events=int(self.events[place]),
            unit=self.unit,
            link=self.link,
            proportion=None
            if self.proportion is None
            else (int(self.proportion[0][place]), int(self.proportion[1][place])),
            step=float(self.step[place]),
            steady=self.steady,
            rows=sums.count,
            sums=sums,
            beside=beside,
        )
        found.memo["spread"] = (None, spread)
        return found

    def summed(self, place: int) -> Summed | None:
        """The same as what is held against other rows."""
        if not self.known[place]:
            return None
        return Summed(
            value=float(self.value[place]),
            sums=self.sums(place),
            events=int(self.events[place]),
            unit=self.unit,
            step=float(self.step[place]),
            steady=self.steady,
        )


def told(summed: Summed, rows: int) -> Tally:
    """A number without a step, on an unbounded scale, that is known by its sums."""
    spread = Spread(_NONE, summed.sums.freedom)
    vars(spread)["sums"] = summed.sums
    found = Tally(
        value=summed.value,
        psi=_NONE,
        stratum=_NOWHERE,
        events=summed.events,
        unit=summed.unit,
        steady=summed.steady,
        rows=rows,
        sums=summed.sums,
    )
    found.memo["spread"] = (None, spread)
    return found


class Tallies:
    """The values of one slice: `code` (n,) says which of `size` values each row of the model's `sample` has."""

    def __init__(self, sample: Sample, code: NDArray[Any], size: int, *, names: Collection[str]) -> None:
        self.code, self.size, self.names = code, size, names
        self.sample = sample
        self.counts = self._table(sample)
        classes = self._counted(sample.actual)
        self.rows, self.positives = classes.sum(axis=1), classes[:, 1]
        self.mine = self._columns(sample, self.counts)
        rest = None if self.counts is None else self.counts.sum(axis=0) - self.counts
        self.others = {} if rest is None else _labels(rest, sample.declared, names)

    def own(self, place: int) -> dict[str, Tally]:
        """The model's numbers of the value at `place`."""
        found = {name: column.tally(place) for name, column in self.mine.items()}
        return {name: tally for name, tally in found.items() if tally is not None}

    def rest(self, place: int) -> dict[str, Summed]:
        """Of all other rows, what is made of labels."""
        found = {name: column.summed(place) for name, column in self.others.items()}
        return {name: summed for name, summed in found.items() if summed is not None}

    def theirs(self, sample: Sample) -> list[dict[str, Tally]]:
        """The numbers of another party, which answered the same rows, by value."""
        columns = self._columns(sample, self._table(sample))
        joint = None
        found: list[dict[str, Tally]] = [{} for _ in range(self.size)]
        for name, column in columns.items():
            if name not in self.mine:
                continue
            if name in LABELS:
                joint = self._joint(sample) if joint is None else joint
                sums = _of_cells(joint, self.mine[name], column)
            else:
                sums = self._of_rows(self.mine[name], column)
            for place in np.flatnonzero(column.known):
                second, third, fourth, cov = (float(each[place]) for each in sums)
                tally = column.tally(int(place), Beside(second=second, third=third, fourth=fourth, cov=cov))
                if tally is not None:
                    found[place][name] = tally
        return found

    def _columns(self, sample: Sample, counts: Counts | None) -> dict[str, Column]:
        found = {} if counts is None else _labels(counts, sample.declared, self.names)
        if sample.score is not None:
            asked = [name for name in self.names if name in SCORES]
            found |= {name: self._mean(name, sample, sample.score) for name in asked}
        return found

    def _joint(self, sample: Sample) -> Counts:
        """(values, 8): how often each actual class, the model's answer and the other's occur together."""
        assert self.sample.label is not None
        assert sample.label is not None
        return self._counted(sample.actual, self.sample.label, sample.label)

    def _table(self, sample: Sample) -> Counts | None:
        """(values, 4): how often each pair of actual and answered class occurs; None without labels."""
        return None if sample.label is None else self._counted(sample.actual, sample.label)

    def _counted(self, *bits: NDArray[Any]) -> Counts:
        """(values, 2 to the number of `bits`): how often each row of bits (n,) occurs; the last one's are next to each
        other."""
        found = np.zeros(self.size << len(bits), dtype=np.intp)
        for part in self._parts():
            cell = self.code[part].astype(np.intp)
            for bit in bits:
                cell = cell * 2 + bit[part]
            found += np.bincount(cell, minlength=len(found))
        return found.reshape(self.size, -1)

    def _parts(self) -> list[slice]:
        """The rows by blocks: whatever is made of them then takes no memory to speak of."""
        return [slice(start, start + remainder.BLOCK) for start in range(0, len(self.code), remainder.BLOCK)]

    def _summed(self, count: int, each: Callable[[slice, Rows], Sequence[Floats]]) -> list[Floats]:
        """Sums by value of `count` numbers that each row has."""
        found = [np.zeros(self.size) for _ in range(count)]
        for part in self._parts():
            code = self.code[part].astype(np.intp)
            for sums, numbers in zip(found, each(part, code), strict=True):
                sums += np.bincount(code, weights=numbers, minlength=self.size)
        return found

    def _of_rows(self, mine: Column, theirs: Column) -> tuple[Floats, Floats, Floats, Floats]:
        """Powers of the difference's contributions, and products, by value."""
        a, b, scale = mine.deviations, theirs.deviations, mine.scale
        assert a is not None
        assert b is not None
        assert scale is not None

        def each(part: slice, code: Rows) -> Sequence[Floats]:
            own, other = a(part, code), b(part, code)
            return (*_powers(own - other), own * other)

        second, third, fourth, cov = self._summed(4, each)
        return second * scale**2, third * scale**3, fourth * scale**4, cov * scale**2

    def _mean(self, name: str, sample: Sample, score: Floats) -> Column:
        """A mean of what each row has, or the ratio of two, with the rows' deviations."""
        rows, positives, actual = self.rows, self.positives, sample.actual
        known, ratio = (positives > 0) & (positives < rows), name == "observed_expected"

        def loss(part: slice) -> Floats:
            return score[part] if ratio else _losses(name, actual[part], score[part])

        (total,) = self._summed(1, lambda part, _: (loss(part),))
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / rows
            known &= (mean > 0) | (not ratio)
            value = np.where(known, positives / rows / mean if ratio else mean, 0.0)
            over = np.where(known, 1.0 / mean, 0.0)
            scale = np.where(rows > 1, np.sqrt(rows / (rows - 1)) / rows, 0.0)

        def deviations(part: slice, code: Rows) -> Floats:
            if ratio:
                return np.asarray((actual[part] - value[code] * score[part]) * over[code], dtype=np.float64)
            return loss(part) - value[code]

        second, third, fourth = self._summed(3, lambda part, code: _powers(deviations(part, code)))
        return Column(
            known=known & np.isfinite(value),
            value=value,
            rows=rows,
            powers=(second * scale**2, third * scale**3, fourth * scale**4),
            freedom=rows - 1,
            events=np.minimum(positives, rows - positives),
            step=np.zeros(self.size),
            unit="minority",
            link="Log",
            steady=STEADY_SCORES,
            deviations=deviations,
            scale=scale,
        )


def _losses(name: str, actual: NDArray[Any], score: Floats) -> Floats:
    if name == "brier_score":
        return np.asarray((score - actual) ** 2, dtype=np.float64)
    return np.asarray(-np.log(np.clip(np.where(actual, score, 1.0 - score), TINY, 1.0 - TINY)), dtype=np.float64)


def _powers(away: Floats) -> Powers:
    squares = away * away
    return squares, squares * away, squares * squares


def _of_cells(joint: Counts, mine: Column, theirs: Column) -> tuple[Floats, Floats, Floats, Floats]:
    """The same, of metrics of labels."""
    triple = np.arange(8)
    assert mine.away is not None
    assert theirs.away is not None
    own, other = mine.away[:, triple // 2], theirs.away[:, triple // 4 * 2 + triple % 2]
    away = own - other
    squares = away * away
    powers = ((joint * each).sum(axis=1) for each in (squares, squares * away, squares * squares))
    second, third, fourth = powers
    return second, third, fourth, (joint * own * other).sum(axis=1)


# Labels


def _labels(counts: Counts, declared: Declared, names: Collection[str]) -> dict[str, Column]:
    """What is made of labels, by tables of counts (values, 4)."""
    tables = _Tables(counts, declared)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return {name: tables.column(name) for name in names if name in LABELS}


class _Tables:
    """Tables of counts (values, 4) by cell, all at once; each metric as in `metrics.labels`."""

    def __init__(self, counts: Counts, declared: Declared) -> None:
        self.counts, self.declared = counts, declared
        self.rows = counts.sum(axis=1)
        self.errors = counts[:, FP] + counts[:, FN]

    def column(self, name: str) -> Column:
        match name:
            case "balanced_accuracy":
                return self._balanced()
            case "f1":
                return self._f(1.0)
            case "f_beta":
                assert self.declared.beta is not None
                return self._f(self.declared.beta)
            case "matthews_corrcoef":
                return self._correlation()
            case "expected_cost":
                return self._cost()
            case _:
                return self._proportion(*_PROPORTIONS[name])

    def _column(
        self,
        known: NDArray[np.bool_],
        value: Floats,
        psi: Floats,
        strata: Sequence[tuple[int, ...]],
        *,
        events: Counts,
        step: Floats,
        unit: Unit,
        link: Link = "Logit",
        proportion: tuple[Counts, Counts] | None = None,
    ) -> Column:
        """Influences `psi` (values, 4), centred within each of the `strata`, as contributions."""
        away, freedom = np.zeros(psi.shape), np.zeros(len(psi), dtype=np.intp)
        for cells in strata:
            sizes = self.counts[:, cells].sum(axis=1)
            scale = np.where(sizes > 1, np.sqrt(sizes / (sizes - 1)) / self.rows, 0.0)
            away[:, cells] = psi[:, cells] * scale[:, None]
            freedom += sizes - (sizes > 0)
        away[~known] = 0.0
        squares = away * away
        second, third, fourth = (
            (self.counts * each).sum(axis=1) for each in (squares, squares * away, squares * squares)
        )
        return Column(
            known=known & np.isfinite(value),
            value=value,
            rows=self.rows,
            powers=(second, third, fourth),
            freedom=freedom,
            events=events,
            step=step,
            unit=unit,
            link=link,
            steady=STEADY_LABELS,
            away=away,
            proportion=proportion,
        )

    def _share(self, hit: tuple[int, ...], among: tuple[int, ...]) -> tuple[Floats, Floats, Counts, Counts]:
        """The share of hits, its influences, hits and trials."""
        trials = self.counts[:, among].sum(axis=1)
        hits = self.counts[:, [cell for cell in among if cell in hit]].sum(axis=1)
        value = hits / trials
        psi = np.zeros(self.counts.shape)
        for cell in among:
            psi[:, cell] = ((cell in hit) - value) * (self.rows / trials)
        return value, psi, hits, trials

    def _proportion(self, hit: tuple[int, ...], among: tuple[int, ...], unit: Unit) -> Column:
        value, psi, hits, trials = self._share(hit, among)
        return self._column(
            trials > 0,
            value,
            psi,
            (among,),
            events=np.minimum(hits, trials - hits) if unit == "rows" else trials,
            step=1.0 / trials,
            unit=unit,
            proportion=(hits, trials),
        )

    def _balanced(self) -> Column:
        found, of_positives, _, positives = self._share((TP,), (FN, TP))
        spared, of_negatives, _, negatives = self._share((TN,), (TN, FP))
        return self._column(
            (positives > 0) & (negatives > 0),
            (found + spared) / 2,
            (of_positives + of_negatives) / 2,
            ((TN, FP), (FN, TP)),
            events=np.minimum(positives, negatives),
            step=np.maximum(1.0 / positives, 1.0 / negatives) / 2,
            unit="minority",
        )

    def _f(self, beta: float) -> Column:
        square, counts = beta**2, self.counts
        positives, hits = counts[:, FN] + counts[:, TP], counts[:, TP]
        mass = square * positives + (counts[:, FP] + hits)
        value = np.minimum((1.0 + square) * hits / mass, 1.0)
        size, both = np.array([0.0, 1.0, square, square + 1.0]), np.array([0.0, 0.0, 0.0, 1.0 + square])
        return self._column(
            positives > 0,
            value,
            (both - value[:, None] * size) * (self.rows / mass)[:, None],
            ((FP, FN, TP),),
            events=np.minimum(hits, self.errors),
            step=(1.0 + square) / mass,
            unit="positives",
        )

    def _correlation(self) -> Column:
        counts, rows = self.counts, self.rows[:, None]
        were = counts.reshape(-1, 2, 2).sum(axis=2)
        said = counts.reshape(-1, 2, 2).sum(axis=1)
        right = (counts[:, TN] + counts[:, TP]) / self.rows
        a, p = were / rows, said / rows
        both, square_a, square_p = (a * p).sum(axis=1), (a * a).sum(axis=1), (p * p).sum(axis=1)
        left_a, left_p = 1.0 - square_a, 1.0 - square_p
        spread = np.sqrt(left_a * left_p)
        value = (right - both) / spread
        of_actual = -(p - both[:, None]) / spread[:, None] + (value / left_a)[:, None] * (a - square_a[:, None])
        of_said = -(a - both[:, None]) / spread[:, None] + (value / left_p)[:, None] * (p - square_p[:, None])
        cells = np.arange(4)
        hit = np.array([1.0, 0.0, 0.0, 1.0])
        psi = (hit - right[:, None]) / spread[:, None] + of_actual[:, cells // 2] + of_said[:, cells % 2]
        psi[self.errors == 0] = 0.0  # and no rounding errors, which could pass for variation
        return self._column(
            (were > 0).all(axis=1) & (said > 0).all(axis=1),
            value,
            psi,
            (ALL,),
            events=self.errors,
            step=(1.0 / spread + np.abs(of_said[:, 1] - of_said[:, 0])) / self.rows,
            unit="rows",
            link="LogComplement",
        )

    def _cost(self) -> Column:
        assert self.declared.costs is not None
        costs = self.declared.costs.reshape(4)
        value = (self.counts * costs).sum(axis=1) / self.rows
        return self._column(
            self.rows > 0,
            value,
            costs - value[:, None],
            (ALL,),
            events=self.errors,
            step=float(np.ptp(costs)) / self.rows,
            unit="rows",
            link="Log",
        )
