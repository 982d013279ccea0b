"""What a long simulation has found so far, kept cell by cell, so that it can be stopped at any time and taken up again.

A part is a CSV file of one cell, written anew beside the old one and then put into its place. Every line says with
which seed and by which code it was found; only lines of the same repeats, seed and code count as found.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mandate
from mandate.verdict.judge import share_of_alpha

Line = dict[str, str]
MEASURED = {
    "calibration": (
        "evidence/intervals.py",
        "measure/caution.py",
        "measure/forecasts.py",
        "measure/metrics",
        "measure/uncertainty.py",
        "verdict/limits.py",
    ),
    "alarms": ("measure/data/distances.py", "measure/data/drift.py", "measure/data/grid.py", "measure/data/profile.py"),
    "anytime": ("verdict/anytime.py",),
}
"""What each simulation is about, below operator/mandate; beside it, what a look may spend of alpha."""


def code(table: str) -> str:
    """Twelve hex digits that change with what is simulated."""
    root = Path(next(iter(mandate.__path__)))
    found = hashlib.sha256(repr([share_of_alpha(confidence=0.95, look=look) for look in range(1, 11)]).encode())
    for name in MEASURED[table]:
        for path in sorted((root / name).rglob("*.py")) or [root / name]:
            found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()[:12]


PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "contributor"
"""Where the tables stand that the page is made from."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A folder of parts of one table, and the settings by which their lines count; no folder, and nothing is kept."""

    folder: Path | None
    table: str
    settings: Mapping[str, str]

    def found(self, name: str) -> list[Line]:
        """A cell's lines of the same settings."""
        path = self._path(name)
        if path is None or not path.exists():
            return []
        return [line for line in read(path) if all(line.get(key) == said for key, said in self.settings.items())]

    def keep(self, name: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Add lines to a cell's; those of other settings go."""
        path = self._path(name)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write([*self.found(name), *(dict(line) | dict(self.settings) for line in lines)], path)

    def adopt(self, published: Path) -> int:
        """Take over the cells of a published table that aren't in the folder, where they are of the same settings: a
        run goes on where another machine's ended. How many there were."""
        if self.folder is None or not published.exists():
            return 0
        cells: dict[str, list[Line]] = {}
        for line in read(published):
            if all(line.get(key) == said for key, said in self.settings.items()):
                cells.setdefault(line["cell"], []).append(line)
        taken = [name for name in cells if not self.found(name)]
        for name in taken:
            self.keep(name, cells[name])
        return len(taken)

    def _path(self, name: str) -> Path | None:
        if self.folder is None:
            return None
        short = re.sub(r"[^A-Za-z0-9.=-]+", "_", name)[:80]
        return self.folder / self.table / f"{short}-{zlib.crc32(name.encode()):08x}.csv"


def read(path: Path) -> list[Line]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(lines: Sequence[Mapping[str, object]], path: Path) -> None:
    """A CSV file of all columns that occur, at once or not at all."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    beside = path.with_name(path.name + ".new")
    with beside.open("w", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
    os.replace(beside, path)


def every(folder: Path, table: str) -> list[Line]:
    """All lines of a table's parts, in the files' order by name."""
    return [line for path in sorted((folder / table).glob("*.csv")) for line in read(path)]


def collected(folder: Path, table: str, *, key: Iterable[str]) -> list[Line]:
    """All lines of a table's parts; of those alike in `key`, the one of most repeats."""
    names = tuple(key)
    best: dict[tuple[str, ...], Line] = {}
    for line in every(folder, table):
        place = tuple(line[name] for name in names)
        if place not in best or int(line["repeats"]) >= int(best[place]["repeats"]):
            best[place] = line
    return list(best.values())
