"""A container as a baseline is compared as the champion with the same model is, in the Pod and offline."""

from __future__ import annotations

import copy

import pytest

from mandate.evidence.schema import Computed, Evidence, computed_bytes
from tests.evaluation import digest, locally
from tests.models import columns_model, predictor

IMAGE_DIGEST = "sha256:" + "c" * 64


def versus(computed, name):
    """Everything that was compared with it, by what was measured."""
    return {
        estimate.quantity.model_copy(update={"versus": None}).sort_key(): (
            estimate.estimate,
            estimate.reference,
            estimate.interval,
            estimate.fault,
        )
        for estimate in computed.estimates
        if estimate.quantity.versus == name
    }


@pytest.mark.row("B1/container")
def test_it_is_compared_as_a_champion_with_the_same_model(pod, declared):
    path = pod.claims / "models" / "rival.onnx"
    path.write_bytes(columns_model(weight=0.2))
    rival = copy.deepcopy(declared["model"])
    rival["source"] = {"uri": "pvc://models/rival.onnx", "format": "ONNX", "digest": digest(path)}
    declared["champion"] = rival
    container = {"image": f"registry/rival@{IMAGE_DIGEST}"}
    declared["baselines"].append({"name": "rival", "type": "Container", "container": container})
    code, ended = pod.fetch(declared)
    assert code == 0, ended.failure
    with predictor(pod.model) as (url, _), predictor(pod.champion) as (there, _):
        _, _, result = pod.judge(url, "--champion", there, "--baseline", f"rival={there}")
        here = locally(declared, pod.claims, baselines={"rival": there}).computed
    assert result.failure is None
    computed = Evidence.model_validate(result.evidence).computed
    offline = Computed.model_validate_json(computed_bytes(here))  # in as many digits
    assert len(versus(computed, "rival")) > 20
    assert versus(computed, "rival") == versus(computed, "champion") == versus(offline, "rival")
    assert (computed.inputs.containers, offline.inputs.containers) == ({"rival": IMAGE_DIGEST}, None)
    assert computed.inputs.settings == offline.inputs.settings
    assert computed.estimates == offline.estimates
