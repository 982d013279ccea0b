"""Columns of a table as arrays, and the canonical text of a value. Tables are Arrow's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mandate.evidence.slices import MISSING

BLOCK = 1 << 20
"""Rows that are texts at a time."""


class MeasureError(Exception):
    """The inputs can't be measured. `code` is CamelCase and stable; the message says where, what and what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)

    def __reduce__(self) -> tuple[type[MeasureError], tuple[str, str]]:
        """As it was raised, also on another machine."""
        return type(self), (self.code, str(self))


class Ordered:
    """A table's rows at the places `rows` (n,), in that order, for whoever asks for columns as of a table.

    A column is put into order when it is asked for, and isn't kept: so the rows are in memory once, as they were read,
    or not at all where the table is mapped from a file.
    """

    def __init__(self, table: pa.Table, rows: NDArray[np.intp]) -> None:
        self.table, self.rows = table, rows

    @property
    def num_rows(self) -> int:
        """As of a table."""
        return len(self.rows)

    @property
    def column_names(self) -> list[str]:
        """As of a table."""
        return list(self.table.column_names)

    @property
    def schema(self) -> pa.Schema:
        """As of a table."""
        return self.table.schema

    @property
    def whole(self) -> bool:
        """Whether each of the table's rows is there."""
        return bool(len(self.rows) == self.table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """As of a table."""
        return self.table.column(name).take(pa.array(self.rows))

    def select(self, names: Sequence[str]) -> pa.Table:
        """A table of its own."""
        return pa.table({name: self.column(name) for name in names})

    def take(self, rows: pa.Array) -> Ordered:
        """Its rows at these places."""
        return Ordered(self.table, self.rows[rows.to_numpy(zero_copy_only=False)])


def column(table: pa.Table, name: str) -> pa.Array:
    """One column in one piece, dictionaries decoded; raises MissingColumn."""
    _known(table, name)
    return _in_one(table.column(name))


def _in_one(values: pa.ChunkedArray) -> pa.Array:
    values = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], type=values.type)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _known(table: pa.Table, name: str) -> None:
    if name not in table.column_names:
        raise MeasureError(
            "MissingColumn",
            f"column {name!r} isn't in the table; it has {', '.join(map(repr, table.column_names[:50]))}",
        )


def numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A numeric column as float64, missing as NaN; raises NotNumeric."""
    values = column(table, name)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)):
        if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
            values = values.cast(pa.int8())
        else:
            raise MeasureError("NotNumeric", f"column {name!r} holds {values.type}, expected numbers")
    result: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return result


def numbers_at(table: pa.Table, name: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """A numeric column at the places `rows` (m,), (m,) float64, missing as NaN; raises as `numbers`. A block at a time,
    so that there is little in memory beside what is given back."""
    _known(table, name)
    of, places = (table.table, table.rows) if isinstance(table, Ordered) else (table, None)
    column_ = of.column(name)
    found = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        values = column_.take(pa.array(some if places is None else places[some]))
        found[start : start + BLOCK] = numbers(pa.table({name: values}), name)
    return found


def is_numeric(table: pa.Table, name: str) -> bool:
    """Whether a column holds numbers (truth values don't count)."""
    _known(table, name)
    kind = table.schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def texts(values: pa.Array, *, name: str = "") -> pa.Array:
    """Canonical text of each value, null where missing: whole floats as integers, NaN as missing.

    Raises NotText, with the column's `name`, for bytes that aren't UTF-8.
    """
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.fill_null(pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**53)), False)
        as_whole = pc.if_else(whole, values, None).cast(pa.int64(), safe=False).cast(pa.string())
        return pc.if_else(whole, as_whole, values.cast(pa.string()))
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        raise MeasureError("NotText", f"column {name!r} holds bytes that aren't UTF-8; write it as text") from None


def text_codes(table: pa.Table, name: str) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Sorted distinct texts of a column and each row's index into them; missing is a value of its own, last."""
    found, code = known_codes(table, name)
    return (*found, MISSING) if len(code) and int(code.max()) == len(found) else found, code


def known_codes(table: pa.Table, name: str, *, narrow: bool = False) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Sorted distinct texts of a column and each row's index into them; where it is missing, their number.

    With `narrow` the indices are of as few bytes as hold them.
    """
    whole = isinstance(table, Ordered) and table.whole  # numbers are put into order sooner than texts
    names, rank, place = short_codes(table.table if whole else table, name)
    if narrow:
        rank = rank.astype(np.min_scalar_type(-len(names) - 1))
    return names, rank[place[table.rows]] if whole else rank[place]


def short_codes(table: pa.Table, name: str) -> tuple[tuple[str, ...], NDArray[np.intp], NDArray[np.int32]]:
    """As `known_codes`, in half the memory: `place` (n,) of each row, and `rank` of each place, the code."""
    _known(table, name)
    values = table.column(name)
    known: dict[str, int] = {}
    place = np.empty(len(values), dtype=np.int32)
    for start in range(0, len(values), BLOCK):  # texts of all rows would take many times what their codes do
        encoded = texts(_in_one(values.slice(start, BLOCK)), name=name).dictionary_encode()
        own = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
        found = pc.fill_null(encoded.indices, len(own)).to_numpy(zero_copy_only=False)
        place[start : start + BLOCK] = np.array([*own, -1], dtype=np.int32)[found]
    names = tuple(sorted(known))
    rank = np.full(len(names) + 1, len(names), dtype=np.intp)  # the last one is of what is missing
    rank[[known[text] for text in names]] = np.arange(len(names))
    return names, rank, place


def as_text(values: NDArray[Any]) -> NDArray[Any]:
    """Canonical text of a plain array's values, as an object array; missing is None."""
    result: NDArray[Any] = texts(pa.array(values, from_pandas=True)).to_numpy(zero_copy_only=False)
    return result
