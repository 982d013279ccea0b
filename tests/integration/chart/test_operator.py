"""The operator under its own rights and its own policies: what it does on the main path, it may do, and no more."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mandate.kube.client import Client
from mandate.kube.resources import ALL, AUTONOMY_GRANTS, CONFIG_MAPS, MODEL_DEPLOYMENTS, NAMESPACES, PODS
from tests.integration.admission.api import Refused, connect
from tests.integration.chart.conftest import ROOT, Helm
from tests.integration.chart.test_release import allowed
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.process import eventually, operator
from tests.integration.controller.rights import with_token
from tests.unit.controller.samples import evidence, mdep

NAMESPACE = "mandate-system"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:mandate-controller"
CHART = ("helm/mandate", "-f", "helm/mandate/ci/example-values.yaml", "--set", "controller.replicas=0")


def install(helm: Helm, cluster: Path, *more: str) -> None:
    """The chart's policies and rights; its own operator Pods aren't started, a process of this machine takes over."""
    where = ("--namespace", NAMESPACE, "--create-namespace")
    helm("upgrade", "--install", "mandate", *CHART, *where, *more, kubeconfig=cluster)


@pytest.fixture(scope="module")
def installed(chart_cluster: Path, helm: Helm) -> Path:
    install(helm, chart_cluster)
    return chart_cluster


async def account(world: World, kubeconfig: Path) -> Path:
    """A kubeconfig of the release's service account."""
    return await with_token(world.client, kubeconfig, NAMESPACE, "mandate-controller", world.folder)


def as_node(kubeconfig: Path) -> Path:
    """A kubeconfig of a node that is also an administrator: the policies take only a kubelet's word on evaluations."""
    sys.path.insert(0, str(ROOT / "hack" / "cluster"))
    from certs import Authority  # type: ignore[import-not-found, unused-ignore]

    authority = Authority(kubeconfig.parent)
    made = authority.kubeconfig("node", "/O=system:masters/O=system:nodes/CN=pretended", connect(kubeconfig).server)
    return Path(made)


@pytest.mark.parametrize("mode", ["Labelled", "Strict"])
async def test_a_good_model_is_served_where_everything_is_enforced(installed: Path, tmp_path: Path, mode: str) -> None:
    log = tmp_path / "log"
    enrolled = {"mandate.dev/enforce": mode}
    async with a_world(as_node(installed), tmp_path, lambda _: good(evidence(0.8)), **enrolled) as world:
        with operator(await account(world, installed), log, namespace=NAMESPACE):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            revision = item["status"]["champion"]["revision"]
            serving = await world.all(PODS, f"mandate.dev/revision={revision}")
            assert len(serving) == 1
            assert forbidden(installed) == []
            _check_enforced(installed, world.namespace, serving[0])


async def test_where_it_looks_after_some_namespaces_it_works_there_and_nowhere_else(
    installed: Path, helm: Helm, tmp_path: Path
) -> None:
    api, log, enrolled = connect(installed), tmp_path / "log", {"mandate.dev/enforce": "Labelled"}
    async with (
        a_world(as_node(installed), tmp_path, lambda _: good(evidence(0.8)), **enrolled) as world,
        a_namespace(world.client, **enrolled) as beside,
        a_namespace(world.client, **enrolled) as elsewhere,
    ):
        theirs = (world.namespace, beside)
        install(helm, installed, "--set", f"watch.namespaces={{{','.join(theirs)}}}")
        for verb in ("get", "create"):
            for namespace, may in ((world.namespace, True), (beside, True), (elsewhere, False), (NAMESPACE, False)):
                assert allowed(api, "mandate.dev", "autonomygrants", verb, namespace=namespace) is may, namespace
        await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=elsewhere))
        untouched = await everything(world.client, elsewhere)
        flags = {"namespace": NAMESPACE, "namespaces": ",".join(theirs), "resync": "1"}
        with operator(await account(world, installed), log, **flags):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            assert condition(item, "Enforced") == ("True", "Labelled")
            async for _ in eventually("an enrolled namespace without models has its grant too"):
                if (await world.client.list(AUTONOMY_GRANTS, namespace=beside)).items:
                    break
            metadata = {"name": world.namespace, "labels": {"mandate.dev/enforce": "Strict"}}
            await world.client.merge(NAMESPACES, {"metadata": metadata})
            await world.until("it sees that", lambda item: condition(item, "Enforced") == ("True", "Strict"))
            await world.client.merge(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace, model__version="2"))
            await world.until("the next serves", lambda item: champion(item) == "2" and is_serving(item))
        assert await everything(world.client, elsewhere) == untouched
        assert forbidden(installed) == []
        install(helm, installed)


def champion(item: dict[str, Any]) -> str:
    return str((item.get("status") or {}).get("champion", {}).get("version", ""))


def is_serving(item: dict[str, Any]) -> bool:
    return condition(item, "Ready") == ("True", "Serving")


@asynccontextmanager
async def a_namespace(client: Client, **labels: str) -> AsyncIterator[str]:
    """One more namespace, while the context lasts."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": labels}
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield name
    finally:
        await client.delete(NAMESPACES, name)


async def everything(client: Client, namespace: str) -> dict[str, str]:
    """The version of every object of the kinds that the operator reads or writes, as far as the cluster has them."""
    kinds = [kind for kind in ALL if kind.namespaced and kind != CONFIG_MAPS]
    return {
        f"{kind.plural}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in kinds
        if await client.serves(kind)
        for item in (await client.list(kind, namespace=namespace)).items
    }


def forbidden(kubeconfig: Path) -> list[str]:
    """The operator's requests that the API server has refused as forbidden, by its audit log.

    In a namespace that is being deleted, what an earlier test left, everything is forbidden to everybody.
    """
    whole, _, _ = (kubeconfig.parent.parent / "audit.log").read_text().rpartition("\n")
    asked = [entry for entry in map(json.loads, whole.splitlines()) if entry["user"]["username"] == OPERATOR]
    answers = [(f"{entry['verb']} {entry['requestURI']}", entry.get("responseStatus", {})) for entry in asked]
    assert any(answer.get("code") == 201 for _, answer in answers), "the operator isn't seen to make anything"
    return [
        f"{what}: {answer}"
        for what, answer in answers
        if answer.get("code") == 403 and "is being terminated" not in answer.get("message", "")
    ]


def _check_enforced(kubeconfig: Path, namespace: str, serving: dict[str, object]) -> None:
    """Even the administrator may not run something else under the model's name."""
    metadata = serving["metadata"]
    assert isinstance(metadata, dict)
    labels = {key: value for key, value in metadata["labels"].items() if key.startswith("mandate.dev/")}
    copy = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "predictor", "image": "registry.example/evil@sha256:" + "0" * 64}]},
    }
    with pytest.raises(Refused, match=r"pods\.mandate\.dev"):
        connect(kubeconfig).rehearsing().create(copy)
