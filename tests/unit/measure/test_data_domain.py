"""Whether train and test rows can be told apart by all inputs together."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtri

from mandate.api import spec
from mandate.api.spec import Gate
from mandate.evidence.intervals import Beta, StudentT
from mandate.measure.data.domain import domain_auc
from mandate.measure.data.drift import drift
from mandate.measure.data.profile import profile
from mandate.measure.split import Split
from mandate.verdict.limits import beta_limits, student_limits
from tests.unit.measure.test_engine import Case
from tests.unit.verdict.test_judge import evidence, judged


def parts(table, *, test=0.4, seed=1):
    rng = np.random.default_rng(seed)
    part = np.where(np.arange(table.num_rows) < test * table.num_rows, 2, 0).astype(np.int8)
    keys = rng.integers(0, 2**63, table.num_rows, dtype=np.uint64)
    return Split(part=part, keys=keys, digest="d")


def asked(columns, *, cluster=None, **how):
    table = pa.table(columns)
    features = [name for name in columns if name != cluster]
    return domain_auc(table, parts(table, **how), features=features, folds=5, cluster=cluster)


def limits(estimate):
    assert isinstance(estimate.interval, StudentT)
    return student_limits(estimate.interval, 0.0125)


@pytest.mark.row("D1/classifier")
def test_columns_that_differ_only_together_are_told_apart():
    rng = np.random.default_rng(2)
    rows = 3000
    test = np.arange(rows) < 0.4 * rows
    x = rng.normal(size=rows)
    y = np.where(test, x, -x) + 0.4 * rng.normal(size=rows)
    z = x * y
    apart = asked({"x": x, "y": y})
    assert apart.estimate == pytest.approx(0.5, abs=0.05), "what isn't linear isn't seen"
    assert limits(asked({"x": x, "y": y, "z": z}))[0] > 0.8
    both = {"x": x, "y": x + 0.05 * test + 0.1 * rng.normal(size=rows)}
    assert limits(asked(both))[0] > 0.55
    one, other = (profile([pa.table(both).filter(pa.array(mask))]) for mask in (~test, test))
    assert not any(column.changed for column in drift(one, other)), "each by itself looks alike"


@pytest.mark.row("D1/classifier")
@pytest.mark.parametrize("cluster", [None, "who"])
def test_parts_that_are_always_told_apart_fail_a_gate(cluster):
    """A column that moved beyond its range: an AUC of 1 has no variance, and is the strongest finding there is."""
    rng = np.random.default_rng(3)
    rows = 400
    test = np.arange(rows) < 0.4 * rows
    columns = {"x": rng.random(rows) + 10.0 * test, "who": [f"w{row // 4}" for row in range(rows)]}
    found = asked({name: columns[name] for name in ("x", *([cluster] if cluster else []))}, cluster=cluster)
    assert found.estimate == 1.0
    units = 160 if cluster is None else 40
    assert found.interval == Beta(successes=units, trials=units)
    lower, upper = beta_limits(found.interval, 0.0125)
    assert (lower, upper) == (pytest.approx(0.0125 ** (1 / units)), 1.0)
    record = evidence(found)
    for limit, verdict in (("0.7", "Fail"), ("0.99", "Inconclusive")):
        gate = Gate(name="g", metric="domain_auc", require={"Automate": f"<= {limit}"})
        (outcome,) = judged(gate, record).at("Automate").gates
        assert outcome.verdict == verdict, outcome.message


def test_an_order_that_is_perfect_by_chance_bounds_the_true_one():
    """30 rows each of normal scores, whose true AUC is known: how often is it 1, its limit above the truth?"""
    rng = np.random.default_rng(4)
    for truth in (0.8, 0.85, 0.9, 0.99):
        apart = np.sqrt(2.0) * ndtri(truth)
        least = rng.normal(apart, 1.0, (20_000, 30)).min(axis=1)
        perfect = least > rng.normal(size=(20_000, 30)).max(axis=1)
        assert truth > 0.0125 ** (1 / 30) or perfect.mean() <= 0.0125


def test_alike_parts_are_seldom_told_apart():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = asked({f"x{index}": rng.normal(size=400) for index in range(5)}, seed=seed)
        alarms += limits(found)[0] > 0.5
    assert alarms <= 3


def test_rows_of_a_cluster_are_one():
    rng = np.random.default_rng(4)
    who = np.repeat(np.arange(120), 10)
    level = rng.normal(size=(120, 8))[who]
    columns = {f"x{index}": column + 0.01 * rng.normal(size=1200) for index, column in enumerate(level.T)}
    rowwise, clustered = asked(columns), asked(columns | {"who": who}, cluster="who")
    assert limits(rowwise)[0] > 0.5, "rows of people that are in both parts' folds are known by heart"
    assert limits(clustered)[0] < 0.5
    assert clustered.support.clusters == 120


def test_the_order_of_rows_does_not_matter_to_an_evaluation():
    case = Case(rows=600)
    data = case.data.model_copy(update={"domain_classifier": spec.DomainClassifier(folds=3)})
    order = np.random.default_rng(1).permutation(600)
    mixed = case.compute(
        data=data,
        table=case.table.take(pa.array(order)),
        split=case.split.take(order),
        answers=case.answers.take(order),
    )
    plain = case.compute(data=data)
    assert mixed.estimates == plain.estimates
    assert plain.inputs.settings != case.compute().inputs.settings
    (found,) = (e for e in plain.estimates if e.quantity.metric == "domain_auc")
    assert 0.4 < found.estimate < 0.6


@pytest.mark.parametrize(
    ("columns", "how", "code"),
    [
        ({"x": np.ones(400)}, {}, "NoFeatures"),
        ({"x": np.arange(40.0)}, {}, "TooFewRows"),
        ({"x": np.arange(400.0)}, {"test": 1.0}, "NoTrainingRows"),
        ({"x": np.arange(400.0), "who": np.arange(400) // 20}, {"cluster": "who"}, "TooFewRows"),
        ({"x": pa.array([[1.0]] * 400)}, {}, "NotExamined"),
    ],
)
def test_what_cannot_be_asked_is_a_fault(columns, how, code):
    found = asked(columns, **how)
    assert (found.estimate, found.fault.code) == (None, code)
