"""Judging evidence for a manifest: what `evaluate` and `report` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mandate.evidence.schema import Evidence
from mandate.report.content import LookSource, Report, build
from mandate.verdict.criteria import looked_digest, settings_digest
from mandate.verdict.judge import judge
from mandate.verdict.looks import look_at
from mandate.verdict.required import required

from . import ledger
from .errors import InputError
from .manifest import Manifest
from .output import Output, write
from .progress import progress
from .run import EXIT_HOLDS, EXIT_NOT_JUDGED, EXIT_REFUSED

MAX_LOOK = 10_000
"""By then a look's share of the error budget is too small to decide anything on."""
EXITS = {"Holds": EXIT_HOLDS, "Refused": EXIT_REFUSED, "NotJudged": EXIT_NOT_JUDGED}


def check(options: argparse.Namespace) -> None:
    """Refuse looks that can't be, and ledgers that can't be read, before anything is measured."""
    if options.look is not None and not 1 <= options.look <= MAX_LOOK:
        raise InputError(f"--look: got {options.look}, expected 1 for the first look, or a number up to {MAX_LOOK}")
    if options.ledger is not None:
        ledger.read(options.ledger)


def conclude(manifest: Manifest, evidence: Evidence, options: argparse.Namespace, outputs: Sequence[Output]) -> int:
    """Judge, write the outputs, and return the exit code."""
    with progress(f"judging {manifest.name}"):
        report = judged(manifest, evidence, options)
    write(outputs, report=report, evidence=evidence, manifest=manifest)
    return EXITS[report.result]


def judged(manifest: Manifest, evidence: Evidence, options: argparse.Namespace) -> Report:
    """The report on evidence under a manifest's criteria; takes a look where there is a ledger."""
    spec = manifest.spec
    target = spec.autonomy.target
    look, source = _look(manifest, evidence, options)
    verdict = judge(
        gates=spec.gates,
        tier=spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=evidence.computed.inputs.champion is not None,
        target=target,
        required=required(spec),
    )
    return build(
        name=manifest.name,
        spec=spec,
        evidence=evidence,
        verdict=verdict,
        look_source=source,
        history=manifest.history,
    )


def _look(manifest: Manifest, evidence: Evidence, options: argparse.Namespace) -> tuple[int, LookSource]:
    if options.ledger is not None:
        criteria, settings = looked_digest(manifest.spec), settings_digest(manifest.spec, evidence)
        return ledger.take(options.ledger, look_at(evidence, criteria=criteria, settings=settings)), "Ledger"
    return (1, "Assumed") if options.look is None else (options.look, "Given")
