"""What the model answered, checked against what was declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mandate.api.spec import ModelOutput, Task
from mandate.predictor.datatypes import Array, Tensor

from .errors import InferenceError

FIELD = "spec.model.output"
REPEATED = 1e-3
"""How far answers to the same question may differ: servers that join requests round otherwise from time to time."""
BATCH_ROWS = 1000
"""Rows per request. Part of what makes answers reproducible: matrix products may round differently by batch size."""


def batches(rows: int, *, size: int | None) -> list[tuple[int, int]]:
    """Row ranges in order; `size` is what the model insists on, else BATCH_ROWS. Raises InferenceError WrongShape."""
    step = size or BATCH_ROWS
    if size is not None and rows % size:
        raise InferenceError(
            "WrongShape",
            f"the model takes exactly {size} rows at once, which doesn't divide {rows}; export it with an open number",
            field="spec.model.inputs",
        )
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def check_output(output: ModelOutput, declared: Mapping[str, Tensor] | None) -> None:
    """Whether the model says that it has the declared output, in a type that fits its kind."""
    if declared is None:
        return
    tensor = declared.get(output.name)
    if tensor is None:
        raise InferenceError(
            "UnknownOutput",
            f"the model has no output {output.name!r}, it answers {', '.join(declared)}",
            field=f"{FIELD}.name",
        )
    _check_type(output, tensor.datatype)


def check_batch(output: ModelOutput, task: Task, *, datatype: str, answer: Array, rows: int) -> Array:
    """One batch's answer as (rows,) or (rows, classes), in its own type.

    Infinities become NaN, as they do in JSON. Raises InferenceError WrongType or WrongShape.
    """
    _check_type(output, datatype)
    width = 1 if answer.ndim == 1 else answer.shape[1] if answer.ndim == 2 else 0
    allowed = _widths(output, task)
    if answer.ndim not in (1, 2) or len(answer) != rows or (allowed is not None and width not in allowed):
        columns = "" if allowed is None else f" with {' or '.join(map(str, sorted(allowed)))} columns"
        raise InferenceError(
            "WrongShape",
            f"output {output.name!r} has shape {list(answer.shape)}, expected {rows} rows{columns}",
            field=FIELD,
        )
    if answer.ndim == 2 and width == 1:
        answer = answer.reshape(-1)
    if answer.dtype.kind != "f":
        return answer
    return np.where(np.isfinite(answer), answer, answer.dtype.type(np.nan))


def join(parts: Sequence[Array], *, output: ModelOutput) -> Array:
    """The batches' answers as one array. Raises InferenceError WrongShape where they differ in width."""
    widths = {part.shape[1:] for part in parts}
    if len(widths) > 1:
        raise InferenceError(
            "WrongShape", f"output {output.name!r} changes its number of columns from batch to batch", field=FIELD
        )
    return np.concatenate(parts)


def some(rows: int) -> tuple[int, ...]:
    """The first, the middle and the last of so many rows: those that are asked about by themselves."""
    return tuple(sorted({0, rows // 2, rows - 1})) if rows else ()


def check_own(alone: Array, among: Array, *, row: int) -> None:
    """Whether a row by itself was answered as among others; the answers are (1 or more,) and (1,).

    A Ranking's queries are measured from answers to whole batches, and served as they come. Raises InferenceError
    DependsOnOthers.
    """
    if not all(alike(one[None], among, room=REPEATED) for one in alone):
        raise InferenceError(
            "DependsOnOthers",
            f"row {row} gets another score by itself than among the rows of its batch, so a query's order depends on "
            "what else is asked with it; serve a model whose score of a row is that row's alone, or put what was "
            "served into the data and name it in model.source.columns",
            field="spec.model",
        )


def alike(before: Array, after: Array, *, room: float) -> bool:
    """Whether two answers to one question are the same: numbers up to `room`, absolute and relative to each."""
    if before.shape != after.shape:
        return False
    if np.array_equal(before, after):
        return True
    if before.dtype.kind != "f" or after.dtype.kind != "f":
        return False
    return bool(np.allclose(before, after, rtol=room, atol=room, equal_nan=True))


def _check_type(output: ModelOutput, datatype: str) -> None:
    if output.kind == "Label" or datatype.startswith("FP"):
        return
    raise InferenceError(
        "WrongType",
        f"output {output.name!r} is {datatype}, but kind {output.kind} is a float; "
        "name another output, or declare kind: Label",
        field=f"{FIELD}.kind",
    )


def _widths(output: ModelOutput, task: Task) -> set[int] | None:
    if output.kind == "Quantiles":
        return {len(task.quantiles or ())}
    if output.kind != "Probability":
        return {1}
    if task.type == "Binary":
        return {len(output.classes)} if output.classes else {1, 2}
    return {len(output.classes)} if output.classes else None
