"""Our servers as real processes of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

OPERATOR = Path(__file__).resolve().parents[1] / "operator"
Serving = contextlib.AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    module: str,
    *arguments: str,
    ready: str,
    port: int | None = None,
    log: Path | None = None,
    seconds: float = 120,
    **environment: str,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`python -m MODULE` on the loopback address; yields its URL and process once its path `ready` answers well.

    It is killed at the end where it still runs. What it says on stderr is added to `log`.
    """
    port = port or free_port()
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), *arguments]
    with contextlib.ExitStack() as stack:
        said = log or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(OPERATOR), **environment},
            stdout=subprocess.DEVNULL,
            stderr=stack.enter_context(said.open("ab")),
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + seconds
        while not _answers(url + ready):
            if process.poll() is not None or time.monotonic() > deadline:
                state = "isn't ready" if process.poll() is None else "ended"
                raise RuntimeError(f"{module} {state}: {said.read_text(errors='replace')}")
            time.sleep(0.05)
        yield url, process


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False
