"""Who is asked as the champion in a candidate's evaluation, and that becoming the champion asks for nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentSpec
from mandate.controller.choice import wanted
from mandate.controller.pods import evaluation_template, ports_clash
from mandate.controller.settings import Images, Settings
from mandate.evidence.measurement import evaluation_name, evaluation_spec, key, revision_digest, stated
from tests.unit.api.specs import DIGEST, changed

IMAGE = f"repo/image@{DIGEST}"
SETTINGS = Settings(images=Images(fetch=IMAGE, judge=IMAGE, predictor=IMAGE))

OLD = changed("gates.0.require", {"Shadow": "no worse than champion by 2 %"})
OLD["gates"][0]["firstModel"] = "Skip"
NEW = {**OLD, "model": {**OLD["model"], "version": "8"}}
NEW["model"]["source"] = {"uri": "pvc://models/credit/8/model.onnx", "format": "ONNX"}


def spec(document: Any) -> ModelDeploymentSpec:
    return ModelDeploymentSpec.model_validate(document)


def meval(asked: Any) -> dict[str, Any]:
    return {"metadata": {"name": evaluation_name(asked), "namespace": "lending"}, "spec": stated(asked)}


FIRST = evaluation_spec("credit", spec(OLD))


def mdep(document: Any, *, champion: Any = FIRST) -> dict[str, Any]:
    standing = {
        "revision": champion.revision,
        "version": champion.model.version,
        "level": "Automate",
        "evaluation": evaluation_name(champion),
        "modelDigest": DIGEST,
    }
    return {
        "metadata": {"name": "credit", "namespace": "lending"},
        "spec": document,
        "status": {"champion": standing},
    }


@pytest.mark.row("G7/measured")
def test_a_candidate_is_measured_beside_the_champion_pinned_by_its_digest() -> None:
    asked = wanted(mdep(NEW), [meval(FIRST)]).spec
    assert asked.champion is not None
    assert asked.champion.source.uri == "pvc://models/credit/7/model.onnx"
    assert asked.champion.source.digest == DIGEST


def test_without_a_gate_against_it_the_champion_is_left_alone() -> None:
    document = {**NEW, "gates": [gate for gate in NEW["gates"] if gate["name"] != "beats"]}
    assert wanted(mdep(document), [meval(FIRST)]).spec.champion is None


def test_becoming_the_champion_asks_for_no_new_measurement() -> None:
    second = wanted(mdep(NEW), [meval(FIRST)]).spec
    name = evaluation_name(second)
    assert wanted(mdep(NEW), [meval(FIRST), meval(second)]).name == name
    assert wanted(mdep(NEW, champion=second), [meval(FIRST), meval(second)]).name == name


def test_the_champion_runs_beside_the_model_on_a_port_of_its_own() -> None:
    asked = wanted(mdep(NEW), [meval(FIRST)]).spec
    pod = evaluation_template(job="job", namespace="lending", evaluation="e", spec=asked, settings=SETTINGS)["spec"]
    containers = {container["name"]: container for container in pod["initContainers"]}
    assert containers["champion"]["restartPolicy"] == "Always"
    assert "8081" in containers["champion"]["command"]
    assert {mount["name"] for mount in containers["champion"]["volumeMounts"]} == {"champion", "tmp-champion"}
    assert {mount["name"] for mount in containers["predictor"]["volumeMounts"]} == {"model", "tmp-predictor"}
    assert pod["containers"][0]["command"][-2:] == ["--champion", "http://127.0.0.1:8081"]


def test_two_images_on_one_port_are_not_put_into_one_pod() -> None:
    image = {**OLD["model"], "source": {"image": f"repo/model@{DIGEST}", "port": 9000}}
    one, other = (spec({**OLD, "model": model}).model for model in (image, {**image, "version": "8"}))
    assert ports_clash(one, other)
    assert not ports_clash(spec(OLD).model, one)
    assert key(revision_digest("credit", spec(OLD))) == FIRST.revision


def test_the_same_model_for_two_uses_is_two_revisions() -> None:
    """One namespace's grant is keyed by revision: sharing a key, one use would take the other's entry."""
    assert revision_digest("credit", spec(OLD)) != revision_digest("mortgage", spec(OLD))
