"""The report as GitHub Actions' workflow commands: what stands in the way, at the lines of the manifest that ask it."""

from __future__ import annotations

from collections.abc import Mapping

from .content import Obstacle, Report
from .names import cut, plain

MOST = 10
"""Annotations of one kind that GitHub takes from one step."""
MAX_TEXT = 1000
KINDS = {"Fail": "error", "Error": "error"}
"""By verdict; else a warning."""


def render(report: Report, *, file: str | None = None, lines: Mapping[str, int] | None = None) -> str:
    """One command a line: the answer, then what stands in the way, from the lowest level up.

    `file` is the manifest's path in the repository, `lines` where each gate stands in it, from 1.
    """
    lines = lines or {}
    head = "notice" if report.result == "Holds" else "error"
    room = {"error": MOST - (head == "error"), "warning": MOST, "notice": MOST}
    commands, left = [], 0
    for obstacle in report.obstacles:
        kind = KINDS.get(obstacle.verdict, "warning")
        if room[kind] == 0:
            left += 1
            continue
        room[kind] -= 1
        title = f"{report.name} {report.version}: {obstacle.gate} is {obstacle.verdict} at {obstacle.level}"
        commands.append(_command(kind, _words(obstacle), title=title, file=file, line=lines.get(obstacle.gate)))
    more = f" {left} more that stand in the way found no room here; the report has them." if left else ""
    first = _command(head, report.answer + more, title=report.headline, file=file, line=None)
    return "\n".join([first, *commands]) + "\n"


def _words(obstacle: Obstacle) -> str:
    return f"{obstacle.message}. What to do: {obstacle.step}"


def _command(kind: str, message: str, *, title: str, file: str | None, line: int | None) -> str:
    parts = {"title": title, "file": file, "line": None if line is None else str(line)}
    written = ",".join(f"{key}={_property(value)}" for key, value in parts.items() if value)
    return f"::{kind} {written}::{_data(message)}"


def _data(text: str) -> str:
    """As the runner reads it back: `%` starts an escape; line ends are gone already."""
    return cut(plain(text), most=MAX_TEXT).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
