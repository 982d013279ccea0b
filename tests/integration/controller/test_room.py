"""A namespace whose grant is full, on a real API server: what is granted stays, the newcomer is told, gets in later."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from mandate.api.names import API_VERSION, GRANT_NAME, LABEL_MODEL, LABEL_REVISION
from mandate.kube.client import Object
from mandate.kube.errors import ForbiddenError
from mandate.kube.resources import AUTONOMY_GRANTS, DEPLOYMENTS, EVENTS, JOBS, MODEL_DEPLOYMENTS, PODS
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.process import eventually, operator
from tests.processes import free_port
from tests.unit.controller.samples import MODEL_DIGEST, evidence, mdep

BULK = 14
FULL = 1_399_000


async def crowd(world: World) -> None:
    """Fill the grant with revisions of others, of each of which a Pod still runs."""
    entries: dict[str, Object] = {}
    for number in range(BULK):
        entries[f"{number:032x}"] = {
            "model": f"other{number}",
            "level": "Shadow",
            "modelDigest": MODEL_DIGEST,
            "evaluation": f"other{number}-1",
            "template": {"metadata": {"annotations": {"padding": "x" * (FULL // BULK - 250)}}},
        }
        labels = {LABEL_MODEL: f"other{number}", LABEL_REVISION: f"{number:032x}"}
        metadata = {"name": f"other{number}", "namespace": world.namespace, "labels": labels}
        spec = {"containers": [{"name": "predictor", "image": "registry.example/model"}]}
        async for _ in eventually("the namespace takes Pods"):
            try:
                await world.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
                break
            except ForbiddenError:  # its service account isn't there yet
                continue
    metadata = {"name": GRANT_NAME, "namespace": world.namespace}
    grant = {"apiVersion": API_VERSION, "kind": "AutonomyGrant", "metadata": metadata, "spec": {"grants": entries}}
    await world.client.create(AUTONOMY_GRANTS, grant)


async def grant_of(world: World) -> Object:
    grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
    assert grant is not None
    return dict(grant["spec"])


def message(item: Object, kind: str) -> str:
    return str(next(each["message"] for each in item["status"]["conditions"] if each["type"] == kind))


async def test_a_full_grant_keeps_what_it_holds_and_says_who_is_left_out(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        await crowd(world)
        before = (await grant_of(world))["grants"]
        port = free_port()
        flags = {"namespace": world.namespace, "listen": f"127.0.0.1:{port}"}
        with operator(world.kubeconfig, tmp_path / "log", **flags) as process:
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("told", lambda item: condition(item, "Stalled") == ("True", "GrantFull"))
            assert condition(item, "Granted") == ("False", "GrantFull")
            assert condition(item, "Ready") == ("False", "GrantFull")
            grant = await grant_of(world)
            assert f"{grant['leftOut']['credit']:,} bytes of this model" in message(item, "Stalled")
            assert grant["grants"] == before, "the others keep what they have"
            assert await world.all(JOBS) == await world.all(DEPLOYMENTS) == ()
            async for _ in eventually("an event says so"):
                events = await world.all(EVENTS)
                if any(each["reason"] == "GrantFull" and each["type"] == "Warning" for each in events):
                    break
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                metrics = await (await session.get("/metrics")).text()
            assert f'mandate_grant_left_out_models{{namespace="{world.namespace}"}} 1.0' in metrics

            await world.client.delete(PODS, "other0", namespace=world.namespace)
            item = await world.until("granted and served", lambda item: condition(item, "Ready") == ("True", "Serving"))
            grant = await grant_of(world)
            others = set(before) - {f"{0:032x}"}
            assert set(grant["grants"]) == others | {item["status"]["champion"]["revision"]}
            assert all(grant["grants"][key] == before[key] for key in others)
            assert grant.get("leftOut", {}) == {}
        assert process.log.read_text().count("Traceback") == 0
