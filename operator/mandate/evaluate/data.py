"""The evaluation's rows: read from their sources, verified, divided; and kept for the judge without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from mandate import sources
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import DATA_TABLES, Csv, TableSource
from mandate.measure import split as dividing
from mandate.measure.split import PARTS, Part, Split
from mandate.measure.table import MeasureError

from .failures import failing
from .places import place_of

_TABLE, _SPLIT, _INPUTS, _ANNOTATIONS = "table.arrow", "split.arrow", "inputs.json", "annotations.arrow"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """`table` holds the rows of all parts in their sources' order, `split` says which is which.

    `digests` are the tables' by field of spec.data: `source`, or `train`, `validation` and `test`; `annotations`.
    """

    table: pa.Table
    split: Split
    digests: dict[str, str]
    annotations: pa.Table | None = None
    """What people said of them, as it is declared: columns for the row, the annotator and the label."""


def declared_tables(spec: ModelEvaluationSpec) -> dict[str, TableSource]:
    """The declared tables by field of spec.data."""
    every = {name: getattr(spec.data, name) for name in DATA_TABLES}
    return {name: source for name, source in every.items() if source is not None}


def load(spec: ModelEvaluationSpec, *, reader: sources.Reader, scratch: Path | None = None) -> Rows:
    """Read, verify and divide the declared tables; only columns that the evaluation needs are kept.

    With `scratch` (a directory) each table is copied there first, so that the bytes that are read are those that were
    verified, whatever happens to the source meanwhile. Raises EvaluationError.
    """
    tables: dict[str, pa.Table] = {}
    digests: dict[str, str] = {}
    for name, source in declared_tables(spec).items():
        with failing("Fetch", field=f"spec.data.{name}"):
            tables[name], digests[name] = _read(
                source, reader=reader, scratch=scratch, identities=_identities(spec, name)
            )
    annotations = _annotations(spec, tables.pop("annotations", None))
    needed = _needed(spec)
    for name, read_ in tables.items():
        for column, field in needed.items():
            with failing("Split", field=f"spec.{field}"):
                _present(column, read_, name=f"data.{name}")
    with failing("Split", field="spec.data"):
        if "source" in tables:
            if spec.data.split is None:
                raise MeasureError("NoSplit", "data.split: declare how data.source is divided")
            table = tables["source"]
            split = dividing.divide(table, how=spec.data.split, task=spec.task)
        else:
            parts: dict[Part, pa.Table] = {part: tables[part] for part in PARTS if part in tables}
            table, split = dividing.join(parts, task=spec.task)
    return Rows(table=table.select(list(needed)), split=split, digests=digests, annotations=annotations)


def _identities(spec: ModelEvaluationSpec, table: str) -> list[str]:
    """The columns of a table whose values are names, whatever they look like."""
    if table == "annotations" and spec.data.annotations is not None:
        return [spec.data.annotations.row, spec.data.annotations.annotator]
    unit = None if spec.task.unit is None else spec.task.unit.column
    return [column for column in (spec.task.id, spec.task.cluster, spec.task.query, unit) if column is not None]


def write(rows: Rows, folder: Path, *, model: str | None) -> None:
    """Keep rows, split and digests (`model` is the model file's) for another process."""
    _write_arrow(rows.table, folder / _TABLE)
    if rows.annotations is not None:
        _write_arrow(rows.annotations, folder / _ANNOTATIONS)
    _write_arrow(pa.table({"part": rows.split.part, "key": rows.split.keys}), folder / _SPLIT)
    inputs = {"model": model, "data": rows.digests, "split": rows.split.digest}
    (folder / _INPUTS).write_text(json.dumps(inputs))


def read(folder: Path) -> tuple[Rows, str | None]:
    """What `write` kept: the rows and the model file's digest."""
    inputs = json.loads((folder / _INPUTS).read_text())
    parts = _read_arrow(folder / _SPLIT)
    split = Split(
        part=parts.column("part").to_numpy().astype(np.int8),
        keys=parts.column("key").to_numpy().astype(np.uint64),
        digest=inputs["split"],
    )
    said = folder / _ANNOTATIONS
    rows = Rows(
        table=_read_arrow(folder / _TABLE),
        split=split,
        digests=inputs["data"],
        annotations=_read_arrow(said) if said.exists() else None,
    )
    return rows, inputs["model"]


def _read(
    source: TableSource, *, reader: sources.Reader, scratch: Path | None, identities: list[str]
) -> tuple[pa.Table, str]:
    place = place_of(source)
    csv = source.csv or Csv()
    read_table = partial(
        sources.read_table,
        name=source.uri,
        format=source.stored_as,
        encoding=csv.encoding,
        separator=csv.separator,
        identities=identities,
    )
    if scratch is None:
        path = reader.path(place)
        digest = sources.verify(path, declared=source.digest, name=source.uri)
        return read_table(path), digest
    copy = scratch / "copy"
    digest = reader.copy(place, copy, declared=source.digest)
    try:
        return read_table(copy), digest
    finally:
        copy.unlink()


def _annotations(spec: ModelEvaluationSpec, table: pa.Table | None) -> pa.Table | None:
    """Only the declared columns; nothing else that is told of people is read any further."""
    declared = spec.data.annotations
    if table is None or declared is None:
        return None
    columns = {"row": declared.row, "annotator": declared.annotator, "label": declared.label}
    for field, column in columns.items():
        with failing("Split", field=f"spec.data.annotations.{field}"):
            _present(column, table, name="data.annotations")
    return table.select(list(dict.fromkeys(columns.values())))


def _present(column: str, table: pa.Table, *, name: str) -> None:
    if column not in table.column_names:
        raise MeasureError(
            "MissingColumn",
            f"column {column!r} isn't in {name}, which has {', '.join(map(repr, table.column_names[:50]))}; "
            "correct the name, or add the column",
        )


def _needed(spec: ModelEvaluationSpec) -> Mapping[str, str]:
    """Columns that the evaluation reads, each with the field that names it first."""
    task, model = spec.task, spec.model
    named = [
        ("task.target", task.target),
        ("task.id", task.id),
        ("task.cluster", task.cluster),
        ("task.query", task.query),
        ("task.time", task.time),
        ("task.weight", task.weight),
        ("task.unit.column", task.unit.column if task.unit else None),
    ]
    named += [("model.inputs.columns", column) for column in (model.inputs.columns if model.inputs else ())]
    champion = spec.champion
    if champion is not None and champion.inputs is not None:
        named += [("champion.inputs.columns", column) for column in champion.inputs.columns]
    named += [("model.source.columns", column) for column in model.source.columns or ()]
    named += [(f"data.slices[{item.name}].column", item.column) for item in spec.data.slices]
    search = spec.data.search
    named += [("data.search.columns", column) for column in (search.columns or () if search else ())]
    named += [(f"baselines[{item.name}].column", item.column) for item in spec.baselines]
    named += [(f"baselines[{item.name}].by", column) for item in spec.baselines for column in item.by or ()]
    needed: dict[str, str] = {}
    for field, column in named:
        if column is not None:
            needed.setdefault(column, field)
    return needed


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
