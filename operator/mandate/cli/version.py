"""`mandate version`."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version


def execute(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the package's version."""
    print(f"mandate {installed()}")
    return 0


def installed() -> str:
    """The package's version; `unknown` where it runs from a source tree that isn't installed."""
    try:
        return version("mandate-operator")
    except PackageNotFoundError:
        return "unknown (not installed)"
