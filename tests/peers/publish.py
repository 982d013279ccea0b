"""Puts the figures of a full run into docs/contributor/coverage.md, from the tables that the simulations wrote.

    python -m tests.peers.publish [--parts FOLDER]

Each stands on the page between `<!-- NAME -->` and `<!-- /NAME -->`, and is written anew from its CSV where there is
one: `calibration.csv` (tests.peers.coverage), `alarms.csv` and `anytime.csv`, all in docs/contributor. With the folder
of the simulations' parts, the CSV files are written first, from what there is; also while they run on.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from mandate.api.catalogue import METRICS
from mandate.measure.metrics import METRICS as METRICS_MEASURED
from mandate.verdict.judge import share_of_alpha
from tests.peers import alarms as alarms_simulated
from tests.peers import coverage, parts
from tests.peers.coverage import ALLOWANCE, LOOKS
from tests.peers.parts import Line

FOLDER = parts.PUBLISHED

SIDES = {"Higher": ("lower",), "Lower": ("upper",), "Nearest": ("lower", "upper")}
"""Which limits pass a gate, by the metric's better side: of either side where there is none."""
OTHER = {"Higher": ("upper",), "Lower": ("lower",), "Nearest": ("lower", "upper")}
LARGE = re.compile(r"n=1000 |[1-9][0-9]{2,} (clusters|series)|600 queries|.* series of 1[0-9]{3} steps")
"""Cells whose margins are told."""


def side(line: Line, limit: str, look: int) -> float:
    """How often one limit was wrong, in percent."""
    return float(line[f"{limit} limit wrong, look {look}, %"])


def passes(line: Line) -> float:
    """Wrong passes of a gate that asks for the very truth at the first look, in percent."""
    return max(side(line, limit, 1) for limit in SIDES[METRICS[line["metric"]].better])


def fails(line: Line) -> float:
    """Wrong fails of such a gate at the first look, in percent."""
    return max(side(line, limit, 1) for limit in OTHER[METRICS[line["metric"]].better])


def excess(line: Line) -> float:
    """How much more often than its look may spend the worst limit was wrong, at any look, in percentage points.

    On either side: `within` asks for both.
    """
    return max(
        side(line, limit, look) - 100 * share_of_alpha(confidence=0.95, look=look)
        for look in LOOKS
        for limit in ("lower", "upper")
    )


def covered(line: Line) -> float:
    """How often the truth lay within both limits at the first look, in percent of all runs."""
    return 100 - side(line, "lower", 1) - side(line, "upper", 1)


def margin(line: Line) -> float:
    """By how much a number must be better than what is asked for to pass in 80 % of runs."""
    ends = {"lower": float(line["margin up"]), "upper": float(line["margin down"])}
    return max(ends[limit] for limit in SIDES[METRICS[line["metric"]].better])


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*names: str) -> list[str]:
    return [row(*names), "|---" * len(names) + "|"]


def calibration(lines: Sequence[Line]) -> str:
    """By metric, over its cells: the worst of each figure, and the median margin of large ones."""
    repeats = min(int(line["repeats"]) for line in lines)
    beyond = [f"{line['metric']} at {line['cell']}" for line in lines if excess(line) > 100 * ALLOWANCE]
    every = coverage.combinations(coverage.cells())
    told = [
        f"{len(lines):,} combinations of cell and metric of {every:,} that there are, {repeats:,} repeats each, in",
        "[calibration.csv](calibration.csv). Limits wrong more than half a point beyond their look's share: "
        f"**{'; '.join(beyond) or 'none'}**.",
        "",
        *head(
            "metric",
            "cells",
            "no interval in most samples",
            "wrong passes (1.25 %)",
            "in the cell",
            "beyond the share, any look and side",
            "wrong fails",
            "least coverage (97.5 %)",
            "margin",
        ),
    ]
    for metric in METRICS:
        cells = [line for line in lines if line["metric"] == metric]
        if not cells:
            continue
        worst = max(cells, key=passes)
        large = [margin(line) for line in cells if LARGE.match(line["cell"])]
        told.append(
            row(
                f"`{metric}`",
                len(cells),
                sum(float(line["no interval, %"]) > 50 for line in cells),
                f"{passes(worst):.2f} %",
                worst["cell"],
                f"{max(map(excess, cells)):+.2f}",
                f"{max(map(fails, cells)):.2f} %",
                f"{min(map(covered, cells)):.2f} %",
                f"{median(large):.3g}" if large else "–",
            )
        )
    told += [
        "",
        "Where no look is named it is the first. A gate asks for the very truth here, so every pass and every fail is",
        "wrong; numbers without an interval do neither. *Margin*: by how much a number must be better than what is",
        "asked for to pass in 80 % of runs, the median over the cells of 1,000 rows, 600 queries, at least 100",
        "clusters or series, or at least 1,000 steps of few series; infinite where most of these have no interval in a",
        "fifth of the runs.",
    ]
    return "\n".join(told)


def alarms(lines: Sequence[Line]) -> str:
    """As the simulation tells them."""
    told = [
        f"{lines[0]['references']} references, {lines[0]['currents']} tables against each; every alarm is a false one.",
        "",
        *head(
            "rows of the reference, of the table",
            "rows of a cluster",
            "called changed, on average",
            "95th percentile of references",
            "by p-values alone, on average",
            "95th percentile",
        ),
    ]
    for line in lines:
        shares = [f"{line[name]} %" for name in ("mean, %", "95th, %", "tests mean, %", "tests 95th, %")]
        told.append(row(f"{int(line['reference rows']):,}, {int(line['rows']):,}", line["cluster"], *shares))
    return "\n".join(told)


def anytime(lines: Sequence[Line]) -> str:
    """As the simulation tells them."""
    told = [
        f"{int(lines[0]['paths']):,} paths of {int(lines[0]['rows']):,} rows each.",
        "",
        *head("rows", "lower limit ever wrong", "upper limit ever wrong", "paths with limits at the end"),
    ]
    told += [
        row(line["cell"], *(f"{line[name]} %" for name in ("lower, %", "upper, %", "limits, %"))) for line in lines
    ]
    return "\n".join(told)


TABLES: dict[str, Callable[[Sequence[Line]], str]] = {"calibration": calibration, "alarms": alarms, "anytime": anytime}


def put(page: str, name: str, text: str) -> str:
    """`page` with `text` between the marks of `name`. Raises ValueError where they aren't there, once each."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must hold {start} and {end} once each")
    head, _, rest = page.partition(start)
    return f"{head}{start}\n{text}\n{end}{rest.partition(end)[2]}"


def publish(folder: Path = FOLDER, *, names: Iterable[str] = TABLES) -> list[str]:
    """Write those tables whose CSV is there; their names."""
    path = folder / "coverage.md"
    page, done = path.read_text(), []
    for name in names:
        source = folder / f"{name}.csv"
        if source.exists():
            with source.open(newline="") as file:
                page = put(page, name, TABLES[name](list(csv.DictReader(file))))
            done.append(name)
    path.write_text(page)
    return done


def collect(folder: Path, *, into: Path = FOLDER) -> list[str]:
    """Write the CSV files of what parts there are; in words, what is in each."""
    found: dict[str, list[dict[str, object]]] = {
        "calibration": _in_order(parts.collected(folder, "calibration", key=("cell", "metric"))),
        "alarms": alarms_simulated.collected(folder),
        "anytime": [dict(line) for line in parts.collected(folder, "anytime", key=("cell",))],
    }
    told = []
    for name, lines in found.items():
        codes = {
            str(line.get("code", "")) for line in parts.every(folder, name) if line.get("code") != today(name, line)
        }
        other = f", some of them by the code {', '.join(sorted(codes))}, and not by today's" if codes else ""
        told.append(f"{name}: {len(lines):,} lines{other}")
        if lines:
            parts.write(lines, into / f"{name}.csv")
    return told


def today(table: str, line: Line) -> str:
    """By which code a line would be found today; one of a metric that is no more, by none."""
    if table != "calibration":
        return parts.code(table)
    return coverage.code_of(line) if line["metric"] in METRICS_MEASURED else ""


def _in_order(lines: Iterable[Line]) -> list[dict[str, object]]:
    """As the cells and their metrics come; those that are simulated no more are left out."""
    known = {(line["cell"], line["metric"]): line for line in lines}
    places = [(cell.name, metric) for cell in coverage.cells() for metric in cell.metrics]
    return [dict(known[place]) for place in places if place in known]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, help="the folder of the simulations' parts")
    options = parser.parse_args()
    if options.parts is not None:
        print("\n".join(collect(options.parts)))
    print(f"coverage.md: {', '.join(publish()) or 'no table to publish'}")


if __name__ == "__main__":
    main()
