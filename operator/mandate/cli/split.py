"""`mandate split`: execute the declared split, so that training uses the very same rows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from mandate.evaluate import data
from mandate.evaluate.places import place_of
from mandate.evidence.measurement import evaluation_spec
from mandate.measure.split import NONE, PARTS, Split
from mandate.report.content import count_text

from . import manifest, sources
from .errors import InputError
from .progress import progress


def execute(options: argparse.Namespace) -> int:
    """Print sizes and digest; write the parts where asked."""
    if options.out is not None and options.out.suffix.lower() not in (".parquet", ".csv"):
        raise InputError(f"--out {options.out}: ends in {options.out.suffix!r}, expected .parquet or .csv")
    declared = manifest.read(options.file, name=options.name)
    asked = evaluation_spec(declared.name, declared.declared)
    with sources.reading(options, folder=declared.folder) as reader:
        with progress(f"dividing the rows of {declared.name}"):
            rows = data.load(asked, reader=reader)
        read = {reader.path(place_of(table)).resolve() for table in data.declared_tables(asked).values()}
    if options.out is not None:
        if options.out.resolve() in read:
            raise InputError(f"--out {options.out}: would overwrite the data; name another file")
        _write(rows.table, rows.split, options.out, identity=declared.spec.task.id)
    if options.json:
        print(json.dumps({"digest": rows.split.digest, "rows": rows.split.counts(), "data": rows.digests}, indent=2))
        return 0
    for part, count in rows.split.counts().items():
        if part != "none" or count:
            share = count / rows.table.num_rows
            print(f"{'in no part' if part == 'none' else part:<12}{count_text(count):>12}  {share:6.1%}")
    print(f"splitDigest: {rows.split.digest}")
    return 0


def _write(table: pa.Table, split: Split, path: Path, *, identity: str | None) -> None:
    """One line per row, in the data's order: its id, where the task names one, and its part (empty for none)."""
    names = np.array([*PARTS, None], dtype=object)
    place = np.where(split.part == NONE, len(PARTS), split.part)
    columns = {} if identity is None else {identity: table.column(identity)}
    result = pa.table({**columns, "part": pa.array(names[place].tolist(), type=pa.string())})
    try:
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            parquet.write_table(result, path)
        else:
            from pyarrow import csv

            csv.write_csv(result, path)
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror or error}") from None
