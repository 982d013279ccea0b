"""A module's own random numbers begin anew with each test, so that none depends on which tests ran before it."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def drawn_anew(request: pytest.FixtureRequest) -> None:
    drawn = getattr(request.module, "RNG", None)
    if drawn is not None:
        drawn.bit_generator.state = np.random.default_rng(21).bit_generator.state
