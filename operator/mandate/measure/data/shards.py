"""Profiles of a table's parts in one pass, shard by shard: a task is one column of one shard.

The table may be mapped from a file: only what is under way is in memory. The profiles have the same bytes whoever does
the tasks (`work`), and whatever the shards, since profiles merge exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..split import PARTS, Part, Split
from ..work import SERIAL, Workers
from . import grid as grids
from .profile import Column, Profile, merge_columns, profile_column

SHARD_ROWS = 1 << 20
"""Rows of a shard, in the table's order."""
EXACT_VALUES = 1 << 26
"""Values (rows times columns) of a table up to which number columns are exact as `grid` says."""
SHARED_CELLS = 1 << 22
"""Cells that the number columns of a larger table have between them: 24 bytes each, once for each part."""
LEAST_CELLS = 1 << 10
"""Cells that a column has however many there are."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One column of one shard: `values`, and `part` (n,), each row's index into PARTS or none."""

    name: str
    values: pa.ChunkedArray
    part: NDArray[np.int8]
    categories: frozenset[str]
    limit: int

    def __reduce__(self) -> tuple[Callable[..., Piece], tuple[object, ...]]:
        """What is sent elsewhere is the shard's own values: Arrow's slices would be pickled with all of the column."""
        table = pa.table({self.name: self.values})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return _received, (sink.getvalue().to_pybytes(), self.part, self.categories, self.limit)


def _received(sent: bytes, part: NDArray[np.int8], categories: frozenset[str], limit: int) -> Piece:
    table = pa.ipc.open_stream(sent).read_all()
    return Piece(name=table.column_names[0], values=table.column(0), part=part, categories=categories, limit=limit)


def cells(rows: int, columns: int) -> int:
    """How many cells a number column has at most, by the table's size alone: so that all profiles of it fit."""
    if rows * columns <= EXACT_VALUES:
        return grids.LIMIT
    return min(grids.LIMIT, max(LEAST_CELLS, SHARED_CELLS // columns))


def profiles(
    table: pa.Table,
    split: Split,
    names: Sequence[str],
    *,
    categories: Collection[str] = (),
    workers: Workers = SERIAL,
    shard_rows: int | None = None,
) -> dict[Part, Profile]:
    """The profiles, as `profile` makes them, of those parts that have rows. Raises what `profile` does.

    `shard_rows` (SHARD_ROWS where left out) changes nothing but how much is in memory at a time.
    """
    limit = cells(table.num_rows, len(names))
    found: dict[Part, dict[str, Column]] = {part: {} for part in PARTS if split.rows(part).any()}
    pieces = _pieces(table, split, names, frozenset(categories), limit=limit, shard_rows=shard_rows or SHARD_ROWS)
    for name, columns in workers.map(profile_piece, pieces):
        for part, column in columns.items():
            known = found[part].get(name)
            found[part][name] = column if known is None else merge_columns(name, known, column, limit)
    counts = split.counts()
    return {part: Profile(rows=counts[part], limit=limit, columns=columns) for part, columns in found.items()}


def _pieces(
    table: pa.Table, split: Split, names: Sequence[str], categories: frozenset[str], *, limit: int, shard_rows: int
) -> Iterator[Piece]:
    for start in range(0, table.num_rows, shard_rows):
        part = split.part[start : start + shard_rows]
        shard = table.slice(start, shard_rows)
        for name in names:
            yield Piece(name=name, values=shard.column(name), part=part, categories=categories, limit=limit)


def profile_piece(piece: Piece) -> tuple[str, dict[Part, Column]]:
    """The column's name, and its profile for each part that has rows in the shard."""
    found: dict[Part, Column] = {}
    for place, part in enumerate(PARTS):
        rows = piece.part == place
        if rows.any():
            values = piece.values if rows.all() else piece.values.filter(pa.array(rows))
            found[part] = profile_column(values, piece.name, categories=piece.categories, limit=piece.limit)
    return piece.name, found
