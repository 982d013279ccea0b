"""The report for a pull request: GitHub's Markdown, the answer first, the rest folded away."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .content import GateRow, Report, count_text, look_text, obstacles_by_level, requirement_text, steps, worst_first

MOST_OUTCOMES = 20
MARKS = {"Holds": "✅", "Refused": "⛔", "NotJudged": "❔"}


def render(report: Report) -> str:
    """Markdown text, ending in a newline."""
    lines = [f"## {MARKS[report.result]} {escape(report.headline)}", "", escape(report.answer), ""]
    for place, (level, obstacles) in enumerate(obstacles_by_level(report)):
        if place:
            text = ", ".join(f"`{item.gate}` {item.verdict}" for item in obstacles)
            lines += [f"Further up, in the way of {level}: {text}", ""]
            continue
        lines += [f"**What stands in the way of {level}**", ""]
        lines += [f"- `{item.gate}`: **{item.verdict}**: {escape(item.message)}" for item in obstacles]
        lines.append("")
    lines += ["**What to do**", "", *(f"- {escape(step)}" for step in steps(report)), ""]
    lines += _table(["Gate", "Metric", *report.levels], [_gate(gate, report) for gate in report.gates])
    lines += ["", "✗ stands in the way of the level.", ""]
    lines += _folded("What came out, gate by gate", _details(report))
    if report.metrics:
        head = ["Metric", "Test", "Train", "Validation", *(f"{name} (test)" for name in report.references)]
        body = [
            [row.title, row.test.text, row.train.text, row.validation.text, *(n.text for n in row.references)]
            for row in report.metrics
        ]
        lines += _folded("The model and its baselines", _table(head, [[escape(c) for c in row] for row in body]))
    for table in report.slices:
        head = [escape(table.name), "Rows", *table.titles]
        body = [[escape(r.value), count_text(r.rows), *(escape(n.text) for n in r.numbers)] for r in table.rows]
        lines += _folded(f"Slice {escape(table.name)}", _table(head, body))
    if report.service:
        body = [[escape(item.title), escape(item.load), escape(item.number.text)] for item in report.service]
        lines += _folded("Measured at the running server", _table(["Number", "Load", "Value"], body))
    lines += _folded("What it rests on", _grounds(report))
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that Markdown and HTML leave alone, on one line: names come from data."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    clean = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]~|#!])", r"\\\1", clean)


def _gate(gate: GateRow, report: Report) -> list[str]:
    cells = []
    for level in report.levels:
        at = gate.at(level)
        cells.append("–" if at is None else at.verdict if at.holds else f"**{at.verdict}** ✗")
    return [f"`{gate.name}`", escape(", ".join(part for part in (gate.title, gate.asks) if part)), *cells]


def _details(report: Report) -> list[str]:
    lines: list[str] = []
    for gate in report.gates:
        at = gate.decided
        lines.append(f"- `{gate.name}` at {at.level}: {escape(requirement_text(at))}")
        shown, left = worst_first(gate, most=MOST_OUTCOMES)
        lines += [f"  - **{outcome.verdict}**: {escape(outcome.message)}" for outcome, _ in shown]
        if left:
            lines.append(f"  - … and {left} more, none worse")
    return lines


def _grounds(report: Report) -> list[str]:
    rows = ", ".join(
        f"{count_text(count)} {'in no part' if part == 'none' else part}" for part, count in report.rows.items()
    )
    pairs = [
        ("rows", rows),
        ("held out", f"{report.held_out}: {report.held_out_reason}"),
        ("look", look_text(report)),
        ("isolation", report.isolation),
        ("risk tier", report.tier),
        *(("finding", finding) for finding in report.findings),
        ("criteria", report.criteria_digest),
        ("evidence", report.computed_digest),
        *report.inputs.items(),
        *report.versions.items(),
    ]
    return _table(["", ""], [[escape(name), escape(value)] for name, value in pairs])


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>", ""]
