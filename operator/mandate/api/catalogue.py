"""The metric catalogue: every metric a gate can name, its direction, unit, tasks and range.

Names and senses are scikit-learn's where it has the metric (`_score` is higher-better, `_loss` lower-better).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

Task = Literal["Binary", "Multiclass", "Regression", "Ranking", "Forecast"]
TASKS: tuple[Task, ...] = ("Binary", "Multiclass", "Regression", "Ranking", "Forecast")
CLASSIFICATION: tuple[Task, ...] = ("Binary", "Multiclass")
NUMBERS: tuple[Task, ...] = ("Regression", "Ranking", "Forecast")
"""Tasks whose target and answers are numbers, not classes."""

Better = Literal["Higher", "Lower", "Nearest"]
"""`Nearest`: better the nearer to `ideal`; such a metric takes limits and ranges, but no `better than`."""

Measurement = Literal["Capacity", "Robustness"]
"""What is measured at the server only where a gate asks for it, since it takes its time."""

Origin = Literal["Computed", "Service", "Clock"]
"""`Computed` from predictions and labels; `Service`: measured at the running server; `Clock`: at the hour at which the
evaluation ran."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric. `low` and `high` bound its values; `needs` is the model output it is computed from."""

    name: str
    title: str
    better: Better
    tasks: tuple[Task, ...]
    low: float = 0.0
    high: float = 1.0
    ideal: float | None = None
    unit: Literal["", "duration"] = ""
    origin: Origin = "Computed"
    fact: bool = False
    """A count over the run itself, exact, without an interval."""
    needs: Literal["Label", "Probability", "Value", "Any"] = "Any"
    groups: bool = True
    """Whether it can be had per slice and compared across groups and with a baseline."""
    spreads: tuple[str, ...] = ()
    """It is the worst of these metrics' spreads over groups, and has no value of its own."""
    by_class: bool = False
    """Whether Multiclass has it of one class against all others, too."""
    by_quantile: bool = False
    """Whether a Regression with quantiles has it of one of them, too."""
    by_horizon: bool = False
    """Whether a Forecast has it of one horizon, too."""
    loaded: bool = False
    """Whether it is measured at a gate's load; a latency needs one."""
    measurement: Measurement | None = None
    """What is measured at the server for it, beyond what always is."""
    declaration: Literal[
        "",
        "task.beta",
        "task.topK",
        "task.quantiles",
        "task.time",
        "useCase.errorCosts",
        "data.annotations",
        "data.annotations.independent",
        "data.domainClassifier",
        "data.production",
        "serving.prices",
    ] = ""
    """The field of the spec without which it isn't measured."""

    @property
    def by_window(self) -> bool:
        """Whether it is measured in windows of the test rows, too."""
        return self.origin == "Computed" and self.groups and not self.fact

    @property
    def is_sample(self) -> bool:
        """Whether measuring it again is another look: what time alone changes tells nothing new when told anew."""
        return self.origin != "Clock"


_METRICS = (
    Metric(name="accuracy", title="Accuracy", better="Higher", tasks=CLASSIFICATION, needs="Label"),
    Metric(name="balanced_accuracy", title="Balanced accuracy", better="Higher", tasks=CLASSIFICATION, needs="Label"),
    Metric(name="precision", title="Precision", better="Higher", tasks=CLASSIFICATION, needs="Label", by_class=True),
    Metric(name="recall", title="Recall", better="Higher", tasks=CLASSIFICATION, needs="Label", by_class=True),
    Metric(name="f1", title="F1", better="Higher", tasks=CLASSIFICATION, needs="Label", by_class=True),
    Metric(
        name="f_beta",
        title="F-beta",
        better="Higher",
        tasks=CLASSIFICATION,
        needs="Label",
        by_class=True,
        declaration="task.beta",
    ),
    Metric(
        name="precision_weighted",
        title="Precision, weighted by class",
        better="Higher",
        tasks=("Multiclass",),
        needs="Label",
    ),
    Metric(name="f1_weighted", title="F1, weighted by class", better="Higher", tasks=("Multiclass",), needs="Label"),
    Metric(
        name="matthews_corrcoef",
        title="Matthews correlation",
        better="Higher",
        tasks=CLASSIFICATION,
        low=-1.0,
        needs="Label",
    ),
    Metric(
        name="top_k_accuracy",
        title="Top-k accuracy",
        better="Higher",
        tasks=("Multiclass",),
        needs="Probability",
        declaration="task.topK",
    ),
    Metric(name="false_positive_rate", title="False positive rate", better="Lower", tasks=("Binary",), needs="Label"),
    Metric(name="specificity", title="Specificity", better="Higher", tasks=("Binary",), needs="Label"),
    Metric(
        name="negative_predictive_value",
        title="Negative predictive value",
        better="Higher",
        tasks=("Binary",),
        needs="Label",
    ),
    Metric(
        name="selection_rate",
        title="Selection rate",
        better="Nearest",
        tasks=("Binary",),
        needs="Label",
    ),
    Metric(
        name="equalized_odds",
        title="Equalized odds (recall and false positive rate)",
        better="Nearest",
        tasks=("Binary",),
        needs="Label",
        groups=False,
        spreads=("recall", "false_positive_rate"),
    ),
    Metric(
        name="expected_cost",
        title="Expected cost of an answer",
        better="Lower",
        tasks=CLASSIFICATION,
        high=math.inf,
        needs="Label",
        declaration="useCase.errorCosts",
    ),
    Metric(name="roc_auc", title="ROC AUC", better="Higher", tasks=("Binary",), needs="Probability"),
    Metric(
        name="average_precision", title="Average precision", better="Higher", tasks=("Binary",), needs="Probability"
    ),
    Metric(
        name="log_loss",
        title="Log loss",
        better="Lower",
        tasks=CLASSIFICATION,
        high=math.inf,
        needs="Probability",
    ),
    Metric(name="brier_score", title="Brier score", better="Lower", tasks=CLASSIFICATION, needs="Probability"),
    Metric(
        name="observed_expected",
        title="Observed / expected",
        better="Nearest",
        ideal=1.0,
        tasks=("Binary",),
        high=math.inf,
        needs="Probability",
    ),
    Metric(
        name="calibration_slope",
        title="Calibration slope",
        better="Nearest",
        ideal=1.0,
        tasks=("Binary",),
        low=-math.inf,
        high=math.inf,
        needs="Probability",
    ),
    Metric(
        name="mean_absolute_error",
        title="Mean absolute error",
        better="Lower",
        tasks=("Regression", "Forecast"),
        high=math.inf,
        needs="Value",
        by_horizon=True,
    ),
    Metric(
        name="root_mean_squared_error",
        title="Root mean squared error",
        better="Lower",
        tasks=("Regression", "Forecast"),
        high=math.inf,
        needs="Value",
        by_horizon=True,
    ),
    Metric(name="r2", title="R²", better="Higher", tasks=("Regression",), low=-math.inf, needs="Value"),
    Metric(
        name="bias",
        title="Bias (mean of prediction − actual)",
        better="Nearest",
        ideal=0.0,
        tasks=("Regression", "Forecast"),
        low=-math.inf,
        high=math.inf,
        needs="Value",
        by_horizon=True,
    ),
    Metric(
        name="standardized_bias",
        title="Bias in standard deviations of the actual values",
        better="Nearest",
        ideal=0.0,
        tasks=("Regression",),
        low=-math.inf,
        high=math.inf,
        needs="Value",
    ),
    Metric(
        name="mase",
        title="Mean absolute scaled error",
        better="Lower",
        tasks=("Forecast",),
        high=math.inf,
        needs="Value",
        by_horizon=True,
    ),
    Metric(
        name="smape",
        title="Symmetric percentage error, 0 to 2",
        better="Lower",
        tasks=("Forecast",),
        high=2.0,
        needs="Value",
        by_horizon=True,
    ),
    Metric(
        name="error_growth",
        title="Growth of the error per day since training",
        better="Lower",
        tasks=("Forecast",),
        low=-math.inf,
        high=math.inf,
        needs="Value",
        by_horizon=True,
    ),
    Metric(
        name="pinball_loss",
        title="Pinball loss",
        better="Lower",
        tasks=("Regression",),
        high=math.inf,
        needs="Value",
        by_quantile=True,
        declaration="task.quantiles",
    ),
    Metric(
        name="interval_coverage",
        title="Coverage of the outer quantiles",
        better="Nearest",
        tasks=("Regression",),
        needs="Value",
        declaration="task.quantiles",
    ),
    Metric(
        name="crossed_quantiles",
        title="Answers whose quantiles cross",
        better="Lower",
        tasks=("Regression",),
        high=math.inf,
        fact=True,
        groups=False,
        declaration="task.quantiles",
    ),
    *(
        Metric(
            name=name,
            title=title,
            better="Higher",
            tasks=("Ranking",),
            needs="Value",
            declaration="task.topK" if name.endswith("_at_k") else "",
        )
        for name, title in (
            ("ndcg", "NDCG"),
            ("ndcg_at_k", "NDCG of the first k places"),
            ("mean_average_precision", "Mean average precision"),
            ("mean_reciprocal_rank", "Mean reciprocal rank"),
            ("recall_at_k", "Recall at k"),
            ("precision_at_k", "Precision at k"),
        )
    ),
    *(
        Metric(
            name=name,
            title=f"Annotators' agreement ({whose} κ)",
            better="Higher",
            tasks=CLASSIFICATION,
            low=-1.0,
            groups=False,
            declaration="data.annotations",
        )
        for name, whose in (("cohen_kappa", "Cohen's"), ("fleiss_kappa", "Fleiss'"))
    ),
    Metric(
        name="label_noise",
        title="Labels that are wrong",
        better="Lower",
        tasks=CLASSIFICATION,
        low=-1.0,
        groups=False,
        declaration="data.annotations.independent",
    ),
    Metric(name="finite_answers", title="Finite answers", better="Higher", tasks=TASKS, fact=True, groups=False),
    Metric(
        name="shared_rows",
        title="Rows shared with train or validation",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        fact=True,
        groups=False,
    ),
    *(
        Metric(name=name, title=title, better="Lower", tasks=TASKS, high=math.inf, fact=True, groups=False)
        for name, title in (
            ("changed_columns", "Columns distributed otherwise in test than in train"),
            ("leaks", "Findings of leakage"),
            ("data_faults", "Findings about the data's quality"),
        )
    ),
    Metric(
        name="domain_auc",
        title="How well train and test are told apart (AUC)",
        better="Lower",
        tasks=TASKS,
        groups=False,
        declaration="data.domainClassifier",
    ),
    Metric(
        name="unrepresented_groups",
        title="Groups that production has and training lacks",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        fact=True,
        groups=False,
        declaration="data.production",
    ),
    Metric(
        name="row_count",
        title="Rows",
        better="Higher",
        tasks=TASKS,
        high=math.inf,
        fact=True,
        groups=False,
    ),
    Metric(
        name="data_age",
        title="Age of the newest row when it was measured",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        unit="duration",
        origin="Clock",
        fact=True,
        groups=False,
        declaration="task.time",
    ),
    *(
        Metric(
            name=f"latency_p{percentile}",
            title=f"{title} latency",
            better="Lower",
            tasks=TASKS,
            high=math.inf,
            unit="duration",
            origin="Service",
            groups=False,
            loaded=True,
        )
        for percentile, title in ((50, "Median"), (95, "95th percentile"), (99, "99th percentile"))
    ),
    Metric(
        name="crashes",
        title="Crashes and server errors under load",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        fact=True,
        groups=False,
        loaded=True,
    ),
    Metric(
        name="failed_requests",
        title="Requests under load without a right answer",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        fact=True,
        groups=False,
        loaded=True,
    ),
    Metric(
        name="throughput",
        title="Predictions per second that it holds",
        better="Higher",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        groups=False,
        measurement="Capacity",
    ),
    Metric(
        name="cpu_per_prediction",
        title="CPU time of a prediction",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        unit="duration",
        origin="Service",
        groups=False,
        measurement="Capacity",
    ),
    Metric(
        name="cost_per_million",
        title="Cost of a million predictions",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        groups=False,
        measurement="Capacity",
        declaration="serving.prices",
    ),
    Metric(
        name="used_cost_per_million",
        title="Cost of what a million predictions use",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        groups=False,
        measurement="Capacity",
        declaration="serving.prices",
    ),
    Metric(
        name="robustness_failures",
        title="Bad inputs that end as they mustn't",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        fact=True,
        groups=False,
        measurement="Robustness",
    ),
    Metric(
        name="flipped_answers",
        title="Answers that small changes of the inputs flip",
        better="Lower",
        tasks=CLASSIFICATION,
        origin="Service",
        groups=False,
        measurement="Robustness",
    ),
    Metric(
        name="memory_peak",
        title="Most memory used, in MiB",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        origin="Service",
        fact=True,
        groups=False,
    ),
    Metric(
        name="cold_start",
        title="From the start to the first right answer",
        better="Lower",
        tasks=TASKS,
        high=math.inf,
        unit="duration",
        origin="Service",
        groups=False,
    ),
)

QUANTILES: dict[str, float] = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
"""Which quantile of the latencies a metric is."""
LOAD_REQUESTS = 2000
"""Requests that a load consists of …"""
LOAD_SECONDS = 60.0
"""… unless they take longer than this: a low load consists of fewer."""

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics that exist for `task`, in catalogue order."""
    return tuple(metric for metric in _METRICS if task in metric.tasks)


def derived(metric: Metric, *, on: str = "test", shape: Literal["difference", "ratio"] | None = None) -> Metric:
    """What a gate really asks about: the metric itself, its spread over groups, or its gap between train and test.

    The gap says by how much the metric is better on train than on test, in the metric's own direction, so a large one
    always means overfitting; for `Nearest` metrics it is the plain difference train - test.
    """
    if shape == "ratio":
        return replace(metric, better="Higher", low=0.0, high=1.0, unit="", ideal=None, groups=False)
    if shape == "difference":
        return replace(metric, better="Lower", low=0.0, high=metric.high - metric.low, ideal=None, groups=False)
    if on == "train-test":
        low, high = (metric.low - metric.high, metric.high - metric.low)
        return replace(metric, better="Lower", low=low, high=high, ideal=None, groups=False)
    return metric
