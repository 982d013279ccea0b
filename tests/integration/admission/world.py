"""The cluster that attackers and people with rights act in: namespaces, users, one granted model, one evaluation."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mandate.admission.chart import documents, policies
from mandate.admission.policy import Actors
from mandate.admission.template import granted
from mandate.api.names import API_VERSION
from mandate.rollout.gateway import assignment
from tests.integration.admission.api import Api, Object, Refused, eventually

ROOT = Path(__file__).parents[3]
ACTORS = Actors(operator="system:serviceaccount:mandate-system:mandate-controller", operator_namespace="mandate-system")
POLICIES = {policy.name: policy for policy in policies(ACTORS)}

LABELLED, STRICT, OPEN, BARE = "lending", "vault", "open", "bare"
"""Enrolled as Labelled, as Strict, not enrolled; and Labelled without a grant."""
REVISION = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
TOKEN_REVISION = "1" + REVISION[1:]
"""Its Pods get a service account's token."""
TAGGED_REVISION = "2" + REVISION[1:]
"""A grant as no operator writes it: with an image by tag."""
EXTERNAL_REVISION = "3" + REVISION[1:]
"""Somebody else's workloads run it."""
JOB = "mandate-eval-00112233445566aa"
WORKLOAD = f"credit-{REVISION[:10]}"
PREDICTOR = "registry.example/mandate/predictor@sha256:" + "1" * 64
JUDGE = "registry.example/mandate/judge@sha256:" + "2" * 64
AGENT = "registry.example/tools/agent@sha256:" + "3" * 64
TAGGED = "registry.example/mandate/predictor:latest"
EVIL = "registry.example/evil/model@sha256:" + "6" * 64
DIGEST = "sha256:" + "4" * 64
REPLICASETS = "system:serviceaccount:kube-system:replicaset-controller"
LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def serving_template(*, revision: str = REVISION) -> Object:
    """A template as the operator writes it; the API server fills in the rest."""
    return {
        "metadata": {
            "labels": {"mandate.dev/model": "credit", "mandate.dev/revision": revision},
            "annotations": {"mandate.dev/model-digest": DIGEST},
        },
        "spec": {
            "automountServiceAccountToken": revision == TOKEN_REVISION,
            "enableServiceLinks": False,
            "securityContext": {"fsGroup": 65532},
            "initContainers": [
                {
                    "name": "fetch",
                    "image": JUDGE,
                    "command": ["python", "-m", "mandate.evaluate", "fetch-model"],
                    "args": ["--uri", "pvc://models/credit.onnx", "--digest", DIGEST],
                    "securityContext": LOCKED,
                    "volumeMounts": [
                        {"name": "model", "mountPath": "/mandate/model"},
                        {"name": "source-models", "mountPath": "/mandate/sources/models", "readOnly": True},
                    ],
                }
            ],
            "containers": [
                {
                    "name": "predictor",
                    "image": TAGGED if revision == TAGGED_REVISION else PREDICTOR,
                    "args": ["--model-dir", "/mandate/model", "--digest", DIGEST],
                    "env": [
                        {"name": "THREADS", "value": "1"},
                        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    ],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 8080}},
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
                    "securityContext": LOCKED,
                    "volumeMounts": [{"name": "model", "mountPath": "/mandate/model", "readOnly": True}],
                }
            ],
            "volumes": [
                {"name": "model", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "source-models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
            ],
        },
    }


def deployment(namespace: str, *, template: Object | None = None, name: str = WORKLOAD) -> Object:
    """One revision's Deployment."""
    template = template or serving_template()
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"mandate.dev/model": "credit"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": template["metadata"]["labels"]}, "template": template},
    }


def evaluation_job(namespace: str, *, name: str = JOB) -> Object:
    """An evaluation Job as the operator writes it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"mandate.dev/model": "credit", "mandate.dev/evaluation": name},
        },
        "spec": {
            "backoffLimit": 0,
            "manualSelector": True,
            "selector": {"matchLabels": {"mandate.dev/evaluation": name}},
            "template": {
                "metadata": {"labels": {"mandate.dev/model": "credit", "mandate.dev/evaluation": name}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "initContainers": [
                        {"name": "fetch", "image": JUDGE, "args": ["fetch"]},
                        {"name": "predictor", "image": PREDICTOR, "restartPolicy": "Always"},
                    ],
                    "containers": [{"name": "judge", "image": JUDGE, "args": ["judge"]}],
                },
            },
        },
    }


def batch_labels(*, revision: str = REVISION) -> Object:
    """What a Pod that scores batches carries of ours."""
    return {"mandate.dev/model": "credit", "mandate.dev/batch": revision}


def batch_job(namespace: str, *, revision: str = REVISION, autonomy: str = "Suggest") -> Object:
    """A Job that scores batches, as `kubectl mandate batch` prints it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "credit-batch-1", "namespace": namespace, "labels": {"app": "credit-batch"}},
        "spec": {
            "template": {
                "metadata": {
                    "labels": batch_labels(revision=revision),
                    "annotations": {"mandate.dev/model-digest": DIGEST, "mandate.dev/autonomy": autonomy},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "initContainers": [{"name": "predictor", "image": PREDICTOR, "restartPolicy": "Always"}],
                    "containers": [{"name": "score", "image": JUDGE, "command": ["score", "--autonomy", autonomy]}],
                },
            },
        },
    }


def grant(namespace: str, spec: Object) -> Object:
    """An AutonomyGrant."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AutonomyGrant",
        "metadata": {"name": "mandate", "namespace": namespace},
        "spec": spec,
    }


def model_deployment(name: str = "credit", namespace: str = LABELLED) -> Object:
    """The shortest ModelDeployment that the examples have."""
    document = yaml.safe_load((ROOT / "examples" / "minimal.yaml").read_text())
    return dict(document) | {"metadata": {"name": name, "namespace": namespace}}


def model_evaluation(name: str = "credit-1", namespace: str = LABELLED) -> Object:
    """A measurement of it."""
    spec = model_deployment()["spec"]
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelEvaluation",
        "metadata": {"name": name, "namespace": namespace, "labels": {"mandate.dev/model": "credit"}},
        "spec": {
            "modelDeployment": "credit",
            "revision": REVISION,
            **{key: spec[key] for key in ("model", "task", "data")},
        },
    }


def service(name: str, selector: dict[str, str], *, labels: dict[str, str] | None = None) -> Object:
    """A Service in the Labelled namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": LABELLED, "labels": labels or {}},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


OURS = {"mandate.dev/model": "credit"}
SUGGEST_SERVICE = service("credit-suggest", OURS | {"mandate.dev/revision": REVISION}, labels=OURS)
EVIDENCE: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "mandate-evidence-1",
        "namespace": LABELLED,
        "labels": OURS | {"mandate.dev/record": "Evidence"},
    },
    "data": {"evidence": "{}"},
}
HISTORY: Object = {
    "apiVersion": "apps/v1",
    "kind": "ControllerRevision",
    "metadata": {"name": WORKLOAD, "namespace": LABELLED, "labels": OURS | {"mandate.dev/record": "Revision"}},
    "revision": 1,
    "data": {"spec": {}},
}
SEAL: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "credit-1", "namespace": LABELLED, "labels": OURS},
    "spec": {"podSelector": {"matchLabels": {"mandate.dev/evaluation": JOB}}, "policyTypes": ["Ingress", "Egress"]},
}


HALTED = model_deployment("halted") | {
    "metadata": {
        "name": "halted",
        "namespace": LABELLED,
        "labels": {"team": "risk"},
        "annotations": {"note": "x"},
    }
}
"""A ModelDeployment whose halt was seen to, and whose pause wasn't yet."""
HALTED_STATUS: Object = {
    "halted": {"by": "henry", "at": "2026-01-01T00:00:00Z"},
    "handled": {"Halt": "1", "Pause": "1", "Promote": "1"},
}


def sharing(name: str = "credit", *, labels: dict[str, str] = OURS) -> Object:
    """The BackendTrafficPolicy that has a model's routes share by entity."""
    document = assignment(name=name, namespace=LABELLED, header="X-Customer")
    return document | {"metadata": document["metadata"] | {"labels": labels}}


def _owned_objects() -> tuple[Object, ...]:
    return SUGGEST_SERVICE, EVIDENCE, HISTORY, SEAL, sharing(), sharing("shop", labels={})


def _envoy_gateways_kind(plural: str) -> Object:
    """The definition that Envoy Gateway itself brings."""
    command = (sys.executable, str(ROOT / "hack" / "cluster"), "gateway", "--definitions")
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    (folder,) = (Path(each) for each in found if Path(each).is_dir())
    return dict(yaml.safe_load((folder / f"gateway.envoyproxy.io_{plural}.yaml").read_text()))


def route(backend: str, *, mirror: str = "", backend_mirror: str = "") -> Object:
    """An HTTPRoute to a Service."""
    mirrors = [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": backend_mirror, "port": 80}}}]
    to = {"name": backend, "port": 80} | ({"filters": mirrors} if backend_mirror else {})
    mirrored = {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": mirror, "port": 80}}}]}
    rule = {"backendRefs": [to]} | (mirrored if mirror else {})
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "way", "namespace": LABELLED},
        "spec": {"rules": [rule]},
    }


def reference_grant(*services: str) -> Object:
    """Routes of another namespace may name these Services; without any, all of them."""
    to = [{"group": "", "kind": "Service", "name": name} for name in services] or [{"group": "", "kind": "Service"}]
    whose = [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "elsewhere"}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "lent", "namespace": LABELLED},
        "spec": {"from": whose, "to": to},
    }


def ingress(backend: str) -> Object:
    """An Ingress to a Service."""
    to = {"service": {"name": backend, "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "way", "namespace": LABELLED},
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": to}]}}]},
    }


def endpoint_slice(service_name: str) -> Object:
    """Endpoints by hand, for a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "by-hand",
            "namespace": LABELLED,
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"name": "http", "port": 8080}],
    }


def inference_service(*, labels: dict[str, str]) -> Object:
    """An InferenceService of KServe's."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "mine", "namespace": LABELLED, "labels": labels},
        "spec": {"predictor": {}},
    }


def foreign_kind(group: str, version: str, kind: str) -> Object:
    """A kind of the Gateway API or of KServe's that takes anything."""
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, the test's stand-in"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }


def someone_elses_service() -> Object:
    """A Service that has nothing to do with models."""
    return service("shop", {"app": "shop"})


def changed(document: Object, change: Callable[[Any], None]) -> Object:
    """A deep copy with `change` made to it."""
    result = copy.deepcopy(document)
    change(result)
    return result


@dataclass(frozen=True)
class World:
    """Who is there, and what exists."""

    admin: Api
    operator: Api
    """The operator's service account."""
    mallory: Api
    """May do everything inside every namespace (a wildcard Role), nothing cluster-wide: what holds against her is a
    policy, never a missing permission."""
    alice: Api
    """Holds Kubernetes' own `edit` role in every namespace, and every verb on ModelDeployments."""
    carol: Api
    """Holds Kubernetes' own `edit` role in every namespace, nothing else."""
    serving: Object
    """A managed Pod in the Labelled namespace, made by the real controllers."""
    evaluating: Object
    """An evaluation Pod in the Labelled namespace, made by the real Job controller."""
    evaluating_outside: Object
    """The same in a namespace that isn't enrolled."""
    bystander: Object
    """A Pod without our labels in the Labelled namespace."""
    external: Object
    """A Pod of somebody else's workload that runs a model."""
    strict_bystander: Object
    """A Pod with an allowed image in the Strict namespace."""

    def managed(self, namespace: str = LABELLED, *, revision: str = REVISION) -> Object:
        """A Pod as the ReplicaSet controller makes it from the granted template."""
        template = serving_template(revision=revision)
        template["metadata"]["labels"]["pod-template-hash"] = "5d4f8c7b9"
        metadata = {"generateName": f"{WORKLOAD}-5d4f8c7b9-", "namespace": namespace} | template["metadata"]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def external_pod(*, serves: str = "Suggest", workload: str = "credit-suggest", name: str = "") -> Object:
    """A Pod as the ReplicaSet controller makes it for Argo Rollouts."""
    template = serving_template(revision=EXTERNAL_REVISION)
    template["metadata"]["labels"] |= {"rollouts-pod-template-hash": "6cf78c66c5", "mandate.dev/serves": serves}
    called = {"name": name} if name else {"generateName": f"{workload}-6cf78c66c5-"}
    metadata = called | {"namespace": LABELLED} | template["metadata"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def plain_pod(namespace: str, image: str, *, name: str) -> Object:
    """A Pod that has nothing to do with models."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": 1},
    }


def install_policies(admin: Api) -> None:
    """Create every policy and binding."""
    for document in documents(ACTORS):
        admin.apply(document)


def _users(namespaces: Iterable[str]) -> list[Object]:
    def role(name: str, rules: list[Object]) -> Object:
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }

    def bound(role: str, user: str, namespace: str | None, *, kind: str = "User") -> Object:
        metadata = {"name": f"{role}-{user}"} | ({"namespace": namespace} if namespace else {})
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": kind, "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        }

    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    on_namespaces = [
        {
            "apiGroups": [""],
            "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
            "verbs": ["get", "create", "update", "patch"],
        }
    ]
    models = [{"apiGroups": ["mandate.dev"], "resources": ["modeldeployments"], "verbs": ["*"]}]
    enrol = [{"apiGroups": ["mandate.dev"], "resources": ["namespaces"], "verbs": ["enrol"]}]

    def on_models(*verbs: str) -> list[Object]:
        return [{"apiGroups": ["mandate.dev"], "resources": ["modeldeployments"], "verbs": ["get", "patch", *verbs]}]

    return [
        role("test-everything", everything),
        role("test-namespaces", on_namespaces),
        role("test-models", models),
        role("test-enrol", enrol),
        role("test-halt", on_models("halt")),
        role("test-update", on_models("update")),
        role("test-resume", on_models("update", "resume")),
        role("test-declare", on_models("create")),
        bound("test-namespaces", "mallory", None),
        bound("test-namespaces", "nina", None),
        bound("test-enrol", "nina", None),
        # The operator's rights are the chart's, tested with the chart; here only policies are in question.
        bound("cluster-admin", ACTORS.operator, None),
        *(bound("test-everything", "mallory", namespace) for namespace in namespaces),
        *(bound("edit", "alice", namespace) for namespace in namespaces),
        *(bound("edit", "carol", namespace) for namespace in namespaces),
        *(bound("test-models", "alice", namespace) for namespace in namespaces),
        *(bound("test-models", "bob", namespace) for namespace in namespaces),
        bound("test-models", "askers", LABELLED, kind="Group"),
        # Henry may halt and nothing else, Erin edits without any verb, Rosa resumes, Dora declares models and doesn't
        # update them. A user with a name that stands for nobody may do everything with models.
        bound("test-halt", "henry", LABELLED),
        bound("test-update", "erin", LABELLED),
        bound("test-resume", "rosa", LABELLED),
        bound("edit", "dora", LABELLED),
        bound("test-declare", "dora", LABELLED),
        bound("test-models", "mandate", LABELLED),
        bound("test-everything", "mallory", "mandate-system"),
    ]


def build(admin: Api) -> World:
    """Install CRDs and policies, create namespaces, users, a grant, and what the real controllers make of it."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        admin.apply(yaml.safe_load(file.read_text()))
    for kind in ("HTTPRoute", "ReferenceGrant"):
        admin.apply(foreign_kind("gateway.networking.k8s.io", "v1", kind))
    admin.apply(foreign_kind("serving.kserve.io", "v1beta1", "InferenceService"))
    admin.apply(_envoy_gateways_kind("backendtrafficpolicies"))
    eventually(lambda: admin.request("GET", f"/apis/{API_VERSION}/autonomygrants"))
    for plural in ("httproutes", "referencegrants"):
        eventually(lambda plural=plural: admin.request("GET", f"/apis/gateway.networking.k8s.io/v1/{plural}"))
    eventually(lambda: admin.request("GET", "/apis/serving.kserve.io/v1beta1/inferenceservices"))
    eventually(lambda: admin.request("GET", "/apis/gateway.envoyproxy.io/v1alpha1/backendtrafficpolicies"))
    enrolments = {LABELLED: "Labelled", STRICT: "Strict", OPEN: "", BARE: "Labelled", "mandate-system": ""}
    for name, mode in enrolments.items():
        labels = {"mandate.dev/enforce": mode} if mode else {}
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for document in _users((LABELLED, STRICT, OPEN, BARE)):
        admin.apply(document)
    install_policies(admin)
    operator = admin.acting_as(ACTORS.operator, "system:serviceaccounts", "system:serviceaccounts:mandate-system")
    rehearsed = {
        revision: operator.rehearsing().create(deployment(LABELLED, template=serving_template(revision=revision)))
        for revision in (REVISION, TOKEN_REVISION, EXTERNAL_REVISION)
    }
    templates = {revision: granted(answer["spec"]["template"]) for revision, answer in rehearsed.items()}
    templates[TAGGED_REVISION] = changed(templates[REVISION], _tag)
    job = granted(operator.rehearsing().create(evaluation_job(LABELLED))["spec"]["template"])
    scoring = granted(operator.rehearsing().create(batch_job(LABELLED))["spec"]["template"])
    scoring["metadata"]["labels"] = batch_labels()  # without those that the API server adds to a Job
    entry = {
        "model": "credit",
        "level": "Suggest",
        "modelDigest": DIGEST,
        "evaluation": "credit-1",
    }
    for namespace in (LABELLED, STRICT):
        operator.apply(
            grant(
                namespace,
                {
                    "models": ["credit"],
                    "allowedImages": [AGENT],
                    "grants": {
                        revision: entry
                        | {"template": template, "external": revision == EXTERNAL_REVISION}
                        | ({"batch": scoring} if revision == REVISION else {})
                        for revision, template in templates.items()
                    },
                    "evaluations": {JOB: {"model": "credit", "template": job}},
                },
            )
        )
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "other", "namespace": LABELLED},
    }
    admin.apply(account)
    bystander = plain_pod(LABELLED, AGENT, name="bystander")
    strict_bystander = plain_pod(STRICT, AGENT, name="bystander")
    for pod in (bystander, strict_bystander):
        eventually(lambda pod=pod: admin.apply(pod))  # type: ignore[misc]
    _wait_until_enforced(admin)
    external = external_pod(name="credit-suggest-6cf78c66c5-x7k2p")
    admin.apply(external)
    operator.create(deployment(LABELLED))
    for namespace in (LABELLED, OPEN):
        operator.create(evaluation_job(namespace))
    existing = [*_owned_objects(), model_deployment(), HALTED, model_evaluation(), someone_elses_service()]
    for document in existing:
        operator.apply(document)
    for user, annotation, value in (("henry", "halt", "1 by henry"), ("bob", "pause", "2 by bob")):
        admin.acting_as(user).merge(HALTED, {"metadata": {"annotations": {f"mandate.dev/{annotation}": value}}})
    operator.merge(HALTED, {"status": HALTED_STATUS}, sub="status")
    return World(
        admin=admin,
        operator=operator,
        mallory=admin.acting_as("mallory"),
        alice=admin.acting_as("alice"),
        carol=admin.acting_as("carol"),
        serving=eventually(lambda: _one_pod(admin, LABELLED, f"mandate.dev/revision={REVISION}")),
        evaluating=eventually(lambda: _one_pod(admin, LABELLED, f"mandate.dev/evaluation={JOB}")),
        evaluating_outside=eventually(lambda: _one_pod(admin, OPEN, f"mandate.dev/evaluation={JOB}")),
        bystander=admin.get(bystander),
        external=admin.get(external),
        strict_bystander=admin.get(strict_bystander),
    )


def _tag(template: Any) -> None:
    template["metadata"]["labels"]["mandate.dev/revision"] = TAGGED_REVISION
    template["spec"]["containers"][0]["image"] = TAGGED


def _one_pod(admin: Api, namespace: str, selector: str) -> Object | None:
    pods = admin.list({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace}}, selector)
    return {"apiVersion": "v1", "kind": "Pod"} | pods[0] if pods else None


def _wait_until_enforced(admin: Api) -> None:
    """Policies are compiled and grants are read in the background: wait for the first refusal and the first pass."""
    rehearsal = admin.rehearsing()
    stranger = changed(
        plain_pod(LABELLED, EVIL, name="stranger"),
        lambda pod: pod["metadata"]["labels"].update({"mandate.dev/model": "credit", "mandate.dev/revision": "x"}),
    )

    def refused() -> bool | None:
        try:
            rehearsal.create(stranger)
        except Refused as error:
            return True if "not granted in namespace" in error.message else None
        return None

    eventually(refused)
