"""How often the search for weak parts lists one although there is none, by simulation through the code that searches.

    python -m tests.peers.weakest --repeats 10000

With no weak part every one that is listed is false, so the false discovery rate is the share of runs that list any. It
is shown beside that of p-values taken one by one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mandate.measure import weakest
from mandate.measure.metrics import Floats

ROWS = 1500
Draw = Callable[[np.random.Generator], tuple[Floats, NDArray[np.intp] | None]]


def axes(rng: np.random.Generator, rows: int = ROWS) -> tuple[weakest.Axis, ...]:
    """Six columns, two of them nearly the same, of which one is a finer cut of another."""
    fine = rng.integers(0, 8, rows)
    near = np.where(rng.random(rows) < 0.9, fine, rng.integers(0, 8, rows))
    codes = [fine, near, fine // 2, *(rng.integers(0, size, rows) for size in (2, 3, 5))]
    return tuple(
        weakest.Axis(name=f"c{place}", values=tuple(map(str, range(int(code.max()) + 1))), code=code)
        for place, code in enumerate(codes)
    )


def errors(rate: float) -> Draw:
    """Wrong answers that nothing explains."""
    return lambda rng: ((rng.random(ROWS) < rate).astype(float), None)


def skewed(rng: np.random.Generator) -> tuple[Floats, None]:
    """Losses with a heavy upper tail, most of them 0."""
    return np.where(rng.random(ROWS) < 0.7, 0.0, rng.lognormal(0, 1.5, ROWS)), None


def clustered(rng: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """Wrong answers in 300 clusters of 5 with an intraclass correlation of 0.3."""
    codes = np.repeat(np.arange(300), 5)
    rates = rng.beta(0.2 * 7 / 3, 0.8 * 7 / 3, 300)
    return (rng.random(ROWS) < rates[codes]).astype(float), codes


CELLS: dict[str, Draw] = {
    "errors 2 %": errors(0.02),
    "errors 20 %": errors(0.2),
    "skewed": skewed,
    "clusters": clustered,
}


def uncorrected(p: Floats) -> Floats:
    """Every p-value as if it were the only one."""
    return p


def share_of_runs_that_list(
    cell: str,
    *,
    repeats: int,
    adjust: Callable[[Floats], Floats] | None = None,
    floors: tuple[float, float] = (0.0, 0.0),
    seed: int = 1,
) -> float:
    """Without floors by default: the least effect hides most false ones, and isn't what bounds their rate."""
    rng = np.random.default_rng([seed, *cell.encode()])
    listed = 0
    for _ in range(repeats):
        loss, codes = CELLS[cell](rng)
        grid = axes(rng)
        if codes is not None:  # a cluster's rows are alike in the columns, too
            grid = tuple(weakest.Axis(name=axis.name, values=axis.values, code=axis.code[codes * 5]) for axis in grid)
        found = weakest.search(loss, grid, kind="Error", clusters=codes, floors=floors, adjust=adjust)
        listed += found.found > 0
    return listed / repeats


def main() -> None:
    """Print each cell's shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    kept = (weakest.FLOOR, weakest.OWN_FLOOR)
    for cell in CELLS:
        bound = share_of_runs_that_list(cell, repeats=repeats)
        with_floors = share_of_runs_that_list(cell, repeats=repeats, floors=kept)
        alone = share_of_runs_that_list(cell, repeats=repeats, adjust=uncorrected)
        print(
            f"{cell}: of {repeats} runs without a weak part {bound:.2%} list one, {with_floors:.2%} with the least "
            f"effects; uncorrected {alone:.1%}"
        )


if __name__ == "__main__":
    main()
