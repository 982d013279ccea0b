"""The provider External, decision by decision: whom PodTemplates name, what Pods show, and the verdict that is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mandate.api.check import SpecError
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, LABEL_SERVES
from mandate.controller import desired
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.decide_grant import decide_grant, holders
from mandate.controller.external import GRACE
from mandate.controller.plan import Apply, Key, Plan, Replace
from mandate.controller.router import concerned
from mandate.controller.store import Store
from mandate.kube.resources import MODEL_DEPLOYMENTS, POD_TEMPLATES, PODS
from mandate.rollout.gateway import GONE
from tests.unit.controller.judged import SETTINGS, carried_out, declared, deployment, judged, namespace, revision_of
from tests.unit.controller.others import ASKED, NOW, OLD, ONE, TWO, Object, Others, first, pod, second
from tests.unit.controller.test_gateway import BEHIND_IT, GATEWAY, SCORECARD, Cluster

BY_GATEWAY: Object = {
    "serving__provider": "GatewayAPI",
    "serving__gateway": GATEWAY,
    **{field: value for field, value in ASKED.items() if field != "serving"},
}
ALONE = pod(ONE, "Automate")
BESIDE = (ALONE, pod(TWO, "Automate"))
TO_OTHERS = {LABEL_MODEL: "credit", LABEL_SERVES: "Automate"}


def test_what_is_granted_is_named_and_nothing_else_is_made() -> None:
    others = first().runs()
    assert others.named() == {"credit": ONE, "credit-suggest": ONE, "credit-shadow": ONE}
    assert others.kinds == {"PodTemplate", "ModelDeployment"}
    levels = {
        name: item["template"]["metadata"]["labels"][LABEL_SERVES] for name, item in others.snapshot.templates.items()
    }
    assert levels == {"credit": "Automate", "credit-suggest": "Suggest", "credit-shadow": "Shadow"}
    assert others.condition("Ready")[:2] == ("False", "NotServed")
    assert "no Pod is ready with mandate.dev/serves=Automate; run PodTemplate credit" in others.condition("Ready")[2]
    assert others.condition("Reconciling")[0] == "False", "nobody here changes anything"


def test_a_level_that_is_not_granted_has_no_template() -> None:
    shadow = {"autonomy__shadow": {"minDuration": "1h", "minPredictions": 0}}
    others = first(**shadow).runs()
    assert others.named() == {"credit-shadow": ONE}
    assert others.levels() == ("", "Shadow")
    others.runs(after=3600)
    assert others.levels() == ("", "Shadow"), "time at Shadow counts from when a Pod is ready"
    others.runs(pod(ONE, "Shadow")).runs(pod(ONE, "Shadow"), after=3600)
    assert others.levels() == ("", "Automate")


def test_a_candidate_is_the_champion_once_it_alone_has_served_for_long_enough() -> None:
    others = second().runs(ALONE)
    assert others.named()["credit"] == TWO
    others.runs(*BESIDE).runs(*BESIDE, after=7200)
    assert others.levels() == ("Automate", "Automate"), "nobody here knows what share it has"
    assert others.condition("ServedElsewhere") == (
        "True",
        "AsGranted",
        "version 1 at Automate, version 2 at Automate",
    ) or others.condition("ServedElsewhere")[:2] == ("True", "AsGranted")
    others.runs(pod(TWO, "Automate"))
    assert others.levels() == ("Automate", "Automate")
    others.runs(pod(TWO, "Automate"), after=3600)
    assert others.levels() == ("Automate", "")
    assert status_of(others.snapshot.mdep).version == "2"


def test_a_pod_that_is_not_ready_begins_nothing_but_may_have_traffic() -> None:
    others = second().runs(pod(TWO, "Automate", ready=False)).runs(pod(TWO, "Automate", ready=False), after=7200)
    assert others.levels() == ("Automate", "Automate")
    others.ask(abort="1 by ann").runs(pod(TWO, "Automate", ready=False))
    candidate = status_of(others.snapshot.mdep).candidate
    assert candidate is not None
    assert candidate.leaving is not None, "it isn't refused while a Pod of it serves there"


def test_what_is_cut_off_stays_named_for_a_while_so_that_an_analysis_aborts() -> None:
    others = second().runs(ALONE).runs(*BESIDE)
    assert others.verdict().verdict == "Pass"
    others.ask(abort="1 by ann: too slow").runs(*BESIDE)
    assert others.named()["credit"] == TWO
    assert others.again == GRACE
    told = others.verdict()
    assert (told.verdict, told.successful, told.version) == ("Fail", False, "2")
    assert "too slow" in told.message
    assert others.condition("ServedElsewhere")[:2] == ("False", "AboveGrant")
    assert others.condition("Ready")[0] == "False"
    others.runs(*BESIDE, after=GRACE)
    assert others.named()["credit"] == ONE, "nobody aborted: the template itself goes back"
    others.runs(ALONE)
    assert others.condition("CandidateRefused")[:2] == ("True", "Aborted")
    assert others.condition("Ready")[:2] == ("True", "Serving")
    assert others.verdict().verdict == "Pass"
    assert others.verdict(revision=TWO).verdict == "Fail"


def test_where_the_clock_was_set_back_what_is_cut_off_is_named_no_more() -> None:
    others = second().runs(ALONE).runs(*BESIDE)
    others.ask(abort="1 by ann").runs(*BESIDE, after=-7200)
    assert others.named()["credit"] == ONE
    assert others.condition("ClockTrusted")[:2] == ("False", "ClockWentBack")


def test_once_aborted_the_template_goes_back_at_once() -> None:
    others = second().runs(ALONE).runs(*BESIDE).ask(abort="1 by ann").runs(*BESIDE)
    assert others.named()["credit"] == TWO
    others.runs(ALONE)
    assert others.named()["credit"] == ONE
    others.ask(abort="1 by ann", retry="2 by ann").runs(ALONE)
    assert others.named()["credit"] == TWO, "a retry begins anew"


def test_whom_a_template_names_loses_the_level_without_falling() -> None:
    others = second().runs(ALONE).runs(*BESIDE)
    lower = {**others.snapshot.mdep["spec"]["autonomy"], "target": "Suggest"}
    others.respecified(autonomy=lower).runs(*BESIDE)
    assert others.named()["credit"] == TWO
    assert others.verdict().verdict == "Fail"
    assert others.verdict("Suggest").verdict == "Pass"


def test_a_rollback_of_the_champion_waits_for_no_analysis() -> None:
    others = second().runs(ALONE).runs(pod(TWO, "Automate")).runs(pod(TWO, "Automate"), after=3600)
    assert others.levels() == ("Automate", "")
    others.ask(rollback="1 by ann").runs(pod(TWO, "Automate"))
    assert others.named()["credit"] == ONE


def test_a_halt_fails_the_verdict_and_leaves_the_template_so_that_it_can_be_aborted() -> None:
    others = second().runs(ALONE).runs(*BESIDE).ask(halt="1 by ann: complaints").runs(*BESIDE)
    assert set(others.named()) == {"credit", "credit-suggest", "credit-shadow"}
    told = others.verdict()
    assert told.verdict == "Fail"
    assert "halted by ann: complaints" in told.message
    assert "above what is granted" in others.condition("ServedElsewhere")[2]


def test_nothing_known_is_never_a_pass() -> None:
    others = first(autonomy__shadow={"minDuration": "1h", "minPredictions": 0})
    assert others.verdict().verdict == "Inconclusive"
    others.runs(pod(ONE, "Shadow"))
    told = others.verdict()
    assert (told.verdict, told.revision) == ("Inconclusive", "")
    assert "Shadow must last 1h" in told.message
    assert others.verdict("Shadow").verdict == "Pass"
    assert others.verdict("Suggest", revision=ONE).verdict == "Inconclusive"
    assert others.verdict("Shadow", revision="f" * 32).verdict == "Inconclusive"
    others.snapshot = replace(others.snapshot, grant=None)
    assert others.verdict("Shadow").verdict == "Inconclusive"


def test_somebody_elses_template_is_left_alone() -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "credit", "namespace": "lending", "uid": "x"},
    }
    others = first()
    others.snapshot = replace(others.snapshot, templates={"credit": theirs})
    others.runs()
    assert others.condition("Stalled")[:2] == ("True", "NameTaken")
    assert others.snapshot.templates["credit"] == theirs
    assert others.verdict().verdict == "Inconclusive", "whom it names is not our word"


def test_what_serves_goes_on_until_others_serve_in_its_place() -> None:
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs()
    assert others.condition("ServedElsewhere")[:2] == ("False", "HandingOver")
    assert others.named()["credit"] == TWO
    running = {item["metadata"]["labels"][LABEL_REVISION] for item in others.snapshot.deployments}
    assert running == {ONE, TWO}
    assert others.snapshot.services["credit"]["spec"]["selector"][LABEL_REVISION] == TWO
    others.runs(ALONE)
    assert others.snapshot.deployments != (), "the candidate is served by us only"
    others.runs(*BESIDE)
    assert others.condition("ServedElsewhere")[:2] == ("True", "AsGranted")
    assert others.led() == {"credit": TO_OTHERS, "credit-suggest": TO_OTHERS}
    assert others.snapshot.deployments != (), "whoever leads callers to these doesn't know yet"
    assert others.again == GONE
    others.runs(*BESIDE, after=GONE)
    assert others.snapshot.deployments == ()
    assert others.led() == {"credit": TO_OTHERS, "credit-suggest": TO_OTHERS}, "nobody knows who still asks there"
    others.snapshot = replace(others.snapshot, services={})
    others.runs(*BESIDE)
    assert others.snapshot.services == {}, "who deletes them has moved the callers"


def handed_over() -> Others:
    """Others serve in our place, and our addresses lead there."""
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs().runs(*BESIDE).runs(*BESIDE, after=GONE)
    assert others.snapshot.deployments == ()
    return others


def test_what_is_ours_serves_again_where_others_fall_away_before_it_is_gone() -> None:
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs().runs(*BESIDE).runs(pod(ONE, "Automate", ready=False), pod(TWO, "Automate", ready=False), after=1)
    assert others.led()["credit"][LABEL_REVISION] in (ONE, TWO)
    assert LABEL_SERVES not in others.led()["credit"]
    others.runs(*BESIDE, after=100)
    assert others.again == GONE, "the wait begins anew"


@pytest.mark.parametrize("done", [1, 2, 3])
def test_every_moment_of_a_hand_over_has_somebody_who_answers(done: int) -> None:
    """The operator is killed after each `done` actions, and begins again from what the cluster holds."""
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs()
    others.snapshot = replace(others.snapshot, pods=BESIDE)
    began = others.at
    for _ in range(40):
        plan = decide(others.snapshot, others.at)
        others.snapshot = carried_out(others.snapshot, Plan(plan.actions[:done]))
        ours = {item["metadata"]["labels"][LABEL_REVISION] for item in others.snapshot.deployments}
        for address, selector in others.led().items():
            assert selector == TO_OTHERS or selector[LABEL_REVISION] in ours, address
        if ours != {ONE, TWO}:
            assert others.at >= began + GONE
        others.at += 1
    assert others.snapshot.deployments == ()
    assert set(others.led()) == {"credit", "credit-suggest"}


def test_addresses_that_stay_lead_to_nobody_above_what_is_granted() -> None:
    others = handed_over()
    others.ask(abort="1 by ann").runs(*BESIDE)
    assert others.led() == dict.fromkeys(("credit", "credit-suggest"), TO_OTHERS | {LABEL_REVISION: ONE})
    others.runs(ALONE, after=GRACE)
    assert others.led()["credit"] == TO_OTHERS
    others.ask(halt="2 by ann").runs(ALONE)
    assert {selector[LABEL_REVISION] for selector in others.led().values()} == {desired.NOBODY}
    others.ask(resume="3 by ann").runs(pod(ONE, "Suggest"), ALONE)
    assert others.led()["credit"][LABEL_REVISION] == desired.NOBODY
    assert others.snapshot.deployments == (), "others go on serving"


def test_addresses_that_stay_lead_to_the_declared_fallback_where_nobody_is_ready() -> None:
    others = handed_over()
    fallback = {"fallback": {"serviceRef": {"name": "scorecard", "port": 8080}}}
    others.snapshot = replace(others.snapshot, fallback=SCORECARD)
    others.respecified(useCase={**others.snapshot.mdep["spec"]["useCase"], **fallback}).runs()
    assert others.led() == {"credit": {"app": "scorecard"}, "credit-suggest": {"app": "scorecard"}}
    assert others.snapshot.deployments == ()
    understood_before = others.snapshot.mdep["spec"]
    others.respecified(gates="?")
    others.snapshot = replace(others.snapshot, fallback=None)
    others.runs()
    assert others.led()["credit"] == {"app": "scorecard"}, "nobody knows another"
    others.snapshot = replace(
        others.snapshot, fallback=SCORECARD, mdep={**others.snapshot.mdep, "spec": understood_before}
    )
    others.runs(*BESIDE)
    assert others.led()["credit"] == TO_OTHERS


def test_back_with_another_provider_others_answer_until_what_is_ours_is_ready() -> None:
    others = handed_over()
    others.respecified(serving={"provider": "Service"})
    others.snapshot = replace(others.snapshot, pods=BESIDE)
    plan = decide(others.snapshot, others.at)
    assert any(isinstance(action, Apply) and action.document["kind"] == "Deployment" for action in plan.actions)
    others.snapshot = carried_out(others.snapshot, plan)
    assert others.led()["credit"] == TO_OTHERS
    others.runs(*BESIDE)
    assert others.led()["credit"] == {LABEL_MODEL: "credit", LABEL_REVISION: TWO}


def test_routes_stay_until_whoever_has_made_his_own_deletes_them() -> None:
    cluster = behind_a_gateway()
    cluster.snapshot = replace(cluster.snapshot, pods=(ALONE,))
    cluster.wait(100)
    before = cluster.snapshot
    assert cluster.split() == {"1": 1}
    assert before.deployments != ()
    assert cluster.condition("ServedElsewhere")[:2] == ("False", "HandingOver")
    assert (
        "HTTPRoute credit, credit-suggest is gone: make routes of your own" in cluster.condition("ServedElsewhere")[2]
    )
    assert cluster.condition("Ready")[:2] == ("True", "Serving")
    cluster.snapshot = replace(cluster.snapshot, routes={})
    cluster.once()
    assert cluster.snapshot.deployments == before.deployments
    assert set(cluster.snapshot.services) == set(before.services), "a gateway may not know yet that the routes are gone"
    cluster.wait(GONE)
    assert cluster.snapshot.routes == {}
    assert cluster.snapshot.deployments == ()
    led = {name: item["spec"]["selector"] for name, item in cluster.snapshot.services.items()}
    assert led == {"credit": TO_OTHERS, "credit-suggest": TO_OTHERS}


@pytest.mark.parametrize("kept", ["credit", "credit-suggest"])
def test_a_route_that_is_left_alone_leads_to_nobody_above_what_is_granted(kept: str) -> None:
    cluster = behind_a_gateway()
    hosts = (cluster.snapshot.routes or {})[kept]["spec"]["hostnames"]
    cluster.snapshot = replace(cluster.snapshot, routes={kept: (cluster.snapshot.routes or {})[kept]})
    ask(cluster, halt="1 by ann: wrong")
    cluster.wait(60)
    assert set(cluster.snapshot.routes or {}) == {kept}
    assert cluster.split(kept) == {"Fallback": 1}
    assert (cluster.snapshot.routes or {})[kept]["spec"]["hostnames"] == hosts


def test_while_nobody_stands_our_addresses_stay_where_the_fallback_answers() -> None:
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs().ask(halt="1 by ann: wrong").runs().runs(after=60)
    assert set(others.snapshot.services) == {"credit", "credit-suggest"}
    others.ask(resume="2 by ann").runs()
    assert set(others.snapshot.services) == {"credit", "credit-suggest"}
    assert others.condition("ServedElsewhere")[:2] == ("False", "HandingOver")


def behind_a_gateway() -> Cluster:
    """A champion behind routes, with a fallback, whose provider becomes External."""
    document = declared("1", status={"champion": OLD}, **BY_GATEWAY | BEHIND_IT)
    snapshot = judged(document, accuracy=0.97, deployments=[deployment(document)])
    cluster = Cluster(replace(snapshot, routes={}, fallback=SCORECARD))
    cluster.rest()
    assert cluster.split() == cluster.split("credit-suggest") == {"1": 1}
    spec = {**cluster.snapshot.mdep["spec"], "serving": ASKED["serving"]}
    cluster.snapshot = replace(cluster.snapshot, mdep={**cluster.snapshot.mdep, "spec": spec})
    cluster.wait(60)
    assert cluster.split() == {"1": 1}, "until others serve, routes lead as they do"
    return cluster


def ask(cluster: Cluster, **verbs: str) -> None:
    said = {f"mandate.dev/{verb}": words for verb, words in verbs.items()}
    mdep = cluster.snapshot.mdep
    document = {**mdep, "metadata": {**mdep["metadata"], "annotations": said}}
    cluster.snapshot = replace(cluster.snapshot, mdep=document)


def test_a_halt_before_others_serve_leads_routes_to_the_declared_fallback() -> None:
    cluster = behind_a_gateway()
    ask(cluster, halt="1 by ann: wrong")
    cluster.wait(60)
    for address in ("credit", "credit-suggest"):
        assert {(each.service, each.port) for each in cluster.backends(address)} == {("scorecard", 8080)}
        assert cluster.snapshot.services[address]["spec"]["selector"] == {"app": "scorecard"}
    assert "credit-nobody" not in cluster.snapshot.services
    assert cluster.condition("ServedElsewhere")[:2] == ("False", "HandingOver")


def test_a_fallback_that_comes_later_answers_while_it_is_handed_over() -> None:
    cluster = behind_a_gateway()
    cluster.snapshot = replace(cluster.snapshot, fallback=None)
    ask(cluster, halt="1 by ann: wrong")
    cluster.wait(60)
    addresses = ("credit", "credit-suggest")
    assert {each.service for name in addresses for each in cluster.backends(name)} == {"credit-nobody"}
    cluster.snapshot = replace(cluster.snapshot, fallback=SCORECARD)
    cluster.wait(60)
    assert {each.service for name in addresses for each in cluster.backends(name)} == {"scorecard"}
    assert all(cluster.snapshot.services[name]["spec"]["selector"] == {"app": "scorecard"} for name in addresses)
    assert decide(cluster.snapshot, cluster.at).actions == ()


def test_who_serves_above_the_grant_is_told_of_while_it_is_handed_over() -> None:
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    others.runs().ask(abort="1 by ann").runs(pod(TWO, "Automate", ready=False), after=GRACE)
    assert others.snapshot.deployments != ()
    assert others.condition("ServedElsewhere")[:2] == ("False", "AboveGrant")
    assert others.condition("Ready")[:2] == ("False", "AboveGrant")


def test_one_pod_takes_no_more_over_than_one_of_ours() -> None:
    others = second()
    ours = deployment(declared("1", **ASKED)) | {"status": {"availableReplicas": 3}}
    others.snapshot = replace(others.snapshot, deployments=(ours,))
    others.runs(*BESIDE)
    assert ours["metadata"]["name"] in {item["metadata"]["name"] for item in others.snapshot.deployments}
    others.runs(ALONE, ALONE, *BESIDE).runs(ALONE, ALONE, *BESIDE, after=GONE)
    assert others.snapshot.deployments == ()


def test_nobody_rises_while_it_is_paused_or_somebody_asked_for_less() -> None:
    others = second().runs(ALONE).runs(*BESIDE)
    assert others.verdict().verdict == "Pass"
    others.ask(pause="1 by ann: holidays").runs(*BESIDE)
    assert others.verdict().verdict == "Inconclusive"
    assert "paused by ann: holidays" in others.verdict().message
    assert others.verdict(revision=ONE).verdict == "Pass", "the champion only stays where it is"
    others.ask(resume="2 by ann").runs(*BESIDE)
    assert others.verdict().verdict == "Pass"
    others.ask(resume="2 by ann", halt="3 by bob")
    assert (others.verdict().verdict, others.verdict().message) == (
        "Inconclusive",
        "halt is asked, and not seen to yet",
    )


def test_a_version_of_kserve_serves_until_another_one_has_taken_its_place() -> None:
    by_kserve = ASKED | {"serving": {"provider": "KServe"}}
    before = Others(judged(declared("1", **by_kserve), accuracy=0.97))
    before.snapshot = replace(before.snapshot, inference_services={})
    before.runs().runs(after=3600)
    assert before.levels() == ("Automate", "")
    made = before.snapshot
    [isvc] = made.inference_services or {}
    document = declared("2", status=made.mdep["status"], **ASKED)
    judgement = judged(document, accuracy=0.97)
    others = Others(
        replace(
            judgement,
            mevals=(*made.mevals, *judgement.mevals),
            revisions=(*made.revisions, *judgement.revisions),
            evidence={**made.evidence, **judgement.evidence},
            deployments=made.deployments,
            inference_services=made.inference_services,
            services=made.services,
        )
    )
    others.at = before.at
    others.runs()
    assert others.levels() == ("Automate", "Automate")
    assert others.condition("ServedElsewhere")[:2] == ("False", "HandingOver")
    assert "only KServe can make its Pods" in others.condition("ServedElsewhere")[2]
    assert others.named()["credit"] == TWO
    assert isvc in (others.snapshot.inference_services or {})
    others.runs(pod(TWO, "Automate"), after=1800)
    assert isvc in (others.snapshot.inference_services or {}), "it is what is fallen back on"
    others.runs(pod(TWO, "Automate"), after=1800)
    assert others.levels() == ("Automate", "")
    others.runs(pod(TWO, "Automate"), after=GONE)
    assert (others.snapshot.inference_services, others.snapshot.deployments) == ({}, ())
    assert others.condition("ServedElsewhere")[:2] == ("True", "AsGranted")
    others.ask(rollback="1 by ann: worse").runs(pod(TWO, "Automate"))
    assert isvc in (others.snapshot.inference_services or {}), "nobody else can make its Pods again"


def test_what_kserve_makes_is_nobody_elses_in_the_grant() -> None:
    by_kserve = ASKED | {"serving": {"provider": "KServe"}}
    made = declared("1", **by_kserve)
    status = {"champion": OLD | {"revision": revision_of(made)}}
    document = declared("2", status=status, **ASKED)
    kept = desired.controller_revision(made, understood(made), images=SETTINGS.images)
    snapshot = namespace(document)
    [granted] = holders(replace(snapshot, revisions=(*snapshot.revisions, kept))).values()
    assert not granted.external
    assert [container["name"] for container in granted.template["spec"]["containers"]] == ["kserve-container"]


def test_another_provider_takes_the_templates_away() -> None:
    others = first().runs(ALONE)
    others.respecified(serving={"provider": "Service"}).runs(ALONE)
    assert len(others.snapshot.deployments) == 1
    assert others.named(), "what runs by them may still have to come back"
    assert others.condition("ServedElsewhere")[:2] == ("True", "AsGranted")
    assert "Pods of others still serve version 1 at Automate" in others.condition("ServedElsewhere")[2]
    snapshot = replace(namespace(others.snapshot.mdep), pods=(ALONE,), revisions=others.snapshot.revisions)
    assert [granted.external for granted in holders(snapshot).values()] == [True]
    others.ask(halt="1 by ann").runs(ALONE)
    assert others.condition("ServedElsewhere")[:2] == ("False", "AboveGrant")
    others.runs()
    assert others.named() == {}
    assert "ServedElsewhere" not in {item.type for item in status_of(others.snapshot.mdep).conditions}


def test_the_grant_says_whose_workloads_run_it() -> None:
    document = declared("1", status={"champion": OLD}, **ASKED)
    ours = declared(
        "1", name="other", status={"champion": OLD | {"revision": revision_of(declared("1", name="other"))}}
    )
    snapshot = namespace(document, ours)
    found = holders(snapshot)
    templates = {revision: holder.template for revision, holder in found.items()}
    plan = decide_grant(replace(snapshot, templates=templates), NOW)
    [action] = plan.actions
    assert isinstance(action, Replace)
    grants = action.document["spec"]["grants"]
    assert {entry["model"]: entry["external"] for entry in grants.values()} == {"credit": True, "other": False}
    labels = grants[ONE]["template"]["metadata"]["labels"]
    assert LABEL_SERVES not in labels, "the level isn't part of what was evaluated"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, pod(ONE, "Automate"), True),
        (pod(ONE, "Automate", ready=False), pod(ONE, "Automate"), True),
        (pod(ONE, "Automate"), pod(ONE, "Automate", leaving=True), True),
        (pod(ONE, "Automate"), None, True),
        (pod(ONE, "Automate"), pod(ONE, "Automate") | {"spec": {}}, False),
    ],
)
def test_a_model_is_looked_at_when_a_pod_of_others_comes_goes_or_changes_its_mind(
    before: Object | None, after: Object | None, told: bool
) -> None:
    keys = concerned(PODS, before, after, Store(lambda *_: None))
    assert (Key("Model", "lending", "credit") in keys) is told


def test_a_model_is_looked_at_when_a_name_that_it_needs_is_taken() -> None:
    store = Store(lambda *_: None)
    store.upsert(MODEL_DEPLOYMENTS, declared("1", **ASKED) | {"apiVersion": "mandate.dev/v1alpha1"})
    theirs = {"metadata": {"name": "credit-shadow", "namespace": "lending", "uid": "x"}}
    assert Key("Model", "lending", "credit") in concerned(POD_TEMPLATES, None, theirs, store)


def test_replicas_are_the_workloads() -> None:
    with pytest.raises(SpecError, match=r"spec.serving.replicas: got 2, but the workload is yours"):
        understood(declared("1", **ASKED | {"serving": {"provider": "External", "replicas": 2}}))
