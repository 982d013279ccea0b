"""The judge beside others at the same work, in one run: `make bench-judge`.

Every measurement is a process of its own, with the same cores, its files warm in the page cache; import is timed
apart from work (pandas' too, which pyarrow imports where it is installed), and work includes reading the files. Of
some rounds, taken in turns, the least counts; Evidently on 1,000 columns, which takes many minutes, has one round, and
so has ours beside it. `--write` puts the table of bars into docs/benchmarks.md. What
each side puts out, written down before measuring:

- Evidently, tables of 24 columns: DataDriftPreset (one distance a column, and how many drifted) and
  ClassificationPreset (accuracy, precision, recall, F1, ROC AUC, log loss, four rates; by label; curves).
- Alike, the same tables, and what the bar says, no more: drift of all 24 columns (several distances with p-values),
  every metric of a Binary task with its interval on both tables and between them, and the same on four slices of 30
  values each, alone, against the rest, and across their groups. Of the product's own functions, as the engine calls
  them.
- Judged, the same tables, everything that an evaluation measures: as alike, and row keys and shared rows, quality,
  leakage (giveaways by every feature among it), the search for where the model is weakest, reliability.
- Unfitted: judged without what is fitted or searched for: no giveaways, no weakest slice. Profiles, drift, quality, row
  keys and shared rows; metrics on both tables and on the slices, with intervals. No baseline and no domain classifier,
  which judged hasn't either.
- Reading: pyarrow reads all columns of both files into memory, and nothing else.
- Fitted: judged, with a champion's scores and baselines of five types, each fitted to the training rows: Prior,
  MostFrequent, Stratified, Threshold, Linear; every number also against each of the six. Threshold and Linear are
  found on all 24 columns.
- Evidently and ours, 1,000 columns: drift of every column, as above.
- Served: 200,000 rows of 24 numbers, a logistic regression and 100 trees (tests/bench/served.py): all answers.
- Many: 20 million rows of 24 columns, mapped from a file, and 2 million.
- `--millions 2` or `20`, alone: as many million rows of 24 columns, half of them train, written by blocks; as `ours`,
  once; and with the tables mapped from a file, as `--memory` has it. Anonymous memory, without the file's pages, is
  what the kernel can't drop; it is sampled.
- Sliced: 1,000,000 rows with five slices of 100 values (more in one aren't measured one by one), every metric of a
  Binary task with intervals, alone and against the rest; against none.
- Cold: `mandate evaluate` on 8,000 rows with a slice of six values, two baselines, three gates, as
  tests/bench/cold_start.py has it.
- One core: 2 million rows of 24 columns, as `ours`, which takes more than 10 s, on one core against all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import served

if TYPE_CHECKING:
    from mandate.sources import Spill

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
            # One shift for a whole part: with the block's it would leave late blocks without a negative.
            shift = 0.3 * part
            found = scored(table(rows=ROWS, numbers=20, texts=4, seed=seed, shift=shift), seed=seed, shift=shift)
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
    rng = np.random.default_rng(8)
    scores = [parquet.read_table(folder / name, columns=["score"])["score"] for name in ("reference", "current")]
    known = np.concatenate([found.to_numpy() for found in scores])
    rival = np.clip(known + rng.normal(0, 0.1, len(known)), 0.001, 0.999)
    parquet.write_table(pa.table({"score": rival}), folder / "rival")
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


def alike(folder: Path) -> int:
    return _beside(folder, more=False)


def unfitted(folder: Path) -> int:
    return _beside(folder, more=True)


def judged(folder: Path) -> int:
    return _compute(_both(folder), TEXTS)


def fitted(folder: Path) -> int:
    return _compute(_both(folder), TEXTS, champion=folder / "rival", baselines=BASELINES)


def sliced(folder: Path) -> int:
    return _compute({"test": folder / "million"}, [f"g{index}" for index in range(SLICES)])


def unsliced(folder: Path) -> int:
    return _compute({"test": folder / "million"}, [])


TEXTS = [f"t{index}" for index in range(4)]
BASELINES = ("Prior", "MostFrequent", "Stratified", "Threshold", "Linear")


def _both(folder: Path) -> dict[str, Path]:
    return {"train": folder / "reference", "test": folder / "current"}


def _beside(folder: Path, *, more: bool) -> int:
    """Drift, and one model's numbers overall and on slices; with `more`, quality, row keys and shared rows."""
    import numpy as np
    import pyarrow as pa
    from threadpoolctl import threadpool_limits

    from mandate.api import spec
    from mandate.measure.answers import from_columns, hear, truth
    from mandate.measure.data import shards
    from mandate.measure.data.drift import compare, decided
    from mandate.measure.data.profile import Profile
    from mandate.measure.data.quality import quality
    from mandate.measure.judge import Judge
    from mandate.measure.metrics import Declared
    from mandate.measure.slices import assign_all
    from mandate.measure.split import PARTS, Split, join
    from mandate.measure.work import threads
    from mandate.sources import read_table

    task = spec.Task(type="Binary", target="y", positive="1", id="id" if more else None)
    tables = {part: read_table(file, format="Parquet") for part, file in _both(folder).items()}
    if more:
        table, split = join(tables, task=task)
    else:
        table = pa.concat_tables(tables.values())
        part = np.repeat([PARTS.index(part) for part in tables], [len(found) for found in tables.values()])
        keys = np.arange(table.num_rows, dtype=np.uint64)
        split = Split(part=part.astype(np.int8), keys=keys, digest="sha256:" + "0" * 64)
    names = [name for name in table.column_names if name[0] in "nt"]
    workers = threads(len(os.sched_getaffinity(0)))

    def data() -> int:
        counts, limit = split.counts(), shards.cells(table.num_rows, len(names))

        def one(name: str, columns: dict[Any, Any]) -> tuple[int, Any]:
            of = {part: Profile(rows=counts[part], limit=limit, columns={name: columns[part]}) for part in columns}
            said = quality(of["train"], part="train") + quality(of["test"], part="test", reference=of["train"])
            return len(said), compare(name, columns["train"], columns["test"])

        found = [*shards.by_column(table, split, names, workers=workers, then=one if more else just_drift)]
        columns = decided([column for _, column in found if column is not None])
        return sum(said for said, _ in found) + sum(len(column.distances) for column in columns)

    def just_drift(name: str, columns: dict[Any, Any]) -> tuple[int, Any]:
        return 0, compare(name, columns["train"], columns["test"])

    with threadpool_limits(limits=1, user_api="blas"), workers.here.aside() as submit:
        examined = submit(data)
        actual, classes = truth(table, task)
        output = spec.ModelOutput()
        mine = hear(from_columns(table, ["score"]), rows=table.num_rows, task=task, output=output, classes=classes)
        assert mine.score is not None
        rows = {part: np.flatnonzero(split.rows(part)) for part in PARTS}
        judge = Judge(
            task="Binary",
            actual=actual,
            classes=classes,
            mine=mine,
            others={},
            clusters=None,
            weights=None,
            known=None,
            parts={part: found[np.argsort(mine.score[found], kind="stable")] for part, found in rows.items()},
            declared=Declared(),
            queries=None,
            costs_fault=None,
        )
        overall, remainder = judge.overall()
        slices = assign_all(
            table, [spec.Slice(name=name, column=name) for name in TEXTS], train=split.rows("train"), workers=workers
        )
        pending = [submit(lambda each=each: list(judge.sliced(each, remainder))) for each in slices]
        estimates = [*overall, *(judge.facts(split) if more else ())]
        return len(estimates) + sum(len(each.result()) for each in pending) + int(examined.result())


def rows2(folder: Path) -> int:
    return _rows(folder, 2)


def rows20(folder: Path) -> int:
    return _rows(folder, 20)


def mapped2(folder: Path) -> int:
    return _rows(folder, 2, mapped=True)


def mapped20(folder: Path) -> int:
    return _rows(folder, 20, mapped=True)


def _rows(folder: Path, millions: int, *, mapped: bool = False) -> int:
    from mandate.sources import Spill

    files = {part: folder / f"rows{millions}-{place}" for place, part in enumerate(("train", "test"))}
    return _compute(files, TEXTS, spill=Spill(most=0, folder=folder) if mapped else None)


def _compute(
    files: dict[str, Path],
    slices: list[str],
    *,
    champion: Path | None = None,
    baselines: Sequence[str] = (),
    spill: Spill | None = None,
) -> int:
    from mandate.api import spec
    from mandate.measure.answers import from_columns
    from mandate.measure.engine import compute
    from mandate.measure.shelf import HELD, Shelf
    from mandate.measure.split import join
    from mandate.measure.work import threads
    from mandate.sources import read_table

    task = spec.Task(type="Binary", target="y", positive="1", id="id")
    read_ = {part: read_table(file, format="Parquet", spill=spill) for part, file in files.items()}
    shelf = HELD if spill is None else Shelf(folder=spill.folder)
    table, split = join(read_, task=task, shelf=shelf)
    del read_
    features = tuple(name for name in table.column_names if name[0] in "nt")
    model = spec.Model(
        version="1",
        source=spec.ModelSource(columns=("score",)),
        output=spec.ModelOutput(),
        inputs=spec.ModelInputs(columns=features),
    )
    computed = compute(
        table=table,
        split=split,
        answers=from_columns(table, ["score"]).kept(shelf),
        model=model,
        task=task,
        data=spec.Data(
            test=spec.TableSource(uri="rows.parquet"),
            slices=tuple(spec.Slice(name=name, column=name) for name in slices),
        ),
        references=tuple(spec.Baseline(name=kind.lower(), type=kind) for kind in baselines),
        champion=None if champion is None else from_columns(read_table(champion, format="Parquet"), ["score"]),
        champion_model=None if champion is None else model,
        workers=threads(len(os.sched_getaffinity(0))),
        shelf=shelf,
    )
    return len(computed.estimates)


CASES: dict[str, Callable[[Path], Any]] = {
    case.__name__: case for case in (read, wide, alike, unfitted, judged, fitted, sliced, unsliced, rows2, rows20)
} | {case.__name__: case for case in (mapped2, mapped20)}
for _model in served.MODELS:
    CASES[f"served-{_model}"] = lambda folder, model=_model: served.served(folder, model=model)
    CASES[f"onnx-{_model}"] = lambda folder, model=_model: served.in_process(folder, model=model)
HEAVY = ("mandate.measure.engine", "mandate.measure.data.drift", "pyarrow.parquet")


def child(case: str, folder: Path) -> None:
    """One measurement; prints seconds of import and of work, the peak of memory in bytes, and how much came out.

    Where the case tells seconds itself, by stage, `predict` is the work.
    """
    import importlib

    from mandate.memory import frugal
    from mandate.processor import narrow

    narrow()  # as the commands do, both
    frugal()
    for module in HEAVY if case != "read" else HEAVY[2:]:
        importlib.import_module(module)
    pyarrow, numpy = importlib.import_module("pyarrow"), importlib.import_module("numpy")
    pyarrow.array(numpy.zeros(1))  # with its first array it imports pandas, if that is there
    imported = time.perf_counter() - START
    start = time.perf_counter()
    with most_anonymous() as anonymous:
        outputs = CASES[case](folder)
    work = time.perf_counter() - start
    peak = most_memory()
    found: dict[str, Any] = {"import": imported, "work": work, "peak": peak, "outputs": outputs}
    found["anonymous"] = max(anonymous)
    if isinstance(outputs, dict):
        found |= {"work": outputs["predict"], "outputs": served.ROWS, "stages": outputs, "whole": work}
    print(json.dumps(found))


@contextmanager
def most_anonymous() -> Iterator[list[int]]:
    """Bytes that this process holds and the kernel can't drop, some fifty times a second; at least one number."""
    found, over = [_memory("RssAnon")], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            found.append(_memory("RssAnon"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def most_memory() -> int:
    """Peak of this process's own memory in bytes. getrusage's would be that of the process that started it, if more."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


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
            f"  {name}: {found['work']:.2f} s, import {found['import']:.2f} s, {peak:.0f} MiB, {outputs:,} outputs",
            flush=True,
        )
    return best


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A measured figure beside what it must be: at least `least`, at most `most`, or (neither) nothing is asked."""

    work: str
    figure: float
    told: str
    least: float | None = None
    most: float | None = None
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)

    def row(self) -> str:
        """In the page's table."""
        asked = "–"
        if self.met is not None:
            asked = f"≥ {self.least:g} {self.unit}" if self.least is not None else f"≤ {self.most:g} {self.unit}"
        word = {None: "–", True: "yes", False: "**no**"}[self.met]
        return f"| {self.work} | {asked} | {self.figure:.2f} {self.unit} | {word} | {self.told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evidently", help="the Python that has Evidently; without, only ours is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help="one measurement in this process, on the files in --folder")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", type=Path, help="the page whose block of figures is written anew")
    parser.add_argument("--millions", type=int, choices=(2, 20), help="measure only as many million rows, once")
    options = parser.parse_args()
    if options.case:
        child(options.case, options.folder)
        return
    page = None if options.write is None else put(options.write.read_text(), "bench", "")  # fails before measuring
    cores, before = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    began = datetime.now(UTC)
    print(f"cores {cores}, load before {before:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        if options.millions:
            prepare_rows(Path(name), options.millions)
            cases = [f"{kind}{options.millions}" for kind in ("rows", "mapped")]
            command = [sys.executable, "-m", "tests.bench.judge", "--folder", name, "--case"]
            found = least({case: [*command, case] for case in cases}, rounds=1)
            held, mapped = (found[case] for case in cases)
            for figure in ("anonymous", "peak", "work"):
                print(f"ratio mapped to held, {figure}: {mapped[figure] / held[figure]:.2f}", flush=True)
            return
        bars = measure(Path(name), evidently=options.evidently, rounds=options.rounds)
    words = f"{began:%Y-%m-%d %H:%M} UTC, {_machine()}; {cores} cores"
    load = f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after; least of {options.rounds} rounds"
    told = [f"{words}, {load}. {_versions(options.evidently)}.", ""]
    told += ["| work | bar | measured | met | figures |", "|---|---|---|---|---|", *(bar.row() for bar in bars)]
    print("\n".join(told[2:]))
    if page is not None:
        options.write.write_text(put(page, "bench", "\n".join(told)))


def measure(folder: Path, *, evidently: str | None, rounds: int) -> list[Bar]:
    """Every bar's figure, printed as it comes."""
    prepare(folder)
    served.prepare(folder)

    def ours(case: str) -> list[str]:
        return [sys.executable, "-m", "tests.bench.judge", "--case", case, "--folder", str(folder)]

    def theirs(prefix: str, *extra: str) -> dict[str, list[str]]:
        files = [str(folder / f"{prefix}{part}") for part in ("reference", "current")]
        return {"Evidently": [evidently, str(EVIDENTLY), *files, *extra]} if evidently else {}

    bars: list[Bar] = []
    print(f"{ROWS:,} + {ROWS:,} rows x 24 columns: drift, and a binary task's metrics")
    cases = ("alike", "judged", "unfitted", "read", "fitted")
    found = least({case: ours(case) for case in cases} | theirs("", "labels"), rounds=rounds)
    if evidently:
        for case, words, least_, most in (("alike", "", 20.0, 0.5), ("judged", ", everything", None, None)):
            bars += _beside_evidently(found, case, words, least_=least_, most=most)
    bars.append(_ratio("without fitted parts, against reading", found, "unfitted", "read", most=3.0))
    bars.append(_ratio("everything, against reading", found, "judged", "read"))
    bars.append(_ratio("champion and five fitted baselines, against one model", found, "fitted", "judged", most=2.5))
    print(f"{WIDE_ROWS:,} + {WIDE_ROWS:,} rows x {WIDE:,} columns: drift")
    found = least({"wide": ours("wide")} | theirs("wide-"), rounds=1)
    if evidently:
        bars += _beside_evidently(found, "wide", f", {WIDE:,} columns' drift", least_=20.0, most=None)
    print(f"{MILLION:,} rows, {SLICES * GROUPS} slice values")
    found = least({"sliced": ours("sliced"), "unsliced": ours("unsliced")}, rounds=rounds)
    bars.append(_ratio(f"{MILLION:,} rows with {SLICES * GROUPS} slice values, against none", found, *found, most=5.0))
    print(f"{served.ROWS:,} rows x {served.FEATURES} columns through the predictor")
    for model in served.MODELS:
        found = least({case: ours(case) for case in (f"served-{model}", f"onnx-{model}")}, rounds=rounds)
        bars.append(_ratio(f"predictor over HTTP, {model}, against ONNX Runtime in process", found, *found, most=10.0))
        stages = found[f"served-{model}"]["stages"]
        told = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items())
        longest = max(seconds for stage, seconds in stages.items() if stage != "predict")
        share = Bar(work=f"its answers, {model}, against the longest other part", most=1.0, told=told,
                    figure=stages["predict"] / longest)  # fmt: skip
        bars.append(share)
        print(f"  stages: {told}")
    bars.append(_cold(folder, runs=max(rounds, 5)))
    print("2 million rows on one core, and on all")
    prepare_rows(folder, 2)
    pinned = {min(os.sched_getaffinity(0))}
    one, all_ = (min(run(ours("rows2"), cores=cores)["work"] for _ in range(rounds)) for cores in (pinned, None))
    bars.append(Bar(work="all cores against one", least=1.6, figure=one / all_, told=f"{one:.2f} s, {all_:.2f} s"))
    print(f"ratio one core: {one / all_:.2f}", flush=True)
    bars += _many(folder, ours)
    return bars


def _many(folder: Path, ours: Callable[[str], list[str]]) -> Iterator[Bar]:
    """20 million rows beside 2 million, both mapped."""
    print("20 million rows, mapped from a file")
    prepare_rows(folder, 20)
    found = least({case: ours(case) for case in ("mapped2", "mapped20")}, rounds=1)
    seconds, ten_times = found["mapped20"]["work"], 10 * found["mapped2"]["work"]
    told = f"{seconds:.0f} s, {ten_times:.0f} s"
    yield Bar(work="20 million rows, against ten times 2 million's", most=1.35, figure=seconds / ten_times, told=told)
    taken = found["mapped20"]["anonymous"] / 1e9
    told = "anonymous memory: what the kernel can't drop"
    yield Bar(work="peak memory with 20 million rows", most=1.5, unit="GB", figure=taken, told=told)
    print(f"ratio 20 million: {seconds / ten_times:.2f}, {taken:.2f} GB", flush=True)


def _ratio(work: str, found: dict[str, dict[str, Any]], case: str, base: str, *, most: float | None = None) -> Bar:
    seconds, others = found[case]["work"], found[base]["work"]
    print(f"ratio {case} to {base}: {seconds / others:.2f}", flush=True)
    return Bar(work=work, figure=seconds / others, most=most, told=f"{seconds:.2f} s, {others:.2f} s")


def _beside_evidently(
    found: dict[str, dict[str, Any]], case: str, words: str, *, least_: float | None, most: float | None
) -> list[Bar]:
    ours, theirs = found[case], found["Evidently"]
    faster, memory = theirs["work"] / ours["work"], ours["peak"] / theirs["peak"]
    print(f"ratio evidently{words}: {faster:.1f}\nmemory ratio{words}: {memory:.2f}", flush=True)
    seconds = " against ".join(f"{one['work']:.2f} s (import {one['import']:.2f} s)" for one in (ours, theirs))
    peaks = " against ".join(f"{one['peak'] / 2**20:.0f} MiB" for one in (ours, theirs))
    return [
        Bar(work=f"faster than Evidently{words}", figure=faster, least=least_, told=seconds),
        Bar(work=f"peak memory against Evidently's{words}", figure=memory, most=most, told=peaks),
    ]


def _cold(folder: Path, *, runs: int) -> Bar:
    from tests.bench import cold_start  # loads scikit-learn, which would count as memory of every case

    place = folder / "cold"
    place.mkdir()
    asked = ["evaluate", "-f", str(cold_start.prepare(place))]
    cold_start.run(asked)
    seconds = [cold_start.run(asked) for _ in range(runs)]
    median = statistics.median(seconds)
    print(f"cold: {median:.2f} s", flush=True)
    work = f"{cold_start.ROWS:,} rows, a slice of {cold_start.GROUPS}, cold process"
    told = f"{min(seconds):.2f} to {max(seconds):.2f} s in {runs} runs, the median counts"
    return Bar(work=work, figure=median, most=2.0, unit="s", told=told)


def put(page: str, name: str, text: str) -> str:
    """`page` with `text` between the marks of `name`."""
    from tests.peers import publish

    return publish.put(page, name, text)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {models[0] if models else 'unknown processor'}"


def _versions(evidently: str | None) -> str:
    ours = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pyarrow", "onnxruntime"))
    told = f"Python {platform.python_version()}, {ours}"
    if evidently is None:
        return told
    asked = "from importlib.metadata import version as v; print('Evidently', v('evidently'), 'on pandas', v('pandas'))"
    done = subprocess.run([evidently, "-c", asked], check=True, stdout=subprocess.PIPE, text=True)
    return f"{told}; {done.stdout.strip()}"


if __name__ == "__main__":
    main()
