"""What a gateway adds to Services: HTTPRoutes for the two addresses, changed in steps. Pure.

The routes lead to one Service per revision, and to the fallback's own. What a route says now is read from the route,
and since when from an annotation on it: nothing else needs to be remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mandate.api.criteria import Level
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_REVISION, nobody_name, suggest_name, workload_name
from mandate.controller import desired
from mandate.controller.conditions import Finding, Status, Trouble
from mandate.controller.plan import Action, bring, delete, holds
from mandate.controller.snapshot import ModelSnapshot
from mandate.rollout.decisions import blind_percent
from mandate.rollout.gateway import (
    CALM,
    GONE,
    LEAD,
    NO_PODS,
    NOT_LOOKED_AT,
    Answering,
    Backend,
    Mirror,
    Problem,
    Split,
    assignment,
    paced,
    problems,
    routes,
    shared_by,
    split_of,
    unassigned,
)
from mandate.rollout.state import FALLBACK, Shares

Object = dict[str, Any]
Place = tuple[str, int]
"""A Service's name and port."""

GRACE = 30.0
"""Seconds for which a gateway may take until it carries a route, before anybody is told that it doesn't."""
MISSING = (
    "spec.serving.gateway: this cluster doesn't know HTTPRoutes (gateway.networking.k8s.io/v1); install the Gateway "
    "API and a gateway, or leave the gateway out. Until then only the Services answer"
)


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Who may answer at a level. `may`: the state and the grant let this revision; `able`: of those, whose Pods answer.

    `able` is given the revisions that have a share of the address already.
    """

    may: Callable[[str, Level], bool]
    able: Callable[[Level, Collection[str]], Collection[str]]
    running: Collection[str]


@dataclass(frozen=True)
class Routed:
    """What is to be done to the routes, and what is found. `again` is in how many seconds they must be looked at."""

    actions: tuple[Action, ...] = ()
    waiting: tuple[str, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    again: float | None = None
    findings: tuple[Finding, ...] = ()


def is_asked(snapshot: ModelSnapshot, spec: ModelDeploymentSpec | None) -> bool:
    """Whether routes serve the model: by its spec, or where that isn't understood, because they do."""
    return spec.serving.gateway is not None if spec is not None else bool(own(snapshot))


def own(snapshot: ModelSnapshot) -> dict[str, Object]:
    """Our routes, by name."""
    every = (snapshot.routes or {}).items()
    return {name: route for name, route in every if desired.is_ours(route, snapshot.mdep)}


def true_shares(snapshot: ModelSnapshot, *, selected: Mapping[str, str]) -> Shares:
    """Shares as the gateway carries them; `selected` is whom the Services NAME and NAME-suggest lead to.

    Where the gateway doesn't say that it carries a route, its shares aren't known: whoever has any gets the least there
    is, which is no share that anybody waits for, and not nothing. So does whom only the Service leads to.
    """
    name = snapshot.mdep["metadata"]["name"]
    least = LEAD * 100
    revisions = _revisions(snapshot)
    found: list[dict[str, Fraction]] = []
    copied: list[set[str]] = []
    for address in (name, suggest_name(name)):
        shares = {selected[address]: least}
        route = own(snapshot).get(address)
        split = split_of(route) if route is not None else None
        if route is not None and split is not None:
            carried = not _findings(route)
            for each in split.backends:
                if each.share:
                    whose = revisions.get(each.service, FALLBACK)
                    shares[whose] = each.share * 100 if carried else least
            copied.append({revisions.get(split.mirror.service, "")} if carried and split.mirror else set())
        found.append(shares)
    mirrored = set.intersection(*copied) if len(copied) == len(found) else set[str]()
    return Shares(automate=found[0], suggest=found[1], mirrored=tuple(sorted(mirrored)))


def copied(snapshot: ModelSnapshot) -> dict[str, Fraction]:
    """The share of requests that the gateway copies to a revision; empty where it doesn't carry the same at both
    addresses.
    """
    revisions, ours = _revisions(snapshot), own(snapshot)
    found: set[tuple[str, Fraction]] = set()
    for address in (name := snapshot.mdep["metadata"]["name"], suggest_name(name)):
        route = ours.get(address)
        split = split_of(route) if route is not None else None
        if route is None or split is None or split.mirror is None or _findings(route):
            return {}
        found.add((revisions.get(split.mirror.service, FALLBACK), split.mirror.share))
    return dict(found) if len(found) == 1 else {}


def held(snapshot: ModelSnapshot, now: float) -> set[str]:
    """Revisions whose Pods and Service a gateway may still be sending requests to."""
    ours, revisions = own(snapshot), _revisions(snapshot)
    if any(_age(route, now) < GONE or _behind(route) for route in ours.values()):
        return set(revisions.values())
    return {revisions[name] for route in ours.values() for name in _named(route) if name in revisions}


def settles(snapshot: ModelSnapshot, now: float) -> float | None:
    """In how many seconds a gateway carries what the routes have said since their last change; None if it does."""
    stepped = [instant(moment) for route in own(snapshot).values() if (moment := _stepped(route))]
    return max((moment + GONE - now for moment in stepped if now - moment < GONE), default=None)


def names_nobody(snapshot: ModelSnapshot, now: float) -> bool:
    """Whether a route names the Service that answers nobody, or did a moment ago."""
    nobody = nobody_name(snapshot.mdep["metadata"]["name"])
    ours = own(snapshot).values()
    return any(nobody in _named(route) or _age(route, now) < GONE or _behind(route) for route in ours)


def turn(
    snapshot: ModelSnapshot,
    shares: Callable[[Collection[str]], Shares],
    *,
    spec: ModelDeploymentSpec | None,
    versions: Mapping[str, str],
    rights: Rights,
    fallback: Place | None,
    now: float,
) -> Routed:
    """What brings the routes one step nearer to `shares` of those who are able; `fallback` is None where none answers.

    Where the spec isn't understood, only an address that leads to whom it mayn't lead any more is turned.
    """
    if snapshot.routes is None:
        return Routed(trouble=(Trouble("GatewayAPIMissing", MISSING),))
    name = snapshot.mdep["metadata"]["name"]
    levels: tuple[Level, Level] = ("Automate", "Suggest")
    addresses = [
        _Address(snapshot, address, level, spec=spec, rights=rights, fallback=fallback)
        for address, level in zip((name, suggest_name(name)), levels, strict=True)
    ]
    foreign = [each.name for each in addresses if each.is_foreign]
    if foreign:
        words = f"HTTPRoute {foreign[0]} exists and isn't this ModelDeployment's; delete or rename it"
        return Routed(trouble=(Trouble("NameTaken", words),))
    if spec is None and not any(each.hurries or each.copies_astray or each.is_stranded for each in addresses):
        return Routed()
    if spec is not None and any(each.live is None for each in addresses) and _coming(snapshot, rights.running):
        return Routed(waiting=("routes wait until the Services behind them are there",))
    sharing = _sharing(snapshot, spec, now)
    if sharing.actions and not own(snapshot):
        # A policy comes before the routes that it is about.
        return Routed(sharing.actions, ("routes wait for the policy beside them",), findings=sharing.findings)
    known = next((each.live for each in addresses if each.live is not None), None)
    parents, hostnames = _where(spec, known)
    wanted = [each.wanted(shares, versions=versions, now=now, wait=sharing.wait) for each in addresses]
    (act, _), (suggest, _) = wanted
    documents = routes(
        name=name,
        namespace=snapshot.mdep["metadata"]["namespace"],
        parents=parents,
        hostnames=hostnames,
        act=act,
        suggest=suggest,
        entity_header=_entity_header(spec, addresses[0].live, sharing),
    )
    if spec is None:
        documents = [_as_it_is(each.live, document) for each, document in zip(addresses, documents, strict=True)]
    found = [
        each.written(document, split, again=again, now=now)
        for each, document, (split, again) in zip(addresses, documents, wanted, strict=True)
        if spec is not None or each.live is not None
    ]
    waits = (sharing.again, sharing.wait or None, *(each.again for each in found))
    return Routed(
        (*sharing.actions, *(action for each in found for action in each.actions)),
        tuple(words for each in found for words in each.waiting),
        tuple(trouble for each in found for trouble in each.trouble),
        min((wait for wait in waits if wait is not None), default=None),
        sharing.findings,
    )


@dataclass(frozen=True)
class _Sharing:
    """What is to be done to the policy by which shares are those of entities, and whether they are.

    For `wait` seconds routes are left alone, unless somebody must go: the gateway is still taking the policy in.
    `header` is by whose value the gateway says that it shares.
    """

    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    wait: float = 0.0
    again: float | None = None
    header: str | None = None


def _sharing(snapshot: ModelSnapshot, spec: ModelDeploymentSpec | None, now: float) -> _Sharing:
    """The policy never changes together with the routes: while both are new to it, a gateway may answer for neither."""
    metadata = snapshot.mdep["metadata"]
    live = (snapshot.policies or {}).get(metadata["name"])
    ours = live is not None and desired.is_ours(live, snapshot.mdep)
    wait = max(CALM - _age(live, now), 0.0) if live is not None and ours else 0.0
    rest = max((CALM - _age(route, now) for route in own(snapshot).values()), default=0.0)
    if spec is None:
        return _Sharing(wait=wait)
    header = spec.serving.gateway.entity_header if spec.serving.gateway is not None else None
    if header is None:
        going = live is not None and ours and not live["metadata"].get("deletionTimestamp")
        if live is None or not going:
            return _Sharing(wait=wait)
        return _Sharing((delete(live),)) if rest <= 0 else _Sharing(wait=wait, again=rest)
    if snapshot.policies is None:
        return _Sharing(findings=(_by_entity("False", "NotSupported", f"{NO_POLICIES}; {EACH}"),))
    if live is not None and not ours:
        words = f"BackendTrafficPolicy {metadata['name']} exists and isn't this ModelDeployment's; delete or rename it"
        return _Sharing(findings=(_by_entity("False", "NameTaken", f"{words}; {EACH}"),))
    document = assignment(name=metadata["name"], namespace=metadata["namespace"], header=header)
    same = live is not None and holds(document["spec"], live["spec"])
    stepped = (_stepped(live) if live is not None and same else "") or stamp(math.ceil(now))
    actions = bring(desired.route(snapshot.mdep, document, stepped=stepped), live)
    if actions:
        finding = _by_entity("Unknown", "Pending", f"the gateway is being told to share by {header}")
        return _Sharing(actions, (finding,), wait=CALM) if rest <= 0 else _Sharing(findings=(finding,), again=rest)
    assert live is not None
    problem = unassigned(live)
    if problem:
        words = f"BackendTrafficPolicy {metadata['name']}: {problem}; {EACH}"
        return _Sharing(findings=(_by_entity("False", "NotAccepted", words),), wait=wait)
    said = f"requests with the same {header} go to the same version; those without it are drawn one by one"
    return _Sharing(findings=(_by_entity("True", "Accepted", said),), wait=wait, header=header)


NO_POLICIES = "this cluster doesn't know BackendTrafficPolicies (gateway.envoyproxy.io/v1alpha1), Envoy Gateway's own"
EACH = "until then each request is drawn by itself"


def _by_entity(status: Status, reason: str, message: str) -> Finding:
    return Finding("SharesByEntity", status, reason, message)


def _entity_header(spec: ModelDeploymentSpec | None, live: Object | None, sharing: _Sharing) -> str | None:
    """Whose value says whom a request is about: what the gateway does, not what it was told.

    Model servers tell the recorder what was drawn once. Were that an entity where requests are drawn, whoever answers
    an entity first would have it, and right shares look wrong. What the route says stays while the gateway takes the
    policy in, or where no spec is understood.
    """
    return shared_by(live) if live is not None and (spec is None or sharing.wait > 0) else sharing.header


class _Address:
    """One of the two addresses: its route as it is, and as it is to be."""

    def __init__(
        self,
        snapshot: ModelSnapshot,
        name: str,
        level: Level,
        *,
        spec: ModelDeploymentSpec | None,
        rights: Rights,
        fallback: Place | None,
    ) -> None:
        self.name = name
        self.live = (snapshot.routes or {}).get(name)
        self.is_foreign = self.live is not None and not desired.is_ours(self.live, snapshot.mdep)
        self._snapshot = snapshot
        self._level: Level = level
        self._spec = spec
        self._rights = rights
        self._revisions = _revisions(snapshot)
        split = split_of(self.live) if self.live is not None else None
        # What somebody else wrote isn't changed in steps: it goes at once.
        self._now = split if split is not None and all(map(self._is_known, split.backends)) else Split(backends=())
        remembered = next(((each.service, each.port) for each in self._now.backends if _is_fallback(each)), None)
        nobody = (nobody_name(snapshot.mdep["metadata"]["name"]), desired.SERVICE_PORT)
        self.is_stranded = fallback is not None and any(
            each.share and each.service == nobody[0] for each in self._now.backends
        )
        self._fallback = fallback or (remembered if spec is None else None) or nobody
        answering = [
            self._revisions[each.service] for each in self._now.backends if each.share and not _is_fallback(each)
        ]
        self.hurries = not all(rights.may(revision, level) for revision in answering)
        copied = self._revisions.get(self._now.mirror.service, "") if self._now.mirror is not None else None
        self.copies_astray = copied is not None and not rights.may(copied, "Shadow")

    def _is_known(self, backend: Backend) -> bool:
        return _is_fallback(backend) or backend.service in self._revisions

    def wanted(
        self,
        shares: Callable[[Collection[str]], Shares],
        *,
        versions: Mapping[str, str],
        now: float,
        wait: float,
    ) -> tuple[Split, float | None]:
        """What the route is to say now, and in how many seconds it may say more; `wait` keeps it as it is for so long,
        unless somebody must go.
        """
        answering = {
            self._revisions[each.service] for each in self._now.backends if each.share > LEAD and not _is_fallback(each)
        }
        able = self._rights.able(self._level, answering)
        known = shares(able)
        parts = known.automate if self._level == "Automate" else known.suggest
        goal = [self._backend(revision, Fraction(part) / 100, versions) for revision, part in parts.items()]
        age = _age(self.live, now) if self.live is not None else 0.0
        behind = self.live is not None and _behind(self.live)
        backends, again = paced(self._now.backends, goal, age=age, behind=behind, hurry=self.hurries)
        split = Split(backends=backends, mirror=self._mirror(known))
        if wait > 0 and self._now.backends and split != self._now and not self.hurries:
            return self._now, wait
        return split, again

    def _backend(self, revision: str, share: Fraction, versions: Mapping[str, str]) -> Backend:
        if revision == FALLBACK:
            service, port = self._fallback
            return Backend(service=service, port=port, share=share, autonomy="Fallback")
        service = workload_name(self._snapshot.mdep["metadata"]["name"], revision)
        autonomy: Answering = "Automate" if self._level == "Automate" else "Suggest"
        blind = self._blind(service) if autonomy == "Suggest" else ""
        return Backend(
            service=service,
            port=desired.SERVICE_PORT,
            share=share,
            autonomy=autonomy,
            version=versions[revision],
            blind=blind,
        )

    def _blind(self, service: str) -> str:
        """The percentage of decisions that are to be blind; where the spec isn't understood, as the route says it."""
        if self._spec is None:
            return next((each.blind for each in self._now.backends if each.service == service), "")
        percent = blind_percent(self._spec.autonomy.suggest.blind_share)
        return str(percent) if percent else ""

    def _mirror(self, known: Shares) -> Mirror | None:
        """A mirror to a Service that isn't there yet would turn every answer into an error."""
        model, now = self._snapshot.mdep["metadata"]["name"], self._now.mirror
        for revision in known.mirrored:
            service = workload_name(model, revision)
            mirrored = now is not None and now.service == service
            able = revision in self._rights.able("Shadow", {revision} if mirrored else ())
            if not able or not self._rights.may(revision, "Shadow"):
                continue
            if self._spec is None or self._spec.serving.gateway is None:
                return now if mirrored else None
            share = Fraction(int(self._spec.serving.gateway.mirror.removesuffix("%")), 100)
            return Mirror(service=service, port=desired.SERVICE_PORT, share=share)
        return None

    def written(self, document: Object, split: Split, *, again: float | None, now: float) -> Routed:
        """The write, if there is any; else what there is to say about the route as it is."""
        live = self.live
        same = live is not None and holds(document["spec"], live["spec"]) and split_of(live) == split
        kept = live is not None and same and not _is_to_come(live, now)
        stepped = (_stepped(live) if live is not None and kept else "") or stamp(math.ceil(now))
        actions = bring(desired.route(self._snapshot.mdep, document, stepped=stepped), live)
        if live is None or actions:
            return Routed(actions, (f"HTTPRoute {self.name} is being turned to who may answer there",), again=again)
        waiting = () if again is None else (f"HTTPRoute {self.name} is on its way to who may answer there",)
        found = "; ".join(problem.words for problem in _findings(live))
        if not found:
            return Routed((), waiting, again=again)
        left = GRACE - _age(live, now)
        if left > 0:
            return Routed((), (*waiting, found), again=min(left, again or left))
        return Routed((), waiting, (Trouble("RouteNotAccepted", f"HTTPRoute {self.name}: {found}"),), again=again)


def leave(snapshot: ModelSnapshot) -> tuple[Action, ...]:
    """No routes any more, nor a policy beside them, for a model that another provider serves."""
    every = (*own(snapshot).values(), *(snapshot.policies or {}).values())
    ours = (item for item in every if desired.is_ours(item, snapshot.mdep))
    return tuple(delete(item) for item in ours if not item["metadata"].get("deletionTimestamp"))


def _where(spec: ModelDeploymentSpec | None, live: Object | None) -> tuple[list[Object], list[str]]:
    """Gateways and host names: as the spec says, or where it isn't understood, as the route does."""
    if spec is not None and spec.serving.gateway is not None:
        asked = spec.serving.gateway
        parents = [parent.model_dump(mode="json", by_alias=True, exclude_none=True) for parent in asked.parent_refs]
        return parents, list(asked.hostnames)
    assert live is not None
    return live["spec"]["parentRefs"], live["spec"]["hostnames"]


def _as_it_is(live: Object | None, document: Object) -> Object:
    """The document at the host names of the route as it is: whose other route is gone may be what says them."""
    if live is None:
        return document
    return {**document, "spec": {**document["spec"], "hostnames": live["spec"]["hostnames"]}}


def _coming(snapshot: ModelSnapshot, running: Collection[str]) -> bool:
    """Whether a Service that a new route would name isn't known to be there yet."""
    model = snapshot.mdep["metadata"]["name"]
    return any(workload_name(model, revision) not in snapshot.services for revision in running)


def _revisions(snapshot: ModelSnapshot) -> dict[str, str]:
    """The revisions that have a Service of ours, or Pods that it could lead to, by the Service's name."""
    items = (*snapshot.deployments, *(snapshot.inference_services or {}).values(), *snapshot.services.values())
    labelled = (item["metadata"] for item in items if desired.is_ours(item, snapshot.mdep))
    return {item["name"]: item["labels"][LABEL_REVISION] for item in labelled if LABEL_REVISION in item["labels"]}


def _is_fallback(backend: Backend) -> bool:
    return backend.autonomy == "Fallback"


def _named(route: Mapping[str, Any]) -> set[str]:
    """The Services that a route names, whoever wrote it, those with no share too."""
    rules = route["spec"].get("rules") or ()
    backends = [reference["name"] for rule in rules for reference in rule.get("backendRefs") or ()]
    filters = [item for rule in rules for item in rule.get("filters") or () if "requestMirror" in item]
    return {*backends, *(item["requestMirror"]["backendRef"]["name"] for item in filters)}


def _findings(route: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What the gateway has against a route; Pods that aren't ready are told of where they are looked after."""
    return tuple(problem for problem in problems(route) if problem.reason != NO_PODS)


def _behind(route: Mapping[str, Any]) -> bool:
    return any(problem.reason == NOT_LOOKED_AT for problem in problems(route))


def _stepped(route: Mapping[str, Any]) -> str:
    return str((route["metadata"].get("annotations") or {}).get(desired.ANNOTATION_STEPPED, ""))


def _age(route: Mapping[str, Any], now: float) -> float:
    """Seconds since what the route says last changed, rounded so that no wait gets shorter.

    Where it isn't known nobody waits: someone may have to go. Where the clock was set back it is none: the wait begins
    anew.
    """
    stepped = _stepped(route)
    if not stepped:
        return math.inf
    return 0.0 if _is_to_come(route, now) else now - instant(stepped)


def _is_to_come(route: Mapping[str, Any], now: float) -> bool:
    """Whether a route last changed at a time that is still to come, and by more than was rounded."""
    stepped = _stepped(route)
    return bool(stepped) and instant(stepped) > now + 1
