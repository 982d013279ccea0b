"""Metrics of forecasts against pandas, scikit-learn and NumPy, and against sums written out row by row."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import mean_absolute_error

from mandate.api import spec
from mandate.measure.forecasts import MIN_DIFFERENCES, forecasts
from mandate.measure.metrics import METRICS, Sample
from mandate.measure.references import make
from mandate.measure.split import Split
from tests.peers.test_variances import influence

NAMES = ("mase", "smape", "error_growth")
DAY = 86_400_000_000
SEASON = 3


def sample(seed: int = 8, rows: int = 80) -> Sample:
    """Heavy-tailed errors that grow, some zeros on both sides, a few rows without a scale."""
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 30, rows) / 4.0
    actual = np.round(rng.normal(2, 3, rows))
    score = actual + np.round(rng.standard_t(4, rows) * (1 + days / 5), 1)
    scale = rng.uniform(0.5, 4, rows)
    scale[:: rows // 5] = np.nan
    return Sample(actual=actual, score=score, scale=scale, days=days)


def weighted(name: str, given: Sample):
    """The metric as a function of row weights."""
    actual, score, scale = given.actual, given.score, given.scale
    kept = np.isfinite(scale)
    size = np.abs(actual) + np.abs(score)
    share = np.divide(2 * np.abs(actual - score), size, out=np.zeros(len(size)), where=size > 0)
    errors = np.abs(actual - score)

    def growth(w: np.ndarray) -> float:
        return float(np.polyfit(given.days, errors, 1, w=np.sqrt(w))[0] / np.average(errors, weights=w))

    return {
        "mase": lambda w: mean_absolute_error((actual / scale)[kept], (score / scale)[kept], sample_weight=w[kept]),
        "smape": lambda w: float(np.average(share, weights=w)),
        "error_growth": growth,
    }[name]


@pytest.mark.row("G4/forecast")
def test_values_row_by_row():
    given = sample()
    scaled, shares, rows = [], [], []
    for y, p, s, day in zip(*(a.tolist() for a in (given.actual, given.score, given.scale, given.days)), strict=True):
        error = abs(p - y)
        scaled += [] if math.isnan(s) else [error / s]
        shares.append(2 * error / (abs(y) + abs(p)) if y or p else 0.0)
        rows.append((day, error))
    assert 0.0 in shares
    assert METRICS["mase"](given).value == pytest.approx(math.fsum(scaled) / len(scaled), rel=1e-12)
    assert METRICS["smape"](given).value == pytest.approx(math.fsum(shares) / len(shares), rel=1e-12)
    middle, size = (math.fsum(values) / len(rows) for values in zip(*rows, strict=True))
    slope = math.fsum((d - middle) * e for d, e in rows) / math.fsum((d - middle) ** 2 for d, _ in rows)
    assert METRICS["error_growth"](given).value == pytest.approx(slope / size, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_influence_is_the_derivative_forecast(name):
    given = sample()
    expected = influence(weighted(name, given), len(given))
    assert METRICS[name](given).psi == pytest.approx(expected, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_forecasts_are_numbers_of_rows(name):
    given = sample()
    times = np.random.default_rng(1).integers(1, 4, len(given))
    heavy = replace(given, weight=times * 1.0)
    found, expected = METRICS[name](heavy), METRICS[name](given.take(np.repeat(np.arange(len(given)), times)))
    assert found.value == pytest.approx(expected.value, rel=1e-12), name
    assert found.psi == pytest.approx(
        influence(lambda w: weighted(name, given)(w * times), len(given)), rel=1e-5, abs=1e-6
    ), name


def table(seed: int = 3, horizons: tuple[int, ...] = (1, 2, 5)) -> tuple[pa.Table, pd.DataFrame]:
    """Four series: two plain, one with missing steps, one constant, one too short; rows in no order."""
    rng = np.random.default_rng(seed)
    parts = []
    every = np.arange(30)
    for name, at in (("a", every), ("b", every[5:]), ("holes", every[every % 7 > 0]), ("new", every[21:])):
        y = np.cumsum(rng.normal(size=len(at))) + 10
        parts.append(pd.DataFrame({"series": name, "day": at, "y": y}))
    parts.append(pd.DataFrame({"series": "flat", "day": np.arange(30), "y": 4.0}))
    frame = pd.concat(parts).merge(pd.DataFrame({"h": horizons}), how="cross")
    frame["guess"] = frame.y + rng.normal(size=len(frame))
    frame = frame.sample(frac=1, random_state=1).reset_index(drop=True)
    return pa.table(
        {
            "series": frame.series,
            "at": pa.array(frame.day.to_numpy("int64") * DAY, pa.timestamp("us", "UTC")),
            "h": frame.h,
            "y": frame.y,
            "guess": frame.guess,
        }
    ), frame


TASK = spec.Task(type="Forecast", target="y", time="at", series="series", horizon="h", season=SEASON)


def split(frame: pd.DataFrame) -> Split:
    part = np.where(frame.day < 20, 0, np.where(frame.day < 23, 1, 2)).astype(np.int8)
    return Split(part=part, keys=np.arange(len(frame), dtype=np.uint64), digest="sha256:" + "0" * 64)


def test_scales_are_pandas_seasonal_differences_of_training_steps():
    rows, frame = table()
    found = forecasts(rows, split(frame), frame.y.to_numpy(), task=TASK, weights=None)
    for name, steps in frame[frame.day < 20].drop_duplicates(["series", "day"]).sort_values("day").groupby("series"):
        apart = steps.y.diff(SEASON).abs().dropna()
        expected = apart.mean() if len(apart) >= MIN_DIFFERENCES and apart.any() else np.nan
        assert found.scale[frame.series == name] == pytest.approx(expected, rel=1e-12, nan_ok=True), name
    assert np.isnan(found.scale[frame.series.isin(["flat", "new"])]).all()
    assert np.isfinite(found.scale[frame.series.isin(["a", "b", "holes"])]).all()


def test_the_naive_forecast_in_training_has_a_scaled_error_of_1():
    """Hyndman & Koehler 2006: by construction."""
    rows, frame = table(horizons=(1,))
    found = forecasts(rows, split(frame), frame.y.to_numpy(), task=TASK, weights=None)
    ordered = frame.assign(scale=found.scale).sort_values(["series", "day"])
    ordered["naive"] = ordered.groupby("series").y.shift(SEASON)
    kept = ordered[(ordered.day < 20) & ordered.naive.notna() & (ordered.series == "b")]
    given = Sample(actual=kept.y.to_numpy(), score=kept.naive.to_numpy(), scale=kept.scale.to_numpy())
    assert METRICS["mase"](given).value == pytest.approx(1.0, rel=1e-12)


def test_days_are_those_since_the_last_training_row():
    rows, frame = table()
    found = forecasts(rows, split(frame), frame.y.to_numpy(), task=TASK, weights=None)
    assert found.days == pytest.approx(frame.day.to_numpy() - 19)


@pytest.mark.row("B1/past")
def test_what_looks_back_from_a_horizon_sees_only_what_was_known_at_the_origin():
    rows, frame = table()
    parts = split(frame)
    ahead = forecasts(rows, parts, frame.y.to_numpy(), task=TASK, weights=None)
    looks = {"PreviousValue": {}, "SeasonalNaive": {"period": "72h"}, "LastPeriodMean": {"period": "72h"}}
    answers = {
        kind: make(
            spec.Baseline.model_validate({"name": "x", "type": kind} | fields), rows, parts, frame.y.to_numpy(),
            task=TASK, features=(), classes=(), cutoff=0.5, origin=ahead.origin,
        )[0].score
        for kind, fields in looks.items()
    }  # fmt: skip
    mean = frame.y[frame.day < 20].mean()
    steps = {name: dict(zip(some.day, some.y, strict=True)) for name, some in frame.groupby("series")}
    for row, (name, day, h) in enumerate(zip(frame.series, frame.day, frame.h, strict=True)):
        known = sorted(steps[name])
        place = known.index(day) - h
        values = [steps[name][at] for at in known[: place + 1]] if place >= 0 else []
        assert answers["PreviousValue"][row] == pytest.approx(values[-1] if values else mean)
        season = [y for at, y in zip(known, values, strict=False) if at % 3 == day % 3 and at < day]
        assert answers["SeasonalNaive"][row] == pytest.approx(season[-1] if season else mean)
        ends = {at // 3 for at in known[: place + 1]} if values else set()
        whole = [p for p in ends if p < day // 3 and all(at in known[: place + 1] for at in known if at // 3 == p)]
        last = [steps[name][at] for at in known if at // 3 == max(whole)] if whole else [mean]
        assert answers["LastPeriodMean"][row] == pytest.approx(np.mean(last))
