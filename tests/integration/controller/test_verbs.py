"""`kubectl mandate` with people's own rights, the real API server with its policy, and the real operator."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from mandate.admission.verbs import policies
from mandate.kube.client import Client, Object, connect
from mandate.kube.errors import ApiError, ForbiddenError
from mandate.kube.resources import DEPLOYMENTS, EVENTS, MODEL_DEPLOYMENTS, SERVICES, Resource
from tests.integration.conftest import ROOT, helm_binary
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.process import eventually, operator
from tests.integration.controller.rights import ACCOUNTS, KINDS, RBAC, with_token
from tests.unit.controller.samples import evidence, mdep

ADMISSION = "admissionregistration.k8s.io"
POLICY_KINDS = {
    "ValidatingAdmissionPolicy": Resource(
        ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
    ),
    "ValidatingAdmissionPolicyBinding": Resource(
        ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
    ),
}


def chart_roles(namespace: str) -> dict[str, Object]:
    """The chart's ClusterRoles for people, of a release named after this namespace, by name."""
    chart = ["helm/mandate", "-f", "helm/mandate/ci/example-values.yaml", "-s", "templates/roles.yaml"]
    with tempfile.TemporaryDirectory() as home:
        text = subprocess.run(
            [helm_binary(), "template", namespace, *chart],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"HOME": home},
        ).stdout
    return {item["metadata"]["name"]: item for item in yaml.safe_load_all(text) if item}


@asynccontextmanager
async def guarded(world: World) -> AsyncIterator[None]:
    """The policy of verbs in force, for as long as the context lasts."""
    documents = [document for policy in policies() for document in policy.documents()]
    for document in documents:
        await world.client.apply(POLICY_KINDS[document["kind"]], document)
    try:
        yield
    finally:
        for document in reversed(documents):
            await world.client.delete(POLICY_KINDS[document["kind"]], document["metadata"]["name"])


@asynccontextmanager
async def person(world: World, cluster: Path, name: str, *roles: str) -> AsyncIterator[Path]:
    """The kubeconfig of somebody who holds these of the chart's roles in the namespace."""
    known = chart_roles(world.namespace)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": world.namespace}}
    await world.client.apply(ACCOUNTS, account)
    made = [
        known[f"{world.namespace}-{role}"] | {"metadata": {"name": f"{world.namespace}-{role}-{name}"}}
        for role in roles
    ]
    for role in made:
        await world.client.apply(KINDS["ClusterRole"], role)
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role["metadata"]["name"], "namespace": world.namespace},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.namespace}],
        }
        await world.client.apply(KINDS["RoleBinding"], binding)
    try:
        yield await with_token(world.client, cluster, world.namespace, name, world.folder)
    finally:
        for role in made:
            await world.client.delete(KINDS["ClusterRole"], role["metadata"]["name"])


async def kubectl_mandate(kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of the plugin, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mandate.cli.kubectl",
        *arguments,
        "--kubeconfig",
        str(kubeconfig),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def in_force(client: Client, namespace: str) -> None:
    """Wait until the API server refuses what it must: policies are compiled in the background."""
    metadata = {"name": "credit", "namespace": namespace, "annotations": {"mandate.dev/abort": "1 by nobody"}}
    async for _ in eventually("the policy is in force"):
        try:
            await client.merge(MODEL_DEPLOYMENTS, {"metadata": metadata})
        except ForbiddenError:
            return


async def test_whoever_may_only_halt_takes_down_even_a_model_whose_spec_is_broken(
    cluster: Path, tmp_path: Path
) -> None:
    async with (
        a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world,
        guarded(world),
        person(world, cluster, "watch", "halt") as watch,
        person(world, cluster, "crew", "halt", "operate") as crew,
    ):
        place = ("credit", "-n", world.namespace)
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            await in_force(world.client, world.namespace)
            # Only the operator knows that a cluster can't read this: the API server takes it.
            broken = mdep(namespace=world.namespace, model__source__uri="model.onnx")
            await world.client.merge(MODEL_DEPLOYMENTS, broken)
            await world.until("told", lambda item: condition(item, "Stalled") == ("True", "InvalidSpec"))
            served = await world.get(SERVICES, "credit-suggest")
            assert served is not None
            assert served["spec"]["selector"]["mandate.dev/revision"] != "none", "the champion goes on serving"

            code, out, err = await kubectl_mandate(watch, "halt", *place, "--why", "stop: complaints", "--wait", "120")
            assert (code, err) == (0, "")
            who = f"system:serviceaccount:{world.namespace}:watch"
            assert f"halt asked by {who}" in out
            assert f"Halted version 1 from Suggest to no level: stop: complaints (by {who})" in out
            item = await world.until("off", lambda item: item["status"].get("level", "None") == "None")
            assert item["status"]["halted"] | {"at": ""} == {"by": who, "why": "stop: complaints", "at": ""}
            for address in ("credit", "credit-suggest"):
                await world.until(
                    f"{address} answers nobody",
                    lambda item: item["spec"]["selector"]["mandate.dev/revision"] == "none",
                    resource=SERVICES,
                    name=address,
                )
            async for _ in eventually("nothing runs"):
                if not await world.all(DEPLOYMENTS):
                    break
            async for _ in eventually("an event says who"):
                if any(
                    (event["reason"], event["type"]) == ("Halted", "Warning") and who in event["note"]
                    for event in await world.all(EVENTS)
                ):
                    break

            await _by_hand(watch, world, f"hand to Shadow by {who}: by kubectl alone")
            await _nothing_else(watch, world)
            code, out, err = await kubectl_mandate(watch, "status", *place)
            assert code == 0, err
            assert f"halted to Shadow by {who} since" in out

            # The spec is mended, the halt stays, until somebody lifts it who may.
            await world.client.merge(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("mended", lambda item: condition(item, "Evaluated")[0] == "True")
            assert (await world.get(MODEL_DEPLOYMENTS, "credit") or {})["status"]["halted"]["by"] == who
            code, out, err = await kubectl_mandate(crew, "resume", *place, "--wait", "120")
            assert (code, err) == (0, "")
            assert f"Resumed (by system:serviceaccount:{world.namespace}:crew)" in out
            code, out, err = await kubectl_mandate(crew, "resume", *place, "--wait", "120")
            assert (code, err) == (1, "")
            assert "Ignored: resume: nothing is paused or halted" in out

        code, out, err = await kubectl_mandate(crew, "pause", *place, "--wait", "1")
        assert code == 3
        assert "not seen to within 1 s" in err
        code, out, err = await kubectl_mandate(crew, "pause", "other", "-n", world.namespace)
        assert code == 2
        assert '"other" not found' in err


async def _by_hand(kubeconfig: Path, world: World, value: str) -> None:
    """A verb needs no plugin."""
    build = [sys.executable, str(ROOT / "hack" / "cluster"), "build", "kubectl"]
    kubectl = (
        await asyncio.to_thread(subprocess.run, build, check=True, capture_output=True, text=True)
    ).stdout.strip()
    annotate = ("annotate", "mdep", "credit", "-n", world.namespace, "--overwrite", f"mandate.dev/halt={value}")
    command = [kubectl, "--kubeconfig", str(kubeconfig), *annotate]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    item = await world.until("seen to", lambda item: item["status"]["handled"]["Halt"] == "hand")
    assert (item["status"]["halted"]["level"], item["status"]["halted"]["why"]) == ("Shadow", "by kubectl alone")


async def _nothing_else(kubeconfig: Path, world: World) -> None:
    """Somebody who may only halt asks no other verb, and changes nothing else."""
    code, _, err = await kubectl_mandate(kubeconfig, "resume", "credit", "-n", world.namespace)
    assert code == 2
    assert "it takes the verb resume on modeldeployments.mandate.dev" in err
    client = await connect(kubeconfig=str(kubeconfig))
    metadata = {"name": "credit", "namespace": world.namespace}
    changes: tuple[Object, ...] = (
        {"spec": {"autonomy": {"target": "Shadow"}}},
        {"metadata": {"labels": {"x": "y"}}},
        {"metadata": {"annotations": {"mandate.dev/halt": "9 by somebody-else"}}},
    )
    try:
        for change in changes:
            with pytest.raises(ForbiddenError, match=r"verbs\.mandate\.dev"):
                await client.merge(MODEL_DEPLOYMENTS, {**change, "metadata": metadata | change.get("metadata", {})})
        with pytest.raises(ApiError):
            await client.delete(MODEL_DEPLOYMENTS, "credit", namespace=world.namespace)
    finally:
        await client.close()
