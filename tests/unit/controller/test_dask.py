"""A Dask cluster for the evaluation's Job: which address, whether it may, what the Pod and its NetworkPolicy get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.check import load_spec
from mandate.api.moments import instant
from mandate.controller import dask, desired
from mandate.controller.__main__ import parse
from mandate.controller.assess import Measuring, assess
from mandate.controller.choice import evaluation_of, evaluation_status
from mandate.controller.conditions import find
from mandate.controller.dask import Scheduler, egress, refusal, scheduler_of, told
from mandate.controller.decide_evaluation import decide_evaluation
from mandate.controller.decide_grant import attempts
from mandate.controller.identity import job_name
from mandate.controller.plan import Create, Plan, SetStatus
from mandate.controller.settings import Settings
from mandate.controller.snapshot import EvaluationSnapshot, GrantSnapshot, ModelSnapshot
from mandate.evidence.measurement import evaluation_spec, measurement_digest, revision_digest
from mandate.verdict.criteria import criteria_digest
from tests.unit.controller.judged import SETTINGS, declared, judged
from tests.unit.controller.samples import mdep

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
ADDRESS = "tcp://10.0.0.7:8786"
TLS = {"address": "tls://scheduler.dask:8786", "credentialsRef": {"name": "dask-tls"}}
DNS = {"ports": [{"port": port, "protocol": name} for port in (53, 1053, 5353) for name in ("UDP", "TCP")]}


def allowing(*addresses: str) -> Settings:
    return replace(SETTINGS, dask_schedulers=addresses)


def waiting(settings: Settings, **changes: Any) -> EvaluationSnapshot:
    """A measurement that is granted, before its first attempt."""
    snapshot: ModelSnapshot = judged(declared("1", **changes), accuracy=0.8)
    (meval,) = snapshot.mevals
    meval.pop("status", None)
    grant = {"spec": {"evaluations": {job_name(meval["metadata"]["name"], 1): {}}}}
    return EvaluationSnapshot(meval=meval, mdep=snapshot.mdep, grant=grant, mevals=(meval,), settings=settings)


def made(plan: Plan, kind: str) -> Object | None:
    found = [action.document for action in plan.actions if isinstance(action, Create)]
    return next((item for item in found if item["kind"] == kind), None)


def judge_of(job: Object) -> Object:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.row("D2/dask-job")
def test_a_cluster_is_named_as_dask_s_operator_names_its_service() -> None:
    for stated, expected in (
        ({"address": ADDRESS}, Scheduler(ADDRESS)),
        ({"cluster": "scoring"}, Scheduler("tcp://scoring-scheduler.lending.svc:8786", cluster="scoring")),
        (TLS, Scheduler("tls://scheduler.dask:8786", secret="dask-tls")),
    ):
        spec = load_spec(mdep(evaluation={"dask": stated})["spec"])
        assert scheduler_of(spec, namespace="lending") == expected
    for nothing in (None, {}):
        assert scheduler_of(load_spec(mdep(evaluation=nothing)["spec"]), namespace="lending") is None


def test_who_does_the_work_is_no_part_of_what_is_measured_served_or_asked() -> None:
    without, with_ = (load_spec(mdep(**more)["spec"]) for more in ({}, {"evaluation": {"dask": {"address": ADDRESS}}}))
    assert measurement_digest(evaluation_spec("credit", with_)) == measurement_digest(
        evaluation_spec("credit", without)
    )
    assert revision_digest("credit", with_) == revision_digest("credit", without)
    assert criteria_digest(with_) == criteria_digest(without)


@pytest.mark.row("D2/dask-job")
def test_nothing_goes_to_a_scheduler_that_isn_t_allowed() -> None:
    for settings, words in ((SETTINGS, "it allows none"), (allowing("tcp://other:8786"), "it allows tcp://other:8786")):
        snapshot = waiting(settings, evaluation={"dask": {"address": ADDRESS}})
        plan = decide_evaluation(snapshot, NOW)
        assert made(plan, "Job") is None
        (written,) = [action.document for action in plan.actions if isinstance(action, SetStatus)]
        complete = find(evaluation_status(written).conditions, "Complete")
        assert complete is not None
        assert (complete.status, complete.reason) == ("False", "DaskNotAllowed")
        for part in (ADDRESS, words, "remove the field", "evaluation.dask.schedulers"):
            assert part in complete.message
        # The model says it too, and goes on once it is allowed: nothing has failed.
        told_of = assess(replace(judged(snapshot.mdep or {}, accuracy=0.8), mevals=(snapshot.meval | written,)), NOW)
        assert isinstance(told_of, Measuring)
        assert told_of.reason == "DaskNotAllowed"
        listed = GrantSnapshot(
            namespace="lending", enrolled=True, grant=None, mdeps=(snapshot.mdep or {},), mevals=(snapshot.meval,),
            settings=settings,
        )  # fmt: skip
        assert attempts(listed) == {}
        assert list(attempts(replace(listed, settings=allowing(ADDRESS)))) == [
            job_name(snapshot.meval["metadata"]["name"], 1)
        ]


def test_the_judge_is_told_and_the_grant_holds_the_very_same_pod() -> None:
    snapshot = waiting(allowing(TLS["address"]), evaluation={"dask": TLS})
    job = made(decide_evaluation(snapshot, NOW), "Job")
    assert job is not None
    judge = judge_of(job)
    assert judge["command"][-4:] == ["--dask", "tls://scheduler.dask:8786", "--dask-credentials", "dask-tls"]
    assert {"name": "dask", "mountPath": "/mandate/dask", "readOnly": True} in judge["volumeMounts"]
    spec = job["spec"]["template"]["spec"]
    assert {"name": "dask", "secret": {"secretName": "dask-tls", "defaultMode": 0o440, "optional": True}} in spec[
        "volumes"
    ]
    assert not any(m["name"] == "dask" for item in spec["initContainers"] for m in item["volumeMounts"])
    assert told(job) == Scheduler("tls://scheduler.dask:8786", secret="dask-tls")
    listed = GrantSnapshot(
        namespace="lending", enrolled=True, grant=None, mdeps=(snapshot.mdep or {},), mevals=(snapshot.meval,),
        settings=snapshot.settings,
    )  # fmt: skip
    name = job["metadata"]["name"]
    assert attempts(listed)[name][1] == job["spec"]["template"]
    # An attempt under way keeps what it began with, whatever is declared or allowed by now.
    running = replace(listed, jobs=(job,), mdeps=(declared("1"),), settings=SETTINGS)
    assert attempts(running)[name][1] == job["spec"]["template"]
    assert attempts(replace(running, mdeps=()))[name][1] == job["spec"]["template"]


def test_without_a_cluster_pod_and_policy_are_what_they_were() -> None:
    plan = decide_evaluation(waiting(allowing(ADDRESS)), NOW)
    job, policy = made(plan, "Job"), made(plan, "NetworkPolicy")
    assert job is not None
    assert policy is not None
    assert "--dask" not in judge_of(job)["command"]
    assert told(job) is None
    assert "egress" not in policy["spec"]


@pytest.mark.row("D2/dask-job")
@pytest.mark.parametrize(
    ("scheduler", "to", "named"),
    [
        (Scheduler(ADDRESS), [{"ipBlock": {"cidr": "10.0.0.7/32"}}], False),
        (Scheduler("tcp://[fd00::7]:8786"), [{"ipBlock": {"cidr": "fd00::7/128"}}], False),
        (
            Scheduler("tcp://scoring-scheduler.lending.svc:8786", cluster="scoring"),
            [{"podSelector": {"matchLabels": {"dask.org/cluster-name": "scoring", "dask.org/component": "scheduler"}}}],
            True,
        ),
        (Scheduler("tcp://scheduler:8786"), [{"podSelector": {}}], True),
        *(
            (
                Scheduler(f"tcp://scheduler.dask{rest}:8786"),
                [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "dask"}}}],
                True,
            )
            for rest in ("", ".svc", ".svc.cluster.local", ".svc.cluster.local.")
        ),
        (Scheduler("tcp://scheduler.example.com:8786"), None, True),
    ],
)
def test_a_sealed_pod_may_reach_the_scheduler_and_nothing_else(scheduler: Scheduler, to: Any, named: bool) -> None:
    snapshot = waiting(allowing(ADDRESS), evaluation={"dask": {"address": ADDRESS}})
    spec = evaluation_of(snapshot.meval)
    assert spec is not None
    assert spec.sealed
    policy = desired.seal(snapshot.meval, attempt=1, scheduler=scheduler)["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    way, *others = policy["egress"]
    assert way["ports"] == [{"port": 8786, "protocol": "TCP"}]
    assert way.get("to") == to
    assert others == ([DNS] if named else [])
    assert policy["egress"] == egress(scheduler)


def test_the_started_job_s_policy_leads_to_its_scheduler() -> None:
    plan = decide_evaluation(waiting(allowing(ADDRESS), evaluation={"dask": {"address": ADDRESS}}), NOW)
    policy = made(plan, "NetworkPolicy")
    assert policy is not None
    assert policy["spec"]["egress"] == egress(Scheduler(ADDRESS))


def test_name_servers_are_reached_where_the_chart_says_that_they_listen() -> None:
    """A policy is held against the port of the DNS Pods, whatever their Service's is."""
    settings = replace(allowing("tcp://scheduler.dask:8786"), dns_ports=(8053,))
    plan = decide_evaluation(waiting(settings, evaluation={"dask": {"address": "tcp://scheduler.dask:8786"}}), NOW)
    (policy,) = (
        action.document
        for action in plan.actions
        if isinstance(action, Create) and action.document["kind"] == "NetworkPolicy"
    )
    _, dns = policy["spec"]["egress"]
    assert dns == {"ports": [{"port": 8053, "protocol": "UDP"}, {"port": 8053, "protocol": "TCP"}]}


def test_the_operator_is_told_by_flag_or_variable_and_allows_nothing_by_itself() -> None:
    image = "x@sha256:" + "0" * 64
    images = {"MANDATE_JUDGE_IMAGE": image, "MANDATE_PREDICTOR_IMAGE": image}
    assert parse([], images).settings.dask_schedulers == ()
    found = parse([], images | {"MANDATE_DASK_SCHEDULERS": f"{ADDRESS},tls://a.b:1"}).settings
    assert found.dask_schedulers == (ADDRESS, "tls://a.b:1")
    assert refusal(Scheduler(ADDRESS), found.dask_schedulers) == refusal(None, ()) == ""
    assert dask.arguments(None) == []
    assert found.dns_ports == (53, 1053, 5353)
    assert parse([], images | {"MANDATE_DNS_PORTS": "53,8053"}).settings.dns_ports == (53, 8053)
