"""What the chart renders, by Helm itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from mandate.admission.chart import documents
from mandate.admission.policy import Actors
from tests.integration.chart.conftest import Helm

CHART = "helm/mandate"
VALUES = ("-f", "helm/mandate/ci/example-values.yaml")
Object = dict[str, Any]


def render(helm: Helm, *more: str) -> list[Object]:
    text = helm("template", "mandate", CHART, "--namespace", "mandate-system", *VALUES, *more)
    return [document for document in yaml.safe_load_all(text) if document]


def by_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def operator_pod(objects: list[Object]) -> Object:
    (deployment,) = by_kind(objects, "Deployment")
    return dict(deployment["spec"]["template"]["spec"])


def test_lint(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, *VALUES)


def test_policies_are_those_of_the_source(helm: Helm) -> None:
    """Rendering changes the actors' names and adds labels, nothing else."""
    operator = "system:serviceaccount:mandate-system:mandate-controller"
    expected = {
        (document["kind"], document["metadata"]["name"]): document["spec"]
        for document in documents(Actors(operator=operator, operator_namespace="mandate-system"))
    }
    rendered = {
        (item["kind"], item["metadata"]["name"]): item["spec"]
        for item in render(helm)
        if item["kind"].startswith("ValidatingAdmissionPolicy")
    }
    assert rendered == expected


def test_policies_follow_the_service_account(helm: Helm) -> None:
    text = yaml.safe_dump_all(render(helm, "--set", "serviceAccount.name=robot"))
    assert "system:serviceaccount:mandate-system:robot" in text
    assert "system:serviceaccount:mandate-system:mandate-controller" not in text


def test_an_image_without_digest_is_refused_in_words(helm: Helm) -> None:
    with pytest.raises(RuntimeError, match=r"images\.controller\.digest is needed: sha256:… of the image to run"):
        helm("template", "mandate", CHART)


@pytest.mark.parametrize(
    "setting",
    [
        "controller.replica=2",
        "images.controller.digest=latest",
        "images.controller.tag=1",
        "controller.logFormat=xml",
        "admission.allowedImages={registry.example/agent:1}",
        "controller.replicas=-1",
        "networkPolicy.apiServerPorts={0}",
        "anything=1",
    ],
)
def test_values_that_mean_nothing_are_refused(helm: Helm, setting: str) -> None:
    with pytest.raises(RuntimeError, match="values don't meet the specifications of the schema"):
        render(helm, "--set", setting)


def test_the_operator_runs_restricted_and_by_digest(helm: Helm) -> None:
    pod = operator_pod(render(helm))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert re.fullmatch(r"mandate/controller@sha256:[0-9a-f]{64}", container["image"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)


def test_values_reach_the_operator(helm: Helm) -> None:
    image = "registry.example/agent@sha256:" + "a" * 64
    pod = operator_pod(
        render(
            helm,
            *("--set", f"admission.allowedImages={{{image}}}"),
            *("--set", "watch.namespaces={lending,vault}"),
            *("--set", "evaluation.deadline=604800"),
            *("--set", "images.registry=registry.example/team"),
        )
    )
    (container,) = pod["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert container["image"].startswith("registry.example/team/mandate/controller@sha256:")
    assert environment["MANDATE_ALLOWED_IMAGES"] == image
    assert environment["MANDATE_NAMESPACES"] == "lending,vault"
    assert environment["MANDATE_EVALUATION_DEADLINE"] == "604800"
    assert environment["MANDATE_JUDGE_IMAGE"] == "registry.example/team/mandate/judge@sha256:" + "2" * 64


def test_no_rule_is_a_wildcard_and_none_reads_secrets_or_lends_powers(helm: Helm) -> None:
    for item in render(helm):
        for rule in item.get("rules") or ():
            listed = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in listed, (item["metadata"]["name"], rule)
            assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]


def test_watching_some_namespaces_takes_roles_there_only(helm: Helm) -> None:
    objects = render(helm, "--set", "watch.namespaces={lending,vault}")
    (role,) = [item for item in by_kind(objects, "ClusterRole") if item["metadata"]["name"] == "mandate-controller"]
    assert role["rules"] == [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]}]
    namespaces = {item["metadata"].get("namespace") for item in by_kind(objects, "RoleBinding")}
    assert {"lending", "vault"} <= namespaces


def test_replicas_bring_a_disruption_budget_and_spread(helm: Helm) -> None:
    one, two = render(helm), render(helm, "--set", "controller.replicas=2")
    assert not by_kind(one, "PodDisruptionBudget")
    assert by_kind(two, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"] == 1
    assert "topologySpreadConstraints" not in operator_pod(one)
    assert operator_pod(two)["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"


def test_crds_come_with_the_chart_and_stay(helm: Helm) -> None:
    crds = by_kind(render(helm), "CustomResourceDefinition")
    assert len(crds) == 3
    for crd in crds:
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not by_kind(render(helm, "--set", "crds.install=false"), "CustomResourceDefinition")
