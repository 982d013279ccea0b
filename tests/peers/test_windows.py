"""Windows of the test rows, against pandas' grouping by time, scikit-learn, and intervals of others."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from mandate.api import spec
from mandate.evidence.windows import NormalRange
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.split import Split
from mandate.measure.windows import normal_range
from tests.unit.measure.test_engine import find

TASK = spec.Task(type="Binary", target="y", positive="1", time="at", id="id")
MODEL = spec.Model(version="1", source=spec.ModelSource(columns=("p",)))
SOURCE = spec.TableSource(uri="t.csv")


def rows(count: int = 6000, days: int = 200) -> pd.DataFrame:
    """Times in no order, from the middle of a month to the middle of another; the model is worse in summer."""
    rng = np.random.default_rng(3)
    at = pd.Timestamp("2013-03-10") + pd.to_timedelta(rng.integers(0, days * 24, count), unit="h")
    x = rng.normal(size=count)
    frame = pd.DataFrame({"id": np.arange(count), "at": at, "y": rng.random(count) < 1 / (1 + np.exp(-x))})
    frame["y"] = frame["y"].astype(int)
    frame["p"] = 1 / (1 + np.exp(-x - rng.normal(size=count) * np.where(at.month == 7, 3.0, 0.5)))
    return frame


def evidence(frame: pd.DataFrame, windows: spec.Windows | None, **changes):
    part = np.full(len(frame), 2, dtype=np.int8)
    part[:500] = 0
    return compute(
        table=pa.Table.from_pandas(frame, preserve_index=False),
        split=Split(part=part, keys=np.arange(len(frame)).astype(np.uint64), digest="sha256:" + "0" * 64),
        answers=Answers(values=frame["p"].to_numpy()),
        model=MODEL,
        task=TASK.model_copy(update=changes),
        data=spec.Data(source=SOURCE, windows=windows),
    )


@pytest.mark.row("T1/windows")
@pytest.mark.parametrize(
    ("length", "grouper"),
    [("Month", "MS"), ("30d", pd.Grouper(key="at", freq="30D", origin="epoch")), ("Week", "W-SUN")],
)
def test_windows_are_those_of_pandas(length, grouper):
    frame = rows()
    found = evidence(frame, spec.Windows(length=length))
    test = frame[500:]
    if isinstance(grouper, str):
        freq = {"MS": "M", "W-SUN": "W-SUN"}[grouper]
        groups = {period.start_time: group for period, group in test.groupby(test["at"].dt.to_period(freq))}
        ends = {period.start_time: (period + 1).start_time for period in test["at"].dt.to_period(freq).unique()}
    else:
        groups = dict(iter(test.groupby(grouper)))
        ends = {start: start + pd.Timedelta("30D") for start in groups}
    first, last = test["at"].min(), test["at"].max() + pd.Timedelta("1h")
    whole = {start: group for start, group in groups.items() if start >= first and ends[start] <= last}
    names = [str(start.date())[: 7 if length == "Month" else 10] for start in whole]
    assert list(found.windows.names) == names
    assert list(found.windows.rows) == [len(group) for group in whole.values()]
    assert found.windows.left_out == len(test) - sum(found.windows.rows)
    ours = {metric: [find(found, metric, window=name).estimate for name in names] for metric in ("roc_auc", "log_loss")}
    assert ours["roc_auc"] == pytest.approx([roc_auc_score(g["y"], g["p"]) for g in whole.values()], rel=1e-12)
    assert ours["log_loss"] == pytest.approx([log_loss(g["y"], g["p"]) for g in whole.values()], rel=1e-9)
    for item in found.windows.metrics:
        if item.metric in ours:
            values = pd.Series(ours[item.metric], index=names)
            worst = values.idxmin() if item.metric == "roc_auc" else values.idxmax()
            assert (item.measured, item.worst) == (len(names), worst)
            told = (item.lowest, item.lower_quartile, item.median, item.upper_quartile, item.highest)
            assert told == pytest.approx(values.quantile([0, 0.25, 0.5, 0.75, 1]).tolist(), rel=1e-12)


def test_a_window_is_measured_as_if_it_were_the_test_rows():
    """Every metric, with its interval, in a table that holds no other test rows."""
    frame = rows()
    found = evidence(frame, spec.Windows(length="Month"))
    month = frame["at"].dt.to_period("M").astype(str) == "2013-05"
    alone = evidence(pd.concat([frame[:500], frame[500:][month[500:]]]), None)
    expected = {e.quantity: e for e in alone.estimates if e.quantity.on == "test"}
    compared = 0
    for estimate in found.estimates:
        if estimate.quantity.window == "2013-05":
            other = expected[estimate.quantity.model_copy(update={"window": None})]
            assert estimate.estimate == pytest.approx(other.estimate, rel=1e-9)
            assert estimate.support == other.support
            assert type(estimate.interval) is type(other.interval)
            compared += 1
    assert compared == len(found.windows.metrics) > 10


@pytest.mark.parametrize(
    ("bounds", "to", "back"),
    [
        ((0.0, 1.0), lambda v: np.log(v / (1 - v)), lambda v: 1 / (1 + np.exp(-v))),
        ((0.0, math.inf), np.log, np.exp),
        ((-math.inf, math.inf), lambda v: v, lambda v: v),
    ],
    ids=["share", "loss", "number"],
)
def test_a_normal_range_is_the_interval_of_one_more_value(bounds, to, back):
    """Student's prediction interval as a t interval of the difference between a new value and the mean."""
    values = np.random.default_rng(1).uniform(0.6, 0.9, 12)
    found = normal_range(values, low=bounds[0], high=bounds[1])
    scale = np.std(to(values), ddof=1) * np.sqrt(13 / 12)
    expected = back(np.array(stats.t.interval(0.95, 11, loc=np.mean(to(values)), scale=scale)))
    assert isinstance(found, NormalRange)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(("count", "least"), [(12, 0.94), (60, 0.94)], ids=["student", "ordered"])
def test_a_normal_range_holds_the_next_value(count, least):
    """Of windows that differ beyond chance, in logits; 60 values by their order, whatever they are."""
    rng = np.random.default_rng(5)
    draws = rng.normal(1.0, 0.3, (2000, count + 1)) if count < 39 else rng.exponential(size=(2000, count + 1))
    values = 1 / (1 + np.exp(-draws))
    inside = 0
    for sample in values:
        found = normal_range(sample[:-1], low=0.0, high=1.0)
        assert isinstance(found, NormalRange)
        inside += found.low <= sample[-1] <= found.high
    assert least <= inside / 2000 <= 0.98
