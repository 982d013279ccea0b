"""Drills and batches through `kubectl mandate`, the real API server and the real operator."""

from __future__ import annotations

import json
from pathlib import Path

from mandate.api.names import LABEL_ENFORCE
from mandate.kube.client import Object
from mandate.kube.resources import AUTONOMY_GRANTS, EVENTS, JOBS, SERVICES
from mandate.kube.resources import MODEL_DEPLOYMENTS as MODELS
from tests.integration.controller.conftest import a_world, condition, good
from tests.integration.controller.process import eventually, operator
from tests.integration.controller.test_verbs import kubectl_mandate, person
from tests.unit.controller.samples import evidence, mdep

REQUEST = json.dumps({"inputs": [{"name": name, "shape": [1], "data": [1]} for name in ("amount", "duration")]})


def declared(namespace: str, *, request: str) -> Object:
    fallback = {"serviceRef": {"name": "rule", "port": 80}, "request": request}
    batch = {"input": "pvc://nights/in", "output": "pvc://answers/out"}
    return mdep(namespace=namespace, useCase__fallback=fallback, batch=batch)


async def test_a_drill_of_a_fallback_that_nobody_can_reach_and_a_batch_as_granted(
    cluster: Path, tmp_path: Path
) -> None:
    """No name resolves here, so the request is lost: what is shown is all that follows from it."""
    async with (
        a_world(cluster, tmp_path, lambda _: good(evidence(0.8)), **{LABEL_ENFORCE: "Labelled"}) as world,
        person(world, cluster, "crew", "operate") as crew,
    ):
        place = ("credit", "-n", world.namespace)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "rule", "namespace": world.namespace},
            "spec": {"selector": {"app": "rule"}, "ports": [{"port": 80}]},
        }
        await world.client.create(SERVICES, service)
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, drills="true"):
            await world.client.create(MODELS, declared(world.namespace, request=REQUEST))
            await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            who = f"system:serviceaccount:{world.namespace}:crew"
            code, out, err = await kubectl_mandate(crew, "drill", *place, "--why", "monthly", "--wait", "120")
            assert (code, err) == (1, ""), out
            assert "DrillFailed: Service rule:80: " in out
            assert f"(monthly) (by {who})" in out
            item = await world.get(MODELS, "credit")
            assert item is not None
            drill = item["status"]["drill"]
            assert (drill["by"], drill["service"], drill["port"], drill["answered"]) == (who, "rule", 80, False)
            assert condition(item, "FallbackDrilled") == ("False", drill["reason"])
            assert drill["reason"] in ("NotReached", "NoAnswer")
            assert condition(item, "Ready") == ("True", "Serving"), "a drill moves nobody"
            async for _ in eventually("an event says so"):
                told = [event for event in await world.all(EVENTS) if event["reason"] == "DrillFailed"]
                if told:
                    break
            assert told[0]["type"] == "Warning"

            await world.client.merge(MODELS, declared(world.namespace, request="{}"))
            code, out, _ = await kubectl_mandate(crew, "drill", *place, "--wait", "120")
            assert code == 1
            assert "spec.useCase.fallback.request: expected an object with inputs" in out
            item = await world.until(
                "said", lambda item: condition(item, "FallbackDrilled") == ("Unknown", "RequestInvalid")
            )

            grant = await world.until(
                "a batch is granted",
                lambda item: any("batch" in entry for entry in item["spec"]["grants"].values()),
                resource=AUTONOMY_GRANTS,
                name="mandate",
            )
            code, out, err = await kubectl_mandate(cluster, "batch", *place)
            assert (code, err) == (0, "")
            printed = json.loads(out)
            made = await world.client.create(JOBS, printed, dry_run=True)
            template = made["spec"]["template"]
            assert template["metadata"]["annotations"]["mandate.dev/autonomy"] == "Suggest"
            (entry,) = grant["spec"]["grants"].values()
            assert entry["batch"]["spec"]["containers"][0]["command"] == template["spec"]["containers"][0]["command"]
            assert "mandate.dev/model" not in made["metadata"]["labels"]
