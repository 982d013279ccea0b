"""The chosen cut-off against scikit-learn at every threshold, and its range against rows left out one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import TunedThresholdClassifierCV

from mandate.api import spec
from mandate.measure.cutoff import QUANTILE, Given, choose

COSTS = np.array([[0.0, 1.5], [5.0, 0.0]])
SCORERS = {
    "expected_cost": lambda y, z, w: np.average(COSTS[y.astype(int), z.astype(int)], weights=w),
    "f1": lambda y, z, w: sk.f1_score(y, z, sample_weight=w),
    "f_beta": lambda y, z, w: sk.fbeta_score(y, z, beta=2, sample_weight=w),
    "balanced_accuracy": lambda y, z, w: sk.balanced_accuracy_score(y, z, sample_weight=w),
    "matthews_corrcoef": lambda y, z, w: sk.matthews_corrcoef(y, z, sample_weight=w) if 0 < z.mean() < 1 else np.nan,
    "accuracy": lambda y, z, w: sk.accuracy_score(y, z, sample_weight=w),
    "recall": lambda y, z, w: sk.recall_score(y, z, sample_weight=w),
    "precision": lambda y, z, w: sk.precision_score(y, z, sample_weight=w) if z.any() else np.nan,
    "specificity": lambda y, z, w: sk.recall_score(~y, ~z, sample_weight=w),
    "negative_predictive_value": lambda y, z, w: sk.precision_score(~y, ~z, sample_weight=w) if not z.all() else np.nan,
}
CHOICES = [
    *(({"metric": name}) for name in list(SCORERS)[:6]),
    {"metric": "precision", "atLeast": {"metric": "recall", "value": "0.8"}},
    {"metric": "recall", "atLeast": {"metric": "precision", "value": "0.55"}},
    {"metric": "specificity", "atLeast": {"metric": "negative_predictive_value", "value": "0.85"}},
    {"metric": "negative_predictive_value", "atLeast": {"metric": "specificity", "value": "0.6"}},
]
NAMES = ["-".join((one["metric"], *([one["atLeast"]["metric"]] if "atLeast" in one else []))) for one in CHOICES]


def rows(count: int = 160, seed: int = 3, *, weighted: bool = False, clustered: bool = False) -> Given:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    return Given(
        score=np.round(1 / (1 + np.exp(-1.2 * x - rng.normal(size=count))), 2),
        positive=rng.random(count) < 1 / (1 + np.exp(-1.5 * x + 0.7)),
        weight=rng.lognormal(size=count) if weighted else None,
        clusters=rng.integers(0, count // 4, count) if clustered else None,
    )


def chosen(given: Given, choice: dict[str, object]):
    return choose(given, spec.CutoffChoice.model_validate(choice), declared="0.5", costs=COSTS, beta=2.0)


def everywhere(given: Given, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One cut-off for each way of dividing the rows, and the metric there."""
    values = np.unique(given.score)
    cuts = np.append(values, 1.0)
    return cuts, np.array([SCORERS[name](given.positive, given.score >= cut, given.weight) for cut in cuts])


@pytest.mark.row("G4/cutoff")
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("choice", CHOICES, ids=NAMES)
def test_no_cut_off_is_better_than_the_chosen_one(choice, weighted):
    given = rows(weighted=weighted)
    found = chosen(given, choice)
    _, value = everywhere(given, choice["metric"])
    allowed = np.isfinite(value)
    label = given.score >= float(found.chosen)
    if "atLeast" in choice:
        kept = everywhere(given, choice["atLeast"]["metric"])[1]
        allowed &= kept >= float(choice["atLeast"]["value"])
        assert found.kept == pytest.approx(
            SCORERS[choice["atLeast"]["metric"]](given.positive, label, given.weight), rel=1e-12
        )
    best = value[allowed].min() if choice["metric"] == "expected_cost" else value[allowed].max()
    assert found.value == pytest.approx(best, rel=1e-12)
    assert SCORERS[choice["metric"]](given.positive, label, given.weight) == pytest.approx(best, rel=1e-12)


class Said(ClassifierMixin, BaseEstimator):
    """A fitted model whose score is its only feature."""

    classes_ = np.array([False, True])

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.column_stack((1 - X[:, 0], X[:, 0]))

    def predict(self, X):
        return X[:, 0] >= 0.5

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.row("G4/cutoff")
@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "accuracy"])
def test_as_scikit_learn_tunes_it(name):
    given = rows()
    tuned = TunedThresholdClassifierCV(
        Said(),
        scoring=name,
        thresholds=np.unique(given.score),
        cv="prefit",
        refit=False,
        response_method="predict_proba",
    )
    tuned.fit(given.score[:, None], given.positive)
    found = chosen(given, {"metric": name})
    assert found.value == pytest.approx(tuned.best_score_, rel=1e-12)


def left_out(given: Given, name: str, cut: float) -> np.ndarray:
    """(n,) the metric's derivative by each row's weight, by a small change of that weight."""
    weight = np.ones(len(given.score)) if given.weight is None else given.weight
    step = 1e-6 * weight.sum()
    label = given.score >= cut
    found = []
    for row in range(len(weight)):
        more, less = weight.copy(), weight.copy()
        more[row] += step
        less[row] -= step
        both = [SCORERS[name](given.positive, label, one) for one in (more, less)]
        found.append((both[0] - both[1]) / (2 * step) * weight[row])
    return np.array(found)


def error(given: Given, influence: np.ndarray) -> float:
    codes = np.arange(len(influence)) if given.clusters is None else given.clusters
    return float(np.sqrt((np.bincount(codes, weights=influence) ** 2).sum()))


@pytest.mark.row("G4/cutoff")
@pytest.mark.parametrize("kind", ["alike", "weighted", "clustered"])
@pytest.mark.parametrize("name", ["expected_cost", "f_beta", "balanced_accuracy"])
def test_the_range_holds_what_rows_left_out_one_by_one_can_not_tell(name, kind):
    given = rows(40, seed=5, weighted=kind == "weighted", clustered=kind == "clustered")
    found = chosen(given, {"metric": name})
    cuts, value = everywhere(given, name)
    sign = -1 if name == "expected_cost" else 1
    own = left_out(given, name, float(found.chosen))
    alike = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, cut in enumerate(cuts):
            se = error(given, left_out(given, name, cut) - own)
            if sign * (found.value - value[place]) <= QUANTILE * se + 1e-12:
                alike.append(place)
    ends = np.concatenate(([0.0], np.unique(given.score), [1.0]))
    middle = (ends[:-1] + ends[1:]) / 2
    assert found.low == pytest.approx(middle[alike[0]] if alike[0] else 0.0, abs=1e-9)
    assert found.high == pytest.approx(middle[alike[-1]], abs=1e-9)
    assert found.low > 0 or found.high < 1
