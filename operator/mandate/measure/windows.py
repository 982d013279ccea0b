"""Windows of production's length over the test rows: a month is compared with months, never with a year.

Windows by time are aligned and closed: they begin where periods are counted from, whatever rows there are, and only
those count that the test rows span from beginning to end. Windows by count are the first so many rows in order of time,
then the next; what is left over at the end is in none. What production scores is whole in one window: a unit or a query
is where its last row is. Rows of a cluster are where they happened, as they will be in production.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from mandate.api import spec
from mandate.api.catalogue import Metric
from mandate.evidence.schema import Estimate, Fault, Quantity, Support
from mandate.evidence.windows import MAX_WINDOWS, NormalRange, OverWindows, Windows

from . import uncertainty
from .history import Ticks, begins, past, periods
from .metrics import Point
from .table import MeasureError

MIN_ROWS = 30
"""Rows, units or queries of a window: of fewer a value is chance, and would be the distribution's lowest or highest."""
SHARE = 0.95
"""Of a normal range."""
MIN_WINDOWS = 5
"""Below this many values Student's quantile makes any range too wide to be of use."""
ORDERED = 39
"""From this many values on their lowest and highest hold the next one with probability SHARE: (39 - 1) / (39 + 1)."""
CALENDAR = {"Year": len("2013"), "Quarter": len("2013-07"), "Month": len("2013-07")}
"""Characters that name a window."""
RESOLUTIONS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1)
"""Microseconds: a time that is a date stands for its day, one that is a full hour for its hour."""

Rows = NDArray[np.intp]
Numbers = Mapping[str, Point | Fault]


@dataclass(frozen=True, kw_only=True)
class Windowed:
    """The windows' names and rows, both in order of time. `sizes`: rows, units or queries of each.

    `fault`: why there are none.
    """

    record: Windows
    rows: tuple[Rows, ...] = ()
    sizes: tuple[int, ...] = ()
    fault: Fault | None = None


def assign(
    table: pa.Table,
    test: Rows,
    *,
    declared: spec.Windows,
    time: str | None,
    queries: NDArray[np.intp] | None = None,
    rolled: bool = False,
) -> Windowed:
    """Which of the `test` rows of `table` are in which window; each window keeps their order.

    `queries` (n,): the query that a row belongs to; it goes with the query's last row. `rolled`: rows are units. What
    keeps windows from being had is their fault, as are times that are plain numbers.
    """
    cut = _by_count if declared.length is None else _by_time
    try:
        found = cut(table, test, declared, time, queries)
    except MeasureError as error:
        record = _record(declared, ordered="Time", left_out=len(test), why=str(error))
        found = Windowed(record=record, fault=Fault(code=error.code, message=str(error)[:1024]))
    of = "queries" if queries is not None else "units" if rolled else "rows"
    return replace(found, record=found.record.model_copy(update={"of": of}))


def _by_time(
    table: pa.Table, test: Rows, declared: spec.Windows, time: str | None, queries: NDArray[np.intp] | None
) -> Windowed:
    if time is None:
        raise MeasureError("NoTime", "data.windows.length needs task.time: the column that says when a row happened")
    length = declared.length or ""
    wall = past(table, time, zone=declared.time_zone, delay=None).wall
    if wall is None:
        raise MeasureError(
            "PlainTime", f"data.windows.length: column {time!r} holds plain numbers, not times; declare count instead"
        )
    own = wall[test]
    first, end = int(own.min()), int(own.max()) + _resolution(own)
    at = _of_queries(own, None if queries is None else queries[test])
    number = periods(at, length)[0]
    low, high = int(number.min()), int(number.max())
    low += begins(low, length) < first
    high -= begins(high + 1, length) > end
    count = high - low + 1
    if count < 1:
        words = f"the test rows span no whole window of {length}"
        record = _record(declared, ordered="Time", left_out=len(test), why=words)
        message = f"data.windows.length: {words}; declare a shorter one, or take test rows of a longer time"
        return Windowed(record=record, fault=Fault(code="NoWholeWindow", message=message))
    _not_too_many(count, "length")
    names = [_named(begins(place, length), length) for place in range(low, high + 1)]
    return _windowed(declared, names, test, number - low, queries, ordered="Time")


def _by_count(
    table: pa.Table, test: Rows, declared: spec.Windows, time: str | None, queries: NDArray[np.intp] | None
) -> Windowed:
    size = declared.count or 1
    own = np.sort(test) if queries is None else queries[test]
    # Of equal times, and without any, rows are in the order of their keys, which are as if drawn at random.
    instants = np.zeros(len(test), dtype=np.int64)
    if time is not None:
        given = past(table, time, zone=None, delay=None)
        instants = _of_queries(given.at[test], None if queries is None else own)
    if queries is None:
        rank = np.empty(len(test), dtype=np.intp)
        rank[np.lexsort((test, instants))] = np.arange(len(test))
    else:
        names, first, code = np.unique(own, return_index=True, return_inverse=True)
        order = np.empty(len(names), dtype=np.intp)
        order[np.lexsort((names, instants[first]))] = np.arange(len(names))
        rank = order[code]
    things = int(rank.max()) + 1
    count = things // size
    if count < 1:
        words = f"the test rows hold {things} of the {size} that a window has"
        record = _record(declared, ordered="Key" if time is None else "Time", left_out=len(test), why=words)
        message = f"data.windows.count: {words}; declare a smaller one, or take more test rows"
        return Windowed(record=record, fault=Fault(code="NoWholeWindow", message=message))
    _not_too_many(count, "count")
    numbered = [str(place + 1) for place in range(count)]
    ordered: str = "Key" if time is None else "Time"
    return _windowed(declared, numbered, test, rank // size, queries, ordered=ordered)


def _windowed(
    declared: spec.Windows,
    names: Sequence[str],
    test: Rows,
    code: NDArray[np.integer],
    queries: NDArray[np.intp] | None,
    *,
    ordered: str,
) -> Windowed:
    found = tuple(test[code == place] for place in range(len(names)))
    sizes = tuple(len(rows) if queries is None else len(np.unique(queries[rows])) for rows in found)
    counts = tuple(map(len, found))
    record = _record(declared, ordered=ordered, left_out=len(test) - sum(counts), names=tuple(names), rows=counts)
    return Windowed(record=record, rows=found, sizes=sizes)


def measure(
    windowed: Windowed,
    metrics: Sequence[Metric],
    *,
    numbers: Callable[[Rows], Numbers],
    codes: Callable[[Rows], uncertainty.Clusters | None],
) -> tuple[list[Estimate], Windows]:
    """Every metric in every window, with an interval of its own, and how each varies over them.

    `numbers` measures the model on rows, `codes` are their clusters. A window of too few rows has a fault, and is no
    part of the spread.
    """
    estimates: list[Estimate] = []
    values: dict[str, list[tuple[str, float]]] = {metric.name: [] for metric in metrics}
    if windowed.fault is not None:
        left_out = windowed.record.left_out
        estimates = [_faulty(metric.name, spec.EACH, windowed.fault, rows=left_out) for metric in metrics]
    for name, rows, size in zip(windowed.record.names, windowed.rows, windowed.sizes, strict=True):
        found: Numbers
        if size < MIN_ROWS:
            fault = Fault(
                code="NoRows" if not size else "TooFewRows",
                message=f"{size} {windowed.record.of}, at least {MIN_ROWS} are needed",
            )
            found = {metric.name: fault for metric in metrics}
        else:
            found = numbers(rows)
        own = codes(rows)
        for metric in metrics:
            point = found[metric.name]
            if isinstance(point, Fault):
                estimates.append(_faulty(metric.name, name, point, rows=len(rows)))
                continue
            values[metric.name].append((name, point.value))
            estimates.append(
                Estimate(
                    quantity=Quantity(metric=metric.name, window=name),
                    estimate=point.value,
                    interval=uncertainty.alone(point, own),
                    support=uncertainty.support(point, own),
                )
            )
    told = tuple(over(metric, values[metric.name]) for metric in metrics if values[metric.name])
    return estimates, windowed.record.model_copy(update={"metrics": told})


def over(metric: Metric, found: Sequence[tuple[str, float]]) -> OverWindows:
    """One metric's values by window, one at least."""
    values = np.array([value for _, value in found])
    lower, median, upper = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    normal = normal_range(values, low=metric.low, high=metric.high)
    return OverWindows(
        metric=metric.name,
        measured=len(values),
        median=median,
        lower_quartile=lower,
        upper_quartile=upper,
        lowest=float(values.min()),
        highest=float(values.max()),
        worst=_worst(metric, found),
        normal=normal if isinstance(normal, NormalRange) else None,
        unknown=None if isinstance(normal, NormalRange) else normal,
    )


def normal_range(values: NDArray[np.float64], *, low: float, high: float) -> NormalRange | str:
    """Where a further value is to be expected; why that can't be said, in words. `low`, `high` bound all values.

    Values strictly between 0 and 1, where no others are possible, are normal by their logits; positive ones without an
    upper bound by their logarithms; others as they are, and the range ends at the bounds.
    """
    count = len(values)
    if count >= ORDERED:
        rank = math.floor((count + 1) * (1 - SHARE) / 2)
        ordered = np.sort(values)
        share = (count + 1 - 2 * rank) / (count + 1)
        return NormalRange(low=ordered[rank - 1], high=ordered[-rank], share=share, how="OrderStatistics")
    if count < MIN_WINDOWS:
        return f"{count} windows with a value, {MIN_WINDOWS} at least are needed"
    if values.min() == values.max():
        return f"it is the same in all {count} windows"
    least, most = float(values.min()), float(values.max())
    if (low, high) == (0.0, 1.0) and low < least and most < high:
        start, end = _student(special.logit(values))
        return NormalRange(low=special.expit(start), high=special.expit(end), share=SHARE, how="StudentT", link="Logit")
    if (low, high) == (0.0, math.inf) and least > 0:
        start, end = np.exp(_student(np.log(values)))
        if math.isfinite(end):
            return NormalRange(low=start, high=end, share=SHARE, how="StudentT", link="Log")
    start, end = _student(values)
    return NormalRange(low=max(start, low), high=min(end, high), share=SHARE, how="StudentT", link="Identity")


def _student(values: NDArray[np.float64]) -> tuple[float, float]:
    """The prediction interval of one further value of a normal sample."""
    count = len(values)
    quantile = float(special.stdtrit(count - 1, (1 + SHARE) / 2))
    away = quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
    middle = float(np.mean(values))
    return middle - away, middle + away


def _worst(metric: Metric, found: Sequence[tuple[str, float]]) -> str | None:
    if metric.better == "Nearest" and metric.ideal is None:
        return None
    ideal = metric.ideal or 0.0
    badness: Mapping[str, Callable[[float], float]] = {
        "Higher": lambda value: -value,
        "Lower": lambda value: value,
        "Nearest": lambda value: abs(value - ideal),
    }
    return max(found, key=lambda pair: badness[metric.better](pair[1]))[0]


def _of_queries(at: Ticks, queries: NDArray[np.intp] | None) -> Ticks:
    """(n,) Each row's time, or that of its query's last row."""
    if queries is None:
        return at
    code = np.unique(queries, return_inverse=True)[1]
    last = np.full(int(code.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(last, code, at)
    return np.asarray(last[code], dtype=np.int64)


def _resolution(at: Ticks) -> int:
    """How long a time stands for: the longest of day, hour, minute and second that all are whole multiples of."""
    return next(step for step in RESOLUTIONS if not (at % step).any())


def _named(instant: int, length: str) -> str:
    """When a window begins on a clock on the wall: a year or month, else a date, with the time if it isn't midnight."""
    text = str(np.datetime64(instant, "us").astype("datetime64[s]"))
    return text[: CALENDAR.get(length)].removesuffix("T00:00:00")


def _not_too_many(count: int, field: str) -> None:
    if count > MAX_WINDOWS:
        raise MeasureError(
            "TooManyWindows",
            f"data.windows.{field}: the test rows hold {count} windows, at most {MAX_WINDOWS} are measured one by one; "
            "declare longer ones",
        )


def _record(
    declared: spec.Windows,
    *,
    ordered: str,
    left_out: int,
    names: tuple[str, ...] = (),
    rows: tuple[int, ...] = (),
    why: str | None = None,
) -> Windows:
    return Windows(
        length=declared.length,
        count=declared.count,
        ordered="Time" if ordered == "Time" else "Key",
        names=names,
        rows=rows,
        left_out=left_out,
        why=None if why is None else why[:512],
    )


def _faulty(metric: str, window: str, fault: Fault, *, rows: int) -> Estimate:
    return Estimate(quantity=Quantity(metric=metric, window=window), support=Support(rows=rows, events=0), fault=fault)
