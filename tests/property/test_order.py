"""The rows' order and sketch, which are found without sorting everything, are those that sorting everything finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mandate.measure.answers import Answers
from mandate.measure.split import SKETCH_SIZE, Split


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3000), different=st.integers(1, 4000), wide=st.booleans())
def test_rows_are_in_the_order_of_keys_then_of_answers_then_as_they_came(seed, rows, different, wide):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, different, rows).astype(np.uint64)
    values = rng.integers(0, 3, (rows, 2) if wide else rows).astype(np.float64)
    values[rng.random(rows) < 0.1] = np.nan
    expected = np.lexsort((*values.reshape(rows, -1).T, keys))
    assert np.array_equal(Answers(values=values).order(keys), expected)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6000), different=st.integers(1, 9000))
def test_a_sketch_is_of_the_smallest_different_keys(seed, rows, different):
    rng = np.random.default_rng(seed)
    part = rng.integers(-1, 3, rows).astype(np.int8)
    split = Split(part=part, keys=rng.integers(0, different, rows).astype(np.uint64), digest="sha256:" + "0" * 64)
    expected = [f"{key:016x}" for key in sorted(set(split.keys[part == 2].tolist()))[:SKETCH_SIZE]]
    assert list(split.sketch("test")) == expected
