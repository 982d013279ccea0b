"""The whole HTTPRoutes of a model's two addresses, and what the gateway says of them. Pure.

A rule's backends and filters are atomic lists, so routes can't be owned in part: both are made and owned whole. Every
split adds up to exactly 1,000,000, over those that are given and nobody else.

Envoy Gateway names Envoy's clusters by a backend's place in the list, makes none for a weight of 0, and doesn't order
its updates of clusters and routes: for a moment, a route whose weighted places change answers 500. So places are kept,
and a backend comes and goes by way of the smallest weight there is: `step`. What was measured is in
docs/decisions/0015-routes-change-in-steps.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from mandate.api.names import suggest_name

Object = dict[str, Any]
Answering = Literal["Automate", "Suggest", "Fallback"]
"""In what capacity a backend answers: at a level that was granted, or as the declared fallback."""

TOTAL = 1_000_000
"""What the weights of a split add up to; the Gateway API takes no weight above it."""
LEAD = Fraction(1, TOTAL)
"""The share with which a backend comes and goes: it makes Envoy know the backend, and sends it next to nothing."""
MIRROR_PARTS = 1_000_000
"""A mirrored share is told exactly as percent, else as a fraction with at most this denominator."""
HEADER_AUTONOMY = "Mandate-Autonomy"
HEADER_VERSION = "Mandate-Model-Version"
HEADER_BLIND = "Mandate-Blind-Percent"
"""Percentage of decisions that people are to take before they see the answer; without the sign, which Envoy takes for
the beginning of a variable.
"""
HEADER_SHARED_BY = "Mandate-Shared-By"
"""On requests to NAME: which of their headers says what was drawn, an entity or else the request itself. The route sets
it, whatever a caller sent, so that the model server can say of each draw where it led."""
PER_REQUEST = "x-request-id"
CALM = 20.0
"""Seconds between making a backend known and sending it its share, where nothing hurries: longer than any gateway was
seen to take until it carries a change."""
HURRIED = 2.0
"""The same where somebody must stop answering."""
GONE = 5.0
"""Seconds from a backend's last share until its place is dropped, and from then until its Service may be deleted."""
LONGEST_LABEL = 63
"""Characters between two dots of a host name (RFC 1123)."""
GATEWAY_API = "gateway.networking.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A Service with a share of an address, 0 to 1. The fallback has no model version.

    `blind` is the percentage of decisions on its answers that are to be taken blind; empty for none.
    """

    service: str
    port: int
    share: Fraction
    autonomy: Answering
    version: str = ""
    blind: str = ""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A Service that gets copies of a share of the requests, above 0 and up to 1; its answers reach nobody."""

    service: str
    port: int
    share: Fraction = Fraction(1)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who answers at an address, and who gets copies. A backend's place in the list means something: see `step`."""

    backends: Sequence[Backend]
    mirror: Mirror | None = None


def routes(
    *,
    name: str,
    namespace: str,
    parents: Sequence[Mapping[str, Any]],
    hostnames: Sequence[str],
    act: Split,
    suggest: Split,
    entity_header: str | None = None,
) -> list[Object]:
    """The HTTPRoutes NAME, whose answers act, and NAME-suggest, whose answers a person sees.

    `parents` and `hostnames` are what the user declared; NAME-suggest answers at each host name with `-suggest` behind
    its first label, since two routes of the same host names would be one address. `entity_header` is whose value
    `assignment` shares by. Raises ValueError, naming the field,
    for what no gateway could carry out: shares that don't add up to 1, a backend that may not act at NAME, host names
    that leave the addresses no difference.
    """
    if not parents:
        raise ValueError("parentRefs: none given; name the Gateway that the routes attach to")
    if beyond := [backend.service for backend in act.backends if backend.autonomy == "Suggest"]:
        raise ValueError(f"backends of {name}: {beyond[0]} may only suggest; at this address answers act")
    drawn = {"set": [{"name": HEADER_SHARED_BY, "value": entity_header or PER_REQUEST}]}
    undrawn = {"remove": [HEADER_SHARED_BY]}
    addresses = (
        (name, list(hostnames), act, drawn),
        (suggest_name(name), suggest_hostnames(hostnames), suggest, undrawn),
    )
    return [
        {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": address, "namespace": namespace},
            "spec": {
                "parentRefs": [_parent(parent) for parent in parents],
                "hostnames": hosts,
                "rules": [_rule(address, split, headers)],
            },
        }
        for address, hosts, split, headers in addresses
    ]


def suggest_hostnames(hostnames: Sequence[str]) -> list[str]:
    """Where NAME-suggest answers: `credit.example.com` gives `credit-suggest.example.com`."""
    if not hostnames:
        raise ValueError("hostnames: none given; each address needs host names of its own")
    found = []
    for host in hostnames:
        first, dot, rest = host.partition(".")
        derived = f"{suggest_name(first)}{dot}{rest}"
        if first == "*":
            raise ValueError(f"hostnames: {host} covers any name, and so both addresses; give full names")
        if len(suggest_name(first)) > LONGEST_LABEL:
            raise ValueError(f"hostnames: {derived} would have a first label of over {LONGEST_LABEL} characters")
        if derived in hostnames:
            raise ValueError(f"hostnames: {derived} is where suggestions are answered; leave it out")
        found.append(derived)
    return found


def weights(shares: Sequence[Fraction]) -> list[int]:
    """Shares of 1 as integers that add up to exactly 1,000,000, each less than 1 off (largest remainder).

    Where remainders are equal the earlier share gets more. Raises ValueError where the shares don't add up to 1, one is
    negative, or a positive one would get nothing.
    """
    if any(share < 0 for share in shares) or sum(shares) != 1:
        raise ValueError(f"shares: {', '.join(map(str, shares)) or 'none'}; none may be negative, the sum must be 1")
    floors = [int(share * TOTAL) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: floors[index] - shares[index] * TOTAL)
    more = set(by_remainder[: TOTAL - sum(floors)])
    found = [floor + (index in more) for index, floor in enumerate(floors)]
    for share, weight in zip(shares, found, strict=True):
        if share > 0 and weight == 0:
            raise ValueError(f"shares: {share} is less than a gateway is told apart ({Fraction(1, TOTAL)})")
    return found


def step(now: Sequence[Backend], goal: Sequence[Backend]) -> list[Backend]:
    """The next split on the way from what the route says `now` to `goal`; what it says now, once that is the goal.

    Backends that are new come in with the share LEAD; then all shares move, and those that leave keep LEAD; then they
    are gone. A step may be taken once the gateway carries the one before; three lead to any goal, and one moves traffic
    between backends that are there already. A place that is left names a backend that stays, with share 0: later places
    keep their numbers, and the Service that left may be deleted. Raises ValueError where `goal` is no split of 1.
    """
    wanted = {_key(backend): backend for backend in goal if backend.share}
    if sum(1 for backend in goal if backend.share) > len(wanted):
        raise ValueError("backends: a Service is named twice")
    weights([backend.share for backend in goal])
    if not now:
        return list(wanted.values())
    # Labels are the route's, not the cluster's: they follow the goal at once.
    places = [replace(wanted.get(_key(each), each), share=each.share) for each in now]
    answering = {_key(each) for each in now if each.share}
    if coming := [backend for key, backend in wanted.items() if key not in answering]:
        for backend in coming:
            free = next((index for index, each in enumerate(places) if not each.share), len(places))
            places[free : free + 1] = [replace(backend, share=LEAD)]
        return _balanced(places)
    moved = _balanced(
        [
            replace(each, share=wanted[_key(each)].share if _key(each) in wanted else LEAD) if each.share else each
            for each in places
        ]
    )
    if moved != list(now):
        return moved
    idle = replace(next(iter(wanted.values())), share=Fraction(0))
    return [wanted.get(_key(each), idle) if each.share else idle for each in places]


def paced(
    now: Sequence[Backend], goal: Sequence[Backend], *, age: float, behind: bool, hurry: bool
) -> tuple[list[Backend], float | None]:
    """What to write `age` seconds after the last step: the next one, or what the route says `now` while it isn't time.

    Second, in how many seconds it will be; None where there is nothing to wait for, or where the route's own news will
    tell. `behind` is whether the gateway hasn't looked at the present route yet; `hurry`, that somebody must stop
    answering, which waits for no gateway's word.
    """
    following = step(now, goal)
    before, after = ({_key(each): each.share for each in split if each.share} for split in (now, following))
    told, wait = True, 0.0
    if after.keys() < before.keys():
        wait = GONE
    elif any(before.get(key) == LEAD and share > LEAD for key, share in after.items()):
        told, wait = not hurry, HURRIED if hurry else CALM
    else:
        told = False
    if age < wait:
        return list(now), wait - age
    return (list(now), None) if told and behind else (following, None)


def _key(backend: Backend) -> tuple[str, int]:
    return backend.service, backend.port


def _balanced(places: Sequence[Backend]) -> list[Backend]:
    """The same places with a sum of 1: the largest share makes up for those that were added."""
    largest = max(places, key=lambda each: each.share)
    over = sum(each.share for each in places) - 1
    return [replace(each, share=each.share - over) if each is largest else each for each in places]


def assignment(*, name: str, namespace: str, header: str) -> Object:
    """A BackendTrafficPolicy of Envoy Gateway's: requests with the same value of a header go the same way.

    Within a split this makes shares those of entities rather than of requests: Envoy takes the header's hash modulo the
    sum of weights, so that between two backends a growing share keeps the entities that it has. Requests without the
    header are assigned at random.
    """
    targets = [{"group": GATEWAY_API, "kind": "HTTPRoute", "name": address} for address in (name, suggest_name(name))]
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "targetRefs": targets,
            "loadBalancer": {
                "type": "ConsistentHash",
                "consistentHash": {"type": "Headers", "headers": [{"name": header}], "tableSize": 65537},
            },
        },
    }


def _rule(address: str, split: Split, headers: Object) -> Object:
    try:
        shares = weights([backend.share for backend in split.backends])
    except ValueError as error:
        raise ValueError(f"backends of {address}: {error}") from None
    rule: Object = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": headers}],
        "backendRefs": [_backend(backend, weight) for backend, weight in zip(split.backends, shares, strict=True)],
    }
    if split.mirror:
        rule["filters"].append(_mirror(address, split.mirror))
    return rule


def _backend(backend: Backend, weight: int) -> Object:
    # `set` replaces what the server says of itself; where there is no version to set, none may pass.
    said = [{"name": HEADER_AUTONOMY, "value": backend.autonomy}]
    said += [{"name": HEADER_VERSION, "value": backend.version}] if backend.version else []
    said += [{"name": HEADER_BLIND, "value": backend.blind}] if backend.blind else []
    headers: Object = {"set": said} | ({} if backend.version else {"remove": [HEADER_VERSION]})
    return _service(backend.service, backend.port) | {
        "weight": weight,
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": headers}],
    }


def _mirror(address: str, mirror: Mirror) -> Object:
    if not 0 < mirror.share <= 1:
        raise ValueError(f"mirror of {address}: its share is {mirror.share}; it must be above 0 and at most 1")
    percent = mirror.share * 100
    if percent.denominator == 1:
        much: Object = {"percent": int(percent)}
    else:
        near = mirror.share.limit_denominator(MIRROR_PARTS)
        much = {"fraction": {"numerator": near.numerator, "denominator": near.denominator}}
    where = {"backendRef": _service(mirror.service, mirror.port)}
    return {"type": "RequestMirror", "requestMirror": where | much}


def _service(name: str, port: int) -> Object:
    return {"group": "", "kind": "Service", "name": name, "port": port}


def _parent(parent: Mapping[str, Any]) -> Object:
    """A parentRef with the API server's defaults, so that what is read back is what was written."""
    return {"group": GATEWAY_API, "kind": "Gateway"} | dict(parent)


# --- what a route says -----------------------------------------------------------------------------------------------


def split_of(route: Mapping[str, Any]) -> Split | None:
    """What a route says, in the form in which `routes` writes; None where it has another."""
    try:
        [rule] = route["spec"]["rules"]
        split = Split(
            backends=[_read_backend(reference) for reference in rule["backendRefs"]],
            mirror=_read_mirror(rule.get("filters") or ()),
        )
        weights([backend.share for backend in split.backends])
        return split
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def shared_by(route: Mapping[str, Any]) -> str | None:
    """The header by whose value the route says that it is shared; None where each request is drawn by itself."""
    said = [
        header["value"]
        for rule in route["spec"].get("rules") or ()
        for each in rule.get("filters") or ()
        for header in (each.get("requestHeaderModifier") or {}).get("set") or ()
        if header["name"] == HEADER_SHARED_BY
    ]
    return said[0] if said and said[0] != PER_REQUEST else None


def _read_backend(reference: Mapping[str, Any]) -> Backend:
    [changed] = reference["filters"]
    headers = {item["name"]: item["value"] for item in changed["responseHeaderModifier"]["set"]}
    return Backend(
        service=reference["name"],
        port=reference["port"],
        share=Fraction(reference["weight"], TOTAL),
        autonomy=headers[HEADER_AUTONOMY],
        version=headers.get(HEADER_VERSION, ""),
        blind=headers.get(HEADER_BLIND, ""),
    )


def _read_mirror(filters: Sequence[Mapping[str, Any]]) -> Mirror | None:
    copied = [each for each in filters if each["type"] != "RequestHeaderModifier"]
    if not copied:
        return None
    [mirror] = (each["requestMirror"] for each in copied)
    part = mirror.get("fraction") or {"numerator": mirror["percent"], "denominator": 100}
    share = Fraction(part["numerator"], part.get("denominator", 100))
    return Mirror(service=mirror["backendRef"]["name"], port=mirror["backendRef"]["port"], share=share)


# --- what the gateway says -------------------------------------------------------------------------------------------

_REMEDIES = {
    "NotAllowedByListeners": "let a listener's allowedRoutes admit HTTPRoutes of this namespace",
    "NoMatchingListenerHostname": "no listener covers the host names: change one or the other",
    "NoMatchingParent": "the Gateway has no such listener: mend sectionName or port of the parentRef",
    "BackendNotFound": "a Service that the route names is missing; create it, if it is the fallback",
    "RefNotPermitted": "a Service of another namespace needs a ReferenceGrant there",
    "InvalidKind": "a gateway can only send traffic to Services here",
    "UnsupportedValue": "the gateway can't do this: use one that can, or the provider Service",
    "EndpointsNotFound": "no Pod of a Service is ready, and its share gets 503: look at its Pods",
    "RouteRulesOverlap": "two routes want the same requests, and the older gets them: change host names, or remove one",
    "Pending": "wait, or look at the gateway's controller",
}
"""Reasons of the Gateway API and of Envoy Gateway, and what a person can do about each."""
_BAD_WHEN_TRUE = {"PartiallyInvalid", "RouteRulesOverlap"}
"""Conditions that name a problem; all others name what should be so."""


UNKNOWN_GATEWAY = "NothingSaid"
"""No gateway says anything of the route."""
NOT_LOOKED_AT = "NotLookedAt"
"""A gateway has said something, but of an earlier generation of the route."""
NO_PODS = "EndpointsNotFound"


@dataclass(frozen=True)
class Problem:
    """One thing that keeps the gateway from doing what a route says: the gateway's reason, and what to do, in words."""

    reason: str
    words: str


def problems(route: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What keeps the gateway from doing what the route says.

    Counts only what was said of the route's present generation, for each of its parentRefs.
    """
    metadata = route["metadata"]
    told = (route.get("status") or {}).get("parents") or ()
    return tuple(
        problem
        for parent in route["spec"]["parentRefs"]
        for problem in _of_parent(parent, told, metadata["namespace"], metadata.get("generation", 0))
    )


def accepted(route: Mapping[str, Any]) -> str:
    """The problems in words; empty when there are none."""
    return "; ".join(problem.words for problem in problems(route))


def unassigned(policy: Mapping[str, Any]) -> str:
    """What keeps the gateway from doing what `assignment` says, in words; empty where it does.

    Counts only what was said of the policy's present generation; each gateway that speaks must be content.
    """
    generation = policy["metadata"].get("generation", 0)
    told = [
        condition
        for ancestor in (policy.get("status") or {}).get("ancestors") or ()
        for condition in ancestor.get("conditions") or ()
        if condition["type"] == "Accepted"
    ]
    if not told:
        return "no gateway says anything of it"
    if any(condition.get("observedGeneration", 0) < generation for condition in told):
        return "the gateway hasn't looked at the present one yet"
    wrong = [condition for condition in told if condition["status"] != "True"]
    return "; ".join(f"{condition['reason']}: {condition.get('message', '')}" for condition in wrong)


def _of_parent(
    parent: Mapping[str, Any], told: Iterable[Mapping[str, Any]], namespace: str, generation: int
) -> list[Problem]:
    """Several controllers may speak of one parentRef; each must be content."""
    where = f"{parent.get('kind', 'Gateway')} {parent.get('namespace', namespace)}/{parent['name']}"
    mine = [entry for entry in told if _same(entry["parentRef"], parent, namespace)]
    if not mine:
        words = f"{where} says nothing of the route: check that it exists, and that its controller runs"
        return [Problem(UNKNOWN_GATEWAY, words)]
    found = []
    for entry in mine:
        conditions = {condition["type"]: condition for condition in entry.get("conditions") or ()}
        stale = [each for each in conditions.values() if each.get("observedGeneration", 0) < generation]
        if "Accepted" not in conditions or stale:
            words = f"{where} hasn't looked at the present route yet: wait, or look at its controller"
            found.append(Problem(NOT_LOOKED_AT, words))
            continue
        for condition in conditions.values():
            bad = "True" if condition["type"] in _BAD_WHEN_TRUE else "False"
            if condition["status"] == bad:
                found.append(_problem(where, condition))
    return found


def _problem(where: str, condition: Mapping[str, Any]) -> Problem:
    remedy = _REMEDIES.get(condition["reason"], "see what the gateway says")
    said = str(condition.get("message") or "").strip().rstrip(".")
    words = f"{where}: {condition['type']} is {condition['status']} ({condition['reason']}: {said}): {remedy}"
    return Problem(str(condition["reason"]), words)


def _same(told: Mapping[str, Any], parent: Mapping[str, Any], namespace: str) -> bool:
    defaults = {"group": GATEWAY_API, "kind": "Gateway", "namespace": namespace, "sectionName": None, "port": None}
    return {**defaults, **told} == {**defaults, **parent}
