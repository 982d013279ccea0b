"""The evaluation's rows: read from their sources, verified, divided; and kept for the judge without loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from mandate import sources
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import DATA_TABLES, Csv, Production, TableSource
from mandate.measure import split as dividing
from mandate.measure.data.columns import columns, identities, stored
from mandate.measure.data.profile import Profile, dumps, loads
from mandate.measure.split import PARTS, Part, Split
from mandate.measure.table import MeasureError

from .failures import discreet, failing
from .places import place_of

T = TypeVar("T")
_TABLE, _SPLIT, _INPUTS, _ANNOTATIONS = "table.arrow", "split.arrow", "inputs.json", "annotations.arrow"
_PRODUCTION = "production.json"


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
    production: Profile | None = None
    """The profile of what production scores, where it is declared."""


def declared_tables(spec: ModelEvaluationSpec) -> dict[str, TableSource]:
    """The declared tables by field of spec.data."""
    every = {name: getattr(spec.data, name) for name in DATA_TABLES}
    return {name: source for name, source in every.items() if source is not None}


@discreet
def load(
    spec: ModelEvaluationSpec,
    *,
    reader: sources.Reader,
    scratch: Path | None = None,
    spill: sources.Spill | None = None,
) -> Rows:
    """Read, verify and divide the declared tables; only columns that the evaluation needs are kept.

    With `scratch` (a directory) each table is copied there first, so that the bytes that are read are those that were
    verified, whatever happens to the source meanwhile. With `spill` a large table of rows is mapped from a file. Raises
    EvaluationError.
    """
    tables: dict[str, pa.Table] = {}
    digests: dict[str, str] = {}
    production = None
    for name, source in declared_tables(spec).items():
        if isinstance(source, Production):
            with failing("Fetch", field=f"spec.data.{name}"):
                production, digests[name] = _production(spec, source, reader=reader, scratch=scratch)
            continue
        with failing("Fetch", field=f"spec.data.{name}"):
            tables[name], digests[name] = _read(
                source, reader=reader, scratch=scratch, identities=_identities(spec, name), spill=spill
            )
    with failing("Split", field="spec.data.personal"):
        _personal(spec, tables)
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
    return Rows(
        table=table.select(list(needed)), split=split, digests=digests, annotations=annotations, production=production
    )


def _production(
    spec: ModelEvaluationSpec, source: Production, *, reader: sources.Reader, scratch: Path | None
) -> tuple[Profile, str]:
    """The profile of what production scores, as it is stored: its rows go no further than here."""
    if source.is_profile:
        return _fetched(source, lambda path: loads(path.read_bytes()), reader=reader, scratch=scratch)
    table, digest = _read(source, reader=reader, scratch=scratch, identities=identities(spec.task))
    found = stored(table, columns(model=spec.model, task=spec.task, data=spec.data, target=False))
    return loads(dumps(found)), digest


def _identities(spec: ModelEvaluationSpec, table: str) -> list[str]:
    """The columns of a table whose values are names, whatever they look like."""
    if table == "annotations" and spec.data.annotations is not None:
        return [spec.data.annotations.row, spec.data.annotations.annotator]
    return identities(spec.task)


def write(rows: Rows, folder: Path, *, model: str | None) -> None:
    """Keep rows, split and digests (`model` is the model file's) for another process."""
    _write_arrow(rows.table, folder / _TABLE)
    if rows.annotations is not None:
        _write_arrow(rows.annotations, folder / _ANNOTATIONS)
    if rows.production is not None:
        (folder / _PRODUCTION).write_bytes(dumps(rows.production))
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
    said, scored = folder / _ANNOTATIONS, folder / _PRODUCTION
    rows = Rows(
        table=_read_arrow(folder / _TABLE),
        split=split,
        digests=inputs["data"],
        annotations=_read_arrow(said) if said.exists() else None,
        production=loads(scored.read_bytes()) if scored.exists() else None,
    )
    return rows, inputs["model"]


def _read(
    source: TableSource,
    *,
    reader: sources.Reader,
    scratch: Path | None,
    identities: list[str],
    spill: sources.Spill | None = None,
) -> tuple[pa.Table, str]:
    csv = source.csv or Csv()
    read_table = partial(
        sources.read_table,
        name=source.uri,
        format=source.stored_as,
        encoding=csv.encoding,
        separator=csv.separator,
        identities=identities,
        spill=spill,
    )
    return _fetched(source, read_table, reader=reader, scratch=scratch)


def _fetched(
    source: TableSource, read: Callable[[Path], T], *, reader: sources.Reader, scratch: Path | None
) -> tuple[T, str]:
    """What `read` makes of a verified file, and its digest."""
    place = place_of(source)
    if scratch is None:
        path = reader.path(place)
        digest = sources.verify(path, declared=source.digest, name=source.uri)
        return read(path), digest
    copy = scratch / "copy"
    digest = reader.copy(place, copy, declared=source.digest)
    try:
        return read(copy), digest
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


def _personal(spec: ModelEvaluationSpec, tables: Mapping[str, pa.Table]) -> None:
    """A name that no table has would protect nothing, silently."""
    known = {name for table in tables.values() for name in table.column_names}
    for column in spec.data.personal:
        if column not in known:
            raise MeasureError(
                "MissingColumn",
                f"data.personal names the column {column!r}, which no table has; correct the name, or remove it",
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
        ("task.series", task.series),
        ("task.horizon", task.horizon),
        ("task.weight", task.weight),
        ("task.unit.column", task.unit.column if task.unit else None),
        ("task.labels.revealedBy.column", task.labels.revealed_by.column if task.labels else None),
        ("task.labels.holdout", task.labels.holdout if task.labels else None),
        ("task.labels.propensity", task.labels.propensity if task.labels else None),
    ]
    named += [("model.inputs.columns", column) for column in (model.inputs.columns if model.inputs else ())]
    champion = spec.champion
    if champion is not None and champion.inputs is not None:
        named += [("champion.inputs.columns", column) for column in champion.inputs.columns]
    for baseline in spec.baselines:
        fed = baseline.container.inputs if baseline.container is not None else None
        named += [(f"baselines[{baseline.name}].container.inputs", column) for column in (fed.columns if fed else ())]
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
