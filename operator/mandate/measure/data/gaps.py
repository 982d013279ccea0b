"""A stretch of time without rows where there usually are some: a batch that is missing in the middle of a table.

Rows are counted by hour, day, week, month and quarter. What a period usually has is the median of the same hour of the
day or week, or the same day of the week, in the nine cycles nearest to it; so nights, weekends and growth are usual.
The two longest stretches of empty cycles are held out of it, or a long gap would make itself usual.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mandate.evidence.data import Finding

from ..split import instants
from ..table import MeasureError

CHANCE = 1e-5
"""How likely as long a gap may be anywhere in the table by one way of counting, where rows come by chance."""
USUAL = 3
"""Of the empty stretches the one that is so many from the longest is usual: what happens so often isn't an accident."""
FAR = 3.0
"""How many times as long as that a gap must be."""
NEAREST = 9
"""Cycles whose median is usual."""
MAY_LACK = 2
"""Of those the ones that may have no row, the gap itself among them: else rows are none that usually come."""
BLOCKS = 8
"""Sums at least by which it is seen how rows vary."""
HELD_OUT = 2
"""Stretches of empty cycles, which are so many as may be gaps."""
LEAST_USUAL = 4
"""Rows that a period usually has at least: of fewer a median says little, and longer periods more."""
WEEKS = 28 * 24
"""Hours that a table must span where weekends aren't told apart: then there are three, and so they are usual."""
MOST_HOURS = 1 << 20
"""Hours (120 years) beyond which times are taken for no times."""
HOUR = 3_600_000_000
"""Microseconds."""
BESIDE = 0.25
"""For each row that is missing, those that lie before the gap at least, and after it: else the table begins there."""
STRAYS = 1000
"""One row of so many may lie before all others, and after them: times that were mistyped."""
BLOCK = 1 << 20
"""Rows that are counted at a time."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """`start` is the first empty period, `end` the first after it that isn't; both in hours since 1970. `expected`: how
    many rows there usually are in `periods` such ones."""

    start: int
    end: int
    expected: float
    periods: int

    def overlaps(self, other: Gap) -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, kw_only=True)
class _Scale:
    """`counts` (n,) of rows by period, `edges` (n + 1,) the hours at which periods begin and the last one ends."""

    counts: Counts
    edges: NDArray[np.int64]
    cycle: int = 1
    """Periods of a cycle."""
    least: int = 1
    """Periods of a gap that usually have rows: an hour may be missing where clocks go forward."""
    most: float = math.inf
    """Periods of a gap: of longer ones whole days are told."""


def time_gaps(table: pa.Table, parts: Mapping[str, NDArray[np.bool_] | None], *, time: str) -> tuple[Finding, ...]:
    """Code TimeGap: where rows are missing in the middle of each of `parts`, masks by name; None is the whole table.

    There are none where `time` can't be read, or holds plain numbers: nobody knows which of those follow each other.
    """
    try:
        at, scale = instants(table, time)
    except MeasureError:
        return ()
    if not scale:
        return ()
    found: list[Finding] = []
    for name, rows in parts.items():
        own = at if rows is None else at[rows]
        found += (_finding(gap, name, time, rows=len(own)) for gap in gaps(own))
    return tuple(found)


def gaps(at: NDArray[np.int64]) -> list[Gap]:
    """The gaps in times (n,), in microseconds since 1970, the earliest first. Their order says nothing."""
    found: list[Gap] = []
    for scale in _scales(at):
        found += [gap for gap in _found(scale) if not any(gap.overlaps(other) for other in found)]
    return sorted(found, key=lambda gap: gap.start)


def _scales(at: NDArray[np.int64]) -> Iterator[_Scale]:
    """From hours to quarters, those that the table is long enough for."""
    if not len(at):
        return
    strays = len(at) // STRAYS
    begin, last = (int(np.partition(at, place)[place]) // HOUR for place in (strays, len(at) - 1 - strays))
    first = begin // 24 * 24
    if last - first >= MOST_HOURS:
        return
    hours = np.zeros((last - first) // 24 * 24 + 24, dtype=np.int64)
    for start in range(0, len(at), BLOCK):
        places = at[start : start + BLOCK] // HOUR - first
        hours += np.bincount(places[(places >= 0) & (places <= last - first)], minlength=len(hours))
    long = last - first >= WEEKS
    edges = np.arange(first, first + len(hours) + 1)
    end = last + 1 - first
    by_hour = _Scale(counts=hours[:end], edges=edges[: end + 1], cycle=24, least=3, most=48)
    if long:
        yield by_hour
    yield _Scale(counts=by_hour.counts, edges=by_hour.edges, cycle=168, least=3, most=48)
    days = hours.reshape(-1, 24).sum(axis=1)
    by_day = _Scale(counts=days, edges=edges[::24], cycle=7)
    yield by_day
    if long:
        yield _Scale(counts=days, edges=by_day.edges)
    day = np.arange(len(days)) + first // 24
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    for period in ((day + 3) // 7, months, months // 3):  # 1970 began on a Thursday
        starts = np.flatnonzero(np.diff(period, prepend=period[0] - 1))
        yield _Scale(counts=np.add.reduceat(days, starts), edges=np.append(by_day.edges[starts], by_day.edges[-1]))


def _found(scale: _Scale) -> Iterator[Gap]:
    usual = _usual(scale.counts, scale.cycle)
    active = usual > 0
    if not active.any():
        return
    runs = _runs(scale.counts == 0, active)
    lengths = [int(np.count_nonzero(active[a:b])) for a, b in runs]
    several = len(runs) >= USUAL
    least = max(scale.least, FAR * sorted(lengths, reverse=True)[USUAL - 1] if several else 0)
    periods = int(np.count_nonzero(active))
    before = np.cumsum(scale.counts)
    for (start, end), length in zip(runs, lengths, strict=True):
        expected = float(usual[start:end].sum())
        beside = min(before[start], before[-1] - before[start])
        if length < least or end - start > scale.most or beside < BESIDE * expected:
            continue
        spread = _dispersion(scale.counts[active], usual[active], length)
        # Negative binomial of this mean and `spread` times Poisson's variance; Poisson in the limit.
        log_p = -expected if spread <= 1 else -expected * math.log(spread) / (spread - 1)
        if several:  # as though each period were empty as often as the others are, whatever it usually has
            log_p = max(log_p, length * math.log((sum(lengths) - length) / (periods - length)))
        if log_p + math.log(periods) <= math.log(CHANCE):
            yield Gap(start=int(scale.edges[start]), end=int(scale.edges[end]), expected=expected, periods=length)


def _usual(counts: Counts, cycle: int) -> NDArray[np.float64]:
    """What each period usually has (n,): the median of its place in the nearest cycles.

    0 where there are too few of them, where more than MAY_LACK have none, or where it is below LEAST_USUAL.
    """
    nothing = np.zeros(len(counts))
    missing = -len(counts) % cycle
    whole = len(counts) // cycle
    if whole < NEAREST:
        return nothing
    by_cycle = np.append(counts, counts[len(counts) - cycle : len(counts) - cycle + missing]).reshape(-1, cycle)
    empty = np.asarray(~by_cycle.any(axis=1))
    stretches = sorted(_runs(empty, empty), key=lambda run: run[0] - run[1])[:HELD_OUT]
    kept = np.ones(len(by_cycle), dtype=np.bool_)
    for start, end in stretches:
        kept[start:end] = False
    places = np.flatnonzero(kept)
    if len(places) < NEAREST:
        return nothing
    near = np.sort(sliding_window_view(by_cycle[places], NEAREST, axis=0), axis=-1)
    medians = near[..., NEAREST // 2] * ((near[..., MAY_LACK] > 0) & (near[..., NEAREST // 2] >= LEAST_USUAL))
    at = np.searchsorted(places, np.arange(len(by_cycle)))
    chosen = np.clip(at - NEAREST // 2, 0, len(medians) - 1)
    return np.asarray(medians[chosen].reshape(-1)[: len(counts)], dtype=np.float64)


def _runs(empty: NDArray[np.bool_], active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of empty periods from the first to the last of them that is active; such as have none are empty."""
    edges = np.flatnonzero(np.diff(empty.astype(np.int8), prepend=0, append=0))
    found = []
    for start, end in edges.reshape(-1, 2).tolist():
        inside = np.flatnonzero(active[start:end])
        if len(inside):
            found.append((start + int(inside[0]), start + int(inside[-1]) + 1))
    return found


def _dispersion(counts: Counts, usual: NDArray[np.float64], length: int) -> float:
    """How much more the rows of `length` periods in a row vary than Poisson's, 1 at least.

    Busy days and quiet ones come in rows, so sums are compared, not periods; of a long gap those of fewer periods, so
    that there are BLOCKS. Gaps count, too: they make it greater, never less.
    """
    length = max(min(length, len(counts) // BLOCKS), 1)
    blocks = len(counts) // length
    seen, expected = (
        values[: blocks * length].reshape(blocks, length).sum(axis=1) for values in (counts.astype(np.float64), usual)
    )
    return max(float(np.mean((seen - expected) ** 2 / expected)), 1.0)


def _finding(gap: Gap, part: str, time: str, *, rows: int) -> Finding:
    start, end = (_written(hour) for hour in (gap.start, gap.end))
    return Finding(
        code="TimeGap",
        part=part,
        column=time,
        numbers={"rows": rows, "expected": gap.expected, "from": gap.start * 3600.0, "to": gap.end * 3600.0},
        effect=gap.expected / (rows + gap.expected),
        message=f"no row of {part} is from {start} to before {end} by {time!r}; as many as before and after would be "
        f"about {gap.expected:,.0f} rows",
        advice="Look for a batch that is late, lost or filtered out there, and load it. Where nothing happened then, "
        "say so to whoever reads the numbers: what is measured doesn't know that time.",
    )


def _written(hour: int) -> str:
    text = str(np.datetime64(hour, "h"))
    return text.removesuffix("T00") if text.endswith("T00") else text + ":00"
