"""A table's columns become the tensors that the model declares, or a complaint that names the column."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api.spec import ModelInputs
from mandate.inference.errors import InferenceError
from mandate.inference.features import features
from mandate.predictor.datatypes import Tensor


def encode(columns, tensors, **options):
    inputs = ModelInputs(columns=tuple(columns), **options)
    declared = None if tensors is None else {tensor.name: tensor for tensor in tensors}
    return features(pa.table(columns), inputs=inputs, declared=declared)


def one(values, datatype, shape=(-1, 1)):
    return encode({"x": values}, [Tensor("x", datatype, shape)]).arrays["x"]


def refusal(*arguments, **options):
    with pytest.raises(InferenceError) as caught:
        encode(*arguments, **options)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    ("values", "datatype", "expected"),
    [
        (pa.array([1.5, None, 2.0]), "FP32", [1.5, np.nan, 2.0]),
        (pa.array([1, None, 3]), "FP64", [1, np.nan, 3]),
        (pa.array([True, False, None]), "FP32", [1, 0, np.nan]),
        (pa.array([None, None, None]), "FP32", [np.nan] * 3),
        (pa.array([1, 2, 3], pa.int8()), "INT64", [1, 2, 3]),
        (pa.array([1.0, 2.0, 3.0]), "INT32", [1, 2, 3]),
        (pa.array([2**53 + 1, 0, 0]), "INT64", [2**53 + 1, 0, 0]),
        (pa.array([True, False, True]), "INT64", [1, 0, 1]),
        (pa.array([True, False, True]), "BOOL", [True, False, True]),
        (pa.array([1, 0, 1]), "BOOL", [True, False, True]),
        (pa.array(["a", None, "ü"]), "BYTES", ["a", "", "ü"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "BYTES", ["a", "b", "a"]),
        (pa.chunked_array([["a"], ["b", "c"]]), "BYTES", ["a", "b", "c"]),
    ],
)
def test_the_models_datatype_decides(values, datatype, expected):
    found = one(values, datatype)
    assert found.shape == (3, 1)
    if datatype.startswith("FP"):
        np.testing.assert_array_equal(found.ravel(), np.array(expected, found.dtype))
    else:
        assert found.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("values", "datatype", "code", "words"),
    [
        (["a", "b"], "FP32", "WrongType", "holds string, the model expects FP32"),
        ([1, 2], "BYTES", "WrongType", "holds int64, the model expects BYTES"),
        ([1.5, 2.0], "INT64", "WrongType", "whole numbers"),
        ([1, 2], "BOOL", "WrongType", "BOOL"),
        ([1, None], "INT64", "MissingValue", "1 values are missing"),
        ([300, 2], "INT8", "OutOfRange", "from 2 to 300"),
        ([1e300, 2.0], "FP32", "OutOfRange", "row 0 is 1e+300"),
        ([1.0, float("inf")], "FP64", "OutOfRange", "row 1 is inf"),
        ([datetime.datetime(2026, 1, 1)] * 2, "FP32", "WrongType", "timestamp"),
    ],
)
def test_what_cannot_be_fed_names_the_column(values, datatype, code, words):
    found, message = refusal({"age": values}, [Tensor("age", datatype, (-1, 1))])
    assert found == code
    assert "'age'" in message
    assert words in message


def test_a_flat_input_stays_flat():
    assert one([1.0, 2.0], "FP32", (-1,)).shape == (2,)


def test_names_must_agree():
    tensors = [Tensor("a", "FP32", (-1, 1)), Tensor("b", "FP32", (-1, 1))]
    column = [1.0]
    assert refusal({"a": column, "c": column}, tensors)[0] == "UnknownInput"
    code, message = refusal({"a": column}, tensors)
    assert (code, "'b'" in message) == ("MissingInput", True)
    inputs = ModelInputs(columns=("a", "b"))
    with pytest.raises(InferenceError, match="column 'b' isn't in the data") as caught:
        features(pa.table({"a": column}), inputs=inputs, declared={tensor.name: tensor for tensor in tensors})
    assert caught.value.code == "MissingColumn"


def test_an_unknown_name_says_what_usually_helps():
    one_tensor = refusal({"mean radius": [1.0]}, [Tensor("X", "FP32", (-1, 30))])[1]
    assert "declare encoding: Matrix and name: X" in one_tensor
    two = [Tensor("mean_radius", "FP32", (-1, 1)), Tensor("area", "FP32", (-1, 1))]
    renamed = refusal({"mean radius": [1.0], "area": [1.0]}, two)[1]
    assert "made 'mean_radius' of it. Rename the table's columns so" in renamed
    assert refusal({"else": [1.0], "area": [1.0]}, two)[1].endswith("which takes mean_radius, area")
    code, columns = refusal({"mean radius": [1.0], "area": [1.0]}, two, encoding="Matrix")
    assert code == "UnknownInput"
    assert "takes mean_radius, area: one tensor for each column? Then declare encoding: Columns, or export" in columns
    many = [Tensor(f"x{index}", "FP32", (-1, 1)) for index in range(400)]
    assert refusal({"y": [1.0]}, many)[1].endswith("x9 and 390 more")


def test_a_model_with_one_wide_input_needs_matrix():
    code, message = refusal({"x": [1.0]}, [Tensor("x", "FP32", (-1, 4))])
    assert (code, "encoding: Matrix" in message) == ("WrongShape", True)


def test_without_a_declaration_the_tables_own_types_are_sent():
    found = encode({"f": [1.5, None], "i": [1, 2], "j": [1, None], "s": ["a", "b"], "b": [True, False]}, None)
    assert found.datatypes == {"f": "FP64", "i": "INT64", "j": "FP64", "s": "BYTES", "b": "BOOL"}
    assert refusal({"t": [datetime.date(2026, 1, 1)]}, None)[0] == "WrongType"


def test_a_matrix_keeps_the_declared_order():
    tensors = [Tensor("input", "FP32", (-1, 2))]
    table = pa.table({"b": [3, 4], "a": [1.5, None]})
    found = features(table, inputs=ModelInputs(columns=("a", "b"), encoding="Matrix"), declared={"input": tensors[0]})
    np.testing.assert_array_equal(found.arrays["input"], np.array([[1.5, 3], [np.nan, 4]], np.float32))
    assert found.arrays["input"].dtype == np.float32


@pytest.mark.parametrize(
    ("tensor", "code"),
    [
        (Tensor("input", "FP32", (-1, 3)), "WrongShape"),
        (Tensor("input", "FP32", (-1,)), "WrongShape"),
        (Tensor("input", "INT64", (-1, 2)), "WrongType"),
        (Tensor("other", "FP32", (-1, 2)), "UnknownInput"),
    ],
)
def test_a_matrix_must_fit(tensor, code):
    assert refusal({"a": [1.0], "b": [2.0]}, [tensor], encoding="Matrix")[0] == code


def test_a_fixed_number_of_rows_is_noticed():
    tensors = [Tensor("a", "FP32", (1, 1)), Tensor("b", "FP32", (1, 1))]
    assert encode({"a": [1.0, 2.0], "b": [1.0, 2.0]}, tensors).batch == 1
    assert refusal({"a": [1.0], "b": [1.0]}, [tensors[0], Tensor("b", "FP32", (-1, 1))])[0] == "WrongShape"


@given(st.lists(st.none() | st.floats(width=32, allow_infinity=False), min_size=1, max_size=30), st.data())
def test_batches_put_together_are_the_whole(values, data):
    fed = encode({"x": pa.array(values, pa.float32())}, [Tensor("x", "FP32", (-1, 1))])
    cut = data.draw(st.integers(0, fed.rows))
    joined = np.concatenate([fed.take(0, cut)["x"], fed.take(cut, fed.rows)["x"]])
    assert joined.tobytes() == fed.arrays["x"].tobytes()
    assert fed.rows == len(values)
