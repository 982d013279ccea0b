"""Numbers in bounded memory: exact up to a stated count of distinct values, beyond it a grid that says its error.

A grid's cells are floating-point numbers that agree in their leading bits: with shift s, the s lowest bits of the
64 are dropped. Each cell keeps its smallest and largest value and its count. The shift is the smallest at which at
most `limit` cells are occupied; it depends on the values alone, not on the order in which they came, because a part of
the values never occupies more cells than all of them. So merging is exact, associative and commutative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

LIMIT = 1 << 20
"""Distinct values up to which a column is exact unless asked otherwise; 24 bytes each."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Finite values in rising cells: `low` and `high` (k,) the smallest and largest value in each, `count` (k,).

    With shift 0 every cell holds one value, and the grid is exact.
    """

    shift: int
    low: Floats
    high: Floats
    count: Counts

    @property
    def exact(self) -> bool:
        """Whether every cell holds one value."""
        return self.shift == 0

    @property
    def size(self) -> int:
        """Number of values."""
        return int(self.count.sum())

    @property
    def middle(self) -> Floats:
        """One value for each cell: halfway between its smallest and largest."""
        return self.low if self.exact else self.low / 2 + self.high / 2


def grid(values: Floats, *, limit: int = LIMIT) -> Grid:
    """The grid of finite `values` (n,), of at most `limit` cells."""
    if not len(values):
        return _exact(values.astype(np.float64), np.empty(0, dtype=np.int64))
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    distinct = ordered if len(starts) == len(ordered) else ordered[starts]
    counts = np.diff(starts, append=len(ordered))
    return coarsen(_exact(distinct + 0.0, counts), limit=limit)  # + 0.0 turns -0.0 into 0.0


def coarsen(fine: Grid, *, limit: int) -> Grid:
    """The same values in at most `limit` (>= 2) cells."""
    if len(fine.count) <= limit:
        return fine
    keys = _keys(fine.low)
    # Neighbours fall into one cell once the highest bit in which they differ is shifted out.
    differ = (keys[1:] ^ keys[:-1]).view(np.uint64)
    last = len(differ) - limit
    return _regroup(fine, max(fine.shift, int(np.partition(differ, last)[last]).bit_length()))


def merge(one: Grid, other: Grid, *, limit: int = LIMIT) -> Grid:
    """The grid of both grids' values."""
    if not len(one.count) or not len(other.count):
        return coarsen(one if len(one.count) else other, limit=limit)
    shift = max(one.shift, other.shift)
    one, other = _regroup(one, shift), _regroup(other, shift)
    low = np.concatenate([one.low, other.low])
    order = np.argsort(low, kind="stable")
    both = Grid(
        shift=shift,
        low=low[order],
        high=np.concatenate([one.high, other.high])[order],
        count=np.concatenate([one.count, other.count])[order],
    )
    return coarsen(_grouped(both), limit=limit)


def _regroup(fine: Grid, shift: int) -> Grid:
    if shift == fine.shift:
        return fine
    return _grouped(Grid(shift=shift, low=fine.low, high=fine.high, count=fine.count))


def _grouped(cells: Grid) -> Grid:
    """Cells with the same leading bits made one; `low` rises, with repetitions."""
    keys = _keys(cells.low) >> cells.shift
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    low, count = cells.low[starts], np.add.reduceat(cells.count, starts)
    if cells.shift == 0:
        return _exact(low, count)
    return Grid(shift=cells.shift, low=low, high=np.maximum.reduceat(cells.high, starts), count=count)


def _exact(values: Floats, count: Counts) -> Grid:
    return Grid(shift=0, low=values, high=values, count=count)


def _keys(values: Floats) -> NDArray[np.int64]:
    """Whole numbers in the order of the values: their bits, those of negative ones turned round."""
    bits = values.view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(2**63 - 1))
