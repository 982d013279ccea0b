"""Rows by the value of a declared slice: a column's values, ranges of its numbers, or pairs of two slices' values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.evidence.schema import Fault, FoundEdges
from mandate.evidence.slices import CROSS, MISSING, range_names

from .table import MeasureError, is_numeric, known_codes, numbers
from .work import SERIAL, Workers

MAX_VALUES = 100
"""More values than this in one slice are no slices but rows."""
MAX_NAME = 256
"""Characters of a value's name; of a longer one, the start and 12 hex digits of its SHA-256."""
FEW_EDGES = 20
"""With so few it is faster to compare with each than to search among them."""
LARGEST = 1e300
"""Edges beyond this aren't rounded: their differences, or what they are rounded to, may be infinite."""

Codes = NDArray[np.signedinteger]


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """`code` (n,) indexes `values`, whose names differ.

    `values` is empty, and `fault` says why, where there are more than MAX_VALUES or no edges could be found. `found`
    counts them in any case. `edges` are those that quantiles gave.
    """

    name: str
    sensitive: bool
    values: tuple[str, ...]
    code: Codes
    found: int
    fault: Fault | None = None
    edges: FoundEdges | None = None
    personal: bool = False
    """Whether its values are a personal column's, which aren't told."""


def assign_all(
    table: pa.Table,
    declared: Sequence[spec.Slice],
    *,
    train: NDArray[np.bool_],
    withhold: Callable[[spec.Slice, Sliced], Sliced] | None = None,
    workers: Workers = SERIAL,
) -> tuple[Sliced, ...]:
    """Each row's value of every slice, in the order in which they were declared; `train` (n,) marks training rows.

    Missing is a value of its own. `withhold` renames the values of personal columns, before they are crossed. `workers`
    take a column each.

    Raises SliceNotNumeric, EdgesNotRising, MissingColumn, UnknownSlice.
    """
    of_columns = [item for item in declared if item.cross is None]
    coded = workers.here.map(lambda item: _by_column(table, item, train=train), of_columns)
    plain = {item.name: found for item, found in zip(of_columns, coded, strict=True)}
    if withhold is not None:
        plain = {item.name: withhold(item, plain[item.name]) for item in declared if item.cross is None}
    for item in declared:
        for name in item.cross or ():
            if name not in plain:
                raise MeasureError(
                    "UnknownSlice", f"data.slices {item.name!r}: cross names {name!r}, no slice of its own"
                )
    return tuple(
        _narrow(plain[item.name] if item.cross is None else _crossed(item, plain[item.cross[0]], plain[item.cross[1]]))
        for item in declared
    )


def _narrow(sliced: Sliced) -> Sliced:
    """Codes of all slices are there as long as anything is measured, so of as few bytes as hold them."""
    kind = np.int16 if sliced.found < np.iinfo(np.int16).max else np.int32
    return replace(sliced, code=sliced.code.astype(kind))


def value_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of values by their texts, short, and none of them like another's or like MISSING.

    Texts differ but for those of a cross, whose pairs may read alike.

    A long text, or one that reads like a name already given, gets a digest of itself at its end.
    """
    names: list[str] = []
    taken = {MISSING}
    for text in texts:
        name, again = text, 0
        while len(name) > MAX_NAME or name in taken:
            salted = text if not again else f"{text}\x1f{again}"
            name, again = f"{text[: MAX_NAME - 13]}…{hashlib.sha256(salted.encode()).hexdigest()[:12]}", again + 1
        names.append(name)
        taken.add(name)
    return tuple(names)


def quantile_edges(values: NDArray[np.float64], ranges: int) -> tuple[float, ...]:
    """Rising edges that cut finite `values` into `ranges` of about equally many; ties make them fewer.

    The k-th edge is the value with k n // ranges values before it in their order, unless nothing lies below it. Rounded
    down to a tenth of the narrowest range's order of magnitude: an edge is seldom the value of one row.
    """
    finite = values[np.isfinite(values)]
    finite.sort()
    if not len(finite):
        return ()
    places = [k * len(finite) // ranges for k in range(1, ranges)]
    least = float(finite[0])
    edges = [float(edge) for edge in np.unique(finite[places]) if edge > least]
    if not edges:
        return ()
    if max(abs(least), abs(edges[0]), abs(edges[-1])) > LARGEST:
        return tuple(edges)
    gap = float(np.min(np.diff([least, *edges])))
    digits = 1 - math.floor(math.log10(gap))
    return tuple(edge for edge in (_rounded(edge, digits) for edge in edges) if edge > least)


def _rounded(edge: float, digits: int) -> float:
    """Down, never up: many rows may share an edge's value, and they belong above it."""
    near = round(edge, digits)
    return near if near <= edge else round(near - 10.0**-digits, digits)


def edge_text(edge: float) -> str:
    """An edge as short as it can be without being another number."""
    return f"{edge:.0f}" if edge.is_integer() and abs(edge) < 1e15 else repr(edge)


def ranges(values: NDArray[np.float64], edges: Sequence[float], names: Sequence[str]) -> tuple[tuple[str, ...], Codes]:
    """Names and codes of numbers by range; missing ones last."""
    if len(edges) <= FEW_EDGES:
        counted = np.zeros(len(values), dtype=np.int8)
        for edge in edges:
            counted += values >= edge
        code = counted.astype(np.intp)
    else:
        code = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right").astype(np.intp)
    missing = np.isnan(values)
    code[missing] = len(names)
    return ((*names, MISSING) if missing.any() else tuple(names)), code


def _by_column(table: pa.Table, declared: spec.Slice, *, train: NDArray[np.bool_]) -> Sliced:
    column = declared.column or ""
    if declared.edges or declared.quantiles is not None:
        if not is_numeric(table, column) and not pa.types.is_null(table.schema.field(column).type):
            raise MeasureError(
                "SliceNotNumeric",
                f"data.slices {declared.name!r}: column {column!r} isn't numeric; remove edges and quantiles",
            )
        return _by_range(declared, numbers(table, column), train=train)
    texts, code = known_codes(table, column, narrow=True)
    return _sliced(declared, texts, code, missing=bool((code == len(texts)).any()))


def _by_range(declared: spec.Slice, values: NDArray[np.float64], *, train: NDArray[np.bool_]) -> Sliced:
    found = None
    if declared.quantiles is None:
        texts: Sequence[str] = declared.edges
        edges: Sequence[float] = [float(edge) for edge in declared.edges]
        if np.any(np.diff(edges) <= 0):
            raise MeasureError(
                "EdgesNotRising", f"data.slices {declared.name!r}: edges {', '.join(declared.edges)} must rise strictly"
            )
    else:
        known = int(np.count_nonzero(np.isfinite(values[train])))
        if not known:
            message = f"slice {declared.name!r}: quantiles need training rows with a number; declare edges instead"
            return Sliced(
                name=declared.name,
                sensitive=declared.sensitive,
                values=(),
                code=np.zeros(len(values), dtype=np.intp),
                found=0,
                fault=Fault(code="NoTrainingRows", message=message),
            )
        edges = quantile_edges(values[train], declared.quantiles)
        texts = [edge_text(edge) for edge in edges]
        found = FoundEdges(slice=declared.name, edges=tuple(edges), values=range_names(texts), rows=known)
    names, code = ranges(values, edges, range_names(texts))
    return Sliced(
        name=declared.name, sensitive=declared.sensitive, values=names, code=code, found=len(names), edges=found
    )


def _crossed(declared: spec.Slice, first: Sliced, second: Sliced) -> Sliced:
    """Pairs of values that occur, in the order of the two slices' values."""
    personal = first.personal or second.personal
    hindered = next((side for side in (first, second) if side.fault is not None and not side.found), None)
    if hindered is not None:
        return Sliced(
            name=declared.name,
            sensitive=declared.sensitive,
            values=(),
            code=np.zeros(len(first.code), dtype=np.intp),
            found=0,
            fault=hindered.fault,
            personal=personal,
        )
    pairs, code = np.unique(first.code.astype(np.intp) * second.found + second.code, return_inverse=True)
    if len(pairs) > MAX_VALUES:
        return replace(_sliced(declared, range(len(pairs)), code), personal=personal)
    texts = [f"{first.values[pair // second.found]}{CROSS}{second.values[pair % second.found]}" for pair in pairs]
    return replace(_sliced(declared, texts, code.astype(np.intp)), personal=personal)


def _sliced(declared: spec.Slice, texts: Sequence[str] | range, code: Codes, *, missing: bool = False) -> Sliced:
    """Values by their texts, and MISSING after them; too many are counted and not named."""
    found = len(texts) + missing
    fault = None
    names: tuple[str, ...] = ()
    if found > MAX_VALUES:
        message = (
            f"slice {declared.name!r} has {found} values, at most {MAX_VALUES} are measured one by one; "
            "declare edges or quantiles of a number, or a column with coarser groups"
        )
        fault = Fault(code="TooManyValues", message=message)
    else:
        names = value_names(map(str, texts)) + ((MISSING,) if missing else ())
    return Sliced(name=declared.name, sensitive=declared.sensitive, values=names, code=code, found=found, fault=fault)
