import math

import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data import distances
from mandate.measure.data.drift import Rules, drift
from mandate.measure.data.grid import grid
from mandate.measure.data.profile import dumps, loads, profile


def compared(one, other, **kwargs):
    found = drift(profile([pa.table(one)]), profile([pa.table(other)]), **kwargs)
    return {column.column: column for column in found}


def distance(column, name):
    return next(item for item in column.distances if item.name == name)


RNG = np.random.default_rng(11)


@pytest.mark.row("D1/change")
def test_both_an_effect_and_a_test_make_a_change():
    many = {"x": RNG.normal(size=50_000)}
    slight, far = {"x": RNG.normal(0.05, 1, 50_000)}, {"x": RNG.normal(0.5, 1, 50_000)}
    column = compared(many, slight)["x"]
    assert column.adjusted < 1e-6
    assert not column.changed
    assert compared(many, far)["x"].changed
    few, others = {"x": RNG.normal(size=8)}, {"x": RNG.normal(0.5, 1, 8)}
    column = compared(few, others)["x"]
    assert any(item.matters for item in column.distances)
    assert column.adjusted > 0.05
    assert not column.changed


def test_what_changed_comes_first():
    one = {name: RNG.normal(size=2000) for name in "abc"}
    other = {name: RNG.normal({"a": 0, "b": 0.4, "c": 1}[name], 1, 2000) for name in "abc"}
    found = drift(profile([pa.table(one)]), profile([pa.table(other)]))
    assert [(column.column, column.changed) for column in found] == [("c", True), ("b", True), ("a", False)]


def test_tests_are_adjusted_for_all_columns_together():
    one, other = {"x": RNG.normal(size=300)}, {"x": RNG.normal(0.25, 1, 300)}
    alone = compared(one, other)["x"]
    same = {f"n{i}": RNG.normal(size=300) for i in range(40)}
    among = compared({**one, **same}, {**other, **same})["x"]
    assert distance(alone, "ks").p == distance(among, "ks").p
    assert among.adjusted == pytest.approx(41 * alone.adjusted)


def test_nothing_changed_is_rarely_found():
    wrong = 0
    for _ in range(60):
        one, other = ({f"x{i}": RNG.normal(size=200) for i in range(8)} for _ in range(2))
        wrong += any(column.changed for column in compared(one, other).values())
    assert wrong <= 9  # 5 % of 60, and four standard errors


def test_missing_alone_is_a_change():
    one = {"x": pa.array([1.0, 2.0, 3.0, 4.0] * 100)}
    other = {"x": pa.array([1.0, 2.0, 3.0, 4.0] * 80 + [None] * 80)}
    column = compared(one, other)["x"]
    assert distance(column, "ks").value == 0
    assert distance(column, "missing").value == pytest.approx(0.2)
    assert column.changed
    assert column.present == (400, 320)


def test_all_missing_in_one_table():
    for values in ([1.0, 2.0] * 50, ["a", "b"] * 50):
        full, empty = {"x": values}, {"x": pa.nulls(100)}
        for one, other in ((full, empty), (empty, full)):
            column = compared(one, other)["x"]
            assert distance(column, "missing").value == 1
            assert column.changed
    assert compared({"x": pa.nulls(9)}, {"x": pa.nulls(9)}) == {}


def test_constant_columns():
    column = compared({"x": [5.0] * 100}, {"x": [5.0] * 70})["x"]
    assert all(item.value == 0 for item in column.distances)
    assert "wasserstein" not in [item.name for item in column.distances]
    column = compared({"x": [5.0] * 100}, {"x": [5.0] * 50 + [6.0] * 50})["x"]
    assert distance(column, "ks").value == 0.5
    assert distance(column, "psi").value > 1
    assert column.changed


def test_a_heavy_value_has_a_bin_of_its_own():
    one = {"x": np.append(np.zeros(950), np.exp(np.linspace(-2.0, 2.0, 50)))}
    other = {"x": np.append(np.zeros(700), np.exp(np.linspace(-2.1, 2.0, 300)))}
    column = compared(one, other)["x"]
    assert distance(column, "psi").value == pytest.approx(0.25 * math.log(0.3 / 0.05) + 0.25 * math.log(0.95 / 0.7))
    assert distance(column, "ks").value == pytest.approx(0.25)


def test_infinities_count_as_the_farthest_values_but_have_no_distance():
    values = RNG.normal(size=500)
    other = np.where(np.arange(500) < 150, np.inf, values)
    column = compared({"x": values}, {"x": other})["x"]
    assert distance(column, "ks").value >= 0.2
    assert math.isfinite(distance(column, "wasserstein").value)
    assert column.changed
    column = compared({"x": [math.inf] * 40}, {"x": [1.0] * 40})["x"]
    assert distance(column, "ks").value == 1


def test_huge_and_tiny_numbers():
    for scale in (1e308, 2e-323, 1e-300):
        values = np.array([-1.0, -0.5, 0.25, 1.0] * 30) * scale
        column = compared({"x": values}, {"x": np.abs(values)})["x"]
        assert distance(column, "ks").value == 0.5
        assert column.changed


def test_unseen_texts_have_their_own_bin_but_ids_are_no_change():
    column = compared({"x": ["a", "b"] * 100}, {"x": ["a", "c"] * 100})["x"]
    assert column.changed
    assert distance(column, "chi_square").value > 0.5
    ids = compared({"x": [f"i{i}" for i in range(900)]}, {"x": [f"j{i}" for i in range(900)]})["x"]
    assert distance(ids, "psi").value > 1  # all are unseen
    assert not ids.changed  # as they would be whatever happened


def test_twelve_thousand_texts_are_compared_by_hash():
    names = np.array([f"n{i}" for i in range(12_000)])
    one, other = names[RNG.integers(0, 12_000, 40_000)], names[RNG.integers(0, 12_000, 40_000)]
    column = compared({"x": one}, {"x": other})["x"]
    assert distance(column, "chi_square").error is None
    assert not column.changed
    fewer = compared({"x": one}, {"x": names[RNG.integers(0, 300, 40_000)]})["x"]  # named against hashed
    assert fewer.changed


def test_times_and_columns_of_another_kind_are_left_out():
    day = np.datetime64("2024-01-01", "us")
    assert compared({"t": [day] * 9, "x": [1] * 9}, {"t": [day] * 9, "x": ["1"] * 9}) == {}
    assert list(compared({"a": [1], "b": [1]}, {"a": [1], "b": [1], "c": [1]}, leave_out=["a"])) == ["b"]


def test_rules_are_the_callers():
    one, other = {"x": RNG.normal(size=4000)}, {"x": RNG.normal(0.15, 1, 4000)}
    assert not compared(one, other, rules=Rules(wasserstein=0.3))["x"].changed
    assert compared(one, other, rules=Rules(ks=0.02))["x"].changed


def test_an_error_is_taken_off_before_an_effect_matters():
    one, other = RNG.normal(size=30_000), RNG.normal(0.25, 1, 30_000)
    stored = [loads(dumps(profile([pa.table({"x": values})]).coarsen(64))) for values in (one, other)]
    (column,) = drift(*stored)
    item = distance(column, "ks")
    assert item.error > 0.05
    exact = distance(compared({"x": one}, {"x": other})["x"], "ks")
    assert abs(item.value - exact.value) <= item.error
    assert item.p >= exact.p
    assert item.matters is (item.value - item.error >= 0.1)


def test_blocks_change_nothing(monkeypatch):
    one, other = np.round(RNG.normal(size=500), 1), np.round(RNG.normal(0.3, 2, size=700), 2)
    whole = distances.apart(grid(one), grid(other))
    monkeypatch.setattr(distances, "BLOCK", 7)
    cut = distances.apart(grid(one), grid(other))
    assert (cut.above, cut.below) == (whole.above, whole.below)
    assert cut.area == pytest.approx(whole.area, rel=1e-12)


def test_few_expected_rows_are_pooled_or_leave_no_test():
    assert distances.chi_square(np.array([3, 2]), np.array([2, 2])) is None
    assert distances.chi_square(np.array([0, 0]), np.array([20, 20])) is None
    assert distances.chi_square(np.array([100, 3, 2]), np.array([90, 4, 3])).df == 1
    assert distances.chi_square(np.array([100, 50, 1]), np.array([90, 60, 0])).df == 1


def test_texts_that_are_always_new_are_no_change_because_a_few_more_are_missing():
    def table(rows, missing, start):
        return pa.table({"note": [None if n < missing else f"note {start + n}" for n in range(rows)]})

    (column,) = drift(profile([table(9000, 90, 0)]), profile([table(5000, 150, 9000)]))
    assert column.adjusted < 1e-9
    assert not column.changed
    (column,) = drift(profile([table(9000, 90, 0)]), profile([table(5000, 650, 9000)]))
    assert column.changed
