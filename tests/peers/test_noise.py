"""Label noise, against the latent class model by EM, equations solved by SciPy, and simulation."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import fsolve

from mandate.evidence.intervals import StudentT
from mandate.measure.noise import label_noise
from mandate.measure.people import Votes
from mandate.measure.uncertainty import alone
from mandate.verdict.limits import student_limits


def draw(seed: int, rows: int, classes: int, target, people, *, share: float = 1.0, prior=None):
    """True classes, the target's labels, and (rows, annotators) labels, -1 where an annotator gave none.

    Error rates are numbers, or one for each class; a wrong class is drawn from the others.
    """
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, rows, p=prior)

    def said(rate):
        wrong = rng.random(rows) < np.broadcast_to(rate, classes)[truth]
        return np.where(wrong, (truth + rng.integers(1, classes, rows)) % classes, truth)

    target, labels = said(target), np.stack([said(rate) for rate in people], axis=1)
    return truth, target, np.where(rng.random(labels.shape) < share, labels, -1)


def votes(labels: np.ndarray, classes: int) -> Votes:
    row, who = np.nonzero(labels >= 0)
    names = tuple(f"p{place}" for place in range(labels.shape[1]))
    return Votes(row=row, annotator=who, label=labels[row, who], names=names, classes=classes, strange=0)


def dawid_skene(views: np.ndarray, rounds: int = 4000) -> float:
    """How often the first of (rows, 3) labels of two classes is wrong: maximum likelihood by EM."""
    cells, counts = np.unique(views, axis=0, return_counts=True)
    positive, rates = 0.4, np.array([[0.2, 0.8]] * 3)  # P(label 1) by view and true class
    for _ in range(rounds):
        of_class = [
            share * np.prod(np.where(cells == 1, rates[:, k], 1 - rates[:, k]), axis=1)
            for k, share in enumerate((1 - positive, positive))
        ]
        belief = counts * of_class[1] / (of_class[0] + of_class[1])
        for k, mass in enumerate((counts - belief, belief)):
            rates[:, k] = mass @ cells / mass.sum()
        positive = belief.sum() / counts.sum()
    return float((1 - positive) * rates[0, 0] + positive * (1 - rates[0, 1]))


def by_hand(target: np.ndarray, labels: np.ndarray, weight: np.ndarray, classes: int) -> float:
    """The estimate with weights for rows, pair by pair of annotators."""
    there = labels >= 0
    kept = there.sum(axis=1) >= 2
    there &= kept[:, None]
    people = range(labels.shape[1])
    total, above, below, third = weight[kept].sum(), 0.0, 0.0, 0.0
    share = weight[kept] @ target[kept] / total
    if classes == 2:
        mean = [np.average(labels[there[:, a], a], weights=weight[there[:, a]]) for a in people]
        z = labels - np.array(mean)
        with_target = [
            np.average((target - share)[there[:, a]] * z[there[:, a], a], weights=weight[there[:, a]]) for a in people
        ]
    else:
        agree = [np.average(labels[there[:, a], a] == target[there[:, a]], weights=weight[there[:, a]]) for a in people]
        with_target = [(classes * c - 1) / (classes - 1) for c in agree]
    for a, b in combinations(people, 2):
        both = there[:, a] & there[:, b]
        mass = weight[both].sum() / total
        above += mass * with_target[a] * with_target[b]
        if classes == 2:
            product = z[both, a] * z[both, b]
            below += weight[both] @ product / total
            third += weight[both] @ ((target - share)[both] * product) / total
        else:
            below += mass * (classes * np.average(labels[both, a] == labels[both, b], weights=weight[both]) - 1)
    if classes > 2:
        return (classes - 1) / classes * (1 - np.sqrt(above * (classes - 1) / below))
    q = np.sqrt(above / below)
    kappa = q * third / above
    # From kappa to the share of positives, then to the target's sensitivity and specificity.
    positive = (1 - kappa / np.sqrt(4 + kappa**2)) / 2
    youden = q / np.sqrt(positive * (1 - positive))
    false_positive = share - positive * youden
    return positive * (1 - youden - false_positive) + (1 - positive) * false_positive


@pytest.mark.row("P2/noise")
@pytest.mark.parametrize("seed", range(3))
def test_label_noise_of_two_classes_is_the_latent_class_models(seed):
    """Three labels of a row and three pairs of error rates: as many numbers as cells, so both solve the same."""
    _, target, labels = draw(seed, 3000, 2, (0.05, 0.2), ((0.1, 0.15), (0.05, 0.3)), prior=(0.7, 0.3))
    ours = label_noise(votes(labels, 2), target)[0].value
    assert ours == pytest.approx(dawid_skene(np.column_stack([target, labels])), abs=1e-6), "label_noise"


def test_label_noise_of_several_classes_solves_the_agreements():
    """P(agree) = (1 - e)(1 - f) + e f / (K - 1) for each two of three labels."""
    _, target, labels = draw(1, 900, 4, 0.1, (0.2, 0.05))
    views = np.column_stack([target, labels])
    pairs = list(combinations(range(3), 2))
    seen = [np.mean(views[:, a] == views[:, b]) for a, b in pairs]

    def off(rates):
        return [
            (1 - rates[a]) * (1 - rates[b]) + rates[a] * rates[b] / 3 - c for (a, b), c in zip(pairs, seen, strict=True)
        ]

    expected = fsolve(off, [0.1, 0.1, 0.1], xtol=1e-13)[0]
    assert label_noise(votes(labels, 4), target)[0].value == pytest.approx(expected, abs=1e-9), "label_noise"


@pytest.mark.parametrize(("classes", "share"), [(2, 1.0), (2, 0.6), (3, 1.0), (3, 0.6)])
def test_influence_on_label_noise_is_the_derivative(classes, share):
    """Also where annotators labelled some of the rows each, and others are alone on a row."""
    _, target, labels = draw(4, 150, classes, 0.1, (0.15, 0.2, 0.1), share=share)
    point, rows = label_noise(votes(labels, classes), target)
    assert set(rows) == set(np.flatnonzero((labels >= 0).sum(axis=1) >= 2))
    weight = np.ones(150)
    assert point.value == pytest.approx(by_hand(target, labels, weight, classes), abs=1e-12), "label_noise"
    for place in range(0, len(rows), 7):
        up, down = (weight + sign * 1e-5 * (np.arange(150) == rows[place]) for sign in (1, -1))
        slope = (by_hand(target, labels, up, classes) - by_hand(target, labels, down, classes)) / 2e-5
        assert point.psi[place] / len(rows) == pytest.approx(slope, abs=1e-8)


@pytest.mark.row("P2/noise")
@pytest.mark.parametrize(
    ("rows", "classes", "target", "people", "prior"),
    [
        (1000, 2, 0.05, (0.1, 0.1), None),
        (2500, 2, (0.01, 0.3), ((0.01, 0.2), (0.02, 0.3)), (0.9, 0.1)),
        (600, 4, 0.08, (0.1, 0.2), None),
        (1500, 2, 0.10, (0.1, 0.2, 0.05, 0.15), None),
    ],
    ids=["alike", "one class", "four classes", "four people"],
)
def test_limits_of_label_noise_hold(rows, classes, target, people, prior):
    """Upper limits at 2.5 %, by which gates pass, lie below the truth in at most 2.5 % of samples, plus three standard
    errors; so do lower ones above it. The estimate itself is right on average.
    """
    true = float(np.dot(prior or np.full(classes, 1 / classes), np.broadcast_to(target, classes)))
    repeats, below, above, bounded = 300, 0, 0, 0
    values = []
    for seed in range(repeats):
        _, given, labels = draw(seed, rows, classes, target, people, prior=prior, share=0.6 if len(people) > 2 else 1.0)
        point, _ = label_noise(votes(labels, classes), given)
        values.append(point.value)
        interval = alone(point, None)
        if isinstance(interval, StudentT):
            low, high = student_limits(interval, 0.025)
            bounded, below, above = bounded + 1, below + (true < low), above + (true > high)
    assert bounded > 0.5 * repeats
    most = 0.025 * bounded + 3 * np.sqrt(0.025 * 0.975 * bounded)
    assert max(below, above) <= most, (below, above, bounded)
    assert np.mean(values) == pytest.approx(true, abs=4 * np.std(values) / np.sqrt(repeats))
