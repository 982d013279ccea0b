"""The provider GatewayAPI with the real operator, API server and kinds; only the gateway's word is pretended."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mandate.api.names import LABEL_REVISION
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.kube.client import MERGE_PATCH, Client, Object
from mandate.kube.errors import ApiError
from mandate.kube.resources import DEPLOYMENTS, HTTP_ROUTES, MODEL_DEPLOYMENTS, SERVICES
from mandate.rollout.gateway import TOTAL
from tests.integration.conftest import ROOT, running_api_server
from tests.integration.controller.conftest import World, a_world, condition, good, install
from tests.integration.controller.kubelet import Ended
from tests.integration.controller.process import eventually, operator
from tests.unit.controller.samples import evidence, mdep

ASKED = {
    "serving": {
        "provider": "GatewayAPI",
        "gateway": {"parentRefs": [{"name": "shared", "namespace": "gateway"}], "hostnames": ["credit.example.com"]},
    }
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An API server of this file's own: others may have the Gateway API's kinds already."""
    with running_api_server(tmp_path_factory.mktemp("bare")) as kubeconfig:
        install(kubeconfig, str(ROOT / "crds"))
        yield kubeconfig


def gateway_kinds() -> list[str]:
    command = [sys.executable, str(ROOT / "hack" / "cluster"), "gateway", "--definitions"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def script(pod: Object) -> Ended:
    environment = pod["spec"]["containers"][0]["env"]
    version = unpack(next(item["value"] for item in environment if item["name"] == SETTINGS_VARIABLE))
    return good(evidence({"1": 0.8, "2": 0.85}[version["spec"]["model"]["version"]]))


@asynccontextmanager
async def a_gateway(client: Client, namespace: str) -> AsyncIterator[None]:
    """Somebody who looks at every route and accepts it."""

    async def accept() -> None:
        while True:
            with contextlib.suppress(ApiError):
                for route in (await client.list(HTTP_ROUTES, namespace=namespace)).items:
                    await _accept(client, route)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(accept())
    try:
        yield
    finally:
        task.cancel()


async def _accept(client: Client, route: Object) -> None:
    metadata = route["metadata"]
    told = (route.get("status") or {}).get("parents") or [{"conditions": [{"observedGeneration": 0}]}]
    if told[0]["conditions"][0]["observedGeneration"] == metadata["generation"]:
        return
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": metadata["generation"],
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    [parent] = route["spec"]["parentRefs"]
    entry = {"parentRef": parent, "controllerName": "example.com/pretended", "conditions": conditions}
    path = HTTP_ROUTES.path(namespace=metadata["namespace"], name=metadata["name"], subresource="status")
    await client._json("PATCH", path, body={"status": {"parents": [entry]}}, content_type=MERGE_PATCH)


def shares(route: Object) -> dict[str, int]:
    """Weights by version, or by what answers instead."""
    found = {}
    for backend in route["spec"]["rules"][0]["backendRefs"]:
        said = {item["name"]: item["value"] for item in backend["filters"][0]["responseHeaderModifier"]["set"]}
        if backend["weight"]:
            found[said.get("Mandate-Model-Version", said["Mandate-Autonomy"])] = backend["weight"]
    return found


async def routed(world: World, name: str, wanted: dict[str, int]) -> Object:
    what = f"{name} leads to {wanted}"
    return await world.until(what, lambda route: shares(route) == wanted, resource=HTTP_ROUTES, name=name)


async def test_routes_once_the_cluster_knows_them_and_from_one_version_to_the_next(bare: Path, tmp_path: Path) -> None:
    async with a_world(bare, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace, **ASKED))
            await world.until(
                "told of missing kinds", lambda item: condition(item, "Stalled") == ("True", "GatewayAPIMissing")
            )
            selected = await world.until(
                "the Service answers meanwhile",
                lambda item: item["spec"]["selector"][LABEL_REVISION] != "none",
                resource=SERVICES,
                name="credit-suggest",
            )
            assert selected

            install(bare, *gateway_kinds())
            await routed(world, "credit-suggest", {"1": TOTAL})
            await routed(world, "credit", {"Fallback": TOTAL})
            async with a_gateway(world.client, world.namespace):
                await world.until("ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
                await _is_put_back(world)
                await _next_version(world)


async def _is_put_back(world: World) -> None:
    """What somebody else writes into a route doesn't stay."""
    route = await routed(world, "credit", {"Fallback": TOTAL})
    theirs = {"backendRefs": [{"name": "theirs", "port": 80}]}
    document = {"metadata": {"name": "credit", "namespace": world.namespace}, "spec": {"rules": [theirs]}}
    await world.client.merge(HTTP_ROUTES, document)
    again = await world.until(
        "put back",
        lambda item: item["spec"] == route["spec"] and item["metadata"]["generation"] > route["metadata"]["generation"],
        resource=HTTP_ROUTES,
    )
    assert shares(again) == {"Fallback": TOTAL}
    await world.client.delete(HTTP_ROUTES, "credit", namespace=world.namespace)
    await routed(world, "credit", {"Fallback": TOTAL})


async def _next_version(world: World) -> None:
    """The newcomer is made known, gets everything, and then the old one's place, Service and Pods go."""
    first = {item["metadata"]["name"] for item in await world.all(DEPLOYMENTS)}
    await world.client.merge(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace, model__version="2", **ASKED))
    await routed(world, "credit-suggest", {"1": TOTAL - 1, "2": 1})
    await routed(world, "credit-suggest", {"1": 1, "2": TOTAL - 1})
    await routed(world, "credit-suggest", {"2": TOTAL})
    async for _ in eventually("what served version 1 is gone"):
        left = {item["metadata"]["name"] for kind in (DEPLOYMENTS, SERVICES) for item in await world.all(kind)}
        if not first & left:
            break
    item = await world.until("ready again", lambda item: condition(item, "Ready") == ("True", "Serving"))
    assert item["status"]["champion"]["version"] == "2"
