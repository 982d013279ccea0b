"""Real API servers (etcd, kube-apiserver, kube-controller-manager), started by hack/cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@cache
def helm_binary() -> str:
    """The pinned Helm; built on first use."""
    build = [sys.executable, str(ROOT / "hack" / "cluster"), "build", "helm"]
    return subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@contextmanager
def running_api_server(folder: Path) -> Iterator[Path]:
    """An empty cluster's API server; yields the administrator's kubeconfig, stops and deletes everything afterwards."""
    state = folder / "state"
    command = [sys.executable, str(ROOT / "hack" / "cluster"), "apiserver"]
    try:
        up = [*command, "up", "--state", str(state), "--controller-manager"]
        yield Path(subprocess.run(up, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    finally:
        subprocess.run([*command, "down", "--state", str(state)], check=True)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The administrator's kubeconfig of one API server for the session; nothing of ours is installed."""
    with running_api_server(tmp_path_factory.mktemp("api-server")) as kubeconfig:
        yield kubeconfig
