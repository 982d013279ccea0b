"""Specs are checked with precise words; the defaults are good specs themselves."""

from __future__ import annotations

import copy
import re

import pytest

from mandate.api.check import SpecError, load_spec, problems
from mandate.api.defaults import effective
from mandate.api.spec import Gate, Serving
from mandate.evidence.measurement import evaluation_spec, revision_digest
from tests.unit.api.specs import (
    ANNOTATIONS,
    BAD,
    CONTAINER,
    ERROR_COST,
    FORECAST,
    GATEWAY,
    GOOD,
    QUANTILES,
    RANKING,
    SLICES,
    changed,
    forecast,
    windowed,
    with_containers,
)


def test_a_good_spec_has_no_problems() -> None:
    assert load_spec(GOOD).gates[1].require.texts() == {"Shadow": ">= 0.50", "Automate": ">= 0.70"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_spec_names_the_field(name: str) -> None:
    document, field = BAD[name]
    with pytest.raises(SpecError) as error:
        load_spec(document)
    assert any(problem.field.startswith(f"spec.{field}") for problem in error.value.problems), error.value


def test_a_gateway_is_named_with_its_host_names() -> None:
    spec = load_spec(changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY}))
    assert spec.serving.gateway is not None
    assert spec.serving.gateway.mirror == "100%"


@pytest.mark.parametrize("more", [{}, {"gateway": GATEWAY}], ids=["alone", "behind a gateway"])
def test_kserve_may_have_a_gateway(more: dict[str, object]) -> None:
    assert load_spec(changed("serving", {"provider": "KServe"} | more)).serving.provider == "KServe"


def test_every_problem_is_named_at_once() -> None:
    document = changed("gates.0.require", {"Suggest": "better than lin"})
    document["gates"][1]["each"] = ["region"]
    with pytest.raises(SpecError) as error:
        load_spec(document)
    assert len(error.value.problems) == 2


MANY = {"kind": "Probability", "classes": ["ant", "bee", "cat"]}


def many(**task: object) -> dict[str, object]:
    """GOOD with three classes, and a gate on one of them."""
    document = changed("model.output", MANY)
    document["task"] = {"type": "Multiclass", "target": "kind", "time": "at", "cluster": "who"} | task
    document["gates"] = [{"name": "bees", "metric": "recall", "class": "bee", "require": {"Shadow": ">= 0.5"}}]
    return document


def test_one_class_may_be_gated() -> None:
    assert load_spec(many(beta="0.5", topK=2)).gates[0].class_ == "bee"


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"class": "be"}, "did you mean bee?"),
        ({"metric": "balanced_accuracy"}, "belongs to precision, recall, f1, f_beta of Multiclass tasks"),
        ({"metric": "top_k_accuracy"}, "needs spec.task.topK"),
        ({"rows": "train"}, "measured on all test rows"),
    ],
)
def test_one_class_is_asked_where_it_is_measured(gate: dict[str, object], words: str) -> None:
    document = many()
    document["gates"][0] |= gate  # type: ignore[index]
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(document)


def ranking(path: str, value: object) -> dict[str, object]:
    """RANKING with one value replaced, or added."""
    document = copy.deepcopy(RANKING)
    *parents, last = path.split(".")
    node = document
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return document


def test_rankings_are_good_specs_and_have_default_gates() -> None:
    assert load_spec(RANKING).task.query == "search"
    default = effective(load_spec(ranking("gates", [])))
    asked = {gate.name: (gate.metric, gate.require.automate) for gate in default.gates if gate.metric != "shared_rows"}
    assert asked == {
        "finite-answers": ("finite_answers", None),
        "beats-random": ("ndcg_at_k", "better than random by 5 %"),
        "beats-popularity": ("ndcg_at_k", "better than popular by 5 %"),
        "champion": ("ndcg_at_k", "no worse than champion by 1 %"),
    }
    plain = {**ranking("task.topK", ...), "gates": [], "baselines": []}
    default = effective(load_spec(plain))
    assert [gate.metric for gate in default.gates] == ["finite_answers", "shared_rows", "ndcg_at_k", "ndcg_at_k"]
    assert default.task.top_k == 10
    assert evaluation_spec("search", load_spec(plain)).task.top_k == 10
    assert "random" in {baseline.name for baseline in default.baselines}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("task.query", None, "needs the column that says which rows are ranked together"),
        ("task.query", "relevance", "'relevance' is task.target or task.id"),
        ("task.unit", {"column": "u", "answers": "Mean", "labels": "Mean"}, "a Ranking is measured by query"),
        ("task.beta", "2", "belongs to classification tasks"),
        ("task.topK", None, "needs spec.task.topK"),
        ("model.output.kind", "Probability", "a Ranking task needs Value"),
        ("data.search", {"minRows": 50}, "a Ranking's rows have no error of their own"),
        ("data.sampling", [{"class": "a", "kept": "0.5"}], "is of classes, and a Ranking task has none"),
        ("useCase.errorCosts", [ERROR_COST], "are of classes, and a Ranking task has none"),
        ("baselines.1.seed", 3, "a Ranking's random order is the mean of all orders"),
        (
            "baselines.1.type",
            "Linear",
            "'Linear' isn't for Ranking tasks; for those there are Uniform, Column, Container, Popularity",
        ),
        ("gates.1.rows", "live", "precision_at_k"),
        ("gates.1.metric", "accuracy", "accuracy"),
    ],
)
def test_what_does_not_fit_a_ranking_is_refused(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(ranking(path, value))


def quantiles(path: str, value: object) -> dict[str, object]:
    """QUANTILES with one value replaced."""
    document = copy.deepcopy(QUANTILES)
    *parents, last = path.split(".")
    node = document
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    return document


def test_quantiles_may_be_gated() -> None:
    spec = load_spec(QUANTILES)
    assert spec.gates[0].quantile == "0.95"
    default = effective(load_spec(quantiles("gates", [])))
    assert {gate.metric for gate in default.gates} >= {"pinball_loss"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("task.quantiles", ["0.5", "0.05"], "got 0.5, 0.05, must rise from above 0"),
        ("task.quantiles", ["0.05", "0.95"], "must hold 0.5"),
        ("task.quantiles", ["0.05", "0.50"], "task.quantiles"),
        ("task.quantiles", ["0.5", "1.0"], "task.quantiles"),
        ("task.quantiles", ["0.0", "0.5"], "task.quantiles"),
        ("task.quantiles", None, "belongs to model.output.kind Quantiles: set both or neither"),
        ("model.output.kind", "Value", "belongs to model.output.kind Quantiles: set both or neither"),
        ("gates.0.quantile", "0.9", "'0.9' isn't among task.quantiles: 0.05, 0.5, 0.95"),
        ("gates.0.metric", "mean_absolute_error", "belongs to pinball_loss; remove it"),
        ("gates.0.rows", "train", "one quantile is measured on all test rows"),
    ],
)
def test_quantiles_that_do_not_fit_are_refused(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(quantiles(path, value))


def test_forecasts_are_gated_by_each_horizon() -> None:
    spec = load_spec(FORECAST)
    assert [gate.horizon for gate in spec.gates] == ["Each", "7", None]
    default = {gate.name: gate for gate in effective(load_spec(forecast("gates", []))).gates}
    assert default["beats-naive"].horizon == "Each"
    assert default["beats-naive"].require.texts() == {"Shadow": "<= 1.1", "Suggest": "<= 1", "Automate": "<= 0.95"}
    alone = {**forecast("task.horizon", ...), "gates": []}
    assert {gate.horizon for gate in effective(load_spec(alone)).gates} == {None}


def test_windows_may_be_gated() -> None:
    spec = load_spec(windowed("metric", "recall"))
    assert (spec.gates[0].window, spec.gates[1].window) == ("Each", None)
    assert spec.data.windows is not None
    assert spec.data.windows.length == "Month"
    assert load_spec(changed("data.windows", {"count": 5000})).data.windows is not None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            changed("data.windows", {}),
            "spec.data.windows: set either length, such as Month or 30d, or count; got neither",
        ),
        (
            changed("data.windows", {"length": "30d", "count": 500}),
            "spec.data.windows: set either length, such as Month or 30d, or count; got length '30d' and count 500",
        ),
        (changed("data.windows", {"length": "30"}), "spec.data.windows.length: got '30', expected Hour, Day, Week"),
        (
            changed("data.windows", {"count": 50, "timeZone": "Europe/Berlin"}),
            "spec.data.windows.timeZone: got 'Europe/Berlin', which belongs to length; leave it out",
        ),
        (
            {**changed("task.time", ...), "data": {"test": {"uri": "t.csv"}, "windows": {"length": "Month"}}},
            "spec.data.windows.length: got 'Month', but spec.task.time, the column that says when a row happened, is",
        ),
        (
            changed("gates.0.window", "Each"),
            "spec.gates[0].window: got 'Each', but spec.data.windows isn't declared; declare how long windows are",
        ),
        (
            windowed("each", ["age"], rows="train"),
            "spec.gates[0].window: windows are of all test rows: leave each, rows out",
        ),
        (
            windowed("metric", "leaks", require={"Shadow": "<= 0"}),
            "spec.gates[0].window: got 'Each': leaks is no number of answers and labels, which windows have; remove it",
        ),
        (
            windowed("require", {"Suggest": "better than linear"}),
            "spec.gates[0].require.Suggest: 'better than linear': windows are held against numbers only",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused(document: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(document)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("task.time", ..., "a Forecast task needs the column that says which time a forecast is for"),
        ("task.horizon", "shop", "'shop' is task.series already; name another column"),
        ("task.series", "sold", "'sold' is task.target already"),
        ("task.beta", "2", "belongs to classification tasks"),
        ("task.quantiles", ["0.1", "0.5"], "belongs to model.output.kind Quantiles"),
        ("model.output.kind", "Quantiles", "got 'Quantiles': a Forecast task needs Value"),
        ("data.split.method", "Group", "got 'Group': it trains on what comes after a test row"),
        ("data.sampling", [{"class": "a", "kept": "0.5"}], "is of classes, and a Forecast task has none"),
        ("gates.1.horizon", "7.0", "expected Each, or whole steps from 1 on, such as 7"),
        ("gates.1.each", ["overall"], "one horizon is measured on all test rows"),
        ("gates.1.metric", "r2", "Forecast tasks don't have this metric"),
    ],
)
def test_forecasts_that_do_not_fit_are_refused(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(forecast(path, value))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (many(unit={"column": "video", "answers": "Max", "labels": "Last"}), "several classes have no largest"),
        (
            changed(
                "task", {**GOOD["task"], "time": None, "unit": {"column": "v", "answers": "Last", "labels": "Max"}}
            ),
            "needs task.time where it takes the last row",
        ),
        (
            {
                **changed("model.output", {"kind": "Label"}),
                "task": {**GOOD["task"], "unit": {"column": "v", "answers": "Mean", "labels": "Max"}},
                "gates": [],
            },
            "labels have no mean: must be Max or Last",
        ),
    ],
    ids=["several classes", "no time", "labels"],
)
def test_units_that_do_not_fit_are_refused(document: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(document)


def test_all_classes_are_no_top() -> None:
    with pytest.raises(SpecError, match="must be below the number of classes"):
        load_spec(many(topK=3))


@pytest.mark.row("G4/defaults")
@pytest.mark.parametrize("task", ["Binary", "Multiclass", "Regression"])
def test_default_gates_are_good_specs(task: str) -> None:
    document = changed("gates", ...)
    document["task"]["type"] = task
    del document["baselines"]
    document["data"]["slices"][1]["sensitive"] = True
    if task != "Binary":
        del document["task"]["positive"]
    document["model"]["output"] = {
        "Binary": {"kind": "Probability"},
        "Multiclass": {"kind": "Probability", "classes": ["a", "b"]},
        "Regression": {"kind": "Value"},
    }[task]
    filled = effective(load_spec(document))
    assert filled.gates
    assert problems(filled) == ()


def built_in(path: str = "model.version", value: object = "7") -> dict[str, Gate]:
    """The built-in gates by name, of GOOD without its own gates and baselines and with one value replaced."""
    document = changed(path, value)
    del document["baselines"], document["gates"]
    filled = effective(load_spec(document))
    assert problems(filled.model_copy(update={"serving": Serving()})) == ()
    return {gate.name: gate for gate in filled.gates}


@pytest.mark.row("G4/defaults")
def test_a_server_may_not_crash_and_is_held_to_the_declared_latency() -> None:
    gates = built_in()
    assert gates["no-crashes"].require.texts() == {"Suggest": "<= 0"}
    assert (gates["no-crashes"].metric, gates["no-crashes"].load) == ("crashes", None)
    assert "latency" not in gates
    gates = built_in("serving", {"latency": {"p99": "40ms", "load": "50/s"}})
    assert (gates["no-crashes"].require.suggest, gates["no-crashes"].load) == ("<= 0", "50/s")
    assert (gates["latency"].metric, gates["latency"].load) == ("latency_p99", "50/s")
    assert gates["latency"].require.texts() == {"Automate": "<= 40ms"}
    assert {"no-crashes", "latency"}.isdisjoint(built_in("model.source", {"columns": ["score"]})), "nothing is served"


@pytest.mark.row("G4/defaults")
def test_answers_that_are_labels_are_held_against_the_most_frequent() -> None:
    gates = built_in("model.output", {"name": "label", "kind": "Label"})
    assert gates["beats-most-frequent"].require.texts() == {
        "Shadow": "better than most-frequent",
        "Automate": "no worse than linear by 0.01",
    }
    assert gates["champion"].metric == gates["beats-most-frequent"].metric == "balanced_accuracy"


@pytest.mark.row("G4/defaults")
def test_tier_high_asks_the_same_of_every_declared_slice() -> None:
    assert "beats-baseline-slices" not in built_in()
    sliced = built_in("useCase", {"riskTier": "High"})["beats-baseline-slices"]
    assert sliced.each == ("age", "sex")
    assert sliced.require.texts() == {"Suggest": "better than prior", "Automate": "better than linear"}
    high = {**forecast("gates", []), "useCase": {"riskTier": "High"}}
    high["data"]["slices"] = [{"name": "region", "column": "region"}]
    filled = effective(load_spec(high))
    assert problems(filled) == ()
    (sliced,) = (gate for gate in filled.gates if gate.each)
    assert (sliced.metric, sliced.require.texts()) == ("mase", {"Suggest": "<= 1", "Automate": "<= 0.95"})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (changed("serving", {"latency": {"p99": "40ms", "load": "50/s"}}), "add {name: latency, metric: latency_p99"),
        (
            {**FORECAST, "gates": [], "serving": {"latency": {"p99": "40ms", "load": "50/s"}}},
            "columns of answers aren't served",
        ),
        (changed("serving", {"latency": {"p99": "40", "load": "50/s"}}), "spec.serving.latency.p99"),
        (changed("serving", {"latency": {"p99": "40ms"}}), "spec.serving.latency.load"),
    ],
)
def test_a_latency_that_nothing_holds_anybody_to_is_refused(document: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(document)


def test_own_gates_are_kept_as_they_are() -> None:
    spec = load_spec(GOOD)
    assert effective(spec) is spec


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.sauce", "x", "did you mean source?"),
        ("gates.1.metrik", "x", "did you mean metric?"),
        ("gates.0.metric", "auc", "did you mean roc_auc?"),
        ("use_case", {}, "did you mean useCase?"),
        ("model.output.cutoff", 0.5, "put it in quotes"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(changed(path, value))
    assert words in str(error.value)


def test_slices_by_quantiles_and_crosses_are_good_specs() -> None:
    slices = [
        {"name": "age", "column": "age", "quantiles": 4},
        {"name": "sex", "column": "sex"},
        {"name": "both", "cross": ["sex", "age"], "sensitive": True},
    ]
    spec = load_spec(changed("data.slices", slices))
    assert spec.data.slices[2].of == "sex × age"
    asked = {gate.across for gate in effective(spec.model_copy(update={"gates": ()})).gates}
    assert "both" in asked


@pytest.mark.parametrize(
    ("cross", "words"),
    [
        (["age", "sx"], "'sx': unknown slice; did you mean sex?; slices with a column are age, sex"),
        (["age", "more"], "'more': is a cross itself; slices with a column are age, sex"),
        (["age", "age"], "['age', 'age']: a slice can't be crossed with itself; name another"),
    ],
)
def test_a_bad_cross_is_told_by_name(cross: list[str], words: str) -> None:
    slices = [*SLICES, {"name": "more", "cross": ["sex", "age"]}, {"name": "both", "cross": cross}]
    with pytest.raises(SpecError, match=re.escape(words)):
        load_spec(changed("data.slices", slices))


def test_gates_say_what_is_measured_at_the_server() -> None:
    prices = {"cpuHour": "0.04", "gibHour": "0.005", "currency": "EUR"}
    document = changed("serving", {"prices": prices})
    plain = evaluation_spec("credit", load_spec(document))
    assert (plain.service, plain.serving.prices) == ((), None)
    document["gates"] = [{"name": "budget", "metric": "cost_per_million", "require": {"Shadow": "<= 0.5"}}]
    asked = evaluation_spec("credit", load_spec(document))
    assert asked.service == ("Capacity",)
    assert asked.serving.prices is not None
    assert revision_digest("credit", load_spec(document)) == revision_digest("credit", load_spec(GOOD))


def test_what_looks_back_needs_a_time() -> None:
    document = changed("baselines.0", {"name": "prior", "type": "LastPeriodMean", "period": "Week", "by": ["region"]})
    assert load_spec(document).baselines[0].period == "Week"
    document["data"]["split"] = {"method": "Random"}
    del document["task"]["time"]
    with pytest.raises(SpecError, match=r"spec.baselines\[0\].type: 'LastPeriodMean' looks back in time and needs"):
        load_spec(document)


def test_a_baseline_says_which_types_a_field_belongs_to_and_which_types_a_task_has() -> None:
    document = changed("baselines.0", {"name": "prior", "type": "Median", "seed": 1})
    with pytest.raises(SpecError) as error:
        load_spec(document)
    told = {problem.field: problem.message for problem in error.value.problems}
    assert told["spec.baselines[0].seed"] == (
        "belongs to type Uniform or Stratified or Human, this one is Median; leave it out"
    )
    assert "for those there are Prior, MostFrequent" in told["spec.baselines[0].type"]


@pytest.mark.row("B1/container")
def test_containers_may_be_compared_with() -> None:
    declared = CONTAINER | {"port": 9000, "output": "score", "inputs": {"columns": ["amount"], "encoding": "Matrix"}}
    _, _, own, other = load_spec(
        with_containers(declared | {"resources": {"limits": {"cpu": "2"}}}, CONTAINER)
    ).baselines
    assert own.container is not None
    assert own.container.inputs is not None
    assert (own.container.port, own.container.output, own.container.inputs.encoding) == (9000, "score", "Matrix")
    assert other.container is not None
    assert (other.container.port, other.container.inputs, other.container.resources) == (8082, None, None)
    listening = with_containers(CONTAINER | {"port": 8080})
    listening["model"]["source"] = {"columns": ["p"]}
    del listening["gates"][3]
    assert load_spec(listening).baselines[2].container is not None, "nothing else listens there"


@pytest.mark.parametrize(
    ("document", "field", "told"),
    [
        (
            with_containers(CONTAINER, CONTAINER),
            "[2].container.port",
            "got 8082, which another baseline's container has",
        ),
        (
            with_containers(CONTAINER | {"port": 8081}),
            "[2].container.port",
            "got 8081, where the champion listens: all",
        ),
        (with_containers(CONTAINER | {"port": 8080}), "[2].container.port", "got 8080, where the model listens: all"),
        (with_containers({"image": "repo/rival:7"}), "[2].container.image", "expected an image by its digest"),
        (
            with_containers(*(CONTAINER | {"port": port} for port in (9001, 9002, 9003))),
            "",
            "got 3 of type Container (rival-0, rival-1, rival-2), expected at most 2",
        ),
        (
            with_containers(CONTAINER | {"resources": {"limits": {"cpu": 2}}}),
            "[2].container.resources.limits.cpu",
            "got 2, expected a quantity in quotes",
        ),
        (
            {**with_containers(CONTAINER), "model": {"version": "7", "source": {"columns": ["p"]}}},
            "[2].container.inputs",
            "is needed where spec.model.inputs isn't declared",
        ),
        (
            changed("baselines.0", {"name": "prior", "type": "Container"}),
            "[0].container",
            "is needed by type Container; declare it",
        ),
        (
            changed("baselines.0.container", CONTAINER),
            "[0].container",
            "belongs to type Container, this one is Prior; leave it out",
        ),
    ],
)
def test_a_container_that_cannot_be_asked_is_refused(document: dict[str, object], field: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(document)
    found = {problem.field: problem.message for problem in error.value.problems}
    assert told in found[f"spec.baselines{field}"]


def test_rankings_are_served_and_held_against_containers() -> None:
    """A model that runs has the built-in gates of its server, too; its answers are scores of rows, as a column's."""
    document = ranking("baselines", [{"name": "rival", "type": "Container", "container": CONTAINER}])
    document |= {"model": {**GOOD["model"], "output": {"name": "score", "kind": "Value"}}, "gates": []}
    assert load_spec(document).model.source.columns is None
    names = {gate.name for gate in effective(load_spec(document)).gates}
    assert names >= {"beats-random", "no-crashes"}


def people(**gate: object) -> dict[str, object]:
    """GOOD with annotators, and a gate against them."""
    document = changed("data.annotations", ANNOTATIONS)
    document["task"]["id"] = "application"
    document["baselines"].append({"name": "officers", "type": "Human", "against": "Others"})
    require = {"Shadow": "no worse than officers by 0.05"}
    document["gates"][1] = {
        "name": "human",
        "metric": "accuracy",
        "each": ["overall", "age"],
        "require": require,
    } | gate
    return document


def test_people_may_be_compared_with() -> None:
    assert load_spec(people()).baselines[2].type == "Human"
    agree = people(metric="fleiss_kappa", each=["overall"], require={"Shadow": ">= 0.4"})
    assert load_spec(agree).gates[1].metric == "fleiss_kappa"


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ({"metric": "log_loss", "each": ["overall"]}, "'officers' is people, who give labels: log_loss needs more"),
        ({"metric": "fleiss_kappa", "require": {"Shadow": ">= 0.4"}}, "fleiss_kappa is measured overall only"),
        ({"metric": "cohen_kappa", "each": ["overall"]}, "cohen_kappa has nothing to be compared with"),
    ],
)
def test_people_give_labels(gate: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        load_spec(people(**gate))


def test_numbers_have_no_annotations() -> None:
    document = people()
    document["task"]["type"] = "Regression"
    with pytest.raises(SpecError, match=r"spec\.data\.annotations: are of classes, and a Regression task has none"):
        load_spec(document)
