"""Units that can't be had."""

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import computed_bytes
from mandate.measure.split import divide
from mandate.measure.table import MeasureError
from tests.unit.measure.test_engine import Case, find


def rolled(case: Case, *, column: str = "who", answers: str = "Mean", labels: str = "Max", **changes):
    """The case with its rows in parts by `who`."""
    unit = spec.Unit(column=column, answers=answers, labels=labels)
    task = case.task.model_copy(update={"id": None, "cluster": "who", "unit": unit} | changes)
    table = case.table
    split = divide(table, how=spec.Split(method="Group", seed=1), task=task)
    data = spec.Data(source=spec.TableSource(uri="t.csv"))
    return {"table": table, "split": split, "task": task, "data": data}


@pytest.mark.row("T3/units")
def test_the_rows_are_units_in_every_place():
    case = Case()
    given = rolled(case)
    computed = case.compute(**given)
    who = np.array(case.table["who"])
    for part in ("train", "test"):
        units = len(set(who[given["split"].rows(part)].tolist()))
        assert find(computed, "accuracy", on=part).support.rows == units
        assert find(computed, "accuracy", on=part, versus="linear").support.rows == units
    assert any("task.unit: " in finding and "of 'who'" in finding for finding in computed.findings)


def test_row_order_changes_no_byte():
    case = Case(rows=600)
    given = rolled(case)
    order = np.random.default_rng(1).permutation(600)
    shuffled = given | {
        "table": given["table"].take(pa.array(order)),
        "split": given["split"].take(order),
        "answers": case.answers.take(order),
    }
    assert computed_bytes(case.compute(**shuffled)) == computed_bytes(case.compute(**given))


def test_units_of_one_row_are_rows():
    case = Case("Regression", rows=600)
    given = rolled(case, column="id", labels="Mean")
    plain = given | {"task": given["task"].model_copy(update={"unit": None})}
    one, other = case.compute(**given), case.compute(**plain)
    for estimate, same in zip(one.estimates, other.estimates, strict=True):
        assert (estimate.quantity, estimate.support) == (same.quantity, same.support)
        if estimate.estimate is not None:
            assert estimate.estimate == pytest.approx(same.estimate, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"column": "sex"}, "UnitInParts", "2 values of 'sex' have rows in several parts; split by method Group"),
        ({"cluster": "id"}, "ClusterInUnit", "rows of one 'who' are in several clusters"),
    ],
)
def test_units_across_parts_or_clusters_are_refused(changes, code, message):
    case = Case(rows=600)
    with pytest.raises(MeasureError, match=message) as error:
        case.compute(**(rolled(case) | {"task": rolled(case, **changes)["task"]}))
    assert error.value.code == code


def test_a_row_of_no_unit_is_refused():
    case = Case(rows=600)
    given = rolled(case)
    who = pa.array([None, *case.table["who"].to_pylist()[1:]])
    table = case.table.set_column(case.table.column_names.index("who"), "who", who)
    with pytest.raises(MeasureError, match="column 'who' is missing on 1 rows") as error:
        case.compute(**(given | {"table": table}))
    assert error.value.code == "MissingUnit"


def test_a_slice_within_units_needs_a_time():
    case = Case(rows=600)
    given = rolled(case)
    given["data"] = spec.Data(source=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="sex", column="sex"),))
    with pytest.raises(MeasureError, match="and the last one counts"):
        case.compute(**given)
    timed = given["task"].model_copy(update={"time": "id"})
    assert find(case.compute(**(given | {"task": timed})), "accuracy", slice="sex", value="f").fault is None


def test_an_answer_that_is_no_number_takes_its_unit_along():
    case = Case(rows=600)
    given = rolled(case)
    values = case.answers.values.copy()
    values[np.flatnonzero(given["split"].rows("test"))[0]] = np.nan
    computed = case.compute(**given, answers=type(case.answers)(values=values))
    units = find(computed, "finite_answers").support.rows
    assert find(computed, "finite_answers").estimate == pytest.approx(1 - 1 / units)
    assert find(computed, "accuracy").fault.code == "NonFinitePredictions"


def test_means_of_huge_numbers_do_not_overflow():
    """Finite answers and weights of a unit have a finite mean, however large they are."""
    case = Case("Regression", rows=600)
    given = rolled(case, answers="Mean", labels="Mean")
    who = np.array(case.table["who"])
    found = np.flatnonzero(who == who[np.flatnonzero(given["split"].rows("test"))[0]])
    assert len(found) > 1
    values = case.answers.values.copy()
    values[found] = np.where(np.arange(len(found)) == 0, 1e308, 1.7e308)[:, None]
    computed = case.compute(**given, answers=type(case.answers)(values=values))
    assert find(computed, "finite_answers").estimate == 1.0
    mean = (1e308 / len(found)) + 1.7e308 * (1 - 1 / len(found))
    assert find(computed, "bias").estimate == pytest.approx(mean / find(computed, "bias").support.rows, rel=1e-6)
    weight = np.where(np.arange(600) % 2, 1.7e308, 1e308)
    plain, large = (
        case.compute(
            **given
            | {
                "table": case.table.append_column("w", pa.array(weight / scale)),
                "task": given["task"].model_copy(update={"weight": "w"}),
            }
        )
        for scale in (1e300, 1.0)
    )
    assert find(large, "bias").estimate == pytest.approx(find(plain, "bias").estimate, rel=1e-9)


def test_labels_and_answers_too_far_apart_to_subtract_are_a_fault_of_their_numbers():
    case = Case("Regression", rows=600)
    place = case.table.column_names.index("y")
    first = np.flatnonzero(case.split.rows("test"))[0]
    actual, values = np.array(case.table["y"]).copy(), case.answers.values.copy()
    actual[first], values[first] = -1.7e308, 1.7e308
    table = case.table.set_column(place, "y", pa.array(actual))
    computed = case.compute(table=table, answers=type(case.answers)(values=values))
    assert find(computed, "mean_absolute_error").fault.code == "Overflow"
    assert computed.weakest is None


@pytest.mark.row("T3/units")
def test_baselines_of_labels_alone_are_those_of_the_units():
    """Where any positive row makes its unit positive, the rows' prior would be a baseline that is easy to beat."""
    case = Case()
    given = rolled(case)
    names = ("Prior", "MostFrequent", "Uniform", "Stratified")
    references = tuple(spec.Baseline(name=name.lower(), type=name) for name in names)
    computed = case.compute(**given, references=references)
    who, positive = np.array(case.table["who"]), np.array(case.table["y"]) == 1
    shares = {}
    for part in ("train", "test"):
        rows = given["split"].rows(part)
        units = np.unique(who[rows])
        shares[part] = np.isin(units, who[rows & positive]).mean()
    assert shares["train"] > 0.8 > positive.mean()
    for name in ("prior", "mostfrequent"):
        assert find(computed, "accuracy", versus=name).reference == pytest.approx(shares["test"])
    q = find(computed, "log_loss", versus="prior").reference
    test, train = shares["test"], shares["train"]
    assert q == pytest.approx(-test * np.log(train) - (1 - test) * np.log(1 - train))
    assert find(computed, "log_loss", versus="stratified").reference == q
    assert find(computed, "log_loss", versus="uniform").reference == pytest.approx(np.log(2))
    assert 0.3 < find(computed, "selection_rate", versus="uniform").reference < 0.7
    assert find(computed, "selection_rate", versus="stratified").reference > 0.7


def test_means_and_guesses_of_classes_are_those_of_the_units():
    case = Case("Multiclass")
    references = (spec.Baseline(name="guess", type="Uniform"),)
    computed = case.compute(**rolled(case, labels="Last"), references=references)
    recalls = [find(computed, "recall", versus="guess", of_class=name).reference for name in "012"]
    assert min(recalls) > 0, "a mean of guesses would always be the first class"
    case = Case("Regression")
    given = rolled(case, labels="Max")
    computed = case.compute(**given)
    who, y = np.array(case.table["who"]), np.array(case.table["y"])
    largest = {
        part: np.array([y[rows & (who == unit)].max() for unit in np.unique(who[rows])])
        for part in ("train", "test")
        for rows in [given["split"].rows(part)]
    }
    bias = find(computed, "bias", versus="mean").reference
    assert bias == pytest.approx(largest["train"].mean() - largest["test"].mean(), rel=1e-6)
