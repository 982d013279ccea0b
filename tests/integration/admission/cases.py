"""Bypasses, each beside the legitimate thing it resembles.

A case belongs to one rule of one policy: `test_bypasses` shows that the attack is refused and its twin isn't, and
`test_mutations` shows that without that rule the attack gets through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.integration.admission.api import Api, Object, Refused
from tests.integration.admission.world import (
    AGENT,
    EVIDENCE,
    EVIL,
    EXTERNAL_REVISION,
    HALTED,
    HISTORY,
    JOB,
    LABELLED,
    OPEN,
    OURS,
    PREDICTOR,
    REVISION,
    SEAL,
    STRICT,
    SUGGEST_SERVICE,
    TAGGED_REVISION,
    TOKEN_REVISION,
    WORKLOAD,
    World,
    batch_job,
    changed,
    endpoint_slice,
    evaluation_job,
    external_pod,
    grant,
    inference_service,
    ingress,
    model_deployment,
    model_evaluation,
    plain_pod,
    reference_grant,
    route,
    service,
    sharing,
)

Act = Callable[[World], Any]


@dataclass(frozen=True)
class Case:
    """One attack on one rule."""

    policy: str
    rule: int
    title: str
    attack: Act
    twin: Act
    says: str
    """Part of what the attacker reads."""


CASES: list[Case] = []

POD_TEMPLATE: Object = {
    "apiVersion": "v1",
    "kind": "PodTemplate",
    "metadata": {"name": "credit", "namespace": LABELLED, "labels": OURS},
    "template": {"spec": {"containers": [{"name": "main", "image": AGENT}]}},
}


def _case(policy: str, rule: int, title: str, attack: Act, twin: Act, says: str) -> None:
    CASES.append(Case(policy, rule, title, attack, twin, says))


def _enter(which: str, sub: str, who: str = "mallory") -> Act:
    """CONNECT has no dry run; a Pod without a node answers 400, which is past admission."""

    def act(world: World) -> None:
        pod = getattr(world, which)
        metadata = pod["metadata"]
        where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/{sub}"
        query = {"command": "id", "stdout": "true", "container": pod["spec"]["containers"][0]["name"]}
        if sub in {"portforward", "proxy"}:
            query = {}
        try:
            getattr(world, who).request("GET" if sub == "proxy" else "POST", where, **query)
        except Refused as error:
            if error.status == 403:
                raise

    return act


# --- 1: who may run --------------------------------------------------------------------------------------------------


def _run(change: Callable[[Any], None] | None = None, *, namespace: str = LABELLED, revision: str = REVISION) -> Act:
    def act(world: World) -> Object:
        pod = world.managed(namespace, revision=revision)
        return world.mallory.rehearsing().create(changed(pod, change) if change else pod)

    return act


def _spec(**fields: Any) -> Callable[[Any], None]:
    return lambda pod: pod["spec"].update(fields)


def _server(**fields: Any) -> Callable[[Any], None]:
    return lambda pod: pod["spec"]["containers"][0].update(fields)


def _labels(**fields: str) -> Callable[[Any], None]:
    return lambda pod: pod["metadata"]["labels"].update(
        {name.replace("__", "mandate.dev/"): value for name, value in fields.items()}
    )


def _volume(index: int, **fields: Any) -> Callable[[Any], None]:
    return lambda pod: pod["spec"]["volumes"].__setitem__(
        index, {"name": pod["spec"]["volumes"][index]["name"]} | fields
    )


def _all(*changes: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for each in changes:
            each(document)

    return change


def _strange(namespace: str, image: str, *, init: bool = False) -> Act:
    pod = plain_pod(namespace, AGENT if init else image, name="stranger")
    if init:
        pod["spec"]["initContainers"] = [{"name": "early", "image": image}]
    return lambda world: world.mallory.rehearsing().create(pod)


_allowed = _strange(STRICT, AGENT)
for title, attack in {
    "a foreign image in a Strict namespace": _strange(STRICT, EVIL),
    "a foreign init container in a Strict namespace": _strange(STRICT, EVIL, init=True),
    "a granted image without its label, so with any arguments": _strange(STRICT, PREDICTOR),
    "an allowed image by another digest": _strange(STRICT, AGENT[:-1] + "0"),
    "an allowed image by tag": _strange(STRICT, "registry.example/tools/agent:1"),
}.items():
    _case("pods", 0, title, attack, _allowed, "enrolled as Strict, and these images are neither granted nor allowed")

_granted = _run()
for title, change in {
    "a revision that wasn't granted": _labels(__revision="f" * 32),
    "no revision at all": lambda pod: pod["metadata"]["labels"].pop("mandate.dev/revision"),
}.items():
    _case("pods", 1, title, _run(change), _granted, "not granted in namespace lending")
_case(
    "pods",
    1,
    "in a Strict namespace, a revision that wasn't granted",
    _run(_labels(__revision="f" * 32), namespace=STRICT),
    _run(namespace=STRICT),
    "not granted in namespace vault",
)

for title, change in {
    "a label of one's own, for a Service of one's own": _labels(app="shop"),
    "another model's name": _labels(__model="other"),
    "a label of ours that wasn't granted": _labels(__level="Automate"),
}.items():
    _case("pods", 2, title, _run(change), _granted, "labels differ from the granted ones")

_case(
    "pods",
    3,
    "another model digest",
    _run(lambda pod: pod["metadata"]["annotations"].update({"mandate.dev/model-digest": "sha256:" + "0" * 64})),
    _run(lambda pod: pod["metadata"]["annotations"].update({"kubectl.kubernetes.io/restartedAt": "2030-01-01"})),
    "annotations differ from the granted ones: mandate.dev/model-digest",
)

for title, change in {
    "one more container": lambda pod: pod["spec"]["containers"].append({"name": "helper", "image": AGENT}),
    "one more init container": lambda pod: pod["spec"]["initContainers"].append({"name": "late", "image": AGENT}),
    "without the init container that verifies the model": lambda pod: pod["spec"].update(initContainers=[]),
    "the verifier moved beside the server": lambda pod: (
        pod["spec"]["containers"].append(pod["spec"]["initContainers"].pop()) or None
    ),
}.items():
    _case("pods", 4, title, _run(change), _granted, "granted are predictor, fetch")

_exec = {"exec": {"command": ["sh", "-c", "cp /tmp/evil /mandate/model"]}}
for title, change, field in (
    ("another image under the same label", _server(image=EVIL), "predictor.image"),
    ("the same image with other args", _server(args=["--model-dir", "/tmp/evil"]), "predictor.args"),
    ("the same image without args", lambda pod: pod["spec"]["containers"][0].pop("args"), "predictor.args"),
    ("a command", _server(command=["sh", "-c", "serve-evil"]), "predictor.command"),
    ("another environment variable", _server(env=[{"name": "THREADS", "value": "2"}]), "predictor.env"),
    ("an environment from a ConfigMap", _server(envFrom=[{"configMapRef": {"name": "evil"}}]), "predictor.envFrom"),
    ("a lifecycle hook", _server(lifecycle={"postStart": _exec}), "predictor.lifecycle"),
    ("a probe that runs a command", _server(livenessProbe=_exec), "predictor.livenessProbe"),
    ("another port for answers", _server(ports=[{"name": "http", "containerPort": 9090}]), "predictor.ports"),
    ("another working directory", _server(workingDir="/tmp/evil"), "predictor.workingDir"),
    (
        "a file of the kubelet's put over one of the image's",
        _server(terminationMessagePath="/opt/mandate/verify.py"),
        "predictor.terminationMessagePath",
    ),
    ("a privileged server", _server(securityContext={"privileged": True}), "predictor.securityContext"),
    (
        "the model mounted for writing",
        _server(volumeMounts=[{"name": "model", "mountPath": "/mandate/model"}]),
        "predictor.volumeMounts",
    ),
    (
        "a verifier that expects other bytes",
        lambda pod: pod["spec"]["initContainers"][0]["args"].__setitem__(3, "sha256:" + "0" * 64),
        "fetch.args",
    ),
    (
        "a verifier that restarts for ever, beside the server",
        lambda pod: pod["spec"]["initContainers"][0].update(restartPolicy="Always"),
        "fetch.restartPolicy",
    ),
):
    _case("pods", 5, title, _run(change), _granted, f"differs from what was evaluated in {field}")
_case(
    "pods",
    5,
    "a mount of one's own where the token goes",
    _run(
        lambda pod: pod["spec"]["containers"][0]["volumeMounts"].append(
            {"name": "model", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        ),
        revision=TOKEN_REVISION,
    ),
    _run(revision=TOKEN_REVISION),
    "differs from what was evaluated in predictor.volumeMounts",
)

for title, change in {
    "the verified model replaced by a claim": _volume(0, persistentVolumeClaim={"claimName": "evil"}),
    "the verified model replaced by a ConfigMap": _volume(0, configMap={"name": "evil"}),
    "one more volume": lambda pod: pod["spec"]["volumes"].append({"name": "more", "emptyDir": {}}),
    "a host path that is called like a token": lambda pod: pod["spec"]["volumes"].append(
        {"name": "kube-api-access-evil", "hostPath": {"path": "/"}}
    ),
}.items():
    _case("pods", 6, title, _run(change), _granted, "volumes differ from what was evaluated")
_token = {"name": "kube-api-access-real", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
_secret = {"name": "kube-api-access-evil", "projected": {"sources": [{"secret": {"name": "evil"}}]}}
_case(
    "pods",
    6,
    "a Secret that is called like a token, where tokens are granted",
    _run(lambda pod: pod["spec"]["volumes"].extend([_token, _secret]), revision=TOKEN_REVISION),
    _run(revision=TOKEN_REVISION),
    "volumes differ from what was evaluated: kube-api-access-evil",
)

for title, change, field in (
    ("the host's shared memory", _spec(hostIPC=True), "hostIPC"),
    ("the host's processes", _spec(hostPID=True), "hostPID"),
    ("shared processes", _spec(shareProcessNamespace=True), "shareProcessNamespace"),
    ("names that lead elsewhere", _spec(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["x"]}]), "hostAliases"),
    ("another service account", _spec(serviceAccountName="other"), "serviceAccountName"),
    ("another user", _spec(securityContext={"runAsUser": 0}), "securityContext"),
    ("no shared group", lambda pod: pod["spec"].pop("securityContext"), "securityContext"),
):
    _case("pods", 7, title, _run(change), _granted, f"differs from what was evaluated in {field}")

_case(
    "pods",
    8,
    "an image by tag, though the grant has it",
    _run(revision=TAGGED_REVISION),
    _granted,
    "images must be pinned as NAME@sha256:DIGEST",
)


def _run_elsewhere(**fields: str) -> Act:
    return lambda world: world.mallory.rehearsing().create(external_pod(**fields))


for title, attack in {
    "the hash of Argo Rollouts, where workloads are ours": _labels(**{"rollouts-pod-template-hash": "6cf78c66c5"}),
    "a level, where workloads are ours": _labels(__serves="Suggest"),
}.items():
    _case("pods", 2, title, _run(attack), _run_elsewhere(), "labels differ from the granted ones")
for title, serves in {"a level above the granted one": "Automate", "a level that there isn't": "Everything"}.items():
    _case("pods", 9, title, _run_elsewhere(serves=serves), _run_elsewhere(), f"would serve at {serves}")
for title, workload in {
    "a name by which nobody knows whose Pod it is": "shop",
    "a name of more parts": "credit-web-shop",
}.items():
    _case("pods", 10, title, _run_elsewhere(workload=workload), _run_elsewhere(workload="credit"), "is named")
_case(
    "pods",
    10,
    "the name of another version's Pod, as ours have them while others take over",
    _run_elsewhere(workload=f"credit-{'f' * 10}"),
    _run_elsewhere(workload=f"credit-{EXTERNAL_REVISION[:10]}"),
    "is named",
)

# --- 2: what stays true ----------------------------------------------------------------------------------------------


def _relabel(which: str, labels: Object, *, sub: str = "") -> Act:
    change = {"metadata": {"labels": labels}}
    return lambda world: world.mallory.rehearsing().merge(getattr(world, which), change, sub=sub)


def _reimage(which: str) -> Act:
    def act(world: World) -> Object:
        pod = getattr(world, which)
        container = pod["spec"]["containers"][0]["name"]
        change = {"spec": {"containers": [{"name": container, "image": EVIL}]}}
        return world.mallory.rehearsing().patch(pod, change)

    return act


def _debug(which: str, image: str, **more: Any) -> Act:
    container = {"name": "debugger", "image": image, "command": ["sh"]} | more
    change = {"spec": {"ephemeralContainers": [container]}}
    return lambda world: world.mallory.rehearsing().patch(getattr(world, which), change, sub="ephemeralcontainers")


def _labelled_without_model(labels: Object) -> Act:
    pod = plain_pod(LABELLED, EVIL, name="stranger")
    pod["metadata"]["labels"].update(labels)
    return lambda world: world.mallory.rehearsing().create(pod)


_case(
    "pod-updates",
    0,
    "a revision's label without a model's, for the model's Service",
    _labelled_without_model({"mandate.dev/revision": REVISION}),
    _labelled_without_model({"app": "shop"}),
    "without mandate.dev/model a Pod may carry none",
)
_free = _relabel("bystander", {"app": "renamed"})
for title, attack in {
    "the model's label stripped": _relabel("serving", {"mandate.dev/model": None}),
    "the revision's label stripped": _relabel("serving", {"mandate.dev/revision": None}),
    "moved to another revision": _relabel("serving", {"mandate.dev/revision": TOKEN_REVISION}),
    "a label for a foreign Service added": _relabel("serving", {"app": "shop"}),
    "stripped through the status sub-resource": _relabel("serving", {"mandate.dev/model": None}, sub="status"),
    "a running foreign Pod labelled as a model's": _relabel(
        "bystander", {"mandate.dev/model": "credit", "mandate.dev/revision": REVISION}
    ),
    "the same through the status sub-resource": _relabel(
        "bystander", {"mandate.dev/model": "credit", "mandate.dev/revision": REVISION}, sub="status"
    ),
    "a running foreign Pod labelled with a revision only": _relabel("bystander", {"mandate.dev/revision": REVISION}),
}.items():
    _case("pod-updates", 1, title, attack, _free, "labels of a model's Pod are fixed")


def _digest_note(which: str) -> Act:
    change = {"metadata": {"annotations": {"mandate.dev/model-digest": "sha256:" + "0" * 64}}}
    return lambda world: world.mallory.rehearsing().merge(getattr(world, which), change)


_case(
    "pod-updates",
    2,
    "the model's digest rewritten on the Pod",
    _digest_note("serving"),
    lambda world: world.mallory.rehearsing().merge(world.serving, {"metadata": {"annotations": {"note": "x"}}}),
    "annotations mandate.dev/* of a model's Pod are fixed",
)
_case(
    "pod-updates",
    3,
    "another image put under a running model",
    _reimage("serving"),
    _reimage("bystander"),
    "images of a running Pod are fixed here",
)
_case(
    "pod-updates",
    3,
    "another image put under any running Pod of a Strict namespace",
    _reimage("strict_bystander"),
    _reimage("bystander"),
    "images of a running Pod are fixed here",
)
for title, attack in {
    "an ephemeral container in a model's Pod": _debug("serving", EVIL),
    "the same with the model's own image and volume": _debug(
        "serving", PREDICTOR, volumeMounts=[{"name": "model", "mountPath": "/mandate/model"}]
    ),
}.items():
    _case("pod-updates", 4, title, attack, _debug("bystander", EVIL), "no ephemeral container enters a model's Pod")
_case(
    "pod-updates",
    5,
    "an ephemeral container with a foreign image in a Strict namespace",
    _debug("strict_bystander", EVIL),
    _debug("strict_bystander", AGENT),
    "ephemeral containers may use the Pod's own images only",
)

for sub in ("exec", "attach"):
    _case(
        "serving-access",
        0,
        f"{sub} into a serving model by somebody who may edit there",
        _enter("serving", sub, "carol"),
        _enter("bystander", sub, "carol"),
        "takes the verb debug on modeldeployments.mandate.dev",
    )
_case(
    "serving-access",
    0,
    "exec into a serving model, where whoever may debug it can",
    _enter("serving", "exec", "carol"),
    _enter("serving", "exec", "alice"),
    "takes the verb debug on modeldeployments.mandate.dev",
)

_case(
    "serving-access",
    0,
    "exec into a model that somebody else's workload runs",
    _enter("external", "exec", "carol"),
    _enter("external", "exec", "alice"),
    "takes the verb debug on modeldeployments.mandate.dev",
)

# --- 3: at which level -----------------------------------------------------------------------------------------------


def _serve(selector: dict[str, str]) -> Act:
    return lambda world: world.mallory.rehearsing().create(service("mine", selector))


def _reselect(selector: Object) -> Act:
    return lambda world: world.mallory.rehearsing().merge(service("shop", {}), {"spec": {"selector": selector}})


def _create(document: Object) -> Act:
    return lambda world: world.mallory.rehearsing().create(document)


NEXT = "credit-99aabbccdd"
"""The Service of a revision that may come."""

_own_pods = _serve({"app": "shop"})
for title, attack in {
    "a foreign Service that selects by the model's label": _serve(OURS),
    "by revision": _serve({"mandate.dev/model": "credit", "mandate.dev/revision": REVISION}),
    "by the ReplicaSet's hash alone": _serve({"pod-template-hash": "5d4f8c7b9"}),
    "by evaluation": _serve({"mandate.dev/evaluation": JOB}),
    "by the node's zone alone": _serve({"topology.kubernetes.io/zone": "a"}),
    "an existing foreign Service turned to a model": _reselect({"app": None, "mandate.dev/model": "credit"}),
}.items():
    _case("services", 0, title, attack, _own_pods, "would select managed Pods")
_case(
    "services",
    0,
    "the same, where the twin names a label that no managed Pod has",
    _serve(OURS),
    _serve(OURS | {"app": "shop"}),
    "would select managed Pods",
)
_case(
    "services",
    0,
    "the same, where the twin names a level, as only Pods of other people's workloads do",
    _serve(OURS),
    _serve(OURS | {"mandate.dev/serves": "Suggest"}),
    "would select managed Pods",
)


_OF_KSERVE = {"app": f"isvc.{WORKLOAD}-predictor"}
"""How KServe's Service selects the Pods that it makes of an InferenceService of ours."""
_kserves_own = _create(service(f"{WORKLOAD}-predictor", _OF_KSERVE, labels=OURS))
for title, attack in {
    "a foreign Service that selects as KServe's does": _serve(_OF_KSERVE),
    "by the name of the InferenceService": _serve({"serving.kserve.io/inferenceservice": WORKLOAD}),
    "by what KServe calls every Pod that answers": _serve({"component": "predictor"}),
    "by our label and KServe's": _serve(OURS | _OF_KSERVE),
}.items():
    _case("services", 0, title, attack, _kserves_own, "would select managed Pods")
_case(
    "services",
    0,
    "KServe's component, where the twin is of no predictor",
    _serve({"component": "predictor"}),
    _serve({"component": "frontend"}),
    "would select managed Pods",
)


def _by_kubernetes(document: Object) -> Act:
    user = "system:serviceaccount:kube-system:endpointslice-controller"
    return lambda world: world.admin.acting_as(user).rehearsing().create(document)


for title, attack, twin in (
    ("the model's free address taken", _create(service("credit", {"app": "shop"})), _own_pods),
    ("the free Service of one revision taken", _create(service(NEXT, {"app": "shop"})), _own_pods),
    ("the Service that answers nobody taken", _create(service("credit-nobody", {"app": "shop"})), _own_pods),
    ("endpoints by hand behind one revision", _create(endpoint_slice(WORKLOAD)), _create(endpoint_slice("shop"))),
    (
        "endpoints by hand behind the model's address",
        _create(endpoint_slice("credit-suggest")),
        _create(endpoint_slice("shop")),
    ),
    ("the same, where Kubernetes may", _create(endpoint_slice("credit")), _by_kubernetes(endpoint_slice("credit"))),
):
    _case("service-names", 0, title, attack, twin, "belongs to a ModelDeployment of this namespace")

for title, attack, twin in (
    ("a route to one revision", _create(route(WORKLOAD)), _create(route("credit-suggest"))),
    ("a mirror to one revision", _create(route("shop", mirror=WORKLOAD)), _create(route("shop", mirror="shop"))),
    (
        "a mirror on one backend",
        _create(route("shop", backend_mirror=WORKLOAD)),
        _create(route("shop", backend_mirror="shop")),
    ),
    ("an Ingress to one revision", _create(ingress(WORKLOAD)), _create(ingress("credit"))),
):
    _case("routes", 0, title, attack, twin, f"would reach {WORKLOAD} past its level")
_case(
    "routes",
    0,
    "a route to a revision that isn't granted yet",
    _create(route(NEXT)),
    _create(route("shop-00112233")),
    f"would reach {NEXT} past its level",
)
_case(
    "routes",
    0,
    "an Ingress to what KServe makes of a revision",
    _create(ingress(f"{WORKLOAD}-predictor")),
    _create(ingress("shop-0011223344-predictor")),
    f"would reach {WORKLOAD}-predictor past its level",
)
for title, attack, twin in (
    (
        "KServe's Service of one revision lent",
        _create(reference_grant(f"{WORKLOAD}-predictor")),
        _create(reference_grant("shop-predictor")),
    ),
    ("every Service lent", _create(reference_grant()), _create(reference_grant("shop"))),
    (
        "the Service of one revision lent",
        _create(reference_grant("shop", WORKLOAD)),
        _create(reference_grant("credit")),
    ),
):
    _case("references", 0, title, attack, twin, "would let routes elsewhere reach Services of one revision")

# --- 4: who may say so -----------------------------------------------------------------------------------------------


def _both(change: Callable[[Api], Any]) -> tuple[Act, Act]:
    """The same thing, done by mallory and by the operator."""
    return (lambda world: change(world.mallory.rehearsing())), (lambda world: change(world.operator.rehearsing()))


def _evaluation_pod(namespace: str, *, job: str = JOB) -> Object:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "0", "controller": True}
    metadata = {"generateName": f"{job}-", "namespace": namespace, "ownerReferences": [owner]}
    template = evaluation_job(namespace, name=job)["spec"]["template"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }


def _batch_pod(*, change: Callable[[Any], None] | None = None, namespace: str = LABELLED, **how: Any) -> Act:
    """A Pod as the Job controller makes it for a Job of somebody's."""
    template = batch_job(namespace, **how)["spec"]["template"]
    added = {
        f"{prefix}{name}": "x" for prefix in ("", "batch.kubernetes.io/") for name in ("job-name", "controller-uid")
    }
    metadata = {
        "generateName": "credit-batch-1-",
        "namespace": namespace,
        "labels": template["metadata"]["labels"] | added,
        "annotations": template["metadata"]["annotations"],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return _by_job_controller(changed(pod, change) if change else pod)


def _by_job_controller(pod: Object) -> Act:
    user = "system:serviceaccount:kube-system:job-controller"
    return lambda world: world.admin.acting_as(user).rehearsing().create(pod)


for namespace in (LABELLED, OPEN):
    _case(
        "evaluation-pods",
        0,
        f"an evaluation Pod forged in {namespace}",
        _create(_evaluation_pod(namespace)),
        _by_job_controller(_evaluation_pod(namespace)),
        "evaluation Pods only come from the operator's Jobs",
    )
for namespace in (LABELLED, STRICT):
    _case(
        "pods",
        1,
        f"a batch of a revision that may score none, in {namespace}",
        _batch_pod(revision=TOKEN_REVISION, namespace=namespace),
        _batch_pod(namespace=namespace),
        f'batch of revision "{TOKEN_REVISION}": not granted in namespace {namespace}',
    )
for title, change, rule, says in (
    ("a batch whose Pod serves as well", _labels(__revision=REVISION), 2, "labels differ from the granted ones"),
    ("a batch with a label for a Service", _labels(app="shop"), 2, "labels differ from the granted ones: app"),
    ("a batch that passes for a ReplicaSet's", _labels(**{"pod-template-hash": "x"}), 2, "labels differ"),
    (
        "a batch marked with a level that isn't granted",
        lambda pod: pod["spec"]["containers"][0]["command"].__setitem__(2, "Automate"),
        5,
        "differs from what was evaluated in score.command",
    ),
    (
        "a batch that says another level",
        lambda pod: pod["metadata"]["annotations"].update({"mandate.dev/autonomy": "Automate"}),
        3,
        "annotations differ from the granted ones: mandate.dev/autonomy",
    ),
    (
        "a batch scored by another image",
        lambda pod: pod["spec"]["initContainers"][0].update(image=EVIL),
        5,
        "differs from what was evaluated in predictor.image",
    ),
):
    _case("pods", rule, title, _batch_pod(change=change), _batch_pod(), says)
_case(
    "pods",
    2,
    "a server with the labels of a Job",
    _run(lambda pod: pod["metadata"]["labels"].update({"job-name": "x"})),
    _run(),
    "labels differ from the granted ones: job-name",
)
_case(
    "pods",
    1,
    "an evaluation that isn't granted",
    _by_job_controller(_evaluation_pod(LABELLED, job="mandate-eval-0")),
    _by_job_controller(_evaluation_pod(LABELLED)),
    'evaluation "mandate-eval-0": not granted in namespace lending',
)
_case(
    "pods",
    5,
    "a judge other than the granted one",
    _by_job_controller(
        changed(_evaluation_pod(LABELLED), lambda pod: pod["spec"]["containers"][0].update(args=["judge", "--kindly"]))
    ),
    _by_job_controller(_evaluation_pod(LABELLED)),
    "differs from what was evaluated in judge.args",
)
_case(
    "evaluation-pods",
    0,
    "an evaluation Pod of a Job by another name",
    _by_job_controller(changed(_evaluation_pod(OPEN), lambda pod: pod["metadata"].update(ownerReferences=[]))),
    _by_job_controller(_evaluation_pod(OPEN)),
    "evaluation Pods only come from the operator's Jobs",
)
_case(
    "evaluation-pods",
    1,
    "the label of an evaluation stripped",
    _relabel("evaluating_outside", {"mandate.dev/evaluation": None}),
    lambda world: world.mallory.rehearsing().merge(world.evaluating_outside, {"metadata": {"finalizers": []}}),
    "labels of an evaluation Pod are fixed",
)
_annotate = {"metadata": {"annotations": {"note": "x"}}}
for title, attack in {
    "an ephemeral container beside the judge": _debug("evaluating_outside", EVIL),
    "another judge": _reimage("evaluating_outside"),
}.items():
    _case(
        "evaluation-pods",
        2,
        title,
        attack,
        lambda world: world.mallory.rehearsing().merge(world.evaluating_outside, _annotate),
        "nothing enters an evaluation Pod",
    )


def _end(api: Api, pod: Object) -> Object:
    ended = {"exitCode": 0, "message": '{"sha256":"forged"}'}
    judge = {
        "name": "judge",
        "image": "x",
        "imageID": "x",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    return api.rehearsing().patch(pod, {"status": {"phase": "Succeeded", "containerStatuses": [judge]}}, sub="status")


_case(
    "evaluation-pods",
    3,
    "the judge's termination message forged",
    lambda world: _end(world.mallory, world.evaluating_outside),
    lambda world: _end(world.admin.acting_as("kubelet", "system:nodes", "system:masters"), world.evaluating_outside),
    "only the kubelet says how the containers of an evaluation Pod ended",
)


for sub in ("exec", "attach", "portforward", "proxy"):
    _case(
        "evaluation-access",
        0,
        f"{sub} into the judge",
        _enter("evaluating", sub),
        _enter("bystander", sub),
        f"{sub} into evaluation Pod",
    )
_case(
    "evaluation-access",
    0,
    "exec into the judge by the administrator",
    _enter("evaluating_outside", "exec", "admin"),
    _enter("bystander", "exec", "admin"),
    "refused for everyone",
)

_promoted = {"spec": {"grants": {REVISION: {"level": "Automate"}}}}
_status = {"status": {"evidence": "{}"}}
for title, (attack, twin) in {
    "the grant edited": _both(lambda api: api.merge(grant(LABELLED, {}), _promoted)),
    "a grant made": _both(lambda api: api.create(grant("bare", {"allowedImages": [EVIL]}))),
    "an evaluation made": _both(lambda api: api.create(model_evaluation("forged"))),
    "an evaluation's label moved": _both(
        lambda api: api.merge(model_evaluation(), {"metadata": {"labels": {"mandate.dev/model": "other"}}})
    ),
}.items():
    _case("writers", 1, title, attack, twin, "only the operator grants and evaluates")
for title, (attack, twin) in {
    "evidence written by hand": _both(lambda api: api.merge(model_evaluation(), _status, sub="status")),
    "a level written by hand": _both(
        lambda api: api.merge(model_deployment(), {"status": {"level": "Automate"}}, sub="status")
    ),
}.items():
    _case("writers", 0, title, attack, twin, "may not write the status of")

_take = {"metadata": {"labels": OURS}}
_FAULT = {"abort": {"httpStatus": 503, "percentage": 100}}
_mine = {"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "00000000-0000-0000-0000-000000000000"}
_adopt = {"metadata": {"ownerReferences": [_mine]}}
_model = {"apiVersion": "mandate.dev/v1alpha1", "kind": "ModelDeployment", "name": "credit", "uid": _mine["uid"]}
_passed_off = changed(
    # The label that no Pod has lets it past the policy on selectors: it leads nowhere.
    service("credit-too", OURS | {"mandate.dev/revision": REVISION, "app": "shop"}, labels=OURS),
    lambda item: item["metadata"].update(ownerReferences=[_model | {"controller": True}]),
)
for title, (attack, twin) in {
    "the model's Service turned elsewhere": _both(
        lambda api: api.merge(SUGGEST_SERVICE, {"spec": {"selector": {"mandate.dev/model": None, "app": "shop"}}})
    ),
    "the model's Service disowned": _both(
        lambda api: api.merge(SUGGEST_SERVICE, {"metadata": {"labels": {"mandate.dev/model": None}}})
    ),
    "the same through its status": _both(
        lambda api: api.merge(SUGGEST_SERVICE, {"metadata": {"labels": {"mandate.dev/model": None}}}, sub="status")
    ),
    "a Service made as the model's, owner and all": _both(lambda api: api.create(_passed_off)),
    "a Service labelled as the model's that is none of KServe's": _both(
        lambda api: api.create(service("mine-predictor", {"app": "isvc.other-predictor", "x": "y"}, labels=OURS))
    ),
    "an InferenceService made as the model's": _both(lambda api: api.create(inference_service(labels=OURS))),
    "a fault put into the policy beside the model's routes": _both(
        lambda api: api.merge(sharing(), {"spec": {"faultInjection": _FAULT}})
    ),
    "a policy beside the model's routes made as the model's": _both(
        lambda api: api.create(sharing("credit-suggest") | {"spec": sharing()["spec"] | {"faultInjection": _FAULT}})
    ),
    "the policy beside the model's routes disowned": _both(
        lambda api: api.merge(sharing(), {"metadata": {"labels": {"mandate.dev/model": None}}})
    ),
    "a foreign policy passed off as the model's": _both(lambda api: api.merge(sharing("shop"), _take)),
    "a foreign Service passed off as the model's": _both(lambda api: api.merge(service("shop", {}), _take)),
    "evidence edited": _both(lambda api: api.merge(EVIDENCE, {"data": {"evidence": "forged"}})),
    "evidence adopted, to be collected as garbage": _both(lambda api: api.merge(EVIDENCE, _adopt)),
    "evidence disowned": _both(lambda api: api.merge(EVIDENCE, {"metadata": {"labels": {"mandate.dev/record": None}}})),
    "evidence made": _both(
        lambda api: api.create(changed(EVIDENCE, lambda item: item["metadata"].update(name="mandate-evidence-2")))
    ),
    "a ledger made": _both(
        lambda api: api.create(
            changed(
                EVIDENCE,
                lambda item: item["metadata"].update(name="ledger", labels={"mandate.dev/record": "Ledger"}),
            )
        )
    ),
    "a first sight of a model made": _both(
        lambda api: api.create(
            changed(
                EVIDENCE,
                lambda item: item["metadata"].update(name="first-seen", labels={"mandate.dev/record": "FirstSeen"}),
            )
        )
    ),
    "a revision made": _both(
        lambda api: api.create(changed(HISTORY, lambda item: item["metadata"].update(name="credit-0000000000")))
    ),
    "a PodTemplate made": _both(lambda api: api.create(POD_TEMPLATE)),
    "the evaluation's network policy opened": _both(
        lambda api: api.merge(SEAL, {"spec": {"egress": [{}]}}),
    ),
}.items():
    _case("owned", 0, title, attack, twin, "is the operator's")

_bare_job = changed(
    evaluation_job(OPEN, name="mine"),
    _all(
        lambda job: job["metadata"].pop("labels"),
        lambda job: job["spec"].pop("manualSelector"),
        lambda job: job["spec"].pop("selector"),
        lambda job: job["spec"]["template"]["metadata"].update(labels={"mandate.dev/evaluation": "mine"}),
    ),
)
_own_job = changed(_bare_job, lambda job: job["spec"]["template"]["metadata"].update(labels={"app": "mine"}))
for title, attack in {
    "a Job whose Pods would pass for an evaluation's": _create(_bare_job),
    "a Job by an evaluation's name": _create(
        changed(_own_job, lambda job: job["metadata"].update(name="mandate-eval-ffffffffffffffff"))
    ),
    "a Job for batches whose Pods would pass for an evaluation's": _create(
        changed(
            batch_job(OPEN),
            lambda job: job["spec"]["template"]["metadata"]["labels"].update({"mandate.dev/evaluation": "mine"}),
        )
    ),
    "a Job whose Pods name a model and no batch": _create(
        changed(
            batch_job(OPEN),
            lambda job: job["spec"]["template"]["metadata"]["labels"].pop("mandate.dev/batch"),
        )
    ),
}.items():
    _case("evaluation-jobs", 0, title, attack, _create(_own_job), "evaluations are the operator's")
_case(
    "owned",
    0,
    "a Job without labels of its own, which takes those of its Pods",
    _create(changed(batch_job(LABELLED), lambda job: job["metadata"].pop("labels"))),
    _create(batch_job(LABELLED)),
    "is the operator's",
)
_case(
    "evaluation-jobs",
    0,
    "an evaluation's name for a Job that scores batches",
    _create(changed(batch_job(LABELLED), lambda job: job["metadata"].update(name="mandate-eval-0000000000000000"))),
    _create(batch_job(LABELLED)),
    "evaluations are the operator's",
)


def _delete(document: Object, who: str = "mallory") -> Act:
    return lambda world: getattr(world, who).rehearsing().delete(document)


for policy, document in (
    ("evidence-deletion", model_evaluation()),
    ("evidence-deletion", grant(LABELLED, {})),
    ("record-deletion", EVIDENCE),
    ("record-deletion", HISTORY),
):
    _case(
        policy,
        0,
        f"{document['kind']} deleted by somebody with rights in the namespace only",
        _delete(document),
        _delete(document, "admin"),
        "evidence outlives its model",
    )


def _bob(world: World) -> Api:
    return world.admin.acting_as("bob").rehearsing()


_new_version = {"spec": {"model": {"version": "2"}}}
_case(
    "model-authors",
    0,
    "a ModelDeployment by somebody who may not create Pods",
    lambda world: _bob(world).create(model_deployment("other")),
    lambda world: world.alice.rehearsing().create(model_deployment("other")),
    "takes the right to create Pods there",
)
_case(
    "model-authors",
    0,
    "a ModelDeployment changed by somebody who may not create Pods",
    lambda world: _bob(world).merge(model_deployment(), _new_version),
    lambda world: _bob(world).merge(model_deployment(), {"metadata": {"annotations": {"mandate.dev/retry": "1"}}}),
    "takes the right to create Pods there",
)


# --- 4, for verbs ----------------------------------------------------------------------------------------------------

VERB_WORDS = ("pause", "resume", "abort", "retry", "promote", "rollback", "halt", "drill")
FORM, BY, ID, LIFT, REST = range(len(VERB_WORDS), len(VERB_WORDS) + 5)
HEX = "0123456789abcdef" * 2


def _annotated(who: str, model: Object, **annotations: str | None) -> Act:
    """Verbs asked by a merge patch; None removes an annotation."""
    change = {f"mandate.dev/{verb}": value for verb, value in annotations.items()}

    def act(world: World) -> Object:
        api = world.admin.acting_as(who).rehearsing()
        return api.merge(model, {"metadata": {"annotations": change}})

    return act


def _asking(who: str, **annotations: str) -> Act:
    return _annotated(who, model_deployment(), **annotations)


def _all_verbs(world: World) -> Object:
    return _asking("bob", **dict.fromkeys(VERB_WORDS, "7 by bob"))(world)


for index, word in enumerate(VERB_WORDS):
    right = f"it takes the verb {word} on modeldeployments.mandate.dev"
    title = f"{word} asked by somebody who may only edit"
    _case("verbs", index, title, _asking("erin", **{word: "7 by erin"}), _asking("bob", **{word: "7 by bob"}), right)
_case(
    "verbs",
    VERB_WORDS.index("retry"),
    "a retry without a name, by somebody who may only edit",
    _asking("erin", retry="once more"),
    _asking("bob", retry="once more"),
    "it takes the verb retry",
)
_case(
    "verbs",
    VERB_WORDS.index("pause"),
    "a pause taken away before it was seen to",
    _annotated("erin", HALTED, pause=None),
    _annotated("erin", HALTED, halt=None),
    "it takes the verb pause",
)
_case(
    "verbs",
    VERB_WORDS.index("halt"),
    "a model declared with a halt, by somebody who may not halt",
    lambda world: world.admin.acting_as("dora").rehearsing().create(_born_halted("dora")),
    lambda world: world.alice.rehearsing().create(_born_halted("alice")),
    "it takes the verb halt",
)


def _born_halted(by: str) -> Object:
    return changed(
        model_deployment("other"), lambda item: item["metadata"].update(annotations={"mandate.dev/halt": f"1 by {by}"})
    )


for title, value in (
    ("without a name", {"pause": "please"}),
    ("with an ID of two words", {"pause": "7 8 by bob"}),
    ("in two lines", {"pause": "7 by bob: a\nb"}),
    ("with a terminal's control code", {"pause": "7 by bob: \x9b2J"}),
    ("too long", {"pause": "7 by bob: " + "x" * 1024}),
    ("of what is no revision", {"promote": "7 of latest by bob"}),
    ("to a level that is none of a pause", {"pause": "7 to Shadow by bob"}),
    ("to a level that no halt leads to", {"halt": "7 to Suggest by bob"}),
    ("without a name and too long", {"retry": "x" * 254}),
):
    _case(
        "verbs",
        FORM,
        f"{next(iter(value))} {title}",
        _asking("bob", **value),
        _asking("bob", halt=f"7 to Shadow of {HEX} by bob: worse: since noon, by far"),
        "expected ID [of REVISION] by USER[: WHY]",
    )
_case(
    "verbs",
    FORM,
    "a pause by a user whose name stands for the operator",
    _asking("mandate", pause="7 by mandate"),
    _asking("bob", pause="7 by bob"),
    "expected ID [of REVISION] by USER[: WHY]",
)
for title, value in (
    ("in alice's name", "7 by alice"),
    ("in alice's name, with a reason that names bob", "7 by alice: by bob"),
    ("in a name that begins like bob's", "7 by bobby"),
    ("in a name that bob's begins like", "7 by bo"),
    ("in capitals", "7 by Bob"),
    ("in nobody's name", "7 by : tired"),
):
    expected = 'expected "by bob", not "by ' + value.removeprefix("7 by ").split(": ")[0]
    _case("verbs", BY, f"a halt {title}", _asking("bob", halt=value), _asking("bob", halt="7 by bob"), expected)
_case("verbs", BY, "a retry in alice's name", _asking("bob", retry="7 by alice"), _all_verbs, 'expected "by bob"')
_case(
    "verbs",
    ID,
    "an ID that was seen to",
    _annotated("bob", HALTED, promote="1 by bob"),
    _annotated("bob", HALTED, promote="2 by bob"),
    "this ID was seen to already",
)
_case(
    "verbs",
    LIFT,
    "a halt lifted by somebody who may resume and not halt",
    _annotated("rosa", HALTED, resume="7 by rosa"),
    _annotated("bob", HALTED, resume="7 by bob"),
    "lifting a halt takes the verb halt",
)
_owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "11111111-2222-3333-4444-555555555555"}
for title, metadata in (
    ("label", {"labels": {"team": "other"}}),
    ("new label", {"labels": {"more": "x"}}),
    ("annotation", {"annotations": {"note": "y"}}),
    ("new, empty annotation", {"annotations": {"more": ""}}),
    ("missing annotation", {"annotations": {"note": None}}),
    ("owner, so that the garbage collector deletes the model", {"ownerReferences": [_owner]}),
    ("finalizer", {"finalizers": ["example.dev/held"]}),
    ("field manager, so that a status can't be taken back", {"managedFields": [{}]}),
):
    both = {"annotations": {"mandate.dev/halt": "7 by henry"} | metadata.get("annotations", {})}

    def _more(world: World, change: Object = {"metadata": metadata | both}) -> Object:  # noqa: B006
        return world.admin.acting_as("henry").rehearsing().merge(HALTED, change)

    _case(
        "verbs",
        REST,
        f"another {title} by somebody who may only halt",
        _more,
        _annotated("henry", HALTED, halt="7 by henry"),
        "henry may only ask verbs of modeldeployments halted",
    )
_case(
    "verbs",
    REST,
    "a spec changed by somebody who may create Pods and only patch models",
    lambda world: world.admin.acting_as("dora").rehearsing().merge(HALTED, _new_version),
    lambda world: world.alice.rehearsing().merge(HALTED, _new_version),
    "dora may only ask verbs",
)


# --- 4, for namespaces -----------------------------------------------------------------------------------------------


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _enrol(name: str, mode: str | None, *, who: str = "mallory", sub: str = "") -> Act:
    change = {"metadata": {"labels": {"mandate.dev/enforce": mode}}}

    def act(world: World) -> Object:
        return world.admin.acting_as(who).rehearsing().merge(_namespace(name), change, sub=sub)

    return act


def _through_finalize(world: World) -> Object:
    stored = world.admin.get(_namespace(LABELLED))
    del stored["metadata"]["labels"]["mandate.dev/enforce"]
    return world.mallory.rehearsing().put(stored, sub="finalize")


def _other_label(world: World) -> Object:
    return world.mallory.rehearsing().merge(_namespace(LABELLED), {"metadata": {"labels": {"team": "risk"}}})


def _new(name: str, who: str) -> Act:
    namespace = changed(
        _namespace(name), lambda item: item["metadata"].update(labels={"mandate.dev/enforce": "Labelled"})
    )
    return lambda world: world.admin.acting_as(who).rehearsing().create(namespace)


for title, attack, twin in (
    ("the namespace's label removed", _enrol(LABELLED, None), _enrol(LABELLED, None, who="nina")),
    ("Strict eased to Labelled", _enrol(STRICT, "Labelled"), _enrol(STRICT, "Labelled", who="nina")),
    ("the label removed through status", _enrol(LABELLED, None, sub="status"), _other_label),
    ("the label removed through finalize", _through_finalize, _other_label),
    ("somebody's namespace enrolled", _enrol(OPEN, "Strict"), _enrol(OPEN, "Strict", who="nina")),
    ("a namespace made enrolled", _new("more", "mallory"), _new("more", "nina")),
):
    _case("namespaces", 0, title, attack, twin, "it takes the verb enrol on namespaces.mandate.dev")
_case(
    "namespaces",
    1,
    "a word that means nothing, so that nothing would be enforced",
    _enrol(LABELLED, "strict", who="nina"),
    _enrol(LABELLED, "Strict", who="nina"),
    "expected Labelled or Strict",
)
for name in ("mandate-system", "kube-system"):
    _case(
        "namespaces",
        2,
        f"{name} enrolled, so that it waits for itself",
        _enrol(name, "Strict", who="nina"),
        _enrol(OPEN, "Strict", who="nina"),
        "would wait for themselves",
    )
