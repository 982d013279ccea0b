"""Point metrics, each with its influence values; in modules by what they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from .forecasts import error_growth, mase, smape
from .labels import (
    accuracy,
    balanced_accuracy,
    expected_cost,
    f1,
    f1_weighted,
    f_beta,
    false_positive_rate,
    matthews_corrcoef,
    negative_predictive_value,
    precision,
    precision_weighted,
    recall,
    selection_rate,
    specificity,
)
from .point import Declared, Floats, Point, Sample, UndefinedError, Unit
from .probabilities import (
    average_precision,
    brier_score,
    calibration_slope,
    log_loss,
    observed_expected,
    roc_auc,
    top_k_accuracy,
)
from .quantiles import interval_coverage, pinball_loss
from .ranking import (
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from .regression import bias, mean_absolute_error, r2, root_mean_squared_error, standardized_bias

__all__ = ["METRICS", "Declared", "Floats", "Point", "Sample", "UndefinedError", "Unit"]

Metric = Callable[[Sample], Point]


def _in_time(function: Metric) -> Metric:
    """The metric, whose points say which block of time their rows are of."""

    @wraps(function)
    def measured(sample: Sample) -> Point:
        point = function(sample)
        return point if sample.block is None else replace(point, block=sample.block)

    return measured


METRICS: dict[str, Metric] = {
    function.__name__: _in_time(function)
    for function in (
        accuracy,
        balanced_accuracy,
        precision,
        precision_weighted,
        recall,
        f1,
        f1_weighted,
        f_beta,
        matthews_corrcoef,
        top_k_accuracy,
        false_positive_rate,
        specificity,
        negative_predictive_value,
        selection_rate,
        expected_cost,
        roc_auc,
        average_precision,
        log_loss,
        brier_score,
        observed_expected,
        calibration_slope,
        mean_absolute_error,
        root_mean_squared_error,
        r2,
        bias,
        standardized_bias,
        pinball_loss,
        interval_coverage,
        ndcg,
        ndcg_at_k,
        mean_average_precision,
        mean_reciprocal_rank,
        recall_at_k,
        precision_at_k,
        mase,
        smape,
        error_growth,
    )
}
"""By the catalogue's names. Facts (finite answers, shared rows) are counted by the engine."""
