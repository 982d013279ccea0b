"""Test rows beside the model's first sight: all later, or not, or not to be told; and what evidence says of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mandate.api.kinds import FirstSeen
from mandate.evaluate.data import Rows
from mandate.evaluate.first_seen import by_time
from mandate.evidence.held_out import held_out
from mandate.evidence.schema import ByTime, Computed, Evidence, Fault, HeldOut, Inputs, Measured, computed_bytes
from mandate.measure.split import Split
from tests.evaluation import NOW, loans, locally

DIGEST = "sha256:" + "a" * 64
SEEN = datetime(2024, 5, 1, tzinfo=UTC)
KNOWN = FirstSeen(digest=DIGEST, time="2024-05-01T00:00:00Z")
SKEW, AHEAD = timedelta(minutes=5), timedelta(hours=14)
TICK = timedelta(microseconds=1)


def rows(times: Any, *, train: int = 0) -> Rows:
    """The first `train` rows are training's, the others are test rows."""
    table = pa.table({"at": times})
    part = np.where(np.arange(table.num_rows) < train, 0, 2).astype(np.int8)
    keys = np.arange(table.num_rows, dtype=np.uint64)
    return Rows(table=table, split=Split(part=part, keys=keys, digest="d"), digests={})


def compared(times: Any, *, train: int = 0) -> ByTime:
    found = by_time(rows(times, train=train), time="at", first_seen=KNOWN, digest=DIGEST)
    assert found is not None
    return found


@pytest.mark.row("G5/by-time")
@pytest.mark.parametrize(
    ("at", "later"),
    [
        (SEEN - timedelta(days=1), False),
        (SEEN, False),
        (SEEN + SKEW, False),
        (SEEN + SKEW + TICK, True),
        ((SEEN + SKEW).astimezone(timezone(timedelta(hours=9))), False),
        ((SEEN + SKEW + TICK).astimezone(timezone(timedelta(hours=-7))), True),
        ((SEEN + AHEAD + SKEW).replace(tzinfo=None), False),
        ((SEEN + AHEAD + SKEW + TICK).replace(tzinfo=None), True),
        (date(2024, 5, 1), False),
        (date(2024, 5, 2), True),
    ],
)
def test_later_is_by_more_than_clocks_and_zones_may_differ(at: Any, later: bool) -> None:
    assert compared(pa.array([at])).all_later == later
    if not isinstance(at, datetime):
        return
    assert compared([at.isoformat(timespec="microseconds")]).all_later == later, "as text"


def test_every_test_row_counts_and_no_other() -> None:
    late, early = SEEN + timedelta(days=1), SEEN - timedelta(days=1)
    found = compared([early, late, late, late], train=1)
    assert (found.rows, found.later, found.all_later, found.oldest) == (3, 3, True, "2024-05-02T00:00:00Z")
    found = compared([early, late, early, late], train=1)
    assert (found.rows, found.later, found.all_later, found.oldest) == (3, 2, False, "2024-04-30T00:00:00Z")


@pytest.mark.parametrize(
    "times", [[2**40, 2**41], ["soon", "later"], ["2030-01-01T00:00:00Z", None], ["2030-01-01T00:00:00Z", "2030-01-01"]]
)
def test_times_that_cannot_be_told_make_no_row_later(times: Any) -> None:
    found = compared(times)
    assert found.fault is not None
    assert (found.fault.code, found.later, found.all_later) == ("NotTime", 0, False)


def test_nothing_is_compared_without_times_a_first_sight_or_with_another_model() -> None:
    late = rows([SEEN + timedelta(days=1)])
    assert by_time(late, time=None, first_seen=KNOWN, digest=DIGEST) is None
    assert by_time(late, time="at", first_seen=None, digest=DIGEST) is None
    assert by_time(late, time="at", first_seen=KNOWN, digest="sha256:" + "b" * 64) is None
    assert by_time(late, time="at", first_seen=KNOWN, digest=None) is None


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=8),
    st.integers(-14 * 60, 14 * 60),
    st.booleans(),
)
def test_one_row_that_is_not_later_is_enough_and_no_zone_makes_rows_later(
    seconds: list[int], minutes: int, zoned: bool
) -> None:
    zone = timezone(timedelta(minutes=minutes))
    times = [(SEEN + timedelta(seconds=each)).astimezone(zone) for each in seconds]
    written = [(at if zoned else at.replace(tzinfo=None)).isoformat() for at in times]
    found = compared(written)
    truly = [each > SKEW.total_seconds() for each in seconds]
    if zoned:
        assert (found.later, found.all_later) == (sum(truly), all(truly))
    else:
        assert found.later <= sum(truly), "wherever it was written"
        assert not found.all_later or all(truly)


def evidence(status: Any, found: ByTime | None) -> Evidence:
    computed = Computed(
        task="Binary",
        inputs=Inputs(model=DIGEST, data={"source": DIGEST}, split=DIGEST, predictions=DIGEST, settings=DIGEST),
        rows={"test": 2},
        held_out=HeldOut(status=status, reason="as it was computed"),
        estimates=(),
    )
    return Evidence(computed=computed, measured=Measured(by_time=found))


LATER = ByTime(digest=DIGEST, first_seen=KNOWN.time, rows=2, later=2, margin=300, oldest="2024-05-02T00:00:00Z")
MOST = LATER.model_copy(update={"later": 1, "margin": 50_700, "oldest": "2024-04-01T00:00:00"})
UNTOLD = LATER.model_copy(update={"later": 0, "oldest": None, "fault": Fault(code="NotTime", message="x" * 1024)})


@pytest.mark.row("G5/by-time")
@pytest.mark.parametrize("status", ["Proven", "Declared", "Unknown"])
@pytest.mark.parametrize("found", [None, LATER, MOST, UNTOLD], ids=["none", "all later", "most later", "untold"])
def test_times_of_a_table_declare_and_never_prove(status: str, found: ByTime | None) -> None:
    told = held_out(evidence(status, found))
    if status == "Proven" or found is None:
        assert (told.status, told.reason) == (status, "as it was computed")
        return
    assert told.status == ("Declared" if found is LATER else status)
    assert ("as it was computed" in told.reason) == (found is not LATER or status == "Declared")
    assert KNOWN.time in told.reason
    assert found.oldest is None or found.oldest in told.reason


def test_both_times_and_the_margin_are_told() -> None:
    assert held_out(evidence("Unknown", LATER)).reason == (
        "all 2 test rows, from 2024-05-02T00:00:00Z on, are later by more than 5 minutes than 2024-05-01T00:00:00Z, "
        "when the model's digest was first seen. The times are the table's own: no proof"
    )
    assert held_out(evidence("Unknown", MOST)).reason == (
        "as it was computed; 1 of 2 test rows, from 2024-04-01T00:00:00 on, are later by more than 14 hours and 5 "
        "minutes (times without a zone may be as far ahead of UTC) than 2024-05-01T00:00:00Z, when the model's digest "
        "was first seen"
    )


@pytest.mark.row("G5/by-time")
def test_an_evaluation_tells_it_and_computes_what_a_laptop_computes(claims: Any, declared: Any) -> None:
    table = loans()
    at = [(NOW - timedelta(hours=1 + row)).strftime("%Y-%m-%dT%H:%M:%SZ") for row in range(table.num_rows)]
    parquet.write_table(table.append_column("at", pa.array(at)), claims / "data" / "loans.parquet")
    declared["task"]["time"] = "at"
    laptop = locally(declared, claims)
    assert laptop.measured.by_time is None
    digest = laptop.computed.inputs.model
    assert digest is not None
    first = {"digest": digest, "time": "2020-01-01T00:00:00Z"}
    cluster = locally(declared | {"firstSeen": first}, claims)
    assert computed_bytes(cluster.computed) == computed_bytes(laptop.computed)
    assert (held_out(laptop).status, held_out(cluster).status) == ("Unknown", "Declared")
    assert Evidence.model_validate(cluster.dump()) == cluster
