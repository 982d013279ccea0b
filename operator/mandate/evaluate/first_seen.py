"""Test rows' times beside when the operator first knew the model: is every row later?

It is measured and not computed, as the rows' age is: a laptop knows of no first sight, and computes the same.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from mandate.api.kinds import FirstSeen
from mandate.api.moments import instant
from mandate.evidence.schema import ByTime, Fault
from mandate.measure.data.quality import EPOCH, SKEW
from mandate.measure.split import instants, moments
from mandate.measure.table import MeasureError

from .data import Rows

AHEAD = 14 * 3600
"""Seconds by which the clocks of some place on Earth are ahead of UTC, at most (UTC+14, the Line Islands)."""


def by_time(rows: Rows, *, time: str | None, first_seen: FirstSeen | None, digest: str | None) -> ByTime | None:
    """How many test rows are later than the model of `digest` was first seen; None where there is nothing to compare.

    Later means by more than SKEW, since clocks differ, and by AHEAD more where times say no zone. Every test row
    counts, whether or not a number is measured on it. Plain numbers and times that can't be read are a fault, and no
    row is later.
    """
    if first_seen is None or time is None or digest != first_seen.digest:
        return None
    chosen = rows.split.rows("test")
    found = ByTime(digest=digest, first_seen=first_seen.time, rows=int(chosen.sum()), later=0, margin=int(SKEW))
    try:
        table = rows.table.select([time]).filter(pa.array(chosen))
        at, scale = instants(table, time)
        zoned = getattr(moments(table, time).type, "tz", None) is not None
    except (MeasureError, KeyError) as error:
        return found.model_copy(update={"fault": Fault(code="NotTime", message=str(error)[:1024])})
    if not scale:
        message = f"task.time: column {time!r} holds plain numbers, not times"
        return found.model_copy(update={"fault": Fault(code="NotTime", message=message)})
    margin = int(SKEW) + (0 if zoned else AHEAD)
    known = int(instant(first_seen.time)) + margin
    later = int(np.count_nonzero(at > known * int(scale)))
    return found.model_copy(update={"later": later, "margin": margin, "oldest": _said(int(at.min()), zoned=zoned)})


def _said(oldest: int, *, zoned: bool) -> str:
    try:
        at = EPOCH + timedelta(microseconds=oldest)
    except OverflowError:
        return "before the year 1 or after 9999"
    return datetime.strftime(at.astimezone(UTC), "%Y-%m-%dT%H:%M:%S") + ("Z" if zoned else "")
