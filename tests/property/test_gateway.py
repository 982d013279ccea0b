"""HTTPRoutes: everything goes to those who were named, and a change on its way loses next to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.rollout.gateway import (
    CALM,
    GONE,
    HURRIED,
    LEAD,
    TOTAL,
    Backend,
    Mirror,
    Split,
    paced,
    routes,
    shared_by,
    split_of,
    step,
    suggest_hostnames,
    weights,
)

PARENTS = [{"name": "shared", "namespace": "gateway"}]


@st.composite
def shares(draw: st.DrawFn, most: int = 5) -> list[Fraction]:
    """Shares of 1, none of them too small to be told."""
    parts = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=most))
    return [Fraction(part, sum(parts)) for part in parts]


@st.composite
def splits(draw: st.DrawFn, *, answering: Sequence[str] = ("Automate", "Fallback")) -> list[Backend]:
    found = draw(shares(4))
    services = draw(st.lists(st.sampled_from("abcdef"), min_size=len(found), max_size=len(found), unique=True))
    blind = draw(st.sampled_from(["", "10"]))
    return [
        Backend(
            service=service, port=80, share=share, autonomy=draw(st.sampled_from(answering)), version="7", blind=blind
        )
        for service, share in zip(services, found, strict=True)
    ]


def places(backends: Sequence[Backend]) -> dict[int, str]:
    """Envoy's clusters as Envoy Gateway names them: by place, none for a weight of 0."""
    return {place: each.service for place, each in enumerate(backends) if each.share}


def lost(route: Sequence[Backend], clusters: dict[int, str]) -> Fraction:
    """The share of requests that goes astray while Envoy has this route, but the clusters of another."""
    return sum((each.share for place, each in enumerate(route) if clusters.get(place) != each.service), Fraction(0))


@given(shares())
def test_weights_add_up_and_are_next_to_their_shares(given_shares: list[Fraction]) -> None:
    found = weights(given_shares)
    assert sum(found) == TOTAL
    assert all(abs(weight - share * TOTAL) < 1 for weight, share in zip(found, given_shares, strict=True))


@given(st.lists(st.fractions(-1, 2), max_size=4))
def test_shares_that_dont_add_up_are_refused(given_shares: list[Fraction]) -> None:
    if sum(given_shares) == 1 and all(share >= 0 for share in given_shares):
        return
    with pytest.raises(ValueError, match="the sum must be 1"):
        weights(given_shares)


@given(
    act=splits(),
    suggest=splits(answering=("Automate", "Suggest", "Fallback")),
    copies=st.none() | st.fractions(Fraction(1, 1000), 1),
    entity=st.none() | st.just("X-Customer"),
)
def test_everything_goes_to_those_who_were_named(
    act: list[Backend], suggest: list[Backend], copies: Fraction | None, entity: str | None
) -> None:
    mirror = Mirror(service="shadow", port=80, share=copies) if copies else None
    first, second = routes(
        name="credit",
        namespace="lending",
        parents=PARENTS,
        hostnames=["credit.example.com"],
        act=Split(backends=act, mirror=mirror),
        suggest=Split(backends=suggest),
        entity_header=entity,
    )
    assert (first["metadata"]["name"], second["metadata"]["name"]) == ("credit", "credit-suggest")
    assert not set(first["spec"]["hostnames"]) & set(second["spec"]["hostnames"])
    for route, asked in ((first, act), (second, suggest)):
        [rule] = route["spec"]["rules"]
        assert [each["name"] for each in rule["backendRefs"]] == [each.service for each in asked]
        assert sum(each["weight"] for each in rule["backendRefs"]) == TOTAL
        for told, each in zip(rule["backendRefs"], asked, strict=True):
            [said] = told["filters"]
            assert said["responseHeaderModifier"]["set"][0] == {"name": "Mandate-Autonomy", "value": each.autonomy}
    (drawn, *filters), (undrawn,) = (route["spec"]["rules"][0]["filters"] for route in (first, second))
    assert drawn["requestHeaderModifier"] == {"set": [{"name": "Mandate-Shared-By", "value": entity or "x-request-id"}]}
    assert undrawn["requestHeaderModifier"] == {"remove": ["Mandate-Shared-By"]}
    assert (shared_by(first), shared_by(second)) == (entity, None)
    assert [each["requestMirror"]["backendRef"]["name"] for each in filters] == (["shadow"] if copies else [])
    for each in filters:
        much = each["requestMirror"]
        part = much.get("fraction") or {"numerator": much["percent"], "denominator": 100}
        assert abs(Fraction(part["numerator"], part["denominator"]) - (copies or 0)) <= Fraction(1, TOTAL)


@given(start=splits(), goals=st.lists(splits(), min_size=1, max_size=4), hurry=st.integers(1, 3))
def test_steps_reach_every_goal_and_lose_next_to_nothing(
    start: list[Backend], goals: list[list[Backend]], hurry: int
) -> None:
    """Also where a goal is given up for another after `hurry` steps."""
    now = start
    for number, goal in enumerate(goals):
        taken = 0
        while (then := step(now, goal)) != now:
            assert sum(each.share for each in then) == 1
            allowed = {each.service for each in now} | {each.service for each in goal}
            assert {each.service for each in then} <= allowed
            # Clusters and routes reach Envoy in any order: each order is one of these.
            assert lost(now, places(then)) <= LEAD * len(now)
            assert lost(then, places(now)) <= LEAD * len(then)
            now, taken = then, taken + 1
            assert taken <= 3
            if number < len(goals) - 1 and taken == hurry:
                break
        else:
            assert {each.service: each.share for each in now if each.share} == {g.service: g.share for g in goal}
            assert {each.service for each in now} == {each.service for each in goal}
            assert len(now) <= 16  # the Gateway API takes no more in a rule


@given(splits())
def test_traffic_moves_in_one_step_between_those_who_are_there(start: list[Backend]) -> None:
    only = [Backend(service=start[-1].service, port=80, share=Fraction(1), autonomy="Automate", version="7")]
    after = step(start, only)
    assert sum(each.share for each in after if each.service == only[0].service) >= 1 - LEAD * len(start)


def test_the_order_of_places_is_kept() -> None:
    champion = Backend(service="old", port=80, share=Fraction(1), autonomy="Automate", version="6")
    candidate = Backend(service="new", port=80, share=Fraction(1), autonomy="Automate", version="7")
    seen = [[champion]]
    while (then := step(seen[-1], [candidate])) != seen[-1]:
        seen.append(then)
    assert [[(each.service, each.share) for each in split] for split in seen] == [
        [("old", 1)],
        [("old", 1 - LEAD), ("new", LEAD)],
        [("old", LEAD), ("new", 1 - LEAD)],
        [("new", 0), ("new", 1)],
    ]


def test_a_goal_must_be_a_split() -> None:
    half = Backend(service="a", port=80, share=Fraction(1, 2), autonomy="Automate")
    with pytest.raises(ValueError, match="the sum must be 1"):
        step([], [half])
    with pytest.raises(ValueError, match="named twice"):
        step([], [half, half])


@pytest.mark.parametrize(
    ("hostnames", "problem"),
    [
        ([], "none given"),
        (["*.example.com"], "covers any name"),
        (["credit.example.com", "credit-suggest.example.com"], "leave it out"),
        ([f"{'a' * 56}.example.com"], "over 63 characters"),
    ],
)
def test_host_names_that_leave_no_room_for_suggestions(hostnames: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        suggest_hostnames(hostnames)


def test_what_may_only_suggest_never_acts() -> None:
    backend = Backend(service="new", port=80, share=Fraction(1), autonomy="Suggest", version="7")
    split = Split(backends=[backend])
    with pytest.raises(ValueError, match="new may only suggest"):
        routes(name="m", namespace="n", parents=PARENTS, hostnames=["m.example.com"], act=split, suggest=split)


@given(act=splits(), copies=st.none() | st.integers(1, 100))
def test_a_route_is_read_as_it_was_written(act: list[Backend], copies: int | None) -> None:
    mirror = Mirror(service="shadow", port=80, share=Fraction(copies, 100)) if copies else None
    exact = [replace(each, share=Fraction(weight, TOTAL)) for each, weight in zip(act, _weights(act), strict=True)]
    split = Split(backends=exact, mirror=mirror)
    for route in routes(
        name="credit", namespace="lending", parents=PARENTS, hostnames=["credit.example.com"], act=split, suggest=split
    ):
        assert split_of(route) == split


def _weights(backends: list[Backend]) -> list[int]:
    return weights([each.share for each in backends])


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{}, {}],
        [{"backendRefs": []}],
        [{"backendRefs": [{"name": "theirs", "port": 80}]}],
        [{"backendRefs": [{"name": "theirs", "port": 80, "weight": 1, "filters": []}]}],
        [{"backendRefs": "?"}],
    ],
)
def test_what_isnt_written_as_ours_isnt_understood(rules: object) -> None:
    assert split_of({"metadata": {"name": "credit"}, "spec": {"rules": rules}}) is None


OLD = Backend(service="old", port=80, share=Fraction(1), autonomy="Automate", version="6")
NEW = Backend(service="new", port=80, share=Fraction(1), autonomy="Automate", version="7")


@pytest.mark.parametrize(
    ("hurry", "behind", "waits"),
    [(False, False, CALM), (True, False, HURRIED), (True, True, HURRIED)],
    ids=["a climb", "a fall", "a fall that the gateway hasn't heard of"],
)
def test_who_was_made_known_gets_its_share_after_a_while(hurry: bool, behind: bool, waits: float) -> None:
    known = step([OLD], [NEW])
    assert paced([OLD], [NEW], age=0, behind=behind, hurry=hurry) == (known, None)
    assert paced(known, [NEW], age=0, behind=behind, hurry=hurry) == (known, waits)
    assert paced(known, [NEW], age=waits, behind=behind, hurry=hurry) == (step(known, [NEW]), None)


def test_a_climb_waits_for_the_gateway_and_a_place_is_dropped_last() -> None:
    known = step([OLD], [NEW])
    assert paced(known, [NEW], age=99, behind=True, hurry=False) == (known, None)
    moved = step(known, [NEW])
    for hurry in (False, True):
        assert paced(moved, [NEW], age=1, behind=False, hurry=hurry) == (moved, GONE - 1)
        assert paced(moved, [NEW], age=99, behind=True, hurry=hurry) == (moved, None)
        assert paced(moved, [NEW], age=GONE, behind=False, hurry=hurry) == (step(moved, [NEW]), None)
    done = step(moved, [NEW])
    assert paced(done, [NEW], age=0, behind=False, hurry=False) == (done, None)
