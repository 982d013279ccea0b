"""A model file in process: the predictor's own code without the server, so that answers are the same bit for bit."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mandate.api.spec import ModelInputs, ModelOutput, Task
from mandate.predictor.datatypes import Array
from mandate.predictor.errors import ModelError
from mandate.predictor.model import Format, Model, load

from .answers import batches, check_batch, check_output, check_own, join, some
from .errors import InferenceError
from .features import features


def open_model(path: Path, *, digest: str | None, name: str = "", expected: Format | None = "ONNX") -> Model:
    """Load a model file, which users call `name` (default: the file's own).

    Raises InferenceError NotFound, DigestMismatch, Unreadable, UnsupportedInput or UnsupportedModel.
    """
    try:
        return load(path, digest=digest, expected=expected)
    except ModelError as error:
        raise InferenceError(error.code, f"{name or path.name}: {error}", field="spec.model.source") from error


def predict(model: Model, table: pa.Table, *, inputs: ModelInputs, output: ModelOutput, task: Task) -> Array:
    """The declared output for all rows of `table`: (rows,) or (rows, classes). Raises InferenceError."""
    check_output(output, model.outputs)
    fed = features(table, inputs=inputs, declared=model.inputs)
    datatype = model.outputs[output.name].datatype
    parts: list[Array] = []
    for start, stop in batches(fed.rows, size=fed.batch):
        try:
            answer = model.run(fed.take(start, stop), (output.name,))[output.name]
        except ModelError as error:
            raise InferenceError("RequestRefused", f"rows {start} to {stop - 1}: {error}") from error
        parts.append(check_batch(output, task, datatype=datatype, answer=answer, rows=stop - start))
    values = join(parts, output=output)
    for row in some(fed.rows) if task.type == "Ranking" else ():
        answer = model.run(fed.alone(row).take(0, fed.batch or 1), (output.name,))[output.name]
        alone = check_batch(output, task, datatype=datatype, answer=answer, rows=fed.batch or 1)
        check_own(alone, values[row : row + 1], row=row)
    return values
