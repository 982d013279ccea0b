"""Slices and the search for weak parts, whatever the values."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.api import spec
from mandate.evidence.slices import MISSING
from mandate.measure import weakest
from mandate.measure.slices import MAX_NAME, assign_all, quantile_edges, value_names

TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "(missing)", "a × b", "b", "<b>"]), st.text(max_size=300))
NUMBERS = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(allow_nan=True, allow_infinity=True, width=32))


@pytest.mark.row("T2/declared")
@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, NUMBERS, st.booleans()), min_size=1, max_size=60), ranges=st.integers(2, 20))
def test_every_row_has_one_named_value_of_every_slice(rows, ranges):
    texts, numbers, train = zip(*rows, strict=True)
    table = pa.table({"t": pa.array(texts, pa.string()), "n": pa.array(numbers, pa.float64())})
    declared = (
        spec.Slice(name="both", cross=("t", "n")),
        spec.Slice(name="t", column="t"),
        spec.Slice(name="n", column="n", quantiles=ranges),
    )
    both, by_text, by_number = assign_all(table, declared, train=np.array(train))
    for found in (both, by_text, by_number):
        if found.fault is not None:
            assert found.fault.code in ("NoTrainingRows", "TooManyValues")
            continue
        assert len(set(found.values)) == len(found.values) == found.found
        assert max(map(len, found.values)) <= MAX_NAME
        assert ((found.code >= 0) & (found.code < found.found)).all()
    if by_text.fault is None:
        missing = [by_text.values[code] == MISSING for code in by_text.code]
        assert missing == [text is None for text in texts]
    if not any(found.fault for found in (both, by_text, by_number)):
        pairs = list(zip(by_text.code.tolist(), by_number.code.tolist(), strict=True))
        assert len(set(pairs)) == both.found
        assert len(set(zip(pairs, both.code.tolist(), strict=True))) == both.found, "a pair is one value of the cross"


@given(values=st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=200), ranges=st.integers(2, 20))
def test_edges_rise_and_leave_no_range_of_training_rows_crowded(values, ranges):
    values = np.array(values)
    edges = quantile_edges(values, ranges)
    assert list(edges) == sorted(set(edges))
    assert len(edges) < ranges
    assert all(values.min() < edge for edge in edges)
    if len(np.unique(values)) == 1:
        assert edges == ()


@given(texts=st.lists(st.text(max_size=400), unique=True, max_size=30))
def test_names_of_values_differ(texts):
    names = value_names(texts)
    assert len(set(names) - {MISSING}) == len(texts)
    assert all(name == text for name, text in zip(names, texts, strict=True) if "…" not in name)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=60), order=st.randoms(use_true_random=False))
def test_q_values_are_no_smaller_than_p_keep_their_order_and_follow_their_p(p, order):
    p = np.array(p)
    q = weakest.benjamini_yekutieli(p)
    assert (q >= p - 1e-15).all()
    assert (q <= 1).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= 0).all()
    places = list(range(len(p)))
    order.shuffle(places)
    assert np.array_equal(weakest.benjamini_yekutieli(p[places]), q[places])


@settings(max_examples=60, deadline=None)
@given(
    codes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 40)), min_size=120, max_size=300),
    kind=st.sampled_from(["binary", "skewed", "constant"]),
    clustered=st.booleans(),
    seed=st.integers(0, 100),
)
def test_a_search_holds_what_it_says_of_rows_losses_and_bounds(codes, kind, clustered, seed):
    rng = np.random.default_rng(seed)
    one, other, who = (np.array(part) for part in zip(*codes, strict=True))
    wrong = (rng.random(len(one)) < np.where(one == 1, 0.9, 0.1)).astype(float)
    loss = {"binary": wrong, "skewed": wrong * rng.lognormal(0, 1, len(one)), "constant": np.ones(len(one))}[kind]
    axes = [
        weakest.Axis(name=name, values=tuple(f"{name}{k}" for k in range(size)), code=code)
        for name, size, code in (("a", 4, one), ("b", 3, other))
    ]
    found = weakest.search(loss, axes, kind="Error", clusters=who if clustered else None, least_rows=20)
    assert found.found <= found.candidates <= 4 + 3 + 12
    assert len(found.slices) == min(found.found, weakest.MAX_LISTED)
    for item in found.slices:
        inside = np.ones(len(one), dtype=bool)
        for side in item.sides:
            inside &= {"a": one, "b": other}[side.name] == int(side.value[1:])
        assert item.rows == inside.sum() >= 20
        assert np.isclose(item.loss, loss[inside].mean())
        assert np.isclose(item.elsewhere, loss[~inside].mean())
        assert item.p <= item.q <= weakest.LEVEL
        assert item.effect >= weakest.FLOOR * (1 - 1e-9)
        assert item.at_least <= item.loss - item.elsewhere
    if kind == "constant":
        assert found.found == 0
