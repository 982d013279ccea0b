"""The gates and baselines that a spec without its own gets: the table of default gates, by task and columns."""

from __future__ import annotations

from .criteria import Level
from .kinds import ModelDeploymentSpec
from .spec import Baseline, Gate, Require


def effective(spec: ModelDeploymentSpec) -> ModelDeploymentSpec:
    """The spec with what it leaves out filled in; a spec that declares gates is returned as it is."""
    if spec.gates:
        return spec
    declared = {baseline.name for baseline in spec.baselines}
    added = tuple(baseline for baseline in default_baselines(spec) if baseline.name not in declared)
    return spec.model_copy(update={"gates": default_gates(spec), "baselines": (*spec.baselines, *added)})


def default_baselines(spec: ModelDeploymentSpec) -> tuple[Baseline, ...]:
    """What the default gates compare with."""
    match spec.task.type:
        case "Binary":
            return Baseline(name="prior", type="Prior"), Baseline(name="linear", type="Linear")
        case "Multiclass":
            return Baseline(name="most-frequent", type="MostFrequent"), Baseline(name="linear", type="Linear")
        case "Regression":
            return (Baseline(name="median", type="Median"),)
        case "Ranking":
            return (Baseline(name="random", type="Uniform"),)


def default_gates(spec: ModelDeploymentSpec) -> tuple[Gate, ...]:
    """The built-in gates for the spec's task, slices and output."""
    gates = [
        _gate("finite-answers", "finite_answers", {"Shadow": ">= 1"}),
        _gate("no-shared-rows", "shared_rows", {"Shadow": "<= 0"}),
    ]
    match spec.task.type:
        case "Binary":
            gates += _binary(spec)
        case "Multiclass":
            gates += [
                _gate(
                    "beats-most-frequent",
                    "balanced_accuracy",
                    {"Shadow": "better than most-frequent", "Automate": "no worse than linear by 0.01"},
                ),
                _champion("balanced_accuracy"),
            ]
        case "Regression":
            primary = "mean_absolute_error" if spec.task.quantiles is None else "pinball_loss"
            gates += [
                _gate(
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
            gates += [
                _gate(
                    "beats-random",
                    "ndcg",
                    {"Shadow": "better than random", "Automate": "better than random by 5 %"},
                ),
                _champion("ndcg"),
            ]
    return tuple(gates)


def _binary(spec: ModelDeploymentSpec) -> list[Gate]:
    gates = []
    if spec.model.output.kind == "Probability":
        gates += [
            _gate("beats-baseline", "log_loss", {"Shadow": "better than prior", "Automate": "better than linear"}),
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
) -> Gate:
    optional = {"each": each, "across": across, "as": shape, "firstModel": first_model}
    return Gate.model_validate(
        {"name": name, "metric": metric, "rows": on, "require": Require.model_validate(require)}
        | {key: value for key, value in optional.items() if value is not None}
    )
