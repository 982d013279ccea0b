"""A sign of life: in place on a terminal, by lines in a log, silent where nothing takes long."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest

from mandate.cli import progress as module
from mandate.cli.progress import CLEAR, progress


class Stream(io.StringIO):
    """Standard error that says when it was written to."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self.written = threading.Event()

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        done = super().write(text)
        if "evaluating" in text:
            self.written.set()
        return done


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, patience: float = 0.0) -> str:
    """What stands on standard error after something that took longer than `patience` asks for."""
    stream = Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "PATIENCE", patience)
    monkeypatch.setattr(module, "LOG_PATIENCE", patience)
    with progress("evaluating credit\x1b[2J") as stage:
        stage("reading\nthe data")
        if not patience:
            assert stream.written.wait(30)
    return stream.getvalue()


def test_a_terminal_shows_one_line_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = shown(monkeypatch, terminal=True)
    assert re.fullmatch(
        rf"({re.escape(CLEAR)}evaluating credit�\[2J(: reading�the data)? … \d+ s)+{re.escape(CLEAR)}", text
    )


@pytest.mark.parametrize(("terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_a_log_gets_lines_without_control_characters(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    text = shown(monkeypatch, terminal=terminal)
    assert re.fullmatch(r"(evaluating credit�\[2J(: reading�the data)? … \d+ s\n)+", text)


def test_there_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not re.search(r"\x1b\[[0-9;]*m", shown(monkeypatch, terminal=True))


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_quick_says_nothing(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    assert shown(monkeypatch, terminal=terminal, patience=3600.0) == ""


def test_without_standard_error_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress("evaluating credit") as stage:
        stage("reading the data")


@pytest.mark.parametrize(
    "command", ["ask", "batch", "evaluate", "init", "output", "report", "split", "status", "verdict"]
)
def test_whatever_reads_asks_or_computes_has_it(command: str) -> None:
    """`version` reads nothing; the other modules of the command line are parts of these."""
    import importlib

    assert importlib.import_module(f"mandate.cli.{command}").progress is progress
