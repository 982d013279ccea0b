"""Parquet and CSV files as Arrow tables."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from .files import SourceError

MISSING_IN_CSV = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
"""Unquoted CSV fields that mean: no value. Quoted, they are text."""


def read_table(path: Path, *, columns: Iterable[str] | None = None, name: str = "") -> pa.Table:
    """Read `columns` (default: all) of a .parquet or .csv file, in the file's row order.

    `name` is what the user calls the file, for messages. Raises SourceError: UnknownFormat, Unreadable, EmptyTable,
    DuplicateColumn, MissingColumn, NotUtf8, NestedColumn.
    """
    name = name or str(path)
    wanted = None if columns is None else list(dict.fromkeys(columns))
    match path.suffix.lower():
        case ".parquet":
            table = _parquet(path, wanted, name)
        case ".csv":
            table = _csv(path, wanted, name)
        case other:
            raise SourceError("UnknownFormat", f"{name}: ends in {other or 'nothing'!r}, expected .parquet or .csv")
    if table.num_rows == 0:
        raise SourceError("EmptyTable", f"{name}: has no rows")
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise SourceError(
                "NestedColumn", f"{name}: column {field.name!r} holds {field.type}, expected plain values"
            )
    return table


def _check(found: list[str], wanted: list[str] | None, name: str) -> None:
    twice = sorted(column for column, count in Counter(found).items() if count > 1)
    if twice:
        raise SourceError("DuplicateColumn", f"{name}: column {twice[0]!r} occurs more than once; rename one of them")
    for column in wanted or ():
        if column not in found:
            listed = ", ".join(map(repr, found[:50]))
            raise SourceError("MissingColumn", f"{name}: column {column!r} is missing; the file has {listed}")


def _parquet(path: Path, wanted: list[str] | None, name: str) -> pa.Table:
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check(file.schema_arrow.names, wanted, name)
            table = file.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise SourceError("Unreadable", f"{name}: can't be read as Parquet: {error}") from None
    return table if wanted is None else table.select(wanted)


def _csv(path: Path, wanted: list[str] | None, name: str) -> pa.Table:
    from pyarrow import csv as arrow_csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), None)
    except UnicodeDecodeError as error:
        raise SourceError("NotUtf8", f"{name}: isn't UTF-8 ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise SourceError("Unreadable", f"{name}: {error.strerror or error}; check its permissions") from None
    if not header:
        raise SourceError("EmptyTable", f"{name}: is empty, expected a line with the columns' names")
    _check(header, wanted, name)
    try:
        table = arrow_csv.read_csv(
            path,
            # One block, so that a column's type is inferred from all of its values, not from the first megabyte's.
            read_options=arrow_csv.ReadOptions(block_size=min(path.stat().st_size + 1, 2**31 - 1)),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted,
                null_values=MISSING_IN_CSV,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise SourceError("Unreadable", f"{name}: can't be read as CSV: {error}") from None
    for field in table.schema:
        if pa.types.is_binary(field.type):  # what Arrow infers for bytes that aren't UTF-8
            raise SourceError("NotUtf8", f"{name}: column {field.name!r} isn't UTF-8; save the file as UTF-8")
    return table
