"""What usually helps where a gate fails: one short clause for people, from metric and direction alone."""

from __future__ import annotations

from mandate.evidence.schema import Quantity

_TOO_LOW = {
    "recall": "lower model.output.cutoff, or train on more rows of this kind",
    "precision": "raise model.output.cutoff, or train on more rows of this kind",
    "f1": "choose model.output.cutoff on the validation rows, or train on more rows of this kind",
    "observed_expected": "the model expects more positives than there are: recalibrate it on the validation rows",
    "calibration_slope": "the answers are too extreme: regularise the model, or recalibrate it on the validation rows",
    "finite_answers": "find the inputs it has no answer for, and give the model a default for them",
}
_TOO_HIGH = {
    "observed_expected": "the model expects fewer positives than there are: recalibrate it on the validation rows",
    "calibration_slope": "the answers are too timid: recalibrate the model on the validation rows",
    "false_positive_rate": "raise model.output.cutoff, or train on more rows of this kind",
    "shared_rows": "take the shared rows out of training, and train again",
    "latency_p50": "give the container more CPU (serving.resources), or serve a smaller model",
    "latency_p95": "give the container more CPU (serving.resources), or serve a smaller model",
    "latency_p99": "give the container more CPU (serving.resources), or serve a smaller model",
    "crashes": "read the model container's log; raise its memory limit if it was killed",
    "bias": "the model answers too high on average: recalibrate it on the validation rows",
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
    if quantity.metric == "bias" and too_low:
        return "the model answers too low on average: recalibrate it on the validation rows"
    return (_TOO_LOW if too_low else _TOO_HIGH).get(quantity.metric, _ELSE)
