"""Where arrays of every row lie while they are needed: in memory, or in files whose pages the kernel may drop."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .table import MeasureError

Kept = TypeVar("Kept", bound="NDArray[Any] | None")

LEAST = 1 << 23
"""Bytes of an array that is worth a file of its own."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Arrays of at least `least` bytes lie in files of `folder`; all in memory where there is none.

    A file has no name, and goes with its array. What is in an array doesn't depend on where it lies.
    """

    folder: Path | None = None
    least: int = LEAST

    def empty(self, shape: int | tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        """An array to be filled. Raises MeasureError NoSpace."""
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        if self.folder is None or size < max(self.least, 1):
            return np.empty(shape, dtype=kind)
        try:
            with tempfile.TemporaryFile(prefix="mandate-", dir=self.folder) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process, not raise
                return np.ndarray(shape, dtype=kind, buffer=mmap.mmap(file.fileno(), size))
        except OSError as error:
            raise MeasureError(
                "NoSpace",
                f"{size / 2**20:,.0f} MiB of what is known of each row can't be written to {self.folder}: {error}; set "
                "TMPDIR to a folder with more room, or give more memory",
            ) from None

    def keep(self, values: Kept) -> Kept:
        """The same values in the same shape, for as long as they are asked for. Raises MeasureError NoSpace."""
        if values is None or self.folder is None or values.dtype.hasobject or values.nbytes < max(self.least, 1):
            return values
        found = self.empty(values.shape, values.dtype)
        found[...] = values
        return found  # type: ignore[return-value]


HELD = Shelf()
