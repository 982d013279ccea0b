"""Where a report goes: formats to files and to standard output."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from mandate.evidence.canonical import canonical
from mandate.evidence.schema import Evidence
from mandate.report.content import Report

from .errors import InputError
from .parser import FORMATS

WIDTH = 120
"""Of text that doesn't go to a terminal."""


@dataclass(frozen=True)
class Output:
    """One format, to a file or (None) to standard output."""

    format: str
    path: Path | None


def parse(given: Sequence[str], *, keep: Sequence[Path]) -> tuple[Output, ...]:
    """The outputs asked for; text on standard output joins where nothing else goes there.

    Raises InputError, also where an output would overwrite one of the files to `keep`.
    """
    outputs = []
    for item in given:
        name, equals, path = item.partition("=")
        if name not in FORMATS:
            near = get_close_matches(name, FORMATS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--output {item}: unknown format {name!r}, expected {', '.join(FORMATS)}{hint}")
        if equals and not path:
            raise InputError(f"--output {item}: names no file after '='")
        target = Path(path) if equals else None
        if target is not None and not target.absolute().parent.is_dir():
            raise InputError(f"--output {item}: there is no directory {target.absolute().parent}; create it first")
        if target is not None and any(target.resolve() == kept.resolve() for kept in keep):
            raise InputError(f"--output {item}: would overwrite what is read; name another file")
        outputs.append(Output(name, target))
    printed = [output for output in outputs if output.path is None]
    if len(printed) > 1:
        names = " and ".join(output.format for output in printed)
        raise InputError(f"--output: {names} both go to standard output; give all but one a file: FORMAT=FILE")
    return (*outputs, *(() if printed else (Output("text", None),)))


def write(outputs: Sequence[Output], *, report: Report, evidence: Evidence) -> None:
    """Write every output; what goes to standard output comes last. Raises InputError where a file can't be written."""
    for output in sorted(outputs, key=lambda output: output.path is None):
        if output.path is None:
            _print(_render(output.format, report, evidence, stream=sys.stdout))
            continue
        try:
            output.path.write_text(_render(output.format, report, evidence, stream=None), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--output {output.format}={output.path}: {error.strerror or error}") from None
        print(f"wrote {output.format} to {output.path}", file=sys.stderr)


def _print(text: str) -> None:
    if sys.stdout is None:
        raise InputError("standard output is closed; give each format a file: FORMAT=FILE")
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _render(format_: str, report: Report, evidence: Evidence, *, stream: TextIO | None) -> str:
    renderers: dict[str, Callable[[], str]] = {
        "text": lambda: _text(report, stream),
        "json": lambda: _json(report),
        "markdown": lambda: _markdown(report),
        "html": lambda: _html(report),
        "evidence": lambda: canonical(evidence.dump()).decode() + "\n",
    }
    return renderers[format_]()


def _text(report: Report, stream: TextIO | None) -> str:
    from mandate.report import text

    terminal = stream is not None and stream.isatty()
    width = shutil.get_terminal_size((WIDTH, 24)).columns if terminal else WIDTH
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return text.render(report, width=min(width, 160), colour=colour)


def _json(report: Report) -> str:
    from mandate.report import document

    return document.render(report)


def _markdown(report: Report) -> str:
    from mandate.report import markdown

    return markdown.render(report)


def _html(report: Report) -> str:
    from mandate.report import html

    return html.render(report)
