"""The shares of a step against what was counted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from mandate.api.moments import stamp
from mandate.evidence.live import Drawn
from mandate.rollout.gateway import CALM
from mandate.rollout.ratio import Divided, Ratio, divided, ratio
from mandate.rollout.state import Holder, Leaving, Rung, State

CHAMPION = Holder(revision="old", version="1", since=0, stepped=0, rung=Rung("Automate", 100), begun=0)
CANDIDATE = Holder(revision="new", version="2", since=0, stepped=0, rung=Rung("Automate", 10), begun=1_000)
STATE = State(champion=CHAMPION, candidate=CANDIDATE)
STEP = Divided(holder=CANDIDATE, others=("old",), share=Fraction(1, 10), since=1_000 + round(CALM))


def drawn(new: int, old: int, **more: Any) -> Drawn:
    fields = {"since": stamp(STEP.since), "several": 0, "undrawn": {"new": 0, "old": 0}} | more
    return Drawn(namespace="n", model="m", until=stamp(9_999), units={"new": new, "old": old}, **fields)


def found(new: int, old: int, *, mute: tuple[str, ...] = (), **more: Any) -> Ratio:
    return ratio(STEP, drawn(new, old, **more), mute=mute)


def test_a_step_counts_once_nothing_from_before_it_can_be_under_way() -> None:
    assert divided(STATE) == STEP


@pytest.mark.parametrize(
    "state",
    [
        State(),
        State(champion=CHAMPION),
        State(champion=CHAMPION, candidate=replace(CANDIDATE, rung=Rung("Suggest"))),
        State(champion=CHAMPION, candidate=replace(CANDIDATE, rung=Rung("Automate", 100))),
        State(champion=CHAMPION, candidate=replace(CANDIDATE, begun=None)),
        State(champion=CHAMPION, candidate=replace(CANDIDATE, leaving=Leaving(reason="Failed", message="", by="m"))),
    ],
    ids=["nobody", "a champion alone", "at Suggest", "everything", "not carried yet", "leaving"],
)
def test_where_nothing_is_divided_there_is_nothing_to_count(state: State) -> None:
    assert divided(state) is None


def test_with_the_fallback_beside_it_nothing_can_be_counted() -> None:
    step = divided(State(candidate=CANDIDATE))
    assert step is not None
    assert step.others == ()
    answer = ratio(step, None, mute=())
    assert (answer.status, answer.reason) == ("Unknown", "NotRecorded")


def test_where_the_fallback_has_a_part_the_others_are_compared_with_each_other() -> None:
    lower = replace(CHAMPION, rung=Rung("Automate", 30))
    step = divided(State(champion=lower, candidate=CANDIDATE))
    assert step is not None
    assert step.share == Fraction(1, 4)


@pytest.mark.parametrize(
    ("new", "old", "status", "reason"),
    [
        (0, 0, "Unknown", "NotSeen"),
        (1, 0, "Unknown", "TooFew"),
        (3, 0, "Unknown", "TooFew"),
        (50, 450, "Unknown", "TooFew"),
        (1_000, 9_000, "True", "Shown"),
        (1_300, 8_700, "False", "Mismatch"),
        (700, 9_300, "False", "Mismatch"),
        (0, 2_000, "False", "Mismatch"),
        (2_000, 0, "False", "Mismatch"),
    ],
)
def test_what_counts_say(new: int, old: int, status: str, reason: str) -> None:
    answer = found(new, old)
    assert (answer.status, answer.reason) == (status, reason)


def test_a_mismatch_is_told_in_numbers() -> None:
    assert found(1_300, 8_700, several=7).words == (
        "version 2 at Automate at 10 %: it answered 1 300 of 10 000 draws since 1970-01-01T00:17:00Z, "
        "13 % [11.4 %, 14.6 %]; 10 % are declared; 7 of them were answered by both versions: "
        "look at what answers are lost, and at how the gateway draws"
    )


@pytest.mark.parametrize("more", [{"mute": ("new",)}, {"undrawn": {"new": 50, "old": 0}}], ids=["own image", "older"])
def test_who_cannot_tell_what_was_drawn_is_not_called_wrong(more: Any) -> None:
    assert found(0, 2_000, **more).reason == "NotRecorded"
    assert found(10, 1_990, **more).reason == "Mismatch", "it does tell"


def test_an_answer_about_another_step_says_nothing() -> None:
    assert found(0, 2_000, since=stamp(STEP.since - 60)).reason == "NotSeen"
    assert ratio(STEP, None, mute=(), why="the recorder sleeps").words.endswith(": the recorder sleeps")


def test_shares_that_look_wrong_where_answers_went_unrecorded_are_not_called_so() -> None:
    assert found(700, 9_300).reason == "Mismatch"
    lossy = found(700, 9_300, dropping=("new",))
    assert (lossy.status, lossy.reason) == ("Unknown", "NotRecorded")
    assert found(1_000, 9_000, dropping=("new",)).status == "True"
