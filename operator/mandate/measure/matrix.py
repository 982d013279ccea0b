"""A design matrix that is never written out: numbers stay columns, and one-hot columns stay codes, also in products.

A category of 50 values is 50 columns, of which a row has one at most that isn't 0: what is 0 costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .metrics import Floats
from .work import SERIAL, Workers

BLOCK = 16_384
"""Rows of which something is computed together: their numbers stay in a processor's cache."""


@dataclass(frozen=True, kw_only=True)
class OneHot:
    """`code` (n,): which of `width` columns is 1 on a row; -1 where none is."""

    code: NDArray[np.int8]
    width: int


@dataclass(frozen=True, kw_only=True)
class Design:
    """A matrix (size, width): numbers (size,), or several columns of one category."""

    size: int
    columns: Sequence[Floats | OneHot]

    @cached_property
    def width(self) -> int:
        """How many columns it stands for."""
        return sum(each.width if isinstance(each, OneHot) else 1 for each in self.columns)

    @classmethod
    def of(cls, matrix: Floats) -> Design:
        """Of a matrix (n, k) that is written out already."""
        return cls(size=len(matrix), columns=[matrix[:, place] for place in range(matrix.shape[1])])

    def rows(self, chosen: NDArray[np.bool_] | slice, *, ones: bool = False) -> Rows:
        """The chosen rows; with `ones`, a last column of ones for an intercept."""
        places = np.flatnonzero(chosen) if isinstance(chosen, np.ndarray) else chosen
        plain = [each[places] for each in self.columns if not isinstance(each, OneHot)]
        hot = [(each.code[places], each.width) for each in self.columns if isinstance(each, OneHot)]
        size = len(places) if isinstance(places, np.ndarray) else len(range(*places.indices(self.size)))
        numbers = np.ones((len(plain) + ones, size))
        for place, values in enumerate(plain):
            numbers[place] = values
        return Rows(numbers=numbers, hot=hot)

    def times(self, weights: Floats, *, ones: bool = False) -> Floats:
        """(size, k): its product with `weights` (width, k), in the order of `Rows`."""
        return np.concatenate([self.rows(block, ones=ones).times(weights) for block in _blocks(self.size)])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows (m, width) of a design: first the columns of each `hot`, codes (m,) with their width, then the `numbers`
    (d, m), each of them a column."""

    numbers: Floats
    hot: Sequence[tuple[NDArray[np.int8], int]]

    @property
    def size(self) -> int:
        """How many rows."""
        return int(self.numbers.shape[1])

    @cached_property
    def width(self) -> int:
        """How many columns."""
        return len(self.numbers) + self._first

    @cached_property
    def _first(self) -> int:
        """Where the numbers begin."""
        return sum(width for _, width in self.hot)

    def times(self, weights: Floats) -> Floats:
        """(m, k): the product with `weights` (width, k)."""
        found = self.numbers.T @ weights[self._first :]
        nothing, at = np.zeros((1, weights.shape[1])), 0
        for code, width in self.hot:
            found += np.concatenate([weights[at : at + width], nothing])[code]  # -1 is the last
            at += width
        return np.asarray(found, dtype=np.float64)

    def sums(self, values: Floats) -> Floats:
        """(width, k): each column's product with `values` (m, k)."""
        found = np.empty((self.width, values.shape[1]))
        found[self._first :] = self.numbers @ values
        at = 0
        for code, width in self.hot:
            known = _places(code, width)
            for output in range(values.shape[1]):
                sums = np.bincount(known, weights=values[:, output], minlength=width + 1)
                found[at : at + width, output] = sums[:width]
            at += width
        return found

    def squares(self, heavy: Floats, *, workers: Workers = SERIAL) -> Floats:
        """(width, width): the products of all columns with each other, each row times its weight `heavy` (m,).

        `workers` take blocks of rows, which are added up in their order.
        """
        found = np.zeros((self.width, self.width))
        for part in workers.here.map(lambda block: self._block(block, heavy[block]), _blocks(self.size)):
            found += part
        return found

    def _block(self, block: slice, heavy: Floats) -> Floats:
        numbers, found = self.numbers[:, block], np.zeros((self.width, self.width))
        scaled, first = numbers * heavy, self._first
        found[first:, first:] = scaled @ numbers.T
        before: list[tuple[NDArray[np.intp], int, slice]] = []
        at = 0
        for code, width in self.hot:
            places, here = _places(code[block], width), slice(at, at + width)
            for place, values in enumerate(scaled, start=first):
                found[here, place] = np.bincount(places, weights=values, minlength=width + 1)[:width]
            found[first:, here] = found[here, first:].T
            np.fill_diagonal(found[here, here], np.bincount(places, weights=heavy, minlength=width + 1)[:width])
            for others, wide, there in before:
                both = np.bincount(others * (width + 1) + places, weights=heavy, minlength=(wide + 1) * (width + 1))
                found[there, here] = both.reshape(wide + 1, width + 1)[:wide, :width]
                found[here, there] = found[there, here].T
            before.append((places, width, here))
            at += width
        return found


def _places(code: NDArray[np.int8], width: int) -> NDArray[np.intp]:
    """The codes, none of them being one more than there are."""
    places = code.astype(np.intp)
    places[places < 0] = width
    return places


def _blocks(size: int) -> Iterator[slice]:
    """Of BLOCK rows; the last one has what is left, too: products of a few rows would be rounded otherwise."""
    count = max(size // BLOCK, 1)
    for place in range(count):
        yield slice(place * BLOCK, size if place == count - 1 else (place + 1) * BLOCK)
