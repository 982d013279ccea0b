"""Windows of the test rows: which are whole, what each kind of task puts in them, and what gates make of them."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.catalogue import METRICS, metrics_for
from mandate.evidence.schema import Evidence, Measured, computed_bytes
from mandate.evidence.windows import UNTOLD
from mandate.measure import metrics
from mandate.measure.answers import Answers
from mandate.measure.digests import settings_digest
from mandate.measure.engine import compute
from mandate.measure.split import Split, divide
from mandate.measure.windows import MIN_ROWS, assign, normal_range
from mandate.measure.work import Threads
from mandate.verdict.judge import judge
from tests.unit.measure import test_forecasts as forecasts
from tests.unit.measure.test_engine import TASKS, Case, find

HOUR = 3_600_000_000
START = datetime.datetime(2024, 1, 31, 22, tzinfo=datetime.UTC)


def table(hours, **columns) -> pa.Table:
    """Rows at whole hours after START."""
    begin = int(START.timestamp() * 1e6)
    at = pa.array(begin + np.asarray(hours) * HOUR, pa.timestamp("us", "UTC"))
    return pa.table({"at": at} | columns)


def cut(hours, *, queries=None, time="at", rolled=False, **declared):
    every = np.arange(len(hours))
    return assign(table(hours), every, declared=spec.Windows(**declared), time=time, queries=queries, rolled=rolled)


def timed(kind: str = "Binary", **windows) -> Case:
    """A case of 1500 rows, one every two hours from the first of January on: 125 days, of which all are test rows."""
    case = Case(kind)
    begin = int(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC).timestamp() * 1e6)
    at = pa.array(begin + np.arange(1500) * 2 * HOUR, pa.timestamp("us", "UTC"))
    case.table = case.table.append_column("at", at)
    case.task = case.task.model_copy(update={"time": "at"})
    part = np.full(1500, 2, dtype=np.int8)
    case.split = Split(part=part, keys=case.split.keys, digest=case.split.digest)
    case.data = case.data.model_copy(update={"windows": spec.Windows(**windows)})
    case.references = ()
    return case


def gate(metric: str = "roc_auc", asked: str = ">= 0.5", **fields) -> spec.Gate:
    return spec.Gate(name="g", metric=metric, window="Each", require=spec.Require(shadow=asked), **fields)


def verdict(computed, *gates: spec.Gate):
    found = judge(
        gates=gates,
        tier="Medium",
        evidence=Evidence(computed=computed, measured=Measured()),
        look=1,
        champion=False,
        target="Shadow",
    )
    return found.at("Shadow").gates[0]


@pytest.mark.row("T1/windows")
def test_only_windows_that_the_rows_span_are_whole():
    """From 22:00 on the last of January to 23:00 on the first of March: February is whole, its neighbours aren't."""
    found = cut(range(2 + 29 * 24 + 24), length="Month")
    assert found.record.names == ("2024-02",)
    assert (found.record.rows, found.record.left_out) == ((29 * 24,), 26)
    # One hour less at its end, and the day isn't whole; an hour stands for itself.
    assert cut(range(2, 26), length="Day").record.names == ("2024-02-01",)
    assert cut(range(2, 25), length="Day").fault.code == "NoWholeWindow"
    assert cut(range(3, 26), length="Day").fault.code == "NoWholeWindow"
    assert cut(range(2, 50), length="12h").record.names == (
        "2024-02-01", "2024-02-01T12:00:00", "2024-02-02", "2024-02-02T12:00:00",
    )  # fmt: skip


def test_a_date_stands_for_its_day_and_a_time_zone_says_when_it_begins():
    days = pa.array([datetime.date(2024, 2, 1) + datetime.timedelta(days=day) for day in range(29)])
    found = assign(pa.table({"at": days}), np.arange(29), declared=spec.Windows(length="Month"), time="at")
    assert found.record.names == ("2024-02",)
    # 23:00 in Greenwich is midnight in Berlin.
    assert cut(range(1, 25), length="Day").fault is not None
    assert cut(range(1, 25), length="Day", time_zone="Europe/Berlin").record.names == ("2024-02-01",)
    assert cut(range(9), length="Day", time_zone="Mars/Base").fault.code == "UnknownTimeZone"


def test_days_on_which_clocks_change_are_whole():
    """The last of March 2024 has 23 hours in Berlin, and they are one day."""
    begin = int((datetime.datetime(2024, 3, 30, 23, tzinfo=datetime.UTC) - START).total_seconds()) // 3600
    found = cut(range(begin, begin + 23 + 24), length="Day", time_zone="Europe/Berlin")
    assert (found.record.names, found.record.rows) == (("2024-03-31", "2024-04-01"), (23, 24))


def test_windows_by_count_are_in_order_of_time():
    hours = np.random.default_rng(0).permutation(100)
    found = cut(hours, count=30)
    assert found.record.names == ("1", "2", "3")
    assert [sorted(hours[rows]) for rows in found.rows] == [list(range(k, k + 30)) for k in (0, 30, 60)]
    assert (found.record.ordered, found.record.left_out) == ("Time", 10)
    untimed = cut(hours, count=30, time=None)
    assert untimed.record.ordered == "Key"
    assert [rows.tolist() for rows in untimed.rows] == [list(range(k, k + 30)) for k in (0, 30, 60)]
    assert cut(hours, count=101).fault.code == "NoWholeWindow"


def test_a_query_is_whole_in_the_window_of_its_last_row():
    """Query 0 has rows in both halves."""
    hours = np.concatenate([np.arange(2, 26), np.arange(26, 50)])
    queries = np.concatenate([np.arange(24), np.arange(24, 48)])
    queries[[0, 47]] = 0
    found = cut(hours, queries=queries, length="Day")
    assert [sorted(set(queries[rows])) for rows in found.rows] == [list(range(1, 24)), [0, *range(24, 47)]]
    assert found.sizes == (23, 24)
    counted = cut(hours, queries=queries, count=30)
    assert (counted.record.of, counted.sizes, counted.record.left_out) == ("queries", (30,), 18)
    assert 0 not in queries[counted.rows[0]]


def test_what_can_not_be_cut_says_why():
    assert cut(range(200), length="1h").fault.code == "TooManyWindows"
    assert cut(range(200), length="1h", time=None).fault.code == "NoTime"
    plain = assign(pa.table({"at": [1, 2, 3]}), np.arange(3), declared=spec.Windows(length="Day"), time="at")
    assert plain.fault.code == "PlainTime"
    assert "plain numbers" in plain.record.why


@pytest.mark.parametrize("kind", list(TASKS))
def test_every_metric_is_measured_in_every_window(kind):
    case = timed(kind, length="30d")
    computed = case.compute()
    assert computed.windows.names == ("2024-01-18", "2024-02-17", "2024-03-18")
    assert computed.windows.rows == (360, 360, 360)
    names = [metric.name for metric in metrics_for(kind) if metric.name in metrics.METRICS]
    for name in names:
        for window in computed.windows.names:
            assert find(computed, name, window=window).estimate is not None
    assert {item.metric for item in computed.windows.metrics} == set(names)
    assert computed.windows.metrics[0].unknown == "3 windows with a value, 5 at least are needed"


def test_what_gates_may_ask_of_windows_is_what_they_hold():
    assert {name for name, metric in METRICS.items() if metric.by_window and not metric.spreads} == set(metrics.METRICS)


def test_forecasts_have_windows():
    rows = forecasts.table(series=3)
    task = forecasts.TASK
    computed = compute(
        table=rows,
        split=divide(rows, how=spec.Split(method="Time"), task=task),
        answers=Answers(values=np.array(rows["said"])),
        model=forecasts.MODEL,
        task=task,
        data=spec.Data(source=spec.TableSource(uri="t.csv"), windows=spec.Windows(length="Week")),
    )
    assert len(computed.windows.names) == 2
    assert find(computed, "mase", window=computed.windows.names[0]).support.rows == 42


def test_units_are_in_the_window_of_their_last_row():
    case = timed(length="30d")
    unit = np.arange(1500) % 300
    case.table = case.table.append_column("unit", pa.array(unit))
    case.task = case.task.model_copy(update={"unit": spec.Unit(column="unit", answers="Mean", labels="Max")})
    computed = case.compute()
    # All last rows are among the last 300, in 25 days of April.
    assert computed.windows.of == "units"
    assert computed.windows.why == "the test rows span no whole window of 30d"
    case.data = case.data.model_copy(update={"windows": spec.Windows(length="Week")})
    assert case.compute().windows.rows == (84, 84)


def test_row_order_and_workers_change_no_byte():
    case = timed(length="Week")
    order = np.random.default_rng(1).permutation(1500)
    shuffled = case.compute(
        table=case.table.take(pa.array(order)),
        split=case.split.take(order),
        answers=case.answers.take(order),
        workers=Threads(3),
    )
    assert computed_bytes(shuffled) == computed_bytes(case.compute())


def test_without_windows_nothing_is_another():
    case = timed(length="Week")
    bare = case.data.model_copy(update={"windows": None})
    with_windows, without = case.compute(), case.compute(data=bare)
    assert without.windows is None
    assert with_windows.inputs.settings != without.inputs.settings
    assert [e for e in with_windows.estimates if e.quantity.window is None] == list(without.estimates)
    given = {"model": case.model, "task": case.task, "references": (), "error_costs": ()}
    other = spec.Data(source=bare.source, slices=bare.slices)
    assert settings_digest(data=bare, **given) == settings_digest(data=other, **given)


@pytest.mark.row("T1/windows")
def test_every_window_must_hold():
    case = timed(length="30d")
    computed = case.compute()
    passed = verdict(computed, gate(asked=">= 0.6"))
    assert passed.verdict == "Pass"
    assert sorted(outcome.where for outcome in passed.outcomes) == [
        "window 2024-01-18", "window 2024-02-17", "window 2024-03-18",
    ]  # fmt: skip
    answers = case.answers.values.copy()
    answers[564:924] = 1 - answers[564:924]  # from the 17th of February to the 17th of March
    worse = case.compute(answers=Answers(values=answers))
    failed = verdict(worse, gate(asked=">= 0.6"))
    assert failed.verdict == "Fail"
    assert failed.outcomes[0].where == "window 2024-02-17"
    assert failed.outcomes[0].message.endswith(
        "look at what was different in that window, and train on rows like its own"
    )
    [auc] = [item for item in worse.windows.metrics if item.metric == "roc_auc"]
    assert auc.worst == "2024-02-17"
    assert auc.lowest < 0.5 < auc.median
    # Over all rows it would have passed.
    assert verdict(worse, gate(asked=">= 0.6").model_copy(update={"window": None})).verdict != "Fail"


def test_a_window_that_can_not_be_measured_is_no_pass():
    """Of one class, without a row, or with a few: told, and Inconclusive; never dropped."""
    case = timed(length="30d")
    target = np.array(case.table["y"]).copy()
    target[564:924] = 1
    case.table = case.table.set_column(case.table.column_names.index("y"), "y", pa.array(target))
    one_class = case.compute()
    assert find(one_class, "roc_auc", window="2024-02-17").fault.code == "OneClass"
    found = verdict(one_class, gate(asked=">= 0.5"))
    assert found.verdict == "Inconclusive"
    assert "OneClass" in found.message
    for left, code in ((0, "NoRows"), (MIN_ROWS - 1, "TooFewRows")):
        part = case.split.part.copy()
        part[564 + left : 924] = 0  # from the 17th of February on
        computed = case.compute(split=Split(part=part, keys=case.split.keys, digest=case.split.digest))
        assert find(computed, "accuracy", window="2024-02-17").fault.code == code
        assert [item.measured for item in computed.windows.metrics if item.metric == "accuracy"] == [2]
        assert verdict(computed, gate("accuracy")).verdict == "Inconclusive"


def test_no_window_at_all_is_no_pass():
    short = timed(length="Year").compute()
    assert find(short, "roc_auc", window="Each").fault.code == "NoWholeWindow"
    assert verdict(short, gate()).verdict == "Inconclusive"
    many = timed(length="1h").compute()
    assert verdict(many, gate()).verdict == "Error"
    undeclared = timed(length="Week")
    none = undeclared.compute(data=undeclared.data.model_copy(update={"windows": None}))
    assert verdict(none, gate()).verdict == "Error"
    assert "OneClass" in UNTOLD
    assert "NonFinitePredictions" not in UNTOLD


def test_answers_that_are_no_numbers_are_an_error_in_their_window():
    case = timed(length="30d")
    answers = case.answers.values.copy()
    answers[700] = np.nan
    computed = case.compute(answers=Answers(values=answers))
    assert find(computed, "roc_auc", window="2024-02-17").fault.code == "NonFinitePredictions"
    assert find(computed, "roc_auc", window="2024-01-18").estimate is not None
    assert verdict(computed, gate()).verdict == "Error"


def test_clusters_count_within_a_window():
    case = timed(length="30d")
    case.task = case.task.model_copy(update={"cluster": "who"})
    found = find(case.compute(), "accuracy", window="2024-01-18")
    who = np.array(case.table["who"])[204:564]
    assert found.support.clusters == len(np.unique(who))


def test_a_normal_range_ends_where_values_do():
    assert normal_range(np.full(9, 0.5), low=0.0, high=1.0) == "it is the same in all 9 windows"
    found = normal_range(np.array([0.0, 0.1, 0.0, 0.2, 0.1]), low=0.0, high=1.0)
    assert (found.low, found.link) == (0.0, "Identity")
    ordered = normal_range(np.linspace(0, 1, 79), low=0.0, high=1.0)
    assert (ordered.how, ordered.share) == ("OrderStatistics", 0.95)
    assert (ordered.low, ordered.high) == (np.linspace(0, 1, 79)[1], np.linspace(0, 1, 79)[-2])
