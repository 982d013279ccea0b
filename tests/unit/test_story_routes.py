"""Shares of the story count from when the gateway says that it carries the route."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mandate.rollout.gateway import Backend, routes
from mandate.rollout.gateway import Split as Wanted
from tests.e2e.story.ledger import FALLBACK, Split
from tests.e2e.story.telling import manifest, splits

PARENT = {"name": "shared", "namespace": "gateway"}


def route(tenths: int, *, generation: int, looked_at: int) -> dict[str, Any]:
    """Version 2 has so many tenths, the fallback the rest; the gateway has accepted the generation it `looked_at`."""
    backends = [
        Backend(service="v2", port=80, share=Fraction(tenths, 10), autonomy="Automate", version="2"),
        Backend(service="rule", port=80, share=Fraction(10 - tenths, 10), autonomy="Fallback"),
    ]
    split = Wanted(backends=backends)
    names = {"parents": [PARENT], "hostnames": ["flights.example.com"]}
    written = routes(name="flights", namespace="x", act=split, suggest=split, **names)[0]  # type: ignore[arg-type]
    conditions = [
        {"type": kind, "status": "True", "reason": kind, "observedGeneration": looked_at}
        for kind in ("Accepted", "ResolvedRefs")
    ]
    written["metadata"]["generation"] = generation
    told = {"parentRef": PARENT, "controllerName": "example.com/gateway", "conditions": conditions}
    return written | {"status": {"parents": [told]}}


def test_a_change_counts_once_it_is_carried_and_until_the_next() -> None:
    seen = [
        (0.0, route(1, generation=1, looked_at=1)),
        (10.0, route(5, generation=2, looked_at=1)),
        (60.0, route(5, generation=2, looked_at=2)),
        (70.0, route(5, generation=2, looked_at=2)),
        (80.0, route(10, generation=3, looked_at=2)),  # never carried
    ]
    assert list(splits(seen, until=90.0)) == [
        Split(since=0.0, until=9.75, shares={"2": 0.1, FALLBACK: 0.9}),
        Split(since=60.0, until=79.75, shares={"2": 0.5, FALLBACK: 0.5}),
    ]


def test_a_run_divides_days_and_nothing_else() -> None:
    long, short = (manifest("2", namespace="x", day=day)["spec"] for day in (86_400.0, 10.0))
    assert short["autonomy"]["shadow"] == long["autonomy"]["shadow"] | {"minDuration": "10s"}
    assert short["autonomy"]["suggest"] == long["autonomy"]["suggest"] | {"minDuration": "20s"}
    assert short["autonomy"]["automate"] == long["autonomy"]["automate"] | {"stepDuration": "10s"}
    assert {name: value for name, value in short.items() if name != "autonomy"} == {
        name: value for name, value in long.items() if name != "autonomy"
    }
