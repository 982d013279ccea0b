"""Whatever specs, verdicts, evidence, people and clocks do: nobody acts beyond what was granted, and the ladder rests.

Hypothesis chooses what happens; after every event the ladder takes one step, and all that must be true is checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mandate.api.criteria import LEVELS, Level
from mandate.rollout.inputs import Compared, Inputs, Judgement, Minimum, Rules, Seen, Verb
from mandate.rollout.ladder import EXCHANGED, Step, step
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import FALLBACK, HISTORY, REFUSALS, Holder, Rung, Shares, State, rank
from mandate.rollout.waiting import missing
from mandate.verdict.judge import GateVerdict, LevelVerdict

levels = st.sampled_from(LEVELS)
some_levels = st.just(frozenset[Level]()) | st.sets(levels, max_size=2).map(frozenset)
ASKED = {
    "duration": st.sampled_from([0.0, 0.0, 60.0, 86400.0]),
    "predictions": st.sampled_from([0, 0, 100]),
    "labelled": st.sampled_from([0, 0, 50]),
    "max_override_rate": st.sampled_from([None, None, 0.05, 0.5]),
}
minima = st.just(Minimum()) | st.builds(Minimum, **ASKED)
minima_of_suggest = minima | st.builds(Minimum, blind=st.sampled_from([1, 60]))
minima_of_shadow = minima | st.builds(Minimum, max_missing_pairs=st.sampled_from([0.05, 0.5]))
rules_of_a_spec = st.builds(
    Rules,
    target=st.sampled_from([*LEVELS, "Automate", "Automate"]),
    shadow=minima_of_shadow,
    suggest=minima_of_suggest,
    steps=st.sampled_from([(10, 50, 100), (100,), (1, 2, 100)]),
    step_duration=st.sampled_from([0.0, 60.0, 21600.0]),
    on_degradation=st.sampled_from(["Demote", "Rollback", "Hold"]),
    live=some_levels,
    approvals=some_levels,
)
verdicts = st.sampled_from(["Pass", "Pass", "Inconclusive", "Fail", "Error"])


def live(level: Level, verdict: str) -> LevelVerdict:
    """One live gate that came out so."""
    holds = verdict == "Pass"
    gate = GateVerdict("recall", level, "recall", verdict, "Shown", holds, ())  # type: ignore[arg-type]
    return LevelVerdict(level, holds, (gate,))


class Ladder(RuleBasedStateMachine):
    """One model, its users, its traffic and its clocks."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.true_time = 1_000_000.0
        self.clock_error = 0.0
        self.recorder_ahead = 0.0
        self.spec = 0
        self.readable = True
        self.rules = Rules(target="Automate")
        self.judgements: dict[str, Judgement] = {}
        self.seen: dict[str, Seen] = {}
        self.approved: dict[str, frozenset[Level]] = {}
        self.verbs: dict[str, Verb] = {}
        self.shares = Shares()
        self.ready: frozenset[str] = frozenset()
        self.broken: dict[str, str] = {}
        self.asked = 0
        self.shadowed: set[str] = set()
        self.crowned: set[str] = set()

    @property
    def now(self) -> float:
        return self.true_time - self.clock_error

    def inputs(self) -> Inputs:
        return Inputs(
            revision=f"r{self.spec}" if self.readable else "",
            version=str(self.spec) if self.readable else "",
            rules=self.rules if self.readable else None,
            judgements=dict(self.judgements),
            seen=dict(self.seen),
            approved=dict(self.approved),
            verbs=tuple(self.verbs.values()),
            true=self.shares,
            ready=self.ready,
            broken=dict(self.broken),
        )

    def advance(self) -> None:
        """One step, and everything that must be true of it."""
        before, inputs = self.state, self.inputs()
        result = step(before, inputs, self.now)
        self.state = result.state
        self._rests(result, inputs)
        self._carried(before, inputs)
        self._earned(before, result, inputs)
        self._down_at_once(before, inputs)
        self._clocks_only_delay(before, inputs, result)

    def _rests(self, result: Step, inputs: Inputs) -> None:
        again = step(result.state, inputs, self.now)
        assert again.state == result.state
        assert again.transitions == ()
        assert again.held == result.held

    def _carried(self, before: State, inputs: Inputs) -> None:
        """Nobody above the verdict; nobody rises without one; nobody above the target or a halt."""
        had = before.granted() | ({before.previous.holder.revision: "Automate"} if before.previous else {})
        for revision, level in self.state.granted().items():
            judgement = inputs.judgements.get(revision)
            if judgement is not None:
                assert rank(level) <= rank(judgement.reached)
            elif before.previous is None or before.previous.holder.revision != revision:
                assert rank(level) <= rank(had.get(revision))
            if self.state.halted is not None:
                assert rank(level) <= rank(self.state.halted.level)
        for holder in (self.state.champion, self.state.candidate):
            if holder is not None and inputs.rules is not None:
                assert rank(holder.rung.level) <= rank(inputs.rules.target)

    def _earned(self, before: State, result: Step, inputs: Inputs) -> None:
        """Each level on the evidence of the one below, or on a rule that asks none; never by asking for it."""
        holders = {item.revision: item for item in (before.champion, before.candidate) if item is not None}
        assert sum(change.what == "Demoted" for change in result.transitions) <= 1, "by one level"
        for change in result.transitions:
            assert change.at >= max((item.at for item in before.history), default=0)
            if change.what == "Retried" or change.why == EXCHANGED:
                # It starts with nothing, and may climb in the very same step.
                afresh = Holder(revision=change.revision, version=change.version, since=change.at, stepped=change.at)
                holders[change.revision] = afresh
            if change.version and change.after.level is None:
                self.shadowed.discard(change.revision)
            if change.what in ("Promoted", "Advanced", "BecameChampion"):
                assert inputs.rules is not None
                assert before.paused is None or result.state.paused is None
            if change.what == "Promoted" and change.before.level is not None:
                assert inputs.rules is not None
                below = change.before.level
                asked = inputs.rules.minimum(below)
                seen = inputs.seen.get(change.revision)
                holder = holders.get(change.revision)
                rival, waived = before.champion, replace(asked, duration=0.0)
                if (
                    rival is None
                    or rival.revision == change.revision
                    or rank(rival.rung.level) < 2
                    or any(
                        item.revision == rival.revision and item.after.height() < item.before.height()
                        for item in result.transitions
                    )
                ):
                    waived = replace(waived, max_missing_pairs=None)  # nobody answers that it could be compared with
                elif asked.max_missing_pairs is not None:
                    assert holder is not None
                    assert seen is not None
                    assert seen.compared is not None, "missing evidence is never a pass"
                    assert seen.compared.against == rival.revision
                    assert seen.compared.since >= holder.since
                assert not missing(below, waived, seen, lived=math.inf) or waived == Minimum()
                if asked.blind > 0:
                    assert seen is not None
                    assert seen.blind >= asked.blind
                if waived != Minimum():
                    assert holder is not None, "evidence of a level is gathered at that level"
                    assert seen is not None
                    assert holder.rung.level == below
                    assert seen.since >= holder.since
                if asked.duration > 0 and change.by == "mandate":
                    assert holder is not None
                    assert holder.begun is not None
                    assert self.now - holder.begun >= asked.duration
                assert inputs.rules.approvals.isdisjoint(
                    {change.after.level}
                ) or change.after.level in inputs.approved.get(change.revision, frozenset())
                if holder is not None and holder.fallen:
                    assert seen is not None, "what fell rises on fresh evidence"
                    assert seen.since >= holder.since
                if below == "Shadow":
                    self.shadowed.add(change.revision)
                if change.after.level == "Automate":
                    assert change.revision in self.shadowed
            if change.what in ("Advanced", "BecameChampion") and change.before.level == "Automate":
                assert inputs.rules is not None
                holder = holders.get(change.revision)
                # A share below the first step isn't waited for: by the present steps the first is where one begins.
                first = change.what == "Advanced" and change.before.share < inputs.rules.steps[0]
                if inputs.rules.step_duration > 0 and change.by == "mandate" and not first:
                    assert holder is not None
                    assert holder.rung == change.before, "one step of traffic at a time"
                    assert holder.begun is not None
                    assert self.now - holder.begun >= inputs.rules.step_duration
            if change.what == "BecameChampion":
                self.crowned.add(change.revision)
            if change.what == "Reinstated":
                assert change.revision in self.crowned
                self.shadowed.add(change.revision)

    def _down_at_once(self, before: State, inputs: Inputs) -> None:
        wanted = desired_shares(self.state)
        candidate, champion = before.candidate, before.champion
        if candidate is not None and (inputs.failing(candidate) or candidate.revision in inputs.broken):
            same_rung = self.state.champion is not None and self.state.champion.revision == candidate.revision
            if candidate.rung.level is not None and not same_rung:
                assert not wanted.reach(candidate.revision)
        if champion is None or inputs.rules is None or not inputs.failing(champion):
            return
        if inputs.rules.on_degradation != "Hold" and rank(champion.rung.level) > 1:
            after = self.state.champion
            lower = (
                after is None
                or after.revision != champion.revision
                or rank(after.rung.level) < rank(champion.rung.level)
            )
            assert lower

    def _clocks_only_delay(self, before: State, inputs: Inputs, result: Step) -> None:
        """At an earlier time the same step goes no higher; before the last one on record, no higher than it stands."""
        stood, later = heights(before), heights(result.state)
        for back in (100.0, 1e6):
            recorded = max((item.at for item in before.history), default=0)
            for revision, height in heights(step(before, inputs, self.now - back).state).items():
                most = stood.get(revision, (0, 0))
                if self.now - back >= recorded:
                    most = max(most, later.get(revision, (0, 0)))
                assert height <= most or any(item.what == "Reinstated" for item in result.transitions)

    @initialize(rules=rules_of_a_spec)
    def begin(self, rules: Rules) -> None:
        self.rules = rules
        self.advance()

    @rule(back=st.booleans())
    def new_version(self, back: bool) -> None:
        self.spec = max(0, self.spec - 1) if back else self.spec + 1
        self.advance()

    @rule(rules=rules_of_a_spec)
    def edit_spec(self, rules: Rules) -> None:
        self.rules = rules
        self.advance()

    @rule()
    def spoil_or_mend_spec(self) -> None:
        self.readable = not self.readable
        self.advance()

    @rule(behind=st.integers(0, 2), reached=st.sampled_from([None, "Suggest", *["Automate"] * 4]))
    def judge(self, behind: int, reached: Level | None) -> None:
        revision = f"r{max(0, self.spec - behind)}"
        self.judgements[revision] = Judgement(reached=reached, evaluation=f"e-{revision}", model_digest="sha256:0")
        self.advance()

    @rule(behind=st.integers(0, 2))
    def exchange(self, behind: int) -> None:
        """What was judged turns out to be other bytes."""
        revision = f"r{max(0, self.spec - behind)}"
        judgement = self.judgements.get(revision)
        assume(judgement is not None)
        assert judgement is not None
        self.judgements[revision] = replace(judgement, model_digest=f"sha256:{len(self.state.history)}")
        self.advance()

    @rule()
    def forget_verdicts(self) -> None:
        self.judgements.clear()
        self.advance()

    @rule(
        count=st.sampled_from([10, 1000]),
        overrides=st.sampled_from([0.0, 0.0, 0.2]),
        verdict=verdicts,
        requery=st.sampled_from([True, True, True, False]),
        pairs=st.sampled_from([1.0, 1.0, 0.8, None]),
    )
    def traffic(self, count: int, overrides: float, verdict: str, requery: bool, pairs: float | None) -> None:
        """Answers, labels and decisions since each holder's level began, or (stale) since an earlier one did.

        Of the champion's answers `pairs` have the candidate's beside them, now with this champion, now with an old one.
        """
        self.true_time += 30
        for holder in (self.state.champion, self.state.candidate):
            if holder is None or holder.rung.level is None:
                continue
            old = self.seen.get(holder.revision)
            if (requery or old is None) and (old is None or old.since != holder.since):
                old = Seen(since=holder.since, until=holder.since)
            compared, rival = old.compared, self.state.rival(holder)
            if pairs is not None and rival is not None:
                if compared is None or (requery and compared.against != rival.revision):
                    since = float(holder.since)
                    compared = Compared(against=rival.revision, since=since, copied=Fraction(1), paired=0, rows=0)
                rows, paired = compared.rows + count, compared.paired + round(pairs * count)
                compared = replace(compared, rows=rows, paired=paired)
            self.seen[holder.revision] = replace(
                old,
                until=max(self.true_time + self.recorder_ahead, old.until),
                predictions=old.predictions + count,
                labelled=old.labelled + count,
                decisions=old.decisions + count,
                overridden=old.overridden + round(overrides * count),
                blind=old.blind + count // 10,
                gates={level: live(level, verdict) for level in LEVELS},
                compared=compared,
            )
        self.advance()

    @rule(level=levels)
    def approve(self, level: Level) -> None:
        revision = f"r{self.spec}"
        self.approved[revision] = self.approved.get(revision, frozenset()) | {level}
        self.advance()

    @rule(
        name=st.sampled_from(["Pause", "Resume", "Resume", "Abort", "Retry", "Promote", "Promote", "Rollback", "Halt"]),
        level=st.sampled_from(["Shadow", None]),
        named=st.booleans(),
    )
    def ask(self, name: str, level: Level | None, named: bool) -> None:
        self.asked += 1
        revision = f"r{self.spec}" if named else ""
        self.verbs[name] = Verb(name=name, id=str(self.asked), by="ann", revision=revision, level=level)  # type: ignore[arg-type]
        self.advance()

    @rule(complete=st.sampled_from([True, True, True, False]))
    def provider_catches_up(self, complete: bool) -> None:
        self.ready = frozenset(self.state.granted())
        if complete:
            self.shares = desired_shares(self.state)
        self.advance()

    @rule()
    def pods_go(self) -> None:
        self.ready = frozenset()
        self.advance()

    @rule(which=st.booleans())
    def crash(self, which: bool) -> None:
        holder = self.state.champion if which else self.state.candidate
        assume(holder is not None)
        self.broken = {holder.revision: "CrashLoopBackOff"}  # type: ignore[union-attr]
        self.advance()

    @rule()
    def mend(self) -> None:
        self.broken = {}
        self.advance()

    @rule(seconds=st.sampled_from([1.0, 61.0, 22000.0, 90000.0]))
    def time_passes(self, seconds: float) -> None:
        self.true_time += seconds
        self.advance()

    @rule(error=st.sampled_from([0.0, 30.0, 40000.0]), ahead=st.sampled_from([0.0, 5.0]))
    def clock_jumps(self, error: float, ahead: float) -> None:
        self.clock_error, self.recorder_ahead = error, ahead
        self.advance()

    @rule(
        new=st.booleans(),
        reached=st.sampled_from(["Automate", "Automate", "Suggest"]),
        days=st.integers(1, 6),
        last=st.sampled_from(["Pass", "Fail", "Inconclusive"]),
        pairs=st.sampled_from([1.0, 1.0, 0.8, None]),
    )
    def good_days(self, new: bool, reached: Level, days: int, last: str, pairs: float | None) -> None:
        """All goes well for the spec's revision, as far as its rules allow; the last day's evidence may turn."""
        self.broken, self.readable, self.clock_error = {}, True, 0.0
        self.spec += new
        self.judge(0, reached)
        for day in range(days):
            self.provider_catches_up(True)
            self.time_passes(90000.0)
            self.traffic(1000, 0.0, last if day == days - 1 else "Pass", True, pairs)

    @invariant()
    def one_champion(self) -> None:
        champion, candidate = self.state.champion, self.state.candidate
        assert champion is None or candidate is None or champion.revision != candidate.revision

    @invariant()
    def bounded(self) -> None:
        assert len(self.state.history) <= HISTORY
        assert len(self.state.refused) <= REFUSALS

    @invariant()
    def shares_add_up_to_the_granted_or_the_fallback(self) -> None:
        granted = self.state.granted()
        for able in (None, self.ready, frozenset(), frozenset([*granted][:1]), frozenset([*granted][1:])):
            shares = desired_shares(self.state, able=able)
            for address, least in ((shares.automate, "Automate"), (shares.suggest, "Suggest")):
                assert sum(address.values()) == 100
                assert all(share > 0 for share in address.values())
                for revision in address:
                    if revision != FALLBACK:
                        assert rank(granted[revision]) >= rank(least)
                        assert able is None or revision in able
            assert set(shares.mirrored) <= set(granted)

    @invariant()
    def halted_never_answers(self) -> None:
        if self.state.halted is not None:
            shares = desired_shares(self.state)
            assert shares.automate == shares.suggest == {FALLBACK: 100}
            if self.state.halted.level is None:
                assert shares.mirrored == ()
                assert self.state.granted() == {}

    @invariant()
    def refused_never_answers(self) -> None:
        shares = desired_shares(self.state)
        assert not any(shares.reach(item.revision) for item in self.state.refused)


def heights(state: State) -> Mapping[str, tuple[int, int]]:
    """How high every revision stands."""
    holders: tuple[Holder | None, ...] = (state.candidate, state.champion)
    return {holder.revision: holder.rung.height() for holder in holders if holder is not None and holder.rung != Rung()}


Ladder.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLadder = Ladder.TestCase
