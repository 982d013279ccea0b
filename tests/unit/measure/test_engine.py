import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.catalogue import METRICS as CATALOGUE
from mandate.api.catalogue import metrics_for
from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate.nudges import flipped
from mandate.evaluate.service import capacity, measured, not_measured, probed, used
from mandate.evidence.intervals import AllPairs, Beta, Fact, Paired, Unbounded
from mandate.evidence.schema import Computed, Estimate, computed_bytes
from mandate.inference.capacity import Capacity
from mandate.inference.client import Usage
from mandate.inference.load import Loaded
from mandate.measure.answers import Answers
from mandate.measure.data.profile import profile
from mandate.measure.digests import settings_digest
from mandate.measure.engine import compute
from mandate.measure.metrics import METRICS
from mandate.measure.remainder import Remainder
from mandate.measure.split import PARTS, Split, divide, join
from mandate.measure.work import Threads

SLICES = (
    spec.Slice(name="age", column="age", edges=("30", "60")),
    spec.Slice(name="sex", column="sex", sensitive=True),
)
TASKS = {
    "Binary": spec.Task(type="Binary", target="y", positive="1", id="id", beta="2"),
    "Multiclass": spec.Task(type="Multiclass", target="y", id="id", beta="0.5", top_k=2),
    "Regression": spec.Task(type="Regression", target="y", id="id", quantiles=("0.1", "0.5", "0.9")),
}
COSTS = (
    spec.ErrorCost(actual="1", predicted="0", cost="5", currency="EUR"),
    spec.ErrorCost(actual="0", predicted="1", cost="1.5", currency="EUR"),
)
FREE = tuple(
    spec.ErrorCost(actual=actual, predicted=predicted, cost="0", currency="EUR")
    for actual, predicted in ("02", "12", "20", "21")
)
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
        output = spec.ModelOutput(kind="Quantiles") if kind == "Regression" else spec.ModelOutput()
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
                values = 2 * x[:, None] + [-1.2, 0.1, 1.3]
        self.table = pa.table(columns)
        self.answers = Answers(values=values)
        self.split = divide(self.table, how=spec.Split(method=method, seed=1), task=self.task)
        self.model = spec.Model(
            version="1",
            source=spec.ModelSource(uri="m.onnx", format="ONNX"),
            inputs=spec.ModelInputs(columns=("x", "color")),
            output=output,
        )
        self.error_costs = {"Binary": COSTS, "Multiclass": (*COSTS, *FREE), "Regression": ()}[kind]
        self.annotations = None
        self.data = spec.Data(source=spec.TableSource(uri="t.csv"), slices=SLICES)
        self.references = tuple(spec.Baseline(name=name.lower(), type=name) for name in BASELINES[kind])

    def annotate(self, annotators: int, *, right: float = 0.8, seed: int = 9) -> None:
        """Labels of every row by so many people, each right so often and any class otherwise."""
        rng = np.random.default_rng(seed)
        rows, truth = self.table.num_rows, np.array(self.table["y"])
        labels = np.where(
            rng.random((annotators, rows)) < right, truth, rng.choice(np.unique(truth), (annotators, rows))
        )
        self.annotations = pa.table(
            {
                "id": np.tile(np.array(self.table["id"]), annotators),
                "who": np.repeat([f"p{place}" for place in range(annotators)], rows),
                "said": labels.ravel(),
            }
        )
        declared = spec.Annotations(uri="said.csv", row="id", annotator="who", label="said")
        self.data = self.data.model_copy(update={"annotations": declared})

    def compute(self, **changes) -> Computed:
        given = {
            "table": self.table,
            "split": self.split,
            "answers": self.answers,
            "model": self.model,
            "task": self.task,
            "data": self.data,
            "references": self.references,
            "error_costs": self.error_costs,
            "annotations": self.annotations,
        }
        return compute(**(given | changes))


def find(computed: Computed, metric: str, **place) -> Estimate:
    wanted = {"on": "test", "slice": "overall", "value": None, "versus": None, "across": None, "shape": None}
    wanted |= {"of_class": None, "quantile": None, "horizon": None, "window": None} | place
    found = [
        e
        for e in computed.estimates
        if e.quantity.metric == metric and all(getattr(e.quantity, key) == wanted[key] for key in wanted)
    ]
    assert len(found) == 1, (metric, place, len(found))
    return found[0]


@pytest.mark.row("T1/parts")
def test_places():
    """Every computed metric of every task is there in every place, with a number or the reason why not."""
    for kind in TASKS:
        case = Case(kind)
        computed = case.compute(champion=Answers(values=np.roll(case.answers.values, 1, axis=0)))
        names = [baseline.name for baseline in case.references] + ["champion"]
        for metric in (m.name for m in metrics_for(kind) if m.spreads):
            for slice_ in ("age", "sex"):
                for shape in ("difference", "ratio"):
                    find(computed, metric, across=slice_, shape=shape)
        for metric in (
            m.name for m in metrics_for(kind) if m.origin == "Computed" and not m.fact and not m.spreads and m.groups
        ):
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
        assert faults <= {"NoProbabilities", "NoSlope", "NoRatio", "NoRows", "OneClass", "NoQuantiles"}, faults


def test_the_catalogue_holds_what_is_measured_and_nothing_else():
    """By task, by origin, and by whether it is a fact: what the engine and the service measurement really emit."""
    loaded = Loaded(blocks=(np.ones(10),) * 10, sent=(np.ones(10),) * 10)
    found = Capacity(answers=(40,) * 9, seconds=(0.5,) * 9, cpu=(0.2,) * 9, failed=0, own=0.2, held=60.0)
    service = [
        *measured({"50/s": loaded}, timeout=10, requests=1),
        *capacity(found, rows=1, serving=spec.Serving()),
        *used(Usage(2.0, 9.0, 2**28), Usage(2.0, 9.0, 2**28), first_answer=0.5),
        probed({}),
    ]
    facts: set[str] = set()
    served: set[str] = set()
    for kind in TASKS:
        case = Case(kind, rows=300)
        if kind != "Regression":
            case.annotate(3)
        asked = case.data.model_copy(update={"domain_classifier": spec.DomainClassifier()})
        if asked.annotations is not None:
            apart = asked.annotations.model_copy(update={"independent": True})
            asked = asked.model_copy(update={"annotations": apart})
        computed = case.compute(data=asked, production=profile([case.table])).estimates
        answered = [*service, *flipped(None, task=case.task)]
        offline = ModelEvaluationSpec.model_construct(
            loads=("50/s",), service=("Capacity", "Robustness"), task=case.task
        )
        assert {e.quantity for e in not_measured(offline, reason="offline")} == {e.quantity for e in answered}
        for origin, estimates in (("Computed", computed), ("Service", answered)):
            declared = {metric.name: metric for metric in metrics_for(kind) if metric.origin == origin}
            assert {e.quantity.metric for e in estimates} == set(declared), (kind, origin)
            exact = {e.quantity.metric for e in estimates if isinstance(e.interval, Fact)}
            once = {"cold_start"} & set(declared)  # what is seen once has no interval either; of several starts it has
            assert exact == {name for name, metric in declared.items() if metric.fact} | once
        facts |= {e.quantity.metric for e in computed if isinstance(e.interval, Fact)}
        served |= {e.quantity.metric for e in answered}
    spreads = {name for name, metric in CATALOGUE.items() if metric.spreads}
    agreement = {"cohen_kappa", "fleiss_kappa", "label_noise"}
    clock = {name for name, metric in CATALOGUE.items() if metric.origin == "Clock"}
    assert set(CATALOGUE) == set(METRICS) | spreads | agreement | facts | clock | served | {"domain_auc"}


@pytest.mark.parametrize("kind", list(TASKS))
def test_row_order_changes_no_byte(kind):
    case = Case(kind, rows=600)
    order = np.random.default_rng(1).permutation(600)
    first = computed_bytes(case.compute())
    shuffled = case.compute(
        table=case.table.take(pa.array(order)), split=case.split.take(order), answers=case.answers.take(order)
    )
    assert computed_bytes(shuffled) == first


@pytest.mark.row("T2/declared")
def test_a_slices_number_is_that_of_its_rows_alone():
    case = Case()
    rows = case.split.rows("test") & (np.array(case.table["sex"].to_pylist()) == "f")
    part = np.where(rows, PARTS.index("test"), -1).astype(np.int8)
    alone = case.compute(split=Split(part=part, keys=case.split.keys, digest=case.split.digest), references=())
    whole = case.compute()
    for metric in ("accuracy", "roc_auc", "log_loss"):
        one, other = find(whole, metric, slice="sex", value="f"), find(alone, metric)
        assert (one.estimate, one.support) == (pytest.approx(other.estimate, rel=1e-9), other.support)
        assert type(one.interval) is type(other.interval)
        expected = other.interval.model_dump()
        near = {name: pytest.approx(to, rel=1e-9) if isinstance(to, float) else to for name, to in expected.items()}
        assert one.interval.model_dump() == near


@pytest.mark.row("G7/paired")
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


@pytest.mark.parametrize("kind", TASKS)
def test_the_rest_by_sums_is_the_rest_by_rows(kind, monkeypatch):
    case = Case(kind)
    by_sums = case.compute()
    asked = []
    monkeypatch.setattr(Remainder, "without", lambda self, names, rows, taken: asked.append(rows) or {})
    by_rows = case.compute()
    assert asked
    for one, other in zip(by_sums.estimates, by_rows.estimates, strict=True):
        assert one.model_copy(update={"reference": None, "interval": None}) == other.model_copy(
            update={"reference": None, "interval": None}
        )
        assert (one.reference is None) == (other.reference is None)
        assert (one.reference or 0.0) == pytest.approx(other.reference or 0.0, rel=1e-8)
        assert type(one.interval) is type(other.interval)
        if isinstance(one.interval, Paired):
            found, expected = (item.interval.model_dump(exclude={"family"}) for item in (one, other))
            assert found == pytest.approx(expected, rel=1e-6)


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


@pytest.mark.row("D5/counted")
def test_what_is_found_about_the_rows_is_counted_for_gates():
    case = Case()
    computed = case.compute()
    assert computed.data is not None
    assert [find(computed, metric).estimate for metric in ("changed_columns", "leaks", "data_faults")] == [0, 0, 0]
    test = case.split.rows("test")
    table = case.table.append_column("tells", pa.array(np.where(test, 5.0, 0.0)))
    table = table.append_column("same", pa.array(np.ones(len(test))))
    table = table.append_column("label", case.table[case.task.target])
    computed = case.compute(table=table, model=case.model.model_copy(update={"inputs": None}))
    assert computed.data.counts == {"BeyondRange": 1, "Constant": 2, "Drift": 1, "GivesLabelAway": 1}
    assert find(computed, "changed_columns").estimate == 1
    assert find(computed, "leaks").estimate == 1
    assert find(computed, "data_faults").estimate == 3


def test_without_training_rows_nothing_is_said_of_change_or_leaks():
    case = Case()
    table, split = join({"test": case.table}, task=case.task)
    computed = case.compute(table=table, split=split)
    for metric in ("changed_columns", "leaks"):
        assert find(computed, metric).fault.code == "NoTrainingRows"
    assert find(computed, "data_faults").estimate == 0


@pytest.mark.row("D5/counted")
def test_a_count_of_0_is_none_where_something_was_not_looked_at():
    case = Case()
    everything = case.model.model_copy(update={"inputs": None})
    table = case.table.append_column("raw", pa.array([b"\xff"] * len(case.table), pa.large_binary()))
    computed = case.compute(table=table, model=everything, references=())
    assert [find(computed, metric).fault.code for metric in ("leaks", "changed_columns")] == ["NotExamined"] * 2
    table = table.append_column("tells", case.table["y"])
    computed = case.compute(table=table, model=everything, references=())
    assert find(computed, "leaks").estimate == 1  # what was found stays found
    few, split = join({"train": case.table.slice(0, 900), "test": case.table.slice(900, 30)}, task=case.task)
    computed = case.compute(table=few, split=split, answers=Answers(values=case.answers.values[:930]))
    assert [find(computed, metric).fault.code for metric in ("leaks", "changed_columns")] == ["TooFewRows"] * 2


@pytest.mark.row("D5/time")
def test_training_rows_from_after_the_test_are_a_leak():
    """Where tables are given part by part, their times say whether the test comes later; a random split's don't."""
    case = Case()
    task = case.task.model_copy(update={"time": "at"})
    values = case.answers.values[:1400]
    for first, expected in ((0, 0), (2000, 1)):
        at = np.concatenate([first + np.arange(900), 1000 + np.arange(600)])
        table = case.table.append_column("at", pa.array(at))
        given, split = join({"train": table.slice(0, 900), "test": table.slice(900, 500)}, task=task)
        tables = spec.Data(train=spec.TableSource(uri="a.csv"), test=spec.TableSource(uri="b.csv"))
        computed = case.compute(table=given, split=split, answers=Answers(values=values), task=task, data=tables)
        assert (find(computed, "leaks").estimate, computed.data.counts.get("TimeTravel", 0)) == (expected, expected)
    random = spec.Data(source=spec.TableSource(uri="a.csv"), split=spec.Split(method="Random"))
    computed = case.compute(table=given, split=split, answers=Answers(values=values), task=task, data=random)
    assert find(computed, "leaks").estimate == 0


@pytest.mark.row("G4/finite")
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


@pytest.mark.row("G7/paired")
def test_a_model_against_itself_is_a_fault():
    case = Case()
    computed = case.compute(champion=case.answers)
    for metric in ("accuracy", "roc_auc"):
        assert find(computed, metric, versus="champion").fault.code == "SameAsReference"
        assert find(computed, metric, slice="sex", value="f", versus="champion").fault.code == "SameAsReference"


@pytest.mark.row("G7/paired")
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


@pytest.mark.row("T2/gated")
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


@pytest.mark.row("T3/clusters")
def test_clusters_in_two_parts_are_reported_and_widen_intervals():
    case = Case()
    task = case.task.model_copy(update={"cluster": "who"})
    computed = case.compute(task=task)
    assert any("task.cluster" in finding for finding in computed.findings)
    assert find(computed, "accuracy").support.clusters == len(
        set(np.array(case.table["who"])[case.split.rows("test")].tolist())
    )


@pytest.mark.row("G5/held-out")
def test_held_out_is_proven_by_the_splits_digest():
    case = Case()
    assert case.compute().held_out.status == "Unknown"
    for training, status in (
        (spec.Training(split_digest=case.split.digest), "Proven"),
        (spec.Training(held_out=True), "Declared"),
        (spec.Training(split_digest="sha256:" + "0" * 64), "Unknown"),
    ):
        assert case.compute(model=case.model.model_copy(update={"training": training})).held_out.status == status


@pytest.mark.row("D4/digests")
def test_settings_change_the_settings_digest_and_predictions_theirs():
    case = Case()
    first = case.compute().inputs
    cutoff = case.model.model_copy(update={"output": spec.ModelOutput(cutoff="0.4")})
    second = case.compute(model=cutoff).inputs
    assert (first.settings == second.settings, first.predictions == second.predictions) == (False, True)
    third = case.compute(answers=Answers(values=case.answers.values * 0.999)).inputs
    assert (first.settings == third.settings, first.predictions == third.predictions) == (True, False)


def test_a_field_that_came_later_leaves_older_evidence_its_manifests():
    """Digests as they were before costs, sampling, beta and quantiles; each changes them only where it is declared."""
    data = spec.Data(source=spec.TableSource(uri="t.csv"), split=spec.Split(method="Time", gap="7d"), slices=SLICES)
    settings = {
        "model": spec.Model(version="1", source=spec.ModelSource(columns=("score",)), output=spec.ModelOutput()),
        "task": spec.Task(type="Binary", target="y", positive="1", id="id", time="at"),
        "data": data,
        "references": (spec.Baseline(name="l", type="Linear"),),
        "error_costs": (),
    }
    assert settings_digest(**settings) == "sha256:88a223c64094fa79f31b0fd8a3dc4eedb99f0f0da4f81430c81f54c545fe2aa9"
    several = settings | {"task": spec.Task(type="Multiclass", target="y", id="id", time="at")}
    assert settings_digest(**several) == "sha256:e121c96040097098a7ec0358b558bdd503adb6e840d1e1c2a7dc062f12b9b6d7"
    task = settings["task"].model_copy(update={"beta": "2"})
    quartiles = spec.Slice(name="age", column="age", quantiles=4)
    sampling = (spec.ClassSampling(class_="1", kept="0.5"),)
    changes = (
        {"task": task},
        {"error_costs": COSTS},
        {"data": data.model_copy(update={"slices": (quartiles,)})},
        {"data": data.model_copy(update={"sampling": sampling})},
    )
    assert len({settings_digest(**(settings | change)) for change in ({}, *changes)}) == 5


def test_how_tables_are_read_is_a_setting():
    """The very same bytes are other texts, and maybe other columns, in another encoding."""
    case = Case()

    def settings(uri="pvc://d/x.csv", **said):
        data = spec.Data(source={"uri": uri} | said, split={"method": "Random", "seed": 7})
        task = case.task.model_copy(update={"beta": None})
        return settings_digest(model=case.model, task=task, data=data, references=(), error_costs=())

    declared = ({}, {"csv": {"encoding": "Latin1"}}, {"csv": {"encoding": "Windows1252"}}, {"format": "CSV"})
    assert len({settings(**said) for said in declared}) == len(declared)
    assert settings() == settings(uri="pvc://d/elsewhere.csv", digest="sha256:" + "0" * 64)
    assert (
        settings() == "sha256:577024835251be24389bf06d77f5e77795a8fd507d52c90b9b9745cb35c7d277"
    )  # as before either could be declared


def test_what_is_declared_for_a_metric_is_a_setting():
    case = Case()
    first = case.compute()
    dearer = case.compute(error_costs=(*COSTS[:1], COSTS[1].model_copy(update={"cost": "2"})))
    other = case.compute(task=case.task.model_copy(update={"beta": "3"}))
    assert len({computed.inputs.settings for computed in (first, dearer, other)}) == 3
    assert find(dearer, "expected_cost").estimate > find(first, "expected_cost").estimate
    assert (first.currency, case.compute(error_costs=()).currency) == ("EUR", None)


def test_nothing_is_measured_with_a_number_that_is_not_declared():
    case = Case("Multiclass")
    plain = case.compute(task=spec.Task(type="Multiclass", target="y", id="id"), error_costs=())
    names = {estimate.quantity.metric for estimate in plain.estimates}
    assert names & {"f_beta", "top_k_accuracy", "expected_cost"} == set()
    assert {"f1_weighted", "matthews_corrcoef"} <= names


def test_the_costs_of_an_unknown_class_cost_only_their_own_number():
    case = Case()
    computed = case.compute(error_costs=(spec.ErrorCost(actual="bad", predicted="0", cost="5", currency="EUR"),))
    fault = find(computed, "expected_cost").fault
    assert fault.code == "UnknownClass"
    assert "'bad'" in fault.message
    assert find(computed, "recall").fault is None


@pytest.mark.row("G4/cost")
def test_an_error_without_a_cost_is_not_free():
    """Else a model that makes no other error looks cheapest of all."""
    fault = find(Case().compute(error_costs=COSTS[:1]), "expected_cost").fault
    assert fault.code == "MissingCosts"
    assert "actual '0', predicted '1': give" in fault.message
    several = find(Case("Multiclass").compute(error_costs=COSTS), "expected_cost").fault
    assert several.code == "MissingCosts"
    assert "; and 1 more" in several.message
    assert find(Case("Multiclass").compute(), "expected_cost").fault is None


@pytest.mark.row("G4/cost")
@pytest.mark.parametrize("kind", ["Binary", "Multiclass"])
def test_costs_are_those_of_the_named_classes(kind):
    case = Case(kind)
    chosen = case.split.rows("test")
    actual = np.array(case.table["y"])[chosen]
    values = case.answers.values[chosen]
    label = values.argmax(axis=1) if kind == "Multiclass" else (values >= 0.5).astype(int)
    cost = 5.0 * np.mean((actual == 1) & (label == 0)) + 1.5 * np.mean((actual == 0) & (label == 1))
    assert find(case.compute(), "expected_cost").estimate == pytest.approx(cost)


@pytest.mark.row("G4/by-class")
def test_every_class_is_measured_against_all_others():
    case = Case("Multiclass")
    computed = case.compute()
    chosen = case.split.rows("test")
    actual, label = np.array(case.table["y"])[chosen], case.answers.values[chosen].argmax(axis=1)
    for place, name in enumerate(("0", "1", "2")):
        recall = find(computed, "recall", of_class=name)
        assert recall.estimate == pytest.approx(np.mean(label[actual == place] == place))
        assert isinstance(recall.interval, Beta)
        assert recall.interval.trials == np.count_nonzero(actual == place)
        assert find(computed, "f_beta", of_class=name, versus="linear").reference is not None
    assert not [e for e in Case().compute().estimates if e.quantity.of_class is not None]


def test_too_many_classes_are_told_not_measured_one_by_one(monkeypatch):
    monkeypatch.setattr("mandate.measure.judge.MAX_CLASSES", 2)
    computed = Case("Multiclass").compute()
    assert not [e for e in computed.estimates if e.quantity.of_class is not None]
    assert "3 classes: none of them is measured by itself, 2 would be at most" in computed.findings


@pytest.mark.row("G4/calibration")
def test_reliability_is_of_the_test_rows_and_of_probabilities():
    case = Case()
    found = case.compute().reliability
    assert sum(item.rows for item in found.bins) == np.count_nonzero(case.split.rows("test"))
    assert 0 < found.error < 1
    assert Case("Multiclass").compute().reliability is not None
    assert Case("Regression").compute().reliability is None
    broken = case.answers.values.copy()
    broken[np.flatnonzero(case.split.rows("test"))[0]] = np.nan
    assert case.compute(answers=Answers(values=broken)).reliability is None


def test_a_perfect_model_has_no_bounded_auc():
    case = Case()
    computed = case.compute(answers=Answers(values=np.array(case.table["y"]) * 0.8 + 0.1))
    found = find(computed, "roc_auc")
    assert found.estimate == 1.0
    assert isinstance(found.interval, Unbounded)


def sliced(*declared):
    return spec.Data(source=spec.TableSource(uri="t.csv"), slices=declared)


@pytest.mark.row("T2/crosses")
def test_quantiles_and_crosses_are_measured_and_their_edges_kept():
    case = Case()
    age, sex = spec.Slice(name="age", column="age", quantiles=3), SLICES[1]
    computed = case.compute(data=sliced(age, sex, spec.Slice(name="both", cross=("sex", "age"))))
    (edges,) = computed.edges
    ages = np.array(case.table["age"])
    assert edges.slice == "age"
    assert edges.rows == case.split.rows("train").sum()
    assert edges.edges == tuple(np.sort(ages[case.split.rows("train")])[[edges.rows // 3, 2 * edges.rows // 3]])
    found = find(computed, "accuracy", slice="both", value=f"f × {edges.values[1]}")
    low, high = edges.edges
    mask = (ages >= low) & (ages < high) & (np.array(case.table["sex"]) == "f") & case.split.rows("test")
    assert found.support.rows == mask.sum()
    right = (case.answers.values >= 0.5) == np.array(case.table["y"])
    assert found.estimate == pytest.approx(right[mask].mean())
    across = find(computed, "accuracy", across="both", shape="difference")
    assert len(across.interval.pairs) == 6 * 5 / 2
    other = case.compute(data=sliced(age, sex))
    assert other.inputs.settings != computed.inputs.settings


def test_rows_of_validation_and_test_have_no_say_in_edges():
    case = Case()
    held_out = ~case.split.rows("train")
    ages = np.array(case.table["age"])
    changed = case.table.set_column(
        case.table.column_names.index("age"), "age", pa.array(np.where(held_out, ages + 1000, ages))
    )
    declared = sliced(spec.Slice(name="age", column="age", quantiles=4))
    assert case.compute(table=changed, data=declared).edges == case.compute(data=declared).edges


@pytest.mark.row("D3/parts")
def test_a_sensitive_value_without_test_rows_is_a_fault_there_and_across():
    case = Case()
    sex = np.array(case.table["sex"]).astype(object)
    sex[np.flatnonzero(case.split.rows("train"))[:5]] = "x"
    sex[np.flatnonzero(case.split.rows("test"))[0]] = "y"
    table = case.table.set_column(case.table.column_names.index("sex"), "sex", pa.array(sex))
    computed = case.compute(table=table)
    assert find(computed, "recall", slice="sex", value="x").fault.code == "NoRows"
    spread = find(computed, "selection_rate", across="sex", shape="ratio")
    assert spread.fault.code == "NoRows"
    assert spread.fault.message.startswith("x: none of its 5 rows is a test row")
    assert "slice 'sex', values in train and not in test, so nothing is shown of them: 'x'" in computed.findings
    assert "slice 'sex', values in test and not in train, so the model can't have learnt them: 'y'" in computed.findings
    plain = case.compute(table=table, data=sliced(spec.Slice(name="sex", column="sex")))
    assert not [e for e in plain.estimates if e.quantity.value == "x"]


@pytest.mark.row("T2/gated")
def test_a_slice_that_cannot_be_had_is_a_fault_wherever_a_gate_may_ask():
    case = Case()
    declared = sliced(spec.Slice(name="who", column="id"), spec.Slice(name="both", cross=("who", "sex")), SLICES[1])
    computed = case.compute(data=declared)
    for name in ("who", "both"):
        assert find(computed, "accuracy", slice=name).fault.code == "TooManyValues"
        assert find(computed, "accuracy", across=name, shape="ratio").fault.code == "TooManyValues"
    assert len(computed_bytes(computed)) < 2 * len(computed_bytes(case.compute(data=sliced(SLICES[1]))))


@pytest.mark.row("G4/quantiles")
def test_one_quantile_is_measured_beside_the_others_and_the_references():
    case = Case("Regression")
    computed = case.compute(champion=Answers(values=case.answers.values + 0.5))
    rows, actual = case.split.rows("test"), np.array(case.table["y"])
    found = []
    for place, level in enumerate((0.1, 0.5, 0.9)):
        missed = (actual - case.answers.values[:, place])[rows]
        own = find(computed, "pinball_loss", quantile=str(level))
        assert own.estimate == pytest.approx(np.mean(np.where(missed > 0, level * missed, (level - 1) * missed)))
        training = np.quantile(actual[case.split.rows("train")], level, method="inverted_cdf")
        missed = (actual - training)[rows]
        versus = find(computed, "pinball_loss", quantile=str(level), versus="median")
        assert versus.reference == pytest.approx(np.mean(np.where(missed > 0, level * missed, (level - 1) * missed)))
        assert find(computed, "pinball_loss", quantile=str(level), versus="champion").fault is None
        found.append(own.estimate)
    assert find(computed, "pinball_loss").estimate == pytest.approx(np.mean(found))
    assert find(computed, "pinball_loss", versus="linear").fault.code == "NoQuantiles"


def test_the_median_is_the_answer_where_one_number_is_asked_for():
    case = Case("Regression")
    task = case.task.model_copy(update={"quantiles": None})
    model = case.model.model_copy(update={"output": spec.ModelOutput(kind="Value")})
    alone = case.compute(task=task, model=model, answers=Answers(values=case.answers.values[:, 1]))
    assert {e.quantity.metric for e in alone.estimates} & {"pinball_loss", "interval_coverage"} == set()
    for metric in ("mean_absolute_error", "root_mean_squared_error", "r2", "bias"):
        assert find(alone, metric) == find(case.compute(), metric)


def test_an_infinite_quantile_is_no_answer_and_too_few_are_none():
    case = Case("Regression")
    values = case.answers.values.copy()
    values[np.flatnonzero(case.split.rows("test"))[0], 2] = np.inf
    computed = case.compute(answers=Answers(values=values))
    assert find(computed, "finite_answers").estimate < 1
    assert find(computed, "pinball_loss").fault.code == "NonFinitePredictions"
    assert find(computed, "mean_absolute_error").fault.code == "NonFinitePredictions"
    computed = case.compute(answers=Answers(values=values[:, :2]))
    assert find(computed, "pinball_loss").fault.code == "WrongShape"
    assert find(computed, "crossed_quantiles").estimate == case.split.rows("test").sum()


def test_units_and_what_people_said_of_rows_dont_go_together():
    case = Case()
    case.annotate(2)
    owner = pa.array([f"u{index // 3}" for index in range(1500)])
    split = Split(part=np.repeat(np.array([0, 2], np.int8), [900, 600]), keys=case.split.keys, digest=case.split.digest)
    computed = case.compute(
        table=case.table.append_column("owner", owner),
        split=split,
        task=case.task.model_copy(update={"unit": spec.Unit(column="owner", answers="Mean", labels="Max")}),
        data=case.data.model_copy(update={"slices": (spec.Slice(name="who", column="id"),)}),
    )
    assert find(computed, "cohen_kappa").fault.code == "UnitsAnnotated"
    assert find(computed, "accuracy", slice="who").fault.code == "TooManyValues"
    assert find(computed, "accuracy").support.rows == 200


def test_errors_whose_squares_overflow_have_no_interval():
    case = Case("Regression", rows=300)
    values = case.answers.values * 1.0
    values[::3] *= 1e160
    computed = case.compute(answers=Answers(values=values))
    found = find(computed, "mean_absolute_error")
    assert found.estimate > 1e150
    assert found.interval.reason == "the numbers are so large that their squares overflow"
    assert isinstance(find(computed, "mean_absolute_error", versus="median").interval, Unbounded)
    assert find(computed, "root_mean_squared_error").fault.code == "Overflow"


@pytest.mark.parametrize("kind", TASKS)
def test_the_number_of_threads_changes_nothing(kind):
    case = Case(kind)
    assert computed_bytes(case.compute(workers=Threads(3))) == computed_bytes(case.compute())
