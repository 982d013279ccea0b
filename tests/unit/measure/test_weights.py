"""Weights of rows through the whole measurement."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Computed, dump
from mandate.measure import uncertainty
from mandate.measure.answers import Answers
from mandate.measure.metrics import METRICS, Sample
from mandate.measure.metrics.point import known_shares
from mandate.measure.split import PARTS
from mandate.measure.table import MeasureError
from tests.unit.measure.test_engine import SLICES, TASKS, Case, find


def measured(case: Case, weight, *, task: spec.Task | None = None, **changes) -> Computed:
    table = case.table.append_column("w", pa.array(weight))
    task = (task or case.task).model_copy(update={"weight": "w"})
    return case.compute(**({"table": table, "task": task} | changes))


def numbers(computed: Computed) -> list:
    """All that is estimated, to digits that sums of weights and counts of rows have in common."""
    return [_short(dump(estimate)) for estimate in computed.estimates]


def _short(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.7g}") if abs(value) > 1e-12 else 0.0
        case dict():
            return {name: _short(item) for name, item in value.items()}
        case list():
            return [_short(item) for item in value]
        case _:
            return value


def uneven(case: Case, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=case.table.num_rows)


@pytest.mark.parametrize("kind", list(TASKS))
@pytest.mark.parametrize("weight", [1.0, 0.1, 3e300])
def test_equal_weights_are_none(kind, weight):
    case = Case(kind, rows=600)
    plain, equal = case.compute(), measured(case, np.full(600, weight))
    assert equal.estimates == plain.estimates
    assert (equal.reliability, equal.findings) == (plain.reliability, plain.findings)


@pytest.mark.parametrize("kind", list(TASKS))
def test_whole_weights_are_repeated_rows(kind):
    """In every number and every baseline but the linear one, whose features are standardised without weights."""
    case = Case(kind, rows=600)
    times = np.random.default_rng(2).integers(1, 4, 600)
    rows = np.repeat(np.arange(600), times)
    table = case.table.take(pa.array(rows)).drop_columns(["id"]).append_column("id", pa.array(np.arange(len(rows))))
    keys = np.random.default_rng(3).permutation(len(rows)).astype(np.uint64)
    split = replace(case.split, part=case.split.part[rows], keys=keys)
    repeated = case.compute(table=table, split=split, answers=case.answers.take(rows))
    compared = 0
    for one, other in zip(measured(case, times.astype(float)).estimates, repeated.estimates, strict=True):
        assert one.quantity == other.quantity
        if one.quantity.versus == "linear" or one.quantity.metric in COUNTED:
            continue
        assert (one.fault and one.fault.code) == (other.fault and other.fault.code)
        for found, expected in ((one.estimate, other.estimate), (one.reference, other.reference)):
            assert found == (None if expected is None else pytest.approx(expected, rel=1e-8, abs=1e-10)), one.quantity
            compared += expected is not None
    assert compared > 150


@pytest.mark.parametrize("kind", list(TASKS))
def test_rows_of_weight_0_count_for_nothing(kind):
    """Neither their labels, nor answers that are no numbers, nor their keys, in any part."""
    case = Case(kind, rows=900)
    weight = uneven(case)
    gone = np.random.default_rng(1).random(900) < 0.3
    weight[gone] = 0.0
    values = case.answers.values.copy()
    values[gone] = np.nan
    found = measured(case, weight, answers=Answers(values=values))
    left = np.flatnonzero(~gone)
    part = np.where(gone, -1, case.split.part).astype(np.int8)
    without = case.compute(
        table=case.table.take(pa.array(left)).append_column("w", pa.array(weight[left])),
        split=replace(case.split, part=part).take(left),
        answers=case.answers.take(left),
        task=case.task.model_copy(update={"weight": "w"}),
    )
    assert numbers(found) == numbers(without)
    assert found.row_sketch == without.row_sketch
    assert found.rows["none"] == int(gone.sum())


@pytest.mark.parametrize("kind", list(TASKS))
def test_the_scale_of_weights_is_nothing(kind):
    case = Case(kind, rows=900)
    weight = uneven(case)
    one, other = measured(case, weight), measured(case, weight * 1e-7)
    for a, b in zip(one.estimates, other.estimates, strict=True):
        assert a.quantity == b.quantity
        assert (a.fault is None) == (b.fault is None)
        if a.estimate is not None:
            assert b.estimate == pytest.approx(a.estimate, rel=1e-9, abs=1e-12), a.quantity


@pytest.mark.row("T4/weights")
def test_weights_reach_every_place():
    case = Case()
    computed, plain = measured(case, uneven(case)), case.compute()
    for place in (
        {},
        {"on": "train"},
        {"on": "validation"},
        {"on": "train-test"},
        {"versus": "linear"},
        {"slice": "sex", "value": "f"},
        {"slice": "sex", "value": "f", "versus": "rest"},
        {"slice": "sex", "value": "f", "versus": "linear"},
        {"across": "sex", "shape": "difference"},
    ):
        for metric in ("accuracy", "roc_auc", "log_loss"):
            assert find(computed, metric, **place).estimate != find(plain, metric, **place).estimate, (metric, place)
    assert any("tell as much as" in finding for finding in computed.findings)


@pytest.mark.row("T4/weights")
@pytest.mark.parametrize("name", ["prior", "linear"])
def test_baselines_are_fitted_with_weights(name):
    case = Case()
    train = case.split.rows("train")
    weight = np.where(train, uneven(case), 1.0)  # what is measured on counts alike
    computed = measured(case, weight)
    assert find(computed, "log_loss", versus=name).reference != find(case.compute(), "log_loss", versus=name).reference
    assert find(computed, "log_loss").estimate == find(case.compute(), "log_loss").estimate


def test_weights_are_no_feature():
    case = Case()
    model = case.model.model_copy(update={"source": spec.ModelSource(columns=("p",)), "inputs": None})
    table = case.table.append_column("p", pa.array(case.answers.values))
    plain = case.compute(table=table, model=model)
    table = table.append_column("w", pa.array(np.ones(case.table.num_rows)))
    weighted = case.compute(table=table, model=model, task=case.task.model_copy(update={"weight": "w"}))
    assert numbers(weighted) == numbers(plain)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (-0.5, "below 0 on 1 rows, such as -0.5"),
        (np.nan, "missing on 1 rows"),
        (None, "missing on 1 rows"),
        (np.inf, "infinite on 1 rows, such as inf"),
    ],
)
def test_weights_that_are_none_are_refused(wrong, message):
    case = Case(rows=100)
    with pytest.raises(MeasureError, match=message) as error:
        measured(case, [wrong, *[1.0] * 99])
    assert error.value.code == "BadWeight"
    assert "task.weight: column 'w'" in str(error.value)


def test_some_test_row_must_count():
    case = Case(rows=100)
    for weight in (np.zeros(100), np.where(case.split.part == PARTS.index("test"), 0.0, 1.0)):
        with pytest.raises(MeasureError, match="is 0 on all test rows"):
            measured(case, weight)


def test_training_rows_without_weight_train_no_baseline():
    case = Case()
    weight = np.where(case.split.rows("train"), 0.0, 1.0)
    computed = measured(case, weight)
    assert find(computed, "accuracy", versus="prior").fault.code == "NoTrainingRows"
    assert find(computed, "accuracy").fault is None


def test_texts_are_no_weights():
    case = Case(rows=100)
    with pytest.raises(MeasureError, match="expected numbers"):
        measured(case, ["1"] * 100)


def test_one_class_that_counts_is_one_class():
    case = Case()
    weight = np.where(np.array(case.table["y"]) == 1, 1.0, 0.0)
    computed = measured(case, weight)
    assert find(computed, "roc_auc").fault.code == "OneClass"
    assert find(computed, "recall").fault is None


def test_a_few_heavy_rows_are_no_support():
    """1,500 rows, of which five have nearly all the weight: effective events say so."""
    case = Case()
    weight = np.full(case.table.num_rows, 1e-6)
    weight[np.flatnonzero(case.split.rows("test"))[:5]] = 1.0
    computed = measured(case, weight)
    assert find(computed, "roc_auc").interval.family == "Unbounded"
    assert find(computed, "roc_auc").support.events <= 5
    accuracy = find(computed, "accuracy").interval
    assert accuracy.family == "Beta"
    assert accuracy.trials <= 5.001


@pytest.mark.parametrize("size", [1e-300, 1e295])
def test_weights_of_any_size_overflow_nothing(size):
    case = Case()
    weight = np.random.default_rng(2).choice([1.0, 1e3, 1e12], case.table.num_rows)
    one, other = measured(case, weight), measured(case, weight * size)
    assert find(other, "roc_auc").estimate == pytest.approx(find(one, "roc_auc").estimate, rel=1e-9)
    assert find(other, "accuracy").estimate == pytest.approx(find(one, "accuracy").estimate, rel=1e-9)


def test_weights_too_far_apart_are_refused():
    case = Case(rows=100)
    with pytest.raises(MeasureError, match="goes from 1e-07 to 1e\\+06; expected at most 1e\\+12 times as much, or 0"):
        measured(case, [1e-7, 1e6, *[0.0] * 8, *[1.0] * 90])


def drawn(case: Case, sampling, **changes) -> Computed:
    data = spec.Data(
        source=spec.TableSource(uri="t.csv"), slices=SLICES, sampling=[spec.ClassSampling(**item) for item in sampling]
    )
    return case.compute(**({"data": data} | changes))


COUNTED = ("row_count", "crossed_quantiles", "data_faults", "leaks", "changed_columns")
RATES = ({"class": "1", "kept": "1"}, {"class": "0", "kept": "0.1"})
SHARES = ({"class": "1", "prevalence": "0.05"}, {"class": "0", "prevalence": "0.95"})


@pytest.mark.row("T4/sampling")
def test_rows_kept_at_a_rate_stand_for_the_others():
    case = Case()
    weight = np.where(np.array(case.table["y"]) == 1, 1.0, 10.0)
    for sampling in (RATES, RATES[1:]):
        found, expected = drawn(case, sampling), measured(case, weight)
        for one, other in zip(found.estimates, expected.estimates, strict=True):
            assert one.quantity == other.quantity
            assert one.support == other.support
            if one.estimate is not None:
                assert one.estimate == pytest.approx(other.estimate, rel=1e-12, abs=1e-12)


@pytest.mark.row("T4/sampling")
def test_a_miss_weighs_what_its_class_does_where_rows_were_drawn_by_that_alone():
    """A model that is always right, on weights that are declared to be the classes', and on those of a column."""
    case = Case()
    right = Answers(values=np.array(case.table["y"]).astype(float))
    weight = np.where(right.values == 1, 1.0, 10.0)
    both = {"table": case.table.append_column("w", pa.array(weight)), "answers": right}
    positives = int(np.sum(right.values[case.split.rows("test")]))
    for found, trials in (
        (drawn(case, RATES, answers=right), positives),
        (measured(case, weight, answers=right), positives / 10),
        (drawn(case, RATES, task=case.task.model_copy(update={"weight": "w"}), **both), positives / 100),
    ):
        interval = find(found, "recall").interval
        assert isinstance(interval, Beta)
        assert interval.successes == interval.trials == pytest.approx(trials)


@pytest.mark.row("T3/prevalence")
@pytest.mark.parametrize("part", PARTS)
def test_classes_get_their_shares_in_every_part(part):
    case = Case()
    found = drawn(case, SHARES)
    rows = case.split.rows(part)
    actual, label = np.array(case.table["y"]) == 1, case.answers.values >= 0.5
    true, false = np.mean(label[rows & actual]), np.mean(label[rows & ~actual])
    assert find(found, "recall", on=part).estimate == pytest.approx(true, rel=1e-12)
    expected = 0.05 * true + 0.95 * false
    assert find(found, "selection_rate", on=part).estimate == pytest.approx(expected, rel=1e-12)
    assert find(found, "precision", on=part).estimate == pytest.approx(0.05 * true / expected, rel=1e-12)
    score = case.answers.values
    expected = 0.05 / (0.05 * np.mean(score[rows & actual]) + 0.95 * np.mean(score[rows & ~actual]))
    assert find(found, "observed_expected", on=part).estimate == pytest.approx(expected, rel=1e-12)


@pytest.mark.row("T4/sampling")
def test_baselines_know_the_shares_of_production():
    found = drawn(Case(), SHARES)
    prior = find(found, "log_loss", versus="prior")
    assert prior.reference == pytest.approx(-0.05 * np.log(0.05) - 0.95 * np.log(0.95), rel=1e-9)
    assert find(found, "observed_expected", versus="prior").reference == pytest.approx(1.0, rel=1e-9)


def test_known_shares_are_no_error_on_a_whole_part():
    case = Case()
    found = drawn(case, [{"class": "1", "prevalence": "0.3"}, {"class": "0", "prevalence": "0.7"}])
    rows = case.split.rows("test")
    actual, score = np.array(case.table["y"])[rows] == 1, case.answers.values[rows]
    weight = np.where(actual, 0.3 / np.mean(actual), 0.7 / np.mean(~actual))
    plain = METRICS["brier_score"](Sample(actual=actual, score=score, weight=weight))
    interval = find(found, "brier_score").interval
    for point, same in ((plain, False), (known_shares(plain, actual.astype(np.intp)), True)):
        expected = uncertainty.alone(point, None)
        assert interval.centre == pytest.approx(expected.centre, rel=1e-12)
        assert (interval.se == pytest.approx(expected.se, rel=1e-9)) == same


def test_of_several_classes():
    case = Case("Multiclass")
    sampling = [{"class": str(k), "prevalence": share} for k, share in enumerate(("0.5", "0.3", "0.2"))]
    found = drawn(case, sampling)
    rows, actual = case.split.rows("test"), np.array(case.table["y"])
    right = case.answers.values.argmax(axis=1) == actual
    recalls = [np.mean(right[rows & (actual == k)]) for k in range(3)]
    assert find(found, "accuracy").estimate == pytest.approx(np.dot([0.5, 0.3, 0.2], recalls), rel=1e-12)
    assert find(found, "balanced_accuracy").estimate == pytest.approx(np.mean(recalls), rel=1e-12)


@pytest.mark.parametrize(
    ("sampling", "code", "message"),
    [
        ([*SHARES, {"class": "2", "prevalence": "0.1"}], "UnknownClass", "'2' isn't among the classes '0', '1'"),
        (SHARES[:1], "MissingClass", "class '0' occurs and has no prevalence"),
    ],
)
def test_classes_that_do_not_fit_are_refused(sampling, code, message):
    with pytest.raises(MeasureError, match=message) as error:
        drawn(Case(rows=300), sampling)
    assert error.value.code == code


@pytest.mark.parametrize("field", ["prevalence", "kept"])
def test_a_share_of_0_is_refused(field):
    """As at apply: its rows would count for nothing and yet be in a part."""
    sampling = [{"class": "1", field: "0"}, {"class": "0", field: "1"}]
    with pytest.raises(MeasureError, match="class '1' is given 0, expected a share above 0") as error:
        drawn(Case(rows=300), sampling)
    assert error.value.code == "BadSampling"


@pytest.mark.parametrize("sampling", [({"class": "1", "kept": "0.000000001"},), SHARES], ids=["kept", "prevalence"])
def test_sampling_takes_no_weights_too_far_apart(sampling):
    """Weights are in range, and times what makes up for the drawing they aren't."""
    case = Case(rows=600)
    positive = np.array(case.table["y"]) == 1
    weight = np.where(np.arange(600) % 2, 1.0, 1e12) if len(sampling) == 2 else np.where(positive, 1e6, 1.0)
    given = {"table": case.table.append_column("w", pa.array(weight))}
    given["task"] = case.task.model_copy(update={"weight": "w"})
    with pytest.raises(
        MeasureError, match=r"data\.sampling makes .* rows count from .* expected at most 1e\+12"
    ) as error:
        drawn(case, sampling, **given)
    assert error.value.code == "BadWeight"


def test_a_share_without_rows_cannot_be_made_up_for():
    case = Case()
    wanted = np.array(case.table["y"]) == 1
    part = np.where(wanted & case.split.rows("test"), -1, case.split.part).astype(np.int8)
    with pytest.raises(MeasureError, match="no test row is of class '1'"):
        drawn(case, SHARES, split=replace(case.split, part=part))


def test_sampling_is_a_setting():
    case = Case(rows=300)
    plain = case.compute().inputs.settings
    assert len({plain, drawn(case, SHARES).inputs.settings, drawn(case, RATES).inputs.settings}) == 3
    assert drawn(case, ()).inputs.settings == plain
