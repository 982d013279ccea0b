"""The best rule of one column and one cut-off: what any model of several columns must beat.

Of each numeric column the cut-off is found on the training rows: the one with the highest balanced accuracy, for two
classes Youden's (1950), or for numbers with the least squared error. Then the validation rows choose the column, as
one with many values finds a good cut-off in few rows by chance. Rows without a value are a third group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .metrics import Floats
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


def best_rule(
    table: pa.Table,
    features: Sequence[str],
    actual: NDArray[Any],
    *,
    classes: int,
    train: NDArray[np.bool_],
    validation: NDArray[np.bool_],
) -> tuple[Rule, NDArray[np.intp]] | None:
    """The best rule and every row's group; of equals the first column.

    None where no numeric column varies in training, or the truth doesn't. `actual` is (n,) float for numbers; classes
    are bool or indices below `classes`.
    """
    wanted = actual if actual.dtype.kind == "f" else actual.astype(np.intp)
    if np.all(wanted[train] == wanted[train][:1]):
        return None
    best: tuple[Rule, Floats] | None = None
    seen, truth = np.flatnonzero(train), wanted[train]
    held, also = np.flatnonzero(validation), wanted[validation]
    for name in features:
        if not (is_numeric(table, name) or pa.types.is_boolean(column(table, name).type)):
            continue
        values = numbers(table, name)
        of_train = values[seen]
        found = _cut(of_train, truth, classes=classes)
        if found is None:
            continue
        rule = _rule(name, found, (of_train, truth), (values[held], also), classes=classes)
        if best is None or _merit(rule) > _merit(best[0]):
            best = rule, values
    return None if best is None else (best[0], groups(best[1], best[0].cutoff))


def groups(values: Floats, cutoff: float) -> NDArray[np.intp]:
    """Each row's group; what isn't finite has no value."""
    return np.where(np.isfinite(values), np.where(values > cutoff, ABOVE, BELOW), MISSING)


def _merit(rule: Rule) -> float:
    return rule.on_train if rule.on_validation is None else rule.on_validation


def _cut(values: Floats, wanted: NDArray[Any], *, classes: int) -> float | None:
    """The best cut-off, half-way between two neighbouring values; of equals the lowest. None without two values."""
    known = np.isfinite(values)
    # Classes are counted up to where values change, so the order of equal values is nothing to them; sums are rounded.
    order = np.argsort(values[known], kind="stable" if wanted.dtype.kind == "f" else "quicksort")
    ordered, actual = values[known][order], wanted[known][order]
    ends = np.flatnonzero(ordered[1:] > ordered[:-1])  # the last place before each cut
    if not len(ends):
        return None
    gain = _explained(actual, ends) if wanted.dtype.kind == "f" else _recalled(actual, wanted, ends, classes=classes)
    place = ends[int(np.argmax(gain))]
    low, high = float(ordered[place]), float(ordered[place + 1])
    middle = low / 2 + high / 2
    return middle if low <= middle < high else low


def _explained(actual: Floats, ends: NDArray[np.intp]) -> Floats:
    """Per cut the sum of squares that the two groups' means explain."""
    sums = np.cumsum(actual - np.mean(actual))
    size = ends + 1.0
    # The sums on both sides add up to 0, but for rounding.
    return np.asarray(sums[ends] ** 2 / size + (sums[-1] - sums[ends]) ** 2 / (len(actual) - size))


def _recalled(actual: NDArray[np.intp], every: NDArray[np.intp], ends: NDArray[np.intp], *, classes: int) -> Floats:
    """Per cut the sum of both groups' best class's share of its rows: balanced accuracy up to a constant."""
    totals = np.bincount(every, minlength=classes)
    known = np.bincount(actual, minlength=classes)
    below, above = np.zeros(len(ends)), np.zeros(len(ends))
    occurring = np.flatnonzero(totals)
    rest = ends + 1
    for place in occurring:
        # What is left is of the last class: for two, one is counted.
        left = rest if place == occurring[-1] else np.cumsum(actual == place, dtype=np.int32)[ends]
        rest = rest - left
        np.maximum(below, left / totals[place], out=below)
        np.maximum(above, (known[place] - left) / totals[place], out=above)
    return below + above


def _rule(
    name: str,
    cutoff: float,
    train: tuple[Floats, NDArray[Any]],
    validation: tuple[Floats, NDArray[Any]],
    *,
    classes: int,
) -> Rule:
    """The rule of one column's cut-off; of `train` and `validation` the column's values and the truth."""
    seen, truth = groups(train[0], cutoff), train[1]
    if truth.dtype.kind == "f":
        size = np.bincount(seen, minlength=3)
        sums = np.bincount(seen, weights=truth, minlength=3)
        answers = np.where(size > 0, sums / np.maximum(size, 1), float(np.mean(truth)))
        labels = np.zeros(3, dtype=np.intp)
    else:
        counts = np.bincount(seen * classes + truth, minlength=3 * classes).reshape(3, classes)
        every = counts.sum(axis=0)
        size = counts.sum(axis=1)
        answers = np.where(size[:, None] > 0, counts / np.maximum(size, 1)[:, None], every / every.sum())
        # Not the group's most frequent class, which may be the same in all, but the one it has the most of.
        recall = np.divide(counts, every, out=np.zeros(counts.shape), where=every > 0)
        labels = np.where(size > 0, np.argmax(recall, axis=1), int(np.argmax(every)))
    told = answers if truth.dtype.kind == "f" else labels
    on_train = _score(told[seen], truth)
    assert on_train is not None  # the column varies in training
    return Rule(
        name=name,
        cutoff=cutoff,
        answers=answers,
        labels=labels,
        on_train=on_train,
        on_validation=_score(told[groups(validation[0], cutoff)], validation[1]),
    )


def _score(said: NDArray[Any], truth: NDArray[Any]) -> float | None:
    """R² or balanced accuracy; None where all rows have the same truth, or there are none."""
    if not len(truth) or np.all(truth == truth[0]):
        return None
    if truth.dtype.kind == "f":
        return 1.0 - float(np.sum((said - truth) ** 2) / np.sum((truth - np.mean(truth)) ** 2))
    were = np.bincount(truth)
    hits = np.bincount(truth, weights=said == truth)
    return float(np.mean(hits[were > 0] / were[were > 0]))
