"""The provider KServe, decision by decision: what is declared to KServe, what its Pods will be, and what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.moments import instant
from mandate.api.names import KSERVE_NAME_LENGTH, LABEL_REVISION
from mandate.controller import desired, kserve
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.decide_grant import holders
from mandate.controller.plan import Delete, SetStatus, holds
from mandate.controller.snapshot import ModelSnapshot
from tests.unit.controller.fake_kserve import deployment_of
from tests.unit.controller.judged import (
    SETTINGS,
    applied,
    carried_out,
    declared,
    deployment,
    granted,
    judged,
    namespace,
    revision_of,
    settled,
    standing,
)
from tests.unit.controller.samples import MODEL_DIGEST

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
GATEWAY = {"parentRefs": [{"name": "shared", "namespace": "gateway"}], "hostnames": ["credit.example.com"]}
BY_KSERVE: Object = {"serving__provider": "KServe"}


def first(**changes: Any) -> ModelSnapshot:
    """A first version's evidence is in, nothing serves yet."""
    document = declared("1", **BY_KSERVE | changes)
    return replace(judged(document, accuracy=0.97), inference_services={})


def name_of(document: Object) -> str:
    return f"credit-{revision_of(document)[:10]}"


def condition(snapshot: ModelSnapshot, kind: str) -> tuple[str, str, str]:
    item = next(item for item in status_of(snapshot.mdep).conditions if item.type == kind)
    return item.status, item.reason, item.message


def test_pods_that_kserve_makes_are_those_of_another_revision() -> None:
    own, theirs = declared("1"), declared("1", **BY_KSERVE)
    assert revision_of(own) != revision_of(theirs)
    assert revision_of(theirs) == revision_of(declared("1", **BY_KSERVE, serving__gateway=GATEWAY))


def test_a_revision_becomes_an_inference_service_and_nothing_else() -> None:
    snapshot, _ = settled(first(), NOW)
    name = name_of(snapshot.mdep)
    assert set(snapshot.inference_services or {}) == {name}
    [made] = snapshot.deployments
    assert made["metadata"]["name"] == f"{name}-predictor"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "InferenceService"
    revision = revision_of(snapshot.mdep)
    assert snapshot.services["credit-suggest"]["spec"]["selector"][LABEL_REVISION] == revision
    assert condition(snapshot, "Ready")[:2] == ("True", "Serving")
    assert decide(snapshot, NOW + 100).actions == ()


@pytest.mark.parametrize("source", ["file", "image"])
def test_the_grant_holds_the_pods_that_kserve_will_make(source: str) -> None:
    """KServe's controller is played by tests.unit.controller.fake_kserve, which the real one is held to."""
    own: Object = {"image": "registry.example/own@sha256:" + "1" * 64}
    changes = BY_KSERVE | ({"model__source": own} if source == "image" else {})
    revision = revision_of(declared("1", **changes))
    document = declared("1", status={"champion": standing("1", "Suggest") | {"revision": revision}}, **changes)
    isvc = desired.workload(
        document,
        understood(document),
        revision=revision,
        replicas=None,
        images=SETTINGS.images,
        digest=MODEL_DIGEST,
        recorder_url="",
    )
    isvc["metadata"]["uid"] = "uid"
    template = deployment_of(isvc)["spec"]["template"]
    [holder] = holders(namespace(document)).values()
    assert template["metadata"]["labels"] == holder.template["metadata"]["labels"]
    assert holder.template["metadata"]["annotations"].items() <= template["metadata"]["annotations"].items()
    assert template["spec"] == holder.template["spec"]
    assert template["metadata"]["annotations"]["mandate.dev/model-digest"] == MODEL_DIGEST
    assert len(template["spec"].get("initContainers", ())) == (source == "file")


def test_labels_fit_where_the_models_name_is_as_long_as_it_may_be() -> None:
    document = declared("1", name="c" * KSERVE_NAME_LENGTH, **BY_KSERVE)
    snapshot = replace(judged(document, accuracy=0.97), inference_services={})
    snapshot, _ = settled(snapshot, NOW)
    [made] = snapshot.deployments
    assert max(map(len, made["metadata"]["labels"].values())) == 63


@pytest.mark.parametrize(
    ("stated", "scaler", "least"), [(None, "external", None), (0, "none", 0), (3, "none", 3)], ids=["theirs", "0", "3"]
)
def test_the_number_of_pods_is_stated_or_left_to_others(stated: int | None, scaler: str, least: int | None) -> None:
    snapshot, _ = settled(first(**({} if stated is None else {"serving__replicas": stated})), NOW)
    [isvc] = (snapshot.inference_services or {}).values()
    assert isvc["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == scaler
    assert isvc["spec"]["predictor"].get("minReplicas") == least


def test_another_number_of_pods_changes_nothing_of_the_pods() -> None:
    """KServe copies annotations to Pods: a digest of what was applied would start them anew."""
    [before] = (settled(first(serving__replicas=1), NOW)[0].inference_services or {}).values()
    [after] = (settled(first(serving__replicas=2), NOW)[0].inference_services or {}).values()
    templates = [deployment_of(item)["spec"]["template"] for item in (before, after)]
    assert templates[0] == templates[1]


def test_a_spec_that_isnt_understood_leaves_their_number_alone() -> None:
    snapshot, _ = settled(first(serving__replicas=2), NOW)
    broken = {**snapshot.mdep, "spec": {**snapshot.mdep["spec"], "gates": "?"}}
    plan = decide(replace(snapshot, mdep=broken), NOW)
    assert applied(plan, "InferenceService") == {}
    assert not any(isinstance(action, Delete) for action in plan.actions)


def test_where_kserve_is_missing_it_is_said_and_others_serve_on() -> None:
    old, before = standing("1", "Suggest"), declared("1")
    document = declared("2", status={"champion": old}, **BY_KSERVE)
    snapshot = judged(document, accuracy=0.97, deployments=[deployment(before)], grant=granted(old))
    kept = judged(before, accuracy=0.97)
    snapshot = replace(snapshot, revisions=(*kept.revisions, *snapshot.revisions))
    snapshot, _ = settled(snapshot, NOW)
    assert condition(snapshot, "Stalled")[:2] == ("True", "KServeMissing")
    assert "kserve.enabled=true" in condition(snapshot, "Stalled")[2]
    assert snapshot.services["credit-suggest"]["spec"]["selector"][LABEL_REVISION] == old["revision"]


def unseen(**changes: Any) -> ModelSnapshot:
    """A champion whose Pods KServe makes, where the operator knows no InferenceServices any more."""
    steps = {"autonomy__target": "Automate", "autonomy__automate": {"stepDuration": "1h"}}
    snapshot, at = replace(first(**steps | changes), routes={}), NOW
    for _ in range(100):
        snapshot, again = settled(snapshot, at)
        at += again or 60
    champion = status_of(snapshot.mdep).champion
    assert champion is not None
    assert champion.level == "Automate"
    return replace(snapshot, inference_services=None)


def answering(snapshot: ModelSnapshot) -> dict[str, str]:
    """The revision that each of the two addresses selects."""
    return {name: snapshot.services[name]["spec"]["selector"][LABEL_REVISION] for name in ("credit", "credit-suggest")}


@pytest.mark.parametrize("changes", [{}, {"serving__gateway": GATEWAY}], ids=["Services", "gateway"])
def test_where_kserve_is_missing_a_champion_of_its_own_serves_on(changes: Object) -> None:
    before = unseen(**changes)
    assert before.routes or not changes
    after, _ = settled(before, NOW + 10**6)
    revision = revision_of(before.mdep)
    assert answering(after) == {"credit": revision, "credit-suggest": revision}
    assert after.services == before.services
    assert after.routes == before.routes
    assert after.deployments == before.deployments
    assert condition(after, "Stalled")[:2] == ("True", "KServeMissing")
    assert "Pods that are there go on" in condition(after, "Stalled")[2]
    champion = status_of(after.mdep).champion
    assert champion is not None
    assert champion.level == "Automate"


def test_where_kserve_is_missing_nobody_answers_above_the_grant() -> None:
    before = unseen()
    mdep = before.mdep
    halted = {**mdep["metadata"], "annotations": {"mandate.dev/halt": "1 by ann: wrong"}}
    after, _ = settled(replace(before, mdep={**mdep, "metadata": halted}), NOW + 10**6)
    assert set(answering(after).values()) == {desired.NOBODY}
    ungranted = decide(replace(before, grant=None), NOW + 10**6)
    turned = {name: item["spec"]["selector"] for name, item in applied(ungranted, "Service").items()}
    assert {selector[LABEL_REVISION] for selector in turned.values()} == {desired.NOBODY}


@pytest.mark.parametrize(
    "other", [{"name": "credit-else"}, {"kind": "Thing"}, {"apiVersion": "example.org/v1"}, {"controller": False}]
)
def test_where_kserve_is_missing_only_what_it_makes_of_ours_counts(other: Object) -> None:
    before = unseen()
    [made] = before.deployments
    [owner] = made["metadata"]["ownerReferences"]
    theirs = {**made, "metadata": {**made["metadata"], "ownerReferences": [owner | other]}}
    plan = decide(replace(before, deployments=(theirs,)), NOW + 10**6)
    assert set(applied(plan, "Service")) == {"credit", "credit-suggest"}


def test_what_somebody_else_has_under_that_name_isnt_taken() -> None:
    snapshot = first()
    name = name_of(snapshot.mdep)
    theirs = {"metadata": {"name": name, "namespace": "lending", "uid": "else"}, "spec": {"predictor": {}}}
    snapshot = replace(snapshot, inference_services={name: theirs})
    for _ in range(5):
        plan = decide(snapshot, NOW)
        assert applied(plan, "InferenceService") == {}
        snapshot = replace(
            carried_out(replace(snapshot, inference_services={}), plan), inference_services={name: theirs}
        )
    status, reason, words = condition(snapshot, "Stalled")
    assert (status, reason) == ("True", "NameTaken")
    assert f"InferenceService {name} exists and isn't this ModelDeployment's" in words


def test_shares_are_divided_behind_a_gateway_only() -> None:
    steps = {"autonomy__target": "Automate", "autonomy__automate": {"steps": ["10%", "100%"], "stepDuration": "6h"}}
    whole, _ = settled(first(**steps), NOW)
    candidate = status_of(whole.mdep).candidate
    assert candidate is not None
    assert (candidate.level, candidate.share) == ("Automate", 100)
    divided, _ = settled(replace(first(**steps, serving__gateway=GATEWAY), routes={}), NOW)
    assert name_of(divided.mdep) in divided.services, "what the routes lead to"
    candidate = status_of(divided.mdep).candidate
    assert candidate is not None
    assert candidate.share in (None, 10)


def test_the_old_version_goes_with_its_inference_service() -> None:
    snapshot, _ = settled(first(), NOW)
    old = name_of(snapshot.mdep)
    document = declared("2", status=snapshot.mdep["status"], **BY_KSERVE)
    fresh = judged(document, accuracy=0.97)
    snapshot = replace(
        snapshot,
        mdep=document,
        mevals=(*snapshot.mevals, *fresh.mevals),
        revisions=(*snapshot.revisions, *fresh.revisions),
        evidence={**snapshot.evidence, **fresh.evidence},
        looks={**snapshot.looks, **fresh.looks},
    )
    for later in (100, 100_000, 200_000):
        snapshot, _ = settled(snapshot, NOW + later)
    assert set(snapshot.inference_services or {}) == {name_of(document)}
    assert [item["metadata"]["name"] for item in snapshot.deployments] == [f"{name_of(document)}-predictor"]
    assert old != name_of(document)


def isvc(**status: Any) -> Object:
    created = {"name": "credit-0", "creationTimestamp": "2026-01-02T00:00:00Z"}
    return {"metadata": created, "spec": {"predictor": {}}} | ({"status": status} if status else {})


def test_silence_is_looked_at_again_when_it_has_lasted() -> None:
    snapshot, _ = settled(first(), NOW)
    [(name, item)] = (snapshot.inference_services or {}).items()
    created = item["metadata"] | {"creationTimestamp": "2026-01-02T00:00:00Z"}
    silent = {**item, "metadata": created, "status": {}}
    waiting = replace(snapshot, inference_services={name: silent}, deployments=())
    plan = decide(waiting, NOW + 10)
    assert plan.again is not None
    assert plan.again <= 20
    later, _ = settled(snapshot, NOW)
    later = replace(later, inference_services={name: silent}, deployments=())
    documents = [action.document for action in decide(later, NOW + 31).actions if isinstance(action, SetStatus)]
    stalled = next(entry for entry in documents[-1]["status"]["conditions"] if entry["type"] == "Stalled")
    assert stalled["reason"] == "InferenceServiceNotServed"


@pytest.mark.parametrize(
    ("live", "seconds", "words"),
    [
        (isvc(), 10, ""),
        (isvc(), 40, "check that its controller runs"),
        (isvc(deploymentMode="Standard"), 40, ""),
        (isvc(deploymentMode="Knative"), 1, "in mode Knative, not Standard"),
        (
            isvc(conditions=[{"type": "PredictorReady", "reason": "ReconcileFailed", "message": "no room"}]),
            1,
            "can't make its Pods: no room",
        ),
        (isvc(conditions=[{"type": "PredictorReady", "reason": "MinimumReplicasUnavailable"}]), 1, ""),
    ],
    ids=["new", "silent", "well", "another mode", "refused", "starting"],
)
def test_what_keeps_kserve_from_making_pods_is_said(live: Object, seconds: float, words: str) -> None:
    found = kserve.finding(live, NOW + seconds)
    assert words in found
    assert bool(found) == bool(words)


def test_what_kserve_adds_is_no_reason_to_write_again() -> None:
    snapshot, _ = settled(first(), NOW)
    [(name, item)] = (snapshot.inference_services or {}).items()
    predictor = item["spec"]["predictor"]
    container = predictor["containers"][0] | {"terminationMessagePath": "/dev/termination-log"}
    added = {**item, "spec": {"predictor": {**predictor, "containers": [container], "maxReplicas": 0}}}
    assert holds(item, added)
    assert decide(replace(snapshot, inference_services={name: added}), NOW).actions == ()
