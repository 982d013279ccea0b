"""A cut-off chosen on the validation rows: what it is chosen from, what it is measured with, what it may not see."""

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import Computed, dump
from mandate.measure.answers import Answers
from mandate.measure.cutoff import Given, choose
from mandate.measure.engine import compute
from mandate.measure.split import join

F1 = spec.CutoffChoice(metric="f1")
COST = spec.CutoffChoice(metric="expected_cost")
COSTS = (
    spec.ErrorCost(actual="1", predicted="0", cost="9", currency="EUR"),
    spec.ErrorCost(actual="0", predicted="1", cost="1", currency="EUR"),
)
TASK = spec.Task(type="Binary", target="y", positive="1", id="id")
PARTS = {"train": 150, "validation": 150, "test": 150}


def tables(seed: int = 0) -> dict[str, pa.Table]:
    rng = np.random.default_rng(seed)
    found, start = {}, 0
    for part, rows in PARTS.items():
        x = rng.normal(size=rows)
        found[part] = pa.table(
            {
                "id": np.arange(start, start + rows),
                "x": x,
                "y": (rng.random(rows) < 1 / (1 + np.exp(1 - 1.5 * x))).astype(int),
                "p": 1 / (1 + np.exp(1 - 1.5 * x - 0.5 * rng.normal(size=rows))),
                "video": np.arange(start, start + rows) // 3,
            }
        )
        start += rows
    return found


def measured(
    choice: spec.CutoffChoice | None = F1,
    *,
    found: dict[str, pa.Table] | None = None,
    cutoff: str = "0.5",
    dtype: type = np.float64,
    task: spec.Task = TASK,
    **given,
) -> Computed:
    table, split = join(found or tables(), task=task)
    model = spec.Model(
        version="1",
        source=spec.ModelSource(uri="m.onnx", format="ONNX"),
        inputs=spec.ModelInputs(columns=("x",)),
        output=spec.ModelOutput(cutoff=cutoff, choose=choice),
    )
    values = np.array(table["p"]).astype(dtype)
    options = {
        "references": (spec.Baseline(name="linear", type="Linear"), spec.Baseline(name="prior", type="Prior")),
        "error_costs": COSTS,
        "data": spec.Data(test=spec.TableSource(uri="t.csv")),
        "answers": Answers(values=values),
    } | given
    return compute(table=table, split=split, model=model, task=task, **options)


def value(computed: Computed, metric: str, versus: str | None = None, on: str = "test"):
    return next(
        e
        for e in computed.estimates
        if (e.quantity.metric, e.quantity.versus, e.quantity.on, e.quantity.slice) == (metric, versus, on, "overall")
    )


def alone(computed: Computed) -> list[dict]:
    """The model's own numbers."""
    return [dump(estimate) for estimate in computed.estimates if estimate.quantity.versus is None]


@pytest.mark.row("G4/cutoff")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_is_measured_as_if_the_chosen_cut_off_had_been_declared(dtype):
    chosen = measured(COST, dtype=dtype)
    assert chosen.cutoff.chosen not in (None, "0.5")
    assert chosen.cutoff.low <= float(chosen.cutoff.chosen) <= chosen.cutoff.high
    declared = measured(None, cutoff=chosen.cutoff.chosen, dtype=dtype)
    assert alone(chosen) == alone(declared)
    assert declared.cutoff is None
    assert value(chosen, "expected_cost", on="validation").estimate == pytest.approx(chosen.cutoff.value)
    again = measured(COST, cutoff=chosen.cutoff.chosen, dtype=dtype)
    assert again.cutoff.frozen
    assert not chosen.cutoff.frozen
    assert again.cutoff.chosen == chosen.cutoff.chosen
    assert again.estimates == chosen.estimates
    assert any(found.startswith(f"cut-off {chosen.cutoff.chosen}: chosen by the least") for found in chosen.findings)


@pytest.mark.row("G4/cutoff")
def test_test_rows_and_training_rows_have_no_say():
    found = tables()
    before = measured(COST, found=found).cutoff
    for part in ("test", "train"):
        other = found[part].set_column(2, "y", pa.array(1 - np.array(found[part]["y"])))
        assert measured(COST, found=found | {part: other}).cutoff == before
    other = found["validation"].set_column(2, "y", pa.array(1 - np.array(found["validation"]["y"])))
    assert measured(COST, found=found | {"validation": other}).cutoff != before


@pytest.mark.row("G4/cutoff")
def test_a_baseline_gets_its_own_and_a_champion_keeps_what_it_serves_with():
    champion = spec.Model(
        version="0",
        source=spec.ModelSource(uri="c.onnx", format="ONNX"),
        inputs=spec.ModelInputs(columns=("x",)),
        output=spec.ModelOutput(cutoff="0.7", choose=COST),
    )
    scores = np.concatenate([np.array(table["p"]) for table in tables().values()])
    found = measured(COST, champion=Answers(values=scores), champion_model=champion)
    plain = measured(None)
    for name in ("linear", "prior"):
        cost = value(found, "expected_cost", versus=name).reference
        assert cost < value(plain, "expected_cost", versus=name).reference
        assert next(item.words for item in found.learnt if item.baseline == name).startswith("positive from ")
    truth = np.concatenate([np.array(table["y"]) for table in tables().values()])[300:] == 1
    recall = (scores[300:] >= 0.7)[truth].mean()
    assert value(found, "recall", versus="champion").reference == pytest.approx(recall)


@pytest.mark.row("G4/cutoff")
def test_without_a_choice_labels_have_no_number_and_scores_have():
    found = tables()
    none = found["validation"].slice(0, 0)
    single = found["validation"].set_column(2, "y", pa.array([1] * PARTS["validation"]))
    for validation, code in ((none, "NoValidationRows"), (single, "OneClass")):
        computed = measured(F1, found=found | {"validation": validation})
        assert computed.cutoff.fault.code == code
        assert computed.cutoff.chosen is None
        assert value(computed, "recall").fault.code == code
        assert value(computed, "roc_auc").estimate > 0.5
        assert computed.weakest is None
    table, _ = join(found, task=TASK)
    missing = np.array(table["p"])
    missing[200] = np.nan
    computed = measured(F1, answers=Answers(values=missing))
    assert computed.cutoff.fault.code == "NonFinitePredictions"
    assert value(computed, "f1").fault is not None
    assert measured(COST, error_costs=COSTS[:1]).cutoff.fault.code == "MissingCosts"


@pytest.mark.row("G4/cutoff")
def test_units_and_class_sampling_are_what_is_chosen_on():
    video = spec.Unit(column="video", answers="Mean", labels="Max")
    task = TASK.model_copy(update={"unit": video})
    computed = measured(COST, task=task)
    assert computed.cutoff.rows == PARTS["validation"] // 3
    assert value(computed, "expected_cost", on="validation").estimate == pytest.approx(computed.cutoff.value)
    sampling = tuple(
        spec.ClassSampling.model_validate({"class": name, "prevalence": share})
        for name, share in (("1", "0.02"), ("0", "0.98"))
    )
    data = spec.Data(test=spec.TableSource(uri="t.csv"), sampling=sampling)
    rare = measured(COST, data=data)
    assert float(rare.cutoff.chosen) > float(measured(COST).cutoff.chosen)
    assert value(rare, "expected_cost", on="validation").estimate == pytest.approx(rare.cutoff.value)


def given(score: list[float], positive: list[int], **more) -> Given:
    return Given(score=np.array(score), positive=np.array(positive) == 1, **more)


@pytest.mark.row("G4/cutoff")
def test_ties_and_digits():
    accuracy = spec.CutoffChoice(metric="accuracy")
    # One row of each class wrong, or the other: of equal ones the nearest to 0.5.
    tied = given([0.1, 0.3, 0.6, 0.9], [0, 1, 0, 1])
    assert choose(tied, accuracy, declared="0.5").chosen == "0.75"
    assert choose(given([0.2, 0.4, 0.6, 0.8], [0, 1, 0, 1]), accuracy, declared="0.5").chosen == "0.3"
    # In as few digits as tell the scores apart, and in the precision that will be served.
    near = [0.3, np.float32(0.3) + np.float32(3e-8)]
    found = choose(given(near, [0, 1], dtype=np.dtype(np.float32)), accuracy, declared="0.5")
    assert found.fault is not None or near[0] < float(np.float32(found.chosen)) <= near[1]
    assert choose(given([0.3, 0.3 + 1e-12], [0, 1]), accuracy, declared="0.5").value == 0.5
    assert choose(given([0.3001, 0.3004], [0, 1]), accuracy, declared="0.5").chosen == "0.3002"
    everyone = choose(given([0.2, 0.4], [1, 0]), spec.CutoffChoice(metric="f1"), declared="0.5")
    assert everyone.chosen == "0"


@pytest.mark.row("G4/cutoff")
def test_a_rate_that_no_cut_off_keeps_is_a_fault_that_says_how_far_it_goes():
    asked = spec.CutoffChoice(metric="recall", at_least=spec.AtLeast(metric="precision", value="0.9"))
    found = choose(given([0.2, 0.4, 0.6, 0.8], [0, 1, 1, 0]), asked, declared="0.5")
    assert found.fault.code == "NoCutoff"
    assert "the most is 0.6667; ask for less" in found.fault.message
