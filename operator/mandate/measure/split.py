"""Which rows train, which validate, which test: declared, seeded, reproducible by anyone with the same rows.

`Random` and `Group` put a row where the keyed hash of its key (or of its cluster) falls between 0 and 1, so the
result depends neither on the rows' order nor on any library's random numbers, and a row keeps its part when the table
grows; the shares are met on average. Equal rows have equal keys and so stay together. `Time` sorts by time; rows of
the boundary's own instant all go to the later part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mandate.api import spec
from mandate.api.criteria import seconds
from mandate.evidence.canonical import canonical

from .overlap import overlap
from .shelf import HELD, Shelf
from .table import MeasureError, column, texts
from .work import SERIAL, Threads, Workers

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
NONE = -1
"""Rows in no part: those in the gap or beyond the declared shares."""
SKETCH_SIZE = 256
BLOCK = 1 << 16
"""Rows that are texts at a time."""

Keys = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Split:
    """`part` (n,) holds indices into PARTS or NONE; `keys` (n,) the rows' identities; `digest` names the outcome."""

    part: NDArray[np.int8]
    keys: Keys
    digest: str

    def rows(self, part: Part) -> NDArray[np.bool_]:
        """Mask of the rows of one part."""
        mask: NDArray[np.bool_] = self.part == PARTS.index(part)
        return mask

    def take(self, rows: NDArray[np.intp]) -> Split:
        """The same split with its rows in another order."""
        return Split(part=self.part[rows], keys=self.keys[rows], digest=self.digest)

    def kept(self, shelf: Shelf) -> Split:
        """The same split, where `shelf` keeps what is of every row."""
        return replace(self, keys=shelf.keep(self.keys))

    def counts(self) -> dict[str, int]:
        """Rows per part, and `none` for the rest."""
        return {part: int(self.rows(part).sum()) for part in PARTS} | {"none": int((self.part == NONE).sum())}

    def shared(self, one: Part, other: Part, *, workers: Workers = SERIAL) -> int:
        """Rows of `other` whose key also occurs in `one`."""
        if (one, other) not in self._shared:
            found = overlap(self.keys[self.rows(one)], self.keys[self.rows(other)], workers=workers)
            self._shared[one, other] = found.shared
        return self._shared[one, other]

    def repeated(self, part: Part, *, workers: Workers = SERIAL) -> int:
        """Rows of `part` whose key also occurs in a part before it: a model has learnt them, or its cut-off was chosen
        on them. A row that occurs in two such parts counts once."""
        place = PARTS.index(part)
        before = [one for one in PARTS[:place] if (self.part == PARTS.index(one)).any()]
        if len(before) <= 1:
            return self.shared(before[0], part, workers=workers) if before else 0
        earlier = (self.part != NONE) & (self.part < place)
        return overlap(self.keys[earlier], self.keys[self.rows(part)], workers=workers).shared

    @cached_property
    def _shared(self) -> dict[tuple[Part, Part], int]:
        return {}

    def sketch(self, part: Part) -> tuple[str, ...]:
        """The smallest distinct keys of a part as 16 hex digits (bottom-k sketch, Broder 1997)."""
        keys, size = self.keys[self.rows(part)], SKETCH_SIZE
        while True:  # a few are sorted sooner than all; keys that occur often may need more of them
            some = keys if size >= len(keys) else np.partition(keys, size)[:size]
            if len(smallest := np.unique(some)) >= SKETCH_SIZE or size >= len(keys):
                return tuple(f"{key:016x}" for key in smallest[:SKETCH_SIZE])
            size *= 4


def row_keys(table: pa.Table, *, target: str, identity: str | None) -> Keys:
    """64-bit keys that say which row is which.

    With `identity`, from its value, the target's value and both columns' names (ids 1, 2, 3 of unrelated tables must
    not look alike); an id that is missing or occurs twice is refused. Without it, from the content of all columns.
    """
    if identity is None:
        names = sorted(table.column_names)
    else:
        names = [identity, target]
        values = column(table, identity)
        ids = texts(values, name=identity)
        if ids.null_count:
            raise MeasureError("MissingId", f"task.id: column {identity!r} is missing on {ids.null_count} rows")
        if not _all_different(values) and len(repeated := _repeated(ids)):
            raise MeasureError(
                "DuplicateId",
                f"task.id: column {identity!r} must name each row once; {len(repeated)} values occur more often, "
                f"such as {repeated[0].as_py()!r}. Name another column, or none to know rows by their content",
            )
    return _hash([(name, column(table, name)) for name in names], key=canonical(names))


def _all_different(values: pa.Array) -> bool:
    """Whether these are whole numbers, none of them twice: their texts then differ too, and none need be compared."""
    if not pa.types.is_integer(values.type):
        return False
    ordered = np.sort(values.to_numpy())
    return bool((ordered[1:] != ordered[:-1]).all())


def _repeated(ids: pa.Array) -> pa.Array:
    """The texts that occur more than once, as they come first."""
    # Counted are only those that look alike by 64 bits: a table of all texts takes many times their own memory.
    marks = np.empty(len(ids), dtype=np.int64)
    for start in range(0, len(ids), BLOCK):
        marks[start : start + BLOCK] = list(map(hash, ids.slice(start, BLOCK).to_pylist()))
    ordered = np.sort(marks)
    alike = ordered[1:][ordered[1:] == ordered[:-1]]
    counts = pc.value_counts(ids.filter(pa.array(np.isin(marks, alike))))
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1))


def _hash(columns: Sequence[tuple[str, pa.Array]], *, key: bytes) -> Keys:
    """BLAKE2b of each row's texts, 8 bytes; every value carries its length, so no two rows are written alike."""
    salted = hashlib.blake2b(digest_size=8, key=hashlib.blake2b(key).digest())
    length = len(columns[0][1])
    found = np.empty(length, dtype=np.uint64)

    def written(start: int) -> pa.Array:
        parts: list[Any] = []
        for name, values in columns:
            block = texts(values.slice(start, BLOCK), name=name)
            parts += [pc.fill_null(pc.binary_length(block).cast(pa.string()), "-"), pc.fill_null(block, "")]
        return pc.binary_join_element_wise(*parts, "\x1f").cast(pa.binary())

    starts = range(0, length, BLOCK)
    # The next block is written by another thread, which leaves the interpreter to the digests of this one.
    for start, rows in zip(starts, Threads(1).map(written, starts), strict=True):
        digests = bytearray()
        for row in rows.to_pylist():
            hasher = salted.copy()
            hasher.update(row)
            digests += hasher.digest()
        found[start : start + BLOCK] = np.frombuffer(digests, dtype=">u8")
    return found


def divide(table: pa.Table, *, how: spec.Split, task: spec.Task) -> Split:
    """Execute a declared split of one table."""
    if table.num_rows == 0:
        raise MeasureError("NoRows", "data.source: the table has no rows")
    keys = row_keys(table, target=task.target, identity=task.id)
    shares = [float(how.train), float(how.validation), float(how.test)]
    match how.method:
        case "Time":
            part = _by_time(table, how=how, shares=shares, time=task.time)
        case "Random":
            seeded = _hash([("key", pa.array(keys))], key=f"Random {how.seed}".encode())
            part = _by_hash(seeded, shares)
        case "Group":
            if task.cluster is None:
                raise MeasureError("NoCluster", "data.split.method Group needs task.cluster")
            seeded = _hash([(task.cluster, column(table, task.cluster))], key=f"Group {how.seed}".encode())
            part = _by_hash(seeded, shares)
    return _checked(part, keys)


def join(tables: Mapping[Part, pa.Table], *, task: spec.Task, shelf: Shelf = HELD) -> tuple[pa.Table, Split]:
    """Parts that were given one by one, as one table with its split; only columns that all parts have are kept.

    `shelf` is where the rows' keys lie.
    """
    given = [part for part in PARTS if part in tables]
    names = [name for name in tables["test"].column_names if all(name in tables[part].column_names for part in given)]
    try:
        table = pa.concat_tables([tables[part].select(names) for part in given], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise MeasureError("DifferentTypes", f"data: train, validation and test don't fit together: {error}") from None
    part = np.repeat(
        np.array([PARTS.index(part) for part in given], dtype=np.int8), [tables[part].num_rows for part in given]
    )
    keys = np.concatenate(
        [row_keys(tables[part].select(names), target=task.target, identity=task.id) for part in given]
    )
    return table, _checked(part, keys).kept(shelf)


def _checked(part: NDArray[np.int8], keys: Keys) -> Split:
    if not (part == PARTS.index("test")).any():
        raise MeasureError(
            "NoTestRows", "data: the split leaves no test rows; enlarge the test share, or shorten the gap"
        )
    hasher = hashlib.sha256()
    for index, name in enumerate(PARTS):
        chosen = np.sort(keys[part == index])
        hasher.update(f"{name} {len(chosen)}\n".encode() + chosen.astype(">u8").tobytes())
    return Split(part=part, keys=keys, digest="sha256:" + hasher.hexdigest())


def _by_hash(hashes: Keys, shares: list[float]) -> NDArray[np.int8]:
    place = np.searchsorted(np.cumsum(shares), hashes / 2.0**64, side="right")
    return np.where(place < len(shares), place, NONE).astype(np.int8)


def _by_time(table: pa.Table, *, how: spec.Split, shares: list[float], time: str | None) -> NDArray[np.int8]:
    if time is None:
        raise MeasureError("NoTime", "data.split.method Time needs task.time")
    at, scale = instants(table, time)
    gap = 0.0 if how.gap is None else seconds(how.gap) * scale
    if how.gap is not None and not scale:
        raise MeasureError("GapWithoutTime", f"data.split.gap: column {time!r} holds plain numbers, not times")
    ordered = np.sort(at)
    part = np.full(len(at), NONE, dtype=np.int8)
    start = 0.0
    for index, share in enumerate(shares):
        begin, end = round(start * len(ordered)), round((start + share) * len(ordered))
        start += share
        if begin >= end:
            continue
        after = at >= ordered[begin] + (gap if begin else 0)
        before = at < ordered[end] if end < len(ordered) else np.ones(len(at), dtype=np.bool_)
        part[after & before] = index
    return part


def instants(table: pa.Table, name: str) -> tuple[NDArray[Any], float]:
    """Times as int64 microseconds (1e6 a second) or plain numbers (0 a second, since none is known)."""
    values = moments(table, name)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        try:
            return values.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(), 1e6
        except pa.ArrowInvalid:
            raise MeasureError("NotTime", f"task.time: column {name!r} holds times beyond the year 290 000") from None
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64()).to_numpy(), 0.0
    raise MeasureError("NotTime", f"task.time: column {name!r} holds {values.type}, expected times or whole numbers")


def moments(table: pa.Table, name: str) -> pa.Array:
    """Times as the column holds them, texts parsed: with a time zone (UTC) where they are written with an offset.

    Nanoseconds are cut to microseconds: what happened within one is taken to have happened at once.
    """
    values = column(table, name)
    if values.null_count:
        raise MeasureError("MissingTime", f"task.time: column {name!r} is missing on {values.null_count} rows")
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _parsed(values, name)
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        return values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return values


def _parsed(values: pa.Array, name: str) -> pa.Array:
    """Times from ISO 8601: all with an offset from UTC, or all without, as the first one is written."""
    zone = "UTC" if any(_is_time(values[0], pa.timestamp(unit, "UTC")) for unit in ("us", "ns")) else None
    kinds = [pa.timestamp(unit, zone) for unit in ("us", "ns")]
    for kind in kinds:
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            pass
    strange = (value for value in values if not any(_is_time(value, kind) for kind in kinds))
    culprit = next(strange, None) or next(value for value in values if not _is_time(value, kinds[0]))
    expected = "ISO 8601 with an offset from UTC, as the first one" if zone else "ISO 8601 such as 2024-01-31T08:00:00"
    raise MeasureError("NotTime", f"task.time: column {name!r} holds {culprit.as_py()[:64]!r}, expected {expected}")


def _is_time(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
