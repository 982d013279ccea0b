"""What a Forecast's rows are besides answer and truth: of which series, how many steps ahead, in which units.

A step is a time at which a series has a row, in order of time; so a season and a horizon are counted by rows, and
days of 23 or 25 hours are steps like others. Rows for one time at several horizons are one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec

from .metrics import Floats, Sample
from .metrics.point import tally
from .split import NONE, Split, instants
from .table import MeasureError, column, known_codes, numbers
from .uncertainty import MIN_CLUSTERS, MIN_EFFECTIVE_CLUSTERS

MAX_HORIZONS = 100
"""Horizons that are measured one by one."""
FARTHEST = 100_000
"""Steps ahead."""
MIN_DIFFERENCES = 5
"""From the value a season before, that a series' scale is the mean of: fewer measure chance."""
FLAT = 1e-9
"""A scale below this share of the series' largest value is rounding."""
OVERLAPS = 4
"""Blocks of time are one step, and this many times as long as forecasts overlap: with fewer, limits are wrong too often
(docs/decisions/0041)."""
UNEVEN = 1.5
"""Times the usual time between steps: from here on a step is missing. Days of 25 hours and months of 31 days aren't."""
MICROSECONDS_PER_DAY = 86_400e6
NEVER = int(np.iinfo(np.int64).min)
"""The origin of a forecast from before the series' first step."""

Rows = NDArray[np.intp]
Ticks = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """`scale` and `days` (n,) as of Sample; `horizon` (n,) in steps, None where none is declared.

    `horizons`: how many rows of the parts have each, rising. `origin` (n,): the time of the series' step that many
    steps before the row's, NEVER where there is none. `clusters` (n,): the series, or blocks of time where there are
    too few; None for rows that are alone at their time. `blocks` (n,): those blocks, also where each is one row; None
    where series, or a declared column, are the clusters.
    """

    scale: Floats | None
    days: Floats | None
    horizon: Ticks | None
    horizons: Mapping[int, int]
    origin: Ticks
    clusters: Rows | None
    blocks: Rows | None
    findings: tuple[str, ...]

    def beside(self, sample: Sample, rows: Rows) -> Sample:
        """The sample of `rows` with what metrics of forecasts read."""
        scale, days = (None if found is None else found[rows] for found in (self.scale, self.days))
        return replace(sample, scale=scale, days=days, block=None if self.blocks is None else self.blocks[rows])


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """Distinct times of each series, series by series and rising: `series` and `at` (k,), `row` (k,) one row of each.

    `place` (n,): each row's step, -1 where it isn't there.
    """

    series: Rows
    at: Ticks
    row: Rows
    place: Rows

    def before(self, steps: NDArray[np.integer] | int) -> Rows:
        """(k,) The step that many steps before each of the same series; -1 where there is none."""
        back = np.arange(len(self.series)) - steps
        same = (back >= 0) & (self.series[np.maximum(back, 0)] == self.series)
        return np.where(same, back, -1)


def forecasts(
    table: pa.Table, split: Split, actual: Floats, *, task: spec.Task, weights: Floats | None
) -> Forecasts | None:
    """What there is to know of a Forecast's rows; None for other tasks.

    Raises NoTime, UnitOfForecast, MissingTime, NotTime, MissingSeries, BadHorizon, RepeatedForecast, DifferentTruths.
    """
    if task.type != "Forecast":
        return None
    if task.time is None:
        raise MeasureError("NoTime", "task.time: a Forecast needs the column that says which time a forecast is for")
    if task.unit is not None:
        raise MeasureError("UnitOfForecast", "task.unit: a forecast is of a series at a time; leave it out")
    at, per_second = instants(table, task.time)
    series, names = _series(table, task)
    horizon = None if task.horizon is None else _horizon(table, task.horizon)
    ahead = np.ones(len(at), dtype=np.int64) if horizon is None else horizon
    # Rows that count for nothing aren't there; those in a gap are, since their values became known.
    there = np.flatnonzero(weights > 0) if weights is not None else np.arange(len(at))
    judged = there[split.part[there] != NONE]
    _once(judged, series, at, ahead, table=table, task=task)
    steps = _steps(there, series, at)
    _one_truth(judged, steps, actual, table=table, task=task)
    train = np.flatnonzero(split.rows("train"))
    scale = (
        _scales(_steps(train, series, at), actual, season=task.season or 1, count=len(names)) if len(train) else None
    )
    origin = _origins(steps, ahead)
    test = np.flatnonzero(split.rows("test"))
    usual, uneven = _usual(steps)
    clusters, blocks, told = _clusters(series, at, ahead, test, usual, weights=weights)
    last = int(at[train].max()) if len(train) else int(at.min())
    findings = [told] if told and task.cluster is None else []
    if uneven:
        findings.append(
            f"task.time: {uneven} steps come more than {UNEVEN} times as long after the one before as usual; seasons "
            "and horizons are counted by rows and reach over such a gap, so give every step its row"
        )
    early = int(np.count_nonzero((origin[test] < last) & (origin[test] != NEVER)))
    if len(train) and early:
        findings.append(
            f"task.horizon: {early} of {len(test)} test rows were forecast from before the last training row, so the "
            "model may know more than it will; leave a data.split.gap of the longest horizon"
        )
    return Forecasts(
        scale=None if scale is None else scale[series],
        days=(at - last) / MICROSECONDS_PER_DAY if per_second else None,
        horizon=horizon,
        horizons={} if horizon is None else _counted(horizon[judged]),
        origin=origin,
        clusters=clusters,
        blocks=None if task.cluster is not None else blocks,
        findings=(*findings, *_unscaled(scale, series, test), *_unseen(horizon, train, test)),
    )


def _series(table: pa.Table, task: spec.Task) -> tuple[Rows, tuple[str, ...]]:
    if task.series is None:
        return np.zeros(table.num_rows, dtype=np.intp), ("",)
    names, code = known_codes(table, task.series)
    if missing := int(np.count_nonzero(code == len(names))):
        raise MeasureError(
            "MissingSeries", f"task.series: column {task.series!r} is missing on {missing} rows; leave them out"
        )
    return code, names


def _horizon(table: pa.Table, name: str) -> Ticks:
    values = numbers(table, name)
    wrong = ~((values >= 1) & (values <= FARTHEST) & (values == np.floor(values)))
    if wrong.any():
        raise MeasureError(
            "BadHorizon",
            f"task.horizon: {int(wrong.sum())} rows of column {name!r} hold no steps ahead, such as "
            f"{values[wrong][0]:g}; expected whole numbers from 1 to {FARTHEST}",
        )
    return values.astype(np.int64)


def _once(judged: Rows, series: Rows, at: Ticks, ahead: Ticks, *, table: pa.Table, task: spec.Task) -> None:
    """Raises RepeatedForecast: which of two answers would count?"""
    order = judged[np.lexsort((ahead[judged], at[judged], series[judged]))]
    same = np.all([np.diff(values[order]) == 0 for values in (series, at, ahead)], axis=0)
    if same.any():
        row = order[:-1][same][0]
        raise MeasureError(
            "RepeatedForecast",
            f"task.time: {int(same.sum())} rows repeat the series, time and horizon of another, such as "
            f"{_told(row, table, task)}; keep one of each, and where clocks go back write times with their offset "
            "from UTC",
        )


def _one_truth(judged: Rows, steps: _Steps, actual: Floats, *, table: pa.Table, task: spec.Task) -> None:
    """Raises DifferentTruths: what happened at one time can't depend on when it was forecast."""
    place = steps.place[judged]
    first = np.empty(len(steps.at))
    first[place] = actual[judged]
    other = judged[first[place] != actual[judged]]
    if len(other):
        raise MeasureError(
            "DifferentTruths",
            f"task.target: {len(other)} rows hold another value of {task.target!r} than rows of the same series and "
            f"time, such as {_told(other[0], table, task)}; give each time one truth",
        )


def _told(row: np.intp, table: pa.Table, task: spec.Task) -> str:
    named = (task.series, task.time, task.horizon)
    return ", ".join(f"{name} {str(column(table, name)[int(row)])[:64]!r}" for name in named if name is not None)


def _steps(rows: Rows, series: Rows, at: Ticks) -> _Steps:
    order = rows[np.lexsort((at[rows], series[rows]))]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (np.diff(series[order]) != 0) | (np.diff(at[order]) != 0)
    place = np.full(len(series), -1, dtype=np.intp)
    place[order] = np.cumsum(begins) - 1
    row = order[begins]
    return _Steps(series=series[row], at=at[row], row=row, place=place)


def _scales(steps: _Steps, actual: Floats, *, season: int, count: int) -> Floats:
    """(count,) By series the mean |value - value a season before| over training steps; NaN where it is of no use."""
    values = actual[steps.row]
    before = steps.before(season)
    paired = before >= 0
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(values[paired] - values[before[paired]])
        sums = np.bincount(steps.series[paired], weights=apart, minlength=count)
        found = np.bincount(steps.series[paired], minlength=count)
        mean = sums / np.maximum(found, 1)
    largest = np.zeros(count)
    np.maximum.at(largest, steps.series, np.abs(values))
    usable = (found >= MIN_DIFFERENCES) & np.isfinite(mean) & (mean > FLAT * largest)
    return np.where(usable, mean, np.nan)


def _origins(steps: _Steps, ahead: Ticks) -> Ticks:
    """(n,) When each row's forecast was made."""
    back = steps.place - ahead
    there = (steps.place >= 0) & (back >= 0)
    own, earlier = np.maximum(steps.place, 0), np.maximum(back, 0)
    if not len(steps.at):
        return np.full(len(ahead), NEVER)
    same = there & (steps.series[own] == steps.series[earlier])
    return np.where(same, steps.at[earlier], NEVER)


def _usual(steps: _Steps) -> tuple[int, int]:
    """The usual time between steps (their median), and how many come later than they should."""
    gaps = np.diff(steps.at)[np.diff(steps.series) == 0]
    if not len(gaps):
        return 1, 0
    usual = max(int(np.partition(gaps, (len(gaps) - 1) // 2)[(len(gaps) - 1) // 2]), 1)
    return usual, int(np.count_nonzero(gaps > UNEVEN * usual))


def _clusters(
    series: Rows,
    at: Ticks,
    ahead: Ticks,
    test: Rows,
    usual: int,
    *,
    weights: Floats | None,
) -> tuple[Rows | None, Rows | None, str]:
    """The series where the test rows have enough, else blocks of time that outlast the longest horizon; and words.

    Forecasts that are made before an error is known share it, so errors less than a horizon apart resemble each other.
    The blocks come second, too, since they are no clusters where each is one row.
    """
    mass = tally(series[test], None if weights is None else weights[test] / weights[test].max(), size=1)
    count, share = int(np.count_nonzero(mass)), mass / mass.sum()
    if count >= MIN_CLUSTERS and 1.0 / float(share @ share) >= MIN_EFFECTIVE_CLUSTERS:
        return series, None, f"task.series: the test rows are of {count} series, which count as clusters"
    length = OVERLAPS * (int(ahead[test].max()) - 1) + 1
    code = np.unique((at - at.min()) // usual // length, return_inverse=True)[1]
    blocks = len(np.unique(code[test]))
    if blocks == len(test):
        return None, code, ""
    steps = "one step" if length == 1 else f"{length} steps"
    words = (
        f"task.series: {count} series tell too little as clusters ({MIN_CLUSTERS} would be enough), so blocks of "
        f"{steps} are: {blocks} in the test rows"
    )
    return code, code, words


def _counted(values: Ticks) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _unscaled(scale: Floats | None, series: Rows, test: Rows) -> Iterator[str]:
    if scale is None:
        return
    without = ~np.isfinite(scale[series[test]])
    if without.any():
        yield (
            f"mase: {len(np.unique(series[test][without]))} series with {int(without.sum())} of {len(test)} test rows "
            f"have no scale, being constant or shorter than a season and {MIN_DIFFERENCES} steps in the training rows; "
            "they are left out of it"
        )


def _unseen(horizon: Ticks | None, train: Rows, test: Rows) -> Iterator[str]:
    if horizon is None or not len(train):
        return
    new = np.setdiff1d(horizon[test], horizon[train]).tolist()
    if new:
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        listed = ", ".join(map(str, new[:3])) + more
        yield f"task.horizon: in test and not in train, so the model can't have learnt them: {listed}"
