"""`mandate profile`: what is kept of a part of the rows, to compare new data with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate import data
from mandate.evaluate.failures import discreetly, failing
from mandate.evaluate.places import place_of
from mandate.evidence.canonical import sha256
from mandate.evidence.measurement import evaluation_spec
from mandate.measure.data.columns import columns, identities, stored
from mandate.measure.data.profile import dumps
from mandate.measure.work import available, threads
from mandate.report.content import count_text
from mandate.sources import SourceError, read_table

from . import manifest, sources
from .errors import InputError
from .manifest import Manifest
from .progress import progress


def execute(options: argparse.Namespace) -> int:
    """Write the profile, and print its digest."""
    declared = manifest.read(options.file, name=options.name)
    asked = evaluation_spec(declared.name, declared.declared)
    rows = _of_part(options, declared, asked) if options.table is None else _of_table(options, asked)
    chosen = columns(model=asked.model, task=asked.task, data=asked.data, target=asked.task.target in rows.column_names)
    kept = chosen.without(asked.data.personal)
    with progress("profiling"), failing("Measure", field="spec.model.inputs.columns"):
        found = stored(rows, kept, workers=threads(available()))
    document = dumps(found)
    try:
        options.out.write_bytes(document)
    except OSError as error:
        raise InputError(f"--out {options.out}: {error.strerror or error}") from None
    for name in kept.left_out:
        print(f"left out {name!r}: it names rows, units or clusters, and a profile holds values", file=sys.stderr)
    for name in kept.personal:
        print(f"left out {name!r}: it is personal (data.personal), and a profile holds values", file=sys.stderr)
    for name in kept.names:
        if name not in found.columns:
            print(f"left out {name!r}: it can't be profiled; write it as numbers, texts or times", file=sys.stderr)
    whose = options.part if options.table is None else options.table.name
    print(f"{count_text(found.rows)} rows of {whose}, {len(found.columns)} columns")
    print(f"digest: {sha256(document)}")
    return 0


def _of_part(options: argparse.Namespace, declared: Manifest, asked: ModelEvaluationSpec) -> pa.Table:
    with sources.reading(options, folder=declared.folder) as reader:
        with progress(f"reading the rows of {declared.name}"):
            rows = data.load(asked, reader=reader)
        _keep(options, [reader.path(place_of(table)) for table in data.declared_tables(asked).values()])
    chosen = rows.split.rows(options.part)
    if not chosen.any():
        parts = ", ".join(part for part, count in rows.split.counts().items() if count and part != "none")
        raise InputError(f"--part {options.part}: has no rows; there are {parts}")
    return rows.table.filter(pa.array(chosen))


def _of_table(options: argparse.Namespace, asked: ModelEvaluationSpec) -> pa.Table:
    _keep(options, [options.table])
    try:
        with progress(f"reading {options.table.name}"):
            return read_table(options.table, name=str(options.table), identities=identities(asked.task))
    except SourceError as error:
        known = [*asked.data.personal, *identities(asked.task), str(options.table)]
        words = discreetly(error, personal=asked.data.personal, known=known)
        raise InputError(f"--table: {error.code}: {words}") from None


def _keep(options: argparse.Namespace, read: Sequence[Path]) -> None:
    if options.out.resolve() in {path.resolve() for path in (*read, options.file)}:
        raise InputError(f"--out {options.out}: would overwrite what is read; name another file")
