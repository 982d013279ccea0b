"""The candidate beside the champion: since when, on what, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from mandate.api.kinds import PairsStatus
from mandate.evidence.live import Live
from mandate.rollout.inputs import Compared, Minimum, Seen
from mandate.rollout.ladder import step
from mandate.rollout.pairs import Comparison, compared, comparison, follow, is_news
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import Holder, Rung, State
from tests.unit.rollout.test_ladder import RULES, T0, asks, verb
from tests.unit.rollout.test_ladder import holder as standing

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
FULL, QUARTER = Fraction(1), Fraction(1, 4)
NOTHING = {"count": 0, "sum": 0.0, "sumSquares": 0.0}


def holder(name: str, level: str, since: int = T0) -> Holder:
    return standing(name, Rung(level, 100 if level == "Automate" else 0), since=since, begun=since)  # type: ignore[arg-type]


STATE = State(champion=holder(A, "Automate"), candidate=holder(B, "Shadow"))


def begun(copied: Fraction = FULL, *, now: float = T0 + 30) -> PairsStatus:
    record = follow(None, STATE, copied={B: copied}, live=None, now=now)
    assert record is not None
    return record


def part(paired: int, agree: int, *, unpaired: int = 0, waiting: int = 0, **more: Any) -> dict[str, Any]:
    counts = {"paired": paired, "missing": unpaired, "waiting": waiting, "compared": paired, "agree": agree}
    right = {"both": 0, "revision": 0, "against": 0, "neither": 0}
    moments = dict.fromkeys(("scoreDifference", "latencyDifference", "absoluteErrorDifference"), NOTHING)
    return counts | {"right": right} | moments | more


def live(record: PairsStatus, overall: dict[str, Any], slices: dict[str, Any] | None = None, **more: Any) -> Live:
    none = dict.fromkeys(("count", "overridden", "labelled", "humanRight", "modelRight", "bothRight"), 0)
    document = {
        "namespace": "lending", "model": "credit", "revision": record.revision, "against": record.against,
        "pairsSince": record.since, "task": "Binary", "positive": "bad", "since": record.since,
        "until": "2026-03-01T00:00:00.000Z", "predictions": 9, "failed": 0, "labelled": 0, "latency": NOTHING,
        "outcomes": {"overall": {"tp": 0, "fp": 0, "tn": 0, "fn": 0}}, "decisions": {"shown": none, "blind": none},
        "pairs": {"overall": overall, "slices": slices or {}}, "conflicts": 0, "unknown": 0, "dropped": 0,
    }  # fmt: skip
    return Live.model_validate(document | more)


def test_they_are_compared_from_when_copies_are_seen_to_flow() -> None:
    assert follow(None, STATE, copied={}, live=None, now=T0 + 10) is None
    record = begun()
    assert (record.revision, record.against, record.copied) == (B, A, "1/1")
    assert STATE.candidate is not None
    assert comparison(record, STATE, STATE.candidate) == Comparison(against=A, since=record.since)
    assert comparison(None, STATE, STATE.candidate) is None
    assert STATE.champion is not None
    assert comparison(record, STATE, STATE.champion) is None, "the champion is compared with nobody"
    assert follow(record, STATE, copied={B: FULL}, live=None, now=T0 + 90) == record
    assert follow(record, STATE, copied={}, live=None, now=T0 + 90) == record, "an interruption shows as missing pairs"


def test_another_share_begins_anew() -> None:
    record = follow(begun(FULL), STATE, copied={B: QUARTER}, live=None, now=T0 + 600)
    assert record is not None
    assert (record.copied, record.paired) == ("1/4", 0)
    assert record.since > begun().since


def test_so_do_another_champion_another_candidate_and_another_time_at_shadow() -> None:
    record = begun()
    for state in (
        replace(STATE, champion=holder(C, "Suggest")),
        replace(STATE, candidate=holder(C, "Shadow")),
        replace(STATE, candidate=holder(B, "Shadow", since=T0 + 300)),
    ):
        after = follow(record, state, copied={B: FULL, C: FULL}, live=None, now=T0 + 600)
        assert after is not None
        assert after.since > record.since
    assert follow(record, State(champion=STATE.champion), copied={}, live=None, now=T0 + 600) is None


@pytest.mark.parametrize(
    "state",
    [
        replace(STATE, champion=holder(A, "Shadow")),
        replace(STATE, champion=None),
        replace(STATE, candidate=holder(B, "Suggest")),
        replace(STATE, candidate=holder(B, "Automate")),
    ],
    ids=["champion at Shadow", "no champion", "candidate at Suggest", "candidate at Automate"],
)
def test_only_while_one_answers_and_the_other_gets_copies(state: State) -> None:
    assert state.candidate is not None
    assert state.rival(state.candidate) is None
    assert follow(None, state, copied={B: FULL}, live=None, now=T0 + 30) is None


def test_what_was_found_at_shadow_stays_while_the_candidate_climbs() -> None:
    record = begun()
    found = follow(record, STATE, copied={B: FULL}, live=live(record, part(90, 81)), now=T0 + 90)
    higher = replace(STATE, candidate=holder(B, "Suggest", since=T0 + 900))
    assert follow(found, higher, copied={}, live=None, now=T0 + 990) == found
    crowned = State(champion=holder(B, "Automate"))
    assert follow(found, crowned, copied={}, live=None, now=T0 + 990) is None


def test_what_is_found() -> None:
    record = begun(QUARTER)
    differences = {"count": 900, "sum": 9.0, "sumSquares": 90.0, "min": -1.0, "max": 1.0}
    overall = part(
        900, 810, unpaired=2700, waiting=400,
        scoreDifference=differences,
        latencyDifference={"count": 1, "sum": 2.5, "sumSquares": 6.25, "min": 2.5, "max": 2.5},
        right={"both": 5, "revision": 3, "against": 2, "neither": 1},
    )  # fmt: skip
    slices = {"age": {"values": {"old": part(450, 360), "young": part(450, 450), "tiny": part(2, 1)}}}
    found = follow(record, STATE, copied={B: QUARTER}, live=live(record, overall, slices), now=T0 + 90)
    assert found is not None
    assert (found.paired, found.unpaired, found.waiting, found.compared) == (900, 2700, 400, 900)
    assert found.missing is not None
    assert found.missing.mean == "0.1", "900 of the 1000 copies of 4000 requests, those that are waited for counted"
    assert found.missing.lower is not None
    assert found.missing.upper is not None
    assert float(found.missing.lower) < 0.1 < float(found.missing.upper)
    assert found.agreement is not None
    assert (found.agreement.mean, found.agreement.lower is not None) == ("0.9", True)
    assert found.score_difference is not None
    assert (found.score_difference.mean, found.score_difference.lower is not None) == ("0.01", True)
    assert found.latency_difference is not None
    assert (found.latency_difference.mean, found.latency_difference.lower) == ("2.5", None), "one shows nothing"
    assert found.right is not None
    assert (found.right.candidate, found.right.champion) == (3, 2)
    assert found.error_difference is None
    assert [(each.slice, each.value, each.agreement.mean) for each in found.slices] == [
        ("age", "old", "0.8"),
        ("age", "tiny", "0.5"),
    ]
    lone = found.slices[0].agreement
    assert float(lone.lower or 0) < 0.8 < float(lone.upper or 1)


@pytest.mark.parametrize(
    "other",
    [{"against": C}, {"revision": C}, {"pairsSince": "2026-02-28T00:00:00.000Z"}, {"pairs": None, "against": None}],
    ids=["another champion", "another candidate", "from another time", "without pairs"],
)
def test_an_answer_to_another_question_is_no_evidence(other: dict[str, Any]) -> None:
    record = begun()
    answer = live(record, part(1000, 1000), **other)
    assert compared(record, answer) is None
    assert follow(record, STATE, copied={B: FULL}, live=answer, now=T0 + 90) == record
    counted = compared(record, live(record, part(90, 81, unpaired=9, waiting=1)))
    assert counted is not None
    assert (counted.against, counted.paired, counted.rows) == (A, 90, 100)


def test_a_few_more_are_no_news() -> None:
    record = begun()

    def at(paired: int, agree: int) -> PairsStatus | None:
        return follow(record, STATE, copied={B: FULL}, live=live(record, part(paired, agree)), now=T0 + 90)

    assert is_news(None, record)
    assert is_news(record, at(10, 10))
    assert not is_news(at(1010, 1000), at(1020, 1010))
    assert is_news(at(1010, 1000), at(2100, 2080))
    assert is_news(at(1010, 1000), at(1060, 1000)), "they begin to disagree"


ASKING = replace(RULES, shadow=Minimum(max_missing_pairs=0.05))


def held(state: State, **more: Any) -> str:
    found = step(state, asks(B, rules=ASKING, judgements=JUDGED, true=desired_shares(state), **more), T0 + 900)
    assert found.state.candidate is not None
    return found.held if found.state.candidate.rung.level == "Shadow" else ""


JUDGED = {name: next(iter(asks("a").judgements.values())) for name in (A, B)}
SEEN = Seen(since=T0, until=T0 + 800, predictions=1000)
GOOD = Compared(against=A, since=T0 + 30, copied=FULL, paired=995, rows=1000)


def test_missing_pairs_hold_the_climb_from_shadow() -> None:
    nothing = "missing pairs aren't shown to be <= 5 %: nothing is compared with the champion yet"
    assert nothing in held(STATE)
    assert nothing in held(STATE, seen={B: SEEN})
    assert held(STATE, seen={B: replace(SEEN, compared=GOOD)}) == ""
    for stale in (replace(GOOD, against=C), replace(GOOD, since=T0 - 30), replace(GOOD, paired=0, rows=0)):
        assert nothing in held(STATE, seen={B: replace(SEEN, compared=stale)})
    many = replace(SEEN, compared=replace(GOOD, paired=800))
    assert "missing pairs 20.0 % [" in held(STATE, seen={B: many})
    assert "miss <= 5 %" in held(STATE, seen={B: many})
    asked = {"seen": {B: many}, "verbs": (verb("Promote"),)}
    assert "missing pairs" in held(STATE, **asked), "promote skips time, never evidence"
    gone = held(STATE, unknown={B: "no recorder is configured"})
    assert "missing pairs <= 5 % can't be shown: no recorder is configured" in gone


def test_where_no_champion_answers_nothing_is_asked_of_pairs() -> None:
    assert held(replace(STATE, champion=None)) == ""
    assert held(replace(STATE, champion=holder(A, "Shadow"))) == ""
