"""People's decisions at Suggest, decision by decision: what is asked, shown, waited for, and said to the screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.kinds import DecisionsStatus
from mandate.api.moments import stamp
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.plan import SetStatus
from mandate.controller.snapshot import LiveQuestion, LiveUnavailable
from mandate.controller.standing import to_ask
from tests.unit.controller.test_climb import RECORDING
from tests.unit.controller.test_gateway import BEHIND_IT, CALM, Cluster, second
from tests.unit.rollout.test_decisions import decided, live

AT_ONCE: dict[str, Any] = {"minDuration": "0s", "minPredictions": 0}
HELD = AT_ONCE | {"minLabelled": 0, "blindShare": "10%", "minBlind": 50}


def suggesting(**suggest: Any) -> Cluster:
    """Version 2 stands at Suggest and is held there."""
    cluster = second(autonomy__shadow=AT_ONCE, autonomy__suggest=HELD | suggest)
    cluster.wait(60)
    assert level(cluster) == "Suggest"
    return cluster


def level(cluster: Cluster) -> str | None:
    candidate = status_of(cluster.snapshot.mdep).candidate
    return candidate.level if candidate is not None else None


def questions(cluster: Cluster) -> dict[str, LiveQuestion]:
    asked = to_ask(cluster.snapshot, understood(cluster.snapshot.mdep))
    return {each.holder.version: each for each in asked}


def decisions(cluster: Cluster) -> DecisionsStatus | None:
    return status_of(cluster.snapshot.mdep).decisions


def answered(cluster: Cluster, **told: Any) -> Cluster:
    """With what the recorder answers to the candidate's question."""
    holder = questions(cluster)["2"].holder
    found = live(revision=holder.revision, since=stamp(holder.since), **told)
    cluster.snapshot = replace(cluster.snapshot, live=found, settings=RECORDING)
    return cluster


def headers(cluster: Cluster, address: str) -> list[tuple[str, str, str]]:
    backends = [each for each in cluster.backends(address) if each.share]
    return [(each.autonomy, each.version, each.blind) for each in backends]


def test_too_few_blind_decisions_hold_the_climb_to_automate() -> None:
    cluster = suggesting()
    asked = "Automate at 10 % isn't granted: 0 of 50 blind decisions, and none came yet"
    assert asked in cluster.condition("Granted")[2]
    answered(cluster, blind=decided(12, 2), shown=decided(900, 9), peeked=80, unasked=80, revised=12).once()
    assert "12 of 50 blind decisions" in cluster.condition("Granted")[2]
    assert level(cluster) == "Suggest"
    found = decisions(cluster)
    assert found is not None
    assert (found.blind_share, found.blind.count, found.shown.count) == ("10%", 12, 900)
    assert (found.peeked, found.revised, found.unasked) == (80, 12, 80)
    answered(cluster, blind=decided(50, 9), shown=decided(3900, 40)).once()
    assert level(cluster) == "Automate"
    after = decisions(cluster)
    assert after is not None
    assert (after.revision, after.blind.count) == (found.revision, 50), "what the climb rests on stays to be seen"


def test_where_the_recorder_cannot_be_asked_they_are_not_shown() -> None:
    cluster = suggesting()
    revision = questions(cluster)["2"].holder.revision
    cluster.snapshot = replace(cluster.snapshot, live={revision: LiveUnavailable("asleep")}, settings=RECORDING)
    cluster.once()
    assert "50 blind decisions can't be shown: asleep" in cluster.condition("Granted")[2]
    assert level(cluster) == "Suggest"
    assert decisions(cluster) is None


def test_an_answer_by_another_share_shows_nothing() -> None:
    cluster = answered(suggesting(), share=20, blind=decided(12))
    cluster.once()
    assert decisions(cluster) is None


def test_a_few_more_are_not_written() -> None:
    cluster = answered(suggesting(minBlind=5000), blind=decided(220, 44), shown=decided(2000, 60))
    cluster.once()
    answered(cluster, blind=decided(221, 44), shown=decided(2004, 60))
    assert decide(cluster.snapshot, cluster.at).actions == ()
    plan = decide(answered(cluster, blind=decided(240, 80), shown=decided(2004, 60)).snapshot, cluster.at)
    assert [type(action) for action in plan.actions] == [SetStatus]


@pytest.mark.parametrize("target", ["Suggest", "Automate"])
def test_the_share_is_asked_of_who_stands_at_suggest_and_of_nobody_else(target: str) -> None:
    nothing_else = {"autonomy__suggest": HELD | {"minBlind": 0, "minDuration": "7d"}}
    cluster = second(autonomy__shadow=AT_ONCE, autonomy__target=target, **nothing_else)
    cluster.wait(3600)
    assert {version: each.blind_share for version, each in questions(cluster).items()} == {"2": 10}
    without = {"autonomy__suggest": AT_ONCE | {"minLabelled": 0, "minDuration": "7d"}}
    cluster = second(autonomy__shadow=AT_ONCE, autonomy__target=target, **without)
    cluster.wait(3600)
    assert questions(cluster) == {}


def test_answers_that_reach_people_say_the_share() -> None:
    cluster = suggesting()
    assert headers(cluster, "credit-suggest") == [("Suggest", "2", "10")]
    assert headers(cluster, "credit") == [("Automate", "1", "")]
    document = cluster.snapshot.mdep
    for share, said in (("25%", "25"), ("0%", "")):
        autonomy = {**document["spec"]["autonomy"], "suggest": HELD | {"minBlind": 0, "minDuration": "7d"}}
        autonomy["suggest"]["blindShare"] = share
        changed = {**document, "spec": {**document["spec"], "autonomy": autonomy}}
        cluster.snapshot = replace(cluster.snapshot, mdep={**changed, "status": cluster.snapshot.mdep["status"]})
        cluster.wait(CALM)
        assert headers(cluster, "credit-suggest") == [("Suggest", "2", said)]
    route = (cluster.snapshot.routes or {})["credit-suggest"]
    assert "Mandate-Blind-Percent" not in str(route["spec"])


def test_a_spec_that_is_not_understood_leaves_the_share_as_it_is_said() -> None:
    cluster = answered(suggesting(), blind=decided(12, 2))
    cluster.once()
    before = decisions(cluster)
    assert before is not None
    document = cluster.snapshot.mdep
    cluster.snapshot = replace(cluster.snapshot, mdep={**document, "spec": {**document["spec"], "gates": "?"}})
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z", "level": "Shadow"})
    cluster.once()
    assert ("Suggest", "2", "10") in headers(cluster, "credit-suggest"), "on its way out, as it was"
    cluster.wait(60)
    assert [autonomy for autonomy, *_ in headers(cluster, "credit-suggest")] == ["Fallback"]
    assert decisions(cluster) == before


def test_the_fallback_says_no_share() -> None:
    cluster = second(autonomy__target="Suggest", autonomy__suggest=HELD, **BEHIND_IT)
    cluster.change_status(halted={"by": "alice", "at": "2026-01-02T00:00:00Z"})
    cluster.wait(60)
    assert headers(cluster, "credit-suggest") == [("Fallback", "", "")]
