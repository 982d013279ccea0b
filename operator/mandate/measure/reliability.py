"""Probabilities beside what happened: the reliability curve and the expected calibration error.

Reported, never gated: the error of a perfect model is far above 0 on few rows (0.03 on a thousand), since each bin's
share strays from its truth and all deviations add up. What chance alone gives is reported beside it. Gates take
`calibration_slope` and `observed_expected`, which are 1 for a perfect model however many rows there are.
"""

from __future__ import annotations

import math

import numpy as np

from mandate.evidence.schema import Reliability, ReliabilityBin

from .metrics import Sample
from .metrics.point import tally

BINS = 10


def reliability(sample: Sample) -> Reliability | None:
    """The curve over BINS bins of equal width; None without rows, or where the answers hold no probabilities.

    The error is Σ |observed - predicted| / rows over the bins (Naeini, Cooper & Hauskrecht 2015; of the answered class
    for Multiclass: Guo et al. 2017). `chance` is its expectation were every probability right, by the normal
    approximation E|X| = √(2/π) sd(X) in each bin. Where rows have weights, shares and means are weighted.
    """
    if sample.score is None or sample.label is None or not len(sample):
        return None
    if sample.binary:
        given, happened = sample.score, sample.actual
    else:
        given, happened = sample.score[np.arange(len(sample)), sample.label], sample.label == sample.actual
    edges = np.linspace(0.0, 1.0, BINS + 1)
    place = np.searchsorted(edges[1:-1], given)
    weight = sample.share
    rows = np.bincount(place, minlength=BINS)
    mass = tally(place, weight, size=BINS)
    predicted = tally(place, weight, size=BINS, values=given)
    observed = tally(place, weight, size=BINS, values=happened)
    squares = None if weight is None else weight**2
    variance = tally(place, squares, size=BINS, values=given * (1.0 - given))
    return Reliability(
        bins=tuple(
            ReliabilityBin(
                low=float(edges[k]),
                high=float(edges[k + 1]),
                rows=int(rows[k]),
                predicted=float(predicted[k] / mass[k]),
                observed=int(observed[k]) if weight is None else None,
                share=None if weight is None else float(min(observed[k] / mass[k], 1.0)),
            )
            for k in np.flatnonzero(rows)
        ),
        error=float(np.abs(observed - predicted).sum()) / len(sample),
        chance=math.sqrt(2.0 / math.pi) * float(np.sqrt(variance).sum()) / len(sample),
    )
