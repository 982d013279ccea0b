from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.measure.overlap import Overlap, Repeats, overlap, repeats
from mandate.measure.work import Threads

KEYS = st.lists(st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 1 << 60, 1 << 63, (1 << 64) - 1])))


@given(ours=KEYS, theirs=KEYS)
def test_it_is_counting_one_by_one(ours, theirs):
    counts = Counter(ours)
    expected = Overlap(
        shared=sum(key in counts for key in theirs),
        groups=len(counts.keys() & set(theirs)),
        twins=sum(count for count in counts.values() if count > 1),
    )
    assert overlap(np.array(ours, np.uint64), np.array(theirs, np.uint64)) == expected
    again = [count for count in counts.values() if count > 1]
    assert repeats(np.array(ours, np.uint64)) == Repeats(rows=sum(again), groups=len(again))


@pytest.mark.parametrize("size", [0, 20_000])
def test_threads_find_the_same(size):
    rng = np.random.default_rng(3)
    ours, theirs = (rng.integers(0, 1 << 15, size).astype(np.uint64) << np.uint64(49) for _ in range(2))
    found = overlap(ours, theirs, workers=Threads(2))
    assert found == overlap(ours, theirs)
    assert found.shared == np.isin(theirs, ours).sum()
    assert (found.shared > 5000) == (size > 0)
