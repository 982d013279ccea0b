"""What usually helps where a gate fails: one short clause for people, from metric and direction alone."""

from __future__ import annotations

from mandate.evidence.schema import Quantity

_FASTER = "give the container more CPU (serving.resources), or serve a smaller model"
_DIFFER = "give the annotators clearer rules, and let a third settle the rows on which they differ"
_BIASES = ("bias", "standardized_bias")
_TOO_LOW = {
    "throughput": _FASTER,
    "recall": "lower model.output.cutoff, or train on more rows of this kind",
    "precision": "raise model.output.cutoff, or train on more rows of this kind",
    "f1": "let model.output.choose find the cut-off on the validation rows, or train on more rows of this kind",
    "f_beta": "let model.output.choose find the cut-off on the validation rows, or train on more rows of this kind",
    "specificity": "raise model.output.cutoff, or train on more rows of this kind",
    "negative_predictive_value": "lower model.output.cutoff, or train on more rows of this kind",
    "observed_expected": "the model expects more positives than there are: recalibrate it on the validation rows",
    "calibration_slope": "the answers are too extreme: regularise the model, or recalibrate it on the validation rows",
    "cohen_kappa": _DIFFER,
    "fleiss_kappa": _DIFFER,
    "row_count": "look for batches that are late, lost or filtered out",
    "finite_answers": "find the inputs it has no answer for, and give the model a default for them",
}
_TOO_HIGH = {
    "observed_expected": "the model expects fewer positives than there are: recalibrate it on the validation rows",
    "calibration_slope": "the answers are too timid: recalibrate the model on the validation rows",
    "false_positive_rate": "raise model.output.cutoff, or train on more rows of this kind",
    "expected_cost": "let model.output.choose find the cut-off that costs least on the validation rows",
    "error_growth": "train again more often, or on columns that tell what changes with time",
    "shared_rows": "take the shared rows out of training and validation, and train again",
    "changed_columns": "look at what the report says of each column: its source, its unit, how the rows were divided",
    "label_noise": "have a third person settle the rows on which the target and annotators differ",
    "leaks": "take out what the report's findings name, and train again",
    "data_faults": "look at what the report's findings say of each column, and mend it at its source",
    "domain_auc": "look at what the report says of each column; where none changed, several do together",
    "unrepresented_groups": "collect rows and labels of the groups that the report names, and train with them",
    "row_count": "look for a batch that was loaded twice, or a join that multiplies rows",
    "data_age": "look whether the last batches came, and evaluate on a table that has them",
    "latency_p50": _FASTER,
    "latency_p95": _FASTER,
    "latency_p99": _FASTER,
    "cpu_per_prediction": "serve a smaller model",
    "used_cost_per_million": "serve a smaller model",
    "cost_per_million": "serve a smaller model, or ask for less of what it doesn't use (serving.resources)",
    "robustness_failures": "refuse bad input with a status below 500 before it reaches the model; the report names it",
    "flipped_answers": "train a smoother model, or on more rows near the border between the classes",
    "memory_peak": "serve a smaller model, or one that keeps less in memory",
    "cold_start": "serve a smaller model, or one that loads faster",
    "crashes": "read the model container's log; raise its memory limit if it was killed",
    "failed_requests": "read the model container's log; give it more CPU (serving.resources) where answers are late",
    **dict.fromkeys(_BIASES, "the model answers too high on average: recalibrate it on the validation rows"),
}
_ELSE = "train on more rows of this kind, or on columns that tell more about them"


def remedy(quantity: Quantity, *, too_low: bool) -> str:
    """What to try; `too_low` says on which side of the requirement the number lies."""
    if quantity.across is not None:
        return (
            f"compare the groups of {quantity.across}: their base rates, their missing values, their share of training"
        )
    if quantity.on == "train-test":
        return "the model knows the training rows better than new ones: regularise it, or train on more rows"
    if quantity.versus is not None:
        return f"{quantity.versus} does as well with less: look for columns or rows that tell the model more"
    if quantity.of_class is not None:
        return _ELSE
    if quantity.horizon is not None and quantity.metric not in (*_BIASES, "error_growth"):
        return f"train on rows of horizon {quantity.horizon}, or on columns known {quantity.horizon} steps ahead"
    if quantity.window is not None:
        return "look at what was different in that window, and train on rows like its own"
    if quantity.metric in _BIASES and too_low:
        return "the model answers too low on average: recalibrate it on the validation rows"
    return (_TOO_LOW if too_low else _TOO_HIGH).get(quantity.metric, _ELSE)
