"""What a long simulation has found so far, kept cell by cell, so that it can be stopped at any time and taken up again.

A part is a CSV file of one cell, written anew beside the old one and then put into its place. Every line says with
which seed and by which code it was found; only lines of the same repeats, seed and code count as found.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import os
import re
import textwrap
import tokenize
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import mandate
from mandate.measure.metrics import METRICS, Sample
from mandate.verdict.judge import share_of_alpha

Line = dict[str, str]
MEASURED = {
    "calibration": (
        "evidence/intervals.py",
        "measure/caution.py",
        "measure/forecasts.py",
        "measure/uncertainty.py",
        "verdict/limits.py",
    ),
    "alarms": ("measure/data/distances.py", "measure/data/drift.py", "measure/data/grid.py", "measure/data/profile.py"),
    "anytime": ("verdict/anytime.py",),
}
"""What each simulation is about, below operator/mandate; beside it, what a look may spend of alpha, and the metric."""
OF_METRICS = "mandate.measure.metrics"


@cache
def code(table: str, *, metric: str | None = None) -> str:
    """Twelve hex digits that change with what is simulated: of one metric, also with all that it is computed by."""
    root = Path(next(iter(mandate.__path__)))
    found = hashlib.sha256(repr([share_of_alpha(confidence=0.95, look=look) for look in range(1, 11)]).encode())
    for name in MEASURED[table]:
        for path in sorted((root / name).rglob("*.py")) or [root / name]:
            found.update((str(path.relative_to(root)) + bare(path.read_text())).encode())
    for text in () if metric is None else sorted(set(reached(METRICS[metric]))):
        found.update(text.encode())
    return found.hexdigest()[:12]


def bare(source: str) -> str:
    """The source without its comments, blank lines and spaces between words: what a simulation doesn't depend on."""
    words = tokenize.generate_tokens(io.StringIO(textwrap.dedent(source)).readline)
    return "".join(word.string for word in words if word.type not in (tokenize.COMMENT, tokenize.NL))


def reached(function: Callable[..., Any]) -> Iterator[str]:
    """The source of a metric and of samples, and of all that they name in the metrics' package, however far.

    Numbers and texts that stand in a module are told by name and value.
    """
    left: list[Any] = [function.__code__, inspect.unwrap(function), Sample]
    seen: set[str] = set()
    while left:
        thing = left.pop()
        source = inspect.getsource(thing)
        if source in seen:
            continue
        seen.add(source)
        yield bare(source)
        names = vars(inspect.getmodule(thing))
        for name in _named(thing):
            value = names.get(name)
            if isinstance(value, int | float | str | tuple):
                yield f"{name} = {value!r}"
            elif _whose(value).startswith(OF_METRICS):
                left.append(inspect.unwrap(value) if callable(value) else value)


def _whose(value: object) -> str:
    """The module that something stands in, or that it is."""
    return str(getattr(value, "__name__" if inspect.ismodule(value) else "__module__", ""))


def _named(thing: Any) -> set[str]:
    """All names that a function, or whatever a class or module holds, reads."""
    if isinstance(thing, CodeType):
        inner = (_named(constant) for constant in thing.co_consts if isinstance(constant, CodeType))
        return set(thing.co_names).union(*inner)
    if hasattr(thing, "__code__"):
        return _named(thing.__code__)
    held = [getattr(value, "fget", None) or getattr(value, "func", value) for value in vars(thing).values()]
    return set().union(*(_named(value.__code__) for value in held if hasattr(value, "__code__")))


PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "contributor"
"""Where the tables stand that the page is made from."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A folder of parts of one table, and the settings by which their lines count; no folder, and nothing is kept.

    `code`: by which code a line must be found, beside the settings, where that isn't the same for all.
    """

    folder: Path | None
    table: str
    settings: Mapping[str, str]
    code: Callable[[Mapping[str, object]], str] | None = None

    def found(self, name: str) -> list[Line]:
        """A cell's lines of the same settings."""
        path = self._path(name)
        if path is None or not path.exists():
            return []
        return [line for line in read(path) if self._counts(line)]

    def keep(self, name: str, lines: Sequence[Mapping[str, object]]) -> None:
        """Add lines to a cell's; those of other settings go."""
        path = self._path(name)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write([*self.found(name), *(dict(line) | self._settled(line) for line in lines)], path)

    def adopt(self, published: Path) -> int:
        """Take over what a published table has of the same settings and the folder hasn't: a run goes on where another
        machine's ended. How many cells there were."""
        if self.folder is None or not published.exists():
            return 0
        cells: dict[str, list[Line]] = {}
        for line in read(published):
            if self._counts(line):
                cells.setdefault(line["cell"], []).append(line)
        taken = 0
        for name, lines in cells.items():
            known = {line.get("metric") for line in self.found(name)}
            if new := [line for line in lines if line.get("metric") not in known]:
                self.keep(name, new)
                taken += 1
        return taken

    def _settled(self, line: Mapping[str, object]) -> dict[str, str]:
        return dict(self.settings) | ({} if self.code is None else {"code": self.code(line)})

    def _counts(self, line: Line) -> bool:
        return all(line.get(key) == said for key, said in self._settled(line).items())

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
