"""How often our anytime limits are wrong at any row of a path, by simulation with a look at every row.

    python -m tests.peers.anytime --repeats 10000 --table FILE.csv

A path is wrong on one side where that side's limit excludes the truth after any of its rows; that may happen in at
most alpha = 2.5 % of paths. Exact limits must stay within that, up to the simulation's own error; asymptotic ones get
half a point more, as fixed-sample limits do.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from mandate.verdict.anytime import LARGEST_SHARE, log_evidence, mean_limits
from tests.peers import parts
from tests.peers.parts import Line, Parts

ALPHA = 0.025
ROWS = 10_000
ALLOWANCE = 0.005
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Rows of one kind: how they are drawn, `(paths, rows)` at a time, and their true mean."""

    name: str
    draw: Draw
    mean: float
    kind: Literal["Bounded", "Mean"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Share of paths on which each side was wrong at any row, and of those with limits at the last one."""

    cell: str
    kind: str
    lower: float
    upper: float
    limited: float
    repeats: int

    def tolerated(self) -> bool:
        """Within alpha (and the allowance, where asymptotic), up to three standard errors of a simulated share."""
        most = ALPHA + (ALLOWANCE if self.kind == "Mean" else 0.0)
        return max(self.lower, self.upper) <= most + 3 * math.sqrt(most * (1 - most) / self.repeats)


def bernoulli(share: float) -> Cell:
    """Successes and failures."""
    return Cell(
        name=f"Bernoulli {share:g}",
        draw=lambda rng, shape: (rng.random(shape) < share).astype(float),
        mean=share,
        kind="Bounded",
    )


def beta(a: float, b: float) -> Cell:
    """Values in [0, 1] that vary less than successes and failures would."""
    return Cell(
        name=f"Beta({a:g}, {b:g})", draw=lambda rng, shape: rng.beta(a, b, shape), mean=a / (a + b), kind="Bounded"
    )


def sticky(share: float) -> Cell:
    """Rows that depend on those before, though not in their mean: all or nothing around it, or the mean itself.

    After a row above the mean the next is the mean for certain; the argument needs no independence, only the mean.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        wild = (rng.random(shape) < share).astype(float)
        rows = wild.copy()
        for index in range(1, shape[1]):
            rows[:, index] = np.where(rows[:, index - 1] > share, share, wild[:, index])
        return rows

    return Cell(name=f"dependent rows around {share:g}", draw=draw, mean=share, kind="Bounded")


SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.standard_normal(shape), 0.0),
    "uniform": (lambda rng, shape: rng.random(shape), 0.5),
    "exponential": (lambda rng, shape: rng.exponential(1.0, shape), 1.0),
    "t5": (lambda rng, shape: rng.standard_t(5, shape), 0.0),
    "t3": (lambda rng, shape: rng.standard_t(3, shape), 0.0),
    "lognormal": (lambda rng, shape: rng.lognormal(0.0, 1.0, shape), math.exp(0.5)),
    "1 % of rows 20 times as wide": (
        lambda rng, shape: rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 20.0, 1.0),
        0.0,
    ),
    "1 % of rows far above": (
        lambda rng, shape: rng.standard_normal(shape) + np.where(rng.random(shape) < 0.01, 20.0, 0.0),
        0.2,
    ),
}


def unbounded(name: str) -> Cell:
    """Values without bounds, from well-behaved to heavy-tailed."""
    draw, mean = SHAPES[name]
    return Cell(name=name, draw=draw, mean=mean, kind="Mean")


def cells() -> tuple[Cell, ...]:
    """Every simulated situation."""
    return (
        *map(bernoulli, (0.005, 0.05, 0.3, 0.5, 0.9)),
        beta(2, 2),
        beta(0.2, 1.8),
        sticky(0.2),
        *map(unbounded, SHAPES),
    )


def critical_sums(mean: float, rows: int, *, alpha: float) -> Floats:
    """For 1 to `rows` rows in [0, 1]: the sum above which the lower limit exceeds `mean`; infinite where none does."""
    enough = -math.log(alpha)
    found = np.full(rows, math.inf)
    for count in range(1, rows + 1):
        if log_evidence(mean, rows=count, total=count) < enough:
            continue
        # A row of 0 takes evidence away, a row of 1 adds some, so a row moves the critical sum by at most 1.
        low = found[count - 2] if count > 1 and math.isfinite(found[count - 2]) else 0.0
        high = min(low + 1, count) if low else count
        found[count - 1] = brentq(
            lambda total, count=count: log_evidence(mean, rows=count, total=total) - enough, low, high, xtol=1e-9
        )
    return found


def critical_means(rows: int, *, alpha: float) -> Floats:
    """For 1 to `rows` rows of variance 1: the distance from the mean at which asymptotic limits stand."""
    found = np.full(rows, math.inf)
    for count in range(2, rows + 1):
        limits = mean_limits(rows=count, total=0.0, squares=count - 1.0, least=-1.0, greatest=1.0, alpha=alpha)
        assert limits is not None
        found[count - 1] = limits[1]
    return found


def score(cell: Cell, *, repeats: int, rows: int, seed: int, alpha: float = ALPHA) -> Score:
    """Draw paths and look at every row."""
    rng = np.random.default_rng([seed, zlib.crc32(cell.name.encode())])
    count = np.arange(1, rows + 1, dtype=float)
    if cell.kind == "Bounded":
        most, rest = critical_sums(cell.mean, rows, alpha=alpha), critical_sums(1 - cell.mean, rows, alpha=alpha)
    else:
        reach = critical_means(rows, alpha=alpha)
    lower = upper = done = limited = 0
    while done < repeats:
        paths = min(200, repeats - done)
        values = cell.draw(rng, (paths, rows))
        sums = values.cumsum(axis=1)
        if cell.kind == "Bounded":
            lower += int((sums > most).any(axis=1).sum())
            upper += int((count - sums > rest).any(axis=1).sum())
            limited += paths
        else:
            means = sums / count
            variance = ((values**2).cumsum(axis=1) - sums * means).clip(min=1e-12) / np.maximum(count - 1, 1)
            greatest, least = np.maximum.accumulate(values, axis=1), np.minimum.accumulate(values, axis=1)
            far = np.maximum(greatest - means, means - least)
            bound = np.where(far**2 <= LARGEST_SHARE * variance * count, reach * np.sqrt(variance), math.inf)
            lower += int((means - bound > cell.mean).any(axis=1).sum())
            upper += int((means + bound < cell.mean).any(axis=1).sum())
            limited += int(np.isfinite(bound[:, -1]).sum())
        done += paths
    shares = {"lower": lower / repeats, "upper": upper / repeats, "limited": limited / repeats}
    return Score(cell=cell.name, kind=cell.kind, repeats=repeats, **shares)


def lines(scores: Sequence[Score], *, rows: int) -> list[dict[str, object]]:
    """One per kind of row, shares of paths in percent."""
    every: list[dict[str, object]] = []
    for found in scores:
        named = {"kind": found.kind, "cell": found.cell, "paths": found.repeats, "rows": rows}
        shares = {"lower, %": f"{100 * found.lower:.2f}", "upper, %": f"{100 * found.upper:.2f}"}
        every.append({**named, **shares, "limits, %": f"{100 * found.limited:.0f}"})
    return every


def scored(line: Line) -> Score:
    """The score that a line tells."""
    lower, upper, limited = (float(line[name]) / 100 for name in ("lower, %", "upper, %", "limits, %"))
    return Score(
        cell=line["cell"], kind=line["kind"], repeats=int(line["paths"]), lower=lower, upper=upper, limited=limited
    )


def write(scores: Sequence[Score], path: Path, *, rows: int) -> None:
    """All as CSV."""
    parts.write(lines(scores, rows=rows), path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each cell's shares; 1 where one exceeds what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", "--replicates", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seed", type=int, default=20240)
    parser.add_argument("--only", default="")
    parser.add_argument("--parts", type=Path, help="where to keep what is found cell by cell, and to look for it")
    parser.add_argument("--table", type=Path, help="where to write the figures as CSV")
    options = parser.parse_args(arguments)
    how = {"repeats": options.repeats, "rows": options.rows, "seed": options.seed}
    settled = {name: str(value) for name, value in how.items()} | {"code": parts.code("anytime")}
    kept = Parts(folder=options.parts, table="anytime", settings=settled)
    scores = []
    for cell in cells():
        if options.only in cell.name:
            found = kept.found(cell.name)
            result = scored(found[0]) if found else score(cell, **how)
            if not found:
                kept.keep(cell.name, lines([result], rows=options.rows))
            scores.append(result)
            flag = "" if result.tolerated() else " <-- too often"
            print(
                f"{result.kind:8} {result.cell:32} lower {result.lower:6.2%} upper {result.upper:6.2%} "
                f"limits at the end {result.limited:4.0%}{flag}",
                flush=True,
            )
    if options.table:
        write(scores, options.table, rows=options.rows)
    return int(not all(result.tolerated() for result in scores))


if __name__ == "__main__":
    raise SystemExit(main())
