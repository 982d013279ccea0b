"""The report for a terminal: the answer first, then what stands in the way, what to do, and the numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .about import lineage_pairs
from .content import (
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
from .names import plain, uncommanding
from .windows import HEAD as WINDOW_HEAD

COLOURS = {"Pass": "32", "Waived": "36", "Skipped": "2", "Inconclusive": "33", "Fail": "31", "Error": "35"}
BLOCKS = "✗"
MOST_OUTCOMES = 8
"""Of one gate; the rest is counted."""
MOST_VALUES = 40
"""Of one slice."""
MOST_CLASSES = 50
MOST_FINDINGS = 8
"""About the data."""


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
        *_metrics(report, width=width),
        *_classes(report),
        *_horizons(report),
        *_windows(report, width=width),
        *_calibration(report, width=width),
        *_slices(report),
        *_fairness(report, width=width),
        *_weakest(report, width=width),
        *_service(report, width=width),
        *_data(report, width=width),
        *_grounds(report, width=width),
    ]
    return "\n".join(uncommanding(line.rstrip()) for line in lines) + "\n"


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
    return plain(text, instead="�")


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


def _metrics(report: Report, *, width: int) -> list[str]:
    if not report.metrics:
        return []
    head = ["METRIC", "TEST", "TRAIN", "VALIDATION", *(f"{name.upper()} (test)" for name in report.references)]
    body = [
        [row.title, row.test.text, row.train.text, row.validation.text, *(number.text for number in row.references)]
        for row in report.metrics
    ]
    made = [
        line
        for name, words in report.learnt
        for line in _wrapped(f"{name}: {words}", width=width, first="  ", rest="    ")
    ]
    return ["The model and its baselines", *aligned(head, body), *made, ""]


def _classes(report: Report) -> list[str]:
    if report.classes is None:
        return []
    head = ["CLASS", "ROWS", *(title.upper() for title in report.classes.titles)]
    rows = largest(report.classes, most=MOST_CLASSES)
    left = len(report.classes.rows) - len(rows)
    body = [[row.name, count_text(row.rows), *(number.text for number in row.numbers)] for row in rows]
    rest = [f"  … and {left} classes with fewer rows"] if left else []
    return ["Each class against all others, test rows", *aligned(head, body), *rest, ""]


def _horizons(report: Report) -> list[str]:
    if report.horizons is None:
        return []
    head = ["HORIZON", "ROWS", *(title.upper() for title in report.horizons.titles)]
    body = [[row.name, count_text(row.rows), *(number.text for number in row.numbers)] for row in report.horizons.rows]
    return ["Each horizon, in steps, test rows", *aligned(head, body), ""]


def _windows(report: Report, *, width: int) -> list[str]:
    if (found := report.windows) is None:
        return []
    words = [part for part in (found.sentence, found.normal, found.told) if part]
    table = aligned([title.upper() for title in WINDOW_HEAD], [list(row) for row in found.rows]) if found.rows else []
    told = [line for part in words for line in _wrapped(part, width=width, first="  ", rest="    ")]
    return [f"Over windows of {found.words}, test rows", *told, *table, ""]


def _calibration(report: Report, *, width: int) -> list[str]:
    if report.calibration is None:
        return []
    return [
        *_wrapped(f"Reliability: {report.calibration.what} beside what happened, test rows", width=width),
        *aligned(["PROBABILITY", "ROWS", "MEAN", "CAME TRUE"], reliability_rows(report.calibration)),
        *_wrapped(report.calibration.told, width=width, first="  ", rest="  "),
        "",
    ]


def _slices(report: Report) -> list[str]:
    lines: list[str] = []
    for table in report.slices:
        rows, left = worst_values(table, most=MOST_VALUES)
        judged = any(row.verdict for row in rows)
        head = [table.name.upper(), *(["GATES SAY"] if judged else []), "ROWS", *(t.upper() for t in table.titles)]
        body = [
            [
                row.value,
                *([row.verdict or "–"] if judged else []),
                count_text(row.rows),
                *(number.text for number in row.numbers),
            ]
            for row in rows
        ]
        sensitive = ", sensitive" if table.sensitive else ""
        lines += [
            f"Slice {table.name} (column {printable(table.column)}{sensitive}), test rows",
            *([f"  {left_out_text(table, left)}"] if left else []),
            *aligned(head, body),
            "",
        ]
    return lines


def _fairness(report: Report, *, width: int) -> list[str]:
    lines: list[str] = []
    for table in report.fairness:
        judged = any(row.verdict for row in table.rows)
        head = ["NOTION", "LOWEST", "HIGHEST", "DIFFERENCE", "RATIO", *(["GATES SAY"] if judged else [])]
        body = [
            [
                row.notion,
                end_text(row.lowest),
                end_text(row.highest),
                row.difference.text,
                row.ratio.text,
                *([row.verdict or "–"] if judged else []),
            ]
            for row in table.rows
        ]
        lines += [
            f"Fairness across {table.name} ({printable(table.of)}), test rows",
            *aligned(head, body),
            *_wrapped(TOLD, width=width, first="  ", rest="  "),
            "",
        ]
    return lines


def _weakest(report: Report, *, width: int) -> list[str]:
    if report.weakest is None:
        return []
    return [
        "Where it is weakest",
        *(
            line
            for sentence in report.weakest.sentences
            for line in _wrapped(sentence, width=width, first="  - ", rest="    ")
        ),
        *(
            line
            for words in (report.weakest.told, *report.weakest.left_out)
            for line in _wrapped(words, width=width, first="  ", rest="  ")
        ),
        "",
    ]


def _service(report: Report, *, width: int) -> list[str]:
    if not report.service:
        return []
    return [
        "Measured at the running server",
        *aligned(["NUMBER", "LOAD", "VALUE"], [[s.title, s.load, s.number.text] for s in report.service]),
        *(line for note in report.service_notes for line in _wrapped(note, width=width, first="  ", rest="    ")),
        "",
    ]


def _data(report: Report, *, width: int) -> list[str]:
    if report.data is None:
        return []
    lines = ["The data"]
    for comparison in report.data.comparisons:
        lines += _wrapped(comparison_text(comparison), width=width, first="  ", rest="    ")
    shown = report.data.findings[:MOST_FINDINGS]
    for finding in shown:
        text = f"{finding.code}: {finding.message}. {finding.advice}"
        lines += _wrapped(text, width=width, first="  - ", rest="    ")
    left = findings_left_text(report.data, len(shown))
    return [*lines, *([f"    {left}"] if left else []), ""]


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns stand one below the other."""
    rows = [[printable(cell) for cell in row] for row in (head, *body)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  " + "  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)) for row in rows]


def _grounds(report: Report, *, width: int) -> list[str]:
    """What the verdict rests on."""
    pairs = [
        ("rows", rows_text(report)),
        ("held out", f"{report.held_out}: {report.held_out_reason}"),
        *([("labels", report.labels)] if report.labels else []),
        *([("personal columns", report.personal)] if report.personal else []),
        *lineage_pairs(report.declared),
        ("look", look_text(report)),
        ("isolation", report.isolation),
        *([("newest row", report.newest)] if report.newest else []),
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
