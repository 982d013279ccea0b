"""What small changes of inputs do to answers, against counting with scikit-learn's own models."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from mandate.api.spec import ModelOutput, Task
from mandate.evaluate.nudges import bounded, flipped, nudge
from mandate.inference.features import Features
from mandate.inference.nudges import nudges
from mandate.verdict.limits import beta_limits

BINARY = Task(type="Binary", target="y", positive="1")
ROWS = 2000
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, 3)) * (1, 50, 0.01)
Y = (X[:, 0] + X[:, 1] / 50 + RNG.normal(size=ROWS) > 0).astype(int)
FED = Features({"x": X}, {"x": "FP64"})
MADE = nudges(FED, test=np.arange(1000, ROWS))


def asked(answer, *, output, task, made=MADE):
    async def ask(fed):
        return answer(fed.arrays["x"])

    return asyncio.run(nudge(ask, made, output=output, task=task))


@pytest.mark.row("R2/nudges")
@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier(random_state=0)])
@pytest.mark.parametrize("width", [1, 2])
def test_flipped_answers_are_those_that_predict_otherwise(model, width):
    model.fit(X[:1000], Y[:1000])
    before, after = (model.predict_proba(fed.arrays["x"])[:, 1] for fed in (MADE.before, MADE.after))
    seen, found = asked(lambda x: model.predict_proba(x)[:, -width:], output=ModelOutput(), task=BINARY)
    other = int(np.sum((before >= 0.5) != (after >= 0.5)))
    assert (found.rows, found.flipped, found.flipped_itself) == (500, other, 0)
    assert found.largest == pytest.approx(np.abs(after - before).max())
    assert found.median == pytest.approx(np.median(np.abs(after - before)))
    assert found.spread == pytest.approx(before.std())
    assert (seen.answered, seen.failed) == (500, 0)
    (estimate,) = flipped(found, task=BINARY)
    assert estimate.estimate == other / 500, "flipped_answers"
    exact = binomtest(other, 500).proportion_ci(0.95, method="exact")
    assert beta_limits(estimate.interval, 0.025) == pytest.approx((exact.low, exact.high)), "flipped_answers"
    assert (estimate.support.rows, estimate.support.events) == (500, other), "flipped_answers"


def test_a_tree_flips_more_than_a_line():
    shares = []
    for model in (LogisticRegression(), DecisionTreeClassifier(random_state=0)):
        model.fit(X[:1000], Y[:1000])
        _, found = asked(lambda x, model=model: model.predict_proba(x)[:, 1], output=ModelOutput(), task=BINARY)
        shares.append(found.flipped / found.rows)
    assert shares[0] < shares[1]


def test_of_several_classes_the_likeliest_counts_and_labels_are_compared_as_they_are():
    classes = np.digitize(X[:, 0], (-0.5, 0.5))
    model = LogisticRegression().fit(X[:1000], classes[:1000])
    task = Task(type="Multiclass", target="y")
    output = ModelOutput(classes=("0", "1", "2"))
    other = int(np.sum(model.predict(MADE.before.arrays["x"]) != model.predict(MADE.after.arrays["x"])))
    _, found = asked(model.predict_proba, output=output, task=task)
    assert found.flipped == other > 0
    _, named = asked(lambda x: model.predict(x).astype(str).astype(object), output=ModelOutput(kind="Label"), task=task)
    assert (named.flipped, named.largest, named.spread) == (other, None, None)


def test_another_cutoff_flips_others():
    model = LogisticRegression().fit(X[:1000], Y[:1000])
    before, after = (model.predict_proba(fed.arrays["x"])[:, 1] >= 0.9 for fed in (MADE.before, MADE.after))
    output = ModelOutput(cutoff="0.9")
    _, found = asked(lambda x: model.predict_proba(x)[:, 1], output=output, task=BINARY)
    assert found.flipped == int(np.sum(before != after))


def test_numbers_flip_nothing_and_their_change_is_told():
    model = GradientBoostingRegressor(random_state=0).fit(X[:1000], X[:1000, 0] ** 2)
    task, output = Task(type="Regression", target="y"), ModelOutput(kind="Value")
    before, after = (model.predict(fed.arrays["x"]) for fed in (MADE.before, MADE.after))
    _, found = asked(model.predict, output=output, task=task)
    assert found.flipped is None
    assert found.largest == pytest.approx(np.abs(after - before).max())
    assert found.spread == pytest.approx(before.std())
    assert flipped(found, task=task) == []


def test_answers_by_chance_flip_by_themselves():
    _, found = asked(lambda x: RNG.random(len(x)), output=ModelOutput(), task=BINARY)
    assert found.flipped_itself > 200


def test_without_numbers_to_move_there_is_no_share():
    made = nudges(Features({"x": np.ones((ROWS, 3))}, {"x": "FP64"}), test=np.arange(ROWS))
    seen, found = asked(lambda x: x[:, 0], output=ModelOutput(), task=BINARY, made=made)
    assert (seen.probes, found) == (0, None)
    (estimate,) = flipped(found, task=BINARY)
    assert estimate.fault.code == "NotMeasured"


@pytest.mark.row("R2/bounds")
def test_nudged_answers_that_none_may_give_are_counted_where_they_were_sound_before():
    before = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [3, 2, 1], [np.nan, 2, 3], [1, 2, 3]], float)
    after = np.array([[1, 2, 3], [1, 3, 2], [1, np.nan, 3], [3, 2, 1], [np.nan, 2, 3], [1, 1, 1 - 1e-9]])
    seen = bounded(before, after, output=ModelOutput(kind="Quantiles"))
    assert (seen.failures, seen.answered) == (Counter(Crossed=1, NoNumber=1), 4)
    assert bounded(before[:, 1], after[:, 1], output=ModelOutput(kind="Value")).failures == Counter(NoNumber=1)
    beyond = bounded(np.array([0.5, 0.5]), np.array([0.4, 1.2]), output=ModelOutput())
    assert (beyond.failures, beyond.first) == (Counter(OutOfBounds=1), "rows nudged: OutOfBounds")
