"""Which of two sets of rows' keys are the same, by fixed shards of the keys: sums of whole numbers, in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .work import SERIAL, Workers

Keys = NDArray[np.uint64]

SHARDS = 16
"""By the keys' highest bits: each is sorted by itself, a sixteenth of the memory at a time for each thread."""
_SHIFT = np.uint64(64 - (SHARDS - 1).bit_length())


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """`shared`: how many of their keys are among ours, `groups`: how many different ones those are, `twins`: how many
    of our keys occur more than once among ours."""

    shared: int = 0
    groups: int = 0
    twins: int = 0

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            shared=self.shared + other.shared, groups=self.groups + other.groups, twins=self.twins + other.twins
        )


def overlap(ours: Keys, theirs: Keys, *, workers: Workers = SERIAL) -> Overlap:
    """Of `theirs` (m,) with `ours` (n,); both are hashes, spread evenly over 64 bits."""

    def of(shard: int) -> Overlap:
        return _overlap(*(keys[keys >> _SHIFT == shard] for keys in (ours, theirs)))

    return sum(workers.here.map(of, range(SHARDS)), start=Overlap())


def _overlap(ours: Keys, theirs: Keys) -> Overlap:
    different, counts = _counted(ours)
    others, times = _counted(theirs)
    if not len(different):
        return Overlap()
    place = np.minimum(np.searchsorted(different, others), len(different) - 1)
    both = different[place] == others
    return Overlap(
        shared=int(times[both].sum()), groups=int(np.count_nonzero(both)), twins=int(counts[counts > 1].sum())
    )


def _counted(keys: Keys) -> tuple[Keys, NDArray[np.intp]]:
    """The different keys, rising, and how often each occurs."""
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] ^ np.uint64(1)))
    return ordered[starts], np.diff(starts, append=len(ordered))


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """`rows`: how many of the keys occur more than once, `groups`: how many different ones those are."""

    rows: int = 0
    groups: int = 0

    def __add__(self, other: Repeats) -> Repeats:
        return Repeats(rows=self.rows + other.rows, groups=self.groups + other.groups)

    @property
    def surplus(self) -> int:
        """Rows that would go if one of each were kept."""
        return self.rows - self.groups


def repeats(keys: Keys, *, workers: Workers = SERIAL) -> Repeats:
    """Among `keys` (n,) themselves, which are hashes, spread evenly over 64 bits."""

    def of(shard: int) -> Repeats:
        _, counts = _counted(keys[keys >> _SHIFT == shard])
        again = counts[counts > 1]
        return Repeats(rows=int(again.sum()), groups=len(again))

    return sum(workers.here.map(of, range(SHARDS)), start=Repeats())
