import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data import leakage
from mandate.measure.sample import fitted_rows, sampled
from mandate.measure.split import Split

ROWS = 6000
RNG = np.random.default_rng(8)
KEYS = RNG.integers(0, 1 << 63, ROWS).astype(np.uint64)
PART = np.repeat(np.array([0, 1, 2, -1], np.int8), [3000, 500, 2000, 500])
SPLIT = Split(part=PART, keys=KEYS, digest="sha256:" + "0" * 64)


def test_all_rows_are_taken_in_the_order_of_their_keys_where_they_are_few():
    assert np.array_equal(fitted_rows(SPLIT, limit=3000), np.argsort(KEYS))
    assert sampled(SPLIT, limit=3000) == []


def test_a_sample_is_the_same_rows_whatever_their_order():
    rows = fitted_rows(SPLIT, limit=1000)
    assert (np.diff(KEYS[rows].astype(float)) > 0).all()
    assert [int((PART[rows] == place).sum()) for place in (0, 1, 2, -1)] == [1000, 500, 1000, 0]
    order = RNG.permutation(ROWS)
    assert np.array_equal(KEYS[order][fitted_rows(SPLIT.take(order), limit=1000)], KEYS[rows])
    (said,) = sampled(SPLIT, limit=1000)
    assert said.endswith("looked for on 1000 of 3000 train and 2000 test rows, drawn by their keys")


@pytest.mark.parametrize("limit", [1, 200, 1999, 2999, 3000])
def test_the_sample_has_the_rows_of_a_whole_sort_in_its_order_also_where_keys_are_equal(limit):
    keys = RNG.integers(0, 900, ROWS).astype(np.uint64)
    split = Split(part=PART, keys=keys, digest="")
    found = fitted_rows(split, limit=limit)
    order = np.argsort(keys, kind="stable")
    assert np.array_equal(found, order[np.isin(order, found)])
    if limit < 3000:
        counts = [int((PART[found] == place).sum()) for place in range(3)]
        assert all(count <= max(limit, least) for count, least in zip(counts, (0, 500, 0), strict=True))


def test_a_row_more_moves_one_out_at_most():
    fewer = SPLIT.take(np.arange(1, ROWS))
    before, after = (set(KEYS[fitted_rows(SPLIT, limit=1000)]), set(fewer.keys[fitted_rows(fewer, limit=1000)]))
    assert len(before - after) <= 1
    assert len(after - before) <= 1


def test_a_sample_has_nothing_to_do_with_the_keys_size():
    """Rows are divided by their keys' hashes, too, and sketched by the smallest keys."""
    kept = np.isin(np.arange(3000), fitted_rows(SPLIT, limit=1000))
    half = KEYS[:3000] < np.median(KEYS[:3000])
    assert kept[half].mean() == pytest.approx(1 / 3, abs=0.04)


def test_a_giveaway_shows_in_a_sample(monkeypatch):
    y = RNG.integers(0, 2, ROWS)
    table = pa.table({"y": y, "copy": y + RNG.normal(size=ROWS) / 9, "noise": RNG.normal(size=ROWS)})
    few = fitted_rows(SPLIT, limit=200)
    asked = []
    whole = np.arange(ROWS)  # too few to be looked at twice
    monkeypatch.setattr(leakage, "fitted_rows", lambda split, limit=0: whole if limit else asked.append(split) or few)
    found, _ = leakage.leakage(table, SPLIT, target="y", features=["copy", "noise"])
    assert [(one.code, one.column, one.numbers["rows"]) for one in found] == [("GivesLabelAway", "copy", 200)]
    assert asked == [SPLIT]
