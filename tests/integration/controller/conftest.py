"""One API server with the CRDs, a pretended node, and namespaces of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mandate.evaluate.frame import Result, frame
from mandate.evidence.schema import Evidence
from mandate.kube.client import Client, Object, connect
from mandate.kube.errors import NotFoundError
from mandate.kube.resources import MODEL_DEPLOYMENTS, NAMESPACES, Resource
from tests.integration.controller.kubelet import Ended, Kubelet, kubelet
from tests.integration.controller.process import eventually
from tests.integration.controller.rights import operators_rights

ROOT = Path(__file__).parents[3]


def good(evidence: Evidence) -> Ended:
    """A judge that gives this evidence."""
    line, termination = frame(Result(evidence=evidence.dump()))
    return Ended(log=line.encode(), message=termination.dump())


@dataclass
class World:
    """One namespace on the API server, with its node. `kubeconfig` has the rights that the chart gives the operator."""

    client: Client
    kubeconfig: Path
    namespace: str
    node: Kubelet
    folder: Path

    async def get(self, resource: Resource, name: str) -> Object | None:
        try:
            return await self.client.get(resource, name, namespace=self.namespace)
        except NotFoundError:
            return None

    async def all(self, resource: Resource, selector: str = "") -> tuple[Object, ...]:
        return (await self.client.list(resource, namespace=self.namespace, selector=selector)).items

    async def until(
        self,
        what: str,
        found: Callable[[Object], bool],
        *,
        resource: Resource = MODEL_DEPLOYMENTS,
        name: str = "credit",
        seconds: float = 180.0,
    ) -> Object:
        """The object as soon as `found` says so."""
        item: Object | None = None
        try:
            async for _ in eventually(what, seconds):
                item = await self.get(resource, name)
                if item is not None and found(item):
                    return item
        except AssertionError as error:
            error.add_note(json.dumps((item or {}).get("status"), indent=1))
            raise
        raise AssertionError(what)


def condition(item: Object, kind: str) -> tuple[str, str]:
    """Status and reason of a condition; empty where there is none."""
    for entry in (item.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind:
            return entry["status"], entry["reason"]
    return "", ""


def install(kubeconfig: Path, *paths: str) -> None:
    """Apply definitions of kinds, and wait until the API server serves them."""
    binary = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "cluster"), "build", "kubectl"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    kubectl = [binary, "--kubeconfig", str(kubeconfig)]
    files = [part for path in paths for part in ("-f", path)]
    subprocess.run([*kubectl, "apply", "--server-side", *files], check=True, stdout=subprocess.DEVNULL)
    wait = [*kubectl, "wait", "crd", "--all", "--for=condition=Established", "--timeout=30s"]
    subprocess.run(wait, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def cluster(api_server: Path) -> Path:
    """The API server with our CRDs; the administrator's kubeconfig."""
    install(api_server, str(ROOT / "crds"))
    return api_server


@asynccontextmanager
async def a_world(
    kubeconfig: Path, folder: Path, script: Callable[[dict[str, Any]], Any], *values: str, **labels: str
) -> AsyncIterator[World]:
    """A fresh namespace, also the operator's own, and a node that plays `script`; the administrator's `kubeconfig`.

    `values` are the chart's, as `path=value`; `labels` the namespace's.
    """
    client = await connect(kubeconfig=str(kubeconfig))
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    metadata = {"name": namespace, "labels": labels}
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        async with (
            kubelet(client, kubeconfig.parent, script) as node,
            operators_rights(client, kubeconfig, namespace, folder, *values) as rights,
        ):
            try:
                yield World(client, rights, namespace, node, folder)
            finally:
                # Also after a failure: what one test leaves, the next one's node would play with.
                for item in await _left(client, namespace):
                    await client.delete(MODEL_DEPLOYMENTS, item["metadata"]["name"], namespace=namespace)
                await client.delete(NAMESPACES, namespace)
    finally:
        await client.close()


async def _left(client: Client, namespace: str) -> tuple[Object, ...]:
    return (await client.list(MODEL_DEPLOYMENTS, namespace=namespace)).items
