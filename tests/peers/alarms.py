"""How often drift is called where there is none: false alarms, reference by reference.

    python -m tests.peers.alarms --references 200 --currents 200 --table FILE.csv

A reference is drawn once and then stays, in evaluation and in monitoring alike, so what its owner meets is the share
of alarms *given the reference*. Tables of twelve columns, numbers and categories, are compared as the judge compares
them (distances, Holm's correction, floors); an alarm is a table of which any column is called changed. Told are the
mean over references and their 95th percentile, with the floors and without, where p-values alone decide.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from mandate.measure.data.drift import Rules, drift
from mandate.measure.data.profile import Profile, profile
from tests.peers import parts
from tests.peers.parts import Parts

PAIRS = ((200, 200), (1000, 1000), (20_000, 1000), (1000, 20_000))
"""Rows of the reference and of the current table."""
CLUSTERS = (1, 20)
"""Rows of a cluster."""
LEVEL = Rules().level


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """Share of alarms by reference, (references,), with floors and by p-values alone."""

    rows: tuple[int, int]
    cluster: int
    floored: tuple[float, ...]
    tested: tuple[float, ...]

    def __str__(self) -> str:
        told = [
            f"{np.mean(shares):.2%} on average, {np.quantile(shares, 0.95):.2%} at the 95th percentile of references"
            for shares in (self.floored, self.tested)
        ]
        each = f" in clusters of {self.cluster}" if self.cluster > 1 else ""
        return f"{self.rows[0]:,} and {self.rows[1]:,} rows{each}: alarms {told[0]}; by p-values alone {told[1]}"


def table(rng: np.random.Generator, rows: int) -> pa.Table:
    """Numbers of several shapes, ties and gaps, and categories of two to a hundred values."""
    normal = rng.normal(size=(3, rows))
    columns = {
        "normal": normal[0],
        "skewed": np.exp(normal[1]),
        "heavy": rng.standard_t(2, rows),
        "rounded": np.round(normal[2], 1),
        "count": rng.poisson(2, rows).astype(float),
        "mostly zero": np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(size=rows)),
        "gaps": np.where(rng.random(rows) < 0.3, math.nan, rng.normal(size=rows)),
        "uniform": rng.random(rows),
    }
    texts = {
        "two": rng.integers(0, 2, rows),
        "five": rng.choice(5, rows, p=[0.6, 0.2, 0.1, 0.07, 0.03]),
        "thirty": rng.integers(0, 30, rows),
        "hundred": np.minimum(rng.geometric(0.05, rows), 100),
    }
    return pa.table(columns | {name: [f"v{value}" for value in values] for name, values in texts.items()})


def alarms(rows: tuple[int, int], *, seed: int, currents: int, cluster: int = 1) -> tuple[float, float]:
    """Shares of `currents` tables, drawn as the reference is, that are called changed: with floors, without.

    Each drawn row stands `cluster` times in its table, as all rows of a customer do where columns are the customer's.
    """
    rng = np.random.default_rng([seed, *rows])

    def drawn(count: int) -> Profile:
        one = table(rng, count // cluster)
        return profile([one.take(np.repeat(np.arange(len(one)), cluster))])

    reference = drawn(rows[0])
    found = [_called(reference, drawn(rows[1]), worth=1 / cluster) for _ in range(currents)]
    floored, tested = np.mean(np.array(found, dtype=float), axis=0)
    return float(floored), float(tested)


def _called(reference: Profile, current: Profile, *, worth: float) -> tuple[bool, bool]:
    columns = drift(reference, current, worth=(worth, worth))
    return (
        any(column.changed for column in columns),
        any(column.adjusted is not None and column.adjusted <= LEVEL for column in columns),
    )


def settings() -> Iterator[tuple[tuple[int, int], int]]:
    """Every pair of sizes, and rows of a cluster."""
    return ((rows, cluster) for cluster in CLUSTERS for rows in PAIRS if min(rows) >= 50 * cluster)


def measure(*, references: int, currents: int, jobs: int = 1, kept: Parts | None = None) -> Iterator[Alarms]:
    """Every pair of sizes in turn; what `kept` has of a pair's references isn't simulated again."""
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(jobs)) if jobs > 1 else None
        for rows, cluster in settings():
            name = f"{rows[0]} and {rows[1]} rows in clusters of {cluster}"
            found = {} if kept is None else {int(line["reference"]): line for line in kept.found(name)}
            shares = {seed: (float(line["floored"]), float(line["tested"])) for seed, line in found.items()}
            left = [seed for seed in range(references) if seed not in shares]
            one = partial(_one, rows=rows, currents=currents, cluster=cluster)
            for seed, (floored, tested) in zip(left, (map if pool is None else pool.map)(one, left), strict=True):
                shares[seed] = floored, tested
                if kept is not None:
                    line = {"reference rows": rows[0], "rows": rows[1], "cluster": cluster, "reference": seed}
                    kept.keep(name, [line | {"floored": repr(floored), "tested": repr(tested)}])
            yield _alarms(rows, cluster, [shares[seed] for seed in range(references)])


def _alarms(rows: tuple[int, int], cluster: int, shares: Sequence[tuple[float, float]]) -> Alarms:
    floored, tested = zip(*shares, strict=True)
    return Alarms(rows=rows, cluster=cluster, floored=floored, tested=tested)


def _one(seed: int, *, rows: tuple[int, int], currents: int, cluster: int) -> tuple[float, float]:
    return alarms(rows, seed=seed, currents=currents, cluster=cluster)


def collected(folder: Path) -> list[dict[str, object]]:
    """The table's lines, from what references there are in the parts."""
    found: list[dict[str, object]] = []
    every = parts.collected(folder, "alarms", key=("reference rows", "rows", "cluster", "reference"))
    for rows, cluster in settings():
        here = [
            line
            for line in every
            if (int(line["reference rows"]), int(line["rows"]), int(line["cluster"])) == (*rows, cluster)
        ]
        if here:
            one = _alarms(rows, cluster, [(float(line["floored"]), float(line["tested"])) for line in here])
            found += lines([one], currents=min(int(line["repeats"]) for line in here))
    return found


def lines(found: Sequence[Alarms], *, currents: int) -> list[dict[str, object]]:
    """One per pair of sizes, shares in percent."""
    told = ["mean, %", "95th, %", "tests mean, %", "tests 95th, %"]
    every: list[dict[str, object]] = []
    for one in found:
        both = (one.floored, one.tested)
        shares = [100 * float(figure) for found in both for figure in (np.mean(found), np.quantile(found, 0.95))]
        sizes = {"reference rows": one.rows[0], "rows": one.rows[1], "cluster": one.cluster}
        counts = {"references": len(one.floored), "currents": currents}
        every.append({**sizes, **counts, **{name: f"{share:.2f}" for name, share in zip(told, shares, strict=True)}})
    return every


def write(found: Sequence[Alarms], path: Path, *, currents: int) -> None:
    """All as CSV."""
    parts.write(lines(found, currents=currents), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--currents", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--parts", type=Path, help="where to keep what is found by reference, and to look for it")
    parser.add_argument("--table", type=Path, help="where to write the figures as CSV")
    options = parser.parse_args()
    print(f"{options.references} references, {options.currents} tables against each")
    every = []
    settled = {"repeats": str(options.currents), "seed": "0", "code": parts.code("alarms")}
    kept = Parts(folder=options.parts, table="alarms", settings=settled)
    for found in measure(references=options.references, currents=options.currents, jobs=options.jobs, kept=kept):
        print(found, flush=True)
        every.append(found)
    if options.table:
        write(every, options.table, currents=options.currents)


if __name__ == "__main__":
    main()
