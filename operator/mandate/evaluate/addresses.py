"""`NAME=URL` on a command line: where a baseline's container listens. Imports little, for the sake of --help."""

from __future__ import annotations

import argparse
import re

_ADDRESS = re.compile(r"([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)=(https?://[A-Za-z0-9\[][^/?#@\s]*)/?")


def addressed(text: str) -> tuple[str, str]:
    """Name and URL. Raises ArgumentTypeError."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected NAME=URL, a baseline's name and where its container listens, such as "
            "rival=http://127.0.0.1:8082"
        )
    return found[1], found[2]
