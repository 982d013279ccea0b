"""One cluster with everything in it, for all admission tests; no other test shares its API server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.admission.api import connect
from tests.integration.admission.world import World, build
from tests.integration.conftest import running_api_server


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world; tests act in it by dry run, or clean up after themselves."""
    with running_api_server(tmp_path_factory.mktemp("admission")) as kubeconfig:
        yield build(connect(kubeconfig))
