"""The ladder's rules one by one; tests/property/test_ladder.py lets everything happen at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mandate.api.asks import VerbName
from mandate.api.criteria import LEVELS, Level
from mandate.rollout.inputs import Drilled, Inputs, Judgement, Minimum, Rules, Seen, Verb
from mandate.rollout.ladder import Step, step
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import FALLBACK, HISTORY, REFUSALS, Holder, Previous, Rung, Shares, State
from mandate.verdict.judge import GateVerdict, LevelVerdict, Outcome

T0 = 1_700_000_000
DAY, HOUR = 86_400, 3600
RULES = Rules(
    target="Automate",
    shadow=Minimum(duration=DAY, predictions=5000),
    suggest=Minimum(duration=7 * DAY, labelled=500, max_override_rate=0.05),
    steps=(10, 50, 100),
    step_duration=6 * HOUR,
)
AUTOMATE, SUGGEST, SHADOW = Rung("Automate", 100), Rung("Suggest"), Rung("Shadow")


def holder(name: str, rung: Rung, *, since: int = T0, begun: int | None = T0) -> Holder:
    return Holder(
        revision=name, version=name, since=since, stepped=since, rung=rung, begun=begun, evaluation=f"e-{name}"
    )


def judged(
    *names: str, reached: Level | None = "Automate", blocking: str = "recall: Fail: too low"
) -> dict[str, Judgement]:
    return {
        name: Judgement(reached=reached, evaluation=f"e-{name}", blocking=dict.fromkeys(LEVELS, blocking))
        for name in names
    }


def asks(revision: str, **more: object) -> Inputs:
    """Inputs in which all is ready, judged and as the state wants it, but for what is said otherwise."""
    usual: dict[str, object] = {"rules": RULES, "judgements": judged("a", "b", "c"), "ready": frozenset("abc")}
    return Inputs(revision=revision, version=revision, **(usual | more))  # type: ignore[arg-type]


def verb(name: VerbName, *, by: str = "ann", number: str = "1", level: Level | None = None, revision: str = "") -> Verb:
    return Verb(name=name, id=number, by=by, why="because", level=level, revision=revision)


def seen(
    since: int,
    until: int,
    *,
    predictions: int = 0,
    labelled: int = 0,
    decisions: int = 0,
    overridden: int = 0,
    failing: tuple[Level, ...] = (),
    passing: tuple[Level, ...] = (),
) -> Seen:
    gates = {
        level: LevelVerdict(level, word == "Pass", (GateVerdict("live", level, "recall", word, "Shown", word == "Pass",
                            (Outcome(word, ">= 0.7", "overall", f"overall: {word.lower()}s"),)),))
        for word, group in (("Fail", failing), ("Pass", passing))
        for level in group
    }  # fmt: skip
    return Seen(since=since, until=until, predictions=predictions, labelled=labelled, decisions=decisions,
                overridden=overridden, gates=gates)  # type: ignore[arg-type]  # fmt: skip


def whats(result: Step) -> list[str]:
    return [change.what for change in result.transitions]


def rungs(state: State) -> dict[str, Rung]:
    return {item.revision: item.rung for item in (state.champion, state.candidate) if item is not None}


# --- up


def test_a_whole_climb() -> None:
    """Shadow, Suggest, 10, 50, 100 %, champion: each when the one before has seen what it must, not earlier."""
    state, now = State(champion=holder("a", AUTOMATE)), T0 + DAY
    reached: list[tuple[Rung, int]] = []
    while state.champion is None or state.champion.revision != "b":
        candidate = state.candidate
        found: dict[str, Seen] = {}
        if candidate is not None and candidate.rung.level is not None:
            # 250 predictions, 4 labels and 4 decisions an hour, one in a hundred of them against the model.
            hours = (now - candidate.since) // HOUR
            found["b"] = seen(candidate.since, now, predictions=250 * hours, labelled=4 * hours, decisions=4 * hours,
                              overridden=hours // 25)  # fmt: skip
        result = step(state, asks("b", seen=found, true=desired_shares(state)), now)
        state = result.state
        reached += [(change.after, (now - T0 - DAY) // HOUR) for change in result.transitions]
        now += HOUR
        assert now < T0 + 60 * DAY, result.held
    assert reached == [
        (SHADOW, 0),
        (SUGGEST, 25),  # a day from when copies first came, an hour later
        (Rung("Automate", 10), 194),  # seven days more, by when overrides are shown to be rare
        (Rung("Automate", 50), 201),
        (AUTOMATE, 208),
        (AUTOMATE, 215),
    ]
    assert state.previous is not None
    assert state.previous.holder.revision == "a"
    assert [item.what for item in state.history] == [
        "Promoted", "Promoted", "Promoted", "Advanced", "Advanced", "BecameChampion",
    ]  # fmt: skip
    assert state.history[1].evidence == "e-b; 6250 predictions, 100 labelled in use"


def test_held_says_what_is_missing_and_when_it_will_be_there() -> None:
    state = State(
        champion=holder("a", AUTOMATE), candidate=holder("b", SUGGEST, since=T0 - 7 * DAY, begun=T0 - 7 * DAY)
    )
    found = seen(T0 - 7 * DAY, T0, predictions=9000, labelled=312, decisions=312, overridden=9)
    result = step(state, asks("b", seen={"b": found}, true=desired_shares(state)), T0)
    assert result.held.startswith(
        "Automate at 10 % isn't granted: 312 of 500 labelled rows, about 5 d; override rate 2.9 % ["
    )
    assert result.again is None
    early = step(
        replace(state, candidate=holder("b", SUGGEST, begun=T0)), asks("b", true=desired_shares(state)), T0 + HOUR
    )
    assert early.held == (
        "Automate at 10 % isn't granted: Suggest must last 7d, about 7 d more; "
        "0 of 500 labelled rows, and none came yet; "
        "the override rate isn't shown to be <= 5 %: no decision is recorded yet"
    )
    assert early.again == 7 * DAY - HOUR


def test_nothing_rises_on_a_verdict_that_doesnt_carry_it_or_isnt_known() -> None:
    free = replace(RULES, shadow=Minimum(), suggest=Minimum())
    result = step(
        State(), asks("b", rules=free, judgements=judged("b", reached="Suggest", blocking="recall: Fail: low")), T0
    )
    assert rungs(result.state) == {"b": SUGGEST}
    assert result.held == "Automate at 10 % isn't granted: recall: Fail: low"
    unknown = step(State(), asks("b", rules=free, judgements={}), T0)
    assert rungs(unknown.state) == {"b": Rung()}
    assert unknown.held == "Shadow isn't granted: its test evidence isn't judged yet"


def test_without_minima_and_bake_times_one_step_goes_to_the_top() -> None:
    free = Rules(target="Automate", steps=(100,))
    assert step(State(), asks("b", rules=free), T0).state.champion == replace(
        holder("b", AUTOMATE, begun=None), evaluation="e-b"
    )


def test_the_time_of_a_level_counts_from_when_it_is_in_use() -> None:
    state = State(candidate=holder("b", SHADOW, since=T0 - 9 * DAY, begun=None))
    found = {"b": seen(T0 - 9 * DAY, T0, predictions=9999)}
    result = step(state, asks("b", seen=found, true=Shares()), T0)
    assert result.held == "Suggest isn't granted: Shadow isn't in use yet, and must last 1d"
    begun = step(result.state, asks("b", seen=found, true=desired_shares(state)), T0 + 5)
    assert begun.state.candidate is not None
    assert begun.state.candidate.begun == T0 + 5


def test_an_interrupted_traffic_step_starts_anew_and_a_level_doesnt() -> None:
    for rung, begun in ((Rung("Automate", 10), None), (SUGGEST, T0)):
        state = State(champion=holder("a", AUTOMATE), candidate=holder("b", rung))
        result = step(state, asks("b", ready=frozenset("a"), true=desired_shares(state)), T0 + HOUR)
        assert result.state.candidate is not None
        assert result.state.candidate.begun == begun


@pytest.mark.parametrize("missing", ["approval", "live gate", "override rate", "drill"])
def test_each_requirement_alone_holds_it_back(missing: str) -> None:
    rules = replace(RULES, approvals=frozenset({"Automate"}), live=frozenset({"Automate"}), drill=True)
    found = seen(T0, T0 + 8 * DAY, predictions=9999, labelled=999, decisions=999,
                 overridden=40 if missing == "override rate" else 5,
                 passing=() if missing == "live gate" else ("Automate",))  # fmt: skip
    approved = {"b": frozenset({"Automate"})} if missing != "approval" else {}
    state = State(candidate=holder("b", SUGGEST))
    drill = {} if missing == "drill" else {"undrilled": ""}
    inputs = asks("b", rules=rules, seen={"b": found}, approved=approved, true=desired_shares(state), **drill)
    result = step(state, inputs, T0 + 8 * DAY)
    assert rungs(result.state) == {"b": SUGGEST}
    words = {
        "approval": "nobody approved Automate yet",
        "live gate": "nothing was seen in use",
        "override rate": "4.0 %",
        "drill": "the fallback isn't proven to answer: no drill is on record",
    }
    assert words[missing] in result.held
    whole = replace(found, overridden=5, gates=seen(0, 1, passing=("Automate",)).gates)
    everything = replace(inputs, approved={"b": frozenset({"Automate"})}, seen={"b": whole}, undrilled="")
    assert rungs(step(state, everything, T0 + 8 * DAY).state) == {"b": Rung("Automate", 10)}


def test_evidence_from_before_the_level_counts_for_nothing() -> None:
    rules = replace(RULES, shadow=Minimum(predictions=100))
    state = State(candidate=holder("b", SHADOW))
    for found in (seen(T0 - 1, T0 + HOUR, predictions=999), seen(T0, T0, predictions=999)):
        assert rungs(step(state, asks("b", rules=rules, seen={"b": found}), T0 + HOUR).state) == {"b": SHADOW}
    fresh = {"b": seen(T0, T0 + HOUR, predictions=999)}
    assert rungs(step(state, asks("b", rules=rules, seen=fresh), T0 + HOUR).state) == {"b": SUGGEST}


def test_a_decision_uses_up_the_evidence_it_rests_on() -> None:
    """Also where the recorder's clock runs ahead of ours: the same rows never carry two levels."""
    rules = replace(RULES, shadow=Minimum(predictions=100), suggest=Minimum(predictions=100))
    ahead = {"b": seen(T0, T0 + HOUR, predictions=999)}
    result = step(State(candidate=holder("b", SHADOW)), asks("b", rules=rules, seen=ahead), T0 + 10)
    assert rungs(result.state) == {"b": SUGGEST}
    assert result.state.candidate is not None
    assert result.state.candidate.since == T0 + HOUR
    failing = {"a": seen(T0, T0 + HOUR, failing=LEVELS)}
    result = step(State(champion=holder("a", AUTOMATE)), asks("a", seen=failing), T0 + 10)
    assert rungs(result.state) == {"a": SUGGEST}


# --- versions


def test_a_new_version_takes_the_candidates_place_and_never_the_champions() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 50)))
    result = step(state, asks("c", judgements={}), T0)
    assert rungs(result.state) == {"a": AUTOMATE, "c": Rung()}
    assert whats(result) == ["Superseded"]
    assert desired_shares(result.state).automate == {"a": 100}
    back = step(state, asks("a"), T0)
    assert rungs(back.state) == {"a": AUTOMATE}


def test_a_refused_version_says_why_and_climbs_again_once_its_gates_hold() -> None:
    refused = step(State(champion=holder("a", AUTOMATE)), asks("b", judgements=judged("b", reached=None)), T0)
    assert whats(refused) == ["Refused"]
    assert refused.held == "GatesNotMet: Shadow isn't granted: recall: Fail: too low"
    assert step(refused.state, asks("b", judgements=judged("b", reached=None)), T0 + 1).transitions == ()
    mended = step(refused.state, asks("b"), T0 + 2)
    assert rungs(mended.state) == {"a": AUTOMATE, "b": SHADOW}
    assert mended.state.refused == ()


def test_a_champion_whose_evidence_carries_nothing_any_more_is_none() -> None:
    result = step(State(champion=holder("a", AUTOMATE)), asks("a", judgements=judged("a", reached=None)), T0)
    assert result.state.champion is None
    assert rungs(result.state) == {"a": Rung()}
    assert desired_shares(result.state).automate == {FALLBACK: 100}
    lower = step(State(champion=holder("a", AUTOMATE)), asks("a", judgements=judged("a", reached="Suggest")), T0)
    assert rungs(lower.state) == {"a": SUGGEST}
    target = step(State(champion=holder("a", AUTOMATE)), asks("a", rules=replace(RULES, target="Shadow")), T0)
    assert rungs(target.state) == {"a": SHADOW}


def test_at_a_lower_target_the_champion_is_who_reaches_it() -> None:
    rules = Rules(target="Suggest", shadow=Minimum(predictions=1))
    state = State(champion=holder("a", SUGGEST), candidate=holder("b", SHADOW))
    result = step(state, asks("b", rules=rules, seen={"b": seen(T0, T0 + 1, predictions=1)}), T0 + 1)
    assert whats(result) == ["Promoted", "BecameChampion"]
    assert rungs(result.state) == {"b": SUGGEST}


# --- the one before


def crowned() -> State:
    return State(champion=holder("b", AUTOMATE), previous=Previous(holder=holder("a", AUTOMATE)))


def test_the_champion_before_stays_granted_until_its_successor_has_held() -> None:
    state = crowned()
    assert state.granted() == {"a": "Automate", "b": "Automate"}
    waits = step(state, asks("b", ready=frozenset()), T0 + HOUR)
    assert waits.state.previous is not None
    assert waits.state.previous.alone is None
    alone = step(waits.state, asks("b", true=desired_shares(state)), T0 + 2 * HOUR)
    assert alone.again == 6 * HOUR
    done = step(alone.state, asks("b", true=desired_shares(state)), T0 + 8 * HOUR)
    assert whats(done) == ["Released"]
    assert done.state.granted() == {"b": "Automate"}


def test_it_answers_while_its_successor_cant_and_only_then() -> None:
    state = crowned()
    assert desired_shares(state).automate == {"b": 100}
    assert desired_shares(state, able={"a"}) == Shares(automate={"a": 100}, suggest={"a": 100})
    assert desired_shares(state, able=()).automate == {FALLBACK: 100}
    halted = step(state, asks("b", verbs=(verb("Halt", level="Shadow"),)), T0).state
    assert desired_shares(halted, able={"a"}).automate == {FALLBACK: 100}
    assert halted.granted() == {"b": "Shadow"}


def test_behind_a_champion_that_hadnt_held_stays_the_one_that_had() -> None:
    state = replace(crowned(), candidate=holder("c", AUTOMATE))
    result = step(state, asks("c", true=desired_shares(state)), T0 + 7 * HOUR)
    assert result.state.champion is not None
    assert result.state.champion.revision == "c"
    assert result.state.previous is not None
    assert result.state.previous.holder.revision == "a"


# --- down


def test_a_failing_candidate_loses_its_traffic_then_its_place() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 50)))
    true = desired_shares(state)
    assert true.automate == {"b": 50, "a": 50}
    inputs = asks("b", seen={"b": seen(T0, T0 + HOUR, failing=("Automate",))}, true=true)
    cut = step(state, inputs, T0 + HOUR)
    assert whats(cut) == ["CutOff"]
    assert desired_shares(cut.state) == Shares(automate={"a": 100}, suggest={"a": 100})
    assert cut.state.granted() == {"a": "Automate", "b": "Shadow"}
    gone = step(cut.state, replace(inputs, true=desired_shares(cut.state)), T0 + HOUR)
    assert whats(gone) == ["Failed"]
    assert gone.held == "Failed: live: overall: fails; a retry lets it climb again"
    assert gone.state.granted() == {"a": "Automate"}
    retried = step(gone.state, asks("b", verbs=(verb("Retry"),)), T0 + 2 * HOUR)
    assert rungs(retried.state) == {"a": AUTOMATE, "b": SHADOW}


def test_a_broken_candidate_goes_and_a_broken_champion_stays() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", SHADOW))
    result = step(state, asks("b", broken={"a": "CrashLoopBackOff", "b": "CrashLoopBackOff"}), T0)
    assert rungs(result.state) == {"a": AUTOMATE, "b": Rung()}


@pytest.mark.parametrize(
    ("on", "expected"),
    [("Demote", {"b": SUGGEST}), ("Hold", {"b": AUTOMATE}), ("Rollback", {"a": AUTOMATE, "b": Rung()})],
)
def test_a_failing_champion_comes_down_as_the_spec_says(on: str, expected: dict[str, Rung]) -> None:
    failing = {"b": seen(T0, T0 + HOUR, failing=("Automate",))}
    inputs = asks("b", rules=replace(RULES, on_degradation=on), seen=failing)
    result = step(crowned(), inputs, T0 + HOUR)
    assert rungs(result.state) == expected
    assert step(result.state, inputs, T0 + HOUR).transitions == ()


def test_rollback_without_anyone_behind_is_a_demotion() -> None:
    failing = {"a": seen(T0, T0 + HOUR, failing=("Automate",))}
    inputs = asks("a", rules=replace(RULES, on_degradation="Rollback"), seen=failing)
    assert whats(step(State(champion=holder("a", AUTOMATE)), inputs, T0 + HOUR)) == ["Demoted"]


def test_what_was_demoted_rises_on_fresh_evidence_only() -> None:
    rules = Rules(target="Automate", live=frozenset({"Automate"}))
    failing = {"a": seen(T0, T0 + HOUR, failing=("Automate",))}
    down = step(State(champion=holder("a", AUTOMATE)), asks("a", rules=rules, seen=failing), T0 + HOUR).state
    assert rungs(down) == {"a": SUGGEST}
    assert rungs(step(down, asks("a", rules=rules, seen=failing), T0 + 9 * DAY).state) == {"a": SUGGEST}
    fresh = {"a": seen(T0 + HOUR, T0 + 2 * HOUR, predictions=9, passing=("Automate",))}
    assert rungs(step(down, asks("a", rules=rules, seen=fresh), T0 + 2 * HOUR).state) == {"a": AUTOMATE}


@pytest.mark.parametrize("share", [10, 50])
def test_a_share_that_is_no_step_any_more_isnt_waited_for(share: int) -> None:
    """The provider changed to one that can't divide: it never serves such a share, but the next one it does."""
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", share), begun=None))
    whole = Shares(automate={"a": 100}, suggest={"b": 100})
    up = step(state, asks("b", rules=replace(RULES, steps=(100,)), true=whole), T0).state
    assert rungs(up) == {"a": AUTOMATE, "b": AUTOMATE}
    assert up.candidate is not None, "all of it must hold for as long as any step"
    assert rungs(step(state, asks("b", true=whole), T0).state) == rungs(state)


def test_a_share_below_the_first_step_isnt_waited_for() -> None:
    """By the present steps it would have begun at the first; the first then holds for as long as any step."""
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 10), begun=None))
    inputs = asks("b", rules=replace(RULES, steps=(20, 100)))
    for now in (T0, T0 + 9 * DAY):
        assert rungs(step(state, inputs, now).state) == {"a": AUTOMATE, "b": Rung("Automate", 20)}


@pytest.mark.parametrize("share", [3, 50])
def test_a_share_above_the_first_step_must_hold_though_it_is_no_step_any_more(share: int) -> None:
    """Else an edit of the steps would send all requests to what never held any."""
    rules = replace(RULES, steps=(1, 2, 100))
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", share), begun=None))
    waits = step(state, asks("b", rules=rules), T0 + 9 * DAY)
    assert rungs(waits.state) == rungs(state)
    assert f"the provider doesn't serve Automate at {share} % yet" in waits.held
    promote = asks("b", rules=rules, verbs=(verb("Promote"),))
    assert rungs(step(state, promote, T0 + 9 * DAY).state) == rungs(state), "what isn't served isn't waiting"
    begun = step(state, asks("b", rules=rules, true=desired_shares(state)), T0)
    assert rungs(begun.state) == rungs(state)
    assert begun.again == 6 * HOUR
    up = step(begun.state, asks("b", rules=rules, true=desired_shares(state)), T0 + 6 * HOUR)
    assert rungs(up.state) == {"a": AUTOMATE, "b": AUTOMATE}


def test_not_refuted_yet_isnt_enough_for_what_fell() -> None:
    """With a burden that lets Inconclusive pass it would rise, be refuted, and fall, for ever."""
    rules = Rules(target="Automate", live=frozenset({"Automate"}))
    failing = {"a": seen(T0, T0 + HOUR, failing=("Automate",))}
    down = step(State(champion=holder("a", AUTOMATE)), asks("a", rules=rules, seen=failing), T0 + HOUR).state
    gate = GateVerdict("live", "Automate", "recall", "Inconclusive", "NotRefuted", True, ())
    open_still = LevelVerdict("Automate", True, (gate,))
    for predictions in (0, 9):
        found = replace(seen(T0 + HOUR, T0 + 2 * HOUR, predictions=predictions), gates={"Automate": open_still})
        inputs = asks("a", rules=rules, seen={"a": found})
        assert rungs(step(down, inputs, T0 + 2 * HOUR).state) == {"a": SUGGEST}
        never_fell = State(champion=replace(holder("a", SUGGEST), since=T0 + HOUR))
        assert rungs(step(never_fell, inputs, T0 + 2 * HOUR).state) == {"a": AUTOMATE}


def test_a_failing_champion_at_shadow_has_nothing_left_to_lose() -> None:
    failing = {"a": seen(T0, T0 + HOUR, failing=LEVELS)}
    assert step(State(champion=holder("a", SHADOW)), asks("a", seen=failing), T0 + HOUR).transitions == ()


# --- verbs


def test_promote_skips_waiting_and_nothing_else() -> None:
    state = State(candidate=holder("b", SHADOW))
    enough, little = seen(T0, T0 + HOUR, predictions=5000), seen(T0, T0 + HOUR, predictions=4999)
    inputs = asks("b", verbs=(verb("Promote"),), true=desired_shares(state))
    up = step(state, replace(inputs, seen={"b": enough}), T0 + HOUR)
    assert [(item.what, item.by, item.why) for item in up.transitions] == [("Promoted", "ann", "promote: because")]
    stays = step(state, replace(inputs, seen={"b": little}), T0 + HOUR)
    assert whats(stays) == ["Ignored"]
    assert "4 999 of 5 000 predictions" in stays.transitions[0].why
    assert step(stays.state, replace(inputs, seen={"b": enough}), T0 + HOUR).transitions == (), (
        "asked once, seen to once"
    )


def test_promote_goes_one_step_of_traffic() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 10)))
    result = step(state, asks("b", verbs=(verb("Promote"),), true=desired_shares(state)), T0 + 60)
    assert rungs(result.state) == {"a": AUTOMATE, "b": Rung("Automate", 50)}
    assert desired_shares(result.state).automate == {"b": 50, "a": 50}


def test_pause_holds_climbing_but_not_a_fall() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 10)))
    paused = step(state, asks("b", verbs=(verb("Pause"),), true=desired_shares(state)), T0 + 9 * DAY)
    assert whats(paused) == ["Paused"]
    assert paused.held == "Automate at 50 % isn't granted: paused by ann; resume goes on"
    failing = {"b": seen(T0, T0 + 9 * DAY, failing=("Automate",))}
    assert "CutOff" in whats(step(paused.state, asks("b", seen=failing), T0 + 9 * DAY))
    resumed = step(paused.state, asks("b", verbs=(verb("Resume"),), true=desired_shares(state)), T0 + 9 * DAY)
    assert whats(resumed) == ["Resumed", "Advanced"]


@pytest.mark.parametrize("level", ["Shadow", None])
def test_a_halt_takes_everyone_down_at_once_and_they_climb_again_after_it(level: Level | None) -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", Rung("Automate", 10)))
    halted = step(state, asks("b", verbs=(verb("Halt", level=level),)), T0 + HOUR)
    assert rungs(halted.state) == {"a": Rung(level), "b": Rung(level)}
    assert desired_shares(halted.state).automate == desired_shares(halted.state).suggest == {FALLBACK: 100}
    assert desired_shares(halted.state).mirrored == (() if level is None else ("b", "a"))
    assert step(halted.state, asks("b"), T0 + 30 * DAY).transitions == ()
    resumed = step(halted.state, asks("b", verbs=(verb("Resume", number="2"),)), T0 + 30 * DAY)
    assert rungs(resumed.state) == {"a": SHADOW, "b": SHADOW}


def test_a_halt_works_where_the_spec_isnt_understood() -> None:
    inputs = Inputs(rules=None, verbs=(verb("Halt"),))
    assert step(State(champion=holder("a", AUTOMATE)), inputs, T0).state.granted() == {}


def test_halt_knows_two_levels() -> None:
    result = step(State(champion=holder("a", AUTOMATE)), asks("a", verbs=(verb("Halt", level="Suggest"),)), T0)
    assert whats(result) == ["Ignored"]
    assert rungs(result.state) == {"a": AUTOMATE}


def test_abort_refuses_the_candidate_until_a_retry() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", SHADOW))
    aborted = step(state, asks("b", verbs=(verb("Abort"),)), T0 + HOUR)
    assert whats(aborted) == ["CutOff", "Aborted"]
    assert aborted.state.refused[0].reason == "Aborted"
    assert rungs(step(aborted.state, asks("b"), T0 + DAY).state) == {"a": AUTOMATE, "b": Rung()}
    again = step(aborted.state, asks("c"), T0 + DAY)
    assert rungs(step(again.state, asks("b"), T0 + 2 * DAY).state)["b"] == Rung(), "remembered, so GitOps can't loop"
    nobody = step(State(champion=holder("a", AUTOMATE)), asks("a", verbs=(verb("Abort"),)), T0)
    assert whats(nobody) == ["Ignored"]


def aborted_and_retried(rules: Rules, *, found: dict[str, Seen]) -> Step:
    """What was cut off with evidence of its fall is retried, and the same step may let it climb."""
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", SUGGEST, since=T0))
    aborted = step(state, asks("b", rules=rules, seen=found, verbs=(verb("Abort"),)), T0 + HOUR).state
    assert rungs(aborted) == {"a": AUTOMATE, "b": Rung()}
    return step(aborted, asks("b", rules=rules, seen=found, verbs=(verb("Abort"), verb("Retry"))), T0 + 2 * HOUR)


def test_a_retried_version_climbs_at_once_where_nothing_is_asked_of_use() -> None:
    """A retry is a fresh start: that it fell before asks for no evidence that the rules don't ask for."""
    result = aborted_and_retried(Rules(target="Automate", steps=(100,)), found={})
    assert whats(result) == ["Retried", "Promoted", "Promoted", "Promoted", "BecameChampion"]


@pytest.mark.parametrize(
    "rules", [replace(RULES, shadow=Minimum(predictions=100)), replace(RULES, shadow=Minimum(duration=DAY))]
)
def test_a_retried_version_uses_nothing_from_before(rules: Rules) -> None:
    """Neither rows nor time of its earlier life at a level."""
    result = aborted_and_retried(rules, found={"b": seen(T0, T0 + 2 * HOUR, predictions=9999)})
    assert whats(result) == ["Retried", "Promoted"]
    assert rungs(result.state) == {"a": AUTOMATE, "b": SHADOW}
    candidate = result.state.candidate
    assert candidate is not None
    assert (candidate.since, candidate.begun, candidate.fallen) == (T0 + 2 * HOUR, None, False)


def test_halted_and_retried_in_one_step_stays_where_the_halt_says() -> None:
    """Of several that are new at once the more cautious has the last word."""
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", SHADOW))
    aborted = step(state, asks("b", verbs=(verb("Abort"),)), T0 + HOUR).state
    free = Rules(target="Automate", steps=(100,))
    both = asks("b", rules=free, verbs=(verb("Abort"), verb("Halt"), verb("Retry")))
    result = step(aborted, both, T0 + 2 * HOUR)
    assert whats(result)[:2] == ["Retried", "Halted"]
    assert result.state.granted() == {}
    resumed = step(result.state, replace(both, verbs=(*both.verbs, verb("Resume"))), T0 + 3 * HOUR)
    assert rungs(resumed.state)["b"] == AUTOMATE


def test_rollback_goes_from_an_answering_candidate_to_the_champion() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("b", SUGGEST))
    result = step(state, asks("b", verbs=(verb("Rollback"),)), T0 + HOUR)
    assert rungs(result.state) == {"a": AUTOMATE, "b": Rung()}
    assert result.state.refused[0].reason == "RolledBack"


def test_rollback_goes_from_the_champion_to_the_one_before_also_long_after() -> None:
    state = replace(crowned(), previous=Previous(holder=holder("a", AUTOMATE), released=True))
    result = step(state, asks("b", verbs=(verb("Rollback"),)), T0 + 90 * DAY)
    assert rungs(result.state) == {"a": AUTOMATE, "b": Rung()}
    assert result.state.previous is None
    assert whats(step(result.state, asks("b", verbs=(verb("Rollback", number="2"),)), T0 + 91 * DAY)) == ["Ignored"]


def test_rollback_to_the_very_version_that_climbs_leaves_one_of_it() -> None:
    """The spec went back to the earlier version, which climbs anew while it is also the one to fall back on."""
    state = replace(crowned(), candidate=holder("a", SHADOW))
    result = step(state, asks("a", verbs=(verb("Rollback"),)), T0 + HOUR)
    assert rungs(result.state) == {"a": AUTOMATE}


def test_a_verb_for_another_revision_does_nothing() -> None:
    state = State(champion=holder("a", AUTOMATE), candidate=holder("c", SHADOW))
    result = step(state, asks("c", verbs=(verb("Abort", revision="b"),)), T0)
    assert whats(result) == ["Ignored"]
    assert rungs(result.state) == {"a": AUTOMATE, "c": SHADOW}


# --- clocks and bounds


def test_a_clock_that_goes_back_makes_waits_longer() -> None:
    state = State(candidate=holder("b", SHADOW))
    found = {"b": seen(T0, T0 + DAY, predictions=9999)}
    behind = step(state, asks("b", seen=found, true=desired_shares(state)), T0 - 60)
    assert rungs(behind.state) == {"b": SHADOW}
    assert "the clock stands 60 s before the last change on record" in behind.held
    assert behind.again == 60
    assert rungs(step(behind.state, asks("b", seen=found, true=desired_shares(state)), T0 + DAY).state) == {
        "b": SUGGEST
    }


def test_how_far_a_clock_went_back_is_forgotten_with_whom_it_was_recorded_of() -> None:
    """The last to change goes without a trace: the same step again would find the clock standing better."""
    late = Holder(revision="b", version="b", since=T0 + 60, stepped=T0 + 60)
    state = State(champion=holder("a", SHADOW), candidate=late)
    inputs = asks("a", rules=Rules(target="Suggest"), judgements=judged("a"))
    result = step(state, inputs, T0 + 30)
    assert rungs(result.state) == {"a": SUGGEST}
    assert result.recorded is None
    again = step(result.state, inputs, T0 + 30)
    assert (again.state, again.transitions, again.held) == (result.state, (), result.held)
    assert whats(result) == ["Promoted"]


def test_a_clock_that_went_back_is_told_with_the_time_that_it_has_to_reach() -> None:
    state = State(champion=holder("a", AUTOMATE))
    assert step(state, asks("a"), T0 - 60).recorded == T0
    assert step(state, asks("a"), T0 - 0.5).recorded is None, "moments are rounded up"
    assert step(state, asks("a"), T0).recorded is None


def test_while_a_clock_stands_back_coming_down_goes_on() -> None:
    state = State(champion=holder("a", AUTOMATE, since=T0 - DAY), candidate=holder("b", Rung("Automate", 50)))
    failing = {name: seen(T0, T0 + 1, failing=("Automate",)) for name in "ab"}
    result = step(state, asks("b", seen=failing, true=desired_shares(state)), T0 - HOUR)
    assert whats(result) == ["CutOff", "Demoted"]
    assert {change.at for change in result.transitions} == {T0}, "nothing is on record from before the last"


def test_records_are_bounded() -> None:
    state = State(champion=holder("a", AUTOMATE))
    for number in range(30):
        name = f"v{number}"
        inputs = asks(name, judgements=judged(name, reached=None), verbs=(verb("Pause", number=name),))
        state = step(state, inputs, T0 + number).state
    assert len(state.history) == HISTORY
    assert len(state.refused) == REFUSALS
    assert state.refused[0].revision == "v29"
    assert state.handled == (("Pause", "v29"),)


def test_a_first_model_shares_with_the_fallback() -> None:
    state = State(candidate=holder("a", Rung("Automate", 10)))
    assert desired_shares(state).automate == {"a": 10, FALLBACK: 90}
    assert desired_shares(state).suggest == {"a": 100}


def test_shares_never_exceed_what_is_there() -> None:
    state = State(champion=holder("a", Rung("Automate", 50)), candidate=holder("b", Rung("Automate", 80)))
    assert desired_shares(state).automate == {"b": 80, "a": 20}
    assert [*desired_shares(state).automate] == ["b", "a"], "who grows comes first"
    assert desired_shares(state, able={"a"}).automate == {"a": 50, FALLBACK: 50}


@pytest.mark.parametrize("steps", [(), (10, 50), (50, 10, 100), (0, 100), (10, 10, 100)])
def test_steps_rise_to_a_hundred(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise and end at 100"):
        Rules(target="Automate", steps=steps)


def test_a_drill_waits_for_what_came_of_it_and_moves_nobody() -> None:
    state = step(State(champion=holder("a", AUTOMATE)), asks("a"), T0).state
    for answered, what in ((True, "Drilled"), (False, "DrillFailed")):
        ask = (verb("Drill", number="7"),)
        for known in (None, Drilled(id="6", answered=True, words="another's")):
            waiting = step(state, asks("a", verbs=ask, drilled=known), T0)
            assert (waiting.state, waiting.transitions) == (state, ())
        known = Drilled(id="7", answered=answered, words="the rule answered")
        seen_to = step(state, asks("a", verbs=ask, drilled=known), T0)
        (entry,) = seen_to.transitions
        assert (entry.what, entry.by, entry.why) == (what, "ann", "the rule answered (because)")
        assert replace(seen_to.state, handled=state.handled, history=state.history) == state
        assert step(seen_to.state, asks("a", verbs=ask, drilled=known), T0).transitions == ()


def test_a_drill_for_a_revision_that_left_is_ignored_and_a_halt_beside_it_holds() -> None:
    known = Drilled(id="1", answered=True, words="the rule answered")
    verbs = (verb("Halt", number="1"), verb("Drill", revision="gone"))
    result = step(State(champion=holder("a", AUTOMATE)), asks("a", verbs=verbs, drilled=known), T0)
    assert [entry.what for entry in result.transitions[:2]] == ["Ignored", "Halted"]
    waiting = step(State(champion=holder("a", AUTOMATE)), asks("a", verbs=verbs), T0)
    assert waiting.state.halted is not None
