"""The `kubectl-mandate` command, which kubectl runs as `kubectl mandate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Usage errors and --help leave by SystemExit, as argparse does."""
    from .parser import build_kubectl

    options = build_kubectl().parse_args(arguments)
    from .run import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
