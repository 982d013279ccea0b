"""Profiles of a table's parts, column after column: a task is one column of one shard.

The table may be mapped from a file: only what is under way is in memory. The profiles have the same bytes whoever does
the tasks (`work`), and whatever the shards, since profiles merge exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..split import PARTS, Part, Split
from ..work import SERIAL, Result, Workers
from . import grid as grids
from .profile import Column, merge_columns, profile_column

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


def by_column(
    table: pa.Table,
    split: Split,
    names: Sequence[str],
    *,
    categories: Collection[str] = (),
    workers: Workers = SERIAL,
    shard_rows: int | None = None,
    then: Callable[[str, dict[Part, Column]], Result],
) -> Iterator[Result]:
    """What `then` makes of each column's name and its profiles, those of the parts that have rows, by `names`' order.

    Each profile is as `profile` makes it. Few columns' profiles are there at a time: those of a table's numbers may
    have as many cells as it has values. `shard_rows` (SHARD_ROWS where left out) changes nothing but how much is in
    memory. Raises what `profile` does.
    """
    limit = cells(table.num_rows, len(names))
    if workers is workers.here:  # each column from its beginning to its end by one of them

        def whole(name: str) -> Result:
            pieces = _pieces(table, split, [name], frozenset(categories), limit=limit, shard_rows=shard_rows)
            (item,) = _merged(map(profile_piece, pieces), limit)
            return then(*item)

        return workers.map(whole, names)
    pieces = _pieces(table, split, names, frozenset(categories), limit=limit, shard_rows=shard_rows)
    return workers.here.map(lambda item: then(*item), _merged(workers.map(profile_piece, pieces), limit))


def _merged(pieces: Iterable[tuple[str, dict[Part, Column]]], limit: int) -> Iterator[tuple[str, dict[Part, Column]]]:
    """Each column's pieces as one."""
    for name, of_one in groupby(pieces, key=itemgetter(0)):
        whole: dict[Part, Column] = {}
        for _, columns in of_one:
            for part, column in columns.items():
                known = whole.get(part)
                whole[part] = column if known is None else merge_columns(name, known, column, limit)
        yield name, {part: whole[part] for part in PARTS if part in whole}


def _pieces(
    table: pa.Table,
    split: Split,
    names: Sequence[str],
    categories: frozenset[str],
    *,
    limit: int,
    shard_rows: int | None,
) -> Iterator[Piece]:
    shard_rows = shard_rows or SHARD_ROWS
    for name in names:
        values = table.column(name)
        for start in range(0, table.num_rows, shard_rows):
            part, some = split.part[start : start + shard_rows], values.slice(start, shard_rows)
            yield Piece(name=name, values=some, part=part, categories=categories, limit=limit)


def profile_piece(piece: Piece) -> tuple[str, dict[Part, Column]]:
    """The column's name, and its profile for each part that has rows in the shard."""
    found: dict[Part, Column] = {}
    for place, part in enumerate(PARTS):
        rows = piece.part == place
        if rows.any():
            values = piece.values if rows.all() else piece.values.filter(pa.array(rows))
            found[part] = profile_column(values, piece.name, categories=piece.categories, limit=piece.limit)
    return piece.name, found
