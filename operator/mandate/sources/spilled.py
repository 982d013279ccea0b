"""Tables that are too large to be held: in a file of Arrow batches, written while they are read, and mapped.

Pages of a mapped file are the kernel's to drop whenever memory is short, and come back from the file. The file has no
name any more once it is mapped: nobody can cut it short, and it goes with the process, however that ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from .errors import SourceError

BLOCK_ROWS = 1 << 17
"""Rows that are read and written at a time."""


@dataclass(frozen=True, kw_only=True)
class Spill:
    """A table of more than `most` bytes, as Arrow holds it, lies in `folder` (where left out, that of TMPDIR)."""

    most: int
    folder: Path | None = None

    def mapped(self, blocks: Iterable[pa.Table], *, name: str) -> pa.Table:
        """The rows of `blocks` (at least one; of one schema) in their order, mapped. Raises SourceError NoSpace.

        `name` is what the user calls the table. What `blocks` raises is passed on, and leaves no file.
        """
        folder = self.folder or Path(tempfile.gettempdir())
        rest = iter(blocks)
        first = next(rest)
        try:
            descriptor, path = tempfile.mkstemp(prefix="mandate-", suffix=".arrow", dir=folder)
            os.close(descriptor)
        except OSError as error:
            raise _no_space(name, folder, error) from None
        try:
            with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, first.schema) as writer:
                for block in chain([first], rest):
                    writer.write_table(block.combine_chunks())
            with pa.memory_map(path) as file:
                return pa.ipc.open_file(file).read_all()
        except OSError as error:
            raise _no_space(name, folder, error) from None
        finally:
            os.unlink(path)

    def held(self, table: pa.Table, *, name: str) -> pa.Table:
        """The table itself, or mapped where it is larger."""
        return table if table.nbytes <= self.most else self.mapped(_blocks(table), name=name)


def _blocks(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, BLOCK_ROWS):
        yield table.slice(start, BLOCK_ROWS)


def _no_space(name: str, folder: Path, error: OSError) -> SourceError:
    return SourceError(
        "NoSpace",
        f"{name}: is too large for --memory and can't be written to {folder}: {error}; set TMPDIR to a folder with "
        "room for the whole table, or give more memory",
    )
