"""The arithmetic of the story's ledger: what is lost, ungranted, a fair share; how long coming down took."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.e2e.story.ledger import (
    FALLBACK,
    RULE,
    Entry,
    Share,
    Spell,
    Split,
    came_down,
    observed,
    spells,
    standing,
    summed_up,
)


def entry(sent: float, version: str = "1", **fields: Any) -> Entry:
    said = {"autonomy": "Automate" if version else FALLBACK, "address": "act", "status": 200, "ended": sent + 0.1}
    said |= {"answered": version or RULE}
    return Entry(id=f"{sent}", sent=sent, version=version, **{**said, **fields})


def test_spells_last_while_a_version_keeps_its_level() -> None:
    seen = [
        (0.0, {}),
        (1.0, {"1": "Shadow"}),
        (2.0, {"1": "Suggest"}),
        (3.0, {"1": "Suggest", "2": "Shadow"}),
        (4.0, {}),
    ]
    assert set(spells(seen)) == {
        Spell(version="1", level="Shadow", since=1, until=2),
        Spell(version="1", level="Suggest", since=2, until=4),
        Spell(version="2", level="Shadow", since=3, until=4),
    }
    assert spells([(1.0, {"1": "Automate"})])[0].until == float("inf")


AUTOMATE = (Spell(version="1", level="Automate", since=10, until=20), Spell(version="1", level="Suggest", since=20))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (entry(15), "granted"),
        (entry(9.95), "granted"),  # granted before it was answered
        (entry(5), "ungranted"),
        (entry(22), "trailing"),
        (entry(26), "ungranted"),
        (entry(15, "2"), "ungranted"),
        (entry(15, ""), "granted"),
        (entry(15, autonomy=""), "ungranted"),
        (entry(15, autonomy="Suggest"), "ungranted"),  # a suggestion at the address that acts
        (entry(26, autonomy="Suggest", address="suggest"), "granted"),
        (entry(15, autonomy="Automate", address="suggest"), "ungranted"),
        (entry(15, "1", autonomy=FALLBACK), "ungranted"),
        # The route's headers say what the operator wrote, the body who answered.
        (entry(15, answered="2"), "ungranted"),
        (entry(15, "2", answered="1"), "ungranted"),
        (entry(15, answered=RULE), "ungranted"),
        (entry(15, "", answered="1"), "ungranted"),
        (entry(15, "", answered="2"), "ungranted"),
        (entry(22, answered="2"), "ungranted"),
        (entry(26, autonomy="Suggest", address="suggest", answered="2"), "ungranted"),
    ],
)
def test_who_may_answer(asked: Entry, expected: str) -> None:
    assert standing(asked, AUTOMATE, grace=5) == expected


def test_shares_count_what_was_sent_after_a_change_and_answered_before_the_next() -> None:
    tenth, half = {"1": 0.9, "2": 0.1}, {"1": 0.5, "2": 0.5}
    splits = [Split(since=0, until=100, shares=tenth), Split(since=100, until=200, shares=half)]
    entries = [entry(at, "2" if at % 10 == 0 else "1") for at in range(100)]
    entries += [entry(at, "2" if at % 2 else "1") for at in range(100, 200)]
    entries += [entry(99.95), entry(100.5), entry(150, "", status=503), entry(150, address="suggest")]
    found = {
        (share.version, share.declared): (share.count, share.total) for share in observed(entries, splits, settle=1)
    }
    # The first of each split is sent while the gateway may not have it yet.
    assert found == {("1", 0.9): (90, 99), ("2", 0.1): (9, 99), ("1", 0.5): (49, 99), ("2", 0.5): (50, 99)}


def test_who_had_no_share_and_answered_is_shown() -> None:
    shares = observed(
        [entry(5, "3"), entry(6, "3")], [Split(since=0, until=10, shares={"1": 1.0, "2": 1e-6})], settle=1
    )
    assert {(share.version, share.count, share.fair()) for share in shares} == {("1", 0, False), ("3", 2, False)}


def test_shares_are_those_of_who_answered_whatever_the_headers_say() -> None:
    split = Split(since=0, until=10, shares={"1": 0.5, FALLBACK: 0.5})
    shares = observed([entry(5, answered="2"), entry(6, answered=RULE), entry(7)], [split], settle=1)
    assert {(share.version, share.count) for share in shares} == {("1", 1), ("2", 1), (FALLBACK, 1)}


def test_what_nobody_can_read_is_lost() -> None:
    assert entry(5, answered="").lost
    assert not entry(5).lost


def share(count: int, total: int = 1000, declared: float = 0.1) -> Share:
    return Share(version="2", declared=declared, count=count, total=total)


def tails(count: int, total: int, declared: float) -> float:
    """Twice the smaller tail of the binomial distribution, summed term by term."""
    terms = [math.comb(total, k) * declared**k * (1 - declared) ** (total - k) for k in range(total + 1)]
    return 2 * min(sum(terms[: count + 1]), sum(terms[count:]))


@pytest.mark.parametrize(("total", "declared", "chance"), [(78, 0.1, 1e-3), (75, 0.5, 1e-3), (1000, 0.1, 1e-6)])
def test_a_share_is_fair_while_both_tails_are_as_likely_as_said(total: int, declared: float, chance: float) -> None:
    for count in range(total + 1):
        assert share(count, total, declared).fair(chance) is (tails(count, total, declared) >= chance), count


def test_a_few_answers_tell_little_and_a_thousand_tell_half_a_share() -> None:
    assert share(10, 78).passing(1e-6) == (0, 23)
    assert share(10, 78).passing(1e-3) == (1, 18)
    assert not share(10, 78).sharp(1e-3)
    assert share(100, 1000).passing(1e-6) == (57, 149)
    assert share(100, 1000).sharp()
    assert not share(80, 800).sharp()


def test_one_in_a_million_may_answer() -> None:
    assert share(999, declared=0.999999).fair()
    assert share(999, declared=1.0).fair()
    assert not share(998, declared=1.0).fair()


def test_coming_down_takes_until_the_last_answer_of_its_own() -> None:
    entries = [entry(9), entry(12), entry(13, ""), entry(14, "1", address="suggest", autonomy="Suggest")]
    assert came_down(entries, version="1", verdict=10) == pytest.approx(2.1)
    assert came_down(entries[:1], version="1", verdict=10) == 0


def test_the_summary_names_what_must_not_be() -> None:
    entries = [entry(15), entry(16, status=0, version="", autonomy="", error="reset"), entry(30), entry(21)]
    splits = [Split(since=0, until=40, shares={"1": 0.5, FALLBACK: 0.5})]
    summary = summed_up(
        entries,
        sent=4,
        granted=AUTOMATE,
        splits=splits,
        grace=5,
        settle=1,
        kills=2,
        restarts=1,
        version="1",
        verdict=20,
    )
    assert (summary.requests, len(summary.lost), len(summary.ungranted), summary.trailing) == (4, 1, 1, 1)
    assert str(summary).startswith(
        "requests=4 lost=1 ungranted=1 trailing=1 kills=2 api_restarts=1 demotion_seconds=10.1"
    )
    assert [problem.split(":")[0] for problem in summary.problems()] == ["lost", "ungranted", "slow"]
    assert "v1 50%: 3/3" in str(summary)


@pytest.mark.parametrize(
    ("entries", "sent", "expected"),
    [
        ([entry(15), entry(16)], 2, []),
        ([entry(15), entry(16)], 3, ["not counted"]),  # one vanished
        ([entry(15), entry(15)], 2, ["not counted"]),  # one counts twice
        ([entry(15), entry(16, answered="2")], 2, ["ungranted"]),
        ([entry(15), entry(16, "", answered="2")], 2, ["ungranted"]),
        ([entry(15), entry(16, answered="")], 2, ["lost"]),
        ([entry(15), entry(24.95)], 2, ["slow"]),
    ],
)
def test_a_wrong_body_or_a_missing_entry_is_a_problem(entries: list[Entry], sent: int, expected: list[str]) -> None:
    summary = summed_up(
        entries, sent=sent, granted=AUTOMATE, splits=[], grace=5, settle=1, kills=0, restarts=0, version="1", verdict=20
    )
    assert [problem.split(":")[0] for problem in summary.problems()] == expected
