"""Logistic regression of truth values on one number, from few points that stand for all rows.

Newton's method asks for sums over rows of smooth functions of x. Between two ends a fraction of the logistic curve's
own width apart, such a function is a polynomial of low degree but for rounding errors, so its sum is the same over the
range's Chebyshev nodes with weights that have the rows' sums of polynomials (Clenshaw & Curtis 1960 for the rule). The
rows are gone through once, whatever the number of steps, and the weights of a part of the rows are taken away from
those of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .point import Floats

NODES = 9
"""Points of each range: polynomials up to degree 8."""
WIDTH = 0.25
"""A range's width times the slope that it is made for. At twice that slope a node is no farther from the middle than
1/12 of the way to the curve's nearest pole, iπ, so what polynomials leave out is below 1e-12 of a row."""
MAX_RANGES = 4096

_STEPS = np.arange(NODES)
_ANGLES = (_STEPS + 0.5) * np.pi / NODES
_AT = np.cos(_ANGLES)
_TO_WEIGHTS = np.cos(np.outer(_STEPS, _ANGLES)) * np.where(_STEPS == 0, 1.0, 2.0)[:, None] / NODES
"""(moment, node): from sums of Chebyshev polynomials to the nodes' weights."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """`x` (p,) and their `weight` (2, p): of rows that are false, and of those that are true."""

    x: Floats
    weight: Floats

    @cached_property
    def powers(self) -> Floats:
        """(5, p): x to the power 0 to 4."""
        return np.vander(self.x, 5, increasing=True).T

    def sums(self, beta: Floats) -> Floats:
        """(5, 5): sums over rows of residual, of p (1 - p), of residual², ³ and ⁴, times powers of x up to 4."""
        with np.errstate(over="ignore"):  # of a logit that is far below 0 the probability is 0
            p = 1.0 / (1.0 + np.exp(-(beta[0] + beta[1] * self.x)))
        no, yes = self.weight
        left = 1.0 - p
        away = np.empty((5, len(p)))
        np.multiply(p, left, out=away[1])
        away[1] *= no + yes
        up, down = yes * left, no * p
        away[0] = up - down
        for power, sign in ((2, 1.0), (3, -1.0), (4, 1.0)):
            up, down = up * left, down * p
            away[power] = up + sign * down
        return np.asarray(away @ self.powers.T, dtype=np.float64)


class Ranges:
    """Numbers `x` (n,) beside truth values, by ranges of equal width."""

    def __init__(self, x: Floats, actual: NDArray[np.bool_], *, width: float) -> None:
        self.width = width
        place = np.floor(x / width)
        self.first = float(place.min())
        self.count = int(place.max() - self.first) + 1
        self.at = (x / width - place) * 2.0 - 1.0
        """Each row's place within its range, from -1 to 1."""
        self.code = (place - self.first).astype(np.intp) * 2 + actual

    def points(self, rows: Any = slice(None), weight: Floats | None = None) -> Points:
        """What stands for the rows, or for some of them; `weight` (n,) is what each counts for."""
        code, at, size = self.code[rows], self.at[rows], 2 * self.count
        moments = np.empty((NODES, size))
        moments[0] = np.bincount(code, weights=weight, minlength=size)
        before = 1.0 if weight is None else weight
        now = at if weight is None else at * weight
        twice = at + at
        for power in range(1, NODES):
            moments[power] = np.bincount(code, weights=now, minlength=size)
            if power + 1 < NODES:
                before, now = now, twice * now - before
        weights = (moments.T @ _TO_WEIGHTS).reshape(self.count, 2, NODES)
        middle = (self.first + np.arange(self.count) + 0.5) * self.width
        return Points(
            x=(middle[:, None] + _AT * (self.width / 2)).ravel(),
            weight=np.ascontiguousarray(weights.transpose(1, 0, 2)).reshape(2, -1),
        )


def ranges(x: Floats, actual: NDArray[np.bool_], *, slope: float = 1.0) -> Ranges | None:
    """Ranges narrow enough for a curve of this slope; None where they would be too many."""
    width = WIDTH / max(abs(slope), 1.0)
    if not float(np.ptp(x)) < width * (MAX_RANGES - 2):
        return None
    return Ranges(x, actual, width=width)


def fit(points: Points, *, start: Floats | None = None, steps: int = 50) -> Floats | None:
    """Intercept and slope; None where there are none: x is constant or separates the classes."""
    beta = np.array([0.0, 1.0]) if start is None else start
    for _ in range(steps):
        step = newton(points.sums(beta))
        if step is None:
            return None
        most = float(np.abs(step).max())
        beta = beta + step * min(1.0, 5.0 / (most or 1.0))
        if most < 1e-10:
            return beta
    return None


def newton(sums: Floats) -> Floats | None:
    """The step of Newton's method by `Points.sums`; None where x is constant or separates the classes."""
    (first, second, third), (a, b) = (float(sums[1, 0]), float(sums[1, 1]), float(sums[1, 2])), sums[0, :2]
    determinant, trace = first * third - second * second, first + third
    if not determinant > 1e-12 * trace * trace:
        return None
    return np.array([third * a - second * b, first * b - second * a]) / determinant


def start(x: Floats, actual: NDArray[np.bool_], weight: Floats | None) -> Floats | None:
    """Intercept and slope but for rounding errors; None where ranges don't give them."""
    slope = 1.0
    for _ in range(2):
        found = ranges(x, actual, slope=slope)
        beta = None if found is None else fit(found.points(weight=weight))
        if beta is None or abs(beta[1]) <= 2.0 * max(slope, 1.0):
            return beta
        slope = float(abs(beta[1]))
    return None


def separates(x: Floats, actual: NDArray[np.bool_]) -> bool:
    """Whether no row of one class has a larger x than any of the other, so that the likelihood has no maximum."""
    yes, no = x[actual], x[~actual]
    return bool(no.max() <= yes.min() or yes.max() <= no.min())


def climb(x: Floats, actual: NDArray[np.bool_], weight: Floats | None, *, steps: int = 200) -> Floats:
    """Intercept and slope from a level curve on: Newton's steps, halved until the likelihood, which is concave, rises.

    `x` (n,) is in standard units, both classes occur, and x doesn't separate them.
    """
    sign = np.where(actual, 1.0, -1.0)
    share = np.ones(len(x)) if weight is None else weight
    powers = np.vander(x, 3, increasing=True).T

    def loss(beta: Floats) -> float:
        return float(share @ np.logaddexp(0.0, -sign * (beta[0] + beta[1] * x)))

    rate = float(np.average(actual, weights=share))
    beta = np.array([np.log(rate) - np.log1p(-rate), 0.0])
    now = loss(beta)
    for _ in range(steps):
        p = 0.5 * (1.0 + np.tanh(0.5 * (beta[0] + beta[1] * x)))
        first, second, third = powers @ (share * p * (1.0 - p))
        information = np.array([[first, second], [second, third]]) + np.eye(2) * 1e-12 * (first + third)
        step = np.linalg.solve(information, powers[:2] @ (share * (actual - p)))
        for _ in range(60):
            then = loss(beta + step)
            if then <= now:
                break
            step = step / 2.0
        else:
            return beta
        beta, now = beta + step, then
        if np.abs(step).max() < 1e-9 * (1.0 + np.abs(beta).max()):
            return beta
    return beta
