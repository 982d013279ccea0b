import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.catalogue import METRICS as CATALOGUE
from mandate.api.catalogue import metrics_for
from mandate.evaluate.service import measured, not_measured
from mandate.evidence.intervals import AllPairs, Beta, Fact, Paired, Unbounded
from mandate.evidence.schema import Computed, Estimate, computed_bytes
from mandate.inference.load import Loaded
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.metrics import METRICS
from mandate.measure.split import PARTS, Split, divide, join

SLICES = (
    spec.Slice(name="age", column="age", edges=("30", "60")),
    spec.Slice(name="sex", column="sex", sensitive=True),
)
TASKS = {
    "Binary": spec.Task(type="Binary", target="y", positive="1", id="id"),
    "Multiclass": spec.Task(type="Multiclass", target="y", id="id"),
    "Regression": spec.Task(type="Regression", target="y", id="id"),
}
BASELINES = {
    "Binary": ("Prior", "MostFrequent", "Linear"),
    "Multiclass": ("Prior", "MostFrequent", "Linear"),
    "Regression": ("Mean", "Median", "Linear"),
}


class Case:
    """One table with its split and the answers of a middling model."""

    def __init__(self, kind: str = "Binary", rows: int = 1500, seed: int = 0, method: str = "Random") -> None:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=rows)
        columns = {
            "id": np.arange(rows),
            "x": x,
            "color": rng.choice(["red", "blue"], rows),
            "age": rng.integers(18, 90, rows),
            "sex": rng.choice(["f", "m"], rows),
            "who": rng.integers(0, rows // 4, rows),
        }
        self.task = TASKS[kind]
        output = spec.ModelOutput(kind="Value") if kind == "Regression" else spec.ModelOutput()
        match kind:
            case "Binary":
                columns["y"] = (rng.random(rows) < 1 / (1 + np.exp(-1.5 * x))).astype(int)
                values = 1 / (1 + np.exp(-1.5 * x - 0.5 * rng.normal(size=rows)))
            case "Multiclass":
                columns["y"] = np.clip(np.round(1 + x + 0.7 * rng.normal(size=rows)), 0, 2).astype(int)
                raw = np.exp(-((1 + x[:, None] - np.arange(3)) ** 2))
                values = raw / raw.sum(axis=1, keepdims=True)
                output = spec.ModelOutput(classes=("0", "1", "2"))
            case _:
                columns["y"] = 2 * x + rng.normal(size=rows)
                values = 2 * x + 0.1
        self.table = pa.table(columns)
        self.answers = Answers(values=values)
        self.split = divide(self.table, how=spec.Split(method=method, seed=1), task=self.task)
        self.model = spec.Model(
            version="1",
            source=spec.ModelSource(uri="m.onnx", format="ONNX"),
            inputs=spec.ModelInputs(columns=("x", "color")),
            output=output,
        )
        self.references = tuple(spec.Baseline(name=name.lower(), type=name) for name in BASELINES[kind])

    def compute(self, **changes) -> Computed:
        given = {
            "table": self.table,
            "split": self.split,
            "answers": self.answers,
            "model": self.model,
            "task": self.task,
            "data": spec.Data(source=spec.TableSource(uri="t.csv"), slices=SLICES),
            "references": self.references,
        }
        return compute(**(given | changes))


def find(computed: Computed, metric: str, **place) -> Estimate:
    wanted = {"on": "test", "slice": "overall", "value": None, "versus": None, "across": None, "shape": None} | place
    found = [
        e
        for e in computed.estimates
        if e.quantity.metric == metric and all(getattr(e.quantity, key) == wanted[key] for key in wanted)
    ]
    assert len(found) == 1, (metric, place, len(found))
    return found[0]


def test_places():
    """Every computed metric of every task is there in every place, with a number or the reason why not."""
    for kind in TASKS:
        case = Case(kind)
        computed = case.compute(champion=Answers(values=np.roll(case.answers.values, 1, axis=0)))
        names = [baseline.name for baseline in case.references] + ["champion"]
        for metric in (m.name for m in metrics_for(kind) if m.origin == "Computed" and not m.fact):
            for part in PARTS:
                find(computed, metric, on=part)
                for name in names:
                    find(computed, metric, on=part, versus=name)
            find(computed, metric, on="train-test")
            for slice_, values in (("age", ("<30", "30-60", ">=60")), ("sex", ("f", "m"))):
                for value in values:
                    for versus in (None, "rest", *names):
                        find(computed, metric, slice=slice_, value=value, versus=versus)
                for shape in ("difference", "ratio"):
                    find(computed, metric, across=slice_, shape=shape)
        assert len({e.quantity for e in computed.estimates}) == len(computed.estimates)
        faults = {e.fault.code for e in computed.estimates if e.fault}
        assert faults <= {"NoProbabilities", "NoSlope", "NoRatio", "NoRows", "NeverPredicted"}, faults


def test_the_catalogue_holds_what_is_measured_and_nothing_else():
    """By task, by origin, and by whether it is a fact: what the engine and the service measurement really emit."""
    service = measured({"50/s": Loaded((np.ones(10),) * 10, 100, 0, 0, None)}, timeout=10, requests=1)
    assert {e.quantity for e in not_measured(["50/s"], reason="offline")} == {e.quantity for e in service}
    facts: set[str] = set()
    for kind in TASKS:
        computed = Case(kind, rows=300).compute().estimates
        for origin, estimates in (("Computed", computed), ("Service", service)):
            declared = {metric.name: metric for metric in metrics_for(kind) if metric.origin == origin}
            assert {e.quantity.metric for e in estimates} == set(declared), (kind, origin)
            exact = {e.quantity.metric for e in estimates if isinstance(e.interval, Fact)}
            assert exact == {name for name, metric in declared.items() if metric.fact}
        facts |= {e.quantity.metric for e in computed if isinstance(e.interval, Fact)}
    assert set(CATALOGUE) == set(METRICS) | facts | {e.quantity.metric for e in service}


@pytest.mark.parametrize("kind", list(TASKS))
def test_row_order_changes_no_byte(kind):
    case = Case(kind, rows=600)
    order = np.random.default_rng(1).permutation(600)
    first = computed_bytes(case.compute())
    shuffled = case.compute(
        table=case.table.take(pa.array(order)), split=case.split.take(order), answers=case.answers.take(order)
    )
    assert computed_bytes(shuffled) == first


def test_a_slices_number_is_that_of_its_rows_alone():
    case = Case()
    rows = case.split.rows("test") & (np.array(case.table["sex"].to_pylist()) == "f")
    part = np.where(rows, PARTS.index("test"), -1).astype(np.int8)
    alone = case.compute(split=Split(part=part, keys=case.split.keys, digest=case.split.digest), references=())
    whole = case.compute()
    for metric in ("accuracy", "roc_auc", "log_loss"):
        one, other = find(whole, metric, slice="sex", value="f"), find(alone, metric)
        assert (one.estimate, one.interval, one.support) == (other.estimate, other.interval, other.support)


def test_comparisons_hold_both_numbers():
    computed = Case().compute()
    own, linear = find(computed, "roc_auc"), find(computed, "roc_auc", versus="linear")
    assert isinstance(linear.interval, Paired)
    assert linear.estimate == own.estimate == linear.interval.a
    assert linear.reference == linear.interval.b
    gap = find(computed, "roc_auc", on="train-test")
    assert isinstance(gap.interval, Paired)
    assert gap.estimate == find(computed, "roc_auc", on="train").estimate
    assert gap.reference == own.estimate
    assert gap.interval.cov == 0
    rest = find(computed, "accuracy", slice="sex", value="f", versus="rest")
    assert rest.reference == find(computed, "accuracy", slice="sex", value="m").estimate


def test_spreads_are_largest_against_smallest():
    computed = Case().compute()
    rates = [find(computed, "selection_rate", slice="age", value=v).estimate for v in ("<30", "30-60", ">=60")]
    difference = find(computed, "selection_rate", across="age", shape="difference")
    assert difference.estimate == pytest.approx(max(rates) - min(rates))
    assert isinstance(difference.interval, AllPairs)
    assert len(difference.interval.pairs) == 3
    ratio = find(computed, "selection_rate", across="age", shape="ratio")
    assert ratio.estimate == pytest.approx(min(rates) / max(rates))


def test_facts():
    case = Case()
    computed = case.compute()
    assert find(computed, "finite_answers").estimate == 1.0
    assert find(computed, "shared_rows").estimate == 0.0
    assert isinstance(find(computed, "shared_rows").interval, Fact)
    table, split = join({"train": case.table.slice(0, 900), "test": case.table.slice(800, 500)}, task=case.task)
    values = np.concatenate([case.answers.values[:900], case.answers.values[800:1300]])
    computed = case.compute(table=table, split=split, answers=Answers(values=values))
    assert find(computed, "shared_rows").estimate == 100.0


def test_a_nan_answer_faults_every_metric_of_its_rows_and_no_other():
    case = Case()
    row = int(np.flatnonzero(case.split.rows("test"))[0])
    values = case.answers.values.copy()
    values[row] = np.nan
    computed = case.compute(answers=Answers(values=values))
    sex = case.table["sex"][row].as_py()
    other = {"f": "m", "m": "f"}[sex]
    assert find(computed, "finite_answers").estimate < 1
    for metric in ("accuracy", "roc_auc", "log_loss"):
        assert find(computed, metric).fault.code == "NonFinitePredictions"
        assert find(computed, metric, versus="prior").fault.code == "NonFinitePredictions"
        assert find(computed, metric, slice="sex", value=sex).fault.code == "NonFinitePredictions"
        assert find(computed, metric, slice="sex", value=other).fault is None
        assert find(computed, metric, on="train").fault is None


def test_a_model_against_itself_is_a_fault():
    case = Case()
    computed = case.compute(champion=case.answers)
    for metric in ("accuracy", "roc_auc"):
        assert find(computed, metric, versus="champion").fault.code == "SameAsReference"
        assert find(computed, metric, slice="sex", value="f", versus="champion").fault.code == "SameAsReference"


def test_a_champion_on_other_rows_is_a_fault():
    case = Case()
    fewer = Answers(values=case.answers.values[1:])
    assert find(case.compute(champion=fewer), "accuracy", versus="champion").fault.code == "DifferentRows"
    keys = case.split.keys.copy()
    keys[0] += np.uint64(1)
    others = Answers(values=case.answers.values * 0.9, keys=keys)
    assert find(case.compute(champion=others), "accuracy", versus="champion").fault.code == "DifferentRows"


def test_a_champions_answers_are_matched_by_key():
    case = Case()
    champion = Answers(values=case.answers.values * 0.9, keys=case.split.keys)
    order = np.random.default_rng(2).permutation(len(case.split.keys))
    assert computed_bytes(case.compute(champion=champion.take(order))) == computed_bytes(
        case.compute(champion=champion)
    )


def test_one_class_in_a_slice_is_a_fault_there():
    case = Case()
    sex = np.where(np.array(case.table["y"]) == 1, "f", "m")
    table = case.table.set_column(case.table.column_names.index("sex"), "sex", pa.array(sex))
    computed = case.compute(table=table)
    assert find(computed, "roc_auc", slice="sex", value="f").fault.code == "OneClass"
    assert find(computed, "roc_auc", across="sex", shape="difference").fault.code == "OneClass"
    assert isinstance(find(computed, "recall", slice="sex", value="f").interval, Beta)
    assert find(computed, "false_positive_rate", slice="sex", value="f").fault.code == "NoRows"


def test_baselines_need_training_rows_and_their_own_task():
    case = Case()
    part = np.where(case.split.rows("test"), PARTS.index("test"), -1).astype(np.int8)
    alone = Split(part=part, keys=case.split.keys, digest=case.split.digest)
    assert find(case.compute(split=alone), "accuracy", versus="prior").fault.code == "NoTrainingRows"
    mean = (spec.Baseline(name="mean", type="Mean"),)
    assert find(case.compute(references=mean), "accuracy", versus="mean").fault.code == "WrongTask"


def test_labels_alone_give_no_probabilities():
    case = Case()
    model = case.model.model_copy(update={"output": spec.ModelOutput(kind="Label")})
    labels = Answers(values=(case.answers.values > 0.5).astype(int))
    computed = case.compute(model=model, answers=labels)
    assert find(computed, "roc_auc").fault.code == "NoProbabilities"
    assert find(computed, "accuracy").estimate == find(case.compute(), "accuracy").estimate


def test_too_many_values_in_a_slice():
    case = Case()
    data = spec.Data(source=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="who", column="who"),))
    computed = case.compute(data=data)
    assert find(computed, "accuracy", slice="who").fault.code == "TooManyValues"


def test_clusters_in_two_parts_are_reported_and_widen_intervals():
    case = Case()
    task = case.task.model_copy(update={"cluster": "who"})
    computed = case.compute(task=task)
    assert any("task.cluster" in finding for finding in computed.findings)
    assert find(computed, "accuracy").support.clusters == len(
        set(np.array(case.table["who"])[case.split.rows("test")].tolist())
    )


def test_held_out_is_proven_by_the_splits_digest():
    case = Case()
    assert case.compute().held_out.status == "Unknown"
    for training, status in (
        (spec.Training(split_digest=case.split.digest), "Proven"),
        (spec.Training(held_out=True), "Declared"),
        (spec.Training(split_digest="sha256:" + "0" * 64), "Unknown"),
    ):
        assert case.compute(model=case.model.model_copy(update={"training": training})).held_out.status == status


def test_settings_change_the_settings_digest_and_predictions_theirs():
    case = Case()
    first = case.compute().inputs
    cutoff = case.model.model_copy(update={"output": spec.ModelOutput(cutoff="0.4")})
    second = case.compute(model=cutoff).inputs
    assert (first.settings == second.settings, first.predictions == second.predictions) == (False, True)
    third = case.compute(answers=Answers(values=case.answers.values * 0.999)).inputs
    assert (first.settings == third.settings, first.predictions == third.predictions) == (True, False)


def test_a_perfect_model_has_no_bounded_auc():
    case = Case()
    computed = case.compute(answers=Answers(values=np.array(case.table["y"]) * 0.8 + 0.1))
    found = find(computed, "roc_auc")
    assert found.estimate == 1.0
    assert isinstance(found.interval, Unbounded)
