"""Words for the person at the terminal: numbered steps with elapsed time, and problems that say what to do."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 60.0


class ClusterError(Exception):
    """Something the person has to know or do; shown as it is, without a traceback."""


def note(text: str) -> None:
    """Print one line of progress; standard output is kept for results that other programs read."""
    print(text, file=sys.stderr, flush=True)


class Steps:
    """Numbers the steps of one command. `total` may be None where it isn't known beforehand."""

    def __init__(self, total: int | None = None) -> None:
        self._total = total
        self._done = 0

    @contextmanager
    def step(self, text: str, *, slow: str = "") -> Iterator[None]:
        """Announce a step and its duration. `slow` says what makes a first run slow, and for how long."""
        self._done += 1
        number = f"[{self._done}/{self._total}]" if self._total else f"[{self._done}]"
        note(f"{number} {text}" + (f" ({slow})" if slow else ""))
        started = time.monotonic()
        finished = threading.Event()

        def heartbeat() -> None:
            while not finished.wait(HEARTBEAT_SECONDS):
                note(f"{number} … still at it after {duration(time.monotonic() - started)}")

        threading.Thread(target=heartbeat, daemon=True).start()
        try:
            yield
        finally:
            finished.set()
        note(f"{number} done in {duration(time.monotonic() - started)}")


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s` or `6 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
