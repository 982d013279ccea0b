"""How often the label that counts as the truth is wrong, from people who labelled the same rows without it.

Nobody knows the true class; but where errors are independent of each other given it, what two labels have in common
comes from the class alone, and three labels of a row tell how much each one knows of it (Dawid & Skene 1979). Here the
three are the target and any two annotators.

Two classes, whose errors may differ: with p the share of the positive class and J a label's sensitivity + specificity
- 1, covariances are C = p (1 - p) J J' and the third central moment T = p (1 - p) (1 - 2p) J J' J''. So the target's
q² = p (1 - p) J² = C_a C_b / C_ab with annotators a and b, and κ = (1 - 2p) / √(p (1 - p)) = q T / (C_a C_b) (Parisi et
al. 2014; Jaffe et al. 2015); with m the target's share of positives it is wrong with probability
1/2 - (κ (1/2 - m) + 2 q) / √(4 + κ²).

Several classes have too many errors to tell apart, and every wrong class is taken to be equally likely. Of K classes
then u = (K P(agree) - 1) / (K - 1) = θ θ' for labels with error rates (K - 1) / K (1 - θ), and θ² = u_a u_b / u_ab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Floats, Point, UndefinedError
from .metrics.point import STEADY_SCORES, everywhere
from .people import Votes

Indices = NDArray[np.intp]

MIN_LABELS = 30
"""Of an annotator: of fewer, the product of two annotators' agreements with the target is biased by what they share."""
BEYOND_CHANCE = 3.0
"""Standard errors below 0 from which on the target agrees with people more than independent errors would let it."""


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """Labels by those of whom there are enough, on rows with two of them at least: (v,) `row` 0 …, `who` 0 … and
    `label`; `target` (n,) of those rows, `rows` (n,) which they are."""

    row: Indices
    who: Indices
    label: Indices
    target: Indices
    rows: Indices

    def by_row(self, values: NDArray[np.generic]) -> Floats:
        """(v,) to (n,): sums over a row's labels."""
        return np.asarray(np.bincount(self.row, weights=values, minlength=len(self.rows)), dtype=np.float64)

    def by_person(self, values: NDArray[np.generic]) -> Floats:
        """(v,) to people: sums over their labels."""
        return np.asarray(np.bincount(self.who, weights=values), dtype=np.float64)

    def pairs(self, values: NDArray[np.generic]) -> Floats:
        """(v,) to (n,): sums of products over all pairs of a row's labels."""
        return (self.by_row(values) ** 2 - self.by_row(values**2)) / 2.0

    def others(self, values: Floats) -> Floats:
        """(v,) to (v,): sums over the other labels of the row."""
        return np.asarray(self.by_row(values)[self.row] - values)


def label_noise(found: Votes, actual: Indices) -> tuple[Point, Indices]:
    """The share of rows whose `actual` class (n,) is wrong, and the rows that it is of.

    Those are rows with labels of two annotators at least, of those who labelled MIN_LABELS rows. Of several pairs of
    annotators products and moments are summed before they are divided, by how many rows both labelled: who labels which
    row mustn't depend on its class. By chance the share may come out below 0, as may any difference of shares. Raises
    UndefinedError.
    """
    given = _in_common(found, actual)
    if found.classes < 2:
        raise UndefinedError("OneClass", "all labels are of one class, so no error shows")
    value, psi = _of_two(given) if found.classes == 2 else _of_several(given, classes=found.classes)
    count = len(given.rows)
    if value < -BEYOND_CHANCE * float(np.std(psi)) / math.sqrt(count) - 1e-12:
        raise UndefinedError(
            "NotIndependent",
            "the target agrees with annotators more than they agree with each other, which independent errors don't "
            "explain: it may be made of their labels, or they saw it; leave data.annotations.independent out",
        )
    differing = int(np.count_nonzero(given.by_row(given.label != given.target[given.row])))
    point = Point(
        value=value,
        psi=psi,
        stratum=everywhere(count),
        events=differing,
        link="Identity",
        step=1.0 / count,
        steady=STEADY_SCORES,
    )
    return point, given.rows


def _of_two(given: _Labels) -> tuple[float, Floats]:
    """The value and its influence (n,), whatever the errors of either class."""
    count, row, who = len(given.rows), given.row, given.who
    positive = given.label.astype(np.float64)
    labels = np.bincount(who)
    share = float(np.mean(given.target))
    y = given.target - share
    z = positive - (given.by_person(positive) / labels)[who]
    cov = given.by_person(y[row] * z) / labels
    products, among = given.pairs(cov[who]), given.pairs(z)
    above, below, third = float(products.mean()), float(among.mean()), float(np.mean(y * among))
    _beyond_chance(float(labels @ cov), above, below)
    q = math.sqrt(above / below)
    kappa = q * third / above
    root = math.sqrt(4.0 + kappa**2)
    value = 0.5 - (kappa * (0.5 - share) + 2.0 * q) / root
    # Each row's influence on the moments; that of an annotator's own means comes by way of all their rows.
    weight = (count / labels)[who]
    on_mean = z * weight
    of_mean_on_cov = (given.by_person(y[row]) / labels)[who]
    on_cov = (y[row] * z - cov[who]) * weight - of_mean_on_cov * on_mean
    reach = (given.by_person(given.others(cov[who])) / count)[who]
    on_above = products - above + given.by_row(on_cov * reach)
    others = given.others(z)
    on_below = among - below - given.by_row(on_mean * (given.by_person(others) / count)[who])
    of_mean = (given.by_person(y[row] * others) / count)[who]
    on_third = y * among - third - y * below - given.by_row(on_mean * of_mean)
    on_q = q / 2.0 * (on_above / above - on_below / below)
    on_kappa = kappa * (on_q / q - on_above / above) + q / above * on_third
    bend = kappa * (kappa * (0.5 - share) + 2.0 * q) / root**3
    psi = -((0.5 - share) * on_kappa - kappa * y + 2.0 * on_q) / root + bend * on_kappa
    return value, psi


def _of_several(given: _Labels, *, classes: int) -> tuple[float, Floats]:
    """The value and its influence (n,), were every wrong class equally likely."""
    count, who = len(given.rows), given.who
    labels = np.bincount(who)
    hit = (given.label == given.target[given.row]).astype(np.float64)
    share = given.by_person(hit) / labels
    u = (classes * share - 1.0) / (classes - 1.0)
    by_class = np.bincount(given.row * classes + given.label, minlength=count * classes).reshape(count, classes)
    agree = (by_class * (by_class - 1)).sum(axis=1) / 2.0
    products, among = given.pairs(u[who]), (classes * agree - given.pairs(np.ones(len(who)))) / (classes - 1.0)
    above, below = float(products.mean()), float(among.mean())
    _beyond_chance(float(labels @ u), above, below)
    theta = math.sqrt(above / below)
    reach = (given.by_person(given.others(u[who])) / count)[who]
    on_u = classes / (classes - 1.0) * (hit - share[who]) * (count / labels)[who]
    on_above = products - above + given.by_row(on_u * reach)
    on_theta = theta / 2.0 * (on_above / above - (among - below) / below)
    rest = (classes - 1.0) / classes
    return rest * (1.0 - theta), -rest * on_theta


def _beyond_chance(with_target: float, above: float, below: float) -> None:
    if with_target <= 0 or above <= 0:
        raise UndefinedError(
            "BelowChance", "annotators agree with the target no more than by chance, so nobody's error can be told"
        )
    if below <= 0:
        raise UndefinedError(
            "BelowChance", "annotators agree with each other no more than by chance, so nobody's error can be told"
        )


def _in_common(found: Votes, actual: Indices) -> _Labels:
    row, who, label = found.row, found.annotator, found.label
    while len(row):  # who has too few labels is left out, and then there may be rows that have too few
        places = np.unique(row, return_inverse=True)[1]
        kept = np.bincount(who)[who] >= MIN_LABELS
        kept &= np.bincount(places[kept], minlength=len(row))[places] >= 2
        if kept.all():
            rows = np.unique(row)
            people = np.unique(who, return_inverse=True)[1]
            return _Labels(row=places, who=people, label=label, target=actual[rows].astype(np.intp), rows=rows)
        row, who, label = row[kept], who[kept], label[kept]
    raise UndefinedError(
        "OneAnnotator",
        f"no two annotators labelled {MIN_LABELS} rows of which each has two labels, and one label beside the target "
        "doesn't tell which of both is wrong; have rows labelled by two people at least",
    )
