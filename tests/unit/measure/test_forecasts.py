"""A Forecast through the engine: horizons, clusters, and the traps of times and series."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mandate.api import spec
from mandate.evidence.intervals import Paired, StudentT, Unbounded
from mandate.evidence.schema import Computed, Evidence, Measured, computed_bytes
from mandate.measure import forecasts
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.metrics import METRICS, Sample, UndefinedError
from mandate.measure.split import Split, divide
from mandate.measure.table import MeasureError
from mandate.verdict.judge import judge
from tests.unit.measure.test_engine import find

DAY = 86_400_000_000
NAMES = ("mean_absolute_error", "root_mean_squared_error", "bias", "mase", "smape", "error_growth")


def table(series: int = 60, days: int = 100, horizons: tuple[int, ...] = (1, 7), seed: int = 0) -> pa.Table:
    """Random walks with a week; answers whose error grows with the horizon."""
    rng = np.random.default_rng(seed)
    week = 5 * np.sin(2 * np.pi * np.arange(days) / 7)
    truth = np.cumsum(rng.normal(size=(series, days)), axis=1) + week + 20
    s, d, h = (grid.ravel() for grid in np.meshgrid(range(series), range(days), horizons, indexing="ij"))
    return pa.table(
        {
            "shop": [f"s{place}" for place in s],
            "day": pa.array(d * DAY, pa.timestamp("us", "UTC")),
            "ahead": h,
            "sold": truth[s, d],
            "said": truth[s, d] + rng.normal(size=len(s)) * np.sqrt(h),
        }
    )


def put(rows: pa.Table, name: str, values) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, pa.array(values))


MODEL = spec.Model(version="1", source=spec.ModelSource(columns=("said",)), output=spec.ModelOutput(kind="Value"))
TASK = spec.Task(type="Forecast", target="sold", time="day", series="shop", horizon="ahead", season=7)


def measured(rows: pa.Table, *kinds: str, split: Split | None = None, **changes) -> Computed:
    task = TASK.model_copy(update=changes)
    how = spec.Split(method="Time")
    fields = {"SeasonalNaive": {"period": "Week"}, "LastPeriodMean": {"period": "Week"}}
    return compute(
        table=rows,
        split=split or divide(rows, how=how, task=task),
        answers=Answers(values=np.array(rows["said"])),
        model=MODEL,
        task=task,
        data=spec.Data(source=spec.TableSource(uri="t.csv"), split=how),
        references=[spec.Baseline.model_validate({"name": k.lower(), "type": k} | fields.get(k, {})) for k in kinds],
    )


def told(computed: Computed, words: str) -> list[str]:
    return [finding for finding in computed.findings if words in finding]


@pytest.mark.row("T1/horizons")
def test_every_horizon_is_measured_beside_the_baselines():
    rows = table()
    computed = measured(rows, "PreviousValue", "SeasonalNaive", "Median")
    test = divide(rows, how=spec.Split(method="Time"), task=spec.Task(type="Forecast", target="sold", time="day"))
    for steps in (1, 7):
        kept = test.rows("test") & (np.array(rows["ahead"]) == steps)
        error = np.abs(np.array(rows["said"]) - np.array(rows["sold"]))[kept]
        found = find(computed, "mean_absolute_error", horizon=str(steps))
        assert found.estimate == pytest.approx(error.mean())
        assert (found.support.rows, found.support.clusters) == (len(error), 60)
        assert isinstance(found.interval, StudentT)
        for name in NAMES:
            for versus in ("previousvalue", "seasonalnaive", "median"):
                other = find(computed, name, horizon=str(steps), versus=versus)
                assert other.fault is None, (name, versus)
                assert isinstance(other.interval, Paired | Unbounded)
    near, far = (find(computed, "mase", horizon=steps, versus="previousvalue").reference for steps in ("1", "7"))
    assert near != far
    assert told(computed, "60 series, which count as clusters")
    assert not told(computed, "task.cluster")


def test_row_order_changes_no_byte():
    rows = table(series=35, days=60)
    order = np.random.default_rng(1).permutation(rows.num_rows)
    shuffled = measured(rows.take(pa.array(order)), "PreviousValue")
    assert computed_bytes(shuffled) == computed_bytes(measured(rows, "PreviousValue"))


def verdicts(computed: Computed, **gate) -> dict[str, str]:
    asked = spec.Gate.model_validate({"name": "g", "metric": "mase", "require": {"Shadow": "<= 1"}} | gate)
    evidence = Evidence(computed=computed, measured=Measured())
    found = judge(gates=[asked], tier="Medium", evidence=evidence, look=1, champion=False, target="Shadow")
    return {outcome.where: outcome.verdict for outcome in found.at("Shadow").gates[0].outcomes}


@pytest.mark.row("T1/horizons")
def test_a_gate_asks_for_all_rows_one_horizon_or_each():
    rows = table(series=100, days=120)
    bad = np.array(rows["ahead"]) == 7
    rows = put(rows, "said", np.array(rows["said"]) + 30 * bad)
    computed = measured(rows, "PreviousValue")
    assert verdicts(computed) == {"overall": "Fail"}
    assert verdicts(computed, horizon="1") == {"horizon 1": "Pass"}
    assert verdicts(computed, horizon="7") == {"horizon 7": "Fail"}
    assert verdicts(computed, horizon="Each") == {"horizon 7": "Fail", "horizon 1": "Pass"}
    assert list(verdicts(computed, horizon="3").values()) == ["Error"]
    against = {"metric": "mean_absolute_error", "horizon": "Each", "require": {"Shadow": "better than previousvalue"}}
    assert verdicts(computed, **against) == {"horizon 7": "Fail", "horizon 1": "Pass"}
    none = measured(table(horizons=(1,)), horizon=None)
    assert list(verdicts(none, horizon="Each").values()) == ["Error"]


def test_a_horizon_without_test_rows_is_an_error_and_one_without_training_rows_is_told():
    rows = table(days=120)
    day, far = np.array(rows["day"].cast(pa.int64())) // DAY, np.array(rows["ahead"]) == 7
    gone = measured(rows.filter(pa.array((day < 70) | ~far)))
    assert find(gone, "mase", horizon="7").fault.code == "NoRows"
    assert verdicts(gone, horizon="Each")["horizon 7"] == "Error"
    new = measured(rows.filter(pa.array((day >= 100) | ~far)))
    assert find(new, "mase", horizon="7").fault is None
    assert told(new, "in test and not in train, so the model can't have learnt them: 7")


def test_more_horizons_than_are_measured_are_an_error_of_each(monkeypatch):
    monkeypatch.setattr("mandate.measure.judge.MAX_HORIZONS", 1)
    computed = measured(table(), "Mean")
    assert verdicts(computed, horizon="Each") == {"each horizon": "Error"}
    assert find(computed, "mase", horizon="Each", versus="mean").fault.code == "TooManyHorizons"


@pytest.mark.row("T1/age")
def test_an_error_that_grows_with_time_is_found():
    rows = table(series=90, days=100)
    day = np.array(rows["day"].cast(pa.int64())) / DAY
    rng = np.random.default_rng(2)
    error = (1 + 0.1 * (day - 60)) * (1 + 0.1 * rng.random(len(day)))
    computed = measured(put(rows, "said", np.array(rows["sold"]) + error))
    found = find(computed, "error_growth")
    # On days 80 to 99 the error goes from 3 to 4.9 by 0.1 a day.
    assert found.estimate == pytest.approx(0.1 / 3.95, rel=0.02)
    assert isinstance(found.interval, StudentT)
    assert verdicts(computed, metric="error_growth", require={"Shadow": "<= 0.01"}) == {"overall": "Fail"}
    assert verdicts(computed, metric="error_growth", require={"Shadow": "<= 0.05"}) == {"overall": "Pass"}


def test_growth_needs_times_that_differ_and_errors():
    plain = table(series=35)
    plain = put(plain, "day", np.array(plain["day"].cast(pa.int64())) // DAY)
    assert find(measured(plain), "error_growth").fault.code == "PlainTime"
    assert find(measured(plain), "mase").fault is None
    ones = np.ones(4)
    for days, code in ((ones, "OneTime"), (np.arange(4.0), "NoError")):
        with pytest.raises(UndefinedError) as error:
            METRICS["error_growth"](Sample(actual=ones, score=ones, days=days))
        assert error.value.code == code


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), "RepeatedForecast"),
        (lambda rows: put(rows, "sold", [-1.0, *rows["sold"].to_pylist()[1:]]), "DifferentTruths"),
        (lambda rows: put(rows, "shop", [None, *rows["shop"].to_pylist()[1:]]), "MissingSeries"),
        (lambda rows: put(rows, "ahead", [0, *rows["ahead"].to_pylist()[1:]]), "BadHorizon"),
        (lambda rows: put(rows, "ahead", [1.5, *rows["ahead"].cast(pa.float64()).to_pylist()[1:]]), "BadHorizon"),
        (lambda rows: put(rows, "ahead", [None, *rows["ahead"].to_pylist()[1:]]), "BadHorizon"),
    ],
)
def test_what_is_no_forecast_is_refused(spoil, code):
    with pytest.raises(MeasureError) as error:
        measured(spoil(table(series=3, days=30)))
    assert error.value.code == code
    assert error.value.args[0].startswith("task.")


def hours(*, offset: bool) -> pa.Table:
    """Two days by the clock in Berlin, of which the second has 25 hours."""
    start = datetime.datetime(2024, 10, 26, tzinfo=datetime.UTC) - datetime.timedelta(hours=2)
    every = pa.array([start + datetime.timedelta(hours=n) for n in range(49)], pa.timestamp("us", "UTC"))
    berlin = every.cast(pa.timestamp("us", "Europe/Berlin"))
    texts = [t.as_py().isoformat() for t in berlin]
    truth = np.arange(49.0) % 24
    times = texts if offset else [text[:-6] for text in texts]
    return pa.table({"shop": ["a"] * 49, "day": times, "ahead": [1] * 49, "sold": truth, "said": truth + 1})


def test_clocks_that_go_back_repeat_an_hour_unless_times_have_their_offset():
    with pytest.raises(MeasureError, match="where clocks go back write times with their offset") as error:
        measured(hours(offset=False))
    assert error.value.code == "RepeatedForecast"
    assert find(measured(hours(offset=True), season=24), "mean_absolute_error").estimate == 1


def test_days_of_25_hours_are_steps_and_missing_ones_are_told():
    noons = pa.array([datetime.datetime(2024, 10, day, 12) for day in range(1, 32)], pa.timestamp("us"))
    at, days = pc.assume_timezone(noons, "Europe/Berlin"), np.arange(31.0)
    rows = pa.table({"shop": ["a"] * 31, "day": at, "ahead": [1] * 31, "sold": days**2, "said": days})
    assert not told(measured(rows), "reach over such a gap")
    holes = measured(rows.filter(pa.array(np.arange(31) % 10 > 0)))
    assert told(holes, "task.time: 2 steps come more than 1.5 times")


def test_series_without_a_scale_are_left_out_counted_and_too_many_a_fault():
    rows = table(series=60, days=100, horizons=(1,))
    shop, day = np.array(rows["shop"]), np.array(rows["day"].cast(pa.int64())) // DAY
    flat = np.isin(shop, ["s0", "s1"])
    sold = np.where(flat & (day < 60), 4.0, np.array(rows["sold"]))
    short = (shop == "s2") & (day < 49)  # 11 training steps give 4 differences from a week before
    few = put(rows, "sold", sold).filter(pa.array(~short))
    computed = measured(few)
    found = find(computed, "mase")
    assert found.fault is None
    assert found.support.clusters == 57
    assert found.support.events == found.support.rows * 57 // 60
    assert told(computed, "mase: 3 series with 60 of 1200 test rows have no scale")
    assert find(computed, "mean_absolute_error").support.clusters == 60
    assert find(measured(rows, season=58), "mase").fault.code == "NoScale"
    everything = put(rows, "sold", np.where(np.isin(shop, [f"s{n}" for n in range(7)]) & (day < 60), 4.0, sold))
    assert find(measured(everything), "mase").fault.code == "NoScale"


def test_without_training_rows_there_is_no_scale():
    rows = table(series=35, days=40, horizons=(1,))
    task = spec.Task(type="Forecast", target="sold", time="day", series="shop")
    split = divide(rows, how=spec.Split(method="Time", train="0", validation="0", test="1"), task=task)
    found = forecasts.forecasts(rows, split, np.array(rows["sold"]), task=task, weights=None)
    assert found.scale is None
    with pytest.raises(UndefinedError):
        METRICS["mase"](found.beside(Sample(actual=np.ones(2), score=np.ones(2)), np.arange(2)))


def test_a_nearly_constant_series_has_no_scale():
    """Rounding is no difference: 0.1 + 0.2 and 0.3 are one value."""
    rows = pa.table(
        {
            "shop": ["a"] * 40,
            "day": np.arange(40),
            "sold": np.where(np.arange(40) % 2, 0.1 + 0.2, 0.3) * 1e6,
            "said": np.ones(40),
        }
    )
    task = spec.Task(type="Forecast", target="sold", time="day", series="shop")
    split = divide(rows, how=spec.Split(method="Time"), task=task)
    found = forecasts.forecasts(rows, split, np.array(rows["sold"]), task=task, weights=None)
    assert np.isnan(found.scale).all()


def test_zeros_and_huge_numbers_have_symmetric_shares():
    actual = np.array([0.0, 0.0, 1e308, 5e-324, 3.0])
    score = np.array([0.0, 2.0, -1e308, 5e-324, 1.0])
    assert METRICS["smape"](Sample(actual=actual, score=score)).value == pytest.approx((0 + 2 + 2 + 0 + 1) / 5)


@pytest.mark.row("T3/clusters")
def test_few_series_make_blocks_of_time_that_outlast_the_horizon():
    computed = measured(table(series=3, days=200), "PreviousValue")
    assert told(computed, "3 series tell too little as clusters (30 would be enough), so blocks of 25 steps are: 2 in")
    found = find(computed, "mase", horizon="7")
    assert isinstance(found.interval, Unbounded)
    assert found.interval.unit == "clusters"
    one = measured(table(series=1, days=300, horizons=(1,)), series=None, horizon=None)
    assert find(one, "mase").support.clusters is None
    assert find(one, "mean_absolute_error").support.rows == 60
    declared = measured(table(series=3, days=200), cluster="shop")
    assert find(declared, "mase").support.clusters == 3
    assert not told(declared, "tell too little")


def ahead(rows: pa.Table, **changes) -> forecasts.Forecasts:
    task = TASK.model_copy(update=changes)
    split = divide(rows, how=spec.Split(method="Time"), task=task)
    found = forecasts.forecasts(rows, split, np.array(rows["sold"]), task=task, weights=None)
    assert found is not None
    return found


@pytest.mark.row("T3/clusters")
def test_blocks_of_time_are_in_order_also_where_each_is_one_row():
    one = table(series=1, days=300, horizons=(1,))
    order = np.random.default_rng(1).permutation(300)
    found = ahead(one.take(pa.array(order)))
    assert found.clusters is None
    assert found.blocks is not None
    assert found.blocks.tolist() == order.tolist()
    few = ahead(table(series=3, days=200))
    assert few.blocks is few.clusters is not None
    assert ahead(table(series=60)).blocks is None
    assert ahead(one, cluster="shop").blocks is None


@pytest.mark.row("T5/interval")
def test_neighbours_that_are_alike_make_limits_wider_in_whatever_order_rows_are():
    """A shock that lasts ten days; with the times mixed up, the same errors tell more."""
    rows = table(series=1, days=1000, horizons=(1,))
    lasting = np.repeat(np.random.default_rng(2).normal(size=100), 10)
    rows = put(rows, "said", np.array(rows["sold"]) + lasting)
    alone = {"series": None, "horizon": None}
    found = find(measured(rows, **alone), "bias").interval
    mixed = measured(rows.take(pa.array(np.random.default_rng(3).permutation(1000))), **alone)
    assert isinstance(found, StudentT)
    assert find(mixed, "bias").interval == found
    test = lasting[800:]
    assert found.se > 2 * np.std(test, ddof=1) / math.sqrt(200)


def test_forecasts_from_before_the_end_of_training_are_told():
    rows = table(series=30, days=100, horizons=(30,))
    assert told(measured(rows), "test rows were forecast from before the last training row")
    assert not told(measured(table(series=30, days=100, horizons=(7,))), "before the last training row")


def test_rows_of_weight_0_are_not_there():
    rows = table(series=32, days=60)
    kept = np.random.default_rng(4).random(rows.num_rows) < 0.8
    split = divide(rows, how=spec.Split(method="Time"), task=TASK)
    weighed = put(rows, "sold", np.where(kept, np.array(rows["sold"]), -99.0)).append_column("w", pa.array(kept * 1.0))
    some = measured(weighed, "PreviousValue", split=split, weight="w")
    left = measured(rows.filter(pa.array(kept)), "PreviousValue", split=split.take(np.flatnonzero(kept)))
    for name in NAMES:
        for versus in (None, "previousvalue"):
            one, other = (find(computed, name, horizon="7", versus=versus) for computed in (some, left))
            assert one.estimate == pytest.approx(other.estimate), name
            assert one.reference == pytest.approx(other.reference), name
            assert one.support == other.support, name
