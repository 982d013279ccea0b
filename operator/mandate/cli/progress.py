"""A sign of life for whatever takes longer than people like to wait: on a terminal, and in a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .run import clean

PATIENCE = 2.0
"""Seconds before a terminal shows anything …"""
LOG_PATIENCE = 10.0
"""… and before a log does, which keeps what it is told."""
EVERY = 30.0
"""Seconds between two lines in a log."""
CLEAR = "\r\x1b[K"

Stage = Callable[[str], None]
"""Called with what is being done from now on."""


@contextmanager
def progress(what: str) -> Iterator[Stage]:
    """Show `what`, its stage and the seconds so far on standard error, where it takes long.

    On a terminal it is one line that is written anew each second and taken away at the end; in a log, and on a dumb
    terminal, a line now and then, without a control character. There are no colours, so NO_COLOR changes nothing.
    """
    stream = sys.stderr
    if stream is None:
        yield lambda _: None
        return
    shower = _Shower(what, stream)
    thread = threading.Thread(target=shower.run, daemon=True)
    thread.start()
    try:
        yield shower.at
    finally:
        shower.done.set()
        thread.join()


class _Shower:
    def __init__(self, what: str, stream: TextIO) -> None:
        self.done = threading.Event()
        self._what, self._stage = clean(what), ""
        self._stream = stream
        self._in_place = stream.isatty() and os.environ.get("TERM") != "dumb"

    def at(self, stage: str) -> None:
        self._stage = f": {clean(stage)}"

    def run(self) -> None:
        start = time.monotonic()
        before, after, pause = (CLEAR, "", 1.0) if self._in_place else ("", "\n", EVERY)
        if self.done.wait(PATIENCE if self._in_place else LOG_PATIENCE):
            return
        while True:
            self._write(f"{before}{self._what}{self._stage} … {time.monotonic() - start:.0f} s{after}")
            if self.done.wait(pause):
                if self._in_place:
                    self._write(CLEAR)
                return

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()
