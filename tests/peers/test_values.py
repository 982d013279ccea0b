"""Each metric's value against the sum that defines it, written out row by row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mandate.measure import metrics
from mandate.measure.metrics import Sample
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
    assert value("r2", sample) == pytest.approx(1 - squares / spread, **NEAR)


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
