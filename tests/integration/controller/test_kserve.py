"""The provider KServe with the real operator, API server, policies, and KServe's own controller and webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mandate.admission.chart import policies
from mandate.admission.policy import Actors
from mandate.api.names import GRANT_NAME, LABEL_ENFORCE, LABEL_MODEL, LABEL_REVISION
from mandate.controller.plan import holds
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.kube.client import Client
from mandate.kube.errors import ForbiddenError
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    MODEL_DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICES,
    Resource,
)
from mandate.rollout.gateway import TOTAL
from tests.integration.conftest import ROOT, running_api_server
from tests.integration.controller.conftest import World, a_world, condition, good, install
from tests.integration.controller.kserve import kserve
from tests.integration.controller.kubelet import Ended
from tests.integration.controller.process import IMAGE, eventually, operator
from tests.integration.controller.test_gateway import ASKED as ROUTED
from tests.integration.controller.test_gateway import gateway_kinds, routed
from tests.integration.controller.test_verbs import POLICY_KINDS
from tests.unit.controller.fake_kserve import deployment_of
from tests.unit.controller.samples import evidence, mdep

Object = dict[str, Any]
ASKED: Object = {"serving": {"provider": "KServe", "replicas": 1}}
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An API server of this file's own: KServe's webhooks are asked about every InferenceService."""
    with running_api_server(tmp_path_factory.mktemp("bare")) as kubeconfig:
        install(kubeconfig, str(ROOT / "crds"))
        yield kubeconfig


def script(pod: Object) -> Ended:
    environment = pod["spec"]["containers"][0]["env"]
    version = unpack(next(item["value"] for item in environment if item["name"] == SETTINGS_VARIABLE))
    return good(evidence({"1": 0.8, "2": 0.85}[version["spec"]["model"]["version"]]))


async def enforce(world: World) -> None:
    """The chart's policies for the operator of this namespace, but the one that lets only real kubelets say how an
    evaluation ended.
    """
    account = f"system:serviceaccount:{world.namespace}:{world.namespace}-controller"
    for policy in policies(Actors(operator=account, operator_namespace="mandate-system")):
        for document in policy.documents() if policy.name != "evaluation-pods" else ():
            await world.client.apply(POLICY_KINDS[document["kind"]], document)


async def the_one(world: World, resource: Resource) -> Object:
    [item] = await world.all(resource, LABEL_MODEL)
    return item


async def test_kserve_makes_the_pods_that_were_granted(bare: Path, tmp_path: Path) -> None:
    labels = {LABEL_ENFORCE: "Labelled"}
    async with a_world(bare, tmp_path, script, "kserve.enabled=true", **labels) as world:
        await enforce(world)
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, kserve="true"):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace, **ASKED))
            await world.until(
                "told of missing kinds", lambda item: condition(item, "Stalled") == ("True", "KServeMissing")
            )
            with kserve(bare, tmp_path):
                await world.until("ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
                await _is_as_granted(world)
                await _is_the_operators(world)
                await _more_of_them(world)
                await _is_made_again(world)
                await _next_version(world)
                install(bare, *gateway_kinds())
                await _routes_lead_there(world)
                await _is_not_divided_by_kserve(world.client)


async def _is_as_granted(world: World) -> None:
    """KServe's Deployment is the one that was foreseen, its Pods were let in, and only our Services lead to them."""
    isvc, deployment = await the_one(world, INFERENCE_SERVICES), await the_one(world, DEPLOYMENTS)
    assert isvc["status"]["deploymentMode"] == "Standard"
    assert isvc["metadata"]["generation"] == 1, "nobody, and no webhook, changes what was declared"
    assert deployment["metadata"]["name"] == f"{isvc['metadata']['name']}-predictor"
    foreseen = deployment_of(isvc)["spec"]["template"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == foreseen["metadata"]["labels"]
    assert holds(foreseen, deployment["spec"]["template"])
    grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
    assert grant is not None
    revision = isvc["metadata"]["labels"][LABEL_REVISION]
    template = grant["spec"]["grants"][revision]["template"]
    assert template["metadata"]["labels"] == deployment["spec"]["template"]["metadata"]["labels"]
    [pod] = await world.all(PODS, f"{LABEL_REVISION}={revision}")
    assert [container["name"] for container in pod["spec"]["containers"]] == ["kserve-container"]
    suggest = await world.get(SERVICES, "credit-suggest")
    assert suggest is not None
    assert suggest["spec"]["selector"][LABEL_REVISION] == revision
    assert await world.all(INGRESSES) == (), "KServe leads nobody there from outside"


async def _is_the_operators(world: World) -> None:
    """What was declared to KServe is nobody else's to change, and what is in the way isn't taken."""
    isvc = await the_one(world, INFERENCE_SERVICES)
    metadata = {"name": isvc["metadata"]["name"], "namespace": world.namespace}
    container = isvc["spec"]["predictor"]["containers"][0] | {"image": IMAGE.format("other")}
    document = {"metadata": metadata, "spec": {"predictor": {"containers": [container]}}}
    with pytest.raises(ForbiddenError, match="is the operator's"):
        await world.client.merge(INFERENCE_SERVICES, document)
    service = f"{isvc['metadata']['name']}-predictor"
    for selector in (
        {"app": f"isvc.{service}"},
        {"component": "predictor"},
        {"serving.kserve.io/inferenceservice": isvc["metadata"]["name"]},
    ):
        metadata = {"name": "mine", "namespace": world.namespace}
        spec = {"selector": selector, "ports": [{"port": 80}]}
        mine = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        with pytest.raises(ForbiddenError, match="past their level"):
            await world.client.create(SERVICES, mine, dry_run=True)
    way = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "way", "namespace": world.namespace},
        "spec": {"defaultBackend": {"service": {"name": service, "port": {"number": 80}}}},
    }
    with pytest.raises(ForbiddenError, match="past its level"):
        await world.client.create(INGRESSES, way, dry_run=True)


async def _more_of_them(world: World) -> None:
    """Another number of Pods doesn't start any anew."""
    revision = (await the_one(world, DEPLOYMENTS))["metadata"]["labels"][LABEL_REVISION]
    [first] = await world.all(PODS, f"{LABEL_REVISION}={revision}")
    more = mdep(namespace=world.namespace, serving=ASKED["serving"] | {"replicas": 2})
    await world.client.merge(MODEL_DEPLOYMENTS, more)
    async for _ in eventually("two Pods"):
        if (await the_one(world, DEPLOYMENTS)).get("status", {}).get("availableReplicas") == 2:
            break
    pods = await world.all(PODS, f"{LABEL_REVISION}={revision}")
    assert len(pods) == 2
    assert first["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in pods}


async def _is_made_again(world: World) -> None:
    """KServe makes again what somebody deletes, and it is let in again."""
    before = await the_one(world, DEPLOYMENTS)
    await world.client.delete(DEPLOYMENTS, before["metadata"]["name"], namespace=world.namespace)
    async for _ in eventually("another Deployment has its Pods"):
        found = await world.all(DEPLOYMENTS, LABEL_MODEL)
        fresh = [item for item in found if item["metadata"]["uid"] != before["metadata"]["uid"]]
        if fresh and fresh[0].get("status", {}).get("availableReplicas") == 2:
            break


async def _next_version(world: World) -> None:
    """Another version gets an InferenceService of its own; the old one goes with all that KServe made of it."""
    old = (await the_one(world, INFERENCE_SERVICES))["metadata"]["name"]
    await world.client.merge(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace, model__version="2", **ASKED))
    async for _ in eventually("what served version 1 is gone"):
        kinds = (INFERENCE_SERVICES, DEPLOYMENTS, SERVICES)
        left = {item["metadata"]["name"] for kind in kinds for item in await world.all(kind, LABEL_MODEL)}
        if not {old, f"{old}-predictor"} & left:
            break
    item = await world.until("ready again", lambda item: condition(item, "Ready") == ("True", "Serving"))
    assert item["status"]["champion"]["version"] == "2"


async def _routes_lead_there(world: World) -> None:
    """Behind a gateway, routes lead to a Service of ours, and that one to the Pods and the port that KServe made."""
    serving = ASKED["serving"] | ROUTED["serving"] | {"provider": "KServe"}
    document = mdep(namespace=world.namespace, model__version="2", serving=serving)
    before = await the_one(world, INFERENCE_SERVICES)
    await world.client.merge(MODEL_DEPLOYMENTS, document)
    route = await routed(world, "credit-suggest", {"2": TOTAL})
    [backend] = route["spec"]["rules"][0]["backendRefs"]
    assert backend["name"] == before["metadata"]["name"]
    async for _ in eventually("its endpoints are there"):
        slices = await world.all(ENDPOINT_SLICES, f"kubernetes.io/service-name={backend['name']}")
        if [(item["ports"][0]["port"], len(item["endpoints"])) for item in slices if item.get("ports")] == [(8080, 1)]:
            break
    after = await the_one(world, INFERENCE_SERVICES)
    assert after["metadata"]["generation"] == before["metadata"]["generation"], "the same Pods, by another way"


async def _is_not_divided_by_kserve(client: Client) -> None:
    """Why shares aren't left to KServe: what decision 0027 says of it, held to the release that is pinned."""
    metadata = {"name": "facts", "namespace": "facts", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}}
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "facts"}})

    def declared(image: str, **more: Any) -> Object:
        containers = [{"name": "kserve-container", "image": IMAGE.format(image)}]
        spec = {"predictor": {"containers": containers} | more.pop("predictor", {}), **more}
        api_version, kind = INFERENCE_SERVICES.api_version, INFERENCE_SERVICES.kind
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}

    canary = {"trafficPercent": 10, "predictor": declared("new")["spec"]["predictor"] | {"name": "new"}}
    with pytest.raises(ForbiddenError, match="canary requires a stable predictor with a model"):
        await client.create(INFERENCE_SERVICES, declared("old", canary=[canary]))

    async def images() -> list[str]:
        found = (await client.list(DEPLOYMENTS, namespace="facts")).items
        return [item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found]

    await client.create(INFERENCE_SERVICES, declared("old"))
    async for _ in eventually("the first is there"):
        if await images() == [IMAGE.format("old")]:
            break
    await client.merge(INFERENCE_SERVICES, declared("new", predictor={"canaryTrafficPercent": 10}))
    async for _ in eventually("the second has everything, although it should have a tenth"):
        if await images() == [IMAGE.format("new")]:
            break
    await client.delete(INFERENCE_SERVICES, "facts", namespace="facts")
