"""Install, upgrade, roll back, uninstall on a real API server. Pods are created, but no kubelet runs them here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.admission.api import Api, Refused, connect, eventually
from tests.integration.chart.conftest import ROOT, Helm

CHART = "helm/mandate"
VALUES = ("-f", "helm/mandate/ci/example-values.yaml")
NAMESPACE = "mandate-system"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:mandate-controller"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "mandate-controller", "namespace": NAMESPACE},
}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "modeldeployments.mandate.dev"},
}
POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "pods.mandate.dev"},
}

# What the operator does (its controller contract), and some of what it never does.
MAY = {
    "mandate.dev": {
        "modeldeployments": "get list watch",
        "modelevaluations": "get list watch create patch delete",
        "autonomygrants": "get list watch create update patch delete",
        "modeldeployments/status": "get update patch",
        "modelevaluations/status": "get update patch",
    },
    "batch": {"jobs": "get list watch create patch delete"},
    "apps": {
        "deployments": "get list watch create patch delete",
        "controllerrevisions": "get list watch create patch delete",
    },
    "networking.k8s.io": {"networkpolicies": "get list watch create patch delete"},
    "events.k8s.io": {"events": "get create patch"},
    "": {
        "pods": "get list watch",
        "pods/log": "get",
        "services": "get list watch create patch delete",
        "configmaps": "get list watch create patch delete",
        "namespaces": "get list watch",
    },
}
MAY_NOT = {
    "": {
        "secrets": "get list watch",
        "pods": "create delete patch",
        "pods/exec": "create",
        "namespaces": "create update patch delete",
        "serviceaccounts/token": "create",
    },
    "mandate.dev": {"modeldeployments": "create update patch delete", "namespaces": "enrol"},
    "admissionregistration.k8s.io": {"validatingadmissionpolicies": "get update delete"},
    "rbac.authorization.k8s.io": {"clusterroles": "create update escalate bind"},
}


@pytest.fixture(scope="module")
def api(chart_cluster: Path, helm: Helm) -> Api:
    """A cluster where the release `mandate` is installed, in a namespace that only takes restricted Pods."""
    admin = connect(chart_cluster)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    helm("install", "mandate", CHART, "--namespace", NAMESPACE, *VALUES, kubeconfig=chart_cluster)
    return admin


def allowed(api: Api, group: str, resource: str, verb: str, *, namespace: str, user: str = OPERATOR) -> bool:
    name, _, sub = resource.partition("/")
    attributes = {"group": group, "resource": name, "subresource": sub, "verb": verb, "namespace": namespace}
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_the_operators_pod_is_admitted_as_restricted(api: Api) -> None:
    like = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": NAMESPACE}}
    pods = eventually(lambda: api.list(like, "app.kubernetes.io/name=mandate") or None)
    volumes = [volume["name"] for volume in pods[0]["spec"]["volumes"]]
    assert any(name.startswith("kube-api-access-") for name in volumes), "it needs its token"


@pytest.mark.parametrize("group", MAY)
def test_the_operator_may_do_its_work(api: Api, group: str) -> None:
    asked = [(resource, verb) for resource, verbs in MAY[group].items() for verb in verbs.split()]
    assert [each for each in asked if not allowed(api, group, *each, namespace="lending")] == []


@pytest.mark.parametrize("group", MAY_NOT)
def test_the_operator_may_do_nothing_else(api: Api, group: str) -> None:
    asked = [(resource, verb) for resource, verbs in MAY_NOT[group].items() for verb in verbs.split()]
    assert [each for each in asked if allowed(api, group, *each, namespace="lending")] == []


def test_the_lease_is_its_own(api: Api) -> None:
    for verb in ("create", "get"):
        assert not allowed(api, "coordination.k8s.io", "leases", verb, namespace="lending")
    assert allowed(api, "coordination.k8s.io", "leases", "create", namespace=NAMESPACE)
    operator = api.acting_as(OPERATOR)
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "mandate-controller", "namespace": NAMESPACE},
        "spec": {"holderIdentity": "a"},
    }
    operator.create(lease)
    operator.merge(lease, {"spec": {"holderIdentity": "b"}})
    api.delete(lease)


def test_kubernetes_own_roles_take_up_the_kinds(api: Api) -> None:
    for role, verbs, may in (
        ("view", "get", True),
        ("view", "create", False),
        ("view", "halt", False),
        ("edit", "create", True),
        ("edit", "promote", True),
        ("edit", "halt", True),
    ):
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"test-{role}", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": f"{role}er", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        api.apply(binding)

        def as_expected(verb: str = verbs, user: str = f"{role}er", may: bool = may) -> bool | None:
            asked = allowed(api, "mandate.dev", "modeldeployments", verb, namespace="default", user=user)
            return True if asked is may else None

        eventually(as_expected)
    for resource, verb in (
        ("autonomygrants", "update"),
        ("modelevaluations", "create"),
        ("modelevaluations", "delete"),
    ):
        assert not allowed(api, "mandate.dev", resource, verb, namespace="default", user="editer")


def test_upgrade_roll_back_uninstall_and_install_again(api: Api, chart_cluster: Path, helm: Helm) -> None:
    def release(*arguments: str) -> None:
        helm(*arguments, "--namespace", NAMESPACE, kubeconfig=chart_cluster)

    def replicas() -> int:
        return int(api.get(DEPLOYMENT)["spec"]["replicas"])

    model = yaml.safe_load((ROOT / "examples" / "minimal.yaml").read_text())
    model["metadata"]["namespace"] = "default"
    api.create(model)

    release("upgrade", "mandate", CHART, *VALUES, "--set", "controller.replicas=2")
    assert replicas() == 2
    release("rollback", "mandate", "1")
    assert replicas() == 1
    release("uninstall", "mandate")
    for document in (DEPLOYMENT, POLICY):
        with pytest.raises(Refused, match="not found"):
            api.get(document)
    assert api.get(CRD), "kept"
    assert api.get(model)["spec"]["model"]["version"] == "1", "kept"

    release("install", "mandate", CHART, *VALUES)
    assert replicas() == 1
    assert api.get(POLICY)
