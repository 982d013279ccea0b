"""Metrics of answered quantiles."""

from __future__ import annotations

import numpy as np

from .point import (
    Floats,
    Point,
    Sample,
    UndefinedError,
    mean,
    proportion,
    rows_of,
    whole,
)
from .regression import steady_mean


def pinball_loss(sample: Sample) -> Point:
    """Mean of max(q (actual - answer), (q - 1) (actual - answer)) over rows and quantiles (Koenker & Bassett 1978)."""
    answers, levels = _quantiles(sample)
    missed = sample.actual[:, None] - answers
    rows = rows_of(sample)
    return mean(
        np.asarray(np.maximum(levels * missed, (levels - 1.0) * missed).mean(axis=1), dtype=np.float64),
        sample.share,
        events=whole(rows),
        unit="rows",
        link="Log",
        steady=steady_mean(rows),
    )


def interval_coverage(sample: Sample) -> Point:
    """Share of actual values from the lowest to the highest quantile, both included."""
    answers, _ = _quantiles(sample)
    inside = (answers[:, 0] <= sample.actual) & (sample.actual <= answers[:, -1])
    return proportion(
        inside, np.ones(len(inside), dtype=np.bool_), sample.share, unit="rows", empty="there are no rows"
    )


def crossed(answers: Floats) -> int:
    """On how many rows of (n, levels) a higher quantile lies below a lower one; NaN crosses nothing."""
    return int(np.count_nonzero((np.diff(answers, axis=1) < 0).any(axis=1)))


def _quantiles(sample: Sample) -> tuple[Floats, Floats]:
    """The answers (n, levels), and the levels."""
    if sample.declared.quantiles is None:
        raise UndefinedError("NotDeclared", "this metric needs quantiles; declare task.quantiles")
    if sample.quantiles is None:
        raise UndefinedError("NoQuantiles", "the answers hold one number per row; this metric needs quantiles")
    return sample.quantiles, np.array(sample.declared.quantiles)
