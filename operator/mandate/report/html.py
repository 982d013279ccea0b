"""The report as one HTML page: no scripts, nothing loaded from elsewhere, small enough for a mail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from mandate.api.criteria import number_text

from . import plot
from .about import lineage_pairs
from .content import (
    MOST_OBSTACLES,
    GateRow,
    Report,
    comparison_text,
    count_text,
    findings_left_text,
    largest,
    left_out_text,
    look_text,
    obstacles_by_level,
    reliability_rows,
    requirement_text,
    rows_text,
    steps,
    worst_first,
    worst_values,
)
from .fairness import TOLD, end_text
from .names import cut, isolated, plain, without_commands
from .windows import HEAD as WINDOW_HEAD

MAX_BYTES = 300_000
"""Of a page: small enough for a mail."""
MOST_OUTCOMES = 400
"""Outcomes drawn on one page, shared out among its gates; each gate gets LEAST at least."""
MOST_VALUES = 400
"""Slice values listed on one page, shared out among its slices; each slice gets LEAST at least."""
MOST_FINDINGS = 40
"""About the data."""
MOST_CLASSES = 50
"""Classes listed on one page."""
LEAST = 3
SHARES = (1.0, 0.6, 0.4, 0.25, 0.1, 0.0)
"""Of the above, tried in turn until the page is small enough."""
PARTS = {
    "classes": "classes",
    "horizons": "horizons",
    "windows": "metrics over windows",
    "slices": "slices",
    "metrics": "metrics beside the baselines'",
    "fairness": "tables of fairness",
    "gates": "gates' outcomes",
}
"""What is left out whole, one after the other, where a page is too large even so; and how it is counted."""
MAX_TEXT = 320
"""Bytes of a message or a name that comes from data."""
MARKS = {"Pass": "✓", "Waived": "✓", "Skipped": "–", "Inconclusive": "≈", "Fail": "✗", "Error": "!"}


def render(report: Report) -> str:
    """The page. Names from data are escaped; rows of data never appear."""
    page = ""
    for share, parts in [*((share, 0) for share in SHARES), *((SHARES[-1], count + 1) for count in range(len(PARTS)))]:
        page = _page(report, share=share, omitted=tuple(PARTS)[:parts])
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def comparison_page(
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    notes: Sequence[str],
    *,
    chosen: Sequence[str] = (),
    title: str = "Candidates compared",
) -> str:
    """A page with one table, whose rows named in `chosen` stand out, and sentences."""
    template = _template("compare.html.j2")
    page = template.render(head=head, body=body, notes=notes, chosen=chosen, title=title, css=_css())
    return without_commands(page)


def _css() -> Markup:
    return Markup(files(__package__).joinpath("templates/report.css").read_text())  # noqa: S704  # our own file


def _page(report: Report, *, share: float, omitted: Sequence[str]) -> str:
    left = [f"{len(found)} {PARTS[name]}" for name in omitted if (found := _part(report, name))]
    report = replace(
        report,
        classes=None if "classes" in omitted else report.classes,
        horizons=None if "horizons" in omitted else report.horizons,
        windows=None if "windows" in omitted else report.windows,
        slices=() if "slices" in omitted else report.slices,
        metrics=() if "metrics" in omitted else report.metrics,
        fairness=() if "fairness" in omitted else report.fairness,
    )
    outcomes = _each(share * MOST_OUTCOMES, among=len(report.gates))
    values = _each(share * MOST_VALUES, among=len(report.slices))
    shown = [(table, *worst_values(table, most=values)) for table in report.slices]
    findings = report.data.findings[: _each(share * MOST_FINDINGS, among=1)] if report.data else ()
    page = _template("report.html.j2").render(
        report=report,
        obstacles=obstacles_by_level(report),
        steps=steps(report),
        details=[_detail(gate, most=outcomes) for gate in report.gates if "gates" not in omitted],
        omitted=left,
        classes=largest(report.classes, most=_each(share * MOST_CLASSES, among=1)) if report.classes else (),
        bars=plot.bars(report.windows.strip) if report.windows and report.windows.strip else None,
        window_head=WINDOW_HEAD,
        dots=plot.dots(report.calibration) if report.calibration else (),
        bins=reliability_rows(report.calibration) if report.calibration else (),
        slices=[(table, rows, left_out_text(table, left) if left else "") for table, rows, left in shown],
        css=_css(),
        findings=findings,
        findings_left=findings_left_text(report.data, len(findings)) if report.data else "",
        fairness_told=TOLD,
        look=look_text(report),
        rows=rows_text(report),
        lineage=lineage_pairs(report.declared),
        most=MOST_OBSTACLES,
        width=plot.WIDTH,
        height=plot.HEIGHT,
        margin=plot.MARGIN,
        marks=MARKS,
    )
    return without_commands(page)


def _part(report: Report, name: str) -> Sequence[object]:
    if name in ("classes", "horizons"):
        found_table = report.classes if name == "classes" else report.horizons
        return found_table.rows if found_table else ()
    if name == "windows":
        return report.windows.rows if report.windows else ()
    found: Sequence[object] = getattr(report, name)
    return found


def _each(most: float, *, among: int) -> int:
    return max(LEAST, int(most) // max(among, 1))


def _detail(gate: GateRow, *, most: int) -> dict[str, object]:
    pairs, left = worst_first(gate, most=most)
    drawn = plot.plots(pairs, bounds=gate.bounds)
    rows = drawn.rows if drawn else (None,) * len(pairs)
    outcomes = [(outcome, row) for (outcome, _), row in zip(pairs, rows, strict=True)]
    return {"gate": gate, "outcomes": outcomes, "left": left, "plots": drawn}


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """Text of at most `most` bytes on the page, where `<` is four and an umlaut two; its end says if it was cut."""
    return isolated(cut(_together(plain(text)), most=most, size=lambda character: len(escape(character).encode())))


def _together(text: str) -> str:
    """Numbers in one piece: no line may break between thousands, or after a comparison's sign."""
    return re.sub(r"(?<=\d) (?=\d{3}\b)|(?<=[<>]=) (?=\S)", "\N{NO-BREAK SPACE}", text)


def _scale(number: float) -> str:
    """An end of a scale: three digits do."""
    return number_text(float(f"{number:.3g}"))


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("mandate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cut=_cut,
        comparison=comparison_text,
        count=count_text,
        end=end_text,
        number=number_text,
        scale=_scale,
        requirement=requirement_text,
        short=lambda text: _cut(text, 80),
    )
    return environment.get_template(name)
