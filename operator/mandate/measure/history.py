"""What was last seen: the value before, the one a season before, the mean of the last period, all by series.

These look back from each row: to the rows before it in time, whatever their part, whose values were known by then.
Days, weeks and months are those of a clock on the wall, so that 8 o'clock stays 8 o'clock when summer time begins.
Where rows have weights, means are weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mandate.api.criteria import seconds

from .metrics import Floats
from .metrics.point import weighed
from .split import instants, moments
from .table import MeasureError, text_codes

Ticks = NDArray[np.int64]
SECOND = 1_000_000
"""Microseconds."""
_MONTHS = {"Month": 1, "Quarter": 3, "Year": 12}
_EQUAL = {"Hour": "1h", "Day": "1d", "Week": "7d"}
_MONDAY = -3 * 86_400 * SECOND
"""1970-01-01 was a Thursday; weeks begin on Mondays."""
_LAST = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, kw_only=True)
class Past:
    """Rows in time. `at` (n,): instants, microseconds or plain numbers; `wall` (n,): what a clock on the wall shows.

    `known` (n,): from which instant on the row's value is known. `asked` (n,): the instant at which the row's own
    answer is due, and only what is known by then counts: its time, or a forecast's origin.
    """

    at: Ticks
    wall: Ticks | None
    known: Ticks
    asked: Ticks

    def take(self, rows: NDArray[np.intp]) -> Past:
        """The times of `rows`."""
        at = self.at[rows]
        wall = None if self.wall is None else self.wall[rows]
        known, asked = (at if times is self.at else times[rows] for times in (self.known, self.asked))
        return Past(at=at, wall=wall, known=known, asked=asked)


def past(table: pa.Table, time: str, *, zone: str | None, delay: str | None, origin: Ticks | None = None) -> Past:
    """The rows' times. `zone` is an IANA name for times with an offset from UTC; without it, the column's own, or UTC.

    `origin` (n,): when each row's forecast was made, in the units of the column; without it, at the row's time.

    Raises MissingTime, NotTime, UnknownTimeZone, TimeWithoutZone, DelayWithoutTime.
    """
    at, scale = instants(table, time)
    known = at
    if delay is not None and seconds(delay):
        if not scale:
            raise MeasureError("DelayWithoutTime", f"task.time: column {time!r} holds plain numbers; leave delay out")
        # No later than the last instant that there is: beyond it the sum would begin anew, long ago.
        known = at + np.minimum(_microseconds(delay), _LAST - np.maximum(at, 0))
    wall = _wall(table, time, zone=zone) if scale else None
    return Past(at=at, wall=wall, known=known, asked=at if origin is None else origin)


def _microseconds(duration: str) -> int:
    return min(round(seconds(duration) * SECOND), _LAST)


def _wall(table: pa.Table, time: str, *, zone: str | None) -> Ticks:
    values = moments(table, time)
    own = getattr(values.type, "tz", None)
    if own is None:
        if zone is not None:
            message = f"column {time!r} holds times without an offset from UTC, taken as they are; leave timeZone out"
            raise MeasureError("TimeWithoutZone", message)
        local = values
    else:
        try:
            local = pc.local_timestamp(values.cast(pa.timestamp("us", zone or own)))
        except pa.ArrowInvalid:
            message = f"timeZone: {zone or own!r} isn't known, expected an IANA name such as Europe/Berlin"
            raise MeasureError("UnknownTimeZone", message) from None
    result: Ticks = local.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return result


def series(table: pa.Table, by: Sequence[str]) -> NDArray[np.intp]:
    """Each row's series: 0 … by the values of the columns; a missing value is one of its own."""
    code = np.zeros(table.num_rows, dtype=np.intp)
    for name in by:
        names, found = text_codes(table, name)
        code = np.unique(code * len(names) + found, return_inverse=True)[1]
    return code


def periods(wall: Ticks, period: str) -> tuple[Ticks, Ticks]:
    """Each row's period by number, and its place within: two rows a period apart have the same place.

    `period` is Hour, Day, Week, Month, Quarter, Year, or a duration such as 90m, counted from 1970-01-01 00:00.
    """
    if period in _MONTHS:
        times = wall.view("datetime64[us]")
        months = times.astype("datetime64[M]")
        number = months.astype(np.int64)
        count = _MONTHS[period]
        within = (times - months.astype("datetime64[us]")).astype(np.int64)
        return number // count, number % count * (32 * 86_400 * SECOND) + within
    length = _microseconds(_EQUAL.get(period, period))
    since = wall - (_MONDAY if period == "Week" else 0)
    return since // length, since % length


def begins(number: int, period: str) -> int:
    """When the period of that number begins, in microseconds on the clock on the wall."""
    if period in _MONTHS:
        return int(np.datetime64(number * _MONTHS[period], "M").astype("datetime64[us]").astype(np.int64))
    return number * _microseconds(_EQUAL.get(period, period)) + (_MONDAY if period == "Week" else 0)


def previous(actual: Floats, code: NDArray[np.intp], given: Past, weight: Floats | None = None) -> Floats:
    """The value before in the same series, of several at one instant their mean; NaN where there is none."""
    return _look_back(actual, code, given.at, given, weight)


def seasonal(
    actual: Floats, code: NDArray[np.intp], given: Past, weight: Floats | None = None, *, season: str
) -> Floats:
    """The value at the same place of the last season that has one (Hyndman & Athanasopoulos 2021, 5.2)."""
    number, place = periods(_clock(given), season)
    both = np.unique(place, return_inverse=True)[1]
    return _look_back(actual, code * (int(both.max(initial=0)) + 1) + both, number, given, weight)


def last_period(
    actual: Floats, code: NDArray[np.intp], given: Past, weight: Floats | None = None, *, period: str
) -> Floats:
    """The series' mean over the last earlier period in which it has rows."""
    return _look_back(actual, code, periods(_clock(given), period)[0], given, weight)


def _clock(given: Past) -> Ticks:
    if given.wall is None:
        raise MeasureError("PeriodWithoutTime", "task.time holds plain numbers, and periods are of time; use times")
    return given.wall


def _look_back(actual: Floats, code: NDArray[np.intp], slot: Ticks, given: Past, weight: Floats | None) -> Floats:
    """Per row the mean of the latest earlier slot of its series whose values are all known by then.

    `weight` (n,), above 0.
    """
    order = np.lexsort((slot, code))
    ordered, slots = code[order], slot[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (ordered[1:] != ordered[:-1]) | (slots[1:] != slots[:-1])
    first = np.flatnonzero(begins)
    mass = np.diff([*first, len(order)]) if weight is None else np.add.reduceat(weight[order], first)
    means = np.add.reduceat(weighed(actual, weight)[order], first) / mass
    own = np.empty(len(order), dtype=np.intp)
    own[order] = np.cumsum(begins) - 1
    place = own - 1
    if slot is not given.known or given.asked is not given.at:
        # Also without a delay: when clocks go back, an earlier time on the wall may be a later instant.
        known = np.maximum.reduceat(given.known[order], first)
        # Places in one line of time, so that series and time make one number that rises.
        line = np.unique(np.concatenate([known, given.asked]), return_inverse=True)[1]
        length = len(line) + 1
        marks = np.maximum.accumulate(ordered[first] * length + line[: len(first)])
        place = np.minimum(place, np.searchsorted(marks, code * length + line[len(first) :], side="right") - 1)
    found = (place >= 0) & (ordered[first][place] == code)
    return np.where(found, means[place], np.nan)
