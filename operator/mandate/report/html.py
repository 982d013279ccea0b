"""The report as one HTML page: no scripts, nothing loaded from elsewhere, small enough for a mail."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import accumulate

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from mandate.api.criteria import number_text

from . import plot
from .content import (
    GateRow,
    Report,
    SliceRow,
    SliceTable,
    count_text,
    look_text,
    obstacles_by_level,
    requirement_text,
    steps,
    worst_first,
)

MOST_OUTCOMES = 192
"""Outcomes drawn on one page, shared out among its gates; each gate gets MIN_OUTCOMES at least."""
MIN_OUTCOMES = 3
MOST_VALUES = 120
"""Slice values listed on one page, shared out among its slices."""
MOST_OBSTACLES = 10
"""Per level; the gates' table has them all."""
MAX_TEXT = 320
"""Bytes of a message or a name that comes from data."""
MARKS = {"Pass": "✓", "Waived": "✓", "Skipped": "–", "Inconclusive": "≈", "Fail": "✗", "Error": "!"}


def render(report: Report) -> str:
    """The page. Names from data are escaped; rows of data never appear."""
    most = max(MIN_OUTCOMES, MOST_OUTCOMES // max(len(report.gates), 1))
    details = [_detail(gate, most=most) for gate in report.gates]
    values = max(3, MOST_VALUES // max(len(report.slices), 1))
    return _template().render(
        report=report,
        obstacles=obstacles_by_level(report),
        steps=steps(report),
        details=details,
        slices=[(table, *_shown(table, most=values)) for table in report.slices],
        css=Markup(files(__package__).joinpath("templates/report.css").read_text()),  # noqa: S704  # our own file
        look=look_text(report),
        most=MOST_OBSTACLES,
        width=plot.WIDTH,
        marks=MARKS,
    )


def _detail(gate: GateRow, *, most: int) -> dict[str, object]:
    pairs, left = worst_first(gate, most=most)
    drawn = plot.plots(pairs, bounds=gate.bounds)
    rows = drawn.rows if drawn else (None,) * len(pairs)
    outcomes = [(outcome, row) for (outcome, _), row in zip(pairs, rows, strict=True)]
    return {"gate": gate, "outcomes": outcomes, "left": left, "plots": drawn}


def _shown(table: SliceTable, *, most: int) -> tuple[tuple[SliceRow, ...], int]:
    """The values with most rows, in the table's order, and how many were left out."""
    kept = sorted(table.rows, key=lambda row: -row.rows)[:most]
    return tuple(row for row in table.rows if row in kept), len(table.rows) - len(kept)


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """Text of at most `most` bytes on the page, where `<` is four and an umlaut two; its end says if it was cut."""
    clean = _together("".join(character if character.isprintable() else " " for character in text))
    sizes = accumulate(len(escape(character).encode()) for character in clean)
    fits = sum(size <= most for size in sizes)
    return clean if fits == len(clean) else clean[:fits].rstrip() + "…"


def _together(text: str) -> str:
    """Numbers in one piece: no line may break between thousands, or after a comparison's sign."""
    return re.sub(r"(?<=\d) (?=\d{3}\b)|(?<=[<>]=) (?=\S)", "\N{NO-BREAK SPACE}", text)


def _scale(number: float) -> str:
    """An end of a scale: three digits do."""
    return number_text(float(f"{number:.3g}"))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("mandate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cut=_cut,
        count=count_text,
        number=number_text,
        scale=_scale,
        requirement=requirement_text,
        short=lambda text: _cut(text, 80),
    )
    return environment.get_template("report.html.j2")
