"""Metrics of forecasts: errors in the units of their own series, as shares, and how they grow with time."""

from __future__ import annotations

import numpy as np

from .point import (
    STEADY_MEAN,
    STEADY_RATIO,
    Floats,
    Point,
    Sample,
    UndefinedError,
    average,
    effective,
    everywhere,
    mean,
    rows_of,
    scores,
    total,
    weighed,
    whole,
)
from .regression import steady_mean

MOST_LEFT_OUT = 0.1
"""Share of the rows, by weight, that may be of series without a scale: without more, the rest is another population."""


def mase(sample: Sample) -> Point:
    """Mean absolute scaled error: mean of |prediction - actual| over the row's scale (Hyndman & Koehler 2006).

    The scale is the mean absolute error of the seasonal naive forecast on the series' own training rows; it is what
    errors are measured in, no estimate, so its own error isn't part of the interval. Every row counts alike, or by its
    weight. Rows of series without a scale are left out. Raises UndefinedError.
    """
    answers, scale, weight = scores(sample), sample.scale, sample.share
    if scale is None:
        raise UndefinedError("NoScale", "mase needs training rows to say what an error is measured in")
    usable = np.isfinite(scale)
    mass = total(usable, weight)
    left_out = len(sample) - mass
    if not usable.any() or left_out > MOST_LEFT_OUT * len(sample):
        raise UndefinedError(
            "NoScale",
            f"{int(np.count_nonzero(~usable))} of {len(sample)} rows are of series without a scale: too short or "
            f"constant in the training rows; at most {MOST_LEFT_OUT:.0%} may be",
        )
    unit = np.where(usable, scale, 1.0)
    scaled = np.where(usable, np.abs(answers - sample.actual) / unit, 0.0)
    value = total(scaled, weight) / mass
    rows = effective(usable, weight)
    return Point(
        value=value,
        psi=weighed(np.where(usable, scaled - value, 0.0) * (len(sample) / mass), weight),
        stratum=everywhere(len(sample)) if usable.all() else np.where(usable, 0, -1),
        events=whole(rows),
        link="Log",
        weight=weight,
        steady=steady_mean(rows),
    )


def smape(sample: Sample) -> Point:
    """Mean of 2 |prediction - actual| / (|prediction| + |actual|), from 0 to 2; 0 where both are 0.

    Of several definitions Makridakis' (1993) with absolute values below, as a share instead of per cent. In blocks of
    time, shares resemble their neighbours where the level does, which few rows can't show either.
    """
    answers, actual = scores(sample), np.asarray(sample.actual, dtype=np.float64)
    largest = np.maximum(np.abs(answers), np.abs(actual))
    unit = np.where(largest > 0, largest, 1.0)  # sums of huge numbers overflow, their shares don't
    answers, actual = answers / unit, actual / unit
    below = np.abs(answers) + np.abs(actual)
    shares = 2.0 * np.abs(answers - actual) / np.where(below > 0, below, 1.0)
    rows = rows_of(sample)
    steady = STEADY_MEAN if sample.block is None else steady_mean(rows)
    return mean(shares, sample.share, events=whole(rows), unit="rows", link="Log", steady=steady)


def error_growth(sample: Sample) -> Point:
    """Least-squares slope of |prediction - actual| over time, over its mean: per day, 0.01 is 1 % of the error more.

    The influence is that of a ratio (delta method): d r / (s² m) - g (a - m) / m for an absolute error a with mean m,
    its residual r from the line, a distance d of the time from its mean, and s² the mean of d².
    """
    if sample.days is None:
        raise UndefinedError("PlainTime", "error_growth is per day, and task.time holds plain numbers; give times")
    weight, days = sample.share, sample.days
    if days.min() == days.max():
        raise UndefinedError("OneTime", f"all {len(sample)} rows are for the same time, so an error can't grow")
    errors: Floats = np.abs(scores(sample) - sample.actual)
    middle = average(errors, weight)
    if middle == 0:
        raise UndefinedError("NoError", "every answer is exact, so there is no error that could grow")
    away, distance = errors / middle - 1.0, days - average(days, weight)
    spread = average(distance**2, weight)
    value = average(distance * away, weight) / spread
    residual = away - value * distance
    return Point(
        value=value,
        psi=weighed(distance * residual / spread - value * away, weight),
        stratum=everywhere(len(sample)),
        events=whole(rows_of(sample)),
        link="Identity",
        weight=weight,
        steady=STEADY_RATIO,
    )
