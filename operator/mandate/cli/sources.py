"""Files behind a manifest's URIs: `--mount` for claims, `--credentials` for Secrets, the manifest's folder for relative
paths."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mandate.sources import Reader

from .errors import InputError

PREFIX = "pvc://"


def mounts(given: Sequence[str]) -> dict[str, Path]:
    """`pvc://CLAIM=DIR` as a map. Raises InputError."""
    found: dict[str, Path] = {}
    for item in given:
        claim, equals, folder = item.removeprefix(PREFIX).partition("=")
        claim = claim.rstrip("/")
        if not equals or not claim or not folder or "/" in claim:
            raise InputError(f"--mount {item}: expected {PREFIX}CLAIM=DIR, such as {PREFIX}data=./data")
        if claim in found:
            raise InputError(f"--mount {item}: claim {claim!r} is mounted twice; keep one of them")
        if not Path(folder).is_dir():
            raise InputError(f"--mount {item}: there is no directory {folder}")
        found[claim] = Path(folder)
    return found


def credentials(given: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` as a map. Raises InputError."""
    found: dict[str, Path] = {}
    for item in given:
        name, _, folder = item.partition("=")
        if not name or not folder:
            raise InputError(f"--credentials {item}: expected NAME=DIR, a folder with a file per key of the Secret")
        if name in found:
            raise InputError(f"--credentials {item}: {name!r} is given twice; keep one of them")
        if not Path(folder).is_dir():
            raise InputError(f"--credentials {item}: there is no directory {folder}")
        found[name] = Path(folder)
    return found


@contextmanager
def reading(options: argparse.Namespace, *, folder: Path) -> Iterator[Reader]:
    """Reads files as the options say; what servers hold is kept until the end. Raises InputError."""
    with tempfile.TemporaryDirectory(prefix="mandate-") as downloads:
        yield Reader(
            mounts=mounts(options.mount),
            base=folder,
            credentials=credentials(options.credentials),
            downloads=Path(downloads),
        )
