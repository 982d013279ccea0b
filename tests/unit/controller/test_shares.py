"""A step's shares against what was counted, decision by decision: what is asked, said, and held."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from mandate.api.moments import instant, stamp
from mandate.controller.choice import status_of
from mandate.controller.decide import decide
from mandate.controller.events import changes
from mandate.controller.snapshot import LiveUnavailable
from mandate.controller.standing import to_count
from mandate.evidence.live import Drawn
from mandate.rollout.gateway import CALM
from tests.unit.controller.judged import revision_of
from tests.unit.controller.test_climb import RECORDING
from tests.unit.controller.test_gateway import BEHIND_IT, OLD, STEP, Cluster, first, second, shares


def climbing(**changes: Any) -> Cluster:
    """Version 2 has 10 % of the requests, version 1 the rest."""
    cluster = second(autonomy__shadow={"minDuration": "0s", "minPredictions": 0}, **changes)
    assert cluster.split() == shares(v1=90, v2=10)
    cluster.snapshot = replace(cluster.snapshot, settings=RECORDING)
    return cluster


def counted(cluster: Cluster, *, new: int, old: int) -> None:
    """What the recorder answers to the question that is asked now."""
    step = to_count(cluster.snapshot)
    assert step is not None
    units = {revision_of(cluster.snapshot.mdep): new, OLD["revision"]: old}
    assert set(units) == set(step.revisions)
    answer = Drawn(
        namespace="lending",
        model="credit",
        since=stamp(step.since),
        until=stamp(cluster.at),
        units=units,
        several=0,
        undrawn=dict.fromkeys(units, 0),
    )
    cluster.snapshot = replace(cluster.snapshot, drawn=answer)


def test_a_step_is_counted_from_when_nothing_older_can_be_under_way() -> None:
    cluster = climbing()
    step, candidate = to_count(cluster.snapshot), status_of(cluster.snapshot.mdep).candidate
    assert step is not None
    assert candidate is not None
    assert candidate.begun is not None
    assert (step.share, step.since) == (Fraction(1, 10), instant(candidate.begun) + CALM)
    assert cluster.condition("SharesAsDeclared")[:2] == ("Unknown", "NotSeen")


def test_a_share_that_is_another_than_declared_holds_the_climb_and_is_told() -> None:
    cluster = climbing()
    before = cluster.snapshot.mdep["status"]["conditions"]
    cluster.at += STEP + 60
    counted(cluster, new=1_300, old=8_700)
    cluster.rest()
    assert cluster.split() == shares(v1=90, v2=10)
    status, reason, words = cluster.condition("SharesAsDeclared")
    assert (status, reason) == ("False", "Mismatch")
    assert "1 300 of 10 000 draws" in words
    assert f"its share isn't as declared: {words}" in cluster.condition("Granted")[2]
    notes = {note.reason: note for note in changes(before, cluster.snapshot.mdep["status"]["conditions"])}
    assert notes["Mismatch"].warning
    again = decide(cluster.snapshot, cluster.at).again
    assert again is not None
    assert again <= RECORDING.live_every, "what is counted changes without an event that says so"

    counted(cluster, new=1_000, old=9_000)
    cluster.rest()
    assert cluster.split() == shares(v1=50, v2=50)
    assert cluster.condition("SharesAsDeclared")[0] == "Unknown", "the next step is counted anew"


def test_a_share_as_declared_is_said_and_too_few_requests_hold_nobody() -> None:
    cluster = climbing()
    cluster.at += 600
    counted(cluster, new=1_000, old=9_000)
    cluster.rest()
    assert cluster.condition("SharesAsDeclared")[:2] == ("True", "Shown")
    cluster.at += STEP
    counted(cluster, new=0, old=3)
    cluster.rest()
    assert cluster.split() == shares(v1=50, v2=50)


def test_a_recorder_that_cant_be_asked_holds_nobody_and_is_named() -> None:
    cluster = climbing()
    cluster.snapshot = replace(cluster.snapshot, drawn=LiveUnavailable("the recorder sleeps"))
    cluster.rest()
    assert cluster.condition("SharesAsDeclared")[1:] == (
        "NotSeen",
        "version 2 at Automate at 10 %: the recorder sleeps",
    )
    cluster.wait(STEP + 60)
    assert cluster.split() == shares(v1=50, v2=50)


def test_beside_the_fallback_nothing_is_asked() -> None:
    cluster = first(autonomy__shadow={"minDuration": "0s", "minPredictions": 0}, **BEHIND_IT)
    cluster.rest()
    assert cluster.split() == {"1": Fraction(1, 10), "Fallback": Fraction(9, 10)}
    assert to_count(cluster.snapshot) is None
    assert cluster.condition("SharesAsDeclared")[:2] == ("Unknown", "NotRecorded")


def test_nothing_is_said_of_whoever_has_everything() -> None:
    cluster = climbing()
    cluster.wait(STEP + 60)
    cluster.wait(STEP + 60)
    assert cluster.split() == shares(v2=100)
    assert not [item for item in status_of(cluster.snapshot.mdep).conditions if item.type == "SharesAsDeclared"]
