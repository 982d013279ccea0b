"""Metrics of probabilities, by rank or by size.

The influence values of ROC AUC are DeLong's placements (DeLong, DeLong & Clarke-Pearson 1988).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import logistic
from .point import (
    STEADY_PRECISIONS,
    STEADY_SCORES,
    Floats,
    Point,
    Sample,
    UndefinedError,
    average,
    both_classes,
    everywhere,
    mean,
    proportion,
    rarest,
    scores,
    tally,
    total,
    weighed,
)

TINY = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to [TINY, 1 - TINY] before a logarithm, as scikit-learn's log_loss does."""


def roc_auc(sample: Sample) -> Point:
    """P(score of a positive > of a negative) + ½ P(equal), with DeLong's placements as influence."""
    scores(sample)
    positives, negatives = both_classes(sample)
    place, count = sample.ranks
    hits = tally(place, sample.share, size=count, values=sample.actual)
    misses = tally(place, sample.share, size=count, values=~sample.actual)
    below = (np.cumsum(misses) - misses / 2)[place] / negatives  # share of negatives a score is above, ties half
    above = 1.0 - (np.cumsum(hits) - hits / 2)[place] / positives  # share of positives it is below
    value = min(total(np.where(sample.actual, below, 0.0), sample.share) / positives, 1.0)
    rows = len(sample)
    psi = np.where(sample.actual, (below - value) * (rows / positives), (above - value) * (rows / negatives))
    return Point(
        value=value,
        psi=weighed(psi, sample.share),
        stratum=sample.actual.astype(np.intp),
        events=rarest(sample),
        unit="minority",
        link="Logit",
        weight=sample.share,
    )


def average_precision(sample: Sample) -> Point:
    """Σ (recall step) × precision over distinct thresholds (scikit-learn's average_precision_score).

    Influence by differentiating AP = Σ y w A/B / Σ y w, with A and B the weights of positives and of all rows scored
    at least as high.
    """
    scores(sample)
    positives, _ = both_classes(sample)
    place, count = sample.ranks
    weight = tally(place, sample.share, size=count).astype(np.float64)
    hits = tally(place, sample.share, size=count, values=sample.actual)
    at_least = np.cumsum(weight[::-1])[::-1]
    hits_at_least = np.cumsum(hits[::-1])[::-1]
    precision_at = hits_at_least / at_least
    value = min(float(np.sum(hits * precision_at)) / positives, 1.0)
    gain = np.cumsum(hits / at_least)
    loss = np.cumsum(hits * precision_at / at_least)
    psi = (sample.actual * (precision_at[place] - value + gain[place]) - loss[place]) * (len(sample) / positives)
    return Point(
        value=value,
        psi=weighed(psi, sample.share),
        stratum=everywhere(len(sample)),
        events=rarest(sample),
        unit="minority",
        link="Logit",
        weight=sample.share,
        steady=STEADY_PRECISIONS,
    )


def top_k_accuracy(sample: Sample) -> Point:
    """Share of rows whose actual class is among the `sample.declared.top_k` likeliest; a tie for a place misses it.

    scikit-learn's top_k_accuracy_score, but for ties, which that one gives to the later class.
    """
    k = sample.declared.top_k
    if k is None:
        raise UndefinedError("NotDeclared", "top-k accuracy needs k; declare task.topK")
    if k >= sample.classes:
        raise UndefinedError("AllClasses", f"of {sample.classes} classes the actual one is always among {k}")
    score = scores(sample)
    hit = np.count_nonzero(score >= _given(sample)[:, None], axis=1) <= k  # its own among them
    return proportion(hit, np.ones(len(hit), dtype=np.bool_), sample.share, unit="rows", empty="there are no rows")


def log_loss(sample: Sample) -> Point:
    """Mean of -ln P(what happened), probabilities clipped to [TINY, 1 - TINY]."""
    score = scores(sample)
    given = np.where(sample.actual, score, 1.0 - score) if sample.binary else _given(sample)
    return mean(
        -np.log(np.clip(given, TINY, 1.0 - TINY)),
        sample.share,
        events=rarest(sample),
        unit="minority",
        link="Log",
        steady=STEADY_SCORES,
    )


def brier_score(sample: Sample) -> Point:
    """Mean squared distance of the probabilities from what happened, between 0 and 1.

    Of P(positive) from 0 or 1; for Multiclass half the sum over the classes, which is the same where there are two
    (scikit-learn's brier_score_loss with scale_by_half=True).
    """
    score = scores(sample)
    if sample.binary:
        distance = (score - sample.actual) ** 2
    else:
        # Σ (p - y)² = Σ p² + 1 - 2 P(what happened)
        distance = (np.einsum("nk,nk->n", score, score) + 1.0 - 2.0 * _given(sample)) / 2.0
    return mean(distance, sample.share, events=rarest(sample), unit="minority", link="Log", steady=STEADY_SCORES)


def observed_expected(sample: Sample) -> Point:
    """Number of positives over the sum of their predicted probabilities."""
    score = scores(sample)
    positives, _ = both_classes(sample)
    expected = average(score, sample.share)
    if expected <= 0:
        raise UndefinedError("ZeroExpected", "every predicted probability is 0, so observed / expected has no value")
    value = positives / len(sample) / expected
    return Point(
        value=value,
        psi=weighed((sample.actual - value * score) / expected, sample.share),
        stratum=everywhere(len(sample)),
        events=rarest(sample),
        unit="minority",
        link="Log",
        weight=sample.share,
    )


def calibration_slope(sample: Sample) -> Point:
    """Slope of a logistic regression of the label on the score's logit (Cox 1958); sandwich influence.

    Newton's method on two parameters, begun where `logistic` ends; `UndefinedError` where the score separates the
    classes or is constant.
    """
    x, weight = logit(scores(sample)), sample.share
    both_classes(sample)
    begun, varies = None, bool(x.min() < x.max())
    if varies:
        begun = logistic.start(x, sample.actual, weight)
    for beta in ([] if begun is None else [begun]) + ([np.array([0.0, 1.0])] if varies else []):
        found = _slope(sample, x, beta)
        if found is not None:
            return found
    # Newton's method may leap away from far-off starts: in standard units, by steps that never lose likelihood.
    middle, width = float(x.mean()), float(x.std())
    if width > 1e-12 * max(1.0, abs(middle)) and not logistic.separates(x, sample.actual):
        z = (x - middle) / width
        found = _slope(sample, z, logistic.climb(z, sample.actual, weight))
        if found is not None:
            return replace(found, value=found.value / width, psi=found.psi / width)
    raise UndefinedError(
        "NoSlope", "the calibration slope has no finite value: scores are constant or separate the classes"
    )


def _slope(sample: Sample, x: Floats, beta: Floats) -> Point | None:
    """By Newton's method from `beta`."""
    weight = sample.share
    for _ in range(50):
        fitted = expit(beta[0] + beta[1] * x)
        residual = weighed(sample.actual - fitted, weight)
        within = weighed(fitted * (1.0 - fitted), weight)
        crossed = within * x
        first, second = float(within.sum()), float(crossed.sum())
        information = np.array([[first, second], [second, float(crossed @ x)]])
        if np.linalg.det(information) <= 1e-12 * np.trace(information) ** 2:
            return None
        step = np.linalg.solve(information, np.array([residual.sum(), residual @ x]))
        beta = beta + step * min(1.0, 5.0 / float(np.abs(step).max() or 1.0))
        if np.abs(step).max() < 1e-10:
            own, slope = np.linalg.inv(information)[1]
            return Point(
                value=float(beta[1]),
                psi=residual * (len(sample) * (own + slope * x)),
                stratum=everywhere(len(sample)),
                events=rarest(sample),
                unit="minority",
                weight=weight,
            )
    return None


def logit(score: Floats) -> Floats:
    """Log odds of probabilities, which are clipped to [TINY, 1 - TINY]."""
    clipped = np.clip(score, TINY, 1.0 - TINY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def expit(values: Floats) -> Floats:
    """Probabilities of log odds."""
    with np.errstate(over="ignore"):  # of a logit that is far below 0 the probability is 0
        found = np.exp(-values)
    found += 1.0
    return np.asarray(np.reciprocal(found, out=found), dtype=np.float64)


def _given(sample: Sample) -> Floats:
    """Multiclass: the probability of what happened, per row."""
    return np.asarray(scores(sample)[np.arange(len(sample)), sample.actual], dtype=np.float64)
