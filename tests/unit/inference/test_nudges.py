import numpy as np
import pytest

from mandate.inference.features import Features
from mandate.inference.nudges import MOST_ROWS, STEP, nudges

ROWS = 900
TEST = np.arange(200, ROWS)


def fed(*, batch=None, **more):
    rng = np.random.default_rng(1)
    arrays = {
        "amount": rng.normal(1000, 300, (ROWS, 1)).astype(np.float32),
        "age": rng.integers(18, 80, (ROWS, 1)),
        "salary": rng.integers(10_000, 90_000, ROWS),
        "flag": rng.integers(0, 2, ROWS) * 1.0,
        "purpose": rng.choice(np.array(["car", "tv"], dtype=object), (ROWS, 1)),
        "member": rng.random(ROWS) < 0.5,
        **more,
    }
    kinds = {"amount": "FP32", "age": "INT64", "salary": "INT64", "flag": "FP64", "purpose": "BYTES", "member": "BOOL"}
    return Features(arrays, kinds | dict.fromkeys(more, "FP64"), batch)


def steps(made, name):
    return np.asarray(made.after.arrays[name], float) - np.asarray(made.before.arrays[name], float)


@pytest.mark.row("R2/nudges")
def test_numbers_move_by_a_hundredth_of_their_spread_in_the_test_rows():
    made = nudges(fed(), test=TEST)
    amounts = fed().arrays["amount"][TEST]
    spread = min(amounts.std(), np.subtract(*np.quantile(amounts, (0.75, 0.25))) / 1.349)
    assert np.abs(steps(made, "amount")) == pytest.approx(STEP * spread, rel=1e-2)
    assert 0.4 < (steps(made, "amount") > 0).mean() < 0.6
    assert made.after.arrays["amount"].dtype == np.float32
    assert made.after.arrays["amount"].shape == (MOST_ROWS, 1)
    assert made.moved.all()


def test_whole_numbers_stay_whole_and_texts_and_flags_stay():
    made = nudges(fed(), test=TEST)
    assert set(np.abs(steps(made, "salary"))) == {round(STEP * np.std(fed().arrays["salary"][TEST]))}
    for name in ("age", "flag"):  # a hundredth of their spread is less than half a year
        assert not steps(made, name).any()
    for name in ("purpose", "member"):
        assert np.array_equal(made.after.arrays[name], made.before.arrays[name])


def test_the_rows_are_test_rows_as_they_are_and_the_same_ones_again():
    made, again = (nudges(fed(), test=TEST) for _ in range(2))
    assert set(made.rows) < set(TEST)
    assert len(made.rows) == len(set(made.rows)) == MOST_ROWS
    for name, array in fed().arrays.items():
        assert np.array_equal(made.before.arrays[name], array[made.rows])
        assert np.array_equal(made.after.arrays[name], again.after.arrays[name])


def test_nothing_leaves_the_range_of_the_test_rows_and_what_is_missing_stays_so():
    values = np.linspace(0, 1, ROWS)
    values[::3], values[1] = np.nan, -np.inf
    made = nudges(fed(x=values), test=TEST)
    after, before = made.after.arrays["x"], made.before.arrays["x"]
    assert np.array_equal(np.isnan(after), np.isnan(before))
    assert np.nanmin(after) >= np.nanmin(values[TEST])
    assert np.nanmax(after) <= np.nanmax(values[TEST])
    assert (after[~np.isnan(before)] != before[~np.isnan(before)]).all()


def test_rows_without_a_number_to_move_are_none():
    nothing = Features({"x": np.full(ROWS, np.nan), "c": np.full(ROWS, "a", dtype=object)}, {"x": "FP64", "c": "BYTES"})
    assert not nudges(nothing, test=TEST).moved.any()
    some = Features({"x": np.where(np.arange(ROWS) % 2, np.nan, np.arange(ROWS) / 7)}, {"x": "FP64"})
    made = nudges(some, test=TEST)
    assert np.array_equal(made.moved, made.rows % 2 == 0)


def test_each_cluster_gives_one_row():
    clusters = np.arange(ROWS) // 10
    made = nudges(fed(), test=TEST, clusters=clusters)
    assert len(made.rows) == 70
    assert len(set(clusters[made.rows])) == 70


@pytest.mark.parametrize(("batch", "rows"), [(None, 500), (7, 497), (500, 500), (1000, 0)])
def test_a_model_that_takes_some_rows_at_once_is_asked_for_whole_batches(batch, rows):
    made = nudges(fed(batch=batch), test=TEST)
    assert len(made.rows) == rows
    assert made.after.batch == batch
