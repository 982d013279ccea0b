"""A design matrix whose rows are written out as they are asked for: one-hot columns are codes until then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .metrics import Floats

BLOCK = 16_384
"""Rows that are written out together where one after the other will do."""
CACHED = 1 << 17
"""Numbers that are filled in column by column before the next rows: as many as stay in a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class OneHot:
    """`code` (n,): which of `width` columns is 1 on a row; -1 where none is."""

    code: NDArray[np.int8]
    width: int


@dataclass(frozen=True, kw_only=True)
class Design:
    """A matrix (size, width) of its columns, in their order: numbers (size,), or several of one category."""

    size: int
    columns: Sequence[Floats | OneHot]

    @cached_property
    def width(self) -> int:
        """How many columns it has once it is written out."""
        return sum(each.width if isinstance(each, OneHot) else 1 for each in self.columns)

    @classmethod
    def of(cls, matrix: Floats) -> Design:
        """Of a matrix (n, k) that is written out already."""
        return cls(size=len(matrix), columns=[matrix[:, place] for place in range(matrix.shape[1])])

    def rows(self, chosen: NDArray[np.bool_] | slice, *, ones: bool = False) -> Floats:
        """(m, width) the chosen rows, row after row in memory; with `ones`, a last column of ones for an intercept."""
        places = np.flatnonzero(chosen) if isinstance(chosen, np.ndarray) else np.arange(self.size)[chosen]
        found = np.zeros((len(places), self.width + ones))
        step = max(CACHED // max(found.shape[1], 1), 1)
        for start in range(0, len(places), step):
            self._fill(found[start : start + step], places[start : start + step])
        return found

    def _fill(self, block: Floats, places: NDArray[np.intp]) -> None:
        at = 0
        for each in self.columns:
            if isinstance(each, OneHot):
                code = each.code[places].astype(np.intp)  # beside other columns there are more than an int8 counts
                known = np.flatnonzero(code >= 0)
                block[known, at + code[known]] = 1.0
                at += each.width
            else:
                block[:, at] = each[places]
                at += 1
        block[:, at:] = 1.0

    def each(self, told: Callable[[Floats], Floats], *, ones: bool = False) -> Floats:
        """(size, …) what `told` makes of each row, asked for by blocks of `rows`."""
        return np.concatenate([told(self.rows(block, ones=ones)) for block in _blocks(self.size)])


def _blocks(size: int) -> Iterator[slice]:
    """Of BLOCK rows; the last one has what is left, too: products of a few rows would be rounded otherwise."""
    count = max(size // BLOCK, 1)
    for place in range(count):
        yield slice(place * BLOCK, size if place == count - 1 else (place + 1) * BLOCK)
