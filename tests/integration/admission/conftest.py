"""One cluster with everything in it, for all admission tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.admission.api import connect
from tests.integration.admission.world import World, build


@pytest.fixture(scope="session")
def world(api_server: Path) -> World:
    """The world; tests act in it by dry run, or clean up after themselves."""
    return build(connect(api_server))
