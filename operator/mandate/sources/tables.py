"""Parquet, CSV and Arrow IPC files as Arrow tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from mandate.api.formats import TABLE_SUFFIXES, CsvEncoding, CsvSeparator, TableFormat

from . import csv_text
from .errors import SourceError
from .spilled import BLOCK_ROWS, Spill

if TYPE_CHECKING:
    from pyarrow import parquet

MISSING_IN_CSV = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
"""Unquoted CSV fields that mean: no value. Quoted, they are text."""
AT_A_TIME = 4
"""Columns of a Parquet file that are read side by side: each is in memory as it was packed, too, and as it was not."""
_PAGES = 1 << 20
"""Bytes of each column that are read ahead where a file is read block by block."""
_FEATHER_1 = b"FEA1"
_ARROW_FILE = b"ARROW1"
_STREAM_ENDS = b"\xff\xff\xff\xff\0\0\0\0"


def read_table(
    path: Path,
    *,
    columns: Iterable[str] | None = None,
    name: str = "",
    format: TableFormat | None = None,  # noqa: A002  # the spec's word
    encoding: CsvEncoding | None = None,
    separator: CsvSeparator | None = None,
    identities: Iterable[str] = (),
    spill: Spill | None = None,
) -> pa.Table:
    """Read `columns` (default: all) of a file, in the file's row order.

    `format` is by the file's ending where left out, `encoding` and `separator` of CSV are told from the file where that
    is beyond doubt; `name` is what the user calls the file, for messages. Of `identities`, columns whose values only
    say what is the same, no two texts of CSV become one number. With `spill`, a table that it takes for large is mapped
    from a file: Parquet's is written block by block as it is read, others are in memory until they are read.

    Raises SourceError: UnknownFormat, Unreadable, EmptyTable, DuplicateColumn, MissingColumn, NestedColumn, NoSpace,
    and of CSV NotUtf8, WrongEncoding, AmbiguousSeparator, RaggedLine, DecimalComma, AmbiguousValues.
    """
    name = name or str(path)
    wanted = None if columns is None else list(dict.fromkeys(columns))
    match format or TABLE_SUFFIXES.get(path.suffix.lower()):
        case "Parquet":
            if spill is not None and (mapped := _mapped(path, wanted, name, spill)) is not None:
                return mapped
            table = _parquet(path, wanted, name)
        case "CSV":
            dialect = csv_text.dialect(path, encoding=encoding, separator=separator, name=name)
            table = _csv(path, wanted, name, dialect, identities)
        case "Arrow":
            table = _arrow(path, wanted, name)
        case _:
            ending = repr(path.suffix) if path.suffix else "nothing"
            raise SourceError("UnknownFormat", f"{name}: ends in {ending}, expected {' or '.join(TABLE_SUFFIXES)}")
    if table.num_rows == 0:
        raise SourceError("EmptyTable", f"{name}: has no rows")
    table = _plain(table, name)
    return table if spill is None else spill.held(table, name=name)


def _check(found: list[str], wanted: list[str] | None, name: str) -> None:
    twice = sorted(column for column, count in Counter(found).items() if count > 1)
    if twice:
        raise SourceError("DuplicateColumn", f"{name}: column {twice[0]!r} occurs more than once; rename one of them")
    for column in wanted or ():
        if column not in found:
            listed = ", ".join(map(repr, found[:50]))
            raise SourceError("MissingColumn", f"{name}: column {column!r} is missing; the file has {listed}")


def _plain(table: pa.Table, name: str) -> pa.Table:
    """The same values in types that every room knows; raises NestedColumn for what isn't one value per row."""
    for index, field in enumerate(table.schema):
        try:
            values = _decoded(table.column(index))
        except pa.ArrowNotImplementedError:
            values = None
        if values is None or pa.types.is_nested(values.type):
            raise SourceError(
                "NestedColumn", f"{name}: column {field.name!r} holds {field.type}, expected plain values"
            )
        if values.type != field.type:
            table = table.set_column(index, field.name, values)
    return table


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values themselves, however they are packed.

    Dictionaries too: they may change from one chunk to the next, in ways that can't be written to a file again.
    """
    import pyarrow.compute as pc

    while True:
        kind, chunks = values.type, values.chunks
        if isinstance(kind, pa.BaseExtensionType):
            values = pa.chunked_array([chunk.storage for chunk in chunks], type=kind.storage_type)
        elif pa.types.is_run_end_encoded(kind):
            values = pa.chunked_array([pc.run_end_decode(chunk) for chunk in chunks], type=kind.value_type)
        elif pa.types.is_dictionary(kind):
            values = pa.chunked_array([chunk.dictionary_decode() for chunk in chunks], type=kind.value_type)
        elif pa.types.is_string_view(kind):
            values = values.cast(pa.string())
        else:
            return values


def _parquet(path: Path, wanted: list[str] | None, name: str) -> pa.Table:
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            found = file.schema_arrow.names
            _check(found, wanted, name)
            wanted = found if wanted is None else wanted
            if not wanted:
                return file.read(columns=[])
            read: dict[str, pa.ChunkedArray] = {}
            for start in range(0, len(wanted), AT_A_TIME):
                some = wanted[start : start + AT_A_TIME]
                part = file.read(columns=some)
                read |= {column: part.column(column) for column in some}
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise SourceError("Unreadable", f"{name}: can't be read as Parquet: {error}") from None
    return pa.table(read)


def _mapped(path: Path, wanted: list[str] | None, name: str, spill: Spill) -> pa.Table | None:
    """The columns from a file of batches; None where they are to be read as a whole."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            found = file.schema_arrow.names
            _check(found, wanted, name)
            wanted = found if wanted is None else wanted
            if not (wanted and file.metadata.num_rows and _unpacked(file, wanted) > spill.most):
                return None
    except (pa.ArrowException, OSError, UnicodeError):
        return None  # told by whoever reads it as a whole
    return spill.mapped(_parquet_blocks(path, wanted, name), name=name)


def _unpacked(file: parquet.ParquetFile, wanted: list[str]) -> int:
    """About how many bytes the columns take as Arrow holds them: what a file tells of texts is before repeats."""
    rows, known = file.metadata.num_rows, set(wanted)
    total = 0
    for field in file.schema_arrow:
        if field.name in known:
            try:
                total += rows * field.type.bit_width // 8
            except ValueError:  # of no fixed width
                total += rows * 4
    of = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    for chunk in (group.column(place) for group in of for place in range(group.num_columns)):
        if chunk.physical_type == "BYTE_ARRAY" and chunk.path_in_schema.split(".")[0] in known:
            total += chunk.total_uncompressed_size
    return total


def _parquet_blocks(path: Path, wanted: list[str], name: str) -> Iterator[pa.Table]:
    """All rows, BLOCK_ROWS at a time; pages are read as they are needed, not a row group's at once."""
    from pyarrow import parquet

    try:
        # Else all of the file's packed bytes are read ahead, and held until the last block is through.
        with parquet.ParquetFile(path, buffer_size=_PAGES, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=wanted):
                yield _plain(pa.Table.from_batches([batch]).select(wanted), name)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise SourceError("Unreadable", f"{name}: can't be read as Parquet: {error}") from None


def _arrow(path: Path, wanted: list[str] | None, name: str) -> pa.Table:
    """The IPC file format (also Feather 2) or the streaming format, told apart by their first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_ARROW_FILE))
        if head.startswith(_FEATHER_1):
            raise SourceError("Unreadable", f"{name}: is Feather version 1; write it with version 2, or as Parquet")
        # Not mapped into memory: a file that is cut short meanwhile would end the process.
        with pa.OSFile(str(path)) as source:
            opened = pa.ipc.open_file(source) if head == _ARROW_FILE else pa.ipc.open_stream(source)
            _check(opened.schema.names, wanted, name)
            table = opened.read_all() if head == _ARROW_FILE else _whole_stream(opened, source, name)
        # Offsets and lengths are taken from the file: unchecked, they could point anywhere.
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise SourceError("Unreadable", f"{name}: can't be read as Arrow IPC: {error}") from None
    return table if wanted is None else table.select(wanted)


def _whole_stream(opened: pa.ipc.RecordBatchStreamReader, source: pa.NativeFile, name: str) -> pa.Table:
    """All batches up to the mark that ends a stream: without it, one that is cut between two batches looks whole."""
    batches, read = [], source.tell()
    for batch in opened:
        batches.append(batch)
        read = source.tell()
    source.seek(read)
    if source.read(len(_STREAM_ENDS) + 1) != _STREAM_ENDS:
        words = "doesn't end with an Arrow stream's end mark: it is cut short, or its writer wasn't closed"
        raise SourceError("Unreadable", f"{name}: {words}; write it again")
    return pa.Table.from_batches(batches, schema=opened.schema)


def _csv(
    path: Path, wanted: list[str] | None, name: str, read_as: csv_text.Dialect, identities: Iterable[str]
) -> pa.Table:
    from pyarrow import csv as arrow_csv

    def read(*texts: str) -> pa.Table:
        """All columns, or those named alone, as they are written."""
        return arrow_csv.read_csv(
            path,
            # One block, so that a column's type is inferred from all of its values, not from the first megabyte's. As
            # UTF-8, other encodings are at most twice as long.
            read_options=arrow_csv.ReadOptions(
                block_size=min(2 * path.stat().st_size + 1, 2**31 - 1),
                encoding="utf8" if read_as.codec == "utf-8" else read_as.codec,
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=read_as.separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                null_values=MISSING_IN_CSV,
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                include_columns=texts,
                column_types=dict.fromkeys(texts, pa.string()),
            ),
        )

    _check(read_as.header, wanted, name)
    try:
        table = read()
    except (pa.ArrowException, OSError, UnicodeError) as error:
        found = csv_text.not_decodable(path, codec=read_as.codec, name=name) or csv_text.broken_line(
            path, read_as=read_as, name=name
        )
        raise found or SourceError("Unreadable", f"{name}: can't be read as CSV: {error}") from None
    if any(pa.types.is_binary(field.type) for field in table.schema):  # what Arrow infers for bytes that aren't UTF-8
        found = csv_text.not_decodable(path, codec=read_as.codec, name=name)
        raise found or SourceError("NotUtf8", f"{name}: isn't UTF-8; save the file as UTF-8")
    if csv_text.could_end_in_quotes(path, table, codec=read_as.codec):
        found = csv_text.broken_line(path, read_as=read_as, name=name)
        if found is not None:
            raise found
    for column in {*identities} & {*table.column_names}:
        if not pa.types.is_string(table[column].type):
            found = csv_text.merged(read(column)[column], table[column], column=column, name=name)
            if found is not None:
                raise found
    table = table if wanted is None else table.select(wanted)
    if (found := csv_text.decimal_comma(table, name=name)) is not None:
        raise found
    return table
