"""What is counted or timed rather than computed from labels, against plain counting."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from scipy.stats import ks_2samp

from mandate.api import spec
from mandate.api.catalogue import QUANTILES
from mandate.evaluate import age
from mandate.evaluate.data import Rows
from mandate.evaluate.service import capacity, measured, probed, starts, used
from mandate.evidence.intervals import StudentT, Table
from mandate.evidence.schema import Estimate, Peaks
from mandate.inference.capacity import Capacity
from mandate.inference.client import Usage
from mandate.inference.latency import rising
from mandate.inference.load import Loaded
from mandate.inference.robustness import Probed
from mandate.measure.answers import Answers
from mandate.measure.data.columns import columns, stored
from mandate.measure.engine import compute
from mandate.measure.split import divide, join
from mandate.verdict.limits import student_limits

LATENCIES = list(QUANTILES)


def test_facts_of_a_run_are_counted():
    rng = np.random.default_rng(1)
    rows = {"train": 200, "test": 90}
    tables = {part: pa.table({"x": rng.integers(0, 40, n), "y": rng.integers(0, 2, n)}) for part, n in rows.items()}
    task = spec.Task(type="Binary", target="y", positive="1")
    table, split = join(tables, task=task)
    answers = rng.random(290)
    answers[rng.random(290) < 0.1] = np.nan
    answers[-3:] = math.inf
    computed = compute(
        table=table,
        split=split,
        answers=Answers(values=answers),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=spec.ModelOutput()),
        task=task,
        data=spec.Data(test=spec.TableSource(uri="t.csv")),
    )
    found = {(e.quantity.metric, e.quantity.on): e.estimate for e in computed.estimates if e.quantity.versus is None}
    for part, own in (("train", answers[:200]), ("test", answers[200:])):
        assert found["finite_answers", part] == sum(map(math.isfinite, own.tolist())) / len(own)
    train, test = (Counter(tuple(row.values()) for row in tables[part].to_pylist()) for part in ("train", "test"))
    assert found["shared_rows", "test"] == sum(count for row, count in test.items() if row in train)


def test_rows_of_the_test_that_were_learnt_or_chosen_on_count_once_each():
    rng = np.random.default_rng(2)
    rows = {"train": 60, "validation": 30, "test": 90}
    tables = {part: pa.table({"x": rng.integers(0, 60, n), "y": rng.integers(0, 2, n)}) for part, n in rows.items()}
    _, split = join(tables, task=spec.Task(type="Binary", target="y", positive="1"))
    seen = {part: [tuple(row.values()) for row in table.to_pylist()] for part, table in tables.items()}
    known = {*seen["train"], *seen["validation"]}
    only = [sum(row in seen[part] for row in seen["test"]) for part in ("train", "validation")]
    assert max(only) < split.repeated("test") == sum(row in known for row in seen["test"]) < sum(only)
    assert split.repeated("validation") == sum(row in seen["train"] for row in seen["validation"])
    assert split.repeated("train") == 0


def test_findings_about_the_rows_are_counted():
    rng = np.random.default_rng(5)
    columns = {f"x{i}": rng.normal(size=2000) for i in range(4)} | {"y": rng.integers(0, 2, 2000)}
    late = np.arange(2000) >= 1200
    columns |= {"x1": columns["x1"] + late, "x2": columns["x2"] * np.where(late, 3, 1), "x3": columns["y"] + 0.0}
    columns["gap"] = np.where(rng.random(2000) < 0.5, np.nan, 1.0 * rng.integers(0, 9, 2000))
    table = pa.table(columns)
    task = spec.Task(type="Binary", target="y", positive="1")
    joined, split = join({"train": table.slice(0, 1200), "test": table.slice(1200)}, task=task)
    computed = compute(
        table=joined,
        split=split,
        answers=Answers(values=rng.random(2000)),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=spec.ModelOutput()),
        task=task,
        data=spec.Data(test=spec.TableSource(uri="t.csv")),
    )
    found = {e.quantity.metric: e.estimate for e in computed.estimates if e.quantity.on == "test"}
    frame = table.to_pandas()
    kinds = [name for name in frame if ks_2samp(frame[name][:1200].dropna(), frame[name][1200:].dropna()).pvalue < 1e-6]
    assert found["changed_columns"] == len(kinds) == 2, "changed_columns"
    giving = [name for name in frame.columns.drop("y") if frame[name].corr(frame["y"]) ** 2 > 0.98]
    assert found["leaks"] == len(giving) == 1, "leaks"
    beyond = [
        name
        for name in frame
        if ((frame[name][1200:] < frame[name][:1200].min()) | (frame[name][1200:] > frame[name][:1200].max())).mean()
        >= 0.01
    ]
    gaps = [name for name in frame if frame[name][:1200].isna().mean() >= 0.2]
    worse = [name for name in gaps if frame[name][1200:].isna().mean() > frame[name][:1200].isna().mean()]
    assert found["data_faults"] == len(gaps) + len(worse) + len(beyond) >= 2, "data_faults"


@pytest.mark.row("D8/rows", "D8/age")
def test_rows_and_the_newest_rows_age_are_pandas():
    random = np.random.default_rng(8)
    start = pd.Timestamp("2024-01-31T22:30:00")
    frame = pd.DataFrame({"at": start + pd.to_timedelta(random.integers(0, 9_000_000, 500), "s")})
    frame["y"] = random.integers(0, 2, 500)
    task = spec.Task(type="Binary", target="y", positive="1", time="at")
    how = spec.Split(method="Time", gap="3d")
    table = pa.Table.from_pandas(frame)
    rows = Rows(table=table, split=divide(table, how=how, task=task), digests={})
    now = datetime(2024, 6, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    newest, ages = age.ages(rows, time="at", now=now)
    counted = compute(
        table=table,
        split=rows.split,
        answers=Answers(values=random.random(500)),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=spec.ModelOutput()),
        task=task,
        data=spec.Data(source=spec.TableSource(uri="t.csv"), split=how),
    )
    found = {(e.quantity.metric, e.quantity.on): e.estimate for e in (*counted.estimates, *ages)}
    frame["part"] = np.array(["none", "train", "validation", "test"])[rows.split.part + 1]
    for part, own in frame[frame["part"] != "none"].groupby("part"):
        assert found["row_count", part] == len(own), "row_count"
        past = pd.Timestamp("2024-06-01T00:00:00") - own["at"].max()
        assert found["data_age", part] == past.total_seconds(), "data_age"
        assert newest[part] == own["at"].max().isoformat() + "Z"
    assert {part for _, part in found if _ == "data_age"} == {"train", "validation", "test"}


@pytest.mark.row("D3/production")
def test_groups_that_training_lacks_are_scipys():
    random = np.random.default_rng(12)
    count = {"train": 1500, "test": 200, "production": 900}
    shares = {"train": [0.5, 0.44, 0.05, 0.01, 0.0], "production": [0.3, 0.3, 0.2, 0.12, 0.08]}
    frames = {
        part: pd.DataFrame(
            {
                "kind": random.choice(list("abcde"), rows, p=shares.get(part, shares["train"])),
                "age": random.integers(18, 90 if part == "production" else 50, rows),
                "y": random.integers(0, 2, rows),
            }
        )
        for part, rows in count.items()
    }
    task = spec.Task(type="Binary", target="y", positive="1")
    given = {part: pa.Table.from_pandas(frame) for part, frame in frames.items()}
    table, split = join({part: given[part] for part in ("train", "test")}, task=task)
    fed = spec.ModelInputs(columns=("kind",), encoding="Columns")
    model = spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=spec.ModelOutput(), inputs=fed)
    edges = (30, 50, 70)
    data = spec.Data(
        test=spec.TableSource(uri="t.csv"),
        slices=(spec.Slice(name="age", column="age", edges=tuple(map(str, edges))),),
    )
    scored = stored(given["production"], columns(model=model, task=task, data=data, target=False))
    computed = compute(
        table=table,
        split=split,
        answers=Answers(values=random.random(table.num_rows)),
        model=model,
        task=task,
        data=data,
        production=scored,
    )
    counted = next(e.estimate for e in computed.estimates if e.quantity.metric == "unrepresented_groups")
    for frame in frames.values():
        frame["range"] = pd.cut(frame["age"], [-math.inf, *edges, math.inf], right=False)
    lacking = []
    for column in ("kind", "range"):
        one, other = (frames[part][column].value_counts() for part in ("train", "production"))
        for value in other.index:
            a, b = int(one.get(value, 0)), int(other[value])
            fisher = stats.fisher_exact([[a, 1500 - a], [b, 900 - b]], alternative="less").pvalue
            if b / 900 >= 0.01 and a / 1500 <= b / 900 / 5 and fisher < 1e-6:
                lacking.append(value)
    beyond = (frames["production"]["age"] > frames["train"]["age"].max()).mean() > 0.01
    assert counted == len(lacking) + beyond == 5, "unrepresented_groups"


def of_blocks(blocks: tuple[np.ndarray, ...], **counts: int) -> Loaded:
    """Requests that were sent when they were due."""
    return Loaded(blocks=blocks, sent=blocks, **counts)


def test_quantiles_that_cross_are_counted():
    rng = np.random.default_rng(3)
    answers = np.round(rng.normal([-1.0, 0.0, 1.0], 1.0, size=(120, 3)), 1)
    table, split = join(
        {part: pa.table({"y": rng.normal(size=60)}) for part in ("train", "test")},
        task=spec.Task(type="Regression", target="y"),
    )
    computed = compute(
        table=table,
        split=split,
        answers=Answers(values=answers),
        model=spec.Model(
            version="1", source=spec.ModelSource(columns=("a", "b", "c")), output=spec.ModelOutput(kind="Quantiles")
        ),
        task=spec.Task(type="Regression", target="y", quantiles=("0.1", "0.5", "0.9")),
        data=spec.Data(test=spec.TableSource(uri="t.csv")),
    )
    found = {(e.quantity.metric, e.quantity.on): e.estimate for e in computed.estimates if e.quantity.versus is None}
    for part, own in (("train", answers[:60]), ("test", answers[60:])):
        expected = sum(row != sorted(row) for row in own.tolist())
        assert found["crossed_quantiles", part] == expected > 0


def loads() -> dict[str, Loaded]:
    """Two loads of blocks of unequal length, with crashes under both."""
    rng = np.random.default_rng(2)
    sizes = {"50/s": rng.integers(20, 90, 15), "9/s": rng.integers(20, 90, 15)}
    return {
        load: of_blocks(tuple(rng.exponential(0.02, n) for n in found), crashes=crashes, timeouts=timeouts, refused=1)
        for (load, found), crashes, timeouts in zip(sizes.items(), (2, 5), (0, 3), strict=True)
    }


@pytest.mark.parametrize("name", LATENCIES)
def test_latency_is_numpys_quantile_without_interpolation(name):
    found = {(e.quantity.metric, e.quantity.load): e.estimate for e in measured(loads(), timeout=10, requests=0)}
    percent = float(name.removeprefix("latency_p"))
    for load, seen in loads().items():
        expected = np.percentile(np.concatenate(seen.blocks), percent, method="inverted_cdf")
        assert found[name, load] == expected


def test_crashes_are_counted_by_load_and_together():
    found = {e.quantity.load: e for e in measured(loads(), timeout=10, requests=70) if e.quantity.metric == "crashes"}
    assert {load: e.estimate for load, e in found.items()} == {"50/s": 2, "9/s": 5, None: 7}, "crashes"
    sent = {load: sum(map(len, seen.blocks)) for load, seen in loads().items()}
    assert {load: e.support.rows for load, e in found.items()} == sent | {None: 70 + sum(sent.values())}, "crashes"


def test_failed_requests_are_all_that_got_no_right_answer():
    every = measured(loads(), timeout=10, requests=70)
    found = {e.quantity.load: e.estimate for e in every if e.quantity.metric == "failed_requests"}
    counted = {load: Counter(crash=s.crashes, slow=s.timeouts, no=s.refused).total() for load, s in loads().items()}
    assert found == counted | {None: sum(counted.values())} == {"50/s": 3, "9/s": 9, None: 12}, "failed_requests"


FOUND = Capacity(
    answers=(40, 44, 38, 41, 47, 39),
    seconds=(0.5, 0.52, 0.51, 0.5, 0.55, 0.5),
    cpu=(0.2, 0.22, 0.2, 0.19, 0.25, 0.2),
    memory=tuple(mib * 2.0**20 for mib in (300, 310, 310, 320, 320, 320)),
    failed=0,
    own=0.2,
    held=60.0,
)
SERVING = spec.Serving(
    resources={"limits": {"cpu": "1500m", "memory": "768Mi"}},
    prices=spec.Prices(cpu_hour="0.048", gib_hour="0.0053", currency="EUR"),
)


STARTED = Usage(2.0, 1.0, 3 * 2**28)


def at_the_server(name: str) -> Estimate:
    found = [*capacity(FOUND, rows=3, serving=SERVING), *used(STARTED, replace(STARTED, cpu=9.0), first_answer=0.5)]
    return next(e for e in found if e.quantity.metric == name)


def test_a_server_falls_behind_by_the_slope_of_its_latencies_over_time():
    """Once the queue has come about: in each block's first quarter there is none yet."""
    random, due = np.random.default_rng(3), np.arange(100) / 500
    settled = due >= 0.05
    blocks = [0.4 * due * settled + random.normal(0.01, 1e-3, 100) for _ in range(20)]
    slopes = [stats.linregress(due[settled], block[settled]).slope for block in blocks]
    assert stats.ttest_1samp(slopes, 0, alternative="greater").pvalue < 0.01
    assert rising(blocks, rate=500) == pytest.approx(np.mean(slopes), rel=0.01)
    assert rising([random.normal(0.01, 1e-3, 100) for _ in range(20)], rate=500) == 0


def test_throughput_has_scipys_interval_of_the_mean_of_logs_above_and_what_held_below():
    found = at_the_server("throughput")
    logs = np.log(np.array(FOUND.answers) / np.array(FOUND.seconds))
    upper = math.exp(stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=stats.sem(logs))[1])
    assert found.estimate == 3 * 60, "throughput"
    assert isinstance(found.interval, Table)
    assert found.interval.upper[0] == pytest.approx(3 * upper), "throughput"
    assert found.interval.lower[0] == 3 * 60, "throughput"


def test_cpu_time_is_scipys_mean_of_logs():
    found = at_the_server("cpu_per_prediction")
    logs = np.log(np.array(FOUND.cpu) / np.array(FOUND.answers) / 3)
    low, high = stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=stats.sem(logs))
    assert found.estimate == pytest.approx(sum(FOUND.cpu) / sum(FOUND.answers) / 3), "cpu_per_prediction"
    assert isinstance(found.interval, StudentT)
    assert student_limits(found.interval, 0.025) == pytest.approx((math.exp(low), math.exp(high)))


def test_cost_is_what_a_million_predictions_keep_the_resources_for():
    hours = 1e6 / (3 * 60) / 3600
    bill = hours * (1.5 * 0.048 + 0.75 * 0.0053)
    assert at_the_server("cost_per_million").estimate == pytest.approx(bill), "cost_per_million"


def test_cost_of_use_is_the_bill_of_cpu_and_memory_by_block():
    found = at_the_server("used_cost_per_million")
    blocks = pd.DataFrame({"n": FOUND.answers, "s": FOUND.seconds, "cpu": FOUND.cpu, "b": FOUND.memory})
    blocks["bill"] = blocks.cpu / 3600 * 0.048 + blocks.b / 1024**3 * blocks.s / 3600 * 0.0053
    assert found.estimate == pytest.approx(1e6 * blocks.bill.sum() / (3 * blocks.n.sum())), "used_cost_per_million"
    logs = np.log(1e6 * blocks.bill / (3 * blocks.n))
    low, high = stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=stats.sem(logs))
    assert isinstance(found.interval, StudentT)
    assert student_limits(found.interval, 0.025) == pytest.approx((math.exp(low), math.exp(high)))


@pytest.mark.parametrize("count", [6, 7, 12, 16, 31])
def test_cold_starts_have_scipys_interval_of_the_median(count: int):
    """scipy.stats.quantile_test inverts the binomial test of a quantile, which needs no distribution (Conover 1999)."""
    seconds = np.random.default_rng(count).gamma(2.0, 0.4, count)
    found = starts(seconds.tolist())
    assert found.estimate == np.median(seconds), "cold_start"
    assert (found.support.rows, isinstance(found.interval, Table)) == (count, True)
    assert isinstance(found.interval, Table)
    for level, lower, upper in zip(found.interval.levels, found.interval.lower, found.interval.upper, strict=True):
        test = {side: stats.quantile_test(seconds, p=0.5, alternative=side) for side in ("less", "greater")}
        high = test["less"].confidence_interval(1 - level).high
        low = test["greater"].confidence_interval(1 - level).low
        exact = (low if np.isfinite(low) else None, high if np.isfinite(high) else None)
        assert (lower, upper) == exact, ("cold_start", level)


def test_the_share_of_blocks_below_the_peak_is_that_of_scipys_largest_of_n():
    """The share below the largest of n has the distribution Beta(n, 1)."""
    for count in (2, 5, 30):
        peaks = Peaks(mib=tuple(np.linspace(100, 200, count)))
        assert peaks.covered(alpha=0.05) == pytest.approx(stats.beta(count, 1).ppf(0.05)), "memory_peak"


def test_what_the_server_says_it_used_is_told_in_mib_and_with_the_first_answer():
    assert at_the_server("memory_peak").estimate == 768, "memory_peak"
    assert at_the_server("cold_start").estimate == 2.5, "cold_start"


def test_bad_inputs_that_end_badly_are_counted_over_all_kinds():
    kinds = {
        "missing": Probed(refused=3, answered=2, failures=Counter(Crash=2, Hang=1)),
        "huge": Probed(refused=1, failures=Counter(NoNumber=4)),
        "malformed": Probed(refused=9),
    }
    found = probed(kinds)
    assert found.estimate == 2 + 1 + 4, "robustness_failures"
    assert (found.support.rows, found.support.events) == (3 + 2 + 3 + 1 + 4 + 9, 7), "robustness_failures"
