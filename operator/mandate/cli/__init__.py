"""The `mandate` command."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Usage errors and --help leave by SystemExit, as argparse does."""
    from mandate.memory import frugal
    from mandate.processor import narrow

    from .parser import build

    narrow()
    frugal()
    options = build().parse_args(arguments)
    from .run import run

    return run(options)
