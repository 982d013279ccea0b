"""Scores batches: every file of a folder that has no answers yet, marked with the level at which the model answers.

The level is part of the address: answers lie in `OUTPUT/LEVEL/FILE.parquet`, so whoever acts on Automate's can't take
Suggest's by mistake. Each row says the same in words, and so does the file's own metadata.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from mandate import sources
from mandate.api.criteria import LEVELS, Level
from mandate.api.formats import TABLE_SUFFIXES
from mandate.api.spec import Model, Task
from mandate.inference.client import Limits, connect
from mandate.inference.errors import InferenceError
from mandate.predictor.datatypes import Array

from .failures import failing

OUTPUT = "mandate_output"
"""Column with the model's declared output: a number, a text, or a list of them, one per class."""


class Told(BaseModel):
    """What the environment says of the model: how it is fed and read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    task: Task


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What every answer is marked with."""

    autonomy: Level
    version: str
    revision: str
    digest: str

    def columns(self) -> dict[str, str]:
        """The columns that say it of each row."""
        return {"mandate_autonomy": self.autonomy, "mandate_version": self.version, "mandate_revision": self.revision}


def waiting(folder: Path, answers: Path) -> Iterator[tuple[Path, str]]:
    """The batches without answers at any level, and the names that these will have; in order of their names.

    Any level: what was answered once isn't answered again because the model rose or fell. Remove the answers to ask
    again.
    """
    for path in sorted(folder.iterdir()):
        name = f"{path.name}.parquet" if path.suffix != ".parquet" else path.name
        hidden, known = path.name.startswith("."), (answers / level / name for level in LEVELS)
        if path.is_file() and path.suffix in TABLE_SUFFIXES and not hidden and not any(item.exists() for item in known):
            yield path, name


async def score(told: Told, *, folder: Path, answers: Path, mark: Mark, predictor: str, limits: Limits) -> list[str]:
    """Answer the batches in `folder`, and return the names of those that were. Raises EvaluationError.

    A file of answers appears whole or not at all.
    """
    done: list[str] = []
    with failing("Fetch", field="spec.batch.input"):
        batches = list(waiting(folder, answers))
    if not batches:
        return done
    target = answers / mark.autonomy
    target.mkdir(parents=True, exist_ok=True)
    for path, name in batches:
        with failing("Fetch", field="spec.batch.input"):
            table = sources.read_table(path, name=path.name)
        with failing("Predict", field="spec.model"):
            values = await _answered(told, table, predictor=predictor, limits=limits)
            marked = _marked(table, values, mark, name=path.name)
        with failing("Report", field="spec.batch.output"):
            _write(marked, target / name)
        done.append(name)
    return done


async def _answered(told: Told, table: pa.Table, *, predictor: str, limits: Limits) -> Array:
    inputs, output = told.model.inputs, told.model.output
    if inputs is None:
        raise InferenceError("MissingInput", "spec.model.inputs: declare what the model is fed", field="spec.model")
    async with connect(predictor, model="model", limits=limits) as client:
        await client.wait_ready()
        metadata = await client.metadata()
        fed = client.features(table, inputs=inputs, output=output, metadata=metadata)
        return await client.predict(fed, output=output, task=told.task, metadata=metadata)


def _marked(table: pa.Table, values: Array, mark: Mark, *, name: str) -> pa.Table:
    """The batch's own columns, the answers, and the marks."""
    added = {OUTPUT: pa.array(values.tolist())} | {
        column: pa.array(np.full(table.num_rows, text)) for column, text in mark.columns().items()
    }
    taken = sorted(set(added) & set(table.column_names))
    if taken:
        raise sources.SourceError("DuplicateColumn", f"{name} has a column {taken[0]}, which answers are marked with")
    for column, content in added.items():
        table = table.append_column(column, content)
    told = mark.columns() | {"mandate_model_digest": mark.digest}
    kept = table.schema.metadata or {}
    return table.replace_schema_metadata({**kept, **{key.encode(): text.encode() for key, text in told.items()}})


def _write(table: pa.Table, path: Path) -> None:
    from pyarrow import parquet

    partial = path.with_name(f".{path.name}.partial")
    parquet.write_table(table, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
