"""Baselines that are containers, in an evaluation's Pod: beside the model, locked, and with nothing of its."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentSpec
from mandate.controller.choice import wanted
from mandate.controller.desired import attempt_template, evaluation
from mandate.controller.pods import evaluation_template, ports_clash
from mandate.evidence.measurement import evaluation_name, evaluation_spec
from tests.unit.api.specs import CONTAINER, with_containers
from tests.unit.controller.test_champion import NEW, SETTINGS, mdep, meval, spec

DECLARED = with_containers(CONTAINER, CONTAINER | {"port": 9000, "resources": {"limits": {"memory": "2Gi"}}})


def template(document: dict[str, Any]) -> dict[str, Any]:
    asked = evaluation_spec("credit", ModelDeploymentSpec.model_validate(document))
    name = evaluation_name(asked)
    return evaluation_template(job="j", namespace="lending", evaluation=name, spec=asked, settings=SETTINGS)


@pytest.mark.row("B1/container")
def test_containers_run_beside_the_model_and_stop_with_the_judge() -> None:
    pod = template(DECLARED)["spec"]
    names = [container["name"] for container in pod["initContainers"]]
    assert names == ["fetch", "predictor", "baseline-rival-0", "baseline-rival-1"]
    first, second = pod["initContainers"][2:]
    assert first["image"] == CONTAINER["image"]
    assert (first["restartPolicy"], second["restartPolicy"]) == ("Always", "Always")
    assert first["resources"] == pod["initContainers"][1]["resources"], "the model's, unless declared"
    assert second["resources"] == {"limits": {"memory": "2Gi"}}


def test_containers_are_locked_and_see_neither_files_nor_settings_nor_secrets() -> None:
    pod = template(DECLARED)["spec"]
    model, *others = pod["initContainers"][1:]
    for container in others:
        assert container["securityContext"] == model["securityContext"]
        assert container["volumeMounts"] == [{"name": f"tmp-{container['name']}", "mountPath": "/tmp"}]
        assert not {"env", "envFrom", "command", "args", "ports"} & set(container)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["tmp-baseline-rival-0"]["emptyDir"] == {"sizeLimit": "64Mi"}
    assert len(volumes) == len(pod["volumes"])


def test_the_judge_is_told_which_ports_by_the_settings_alone() -> None:
    with_them, without = template(DECLARED), template(with_containers())
    assert with_them["spec"]["containers"][0]["command"] == without["spec"]["containers"][0]["command"]
    assert [item["name"] for item in without["spec"]["initContainers"]] == ["fetch", "predictor"]
    assert with_them["metadata"]["labels"] == without["metadata"]["labels"]


def test_what_is_granted_for_the_attempt_holds_them() -> None:
    """Job and grant take the Pod from one place: it is what policies compare with."""
    asked = evaluation_spec("credit", ModelDeploymentSpec.model_validate(DECLARED))
    owner = {"apiVersion": "mandate.dev/v1alpha1", "kind": "ModelDeployment"} | mdep(DECLARED)
    made = evaluation(owner, evaluation_name(asked), asked)
    assert attempt_template(made, "j", settings=SETTINGS) == template(DECLARED)


def test_another_image_is_another_measurement() -> None:
    other = with_containers({"image": CONTAINER["image"][:-1] + "b"})
    one, two = (
        evaluation_name(evaluation_spec("credit", ModelDeploymentSpec.model_validate(document)))
        for document in (with_containers(CONTAINER), other)
    )
    assert one != two


def test_a_champion_on_a_containers_port_is_not_put_into_the_pod() -> None:
    image = {**NEW["model"], "source": {"image": CONTAINER["image"], "port": 8082}}
    champion, model = spec({**NEW, "model": image}), spec(NEW).model
    containers = spec(with_containers(CONTAINER)).baselines
    assert ports_clash(model, champion.model, containers)
    assert not ports_clash(model, champion.model)
    measured = evaluation_spec("credit", champion)
    document = {**NEW, "baselines": with_containers(CONTAINER)["baselines"]}
    assert wanted(mdep(document, champion=measured), [meval(measured)]).spec.champion is None
    assert wanted(mdep(NEW, champion=measured), [meval(measured)]).spec.champion is not None
