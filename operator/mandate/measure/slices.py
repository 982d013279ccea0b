"""Rows by the value of a declared column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec

from .table import MISSING, MeasureError, is_numeric, numbers, text_codes

MAX_VALUES = 100
"""More values than this in one slice are no slices but rows."""


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """`code` (n,) indexes `values`; `values` is empty where the column has more than MAX_VALUES."""

    name: str
    sensitive: bool
    values: tuple[str, ...]
    code: NDArray[np.intp]
    found: int


def assign(table: pa.Table, declared: spec.Slice) -> Sliced:
    """Each row's slice value: ranges [low, high) between declared edges, else the column's own values.

    Missing is a value of its own. Raises SliceNotNumeric, EdgesNotRising, MissingColumn.
    """
    if declared.edges:
        values, code = _ranges(table, declared)
    else:
        names, code = text_codes(table, declared.column)
        values = tuple(name if len(name) <= 256 else name[:255] + "…" for name in names)
    kept = values if len(values) <= MAX_VALUES else ()
    return Sliced(name=declared.name, sensitive=declared.sensitive, values=kept, code=code, found=len(values))


def _ranges(table: pa.Table, declared: spec.Slice) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    if not is_numeric(table, declared.column):
        raise MeasureError(
            "SliceNotNumeric", f"data.slices {declared.name!r}: column {declared.column!r} isn't numeric; remove edges"
        )
    edges = np.array([float(edge) for edge in declared.edges])
    if np.any(np.diff(edges) <= 0):
        raise MeasureError(
            "EdgesNotRising", f"data.slices {declared.name!r}: edges {', '.join(declared.edges)} must rise strictly"
        )
    inner = [f"{low}-{high}" for low, high in zip(declared.edges, declared.edges[1:], strict=False)]
    names = (f"<{declared.edges[0]}", *inner, f">={declared.edges[-1]}")
    found = numbers(table, declared.column)
    code = np.searchsorted(edges, found, side="right").astype(np.intp)
    missing = np.isnan(found)
    code[missing] = len(names)
    return (*names, MISSING) if missing.any() else names, code
