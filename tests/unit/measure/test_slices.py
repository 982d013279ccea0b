import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.measure.slices import MAX_NAME, assign_all, quantile_edges, value_names
from mandate.measure.table import MeasureError


def assign(table, *declared, train=None):
    mask = np.ones(table.num_rows, dtype=bool) if train is None else np.asarray(train, dtype=bool)
    return assign_all(table, declared, train=mask)


def named(found):
    return [found.values[code] for code in found.code]


def slices(values, *, train=None, **kwargs):
    (found,) = assign(pa.table({"c": values}), spec.Slice(name="s", column="c", **kwargs), train=train)
    return named(found)


def test_a_value_on_an_edge_belongs_above_it():
    values = [19.999, 20, 29, 30, 60, 100, None, float("nan")]
    assert slices(values, edges=("20", "30", "60")) == [
        "<20", "20-30", "20-30", "30-60", ">=60", ">=60", "(missing)", "(missing)",
    ]  # fmt: skip


def test_one_edge():
    assert slices([1, 2, 3], edges=("2",)) == ["<2", ">=2", ">=2"]


@pytest.mark.row("T2/declared")
def test_categories_are_their_own_text_and_missing_is_one():
    assert slices(["b", None, "a"]) == ["b", "(missing)", "a"]
    assert slices([1.0, 2.5, None]) == ["1", "2.5", "(missing)"]
    assert slices([True, False]) == ["true", "false"]
    encoded = pa.array(["x", "y", None]).dictionary_encode()
    assert slices(encoded) == ["x", "y", "(missing)"]


def test_too_many_values_leave_no_slices_but_a_count():
    (found,) = assign(pa.table({"c": np.arange(101)}), spec.Slice(name="s", column="c"))
    assert found.values == ()
    assert (found.found, found.fault.code) == (101, "TooManyValues")
    assert "declare edges or quantiles" in found.fault.message
    (found,) = assign(pa.table({"c": np.arange(100)}), spec.Slice(name="s", column="c"))
    assert len(found.values) == 100


def test_errors_name_slice_and_column():
    for values, edges, code in ((["a"], ("1",), "SliceNotNumeric"), ([1], ("2", "2"), "EdgesNotRising")):
        with pytest.raises(MeasureError, match="'s'") as caught:
            slices(values, edges=edges)
        assert caught.value.code == code
    with pytest.raises(MeasureError, match="'c'") as caught:
        assign(pa.table({"d": [1]}), spec.Slice(name="s", column="c"))
    assert caught.value.code == "MissingColumn"


@pytest.mark.row("T2/declared")
def test_quantile_edges_come_from_training_rows_alone():
    values = [float(v) for v in range(1, 9)] + [1000.0, -5.0, None]
    train = [True] * 8 + [False] * 3
    (found,) = assign(pa.table({"c": values}), spec.Slice(name="s", column="c", quantiles=4), train=train)
    assert found.edges.edges == (3.0, 5.0, 7.0)
    assert (found.edges.rows, found.edges.values) == (8, ("<3", "3-5", "5-7", ">=7"))
    assert named(found) == ["<3"] * 2 + ["3-5"] * 2 + ["5-7"] * 2 + [">=7"] * 3 + ["<3", "(missing)"]


def test_edges_are_rounded_so_that_they_are_not_one_rows_value():
    values = np.random.default_rng(1).lognormal(8, 0.8, 3000).round(2)
    edges = quantile_edges(values, 4)
    assert not set(edges) & set(values.tolist())
    assert len(edges) == 3
    counts = np.histogram(values, [0, *edges, np.inf])[0]
    assert counts.min() > 0.95 * 750
    assert quantile_edges(np.array([-1e-300, 0.0, 1e-300]), 3)[0] == 0.0


def test_ties_and_constants_make_fewer_ranges_and_none_that_is_empty():
    assert quantile_edges(np.array([1.0, 1, 1, 1, 2, 3]), 3) == (2.0,)
    assert quantile_edges(np.array([1.0, 1, 1]), 4) == ()
    assert quantile_edges(np.array([np.nan, np.inf]), 4) == ()
    assert quantile_edges(np.array([0.1, 0.25, np.inf, -np.inf, np.nan, 0.5]), 3) == (0.25, 0.5)
    assert slices([7, 7, None], quantiles=4) == ["any number", "any number", "(missing)"]
    assert slices([float("inf"), 0.0, 1.0, float("-inf")], quantiles=2) == [">=1", "<1", ">=1", "<1"]


def test_rounding_leaves_a_value_of_many_rows_above_its_edge():
    values = np.repeat([0.0, 2 / 3, 1.0], 100)
    table = pa.table({"c": values})
    (found,) = assign(table, spec.Slice(name="s", column="c", quantiles=3), train=[True] * 300)
    assert np.bincount(found.code).tolist() == [100, 100, 100]


def test_edges_of_numbers_at_the_ends_of_what_there_is():
    assert quantile_edges(np.array([-1.79e308, 0.0, 1.79e308]), 3) == (0.0, 1.79e308)
    assert quantile_edges(np.array([0.0, 1.79e308]), 2) == (1.79e308,)
    assert quantile_edges(np.array([5e-324, 1e-323]), 2) == (1e-323,)


def test_half_floats_have_names_like_other_numbers():
    assert slices(pa.array(np.array([1.0, 0.5, np.nan], dtype=np.float16))) == ["1", "0.5", "(missing)"]


def test_quantiles_without_a_training_row_say_what_to_do():
    table = pa.table({"c": pa.array([1.0, None]), "d": ["a", "b"]})
    declared = (
        spec.Slice(name="s", column="c", quantiles=2),
        spec.Slice(name="d", column="d"),
        spec.Slice(name="both", cross=("d", "s")),
    )
    plain, _, crossed = assign(table, *declared, train=[False, True])
    assert plain.values == crossed.values == ()
    assert plain.fault == crossed.fault
    assert plain.fault.code == "NoTrainingRows"
    assert "declare edges instead" in plain.fault.message


def test_a_column_that_is_all_missing_is_one_value():
    assert slices(pa.array([None, None], type=pa.float64())) == ["(missing)"] * 2
    assert slices(pa.array([None, None], type=pa.float64()), edges=("1",)) == ["(missing)"] * 2
    assert slices(pa.array([None, None], type=pa.string())) == ["(missing)"] * 2
    assert slices(pa.nulls(2), edges=("1",)) == ["(missing)"] * 2


@pytest.mark.row("T2/crosses")
def test_a_cross_has_the_pairs_that_occur_and_missing_on_either_side():
    table = pa.table({"a": ["x", "x", None, "y"], "n": [1, 5, 5, None]})
    declared = (
        spec.Slice(name="both", cross=("a", "n")),
        spec.Slice(name="a", column="a"),
        spec.Slice(name="n", column="n", edges=("3",)),
    )
    crossed, _, _ = assign(table, *declared)
    assert named(crossed) == ["x × <3", "x × >=3", "(missing) × >=3", "y × (missing)"]
    assert crossed.found == 4


def test_a_cross_of_many_values_is_counted():
    table = pa.table({"a": np.arange(10_000) % 11, "b": np.arange(10_000) % 10, "id": np.arange(10_000)})
    columns = [spec.Slice(name=name, column=name) for name in ("a", "b", "id")]
    found = assign(table, *columns, spec.Slice(name="ab", cross=("a", "b")), spec.Slice(name="aid", cross=("id", "a")))
    assert [(item.found, item.values == ()) for item in found] == [
        (11, False), (10, False), (10_000, True), (110, True), (10_000, True),
    ]  # fmt: skip
    assert found[-1].fault.code == "TooManyValues"
    assert "10000 values" in found[-1].fault.message


def test_hostile_values_keep_names_of_their_own():
    long = "ü" * 300
    texts = ["", "(missing)", "<b>", "a × b", long, long + "x", "\x1b[31m"]
    names = value_names(texts)
    assert len(set(names) | {"(missing)"}) == len(texts) + 1
    assert max(map(len, names)) <= MAX_NAME
    assert (names[0], names[2]) == ("", "<b>")
    found = slices(["(missing)", None, "(missing)"])
    assert found[0] == found[2] != found[1] == "(missing)"
    table = pa.table({"a": ["p × q", "p"], "b": ["r", "q × r"]})
    declared = [spec.Slice(name=name, column=name) for name in "ab"]
    crossed = assign(table, *declared, spec.Slice(name="ab", cross=("a", "b")))[-1]
    assert len(set(crossed.values)) == 2


def test_a_cross_of_what_is_no_slice_is_an_error():
    with pytest.raises(MeasureError, match="'b'") as caught:
        assign(pa.table({"a": [1]}), spec.Slice(name="a", column="a"), spec.Slice(name="s", cross=("a", "b")))
    assert caught.value.code == "UnknownSlice"


def test_codes_are_narrow_and_hold_every_value():
    table = pa.table({"few": np.arange(40_000) % 100, "many": np.arange(40_000)})
    found = assign(table, *(spec.Slice(name=name, column=name) for name in ("few", "many")))
    assert [(item.code.dtype, int(item.code.min())) for item in found] == [(np.int16, 0), (np.int32, 0)]
    assert [len(np.unique(item.code)) for item in found] == [100, 40_000]
