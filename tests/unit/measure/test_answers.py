import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.measure.answers import Answers, from_columns, hear, truth
from mandate.measure.table import MeasureError

BINARY = spec.Task(type="Binary", target="y", positive="bad")
MANY = spec.Task(type="Multiclass", target="y")
REAL = spec.Task(type="Regression", target="y")
TWO = ("bad", "good")


def heard(values, task=BINARY, classes=TWO, **output):
    values = np.asarray(values)
    return hear(Answers(values=values), rows=len(values), task=task, output=spec.ModelOutput(**output), classes=classes)


def fault(*args, **kwargs) -> str:
    voice = heard(*args, **kwargs)
    assert voice.fault is not None
    return voice.fault.code


def test_the_cutoff_is_reached_by_equality():
    assert heard([0.2, 0.3, 0.4], cutoff="0.3").label.tolist() == [False, True, True]


def test_the_cutoff_is_taken_in_the_answers_own_precision():
    assert heard(np.array([0.7], dtype=np.float32), cutoff="0.7").label.tolist() == [True]


def test_of_two_columns_the_second_is_the_positive_class():
    voice = heard([[0.9, 0.1], [0.2, 0.8]])
    assert voice.score.tolist() == [0.1, 0.8]
    assert voice.label.tolist() == [False, True]


def test_declared_classes_choose_the_column():
    values = np.array([[0.9, 0.1], [0.2, 0.8]])
    output = spec.ModelOutput(classes=("bad", "good"))
    voice = hear(Answers(values=values), rows=2, task=BINARY, output=output, classes=TWO)
    assert voice.score.tolist() == [0.9, 0.2]
    output = spec.ModelOutput(classes=("0", "1"))
    assert hear(Answers(values=values), rows=2, task=BINARY, output=output, classes=TWO).fault.code == "UnknownPositive"


def test_what_is_no_probability():
    assert fault([0.5, 1.2]) == "NotProbabilities"
    assert fault([-3.0, 2.0]) == "NotProbabilities"
    assert fault([[0.1, 0.2, 0.7]]) == "WrongShape"
    assert fault(["a", "b"]) == "NotNumeric"


def test_rounding_of_float32_is_forgiven():
    assert heard(np.array([1.0000001, -1e-7], dtype=np.float32)).score.tolist() == [1.0, 0.0]


def test_non_finite_answers_are_marked_not_dropped():
    voice = heard([0.5, np.nan, np.inf])
    assert voice.fault is None
    assert voice.finite.tolist() == [True, False, False]


def test_several_classes_are_put_in_order():
    output = spec.ModelOutput(classes=("c", "a"))
    values = np.array([[0.7, 0.3], [0.2, 0.8]])
    voice = hear(Answers(values=values), rows=2, task=MANY, output=output, classes=("a", "b", "c"))
    assert voice.score.tolist() == [[0.3, 0.0, 0.7], [0.8, 0.0, 0.2]]
    assert voice.label.tolist() == [2, 0]
    off = hear(Answers(values=values * 2), rows=2, task=MANY, output=output, classes=("a", "c"))
    assert off.fault.code == "NotProbabilities"


def test_labels():
    voice = heard(np.array(["bad", "good", None], dtype=object), kind="Label")
    assert voice.label[:2].tolist() == [True, False]
    assert voice.finite.tolist() == [True, True, False]
    assert voice.score is None
    assert fault(np.array(["bad", "ugly"], dtype=object), kind="Label") == "UnknownAnswer"


def test_numeric_labels_meet_numeric_targets():
    task = spec.Task(type="Multiclass", target="y")
    actual, classes = truth(pa.table({"y": [0.0, 1.0, 2.0]}), task)
    voice = heard(np.array([2, 1, 0]), task=task, classes=classes, kind="Label")
    assert actual.tolist() == [0, 1, 2]
    assert voice.label.tolist() == [2, 1, 0]


def test_the_number_of_answers_must_be_that_of_rows():
    voice = hear(Answers(values=np.zeros(3)), rows=4, task=REAL, output=spec.ModelOutput(kind="Value"), classes=())
    assert voice.fault.code == "DifferentRows"


@pytest.mark.parametrize(
    ("values", "task", "code"),
    [
        (["bad", None], BINARY, "MissingLabels"),
        (["good", "good"], BINARY, "UnknownPositive"),
        (["bad", "good", "ugly"], BINARY, "NotBinary"),
        (["a", None], MANY, "MissingLabels"),
        ([1.0, float("nan")], REAL, "MissingLabels"),
        ([1.0, float("inf")], REAL, "MissingLabels"),
        (["a", "b"], REAL, "NotNumeric"),
    ],
)
def test_labels_that_cannot_be_used(values, task, code):
    with pytest.raises(MeasureError) as caught:
        truth(pa.table({"y": values}), task)
    assert caught.value.code == code


def test_answers_from_columns():
    table = pa.table({"p": [0.1, None], "q": [1, 2], "label": ["a", None]})
    assert np.isnan(from_columns(table, ["p"]).values[1])
    assert from_columns(table, ["p", "q"]).values.shape == (2, 2)
    assert from_columns(table, ["label"]).values.tolist() == ["a", None]


@pytest.mark.parametrize("labels", [pa.array([0.0, 1.0, float("nan")]), pa.array(["a", "b", None])])
@pytest.mark.parametrize("task", [MANY, spec.Task(type="Binary", target="y", positive="1"), REAL])
def test_a_missing_label_is_no_class(labels, task):
    """NaN among float labels is as missing as null is."""
    if task is REAL and pa.types.is_string(labels.type):
        labels = pa.array([0.0, None, 1.0])
    with pytest.raises(MeasureError, match="column 'y' is missing on 1 rows") as caught:
        truth(pa.table({"y": labels}), task)
    assert caught.value.code == "MissingLabels"
