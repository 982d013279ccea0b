"""Each metric's value against the sum that defines it, written out row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score

from mandate.measure import metrics
from mandate.measure.metrics import Declared, Sample, UndefinedError, probabilities
from mandate.measure.reliability import reliability
from tests.peers.samples import binary, multiclass, regression

NEAR = {"rel": 1e-9, "abs": 1e-12}


def value(name: str, sample: Sample) -> float:
    return metrics.METRICS[name](sample).value


def cells(sample: Sample, positive: int | bool = True) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives, counted one by one."""
    tp = fp = fn = tn = 0
    for actual, label in zip(sample.actual.tolist(), sample.label.tolist(), strict=True):
        if label == positive:
            tp, fp = tp + (actual == positive), fp + (actual != positive)
        else:
            fn, tn = fn + (actual == positive), tn + (actual != positive)
    return tp, fp, fn, tn


def test_counts_of_a_binary_model():
    sample = binary()
    tp, fp, fn, tn = cells(sample)
    rows = tp + fp + fn + tn
    assert value("accuracy", sample) == pytest.approx((tp + tn) / rows, **NEAR)
    assert value("recall", sample) == pytest.approx(tp / (tp + fn), **NEAR)
    assert value("precision", sample) == pytest.approx(tp / (tp + fp), **NEAR)
    assert value("f1", sample) == pytest.approx(2 * tp / (2 * tp + fp + fn), **NEAR)
    assert value("false_positive_rate", sample) == pytest.approx(fp / (fp + tn), **NEAR)
    assert value("selection_rate", sample) == pytest.approx((tp + fp) / rows, **NEAR)
    assert value("balanced_accuracy", sample) == pytest.approx((tp / (tp + fn) + tn / (tn + fp)) / 2, **NEAR)
    assert value("specificity", sample) == pytest.approx(tn / (tn + fp), **NEAR)
    assert value("negative_predictive_value", sample) == pytest.approx(tn / (tn + fn), **NEAR)
    assert value("f_beta", sample) == pytest.approx(5 * tp / (5 * tp + 4 * fn + fp), **NEAR)
    assert value("expected_cost", sample) == pytest.approx((1.5 * fp + 5.0 * fn) / rows, **NEAR)
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert value("matthews_corrcoef", sample) == pytest.approx((tp * tn - fp * fn) / spread, **NEAR)


def test_counts_of_a_multiclass_model_are_plain_means_over_classes():
    sample = multiclass()
    per_class = [cells(sample, positive=k) for k in range(sample.classes)]
    recalls = [tp / (tp + fn) for tp, _, fn, _ in per_class]
    assert value("recall", sample) == pytest.approx(sum(recalls) / len(recalls), **NEAR)
    assert value("balanced_accuracy", sample) == pytest.approx(sum(recalls) / len(recalls), **NEAR)
    precisions = [tp / (tp + fp) for tp, fp, _, _ in per_class]
    assert value("precision", sample) == pytest.approx(sum(precisions) / len(precisions), **NEAR)
    f1s = [2 * tp / (2 * tp + fp + fn) for tp, fp, fn, _ in per_class]
    assert value("f1", sample) == pytest.approx(sum(f1s) / len(f1s), **NEAR)
    right = sum(a == b for a, b in zip(sample.actual.tolist(), sample.label.tolist(), strict=True))
    assert value("accuracy", sample) == pytest.approx(right / len(sample), **NEAR)
    shares = [(tp + fn) / len(sample) for tp, _, fn, _ in per_class]
    weighted = math.fsum(share * one for share, one in zip(shares, precisions, strict=True))
    assert value("precision_weighted", sample) == pytest.approx(weighted, **NEAR)
    weighted = math.fsum(share * one for share, one in zip(shares, f1s, strict=True))
    assert value("f1_weighted", sample) == pytest.approx(weighted, **NEAR)
    costs = [sample.declared.costs[a, b] for a, b in zip(sample.actual, sample.label, strict=True)]
    assert value("expected_cost", sample) == pytest.approx(math.fsum(costs) / len(sample), **NEAR)


def test_quantiles_of_a_regression():
    sample = regression()
    total, inside = 0.0, 0
    for actual, row in zip(sample.actual.tolist(), sample.quantiles.tolist(), strict=True):
        inside += row[0] <= actual <= row[-1]
        for level, answer in zip((0.1, 0.5, 0.8), row, strict=True):
            total += level * (actual - answer) if actual >= answer else (1 - level) * (answer - actual)
    assert value("pinball_loss", sample) == pytest.approx(total / len(sample) / 3, **NEAR)
    assert value("interval_coverage", sample) == pytest.approx(inside / len(sample), **NEAR)


def test_one_quantile_is_scikit_learns():
    from sklearn.metrics import mean_pinball_loss

    sample = regression()
    for place, level in enumerate((0.1, 0.5, 0.8)):
        expected = mean_pinball_loss(sample.actual, sample.quantiles[:, place], alpha=level)
        assert value("pinball_loss", sample.one_quantile(place)) == pytest.approx(expected, **NEAR)
    half = value("pinball_loss", sample.one_quantile(1))
    assert value("mean_absolute_error", sample) == pytest.approx(2 * half, **NEAR)


def test_answers_of_a_class_that_never_occurs_count_as_scikit_learn_counts_them():
    rng = np.random.default_rng(7)
    actual = rng.integers(0, 3, 400)
    label = np.where(rng.random(400) < 0.1, 3, np.where(rng.random(400) < 0.6, actual, rng.integers(0, 3, 400)))
    sample = Sample(actual=actual, label=label, classes=5)
    given = {"y_true": actual, "y_pred": label, "zero_division": 0}
    assert value("precision", sample) == pytest.approx(precision_score(average="macro", **given))
    assert value("f1", sample) == pytest.approx(f1_score(average="macro", **given))
    weighted = precision_score(average="weighted", **given)
    assert value("precision_weighted", sample) == pytest.approx(weighted)


@pytest.mark.parametrize("name", ["f1", "f_beta"])
def test_without_positives_f_has_no_value_rather_than_scikit_learns_0(name):
    actual = np.zeros(40, dtype=bool)
    label = np.arange(40) < 5
    assert f1_score(actual, label, zero_division=0) == 0
    code = ""
    try:
        metrics.METRICS[name](Sample(actual=actual, label=label, declared=Declared(beta=2)))
    except UndefinedError as error:
        code = error.code
    assert code == "NoRows"


@pytest.mark.row("G4/by-class")
def test_one_class_is_a_binary_model_of_it():
    sample = multiclass()
    for k in range(sample.classes):
        tp, fp, fn, _ = cells(sample, positive=k)
        one = sample.one_class(k)
        assert value("recall", one) == pytest.approx(tp / (tp + fn), **NEAR)
        assert value("precision", one) == pytest.approx(tp / (tp + fp), **NEAR)
        assert value("f1", one) == pytest.approx(2 * tp / (2 * tp + fp + fn), **NEAR)


def test_a_tie_for_the_last_place_misses_the_top():
    score = np.array([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.4, 0.35, 0.25], [0.2, 0.2, 0.6]])
    sample = Sample(actual=np.array([0, 1, 1, 2]), score=score, classes=3, declared=Declared(top_k=2))
    assert value("top_k_accuracy", sample) == pytest.approx(3 / 4, **NEAR)


def test_averages_that_are_accuracy():
    """With one answer per row; so they have no names of their own."""
    from sklearn import metrics as peer

    sample = multiclass()
    for average, functions in (
        ("micro", (peer.recall_score, peer.precision_score, peer.f1_score)),
        ("weighted", (peer.recall_score,)),
    ):
        for function in functions:
            figure = function(sample.actual, sample.label, average=average)
            assert value("accuracy", sample) == pytest.approx(figure, **NEAR)


@pytest.mark.row("G4/calibration")
def test_the_reliability_curve_is_scikit_learns():
    from sklearn.calibration import calibration_curve

    sample = binary(rows=400, ties=False)
    found = reliability(sample)
    observed, predicted = calibration_curve(sample.actual, sample.score, n_bins=10, strategy="uniform")
    assert [item.observed / item.rows for item in found.bins] == pytest.approx(observed.tolist(), **NEAR)
    assert [item.predicted for item in found.bins] == pytest.approx(predicted.tolist(), **NEAR)
    rows = [sum(item.low < p <= item.high for p in sample.score.tolist()) for item in found.bins]
    assert [item.rows for item in found.bins] == rows
    gaps = [n * abs(y - p) for n, y, p in zip(rows, observed, predicted, strict=True)]
    assert found.error == pytest.approx(math.fsum(gaps) / len(sample), **NEAR)


def test_what_chance_gives_a_perfect_model_is_simulations():
    rng = np.random.default_rng(2)
    score = rng.beta(2, 3, 1000)
    draws = [reliability(Sample(actual=rng.random(1000) < score, label=score >= 0.5, score=score)) for _ in range(400)]
    mean = float(np.mean([found.error for found in draws]))
    assert draws[0].chance == pytest.approx(mean, rel=0.05)
    assert 0.02 < mean < 0.04


def test_reliability_of_several_classes_is_of_the_answered_one():
    from sklearn.calibration import calibration_curve

    sample = multiclass(rows=400)
    found = reliability(sample)
    right, given = sample.label == sample.actual, sample.score.max(axis=1)
    observed, predicted = calibration_curve(right, given, n_bins=10, strategy="uniform")
    assert [item.observed / item.rows for item in found.bins] == pytest.approx(observed.tolist(), **NEAR)
    assert [item.predicted for item in found.bins] == pytest.approx(predicted.tolist(), **NEAR)


@pytest.mark.parametrize("ties", [False, True])
def test_roc_auc_is_the_share_of_pairs_in_order_ties_counting_half(ties):
    sample = binary(ties=ties)
    above = sample.score[sample.actual].tolist()
    below = sample.score[~sample.actual].tolist()
    wins = sum((p > n) + 0.5 * (p == n) for p in above for n in below)
    assert value("roc_auc", sample) == pytest.approx(wins / len(above) / len(below), **NEAR)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_sums_recall_steps_times_precision(ties):
    sample = binary(ties=ties)
    pairs = list(zip(sample.score.tolist(), sample.actual.tolist(), strict=True))
    positives = sum(actual for _, actual in pairs)
    total = before = 0.0
    for threshold in sorted({score for score, _ in pairs}, reverse=True):
        chosen = [actual for score, actual in pairs if score >= threshold]
        recall = sum(chosen) / positives
        total += (recall - before) * sum(chosen) / len(chosen)
        before = recall
    assert value("average_precision", sample) == pytest.approx(total, **NEAR)


def test_losses_of_a_binary_model():
    sample = binary()
    pairs = list(zip(sample.score.tolist(), sample.actual.tolist(), strict=True))
    logs = [-math.log(p if y else 1 - p) for p, y in pairs]
    assert value("log_loss", sample) == pytest.approx(math.fsum(logs) / len(logs), **NEAR)
    squares = [(p - y) ** 2 for p, y in pairs]
    assert value("brier_score", sample) == pytest.approx(math.fsum(squares) / len(squares), **NEAR)
    observed, expected = sum(y for _, y in pairs), math.fsum(p for p, _ in pairs)
    assert value("observed_expected", sample) == pytest.approx(observed / expected, **NEAR)


def test_log_loss_of_several_classes():
    sample = multiclass()
    logs = [-math.log(row[y]) for row, y in zip(sample.score.tolist(), sample.actual.tolist(), strict=True)]
    assert value("log_loss", sample) == pytest.approx(math.fsum(logs) / len(logs), **NEAR)


def test_log_loss_of_a_certain_and_wrong_answer_is_scikit_learns():
    from sklearn.metrics import log_loss

    sample = Sample(actual=np.array([True, False, True]), label=None, score=np.array([0.0, 0.25, 1.0]))
    assert value("log_loss", sample) == pytest.approx(log_loss(sample.actual, sample.score), **NEAR)


def test_calibration_slope_is_statsmodels():
    import statsmodels.api as sm

    sample = binary()
    logit = np.log(sample.score / (1 - sample.score))
    fit = sm.Logit(sample.actual.astype(float), sm.add_constant(logit)).fit(disp=0, tol=1e-14, maxiter=100)
    assert value("calibration_slope", sample) == pytest.approx(fit.params[1], **NEAR)


@pytest.mark.row("G4/calibration")
def test_scores_that_say_little_have_a_slope_too():
    """Far-off or useless scores, with and without weights: Newton's method from a slope of 1 leaps away."""
    import statsmodels.api as sm

    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(rng.normal(0, 4), (2.0, 8.0, 15.0, 30.0)[seed % 4], 300)
        actual = rng.random(300) < 1 / (1 + np.exp(-0.2 * (seed % 3 - 1) * (x - x.mean())))
        weight = rng.lognormal(size=300) if seed % 2 else None
        sample = Sample(actual=actual, score=1 / (1 + np.exp(-x)), weight=weight)
        logit = probabilities.logit(sample.score)
        model = sm.GLM(
            actual.astype(float),
            sm.add_constant((logit - logit.mean()) / logit.std()),
            family=sm.families.Binomial(),
            freq_weights=np.ones(300) if weight is None else weight / weight.mean(),
        )
        fit = model.fit(tol=1e-14, maxiter=200, cov_type="HC0")
        point = metrics.METRICS["calibration_slope"](sample)
        near = {"rel": 1e-9, "abs": 1e-9 * fit.bse[1] / logit.std()}
        assert point.value == pytest.approx(fit.params[1] / logit.std(), **near)
        if weight is None:  # with weights statsmodels' HC0 takes them for repeated rows
            assert math.sqrt(point.psi @ point.psi) / 300 == pytest.approx(fit.bse[1] / logit.std(), rel=1e-6)
    actual = np.arange(40) < 20  # and none where they separate the classes
    with pytest.raises(UndefinedError, match="separate"):
        value("calibration_slope", Sample(actual=actual, score=np.where(actual, 0.9, 0.2) + 0.001 * np.arange(40)))


def test_errors_of_a_regression():
    sample = regression()
    errors = [p - y for p, y in zip(sample.score.tolist(), sample.actual.tolist(), strict=True)]
    rows = len(errors)
    assert value("mean_absolute_error", sample) == pytest.approx(math.fsum(map(abs, errors)) / rows, **NEAR)
    squares = math.fsum(e * e for e in errors)
    assert value("root_mean_squared_error", sample) == pytest.approx(math.sqrt(squares / rows), **NEAR)
    assert value("bias", sample) == pytest.approx(math.fsum(errors) / rows, **NEAR)
    middle = math.fsum(sample.actual) / rows
    spread = math.fsum((y - middle) ** 2 for y in sample.actual.tolist())
    assert value("standardized_bias", sample) == pytest.approx(
        math.fsum(errors) / rows / math.sqrt(spread / rows), **NEAR
    )
    assert value("r2", sample) == pytest.approx(1 - squares / spread, **NEAR)


@pytest.mark.row("G4/labels")
def test_scikit_learn_agrees_wherever_it_has_the_metric():
    from sklearn import metrics as peer

    two, many, real = binary(), multiclass(), regression()
    expected = {
        "accuracy": peer.accuracy_score(two.actual, two.label),
        "balanced_accuracy": peer.balanced_accuracy_score(two.actual, two.label),
        "precision": peer.precision_score(two.actual, two.label),
        "recall": peer.recall_score(two.actual, two.label),
        "f1": peer.f1_score(two.actual, two.label),
        "roc_auc": peer.roc_auc_score(two.actual, two.score),
        "average_precision": peer.average_precision_score(two.actual, two.score),
        "log_loss": peer.log_loss(two.actual, two.score),
        "brier_score": peer.brier_score_loss(two.actual, two.score),
        "f_beta": peer.fbeta_score(two.actual, two.label, beta=2.0),
        "matthews_corrcoef": peer.matthews_corrcoef(two.actual, two.label),
        "specificity": peer.recall_score(two.actual, two.label, pos_label=False),
        "negative_predictive_value": peer.precision_score(two.actual, two.label, pos_label=False),
    }
    for name, figure in expected.items():
        assert value(name, two) == pytest.approx(figure, **NEAR), name
    expected = {
        "accuracy": peer.accuracy_score(many.actual, many.label),
        "balanced_accuracy": peer.balanced_accuracy_score(many.actual, many.label),
        "precision": peer.precision_score(many.actual, many.label, average="macro"),
        "recall": peer.recall_score(many.actual, many.label, average="macro"),
        "f1": peer.f1_score(many.actual, many.label, average="macro"),
        "log_loss": peer.log_loss(many.actual, many.score),
        "f_beta": peer.fbeta_score(many.actual, many.label, beta=0.5, average="macro"),
        "precision_weighted": peer.precision_score(many.actual, many.label, average="weighted"),
        "f1_weighted": peer.f1_score(many.actual, many.label, average="weighted"),
        "matthews_corrcoef": peer.matthews_corrcoef(many.actual, many.label),
        "top_k_accuracy": peer.top_k_accuracy_score(many.actual, many.score, k=2),
        "brier_score": peer.brier_score_loss(many.actual, many.score, scale_by_half=True),
    }
    for name, figure in expected.items():
        assert value(name, many) == pytest.approx(figure, **NEAR), name
    expected = {
        "mean_absolute_error": peer.mean_absolute_error(real.actual, real.score),
        "root_mean_squared_error": peer.root_mean_squared_error(real.actual, real.score),
        "r2": peer.r2_score(real.actual, real.score),
    }
    for name, figure in expected.items():
        assert value(name, real) == pytest.approx(figure, **NEAR), name
