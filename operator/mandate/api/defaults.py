"""The gates and baselines that a spec without its own gets: the table of default gates, by task and columns."""

from __future__ import annotations

from .criteria import Level
from .kinds import ModelDeploymentSpec
from .spec import EACH, Baseline, Gate, Require

PLACES = 10
"""Of a ranking that count, where task.topK doesn't say."""


def effective(spec: ModelDeploymentSpec) -> ModelDeploymentSpec:
    """The spec with what it leaves out filled in; a spec that declares gates is returned as it is."""
    if spec.gates:
        return spec
    declared = {baseline.name for baseline in spec.baselines}
    added = tuple(baseline for baseline in default_baselines(spec) if baseline.name not in declared)
    filled: dict[str, object] = {"gates": default_gates(spec), "baselines": (*spec.baselines, *added)}
    if spec.task.type == "Ranking" and spec.task.top_k is None:
        filled["task"] = spec.task.model_copy(update={"top_k": PLACES})
    return spec.model_copy(update=filled)


def are_built_in(spec: ModelDeploymentSpec) -> bool:
    """Whether the spec has no gates of its own, also once `effective` has filled them in."""
    return spec.gates in ((), default_gates(spec))


def default_baselines(spec: ModelDeploymentSpec) -> tuple[Baseline, ...]:
    """What the default gates compare with."""
    match spec.task.type:
        case "Binary" if spec.model.output.kind == "Probability":
            return Baseline(name="prior", type="Prior"), Baseline(name="linear", type="Linear")
        case "Binary" | "Multiclass":
            return Baseline(name="most-frequent", type="MostFrequent"), Baseline(name="linear", type="Linear")
        case "Regression":
            return (Baseline(name="median", type="Median"),)
        case "Ranking":
            return (Baseline(name="random", type="Uniform"),)
        case "Forecast":
            return ()


def default_gates(spec: ModelDeploymentSpec) -> tuple[Gate, ...]:
    """The built-in gates for the spec's task, slices and output."""
    gates = [
        _gate("finite-answers", "finite_answers", {"Shadow": ">= 1"}),
        _gate("no-shared-rows", "shared_rows", {"Shadow": "<= 0"}),
        *_service(spec),
    ]
    match spec.task.type:
        case "Binary":
            gates += _binary(spec)
        case "Multiclass":
            gates += _classes(spec)
        case "Regression":
            primary = "mean_absolute_error" if spec.task.quantiles is None else "pinball_loss"
            gates += [
                *_everywhere(
                    spec,
                    "beats-median",
                    primary,
                    {
                        "Shadow": "better than median",
                        "Suggest": "better than median by 5 %",
                        "Automate": "better than median by 10 %",
                    },
                ),
                _gate(
                    "unbiased",
                    "standardized_bias",
                    {"Suggest": "within -0.10 .. 0.10", "Automate": "within -0.05 .. 0.05"},
                ),
                _champion(primary),
            ]
        case "Ranking":
            gates += _ranking(spec)
        case "Forecast":
            gates += [
                *_everywhere(
                    spec,
                    "beats-naive",
                    "mase",
                    {"Shadow": "<= 1.1", "Suggest": "<= 1", "Automate": "<= 0.95"},
                    horizon=None if spec.task.horizon is None else EACH,
                ),
                _champion("mase"),
            ]
    return tuple(gates)


def _binary(spec: ModelDeploymentSpec) -> list[Gate]:
    gates = []
    if spec.model.output.kind == "Probability":
        gates += [
            *_everywhere(
                spec, "beats-baseline", "log_loss", {"Shadow": "better than prior", "Automate": "better than linear"}
            ),
            _gate("overfit", "roc_auc", {"Suggest": "<= 0.10", "Automate": "<= 0.05"}, on="train-test"),
            _gate(
                "calibration",
                "observed_expected",
                {"Suggest": "within 0.8 .. 1.25", "Automate": "within 0.9 .. 1.1"},
            ),
            _gate(
                "calibration-slope",
                "calibration_slope",
                {"Suggest": "within 0.7 .. 1.3", "Automate": "within 0.8 .. 1.2"},
            ),
            _champion("roc_auc"),
        ]
        if spec.data.slices:
            gates.append(
                _gate(
                    "slices",
                    "roc_auc",
                    {"Suggest": "no worse than rest by 0.10", "Automate": "no worse than rest by 0.05"},
                    each=tuple(item.name for item in spec.data.slices),
                )
            )
    else:
        gates += _classes(spec)
    for item in spec.data.slices:
        if item.sensitive:
            gates += [
                _gate(
                    f"fair-selection-{item.name}"[:40].rstrip("-"),
                    "selection_rate",
                    {"Suggest": ">= 0.80"},
                    across=item.name,
                    shape="ratio",
                ),
                _gate(
                    f"fair-recall-{item.name}"[:40].rstrip("-"),
                    "recall",
                    {"Suggest": "<= 0.15", "Automate": "<= 0.10"},
                    across=item.name,
                    shape="difference",
                ),
            ]
    return gates


def _classes(spec: ModelDeploymentSpec) -> list[Gate]:
    """Of several classes, or of answers that are labels."""
    return [
        *_everywhere(
            spec,
            "beats-most-frequent",
            "balanced_accuracy",
            {"Shadow": "better than most-frequent", "Automate": "no worse than linear by 0.01"},
        ),
        _champion("balanced_accuracy"),
    ]


def _ranking(spec: ModelDeploymentSpec) -> list[Gate]:
    """Of the first k places, 10 where the spec doesn't say how many count.

    Held against a random order, and against popularity where that is declared: only the user can say which columns
    name an item.
    """
    metric = "ndcg_at_k"
    others = {"beats-random": "random"}
    popular = next((baseline.name for baseline in spec.baselines if baseline.type == "Popularity"), None)
    if popular is not None:
        others["beats-popularity"] = popular
    gates = [
        gate
        for name, other in others.items()
        for gate in _everywhere(
            spec, name, metric, {"Shadow": f"better than {other}", "Automate": f"better than {other} by 5 %"}
        )
    ]
    return [*gates, _champion(metric)]


def _service(spec: ModelDeploymentSpec) -> list[Gate]:
    """Of the serving container: no crash, and the declared latency, both under the declared load."""
    if spec.model.source.columns is not None:
        return []
    latency = spec.serving.latency
    if latency is None:
        return [_gate("no-crashes", "crashes", {"Suggest": "<= 0"})]
    return [
        _gate("no-crashes", "crashes", {"Suggest": "<= 0"}, load=latency.load),
        _gate("latency", "latency_p99", {"Automate": f"<= {latency.p99}"}, load=latency.load),
    ]


def _everywhere(
    spec: ModelDeploymentSpec, name: str, metric: str, require: dict[Level, str], *, horizon: str | None = None
) -> list[Gate]:
    """A gate on all rows; at tier High another one that asks the same of every declared slice, above Shadow."""
    gates = [_gate(name, metric, require, horizon=horizon)]
    if spec.use_case.risk_tier == "High" and spec.data.slices:
        above: dict[Level, str] = {"Suggest": require.get("Suggest", require["Shadow"])}
        above |= {"Automate": require["Automate"]} if "Automate" in require else {}
        slices = tuple(item.name for item in spec.data.slices)
        gates.append(_gate(f"{name}-slices", metric, above, each=slices))
    return gates


def _champion(metric: str) -> Gate:
    return _gate(
        "champion",
        metric,
        {"Suggest": "no worse than champion by 2 %", "Automate": "no worse than champion by 1 %"},
        first_model="Skip",
    )


def _gate(
    name: str,
    metric: str,
    require: dict[Level, str],
    *,
    each: tuple[str, ...] | None = None,
    across: str | None = None,
    shape: str | None = None,
    on: str = "test",
    first_model: str | None = None,
    horizon: str | None = None,
    load: str | None = None,
) -> Gate:
    optional = {"each": each, "across": across, "as": shape, "firstModel": first_model, "horizon": horizon}
    optional["load"] = load
    return Gate.model_validate(
        {"name": name, "metric": metric, "rows": on, "require": Require.model_validate(require)}
        | {key: value for key, value in optional.items() if value is not None}
    )
