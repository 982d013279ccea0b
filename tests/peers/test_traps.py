"""Situations in which the field's usual intervals pass wrongly, and ours must not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mandate.evidence.intervals import AllPairs, Beta, Paired, StudentT, Unbounded
from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Declared, Point, Sample, UndefinedError
from mandate.verdict.judge import share_of_alpha
from mandate.verdict.limits import beta_limits, contrast_limits, student_limits
from tests.peers.samples import binary

ALPHA = share_of_alpha(confidence=0.95, look=1)


def rarely(wrong: int, repeats: int) -> bool:
    """Whether a share of wrong passes is within alpha and half a point, up to three of its own standard errors."""
    allowed = ALPHA + 0.005
    return wrong / repeats <= allowed + 3 * math.sqrt(allowed * (1 - allowed) / repeats)


def wilson(successes: float, trials: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval (1927), as rows are usually treated."""
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return middle - reach, middle + reach


@pytest.mark.row("T5/events")
def test_auc_1_on_five_positives_has_no_interval():
    actual = np.arange(100) < 5
    point = METRICS["roc_auc"](Sample(actual=actual, score=np.where(actual, 0.9, 0.1)))
    assert point.value == 1.0
    interval = uncertainty.alone(point, None)
    assert isinstance(interval, Unbounded)
    assert (interval.unit, interval.found) == ("minority", 5)


def test_auc_1_on_many_positives_has_no_interval_either():
    actual = np.arange(1000) < 500
    point = METRICS["roc_auc"](Sample(actual=actual, score=np.where(actual, 0.9, 0.1)))
    assert isinstance(uncertainty.alone(point, None), Unbounded)


@pytest.mark.row("T5/events")
def test_ten_positives_at_auc_97_have_no_interval():
    rng = np.random.default_rng(1)
    for _ in range(20):
        actual = np.arange(500) < 10
        score = rng.normal(size=500) + 2.66 * actual
        assert isinstance(uncertainty.alone(METRICS["roc_auc"](Sample(actual=actual, score=score)), None), Unbounded)


@pytest.mark.row("T3/clusters")
def test_clusters_of_ten_with_icc_0_2():
    """100 clusters of 10 at ICC 0.2: row by row the lower limit is too high in 1 of 8 samples, ours isn't."""
    rng = np.random.default_rng(2)
    share, icc, repeats = 0.7, 0.2, 3000
    strength = (1 - icc) / icc
    codes = np.repeat(np.arange(100), 10)
    everyone = np.ones(1000, dtype=bool)
    by_row = by_cluster = 0
    for _ in range(repeats):
        rates = rng.beta(share * strength, (1 - share) * strength, size=100)
        right = rng.random(1000) < rates[codes]
        point = METRICS["accuracy"](Sample(actual=everyone, label=right))
        by_row += wilson(right.sum(), 1000)[0] > share
        interval = uncertainty.alone(point, codes)
        assert isinstance(interval, Beta)
        by_cluster += beta_limits(interval, ALPHA)[0] > share
    assert by_row / repeats > 0.08
    assert rarely(by_cluster, repeats)


@pytest.mark.row("T5/events")
def test_fewer_than_30_clusters_have_no_interval():
    sample = binary()
    for count, bounded in ((29, False), (30, True)):
        interval = uncertainty.alone(METRICS["accuracy"](sample), np.arange(120) % count)
        assert isinstance(interval, Beta) == bounded


def test_clusters_without_variation_count_as_one_row_each():
    everyone = np.ones(1000, dtype=bool)
    point = METRICS["accuracy"](Sample(actual=everyone, label=everyone))
    assert uncertainty.alone(point, np.repeat(np.arange(100), 10)) == Beta(successes=100, trials=100)


def test_identical_models_have_no_interval():
    sample = binary()
    for name in ("accuracy", "recall", "roc_auc", "log_loss", "f1"):
        point = METRICS[name](sample)
        assert isinstance(uncertainty.paired(point, point, None), Unbounded), name


def test_models_that_differ_on_a_few_rows_have_no_interval():
    sample = binary(rows=400)
    other = Sample(actual=sample.actual, label=sample.label.copy())
    other.label[:6] ^= True
    interval = uncertainty.paired(METRICS["accuracy"](sample), METRICS["accuracy"](other), None)
    assert isinstance(interval, Unbounded)
    assert (interval.unit, interval.needed) == ("discordant", uncertainty.MIN_STEPS)


def test_a_dear_error_that_was_not_seen_leaves_the_cost_open():
    """A hundred cheap errors, none of the dear ones, which cost a thousand times as much."""
    actual = np.arange(2000) % 2 == 0
    label = actual.copy()
    label[1:200:2] = True
    for dear, known in ((1000.0, False), (1.0, True)):
        costs = np.array([[0.0, 1.0], [dear, 0.0]])
        point = METRICS["expected_cost"](Sample(actual=actual, label=label, declared=Declared(costs=costs)))
        assert point.value == pytest.approx(0.05)
        assert isinstance(uncertainty.alone(point, None), StudentT if known else Unbounded)


@pytest.mark.row("B3/margin")
def test_a_reference_of_zero_is_kept_as_zero():
    """Whoever asks for a share of it then gets an Error, not a pass."""
    sample = binary(rows=400)
    never = Sample(actual=sample.actual, label=np.zeros(400, dtype=bool))
    interval = uncertainty.paired(METRICS["recall"](sample), METRICS["recall"](never), None)
    assert isinstance(interval, Paired)
    assert (interval.b, interval.var_b, interval.cov) == (0.0, 0.0, 0.0)


def test_perfect_answers_of_a_small_class_do_not_hide_its_uncertainty():
    """Balanced accuracy with 20 of 20 positives right and 900 of 980 negatives: the 20 decide, and show no spread."""
    actual = np.arange(1000) < 20
    label = actual | (np.arange(1000) >= 920)
    interval = uncertainty.alone(METRICS["balanced_accuracy"](Sample(actual=actual, label=label)), None)
    assert isinstance(interval, Unbounded)


@pytest.mark.parametrize("metric", ["root_mean_squared_error", "r2"])
def test_rmse_with_t3_residuals_does_not_pass_wrongly(metric):
    rng = np.random.default_rng(3)
    truth = {"root_mean_squared_error": math.sqrt(3), "r2": 1 - 3 / 9}[metric]
    wrong = 0
    for _ in range(1500):
        actual = 3 * rng.standard_normal(300)
        interval = uncertainty.alone(
            METRICS[metric](Sample(actual=actual, score=actual + rng.standard_t(3, 300))), None
        )
        if not isinstance(interval, Unbounded):
            lower, upper = student_limits(interval, ALPHA)
            wrong += upper < truth if metric == "root_mean_squared_error" else lower > truth
    assert rarely(wrong, 1500)


def groups(rng: np.random.Generator, sizes: list[int], shares: list[float]) -> dict[str, tuple[Point, None]]:
    """Selection rates of several groups."""
    result: dict[str, tuple[Point, None]] = {}
    for index, (size, share) in enumerate(zip(sizes, shares, strict=True)):
        label = rng.random(size) < share
        result[f"g{index}"] = (METRICS["selection_rate"](Sample(actual=label, label=label)), None)
    return result


def spread(interval: AllPairs) -> tuple[float, float]:
    """Near and far limit of the largest difference, as the verdict takes them."""
    far = max(max(abs(limit) for limit in student_limits(p.interval, ALPHA)) for p in interval.pairs)
    near = 0.0
    for pair in interval.pairs:
        low, high = student_limits(pair.interval, ALPHA / len(interval.pairs))
        near = max(near, low, -high)
    return near, far


@pytest.mark.row("R1/all-pairs")
def test_six_groups_of_33_without_a_gap_show_one_of_0_2_but_no_fail():
    rng = np.random.default_rng(4)
    shown, failed, bounded = [], 0, 0
    for _ in range(1000):
        found = groups(rng, [33] * 6, [0.5] * 6)
        values = [point.value for point, _ in found.values()]
        shown.append(max(values) - min(values))
        interval = uncertainty.all_pairs(found, ratio=False)
        if isinstance(interval, AllPairs):
            bounded += 1
            failed += spread(interval)[0] > 0
    assert np.mean(shown) == pytest.approx(0.21, abs=0.02)
    assert bounded > 900
    assert rarely(failed, 2 * 1000)  # either side may be the larger


@pytest.mark.row("R1/all-pairs")
@pytest.mark.parametrize("shares", [[0.5, 0.25], [0.5, 0.5, 0.25], [0.1, 0.35]])
@pytest.mark.parametrize("size", [50, 200])
def test_a_gap_of_0_25_rarely_passes_a_limit_of_0_25(shares, size):
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(1500):
        interval = uncertainty.all_pairs(groups(rng, [size] * len(shares), shares), ratio=False)
        passed += isinstance(interval, AllPairs) and spread(interval)[1] <= 0.25
    assert rarely(passed, 1500)


def test_contrasts_of_pairs_pass_no_more_often_than_they_may():
    """Two classifiers of equal accuracy 0.8, right together on half of what is left: 'better than' passes rarely."""
    rng = np.random.default_rng(6)
    passed = 0
    for _ in range(2000):
        actual = np.ones(200, dtype=bool)
        common = rng.random(200) < 0.6
        first, second = (common | (rng.random(200) < 0.5) for _ in range(2))
        a, b = (METRICS["accuracy"](Sample(actual=actual, label=label)) for label in (first, second))
        interval = uncertainty.paired(a, b, None)
        if isinstance(interval, Paired):
            limits = contrast_limits(interval, ALPHA, direction=1, margin=0.0, relative=False)
            passed += limits is not None and limits[0] > 0
    assert rarely(passed, 2000)


def test_a_target_that_hardly_varies_has_no_r2():
    """One value of 50 differs, by a number whose square is next to nothing."""
    actual = np.zeros(50)
    actual[0] = 1e-140
    for weight in (None, np.arange(1.0, 51.0)):
        sample = Sample(actual=actual, score=actual + 1.0, weight=weight)
        code = ""
        try:
            METRICS["r2"](sample)
        except UndefinedError as error:
            code = error.code
        assert code == "ConstantTarget"
