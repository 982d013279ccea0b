"""In every state that the ladder reaches, a provider's objects send all to who may answer, or to the fallback.

The ladder's own state machine decides what happens. After each of its steps the provider's objects are written until
nothing is left to do at once, and looked at after every write; what the ladder is told is then read back from them.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from mandate.api.criteria import Level
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, nobody_name, workload_name
from mandate.controller import desired, kserve
from mandate.controller.choice import understood
from mandate.controller.plan import Plan
from mandate.controller.serve import Served, observe, serve, standing
from mandate.controller.snapshot import ModelSnapshot
from mandate.rollout.gateway import TOTAL
from mandate.rollout.inputs import Rules
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import FALLBACK, Holder, rank
from tests.property.test_ladder import Ladder, rules_of_a_spec
from tests.unit.controller.judged import SETTINGS, carried_out, declared

Object = dict[str, Any]
NAME, SUGGEST = "credit", "credit-suggest"
LEAST: dict[str, Level] = {NAME: "Automate", SUGGEST: "Suggest"}
SCORECARD: Object = {
    "metadata": {"name": "scorecard", "namespace": "lending"},
    "spec": {"selector": {"app": "scorecard"}, "ports": [{"port": 8080}]},
}
GATEWAY = {"parentRefs": [{"name": "shared", "namespace": "gateway"}], "hostnames": ["credit.example.com"]}
MDEP = declared("1")
PASSES = 200
"""Far more writes and waits than any change needs."""

ROUTED_KSERVE = "KServe, routed"
providers = st.sampled_from(["GatewayAPI", "GatewayAPI", "Service", "KServe", ROUTED_KSERVE])
fallbacks = st.sampled_from(["usable", "missing", "none"])


@cache
def spec_of(provider: str, fallback: bool) -> ModelDeploymentSpec:
    """A spec that is served in this way."""
    name = "KServe" if provider == ROUTED_KSERVE else provider
    changes: Object = {"serving": {"provider": name} | ({"gateway": GATEWAY} if _is_routed(provider) else {})}
    if fallback:
        changes["useCase__fallback"] = {"serviceRef": {"name": "scorecard", "port": 8080}}
    return understood(declared("1", **changes))


def _is_routed(provider: str) -> bool:
    return provider in ("GatewayAPI", ROUTED_KSERVE)


class Serving(Ladder):
    """The ladder over objects of a cluster that does at once what is written, with Pods as the ladder has them."""

    def __init__(self) -> None:
        super().__init__()
        self.provider, self.fallback = "GatewayAPI", "none"
        self.by_kserve: dict[str, bool] = {}
        self.snapshot = ModelSnapshot(
            mdep=MDEP, namespace=None, grant=None, routes={}, inference_services={}, settings=SETTINGS
        )

    @property
    def spec_served(self) -> ModelDeploymentSpec | None:
        return spec_of(self.provider, self.fallback != "none") if self.readable else None

    def advance(self) -> None:
        super().advance()
        self._write()

    def _write(self) -> Served:
        """Writes whatever is to be written now; what is left to do, if anything, waits for time or for Pods."""
        for _ in range(PASSES):
            self._surround()
            spec = self.spec_served
            declared = spec.use_case.fallback if spec is not None else None
            served = serve(self.snapshot, self.state, spec=spec, declared=declared, now=self.now)
            if not served.actions:
                self._everything_goes_to_who_may(self.snapshot)
                return served
            before, self.snapshot = self.snapshot, carried_out(self.snapshot, Plan(served.actions))
            self._everything_goes_to_who_may(before)
        raise AssertionError(f"it doesn't come to rest: {served.actions}")

    def _rest(self) -> None:
        """Lets the time pass that changes on their way need."""
        for _ in range(PASSES):
            served = self._write()
            if served.again is None:
                return
            self.true_time += served.again
        raise AssertionError(f"it doesn't come to rest: {served}")

    def _surround(self) -> None:
        """The grant has what the state has, and each revision that holds a level has its Deployment."""
        granted = self.state.granted()
        grants = {
            holder.revision: {"level": granted[holder.revision], "modelDigest": holder.model_digest}
            for holder in self._holders()
            if holder.revision in granted
        }
        running = {item["metadata"]["labels"][LABEL_REVISION]: item for item in self.snapshot.deployments}
        wanted = {holder.revision for holder in standing(self.state)}
        # Who makes a revision's Pods is part of what was recorded of it.
        for revision in wanted:
            self.by_kserve.setdefault(revision, self.provider in ("KServe", ROUTED_KSERVE))
        present = sorted(wanted | running.keys())
        made = {each: _inference_service(each) for each in present if self.by_kserve[each]}
        self.snapshot = replace(
            self.snapshot,
            grant={"metadata": {"name": "mandate", "namespace": "lending"}, "spec": {"grants": grants}},
            deployments=tuple(
                _deployment(each, ready=each in self.ready, maker=made.get(each, MDEP)) for each in present
            ),
            inference_services={item["metadata"]["name"]: item for item in made.values()},
            fallback=SCORECARD if self.fallback == "usable" else None,
        )

    def _holders(self) -> list[Holder]:
        behind = self.state.previous.holder if self.state.previous is not None else None
        return [item for item in (behind, self.state.champion, self.state.candidate) if item is not None]

    def _may(self, revision: str, address: str) -> bool:
        return rank(self.state.granted().get(revision)) >= rank(LEAST[address])

    def _everything_goes_to_who_may(self, before: ModelSnapshot) -> None:
        """Services at once; of routes, who mayn't answer any more never gets more, and each adds up."""
        for address in LEAST.keys() & self.snapshot.services.keys():
            selector = self.snapshot.services[address]["spec"]["selector"]
            revision = selector.get(LABEL_REVISION)
            if selector != SCORECARD["spec"]["selector"] and revision != desired.NOBODY:
                assert selector == {LABEL_MODEL: NAME, LABEL_REVISION: revision}
                assert self._may(revision, address), f"Service {address} leads to {revision}"
            old, new = (_shares(item, address) for item in (before, self.snapshot))
            assert sum(new.values()) in (0, TOTAL)
            for revision, share in new.items():
                if revision != FALLBACK and not self._may(revision, address):
                    assert share <= old.get(revision, 0), f"HTTPRoute {address} sends more to {revision}"
            for mirrored in _mirrored(self.snapshot, address):
                assert self.state.granted().get(mirrored) == "Shadow"

    def _is_as_it_should_be(self) -> None:
        """At rest: nobody else gets anything, and whoever is to answer has exactly the share that the ladder says."""
        for address in LEAST:
            found = _shares(self.snapshot, address)
            assert all(revision == FALLBACK or self._may(revision, address) for revision in found)
            assert address in self.snapshot.services or self.spec_served is None
        if self.spec_served is None:
            return
        wanted, true = desired_shares(self.state), observe(self.snapshot, self.spec_served).true
        for parts, said in ((wanted.automate, true.automate), (wanted.suggest, true.suggest)):
            if _is_routed(self.provider):
                assert {revision: Fraction(part) for revision, part in parts.items()} == _known(said)
            else:
                assert [*said] == [max(parts, key=lambda revision: parts[revision])]
        assert bool(self.snapshot.routes) == _is_routed(self.provider)

    @initialize(rules=rules_of_a_spec, provider=providers, fallback=fallbacks)
    def begin(self, rules: Rules, provider: str = "GatewayAPI", fallback: str = "none") -> None:
        self.provider, self.fallback = provider, fallback
        super().begin(rules)

    @rule(provider=providers, fallback=fallbacks)
    def change_serving(self, provider: str, fallback: str) -> None:
        self.provider, self.fallback = provider, fallback
        self.advance()

    @rule(complete=st.sampled_from([True, True, True, False]))
    def provider_catches_up(self, complete: bool) -> None:
        self.ready = frozenset(self.state.granted())
        if complete:
            self._rest()
            self._is_as_it_should_be()
            self.shares = observe(self.snapshot, self.spec_served).true
        self.advance()


def _inference_service(revision: str) -> Object:
    """As KServe took it over: it makes the Deployment of the revision, and nothing that leads to it from outside."""
    metadata = {"name": workload_name(NAME, revision), "namespace": "lending", "uid": f"isvc-{revision}"}
    labels = {LABEL_MODEL: NAME, LABEL_REVISION: revision}
    template = {
        "metadata": {"labels": labels, "annotations": {}},
        "spec": {"containers": [{"name": "predictor", "image": "x"}]},
    }
    item = kserve.inference_service(metadata | {"labels": labels}, template, replicas=1)
    owned = item["metadata"] | {"ownerReferences": [desired.owner(MDEP)]}
    return item | {"metadata": owned, "status": {"deploymentMode": kserve.MODE}}


def _deployment(revision: str, *, ready: bool, maker: Object) -> Object:
    labels = {LABEL_MODEL: NAME, LABEL_REVISION: revision}
    name = workload_name(NAME, revision)
    name = name if maker is MDEP else kserve.deployment_name(name)
    metadata = {"name": name, "namespace": "lending", "uid": revision, "generation": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | {"labels": labels, "ownerReferences": [desired.owner(maker)]},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "availableReplicas": int(ready)},
    }


def _shares(snapshot: ModelSnapshot, address: str) -> dict[str, int]:
    """The weight of each revision, or FALLBACK, as the route itself has it; empty without a route."""
    found: dict[str, int] = {}
    route = (snapshot.routes or {}).get(address)
    for each in route["spec"]["rules"][0]["backendRefs"] if route is not None else ():
        known = each["name"] in (nobody_name(NAME), "scorecard")
        revision = FALLBACK if known else each["name"].removeprefix(f"{NAME}-")
        if each["weight"]:
            found[revision] = found.get(revision, 0) + each["weight"]
    return found


def _mirrored(snapshot: ModelSnapshot, address: str) -> list[str]:
    route = (snapshot.routes or {}).get(address)
    filters = route["spec"]["rules"][0].get("filters", ()) if route is not None else ()
    copied = (item["requestMirror"] for item in filters if item["type"] == "RequestMirror")
    return [item["backendRef"]["name"].removeprefix(f"{NAME}-") for item in copied]


def _known(parts: Any) -> dict[str, Fraction]:
    """Without the least share that whom only the Service leads to counts as having."""
    return {revision: Fraction(part) for revision, part in parts.items() if part * TOTAL > 100}


Serving.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestProviders = Serving.TestCase
