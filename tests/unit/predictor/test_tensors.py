"""Requests become arrays of the declared type, or a complaint that names the input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mandate.predictor.datatypes import DTYPES, Tensor
from mandate.predictor.tensors import RequestError, complete, decode

NUMERIC = sorted(set(DTYPES) - {"BYTES"})


def as_json(array):
    return [None if value != value else value for value in array.ravel().tolist()]


@given(st.data(), st.sampled_from(NUMERIC))
def test_every_number_survives_json(data, datatype):
    elements = {"allow_infinity": False} if datatype.startswith("FP") else {}
    array = data.draw(
        hnp.arrays(
            DTYPES[datatype],
            st.tuples(st.integers(1, 5), st.integers(1, 4)),
            elements=hnp.from_dtype(DTYPES[datatype], **elements),
        )
    )
    tensor = Tensor("x", datatype, (-1, array.shape[1]))
    found = decode(tensor, datatype=datatype, shape=array.shape, data=as_json(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    nested = [[None if value != value else value for value in row] for row in array.tolist()]
    np.testing.assert_array_equal(decode(tensor, datatype=datatype, shape=array.shape, data=nested), array)


@given(st.lists(st.text(max_size=10), min_size=1, max_size=6))
def test_strings_survive(values):
    found = decode(Tensor("x", "BYTES", (-1, 1)), datatype="BYTES", shape=[len(values)], data=values)
    assert found.shape == (len(values), 1)
    assert found.ravel().tolist() == values


def test_a_missing_float_is_nan():
    found = decode(Tensor("x", "FP32", (-1,)), datatype="FP32", shape=[2], data=[None, 1])
    np.testing.assert_array_equal(found, np.array([np.nan, 1], dtype=np.float32))


@pytest.mark.parametrize(("declared", "sent", "expected"), [((-1, 1), [3], (3, 1)), ((-1,), [3, 1], (3,))])
def test_one_column_may_come_flat_or_upright(declared, sent, expected):
    found = decode(Tensor("x", "INT64", declared), datatype="INT64", shape=sent, data=[1, 2, 3])
    assert found.shape == expected


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("FP64", [1], [1.0], "expected datatype FP32, got FP64"),
        ("FP32", [], [1.0], "at least one row"),
        ("FP32", [0], [], "at least one row"),
        ("FP32", [-1], [1.0], "at least one row"),
        ("FP32", [2], [1.0], "holds 2 values, data has 1"),
        ("FP32", [1, 2], [1.0, 2.0], r"expected shape \['n', 1\], got \[1, 2\]"),
        ("FP32", [1], ["1.0"], "value 0 is str '1.0', expected FP32"),
        ("FP32", [2], [1.0, True], "value 1 is bool 'True'"),
        ("FP32", [1], [1e300], "out of range for FP32"),
        ("FP32", [1], [{}], "value 0 is dict"),
    ],
)
def test_a_wrong_float_names_the_input(datatype, shape, data, message):
    with pytest.raises(RequestError, match=f"input 'age'.*{message}"):
        decode(Tensor("age", "FP32", (-1, 1)), datatype=datatype, shape=shape, data=data)


@pytest.mark.parametrize(
    ("datatype", "value", "message"),
    [
        ("INT64", None, "null, expected"),
        ("INT64", 1.5, "float"),
        ("INT64", 2**63, "out of range"),
        ("INT8", 128, "out of range"),
        ("UINT8", -1, "out of range"),
        ("BOOL", 1, "int"),
        ("BYTES", None, "null, expected"),
        ("BYTES", 3, "int"),
    ],
)
def test_a_wrong_value_names_the_input_and_its_place(datatype, value, message):
    with pytest.raises(RequestError, match=f"input 'x': value 0 is .*{message}"):
        decode(Tensor("x", datatype, (-1,)), datatype=datatype, shape=[1], data=[value])


def test_unknown_missing_and_uneven_inputs_are_named():
    declared = {name: Tensor(name, "FP32", (-1,)) for name in ("a", "b")}
    one, two = np.zeros(1, np.float32), np.zeros(2, np.float32)
    assert complete(declared, {"a": one, "b": one}).keys() == {"a", "b"}
    with pytest.raises(RequestError, match="input 'c': unknown; the model takes a, b"):
        complete(declared, {"a": one, "b": one, "c": one})
    with pytest.raises(RequestError, match="input 'b': missing"):
        complete(declared, {"a": one})
    with pytest.raises(RequestError, match="input 'b': 2 rows, but input 'a' has 1"):
        complete(declared, {"a": one, "b": two})
