"""The provider GatewayAPI, decision by decision: which routes there are, when they change, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentStatus
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_REVISION
from mandate.controller import desired
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.plan import Delete
from mandate.controller.snapshot import LiveUnavailable, ModelSnapshot
from mandate.rollout.gateway import CALM, GONE, HURRIED, Backend, Mirror, shared_by, split_of
from tests.unit.controller.judged import (
    SETTINGS,
    applied,
    carried_out,
    declared,
    deployment,
    gateway_says,
    judged,
    raw,
    revision_of,
    standing,
)

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
STEP = 6 * 3600.0
OLD = standing("1", "Automate", share=100)
GATEWAY = {
    "parentRefs": [{"name": "shared", "namespace": "gateway"}],
    "hostnames": ["credit.example.com"],
    "mirror": "25%",
}
ASKED: Object = {
    "serving__provider": "GatewayAPI",
    "serving__gateway": GATEWAY,
    "autonomy__target": "Automate",
    "autonomy__automate": {"steps": ["10%", "50%", "100%"], "stepDuration": "6h"},
}
SCORECARD = {
    "metadata": {"name": "scorecard", "namespace": "lending"},
    "spec": {"selector": {"app": "scorecard"}, "ports": [{"port": 8080}]},
}
BEHIND_IT: Object = {"useCase__fallback": {"serviceRef": {"name": "scorecard", "port": 8080}}}


class Cluster:
    """One model and what the API server holds of it; `at` is the time, that only `wait` and `rest` let pass."""

    def __init__(self, snapshot: ModelSnapshot, *, carries: Callable[[Object], Object] = gateway_says) -> None:
        self.snapshot = snapshot
        self.at = NOW
        self.carries = carries
        self.splits: list[dict[str, Fraction]] = []
        self.times: list[float] = []

    def once(self) -> float | None:
        """Decide and do, until nothing is left to do now; when there will be more."""
        for _ in range(20):
            plan = decide(self.snapshot, self.at)
            self.snapshot = carried_out(self.snapshot, plan, carries=self.carries)
            if "credit" in applied(plan, "HTTPRoute"):
                self.splits.append(self.split())
                self.times.append(self.at)
            if not plan.actions:
                return plan.again
        raise AssertionError(f"it doesn't come to rest: {plan.actions}")

    def rest(self, *, most: float = 60.0) -> None:
        """Let as much time pass as changes on their way need."""
        until = self.at + most
        while (again := self.once()) is not None and self.at + again <= until:
            self.at += again

    def wait(self, seconds: float) -> None:
        self.at += seconds
        self.rest()

    def split(self, address: str = "credit") -> dict[str, Fraction]:
        """Shares by version."""
        return {each.version or each.autonomy: each.share for each in self.backends(address) if each.share}

    def backends(self, address: str = "credit") -> list[Backend]:
        found = split_of((self.snapshot.routes or {})[address])
        assert found is not None
        return list(found.backends)

    def mirror(self, address: str = "credit") -> Mirror | None:
        found = split_of((self.snapshot.routes or {})[address])
        assert found is not None
        return found.mirror

    def condition(self, kind: str) -> tuple[str, str, str]:
        item = next(item for item in status_of(self.snapshot.mdep).conditions if item.type == kind)
        return item.status, item.reason, item.message

    def now_is(self, version: str, **changes: Any) -> None:
        """Another version is declared, and its evidence is in."""
        document = declared(version, status=self.snapshot.mdep["status"], **ASKED | changes)
        fresh = judged(document, accuracy=0.97)
        self.snapshot = replace(
            self.snapshot,
            mdep=document,
            mevals=(*self.snapshot.mevals, *fresh.mevals),
            revisions=(*self.snapshot.revisions, *fresh.revisions),
            evidence={**self.snapshot.evidence, **fresh.evidence},
        )

    def change_status(self, **parts: Any) -> None:
        status = ModelDeploymentStatus.model_validate(raw(status_of(self.snapshot.mdep)) | parts)
        self.snapshot = replace(self.snapshot, mdep={**self.snapshot.mdep, "status": raw(status)})


def shares(**parts: int) -> dict[str, Fraction]:
    return {name.removeprefix("v"): Fraction(part, 100) for name, part in parts.items()}


def first(*, accuracy: float = 0.97, **changes: Any) -> Cluster:
    """A first version, with nobody before it."""
    document = declared("1", **ASKED | changes)
    snapshot = judged(document, accuracy=accuracy)
    return Cluster(replace(snapshot, routes={}, fallback=SCORECARD))


def second(**changes: Any) -> Cluster:
    """Version 2's evidence is in; version 1 is the champion and has its Pods, its Service and its routes."""
    old = declared("1", **ASKED)
    document = declared(
        "2",
        status={"champion": OLD},
        **ASKED | {"autonomy__shadow": {"minDuration": "1h", "minPredictions": 0}} | changes,
    )
    snapshot = judged(document, accuracy=0.97, deployments=[deployment(old)])
    kept = desired.controller_revision(old, understood(old), images=SETTINGS.images)
    cluster = Cluster(replace(snapshot, revisions=(*snapshot.revisions, kept), routes={}, fallback=SCORECARD))
    cluster.rest()
    return cluster


def test_routes_come_after_the_services_behind_them() -> None:
    cluster = first(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}, **BEHIND_IT)
    seen: set[str] = set()
    for _ in range(20):
        plan = decide(cluster.snapshot, NOW)
        for route in applied(plan, "HTTPRoute").values():
            [rule] = route["spec"]["rules"]
            mirrors = [item["requestMirror"]["backendRef"] for item in rule["filters"] if "requestMirror" in item]
            named = {item["name"] for item in (*rule["backendRefs"], *mirrors)} - {"scorecard"}
            assert named <= set(cluster.snapshot.services), "named before it was known to be there"
            seen |= named
        cluster.snapshot = carried_out(cluster.snapshot, plan)
        if not plan.actions:
            break
    revision = revision_of(cluster.snapshot.mdep)
    assert seen == {f"credit-{revision[:10]}"}
    service = cluster.snapshot.services[f"credit-{revision[:10]}"]
    assert service["spec"]["selector"] == {"mandate.dev/model": "credit", LABEL_REVISION: revision}
    assert desired.is_ours(service, cluster.snapshot.mdep)


def test_a_revision_at_shadow_gets_copies_and_the_fallback_answers() -> None:
    cluster = first(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}, **BEHIND_IT)
    cluster.rest()
    assert cluster.split("credit") == cluster.split("credit-suggest") == {"Fallback": 1}
    assert [(each.service, each.port) for each in cluster.backends() if each.share] == [("scorecard", 8080)]
    for address in ("credit", "credit-suggest"):
        mirror = cluster.mirror(address)
        assert mirror is not None
        assert (mirror.service, mirror.share) == (f"credit-{revision_of(cluster.snapshot.mdep)[:10]}", Fraction(1, 4))
    assert cluster.condition("Ready")[:2] == ("True", "Shadowing")
    route = (cluster.snapshot.routes or {})["credit-suggest"]
    assert route["spec"]["hostnames"] == ["credit-suggest.example.com"]


def test_time_at_shadow_counts_once_the_gateway_carries_the_copies() -> None:
    cluster = first(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}, **BEHIND_IT)
    cluster.carries = lambda route: gateway_says(route, accepted=False)
    cluster.rest()
    candidate = status_of(cluster.snapshot.mdep).candidate
    assert candidate is not None
    assert (candidate.level, candidate.begun) == ("Shadow", None)
    cluster.wait(2 * 3600)
    assert status_of(cluster.snapshot.mdep).candidate == candidate, "nothing was seen, and nobody climbs"


def test_without_a_fallback_nobody_answers_until_somebody_may() -> None:
    cluster = first(autonomy__target="Shadow")
    cluster.rest()
    assert [each.service for each in cluster.backends()] == ["credit-nobody"]
    assert cluster.snapshot.services["credit-nobody"]["spec"]["selector"][LABEL_REVISION] == "none"
    assert cluster.condition("Ready")[0] == "True"


def test_a_candidate_climbs_in_shares_and_becomes_the_champion() -> None:
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 0})
    assert cluster.split("credit-suggest") == {"2": 1}
    assert cluster.split() == shares(v1=90, v2=10)
    for after in (shares(v1=50, v2=50), shares(v2=100)):
        before = cluster.split()
        cluster.wait(STEP - 300)
        assert cluster.split() == before, "a step lasts as long as is declared"
        cluster.wait(400)
        assert cluster.split() == after
    cluster.wait(STEP + 60)
    champion = status_of(cluster.snapshot.mdep).champion
    assert champion is not None
    assert champion.version == "2"
    assert cluster.condition("Ready")[0] == "True"


def test_one_who_comes_is_made_known_first_and_one_who_goes_is_dropped_last() -> None:
    cluster = second()
    cluster.splits.clear()
    lead = Fraction(1, 1_000_000)
    cluster.times.clear()
    cluster.wait(3600)
    assert cluster.splits == [{"1": 1}, {"1": 1 - lead, "2": lead}, shares(v1=90, v2=10)], "first the copies end"
    assert cluster.times[2] - cluster.times[1] >= CALM
    cluster.splits.clear()
    cluster.rest()
    cluster.wait(STEP + 60)
    cluster.wait(STEP + 60)
    assert cluster.splits == [shares(v1=50, v2=50), {"1": lead, "2": 1 - lead}, shares(v2=100)]
    assert cluster.backends()[0].service == cluster.backends()[1].service, "the place is kept"


def test_demotion_reaches_the_routes_within_seconds_also_where_the_gateway_says_nothing() -> None:
    cluster = second(**BEHIND_IT)
    cluster.carries = lambda route: gateway_says(route, generation=route["metadata"]["generation"] - 1)
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z"})
    began = cluster.at
    cluster.rest(most=HURRIED + 1)
    assert cluster.at - began <= HURRIED + 1
    assert cluster.split()["1"] == Fraction(1, 1_000_000), "it keeps next to nothing, until it may be dropped"
    cluster.wait(100)
    assert "1" in cluster.split(), "it isn't dropped before the gateway has looked"
    assert any(item["metadata"]["labels"][LABEL_REVISION] == OLD["revision"] for item in cluster.snapshot.deployments)
    for name, route in (cluster.snapshot.routes or {}).items():
        cluster.snapshot = replace(
            cluster.snapshot,
            routes={**(cluster.snapshot.routes or {}), name: route | {"status": gateway_says(route)}},
        )
    cluster.carries = gateway_says
    cluster.rest()
    assert cluster.split() == {"Fallback": 1}


def test_pods_and_services_outlive_the_last_route_that_names_them() -> None:
    cluster = second()
    gone: list[tuple[float, str]] = []
    cluster.now_is("3", autonomy__shadow={"minDuration": "1h", "minPredictions": 0})
    old = f"credit-{revision_of(declared('2', **ASKED))[:10]}"
    named_until = 0.0
    while len(gone) < 2 and cluster.at < NOW + 7200:
        for _ in range(20):
            plan = decide(cluster.snapshot, cluster.at)
            for action in plan.actions:
                if isinstance(action, Delete) and action.name == old:
                    assert cluster.at - named_until >= GONE - 1
                    gone.append((cluster.at, action.kind))
            cluster.snapshot = carried_out(cluster.snapshot, plan)
            if not plan.actions:
                break
        if any(old in str(route["spec"]) for route in (cluster.snapshot.routes or {}).values()):
            named_until = cluster.at
        cluster.at += 1
    assert {kind for _, kind in gone} == {"Deployment", "Service"}


def test_a_clock_that_is_set_back_begins_a_wait_anew() -> None:
    """Else a share would come before the gateway knows its backend, and Pods would go while it still sends to them."""
    cluster = second()
    lead = Fraction(1, 1_000_000)
    for _ in range(10):
        again = cluster.once()
        if cluster.splits[-1] == {"1": 1 - lead, "2": lead}:
            break
        assert again is not None
        cluster.at += again
    back = cluster.at - 600
    cluster.at = back + CALM - 2
    cluster.once()
    assert cluster.splits[-1] == {"1": 1 - lead, "2": lead}
    began, cluster.at = cluster.at, cluster.at + CALM - 1
    cluster.once()
    assert cluster.splits[-1] == {"1": 1 - lead, "2": lead}
    cluster.at = began + CALM + 1
    cluster.once()
    assert cluster.splits[-1] == shares(v1=90, v2=10)


def test_a_clock_that_is_set_back_doesnt_keep_anybody_answering() -> None:
    cluster = second(**BEHIND_IT)
    cluster.at -= 7200
    began = cluster.at
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z"})
    cluster.rest(most=2 * HURRIED + 2)
    assert cluster.at - began <= HURRIED + 1
    assert cluster.split()["1"] == Fraction(1, 1_000_000)
    cluster.rest()
    assert cluster.split() == {"Fallback": 1}


@pytest.mark.parametrize(
    ("routes", "reason", "words"),
    [
        (None, "GatewayAPIMissing", "install the Gateway API"),
        (
            {"credit": {"metadata": {"name": "credit", "namespace": "lending", "uid": "else"}, "spec": {"rules": []}}},
            "NameTaken",
            "HTTPRoute credit exists and isn't this ModelDeployment's",
        ),
    ],
    ids=["no kinds", "somebody else's"],
)
def test_what_keeps_routes_from_being_written_is_said_and_services_answer_on(
    routes: dict[str, Object] | None, reason: str, words: str
) -> None:
    cluster = second()
    cluster.snapshot = replace(cluster.snapshot, routes=routes)
    cluster.rest()
    assert cluster.snapshot.routes == routes
    assert cluster.condition("Stalled")[:2] == ("True", reason)
    assert words in cluster.condition("Stalled")[2]
    selector = cluster.snapshot.services["credit"]["spec"]["selector"]
    assert selector[LABEL_REVISION] == OLD["revision"]


def test_a_gateway_that_refuses_is_told_of_after_a_while() -> None:
    cluster = second()
    refused = {
        name: route | {"status": gateway_says(route, accepted=False)}
        for name, route in (cluster.snapshot.routes or {}).items()
    }
    cluster.snapshot = replace(cluster.snapshot, routes=refused)
    cluster.at += 60
    cluster.rest()
    status, reason, words = cluster.condition("Stalled")
    assert (status, reason) == ("True", "RouteNotAccepted")
    assert "HTTPRoute credit: Gateway gateway/shared" in words
    assert "allowedRoutes" in words
    assert cluster.split() == {"1": 1}, "the champion keeps serving"


def test_a_new_route_has_a_while_to_be_taken() -> None:
    cluster = first(autonomy__target="Shadow")
    cluster.carries = lambda route: {}
    again = cluster.once()
    assert cluster.condition("Reconciling")[:2] == ("True", "Serving")
    assert again is not None
    cluster.at += 40
    cluster.once()
    assert "says nothing of the route: check that it exists" in cluster.condition("Stalled")[2]


def test_what_somebody_else_wrote_into_a_route_goes_at_once() -> None:
    cluster = second()
    route = (cluster.snapshot.routes or {})["credit"]
    [rule] = route["spec"]["rules"]
    theirs = rule["backendRefs"][0] | {"name": "theirs"}
    changed = route | {"spec": {**route["spec"], "rules": [{**rule, "backendRefs": [theirs]}]}}
    cluster.snapshot = replace(cluster.snapshot, routes={**(cluster.snapshot.routes or {}), "credit": changed})
    cluster.splits.clear()
    cluster.once()
    assert cluster.splits == [{"1": 1}]
    assert all(each.service != "theirs" for each in cluster.backends())


def test_nothing_is_written_when_nothing_changes() -> None:
    cluster = second()
    cluster.wait(100)
    before = cluster.snapshot
    for seconds in (1, 10, 100):
        cluster.at += seconds
        plan = decide(cluster.snapshot, cluster.at)
        assert plan.actions == ()
    assert cluster.snapshot == before


def test_another_provider_takes_the_routes_away_then_what_was_behind_them() -> None:
    cluster = second()
    document = {**cluster.snapshot.mdep, "spec": {**cluster.snapshot.mdep["spec"], "serving": {}}}
    cluster.snapshot = replace(cluster.snapshot, mdep=document)
    cluster.rest()
    assert cluster.snapshot.routes == {}
    assert set(cluster.snapshot.services) == {"credit", "credit-suggest"}


def test_a_spec_that_isnt_understood_leaves_routes_alone_but_not_to_whom_they_maynt_lead() -> None:
    cluster = second(**BEHIND_IT)
    before = cluster.snapshot.routes
    broken = {**cluster.snapshot.mdep, "spec": {**cluster.snapshot.mdep["spec"], "gates": "?"}}
    cluster.snapshot = replace(cluster.snapshot, mdep=broken)
    cluster.rest()
    assert cluster.snapshot.routes == before
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z"})
    cluster.rest()
    assert cluster.split() == {"Fallback": 1}
    assert (cluster.snapshot.routes or {})["credit"]["spec"]["hostnames"] == ["credit.example.com"]


def test_shadow_waits_for_predictions_of_the_copies_not_for_the_user_to_send_them() -> None:
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 10})
    revision = revision_of(cluster.snapshot.mdep)
    cluster.snapshot = replace(cluster.snapshot, live={revision: LiveUnavailable("asleep")})
    cluster.rest()
    words = cluster.condition("Granted")[2]
    assert "the provider Service" not in words


BY_CUSTOMER: Object = {"serving__gateway": GATEWAY | {"entityHeader": "X-Customer"}}


def _drawn_by(cluster: Cluster) -> dict[str, str | None]:
    return {name: shared_by(route) for name, route in (cluster.snapshot.routes or {}).items()}


def test_a_policy_that_shares_by_entity_comes_before_the_routes() -> None:
    cluster = first(**BY_CUSTOMER)
    cluster.snapshot = replace(cluster.snapshot, policies={})
    while not cluster.snapshot.routes:
        plan = decide(cluster.snapshot, cluster.at)
        assert plan.actions
        if applied(plan, "HTTPRoute"):
            assert cluster.snapshot.policies, "the policy is there before the route that it is about"
        cluster.snapshot = carried_out(cluster.snapshot, plan)
    cluster.rest()
    [policy] = (cluster.snapshot.policies or {}).values()
    assert desired.is_ours(policy, cluster.snapshot.mdep)
    assert policy["spec"]["loadBalancer"]["consistentHash"]["headers"] == [{"name": "X-Customer"}]
    assert [target["name"] for target in policy["spec"]["targetRefs"]] == ["credit", "credit-suggest"]
    assert _drawn_by(cluster) == {"credit": "X-Customer", "credit-suggest": None}
    assert cluster.condition("SharesByEntity")[:2] == ("True", "Accepted")


def test_routes_say_whose_draws_they_are_once_the_gateway_does_so() -> None:
    cluster = first(**BY_CUSTOMER)
    cluster.snapshot = replace(cluster.snapshot, policies={})
    cluster.rest()
    [policy] = (cluster.snapshot.policies or {}).values()
    refused = {**policy, "status": {"ancestors": []}}
    cluster.snapshot = replace(cluster.snapshot, policies={"credit": refused})
    cluster.wait(CALM)
    assert _drawn_by(cluster) == {"credit": None, "credit-suggest": None}
    assert cluster.condition("SharesByEntity")[:2] == ("False", "NotAccepted")
    cluster.snapshot = replace(cluster.snapshot, policies={"credit": policy})
    cluster.rest()
    assert _drawn_by(cluster) == {"credit": "X-Customer", "credit-suggest": None}


def test_a_policy_and_the_routes_dont_change_together() -> None:
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 0})
    cluster.snapshot = replace(cluster.snapshot, policies={})
    assert cluster.split() == shares(v1=90, v2=10)
    cluster.wait(100)
    document = {**cluster.snapshot.mdep["spec"]["serving"], "gateway": BY_CUSTOMER["serving__gateway"]}
    spec = {**cluster.snapshot.mdep["spec"], "serving": document}
    cluster.snapshot = replace(cluster.snapshot, mdep={**cluster.snapshot.mdep, "spec": spec})
    written: dict[str, list[float]] = {"HTTPRoute": [], "BackendTrafficPolicy": []}
    for _ in range(200):
        plan = decide(cluster.snapshot, cluster.at)
        for kind, times in written.items():
            times.extend([cluster.at] * bool(applied(plan, kind)))
        cluster.snapshot = carried_out(cluster.snapshot, plan)
        cluster.at += 1
    assert written["BackendTrafficPolicy"]
    assert _drawn_by(cluster)["credit"] == "X-Customer"
    assert all(
        abs(policy - route) >= CALM - 1 for policy in written["BackendTrafficPolicy"] for route in written["HTTPRoute"]
    )


def test_who_must_go_waits_for_no_policy() -> None:
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 0}, **BY_CUSTOMER)
    cluster.snapshot = replace(cluster.snapshot, policies={})
    cluster.wait(100)
    assert cluster.split() == shares(v1=90, v2=10)
    policy = (cluster.snapshot.policies or {})["credit"]
    policy["metadata"]["annotations"][desired.ANNOTATION_STEPPED] = stamp(cluster.at)
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z"})
    cluster.rest(most=HURRIED + 1)
    assert "2" not in {name for name, share in cluster.split().items() if share > Fraction(1, 1_000_000)}


@pytest.mark.parametrize(
    ("policies", "reason", "words"),
    [
        (None, "NotSupported", "doesn't know BackendTrafficPolicies"),
        ({"credit": {"metadata": {"name": "credit", "uid": "else"}, "spec": {}}}, "NameTaken", "delete or rename it"),
    ],
    ids=["no kind", "somebody else's"],
)
def test_where_a_gateway_cant_share_by_entity_it_says_so_and_goes_on_by_request(
    policies: dict[str, Object] | None, reason: str, words: str
) -> None:
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 0}, **BY_CUSTOMER)
    cluster.snapshot = replace(cluster.snapshot, policies=policies)
    cluster.rest()
    status, said, message = cluster.condition("SharesByEntity")
    assert (status, said) == ("False", reason)
    assert words in message
    assert "each request is drawn by itself" in message
    assert cluster.split() == shares(v1=90, v2=10)
    assert cluster.snapshot.policies == policies


def test_a_policy_that_isnt_asked_for_any_more_goes() -> None:
    cluster = second(**BY_CUSTOMER)
    cluster.snapshot = replace(cluster.snapshot, policies={})
    cluster.wait(100)
    assert cluster.snapshot.policies
    serving = {**cluster.snapshot.mdep["spec"]["serving"], "gateway": GATEWAY}
    spec = {**cluster.snapshot.mdep["spec"], "serving": serving}
    cluster.snapshot = replace(cluster.snapshot, mdep={**cluster.snapshot.mdep, "spec": spec})
    cluster.wait(100)
    assert cluster.snapshot.policies == {}
    assert _drawn_by(cluster) == {"credit": None, "credit-suggest": None}
    assert not [item for item in status_of(cluster.snapshot.mdep).conditions if item.type == "SharesByEntity"]
