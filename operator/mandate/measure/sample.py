"""Which rows are looked at where something is fitted, so that a table of any size takes the same time and memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .split import PARTS, Keys, Split

FITTED_ROWS = 1 << 20
"""Rows of each part at most."""
BLOCK = 1 << 20
"""Rows whose keys are mixed at a time."""
_APART = np.uint64(0x6D616E64617465)
"""Sets the draw apart from whatever else is drawn by keys: the split, the sketch of its rows."""


def fitted_rows(split: Split, *, limit: int = FITTED_ROWS) -> NDArray[np.intp]:
    """The rows' places in the order of their keys: all of them, or where a part has more than `limit`, a sample.

    The sample is of each part the rows whose keys' hashes are smallest: whatever the rows' order, the same ones; a row
    more never moves more than one out. Rows of equal keys are in it together, or not at all.
    """
    if not sampled(split, limit=limit):
        return np.argsort(split.keys, kind="stable")
    kept = np.zeros(len(split.keys), dtype=np.bool_)
    hashed = np.empty_like(split.keys)
    for start in range(0, len(hashed), BLOCK):
        hashed[start : start + BLOCK] = mix(split.keys[start : start + BLOCK] ^ _APART)
    for part in PARTS:
        rows = np.flatnonzero(split.rows(part))
        if len(rows) > limit:
            of = hashed[rows]
            rows = rows[of < np.partition(of, limit)[limit]]
        kept[rows] = True
    places = np.flatnonzero(kept)  # a few are sorted sooner than all
    return np.asarray(places[np.argsort(split.keys[places], kind="stable")], dtype=np.intp)


def sampled(split: Split, *, limit: int = FITTED_ROWS) -> list[str]:
    """What evidence says of the sample, where there is one."""
    counts = {part: count for part, count in split.counts().items() if part != "none" and count > limit}
    if not counts:
        return []
    found = " and ".join(f"{count} {part}" for part, count in counts.items())
    return [f"columns that give the label away: looked for on {limit} of {found} rows, drawn by their keys"]


def mix(x: Keys) -> Keys:
    """splitmix64's finaliser (Steele, Lea & Flood 2014): every bit of the input moves every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
