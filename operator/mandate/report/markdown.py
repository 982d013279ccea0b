"""The report for a pull request: GitHub's Markdown, the answer first, the rest folded away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mandate.evidence.data import DataEvidence

from .about import lineage_pairs
from .content import (
    MOST_OBSTACLES,
    Calibration,
    ClassTable,
    GateRow,
    Report,
    SliceTable,
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
from .fairness import TOLD, FairnessTable, end_text
from .names import cut, isolated, plain
from .weakest import WeakestTold
from .windows import HEAD as WINDOW_HEAD
from .windows import WindowsTold

MAX_CHARACTERS = 60_000
"""A comment on GitHub takes 65,536; the rest is for what a workflow may add."""
MOST_OUTCOMES = 20
"""Of one gate."""
MOST_VALUES = 60
"""Of one slice."""
MOST_CLASSES = 50
MOST_GROUNDS = 2 * MOST_OBSTACLES
"""Findings of the measurement itself."""
LEAST = 3
SHARES = (1.0, 0.5, 0.25, 0.1, 0.0)
"""Of the above, tried in turn until the text is small enough."""
GROUNDS = "What it rests on"
MAX_TEXT = 320
MAX_NAME = 80
MARKS = {"Holds": "✅", "Refused": "⛔", "NotJudged": "❔"}
JOINER = "\u2060"
"""Takes no room and breaks no word, but what it stands in is no mention, no reference and no link any more."""


def render(report: Report) -> str:
    """Markdown text, ending in a newline."""
    for share in SHARES:
        text = _joined(_head(report), sections := _sections(report, share=share))
        if len(text) <= MAX_CHARACTERS:
            return text
    return _fitting(_head(report), sections)


def _fitting(head: Sequence[str], sections: Mapping[str, Sequence[str]]) -> str:
    """As many whole sections as there is room for, the shortest first, and words that count the others."""
    shortest = sorted(sections, key=lambda title: (title != GROUNDS, sum(map(len, sections[title]))))
    for count in range(len(shortest), 0, -1):
        left = [title for title in sections if title in shortest[count:]]
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        words = f"Left out here, since a comment holds no more: {', '.join(left[:3])}{more}. The JSON has all of it."
        kept = {title: lines for title, lines in sections.items() if title not in left}
        text = _joined([*head, *([words, ""] if left else [])], kept)
        if len(text) <= MAX_CHARACTERS:
            break
    return text


def _joined(head: Sequence[str], sections: Mapping[str, Sequence[str]]) -> str:
    folded = (line for title, lines in sections.items() for line in _folded(title, lines))
    return "\n".join([*head, *folded]).rstrip() + "\n"


def _head(report: Report) -> list[str]:
    lines = [f"## {MARKS[report.result]} {escape(report.headline)}", "", escape(report.answer), ""]
    lines += in_the_way(report)
    lines += ["**What to do**", "", *todo(report), ""]
    lines += gates_table(report)
    return [*lines, "", "✗ stands in the way of the level.", ""]


def _sections(report: Report, *, share: float) -> dict[str, list[str]]:
    """What is folded away, by its title."""
    found = {"What came out, gate by gate": _details(report, most=max(LEAST, int(share * MOST_OUTCOMES)))}
    if report.metrics:
        found["The model and its baselines"] = metrics_table(report)
    if report.classes is not None:
        most = max(LEAST, int(share * MOST_CLASSES))
        found["Each class against all others"] = classes_table(report.classes, most=most)
    if report.horizons is not None:
        found["Each horizon, in steps"] = horizons_table(report.horizons)
    if report.windows is not None:
        found[f"Over windows of {report.windows.words}"] = windows_lines(report.windows)
    if report.calibration is not None:
        found["Reliability"] = reliability_table(report.calibration)
    for part in report.slices:
        found[f"Slice {part.name}"] = slice_table(part, most=max(LEAST, int(share * MOST_VALUES)))
    for item in report.fairness:
        found[f"Fairness across {item.name}"] = fairness_table(item)
    if report.weakest is not None:
        found["Where it is weakest"] = weakest_list(report.weakest)
    if report.service:
        found["Measured at the running server"] = service_table(report)
    if report.data is not None:
        found["The data"] = data_lines(report.data, most=max(LEAST, int(share * MOST_OUTCOMES)))
    found[GROUNDS] = grounds_table(report, most=max(LEAST, int(share * MOST_GROUNDS)))
    return found


def escape(text: str, most: int = MAX_TEXT) -> str:
    """Text that Markdown, HTML, GitHub and GitLab leave alone, on one line: names come from data.

    Nobody is mentioned, nothing referred to, nothing linked. At most `most` characters of `text` are shown.
    """
    clean = cut(plain(text), most=most)
    clean = re.sub(
        r"[@#!$~%](?=\w)|\b(https?|ftp):(?=//)|\bwww(?=\.)", lambda found: found[0] + JOINER, clean, flags=re.IGNORECASE
    )
    clean = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return isolated(re.sub(r"([\\`*_\[\]~|#!$])", r"\\\1", clean))


def name(text: str) -> str:
    """A name, escaped and short."""
    return escape(text, MAX_NAME)


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table of cells that are escaped already."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def in_the_way(report: Report) -> list[str]:
    """What stands in the way: in full for the next level, by name for those further up."""
    lines: list[str] = []
    for place, (level, obstacles) in enumerate(obstacles_by_level(report)):
        shown, left = obstacles[:MOST_OBSTACLES], len(obstacles) - MOST_OBSTACLES
        if place:
            text = ", ".join(f"`{item.gate}` {item.verdict}" for item in shown)
            lines += [f"Further up, in the way of {level}: {text}{f' and {left} more' if left > 0 else ''}", ""]
            continue
        lines += [f"**What stands in the way of {level}**", ""]
        lines += [f"- `{item.gate}`: **{item.verdict}**: {escape(item.message)}" for item in shown]
        lines += [f"- … and {left} more gates, see the table", ""] if left > 0 else [""]
    return lines


def todo(report: Report) -> list[str]:
    """What to do for the next level, as a list."""
    found = steps(report)
    left = len(found) - MOST_OBSTACLES
    lines = [f"- {escape(step)}" for step in found[:MOST_OBSTACLES]]
    return [*lines, f"- … and the like for {left} more gates"] if left > 0 else lines


def gates_table(report: Report) -> list[str]:
    """Every gate's verdict at every level."""
    return table(["Gate", "Metric", *report.levels], [_gate(gate, report) for gate in report.gates])


def metrics_table(report: Report) -> list[str]:
    """Every metric on every part, and the baselines'."""
    head = ["Metric", "Test", "Train", "Validation", *(f"{name(item)} (test)" for item in report.references)]
    body = [
        [row.title, row.test.text, row.train.text, row.validation.text, *(number.text for number in row.references)]
        for row in report.metrics
    ]
    made = [f"- {name(item)}: {escape(words)}" for item, words in report.learnt]
    lines = table(head, [[escape(cell) for cell in row] for row in body])
    return [*lines, "", *made] if made else lines


def classes_table(found: ClassTable, *, most: int) -> list[str]:
    """Each class against all others; of more than `most` those with most rows, and words that say so."""
    rows = largest(found, most=most)
    left = len(found.rows) - len(rows)
    body = [[name(row.name), count_text(row.rows), *(escape(number.text) for number in row.numbers)] for row in rows]
    lines = table(["Class", "Rows", *(escape(title) for title in found.titles)], body)
    return [*lines, "", f"… and {left} classes with fewer rows."] if left else lines


def horizons_table(found: ClassTable) -> list[str]:
    """Each horizon on the test rows."""
    body = [
        [name(row.name), count_text(row.rows), *(escape(number.text) for number in row.numbers)] for row in found.rows
    ]
    return table(["Horizon", "Rows", *(escape(title) for title in found.titles)], body)


def windows_lines(found: WindowsTold) -> list[str]:
    """How metrics vary over windows."""
    words = " ".join(escape(part) for part in (found.sentence, found.normal, found.told) if part)
    body = [[escape(cell) for cell in row] for row in found.rows]
    return [words, "", *table(WINDOW_HEAD, body)] if body else [words]


def reliability_table(found: Calibration) -> list[str]:
    """Probabilities beside what came true."""
    body = [[escape(cell) for cell in row] for row in reliability_rows(found)]
    lines = table(["Probability", "Rows", "Mean", "Came true"], body)
    return [f"Of {escape(found.what)}. {escape(found.told)}", "", *lines]


def slice_table(part: SliceTable, *, most: int) -> list[str]:
    """One slice's values; where there are more than `most`, the worst, and words that say so."""
    rows, left = worst_values(part, most=most)
    judged = any(row.verdict for row in rows)
    head = [name(part.name), *(["Gates say"] if judged else []), "Rows", *(escape(title) for title in part.titles)]
    body = [
        [
            name(row.value),
            *([row.verdict or "–"] if judged else []),
            count_text(row.rows),
            *(escape(number.text) for number in row.numbers),
        ]
        for row in rows
    ]
    return [*([left_out_text(part, left), ""] if left else []), *table(head, body)]


def data_lines(found: DataEvidence, *, most: int) -> list[str]:
    """What was found about the rows: what differs between the parts, then the gravest findings."""
    shown = found.findings[:most]
    lines = [f"- {escape(comparison_text(comparison))}" for comparison in found.comparisons]
    lines += [f"- **{item.code}**: {escape(item.message)}. {escape(item.advice)}" for item in shown]
    left = findings_left_text(found, len(shown))
    return [*lines, f"- {left}"] if left else lines


def fairness_table(found: FairnessTable) -> list[str]:
    """The groups of one sensitive slice beside each other."""
    judged = any(row.verdict for row in found.rows)
    head = ["Notion", "Metric", "Lowest", "Highest", "Difference", "Ratio", *(["Gates say"] if judged else [])]
    body = [
        [
            row.notion,
            f"`{row.metric}`",
            name(end_text(row.lowest)),
            name(end_text(row.highest)),
            escape(row.difference.text),
            escape(row.ratio.text),
            *([row.verdict or "–"] if judged else []),
        ]
        for row in found.rows
    ]
    return [*table(head, body), "", TOLD]


def weakest_list(found: WeakestTold) -> list[str]:
    """The weakest parts, a sentence each, and how to take them."""
    lines = [f"- {escape(sentence)}" for sentence in found.sentences]
    return [*lines, *([""] if lines else []), *(escape(words) for words in (found.told, *found.left_out))]


def service_table(report: Report) -> list[str]:
    """What was measured at the running server."""
    body = [[escape(item.title), name(item.load), escape(item.number.text)] for item in report.service]
    return [*table(["Number", "Load", "Value"], body), "", *(f"- {escape(note)}" for note in report.service_notes)]


def grounds_table(report: Report, *, most: int = MOST_GROUNDS) -> list[str]:
    """What the verdict rests on, with `most` findings of the measurement."""
    findings, left = report.findings[:most], len(report.findings) - most
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
        *(("finding", finding) for finding in findings),
        *([("finding", f"… and {left} more")] if left > 0 else []),
        ("criteria", report.criteria_digest),
        ("evidence", report.computed_digest),
        *report.inputs.items(),
        *report.versions.items(),
    ]
    return table(["", ""], [[name(key), escape(value)] for key, value in pairs])


def _gate(gate: GateRow, report: Report) -> list[str]:
    cells = []
    for level in report.levels:
        at = gate.at(level)
        cells.append("–" if at is None else at.verdict if at.holds else f"**{at.verdict}** ✗")
    return [f"`{gate.name}`", escape(", ".join(part for part in (gate.title, gate.asks) if part)), *cells]


def _details(report: Report, *, most: int) -> list[str]:
    lines: list[str] = []
    for gate in report.gates:
        at = gate.decided
        lines.append(f"- `{gate.name}` at {at.level}: {escape(requirement_text(at))}")
        shown, left = worst_first(gate, most=most)
        lines += [f"  - **{outcome.verdict}**: {escape(outcome.message)}" for outcome, _ in shown]
        if left:
            lines.append(f"  - … and {left} more, none worse")
    return lines


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>", ""]
