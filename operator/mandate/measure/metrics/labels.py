"""Metrics of answered classes, right or wrong.

Averages over several classes are plain means (scikit-learn's `macro`), of recall over the classes that occur, of
precision and F over those that occur or are answered, or weighted by how often classes occur (`weighted`). There are no
others: with one answer per row the `micro` average of recall, of precision and of F is accuracy, and so is `weighted`
recall.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .point import (
    STEADY_LABELS,
    Floats,
    Point,
    Sample,
    UndefinedError,
    average,
    both_classes,
    class_counts,
    effective,
    everywhere,
    heaviest,
    labels,
    mean,
    proportion,
    tally,
    total,
    weighed,
    whole,
)


def accuracy(sample: Sample) -> Point:
    """Share of right answers."""
    hit = labels(sample) == sample.actual
    return proportion(hit, np.ones(len(hit), dtype=np.bool_), sample.share, unit="rows", empty="there are no rows")


def recall(sample: Sample) -> Point:
    """True positives among positives; for Multiclass the mean over the classes that occur."""
    if sample.binary:
        return _binary_recall(sample.actual, labels(sample), sample)
    return _mean_recall(sample)


def precision(sample: Sample) -> Point:
    """True positives among those predicted positive; for Multiclass the mean over classes that occur or are answered.

    A class that occurs and is never predicted has no precision, so neither has the mean.
    """
    if sample.binary:
        return proportion(
            sample.actual,
            labels(sample),
            sample.share,
            unit="rows",
            empty="no row was predicted to be positive, so precision has no value",
        )
    return _mean_precision(sample, weighted=False)


def precision_weighted(sample: Sample) -> Point:
    """The mean of the classes' precisions, weighted by how often each occurs."""
    return _mean_precision(sample, weighted=True)


def f1(sample: Sample) -> Point:
    """Harmonic mean of precision and recall; for Multiclass the mean over the classes that occur or are answered.

    No value where no row is actually positive: nothing was there to be found (scikit-learn says 0, by convention).
    """
    return _f(sample, beta=1.0)


def f1_weighted(sample: Sample) -> Point:
    """The mean of the classes' F1, weighted by how often each occurs."""
    return _mean_f(sample, beta=1.0, weighted=True)


def f_beta(sample: Sample) -> Point:
    """(1 + β²) TP / ((1 + β²) TP + β² FN + FP): recall counts β times as much as precision (van Rijsbergen 1979).

    For Multiclass the mean over the classes that occur or are answered. β is `sample.declared.beta`. No value where no
    row is actually positive.
    """
    if sample.declared.beta is None:
        raise UndefinedError("NotDeclared", "F-beta needs beta; declare task.beta")
    return _f(sample, beta=sample.declared.beta)


def balanced_accuracy(sample: Sample) -> Point:
    """The mean of recall over the classes that occur (scikit-learn's balanced_accuracy_score)."""
    label = labels(sample)
    if not sample.binary:
        return recall(sample)
    both_classes(sample)
    weight = sample.share
    sides = (_binary_recall(sample.actual, label, sample), _binary_recall(~sample.actual, ~label, sample))
    return Point(
        value=(sides[0].value + sides[1].value) / 2,
        psi=(sides[0].psi + sides[1].psi) / 2,
        stratum=sample.actual.astype(np.intp),
        events=min(sides[0].events, sides[1].events),
        unit="minority",
        link="Logit",
        weight=weight,
        step=max(sides[0].step, sides[1].step) / 2,
        steady=STEADY_LABELS,
    )


def matthews_corrcoef(sample: Sample) -> Point:
    """Correlation of actual and answered classes (Matthews 1975; several classes: Gorodkin 2004).

    With h the share of right answers, a_k the classes' shares of the rows and p_k their shares of the answers:
    (h - Σ a p) / √((1 - Σ a²)(1 - Σ p²)). No value where either is always the same class.
    """
    label = labels(sample)
    actual, said = sample.actual.astype(np.intp), label.astype(np.intp)
    rows, hit, weight = len(sample), label == sample.actual, sample.share
    right = average(hit, weight)
    a, p = (tally(side, weight, size=sample.classes) / rows for side in (actual, said))
    both, left_a, left_p = float(a @ p), 1.0 - float(a @ a), 1.0 - float(p @ p)
    if np.count_nonzero(a) < 2 or np.count_nonzero(p) < 2:
        raise UndefinedError("OneClass", "all rows, or all answers, are of one class, so they have no correlation")
    spread = math.sqrt(left_a * left_p)
    value = (right - both) / spread
    # By actual and by answered class; a right answer adds 1 / spread.
    of_actual = -(p - both) / spread + value * (a - float(a @ a)) / left_a
    of_said = -(a - both) / spread + value * (p - float(p @ p)) / left_p
    return Point(
        value=value,
        psi=weighed((hit - right) / spread + of_actual[actual] + of_said[said], weight),
        stratum=everywhere(rows),
        events=whole(effective(~hit, weight)),
        link="LogComplement",  # its error shrinks as it nears 1: of 30 clusters too many lower limits were wrong else
        weight=weight,
        step=(1.0 / spread + float(np.ptp(of_said))) / rows * heaviest(weight),
        steady=STEADY_LABELS,
    )


def false_positive_rate(sample: Sample) -> Point:
    """Predicted positive among actual negatives."""
    return proportion(
        labels(sample),
        ~sample.actual,
        sample.share,
        unit="negatives",
        empty="no row is actually negative, so the false positive rate has no value",
        alike=_alike(sample, ~sample.actual),
    )


def specificity(sample: Sample) -> Point:
    """True negatives among actual negatives."""
    return proportion(
        ~labels(sample),
        ~sample.actual,
        sample.share,
        unit="negatives",
        empty="no row is actually negative, so specificity has no value",
        alike=_alike(sample, ~sample.actual),
    )


def negative_predictive_value(sample: Sample) -> Point:
    """True negatives among those predicted negative."""
    return proportion(
        ~sample.actual,
        ~labels(sample),
        sample.share,
        unit="rows",
        empty="no row was predicted to be negative, so the negative predictive value has no value",
    )


def selection_rate(sample: Sample) -> Point:
    """Share of rows predicted positive."""
    label = labels(sample)
    return proportion(label, np.ones(len(label), dtype=np.bool_), sample.share, unit="rows", empty="there are no rows")


def expected_cost(sample: Sample) -> Point:
    """Mean cost of an answer, by `sample.declared.costs`, none of them below 0 (Elkan 2001).

    A `step` is the dearest kind of error, seen or not, so few such errors never make a number sure.
    """
    costs = sample.declared.costs
    if costs is None:
        raise UndefinedError("NotDeclared", "the expected cost needs costs; declare useCase.errorCosts")
    label = labels(sample)
    return mean(
        costs[sample.actual.astype(np.intp), label.astype(np.intp)],
        sample.share,
        events=whole(effective(label != sample.actual, sample.share)),
        unit="rows",
        link="Log",
        step=float(np.ptp(costs)) / len(sample) * heaviest(sample.share),
        steady=STEADY_LABELS,
    )


def _binary_recall(actual: NDArray[np.bool_], label: NDArray[np.bool_], sample: Sample) -> Point:
    empty = "no row is actually positive, so recall has no value"
    return proportion(label, actual, sample.share, unit="positives", empty=empty, alike=_alike(sample, actual))


def _alike(sample: Sample, among: NDArray[np.bool_]) -> bool:
    """Whether rows of the actual class `among` all weigh the same, as is declared, whatever is answered."""
    if not sample.declared.by_class or sample.share is None or not among.any():
        return False
    own = sample.share[among]
    return bool(own.min() == own.max())


def _f(sample: Sample, *, beta: float) -> Point:
    if sample.binary:
        return _binary_f(sample.actual, labels(sample), sample.share, beta=beta)
    return _mean_f(sample, beta=beta, weighted=False)


def _binary_f(actual: NDArray[np.bool_], label: NDArray[np.bool_], weight: Floats | None, *, beta: float) -> Point:
    """Its logit is that of TP / (TP + weighted errors) up to a constant; for β = 1 the Jaccard index's."""
    rows, square = len(actual), beta**2
    both = (1.0 + square) * (actual & label)
    size = square * actual + label
    mass = total(size, weight)
    if not total(actual, weight):
        raise UndefinedError("NoRows", "no row is actually positive, so F has no value")
    value = min(total(both, weight) / mass, 1.0)
    hits, errors = effective(actual & label, weight), effective(actual != label, weight)
    return Point(
        value=value,
        psi=weighed((both - value * size) * (rows / mass), weight),
        stratum=np.where(size > 0, 0, -1),
        events=whole(min(hits, errors)),
        unit="positives",
        link="Logit",
        weight=weight,
        step=(1.0 + square) / mass * heaviest(weight),
        steady=STEADY_LABELS,
    )


def _mean_recall(sample: Sample) -> Point:
    label = labels(sample)
    were = class_counts(sample)
    weight = _weights(were)
    hit = label == sample.actual
    share = _ratio(tally(sample.actual, sample.share, size=sample.classes, values=hit), were)
    move = _ratio(weight, were)  # by how much one row of a class moves the mean
    psi = (hit - share[sample.actual]) * move[sample.actual] * len(sample)
    return _class_mean(label, sample, share=share, weight=weight, psi=psi, step=float(move.max()))


def _mean_precision(sample: Sample, *, weighted: bool) -> Point:
    label = labels(sample)
    were, said = class_counts(sample), tally(label, sample.share, size=sample.classes)
    if np.any((were > 0) & (said == 0)):
        raise UndefinedError("NoRows", "a class that occurs was never predicted, so precision has no value")
    weight = _counting(were, said, weighted=weighted)
    hit = label == sample.actual
    share = _ratio(tally(label, sample.share, size=sample.classes, values=hit), said)
    move = _ratio(weight, said)
    psi = (hit - share[label]) * move[label] * len(sample)
    psi += _of_weights(sample, share, weight, weighted=weighted)
    return _class_mean(label, sample, share=share, weight=weight, psi=psi, step=float(move.max()))


def _mean_f(sample: Sample, *, beta: float, weighted: bool) -> Point:
    label, square = labels(sample), beta**2
    were, said = class_counts(sample), tally(label, sample.share, size=sample.classes)
    weight = _counting(were, said, weighted=weighted)
    hit = label == sample.actual
    mass = square * were + said
    share = _ratio((1.0 + square) * tally(label, sample.share, size=sample.classes, values=hit), mass)
    move = _ratio(weight, mass)
    # A row counts in its actual class and in the one that was answered.
    of_actual, of_said = square * share * move, share * move
    gain = (1.0 + square) * hit * move[sample.actual]
    psi = (gain - of_actual[sample.actual] - of_said[label]) * len(sample)
    psi += _of_weights(sample, share, weight, weighted=weighted)
    return _class_mean(label, sample, share=share, weight=weight, psi=psi, step=(1.0 + square) * float(move.max()))


def _class_mean(
    label: NDArray[Any], sample: Sample, *, share: Floats, weight: Floats, psi: Floats, step: float
) -> Point:
    """The mean of the classes' `share`; a label moves it most in the class that it is worth most in."""
    return Point(
        value=float(weight @ share),
        psi=weighed(psi, sample.share),
        stratum=everywhere(len(sample)),
        events=whole(effective(label != sample.actual, sample.share)),
        unit="rows",
        link="Logit",
        weight=sample.share,
        step=step * heaviest(sample.share),
        steady=STEADY_LABELS,
    )


def _weights(found: NDArray[Any]) -> Floats:
    """What each class's number counts for: all that are `found` the same."""
    return np.asarray((found > 0) / np.count_nonzero(found), dtype=np.float64)


def _counting(were: NDArray[Any], said: NDArray[Any], *, weighted: bool) -> Floats:
    """What each class counts for: how often it occurs, or the same as all others that occur or are answered."""
    return np.asarray(were / were.sum(), dtype=np.float64) if weighted else _weights(were + said)


def _of_weights(sample: Sample, share: Floats, weight: Floats, *, weighted: bool) -> Floats | float:
    """Influence of a row on the classes' weights: a row more of a class moves the mean towards that class's number."""
    return share[sample.actual] - float(weight @ share) if weighted else 0.0


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """`part / whole`, 0 where the whole is."""
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0), dtype=np.float64)
