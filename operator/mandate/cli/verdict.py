"""Judging evidence for a manifest: what `evaluate` and `report` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a cluster knows of an evaluation beside its evidence: whether there is a champion to compare with, whether
    this model is it, and which look at the test rows the operator counted; None where that isn't on record.
    """

    champion: bool
    itself: bool = False
    look: int | None = None


def check(options: argparse.Namespace) -> None:
    """Refuse looks that can't be, and ledgers that can't be read, before anything is measured."""
    if options.look is not None and not 1 <= options.look <= MAX_LOOK:
        raise InputError(f"--look: got {options.look}, expected 1 for the first look, or a number up to {MAX_LOOK}")
    if options.ledger is not None:
        ledger.read(options.ledger)


def conclude(
    manifest: Manifest,
    evidence: Evidence,
    options: argparse.Namespace,
    outputs: Sequence[Output],
    *,
    known: Known | None = None,
) -> int:
    """Judge, write the outputs, and return the exit code."""
    with progress(f"judging {manifest.name}"):
        report = judged(manifest, evidence, options, known=known)
    write(outputs, report=report, evidence=evidence, manifest=manifest)
    return EXITS[report.result]


def judged(
    manifest: Manifest, evidence: Evidence, options: argparse.Namespace, *, known: Known | None = None
) -> Report:
    """The report on evidence under a manifest's criteria; takes a look where there is a ledger."""
    spec = manifest.spec
    target = spec.autonomy.target
    known = known or Known(champion=evidence.computed.inputs.champion is not None)
    look, source = _look(manifest, evidence, options, counted=known.look)
    verdict = judge(
        gates=spec.gates,
        tier=spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=known.champion,
        itself=known.itself,
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


def _look(
    manifest: Manifest, evidence: Evidence, options: argparse.Namespace, *, counted: int | None
) -> tuple[int, LookSource]:
    """Which look it is, and who says so: the options before what the operator `counted`."""
    if options.ledger is not None:
        criteria, settings = looked_digest(manifest.spec), settings_digest(manifest.spec, evidence)
        return ledger.take(options.ledger, look_at(evidence, criteria=criteria, settings=settings)), "Ledger"
    if options.look is not None:
        return options.look, "Given"
    return (1, "Assumed") if counted is None else (counted, "Operator")
