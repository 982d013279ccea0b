"""Fixtures of an evaluation, and servers that hold its files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.evaluation import claims, declared, pod
from tests.serving import self_signed

__all__ = ["claims", "declared", "pod"]

HACK = Path(__file__).parents[3] / "hack" / "cluster"


def built(tool: str) -> str:
    """A pinned program; built on first use."""
    command = [sys.executable, str(HACK), "build", tool]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], *, port: int, log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A server, from when it listens on until the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment}, cwd=log.parent)
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, which is its own authority, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))
