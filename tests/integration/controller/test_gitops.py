"""Others who apply manifests again and again beside the operator, as Argo CD does: by kubectl, to a real API server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mandate.kube.client import Object
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    EVENTS,
    HTTP_ROUTES,
    JOBS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    SERVICES,
    Resource,
)
from mandate.rollout.gateway import TOTAL
from tests.integration.conftest import ROOT, running_api_server
from tests.integration.controller.conftest import World, a_world, condition, install
from tests.integration.controller.process import eventually, operator
from tests.integration.controller.test_gateway import a_gateway, gateway_kinds, routed, script, shares
from tests.unit.controller.samples import mdep

OWNED = (
    AUTONOMY_GRANTS,
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    JOBS,
    MODEL_EVALUATIONS,
    SERVICES,
)
"""What the operator writes, the ModelDeployment's status aside."""
GATEWAY = {
    "parentRefs": [{"name": "shared", "namespace": "gateway"}],
    "hostnames": ["credit.example.com"],
    "entityHeader": "X-Customer",
}
PAUSE = "1 by alice@example.org: the quarter closes"
ANNOTATION = "argocd.argoproj.io/tracking-id"
ROUNDS = 10
ARGO = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An API server that knows HTTPRoutes, which others want to be without."""
    with running_api_server(tmp_path_factory.mktemp("gitops")) as kubeconfig:
        install(kubeconfig, str(ROOT / "crds"), *gateway_kinds())
        yield kubeconfig


class Kubectl:
    """The real kubectl with the administrator's rights."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        command = [sys.executable, str(ROOT / "hack" / "cluster"), "build", "kubectl"]
        binary = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        self._command = [binary, "--kubeconfig", str(kubeconfig), "--namespace", namespace]

    async def run(self, *arguments: str, document: Object | None = None) -> None:
        given = ["-f", "-"] if document is not None else []
        process = await asyncio.create_subprocess_exec(
            *self._command, *arguments, *given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        out, _ = await process.communicate(json.dumps(document).encode() if document is not None else None)
        assert process.returncode == 0, out.decode()


def manifest(world: World, version: str, **automate: Any) -> Object:
    """What lies in the user's repository."""
    document = mdep(
        namespace=world.namespace,
        model__version=version,
        autonomy__target="Automate",
        autonomy__automate=automate,
        gates=[
            {"name": "accurate", "metric": "accuracy", "burden": "Shown", "require": {"Shadow": ">= 0.5"}},
        ],
        serving__provider="GatewayAPI",
        serving__gateway=GATEWAY,
    )
    document["metadata"]["annotations"] = {ANNOTATION: f"models:{world.namespace}/credit"}
    return document


async def everything(world: World) -> dict[str, Object]:
    """All that the operator owns, as the API server keeps it, to the last byte."""
    return {
        f"{resource.kind}/{item['metadata']['name']}": item
        for resource in OWNED
        for item in await world.all(resource)
        if item["metadata"]["name"] != "kube-root-ca.crt"
    }


def writes(log: Path) -> list[str]:
    """The operator's writes so far."""
    return [line for line in log.read_text().splitlines() if " mandate.controller.apply: " in line]


def at(version: str, share: int) -> Any:
    """Whether this version's share is in use."""

    def found(item: Object) -> bool:
        candidate = item["status"].get("candidate") or {}
        return (candidate.get("version"), candidate.get("share"), "begun" in candidate) == (version, share, True)

    return found


async def test_applying_the_users_manifest_again_in_mid_climb_changes_nothing(cluster: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with a_world(cluster, tmp_path, script) as world:
        kubectl = Kubectl(cluster, world.namespace)
        with operator(world.kubeconfig, log, namespace=world.namespace):
            async with a_gateway(world.client, world.namespace):
                await _climbing(world, kubectl)
                await _again_and_again(world, kubectl, log)
                for resource, change in _changes(await everything(world)):
                    await _taken_back(world, kubectl, resource, change)


async def _climbing(world: World, kubectl: Kubectl) -> None:
    """Version 1 is the champion, and version 2 has half of the requests, for a month."""
    await kubectl.run("apply", document=manifest(world, "1", steps=["100%"], stepDuration="0s"))
    await world.until("a champion", lambda item: "champion" in (item.get("status") or {}))
    await kubectl.run("apply", document=manifest(world, "2", steps=["50%", "100%"], stepDuration="30d"))
    await routed(world, "credit", {"1": TOTAL // 2, "2": TOTAL // 2})
    await kubectl.run("annotate", "mdep", "credit", f"mandate.dev/pause={PAUSE}")
    await world.until(
        "paused in mid-climb, and nothing left to do",
        lambda item: at("2", 50)(item) and "paused" in item["status"] and condition(item, "Ready")[0] == "True",
    )


async def _again_and_again(world: World, kubectl: Kubectl, log: Path) -> None:
    before, owned = await world.get(MODEL_DEPLOYMENTS, "credit"), await everything(world)
    assert before is not None
    assert {name.partition("/")[0] for name in owned} >= {"AutonomyGrant", "Deployment", "HTTPRoute", "Service"}
    written = writes(log)
    document = manifest(world, "2", steps=["50%", "100%"], stepDuration="30d")
    for _ in range(ROUNDS):
        await kubectl.run("apply", document=document)
    last = "kubectl.kubernetes.io/last-applied-configuration"
    assert json.loads((await _annotations(world))[last])["spec"] == document["spec"]
    for _ in range(ROUNDS):
        await kubectl.run("apply", *ARGO, document=document)
    assert (await _annotations(world))["mandate.dev/pause"] == PAUSE
    # What it has to say about this shows that it has seen all that came before.
    await kubectl.run("annotate", "mdep", "credit", "mandate.dev/promote=?")
    seen = await world.until("told of the annotation", lambda item: condition(item, "AskUnderstood")[0] == "False")
    assert len(writes(log)) == len(written) + 1, writes(log)[len(written) :]
    assert await everything(world) == owned
    assert seen["spec"] == before["spec"]
    assert seen["metadata"]["generation"] == before["metadata"]["generation"]
    told = [item for item in seen["status"].pop("conditions") if item["type"] != "AskUnderstood"]
    assert told == before["status"].pop("conditions")
    assert seen["status"] == before["status"]


def _leads_nowhere_else(route: Object) -> bool:
    return all("filters" in backend for backend in route["spec"]["rules"][0]["backendRefs"])


async def _annotations(world: World) -> dict[str, str]:
    item = await world.get(MODEL_DEPLOYMENTS, "credit")
    assert item is not None
    return dict(item["metadata"]["annotations"])


def _changes(owned: dict[str, Object]) -> Iterator[tuple[Resource, Object]]:
    """For some objects of ours, what somebody else wants of each."""
    deployment = next(item for item in owned.values() if item["kind"] == "Deployment")
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9999}]
    hashed = {"type": "ConsistentHash", "consistentHash": {"type": "Headers", "headers": [{"name": "Theirs"}]}}
    rules = [{"backendRefs": [{"name": "theirs", "port": 80}]}]
    for resource, item, spec in (
        (HTTP_ROUTES, owned["HTTPRoute/credit"], {"rules": rules}),
        (SERVICES, owned["Service/credit"], {"ports": ports}),
        (BACKEND_TRAFFIC_POLICIES, owned["BackendTrafficPolicy/credit"], {"loadBalancer": hashed}),
        (DEPLOYMENTS, deployment, {"revisionHistoryLimit": 7}),
    ):
        metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
        document = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": spec}
        yield resource, document


async def _taken_back(world: World, kubectl: Kubectl, resource: Resource, change: Object) -> None:
    """What somebody else sets by force is set back, and an event says who had set what."""
    name, [field] = change["metadata"]["name"], change["spec"]
    before = await world.get(resource, name)
    assert before is not None
    await kubectl.run("apply", *ARGO, "--validate=false", document=change)

    def is_back(item: Object) -> bool:
        if resource == HTTP_ROUTES:
            # What was theirs went as a whole, and with it the order of places.
            return _leads_nowhere_else(item) and shares(item) == shares(before)
        return bool(item["spec"] == before["spec"])

    await world.until(f"{field} of {resource.kind} to be set back", is_back, resource=resource, name=name)
    async for _ in eventually(f"an event about {field} of {resource.kind}"):
        notes = [
            item["note"]
            for item in await world.all(EVENTS)
            if item["reason"] == "TakenBack" and item["regarding"]["kind"] == "ModelDeployment"
        ]
        said = f"{resource.kind} {name}: field manager argocd-controller had set "
        if any(said in note and f".spec.{field}" in note for note in notes):
            return
