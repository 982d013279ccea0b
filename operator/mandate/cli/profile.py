"""`mandate profile`: what is kept of a part of the rows, to compare new data with."""

from __future__ import annotations

import argparse
import sys

import pyarrow as pa

from mandate.evaluate import data, profiles
from mandate.evaluate.failures import failing
from mandate.evaluate.places import place_of
from mandate.evidence.canonical import sha256
from mandate.evidence.measurement import evaluation_spec
from mandate.measure.data.profile import dumps
from mandate.report.content import count_text

from . import manifest, sources
from .errors import InputError
from .progress import progress


def execute(options: argparse.Namespace) -> int:
    """Write the profile, and print its digest."""
    declared = manifest.read(options.file, name=options.name)
    asked = evaluation_spec(declared.name, declared.declared)
    with sources.reading(options, folder=declared.folder) as reader:
        with progress(f"reading the rows of {declared.name}"):
            rows = data.load(asked, reader=reader)
        read = {reader.path(place_of(table)).resolve() for table in data.declared_tables(asked).values()}
    if options.out.resolve() in {*read, options.file.resolve()}:
        raise InputError(f"--out {options.out}: would overwrite what is read; name another file")
    chosen = rows.split.rows(options.part)
    if not chosen.any():
        parts = ", ".join(part for part, count in rows.split.counts().items() if count and part != "none")
        raise InputError(f"--part {options.part}: has no rows; there are {parts}")
    columns = profiles.columns(model=asked.model, task=asked.task, data=asked.data)
    with progress(f"profiling {options.part}"), failing("Measure", field="spec.model.inputs.columns"):
        found = profiles.stored(rows.table.filter(pa.array(chosen)), columns)
    document = dumps(found)
    try:
        options.out.write_bytes(document)
    except OSError as error:
        raise InputError(f"--out {options.out}: {error.strerror or error}") from None
    for name in columns.left_out:
        print(f"left out {name!r}: it names rows, units or clusters, and a profile holds values", file=sys.stderr)
    print(f"{count_text(found.rows)} rows of {options.part}, {len(found.columns)} columns")
    print(f"digest: {sha256(document)}")
    return 0
