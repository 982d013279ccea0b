"""The judge beside others at the same work, in one run: `make bench-judge`.

Every measurement is a process of its own, with the same cores, its files warm in the page cache; import is timed
apart from work, and work includes reading the files. Of some rounds, taken in turns, the least counts. What each side
puts out, written down before measuring:

- Evidently, tables of 24 columns: DataDriftPreset (one distance a column, and how many drifted) and
  ClassificationPreset (accuracy, precision, recall, F1, ROC AUC, log loss, four rates; by label; curves).
- Ours, the same tables: several distances a column with p-values, quality, leakage, and every metric of a Binary task
  with intervals on both tables, on four slices of 30 values each alone and against the rest, and across their groups.
- Evidently and ours, 1,000 columns: drift of every column, as above.
- Reading: pyarrow reads all columns of both files into memory, and nothing else.
- `--millions 2` or `20`: as many million rows of 24 columns, half of them train, written by blocks; as `ours`, once.
- Sliced: 1,000,000 rows with five slices of 100 values (more in one aren't measured one by one), every metric of a
  Binary task with intervals, alone and against the rest; against none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = time.perf_counter()
EVIDENTLY = Path(__file__).parent / "peers" / "evidently_report.py"
ROWS, WIDE_ROWS, WIDE, MILLION, GROUPS, SLICES = 200_000, 30_000, 1000, 1_000_000, 100, 5


def scored(found: Any, *, seed: int, shift: float | None = None) -> Any:
    """A table with a label, a score and an id; `shift` (0.3 for each of `seed`) moves its scores."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(100 + seed)
    signal = np.nan_to_num(found["n1"].to_numpy()) - (0.3 * seed if shift is None else shift)
    chance = 1 / (1 + np.exp(-signal))
    score = np.clip(chance + rng.normal(0, 0.05, len(chance)), 0.001, 0.999)
    named = {"y": (rng.random(len(chance)) < chance).astype(int), "score": score}
    for name, values in (named | {"id": np.arange(len(chance)) + seed * len(chance)}).items():
        found = found.append_column(name, pa.array(values))
    return found


def prepare_rows(folder: Path, millions: int) -> None:
    """Two tables of 24 columns with as many million rows together, written by blocks of ROWS."""
    from pyarrow import parquet

    from tests.bench.drift import table

    blocks = millions * 1_000_000 // ROWS // 2
    for part in range(2):
        writer = None
        for block in range(blocks):
            seed = part * blocks + block
            found = scored(table(rows=ROWS, numbers=20, texts=4, seed=seed), seed=seed, shift=0.3 * part)
            writer = writer or parquet.ParquetWriter(folder / f"rows{millions}-{part}", found.schema)
            writer.write_table(found)
        if writer is not None:
            writer.close()


def prepare(folder: Path) -> None:
    """The files: two tables of 24 columns with labels and scores, two of 1,000 columns, one of a million rows."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    from tests.bench.drift import table

    for seed, name in enumerate(("reference", "current")):
        parquet.write_table(scored(table(rows=ROWS, numbers=20, texts=4, seed=seed), seed=seed), folder / name)
        parquet.write_table(table(rows=WIDE_ROWS, numbers=WIDE, texts=0, seed=seed), folder / f"wide-{name}")
    rng = np.random.default_rng(7)
    found = scored(table(rows=MILLION, numbers=2, texts=0, seed=0), seed=0)
    names = np.array([f"group {index}" for index in range(GROUPS)])
    for index in range(SLICES):
        found = found.append_column(f"g{index}", pa.array(names[rng.integers(0, GROUPS, MILLION)]))
    parquet.write_table(found, folder / "million")


def read(folder: Path) -> int:
    from pyarrow import parquet

    return sum(parquet.read_table(folder / name).num_columns for name in ("reference", "current"))


def wide(folder: Path) -> int:
    from pyarrow import parquet

    from mandate.measure.data.drift import drift
    from mandate.measure.data.profile import profile
    from mandate.measure.work import threads

    workers = threads(len(os.sched_getaffinity(0)))
    tables = [parquet.read_table(folder / f"wide-{name}") for name in ("reference", "current")]
    return len(drift(*(profile([each], workers=workers) for each in tables), workers=workers))


def judged(folder: Path) -> int:
    return _compute({"train": folder / "reference", "test": folder / "current"}, [f"t{index}" for index in range(4)])


def sliced(folder: Path) -> int:
    return _compute({"test": folder / "million"}, [f"g{index}" for index in range(SLICES)])


def unsliced(folder: Path) -> int:
    return _compute({"test": folder / "million"}, [])


def rows2(folder: Path) -> int:
    return _rows(folder, 2)


def rows20(folder: Path) -> int:
    return _rows(folder, 20)


def _rows(folder: Path, millions: int) -> int:
    files = {part: folder / f"rows{millions}-{place}" for place, part in enumerate(("train", "test"))}
    return _compute(files, [f"t{index}" for index in range(4)])


def _compute(files: dict[str, Path], slices: list[str]) -> int:
    from mandate.api import spec
    from mandate.measure.answers import from_columns
    from mandate.measure.engine import compute
    from mandate.measure.split import join
    from mandate.measure.work import threads
    from mandate.sources import read_table

    task = spec.Task(type="Binary", target="y", positive="1", id="id")
    table, split = join({part: read_table(file, format="Parquet") for part, file in files.items()}, task=task)
    features = tuple(name for name in table.column_names if name[0] in "nt")
    computed = compute(
        table=table,
        split=split,
        answers=from_columns(table, ["score"]),
        model=spec.Model(
            version="1",
            source=spec.ModelSource(columns=("score",)),
            output=spec.ModelOutput(),
            inputs=spec.ModelInputs(columns=features),
        ),
        task=task,
        data=spec.Data(
            test=spec.TableSource(uri="rows.parquet"),
            slices=tuple(spec.Slice(name=name, column=name) for name in slices),
        ),
        workers=threads(len(os.sched_getaffinity(0))),
    )
    return len(computed.estimates)


CASES: dict[str, Callable[[Path], int]] = {
    case.__name__: case for case in (read, wide, judged, sliced, unsliced, rows2, rows20)
}
HEAVY = ("mandate.measure.engine", "mandate.measure.data.drift", "pyarrow.parquet")


def child(case: str, folder: Path) -> None:
    """One measurement; prints seconds of import and of work, the peak of memory in bytes, and how much came out."""
    import importlib

    from mandate.memory import frugal

    frugal()  # as the commands do
    for module in HEAVY if case != "read" else HEAVY[2:]:
        importlib.import_module(module)
    imported = time.perf_counter() - START
    start = time.perf_counter()
    outputs = CASES[case](folder)
    work = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"import": imported, "work": work, "peak": peak, "outputs": outputs}))


def run(command: list[str], *, cores: set[int] | None = None) -> dict[str, Any]:
    """What one process measured of itself."""
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=pin)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def least(commands: dict[str, list[str]], *, rounds: int) -> dict[str, dict[str, Any]]:
    """The round with the least work of each, the commands taking turns."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for name, command in commands.items():
            found = run(command)
            if name not in best or found["work"] < best[name]["work"]:
                best[name] = found
    for name, found in best.items():
        peak, outputs = found["peak"] / 2**20, found["outputs"]
        print(
            f"  {name}: {found['work']:.2f} s, import {found['import']:.2f} s, {peak:.0f} MiB, {outputs} outputs",
            flush=True,
        )
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evidently", help="the Python that has Evidently; without, only ours is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help="one measurement in this process, on the files in --folder")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--millions", type=int, choices=(2, 20), help="measure only as many million rows, once")
    options = parser.parse_args()
    if options.case:
        child(options.case, options.folder)
        return
    print(f"cores {len(os.sched_getaffinity(0))}, load before {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.millions:
            prepare_rows(folder, options.millions)
            case = f"rows{options.millions}"
            least({case: [sys.executable, "-m", "tests.bench.judge", "--case", case, "--folder", name]}, rounds=1)
            return
        prepare(folder)

        def ours(case: str) -> list[str]:
            return [sys.executable, "-m", "tests.bench.judge", "--case", case, "--folder", name]

        def theirs(prefix: str, *extra: str) -> dict[str, list[str]]:
            files = [str(folder / f"{prefix}{part}") for part in ("reference", "current")]
            return {"Evidently": [options.evidently, str(EVIDENTLY), *files, *extra]} if options.evidently else {}

        print(f"{ROWS:,} + {ROWS:,} rows x 24 columns: drift, and a binary task's metrics")
        found = least({"ours": ours("judged"), "reading": ours("read")} | theirs("", "labels"), rounds=options.rounds)
        _ratios(found)
        print(f"ratio reading: {found['ours']['work'] / found['reading']['work']:.2f}")
        print(f"{WIDE_ROWS:,} + {WIDE_ROWS:,} rows x {WIDE:,} columns: drift")
        _ratios(least({"ours": ours("wide")} | theirs("wide-"), rounds=options.rounds))
        print(f"{MILLION:,} rows, {SLICES * GROUPS} slice values")
        found = least({"sliced": ours("sliced"), "unsliced": ours("unsliced")}, rounds=options.rounds)
        print(f"ratio sliced: {found['sliced']['work'] / found['unsliced']['work']:.2f}")
        one, all_ = (run(ours("judged"), cores=cores) for cores in ({min(os.sched_getaffinity(0))}, None))
        print(f"ratio one core: {one['work'] / all_['work']:.2f}")


def _ratios(found: dict[str, dict[str, Any]]) -> None:
    if "Evidently" in found:
        print(f"ratio evidently: {found['Evidently']['work'] / found['ours']['work']:.1f}")
        print(f"memory ratio: {found['ours']['peak'] / found['Evidently']['peak']:.2f}")


if __name__ == "__main__":
    main()
