"""Where answers come from: columns of the data, an ONNX file in process, or a predictor over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import ModelInputs
from mandate.evidence.schema import Estimate
from mandate.inference.client import Limits, connect
from mandate.inference.errors import InferenceError
from mandate.inference.load import Plan, run
from mandate.measure.answers import Answers, from_columns

from . import service
from .data import Rows, failing

NOT_SERVED = "the model wasn't served, so nothing was measured at a server; `mandate evaluate --serve` measures it"
ONLY_COLUMNS = "the answers are columns of the data, so there is no server to measure"
_LOAD_ROWS = 500
"""Different rows that the load consists of."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The answers, and what was measured at the server on the way."""

    answers: Answers
    estimates: tuple[Estimate, ...]
    model_digest: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def from_table(spec: ModelEvaluationSpec, rows: Rows) -> Predicted:
    """Answers that the data already holds. Raises EvaluationError."""
    with failing("Predict", field="spec.model.source.columns"):
        answers = from_columns(rows.table, list(spec.model.source.columns or ()))
    return Predicted(answers=answers, estimates=service.not_measured(spec.loads, reason=ONLY_COLUMNS))


def in_process(spec: ModelEvaluationSpec, rows: Rows, model: Path) -> Predicted:
    """Answers of an ONNX file, without a server. Raises EvaluationError."""
    from mandate.inference import local  # loads onnxruntime, which the judge doesn't need

    with failing("Predict", field="spec.model"):
        start = time.monotonic()
        loaded = local.open_model(model, digest=spec.model.source.digest)
        values = local.predict(loaded, rows.table, inputs=_inputs(spec), output=spec.model.output, task=spec.task)
        return Predicted(
            answers=Answers(values=values),
            estimates=service.not_measured(spec.loads, reason=NOT_SERVED),
            model_digest=loaded.digest,
            seconds={"predict": time.monotonic() - start},
        )


async def over_http(spec: ModelEvaluationSpec, rows: Rows, *, url: str, model: str, limits: Limits) -> Predicted:
    """Answers of the predictor at `url`, and its latencies under the declared loads. Raises EvaluationError."""
    seconds: dict[str, float] = {}
    async with connect(url, model=model, limits=limits) as client:
        with failing("Predict", field="spec.model"):
            seconds["ready"] = await client.wait_ready()
            metadata = await client.metadata()
            start = time.monotonic()
            inputs, output = _inputs(spec), spec.model.output
            fed = client.features(rows.table, inputs=inputs, output=output, metadata=metadata)
            values = await client.predict(fed, output=output, task=spec.task, metadata=metadata)
            seconds["predict"] = time.monotonic() - start
        with failing("Load", field="spec.loads"):
            start = time.monotonic()
            size = fed.batch or 1
            test = [int(row) for row in rows.split.rows("test").nonzero()[0][:_LOAD_ROWS]]
            starts = [row - row % size for row in test]
            bodies = [client.body(fed, row, row + size, output=output, metadata=metadata) for row in starts]
            loads = {}
            for load in spec.loads:
                plan = Plan(rate=service.rate_of(load), timeout=limits.loaded)
                loads[load] = await run(lambda i: client.answer(bodies[i % len(bodies)], timeout=limits.loaded), plan)
            seconds["load"] = time.monotonic() - start
    estimates = service.measured(loads, timeout=limits.loaded, requests=fed.rows)
    versions = {"server": metadata.server} | ({"model": metadata.version} if metadata.version else {})
    return Predicted(answers=Answers(values=values), estimates=estimates, seconds=seconds, versions=versions)


def _inputs(spec: ModelEvaluationSpec) -> ModelInputs:
    if spec.model.inputs is None:
        raise InferenceError("NoInputs", "model.inputs: declare the columns that the model is fed")
    return spec.model.inputs
