"""What must hold of any rows: no crash, no number out of range, no interval that misses its own estimate."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mandate.api import spec
from mandate.api.catalogue import METRICS as CATALOGUE
from mandate.evidence.intervals import Beta, Paired, StudentT, Unbounded
from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Sample, UndefinedError
from mandate.measure.split import PARTS, divide
from mandate.measure.table import MeasureError
from mandate.verdict.limits import beta_limits, student_limits

PROBABILITY = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
BINARY = [name for name in METRICS if "Binary" in CATALOGUE[name].tasks]
REGRESSION = [name for name in METRICS if "Regression" in CATALOGUE[name].tasks]


@st.composite
def binary(draw, fewest=1, most=200):
    size = draw(st.integers(fewest, most))
    score = draw(npst.arrays(float, size, elements=PROBABILITY))
    return Sample(actual=draw(npst.arrays(bool, size)), label=score >= draw(PROBABILITY), score=score)


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


@settings(max_examples=100, deadline=None)
@given(
    actual=npst.arrays(float, st.integers(1, 120), elements=st.floats(-1e6, 1e6)),
    noise=npst.arrays(float, 120, elements=st.floats(-1e3, 1e3)),
)
def test_regression_metrics_of_any_rows(actual, noise):
    sample = Sample(actual=actual, score=actual + noise[: len(actual)])
    for name in REGRESSION:
        if (point := measure(name, sample)) is not None:
            check(name, point)


@settings(max_examples=100, deadline=None)
@given(first=binary(150, 150), second=binary(150, 150))
def test_pairs_have_a_positive_definite_covariance(first, second):
    second = Sample(actual=first.actual, label=second.label, score=second.score)
    for name in BINARY:
        a, b = measure(name, first), measure(name, second)
        if a is None or b is None:
            continue
        interval = uncertainty.paired(a, b, None)
        if isinstance(interval, Paired):
            assert abs(interval.cov) <= math.sqrt(interval.var_a * interval.var_b) * (1 + 1e-9)
            assert interval.var_a + interval.var_b - 2 * interval.cov > 0


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
