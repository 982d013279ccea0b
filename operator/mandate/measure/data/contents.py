"""What rows hold, as 64 bits each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..sample import mix
from ..shelf import HELD, Shelf
from ..split import Keys
from ..table import column, short_codes

BLOCK = 1 << 20
"""Rows of a column that are looked at as a whole, where that changes nothing."""


def contents(table: pa.Table, names: Sequence[str], *, shelf: Shelf = HELD) -> Keys:
    """64 bits for each row's values in `names`: equal for equal values, else different but for chance.

    Not a digest against someone who looks for collisions; `split.row_keys` is.
    """
    mixed = shelf.empty(table.num_rows, np.uint64)
    mixed[:] = 0
    for name in names:
        kind = table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        plain = pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not pa.types.is_uint64(kind))
        texts_ = None if plain else short_codes(table, name)
        for start in range(0, table.num_rows, BLOCK):
            some = slice(start, start + BLOCK)
            if texts_ is None:
                own = _bits(column(pa.table({name: table.column(name).slice(start, BLOCK)}), name))
            else:
                _, rank, place = texts_
                own = rank[place[some]].astype(np.uint64)
            mixed[some] = mix(mixed[some] * np.uint64(0x9E3779B97F4A7C15) ^ own)
    return mixed


def _bits(values: pa.Array) -> Keys:
    """Numbers (n,) as 64 bits, equal for equal ones; missing and NaN are alike."""
    if pa.types.is_floating(values.type):
        plain = pc.fill_null(values, math.nan).cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0
        return np.asarray(np.where(np.isnan(plain), np.nan, plain).view(np.uint64))
    whole = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False).view(np.uint64)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    return np.asarray(whole ^ np.where(missing, np.uint64(0x5BD1E995), np.uint64(0)))
