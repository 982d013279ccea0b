"""Where answers come from without a server: columns of the data, or a model file in process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import ModelInputs
from mandate.evidence.schema import Estimate, Nudged, Peaks, Probed, Saturated, Starts, UnderLoad
from mandate.inference.errors import InferenceError
from mandate.measure.answers import Answers, from_columns
from mandate.measure.containers import Asked

from . import service
from .data import Rows
from .failures import failing

NOT_SERVED = "the model wasn't served, so nothing was measured at a server; `mandate evaluate --serve` measures it"
ONLY_COLUMNS = "the answers are columns of the data, so there is no server to measure"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The answers, and what was measured at the server on the way."""

    answers: Answers
    estimates: tuple[Estimate, ...]
    loads: dict[str, UnderLoad] = field(default_factory=dict)
    saturated: Saturated | None = None
    robustness: dict[str, Probed] | None = None
    peaks: Peaks | None = None
    starts: Starts | None = None
    nudged: Nudged | None = None
    champion: Answers | None = None
    containers: dict[str, Asked] = field(default_factory=dict)
    """By baseline of type Container."""
    model_digest: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def from_table(spec: ModelEvaluationSpec, rows: Rows) -> Predicted:
    """Answers that the data already holds. Raises EvaluationError."""
    with failing("Predict", field="spec.model.source.columns"):
        answers = from_columns(rows.table, list(spec.model.source.columns or ()))
    return Predicted(answers=answers, estimates=service.not_measured(spec, reason=ONLY_COLUMNS))


def in_process(spec: ModelEvaluationSpec, rows: Rows, model: Path) -> Predicted:
    """Answers of a model file, without a server. Raises EvaluationError."""
    from mandate.inference import local  # loads onnxruntime, or scikit-learn, which the judge doesn't need

    with failing("Predict", field="spec.model"):
        start = time.monotonic()
        source = spec.model.source
        expected = None if source.format == "MLflow" else source.format
        loaded = local.open_model(model, digest=source.digest, name=str(source.uri), expected=expected)
        values = local.predict(loaded, rows.table, inputs=inputs_of(spec), output=spec.model.output, task=spec.task)
        return Predicted(
            answers=Answers(values=values),
            estimates=service.not_measured(spec, reason=NOT_SERVED),
            model_digest=loaded.digest,
            seconds={"predict": time.monotonic() - start},
        )


def inputs_of(spec: ModelEvaluationSpec) -> ModelInputs:
    """What the model is fed; raises InferenceError NoInputs where nothing is declared."""
    if spec.model.inputs is None:
        raise InferenceError("NoInputs", "model.inputs: declare the columns that the model is fed")
    return spec.model.inputs
