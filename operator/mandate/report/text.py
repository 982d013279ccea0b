"""The report for a terminal: the answer first, then what stands in the way, what to do, and the numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .content import GateRow, Report, count_text, look_text, obstacles_by_level, requirement_text, steps, worst_first

COLOURS = {"Pass": "32", "Waived": "36", "Skipped": "2", "Inconclusive": "33", "Fail": "31", "Error": "35"}
BLOCKS = "✗"
MOST_OUTCOMES = 8
"""Of one gate; the rest is counted."""


def render(report: Report, *, width: int = 100, colour: bool = False) -> str:
    """Plain text of at most `width` columns where words allow, ending in a newline; `colour` adds ANSI codes."""
    paint = _Paint(colour)
    lines = [
        paint.bold(printable(report.headline)),
        *_wrapped(report.answer, width=width),
        "",
        *_obstacles(report, paint, width=width),
        "What to do",
        *(line for step in steps(report) for line in _wrapped(step, width=width, first="  - ", rest="    ")),
        "",
        *_gates(report, paint),
        *_details(report, paint, width=width),
        *_metrics(report),
        *_slices(report),
        *_service(report),
        *_grounds(report, width=width),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def verdict(self, word: str, text: str) -> str:
        return f"\x1b[{COLOURS[word]}m{text}\x1b[0m" if self._colour and word in COLOURS else text


def _wrapped(text: str, *, width: int, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        printable(text),
        width=max(width, 40),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def printable(text: str) -> str:
    """Without control characters: slice values and column names come from data, and could steer a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _obstacles(report: Report, paint: _Paint, *, width: int) -> list[str]:
    lines: list[str] = []
    (level, nearest), *further = obstacles_by_level(report) or [(report.target, [])]
    for obstacle in nearest:
        word = f"{obstacle.verdict}:"
        text = f"{obstacle.gate}: {word} {obstacle.message}"
        first, *rest = _wrapped(text, width=width, first="  ", rest="    ")
        lines += [first.replace(word, paint.verdict(obstacle.verdict, word), 1), *rest]
    if lines:
        lines.insert(0, f"What stands in the way of {level}")
    for level, obstacles in further:
        text = ", ".join(f"{obstacle.gate} {obstacle.verdict}" for obstacle in obstacles)
        lines += _wrapped(f"Further up, in the way of {level}: {text}", width=width, rest="  ")
    return [*lines, ""] if lines else []


def _gates(report: Report, paint: _Paint) -> list[str]:
    name_width = max(len("GATE"), *(len(gate.name) for gate in report.gates), len("gates that hold"))
    cell_width = max(len(f"Inconclusive {BLOCKS}"), *(len(level) for level in report.levels))
    head = f"{'GATE':<{name_width}}  " + "  ".join(f"{level.upper():<{cell_width}}" for level in report.levels)
    lines = [f"{head}  METRIC"]
    for gate in report.gates:
        cells = []
        for level in report.levels:
            at = gate.at(level)
            text = "–" if at is None else at.verdict if at.holds else f"{at.verdict} {BLOCKS}"
            cells.append(paint.verdict("" if at is None else at.verdict, f"{text:<{cell_width}}"))
        what = ", ".join(part for part in (gate.title, gate.asks) if part)
        lines.append(f"{gate.name:<{name_width}}  " + "  ".join(cells) + f"  {what}")
    held = [f"{held} of {asked}" for held, asked in (report.held[level] for level in report.levels)]
    lines.append(f"{'gates that hold':<{name_width}}  " + "  ".join(f"{text:<{cell_width}}" for text in held))
    if any(not at.holds for gate in report.gates for at in gate.levels):
        lines.append(f"{BLOCKS} stands in the way of the level")
    return [*lines, ""]


def _details(report: Report, paint: _Paint, *, width: int) -> list[str]:
    lines = ["What came out, at the level that decides"]
    for gate in report.gates:
        at = gate.decided
        lines += _wrapped(f"{gate.name} ({at.level}: {requirement_text(at)})", width=width, first="  ", rest="    ")
        lines += _outcomes(gate, paint, width=width)
    return [*lines, ""]


def _outcomes(gate: GateRow, paint: _Paint, *, width: int) -> list[str]:
    shown, left = worst_first(gate, most=MOST_OUTCOMES)
    lines: list[str] = []
    for outcome, _ in shown:
        start = f"{outcome.verdict:<12}  "
        found = _wrapped(outcome.message, width=width, first="    " + start, rest=" " * (4 + len(start)))
        lines += [found[0].replace(outcome.verdict, paint.verdict(outcome.verdict, outcome.verdict), 1), *found[1:]]
    return [*lines, f"    … and {left} more, none worse"] if left else lines


def _metrics(report: Report) -> list[str]:
    if not report.metrics:
        return []
    head = ["METRIC", "TEST", "TRAIN", "VALIDATION", *(f"{name.upper()} (test)" for name in report.references)]
    body = [
        [row.title, row.test.text, row.train.text, row.validation.text, *(number.text for number in row.references)]
        for row in report.metrics
    ]
    return ["The model and its baselines", *_table(head, body), ""]


def _slices(report: Report) -> list[str]:
    lines: list[str] = []
    for table in report.slices:
        head = [table.name.upper(), "ROWS", *(title.upper() for title in table.titles)]
        body = [[row.value, count_text(row.rows), *(number.text for number in row.numbers)] for row in table.rows]
        sensitive = ", sensitive" if table.sensitive else ""
        lines += [
            f"Slice {table.name} (column {printable(table.column)}{sensitive}), test rows",
            *_table(head, body),
            "",
        ]
    return lines


def _service(report: Report) -> list[str]:
    if not report.service:
        return []
    return [
        "Measured at the running server",
        *_table(["NUMBER", "LOAD", "VALUE"], [[s.title, s.load, s.number.text] for s in report.service]),
        "",
    ]


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rows = [[printable(cell) for cell in row] for row in (head, *body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  " + "  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)) for row in rows]


def _grounds(report: Report, *, width: int) -> list[str]:
    """What the verdict rests on."""
    rows = ", ".join(f"{count_text(count)} {part}" for part, count in report.rows.items() if part != "none")
    unused = report.rows.get("none", 0)
    pairs = [
        ("rows", rows + (f", {count_text(unused)} in no part" if unused else "")),
        ("held out", f"{report.held_out}: {report.held_out_reason}"),
        ("look", look_text(report)),
        ("isolation", report.isolation),
        ("risk tier", report.tier),
        *(("finding", finding) for finding in report.findings),
        ("criteria", report.criteria_digest),
        ("evidence", report.computed_digest),
        *report.inputs.items(),
        *(
            [("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items()))]
            if report.versions
            else []
        ),
    ]
    size = max(len(name) for name, _ in pairs)
    lines = ["What it rests on"]
    for name, value in pairs:
        lines += _wrapped(value, width=width, first=f"  {name:<{size}}  ", rest=" " * (size + 4))
    return lines
