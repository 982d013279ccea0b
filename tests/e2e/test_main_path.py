"""From a declaration to an answer: refused or granted, served, judged again; also while the operator is away."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from tests.e2e import declared
from tests.e2e.cluster import API, Cluster, Object, Space, eventually, holds, like, refused, space
from tests.integration.admission.api import Refused
from tests.models import columns_model

CAR = {"amount": [1.0, -1.0], "age": [40, 20], "purpose": ["car", "tv"]}
"""Two loans as the model takes them."""
PROBABILITIES = [1 / (1 + math.exp(-logit)) for logit in (1 + 0.4 + 1, -1 + 0.2)]
"""What tests.models.columns_model answers to them, worked out by hand from its description."""


MLMODEL = Path(__file__).parents[1] / "data" / "mlflow" / "skops.MLmodel"


@pytest.fixture(scope="module")
def lending(cluster: Cluster) -> Iterator[Space]:
    """A Strict namespace with a good and a bad model file, a table, and a rule to fall back on."""
    with space(cluster, "main", enforce="Strict") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model(weight=1.0))
        found.put(found.models / "better.onnx", columns_model(weight=1.2))
        found.put(found.models / "bad.onnx", columns_model(weight=-1.0))
        eventually("the service account", lambda: _exists(found, "ServiceAccount", "default"), seconds=60)
        for document in declared.bystander(found, "rule"):
            eventually("the rule to be admitted", lambda document=document: _admitted(found, document), seconds=60)
        eventually("the rule to answer", lambda: found.endpoints("rule") or None, seconds=120)
        yield found


def _admitted(space: Space, document: Object) -> Object | None:
    """Strict namespaces refuse everything until the operator has written their grant."""
    try:
        return space.apply(document)
    except Refused:
        return None


def _exists(space: Space, kind: str, name: str) -> bool | None:
    try:
        space.get(kind, name, api="v1")
    except Refused:
        return None
    return True


def probabilities(answer: Object) -> list[float]:
    """The positive class's, of two rows, whether there are one or two columns."""
    output = next(item for item in answer["outputs"] if item["name"] == "probabilities")
    data = output["data"]
    return [float(value) for value in (data[1::2] if len(data) == 4 else data)]


def test_a_bad_model_is_refused_and_the_fallback_answers(lending: Space) -> None:
    """Nothing of it runs, nothing is granted; both addresses answer with the rule."""
    lending.apply(declared.model("refused", source=declared.onnx("bad.onnx"), fallback=True))
    item = lending.judged("refused")
    assert holds(item, "CandidateRefused")
    assert holds(item, "Stalled")
    assert not holds(item, "Ready")
    assert item["status"]["level"] == "None"
    assert "ranks: Fail" in str(item["status"]["conditions"])
    assert lending.all("Deployment", "mandate.dev/model=refused", api="apps/v1") == []
    assert lending.serving_pods("refused") == []
    grant = lending.get("AutonomyGrant", "mandate")["spec"]
    assert "refused" not in {entry["model"] for entry in grant.get("grants", {}).values()}
    for service in ("refused", "refused-suggest"):
        eventually(f"{service} to be the rule", lambda s=service: lending.endpoints(s) == {"rule"} or None, seconds=60)
        answer = lending.ask(service, [0.0, 2.0])
        assert probabilities(answer) == pytest.approx([0.5, 1 / (1 + math.exp(-2.0))])


def test_a_good_model_is_granted_and_answers_people(lending: Space) -> None:
    """At NAME-suggest its own answers, to the last digit of a float; at NAME, which is for machines, the rule's."""
    lending.apply(declared.model("credit", source=declared.onnx(), fallback=True))
    item = lending.until("credit", "Ready", lambda item: holds(item, "Ready"))
    status = item["status"]
    assert status["level"] == "Suggest"
    assert status["champion"]["version"] == "1"
    grant = lending.get("AutonomyGrant", "mandate")["spec"]["grants"]
    assert grant[status["champion"]["revision"]]["modelDigest"] == status["pinned"]["model"]
    _suggests(lending)
    eventually("NAME to be the rule", lambda: lending.endpoints("credit") == {"rule"} or None, seconds=60)
    assert probabilities(lending.ask("credit", [0.0, 2.0])) == pytest.approx([0.5, 1 / (1 + math.exp(-2.0))])


def test_an_mlflow_model_of_scikit_learn_answers_as_it_does_here(lending: Space) -> None:
    """The file that its MLmodel names is measured, granted by its digest and served."""
    x = np.linspace(-3, 3, 40)
    fitted = LogisticRegression().fit(pd.DataFrame({"x": x}), np.where(x > 0, "bad", "good"))
    lending.put(lending.models / "forest" / "model.skops", skops.io.dumps(fitted))
    lending.put(lending.models / "forest" / "MLmodel", MLMODEL.read_bytes())
    source = {"uri": "pvc://models/forest", "format": "MLflow"}
    document = declared.model("forest", source=source, columns=("x",), fallback=True)
    document["spec"]["model"]["output"] = {"name": "probabilities", "classes": ["bad", "good"]}
    lending.apply(document)
    item = lending.until("forest", "Ready", lambda item: holds(item, "Ready"))
    assert item["status"]["level"] == "Suggest"
    eventually("it to answer", lambda: lending.endpoints("forest-suggest") - {"rule"} or None, seconds=60)
    answer = lending.ask("forest-suggest", [0.0, 2.0])
    output = next(item for item in answer["outputs"] if item["name"] == "probabilities")
    assert output["data"] == pytest.approx(fitted.predict_proba(pd.DataFrame({"x": [0.0, 2.0]})).ravel().tolist())
    lending.admin.delete(like("ModelDeployment", lending.name, "forest", api=API))


def test_other_criteria_are_judged_on_the_same_evidence(lending: Space) -> None:
    """Asking more refuses what was granted, asking less grants it again; nothing is measured, no Job is made."""
    document = _standing(lending)
    before = {job["metadata"]["uid"] for job in lending.jobs("credit")}
    evaluation = lending.get("ModelDeployment", "credit")["status"]["champion"]["evaluation"]

    lending.apply(_asking(document, "0.99"))
    item = lending.until("credit", "refused", lambda item: holds(item, "CandidateRefused"), seconds=60)
    assert holds(item, "CriteriaChanged")
    assert item["status"]["level"] == "None"
    eventually("the rule to answer people", lambda: lending.endpoints("credit-suggest") == {"rule"} or None, seconds=60)

    lending.apply(_asking(document, "0.60"))
    item = lending.until("credit", "Ready", lambda item: holds(item, "Ready"), seconds=120)
    assert item["status"]["champion"]["evaluation"] == evaluation
    assert {meval["metadata"]["name"] for meval in lending.evaluations("credit")} == {evaluation}
    assert {job["metadata"]["uid"] for job in lending.jobs("credit")} <= before
    _suggests(lending)


def test_a_champion_serves_while_the_next_is_judged_refused_and_replaced(lending: Space) -> None:
    """A bad version 2 leaves version 1 untouched, Pods and all; a good version 3 takes over."""
    _standing(lending)
    champion = _champions(lending)
    answered = []

    def still_serving(item: Object) -> bool:
        answered.append(probabilities(lending.ask("credit-suggest", [], **CAR)))
        return holds(item, "CandidateRefused") and holds(item, "Ready")

    lending.apply(declared.model("credit", version="2", source=declared.onnx("bad.onnx"), fallback=True))
    item = lending.until("credit", "version 2 refused beside version 1", still_serving)
    assert len(answered) > 1
    assert all(answer == pytest.approx(PROBABILITIES, rel=1e-6) for answer in answered)
    assert item["status"]["champion"]["version"] == "1"
    assert item["status"]["level"] == "Suggest"
    assert _champions(lending) == champion

    lending.apply(declared.model("credit", version="3", source=declared.onnx("better.onnx"), fallback=True))
    item = lending.until(
        "credit", "version 3 champion", lambda i: holds(i, "Ready") and i["status"]["champion"]["version"] == "3"
    )
    stronger = [1 / (1 + math.exp(-logit)) for logit in (1.2 + 0.4 + 1, -1.2 + 0.2)]
    eventually(
        "version 3 to answer people",
        lambda: probabilities(lending.ask("credit-suggest", [], **CAR)) == pytest.approx(stronger, rel=1e-6) or None,
        seconds=60,
    )


def test_another_measurement_is_another_evaluation(lending: Space) -> None:
    """A slice more is measured anew, by another Job, and judged on the new evidence; the champion serves meanwhile."""
    document = _standing(lending)
    before = {meval["metadata"]["name"] for meval in lending.evaluations("credit")}
    jobs = {job["metadata"]["uid"] for job in lending.jobs("credit")}
    pods = _champions(lending)
    document["spec"]["data"]["slices"] = [{"name": "sex", "column": "sex", "sensitive": True}]
    lending.apply(document)
    item = lending.until(
        "credit",
        "judged on new evidence",
        lambda item: holds(item, "Ready") and item["status"]["champion"]["evaluation"] not in before,
    )
    evaluations = {meval["metadata"]["name"]: meval for meval in lending.evaluations("credit")}
    assert set(evaluations) - before == {item["status"]["champion"]["evaluation"]}
    assert len({job["metadata"]["uid"] for job in lending.jobs("credit")} - jobs) == 1
    evidence = lending.evidence(evaluations[item["status"]["champion"]["evaluation"]])
    assert "sex" in {estimate["quantity"].get("slice") for estimate in evidence["computed"]["estimates"]}
    assert _champions(lending) == pods


def test_without_the_operator_the_granted_runs_and_the_rest_is_refused(lending: Space, cluster: Cluster) -> None:
    """A Pod by hand is refused, labelled or not; a granted Pod that is deleted comes back, and answers."""
    _standing(lending)
    name = next(iter(_champions(lending)))
    pod = next(pod for pod in lending.serving_pods("credit") if pod["metadata"]["name"] == name)
    by_hand = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "by-hand",
            "namespace": lending.name,
            "labels": {"mandate.dev/model": "credit", "mandate.dev/revision": "0" * 32},
        },
        "spec": pod["spec"],
    }
    unlabelled = copy.deepcopy(by_hand)
    unlabelled["metadata"]["labels"] = {"app": "by-hand"}
    cluster.scale(0)
    try:
        for document in (by_hand, unlabelled):
            for part in ("nodeName", "tolerations", "priority", "preemptionPolicy"):
                document["spec"].pop(part, None)
            words = refused(lambda document=document: lending.admin.create(document))
            assert "granted" in words
        lending.admin.delete(like("Pod", lending.name, pod["metadata"]["name"]))
        eventually("another Pod of the granted revision", lambda: _another_ready(lending, pod), seconds=180)
        eventually("it to answer", lambda: _answers(lending), seconds=60)
    finally:
        cluster.scale(1)


def _another_ready(space: Space, pod: Object) -> bool | None:
    for other in space.serving_pods("credit"):
        same = other["metadata"]["labels"] == pod["metadata"]["labels"]
        if same and other["metadata"]["uid"] != pod["metadata"]["uid"] and holds_pod(other):
            return True
    return None


def holds_pod(pod: Object) -> bool:
    """Whether it is Ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _answers(space: Space) -> bool | None:
    try:
        return len(probabilities(space.ask("credit-suggest", [], **CAR))) == 2 or None
    except Refused:
        return None


def _champions(lending: Space) -> set[str]:
    """The names of the Pods that serve the champion; its predecessor's may still be there."""
    revision = lending.get("ModelDeployment", "credit")["status"]["champion"]["revision"]
    pods = lending.serving_pods("credit")
    return {pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"]["mandate.dev/revision"] == revision}


def _suggests(lending: Space) -> None:
    """The first version's answers at NAME-suggest."""
    eventually("the model to answer", lambda: lending.endpoints("credit-suggest") - {"rule"} or None, seconds=60)
    assert probabilities(lending.ask("credit-suggest", [], **CAR)) == pytest.approx(PROBABILITIES, rel=1e-6)


def _standing(lending: Space) -> Object:
    """The declaration of `credit` as it stands, granted and served; declares version 1 where a test runs alone."""
    try:
        item = lending.get("ModelDeployment", "credit")
    except Refused:
        lending.apply(declared.model("credit", source=declared.onnx(), fallback=True))
    item = lending.until("credit", "Ready", lambda item: holds(item, "Ready"))
    metadata = {"name": "credit", "namespace": lending.name}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": item["spec"]}


def _asking(document: Object, at_least: str) -> Object:
    changed = copy.deepcopy(document)
    changed["spec"]["gates"][0]["require"] = {"Shadow": f">= {at_least}"}
    return changed
