"""The cluster that attackers and people with rights act in: namespaces, users, one granted model, one evaluation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mandate.admission.chart import documents, policies
from mandate.admission.policy import Actors
from mandate.admission.template import granted
from mandate.api.names import API_VERSION
from tests.integration.admission.api import Api, Object, Refused, eventually

ROOT = Path(__file__).parents[3]
ACTORS = Actors(operator="system:serviceaccount:mandate-system:mandate-controller", operator_namespace="mandate-system")
POLICIES = {policy.name: policy for policy in policies(ACTORS)}

LABELLED, STRICT, OPEN, BARE = "lending", "vault", "open", "bare"
"""Enrolled as Labelled, as Strict, not enrolled; and Labelled without a grant."""
REVISION = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
JOB = "mandate-eval-00112233445566aa"
WORKLOAD = f"credit-{REVISION[:10]}"
PREDICTOR = "registry.example/mandate/predictor@sha256:" + "1" * 64
JUDGE = "registry.example/mandate/judge@sha256:" + "2" * 64
AGENT = "registry.example/tools/agent@sha256:" + "3" * 64
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


def serving_template(*, token: bool = False) -> Object:
    """A template as the operator writes it; the API server fills in the rest."""
    return {
        "metadata": {
            "labels": {"mandate.dev/model": "credit", "mandate.dev/revision": REVISION},
            "annotations": {"mandate.dev/model-digest": DIGEST},
        },
        "spec": {
            "automountServiceAccountToken": token,
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
                    "image": PREDICTOR,
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


def grant(namespace: str, spec: Object) -> Object:
    """An AutonomyGrant."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AutonomyGrant",
        "metadata": {"name": "mandate", "namespace": namespace},
        "spec": spec,
    }


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
    """Holds Kubernetes' own `edit` role in every namespace, and may write ModelDeployments."""
    serving: Object
    """A managed Pod in the Labelled namespace, made by the real controllers."""
    evaluating: Object
    """An evaluation Pod in the Labelled namespace, made by the real Job controller."""
    bystander: Object
    """A Pod without our labels in the Labelled namespace."""
    strict_bystander: Object
    """A Pod with an allowed image in the Strict namespace."""

    def managed(self, namespace: str = LABELLED) -> Object:
        """A Pod as the ReplicaSet controller makes it from the granted template."""
        template = serving_template()
        template["metadata"]["labels"]["pod-template-hash"] = "5d4f8c7b9"
        metadata = {"generateName": f"{WORKLOAD}-5d4f8c7b9-", "namespace": namespace} | template["metadata"]
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

    def bound(role: str, user: str, namespace: str | None) -> Object:
        metadata = {"name": f"{role}-{user}"} | ({"namespace": namespace} if namespace else {})
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
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
    return [
        role("test-everything", everything),
        role("test-namespaces", on_namespaces),
        role("test-models", models),
        role("test-enrol", enrol),
        bound("test-namespaces", "mallory", None),
        bound("test-namespaces", "nina", None),
        bound("test-enrol", "nina", None),
        # The operator's rights are the chart's, tested with the chart; here only policies are in question.
        bound("cluster-admin", ACTORS.operator, None),
        *(bound("test-everything", "mallory", namespace) for namespace in namespaces),
        *(bound("edit", "alice", namespace) for namespace in namespaces),
        *(bound("test-models", "alice", namespace) for namespace in namespaces),
        *(bound("test-models", "bob", namespace) for namespace in namespaces),
        bound("test-everything", "mallory", "mandate-system"),
    ]


def build(admin: Api) -> World:
    """Install CRDs and policies, create namespaces, users, a grant, and what the real controllers make of it."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        admin.apply(yaml.safe_load(file.read_text()))
    eventually(lambda: admin.request("GET", f"/apis/{API_VERSION}/autonomygrants"))
    enrolments = {LABELLED: "Labelled", STRICT: "Strict", OPEN: "", BARE: "Labelled", "mandate-system": ""}
    for name, mode in enrolments.items():
        labels = {"mandate.dev/enforce": mode} if mode else {}
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for document in _users((LABELLED, STRICT, OPEN, BARE)):
        admin.apply(document)
    install_policies(admin)
    operator = admin.acting_as(ACTORS.operator, "system:serviceaccounts", "system:serviceaccounts:mandate-system")
    template = granted(
        operator.rehearsing().create(deployment(LABELLED))["spec"]["template"],
    )
    job = granted(operator.rehearsing().create(evaluation_job(LABELLED))["spec"]["template"])
    entry = {
        "model": "credit",
        "level": "Suggest",
        "modelDigest": DIGEST,
        "evaluation": "credit-1",
        "template": template,
    }
    for namespace in (LABELLED, STRICT):
        operator.apply(
            grant(
                namespace,
                {
                    "models": ["credit"],
                    "allowedImages": [AGENT],
                    "grants": {REVISION: entry | {"template": template}},
                    "evaluations": {JOB: {"model": "credit", "template": job}},
                },
            )
        )
    bystander = plain_pod(LABELLED, AGENT, name="bystander")
    strict_bystander = plain_pod(STRICT, AGENT, name="bystander")
    for pod in (bystander, strict_bystander):
        eventually(lambda pod=pod: admin.apply(pod))  # type: ignore[misc]
    _wait_until_enforced(admin)
    operator.create(deployment(LABELLED))
    operator.create(evaluation_job(LABELLED))
    return World(
        admin=admin,
        operator=operator,
        mallory=admin.acting_as("mallory"),
        alice=admin.acting_as("alice"),
        serving=eventually(lambda: _one_pod(admin, f"mandate.dev/revision={REVISION}")),
        evaluating=eventually(lambda: _one_pod(admin, f"mandate.dev/evaluation={JOB}")),
        bystander=admin.get(bystander),
        strict_bystander=admin.get(strict_bystander),
    )


def _one_pod(admin: Api, selector: str) -> Object | None:
    pods = admin.list({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": LABELLED}}, selector)
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
