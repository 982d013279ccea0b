"""One cluster for all tests of a run; a namespace for each module that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with the product in it."""
    with running() as found:
        yield found
