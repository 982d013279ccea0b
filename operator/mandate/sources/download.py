"""What downloads have in common: limits, and a file that is there whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long and how much. Seconds and bytes."""

    size: int = 8 << 30
    connect: float = 10.0
    read: float = 60.0
    """Between two pieces of an answer."""
    total: float = 3600.0
    """For one file, all requests, redirects and pauses included."""
    attempts: int = 5
    first_pause: float = 1.0
    """Before the second attempt; it doubles from then on."""
    longest_pause: float = 30.0
    """Also where a server asks for more."""
    redirects: int = 5

    def check_size(self, size: int, *, name: str) -> None:
        """Raises SourceError `TooLarge`."""
        if size > self.size:
            words = f"has more than {self.size} bytes; put it into a volume, or make it smaller"
            raise SourceError("TooLarge", f"{name}: {words}")

    def too_slow(self, name: str) -> SourceError:
        """A file that took longer than `total`."""
        return SourceError("TooSlow", f"{name}: took longer than {self.total:g} s; try again, or use a nearer place")


def keep(
    blocks: Iterable[bytes],
    into: Path,
    *,
    name: str,
    limits: Limits,
    expected: int | None = None,
    until: float,
    clock: Callable[[], float],
) -> str:
    """Write the blocks to `into` and return the sha256 of their bytes.

    Raises SourceError: TooLarge, TooSlow once `clock` is past `until`, Truncated unless there are `expected` bytes;
    then nothing stands at `into`.
    """
    hasher, size = hashlib.sha256(), 0
    with whole(into) as file:
        for block in blocks:
            size += len(block)
            limits.check_size(size, name=name)
            if clock() > until:
                raise limits.too_slow(name)
            hasher.update(block)
            file.write(block)
        if expected is not None and size != expected:
            raise truncated(name)
    return "sha256:" + hasher.hexdigest()


@contextmanager
def whole(into: Path) -> Iterator[BinaryIO]:
    """A file to write, which stands at `into` only once all went well."""
    partial = into.with_name(f".{into.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(into)
    finally:
        partial.unlink(missing_ok=True)


def truncated(name: str) -> SourceError:
    """An answer that ended too early."""
    return SourceError("Truncated", f"{name}: the answer ended early, nothing of it was taken; try again")
