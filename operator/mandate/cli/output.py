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
from .manifest import Manifest, gate_lines
from .parser import FORMATS
from .progress import progress

WIDTH = 120
"""Of text that doesn't go to a terminal."""


@dataclass(frozen=True)
class Output:
    """One format, to a file or (None) to standard output."""

    format: str
    path: Path | None


def parse(given: Sequence[str], *, keep: Sequence[Path], formats: Sequence[str] = FORMATS) -> tuple[Output, ...]:
    """The outputs asked for; text on standard output joins where nothing else goes there.

    Raises InputError, also where an output would overwrite one of the files to `keep`.
    """
    outputs = []
    for item in given:
        name, equals, path = item.partition("=")
        if name not in formats:
            near = get_close_matches(name, formats, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--output {item}: unknown format {name!r}, expected {', '.join(formats)}{hint}")
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


def write(outputs: Sequence[Output], *, report: Report, evidence: Evidence, manifest: Manifest) -> None:
    """Write every output of a report. Raises InputError where a file can't be written."""
    deliver(outputs, lambda form, stream: _render(form, report, evidence, manifest, stream=stream))


def deliver(outputs: Sequence[Output], render: Callable[[str, TextIO | None], str]) -> None:
    """Write every output, as `render` makes it of its format's name and its stream (None for a file).

    What goes to standard output comes last. Raises InputError where a file can't be written.
    """
    for output in sorted(outputs, key=lambda output: output.path is None):
        if output.path is None:
            _print(render(output.format, sys.stdout))
            continue
        try:
            output.path.write_text(render(output.format, None), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--output {output.format}={output.path}: {error.strerror or error}") from None
        print(f"wrote {output.format} to {output.path}", file=sys.stderr)


def _print(text: str) -> None:
    if sys.stdout is None:
        raise InputError("standard output is closed; give each format a file: FORMAT=FILE")
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _render(format_: str, report: Report, evidence: Evidence, manifest: Manifest, *, stream: TextIO | None) -> str:
    renderers: dict[str, Callable[[], str]] = {
        "text": lambda: _text(report, stream),
        "json": lambda: _json(report),
        "markdown": lambda: _markdown(report),
        "html": lambda: _html(report),
        "junit": lambda: _junit(report),
        "github": lambda: _github(report, manifest),
        "model-card": lambda: _model_card(report),
        "evidence": lambda: canonical(evidence.dump()).decode() + "\n",
    }
    with progress(f"writing {format_}"):
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


def _junit(report: Report) -> str:
    from mandate.report import junit

    return junit.render(report)


def _github(report: Report, manifest: Manifest) -> str:
    from mandate.report import github

    return github.render(report, file=_in_repository(manifest.path), lines=gate_lines(manifest))


def _in_repository(path: Path | None) -> str | None:
    """A file's path from where GitHub checked the repository out; as it was given where that isn't known."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if path is None or not workspace:
        return None if path is None else path.as_posix()
    here, root = path.resolve(), Path(workspace).resolve()
    return here.relative_to(root).as_posix() if here.is_relative_to(root) else None


def _model_card(report: Report) -> str:
    from mandate.report import model_card

    return model_card.render(report)
