"""`mandate drift`: a table of new data beside a stored profile."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from mandate.api.criteria import seconds
from mandate.evidence.canonical import sha256
from mandate.measure.data.newdata import Expected, beside
from mandate.measure.data.profile import Profile, loads
from mandate.measure.table import MeasureError
from mandate.measure.work import available, threads
from mandate.report import drift
from mandate.report.drift import Told
from mandate.sources import SourceError, digest_of, read_table

from . import output
from .errors import InputError
from .parser import COMPARISON_FORMATS
from .progress import progress
from .run import EXIT_HOLDS, EXIT_NOT_JUDGED, EXIT_REFUSED


def execute(options: argparse.Namespace) -> int:
    """Compare, and write the outputs; the exit code says whether anything was found."""
    outputs = output.parse(options.output, keep=[options.table, options.reference], formats=COMPARISON_FORMATS)
    expected = _expected(options, now=datetime.now(UTC))
    try:
        reference, digest = _reference(options)
        with progress(f"comparing {options.table.name}"):
            identities = [name for name in (options.id, options.cluster) if name is not None]
            table = read_table(options.table, name=str(options.table), identities=identities)
            found = beside(table, reference, expected=expected, workers=threads(available()))
            told = Told(
                table=options.table.name,
                table_digest=digest_of(options.table),
                rows=table.num_rows,
                reference=options.reference.name,
                reference_digest=digest,
                reference_rows=reference.rows,
                data=found,
            )
    except (SourceError, MeasureError) as error:
        from mandate.evaluate.failures import discreetly

        given = (options.id, options.cluster, options.time, str(options.table), *options.personal)
        words = discreetly(error, personal=options.personal, known=[name for name in given if name is not None])
        raise InputError(f"{error.code}: {words}") from None
    forms = {"text": drift.text, "json": drift.document, "markdown": drift.markdown, "html": drift.html}
    output.deliver(outputs, lambda form, _: forms[form](told))
    if found.counts:
        return EXIT_REFUSED
    return EXIT_NOT_JUDGED if found.unasked else EXIT_HOLDS


def _expected(options: argparse.Namespace, *, now: datetime) -> Expected:
    if (options.max_age is None) != (options.time is None):
        raise InputError("--max-age and --time: give both, how old the newest row may be by which column, or neither")
    try:
        oldest = None if options.max_age is None else seconds(options.max_age)
    except ValueError as error:
        raise InputError(f"--max-age {options.max_age}: {error}") from None
    return Expected(
        without=[*options.without, *options.personal],
        identity=options.id,
        cluster=options.cluster,
        time=options.time,
        oldest=oldest,
        now=now,
        usual=options.usual_rows,
    )


def _reference(options: argparse.Namespace) -> tuple[Profile, str]:
    try:
        document = options.reference.read_bytes()
    except OSError as error:
        raise InputError(f"--reference {options.reference}: {error.strerror or error}") from None
    reference = loads(document)
    for name in options.without:
        if name not in reference.columns:
            known = ", ".join(map(repr, list(reference.columns)[:50]))
            raise InputError(f"--without {name}: the reference has no such column; it has {known}")
    return reference, sha256(document)
