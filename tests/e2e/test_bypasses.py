"""An attacker with every right in the namespace, on a real node: what it tries is refused, its honest twin isn't.

`mallory` is a service account with `*` on everything in the namespace, and may change namespaces. The same attacks on
every single rule, without Pods that run, are in tests/integration/admission.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mandate.evaluate.frame import Failure, Result, frame
from tests.e2e import declared
from tests.e2e.cluster import API, Cluster, Object, Space, eventually, holds, like, refused, space
from tests.integration.admission.api import Api, Refused
from tests.models import columns_model

FORGED = "sha256:" + "0" * 64


@dataclass
class Scene:
    """A namespace with a granted model that serves, and the people in it."""

    space: Space
    mallory: Api
    bob: Api
    revision: str
    pod: Object
    evaluation: str

    def granted(self) -> Object:
        """A Pod just as the ReplicaSet controller makes it from the granted template."""
        grant = self.space.get("AutonomyGrant", "mandate")["spec"]["grants"][self.revision]["template"]
        metadata = copy.deepcopy(grant["metadata"]) | {"name": "by-hand", "namespace": self.space.name}
        metadata["labels"]["pod-template-hash"] = self.pod["metadata"]["labels"]["pod-template-hash"]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(grant["spec"])}


def _person(space: Space, name: str, rules: list[Object]) -> Api:
    """A service account with a Role in the namespace."""
    metadata = {"name": name, "namespace": space.name}
    rbac = "rbac.authorization.k8s.io"
    space.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": dict(metadata)})
    space.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": dict(metadata), "rules": rules})
    space.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space.name}],
        }
    )
    return space.admin.acting_as(
        f"system:serviceaccount:{space.name}:{name}",
        *("system:serviceaccounts", f"system:serviceaccounts:{space.name}", "system:authenticated"),
    )


@pytest.fixture(scope="module")
def scene(cluster: Cluster) -> Iterator[Scene]:
    """`credit` serves at Suggest; mallory may do anything here, bob may only declare models."""
    with space(cluster, "bypass", enforce="Labelled") as found, _over_namespaces(found):
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model())
        found.apply(declared.model("credit", source=declared.onnx()))
        for document in declared.bystander(found, "shop"):
            eventually("the bystander", lambda document=document: found.apply(document), seconds=60)
        mallory = _person(found, "mallory", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
        bob = _person(found, "bob", [{"apiGroups": ["mandate.dev"], "resources": ["modeldeployments"], "verbs": ["*"]}])
        item = found.until("credit", "Ready", lambda item: holds(item, "Ready"))
        champion = item["status"]["champion"]
        (pod,) = found.serving_pods("credit")
        yield Scene(found, mallory, bob, champion["revision"], pod, champion["evaluation"])


class _over_namespaces:  # noqa: N801 - reads as what it does
    """Mallory may change namespaces, as whoever creates them often may."""

    def __init__(self, space: Space) -> None:
        rbac = "rbac.authorization.k8s.io"
        name = f"{space.name}-namespaces"
        rules = [{"apiGroups": [""], "resources": ["namespaces", "namespaces/status"], "verbs": ["get", "patch"]}]
        subject = {"kind": "ServiceAccount", "name": "mallory", "namespace": space.name}
        self._admin = space.admin
        self._documents: list[Object] = [
            {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
                "subjects": [subject],
            },
        ]

    def __enter__(self) -> None:
        for document in self._documents:
            self._admin.apply(document)

    def __exit__(self, *_: object) -> None:
        for document in self._documents:
            self._admin.delete(document)


# --- who may run -----------------------------------------------------------------------------------------------------


def test_the_granted_pod_itself_is_admitted(scene: Scene) -> None:
    """The twin of all forgeries below: unchanged, mallory's Pod passes, so they differ by what they change."""
    assert scene.mallory.rehearsing().create(scene.granted())["metadata"]["name"] == "by-hand"


def test_another_image_under_the_same_label(scene: Scene) -> None:
    """A model nobody evaluated doesn't run by the name of one that was."""
    pod = scene.granted()
    pod["spec"]["containers"][0]["image"] = scene.space.cluster.images["test-model"]
    assert "differs from what was evaluated in predictor.image" in refused(lambda: scene.mallory.create(pod))


def test_the_same_image_with_other_arguments(scene: Scene) -> None:
    """The evaluated server isn't pointed at another file, nor relieved of the digest."""
    elsewhere, unchecked = scene.granted(), scene.granted()
    command = elsewhere["spec"]["containers"][0]["command"]
    command[command.index("--model-dir") + 1] = "/tmp"
    command = unchecked["spec"]["containers"][0]["command"]
    del command[command.index("--digest") :][:2]
    unchecked["spec"]["containers"][0]["args"] = ["--model-dir", "/tmp"]
    for pod in (elsewhere, unchecked):
        assert "differs from what was evaluated in predictor." in refused(lambda pod=pod: scene.mallory.create(pod))


def test_a_model_file_overwritten_on_the_volume(scene: Scene) -> None:
    """A new Pod of the granted revision finds other bytes and never serves; with the right bytes back it does."""
    path = scene.space.models / "good.onnx"
    good = path.read_bytes()
    scene.space.put(path, columns_model(weight=-1.0))
    try:
        scene.mallory.delete(like("Pod", scene.space.name, scene.pod["metadata"]["name"]))
        ended = eventually("the init container to refuse the file", lambda: _fetch_ended(scene), seconds=180)
        assert ended["exitCode"] == 2
        assert "DigestMismatch" in ended["message"]
        assert not scene.space.endpoints("credit-suggest")
        (pod,) = scene.space.serving_pods("credit")
        assert not _ready(pod)
    finally:
        scene.space.put(path, good)
    scene.pod = eventually(
        "the Pod to serve the right file",
        lambda: next((pod for pod in scene.space.serving_pods("credit") if _ready(pod)), None),
        seconds=240,
    )


def _fetch_ended(scene: Scene) -> Object | None:
    for pod in scene.space.serving_pods("credit"):
        if pod["metadata"]["uid"] == scene.pod["metadata"]["uid"]:
            continue
        for status in pod["status"].get("initContainerStatuses") or ():
            for state in (status["state"], status.get("lastState") or {}):
                if "terminated" in state:
                    return dict(state["terminated"])
    return None


def _ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


# --- what stays true -------------------------------------------------------------------------------------------------


def test_labels_stripped_moved_or_added(scene: Scene) -> None:
    """A running Pod neither leaves its grant nor comes under one; labels of one's own remain free."""
    shop = like("Pod", scene.space.name, "shop")
    ours = {"mandate.dev/model": "credit", "mandate.dev/revision": scene.revision}
    for pod, labels in (
        (scene.pod, {"mandate.dev/model": None}),
        (scene.pod, {"mandate.dev/revision": None}),
        (scene.pod, {"mandate.dev/revision": "0" * 32}),
        (scene.pod, {"app": "shop"}),
        (shop, ours),
        (shop, {"mandate.dev/revision": scene.revision}),
    ):
        for sub in ("", "status"):
            words = refused(lambda: scene.mallory.merge(pod, {"metadata": {"labels": labels}}, sub=sub))  # noqa: B023
            assert "labels of a model's Pod are fixed" in words or "Pod may carry none" in words
    assert scene.mallory.merge(shop, {"metadata": {"labels": {"team": "till"}}})["metadata"]["labels"]["team"] == "till"


def test_an_ephemeral_container(scene: Scene) -> None:
    """Nobody steps into a serving Pod to answer instead; into a Pod of one's own one may."""
    container = {
        "name": "debugger",
        "image": scene.space.cluster.images["test-model"],
        "securityContext": declared.LOCKED,
        "command": ["python", "-c", "pass"],
    }
    change = {"spec": {"ephemeralContainers": [container]}}
    words = refused(lambda: scene.mallory.patch(scene.pod, change, sub="ephemeralcontainers"))
    assert "no ephemeral container enters a model's Pod" in words
    scene.mallory.patch(like("Pod", scene.space.name, "shop"), change, sub="ephemeralcontainers")


def test_exec_into_a_serving_pod(scene: Scene) -> None:
    """Whoever may edit but not debug the model doesn't get in; into a Pod of one's own anybody does."""
    edit = [{"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["*"]}]
    carol = _person(scene.space, "carol", edit)
    words = _exec(scene, carol, scene.pod["metadata"]["name"], "predictor", fails=True)
    assert "takes the verb debug" in words
    assert "inside" in _exec(scene, carol, "shop", "main")


def _exec(scene: Scene, who: Api, pod: str, container: str, *, fails: bool = False) -> str:
    return scene.space.cluster.run(
        *("kubectl", "--as", who.user, *(part for group in who.groups for part in ("--as-group", group))),
        *("-n", scene.space.name, "exec", pod, "-c", container, "--", "python", "-c", "print('inside')"),
        fails=fails,
    )


# --- at which level --------------------------------------------------------------------------------------------------


def test_a_service_of_ones_own_that_selects_the_model(scene: Scene) -> None:
    """An address outside of the levels isn't made, nor is one of ours turned."""
    labels = scene.pod["metadata"]["labels"]
    for selector in (
        {"mandate.dev/model": "credit"},
        {"mandate.dev/revision": scene.revision},
        {"pod-template-hash": labels["pod-template-hash"]},
    ):
        words = refused(lambda: scene.mallory.create(_service(scene, "mine", selector)))  # noqa: B023
        assert "would select managed Pods" in words
    shop = like("Service", scene.space.name, "shop")
    turned = {"spec": {"selector": {"app": None, "mandate.dev/model": "credit"}}}
    assert "would select managed Pods" in refused(lambda: scene.mallory.merge(shop, turned))
    ours = like("Service", scene.space.name, "credit")
    promoted = {"spec": {"selector": {"mandate.dev/revision": scene.revision}}}
    words = refused(lambda: scene.mallory.merge(ours, promoted))
    assert "is the operator's" in words or "would select managed Pods" in words
    scene.mallory.create(_service(scene, "mine", {"app": "shop"}))
    eventually(
        "the honest Service to find its Pod", lambda: scene.space.endpoints("mine") == {"shop"} or None, seconds=60
    )


def _service(scene: Scene, name: str, selector: dict[str, str]) -> Object:
    return like("Service", scene.space.name, name) | {"spec": {"selector": selector, "ports": [{"port": 80}]}}


# --- who may say so --------------------------------------------------------------------------------------------------


def test_status_grant_and_evidence_edited(scene: Scene) -> None:
    """The operator's word is the operator's alone; what people may say of their own model they may."""
    name = scene.space.name
    mdep = like("ModelDeployment", name, "credit", api=API)
    meval = like("ModelEvaluation", name, scene.evaluation, api=API)
    grant = like("AutonomyGrant", name, "mandate", api=API)
    record = like(
        "ConfigMap", name, scene.space.get("ModelEvaluation", scene.evaluation)["status"]["evidenceConfigMap"]
    )
    level = {"spec": {"grants": {scene.revision: {"level": "Automate"}}}}
    standing = {"revision": "0" * 32, "version": "9", "level": "Automate"}
    mallory = scene.mallory
    attacks: dict[str, Any] = {
        "a level": lambda: mallory.merge(mdep, {"status": {"level": "Automate"}}, sub="status"),
        "a champion": lambda: mallory.merge(mdep, {"status": {"champion": standing}}, sub="status"),
        "an attempt": lambda: mallory.merge(meval, {"status": {"failures": 7}}, sub="status"),
        "a measurement": lambda: mallory.merge(meval, {"metadata": {"labels": {"mandate.dev/model": "other"}}}),
        "the grant": lambda: mallory.merge(grant, level),
        "the grant deleted": lambda: mallory.delete(grant),
        "the record disowned": lambda: mallory.merge(record, {"metadata": {"labels": {"mandate.dev/record": None}}}),
        "the record deleted": lambda: mallory.delete(record),
        "the evaluation deleted": lambda: mallory.delete(meval),
        "another evaluation": lambda: mallory.create(
            meval
            | {"metadata": {"name": "forged", "namespace": name}, "spec": scene.space.get(**_named(meval))["spec"]}
        ),
    }
    before = (mallory.get(mdep)["status"], mallory.get(grant)["spec"], mallory.get(record)["binaryData"])
    with pytest.raises(Refused, match="evidence is written once"):
        mallory.merge(meval, {"status": {"evidence": "{}"}}, sub="status")
    with pytest.raises(Refused, match="immutable"):
        mallory.merge(record, {"binaryData": {"evidence.json.gz": "AAAA"}})
    for what, attack in attacks.items():
        assert refused(attack), what
    assert (mallory.get(mdep)["status"], mallory.get(grant)["spec"], mallory.get(record)["binaryData"]) == before
    assert mallory.merge(mdep, {"metadata": {"annotations": {"team": "loans"}}})["metadata"]["annotations"]["team"]


def _named(item: Object) -> dict[str, str]:
    return {"kind": item["kind"], "name": item["metadata"]["name"]}


def test_an_evaluation_pod_forged(scene: Scene, cluster: Cluster) -> None:
    """Neither a Pod nor a Job by mallory passes for an evaluation; a Job of one's own is free."""
    space = scene.space
    (job,) = (
        item for item in space.jobs("credit") if item["metadata"]["ownerReferences"][0]["name"] == scene.evaluation
    )
    name = job["metadata"]["name"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
    template = copy.deepcopy(job["spec"]["template"])
    template["metadata"].pop("creationTimestamp", None)
    pod = like("Pod", space.name, f"{name}-forged") | {"spec": template["spec"]}
    pod["metadata"] |= {"labels": template["metadata"]["labels"], "ownerReferences": [owner]}
    # Two policies refuse it, and the API server tells the first: nothing of the sort is granted any more.
    words = refused(lambda: scene.mallory.create(pod))
    assert "evaluation Pods only come from the operator's Jobs" in words or "not granted in namespace" in words
    forged = like("Job", space.name, "mandate-eval-" + "f" * 16, api="batch/v1") | {"spec": {"template": template}}
    assert refused(lambda: scene.mallory.create(forged))
    unlabelled = copy.deepcopy(forged)
    unlabelled["metadata"]["name"] = "mine"
    container = {"name": "main", "image": cluster.images["test-model"], "securityContext": declared.LOCKED}
    own = {"restartPolicy": "Never", "containers": [container]}
    unlabelled["spec"]["template"] = {"spec": own}
    scene.mallory.rehearsing().create(unlabelled)


def test_the_judge_entered_or_spoken_for_while_it_runs(scene: Scene) -> None:
    """Not by mallory, not by the administrator: no exec, attach, port, proxy or debugger, and no ending told for it."""
    space = scene.space
    space.apply(declared.misbehaving(space, "audited", "late"))
    pod = space.evaluation_pod("audited")
    name = pod["metadata"]["name"]
    admin = space.admin.acting_as("admin", "system:masters")
    for who in (scene.mallory, admin):
        for container in ("judge", "predictor"):
            assert "exec into evaluation Pod" in _exec(scene, who, name, container, fails=True)
    for sub in ("attach", "portforward", "proxy"):
        where = f"/api/v1/namespaces/{space.name}/pods/{name}/{sub}"
        method = "GET" if sub == "proxy" else "POST"
        assert f"{sub} into evaluation Pod" in refused(lambda: scene.mallory.request(method, where))  # noqa: B023
    container = {"name": "debugger", "image": space.cluster.images["test-model"], "securityContext": declared.LOCKED}
    change = {"spec": {"ephemeralContainers": [container]}}
    assert refused(lambda: scene.mallory.patch(pod, change, sub="ephemeralcontainers"))
    _, termination = frame(Result(failure=Failure(stage="Measure", code="Forged", message="mallory's")))
    ended = {"exitCode": 0, "message": termination.dump(), "reason": "Completed"}
    status = {"name": "judge", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    told = {"status": {"phase": "Succeeded", "containerStatuses": [status | {"state": {"terminated": ended}}]}}
    assert "only the kubelet" in refused(lambda: scene.mallory.patch(pod, told, sub="status"))
    # While all that was tried, the judge was there to be entered; and nothing of it kept it from judging.
    assert space.admin.get(pod)["status"]["phase"] == "Running"
    assert "inside" in _exec(scene, scene.mallory, "shop", "main")
    item = space.judged("audited")
    assert item["status"]["level"] == "Suggest"


def test_the_namespace_label_removed(scene: Scene) -> None:
    """Enrolment ends by the verb `enrol` only; other labels of the namespace are free."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.space.name}}
    for sub in ("", "status"):
        for value in (None, "Strict"):
            change = {"metadata": {"labels": {"mandate.dev/enforce": value}}}
            words = refused(lambda: scene.mallory.merge(namespace, change, sub=sub))  # noqa: B023
            assert "it takes the verb enrol" in words
    scene.mallory.merge(namespace, {"metadata": {"labels": {"team": "loans"}}})


def test_a_model_by_somebody_who_may_not_create_pods(scene: Scene) -> None:
    """The operator lends nobody its hands: bob declares nothing until he may create Pods himself."""
    document = declared.model("borrowed", source=declared.onnx())
    document["metadata"]["namespace"] = scene.space.name
    assert "takes the right to create Pods there" in refused(lambda: scene.bob.create(document))
    deployment = like("ModelDeployment", scene.space.name, "credit", api=API)
    change = {"spec": {"model": {"version": "2"}}}
    assert "takes the right to create Pods there" in refused(lambda: scene.bob.merge(deployment, change))
    rules = [
        {"apiGroups": ["mandate.dev"], "resources": ["modeldeployments"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
    ]
    _person(scene.space, "bob", rules)
    eventually("bob's new right", lambda: _may(scene.bob, document), seconds=30)


def _may(who: Api, document: Object) -> bool | None:
    try:
        who.rehearsing().create(document)
    except Exception:
        return None
    return True
