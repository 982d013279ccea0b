"""What drift takes: two tables of Parquet, every column profiled and compared, beside merely reading them.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.drift [--workers 2] [--rounds 5]

Prints, for 200,000 + 200,000 rows of 24 columns (20 numbers, 4 texts) and for 30,000 + 30,000 rows of 1,000 numbers,
the least seconds of all rounds to read both files with pyarrow, and to profile and compare the tables in memory; by
the clock and, for a busy machine, of the processor. Then what a stored profile of the first reference takes: bytes,
and seconds to compare with it. The files lie in a temporary folder and are warm in the page cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mandate.measure.data.drift import drift
from mandate.measure.data.profile import Profile, dumps, loads, profile
from mandate.measure.work import Workers, threads

T = TypeVar("T")


def table(*, rows: int, numbers: int, texts: int, seed: int, shift: float | None = None) -> pa.Table:
    """Normal and skewed numbers in turn, some rounded, some with gaps; texts of 30 values; one column is moved by
    `shift` (0.3 for each of `seed`)."""
    rng = np.random.default_rng(seed)
    moved = 0.3 * seed if shift is None else shift
    columns: dict[str, pa.Array] = {}
    for index in range(numbers):
        values = rng.normal(size=rows) if index % 2 else rng.lognormal(size=rows)
        values = np.round(values, 2) if index % 4 == 3 else values
        mask = rng.random(rows) < 0.05 if index % 5 == 0 else None
        columns[f"n{index}"] = pa.array(values + (moved if index == 1 else 0.0), mask=mask)
    names = np.array([f"value {index}" for index in range(30)])
    for index in range(texts):
        columns[f"t{index}"] = pa.array(names[rng.integers(0, len(names), rows)])
    return pa.table(columns)


@dataclass(frozen=True)
class Took:
    """The least seconds of some rounds, by the clock and of the processor."""

    wall: float
    cpu: float

    def __add__(self, other: Took) -> Took:
        return Took(self.wall + other.wall, self.cpu + other.cpu)

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.cpu:.2f} s of the processor)"


def least(action: Callable[[], T], rounds: int) -> tuple[Took, T]:
    """What some rounds took at least, and the last result."""
    times = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        result = action()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Took(*map(min, zip(*times, strict=True))), result


def measure(
    folder: Path, *, rows: int, numbers: int, texts: int, workers: Workers, rounds: int
) -> tuple[Profile, Profile]:
    paths = [folder / "reference.parquet", folder / "current.parquet"]
    for seed, path in enumerate(paths):
        parquet.write_table(table(rows=rows, numbers=numbers, texts=texts, seed=seed), path)
    reading, tables = least(lambda: [parquet.read_table(path) for path in paths], rounds)
    profiling, found = least(lambda: [profile([each], workers=workers) for each in tables], rounds)
    comparing, columns = least(lambda: drift(*found, workers=workers), rounds)
    what = f"{rows:,} + {rows:,} rows x {numbers + texts} columns"
    whole = profiling + comparing
    print(f"{what}: reading {reading}; profiles {profiling}, distances {comparing}: {whole}", flush=True)
    changed, ratio = sum(column.changed for column in columns), (reading + whole).cpu / reading.cpu
    print(f"  with reading {ratio:.1f} x the processor's time of reading; {changed} changed")
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.workers} workers, load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        measured = {"workers": threads(options.workers), "rounds": options.rounds}
        reference, current = measure(Path(name), rows=200_000, numbers=20, texts=4, **measured)
        stored = dumps(reference.coarsen())
        took, _ = least(lambda: drift(loads(stored), current.coarsen()), options.rounds)
        print(f"stored reference: {len(stored):,} bytes; read and compared in {took}")
        measure(Path(name), rows=30_000, numbers=1000, texts=0, **measured)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, the tables included")


if __name__ == "__main__":
    main()
