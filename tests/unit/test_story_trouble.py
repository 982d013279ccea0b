"""A restart of the API server counts only where another process runs afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.story.trouble import restart_api_server

STARTS = """
import json, pathlib, subprocess, time
made = subprocess.Popen(["kube-apiserver", "60"], executable="/bin/sleep", start_new_session=True)
while not pathlib.Path("/proc", str(made.pid), "cmdline").read_bytes():
    time.sleep(0.01)
pathlib.Path({record!r}).write_text(json.dumps(dict(pid=made.pid, started=2)))
"""


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Path]:
    """Where a process by the API server's name is recorded; whatever the record names at the end is ended."""
    found = tmp_path / "pids" / "kube-apiserver.json"
    found.parent.mkdir()
    with subprocess.Popen(["kube-apiserver", "60"], executable="/bin/sleep") as made:
        # A program runs a moment before the kernel shows its arguments.
        while not Path("/proc", str(made.pid), "cmdline").read_bytes():
            time.sleep(0.01)
        found.write_text(json.dumps({"pid": made.pid, "started": 1}))
        yield found
        made.kill()
    last = json.loads(found.read_text())
    if last["started"] == 2:
        os.kill(last["pid"], signal.SIGKILL)


def cluster(record: Path, script: str) -> Any:
    return SimpleNamespace(kubeconfig=record.parents[1] / "admin" / "kubeconfig", hack=(sys.executable, "-c", script))


def test_another_process_in_its_place_is_a_restart(record: Path) -> None:
    before = json.loads(record.read_text())["pid"]
    said: list[str] = []
    gone = restart_api_server(cluster(record, STARTS.format(record=str(record))), note=said.append)
    assert gone > 0
    assert said == [f"killed the API server (process {before})"]
    assert json.loads(record.read_text())["pid"] != before


def test_nothing_in_its_place_is_none(record: Path) -> None:
    with pytest.raises(RuntimeError, match="isn't the API server"):
        restart_api_server(cluster(record, ""), note=print)
