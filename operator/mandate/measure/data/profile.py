"""A table's profile: what is kept of each column in one pass, in bounded memory, and merged from parts.

Whatever the batches and their order, the profile has the same bytes. It is computed once for a reference and reused:
two profiles give the distances between their tables without the rows.

A profile holds values: numbers, and texts cut to TEXT_LENGTH characters. It is as private as the data.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mandate.evidence.canonical import canonical

from ..split import instants
from ..table import MeasureError, texts
from ..work import SERIAL, Workers
from . import grid as grids
from .grid import Floats, Grid

VERSION = 1
STORED = 1024
"""Cells of a number column in a profile that is to be stored: at most 32 KiB of text a column."""
MAX_CATEGORIES = 10_000
"""Different texts up to which they are counted one by one; beyond, by their hash in HASHED cells."""
HASHED = 1024
TEXT_LENGTH = 128
NAME_LENGTH = 128
"""Characters of a column's name, as in a spec."""
BLOCK_ROWS = 1 << 18
"""Rows that are gathered from small batches before they are profiled at once."""

Kind = Literal["Empty", "Number", "Category", "Time"]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """How often each text occurs; or, where there are too many different ones, each cell of their hashes."""

    named: Mapping[str, int] = field(default_factory=dict)
    hashed: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(self.hashed) if self.hashed else sum(self.named.values())

    def cells(self) -> tuple[int, ...]:
        """Counts by hash, HASHED of them."""
        if self.hashed:
            return self.hashed
        found = [0] * HASHED
        for name, count in self.named.items():
            found[_cell(name)] += count
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: `rows`, how many are `missing` (NaN among them), and by its kind `numbers`, `texts` or `period`.

    `types` are the Arrow types it was seen with, `infinite` counts -inf and inf, `period` is the first and last time
    in microseconds since 1970 (UTC, or as written where no zone is).
    """

    kind: Kind
    types: tuple[str, ...]
    rows: int
    missing: int
    numbers: Grid | None = None
    infinite: tuple[int, int] = (0, 0)
    texts: Texts | None = None
    period: tuple[int, int] | None = None

    @property
    def present(self) -> int:
        """Rows that aren't missing."""
        return self.rows - self.missing

    @property
    def constant(self) -> bool:
        """Whether all values that aren't missing are one and the same."""
        match self.kind:
            case "Number":
                assert self.numbers is not None
                found = len(self.numbers.count) + sum(count > 0 for count in self.infinite)
                same = self.numbers.exact or bool(np.all(self.numbers.low == self.numbers.high))
                return found == 1 and same
            case "Category":
                assert self.texts is not None
                return len(self.texts.named) == 1
            case "Time":
                return self.period is not None and self.period[0] == self.period[1]
            case _:
                return False


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A table's columns by name, in the table's order. `limit`: cells up to which a number column is exact."""

    rows: int
    limit: int
    columns: Mapping[str, Column]

    def merge(self, other: Profile) -> Profile:
        """The profile of both tables' rows. Raises DifferentColumns, DifferentTypes, DifferentLimits."""
        if self.limit != other.limit:
            raise MeasureError(
                "DifferentLimits", f"profiles of {self.limit} and {other.limit} cells: coarsen one first"
            )
        unlike = sorted(set(self.columns) ^ set(other.columns))
        if unlike:
            raise MeasureError(
                "DifferentColumns", f"column {unlike[0]!r} is in one part of the table only; parts have equal columns"
            )
        merged = {name: merge_columns(name, one, other.columns[name], self.limit) for name, one in self.columns.items()}
        return Profile(rows=self.rows + other.rows, limit=self.limit, columns=merged)

    def coarsen(self, limit: int = STORED) -> Profile:
        """The same table's profile with at most `limit` cells a number column, as if it had been made so."""
        if limit > self.limit:
            raise MeasureError("DifferentLimits", f"a profile of {self.limit} cells can't be made one of {limit}")
        columns = {
            name: replace(column, numbers=grids.coarsen(column.numbers, limit=limit)) if column.numbers else column
            for name, column in self.columns.items()
        }
        return Profile(rows=self.rows, limit=limit, columns=columns)


def profile(
    batches: Iterable[pa.RecordBatch | pa.Table],
    *,
    categories: Collection[str] = (),
    times: Collection[str] = (),
    limit: int = grids.LIMIT,
    workers: Workers = SERIAL,
) -> Profile:
    """The profile of all batches' rows, in one pass.

    Columns in `categories` are counted as texts whatever their type, those in `times` are read as times (ISO 8601
    where they are texts). `workers` take a column each; the result doesn't depend on them. Raises
    MeasureError: NoRows where there is no batch, those of `Profile.merge`, NotText, NotTime, NestedColumn, LongName.
    """
    if limit < 2:
        raise MeasureError("BadLimit", f"limit is {limit}, must be at least 2")
    whole: Profile | None = None
    for table in _blocks(batches):
        part = _profiled(table, categories=categories, times=times, limit=limit, workers=workers.here)
        whole = part if whole is None else whole.merge(part)
    if whole is None:
        raise MeasureError("NoRows", "there are no batches to profile")
    return whole


def _profiled(
    table: pa.Table, *, categories: Collection[str], times: Collection[str], limit: int, workers: Workers
) -> Profile:
    def column(name: str) -> Column:
        return profile_column(table.column(name), name, categories=categories, times=times, limit=limit)

    found = workers.map(column, table.column_names)
    return Profile(rows=table.num_rows, limit=limit, columns=dict(zip(table.column_names, found, strict=True)))


def _blocks(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterable[pa.Table]:
    gathered: list[pa.Table] = []
    for batch in batches:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        if gathered and table.schema != gathered[0].schema:
            yield pa.concat_tables(gathered)
            gathered = []
        gathered.append(table)
        if sum(each.num_rows for each in gathered) >= BLOCK_ROWS:
            yield pa.concat_tables(gathered)
            gathered = []
    if gathered:
        yield pa.concat_tables(gathered)


def profile_column(
    chunks: pa.ChunkedArray,
    name: str,
    *,
    categories: Collection[str] = (),
    times: Collection[str] = (),
    limit: int = grids.LIMIT,
) -> Column:
    """The profile of one column, as of a table's; raises NotText, NotTime, NestedColumn, LongName."""
    if len(name) > NAME_LENGTH:
        raise MeasureError(
            "LongName", f"column {name[:NAME_LENGTH]!r}…: its name is longer than {NAME_LENGTH}; rename it"
        )
    kind, rows = chunks.type, len(chunks)
    types = (str(kind),)
    if pa.types.is_dictionary(kind):
        types = (str(kind.value_type),)
    if pa.types.is_nested(kind):
        raise MeasureError("NestedColumn", f"column {name!r} holds {kind}, expected plain values")
    if pa.types.is_null(kind) or chunks.null_count == rows:
        return Column(kind="Empty", types=types, rows=rows, missing=rows)
    if name in times or pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _time(chunks, name, types)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric and name not in categories:
        return _numbers(chunks, types, limit)
    return _texts(chunks, name, types)


def _numbers(chunks: pa.ChunkedArray, types: tuple[str, ...], limit: int) -> Column:
    rows = len(chunks)
    values = chunks.drop_null() if chunks.null_count else chunks
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    found: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    infinite = (0, 0)
    if pa.types.is_floating(chunks.type):
        finite = np.isfinite(found)
        if not finite.all():
            infinite = (int(np.count_nonzero(found == -np.inf)), int(np.count_nonzero(found == np.inf)))
            found = found[finite]
    missing = rows - len(found) - sum(infinite)
    if missing == rows:
        return Column(kind="Empty", types=types, rows=rows, missing=rows)
    numbers = grids.grid(found, limit=limit)
    return Column(kind="Number", types=types, rows=rows, missing=missing, numbers=numbers, infinite=infinite)


def _texts(chunks: pa.ChunkedArray, name: str, types: tuple[str, ...]) -> Column:
    values = chunks.cast(chunks.type.value_type) if pa.types.is_dictionary(chunks.type) else chunks
    counted = pc.value_counts(values)
    counts, missing = Counter[str](), 0
    every = zip(texts(counted.field("values"), name=name).to_pylist(), counted.field("counts").to_pylist(), strict=True)
    for text, count in every:
        if text is None:
            missing += count
        else:
            counts[text if len(text) <= TEXT_LENGTH else _cut(text)] += count
    if missing == len(chunks):
        return Column(kind="Empty", types=types, rows=len(chunks), missing=missing)
    return Column(kind="Category", types=types, rows=len(chunks), missing=missing, texts=_bounded(counts))


def _cut(text: str) -> str:
    """A long text's beginning and its hash: short, and still told apart."""
    mark = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{text[: TEXT_LENGTH - len(mark) - 1]}…{mark}"


def _bounded(counts: Mapping[str, int]) -> Texts:
    if len(counts) <= MAX_CATEGORIES:
        return Texts(named=dict(sorted(counts.items())))
    return Texts(hashed=Texts(named=counts).cells())


def _cell(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % HASHED


def _time(chunks: pa.ChunkedArray, name: str, types: tuple[str, ...]) -> Column:
    rows = len(chunks)
    found, scale = instants(pa.table({name: chunks.drop_null()}), name)
    if not scale:
        raise MeasureError("NotTime", f"column {name!r} holds plain numbers, expected times")
    period = (int(found.min()), int(found.max()))
    return Column(kind="Time", types=types, rows=rows, missing=rows - len(found), period=period)


def merge_columns(name: str, one: Column, other: Column, limit: int) -> Column:
    """The profile of both columns' rows, in at most `limit` cells. Raises DifferentTypes."""
    types = tuple(sorted({*one.types, *other.types}))
    rows, missing = one.rows + other.rows, one.missing + other.missing
    if "Empty" in (one.kind, other.kind):
        kept = other if one.kind == "Empty" else one
        return replace(kept, types=types, rows=rows, missing=missing)
    if one.kind != other.kind:
        raise MeasureError(
            "DifferentTypes",
            f"column {name!r} holds {' and '.join(one.types)} in one part and {' and '.join(other.types)} in another; "
            "write it with one type, or count it as texts",
        )
    merged = Column(kind=one.kind, types=types, rows=rows, missing=missing)
    match one.kind:
        case "Number":
            assert one.numbers is not None
            assert other.numbers is not None
            infinite = (one.infinite[0] + other.infinite[0], one.infinite[1] + other.infinite[1])
            return replace(merged, numbers=grids.merge(one.numbers, other.numbers, limit=limit), infinite=infinite)
        case "Time":
            assert one.period is not None
            assert other.period is not None
            starts, ends = zip(one.period, other.period, strict=True)
            return replace(merged, period=(min(starts), max(ends)))
        case _:
            assert one.texts is not None
            assert other.texts is not None
            return replace(merged, texts=_merge_texts(one.texts, other.texts))


def _merge_texts(one: Texts, other: Texts) -> Texts:
    if one.hashed or other.hashed:
        return Texts(hashed=tuple(a + b for a, b in zip(one.cells(), other.cells(), strict=True)))
    return _bounded(Counter(one.named) + Counter(other.named))


def dumps(profile: Profile) -> bytes:
    """Canonical JSON; the values of numbers as base64 of big-endian floats, so that nothing is rounded."""
    columns = {name: _dumped(column) for name, column in profile.columns.items()}
    return canonical({"version": VERSION, "rows": profile.rows, "limit": profile.limit, "columns": columns})


def _dumped(column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": column.kind, "types": list(column.types)}
    document |= {"rows": column.rows, "missing": column.missing}
    if column.numbers is not None:
        cells = column.numbers
        document |= {"infinite": list(column.infinite), "shift": cells.shift, "count": cells.count.tolist()}
        document["low"] = _packed(cells.low)
        if not cells.exact:
            document["high"] = _packed(cells.high)
    if column.texts is not None:
        document |= (
            {"hashed": list(column.texts.hashed)} if column.texts.hashed else {"named": dict(column.texts.named)}
        )
    if column.period is not None:
        document["period"] = list(column.period)
    return document


def loads(data: bytes) -> Profile:
    """What `dumps` wrote. Raises MeasureError BadProfile for anything else."""
    try:
        document = json.loads(data)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}, expected {VERSION}")
        columns = {name: _loaded(column) for name, column in document["columns"].items()}
        found = Profile(rows=document["rows"], limit=document["limit"], columns=columns)
        for name, column in columns.items():
            _check(column, found, name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise MeasureError("BadProfile", f"not a profile: {reason}; make it anew from the table") from None
    return found


def _loaded(document: Mapping[str, Any]) -> Column:
    numbers, found = None, None
    if document["kind"] == "Number":
        low = _unpacked(document["low"])
        high = _unpacked(document["high"]) if document["shift"] else low
        numbers = Grid(shift=document["shift"], low=low, high=high, count=np.array(document["count"], dtype=np.int64))
    if document["kind"] == "Category":
        found = Texts(named=document.get("named", {}), hashed=tuple(document.get("hashed", ())))
    start, end = document.get("period", (0, 0))
    below, above = document.get("infinite", (0, 0))
    return Column(
        kind=document["kind"],
        types=tuple(document["types"]),
        rows=document["rows"],
        missing=document["missing"],
        numbers=numbers,
        infinite=(below, above),
        texts=found,
        period=(start, end) if document["kind"] == "Time" else None,
    )


def _check(column: Column, whole: Profile, name: str) -> None:
    """Counts add up and cells rise, so that whatever is computed from them is sound."""
    if column.kind not in get_args(Kind):
        raise ValueError(f"column {name!r} is of kind {column.kind!r}, expected one of {', '.join(get_args(Kind))}")
    counts = [column.missing, *column.infinite]
    if column.numbers is not None:
        cells = column.numbers
        if not 0 <= cells.shift < 64 or not len(cells.low) == len(cells.high) == len(cells.count) <= whole.limit:
            raise ValueError(f"column {name!r} has a grid of impossible size")
        edges = np.column_stack([cells.low, cells.high]).ravel()
        if not np.isfinite(edges).all() or (np.diff(cells.low) <= 0).any() or (np.diff(edges) < 0).any():
            raise ValueError(f"column {name!r} has cells that don't rise")
        counts += cells.count.tolist()
    if column.texts is not None:
        if len(column.texts.named) > MAX_CATEGORIES or len(column.texts.hashed) not in (0, HASHED):
            raise ValueError(f"column {name!r} has too many categories")
        counts += [*column.texts.named.values(), *column.texts.hashed]
    if not all(type(count) is int and count >= 0 for count in [*counts, column.rows]):
        raise ValueError(f"column {name!r} has a count that isn't a whole number of rows")
    if column.rows != whole.rows or (column.kind != "Time" and sum(counts) != column.rows):
        raise ValueError(f"column {name!r} has counts that don't add up to {whole.rows} rows")


def _packed(values: Floats) -> str:
    return base64.b64encode(values.astype(">f8").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=">f8").astype(np.float64)
