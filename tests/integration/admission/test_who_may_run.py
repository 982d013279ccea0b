"""Point 1: which Pods may run."""

from __future__ import annotations

from tests.integration.admission.world import World


def test_the_granted_template_runs_whoever_creates_the_pod(world: World) -> None:
    world.mallory.rehearsing().create(world.managed())
