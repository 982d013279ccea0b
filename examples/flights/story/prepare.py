"""Make the story's two tables: flights until September to train on and to test with, and later ones to be replayed.

`flights.parquet` is every fourth flight of January to September, drawn by its id: a quarter is enough for the story and
is judged in a quarter of the time. `production.parquet` is every flight from October on, in order of departure.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from examples.flights.prepare import prepare, source_folder

PRODUCTION = "2013-10-01"
"""The first day that is replayed."""
EVERY = 4
"""Of this many earlier flights one is kept."""


def divide(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The flights that train and test, and those that are replayed; both in order of departure."""
    later = pc.greater_equal(table["date"], PRODUCTION)
    earlier = table.filter(pc.invert(later))
    drawn = np.array([zlib.crc32(name.encode()) % EVERY == 0 for name in earlier["flight_id"].to_pylist()])
    return earlier.filter(pa.array(drawn)), table.filter(later)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the tables of the flights story.")
    parser.add_argument("--out", type=Path, default=Path("out/story"), help="folder to fill (default: %(default)s)")
    out: Path = parser.parse_args().out
    history, production = divide(prepare(source_folder()))
    for target, table in ((out / "data" / "flights.parquet", history), (out / "production.parquet", production)):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed, so that nobody finds half a file.
        half = target.with_suffix(".part")
        parquet.write_table(table, half, compression="zstd")
        half.replace(target)
        print(f"{target}: {table.num_rows:,} flights, {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
