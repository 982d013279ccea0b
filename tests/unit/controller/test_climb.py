"""Up the ladder, decision by decision: what is on record, who is granted, who answers, and what one waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentStatus
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_REVISION
from mandate.controller import desired
from mandate.controller.choice import status_of, understood, wanted
from mandate.controller.decide import decide
from mandate.controller.events import changes
from mandate.controller.plan import SetStatus
from mandate.controller.snapshot import LiveUnavailable, ModelSnapshot
from mandate.controller.standing import to_ask
from mandate.evidence.live import Live
from mandate.rollout.ladder import LOOK_AT_CLOCK
from mandate.rollout.record import state_of
from mandate.verdict.criteria import criteria_digest
from tests.unit.controller.judged import (
    SETTINGS,
    applied,
    declared,
    deployment,
    granted,
    judged,
    raw,
    revision_of,
    settled,
    standing,
    written,
)
from tests.unit.controller.samples import SPEC

NOW = instant("2026-01-02T00:00:00Z")
STEP = 6 * 3600.0
OLD = standing("1", "Automate", share=100)


def start(version: str = "2", *, accuracy: float = 0.97, **changes: Any) -> ModelSnapshot:
    """A new version's evidence is in; version 1 is the champion and has its Pods."""
    changes = {"autonomy__target": "Automate"} | changes
    document = declared(version, status={"champion": OLD}, **changes)
    first = declared("1")
    snapshot = judged(document, accuracy=accuracy, deployments=[deployment(first)])
    kept = desired.controller_revision(first, understood(first), images=SETTINGS.images)
    return replace(snapshot, revisions=(*snapshot.revisions, kept))


def status(snapshot: ModelSnapshot) -> ModelDeploymentStatus:
    return status_of(snapshot.mdep)


def selected(snapshot: ModelSnapshot, address: str) -> str:
    revision: str = snapshot.services[address]["spec"]["selector"]["mandate.dev/revision"]
    return revision


def test_a_candidate_holds_all_traffic_for_a_step_before_it_is_the_champion() -> None:
    snapshot, again = settled(start(), NOW)
    new = revision_of(snapshot.mdep)
    before = status(snapshot)
    assert before.champion is not None
    assert before.champion.version == "1"
    assert before.candidate is not None
    assert (before.candidate.level, before.candidate.share) == ("Automate", 100)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == new
    assert again == STEP

    snapshot, again = settled(snapshot, NOW + STEP)
    after = status(snapshot)
    assert after.champion is not None
    assert after.champion.version == "2"
    assert after.candidate is None
    assert after.previous is not None
    assert (after.previous.version, after.previous.released) == ("1", False)
    assert again == STEP
    snapshot, again = settled(snapshot, NOW + 2 * STEP)
    released = status(snapshot).previous
    assert released is not None
    assert released.released
    assert again is None


def test_every_transition_is_in_the_history_with_what_it_rests_on() -> None:
    snapshot, _ = settled(start(), NOW)
    history = status(snapshot).history
    assert [item.after for item in history] == ["Shadow", "Suggest", "Automate at 100 %"]
    assert {item.what for item in history} == {"Promoted"}
    assert {item.by for item in history} == {"mandate"}
    assert {item.evidence for item in history} == {snapshot.mevals[0]["metadata"]["name"]}


@pytest.mark.parametrize(
    ("minimum", "words"),
    [
        ({"minDuration": "1h", "minPredictions": 0}, "Suggest isn't granted: Shadow must last 1h, about 60 min more"),
        ({"minDuration": "0s", "minPredictions": 5}, "Suggest isn't granted: 0 of 5 predictions"),
    ],
    ids=["time", "predictions"],
)
def test_what_shadow_must_still_see_is_said_and_the_champion_serves_on(minimum: dict[str, Any], words: str) -> None:
    snapshot, again = settled(start(autonomy__shadow=minimum), NOW)
    granted = next(item for item in status(snapshot).conditions if item.type == "Granted")
    assert granted.message.startswith(f"version 2 may act at Shadow; {words}")
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == OLD["revision"]
    assert again == (3600.0 if "1h" in minimum.values() else None)
    ready = next(item for item in status(snapshot).conditions if item.type == "Ready")
    assert ready.status == "True", "time that must pass isn't work under way"
    reconciling = next(item for item in status(snapshot).conditions if item.type == "Reconciling")
    assert (reconciling.status, reconciling.reason) == ("False", "Settled")


def test_a_champion_goes_on_by_the_criteria_it_was_judged_by() -> None:
    """Judged again by criteria that were recorded before others were, it might fall, or rise, without any news."""
    snapshot = start(accuracy=0.3)
    first = declared("1")
    own = judged(first, accuracy=0.3)
    mevals = (*snapshot.mevals, {**own.mevals[0], "metadata": {**own.mevals[0]["metadata"], "name": "credit-1"}})
    found = next(iter(own.evidence.values()))
    snapshot = replace(
        snapshot,
        mevals=mevals,
        evidence={**snapshot.evidence, "credit-1": found},
        looks={**snapshot.looks, **own.looks},
    )
    unknown, _ = settled(snapshot, NOW)
    champion = status(unknown).champion
    assert champion is not None
    assert champion.level == "Automate"

    same = {"champion": OLD | {"criteriaDigest": criteria_digest(understood(first))}}
    fallen, _ = settled(replace(snapshot, mdep={**snapshot.mdep, "status": same}), NOW)
    assert status(fallen).champion is None


def test_a_halted_model_stops_answering_though_its_spec_is_broken() -> None:
    snapshot, _ = settled(start(), NOW)
    halted = {"by": "ann", "at": "2026-01-02T00:00:00Z"}
    document = {**snapshot.mdep, "status": {**snapshot.mdep["status"], "halted": halted}}
    document["spec"] = {**document["spec"], "gates": [{"name": "g", "metric": "none", "require": {"Shadow": ">= 1"}}]}
    snapshot, _ = settled(replace(snapshot, mdep=document), NOW + 1)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == "none"
    champion = status(snapshot).champion
    assert champion is not None
    assert champion.level is None


def test_a_broken_spec_alone_changes_nothing() -> None:
    snapshot, _ = settled(start(), NOW)
    document = {**snapshot.mdep}
    document["spec"] = {**document["spec"], "gates": [{"name": "g", "metric": "none", "require": {"Shadow": ">= 1"}}]}
    plan = decide(replace(snapshot, mdep=document), NOW + 10 * STEP)
    assert [type(action) for action in plan.actions] == [SetStatus]
    after = written(plan)
    assert after is not None
    before = status(snapshot)
    assert (after.champion, after.candidate, after.previous) == (before.champion, before.candidate, before.previous)


def test_a_retry_lets_a_refused_version_be_measured_again() -> None:
    snapshot, _ = settled(start(accuracy=0.3), NOW)
    (refused,) = status(snapshot).refused
    assert (refused.reason, refused.retry) == ("GatesNotMet", "")
    metadata = {**snapshot.mdep["metadata"], "annotations": {"mandate.dev/retry": "1"}}
    plan = decide(replace(snapshot, mdep={**snapshot.mdep, "metadata": metadata}), NOW + 1)
    after = written(plan)
    assert after is not None
    assert after.refused == ()
    assert after.handled == {"Retry": "1"}
    assert after.history[-1].what == "Retried"


def test_while_the_clock_stands_back_who_serves_goes_on_and_it_is_told() -> None:
    snapshot, _ = settled(start(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}), NOW)
    known = status(snapshot)
    back = NOW - 7200
    snapshot, again = settled(snapshot, back)
    during = status(snapshot)
    assert again == LOOK_AT_CLOCK, "no event tells that the clock was set right"
    said = next(item for item in during.conditions if item.type == "ClockTrusted")
    assert (said.status, said.reason) == ("False", "ClockWentBack")
    assert "the last change on record (2026-01-02T00:00:00Z)" in said.message
    notes = changes(raw(known)["conditions"], raw(during)["conditions"])
    assert [(note.warning, note.reason) for note in notes] == [(True, "ClockWentBack")]
    assert (during.champion, during.candidate, during.history) == (known.champion, known.candidate, known.history)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == OLD["revision"]
    assert next(item for item in during.conditions if item.type == "Ready").status == "True"
    assert decide(snapshot, back + 61).actions == (), "that it lasts is no news"
    for seconds in (3600, 7199):
        snapshot, _ = settled(snapshot, back + seconds)
        since, during = during, status(snapshot)
        notes = changes(raw(since)["conditions"], raw(during)["conditions"])
        assert notes == (), "it is told once"
        assert (during.candidate, during.history) == (known.candidate, known.history)

    snapshot, again = settled(snapshot, NOW)
    assert [item.type for item in status(snapshot).conditions if item.type == "ClockTrusted"] == []
    assert again == 3600.0
    snapshot, _ = settled(snapshot, NOW + 3600)
    assert selected(snapshot, "credit") == revision_of(snapshot.mdep), "then it climbs as if nothing had been"


def test_a_halt_waits_for_no_clock() -> None:
    snapshot, _ = settled(start(), NOW)
    metadata = {**snapshot.mdep["metadata"], "annotations": {"mandate.dev/halt": "1 by ann"}}
    snapshot, _ = settled(replace(snapshot, mdep={**snapshot.mdep, "metadata": metadata}), NOW - 7200)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == "none"
    assert {item.at for item in status(snapshot).history} == {"2026-01-02T00:00:00Z"}


def used(
    snapshot: ModelSnapshot,
    now: float,
    role: str = "candidate",
    *,
    predictions: int = 0,
    right: int = 0,
    wrong: int = 0,
    failed: int = 0,
) -> ModelSnapshot:
    """What the recorder counted of the candidate, or the champion, until `now`."""
    holder = getattr(status(snapshot), role)
    sums = {"count": 0, "sum": 0, "sumSquares": 0}
    none = {"count": 0, "overridden": 0, "labelled": 0, "humanRight": 0, "modelRight": 0, "bothRight": 0}
    live = Live.model_validate(
        {
            **PLACE,
            "revision": holder.revision,
            "since": holder.since,
            "until": stamp(now),
            "predictions": predictions,
            "failed": failed,
            "labelled": right + wrong,
            "outcomes": {"overall": {"tp": right, "fp": 0, "tn": 0, "fn": wrong}},
            "latency": sums,
            "decisions": {"shown": none, "blind": none},
        }
    )
    return replace(snapshot, live={holder.revision: live})


PLACE = {"namespace": "lending", "model": "credit", "task": "Binary", "positive": "bad"} | dict.fromkeys(
    ("conflicts", "unknown", "dropped"), 0
)
RECORDING = replace(SETTINGS, recorder_url="http://recorder.mandate-system:8080")


def granted_words(snapshot: ModelSnapshot) -> str:
    return next(item for item in status(snapshot).conditions if item.type == "Granted").message


def test_shadow_ends_when_enough_was_seen_of_it() -> None:
    asked = {"minDuration": "0s", "minPredictions": 500}
    snapshot, _ = settled(replace(start(autonomy__shadow=asked), settings=RECORDING), NOW)
    snapshot, again = settled(used(snapshot, NOW + 60, predictions=312), NOW + 60)
    assert granted_words(snapshot) == (
        "version 2 may act at Shadow; Suggest isn't granted: 312 of 500 predictions, under a minute"
    )
    assert again == RECORDING.live_every
    quiet = decide(used(snapshot, NOW + 66, predictions=343), NOW + 66)
    assert quiet.actions == (), "a few more are no news"
    snapshot, _ = settled(used(snapshot, NOW + 70, predictions=420), NOW + 70)
    assert "420 of 500 predictions" in granted_words(snapshot)
    snapshot, _ = settled(used(snapshot, NOW + 90, predictions=500), NOW + 90)
    candidate = status(snapshot).candidate
    assert candidate is not None
    assert candidate.level == "Automate"
    assert "500 predictions, 0 labelled in use" in status(snapshot).history[1].evidence


def test_what_failed_is_no_prediction() -> None:
    asked = {"minDuration": "0s", "minPredictions": 500}
    snapshot, _ = settled(replace(start(autonomy__shadow=asked), settings=RECORDING), NOW)
    snapshot, _ = settled(used(snapshot, NOW + 60, predictions=1000, failed=688), NOW + 60)
    assert "312 of 500 predictions (others failed), under a minute" in granted_words(snapshot)


def test_where_use_cannot_be_seen_that_is_what_is_said() -> None:
    asked = {"minDuration": "0s", "minPredictions": 500}
    snapshot, _ = settled(start(autonomy__shadow=asked), NOW)
    candidate = status(snapshot).candidate
    assert candidate is not None
    unavailable = {candidate.revision: LiveUnavailable("no recorder is configured")}
    snapshot, again = settled(replace(snapshot, live=unavailable), NOW + 60)
    assert granted_words(snapshot).endswith(
        "Suggest isn't granted: 500 predictions can't be shown: no recorder is configured"
    )
    assert again is None, "asking again would tell nothing"


def test_a_candidate_that_fails_a_live_gate_loses_its_traffic_then_its_place() -> None:
    live = {"name": "in-use", "metric": "recall", "rows": "live", "require": {"Suggest": ">= 0.7"}}
    before = replace(start(gates=[*SPEC["gates"], live]), settings=RECORDING)
    snapshot, _ = settled(before, NOW)
    assert "nothing was seen in use since it came to Shadow" in granted_words(snapshot)
    snapshot, _ = settled(used(snapshot, NOW + 60, predictions=1000, right=900, wrong=100), NOW + 60)
    new = status(snapshot).candidate
    assert new is not None
    assert new.level == "Suggest"
    assert "nothing was seen in use since it came to Suggest" in granted_words(snapshot), "Automate asks it as well"
    snapshot, _ = settled(used(snapshot, NOW + 80, predictions=1000, right=900, wrong=100), NOW + 80)
    new = status(snapshot).candidate
    assert new is not None
    assert new.level == "Automate"
    snapshot, _ = settled(used(snapshot, NOW + 90, predictions=1000, right=880, wrong=120), NOW + 90)
    shown = next(gate for gate in status(snapshot).gates if gate.name == "in-use")
    assert shown.verdict == "Pass"
    assert shown.message.startswith("overall: 0.88 [")
    quiet = used(snapshot, NOW + 95, predictions=1000, right=881, wrong=119)
    assert decide(quiet, NOW + 95).actions == (), "a few more are no news"
    assert selected(snapshot, "credit") == new.revision

    plan = decide(used(snapshot, NOW + 120, predictions=1000, right=100, wrong=900), NOW + 120)
    cut_off = written(plan)
    assert cut_off is not None
    assert cut_off.candidate is not None
    assert (cut_off.candidate.level, cut_off.history[-1].what) == ("Shadow", "CutOff")
    snapshot, _ = settled(used(snapshot, NOW + 120, predictions=1000, right=100, wrong=900), NOW + 120)
    assert selected(snapshot, "credit") == OLD["revision"]
    after = status(snapshot)
    assert after.refused[0].reason == "Failed"
    refused = next(item for item in after.conditions if item.type == "CandidateRefused")
    assert (refused.status, refused.reason) == ("True", "Failed")
    assert refused.message.startswith("Failed: in-use: overall: 0.1 [")
    assert refused.message.endswith("a retry lets it climb again")


def test_where_nobody_sends_requests_to_shadow_that_is_what_is_said() -> None:
    asked = {"minDuration": "0s", "minPredictions": 500}
    snapshot, _ = settled(replace(start(autonomy__shadow=asked), settings=RECORDING), NOW)
    snapshot, _ = settled(used(snapshot, NOW + 60), NOW + 60)
    assert "500 predictions can't be shown: the provider Service sends no copies" in granted_words(snapshot)


@pytest.mark.parametrize(
    ("level", "target", "changes", "expected"),
    [
        ("Shadow", "Automate", {}, True),
        ("Automate", "Automate", {}, False),
        ("Suggest", "Suggest", {"minPredictions": 5}, False),
        ("Suggest", "Automate", {"minPredictions": 5}, True),
        ("Suggest", "Automate", {}, False),
        ("Suggest", "Automate", {"maxOverrideRate": "0.05"}, True),
    ],
)
def test_only_what_is_asked_of_use_is_asked_of_the_recorder(
    level: str, target: str, changes: dict[str, Any], expected: bool
) -> None:
    suggest = {"minDuration": "0s", "minPredictions": 0, "minLabelled": 0} | changes
    shadow = {"minDuration": "0s", "minPredictions": 5}
    document = declared(
        "1",
        status={"champion": standing("1", level)},
        autonomy__target=target,
        autonomy__suggest=suggest,
        autonomy__shadow=shadow,
    )
    assert bool(to_ask(judged(document, accuracy=0.97), understood(document))) is expected
    gates = [*SPEC["gates"], {"name": "l", "metric": "recall", "rows": "live", "require": {"Suggest": ">= 0.7"}}]
    watched = declared("1", status=document["status"], autonomy__target=target, gates=gates)
    assert to_ask(judged(watched, accuracy=0.97), understood(watched))


def test_a_champion_that_fails_in_use_comes_down_a_level_and_back_on_fresh_evidence() -> None:
    live = {"name": "in-use", "metric": "recall", "rows": "live", "require": {"Suggest": ">= 0.7"}}
    document = declared("1", status={"champion": OLD}, gates=[*SPEC["gates"], live], autonomy__target="Automate")
    snapshot, _ = settled(replace(judged(document, accuracy=0.97), settings=RECORDING), NOW)
    assert selected(snapshot, "credit") == OLD["revision"]

    snapshot, _ = settled(used(snapshot, NOW + 60, "champion", predictions=1000, right=100, wrong=900), NOW + 60)
    champion = status(snapshot).champion
    assert champion is not None
    assert (champion.level, champion.fallen) == ("Suggest", True)
    assert status(snapshot).history[0].what == "Demoted"
    assert selected(snapshot, "credit") == "none"
    assert selected(snapshot, "credit-suggest") == OLD["revision"]

    snapshot, _ = settled(used(snapshot, NOW + 120, "champion", predictions=1000, right=900, wrong=100), NOW + 120)
    champion = status(snapshot).champion
    assert champion is not None
    assert (champion.level, champion.share) == ("Automate", 100)
    assert selected(snapshot, "credit") == OLD["revision"]


def test_a_candidate_that_gets_no_pod_is_refused_until_a_retry() -> None:
    snapshot = start()
    second = declared("2")
    climbing, _ = settled(snapshot, NOW)
    assert status(climbing).candidate is not None
    broken = replace(climbing, deployments=(deployment(declared("1")), deployment(second, ready=False, late=True)))
    after, _ = settled(broken, NOW + 1)
    (refusal,) = status(after).refused
    assert (refusal.reason, refusal.version) == ("Failed", "2")
    assert "has no Pod ready: timed out" in refusal.message
    champion = status(after).champion
    assert champion is not None
    assert champion.version == "1"
    assert selected(after, "credit") == revision_of(declared("1"))


def asking(snapshot: ModelSnapshot, **annotations: str) -> ModelSnapshot:
    values = {f"mandate.dev/{verb}": value for verb, value in annotations.items()}
    metadata = {**snapshot.mdep["metadata"], "annotations": values}
    return replace(snapshot, mdep={**snapshot.mdep, "metadata": metadata})


def story(snapshot: ModelSnapshot) -> list[tuple[str, str, str]]:
    return [(item.what, item.by, item.why) for item in status(snapshot).history]


def test_every_verb_is_seen_to_and_says_who_asked() -> None:
    snapshot, _ = settled(start(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}), NOW)
    for number, (verb, what) in enumerate(
        (
            ("pause", "Paused"),
            ("resume", "Resumed"),
            ("promote", "Promoted"),
            ("abort", "Aborted"),
            ("retry", "Retried"),
            ("halt", "Halted"),
        )
    ):
        snapshot, _ = settled(asking(snapshot, **{verb: f"a{number} by ann: {verb}, please"}), NOW + number + 1)
        news = [entry for entry in story(snapshot) if entry[1] == "ann" and f"{verb}, please" in entry[2]]
        assert what in [entry[0] for entry in news], (verb, story(snapshot))
        assert status(snapshot).handled[verb.capitalize()] == f"a{number}"
    assert status(snapshot).candidate is not None
    assert status(snapshot).halted is not None


def test_a_rollback_names_who_asked() -> None:
    snapshot, _ = settled(start(), NOW)
    snapshot, _ = settled(snapshot, NOW + STEP)
    snapshot, _ = settled(asking(snapshot, rollback="1 by system:serviceaccount:lending:ci: worse"), NOW + STEP + 1)
    champion = status(snapshot).champion
    assert champion is not None
    assert champion.version == "1"
    assert ("RolledBack", "system:serviceaccount:lending:ci", "rollback: worse; back to version 1") in story(snapshot)


def test_a_halt_works_where_the_spec_is_not_understood() -> None:
    snapshot, _ = settled(start(), NOW)
    broken = {**snapshot.mdep, "spec": {**snapshot.mdep["spec"], "gates": "none"}}
    snapshot, _ = settled(replace(snapshot, mdep=broken), NOW + 1)
    assert selected(snapshot, "credit") != desired.NOBODY, "what stands goes on standing"
    snapshot, _ = settled(asking(snapshot, halt="1 by ann: stop"), NOW + 2)
    assert selected(snapshot, "credit") == selected(snapshot, "credit-suggest") == desired.NOBODY
    assert state_of(status(snapshot)).granted() == {}
    halted = status(snapshot).halted
    assert halted is not None
    assert (halted.by, halted.why, halted.level) == ("ann", "stop", None)
    assert not snapshot.deployments


def test_a_halt_to_shadow_keeps_the_model_running_unheard() -> None:
    snapshot, _ = settled(asking(settled(start(), NOW)[0], halt="1 to Shadow by ann"), NOW + 1)
    assert selected(snapshot, "credit") == desired.NOBODY
    assert set(state_of(status(snapshot)).granted().values()) == {"Shadow"}


@pytest.mark.parametrize("value", ["off", "1 to Automate by ann", "1 by ann\nby bob", "1 by mandate"])
def test_a_bad_value_asks_for_nothing_and_says_so_until_it_is_mended(value: str) -> None:
    before, _ = settled(start(), NOW)
    snapshot, _ = settled(asking(before, halt=value), NOW + 1)
    assert status(snapshot).halted is None
    assert status(snapshot).history == status(before).history
    (wrong,) = [item for item in status(snapshot).conditions if item.type == "AskUnderstood"]
    assert (wrong.status, wrong.reason) == ("False", "InvalidAnnotation")
    assert wrong.message.startswith("metadata.annotations[mandate.dev/halt]: ")
    snapshot, _ = settled(asking(snapshot, halt="2 by ann"), NOW + 2)
    assert not [item for item in status(snapshot).conditions if item.type == "AskUnderstood"]
    assert status(snapshot).halted is not None


def test_a_retry_of_another_revision_measures_nothing() -> None:
    snapshot, _ = settled(start(accuracy=0.3), NOW)
    name = wanted(snapshot.mdep, snapshot.mevals).name
    other, this = revision_of(declared("1")), revision_of(snapshot.mdep)
    for number, (revision, again) in enumerate(((other, False), (this, True))):
        asked = asking(snapshot, retry=f"{number} of {revision} by ann")
        assert (wanted(asked.mdep, asked.mevals).name != name) is again


def test_a_retry_with_a_name_is_the_same_retry_and_says_who() -> None:
    snapshot, _ = settled(start(accuracy=0.3), NOW)
    plan = decide(asking(snapshot, retry="1 by ann: the data was mended"), NOW + 1)
    after = written(plan)
    assert after is not None
    assert after.handled == {"Retry": "1"}
    assert (after.history[-1].what, after.history[-1].by) == ("Retried", "ann")


def champion_at(level: str, *, gates: list[Any], spec_gates: list[Any] | None = None, **more: Any) -> ModelSnapshot:
    """Version 1 stands by `gates` of its own; the spec describes it, or with `spec_gates` a version 2."""
    first = declared("1", gates=[*SPEC["gates"], *gates], autonomy__target="Automate")
    criteria = criteria_digest(understood(first))
    share = {"share": 100} if level == "Automate" else {}
    place = standing("1", level, criteriaDigest=criteria, begun="2026-01-01T00:00:00Z", **share, **more)
    document = declared(
        "1" if spec_gates is None else "2",
        status={"champion": place},
        gates=[*SPEC["gates"], *(gates if spec_gates is None else spec_gates)],
        autonomy__target="Automate",
        autonomy__onDegradation="Hold" if spec_gates is None else "Demote",
    )
    snapshot = judged(document, accuracy=0.97, deployments=[deployment(first)], grant=granted(place))
    kept = desired.controller_revision(first, understood(first), images=SETTINGS.images)
    known = () if spec_gates is None else (kept,)
    return replace(snapshot, revisions=(*snapshot.revisions, *known), settings=RECORDING)


def of_live(level: str, least: str) -> dict[str, Any]:
    return {"name": "in-use", "metric": "recall", "rows": "live", "require": {level: f">= {least}"}}


def test_a_champion_is_watched_by_its_own_criteria_whatever_the_next_version_asks() -> None:
    """Neither does it rise because the next one asks for less, nor fall because it asks for more."""
    fell = champion_at("Suggest", gates=[of_live("Automate", "0.7")], spec_gates=[], fallen=True)
    known = to_ask(fell, understood(fell.mdep))[0].holder
    assert known.version == "1"
    after, _ = settled(used(fell, NOW, "champion", predictions=1000, right=100, wrong=900), NOW)
    champion = status(after).champion
    assert champion is not None
    assert (champion.version, champion.level) == ("1", "Suggest")

    well = champion_at("Automate", gates=[of_live("Automate", "0.7")], spec_gates=[of_live("Automate", "0.95")])
    after, _ = settled(used(well, NOW, "champion", predictions=1000, right=880, wrong=120), NOW)
    champion = status(after).champion
    assert champion is not None
    assert (champion.version, champion.level) == ("1", "Automate")


def test_what_use_shows_against_a_champion_is_said_whatever_follows() -> None:
    snapshot = champion_at("Automate", gates=[of_live("Automate", "0.7")])
    after, _ = settled(used(snapshot, NOW, "champion", predictions=1000, right=100, wrong=900), NOW)
    champion = status(after).champion
    assert champion is not None
    assert champion.level == "Automate", "onDegradation: Hold"
    (said,) = [item for item in status(after).conditions if item.type == "Degraded"]
    assert (said.status, said.reason) == ("True", "LiveGatesFail")
    assert said.message.startswith("version 1 at Automate at 100 %: in-use: overall: 0.1 [")
    better, _ = settled(used(after, NOW + 9, "champion", predictions=1000, right=880, wrong=120), NOW + 9)
    assert not {"Degraded", "Watched"} & {item.type for item in status(better).conditions}


def test_that_nobody_watches_is_said() -> None:
    snapshot = champion_at("Automate", gates=[of_live("Automate", "0.7")])
    holder = status(snapshot).champion
    assert holder is not None
    blind = replace(snapshot, live={holder.revision: LiveUnavailable("the recorder sleeps")})
    after, _ = settled(blind, NOW)
    (said,) = [item for item in status(after).conditions if item.type == "Watched"]
    assert (said.status, said.reason) == ("False", "NotSeen")
    assert said.message.endswith("its gates on live rows can't be judged: the recorder sleeps")


def test_scaling_interrupts_nothing() -> None:
    """Until its controller has looked at a Deployment that somebody scaled, its Pods run on, and so does the step."""
    snapshot, again = settled(start(), NOW)
    new = revision_of(snapshot.mdep)
    assert again == STEP
    scaled = []
    for item in snapshot.deployments:
        lagging = item["metadata"] | ({"generation": 2} if item["metadata"]["labels"][LABEL_REVISION] == new else {})
        scaled.append({**item, "metadata": lagging})
    after, again = settled(replace(snapshot, deployments=tuple(scaled)), NOW + 60)
    assert again == STEP - 60
    candidate = status(after).candidate
    assert candidate is not None
    assert candidate.begun == stamp(NOW)


def test_a_spec_that_is_not_understood_still_brings_the_template_that_is_granted() -> None:
    """The grant holds the template by the present settings; a Pod by another couldn't be scheduled again."""
    snapshot = champion_at("Suggest", gates=[])
    served, _ = settled(snapshot, NOW)
    broken = declared("1", status=served.mdep["status"], gates=[{"name": "x", "metric": "nonsense"}])
    silent = replace(served, mdep=broken, settings=SETTINGS)
    (document,) = applied(decide(silent, NOW + 1), "Deployment").values()
    assert "--record" not in str(document["spec"]["template"])
    assert "--record" in str(served.deployments[0]["spec"]["template"])
