"""A story that lacks anything of what it must show has problems, at whatever length it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.story.ledger import FALLBACK, Entry, Share, Summary
from tests.e2e.story.telling import ANSWERS, MOVES, Plan, Told

PLAN = Plan(requests=1000, kills=5, rate=40, day=60, gap=22, restart=True, sharp=True)
SHARES = (
    Share(version="2", declared=0.1, count=130, total=1300),
    Share(version="1", declared=0.9, count=1170, total=1300),
    Share(version="2", declared=0.5, count=650, total=1300),
)
LATER = Entry(id="x", address="act", sent=1, ended=2, status=0, error="TimeoutError: ")


def summary(**fields: Any) -> Summary:
    well: dict[str, Any] = {
        "requests": 1000,
        "counted": 1000,
        "lost": (),
        "ungranted": (),
        "trailing": 3,
        "kills": 5,
        "restarts": 1,
        "shares": SHARES,
        "demotion": 3.0,
        "answers": dict.fromkeys(ANSWERS, 100),
        "grace": 5.0,
    }
    return Summary(**{**well, **fields})


def told(**fields: Any) -> Told:
    well: dict[str, Any] = {
        "plan": PLAN,
        "summary": summary(),
        "history": [{"what": what, "version": version, "after": after} for what, version, after in sorted(MOVES)],
        "began": 0.0,
        "took": 100.0,
        "gone": 4.0,
        "refuted": "right-in-use: overall: 0.76 misses >= 0.8",
        "showed": 80.0,
        "pairs": {"paired": 50},
        "decisions": {"blind": {"count": 5}, "shown": {"count": 50}},
    }
    return Told(**{**well, **fields})


def test_a_story_that_went_well_has_no_problem() -> None:
    assert told().problems() == []


UNASKED = "nobody was asked while version 2 had 10%"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"summary": summary(lost=(LATER,))}, "lost: "),
        ({"summary": summary(ungranted=(LATER,))}, "ungranted: "),
        ({"summary": summary(counted=999)}, "not counted: 1000 requests were sent, 999 have an entry"),
        ({"summary": summary(demotion=5.1)}, "slow: "),
        ({"summary": summary(requests=999, counted=999)}, "too few requests: 999, expected 1000"),
        ({"summary": summary(kills=4)}, "too few kills of the operator: 4, expected 5"),
        ({"summary": summary(restarts=0)}, "too few restarts of the API server: 0, expected 1"),
        ({"pairs": {}}, "too few pairs at Shadow: 0, expected 50"),
        ({"decisions": {}}, "too few decisions before the answer was seen: 0, expected 5"),
        ({"decisions": {"blind": {"count": 5}, "shown": {"count": 49}}}, "too few decisions with the answer in sight"),
        ({"refuted": "something else"}, "version 2 came down because 'something else', expected right-in-use"),
        ({"summary": summary(shares=SHARES[2:])}, UNASKED),
        ({"summary": summary(shares=(replace(SHARES[0], count=13), *SHARES[1:]))}, "beyond sampling error: v2 10%"),
        (
            {"summary": summary(shares=(Share(version="2", declared=0.1, count=10, total=78), *SHARES[1:]))},
            "too few answers to judge a share: v2 10%: 10/78, 0 to 23 would pass",
        ),
    ],
)
def test_each_thing_that_is_amiss_is_a_problem(fields: dict[str, Any], expected: str) -> None:
    problems = told(**fields).problems()
    assert any(problem.startswith(expected) for problem in problems), problems


def test_each_move_must_happen() -> None:
    history = told().history
    for place, entry in enumerate(history):
        [problem] = told(history=history[:place] + history[place + 1 :]).problems()
        assert problem == f"didn't happen: {entry['what']} {entry['version']} {entry['after']}"


def test_nobody_else_answers_and_each_does() -> None:
    for who in sorted(ANSWERS):
        left = dict.fromkeys(ANSWERS - {who}, 100)
        [problem] = told(summary=summary(answers=left)).problems()
        assert problem == f"nobody answered so: {' '.join(who)}"
    # As the headers have it the fallback answered; by its own words version 2 did.
    more = dict.fromkeys({*ANSWERS, ("act", FALLBACK, "2")}, 100)
    assert told(summary=summary(answers=more)).problems() == ["nobody should answer so: act Fallback 2"]


def test_a_short_story_needs_no_sharp_shares() -> None:
    short = summary(shares=(Share(version="2", declared=0.1, count=10, total=78), *SHARES[1:]), restarts=0)
    assert told(plan=replace(PLAN, sharp=False, restart=False), summary=short).problems() == []
