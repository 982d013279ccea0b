"""`kubectl mandate report` with a person's own rights, on evidence that the real operator stored."""

from __future__ import annotations

import json
from pathlib import Path

from mandate.evidence.canonical import sha256
from mandate.kube.client import Object
from mandate.kube.resources import CONFIG_MAPS, MODEL_DEPLOYMENTS, MODEL_EVALUATIONS
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.process import operator
from tests.integration.controller.rights import KINDS, RBAC
from tests.integration.controller.test_verbs import kubectl_mandate, person
from tests.unit.controller.samples import evidence, mdep


async def _may_look(world: World, name: str) -> None:
    """Give somebody Kubernetes' own ClusterRole `view` in the namespace."""
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"view-{name}", "namespace": world.namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.namespace}],
    }
    await world.client.apply(KINDS["RoleBinding"], binding)


async def test_the_evidence_that_the_operator_stored_is_reported(cluster: Path, tmp_path: Path) -> None:
    async with (
        a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world,
        person(world, cluster, "reader", "view") as reader,
    ):
        ask = ("report", "credit", "-n", world.namespace)
        await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
        code, out, err = await kubectl_mandate(reader, *ask)
        assert (code, out) == (2, "")
        assert "credit: version 1 has no evaluation yet" in err
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            item = await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
        [meval] = await world.all(MODEL_EVALUATIONS)

        code, out, err = await kubectl_mandate(reader, *ask)
        assert (code, out) == (2, "")
        assert 'cannot get resource "configmaps"' in err
        assert "it takes the rights to get modeldeployments.mandate.dev and configmaps" in err

        await _may_look(world, "reader")
        await _check_reported(world, reader, item, meval)
        await _check_lost(world, reader, meval)


async def _check_reported(world: World, reader: Path, item: Object, meval: Object) -> None:
    """By the model's name and by the evaluation's, in every form, as the operator judged it."""
    name = meval["metadata"]["name"]
    forms = {form: world.folder / form for form in ("html", "markdown", "junit", "model-card", "text", "evidence")}
    outputs = [part for form, path in forms.items() for part in ("-o", f"{form}={path}")]
    for of in ("credit", name):
        code, out, err = await kubectl_mandate(reader, "report", of, "-n", world.namespace, "-o", "json", *outputs)
        assert code == 0, err
        read = json.loads(out)
        assert (read["version"], read["reached"]) == ("1", item["status"]["level"])
        assert (read["look"]["number"], read["look"]["source"]) == (item["status"]["look"], "Operator")
        assert f"{world.namespace}/{name}: version 1, measured {meval['status']['completed']}, judged on" in err
    told = {form: path.read_text() for form, path in forms.items()}
    assert all("credit" in text for form, text in told.items() if form != "evidence")
    assert sha256(told["evidence"].rstrip("\n").encode()) == meval["status"]["evidenceDigest"]


async def _check_lost(world: World, reader: Path, meval: Object) -> None:
    """Evidence that isn't what its digest says, and evidence that is gone, while no operator is there to mend it."""
    ask = ("report", "credit", "-n", world.namespace)
    name = meval["status"]["evidenceConfigMap"]
    record = await world.get(CONFIG_MAPS, name)
    assert record is not None
    await world.client.delete(CONFIG_MAPS, name, namespace=world.namespace)
    code, out, err = await kubectl_mandate(reader, *ask)
    assert (code, out) == (2, "")
    assert f"EvidenceLost: ConfigMap {name}, which held the evidence, is gone; the operator measures again" in err
    metadata = {"name": name, "namespace": world.namespace}
    await world.client.create(CONFIG_MAPS, {**record, "metadata": metadata, "binaryData": {"evidence.json.gz": "e30="}})
    code, out, err = await kubectl_mandate(reader, *ask)
    assert (code, out) == (2, "")
    assert f"EvidenceDamaged: ConfigMap {name} holds no evidence; don't use it" in err
