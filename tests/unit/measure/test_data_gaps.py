from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from mandate.evidence.data import CHANGES, LEAKS, NOTES, UNREPRESENTED
from mandate.measure.data.gaps import MOST_HOURS, gaps, time_gaps
from mandate.measure.data.newdata import Expected, beside
from mandate.measure.data.parts import Asked, compared
from mandate.measure.data.profile import profile
from mandate.measure.split import Split

HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 19_723 * DAY  # 2024-01-01, a Monday


def daily(days=120, rows=20):
    """So many rows at midnight of each day."""
    return START + np.repeat(np.arange(days), rows) * DAY


def office(weeks=20, rows=20):
    """Rows in each hour from 8 to 18 from Monday to Friday."""
    hours = np.arange(weeks * 168)
    return START + np.repeat(hours[(hours // 24 % 7 < 5) & (hours % 24 >= 8) & (hours % 24 < 18)], rows) * HOUR


def without(at, start, end):
    """Without the rows from one day to before another."""
    return at[(at < START + start * DAY) | (at >= START + end * DAY)]


def told(at):
    return [((gap.start * HOUR - START) / DAY, (gap.end * HOUR - START) / DAY, gap.expected) for gap in gaps(at)]


@pytest.mark.row("D8/gaps")
@pytest.mark.parametrize("missing", [(60, 61), (60, 62), (60, 74), (1, 2), (118, 119), (30, 90)])
def test_days_that_are_missing_are_named_with_the_rows_that_there_would_be(missing):
    start, end = missing
    assert told(without(daily(), start, end)) == [(start, end, 20 * (end - start))]


def test_nights_and_weekends_are_usual_and_a_wednesday_is_not():
    assert told(office()) == []
    wednesday = 7 * 9 + 2
    assert told(without(office(), wednesday, wednesday + 1)) == [
        (wednesday + 8 / 24, wednesday + 18 / 24, 200)
    ]  # fmt: skip


@pytest.mark.parametrize("months", [1, 3])
def test_batches_by_the_month_or_the_quarter(months):
    begins = (np.datetime64("2020-01") + np.arange(30) * months).astype("datetime64[us]").astype(np.int64)
    at = np.repeat(begins, 40)
    assert told(at) == []
    (gap,) = gaps(at[(at < begins[14]) | (at >= begins[16])])
    assert (gap.start * HOUR, gap.end * HOUR, gap.expected) == (begins[14], begins[16], 80)


def test_batches_by_the_week():
    at = START + np.repeat(np.arange(40) * 7 * DAY, 40)
    assert told(at) == []
    (gap,) = told(without(at, 7 * 20 - 1, 7 * 21))
    assert gap == (140, 141, 40)


def test_what_happens_three_times_is_usual_unless_it_is_far_longer():
    at = daily(365)
    for day in (50, 120, 200):
        at = without(at, day, day + 1)
    assert told(at) == []
    assert [gap[:2] for gap in told(without(at, 300, 305))] == [(300, 305)]


def test_three_times_as_long_as_the_third_longest_is_far_longer():
    at = daily(365)
    for day in (50, 120, 200):
        at = without(at, day, day + 2)
    assert told(without(at, 300, 305)) == []
    assert [gap[:2] for gap in told(without(at, 300, 306))] == [(300, 306)]


def test_two_gaps_are_both_told():
    assert [gap[:2] for gap in told(without(without(daily(), 40, 41), 90, 93))] == [(40, 41), (90, 93)]


def test_the_end_and_the_beginning_of_a_table_are_no_gaps():
    assert told(without(without(daily(), 0, 20), 100, 120)) == []


def test_an_hour_that_clocks_leave_out_is_none():
    at = START + np.repeat(np.arange(70 * 24), 30) * HOUR
    spring = (at // HOUR) == (START + 40 * DAY) // HOUR + 2
    assert told(at[~spring]) == []
    assert told(at[~(spring | np.roll(spring, 30) | np.roll(spring, 60))]) != []


def test_order_does_not_matter_and_strange_times_are_none():
    at = without(daily(), 60, 61)
    assert gaps(np.random.default_rng(1).permutation(at)) == gaps(at)
    assert told(np.append(at, START - 40_000 * DAY)) == told(at)  # a birthday among visits
    assert told(np.append(at, np.repeat(START - (MOST_HOURS + 1) * HOUR, 20))) == []  # no times at all
    assert told(at[:0]) == told(at[:1]) == []


def table(at):
    rng = np.random.default_rng(3)
    columns = {"x": rng.normal(size=len(at)), "y": rng.integers(0, 2, len(at))}
    return pa.table(columns | {"at": pa.array(at, pa.timestamp("us"))})


def split(at, *, shares=(0.6, 0.8)):
    part = np.digitize(np.arange(len(at)) / len(at), shares).astype(np.int8)
    return Split(part=part, keys=np.arange(len(at), dtype=np.uint64), digest="sha256:" + "0" * 64)


def seen(at, **asked):
    found = compared(table(at), split(at), Asked(target="y", features=["x"], time="at", **asked))
    return [finding for finding in found.findings if finding.code == "TimeGap"]


@pytest.mark.row("D8/gaps")
def test_a_gap_is_a_fault_that_says_from_when_to_when_and_how_many_rows():
    at = without(daily(), 60, 62)
    (finding,) = seen(at, by_time=True, in_order=True)
    assert finding.code not in LEAKS | CHANGES | UNREPRESENTED | NOTES
    assert (finding.part, finding.column) == ("all", "at")
    assert finding.message == (
        "no row of all is from 2024-03-01 to before 2024-03-03 by 'at'; as many as before and after would be about "
        "40 rows"
    )
    assert finding.effect == 40 / (len(at) + 40)
    assert finding.numbers == {
        "rows": len(at), "expected": 40,
        "from": datetime(2024, 3, 1, tzinfo=UTC).timestamp(), "to": datetime(2024, 3, 3, tzinfo=UTC).timestamp(),
    }  # fmt: skip
    assert "batch" in finding.advice


def test_what_lies_between_parts_that_are_given_one_by_one_is_meant():
    between = without(daily(), 72, 74)
    given = split(between)
    given.part[:] = np.where(between < START + 72 * DAY, 0, 2)
    look = {"target": "y", "features": ["x"], "time": "at", "in_order": True}
    codes = [one.code for one in compared(table(between), given, Asked(**look)).findings]
    assert "TimeGap" not in codes
    codes = [one.code for one in compared(table(between), given, Asked(**look, by_time=True)).findings]
    assert "TimeGap" in codes
    inside = without(daily(), 30, 31)
    given = split(inside)
    given.part[:] = np.where(inside < START + 72 * DAY, 0, 2)
    found = [one for one in compared(table(inside), given, Asked(**look)).findings if one.code == "TimeGap"]
    assert [one.part for one in found] == ["train"]


def test_plain_numbers_and_what_cannot_be_read_tell_nothing():
    at = without(daily(), 60, 61)
    for values in (at, pa.array(["soon"] * len(at)), pa.array([None] * len(at), pa.timestamp("us"))):
        assert time_gaps(pa.table({"at": values}), {"all": None}, time="at") == ()


def test_new_data_is_looked_at_too():
    at = without(daily(), 60, 61)
    before = profile([table(daily()).select(["x", "y"])])
    now = datetime(2024, 5, 1, tzinfo=UTC)
    found = beside(table(at), before, expected=Expected(time="at", now=now, oldest=1e9))
    assert [(one.part, one.numbers["expected"]) for one in found.findings if one.code == "TimeGap"] == [
        ("the new data", 20)
    ]
