"""What the chart renders, by Helm itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from mandate.admission.chart import documents
from mandate.admission.policy import Actors
from mandate.api.check import load_spec
from mandate.controller import __main__ as controller
from mandate.controller.pods import evaluation_template
from mandate.controller.settings import Images, Settings
from mandate.evidence.measurement import evaluation_spec
from mandate.recorder.__main__ import parse
from tests.integration.chart.conftest import Helm
from tests.unit.controller.samples import SPEC

CHART = "helm/mandate"
VALUES = ("-f", "helm/mandate/ci/example-values.yaml")
Object = dict[str, Any]


def render(helm: Helm, *more: str) -> list[Object]:
    text = helm("template", "mandate", CHART, "--namespace", "mandate-system", *VALUES, *more)
    return [document for document in yaml.safe_load_all(text) if document]


def by_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def operator_pod(objects: list[Object]) -> Object:
    return pod_of(objects, "mandate-controller")


def pod_of(objects: list[Object], name: str) -> Object:
    (deployment,) = [item for item in by_kind(objects, "Deployment") if item["metadata"]["name"] == name]
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
    ("setting", "named"),
    [
        ("controller.replica=2", "replica"),
        ("images.controller.digest=latest", "images.controller.digest"),
        ("images.judge.digest=sha256:12", "images.judge.digest"),
        ("images.controller.tag=1", "tag"),
        ("images.controller.repository=Mandate", "images.controller.repository"),
        ("images.pullSecrets={a b}", "images.pullSecrets.0"),
        ("controller.logFormat=xml", "controller.logFormat"),
        ("admission.allowedImages={registry.example/agent:1}", "admission.allowedImages.0"),
        ("watch.namespaces={A}", "watch.namespaces.0"),
        ("controller.replicas=-1", "controller.replicas"),
        ("controller.replicas=two", "controller.replicas"),
        ("controller.workers=0", "controller.workers"),
        ("controller.resync=-300", "controller.resync"),
        ("controller.leaderElection.retryPeriod=-2", "controller.leaderElection.retryPeriod"),
        ("controller.resources.limits.memory=lots", "controller.resources.limits.memory"),
        ("controller.resources.requests.cpu=-1", "controller.resources.requests.cpu"),
        ("evaluation.deadline=-1", "evaluation.deadline"),
        ("evaluation.maxAttempts=0", "evaluation.maxAttempts"),
        ("evaluation.judge.memory=2 GB", "evaluation.judge.memory"),
        ("evaluation.judge.cpu=two", "evaluation.judge.cpu"),
        ("evaluation.dask.schedulers={http://scheduler.dask:8787}", "evaluation.dask.schedulers.0"),
        ("evaluation.dask.schedulers={tcp://scheduler.dask}", "evaluation.dask.schedulers.0"),
        ("networkPolicy.apiServerPorts={0}", "networkPolicy.apiServerPorts.0"),
        ("anything=1", "anything"),
    ],
)
def test_values_that_mean_nothing_are_refused(helm: Helm, setting: str, named: str) -> None:
    with pytest.raises(RuntimeError, match="values don't meet the specifications of the schema") as refused:
        render(helm, "--set", setting)
    said = str(refused.value).replace("/", ".")
    assert named in said.split("mandate:")[-1], said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("evaluation.judge.memory=255Mi", "evaluation.judge.memory: got 255Mi, expected at least 256Mi"),
        ("evaluation.judge.memory=262143Ki", "evaluation.judge.memory: got 262143Ki, expected at least 256Mi"),
        ("evaluation.judge.cpu=99m", "evaluation.judge.cpu: got 99m, expected at least 100m"),
        ("evaluation.judge.cpu=0.05", "evaluation.judge.cpu: got 0.05, expected at least 100m"),
        (
            "controller.leaderElection.renewDeadline=10",
            "controller.leaderElection.renewDeadline: got 10, expected less than leaseDuration, which is 10",
        ),
        (
            "controller.leaderElection.retryPeriod=6",
            "controller.leaderElection.retryPeriod: got 6, expected less than renewDeadline, which is 6",
        ),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(helm: Helm, setting: str, words: str) -> None:
    with pytest.raises(RuntimeError) as refused:
        render(helm, "--set-string" if ".judge." in setting else "--set", setting)
    assert words in str(refused.value)


@pytest.mark.parametrize("setting", ["memory=256Mi", "memory=268435456", "memory=1Ti", "cpu=100m", "cpu=0.1", "cpu=1"])
def test_the_judge_may_have_as_little_as_it_requests(helm: Helm, setting: str) -> None:
    assert operator_pod(render(helm, "--set-string", f"evaluation.judge.{setting}"))


def test_the_checks_know_what_the_judge_requests(helm: Helm) -> None:
    """The limits that the chart refuses are those below the container's own requests."""
    image = "x@sha256:" + "1" * 64
    settings = Settings(images=Images(fetch=image, judge=image, predictor=image))
    asked = evaluation_spec("credit", load_spec(SPEC))
    template = evaluation_template(job="j", namespace="n", evaluation="e", spec=asked, settings=settings)
    (judge,) = template["spec"]["containers"]
    assert judge["resources"]["requests"] == {"cpu": "100m", "memory": "256Mi"}


def test_evaluations_use_those_dask_schedulers_only_that_are_named(helm: Helm) -> None:
    """And find them where the cluster's name servers listen."""
    for values, expected, ports in (
        ((), (), (53, 1053, 5353)),
        (
            (
                *("--set", "evaluation.dask.schedulers={tcp://scheduler.dask:8786,tls://10.0.0.7:8786}"),
                *("--set", "networkPolicy.dnsPorts={53,8053}"),
            ),
            ("tcp://scheduler.dask:8786", "tls://10.0.0.7:8786"),
            (53, 8053),
        ),
    ):
        (container,) = operator_pod(render(helm, *values))["containers"]
        environment = {item["name"]: item.get("value", "x") for item in container["env"]}
        settings = controller.parse([], environment).settings
        assert (settings.dask_schedulers, settings.dns_ports) == (expected, ports)


@pytest.mark.parametrize("name", ["mandate-controller", "mandate-recorder"])
def test_everything_runs_restricted_and_by_digest(helm: Helm, name: str) -> None:
    pod = pod_of(render(helm, "--set", "recorder.enabled=true"), name)
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


def test_without_a_recorder_nothing_of_it_is_there(helm: Helm) -> None:
    objects = render(helm)
    assert not [item for item in objects if "recorder" in item["metadata"]["name"]]
    environment = {item["name"]: item.get("value") for item in operator_pod(objects)["containers"][0]["env"]}
    assert environment["MANDATE_RECORDER_URL"] == ""


def test_a_recorder_may_keep_its_file_on_a_claim_that_is_there(helm: Helm) -> None:
    objects = render(helm, "--set", "recorder.enabled=true", "--set", "recorder.storage.existingClaim=mine")
    assert "PersistentVolumeClaim" not in {item["kind"] for item in objects}
    (volume,) = [item for item in pod_of(objects, "mandate-recorder")["volumes"] if item["name"] == "data"]
    assert volume["persistentVolumeClaim"] == {"claimName": "mine"}


def test_a_recorder_is_one_process_with_a_volume_that_stays(helm: Helm) -> None:
    more = ("--set", "recorder.storage.size=5Gi", "--set", "recorder.storage.className=fast")
    objects = render(helm, "--set", "recorder.enabled=true", "--set", "recorder.keepDays=90", *more)
    mine = {item["kind"]: item for item in objects if item["metadata"]["name"] == "mandate-recorder"}
    assert set(mine) == {"Deployment", "PersistentVolumeClaim", "Service", "NetworkPolicy"}
    assert mine["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert mine["Deployment"]["spec"]["replicas"] == 1
    pod = pod_of(objects, "mandate-recorder")
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] > 10, "longer than requests under way are given"
    (container,) = pod["containers"]
    environment = {item["name"]: item["value"] for item in container["env"]}
    options = parse([], environment)
    (data,) = [mount for mount in container["volumeMounts"] if mount["name"] == "data"]
    assert str(options.database.parent) == data["mountPath"]
    assert (options.port, options.keep_days, options.keep_rows) == (8080, 90.0, None)
    claim = mine["PersistentVolumeClaim"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    labels = mine["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for kind, field in (("Service", "selector"), ("NetworkPolicy", "podSelector")):
        chosen = mine[kind]["spec"][field]
        assert labels.items() >= chosen.get("matchLabels", chosen).items()
    (own,) = [item for item in by_kind(objects, "Service") if item["metadata"]["name"] == "mandate-controller"]
    assert not labels.items() >= own["spec"]["selector"].items(), "the operator's Service leads to the operator only"


def test_a_recorder_reaches_nobody_unless_it_replays_and_then_granted_pods_only(helm: Helm) -> None:
    def egress(*more: str) -> list[Any]:
        objects = render(helm, "--set", "recorder.enabled=true", *more)
        (container,) = pod_of(objects, "mandate-recorder")["containers"]
        options = parse([], {item["name"]: item["value"] for item in container["env"]})
        assert options.replay is ("recorder.replay=true" in more)
        policies = by_kind(objects, "NetworkPolicy")
        (policy,) = [item for item in policies if item["metadata"]["name"] == "mandate-recorder"]
        found: list[Any] = policy["spec"]["egress"]
        return found

    assert egress() == []
    watched = ("--set", "watch.namespaces={lending}")
    dns, pods = egress("--set", "recorder.replay=true", *watched)
    assert {(item["port"], item["protocol"]) for item in dns["ports"]} >= {(53, "UDP"), (53, "TCP")}
    assert "to" not in dns
    (way,) = pods["to"]
    assert way["podSelector"]["matchExpressions"] == [{"key": "mandate.dev/revision", "operator": "Exists"}]
    assert way["namespaceSelector"]["matchExpressions"] == [
        {"key": "mandate.dev/enforce", "operator": "Exists"},
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["lending"]},
    ]


def test_the_operator_is_told_where_the_recorder_is_and_may_reach_it(helm: Helm) -> None:
    objects = render(helm, "--set", "recorder.enabled=true", "--set", "recorder.askEvery=5")
    environment = {item["name"]: item.get("value") for item in operator_pod(objects)["containers"][0]["env"]}
    assert environment["MANDATE_RECORDER_URL"] == "http://mandate-recorder.mandate-system:8080"
    assert environment["MANDATE_LIVE_EVERY"] == "5"
    (policy,) = [item for item in by_kind(objects, "NetworkPolicy") if item["metadata"]["name"] == "mandate-controller"]
    (way,) = [rule["to"] for rule in policy["spec"]["egress"] if "to" in rule and "ports" in rule]
    (pods,) = [item["podSelector"]["matchLabels"] for item in way]
    (recorder,) = [item for item in by_kind(objects, "Deployment") if item["metadata"]["name"] == "mandate-recorder"]
    assert recorder["spec"]["template"]["metadata"]["labels"].items() >= pods.items()


def test_orders_for_replays_are_the_operators_alone(helm: Helm) -> None:
    """Whoever serves may tell the recorder what it answered, and not have it ask for people's requests."""
    for more, switched_on in (((), False), (("--set", "recorder.replay=true"), True)):
        clients = ("--set-json", 'recorder.clients=[{"podSelector": {}}]')
        objects = render(helm, "--set", "recorder.enabled=true", *clients, *more)
        environment = {item["name"]: item.get("value") for item in operator_pod(objects)["containers"][0]["env"]}
        named = {item["metadata"]["name"]: item for item in by_kind(objects, "NetworkPolicy")}
        (container,) = pod_of(objects, "mandate-recorder")["containers"]
        listening = {port["name"]: port["containerPort"] for port in container["ports"]}
        (service,) = [item for item in by_kind(objects, "Service") if item["metadata"]["name"] == "mandate-recorder"]
        opened = {port["targetPort"]: port["port"] for port in service["spec"]["ports"]}
        ways = [rule for rule in named["mandate-recorder"]["spec"]["ingress"] for port in rule["ports"]]
        assert all(len(rule["ports"]) == 1 and rule["from"] for rule in ways)
        into = {rule["ports"][0]["port"]: rule["from"] for rule in ways}
        (out,) = [rule for rule in named["mandate-controller"]["spec"]["egress"] if "to" in rule and "ports" in rule]
        ports = {"http", "orders"} if switched_on else {"http"}
        assert set(listening) == set(opened) == set(into) == {each["port"] for each in out["ports"]} == ports
        options = parse([], {item["name"]: item["value"] for item in container["env"]})
        if not switched_on:
            assert environment["MANDATE_RECORDER_ORDERS_URL"] == ""
            continue
        assert listening["orders"] == opened["orders"] == options.orders_port
        url = f"http://mandate-recorder.mandate-system:{opened['orders']}"
        assert environment["MANDATE_RECORDER_ORDERS_URL"] == url
        (deployment,) = [item for item in by_kind(objects, "Deployment") if "recorder" not in item["metadata"]["name"]]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        # No namespaceSelector: Pods of the operator's own namespace.
        assert into["orders"] == [{"podSelector": {"matchLabels": labels}}]


def test_no_rule_is_a_wildcard_and_none_reads_secrets_or_lends_powers(helm: Helm) -> None:
    for item in render(helm):
        for rule in item.get("rules") or ():
            listed = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in listed, (item["metadata"]["name"], rule)
            assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]


AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
VERBS = {"operate": {"pause", "resume", "abort", "retry", "promote", "rollback", "drill"}, "halt": {"halt"}}


def test_verbs_have_roles_that_may_patch_and_not_update(helm: Helm) -> None:
    for aggregate in (True, False):
        objects = render(helm, "--set", f"rbac.aggregate={str(aggregate).lower()}")
        roles = {item["metadata"]["name"]: item for item in by_kind(objects, "ClusterRole")}
        for name, verbs in VERBS.items():
            (rule,) = roles[f"mandate-{name}"]["rules"]
            assert (rule["apiGroups"], rule["resources"]) == (["mandate.dev"], ["modeldeployments"])
            assert set(rule["verbs"]) == {"get", "list", "watch", "patch"} | verbs
            labels = roles[f"mandate-{name}"]["metadata"]["labels"]
            into = [role for role in ("view", "edit", "admin") if f"{AGGREGATE}{role}" in labels]
            assert into == (["edit", "admin"] if aggregate else [])


def test_watching_some_namespaces_takes_roles_there_only(helm: Helm) -> None:
    objects = render(helm, "--set", "watch.namespaces={lending,vault}")
    (role,) = [item for item in by_kind(objects, "ClusterRole") if item["metadata"]["name"] == "mandate-controller"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["list", "watch"]},
    ]
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


def test_rights_on_inference_services_come_with_kserve_only(helm: Helm) -> None:
    def asked(*values: str) -> tuple[str, list[str]]:
        objects = render(helm, *values)
        (deployment,) = by_kind(objects, "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (told,) = [item["value"] for item in container["env"] if item["name"] == "MANDATE_KSERVE"]
        roles = [*by_kind(objects, "ClusterRole"), *by_kind(objects, "Role")]
        rules = [(role, rule) for role in roles for rule in role["rules"]]
        return told, [role["kind"] for role, rule in rules if "serving.kserve.io" in rule.get("apiGroups", ())]

    assert asked() == ("false", [])
    assert asked("--set", "kserve.enabled=true") == ("true", ["ClusterRole"])
    some = asked("--set", "kserve.enabled=true", "--set", "watch.namespaces={lending,vault}")
    assert some == ("true", ["Role", "Role"])


def test_drills_open_the_way_to_pods_of_enrolled_namespaces_and_only_as_asked(helm: Helm) -> None:
    def ways(*values: str) -> tuple[str, list[object]]:
        objects = render(helm, *values)
        policies = by_kind(objects, "NetworkPolicy")
        (policy,) = [item for item in policies if item["metadata"]["name"] == "mandate-controller"]
        (deployment,) = by_kind(objects, "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (told,) = [item["value"] for item in container["env"] if item["name"] == "MANDATE_DRILLS"]
        return told, [rule for rule in policy["spec"]["egress"] if "ports" not in rule]

    assert ways() == ("false", [])
    enrolled = {"key": "mandate.dev/enforce", "operator": "Exists"}
    every = ways("--set", "drills.enabled=true")
    assert every == ("true", [{"to": [{"namespaceSelector": {"matchExpressions": [enrolled]}}]}])
    watched = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["lending", "vault"]}
    some = ways("--set", "drills.enabled=true", "--set", "watch.namespaces={lending,vault}")
    assert some == ("true", [{"to": [{"namespaceSelector": {"matchExpressions": [enrolled, watched]}}]}])


def test_verdicts_are_off_until_asked_for_and_only_then_may_others_reach_them(helm: Helm) -> None:
    def pods(app: str) -> dict[str, object]:
        return {"podSelector": {"matchLabels": {"app": app}}}

    for enabled, apps in ((False, ["prometheus"]), (True, ["prometheus", "rollouts"])):
        asked = {
            "verdicts": {"enabled": enabled, "clients": [pods("rollouts")]},
            "networkPolicy.metricsFrom": [pods("prometheus")],
        }
        more = (part for at, value in asked.items() for part in ("--set-json", f"{at}={json.dumps(value)}"))
        objects = render(helm, *more)
        environment = {item["name"]: item.get("value") for item in operator_pod(objects)["containers"][0]["env"]}
        assert environment["MANDATE_VERDICTS"] == str(enabled).lower()
        policies = by_kind(objects, "NetworkPolicy")
        (policy,) = [item for item in policies if item["metadata"]["name"] == "mandate-controller"]
        (rule,) = policy["spec"]["ingress"]
        assert rule["from"] == [pods(app) for app in apps]
