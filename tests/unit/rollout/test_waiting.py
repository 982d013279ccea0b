"""What is missing, in words and in time."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from mandate.rollout.inputs import Compared, Minimum, Seen
from mandate.rollout.waiting import ALPHA, about, missing, missing_limits


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "under a minute"),
        (61, "about 2 min"),
        (5000, "about 84 min"),
        (5400, "about 2 h"),
        (32_000, "about 9 h"),
        (172_800, "about 2 d"),
        (1e9, "about 11 575 d"),
    ],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_the_issue_s_own_words() -> None:
    seen = Seen(since=0, until=15 * 3600, labelled=312)
    assert [item.words for item in missing("Suggest", Minimum(labelled=500), seen, lived=1)] == [
        "312 of 500 labelled rows, about 10 h"
    ]


def test_an_override_rate_must_be_shown() -> None:
    asked = Minimum(max_override_rate=0.05)

    def words(decisions: int, overridden: int) -> str:
        seen = Seen(since=0, until=3600, decisions=decisions, overridden=overridden)
        return "; ".join(item.words for item in missing("Suggest", asked, seen, lived=1))

    assert words(2000, 60) == ""
    assert words(200, 40).startswith("override rate 20.0 % [")
    assert words(200, 40).endswith("] misses <= 5 %")
    assert "more decisions, about" in words(200, 4)
    assert words(200, 10).endswith("can't be told from <= 5 %; it sits on the limit")
    assert words(0, 0) == "the override rate isn't shown to be <= 5 %: no decision is recorded yet"
    assert missing("Suggest", asked, None, lived=1)[0].seconds is None


def test_blind_decisions_are_counted() -> None:
    def words(blind: int) -> list[str]:
        seen = Seen(since=0, until=3600, decisions=900, blind=blind)
        return [item.words for item in missing("Suggest", Minimum(blind=50), seen, lived=1)]

    assert words(12) == ["12 of 50 blind decisions, about 4 h"]
    assert words(0) == ["0 of 50 blind decisions, and none came yet"]
    assert words(50) == []
    assert missing("Suggest", Minimum(blind=50), None, lived=1), "missing evidence is never a pass"
    gone = missing("Suggest", Minimum(blind=50), None, lived=1, unknown="no recorder is configured")
    assert [item.words for item in gone] == ["50 blind decisions can't be shown: no recorder is configured"]


def test_only_time_can_be_waited_out() -> None:
    found = missing("Shadow", Minimum(duration=60, predictions=5), None, lived=20)
    assert [(item.words, item.seconds) for item in found] == [
        ("Shadow must last 1m, under a minute more", 40),
        ("0 of 5 predictions, and none came yet", None),
    ]


def test_nothing_asked_is_nothing_missing() -> None:
    assert missing("Shadow", Minimum(), None, lived=None) == ()


def test_what_nobody_counts_is_not_called_nought() -> None:
    asked = Minimum(duration=60, predictions=5, labelled=1000, max_override_rate=0.05)
    found = missing("Suggest", asked, None, lived=60, unknown="no recorder is configured")
    assert [item.words for item in found] == [
        "5 predictions and 1 000 labelled rows and an override rate <= 5 % can't be shown: no recorder is configured"
    ]
    assert missing("Suggest", Minimum(duration=60), None, lived=60, unknown="no recorder is configured") == ()


def pairs(rows: int, paired: int, *, copied: Fraction = Fraction(1)) -> Compared:
    return Compared(against="a", since=1800, copied=copied, paired=paired, rows=rows)


def test_missing_pairs_must_be_shown_to_be_few() -> None:
    asked = Minimum(max_missing_pairs=0.05)

    def words(compared: Compared | None) -> str:
        seen = Seen(since=0, until=3600, compared=compared)
        found = missing("Shadow", asked, seen, lived=1)
        assert all(item.seconds is None for item in found), "no waiting makes up for it"
        return "; ".join(item.words for item in found)

    nothing = "missing pairs aren't shown to be <= 5 %: nothing is compared with the champion yet"
    assert words(None) == words(pairs(0, 0)) == nothing
    assert words(pairs(2000, 1960)) == ""
    assert words(pairs(3, 3)).startswith("missing pairs 0.0 % [0.0 %, ")
    assert words(pairs(200, 196)).endswith(" more answers to compare, about 60 min")
    assert words(pairs(2000, 1600)).endswith("] miss <= 5 %")
    assert words(pairs(2000, 1900)).endswith("can't be told from <= 5 %; they sit on the limit")
    quarter = Fraction(1, 4)
    assert words(pairs(40_000, 9_950, copied=quarter)) == ""
    assert "can't be told from" in words(pairs(2000, 500, copied=quarter)), "fewer copies show less"
    assert words(pairs(2000, 1000, copied=quarter)).endswith(
        "the gateway copies 25 % of requests, and more of them have both answers"
    )


@pytest.mark.parametrize(("copied", "lost"), [(Fraction(1, 4), 0.1), (Fraction(1), 0.02), (Fraction(1, 2), 0.0)])
def test_limits_of_missing_pairs_hold_at_any_time(copied: Fraction, lost: float) -> None:
    """Copies drawn by chance, some of them lost: at how many of 30 looks the limits ever leave the truth."""
    luck, paths, wrong = random.Random(7), 100, 0
    for _ in range(paths):
        paired, left = 0, False
        for rows in range(1, 601):
            paired += luck.random() < float(copied) and luck.random() >= lost
            if rows % 20 == 0:
                limits = missing_limits(pairs(rows, paired, copied=copied))
                left |= limits is None or not limits[0] <= lost <= limits[1]
        wrong += left
    # Twice ALPHA of 100 paths are 5 at most on average; 13 or more has a chance below 0.2 %.
    assert wrong <= 12, f"{wrong} of {paths} at an error of {2 * ALPHA}"
