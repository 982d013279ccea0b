"""How often drift is called where there is none: false alarms, reference by reference.

    python -m tests.peers.alarms --references 200 --currents 200 --table FILE.csv

A reference is drawn once and then stays, in evaluation and in monitoring alike, so what its owner meets is the share
of alarms *given the reference*. Tables of twelve columns, numbers and categories, are compared as the judge compares
them (distances, Holm's correction, floors); an alarm is a table of which any column is called changed. Told are the
mean over references and their 95th percentile, with the floors and without, where p-values alone decide.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from mandate.measure.data.drift import Rules, drift
from mandate.measure.data.profile import Profile, profile

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


def measure(*, references: int, currents: int, jobs: int = 1) -> Iterator[Alarms]:
    """Every pair of sizes in turn."""
    with ProcessPoolExecutor(jobs) as pool:
        for cluster, rows in ((cluster, rows) for cluster in CLUSTERS for rows in PAIRS if min(rows) >= 50 * cluster):
            one = partial(_one, rows=rows, currents=currents, cluster=cluster)
            shares = list(pool.map(one, range(references)))
            floored, tested = zip(*shares, strict=True)
            yield Alarms(rows=rows, cluster=cluster, floored=floored, tested=tested)


def _one(seed: int, *, rows: tuple[int, int], currents: int, cluster: int) -> tuple[float, float]:
    return alarms(rows, seed=seed, currents=currents, cluster=cluster)


def write(found: Sequence[Alarms], path: Path, *, currents: int) -> None:
    """One line per pair of sizes, shares in percent."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        told = ["mean, %", "95th, %", "tests mean, %", "tests 95th, %"]
        table.writerow(["reference rows", "rows", "cluster", "references", "currents", *told])
        for one in found:
            both = (one.floored, one.tested)
            shares = [100 * float(figure) for found in both for figure in (np.mean(found), np.quantile(found, 0.95))]
            figures = [f"{share:.2f}" for share in shares]
            table.writerow([*one.rows, one.cluster, len(one.floored), currents, *figures])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--currents", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", type=Path, help="where to write the figures as CSV")
    options = parser.parse_args()
    print(f"{options.references} references, {options.currents} tables against each")
    every = []
    for found in measure(references=options.references, currents=options.currents, jobs=options.jobs):
        print(found, flush=True)
        every.append(found)
    if options.table:
        write(every, options.table, currents=options.currents)


if __name__ == "__main__":
    main()
