"""What a hostile predictor sees of the labels, and what it can do to the judge: nothing, shown beside what it could.

The predictor is `searching` or `meddling` of images/server.py. Labels and row ids of the table begin with a canary.
One evaluation has a Dask cluster's workers, which an operator allows and its Pod may reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mandate.api.kinds import ModelEvaluationSpec
from mandate.controller.pods import evaluation_template
from mandate.controller.settings import Images, Settings
from tests.e2e import declared
from tests.e2e.cluster import (
    DASK,
    DASK_PORT,
    SYSTEM,
    Cluster,
    Object,
    Space,
    condition,
    eventually,
    like,
    space,
)
from tests.e2e.images.server import CANARY, FORGED, PORTS

LABELS = {label: CANARY + label for label in ("good", "bad")}
REACH = """
import json, socket, sys, time

def reach():
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).close()
        return True
    except OSError:
        return False

end = time.monotonic() + float(sys.argv[3])
while (found := reach()) and time.monotonic() < end:
    time.sleep(0.5)
print(json.dumps({"open": found}))
"""
"""Whether an address can be reached; asks again while it can, since policies take a moment."""
DONE = """
from distributed import Client

def tasks(dask_scheduler):
    return len({step[0] for step in dask_scheduler.transition_log if step[2] == "memory"})

with Client("tcp://127.0.0.1:%d", timeout=30) as client:
    print(client.run_on_scheduler(tasks))
"""
"""How many tasks the workers of the scheduler in this Pod have done."""


@pytest.fixture(scope="module")
def lab(cluster: Cluster) -> Iterator[Space]:
    """A namespace where labels carry a canary, and another Pod would tell it to whoever asks."""
    with space(cluster, "lab", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table(labels=LABELS, ids=CANARY))
        pod, service = declared.bystander(found, "beacon", port=PORTS["beacon"])
        service["spec"]["ports"] = [{"port": PORTS["beacon"], "targetPort": PORTS["beacon"]}]
        for document in (pod, service):
            eventually("the beacon", lambda document=document: found.apply(document), seconds=60)
        eventually("the beacon to be ready", lambda: found.endpoints("beacon") or None, seconds=120)
        for behaviour in ("searching", "meddling", "honest"):
            found.apply(declared.misbehaving(found, behaviour, behaviour, positive=LABELS["bad"]))
        found.apply(_with_dask(found, "tcp://dask.elsewhere.svc:8786"))
        yield found


def _with_dask(lab: Space, address: str) -> Object:
    """The same as `searching`, measured with a Dask cluster's workers."""
    document = declared.misbehaving(lab, "shared", "searching", positive=LABELS["bad"])
    document["spec"]["evaluation"] = {"dask": {"address": address}}
    return document


@pytest.fixture(scope="module")
def dask(cluster: Cluster) -> Iterator[str]:
    """The Pod of a scheduler that the operator allows; it and a worker run the judge's image, as the manual says."""
    service = like("Service", SYSTEM, "dask") | {
        "spec": {"selector": {"app": "dask-scheduler"}, "ports": [{"port": DASK_PORT, "targetPort": DASK_PORT}]}
    }
    pods = [
        _dask(cluster, "scheduler", ["--port", str(DASK_PORT), "--no-dashboard"]),
        _dask(cluster, "worker", [DASK, "--no-dashboard", "--local-directory", "/tmp"]),
    ]
    for document in (service, *pods):
        cluster.admin.apply(document)
    yield "dask-scheduler"
    for document in (*pods, service):
        cluster.admin.delete(document)


def _dask(cluster: Cluster, role: str, arguments: list[str]) -> Object:
    container = {
        "name": "main",
        "image": cluster.images["judge"],
        "command": ["dask", role, *arguments],
        "securityContext": declared.LOCKED,
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = like("Pod", SYSTEM, f"dask-{role}")
    pod["metadata"]["labels"] = {"app": f"dask-{role}"}
    pod["spec"] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return pod


@pytest.fixture(scope="module")
def enforced(lab: Space) -> bool:
    """Whether this cluster enforces NetworkPolicies, as a Pod under one finds; without it, the way is shown open."""
    address = lab.get("Pod", "beacon", api="v1")["status"]["podIP"]
    policy = like("NetworkPolicy", lab.name, "walled", api="networking.k8s.io/v1")
    policy["spec"] = {"podSelector": {"matchLabels": {"app": "walled"}}, "policyTypes": ["Egress"]}
    lab.apply(policy)
    command = ["python", "-c", REACH, address, str(PORTS["beacon"])]
    assert _ended(lab, _pod(lab, "free", [*command, "0"]), "main") == [{"open": True}]
    found = _ended(lab, _pod(lab, "walled", [*command, "30"]), "main") == [{"open": False}]
    # Our own node enforces them; what kind's network does is a matter of its version.
    providers = [node["spec"].get("providerID", "") for node in lab.admin.list(like("Node", ""))]
    assert found or all(provider.startswith("kind://") for provider in providers), "the local node doesn't enforce"
    return found


def _pod(lab: Space, name: str, command: list[str]) -> Object:
    container = {
        "name": "main",
        "image": lab.cluster.images["test-model"],
        "command": command,
        "securityContext": declared.LOCKED,
    }
    metadata = {"name": name, "namespace": lab.name, "labels": {"app": name}}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _ended(lab: Space, pod: Object, container: str) -> list[Object]:
    """Create the Pod; the JSON lines of a container's log once it has ended."""
    lab.apply(pod)
    name = pod["metadata"]["name"]

    def over() -> bool | None:
        return lab.get("Pod", name, api="v1")["status"].get("phase") in ("Succeeded", "Failed") or None

    eventually(f"Pod {name} to end", over, seconds=240)
    return lab.log(name, container)


def _report(lab: Space, name: str) -> Object:
    """What the predictor of a model's evaluation said, once the model is judged."""
    lab.judged(name)
    (pod,) = lab.all("Pod", f"mandate.dev/model={name},mandate.dev/evaluation")
    return lab.log(pod["metadata"]["name"], "predictor")[0]


def _evaluation(lab: Space, name: str) -> Object:
    lab.judged(name)
    (evaluation,) = lab.evaluations(name)
    return evaluation


def _rebuilt(lab: Space, name: str, change: Callable[[Object], None]) -> Object:
    """The evaluation Pod of a model as the operator makes it, with one change, as an ordinary Pod."""
    images = lab.cluster.images
    template = evaluation_template(
        job=f"{name}-changed",
        namespace=lab.name,
        evaluation=name,
        spec=ModelEvaluationSpec.model_validate(_evaluation(lab, name)["spec"]),
        settings=Settings(
            images=Images(fetch=images["judge"], judge=images["judge"], predictor=images["predictor"]), pod_deadline=200
        ),
    )
    change(template["spec"])
    metadata = {"name": f"{name}-changed", "namespace": lab.name, "labels": {"app": "changed"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.row("D2/dask-job")
def test_a_scheduler_that_isn_t_allowed_keeps_the_evaluation_waiting(lab: Space, dask: str) -> None:
    """In words, without a Job; an allowed one lets it go on."""
    item = lab.until(
        "shared", "refused", lambda item: condition(item, "Evaluated").get("reason") == "DaskNotAllowed", seconds=60
    )
    message = condition(item, "Evaluated")["message"]
    assert "spec.evaluation.dask: the operator doesn't let evaluations use tcp://dask.elsewhere.svc:8786" in message
    assert f"it allows {DASK}" in message
    assert lab.jobs("shared") == []
    lab.apply(_with_dask(lab, DASK))
    eventually("a Job", lambda: lab.jobs("shared") or None, seconds=60, seen=lambda: lab.describe("shared"))


def test_a_searching_predictor_finds_no_label(lab: Space, enforced: bool) -> None:
    """Not in its mounts, environment, /proc, localhost, nor, where NetworkPolicies are enforced, on the network."""
    report = _report(lab, "searching")
    assert report["searched"] > 0
    assert report["processes"] == 0
    assert report["ports"] == []
    assert [place for place in report["found"] if not place.startswith("network")] == []
    if enforced:
        assert report["found"] == []
        assert report["reached"] == []


def test_evidence_says_sealed_only_where_nothing_could_be_reached(lab: Space, enforced: bool) -> None:
    """The judge's word on isolation agrees with what the predictor beside it found."""
    report = _report(lab, "searching")
    isolation = lab.evidence(_evaluation(lab, "searching"))["measured"]["isolation"]
    assert isolation == ("Sealed" if enforced else "Open")
    assert (isolation == "Sealed") == (report["reached"] == [])


def test_the_same_predictor_finds_the_labels_where_they_are_mounted(lab: Space) -> None:
    """The search is one that finds: the same Pod with the judge's folder mounted, and without a seal."""

    def mount(spec: Object) -> None:
        predictor = next(item for item in spec["initContainers"] if item["name"] == "predictor")
        predictor["volumeMounts"].append({"name": "data", "mountPath": "/mandate/data", "readOnly": True})

    report = _ended(lab, _rebuilt(lab, "searching", mount), "predictor")[0]
    assert "file /mandate/data/table.arrow" in report["found"]
    assert {"api", "beacon", "dns"} <= set(report["reached"])
    assert any(place.startswith("network") for place in report["found"])


def test_a_meddling_predictor_changes_nothing(lab: Space) -> None:
    """It reaches no process, file or stream of the judge; forged results in its own log and message count for nothing.

    The evidence is the very same as that of an honest predictor with the same answers.
    """
    report = _report(lab, "meddling")
    assert report == {"worked": [], "processes": 0}
    (pod,) = lab.all("Pod", "mandate.dev/model=meddling,mandate.dev/evaluation")
    log = lab.cluster.run("kubectl", "-n", lab.name, "logs", pod["metadata"]["name"], "-c", "predictor")
    assert FORGED in log
    meddled, honest = (_evaluation(lab, name) for name in ("meddling", "honest"))
    assert meddled["status"]["computedDigest"] == honest["status"]["computedDigest"]


def test_the_same_predictor_reaches_a_judge_whose_processes_it_shares(lab: Space) -> None:
    """The meddling is one that works where a Pod lets it: the same Pod with shared processes."""

    def share(spec: Object) -> None:
        spec["shareProcessNamespace"] = True

    report = _ended(lab, _rebuilt(lab, "meddling", share), "predictor")[0]
    assert report["processes"] > 0
    assert any(item.startswith("signal") for item in report["worked"])


@pytest.mark.row("D2/dask-job")
def test_a_dask_cluster_gives_the_same_evidence_and_is_all_that_the_pod_may_reach(
    lab: Space, dask: str, enforced: bool
) -> None:
    """Tasks were done there; beside it there are name servers, and neither the API server nor another Pod."""
    lab.apply(_with_dask(lab, DASK))
    report = _report(lab, "shared")
    shared, alone = (_evaluation(lab, name) for name in ("shared", "searching"))
    assert int(lab.cluster.run("kubectl", "-n", SYSTEM, "exec", dask, "--", "python", "-c", DONE % DASK_PORT)) >= 2
    assert shared["status"]["computedDigest"] == alone["status"]["computedDigest"]
    assert shared["status"]["attempt"] == 1
    assert lab.evidence(shared)["measured"]["isolation"] == "Open"
    assert report["processes"] == 0
    if enforced:
        assert set(report["reached"]) <= {"dns", "dns-answer"}
        assert report["found"] == []
