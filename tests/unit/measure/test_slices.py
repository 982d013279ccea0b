import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.measure.slices import assign
from mandate.measure.table import MeasureError


def slices(values, **kwargs):
    declared = spec.Slice(name="s", column="c", **kwargs)
    found = assign(pa.table({"c": values}), declared)
    return [found.values[code] for code in found.code]


def test_a_value_on_an_edge_belongs_above_it():
    values = [19.999, 20, 29, 30, 60, 100, None, float("nan")]
    assert slices(values, edges=("20", "30", "60")) == [
        "<20", "20-30", "20-30", "30-60", ">=60", ">=60", "(missing)", "(missing)",
    ]  # fmt: skip


def test_one_edge():
    assert slices([1, 2, 3], edges=("2",)) == ["<2", ">=2", ">=2"]


def test_categories_are_their_own_text_and_missing_is_one():
    assert slices(["b", None, "a"]) == ["b", "(missing)", "a"]
    assert slices([1.0, 2.5, None]) == ["1", "2.5", "(missing)"]
    assert slices([True, False]) == ["true", "false"]
    encoded = pa.array(["x", "y", None]).dictionary_encode()
    assert slices(encoded) == ["x", "y", "(missing)"]


def test_too_many_values_leave_no_slices_but_a_count():
    found = assign(pa.table({"c": np.arange(101)}), spec.Slice(name="s", column="c"))
    assert found.values == ()
    assert found.found == 101
    assert len(assign(pa.table({"c": np.arange(100)}), spec.Slice(name="s", column="c")).values) == 100


def test_errors_name_slice_and_column():
    for values, edges, code in ((["a"], ("1",), "SliceNotNumeric"), ([1], ("2", "2"), "EdgesNotRising")):
        with pytest.raises(MeasureError, match="'s'") as caught:
            slices(values, edges=edges)
        assert caught.value.code == code
    with pytest.raises(MeasureError, match="'c'") as caught:
        assign(pa.table({"d": [1]}), spec.Slice(name="s", column="c"))
    assert caught.value.code == "MissingColumn"
