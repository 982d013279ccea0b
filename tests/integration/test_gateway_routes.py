"""Routes against the Gateway API's real kinds on a real API server: taken as they are, and read back as they were."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from mandate.rollout.gateway import LEAD, Backend, Mirror, Split, accepted, assignment, routes, split_of, step
from tests.integration.admission.api import Api, Object, Refused, connect, eventually

HACK = (sys.executable, str(Path(__file__).parents[2] / "hack" / "cluster"))
CHAMPION = Backend(service="credit-6", port=80, share=Fraction(1), autonomy="Automate", version="6")
CANDIDATE = Backend(service="credit-7", port=80, share=Fraction(1), autonomy="Automate", version="7.0.1-rc_2")
FALLBACK = Backend(service="scorecard", port=8080, share=Fraction(1), autonomy="Fallback")
HALF = Fraction(1, 2)


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="module")
def api(api_server: Path) -> Api:
    """An API server that knows the Gateway API's kinds, of the very release that Envoy Gateway brings."""
    kubectl = (output(*HACK, "build", "kubectl"), "--kubeconfig", str(api_server))
    files = [part for path in output(*HACK, "gateway", "--definitions").split() for part in ("-f", path)]
    output(*kubectl, "apply", "--server-side", *files)
    output(*kubectl, "wait", "--for=condition=Established", "--timeout=60s", *files)
    return connect(api_server)


def made(act: Split, *, suggest: Split | None = None, **parent: object) -> list[Object]:
    return routes(
        name="credit",
        namespace="default",
        parents=[{"name": "shared", "namespace": "gateway"} | parent],
        hostnames=["credit.example.com", "loans.example.com"],
        act=act,
        suggest=suggest or Split(backends=[CHAMPION]),
    )


@pytest.mark.parametrize(
    "act",
    [
        Split(backends=[CHAMPION]),
        Split(backends=[FALLBACK]),
        Split(backends=[CHAMPION], mirror=Mirror(service="credit-7", port=80)),
        Split(backends=[CHAMPION], mirror=Mirror(service="credit-7", port=80, share=Fraction(1, 100))),
        Split(backends=[CHAMPION], mirror=Mirror(service="credit-7", port=80, share=Fraction(1, 3))),
        Split(backends=[CHAMPION], mirror=Mirror(service="credit-7", port=80, share=LEAD)),
        Split(backends=step([CHAMPION], [CANDIDATE])),
        Split(backends=step(step(step([CHAMPION], [CANDIDATE]), [CANDIDATE]), [CANDIDATE])),
    ],
    ids=["champion", "fallback", "all mirrored", "percent", "fraction", "least mirrored", "coming", "gone"],
)
def test_routes_are_taken_and_read_back_as_written(api: Api, act: Split) -> None:
    for parent in ({}, {"sectionName": "http", "port": 80}):
        for route in made(act, **parent):
            assert eventually(lambda route=route: api.apply(route))["spec"] == route["spec"]


def test_the_share_of_blind_decisions_is_taken_and_read_back(api: Api) -> None:
    blind = Split(backends=[replace(CANDIDATE, autonomy="Suggest", blind="10")])
    for route in made(Split(backends=[CHAMPION]), suggest=blind):
        held = eventually(lambda route=route: api.apply(route))
        assert held["spec"] == route["spec"]
    assert split_of(held) == blind


def test_an_unknown_field_or_too_much_weight_would_be_refused(api: Api) -> None:
    """The kinds are there and check: what is taken above is taken for a reason."""
    [route, _] = made(Split(backends=[CHAMPION]))
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1_000_001
    with pytest.raises(Refused, match="weight"):
        api.apply(route)
    [route, _] = made(Split(backends=[CHAMPION]))
    route["spec"]["rules"][0]["sticky"] = True
    with pytest.raises(Refused, match="sticky"):
        api.apply(route)


def test_a_policy_that_assigns_by_entity_is_taken(api: Api) -> None:
    policy = assignment(name="credit", namespace="default", header="X-Customer")
    assert eventually(lambda: api.apply(policy))["spec"] == policy["spec"]


def test_what_gateways_say_is_read_from_the_stored_object(api: Api) -> None:
    [route, _] = made(Split(backends=[CHAMPION]))
    stored = eventually(lambda: api.apply(route))
    assert "says nothing" in accepted(stored)

    def said(generation: int, **conditions: tuple[str, str]) -> str:
        told = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": f"about {kind}",
                "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, (status, reason) in conditions.items()
        ]
        parent = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.com/one", "conditions": told}
        return accepted(api.merge(stored, {"status": {"parents": [parent]}}, sub="status"))

    now = stored["metadata"]["generation"]
    good = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    assert said(now, **good) == ""
    assert "hasn't looked" in said(now - 1, **good)
    assert "hasn't looked" in said(now, ResolvedRefs=("True", "ResolvedRefs"))
    assert "allowedRoutes" in said(now, **good | {"Accepted": ("False", "NotAllowedByListeners")})
    assert "create it" in said(now, **good | {"ResolvedRefs": ("False", "BackendNotFound")})
    assert "about Programmed" in said(now, **good, Programmed=("False", "SomethingNew"))
    assert "PartiallyInvalid is True" in said(now, **good, PartiallyInvalid=("True", "UnsupportedValue"))
    assert "the older gets them" in said(now, **good, RouteRulesOverlap=("True", "RouteRulesOverlap"))
