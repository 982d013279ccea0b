"""The story's figures find their place in the page, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.story.ledger import FALLBACK, RULE, Share, Summary
from tests.e2e.story.telling import Plan, Told
from tests.e2e.story.writing import BEGIN, END, figures, written

PAGE = Path(__file__).parents[2] / "docs" / "user" / "story.md"


def told() -> Told:
    summary = Summary(
        requests=3,
        counted=3,
        lost=(),
        ungranted=(),
        trailing=1,
        kills=2,
        restarts=1,
        shares=(
            Share(version="2", declared=0.1, count=1, total=10),
            Share(version=FALLBACK, declared=0.9, count=9, total=10),
        ),
        demotion=3.25,
        answers={("act", "Automate", "2"): 2, ("suggest", FALLBACK, RULE): 1},
        grace=5,
        chance=0.001,
    )
    climbed = {
        "at": "1970-01-01T00:01:40Z",
        "what": "Promoted",
        "version": "2",
        "after": "Suggest",
        "evidence": "e; 5 seen",
    }
    plan = Plan(requests=3, kills=2, rate=1, day=8, gap=1, restart=True)
    agreement = {"mean": "0.95", "lower": "0.9", "upper": "0.975"}
    return Told(
        plan=plan,
        summary=summary,
        history=[climbed],
        began=90,
        took=60,
        gone=4,
        showed=83,
        refuted="in use: a | b",
        pairs={"paired": 1200, "agreement": agreement},
        decisions={"blind": {"count": 12}, "shown": {"count": 1300, "agreement": agreement}},
    )


def test_the_figures_say_what_was_measured() -> None:
    text = figures(told(), machine="2 cores")
    assert "requests=3 lost=0 ungranted=0 trailing=1 kills=2 api_restarts=1 demotion_seconds=3.2\n" in text
    assert "| 10 s | Promoted | 2 | – → Suggest |  (5 seen) |" in text
    assert "requests a second, 8 s a day, a Lease of 10 s." in text
    assert "| version 2: 10 % | 10.00 % | 0.00 % to 50.00 % | 10 |" in text
    assert "in at most 0.001 of cases" in text
    assert "83 s after the fault began, version 2 came down because `in use: a | b`." in text
    assert "| `flights` | Automate | version 2 | 2 |" in text
    assert "| `flights-suggest` | Fallback | the rule | 1 |" in text
    assert "back after 4.0 s" in text
    assert (
        "answered 1,200 requests that version 1 answered to the caller, 95.0 % [90.0 %, 97.5 %] of them alike." in text
    )
    assert "12 before they saw the answer, 1,300 with the answer in sight, 95.0 % [90.0 %, 97.5 %] of them" in text


def test_only_the_place_for_figures_is_written_anew() -> None:
    page = PAGE.read_text()
    after = written(page, "new")
    assert after.startswith(page.partition(BEGIN)[0])
    assert f"{BEGIN}\n\nnew\n\n{END}" in after
    assert written(after, "new") == after
    with pytest.raises(ValueError, match="no place for figures"):
        written("nothing", "new")
