"""What is searched, by which rows, within which bounds, and what is said where nothing can be found."""

import time

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import computed_bytes
from mandate.measure import weakest
from mandate.measure.answers import Answers
from mandate.measure.slices import assign_all
from tests.unit.measure.test_engine import Case, sliced


def axes(columns, *names, slices=(), train=None):
    table = pa.table(columns)
    mask = np.zeros(table.num_rows, dtype=bool) if train is None else np.asarray(train)
    found = assign_all(table, slices, train=mask)
    return weakest.axes(table, found, slices, names, train=mask, test=np.flatnonzero(~mask))


def test_numbers_are_binned_by_training_rows_and_categories_kept_by_their_rows():
    rows = 400
    train = np.arange(rows) < 200
    number = np.where(train, np.arange(rows), 1000.0 + np.arange(rows))
    (found,), said = axes({"x": number}, "x", train=train)
    assert said == ()
    assert found.values == (">=175",), "all test rows lie above the training rows' last edge"
    letters = [f"v{k:02}" for k in np.repeat(np.arange(40), np.arange(40) + 1)]
    (found,), _ = axes({"c": letters}, "c")
    assert found.values == tuple(f"v{k}" for k in range(20, 40)), "those with most rows, in their order"
    assert (found.code == len(found.values)).sum() == sum(range(1, 21))
    (found,), _ = axes({"c": [1, 2, None, 2]}, "c")
    assert found.values == ("1", "2", "(missing)")


def test_slices_come_first_by_their_own_values_and_columns_only_once():
    columns = {"age": np.arange(200) % 90, "sex": ["f", "m"] * 100, "x": np.arange(200.0), "id": np.arange(200)}
    slices = (
        spec.Slice(name="years", column="age", edges=("30",)),
        spec.Slice(name="both", cross=("years", "sex")),
        spec.Slice(name="sex", column="sex"),
        spec.Slice(name="who", column="id"),
    )
    found, _ = axes(columns, "age", "x", "sex", slices=slices)
    assert [axis.name for axis in found] == ["years", "sex", "id", "x"]
    assert found[0].values == ("<30", ">=30")
    assert len(found[2].values) == weakest.BINS, "a slice with too many values is searched by its column"


def test_what_cannot_be_searched_is_left_out_in_words():
    nested = pa.array([[1], [2]] * 50)
    found, said = axes(
        {"x": nested, **{f"c{k:02}": np.arange(100) % 2 for k in range(60)}}, "x", *(f"c{k:02}" for k in range(60))
    )
    assert len(found) == weakest.MAX_COLUMNS - 1
    assert any("column 'x'" in words for words in said)
    assert "11 columns, the last ones: at most 50 are searched" in said


@pytest.mark.parametrize("column", [["same"] * 300, [None] * 300, np.arange(300) + 0.5])
def test_constant_and_missing_columns_and_those_without_rows_enough_find_nothing(column):
    values = pa.array(column, type=pa.string()) if isinstance(column, list) else column
    grids, _ = axes({"c": values}, "c")
    loss = (np.arange(300) % 3 == 0).astype(float)
    found = weakest.search(loss, grids, kind="Error")
    assert (found.candidates, found.found, found.slices) == (0, 0, ())
    for loss in (np.zeros(300), np.ones(300)):
        grids, _ = axes({"c": np.arange(300) % 3}, "c")
        found = weakest.search(loss, grids, kind="Error")
        assert (found.candidates, found.found) == (3, 0), "losses that are all the same show nothing"


def test_ten_thousand_categories_and_many_columns_stay_within_bounds():
    rng = np.random.default_rng(1)
    rows = 20_000
    columns = {f"c{k}": np.char.add("v", rng.integers(0, 10_000, rows).astype(str)) for k in range(12)}
    began = time.process_time()
    grids, _ = axes(columns, *columns)
    found = weakest.search((rng.random(rows) < 0.2).astype(float), grids, kind="Error", least_rows=2)
    assert max(len(axis.values) for axis in grids) <= weakest.MAX_VALUES
    assert found.candidates <= weakest.MAX_CANDIDATES
    assert len(found.model_dump_json()) < 20_000
    assert time.process_time() - began < 60, "far from hanging"


def test_pairs_that_would_be_too_many_are_counted(monkeypatch):
    monkeypatch.setattr(weakest, "MAX_CANDIDATES", 20)
    rng = np.random.default_rng(2)
    grids, _ = axes({name: rng.integers(0, 3, 1000) for name in "abcd"}, *"abcd")
    found = weakest.search((rng.random(1000) < 0.3).astype(float), grids, kind="Error")
    assert found.candidates == 12
    assert found.left_out == ("6 of 6 pairs of columns, the last ones: the search is bounded",)


def weak_case(kind="Binary"):
    """A case whose answers are bad for one color."""
    case = Case(kind, rows=4000)
    red = np.array(case.table["color"]) == "red"
    noise = np.random.default_rng(3)
    values = case.answers.values.copy()
    if kind == "Multiclass":
        values[red] = noise.permutation(values[red])
    elif kind == "Binary":
        values[red] = noise.random(red.sum())
    else:
        values[red] += noise.normal(0, 6, (red.sum(), 1))
    case.answers = Answers(values=values)
    return case


@pytest.mark.parametrize(
    ("kind", "loss"), [("Binary", "Error"), ("Multiclass", "Error"), ("Regression", "AbsoluteError")]
)
def test_the_engine_finds_a_planted_weakness_whatever_the_rows_order(kind, loss):
    case = weak_case(kind)
    computed = case.compute()
    found = computed.weakest
    assert found.loss == loss
    assert found.columns == ("age", "sex", "x", "color")
    assert found.rows == case.split.rows("test").sum()
    assert [(side.name, side.value) for side in found.slices[0].sides][-1] == ("color", "red")
    order = np.random.default_rng(1).permutation(4000)
    again = case.compute(table=case.table.take(order), split=case.split.take(order), answers=case.answers.take(order))
    assert computed_bytes(again) == computed_bytes(computed)


def test_the_search_is_as_declared_and_a_setting_of_the_measurement():
    case = weak_case()
    plain = case.compute()
    data = sliced().model_copy(update={"search": spec.Search(columns=("color",), loss="LogLoss", min_rows=100)})
    computed = case.compute(data=data)
    found = computed.weakest
    assert (found.loss, found.columns, found.least_rows) == ("LogLoss", ("color",), 100)
    assert found.slices[0].loss == pytest.approx(
        next(
            e.estimate
            for e in case.compute(data=sliced(spec.Slice(name="color", column="color"))).estimates
            if (e.quantity.metric, e.quantity.value, e.quantity.versus) == ("log_loss", "red", None)
        )
    )
    assert computed.inputs.settings != case.compute(data=sliced()).inputs.settings
    assert plain.weakest.mean == pytest.approx(1 - next(
        e.estimate for e in plain.estimates
        if e.quantity.metric == "accuracy" and e.quantity.slice == "overall" and e.quantity.on == "test"
        and e.quantity.versus is None and e.quantity.across is None
    ))  # fmt: skip


def test_answers_that_are_no_numbers_are_not_searched():
    case = Case()
    values = case.answers.values.copy()
    values[np.flatnonzero(case.split.rows("test"))[0]] = np.nan
    assert case.compute(answers=Answers(values=values)).weakest is None
