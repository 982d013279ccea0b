"""Metrics of numbers."""

from __future__ import annotations

import numpy as np

from .point import (
    STEADY_MEAN,
    STEADY_RATIO,
    STEADY_SQUARES,
    STEADY_TAIL_ROWS,
    Floats,
    Point,
    Sample,
    UndefinedError,
    average,
    everywhere,
    mean,
    rows_of,
    scores,
    weighed,
    whole,
)

MOST_LEFT = 1e60
"""Squared errors over the target's spread beyond which R² says nothing, and its variance would overflow."""


def steady_mean(rows: float) -> float:
    """Degrees of freedom that limits of a mean of absolute errors need."""
    return max(STEADY_MEAN, STEADY_TAIL_ROWS / rows)


def _errors(sample: Sample) -> Floats:
    return np.asarray(scores(sample) - sample.actual, dtype=np.float64)


def mean_absolute_error(sample: Sample) -> Point:
    """Mean of |prediction - actual|."""
    rows = rows_of(sample)
    steady = steady_mean(rows)
    return mean(np.abs(_errors(sample)), sample.share, events=whole(rows), unit="rows", link="Log", steady=steady)


def root_mean_squared_error(sample: Sample) -> Point:
    """Square root of the mean of (prediction - actual)²."""
    squares = _errors(sample) ** 2
    value = float(np.sqrt(average(squares, sample.share)))
    return Point(
        value=value,
        psi=weighed((squares - value**2) / (2 * value), sample.share) if value > 0 else np.zeros(len(sample)),
        stratum=everywhere(len(sample)),
        events=whole(rows_of(sample)),
        link="Log",
        weight=sample.share,
        steady=STEADY_SQUARES,
    )


def r2(sample: Sample) -> Point:
    """1 - Σ (prediction - actual)² / Σ (actual - mean)²; at least two distinct actual values."""
    squares = _errors(sample) ** 2
    spread = (sample.actual - average(sample.actual, sample.share)) ** 2
    total = average(spread, sample.share)
    if total == 0 or sample.actual.min() == sample.actual.max():
        raise UndefinedError("ConstantTarget", f"all {len(sample)} rows have the same actual value, so R² has no value")
    left = average(squares, sample.share) / total
    if left > MOST_LEFT:
        raise UndefinedError("ConstantTarget", "the actual values are all but the same, so R² has no value")
    return Point(
        value=1.0 - left,
        psi=weighed(-(squares - left * spread) / total, sample.share),
        stratum=everywhere(len(sample)),
        events=whole(rows_of(sample)),
        link="LogComplement",
        weight=sample.share,
        steady=STEADY_RATIO,
    )


def bias(sample: Sample) -> Point:
    """Mean of prediction - actual."""
    events = whole(rows_of(sample))
    return mean(_errors(sample), sample.share, events=events, unit="rows", link="Identity", steady=STEADY_MEAN)


def standardized_bias(sample: Sample) -> Point:
    """Mean of prediction - actual, in standard deviations of the actual values, by weight where rows have one.

    At least two distinct actual values. The influence is that of a ratio (delta method): (e - b)/s - b (d² - s²)/(2 s³)
    for an error e and a distance d of the actual value from its mean.
    """
    errors = _errors(sample)
    squares = (sample.actual - average(sample.actual, sample.share)) ** 2
    spread = float(np.sqrt(average(squares, sample.share)))
    if spread == 0 or sample.actual.min() == sample.actual.max():
        raise UndefinedError(
            "ConstantTarget", f"all {len(sample)} rows have the same actual value, so it has no standard deviation"
        )
    value = average(errors, sample.share) / spread
    return Point(
        value=value,
        psi=weighed(errors / spread - value - value * (squares / spread**2 - 1) / 2, sample.share),
        stratum=everywhere(len(sample)),
        events=whole(rows_of(sample)),
        link="Identity",
        weight=sample.share,
        steady=STEADY_RATIO,
    )
