"""Point metrics, each with its influence values.

Every metric returns a `Point`: the value, and per row how much that row moves it. Errors of the value are, to first
order, the mean of independent influence values, so one mechanism (`uncertainty`) gives variances, covariances with a
reference on the same rows, clustered variances and degrees of freedom for all metrics alike. The influence values of
ROC AUC are DeLong's placements (DeLong, DeLong & Clarke-Pearson 1988).

Shapes: `actual` is (n,) bool for Binary, (n,) int class index for Multiclass, (n,) float for Regression; `label` has
the dtype of `actual`; `score` is (n,) P(positive) for Binary, (n, classes) for Multiclass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mandate.evidence.intervals import Link

Floats = NDArray[np.float64]
Unit = Literal["rows", "positives", "negatives", "minority"]

TINY = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [TINY, 1 - TINY] before a logarithm, as scikit-learn's log_loss does."""


STEADY_LABELS = 5.0
"""Numbers made of right and wrong labels."""
STEADY_SCORES = 15.0
"""Numbers made of scores and ranks."""
STEADY_PRECISIONS = 30.0
"""Averages of precisions, whose plug-in estimate is a little too high."""
STEADY_MEAN = 20.0
"""Means of errors without a bound."""
STEADY_SQUARES = 40.0
"""Means of their squares."""
STEADY_RATIO = 60.0
"""Ratios of such means."""
STEADY_TAIL_ROWS = 40_000.0
"""Few rows can't show how heavy one tail is: means of absolute errors need this over the number of rows, too."""


class UndefinedError(Exception):
    """The metric has no value on these rows. `code` is CamelCase and stable; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows to measure on. `score` or `label` is None where the model doesn't give it."""

    actual: NDArray[Any]
    label: NDArray[Any] | None = None
    score: Floats | None = None
    classes: int = 2

    def __len__(self) -> int:
        return len(self.actual)

    @property
    def binary(self) -> bool:
        """Whether `actual` says positive or not, rather than which class."""
        return self.actual.dtype == np.bool_

    def take(self, rows: NDArray[Any]) -> Sample:
        """The sample restricted to `rows`, a mask or indices."""
        return Sample(
            actual=self.actual[rows],
            label=None if self.label is None else self.label[rows],
            score=None if self.score is None else self.score[rows],
            classes=self.classes,
        )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A metric's value with its influence values.

    `psi` (n,): the value's error is about mean(psi). `stratum` (n,) int: the group within which a row's influence is
    centred, -1 for rows that don't count; each group of size k loses one degree of freedom. `events` counts what the
    number really rests on, in `unit`. `proportion` is (successes, trials) where the metric is a plain proportion.
    `step` is how far one more right or wrong label can move the value, for metrics of labels. `steady` is how many
    degrees of freedom its limits need to hold, as found by simulation (tests/peers/coverage.py).
    """

    value: float
    psi: Floats
    stratum: NDArray[np.intp]
    events: int
    unit: Unit = "rows"
    link: Link = "Identity"
    proportion: tuple[int, int] | None = None
    step: float = 0.0
    steady: float = STEADY_SCORES


def _labels(sample: Sample) -> NDArray[Any]:
    if sample.label is None:
        raise UndefinedError(
            "NoLabels", "the answers hold no class labels; declare model.output.kind Label or Probability"
        )
    return sample.label


def _scores(sample: Sample) -> Floats:
    if sample.score is None:
        raise UndefinedError("NoProbabilities", "the answers hold labels only; this metric needs probabilities")
    return sample.score


def _both_classes(actual: NDArray[np.bool_]) -> tuple[int, int]:
    positives = int(np.count_nonzero(actual))
    negatives = len(actual) - positives
    if positives == 0 or negatives == 0:
        raise UndefinedError(
            "OneClass", f"all {len(actual)} rows have the same label; this metric needs positives and negatives"
        )
    return positives, negatives


def _everywhere(rows: int) -> NDArray[np.intp]:
    return np.zeros(rows, dtype=np.intp)


def _proportion(hit: NDArray[np.bool_], among: NDArray[np.bool_], *, unit: Unit, empty: str) -> Point:
    """Share of `hit` among the rows `among`."""
    trials = int(np.count_nonzero(among))
    if trials == 0:
        raise UndefinedError("NoRows", empty)
    successes = int(np.count_nonzero(hit & among))
    value = successes / trials
    return Point(
        value=value,
        psi=np.where(among, hit - value, 0.0) * (len(hit) / trials),
        stratum=np.where(among, 0, -1),
        events=min(successes, trials - successes) if unit == "rows" else trials,
        unit=unit,
        link="Logit",
        proportion=(successes, trials),
        step=1.0 / trials,
        steady=STEADY_LABELS,
    )


def _mean(values: Floats, *, events: int, unit: Unit, link: Link, steady: float) -> Point:
    value = float(np.mean(values))
    return Point(
        value=value,
        psi=values - value,
        stratum=_everywhere(len(values)),
        events=events,
        unit=unit,
        link=link,
        steady=steady,
    )


def accuracy(sample: Sample) -> Point:
    """Share of right answers."""
    hit = _labels(sample) == sample.actual
    return _proportion(hit, np.ones(len(hit), dtype=np.bool_), unit="rows", empty="there are no rows")


def _class_recall(actual: NDArray[np.bool_], label: NDArray[np.bool_]) -> Point:
    return _proportion(label, actual, unit="positives", empty="no row is actually positive, so recall has no value")


def _class_precision(actual: NDArray[np.bool_], label: NDArray[np.bool_]) -> Point:
    return _proportion(
        actual, label, unit="rows", empty="no row was predicted to be positive, so precision has no value"
    )


def _class_f1(actual: NDArray[np.bool_], label: NDArray[np.bool_]) -> Point:
    """2 TP / (2 TP + FP + FN); its logit is the Jaccard index's up to a constant."""
    rows = len(actual)
    both = 2.0 * (actual & label)
    size = actual.astype(np.float64) + label
    total = float(size.sum())
    if total == 0:
        raise UndefinedError("NoRows", "no row is positive or predicted to be, so F1 has no value")
    value = float(both.sum()) / total
    hits = int(np.count_nonzero(actual & label))
    return Point(
        value=value,
        psi=(both - value * size) * (rows / total),
        stratum=np.where(size > 0, 0, -1),
        events=min(hits, int(np.count_nonzero(actual != label))),
        unit="positives",
        link="Logit",
        step=2.0 / total,
        steady=STEADY_LABELS,
    )


def _macro(sample: Sample, of_class: Callable[[NDArray[np.bool_], NDArray[np.bool_]], Point]) -> Point:
    """The plain mean over the classes that occur; a label moves it most in the smallest class."""
    label = _labels(sample)
    points = [of_class(sample.actual == k, label == k) for k in np.flatnonzero(_present(sample))]
    return Point(
        value=float(np.mean([point.value for point in points])),
        psi=np.mean([point.psi for point in points], axis=0),
        stratum=_everywhere(len(sample)),
        events=int(np.count_nonzero(label != sample.actual)),
        unit="rows",
        link="Logit",
        step=max(point.step for point in points) / len(points),
        steady=STEADY_LABELS,
    )


def _present(sample: Sample) -> NDArray[np.bool_]:
    counts = np.bincount(sample.actual, minlength=sample.classes)
    if np.count_nonzero(counts) < 2:
        raise UndefinedError("OneClass", f"all {len(sample)} rows have the same label; this metric needs at least two")
    return counts > 0


def recall(sample: Sample) -> Point:
    """True positives among positives; for Multiclass the mean over the classes that occur."""
    if sample.binary:
        return _class_recall(sample.actual, _labels(sample))
    return _macro(sample, _class_recall)


def precision(sample: Sample) -> Point:
    """True positives among those predicted positive; for Multiclass the mean over the classes that occur.

    A class that occurs and is never predicted has no precision, so neither has the mean.
    """
    if sample.binary:
        return _class_precision(sample.actual, _labels(sample))
    return _macro(sample, _class_precision)


def f1(sample: Sample) -> Point:
    """Harmonic mean of precision and recall; for Multiclass the mean over the classes that occur."""
    if sample.binary:
        return _class_f1(sample.actual, _labels(sample))
    return _macro(sample, _class_f1)


def balanced_accuracy(sample: Sample) -> Point:
    """The mean of recall over the classes that occur (scikit-learn's balanced_accuracy_score)."""
    label = _labels(sample)
    if not sample.binary:
        return recall(sample)
    _both_classes(sample.actual)
    sides = (_class_recall(sample.actual, label), _class_recall(~sample.actual, ~label))
    return Point(
        value=(sides[0].value + sides[1].value) / 2,
        psi=(sides[0].psi + sides[1].psi) / 2,
        stratum=sample.actual.astype(np.intp),
        events=min(sides[0].events, sides[1].events),
        unit="minority",
        link="Logit",
        step=max(sides[0].step, sides[1].step) / 2,
        steady=STEADY_LABELS,
    )


def false_positive_rate(sample: Sample) -> Point:
    """Predicted positive among actual negatives."""
    return _proportion(
        _labels(sample),
        ~sample.actual,
        unit="negatives",
        empty="no row is actually negative, so the false positive rate has no value",
    )


def selection_rate(sample: Sample) -> Point:
    """Share of rows predicted positive."""
    label = _labels(sample)
    return _proportion(label, np.ones(len(label), dtype=np.bool_), unit="rows", empty="there are no rows")


def roc_auc(sample: Sample) -> Point:
    """P(score of a positive > of a negative) + ½ P(equal), with DeLong's placements as influence."""
    score = _scores(sample)
    positives, negatives = _both_classes(sample.actual)
    distinct, place = np.unique(score, return_inverse=True)
    hits = np.bincount(place, weights=sample.actual, minlength=len(distinct))
    misses = np.bincount(place, minlength=len(distinct)) - hits
    below = (np.cumsum(misses) - misses / 2)[place] / negatives  # share of negatives a score is above, ties half
    above = 1.0 - (np.cumsum(hits) - hits / 2)[place] / positives  # share of positives it is below
    value = float(np.sum(below, where=sample.actual)) / positives
    rows = len(sample)
    psi = np.where(sample.actual, (below - value) * (rows / positives), (above - value) * (rows / negatives))
    return Point(
        value=value,
        psi=psi,
        stratum=sample.actual.astype(np.intp),
        events=min(positives, negatives),
        unit="minority",
        link="Logit",
    )


def average_precision(sample: Sample) -> Point:
    """Σ (recall step) × precision over distinct thresholds (scikit-learn's average_precision_score).

    Influence by differentiating AP = Σ y w A/B / Σ y w, with A and B the weights of positives and of all rows scored
    at least as high.
    """
    score = _scores(sample)
    positives, negatives = _both_classes(sample.actual)
    distinct, place = np.unique(score, return_inverse=True)
    weight = np.bincount(place, minlength=len(distinct)).astype(np.float64)
    hits = np.bincount(place, weights=sample.actual, minlength=len(distinct))
    at_least = np.cumsum(weight[::-1])[::-1]
    hits_at_least = np.cumsum(hits[::-1])[::-1]
    precision_at = hits_at_least / at_least
    value = float(np.sum(hits * precision_at)) / positives
    gain = np.cumsum(hits / at_least)
    loss = np.cumsum(hits * precision_at / at_least)
    psi = (sample.actual * (precision_at[place] - value + gain[place]) - loss[place]) * (len(sample) / positives)
    return Point(
        value=value,
        psi=psi,
        stratum=_everywhere(len(sample)),
        events=min(positives, negatives),
        unit="minority",
        link="Logit",
        steady=STEADY_PRECISIONS,
    )


def log_loss(sample: Sample) -> Point:
    """Mean of -ln P(what happened), probabilities clipped to [TINY, 1 - TINY]."""
    score = _scores(sample)
    if sample.binary:
        given = np.where(sample.actual, score, 1.0 - score)
        events = min(_both_classes(sample.actual))
    else:
        given = score[np.arange(len(sample)), sample.actual]
        events = int(np.bincount(sample.actual, minlength=sample.classes)[_present(sample)].min())
    return _mean(
        -np.log(np.clip(given, TINY, 1.0 - TINY)), events=events, unit="minority", link="Log", steady=STEADY_SCORES
    )


def brier_score(sample: Sample) -> Point:
    """Mean squared distance of P(positive) from 0 or 1."""
    events = min(_both_classes(sample.actual))
    return _mean(
        (_scores(sample) - sample.actual) ** 2, events=events, unit="minority", link="Log", steady=STEADY_SCORES
    )


def observed_expected(sample: Sample) -> Point:
    """Number of positives over the sum of their predicted probabilities."""
    score = _scores(sample)
    positives, negatives = _both_classes(sample.actual)
    expected = float(np.mean(score))
    if expected <= 0:
        raise UndefinedError("ZeroExpected", "every predicted probability is 0, so observed / expected has no value")
    value = positives / len(sample) / expected
    return Point(
        value=value,
        psi=(sample.actual - value * score) / expected,
        stratum=_everywhere(len(sample)),
        events=min(positives, negatives),
        unit="minority",
        link="Log",
    )


def calibration_slope(sample: Sample) -> Point:
    """Slope of a logistic regression of the label on the score's logit (Cox 1958); sandwich influence.

    Newton's method on two parameters; `UndefinedError` where the score separates the classes or is constant.
    """
    score = np.clip(_scores(sample), TINY, 1.0 - TINY)
    positives, negatives = _both_classes(sample.actual)
    design = np.column_stack([np.ones(len(sample)), np.log(score) - np.log1p(-score)])
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        fitted = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -500, 500)))
        information = design.T @ (design * (fitted * (1.0 - fitted))[:, None])
        if np.linalg.det(information) <= 1e-12 * np.trace(information) ** 2:
            break
        step = np.linalg.solve(information, design.T @ (sample.actual - fitted))
        beta = beta + step * min(1.0, 5.0 / float(np.abs(step).max() or 1.0))
        if np.abs(step).max() < 1e-10:
            residual = (sample.actual - fitted)[:, None] * design
            return Point(
                value=float(beta[1]),
                psi=len(sample) * (residual @ np.linalg.inv(information)[1]),
                stratum=_everywhere(len(sample)),
                events=min(positives, negatives),
                unit="minority",
            )
    raise UndefinedError(
        "NoSlope", "the calibration slope has no finite value: scores are constant or separate the classes"
    )


def _errors(sample: Sample) -> Floats:
    return np.asarray(_scores(sample) - sample.actual, dtype=np.float64)


def mean_absolute_error(sample: Sample) -> Point:
    """Mean of |prediction - actual|."""
    steady = max(STEADY_MEAN, STEADY_TAIL_ROWS / len(sample))
    return _mean(np.abs(_errors(sample)), events=len(sample), unit="rows", link="Log", steady=steady)


def root_mean_squared_error(sample: Sample) -> Point:
    """Square root of the mean of (prediction - actual)²."""
    squares = _errors(sample) ** 2
    value = float(np.sqrt(np.mean(squares)))
    return Point(
        value=value,
        psi=(squares - value**2) / (2 * value) if value > 0 else np.zeros(len(sample)),
        stratum=_everywhere(len(sample)),
        events=len(sample),
        link="Log",
        steady=STEADY_SQUARES,
    )


def r2(sample: Sample) -> Point:
    """1 - Σ (prediction - actual)² / Σ (actual - mean)²; at least two distinct actual values."""
    squares = _errors(sample) ** 2
    spread = (sample.actual - np.mean(sample.actual)) ** 2
    total = float(np.mean(spread))
    if total == 0:
        raise UndefinedError("ConstantTarget", f"all {len(sample)} rows have the same actual value, so R² has no value")
    share = float(np.mean(squares)) / total
    return Point(
        value=1.0 - share,
        psi=-(squares - share * spread) / total,
        stratum=_everywhere(len(sample)),
        events=len(sample),
        link="LogComplement",
        steady=STEADY_RATIO,
    )


def bias(sample: Sample) -> Point:
    """Mean of prediction - actual."""
    return _mean(_errors(sample), events=len(sample), unit="rows", link="Identity", steady=STEADY_MEAN)


METRICS: dict[str, Callable[[Sample], Point]] = {
    function.__name__: function
    for function in (
        accuracy,
        balanced_accuracy,
        precision,
        recall,
        f1,
        false_positive_rate,
        selection_rate,
        roc_auc,
        average_precision,
        log_loss,
        brier_score,
        observed_expected,
        calibration_slope,
        mean_absolute_error,
        root_mean_squared_error,
        r2,
        bias,
    )
}
"""By the catalogue's names. Facts (finite answers, shared rows) are counted by the engine."""
