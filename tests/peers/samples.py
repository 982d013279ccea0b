"""Small seeded samples that the peers are compared on: with ties, with several classes, heavy-tailed, clustered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mandate.measure.metrics import Declared, Sample


def binary(seed: int = 3, rows: int = 120, *, ties: bool = True) -> Sample:
    """Scores of middling quality; with `ties`, rounded to one digit so that many are equal."""
    rng = np.random.default_rng(seed)
    actual = rng.random(rows) < 0.35
    score = 1 / (1 + np.exp(-(rng.normal(size=rows) + 1.2 * actual - 0.8)))
    if ties:
        score = np.clip(np.round(score, 1), 0.05, 0.95)
    declared = Declared(beta=2.0, costs=np.array([[0.0, 1.5], [5.0, 0.0]]))
    return Sample(actual=actual, label=score >= 0.5, score=score, declared=declared)


def multiclass(seed: int = 4, rows: int = 150, classes: int = 4) -> Sample:
    """Softmax scores that lean towards the truth."""
    rng = np.random.default_rng(seed)
    actual = rng.choice(classes, size=rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    raw = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[actual]
    score = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    costs = rng.uniform(0.5, 9.0, (classes, classes)) * (1 - np.eye(classes))
    declared = Declared(beta=0.5, top_k=2, costs=costs)
    return Sample(actual=actual, label=score.argmax(axis=1), score=score, classes=classes, declared=declared)


def regression(seed: int = 5, rows: int = 90) -> Sample:
    """Residuals with heavy tails and a bias."""
    rng = np.random.default_rng(seed)
    actual = rng.normal(10, 3, size=rows)
    score = actual + 0.3 + rng.standard_t(4, size=rows)
    levels = (0.1, 0.5, 0.8)
    quantiles = np.column_stack([score - 1.5 - rng.random(rows), score, score + 0.8])
    return Sample(actual=actual, score=score, quantiles=quantiles, declared=Declared(quantiles=levels))


def clusters(rows: int, *, seed: int = 6, size: int = 3) -> NDArray[np.intp]:
    """Codes of clusters of unequal size, in no order."""
    return np.random.default_rng(seed).integers(0, rows // size, size=rows)


def of_pairs(psi: np.ndarray, weight: np.ndarray, codes: np.ndarray) -> float:
    """Variance of a sum of `psi` where pairs of rows of a cluster are as like each other whatever its size, by loops.

    Each cluster says how like its pairs are, per product of their weights, and counts for its weight.
    """
    own = sum(float(value) ** 2 for value in psi)
    said, heard, products = 0.0, 0.0, 0.0
    found = sorted(set(codes.tolist()))
    for code in found:
        rows = np.flatnonzero(codes == code)
        pairs = [(i, j) for i in rows for j in rows if i != j]
        if pairs:
            alike, weights = sum(psi[i] * psi[j] for i, j in pairs), sum(weight[i] * weight[j] for i, j in pairs)
            said += weight[rows].sum() * alike / weights
            heard += weight[rows].sum()
            products += weights
    scale = len(found) / (len(found) - 1)
    return float(scale * (own + (said / heard if heard else 0.0) * products))
