"""The API server and the pretended node of the integration tests."""

from tests.integration.conftest import api_server
from tests.integration.controller.conftest import cluster

__all__ = ["api_server", "cluster"]
