"""What is missing, in words and in time."""

from __future__ import annotations

import pytest

from mandate.rollout.inputs import Minimum, Seen
from mandate.rollout.waiting import about, missing


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
