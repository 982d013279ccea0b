"""The best rule of one column and one cut-off: what any model of several columns must beat.

Of each numeric column the cut-off is found on the training rows: the one with the highest balanced accuracy, for two
classes Youden's (1950), or for numbers with the least squared error. Then the validation rows choose the column, as
one with many values finds a good cut-off in few rows by chance. Rows without a value are a third group; a column that
has one value where it isn't missing is cut between the two.

Where rows have weights, all of this is of weighted rows: of rows drawn by their class, shares would be the sample's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .metrics import Floats
from .metrics.point import average, shares, tally, weighed
from .table import column, is_numeric, numbers

BELOW, ABOVE, MISSING = range(3)
"""Groups of rows: up to the cut-off, above it, without a value."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`answers` is (3,) means for numbers, (3, classes) shares of the training rows else; `labels` (3,) classes.

    `on_train` and `on_validation` are its balanced accuracy or R²; the latter is None where there is nothing to
    measure it on.
    """

    name: str
    cutoff: float
    answers: Floats
    labels: NDArray[np.intp]
    on_train: float
    on_validation: float | None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Rows of one part: (p,) places, truth, and weights with mean 1 or None."""

    rows: NDArray[np.intp]
    truth: NDArray[Any]
    weight: Floats | None

    @classmethod
    def of(cls, wanted: NDArray[Any], weights: Floats | None, rows: NDArray[np.intp]) -> _Part:
        return cls(rows=rows, truth=wanted[rows], weight=None if weights is None else shares(weights[rows]))


def best_rule(
    table: pa.Table,
    features: Sequence[str],
    actual: NDArray[Any],
    *,
    classes: int,
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
    weights: Floats | None = None,
) -> tuple[Rule, NDArray[np.intp]] | None:
    """The best rule and every row's group; of equals the first column.

    None where no numeric column varies in training, or the truth doesn't. `actual` is (n,) float for numbers; classes
    are bool or indices below `classes`. `weights` (n,) are of all rows, above 0 in training and validation.
    """
    wanted = actual if actual.dtype.kind == "f" else actual.astype(np.intp)
    if np.all(wanted[train] == wanted[train][:1]):
        return None
    best: tuple[Rule, Floats] | None = None
    seen, held = (_Part.of(wanted, weights, np.flatnonzero(rows)) for rows in (train, validation))
    for name in features:
        if not (is_numeric(table, name) or pa.types.is_boolean(column(table, name).type)):
            continue
        values = numbers(table, name)
        found = _cut(values[seen.rows], seen.truth, seen.weight, classes=classes)
        if found is None:
            continue
        rule = _rule(name, found, values, seen, held, classes=classes)
        if best is None or _merit(rule) > _merit(best[0]):
            best = rule, values
    return None if best is None else (best[0], groups(best[1], best[0].cutoff))


def groups(values: Floats, cutoff: float) -> NDArray[np.intp]:
    """Each row's group; what isn't finite has no value."""
    return np.where(np.isfinite(values), np.where(values > cutoff, ABOVE, BELOW), MISSING)


def _merit(rule: Rule) -> float:
    return rule.on_train if rule.on_validation is None else rule.on_validation


def _cut(values: Floats, wanted: NDArray[Any], weight: Floats | None, *, classes: int) -> float | None:
    """The best cut-off, half-way between two neighbouring values; of equals the lowest.

    The value itself where all others are missing; None where nothing varies.
    """
    known = np.isfinite(values)
    # Classes are counted up to where values change, so the order of equal values is nothing to them; sums are rounded.
    counted = wanted.dtype.kind != "f" and weight is None
    order = np.argsort(values[known], kind="quicksort" if counted else "stable")
    ordered, actual = values[known][order], wanted[known][order]
    ends = np.flatnonzero(ordered[1:] > ordered[:-1])  # the last place before each cut
    if not len(ends):
        return float(ordered[0]) if len(ordered) and not known.all() else None
    mass = None if weight is None else weight[known][order]
    if wanted.dtype.kind == "f":
        gain = _explained(actual, mass, ends)
    else:
        gain = _recalled(actual, mass, tally(wanted, weight, size=classes), ends)
    place = ends[int(np.argmax(gain))]
    low, high = float(ordered[place]), float(ordered[place + 1])
    middle = low / 2 + high / 2
    return middle if low <= middle < high else low


def _explained(actual: Floats, weight: Floats | None, ends: NDArray[np.intp]) -> Floats:
    """Per cut the sum of squares that the two groups' means explain."""
    whole = float(len(actual) if weight is None else weight.sum())
    middle = float(np.mean(actual) if weight is None else weight @ actual / whole)
    sums = np.cumsum(weighed(actual - middle, weight))
    size = _upto(ends, weight)
    # The sums on both sides add up to 0, but for rounding.
    return np.asarray(sums[ends] ** 2 / size + (sums[-1] - sums[ends]) ** 2 / (whole - size))


def _recalled(actual: NDArray[np.intp], weight: Floats | None, totals: NDArray[Any], ends: NDArray[np.intp]) -> Floats:
    """Per cut the sum of both groups' best class's share of its rows: balanced accuracy up to a constant.

    `totals` (classes,) are of all rows, those without a value too.
    """
    known = tally(actual, weight, size=len(totals))
    below, above = np.zeros(len(ends)), np.zeros(len(ends))
    occurring = np.flatnonzero(totals)
    rest = _upto(ends, weight)
    for place in occurring:
        # What is left is of the last class: for two, one is counted.
        if place == occurring[-1]:
            left = rest
        elif weight is None:
            left = np.cumsum(actual == place, dtype=np.int32)[ends]
        else:
            left = np.cumsum(weight * (actual == place))[ends]
        rest = rest - left
        np.maximum(below, left / totals[place], out=below)
        np.maximum(above, (known[place] - left) / totals[place], out=above)
    return below + above


def _upto(ends: NDArray[np.intp], weight: Floats | None) -> NDArray[Any]:
    """Per cut the number of rows up to it, or their weight."""
    return ends + 1 if weight is None else np.cumsum(weight)[ends]


def _rule(name: str, cutoff: float, values: Floats, train: _Part, validation: _Part, *, classes: int) -> Rule:
    """The rule of one column's cut-off; `values` (n,) are the column's."""
    seen, truth, weight = groups(values[train.rows], cutoff), train.truth, train.weight
    size = tally(seen, weight, size=3)
    if truth.dtype.kind == "f":
        sums = tally(seen, weight, size=3, values=truth)
        answers = np.where(size > 0, sums / np.where(size > 0, size, 1), average(truth, weight))
        labels = np.zeros(3, dtype=np.intp)
    else:
        counts = tally(seen * classes + truth, weight, size=3 * classes).reshape(3, classes)
        every = counts.sum(axis=0)
        some = np.where(size > 0, size, 1)
        answers = np.where(size[:, None] > 0, counts / some[:, None], every / every.sum())
        # Not the group's most frequent class, which may be the same in all, but the one it has the most of.
        recall = np.divide(counts, every, out=np.zeros(counts.shape), where=every > 0)
        labels = np.where(size > 0, np.argmax(recall, axis=1), int(np.argmax(every)))
    told = answers if truth.dtype.kind == "f" else labels
    on_train = _score(told[seen], truth, weight)
    assert on_train is not None  # the truth varies in training
    return Rule(
        name=name,
        cutoff=cutoff,
        answers=answers,
        labels=labels,
        on_train=on_train,
        on_validation=_score(told[groups(values[validation.rows], cutoff)], validation.truth, validation.weight),
    )


def _score(said: NDArray[Any], truth: NDArray[Any], weight: Floats | None) -> float | None:
    """R² or balanced accuracy; None where all rows have the same truth, or there are none."""
    if not len(truth) or np.all(truth == truth[0]):
        return None
    if truth.dtype.kind == "f":
        missed, away = (said - truth) ** 2, (truth - average(truth, weight)) ** 2
        return 1.0 - float(np.sum(weighed(missed, weight)) / np.sum(weighed(away, weight)))
    were = tally(truth, weight, size=0)
    hits = tally(truth, weight, size=0, values=said == truth)
    return float(np.mean(hits[were > 0] / were[were > 0]))
