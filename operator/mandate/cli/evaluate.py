"""`mandate evaluate`: measure and judge."""

from __future__ import annotations

import argparse

from mandate.evaluate.local import evaluate_locally
from mandate.evidence.measurement import evaluation_spec

from . import manifest, output, sources, verdict
from .progress import progress


def execute(options: argparse.Namespace) -> int:
    """Run the evaluation that the manifest declares; returns the exit code."""
    outputs = output.parse(options.output, keep=(options.file,))
    verdict.check(options)
    declared = manifest.read(options.file, name=options.name)
    locate = sources.locator(options.mount, folder=declared.folder)
    asked = evaluation_spec(declared.name, declared.declared)
    with progress(f"evaluating {declared.name}"):
        evidence = evaluate_locally(asked, locate=locate, serve=options.serve)
    return verdict.conclude(declared, evidence, options, outputs)
