"""What a model must beat: answers made from the training rows only, for all rows.

`Linear` is scikit-learn's LogisticRegression or Ridge at their defaults (C = 1, alpha = 1; the intercept isn't
penalised) on standardised numbers, missing ones at the mean with an indicator, and one-hot categories. It is fitted
here with SciPy, since importing scikit-learn costs more than a second of every cold evaluation; a test compares both.

Where rows have weights, `weight` holds those of the training rows, with mean 1: scikit-learn's `sample_weight`. Numbers
are standardised without them, which matters only to how much a penalty pulls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .matrix import Design, OneHot, Rows
from .metrics import Floats
from .metrics.point import average, tally, weighed
from .table import is_numeric, numbers, text_codes
from .work import SERIAL, Workers

MAX_CATEGORIES = 50
"""One-hot columns per feature: the most frequent in training, ties by name; others share the all-zero code."""
MAX_ITERATIONS = 300
NEWTON_COLUMNS = 500
"""Up to this many columns a binary fit takes Newton's steps: about ten instead of hundreds, each dearer."""


def prior(actual: NDArray[Any], train: NDArray[np.bool_], weight: Floats | None = None, *, classes: int) -> Floats:
    """Class shares of the training rows: (n,) P(positive) for bool `actual`, else (n, classes)."""
    if actual.dtype == np.bool_:
        return np.full(len(actual), average(actual[train], weight))
    shares = tally(actual[train], weight, size=classes) / int(train.sum())
    return np.tile(shares, (len(actual), 1))


def most_frequent(actual: NDArray[Any], train: NDArray[np.bool_], weight: Floats | None = None) -> NDArray[Any]:
    """The training rows' most frequent class for every row; of equals the first."""
    values, place = np.unique(actual[train], return_inverse=True)
    return np.full(len(actual), values[np.argmax(tally(place, weight, size=len(values)))])


def median(values: Floats, weight: Floats | None = None) -> float:
    """The value that half the weight lies below; between the two next to it where half is met."""
    if weight is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    half = below[-1] / 2.0
    place = int(np.searchsorted(below, half * (1.0 - 1e-12)))
    following = min(place + (below[place] <= half * (1.0 + 1e-12)), len(values) - 1)
    return float(values[order[place]] + values[order[following]]) / 2.0


def constant(value: float, rows: int) -> Floats:
    """The same value for every row."""
    return np.full(rows, value)


def quantiles(values: Floats, levels: Sequence[float], weight: Floats | None = None) -> Floats:
    """The values that shares `levels` of the weight lie at or below."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(np.ones(len(values)) if weight is None else weight[order])
    place = np.searchsorted(share, np.asarray(levels) * share[-1] * (1.0 - 1e-12))
    return np.asarray(values[order[np.minimum(place, len(values) - 1)]], dtype=np.float64)


def design(table: pa.Table, features: Sequence[str], train: NDArray[np.bool_]) -> Design:
    """Matrix (rows, columns) of the features, scaled and encoded by what the training rows hold."""
    columns: list[Floats | OneHot] = []
    for name in features:
        if is_numeric(table, name):
            columns += _scaled(numbers(table, name), train)
        else:
            columns.append(_one_hot(table, name, train))
    return Design(size=table.num_rows, columns=columns)


def _scaled(values: Floats, train: NDArray[np.bool_]) -> list[Floats]:
    known = np.isfinite(values)
    seen = values[train & known]
    with np.errstate(over="ignore"):
        # Equal numbers may have a deviation by rounding, and another number would be that many deviations away.
        spread = float(np.std(seen)) if len(seen) and seen.min() < seen.max() else 0.0
    unknown = (~known).astype(np.float64)
    columns = [unknown] if unknown[train].any() and len(seen) else []
    if spread == 0 or not np.isfinite(spread):  # constant, or numbers so large that their squares overflow
        return columns
    return [np.where(known, (values - np.mean(seen)) / spread, 0.0), *columns]


def _one_hot(table: pa.Table, name: str, train: NDArray[np.bool_]) -> OneHot:
    names, code = text_codes(table, name)
    counts = np.bincount(code[train], minlength=len(names))
    kept = sorted(np.flatnonzero(counts), key=lambda k: (-counts[k], names[k]))[:MAX_CATEGORIES]
    place = np.full(len(names), -1, dtype=np.int8)
    place[kept] = np.arange(len(kept))
    return OneHot(code=place[code], width=len(kept))


def ridge(matrix: Design, actual: Floats, train: NDArray[np.bool_], weight: Floats | None = None) -> Floats:
    """Predictions (n,) of a least-squares fit with penalty |w|², as scikit-learn's Ridge(alpha=1)."""
    seen = matrix.rows(train)
    heavy = np.ones(seen.size) if weight is None else weight
    level = average(actual[train], weight)
    middle: Floats = seen.sums(heavy[:, None])[:, 0] / seen.size
    gram = seen.squares(heavy) - seen.size * np.outer(middle, middle)
    moments = seen.sums((heavy * (actual[train] - level))[:, None])
    weights = np.asarray(np.linalg.solve(gram + np.eye(seen.width), moments), dtype=np.float64)
    return matrix.times(weights)[:, 0] + (level - float(middle @ weights[:, 0]))


def logistic(
    matrix: Design,
    actual: NDArray[Any],
    train: NDArray[np.bool_],
    weight: Floats | None = None,
    *,
    classes: int,
    workers: Workers = SERIAL,
) -> tuple[Floats, bool]:
    """Probabilities of a penalised logistic fit and whether it converged within MAX_ITERATIONS.

    Minimises the mean log loss + |w|²/2n over the training rows, softmax for several classes. `actual` is bool with
    (n,) P(positive) returned, or class indices with (n, classes).
    """
    binary = actual.dtype == np.bool_
    outputs = 1 if binary else classes
    known = actual[train]
    truth = known.astype(np.float64)[:, None] if binary else np.eye(classes)[known]
    seen = matrix.rows(train, ones=True)
    column = None if weight is None else weight[:, None]
    penalised = np.ones((seen.width, 1))
    penalised[-1] = 0.0

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, outputs)
        linear = seen.times(weights)
        if binary:
            total = float(np.sum(weighed(np.logaddexp(0.0, linear) - truth * linear, column)))
            error = _sigmoid(linear) - truth
        else:
            shifted = linear - linear.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            total = float(np.sum(weighed(log_sum, column)) - np.sum(weighed(truth * shifted, column)))
            error = np.exp(shifted - log_sum) - truth
        penalty = penalised * weights
        value = (total + float(np.sum(penalty * weights)) / 2) / seen.size
        return value, ((seen.sums(weighed(error, column)) + penalty) / seen.size).ravel()

    if binary and seen.width <= NEWTON_COLUMNS:
        weights, converged = _newton(seen, penalised[:, 0], weight, loss, workers=workers)
        return _sigmoid(matrix.times(weights[:, None], ones=True))[:, 0], converged
    from scipy import optimize

    start = np.zeros(seen.width * outputs)
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS, "gtol": 1e-7, "ftol": 1e-14}
    )
    linear = matrix.times(found.x.reshape(-1, outputs), ones=True)
    if binary:
        return _sigmoid(linear)[:, 0], bool(found.success)
    powers = np.exp(linear - linear.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), bool(found.success)


def _newton(
    seen: Rows,
    penalised: Floats,
    weight: Floats | None,
    loss: Callable[[Floats], tuple[float, Floats]],
    *,
    workers: Workers,
) -> tuple[Floats, bool]:
    """Minimise the binary `loss` by Newton's method with halved steps; whether it came to rest."""
    weights = np.zeros(seen.width)
    value, gradient = loss(weights)
    for _ in range(MAX_ITERATIONS):
        probability = _sigmoid(seen.times(weights[:, None])[:, 0])
        curvature = weighed(probability * (1.0 - probability), weight)
        hessian = np.diag(penalised) + seen.squares(curvature, workers=workers)
        # A trace of the identity keeps a perfectly separated intercept solvable.
        step = np.linalg.solve(hessian / seen.size + 1e-12 * np.eye(len(weights)), gradient)
        decrement = float(gradient @ step)
        if decrement <= 1e-14:
            return weights, True
        size = 1.0
        while True:
            following, slope = loss(weights - size * step)
            if following <= value - 0.25 * size * decrement:
                break
            size /= 2.0
            if size < 1e-6:
                return weights, decrement <= 1e-10
        weights, value, gradient = weights - size * step, following, slope
    return weights, False


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), dtype=np.float64)
