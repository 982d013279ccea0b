"""`mandate compare`: several evaluations side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mandate.evidence.schema import Evidence
from mandate.report import compare
from mandate.report.compare import Candidate, ComparisonError
from mandate.verdict.judge import judge
from mandate.verdict.required import required

from . import manifest, output, report
from .errors import InputError
from .manifest import Manifest
from .output import Output
from .parser import COMPARISON_FORMATS
from .progress import progress
from .run import EXIT_HOLDS
from .verdict import MAX_LOOK


def execute(options: argparse.Namespace) -> int:
    """Compare the evidence files; returns the exit code."""
    named = [_named(text) for text in options.evidence]
    outputs, declared = asked(options, keep=[path for _, path in named])
    return conclude([(name, report.read(path)) for name, path in named], declared, options, outputs)


def asked(options: argparse.Namespace, *, keep: Sequence[Path]) -> tuple[Sequence[Output], Manifest | None]:
    """The outputs, and the manifest whose gates are asked for. Raises InputError."""
    read = [*keep, *([options.file] if options.file is not None else [])]
    outputs = output.parse(options.output, keep=read, formats=COMPARISON_FORMATS)
    if not 1 <= options.look <= MAX_LOOK:
        raise InputError(f"--look: got {options.look}, expected 1 for the first look, or a number up to {MAX_LOOK}")
    return outputs, None if options.file is None else manifest.read(options.file, name=options.name)


def conclude(
    named: Sequence[tuple[str, Evidence]],
    declared: Manifest | None,
    options: argparse.Namespace,
    outputs: Sequence[Output],
) -> int:
    """Judge and compare the evidence, write the outputs, and return the exit code."""
    with progress("comparing"):
        candidates = [_candidate(name, evidence, declared, look=options.look) for name, evidence in named]
        try:
            found = compare.compare(candidates, metric=options.metric, load=options.load, look=options.look)
        except ComparisonError as error:
            raise InputError(str(error)) from None
    forms = {
        "text": compare.text,
        "json": compare.document,
        "markdown": compare.markdown,
        "html": compare.html,
    }
    output.deliver(outputs, lambda form, _: forms[form](found))
    return EXIT_HOLDS


def _named(text: str) -> tuple[str, Path]:
    """`NAME=FILE`, or FILE, which is named as the file is without its ending."""
    name, equals, path = text.partition("=")
    if equals and (not name or not path):
        raise InputError(f"{text}: expected FILE or NAME=FILE")
    return (name, Path(path)) if equals else (Path(text).name.removesuffix(".gz").removesuffix(".json"), Path(text))


def _candidate(name: str, evidence: Evidence, declared: Manifest | None, *, look: int) -> Candidate:
    if declared is None:
        return Candidate(name=name, evidence=evidence)
    report.same_settings(declared, evidence, name=name)
    spec = declared.spec
    verdict = judge(
        gates=spec.gates,
        tier=spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=evidence.computed.inputs.champion is not None,
        target=spec.autonomy.target,
        required=required(spec),
    )
    return Candidate(name=name, evidence=evidence, verdict=verdict, target=spec.autonomy.target)
