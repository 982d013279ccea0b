"""Rows of one part that are equal to each other: alike, since there are few different ones, or copied.

Copies make a part look larger than it is, so that intervals are narrower than what was seen deserves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.evidence.data import Finding

from ..overlap import Repeats, repeats
from ..sample import mix
from ..shelf import HELD, Shelf
from ..split import PARTS, Keys, Part, Split, instants
from ..table import MeasureError
from ..work import SERIAL, Workers
from .contents import contents

MANY = 0.05
"""Share of a part's rows that go if one of each is kept: from here on it is asked whether they are copies."""
LEAST_GROUPS = 20
"""Different rows that occur again at least: fewer show no rule."""
TOLD_APART = 0.5
"""Share of them that one column must tell apart on its own: amounts do, ages and categories don't."""
AGREE = 0.99
"""Share of rows alike in their inputs that must have one label: copies do, people who are alike don't."""


def repeated_rows(
    table: pa.Table,
    split: Split,
    content: Keys,
    *,
    features: Sequence[str],
    time: str | None = None,
    workers: Workers = SERIAL,
    shelf: Shelf = HELD,
) -> tuple[Finding, ...]:
    """Codes RepeatedRows and CopiedRows: rows of a part with the same inputs, label and, where there is one, time.

    `content` (n,) are `contents` of `features` and the label. Rows of few different values are alike without being
    copies, so RepeatedRows is a note. CopiedRows: at least MANY of the rows go if one of each is kept, and nothing but
    copying explains it: one column (or the time) tells most of them apart, yet those alike in their inputs have one
    label, too.
    """
    if not features:
        return ()
    found = []
    inputs: Keys | None = None
    at = _at(table, time)
    for part in PARTS:
        rows = split.rows(part)
        keys = _keys(content, at, rows)
        again = repeats(keys, workers=workers)
        if not again.surplus:
            continue
        copied = again.surplus >= MANY * len(keys) and again.groups >= LEAST_GROUPS
        if copied:
            inputs = contents(table, features, shelf=shelf) if inputs is None else inputs
            alike = repeats(_keys(inputs, at, rows), workers=workers)
            copied = _agree(again, alike) and _told_apart(table, rows, keys, at, features, again.groups)
        found.append(_finding(part, len(keys), again, copied=copied, timed=at is not None))
    return tuple(found)


def _at(table: pa.Table, time: str | None) -> Keys | None:
    """Every row's time as bits; None where there is none that can be read."""
    if time is None:
        return None
    try:
        return np.asarray(instants(table, time)[0].astype(np.int64).view(np.uint64))
    except MeasureError:
        return None


def _keys(content: Keys, at: Keys | None, rows: NDArray[np.bool_]) -> Keys:
    return content[rows] if at is None else mix(content[rows] * np.uint64(0x9E3779B97F4A7C15) ^ at[rows])


def _agree(again: Repeats, alike: Repeats) -> bool:
    """Whether rows alike in their inputs are alike in their label: as many groups, of as many rows."""
    return again.rows >= AGREE * alike.rows and again.groups * AGREE <= alike.groups


def _told_apart(
    table: pa.Table, rows: NDArray[np.bool_], keys: Keys, at: Keys | None, features: Sequence[str], groups: int
) -> bool:
    """Whether one column, or the time, has different values on most of the groups."""
    different, counts = np.unique(keys, return_counts=True)
    members = np.isin(keys, different[counts > 1])
    return any(len(np.unique(values[members])) >= TOLD_APART * groups for values in _values(table, rows, at, features))


def _values(table: pa.Table, rows: NDArray[np.bool_], at: Keys | None, features: Sequence[str]) -> Iterator[Keys]:
    """One column after the other, so that no more than one is in memory."""
    if at is not None:
        yield at[rows]
    for name in features:
        yield contents(table, [name])[rows]


def _finding(part: Part, rows: int, again: Repeats, *, copied: bool, timed: bool) -> Finding:
    same = "inputs, label and time" if timed else "inputs and label"
    return Finding(
        code="CopiedRows" if copied else "RepeatedRows",
        part=part,
        numbers={"rows": rows, "repeated": again.rows, "different": again.groups, "surplus": again.surplus},
        effect=again.surplus / rows,
        message=f"{again.rows:,} of {rows:,} rows of {part} have the same {same} as others of it; {again.groups:,} of "
        "them are different",
        advice="Look for a batch that was loaded twice, a join that multiplies rows, or rows that were drawn more than "
        "once; keep one of each: copies make intervals narrower than what was seen deserves."
        if copied
        else "Rows of few different values are alike without being copies. Where they are copies, keep one of each, "
        "or name what they have in common in task.cluster, so that they count once.",
    )
