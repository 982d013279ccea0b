"""One cluster for all tests of a worker; a namespace for each module that asks for one."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import HACK, Cluster, eventually, running


def pytest_xdist_auto_num_workers() -> int:
    """Two with a node each, as the tests mostly wait; one where the cluster is kind's, of which there is one."""
    provider = subprocess.run([sys.executable, str(HACK), "provider"], stdout=subprocess.PIPE, text=True, check=True)
    return 1 if provider.stdout.strip() == "kind" else 2


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with the product in it."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def gateway(cluster: Cluster) -> dict[str, str]:
    """Envoy Gateway's class, the Gateway for all namespaces, and its address, which takes connections from here."""
    if cluster.provider() == "kind":
        pytest.skip("Services' addresses of a cluster in a container can't be reached from this machine")
    made = cluster.gateway()

    def refused() -> str:
        try:
            socket.create_connection((made["address"], 80), timeout=10).close()
        except OSError as error:
            return str(error)
        return ""

    eventually(
        f"{made['address']}:80 to take connections", lambda: None if refused() else True, seconds=60, seen=refused
    )
    return made
