"""What must hold of any rows: no crash, no number out of range, no interval that misses its own estimate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mandate.api import spec
from mandate.api.catalogue import METRICS as CATALOGUE
from mandate.evidence.intervals import Beta, Paired, StudentT, Unbounded
from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Declared, Sample, UndefinedError
from mandate.measure.split import PARTS, divide
from mandate.measure.table import MeasureError
from mandate.verdict.limits import beta_limits, student_limits

PROBABILITY = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
BINARY = [name for name in METRICS if "Binary" in CATALOGUE[name].tasks]
MULTICLASS = [name for name in METRICS if "Multiclass" in CATALOGUE[name].tasks]
COST = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)
REGRESSION = [name for name in METRICS if "Regression" in CATALOGUE[name].tasks]


@st.composite
def weights(draw, size):
    """None, or one weight per row."""
    if draw(st.booleans()):
        return None
    return draw(npst.arrays(float, size, elements=st.one_of(st.sampled_from([0.5, 1.0]), st.floats(1e-3, 1e3))))


@st.composite
def binary(draw, fewest=1, most=200):
    size = draw(st.integers(fewest, most))
    score = draw(npst.arrays(float, size, elements=PROBABILITY))
    declared = Declared(
        beta=draw(st.floats(0.1, 10)), costs=draw(npst.arrays(float, (2, 2), elements=COST)) * (1 - np.eye(2))
    )
    actual, label = draw(npst.arrays(bool, size)), score >= draw(PROBABILITY)
    return Sample(actual=actual, label=label, score=score, declared=declared, weight=draw(weights(size)))


@st.composite
def multiclass(draw, classes=4):
    """Of which some may not occur, or never be answered."""
    size = draw(st.integers(1, 120))
    raw = draw(npst.arrays(float, (size, classes), elements=st.floats(0.01, 1)))
    actual = draw(npst.arrays(np.intp, size, elements=st.integers(0, classes - 1)))
    costs = draw(npst.arrays(float, (classes, classes), elements=COST)) * (1 - np.eye(classes))
    score = raw / raw.sum(axis=1, keepdims=True)
    declared = Declared(beta=draw(st.floats(0.1, 10)), top_k=2, costs=costs)
    label, weight = score.argmax(axis=1), draw(weights(size))
    return Sample(actual=actual, label=label, score=score, classes=classes, declared=declared, weight=weight)


def measure(name, sample):
    try:
        return METRICS[name](sample)
    except UndefinedError:
        return None


def check(name, point, codes=None):
    metric = CATALOGUE[name]
    assert metric.low - 1e-12 <= point.value <= metric.high + 1e-12
    rounding = 1e-9 * len(point.psi) * (1 + abs(point.value))
    assert abs(float(np.sum(point.psi))) <= 1e-6 * float(np.abs(point.psi).sum()) + rounding
    interval = uncertainty.alone(point, codes)
    match interval:
        case Beta():
            lower, upper = beta_limits(interval, 0.0125)
        case StudentT():
            lower, upper = student_limits(interval, 0.0125)
        case _:
            assert isinstance(interval, Unbounded)
            return
    assert lower <= point.value + 1e-9
    assert upper >= point.value - 1e-9
    assert lower < upper


@settings(max_examples=150, deadline=None)
@given(sample=binary(), seed=st.integers(0, 9))
def test_binary_metrics_of_any_rows(sample, seed):
    codes = np.random.default_rng(seed).integers(0, 40, len(sample))
    for name in BINARY:
        if (point := measure(name, sample)) is not None:
            check(name, point)
            check(name, point, codes)


@settings(max_examples=150, deadline=None)
@given(sample=binary(fewest=2), times=st.floats(1, 1e3))
def test_what_was_not_seen_may_weigh_as_much_as_the_heaviest_row_that_was(sample, times):
    """And rows outside that are heavier, of the kind that wasn't seen, never make a proportion surer."""
    if sample.share is None:
        return
    for name in ("accuracy", "recall", "specificity", "precision", "negative_predictive_value", "selection_rate"):
        if (point := measure(name, sample)) is None or 0 < point.value < 1:
            continue
        among = point.stratum >= 0
        own = sample.share[among]
        trials = point.proportion[1]
        assert 0 < trials <= own.sum() / own.max() * (1 + 1e-9)
        told = sample.label if name in ("recall", "specificity") else sample.actual
        unseen = ~among & (told != told[among][0])
        heavier = measure(name, replace(sample, weight=np.where(unseen, times, 1.0) * sample.weight))
        assert heavier.proportion[1] <= trials * (1 + 1e-6)


@settings(max_examples=100, deadline=None)
@given(sample=multiclass(), seed=st.integers(0, 9))
def test_multiclass_metrics_of_any_rows(sample, seed):
    codes = np.random.default_rng(seed).integers(0, 40, len(sample))
    for name in MULTICLASS:
        if (point := measure(name, sample)) is not None:
            check(name, point)
            check(name, point, codes)


@settings(max_examples=100, deadline=None)
@given(sample=multiclass(), data=st.data())
def test_one_changed_answer_moves_a_number_by_no_more_than_its_step(sample, data):
    """Where the number is linear in the answers; others' steps are those of their derivatives."""
    row = data.draw(st.integers(0, len(sample) - 1))
    label = sample.label.copy()
    label[row] = data.draw(st.integers(0, sample.classes - 1))
    for name in ("recall", "expected_cost"):
        before, after = measure(name, sample), measure(name, replace(sample, label=label))
        if before is not None and after is not None:
            assert abs(after.value - before.value) <= before.step * (1 + 1e-9) + 1e-12


@settings(max_examples=100, deadline=None)
@given(
    actual=npst.arrays(float, st.integers(1, 120), elements=st.floats(-1e6, 1e6)),
    noise=npst.arrays(float, 120, elements=st.floats(-1e3, 1e3)),
    weight=weights(120),
)
def test_regression_metrics_of_any_rows(actual, noise, weight):
    size = len(actual)
    score = actual + noise[:size]
    sample = Sample(
        actual=actual,
        score=score,
        quantiles=score[:, None] + np.array([-10.0, 0.0, 10.0]),
        declared=Declared(quantiles=(0.1, 0.5, 0.9)),
        weight=None if weight is None else weight[:size],
    )
    for name in REGRESSION:
        if (point := measure(name, sample)) is not None:
            check(name, point)


@settings(max_examples=100, deadline=None)
@given(first=binary(150, 150), second=binary(150, 150))
def test_pairs_have_a_positive_definite_covariance(first, second):
    second = replace(second, actual=first.actual, declared=first.declared, weight=first.weight)
    for name in BINARY:
        a, b = measure(name, first), measure(name, second)
        if a is None or b is None:
            continue
        interval = uncertainty.paired(a, b, None)
        if isinstance(interval, Paired):
            assert abs(interval.cov) <= math.sqrt(interval.var_a * interval.var_b) * (1 + 1e-9)
            assert interval.var_a + interval.var_b - 2 * interval.cov > 0


@settings(max_examples=100, deadline=None)
@given(sample=st.one_of(binary(), multiclass()), data=st.data())
def test_a_whole_weight_is_as_many_rows(sample, data):
    """Of values; twice a row tells no more than once about chance."""
    often = data.draw(npst.arrays(np.intp, len(sample), elements=st.integers(1, 4)))
    weighted, repeated = replace(sample, weight=often.astype(float)), replace(sample, weight=None)
    repeated = repeated.take(np.repeat(np.arange(len(sample)), often))
    for name in BINARY if sample.binary else MULTICLASS:
        one, other = measure(name, weighted), measure(name, repeated)
        assert (one is None) == (other is None)
        if one is not None and name != "calibration_slope":
            assert math.isclose(one.value, other.value, rel_tol=1e-9, abs_tol=1e-12), name


@settings(max_examples=100, deadline=None)
@given(sample=st.one_of(binary(), multiclass()), weight=st.floats(1e-300, 1e300))
def test_equal_weights_are_none(sample, weight):
    plain, equal = replace(sample, weight=None), replace(sample, weight=np.full(len(sample), weight))
    for name in BINARY if sample.binary else MULTICLASS:
        one, other = measure(name, plain), measure(name, equal)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.value == other.value
            assert (one.psi == other.psi).all()
            assert (one.events, one.step, one.proportion) == (other.events, other.step, other.proportion)


@settings(max_examples=100, deadline=None)
@given(sample=binary(fewest=50))
def test_weights_never_make_more_of_rows_than_there_are(sample):
    for name in BINARY:
        weighted, plain = measure(name, sample), measure(name, replace(sample, weight=None))
        if weighted is not None and plain is not None:
            assert weighted.events <= plain.events
            interval = uncertainty.alone(weighted, None)
            if isinstance(interval, Beta):
                assert interval.trials <= plain.proportion[1] * (1 + 1e-9)


@pytest.mark.row("G5/parts")
@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.tuples(st.integers(0, 30), st.text(max_size=5)), min_size=40, max_size=120),
    method=st.sampled_from(["Random", "Group", "Time"]),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_every_row_has_one_part_whatever_the_order(values, method, seed, order):
    task = spec.Task(type="Binary", target="y", positive="1", cluster="who", time="at")
    how = spec.Split(method=method, train="0.3", validation="0.2", test="0.5", seed=seed)

    def table(rows):
        return pa.table({
            "at": [at for at, _ in rows], "who": [who for _, who in rows], "y": [at % 2 for at, _ in rows]
        })  # fmt: skip

    shuffled = list(range(len(values)))
    order.shuffle(shuffled)
    try:
        first = divide(table(values), how=how, task=task)
    except MeasureError as error:
        if error.code == "NoTestRows":
            return
        raise
    second = divide(table([values[i] for i in shuffled]), how=how, task=task)
    assert second.digest == first.digest
    assert [int(first.part[i]) for i in shuffled] == second.part.tolist()
    assert set(first.part.tolist()) <= {-1, *range(len(PARTS))}
