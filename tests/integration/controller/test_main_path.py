"""Apply a ModelDeployment; see it measured, judged, granted and served, with the real operator and API server."""

from __future__ import annotations

from pathlib import Path

from mandate.api.names import GRANT_NAME, LABEL_MODEL, LABEL_REVISION
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    DEPLOYMENTS,
    JOBS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    SERVICES,
)
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.process import operator
from tests.unit.controller.samples import evidence, mdep


async def test_a_good_model_is_granted_and_served(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            await _check_granted(world, item)


async def _check_granted(world: World, item: dict[str, object]) -> None:
    status = item["status"]
    assert isinstance(status, dict)
    assert status["level"] == "Suggest"
    assert status["champion"]["version"] == "1"
    revision = status["champion"]["revision"]
    grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
    assert grant is not None
    assert list(grant["spec"]["grants"]) == [revision]
    assert grant["spec"]["grants"][revision]["level"] == "Suggest"
    deployments = await world.all(DEPLOYMENTS)
    assert [deployment["metadata"]["name"] for deployment in deployments] == [f"credit-{revision[:10]}"]
    suggest = await world.get(SERVICES, "credit-suggest")
    automate = await world.get(SERVICES, "credit")
    assert suggest is not None
    assert automate is not None
    assert suggest["spec"]["selector"] == {LABEL_MODEL: "credit", LABEL_REVISION: revision}
    assert automate["spec"]["selector"][LABEL_REVISION] == "none"
    assert len(await world.all(MODEL_EVALUATIONS)) == 1
    assert len(await world.all(JOBS)) == 1
