"""Profiles of any rows: the same bytes whatever the batches and their order; bounds hold; no rows are needed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.measure.data import distances
from mandate.measure.data import profile as profiles
from mandate.measure.data.drift import drift
from mandate.measure.data.grid import coarsen, grid, merge
from mandate.measure.data.profile import dumps, loads, profile
from mandate.measure.table import MeasureError
from mandate.measure.work import Threads

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBER = st.one_of(FINITE, st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.integers(-5, 5).map(float))
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), NUMBER, st.sampled_from([math.nan, math.inf, -math.inf])),
        st.one_of(st.none(), st.sampled_from("abcde"), st.text(max_size=3)),
        st.integers(-3, 3),
        st.one_of(st.none(), st.booleans()),
        st.one_of(st.none(), st.datetimes()),
    ),
    min_size=1,
    max_size=60,
)
SCHEMA = pa.schema([
    ("number", pa.float64()), ("text", pa.string()), ("whole", pa.int64()), ("truth", pa.bool_()),
    ("time", pa.timestamp("us")),
])  # fmt: skip


def table(rows):
    columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA)
    return pa.table(
        [pa.array(list(c), field.type) for c, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )  # fmt: skip


@pytest.mark.row("D2/profile")
@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=6), order=st.randoms(use_true_random=False), data=st.data()
)
@pytest.mark.parametrize("limit", [2, 5, 1 << 20])
def test_any_split_and_order_of_batches_gives_equal_bytes(limit, rows, cuts, order, data):
    whole = dumps(profile([table(rows)], limit=limit, categories=["whole"], workers=Threads(2)))
    shuffled = list(rows)
    order.shuffle(shuffled)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [profile([table(shuffled[a:b])], limit=limit, categories=["whole"]) for a, b in itertools.pairwise(bounds)]
    while len(parts) > 1:  # in any tree
        place = data.draw(st.integers(0, len(parts) - 2))
        parts[place : place + 2] = [parts[place].merge(parts[place + 1])]
    assert dumps(parts[0]) == whole
    batches = table(shuffled).to_batches(max_chunksize=7)
    assert dumps(profile(batches, limit=limit, categories=["whole"])) == whole
    assert dumps(loads(whole)) == whole


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, limit=st.integers(2, 20))
def test_coarsening_afterwards_is_profiling_coarsely(rows, limit):
    assert dumps(profile([table(rows)]).coarsen(limit)) == dumps(profile([table(rows)], limit=limit))


@settings(max_examples=150, deadline=None)
@given(values=st.lists(NUMBER, min_size=1, max_size=80), limit=st.integers(2, 12))
def test_a_grid_keeps_every_value_in_its_cell(values, limit):
    found = grid(np.array(values), limit=limit)
    assert len(found.count) <= limit
    assert found.size == len(values)
    assert (found.low <= found.high).all()
    assert (found.high[:-1] < found.low[1:]).all()
    for low, high, count in zip(found.low, found.high, found.count, strict=True):
        assert sum(low <= value <= high for value in values) == count
    if found.shift:  # no finer one would have done
        assert len(set(values)) > limit


@settings(max_examples=150, deadline=None)
@given(
    one=st.lists(NUMBER, min_size=1, max_size=60),
    other=st.lists(NUMBER, min_size=1, max_size=60),
    limit=st.integers(2, 20),
)
def test_coarse_distances_are_as_near_as_they_say(one, other, limit):
    a, b = grid(np.array(one)), grid(np.array(other))
    c, d = coarsen(a, limit=limit), coarsen(b, limit=limit)
    none = ((0, 0), (0, 0))
    exact, _ = distances.ks(a, b, distances.apart(a, b), extremes=none)
    rough, error = distances.ks(c, d, distances.apart(c, d), extremes=none)
    assert abs(rough - exact) <= error + 1e-12
    of, off = distances.moments(a), distances.moments(c)
    far = distances.wasserstein(a, b, distances.apart(a, b, factor=of.factor), of)
    near = distances.wasserstein(c, d, distances.apart(c, d, factor=off.factor), off)
    if far is not None and near is not None and near[1] is not None:
        assert abs(near[0] - far[0]) <= near[1] * (1 + 1e-9) + 1e-9 * (1 + far[0])
    for edges, distance in (
        (distances.psi_edges(c), distances.psi),
        (distances.doane_edges(c, off), distances.jensen_shannon),
    ):
        fine, coarse = (
            [distances.bins(g, edges, extremes=(0, 0), missing=0) for g in pair] for pair in ((a, b), (c, d))
        )
        assert fine[0].count.tolist() == coarse[0].count.tolist()  # edges lie between the reference's cells
        assert (coarse[1].least <= fine[1].count).all()
        assert (fine[1].count <= coarse[1].most).all()
        exact, rough = distance(*fine)[0], distance(*coarse)
        assert abs(rough[0] - exact) <= rough[1] + 1e-9


@settings(max_examples=60, deadline=None)
@given(one=st.lists(NUMBER, max_size=30), other=st.lists(NUMBER, max_size=30), limit=st.integers(2, 40))
def test_merging_grids_is_one_grid_of_both(one, other, limit):
    merged = merge(grid(np.array(one, float), limit=limit), grid(np.array(other, float), limit=limit), limit=limit)
    whole = grid(np.array(one + other, float), limit=limit)
    for name in ("low", "high", "count"):
        assert getattr(merged, name).tolist() == getattr(whole, name).tolist()
    assert merged.shift == whole.shift


@settings(max_examples=100, deadline=None)
@given(one=ROWS, other=ROWS)
def test_drift_of_any_tables_is_finite_and_of_equal_ones_nothing(one, other):
    a, b = profile([table(one)]), profile([table(other)])
    for column in drift(a, b):
        for distance in column.distances:
            assert math.isfinite(distance.value)
    stored = loads(dumps(a)), loads(dumps(b))
    assert drift(*stored) == drift(loads(dumps(a)), loads(dumps(b)))
    assert sorted(drift(a, b), key=lambda c: c.column) == sorted(drift(*stored), key=lambda c: c.column)
    for column in drift(a, a):
        assert not column.changed
        assert all(distance.value == 0 for distance in column.distances)


@settings(max_examples=100, deadline=None)
@given(names=st.lists(st.text(max_size=4), min_size=1, max_size=40), cut=st.integers(0, 40), most=st.integers(1, 10))
def test_texts_are_counted_by_hash_beyond_their_limit_in_any_order(names, cut, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "MAX_CATEGORIES", most)
        whole = profile([pa.table({"x": names})])
        parts = [profile([pa.table({"x": pa.array(part, pa.string())})]) for part in (names[cut:], names[:cut])]
        assert dumps(parts[0].merge(parts[1])) == dumps(whole)
        counted = whole.columns["x"].texts
        assert counted.size == len(names)
        assert bool(counted.hashed) == (len(set(names)) > most)


@pytest.mark.row("D2/stored")
@settings(max_examples=150, deadline=None)
@given(rows=ROWS, place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_profile_is_refused_or_sound(rows, place, byte):
    data = bytearray(dumps(profile([table(rows)], limit=8)))
    data[place % len(data)] = byte
    try:
        found = loads(bytes(data))
    except MeasureError:
        return
    drift(found, found)
