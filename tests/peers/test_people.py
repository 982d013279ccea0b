"""Agreement between annotators and leave-one-out comparisons, against statsmodels, scikit-learn and publications."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from mandate.evidence.intervals import StudentT
from mandate.measure import people
from mandate.measure.people import Votes, agreement
from mandate.measure.uncertainty import alone, contributions
from mandate.verdict.limits import student_limits

COHEN_1960 = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
"""Two judges' 200 diagnoses; kappa is .492."""
FLEISS_COHEN_EVERITT_1969 = np.array([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
"""200 diagnoses; kappa is .429."""
FOURTEEN = np.array([
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
])  # fmt: skip
"""Fourteen raters on ten subjects, the worked example of the encyclopaedias; kappa is .210."""


def of_matrix(table: np.ndarray) -> Votes:
    """Votes of two annotators from how often they gave each pair of classes."""
    pairs = np.repeat(np.argwhere(table >= 0), table.ravel(), axis=0)
    return of_labels(pairs, classes=len(table))


def of_counts(counts: np.ndarray) -> Votes:
    """Votes from how often each subject got each class; rows may have fewer labels than others."""
    most = counts.sum(axis=1).max()
    labels = np.full((len(counts), most), -1)
    for row, found in enumerate(counts):
        given = np.repeat(np.arange(counts.shape[1]), found)
        labels[row, : len(given)] = given
    return of_labels(labels, classes=counts.shape[1])


def of_labels(labels: np.ndarray, *, classes: int) -> Votes:
    """Votes from (rows, annotators) labels, -1 where there is none."""
    row, annotator = np.nonzero(labels >= 0)
    names = tuple(f"a{place}" for place in range(labels.shape[1]))
    return Votes(row=row, annotator=annotator, label=labels[row, annotator], names=names, classes=classes, strange=0)


def noisy(seed: int, rows: int, annotators: int, *, classes: int = 3, right: float = 0.75) -> np.ndarray:
    """Labels that are right so often, and any class otherwise."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, rows, p=np.arange(1, classes + 1) / (classes * (classes + 1) / 2))
    guess = rng.integers(0, classes, (rows, annotators))
    return np.where(rng.random((rows, annotators)) < right, truth[:, None], guess)


@pytest.mark.parametrize("name", ["cohen_kappa", "fleiss_kappa"])
def test_what_others_published(name):
    if name == "cohen_kappa":
        assert agreement(name, of_matrix(COHEN_1960))[0].value == pytest.approx(0.492, abs=5e-4)
        assert agreement(name, of_matrix(FLEISS_COHEN_EVERITT_1969))[0].value == pytest.approx(0.429, abs=5e-4)
    else:
        assert agreement(name, of_counts(FOURTEEN))[0].value == pytest.approx(0.210, abs=5e-4)


@pytest.mark.row("P2/agreement")
@pytest.mark.parametrize("name", ["cohen_kappa", "fleiss_kappa"])
def test_agreement_is_that_of_others(name):
    for seed in range(3):
        labels = noisy(seed, 150, 2 if name == "cohen_kappa" else 5)
        ours = agreement(name, of_labels(labels, classes=3))[0]
        if name == "cohen_kappa":
            assert ours.value == pytest.approx(cohen_kappa_score(labels[:, 0], labels[:, 1]), abs=1e-12)
        else:
            counts = np.stack([(labels == k).sum(axis=1) for k in range(3)], axis=1)
            assert ours.value == pytest.approx(statsmodels_fleiss(counts), abs=1e-12)


@pytest.mark.parametrize("table", [COHEN_1960, FLEISS_COHEN_EVERITT_1969], ids=["1960", "1969"])
def test_the_variance_of_cohens_kappa_is_that_of_fleiss_cohen_and_everitt(table):
    point, _ = agreement("cohen_kappa", of_matrix(table))
    rows = len(point.psi)
    ours = contributions(point, None).variance * (rows - 1) / rows
    assert ours == pytest.approx(cohens_kappa(table).std_kappa ** 2, rel=1e-9)


def weighted_fleiss(labels: np.ndarray, weight: np.ndarray, classes: int) -> float:
    """Fleiss' kappa with weights for rows, row by row and pair by pair; rows with one label don't count."""
    agree, shares, total = 0.0, np.zeros(classes), 0.0
    for given, of_row in zip(labels, weight, strict=True):
        said = given[given >= 0]
        if len(said) < 2:
            continue
        pairs = [a == b for i, a in enumerate(said) for j, b in enumerate(said) if i != j]
        agree += of_row * np.mean(pairs)
        shares += of_row * np.bincount(said, minlength=classes) / len(said)
        total += of_row
    chance = float(np.sum((shares / total) ** 2))
    return (agree / total - chance) / (1 - chance)


def test_influence_on_fleiss_kappa_is_the_derivative():
    """Also with different numbers of labels, and with annotators alone on a row."""
    labels = noisy(4, 60, 4)
    labels[np.random.default_rng(5).random(labels.shape) < 0.4] = -1
    point, rows = agreement("fleiss_kappa", of_labels(labels, classes=3))
    assert set(rows) == set(np.flatnonzero((labels >= 0).sum(axis=1) >= 2))
    weight = np.ones(60)
    assert point.value == pytest.approx(weighted_fleiss(labels, weight, 3), abs=1e-12)
    for place, row in enumerate(rows):
        up, down = (weight + sign * 1e-5 * (np.arange(60) == row) for sign in (1, -1))
        slope = (weighted_fleiss(labels, up, 3) - weighted_fleiss(labels, down, 3)) / 2e-5
        assert point.psi[place] / len(rows) == pytest.approx(slope, abs=1e-8)


@pytest.mark.row("P2/agreement")
@pytest.mark.parametrize("name", ["cohen_kappa", "fleiss_kappa"])
@pytest.mark.parametrize(("rows", "right"), [(80, 0.6), (200, 0.85)])
def test_limits_of_agreement_hold(name, rows, right):
    """Lower limits at 2.5 %, by which gates pass, lie above the true kappa in at most 2.5 % of samples, plus three
    standard errors. Estimates of kappa lie a little low, so upper limits, by which gates fail, are allowed 4 %.
    """
    annotators, repeats = (2, 3)[name == "fleiss_kappa"], 600
    truth = agreement(name, of_labels(noisy(99, 400_000, annotators, right=right), classes=3))[0].value
    below = above = bounded = 0
    for seed in range(repeats):
        interval = alone(agreement(name, of_labels(noisy(seed, rows, annotators, right=right), classes=3))[0], None)
        if isinstance(interval, StudentT):
            low, high = student_limits(interval, 0.025)
            bounded, below, above = bounded + 1, below + (truth < low), above + (truth > high)
    assert bounded > 0.95 * repeats
    spread = 3 * np.sqrt(0.025 * 0.975 * bounded)
    assert below <= 0.025 * bounded + spread, (below, above, bounded)
    assert above <= 0.04 * bounded + spread, (below, above, bounded)


def others_accuracy(labels: np.ndarray, said: np.ndarray | None = None) -> float:
    """Expected share of right answers, each vote against the others' most frequent label, ties in equal shares."""
    hits = []
    for row, given in enumerate(labels):
        for place in np.flatnonzero(given >= 0):
            others = [given[other] for other in np.flatnonzero(given >= 0) if other != place]
            if others:
                values, counts = np.unique(others, return_counts=True)
                modal = values[counts == counts.max()]
                answer = given[place] if said is None else said[row]
                hits.append((answer in modal) / len(modal))
    return float(np.mean(hits))


@pytest.mark.row("B2/panel", "P2/baseline")
@pytest.mark.parametrize("annotators", [2, 3, 5])
def test_an_annotator_is_held_against_the_others(annotators):
    """Two have no ties, and exactly the expected number; several have it on average over seeds."""
    labels = noisy(6, 120, annotators)
    labels[np.random.default_rng(7).random(labels.shape) < 0.2] = -1
    model = noisy(6, 120, 1)[:, 0]
    keys = np.random.default_rng(8).integers(0, 2**63, 120).astype(np.uint64)
    votes = of_labels(labels, classes=3)
    panels = [
        people.panel(votes, against="Others", actual=np.zeros(120, dtype=np.intp), keys=keys, seed=seed)
        for seed in range(1 if annotators == 2 else 200)
    ]
    human = np.mean([np.mean(panel.label == panel.actual) for panel in panels])
    theirs = np.mean([np.mean(model[panel.row] == panel.actual) for panel in panels])
    tolerance = 1e-12 if annotators == 2 else 0.01
    assert human == pytest.approx(others_accuracy(labels), abs=tolerance)
    assert theirs == pytest.approx(others_accuracy(labels, model), abs=tolerance)
