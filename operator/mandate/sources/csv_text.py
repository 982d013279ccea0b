"""What a CSV file doesn't say of itself: its encoding and its separator, and where it is broken.

Only what is beyond doubt is taken without being declared; the rest is refused with what to declare.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mandate.api.formats import CsvEncoding, CsvSeparator

from .errors import SourceError

SEPARATORS: dict[CsvSeparator, str] = {"Comma": ",", "Semicolon": ";", "Tab": "\t", "Pipe": "|"}
CODECS: dict[CsvEncoding, str] = {"UTF8": "utf-8", "UTF16": "utf-16", "Latin1": "latin-1", "Windows1252": "cp1252"}
SAMPLE_RECORDS = 200
"""Lines that a separator is told from."""
_HEAD = 4096
_MARKS: tuple[tuple[bytes, CsvEncoding | None], ...] = (  # the longer first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, None),
    (codecs.BOM_UTF32_BE, None),
    (codecs.BOM_UTF8, "UTF8"),
    (codecs.BOM_UTF16_LE, "UTF16"),
    (codecs.BOM_UTF16_BE, "UTF16"),
)
_SPACES = " \u00a0\u2009\u202f"  # plain, no-break, thin and narrow no-break, as office programs write thousands
_COMMA_NUMBERS = (
    rf"^\s*[+-]?(\d{{1,3}}([.'{_SPACES}]\d{{3}})+|\d+)(,\d+)?([eE][+-]?\d+)?\s*$",
    r"^\s*[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d+)?\s*$",
)
"""Numbers with a comma before the decimals, or between thousands; of a column, all are of one kind."""
csv.field_size_limit(2**31 - 1)  # the process's; Arrow's reader has no other, and 128 KiB are no broken quote


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How to read one file. `codec` is Python's name; `header` are the columns' names."""

    codec: str
    separator: str
    header: list[str]


def dialect(
    path: Path, *, encoding: CsvEncoding | None = None, separator: CsvSeparator | None = None, name: str
) -> Dialect:
    """How to read the file, as declared or as it shows beyond doubt.

    Raises SourceError: NotUtf8, WrongEncoding, AmbiguousSeparator, EmptyTable, Unreadable.
    """
    codec = _codec(path, declared=encoding, name=name)
    candidates = SEPARATORS if separator is None else {separator: SEPARATORS[separator]}
    try:
        samples = {word: _sample(path, codec=codec, separator=sign) for word, sign in candidates.items()}
    except UnicodeError as error:
        raise not_decodable(path, codec=codec, name=name) or _unreadable(name, error) from None
    except OSError as error:
        raise SourceError("Unreadable", f"{name}: {error.strerror or error}; check its permissions") from None
    word = next(iter(samples)) if len(samples) == 1 else _chosen(samples, name=name)
    if not samples[word] or not samples[word][0]:
        raise SourceError("EmptyTable", f"{name}: is empty, expected a line with the columns' names")
    return Dialect(codec=codec, separator=SEPARATORS[word], header=samples[word][0])


def not_decodable(path: Path, *, codec: str, name: str) -> SourceError | None:
    """Where the file isn't what its encoding says; None where it is."""
    decoder = codecs.getincrementaldecoder(codec)()
    line = 1
    with path.open("rb") as file:
        while True:
            block = file.read(1 << 16)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].decode(codec, "replace").count("\n")
                if codec == "utf-8":
                    advice = (
                        "save the file as UTF-8, or declare csv.encoding: Latin1 or Windows1252 if that is what it is"
                    )
                    return SourceError("NotUtf8", f"{name}: line {line} isn't UTF-8 ({error.reason}); {advice}")
                words = f"{name}: line {line} isn't {codec} ({error.reason}); correct csv.encoding, or the file"
                return SourceError("WrongEncoding", words)
            if not block:
                return None


def broken_line(path: Path, *, read_as: Dialect, name: str) -> SourceError | None:
    """The first line without the header's number of fields, or a quote that isn't closed; None where all is well."""
    expected, started = len(read_as.header), 1
    with path.open(encoding=_text_codec(read_as.codec), newline="") as file:
        reader = csv.reader(file, delimiter=read_as.separator, strict=True)
        try:
            for record in reader:
                if record and len(record) != expected:
                    return SourceError(
                        "RaggedLine",
                        f"{name}: line {started} has {len(record)} fields, expected {expected} as in line 1; "
                        "put fields that hold the separator in double quotes, or correct the line",
                    )
                started = reader.line_num + 1
        except csv.Error as error:
            return SourceError("Unreadable", f"{name}: from line {started} on: {error}; correct its double quotes")
    return None


def could_end_in_quotes(path: Path, table: pa.Table, *, codec: str) -> bool:
    """Whether a double quote could be open at the end: the file is cut there, or lines were swallowed.

    Quotes come in pairs, except for stray ones inside of unquoted text (`5" pipe`).
    """
    last = table.slice(max(0, table.num_rows - 1)).to_pylist()
    if any(isinstance(value, str) and ("\n" in value or "\r" in value) for row in last for value in row.values()):
        return True
    with path.open(encoding=_text_codec(codec), newline="") as file:
        return sum(block.count('"') for block in iter(lambda: file.read(1 << 20), "")) % 2 == 1


def merged(raw: pa.ChunkedArray, read: pa.ChunkedArray, *, column: str, name: str) -> SourceError | None:
    """Two texts of a column that became one value, such as 007 and 7; None where there are none."""
    raw = pc.utf8_trim_whitespace(raw)
    if len(raw.drop_null().unique()) == len(read.drop_null().unique()):
        return None
    pairs = pa.table({"raw": raw, "read": read}).group_by(["read"]).aggregate([("raw", "distinct")])
    texts = next((found for found in pairs["raw_distinct"].to_pylist() if len(found) > 1), None)
    if texts is None:
        return None
    listed = " and ".join(map(repr, sorted(texts)[:2]))
    return SourceError(
        "AmbiguousValues",
        f"{name}: column {column!r} says which rows belong together, and {listed} would be one value in it; write one "
        "value in one way, or, where they are different texts, keep the table as Parquet",
    )


def decimal_comma(table: pa.Table, *, name: str) -> SourceError | None:
    """A column of numbers with decimal commas, which would pass for text; None where there is none."""
    for field in table.schema:
        if not pa.types.is_string(field.type):
            continue
        values = table.column(field.name).drop_null()
        # The first value tells most columns of text apart, so that few are read whole.
        if not any(_all_match(values.slice(0, 1), form) and _all_match(values, form) for form in _COMMA_NUMBERS):
            continue
        commas = values.filter(pc.match_substring(values, ","))
        if len(commas):
            return SourceError(
                "DecimalComma",
                f"{name}: column {field.name!r} holds numbers with a comma, such as {commas[0].as_py()!r}; write them "
                "with a decimal point and without separators of thousands (1234.5), or, where they are text, keep the "
                "table as Parquet",
            )
    return None


def _all_match(values: pa.ChunkedArray, form: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, form)).as_py())


def _codec(path: Path, *, declared: CsvEncoding | None, name: str) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SourceError("Unreadable", f"{name}: {error.strerror or error}; check its permissions") from None
    mark, marked = next(((mark, word) for mark, word in _MARKS if head.startswith(mark)), (b"", None))
    if mark and marked is None:
        raise SourceError("NotUtf8", f"{name}: is UTF-32; save the file as UTF-8")
    if marked is not None and declared not in (None, marked):
        words = f"begins with the byte order mark of {marked}, declared is csv.encoding: {declared}; remove one of them"
        raise SourceError("WrongEncoding", f"{name}: {words}")
    if marked is not None:
        return CODECS[marked]
    if declared != "UTF16" and b"\0" not in head:
        return CODECS[declared or "UTF8"]
    if declared is None:
        words = "holds zero bytes; declare csv.encoding: UTF16 if that is what it is, or save the file as UTF-8"
        raise SourceError("NotUtf8", f"{name}: {words}")
    # Separators and most names are plain letters, whose high bytes are zero: each first byte of two, or each second.
    high_first, high_second = head[::2].count(0), head[1::2].count(0)
    if high_first == high_second:
        raise SourceError("WrongEncoding", f"{name}: isn't UTF-16; correct csv.encoding, or save the file as UTF-8")
    return "utf-16-be" if high_first > high_second else "utf-16-le"


def _text_codec(codec: str) -> str:
    return "utf-8-sig" if codec == "utf-8" else codec


def _sample(path: Path, *, codec: str, separator: str) -> list[list[str]]:
    with path.open(encoding=_text_codec(codec), newline="") as file:
        return list(_records(csv.reader(islice(file, 10 * SAMPLE_RECORDS), delimiter=separator)))


def _records(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The first records, up to one that can't be read: the whole file's reader says what is wrong with it."""
    try:
        yield from islice(reader, SAMPLE_RECORDS)
    except csv.Error:
        return


def _chosen(samples: dict[CsvSeparator, list[list[str]]], *, name: str) -> CsvSeparator:
    """The one sign that divides the header; where several do, the one that divides every line alike."""
    dividing = [word for word, records in samples.items() if records and len(records[0]) > 1]
    if len(dividing) > 1:
        even = [word for word in dividing if len({len(record) for record in samples[word] if record}) == 1]
        if len(even) != 1:
            raise SourceError(
                "AmbiguousSeparator",
                f"{name}: its first line could be divided by {' or '.join(dividing)}; declare csv.separator",
            )
        return even[0]
    return dividing[0] if dividing else "Comma"


def _unreadable(name: str, error: Exception) -> SourceError:
    return SourceError("Unreadable", f"{name}: can't be read as CSV: {error}")
