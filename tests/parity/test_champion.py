"""A champion is asked about the same rows and compared pair by pair, by its own cut-off, in the Pod and offline."""

import copy

import pytest

from mandate.evidence.intervals import Paired
from mandate.evidence.schema import Evidence, computed_bytes
from tests.evaluation import digest, locally
from tests.models import columns_model, predictor


@pytest.fixture
def rival(claims, declared):
    """Another model as the champion, with another cut-off."""
    path = claims / "models" / "champion.onnx"
    path.write_bytes(columns_model(weight=0.2))
    champion = copy.deepcopy(declared["model"])
    champion["source"] = {"uri": "pvc://models/champion.onnx", "format": "ONNX", "digest": digest(path)}
    champion["version"], champion["output"] = "6", {"cutoff": "0.7"}
    declared["champion"] = champion
    return path


def compared(computed):
    return {
        estimate.quantity.metric: estimate
        for estimate in computed.estimates
        if estimate.quantity.versus == "champion" and estimate.quantity.on == "test" and estimate.quantity.value is None
    }


def test_the_champion_is_compared_on_the_same_rows(pod, declared, rival):
    offline = locally(declared, pod.claims).computed
    code, ended = pod.fetch(declared)
    assert code == 0, ended.failure
    assert digest(pod.champion / "model.onnx") == digest(rival)
    with predictor(pod.model) as (url, _), predictor(pod.champion) as (champion, _):
        _, _, result = pod.judge(url, "--champion", champion)
    assert result.failure is None
    evidence = Evidence.model_validate(result.evidence)
    assert computed_bytes(evidence.computed) == computed_bytes(offline)
    assert evidence.computed.inputs.champion == digest(rival)
    found = compared(evidence.computed)
    assert isinstance(found["roc_auc"].interval, Paired)
    assert found["roc_auc"].estimate > found["roc_auc"].reference
    alone = copy.deepcopy(declared)
    alone["model"] = alone.pop("champion")
    recall = next(
        e.estimate
        for e in locally(alone, pod.claims).computed.estimates
        if e.quantity.model_dump(exclude_none=True) == {"metric": "recall", "on": "test", "slice": "overall"}
    )
    assert found["recall"].reference == pytest.approx(recall, abs=1e-12)


def test_a_champion_with_another_digest_is_not_asked(pod, declared, rival):
    rival.write_bytes(columns_model(weight=0.3))
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code) == (2, "DigestMismatch")


def test_without_a_champion_nothing_is_compared_with_one(pod, declared):
    assert compared(locally(declared, pod.claims).computed) == {}
