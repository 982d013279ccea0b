"""Spreads over groups against Fairlearn's definitions, written out with pandas, and their limits against SciPy's t.

Fairlearn: a difference is the largest group's rate minus the smallest's, a ratio the smallest divided by the largest;
equalized odds takes the larger difference, and the smaller ratio, of the true and the false positive rate.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from mandate.api import spec
from mandate.evidence.intervals import AllPairs, Beta, GroupPair, Proportions, Unbounded
from mandate.evidence.schema import Computed, Estimate
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.split import join
from mandate.verdict.limits import spread_limits

NEAR = {"rel": 1e-12, "abs": 1e-12}
RATES = ("selection_rate", "recall", "false_positive_rate", "precision", "observed_expected")


def frame(seed: int = 3, rows: int = 4000) -> pd.DataFrame:
    """Four groups that are answered differently."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c", "d"], rows, p=[0.4, 0.3, 0.2, 0.1])
    base = pd.Series(group).map({"a": 0.3, "b": 0.4, "c": 0.5, "d": 0.35}).to_numpy()
    y = rng.random(rows) < base
    score = np.clip(0.25 + 0.35 * y + 0.1 * (group == "b") + 0.2 * rng.normal(size=rows), 0.01, 0.99)
    return pd.DataFrame({"id": np.arange(rows), "group": group, "y": y.astype(int), "score": score})


def measured(table: pd.DataFrame, *, cluster: str | None = None) -> Computed:
    task = spec.Task(type="Binary", target="y", positive="1", id="id", cluster=cluster)
    whole, split = join({"test": pa.Table.from_pandas(table, preserve_index=False)}, task=task)
    return compute(
        table=whole,
        split=split,
        answers=from_columns(whole, ["score"]),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("score",))),
        task=task,
        data=spec.Data(
            test=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="group", column="group", sensitive=True),)
        ),
    )


def spread(computed: Computed, metric: str, shape: str) -> Estimate:
    (found,) = [e for e in computed.estimates if e.quantity.metric == metric and e.quantity.shape == shape]
    assert found.quantity.across == "group"
    return found


def by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Every rate by group, from its definition."""
    table = table.assign(yes=(table.score >= 0.5).astype(float))
    return pd.DataFrame({
        "selection_rate": table.groupby("group").yes.mean(),
        "recall": table[table.y == 1].groupby("group").yes.mean(),
        "false_positive_rate": table[table.y == 0].groupby("group").yes.mean(),
        "precision": table[table.yes == 1].groupby("group").y.mean(),
        "observed_expected": table.groupby("group").y.sum() / table.groupby("group").score.sum(),
    })  # fmt: skip


@pytest.mark.row("R1/spreads")
@pytest.mark.parametrize("metric", RATES)
def test_spreads_are_those_of_the_groups_rates(metric):
    computed, rates = measured(frame()), by_group(frame())[metric]
    assert spread(computed, metric, "difference").estimate == pytest.approx(rates.max() - rates.min(), **NEAR)
    assert spread(computed, metric, "ratio").estimate == pytest.approx(rates.min() / rates.max(), **NEAR)


@pytest.mark.parametrize("metric", ["equalized_odds"])
def test_equalized_odds_is_the_worse_of_two_rates(metric):
    computed, rates = measured(frame()), by_group(frame())[["recall", "false_positive_rate"]]
    difference, ratio = spread(computed, metric, "difference"), spread(computed, metric, "ratio")
    assert difference.estimate == pytest.approx((rates.max() - rates.min()).max(), **NEAR)
    assert ratio.estimate == pytest.approx((rates.min() / rates.max()).min(), **NEAR)
    for found in (difference, ratio):
        assert isinstance(found.interval, AllPairs)
        assert [pair.metric for pair in found.interval.pairs].count("recall") == 6
        assert len(found.interval.pairs) == 12, "every pair of groups, of both rates"


@pytest.mark.row("R1/all-pairs")
def test_limits_of_pairs_are_welchs_and_the_spreads_are_simultaneous():
    """Two rates of independent groups: variances add up; log ratios have the delta method's."""
    table, alpha = frame(), 0.0125
    table = table.assign(yes=(table.score >= 0.5).astype(float))
    computed, groups = measured(table), {name: part.yes for name, part in table.groupby("group")}
    for shape in ("difference", "ratio"):
        interval = spread(computed, "selection_rate", shape).interval
        assert isinstance(interval, AllPairs)
        far = near = 0.0
        for pair in interval.pairs:
            one, other = groups[pair.first], groups[pair.second]
            scale = (1 / one.mean(), 1 / other.mean()) if shape == "ratio" else (1.0, 1.0)
            centre = math.log(one.mean() / other.mean()) if shape == "ratio" else one.mean() - other.mean()
            error = math.hypot(one.sem() * scale[0], other.sem() * scale[1])
            assert pair.interval.centre == pytest.approx(centre, **NEAR)
            assert pair.interval.se == pytest.approx(error, rel=1e-9)
            each = stats.t.ppf(1 - alpha, pair.interval.df) * error
            all_ = stats.t.ppf(1 - alpha / 6, pair.interval.df) * error
            far, near = max(far, abs(centre) + each), max(near, abs(centre) - all_)
        expected = (math.exp(-far), math.exp(-near)) if shape == "ratio" else (near, far)
        assert spread_limits(interval, alpha, ratio=shape == "ratio") == pytest.approx(expected, rel=1e-9)


def test_a_zero_rates_ratio_is_bounded_by_both_groups_exact_limits():
    beta = stats.beta
    pair = Proportions(first=Beta(successes=0, trials=300), second=Beta(successes=120, trials=400))
    why = Unbounded(reason="a: no variation", unit="rows", found=300, needed=600)
    interval = AllPairs(pairs=(GroupPair(first="a", second="b", interval=pair),), hindrance=why)
    lower, upper = spread_limits(interval, 0.02, ratio=True)
    assert lower == -math.inf
    assert upper == pytest.approx(beta.isf(0.01, 1, 300) / beta.ppf(0.01, 120, 281))
    halved = spread_limits(interval.model_copy(update={"left_out": 1}), 0.04, ratio=True)
    assert halved == pytest.approx((lower, upper)), "pairs that couldn't be had count among the tests"
