"""What a slice leaves over, by sums, against the metric on those rows themselves."""

import numpy as np
import pytest

from mandate.api.catalogue import metrics_for
from mandate.measure.metrics import METRICS, Declared, Point, Sample, UndefinedError, logistic
from mandate.measure.remainder import Remainder
from mandate.measure.uncertainty import Summed, contributions

ROWS = 4000
DECLARED = Declared(beta=2.0, top_k=2, costs=np.array([[0.0, 1.5], [5.0, 0.0]]), quantiles=(0.1, 0.5, 0.9))
COSTS = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0], [1.0, 4.0, 0.0]])
KINDS = {"Binary": "plain ties rare", "Multiclass": "plain", "Regression": "plain", "Ranking": "plain ties"}
CASES = [(kind, more) for kind, all_ in KINDS.items() for more in all_.split()]
SUMMED = {
    (kind, metric.name)
    for kind in KINDS
    for metric in metrics_for(kind)
    if metric.name in METRICS and metric.name not in ("r2", "standardized_bias")
}


def sample(kind: str, more: str) -> Sample:
    rng = np.random.default_rng(11)
    x = rng.normal(size=ROWS)
    noise = x + rng.normal(size=ROWS)
    if kind == "Regression":
        quantiles = x[:, None] + np.array([-1.3, 0.1, 1.3])
        return Sample(actual=noise, score=quantiles[:, 1], quantiles=quantiles, declared=DECLARED)
    if kind == "Ranking":
        query = rng.integers(0, ROWS // 4, ROWS)
        score = np.round(x) if more == "ties" else x
        return Sample(actual=np.maximum(np.round(noise), 0.0), score=score, query=query, declared=DECLARED)
    if kind == "Multiclass":
        raw = np.exp(-((x[:, None] - np.array([-1, 0, 1])) ** 2))
        score = raw / raw.sum(axis=1, keepdims=True)
        actual = np.digitize(noise, [-0.8, 0.8])
        declared = Declared(beta=2.0, top_k=2, costs=COSTS)
        return Sample(actual=actual, label=np.argmax(score, axis=1), score=score, classes=3, declared=declared)
    score = 1 / (1 + np.exp(-1.4 * x + (3.0 if more == "rare" else 0.0)))
    score = np.round(score, 1) if more == "ties" else score
    return Sample(actual=noise > (2.5 if more == "rare" else 0.0), label=score >= 0.3, score=score, declared=DECLARED)


def near(found: float, expected: float, *, scale: float, rel: float) -> bool:
    return found == pytest.approx(expected, rel=rel, abs=rel * scale)


def slices(whole: Sample) -> dict[str, np.ndarray]:
    """Rows of slices: any, those scored high, one, and few of one class."""
    rng = np.random.default_rng(12)
    number = whole.score if whole.score.ndim == 1 else whole.score[:, 0]
    top = 0.8 if whole.query is None else 0.95  # whole queries of those are more rows, of which half is the most
    return {
        "any": np.flatnonzero(rng.random(ROWS) < 0.1),
        "high": np.flatnonzero(number > np.quantile(number, top)),
        "one": np.array([17]),
        "class": np.flatnonzero(whole.actual > np.median(whole.actual))[:40],
    }


@pytest.mark.parametrize(("kind", "more"), CASES)
@pytest.mark.parametrize("which", ["any", "high", "one", "class"])
def test_what_is_left_is_what_its_rows_say(kind, more, which):
    whole = sample(kind, more)
    rows = slices(whole)[which]
    if whole.query is not None:  # whole queries
        rows = np.flatnonzero(np.isin(whole.query, whole.query[rows]))
    rest = whole.take(np.delete(np.arange(ROWS), rows))
    names = [name for task, name in SUMMED if task == kind]
    points = {name: METRICS[name](whole) for name in names}
    found = Remainder(whole, points).without(names, rows)
    assert which == "high" or set(found) == set(names)
    wrong = [name for name, summed in found.items() if not alike(name, summed, METRICS[name](rest))]
    assert not wrong, ", ".join(wrong)  # pytest shortens a long list, and mutations look for their metric in it


def alike(name: str, summed: Summed, point: Point) -> bool:
    spread = contributions(point, None).sums
    # Newton's method stops at steps of 1e-10.
    rel = 1e-8 if name == "calibration_slope" else 1e-10
    return (
        near(summed.value, point.value, scale=1e-3, rel=rel)
        and near(summed.sums.second, spread.second, scale=0.0, rel=rel)
        and near(summed.sums.third, spread.third, scale=spread.second**1.5, rel=rel)
        and near(summed.sums.fourth, spread.fourth, scale=0.0, rel=rel)
        and (summed.sums.count, summed.sums.freedom, summed.unit) == (spread.count, spread.freedom, point.unit)
        and near(summed.steady, point.steady, scale=0.0, rel=1e-12)
        and near(summed.step, point.step, scale=0.0, rel=1e-12)
        and bool(point.step or summed.events == point.events)
    )


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("which", ["any", "high", "few"])
def test_many_steps_of_precision_are_told_by_fewer(which, rare):
    rng = np.random.default_rng(13)
    rows = 100_000
    x = rng.normal(size=rows) - 3.0 * rare
    score = 1 / (1 + np.exp(-x))
    whole = Sample(actual=x + rng.normal(size=rows) > 0.5, label=score > 0.5, score=score)
    remainder = Remainder(whole, {"average_precision": METRICS["average_precision"](whole)})
    assert (len(remainder._steps.hits) < np.count_nonzero(whole.actual)) != rare
    chosen = {"any": rng.random(rows) < 0.3, "high": score > np.quantile(score, 0.97), "few": rng.random(rows) < 1e-3}
    taken = np.flatnonzero(chosen[which])
    found = remainder.without(["average_precision"], taken)["average_precision"]
    point = METRICS["average_precision"](whole.take(np.delete(np.arange(rows), taken)))
    spread = contributions(point, None).sums
    assert found.value == pytest.approx(point.value, rel=1e-5)
    assert found.sums.second == pytest.approx(spread.second, rel=1e-4)
    assert found.sums.third == pytest.approx(spread.third, rel=1e-4, abs=1e-4 * spread.second**1.5)
    assert found.sums.fourth == pytest.approx(spread.fourth, rel=1e-4)


def test_where_sums_lose_their_digits_the_rows_are_asked():
    whole = sample("Regression", "plain")
    score = whole.score.copy()
    score[5] = 1e7
    wild = Sample(actual=whole.actual, score=score)
    names = ["mean_absolute_error", "root_mean_squared_error", "bias"]
    remainder = Remainder(wild, {name: METRICS[name](wild) for name in names})
    assert remainder.without(names, np.array([5, 6])) == {}
    assert set(remainder.without(names, np.array([6, 7]))) == set(names)


def test_more_than_half_and_rows_with_weights_are_left_to_the_rows():
    whole = sample("Binary", "plain")
    points = {"accuracy": METRICS["accuracy"](whole)}
    assert Remainder(whole, points).without(points, np.arange(ROWS // 2 + 1)) == {}
    weight = np.linspace(1.0, 2.0, ROWS)
    heavy = Sample(actual=whole.actual, label=whole.label, weight=weight)
    assert Remainder(heavy, points).without(points, np.arange(10)) == {}


def test_what_has_no_value_has_none_by_sums_either():
    whole = sample("Binary", "rare")
    rows = np.flatnonzero(whole.actual)
    points: dict[str, Point] = {}
    for name in ("recall", "log_loss", "brier_score", "accuracy"):
        points[name] = METRICS[name](whole)
    found = Remainder(whole, points).without(points, rows)
    assert set(found) == {"accuracy"}
    for name in ("recall", "log_loss"):
        with pytest.raises(UndefinedError):
            METRICS[name](whole.take(np.flatnonzero(~whole.actual)))


@pytest.mark.parametrize("slope", [0.4, 1.0, 7.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_points_stand_for_the_rows(slope, weighted):
    """Sums of residuals' powers over ranges' nodes, and over the rows themselves, also at a slope twice as steep."""
    rng = np.random.default_rng(13)
    x = rng.normal(scale=2.0, size=ROWS) / max(slope, 1.0)
    actual = rng.random(ROWS) < 1 / (1 + np.exp(-0.3 - slope * x))
    weight = rng.uniform(0.5, 2.0, ROWS) if weighted else None
    points = logistic.ranges(x, actual, slope=slope).points(weight=weight)
    for beta in (np.array([0.3, slope]), np.array([-0.1, 2.0 * slope])):
        p = 1 / (1 + np.exp(-(beta[0] + beta[1] * x)))
        away = np.stack([actual - p, p * (1 - p), *((actual - p) ** power for power in (2, 3, 4))])
        expected = (away if weight is None else away * weight) @ np.vander(x, 5, increasing=True)
        assert points.sums(beta) == pytest.approx(expected, rel=1e-10, abs=1e-12 * float(np.abs(expected).max()))
    by_rows = METRICS["calibration_slope"](Sample(actual=actual, score=1 / (1 + np.exp(-x)), weight=weight))
    assert logistic.start(x, actual, weight)[1] == pytest.approx(by_rows.value, rel=1e-9, abs=1e-9)
