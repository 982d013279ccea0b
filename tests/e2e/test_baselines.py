"""Containers of the user's as baselines: what they answer counts, and what they don't answer lets nothing pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import declared
from tests.e2e.cluster import Cluster, Object, Space, holds, space
from tests.models import columns_model

NEAR = {"name": "near", "metric": "log_loss", "require": {"Shadow": "no worse than rival by 0.5"}, "burden": "Shown"}
AHEAD = {"name": "ahead", "metric": "log_loss", "require": {"Suggest": "better than rival"}, "burden": "Shown"}
"""The rival answers with the probabilities that labels were drawn with, so nobody is ahead of it."""


@pytest.fixture(scope="module")
def ring(cluster: Cluster) -> Iterator[Space]:
    """A model file beside a container that knows the truth, and beside one that leaves an answer out."""
    with space(cluster, "rivals", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model())
        found.apply(_beside(found, "matched", "honest", NEAR, AHEAD))
        found.apply(_beside(found, "unmatched", "short", AHEAD))
        yield found


def _beside(found: Space, name: str, behaviour: str, *gates: Object) -> Object:
    """The model, compared with a container of this behaviour, which is fed `x` alone."""
    document = declared.model(name, source=declared.onnx())
    behaving = declared.behaving(found, behaviour)
    rival = {"name": "rival", "type": "Container", "container": behaving | {"inputs": {"columns": ["x"]}}}
    document["spec"]["baselines"].append(rival)
    document["spec"]["gates"] += gates
    return document


@pytest.mark.row("B1/container")
def test_a_container_is_asked_beside_the_model_and_holds_the_level_up(ring: Space) -> None:
    item = ring.judged("matched", seconds=330)
    verdicts = {gate["name"]: gate["verdict"] for gate in item["status"]["gates"]}
    assert (verdicts["ranks"], verdicts["near"]) == ("Pass", "Pass"), ring.describe("matched")
    assert verdicts["ahead"] in ("Fail", "Inconclusive")
    assert item["status"]["level"] == "Shadow"
    (evaluation,) = ring.evaluations("matched")
    inputs = ring.evidence(evaluation)["computed"]["inputs"]
    image = ring.cluster.images["test-model"]
    assert inputs["containers"] == {"rival": image.rpartition("@")[2]}
    (job,) = ring.jobs("matched")
    sidecar = job["spec"]["template"]["spec"]["initContainers"][-1]
    assert (sidecar["name"], sidecar["image"]) == ("baseline-rival", image)
    assert [mount["name"] for mount in sidecar["volumeMounts"]] == ["tmp-baseline-rival"]


@pytest.mark.row("B1/container")
def test_one_that_answers_wrongly_is_named_and_lets_nothing_pass(ring: Space) -> None:
    item = ring.judged("unmatched", seconds=330)
    assert holds(item, "Evaluated"), "all else was measured"
    gates = {gate["name"]: gate for gate in item["status"]["gates"]}
    assert (gates["ranks"]["verdict"], gates["ahead"]["verdict"]) == ("Pass", "Error"), ring.describe("unmatched")
    assert "baseline 'rival', its container" in gates["ahead"]["message"]
    assert item["status"]["level"] == "Shadow"
    (evaluation,) = ring.evaluations("unmatched")
    assert "containers" not in ring.evidence(evaluation)["computed"]["inputs"]
