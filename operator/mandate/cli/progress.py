"""A sign of life on a terminal, for whatever takes longer than people like to wait."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 2.0
"""Seconds before anything is shown."""
CLEAR = "\r\x1b[K"


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show `what` and the seconds so far on standard error, if that is a terminal, from PATIENCE seconds on."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    shower = threading.Thread(target=_show, args=(what, done), daemon=True)
    shower.start()
    try:
        yield
    finally:
        done.set()
        shower.join()


def _show(what: str, done: threading.Event) -> None:
    start = time.monotonic()
    if done.wait(PATIENCE):
        return
    while True:
        sys.stderr.write(f"{CLEAR}{what} … {time.monotonic() - start:.0f} s")
        sys.stderr.flush()
        if done.wait(1.0):
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            return
