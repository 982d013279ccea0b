"""Helm, and an API server of one's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, helm_binary, running_api_server

Helm = Callable[..., str]


@pytest.fixture(scope="module")
def chart_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an empty cluster for one module's tests: a cluster holds one release."""
    with running_api_server(tmp_path_factory.mktemp("chart")) as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Run Helm in a home of its own; returns what it printed, raises with what it said."""
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str, kubeconfig: Path | None = None) -> str:
        result = subprocess.run(
            [helm_binary(), *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"HOME": str(home), "KUBECONFIG": str(kubeconfig or home / "none")},
        )
        if result.returncode != 0:
            raise RuntimeError(f"helm {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout

    return run
