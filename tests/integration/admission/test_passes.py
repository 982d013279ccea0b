"""What must go on working: Kubernetes' own controllers, deletion, people with rights; and a grant that isn't there."""

from __future__ import annotations

import pytest
import yaml

from hack.demo import by_hand
from mandate.admission.template import granted
from mandate.api.asks import VERBS, AskError, VerbName, annotation, parse
from mandate.api.check import load_spec
from mandate.api.names import ANNOTATION_RETRY
from mandate.controller import desired
from mandate.controller.settings import Images
from mandate.rollout.gateway import unassigned
from tests.integration.admission.api import Object, Refused, eventually
from tests.integration.admission.world import (
    ACTORS,
    BARE,
    DIGEST,
    EVIDENCE,
    JOB,
    JUDGE,
    LABELLED,
    OPEN,
    OURS,
    POLICIES,
    PREDICTOR,
    REVISION,
    ROOT,
    SUGGEST_SERVICE,
    TOKEN_REVISION,
    World,
    batch_job,
    changed,
    deployment,
    evaluation_job,
    grant,
    model_deployment,
    model_evaluation,
    plain_pod,
    serving_template,
    sharing,
)


def _gone(world: World, document: Object) -> bool | None:
    try:
        world.admin.get(document)
    except Refused as error:
        if error.status == 404:
            return True
        raise
    return None


def test_kubernetes_own_controllers_make_the_pods(world: World) -> None:
    owner = world.serving["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["controller"]) == ("ReplicaSet", True)
    assert set(world.serving["metadata"]["labels"]) == {
        "mandate.dev/model",
        "mandate.dev/revision",
        "pod-template-hash",
    }
    assert world.evaluating["metadata"]["ownerReferences"][0]["name"] == JOB
    assert set(world.evaluating["metadata"]["labels"]) == {"mandate.dev/model", "mandate.dev/evaluation"}


def test_a_granted_batch_is_anybodys_job_and_the_cronjob_controllers(world: World) -> None:
    job = batch_job(LABELLED)
    world.admin.acting_as("system:serviceaccount:kube-system:cronjob-controller").rehearsing().create(job)
    world.mallory.create(job)
    try:
        like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": LABELLED}}
        (pod, *_) = eventually(lambda: world.admin.list(like, f"mandate.dev/batch={REVISION}") or None)
        assert pod["metadata"]["ownerReferences"][0]["name"] == "credit-batch-1"
        assert pod["metadata"]["labels"]["job-name"] == "credit-batch-1"
        assert pod["metadata"]["annotations"]["mandate.dev/autonomy"] == "Suggest"
    finally:
        world.admin.delete(job)


def test_a_token_that_the_api_server_mounts_is_no_difference(world: World) -> None:
    template = serving_template(revision=TOKEN_REVISION)
    workload = deployment(LABELLED, template=template, name=f"credit-{TOKEN_REVISION[:10]}")
    world.operator.create(workload)
    try:
        like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": LABELLED}}
        pods = eventually(lambda: world.admin.list(like, f"mandate.dev/revision={TOKEN_REVISION}") or None)
        volumes = [volume["name"] for volume in pods[0]["spec"]["volumes"]]
        assert any(name.startswith("kube-api-access-") for name in volumes), volumes
    finally:
        world.admin.delete(workload)


def test_a_replicaset_that_somebody_edited_makes_no_pod(world: World) -> None:
    """The Deployment isn't guarded; its Pods are, and the controller's event says why."""
    workload = changed(deployment(LABELLED), lambda item: item["metadata"].update(name="edited"))
    workload["spec"]["template"]["spec"]["containers"][0]["args"] = ["--model-dir", "/tmp/evil"]
    world.alice.create(workload)
    try:
        like = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": LABELLED}}

        def failure() -> str | None:
            for item in world.admin.list(like):
                if item["metadata"]["name"].startswith("edited-"):
                    for condition in item.get("status", {}).get("conditions", ()):
                        return str(condition["message"])
            return None

        assert "differs from what was evaluated in predictor.args" in eventually(failure)
    finally:
        world.admin.delete(workload)


def test_without_a_grant_labelled_pods_are_refused_and_others_run(world: World) -> None:
    with pytest.raises(Refused, match="no params found"):
        world.mallory.rehearsing().create(world.managed(BARE))
    world.mallory.rehearsing().create(plain_pod(BARE, "registry.example/shop:1", name="shop"))


def test_the_demos_pod_by_hand_lacks_nothing_but_the_grant(world: World) -> None:
    manifest = ROOT / "examples" / "flights" / "flights-v1.yaml"
    document = yaml.safe_load(manifest.read_text())
    document["metadata"] |= {"namespace": LABELLED, "uid": "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"}
    spec, images = load_spec(document["spec"]), Images(fetch=JUDGE, judge=JUDGE, predictor=PREDICTOR)
    recorded = desired.controller_revision(document, spec, images=images)
    pod = by_hand.pod(recorded, digest=DIGEST)
    with pytest.raises(Refused, match=f"not granted in namespace {LABELLED}"):
        world.mallory.rehearsing().create(pod)

    revision = recorded["metadata"]["labels"]["mandate.dev/revision"]
    workload = desired.workload(
        document, spec, revision=revision, replicas=1, images=images, digest=DIGEST, recorder_url=""
    )
    template = granted(world.operator.rehearsing().create(workload)["spec"]["template"])
    stored = world.admin.get(grant(LABELLED, {}))
    entry = stored["spec"]["grants"][REVISION] | {"model": "flights", "template": template}
    world.operator.merge(stored, {"spec": {"grants": {revision: entry}}})
    try:
        assert eventually(lambda: world.mallory.rehearsing().create(pod))["metadata"]["name"] == by_hand.NAME
    finally:
        world.operator.merge(stored, {"spec": {"grants": {revision: None}}})


def test_a_namespace_that_is_not_enrolled_is_left_alone(world: World) -> None:
    world.mallory.rehearsing().create(world.managed(OPEN))


def test_a_gateway_says_what_became_of_a_policy_and_others_policies_are_theirs(world: World) -> None:
    """Whoever may write the status is the gateway's business; the words are no part of what is shared."""
    said = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "policy has been accepted",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    ancestor = {
        "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "shared"},
        "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
        "conditions": [said],
    }
    gateway = world.mallory.rehearsing()
    assert unassigned(world.admin.get(sharing())) != ""
    told = gateway.merge(sharing(), {"status": {"ancestors": [ancestor]}}, sub="status")
    assert unassigned(told) == ""
    assert told["spec"] == sharing()["spec"]
    # A status of such a kind brings nothing else along.
    fault = {"spec": {"faultInjection": {"abort": {"httpStatus": 503}}}}
    more = world.operator.rehearsing().merge(sharing(), fault | {"metadata": {"labels": None}}, sub="status")
    assert (more["spec"], more["metadata"]["labels"]) == (sharing()["spec"], OURS)
    faulty = gateway.merge(sharing("shop"), fault)
    assert faulty["spec"]["faultInjection"]["abort"]["httpStatus"] == 503


@pytest.mark.parametrize("document", [model_evaluation(), EVIDENCE, SUGGEST_SERVICE], ids=lambda item: item["kind"])
def test_finalizers_can_be_removed_by_whoever_may(world: World, document: Object) -> None:
    held = {"metadata": {"finalizers": ["example.dev/held"]}}
    world.mallory.merge(document, held)
    world.mallory.merge(document, {"metadata": {"finalizers": None}})
    assert "finalizers" not in world.admin.get(document)["metadata"]


def test_a_whole_namespace_can_be_deleted(world: World) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "passing"}}
    world.admin.create(namespace | {"metadata": {"name": "passing", "labels": {"mandate.dev/enforce": "Strict"}}})

    def inside(document: Object) -> Object:
        return changed(document, lambda item: item["metadata"].update(namespace="passing"))

    world.operator.create(grant("passing", {}))
    for document in (model_deployment(), model_evaluation(), EVIDENCE, SUGGEST_SERVICE, evaluation_job("passing")):
        world.operator.create(inside(document))
    world.admin.delete(namespace)
    assert eventually(lambda: _gone(world, namespace), seconds=90)


def test_evidence_outlives_its_model_and_revisions_go_with_it(world: World) -> None:
    model = world.alice.create(model_deployment("shortlived"))
    metadata = model["metadata"]
    owner = {"apiVersion": model["apiVersion"], "kind": "ModelDeployment", "name": "shortlived", "uid": metadata["uid"]}
    history: Object = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": "shortlived-1",
            "namespace": LABELLED,
            "labels": {"mandate.dev/model": "shortlived", "mandate.dev/record": "Revision"},
            "ownerReferences": [owner],
        },
        "revision": 1,
        "data": {},
    }
    world.operator.create(history)
    world.alice.delete(model)
    assert eventually(lambda: _gone(world, history), seconds=60), "the garbage collector may delete"
    assert world.admin.get(model_evaluation())


def test_the_job_controller_finishes_jobs(world: World) -> None:
    """It writes the Job's status and takes its finalizer from the Pod."""
    kubelet = world.admin.acting_as("system:node:n", "system:nodes", "system:masters")
    job = evaluation_job(LABELLED, name="mandate-eval-ffffffffffffffff")
    stored = world.admin.get(grant(LABELLED, {}))
    entry = changed(
        stored["spec"]["evaluations"][JOB],
        lambda item: item["template"]["metadata"]["labels"].update({"mandate.dev/evaluation": job["metadata"]["name"]}),
    )
    world.operator.merge(stored, {"spec": {"evaluations": {job["metadata"]["name"]: entry}}})
    world.operator.create(job)
    like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": LABELLED}}
    pods = eventually(lambda: world.admin.list(like, f"mandate.dev/evaluation={job['metadata']['name']}") or None)
    pod = {"apiVersion": "v1", "kind": "Pod"} | pods[0]
    kubelet.patch(pod, {"status": {"phase": "Succeeded"}}, sub="status")
    assert eventually(lambda: world.admin.get(job).get("status", {}).get("succeeded"), seconds=60) == 1
    assert eventually(lambda: "finalizers" not in world.admin.get(pod)["metadata"] or None)
    world.operator.delete(job)


def test_the_operator_is_one_account_not_its_whole_namespace(world: World) -> None:
    groups = ("system:serviceaccounts", "system:serviceaccounts:mandate-system", "system:masters")
    other = world.admin.acting_as("system:serviceaccount:mandate-system:default", *groups)
    assert other.user != ACTORS.operator
    with pytest.raises(Refused, match=r"writers\.mandate\.dev"):
        other.rehearsing().create(model_evaluation("forged"))


def test_a_large_template_stays_within_the_budget_of_cel(world: World) -> None:
    """20 containers with 100 variables each, beside 200 other revisions."""
    revision = "e" * 32
    large = serving_template(revision=revision)
    environment = [{"name": f"VARIABLE_{index}", "value": "x" * 20} for index in range(100)]
    server = large["spec"]["containers"][0]
    large["spec"]["containers"] = [server | {"name": f"server-{index}", "env": environment} for index in range(20)]
    stored = world.admin.get(grant(LABELLED, {}))
    entry = stored["spec"]["grants"][REVISION]
    rehearsed = world.operator.rehearsing().create(deployment(LABELLED, template=large, name="credit-eeeeeeeeee"))
    grants = {f"{index:032x}": entry for index in range(200)}
    grants[revision] = entry | {"template": granted(rehearsed["spec"]["template"])}
    world.operator.merge(stored, {"spec": {"grants": grants}})
    pod = world.managed(revision=revision) | {"spec": large["spec"]}
    try:
        eventually(lambda: world.mallory.rehearsing().create(pod))
        last = changed(pod, lambda item: item["spec"]["containers"][-1].update(args=["--model-dir", "elsewhere"]))
        with pytest.raises(Refused, match=r"differs from what was evaluated in server-19\.args"):
            world.mallory.rehearsing().create(last)
    finally:
        world.operator.merge(stored, {"spec": {"grants": dict.fromkeys(grants)}})


def test_who_may_only_ask_verbs_holds_up_no_deletion(world: World) -> None:
    model = world.alice.create(model_deployment("leaving"))
    world.alice.merge(model, {"metadata": {"finalizers": ["example.dev/held"]}})
    henry = world.admin.acting_as("henry")
    free = {"metadata": {"finalizers": None}}
    with pytest.raises(Refused, match="henry may only ask verbs"):
        henry.merge(model, free)
    world.alice.delete(model)
    henry.merge(model, free)
    assert eventually(lambda: _gone(world, model))


VALUES = (
    "7 by ann",
    "7 by ann: because",
    "7 by ann: because: of this",
    "7 by ann:because",
    "7 by ann:: because",
    "7 by ann by bob",
    "7 to Shadow by ann",
    f"7 of {'0a' * 16} by ann",
    f"7 to Shadow of {'0a' * 16} by ann: why",
    f"7 of {'0A' * 16} by ann",
    "7 to None by ann",
    "7 by  ann",
    "7 by ann ",
    " 7 by ann",
    "7  by ann",
    "by by by",
    "by by by by by",
    "7 by ",
    "7 by : ann",
    "7",
    "7 by ann\n",
    "7 by ann\nby bob",
    "\n7 by ann",
    "7 by ann\t",
    "7 by ann\x85",
    "7 by ann\u2028",
    "7 by mandate",
    f"7 by {ANNOTATION_RETRY}",
    "7 by https://issuer.example#ann",
    "7 by system:serviceaccount:lending:ci",
    "-7 by ann",
    "é7 by ann",
    "7 by ünn 😀: 😀",
    f"{'x' * 63} by ann",
    f"{'x' * 64} by ann",
    f"7 by {'x' * 253}",
    f"7 by {'x' * 254}",
    f"7 by {'😀' * 253}",
    f"7 by ann: {'x' * 1014}",
    f"7 by ann: {'x' * 1015}",
    "x" * 253,
    "x" * 254,
)


@pytest.mark.parametrize("verb", ["Pause", "Retry", "Halt"])
def test_the_api_server_reads_verbs_as_the_operator_does(world: World, verb: VerbName) -> None:
    """Whatever the operator takes for an ask, only the very user that it names could have written it."""
    differ = []
    for value in VALUES:
        try:
            ask = parse(verb, value)
        except AskError:
            ask = None
        named = {ask.by} if ask is not None and ask.by.isascii() and ask.by == ask.by.strip() else set()  # as a header
        for user in ("ann", "bob", *named):
            try:
                change = {"metadata": {"annotations": {annotation(verb): value}}}
                world.admin.acting_as(user, "askers").rehearsing().merge(model_deployment(), change)
                passed = True
            except Refused:
                passed = False
            expected = ask is not None and ask.by in (user, ANNOTATION_RETRY)
            if passed is not expected:
                differ.append((value, user, passed))
    assert differ == []


def test_a_model_with_a_generated_name_may_be_born_halted(world: World) -> None:
    metadata = {"generateName": "other-", "namespace": LABELLED, "annotations": {annotation("Halt"): "1 by alice"}}
    born = model_deployment() | {"metadata": metadata}
    assert world.alice.rehearsing().create(born)
    with pytest.raises(Refused, match="it takes the verb halt"):
        world.admin.acting_as("dora").rehearsing().create(
            changed(born, lambda item: item["metadata"]["annotations"].update({annotation("Halt"): "1 by dora"}))
        )


def test_every_verb_has_its_rule() -> None:
    said = [rule.says for rule in POLICIES["verbs"].rules]
    assert all(f"it takes the verb {verb.lower()} on" in text for verb, text in zip(VERBS, said, strict=False))


def test_the_api_server_finds_no_fault_with_the_expressions(world: World) -> None:
    """Its type check of built-in kinds runs in the background and warns in the policy's status."""
    for policy in POLICIES.values():
        document = policy.documents()[0]

        def checked(document: Object = document) -> Object | None:
            status = world.admin.get(document).get("status", {})
            return status if status.get("observedGeneration") else None

        status = eventually(checked, seconds=60)
        assert not status.get("typeChecking", {}).get("expressionWarnings"), document["metadata"]["name"]
