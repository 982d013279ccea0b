"""Variances and covariances against formulas written out, against statsmodels, and against numeric derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mandate.api.catalogue import metrics_for
from mandate.evidence.intervals import Beta, Paired, StudentT
from mandate.measure import metrics, uncertainty
from mandate.measure.metrics import Sample
from tests.peers.samples import binary, clusters, multiclass, of_pairs, regression

NEAR = {"rel": 1e-9, "abs": 1e-15}


def variance(name: str, sample: Sample, codes=None) -> float:
    return uncertainty.contributions(metrics.METRICS[name](sample), codes).variance


def delong(first: Sample, second: Sample) -> tuple[float, float, float]:
    """Variances and covariance of two AUCs (DeLong, DeLong & Clarke-Pearson 1988), pair by pair."""

    def kernels(sample: Sample) -> tuple[list[float], list[float]]:
        above, below = sample.score[sample.actual].tolist(), sample.score[~sample.actual].tolist()
        psi = [[(p > n) + 0.5 * (p == n) for n in below] for p in above]
        return [sum(row) / len(below) for row in psi], [sum(col) / len(above) for col in zip(*psi, strict=True)]

    def cross(a: list[float], b: list[float]) -> float:
        mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
        return math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / (len(a) - 1)

    v, w = kernels(first), kernels(second)
    return tuple(cross(a[0], b[0]) / len(v[0]) + cross(a[1], b[1]) / len(v[1]) for a, b in ((v, v), (w, w), (v, w)))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_has_delongs_variance(ties):
    sample = binary(ties=ties)
    assert variance("roc_auc", sample) == pytest.approx(delong(sample, sample)[0], **NEAR)


@pytest.mark.row("G7/paired", "B3/paired")
def test_two_aucs_on_the_same_rows_have_delongs_covariance():
    first, noise = binary(), np.random.default_rng(8).normal(size=120)
    second = Sample(actual=first.actual, score=np.round(1 / (1 + np.exp(-2 * first.score - noise)), 1))
    interval = uncertainty.paired(metrics.METRICS["roc_auc"](first), metrics.METRICS["roc_auc"](second), None)
    assert isinstance(interval, Paired)
    assert (interval.var_a, interval.var_b, interval.cov) == pytest.approx(delong(first, second), **NEAR)


def test_means_have_the_usual_standard_error():
    sample = regression()
    errors = (sample.score - sample.actual).tolist()
    for name, values in (("bias", errors), ("mean_absolute_error", [abs(e) for e in errors])):
        mean = math.fsum(values) / len(values)
        squares = math.fsum((v - mean) ** 2 for v in values)
        assert variance(name, sample) == pytest.approx(squares / (len(values) - 1) / len(values), **NEAR)


def test_a_log_link_divides_the_error_by_the_value():
    sample = binary()
    point = metrics.METRICS["brier_score"](sample)
    interval = uncertainty.alone(point, None)
    assert isinstance(interval, StudentT)
    assert interval.centre == pytest.approx(math.log(point.value), **NEAR)
    assert interval.se == pytest.approx(math.sqrt(variance("brier_score", sample)) / point.value, **NEAR)


def test_a_logit_link_divides_the_error_by_v_times_1_minus_v():
    sample = binary()
    point = metrics.METRICS["roc_auc"](sample)
    interval = uncertainty.alone(point, None)
    assert isinstance(interval, StudentT)
    scale = point.value * (1 - point.value)
    assert interval.se == pytest.approx(math.sqrt(delong(sample, sample)[0]) / scale, **NEAR)


def test_r2_is_student_on_the_log_of_what_is_left():
    rng = np.random.default_rng(9)
    actual = rng.normal(size=400)
    sample = Sample(actual=actual, score=actual + rng.normal(size=400))
    point = metrics.METRICS["r2"](sample)
    interval = uncertainty.alone(point, None)
    assert isinstance(interval, StudentT)
    assert interval.centre == pytest.approx(-math.log(1 - point.value), **NEAR)
    assert interval.se == pytest.approx(math.sqrt(variance("r2", sample)) / (1 - point.value), **NEAR)


def test_proportions_are_counts():
    sample = binary()
    interval = uncertainty.alone(metrics.METRICS["recall"](sample), None)
    hits = sum(a and b for a, b in zip(sample.actual.tolist(), sample.label.tolist(), strict=True))
    assert interval == Beta(successes=hits, trials=sum(sample.actual.tolist()))


@pytest.mark.row("T3/clusters")
def test_clustered_errors_are_statsmodels():
    """An intercept-only regression with cluster-robust errors: C/(C-1) Σ (cluster sum)²/n²."""
    import statsmodels.api as sm

    for name, sample, values in (
        ("bias", regression(), regression().score - regression().actual),
        ("accuracy", binary(), (binary().label == binary().actual).astype(float)),
        ("brier_score", binary(), (binary().score - binary().actual) ** 2),
    ):
        codes = clusters(len(values))
        fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": codes})
        assert variance(name, sample, codes) == pytest.approx(fit.bse[0] ** 2, **NEAR), name


def test_effective_counts_are_korn_and_graubards():
    from scipy import stats

    sample = binary(rows=300)
    codes = clusters(300)
    interval = uncertainty.alone(metrics.METRICS["accuracy"](sample), codes)
    assert isinstance(interval, Beta)
    hit = (sample.label == sample.actual).astype(float)
    share, found = hit.mean(), len(set(codes.tolist()))
    sums = [math.fsum((hit - share)[codes == c]) for c in sorted(set(codes.tolist()))]
    spread = math.fsum(s * s for s in sums) * found / (found - 1) / 300**2
    u2 = [(s * math.sqrt(found / (found - 1)) / 300) ** 2 for s in sums]
    degrees = min(found - 1, 2 / (math.fsum(u * u for u in u2) / spread**2 - 1 / found))
    level = uncertainty.KORN_GRAUBARD_LEVEL
    adjust = (stats.t.ppf(level, 299) / stats.t.ppf(level, degrees)) ** 2
    spread = max(spread, of_pairs((hit - share) / 300, np.ones(300), codes))
    assert interval.trials == pytest.approx(min(300, share * (1 - share) / spread * adjust), **NEAR)
    assert interval.successes / interval.trials == pytest.approx(share, **NEAR)


def test_calibration_slope_has_the_sandwich_variance():
    import statsmodels.api as sm

    sample = binary()
    logit = np.log(sample.score / (1 - sample.score))
    model = sm.Logit(sample.actual.astype(float), sm.add_constant(logit))
    fit = model.fit(disp=0, tol=1e-14, maxiter=100, cov_type="HC0")
    rows = len(sample)
    assert variance("calibration_slope", sample) == pytest.approx(fit.bse[1] ** 2 * rows / (rows - 1), rel=1e-8)


def weighted(name: str, sample: Sample) -> Callable[[np.ndarray], float]:
    """The metric as a function of row weights, by scikit-learn or written out."""
    from sklearn import metrics as peer

    actual, label, score = sample.actual, sample.label, sample.score
    macro = {} if sample.binary else {"average": "macro"}

    def cost(counts: np.ndarray) -> float:
        return float((counts * sample.declared.costs).sum() / counts.sum())

    def r2(w: np.ndarray) -> float:
        return float(peer.r2_score(actual, score, sample_weight=w))

    return {
        "accuracy": lambda w: peer.accuracy_score(actual, label, sample_weight=w),
        "balanced_accuracy": lambda w: peer.balanced_accuracy_score(actual, label, sample_weight=w),
        "precision": lambda w: peer.precision_score(actual, label, sample_weight=w, **macro),
        "recall": lambda w: peer.recall_score(actual, label, sample_weight=w, **macro),
        "f1": lambda w: peer.f1_score(actual, label, sample_weight=w, **macro),
        "f_beta": lambda w: peer.fbeta_score(actual, label, beta=sample.declared.beta, sample_weight=w, **macro),
        "precision_weighted": lambda w: peer.precision_score(actual, label, average="weighted", sample_weight=w),
        "f1_weighted": lambda w: peer.f1_score(actual, label, average="weighted", sample_weight=w),
        "matthews_corrcoef": lambda w: peer.matthews_corrcoef(actual, label, sample_weight=w),
        "top_k_accuracy": lambda w: peer.top_k_accuracy_score(actual, score, k=2, sample_weight=w),
        "specificity": lambda w: peer.recall_score(actual, label, pos_label=False, sample_weight=w),
        "negative_predictive_value": lambda w: peer.precision_score(actual, label, pos_label=False, sample_weight=w),
        "expected_cost": lambda w: cost(peer.confusion_matrix(actual, label, sample_weight=w)),
        "false_positive_rate": lambda w: float(np.sum(w * label * ~actual) / np.sum(w * ~actual)),
        "selection_rate": lambda w: float(np.sum(w * label) / np.sum(w)),
        "roc_auc": lambda w: peer.roc_auc_score(actual, score, sample_weight=w),
        "average_precision": lambda w: peer.average_precision_score(actual, score, sample_weight=w),
        "log_loss": lambda w: peer.log_loss(actual, score, sample_weight=w),
        "brier_score": lambda w: peer.brier_score_loss(actual, score, sample_weight=w, scale_by_half=True),
        "observed_expected": lambda w: float(np.sum(w * actual) / np.sum(w * score)),
        "root_mean_squared_error": lambda w: peer.root_mean_squared_error(actual, score, sample_weight=w),
        "mean_absolute_error": lambda w: peer.mean_absolute_error(actual, score, sample_weight=w),
        "r2": r2,
        "pinball_loss": lambda w: float(
            np.mean(
                [
                    peer.mean_pinball_loss(actual, sample.quantiles[:, place], alpha=level, sample_weight=w)
                    for place, level in enumerate(sample.declared.quantiles)
                ]
            )
        ),
        "interval_coverage": lambda w: float(
            np.average((actual >= sample.quantiles.min(axis=1)) & (actual <= sample.quantiles.max(axis=1)), weights=w)
        ),
        "bias": lambda w: float(np.average(score - actual, weights=w)),
        "standardized_bias": lambda w: float(
            np.average(score - actual, weights=w) / np.sqrt(np.cov(actual, aweights=w, ddof=0))
        ),
    }[name]


def influence(function: Callable[[np.ndarray], float], rows: int, step: float = 1e-4) -> np.ndarray:
    """n times the derivative by each row's weight, by central differences."""
    result = np.empty(rows)
    for row in range(rows):
        heavy, light = np.ones(rows), np.ones(rows)
        heavy[row] += step
        light[row] -= step
        result[row] = rows * (function(heavy) - function(light)) / (2 * step)
    return result


def of(task: str) -> list[str]:
    """The task's metrics, but for the slope, whose variance has a test of its own."""
    return [m.name for m in metrics_for(task) if m.name in metrics.METRICS and m.name != "calibration_slope"]


@pytest.mark.parametrize("name", of("Binary"))
def test_influence_is_the_derivative_binary(name):
    sample = binary()
    expected = influence(weighted(name, sample), len(sample))
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", of("Multiclass"))
def test_influence_is_the_derivative_multiclass(name):
    sample = multiclass()
    expected = influence(weighted(name, sample), len(sample))
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", of("Regression"))
def test_influence_is_the_derivative_regression(name):
    sample = regression()
    expected = influence(weighted(name, sample), len(sample))
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_degrees_of_freedom_of_normal_rows_are_about_n():
    rng = np.random.default_rng(1)
    sample = Sample(actual=np.zeros(4000), score=rng.normal(size=4000))
    spread = uncertainty.contributions(metrics.METRICS["bias"](sample), None)
    assert 3000 < spread.degrees_of_variance() <= 3999


def test_degrees_of_freedom_of_rare_events_are_about_twice_their_number():
    actual = np.arange(2000) < 20
    sample = Sample(actual=actual, label=np.ones(2000, dtype=bool))
    spread = uncertainty.contributions(metrics.METRICS["accuracy"](sample), None)
    assert spread.degrees_of_variance() == pytest.approx(2 * 20, rel=0.1)
