"""Files behind a manifest's URIs: `--mount` for claims, the manifest's folder for relative paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mandate.evaluate.model_file import Locate
from mandate.sources import locate

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


def locator(given: Sequence[str], *, folder: Path) -> Locate:
    """Finds files as the options say. Raises InputError."""
    return partial(locate, mounts=mounts(given), base=folder)
