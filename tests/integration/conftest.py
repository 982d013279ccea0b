"""A real API server (etcd, kube-apiserver, kube-controller-manager) for the whole test session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The administrator's kubeconfig; nothing of ours is installed. Stopped and deleted afterwards."""
    state = tmp_path_factory.mktemp("api-server") / "state"
    command = [sys.executable, str(ROOT / "hack" / "cluster"), "apiserver"]
    try:
        up = subprocess.run(
            [*command, "up", "--state", str(state), "--controller-manager"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield Path(up.stdout.strip())
    finally:
        subprocess.run([*command, "down", "--state", str(state)], check=True)
