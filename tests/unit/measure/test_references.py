"""Baselines through the whole measurement: what they say, what they learn from, and when they can't be had."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.references import KINDS
from mandate.evidence.intervals import Paired, Unbounded
from mandate.evidence.schema import Computed, computed_bytes
from mandate.measure import baselines, guesses
from mandate.measure.answers import Answers
from mandate.measure.split import PARTS, Split
from tests.unit.measure.test_engine import TASKS, Case, find

DAY = 86_400_000_000


def baseline(kind: str, **fields) -> spec.Baseline:
    return spec.Baseline.model_validate({"name": "other", "type": kind} | fields)


def said(computed: Computed) -> str:
    assert computed.learnt is not None
    (found,) = computed.learnt
    assert found.baseline == "other"
    return found.words


def timed(kind: str = "Regression", **columns) -> Case:
    """A case whose rows are one an hour, in two regions."""
    case = Case(kind)
    rows = case.table.num_rows
    times = pa.array(np.arange(rows) * DAY // 24, pa.timestamp("us", "UTC"))
    table = case.table.append_column("at", times).append_column("region", pa.array(np.arange(rows) % 2))
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    case.table, case.task = table, case.task.model_copy(update={"time": "at"})
    return case


EVERY = [
    (task, kind, {"period": "Day", "by": ["region"]} if "period" in found.needs else {})
    for kind, found in KINDS.items()
    for task in found.tasks
    if task in TASKS  # others have test modules of their own
    if kind not in ("Column", "Container", "Human")
]


@pytest.mark.row("B3/slices")
@pytest.mark.parametrize(("task", "kind", "fields"), EVERY, ids=[f"{task}-{kind}" for task, kind, _ in EVERY])
def test_every_kind_can_be_beaten_overall_and_per_slice(task, kind, fields):
    case = timed(task)
    computed = case.compute(references=(baseline(kind, **fields),))
    metric = "mean_absolute_error" if task == "Regression" else "accuracy"
    for place in ({}, {"slice": "sex", "value": "f"}, {"slice": "age", "value": ">=60"}):
        found = find(computed, metric, versus="other", **place)
        assert found.fault is None
        assert isinstance(found.interval, Paired | Unbounded)
        assert found.estimate == find(computed, metric, **place).estimate
        assert found.reference is not None


@pytest.mark.row("B1/column")
@pytest.mark.parametrize(("task", "metric"), [("Binary", "roc_auc"), ("Regression", "mean_absolute_error")])
def test_a_column_of_answers_is_measured_as_a_model_that_gives_them(task, metric):
    case = Case(task)
    guess = np.random.default_rng(3).permutation(case.answers.values.reshape(len(case.answers.values), -1)[:, 0])
    case.table = case.table.append_column("guess", pa.array(guess))
    if task == "Regression":
        case.task = case.task.model_copy(update={"quantiles": None})
        case.model = case.model.model_copy(update={"output": spec.ModelOutput(kind="Value")})
        case.answers = Answers(values=case.answers.values[:, 1])
    column = spec.Baseline(name="other", type="Column", column="guess")
    alone = case.compute(answers=Answers(values=guess), references=())
    for place in ({}, {"slice": "sex", "value": "f"}, {"on": "validation"}):
        beside = find(case.compute(references=(column,)), metric, versus="other", **place)
        assert beside.reference == find(alone, metric, **place).estimate
        assert beside.estimate != beside.reference


@pytest.mark.parametrize("kind", ["Uniform", "Stratified", "Threshold"])
@pytest.mark.parametrize("task", ["Binary", "Multiclass"])
def test_row_order_changes_no_byte(task, kind):
    case = Case(task, rows=600)
    order = np.random.default_rng(1).permutation(600)
    first = case.compute(references=(baseline(kind),))
    shuffled = case.compute(
        table=case.table.take(pa.array(order)),
        split=case.split.take(order),
        answers=case.answers.take(order),
        references=(baseline(kind),),
    )
    assert computed_bytes(shuffled) == computed_bytes(first)


def test_another_seed_is_another_guess_and_another_measurement():
    case = Case()
    one, two = (case.compute(references=(baseline("Uniform", seed=seed),)) for seed in (0, 1))
    unnamed = case.compute(references=(baseline("Uniform"),))
    assert one.inputs.settings != two.inputs.settings
    numbers = [find(computed, "accuracy", versus="other").reference for computed in (one, two, unnamed)]
    assert numbers[0] != numbers[1]
    assert numbers[0] == numbers[2]
    assert "seed 1" in said(two)


def test_guesses_of_equal_rows_differ_and_those_of_a_grown_table_stay():
    keys = np.repeat(np.arange(500, dtype=np.uint64), 4)
    part = np.tile(np.array([0, 0, 0, 2], dtype=np.int8), 500)
    drawn = guesses.draws(keys, part, seed=0)
    assert len(np.unique(drawn.reshape(500, 4)[:, :3])) == 1500
    assert 0.45 < np.mean(drawn[part == 0]) < 0.55
    grown = guesses.draws(np.append(keys, np.uint64(7_000)), np.append(part, np.int8(0)), seed=0)
    assert (grown[:-1] == drawn).all()


@pytest.mark.row("B1/guesses")
def test_a_guess_has_the_probabilities_that_it_is_drawn_with():
    case = Case()
    computed = case.compute(references=(baseline("Uniform"),))
    assert find(computed, "log_loss", versus="other").reference == pytest.approx(np.log(2))
    assert find(computed, "roc_auc", versus="other").reference == 0.5
    drawn = case.compute(references=(baseline("Stratified"), spec.Baseline(name="prior", type="Prior")))
    for metric in ("log_loss", "brier_score"):
        assert find(drawn, metric, versus="other").reference == find(drawn, metric, versus="prior").reference


def test_a_uniform_guess_needs_no_training_rows_and_the_others_do():
    case = timed("Binary")
    part = np.where(case.split.rows("test"), PARTS.index("test"), -1).astype(np.int8)
    alone = Split(part=part, keys=case.split.keys, digest=case.split.digest)
    guess = case.compute(split=alone, references=(baseline("Uniform"),))
    assert find(guess, "accuracy", versus="other").fault is None
    for kind, fields in (("Stratified", {}), ("Threshold", {}), ("LastPeriodMean", {"period": "Day"})):
        computed = case.compute(split=alone, references=(baseline(kind, **fields),))
        assert find(computed, "accuracy", versus="other").fault.code == "NoTrainingRows"
        assert computed.learnt is None


def test_one_class_in_training():
    """A guess by training's shares is always that class; a rule can't be found."""
    case = Case()
    actual = np.array(case.table["y"])
    part = np.where((case.split.part == 0) & (actual == 1), -1, case.split.part).astype(np.int8)
    split = Split(part=part, keys=case.split.keys, digest=case.split.digest)
    stratified = case.compute(split=split, references=(baseline("Stratified"),))
    assert find(stratified, "recall", versus="other").reference == 0.0
    rule = case.compute(split=split, references=(baseline("Threshold"),))
    assert find(rule, "accuracy", versus="other").fault.code == "NoThreshold"


def rule_case(**columns) -> Case:
    case = Case()
    table = case.table.select(["id", "y", "age", "sex"])
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, from_pandas=True))
    case.table = table
    names = tuple(columns)
    case.model = case.model.model_copy(update={"inputs": spec.ModelInputs(columns=names)})
    return case


def test_a_rule_of_what_does_not_vary():
    case = rule_case(same=np.ones(1500), text=["a"] * 1500, gone=np.full(1500, np.nan), far=np.full(1500, np.inf))
    computed = case.compute(references=(baseline("Threshold"),))
    found = find(computed, "accuracy", versus="other")
    assert found.fault.code == "NoThreshold"
    assert "MostFrequent" in found.fault.message


def test_a_rule_with_missing_values_huge_numbers_and_neighbours():
    actual = np.array(Case().table["y"])
    holes = np.where(np.arange(1500) % 3 == 0, np.nan, actual * 1e308 - 5e307)
    computed = rule_case(holes=holes).compute(references=(baseline("Threshold"),))
    assert said(computed).startswith("holes above 0: 1, up to it: 0, without a value: ")
    close = np.where(actual == 1, np.nextafter(1.0, 2.0), 1.0)
    computed = rule_case(close=close).compute(references=(baseline("Threshold"),))
    assert find(computed, "accuracy", versus="other").reference == 1.0


def test_of_equal_columns_the_first_and_truth_values_count():
    actual = np.array(Case().table["y"])
    flags = np.random.default_rng(0).permutation(actual == 1)
    computed = rule_case(flag=flags, right=actual == 1, again=(actual == 1) * 2.0).compute(
        references=(baseline("Threshold"),)
    )
    assert said(computed).startswith("right above 0.5: 1, up to it: 0; balanced accuracy 1.000 on the training rows, ")


def test_a_rule_without_validation_rows_is_chosen_on_training():
    case = Case()
    part = np.where(case.split.part == 1, -1, case.split.part).astype(np.int8)
    split = Split(part=part, keys=case.split.keys, digest=case.split.digest)
    words = said(case.compute(split=split, references=(baseline("Threshold"),)))
    assert words.endswith("on the training rows")


@pytest.mark.row("B1/training-rows")
def test_nothing_is_learnt_from_test_rows():
    """But for what looks back in time, which sees earlier rows of every part."""
    case = Case()
    changed = np.where(case.split.rows("test"), 1e6, np.array(case.table["x"]))
    table = case.table.set_column(case.table.column_names.index("x"), "x", pa.array(changed))
    one, two = (case.compute(table=t, references=(baseline("Threshold"),)) for t in (case.table, table))
    assert said(one) == said(two)


def test_unseen_groups_get_the_training_mean_and_are_counted():
    case = timed()
    test = case.split.rows("test")
    region = np.where(test & (np.arange(1500) % 5 == 0), 1000 + np.arange(1500), 0)
    case = timed(region=pa.array(region))
    words = said(case.compute(references=(baseline("PreviousValue", by=["region"]),)))
    unseen = int(np.count_nonzero(test & (region > 0)))
    assert words.startswith(f"{unseen} of {int(test.sum())} test rows have nothing to look back to")


def test_a_slice_of_which_nothing_is_known_from_before_has_no_baseline():
    """Of all test rows most can be looked back from, and of one group none: there the baseline is but the mean."""
    case = timed()
    test = np.flatnonzero(case.split.rows("test"))
    group = np.full(case.table.num_rows, "old", dtype="U9")
    group[test[: len(test) // 4]] = [f"new {place}" for place in range(len(test) // 4)]
    new = pa.array(np.char.startswith(group, "new").astype(str))
    table = case.table.append_column("group", pa.array(group)).append_column("new", new)
    data = case.data.model_copy(update={"slices": (spec.Slice(name="new", column="new"),)})
    computed = case.compute(table=table, data=data, references=[baseline("PreviousValue", by=("group",))])
    assert find(computed, "mean_absolute_error", versus="other").fault is None
    assert find(computed, "mean_absolute_error", versus="other", slice="new", value="False").fault is None
    fault = find(computed, "mean_absolute_error", versus="other", slice="new", value="True").fault
    assert fault.code == "NoHistory"
    assert f"{len(test) // 4} of these {len(test) // 4} rows have no earlier value" in fault.message


def test_without_anything_to_look_back_to_there_is_no_baseline():
    computed = timed().compute(references=(baseline("PreviousValue", by=["id"]),))
    found = find(computed, "mean_absolute_error", versus="other")
    assert found.fault.code == "NoHistory"
    assert "correct by" in found.fault.message
    late = timed().compute(references=(baseline("SeasonalNaive", period="Day", delay="90d"),))
    assert find(late, "mean_absolute_error", versus="other").fault.code == "NoHistory"


@pytest.mark.parametrize(
    ("fields", "times", "code"),
    [
        ({"type": "SeasonalNaive", "period": "Day"}, np.arange(1500), "PeriodWithoutTime"),
        ({"type": "PreviousValue", "delay": "1d"}, np.arange(1500), "DelayWithoutTime"),
        ({"type": "SeasonalNaive", "period": "Day", "timeZone": "Mars/Base"}, None, "UnknownTimeZone"),
        (
            {"type": "LastPeriodMean", "period": "Week", "timeZone": "Europe/Berlin"},
            pa.array(np.arange(1500) * DAY, pa.timestamp("us")),
            "TimeWithoutZone",
        ),
        ({"type": "PreviousValue"}, pa.array([None, *range(1, 1500)]), "MissingTime"),
    ],
)
def test_times_that_do_not_do(fields, times, code):
    case = timed() if times is None else timed(at=pa.array(times))
    computed = case.compute(references=(baseline(**({"kind": fields["type"]} | fields)),))
    assert find(computed, "mean_absolute_error", versus="other").fault.code == code
    assert find(computed, "mean_absolute_error").fault is None


def test_plain_numbers_have_a_value_before():
    computed = timed(at=pa.array(np.arange(1500))).compute(references=(baseline("PreviousValue"),))
    assert said(computed).startswith(("0 of", "1 of"))


def test_a_wrong_task_or_a_time_that_is_not_declared_is_a_fault():
    for task in TASKS:
        for kind, found in KINDS.items():
            if task not in found.tasks:
                computed = Case(task).compute(
                    references=(baseline(kind, **({"period": "Day"} if found.needs else {})),)
                )
                metric = "mean_absolute_error" if task == "Regression" else "accuracy"
                assert find(computed, metric, versus="other").fault.code == "WrongTask"
    computed = Case("Regression").compute(references=(baseline("PreviousValue"),))
    assert find(computed, "mean_absolute_error", versus="other").fault.code == "NoTime"


@pytest.mark.parametrize("sampling", ["kept", "prevalence"])
@pytest.mark.parametrize(("kind", "fields"), [("LastPeriodMean", {"period": "Week"}), ("Threshold", {})])
def test_rows_drawn_by_class_are_made_up_for(kind, fields, sampling):
    """Or else probabilities are the sample's, and any constant at production's prevalence beats them."""
    case = timed("Binary")
    shares = {"kept": ("0.1", "1"), "prevalence": ("0.9", "0.1")}[sampling]
    declared = tuple(
        spec.ClassSampling.model_validate({"class": name, sampling: share})
        for name, share in zip("01", shares, strict=True)
    )
    data = case.data.model_copy(update={"sampling": declared})
    computed = case.compute(data=data, references=(baseline(kind, **fields), spec.Baseline(name="prior", type="Prior")))
    prior = find(computed, "log_loss", versus="prior").reference
    assert find(computed, "log_loss", versus="other").reference < 1.1 * prior
    assert 0.9 < find(computed, "observed_expected", versus="other").reference < 1.1


@pytest.mark.parametrize("kind", ["PreviousValue", "LastPeriodMean", "Threshold"])
def test_rows_that_count_for_nothing_are_not_there(kind):
    """Nor are weights that are all equal."""
    fields = {"period": "Day"} if kind == "LastPeriodMean" else {}
    case = timed(at=pa.array(np.arange(1500) // 3 * DAY // 24, pa.timestamp("us", "UTC")))
    weight = np.where(np.arange(1500) % 4 == 0, 0.0, 3.0)
    table, kept = case.table.append_column("w", pa.array(weight)), np.flatnonzero(weight)
    task = case.task.model_copy(update={"weight": "w"})
    whole = case.compute(table=table, task=task, references=(baseline(kind, **fields),))
    part = case.compute(
        table=case.table.take(pa.array(kept)),
        split=case.split.take(kept),
        answers=case.answers.take(kept),
        references=(baseline(kind, **fields),),
    )
    assert (
        find(whole, "mean_absolute_error", versus="other").reference
        == find(part, "mean_absolute_error", versus="other").reference
    )


@pytest.mark.parametrize("kind", ["Linear", "Threshold"])
def test_without_declared_features_nothing_is_fitted_to_what_happens_to_be_there(kind):
    case = Case()
    model = case.model.model_copy(update={"inputs": None})
    found = find(case.compute(model=model, references=(baseline(kind),)), "log_loss", versus="other")
    assert found.fault.code == "NoInputs"
    assert "model.inputs.columns" in found.fault.message


def test_a_linear_baseline_of_what_does_not_vary_is_none():
    found = find(rule_case(same=np.ones(1500)).compute(references=(baseline("Linear"),)), "log_loss", versus="other")
    assert found.fault.code == "NoFeatures"


@pytest.mark.parametrize("kind", ["Linear", "Threshold"])
def test_whether_a_value_is_there_tells_something(kind):
    flag = np.where(np.array(Case().table["y"]) == 1, 1.0, np.nan)
    computed = rule_case(flag=flag).compute(references=(baseline(kind),))
    assert find(computed, "accuracy", versus="other").reference == 1.0


@pytest.mark.parametrize("value", [0.1, 0.3, 1.1, 2.7, 123.456])
def test_a_column_that_begins_to_vary_after_training_says_nothing(value):
    """0.3 has a standard deviation by rounding, of 5e-17 in 600 rows."""
    train = np.arange(1500) < 900
    for rows in range(300, 900, 100):
        seen = train & (np.arange(1500) >= 900 - rows)
        table = pa.table({"x": np.where(train, value, 2 * value)})
        assert baselines.design(table, ["x"], seen).width == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "PreviousValue", "delay": "999999999d"},
        {"type": "PreviousValue", "delay": "106751990d"},
        {"type": "SeasonalNaive", "period": "999999999d"},
    ],
)
def test_durations_beyond_all_times_leave_nothing_to_look_back_to(fields):
    case = timed()
    later = pa.array(np.arange(1500) * DAY + 1_700_000_000_000_000, pa.timestamp("us", "UTC"))
    table = case.table.set_column(case.table.column_names.index("at"), "at", later)
    computed = case.compute(table=table, references=(baseline(**({"kind": fields["type"]} | fields)),))
    assert find(computed, "mean_absolute_error", versus="other").fault.code == "NoHistory"


def test_a_linear_fit_with_columns_that_tell_nothing_too_much_or_no_number():
    """All missing, constant, infinities, and 10,000 texts, of which those that train has most often are kept."""
    rng = np.random.default_rng(5)
    rows, train = 12_000, np.arange(12_000) < 8000
    x = rng.normal(size=rows)
    actual = rng.random(rows) < 1 / (1 + np.exp(-x))
    holes = np.where(rng.random(rows) < 0.1, np.nan, x)
    names = np.char.add("v", np.r_[np.arange(10_000), np.arange(2000) % 20].astype(str))[rng.permutation(rows)]
    far = np.where(np.isnan(holes), np.where(np.arange(rows) % 2, np.inf, -np.inf), holes)
    table = pa.table(
        {
            "x": x,
            "gone": pa.nulls(rows, pa.float64()),
            "none": pa.nulls(rows, pa.string()),
            "same": np.full(rows, 1e9 + 0.1),
            "one": ["a"] * rows,
            "far": far,
            "holes": holes,
            "many": names,
        }
    )

    def answers(*columns: str) -> np.ndarray:
        said, converged = baselines.logistic(baselines.design(table, columns, train), actual, train, classes=2)
        assert converged
        assert np.isfinite(said).all()
        return said

    alone = answers("x")
    assert np.array_equal(answers("x", "gone", "same"), alone)
    assert answers("x", "gone", "none", "same", "one") == pytest.approx(alone, abs=1e-4)
    assert np.array_equal(answers("far"), answers("holes")), "an infinity is no number"
    ((code, width),) = baselines.design(table, ["many"], train).rows(slice(None)).hot
    assert width == baselines.MAX_CATEGORIES
    values, counts = np.unique(names[train], return_counts=True)
    often = set(values[counts > 1])
    assert 15 <= len(often) <= baselines.MAX_CATEGORIES
    assert (code[np.isin(names, sorted(often))] >= 0).all()
    assert np.count_nonzero(code >= 0) < 0.25 * rows
    answers("x", "many")
