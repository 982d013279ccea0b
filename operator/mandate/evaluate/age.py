"""How old the rows are when they are measured. The one number about them that the hour changes, so it is measured."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from mandate.evidence.intervals import Fact
from mandate.evidence.schema import Estimate, Fault, Quantity, Support
from mandate.measure.data.quality import EPOCH, FUTURE, SKEW, age, span
from mandate.measure.split import PARTS, Part, instants
from mandate.measure.table import MeasureError

from .data import Rows

METRIC = "data_age"


def ages(rows: Rows, *, time: str, now: datetime) -> tuple[dict[str, str], tuple[Estimate, ...]]:
    """Each part's newest time, in words and as its age in seconds at `now`, which has a time zone.

    Times that have none are taken as UTC. A time ahead of `now`, and what can't be read as times, are faults: an age
    that can't be told is none that passes.
    """
    try:
        at, scale = instants(rows.table, time)
        problem = "" if scale else f"task.time: column {time!r} holds plain numbers, not times"
    except MeasureError as error:
        problem = str(error)
    newest: dict[str, str] = {}
    found: list[Estimate] = []
    for part in PARTS:
        chosen = rows.split.rows(part)
        if not chosen.any():
            continue
        if problem:
            found.append(_age(part, chosen, fault=Fault(code="NotTime", message=problem)))
            continue
        latest = int(at[chosen].max())
        newest[part] = _said(latest)
        past = age(latest, now=now)
        words = f"the newest {time!r} of {part} is {span(-past)} after the evaluation. {FUTURE}"
        ahead = Fault(code="FromFuture", message=words) if past < -SKEW else None
        found.append(_age(part, chosen, seconds=max(past, 0.0), fault=ahead))
    return newest, tuple(found)


def _age(part: Part, rows: NDArray[np.bool_], *, seconds: float = 0.0, fault: Fault | None) -> Estimate:
    count = int(rows.sum())
    return Estimate(
        quantity=Quantity(metric=METRIC, on=part),
        estimate=seconds if fault is None else None,
        interval=Fact() if fault is None else None,
        support=Support(rows=count, events=count),
        fault=fault,
    )


def _said(latest: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=latest)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return "beyond the year 9999"
