"""How a server is told what to record, where to, and whose it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import get_args

from .recording import Declared, Kind
from .shipping import Shipper, Source

FLUSH_SECONDS = 2.0
"""How long recording goes on after a signal."""


def add_recording(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add the options; some may come from the environment instead."""
    group = parser.add_argument_group("recording", "where predictions are sent to, whose they are, how they are read")

    def flag(name: str, text: str) -> None:
        variable = "MANDATE_" + name.upper().replace("-", "_")
        group.add_argument(f"--{name}", default=environment.get(variable, ""), help=f"{text} [${variable}]")

    flag("record", "URL of the recorder; nothing is recorded where empty")
    flag("namespace", "the ModelDeployment's namespace")
    flag("model-deployment", "the ModelDeployment's name")
    flag("revision", "the revision that is served")
    group.add_argument("--output", default="probabilities", help="the output that is the answer")
    group.add_argument("--output-kind", choices=get_args(Kind), default="Probability")
    text = "a column's class or quantile; once a column"
    group.add_argument("--class", action="append", default=[], dest="classes", help=text)
    group.add_argument("--positive", help="Binary: the positive class")
    group.add_argument("--cutoff", type=float, default=0.5, help="Binary: from here on the answer is positive")


def shipper_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> tuple[Shipper | None, Declared]:
    """What the options ask for; no Shipper where nothing is to be recorded. Ends the process where they don't fit."""
    declared = Declared(
        output=options.output,
        kind=options.output_kind,
        classes=tuple(options.classes),
        positive=options.positive,
        cutoff=options.cutoff,
    )
    if not options.record:
        return None, declared
    for name in ("namespace", "model-deployment", "revision"):
        if not getattr(options, name.replace("-", "_")):
            parser.error(f"--{name} is needed with --record")
    if (problem := declared.problem()) is not None:
        parser.error(f"--output-kind {declared.kind}: {problem}")
    source = Source(namespace=options.namespace, model=options.model_deployment, revision=options.revision)
    try:
        return Shipper(options.record, source=source, declared=declared), declared
    except ValueError as error:
        parser.error(f"--record: {error}")
