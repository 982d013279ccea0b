"""A champion is asked about the same rows and compared pair by pair, by its own cut-off, in the Pod and offline."""

import copy

import pytest
import yaml

from mandate.api.check import load_spec
from mandate.cli import main
from mandate.evaluate.failures import EvaluationError
from mandate.evidence.intervals import Paired
from mandate.evidence.measurement import evaluation_spec, stated
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


@pytest.mark.row("G7/measured")
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


def test_the_command_line_takes_the_champion_from_its_manifest(pod, declared, rival, tmp_path, capsys):
    """`mandate evaluate --champion` and the Pod: the same computed evidence, byte for byte."""
    champion = declared.pop("champion")
    gate = {"name": "beats", "metric": "roc_auc", "require": {"Shadow": "better than champion"}}
    spec = {part: declared[part] for part in ("model", "task", "data", "baselines")}
    spec |= {"gates": [gate], "autonomy": {"target": "Shadow"}}
    for name, document in (("v7", spec), ("v6", spec | {"model": champion})):
        head = {"apiVersion": "mandate.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "credit"}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(head | {"spec": document}))
    mounts = [f"--mount=pvc://{path.name}={path}" for path in pod.claims.iterdir()]
    arguments = ["evaluate", "-f", str(tmp_path / "v7.yaml"), *mounts, "-o", f"evidence={tmp_path / 'e.json'}"]
    assert main(arguments) == 3
    assert "NoChampion" in capsys.readouterr().out
    assert main([*arguments, "--champion", str(tmp_path / "v6.yaml")]) == 0
    told = capsys.readouterr().out
    offline = Evidence.model_validate_json((tmp_path / "e.json").read_text())
    assert offline.computed.inputs.champion == digest(rival)
    own = load_spec(spec | {"model": champion}).model
    pod.fetch(stated(evaluation_spec("credit", load_spec(spec), champion=own)))
    with predictor(pod.model) as (url, _), predictor(pod.champion) as (address, _):
        _, _, result = pod.judge(url, "--champion", address)
    assert computed_bytes(Evidence.model_validate(result.evidence).computed) == computed_bytes(offline.computed)
    assert main(["report", "-f", str(tmp_path / "v7.yaml"), "-e", str(tmp_path / "e.json")]) == 0
    assert capsys.readouterr().out == told


def test_a_champion_that_cannot_answer_is_named(pod, declared, rival):
    rival.write_bytes(b"no model")
    declared["champion"]["source"]["digest"] = digest(rival)
    with pytest.raises(EvaluationError) as offline:
        locally(declared, pod.claims)
    assert (offline.value.failure.code, offline.value.failure.field) == ("Unreadable", "spec.champion.source")
    assert pod.fetch(declared)[0] == 0
    with predictor(pod.model) as (url, _):
        _, _, result = pod.judge(url, "--champion", "http://127.0.0.1:9", "--ready-timeout", "0.5")
    assert (result.failure.code, result.failure.field) == ("PredictorNotReady", "spec.champion")


def test_a_champion_with_another_digest_is_not_asked(pod, declared, rival):
    rival.write_bytes(columns_model(weight=0.3))
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code) == (2, "DigestMismatch")


def test_without_a_champion_nothing_is_compared_with_one(pod, declared):
    assert compared(locally(declared, pod.claims).computed) == {}
