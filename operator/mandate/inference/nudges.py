"""Rows as they were seen, and the same rows with their numbers moved a little: what a model should hardly notice.

The same rows and seed give the same nudges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mandate.predictor.datatypes import Array

from .features import Features

STEP = 0.01
"""By how much of its spread a number is moved."""
MOST_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Nudges:
    """`rows` (n,) are places in the table, `before` and `after` their tensors, `moved` (n,) those that differ."""

    rows: NDArray[np.intp]
    before: Features
    after: Features
    moved: NDArray[np.bool_]


def nudges(fed: Features, *, test: NDArray[np.intp], clusters: NDArray[np.intp] | None = None, seed: int = 0) -> Nudges:
    """At most MOST_ROWS of the test rows, drawn by chance, with each number STEP of its spread higher or lower.

    The spread is that of the test rows: their standard deviation, or that of their middle half were it normal, if that
    is less and not 0. Numbers stay between the least and the greatest; columns of whole numbers stay whole, so that
    codes and small counts stay as they are. One row of each of `clusters` (of all rows) at most, so that rows tell by
    themselves. None at all where the model takes more at once than there are.
    """
    random = np.random.default_rng(seed)
    drawn = random.permutation(test)
    if clusters is not None:
        drawn = drawn[np.sort(np.unique(clusters[drawn], return_index=True)[1])]
    drawn = drawn[:MOST_ROWS]
    rows = np.sort(drawn[: len(drawn) // (fed.batch or 1) * (fed.batch or 1)])
    before = Features({name: array[rows] for name, array in fed.arrays.items()}, fed.datatypes, fed.batch)
    moved = np.zeros(len(rows), dtype=np.bool_)
    after = {}
    for name, array in before.arrays.items():
        after[name] = array
        if array.dtype.kind in "fiu" and len(rows):
            after[name] = _moved(array, fed.arrays[name][test], random)
            other = np.isfinite(array) & (after[name] != array)
            moved |= other.reshape(len(rows), -1).any(axis=1)
    return Nudges(rows=rows, before=before, after=Features(after, fed.datatypes, fed.batch), moved=moved)


def _moved(array: Array, seen: Array, random: np.random.Generator) -> Array:
    columns = array[:, None] if array.ndim == 1 else array
    known = seen[:, None] if seen.ndim == 1 else seen
    found = columns.copy()
    for index in range(columns.shape[1]):
        signs = random.integers(0, 2, len(columns)) * 2 - 1
        found[:, index] = _column(columns[:, index], known[:, index], signs)
    return found.reshape(array.shape)


def _column(values: Array, seen: Array, signs: NDArray[np.int64]) -> Array:
    """One column's values, moved by `signs`; those that would leave the range of `seen` go the other way."""
    finite = seen[np.isfinite(seen)].astype(np.float64)
    if not len(finite):
        return values
    step = STEP * _spread(finite)
    if (finite == np.floor(finite)).all():
        step = float(np.round(step))
    if step <= 0:
        return values
    low, high = finite.min(), finite.max()
    wide = values.astype(np.float64)
    there, back = wide + signs * step, wide - signs * step
    new = np.clip(np.where((there < low) | (there > high), back, there), low, high)
    return np.where(np.isfinite(wide), new, wide).astype(values.dtype)


def _spread(finite: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(np.std(finite))
    low, high = np.quantile(finite, (0.25, 0.75))
    middle = float(high - low) / 1.349
    spread = min(deviation, middle) if middle > 0 and np.isfinite(deviation) else deviation
    return spread if np.isfinite(spread) else 0.0
