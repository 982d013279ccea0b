"""The ladder: one candidate climbs while the champion serves, each step on evidence, and comes down again. Pure.

    no level -> Shadow -> Suggest -> Automate at 10 % -> … -> Automate at 100 % -> champion

`step` is level-triggered: it is given everything that is known, and says who stands where afterwards. The same step
again at the same instant changes nothing. A step up needs the verdict on test evidence, what the present level must
have seen in use, the live gates, the approvals, for Automate a drill of the fallback where it is asked, and that
nothing is paused; a step down needs one reason. `promote` skips the time that a rung must last, never evidence.

Clocks: nothing is reckoned from a moment before the last one on record, and nobody rises while the clock stands before
it. So a clock that goes backwards makes waits longer, never shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mandate.api.asks import VerbName
from mandate.api.criteria import LEVELS, Level

from .inputs import Compared, Inputs, Rules, Verb
from .shares import desired_shares
from .state import (
    HISTORY,
    OPERATOR,
    REFUSALS,
    Asked,
    Holder,
    Leaving,
    Previous,
    Refused,
    Rung,
    State,
    Transition,
    rank,
    top,
)
from .waiting import Missing, about, missing

GATES_NOT_MET = "GatesNotMet"
DRILLED, DRILL_FAILED = "Drilled", "DrillFailed"
"""Transitions after which everyone stands where they stood: what came of a drill of the fallback."""
EXCHANGED = "the model's bytes aren't those that earned the level: it starts with nothing"
LOOK_AT_CLOCK = 60.0
"""Seconds after which a clock that went back is looked at again: no event tells that it was set right."""
MOST_PASSES = 64
"""Far more passes than any step needs; beyond, the rules contradict each other."""
ORDER: tuple[VerbName, ...] = ("Drill", "Resume", "Retry", "Promote", "Rollback", "Abort", "Pause", "Halt")
"""Of several verbs that are new at once, the more cautious comes later and so has the last word."""

Moved = tuple[State, tuple[Transition, ...]]


@dataclass(frozen=True)
class Step:
    """The state after one step, what changed, why nobody is higher (`held`), and in how many seconds time may tell.

    `recorded` is the last moment on record, in seconds since the epoch, where the clock hasn't reached it yet.
    """

    state: State
    transitions: tuple[Transition, ...]
    held: str
    again: float | None
    recorded: int | None = None


def step(state: State, inputs: Inputs, now: float) -> Step:
    """The ladder after everything that `inputs` allows or demands at `now`, in seconds since the epoch."""
    found = _stepped(state, inputs, now)
    if _last(found.state) >= _last(state):
        return found
    # Whose moment was the last on record has gone, without a transition: the clock stands less far behind, or isn't.
    return step(found.state, inputs, now)


def _stepped(state: State, inputs: Inputs, now: float) -> Step:
    clock = _Clock(max(math.ceil(now), _last(state)), _last(state) - math.ceil(now))
    moment = clock.moment
    state, transitions = _arrived(state, inputs, moment)
    state, moved, promote = _verbs(state, inputs, moment)
    transitions += moved
    for _ in range(MOST_PASSES):
        before, known = state, len(transitions)
        for rule in (_arrived, _capped, _failing, _left, _begun):
            state, moved = rule(state, inputs, moment)
            transitions += moved
        state, moved, promote = _climbed(state, inputs, clock, promote)
        transitions += moved
        state, moved = _released(state, inputs, moment)
        transitions += moved
        if state == before and len(transitions) == known:
            break
    else:
        raise RuntimeError(f"the ladder doesn't come to rest: {transitions[-4:]}")
    held, again = _held(state, inputs, clock)
    if promote is not None:
        transitions += (_noted("Ignored", promote, moment, f"promote: {held or 'there is nothing to promote'}"),)
    state = replace(state, history=(*state.history, *transitions)[-HISTORY:])
    return Step(state, transitions, held, again, clock.moment if clock.behind > 0 else None)


@dataclass(frozen=True)
class _Clock:
    """The moment that counts, and by how many seconds the clock stands before the last one on record."""

    moment: int
    behind: int


def _last(state: State) -> int:
    """The last moment on record; a holder's `since` may come from another clock, and isn't one."""
    behind = state.previous
    holders = (state.champion, state.candidate, behind.holder if behind is not None else None)
    times = [item.at for item in state.history]
    times += [time for item in holders if item is not None for time in (item.stepped, item.begun or 0)]
    times += [behind.alone or 0] if behind is not None else []
    times += [item.at for item in (state.paused, state.halted) if item is not None]
    return max(times, default=0)


# --- Who is on the ladder


def _arrived(state: State, inputs: Inputs, moment: int) -> Moved:
    """The spec's revision is the champion, or takes the candidate's place."""
    if not inputs.revision:
        return state, ()
    old = state.candidate
    if old is not None and old.revision == inputs.revision:
        return state, ()
    at_home = state.champion is not None and state.champion.revision == inputs.revision
    if at_home and old is None:
        return state, ()
    gone: tuple[Transition, ...] = ()
    if old is not None and old.rung.level is not None:
        why = f"the spec asks for version {inputs.version}"
        gone = (_transition("Superseded", old, replace(old, rung=Rung()), moment, why=why),)
    if at_home:
        return replace(state, candidate=None), gone
    return replace(state, candidate=_newcomer(inputs.revision, inputs.version, moment)), gone


def _newcomer(revision: str, version: str, moment: int) -> Holder:
    return Holder(revision=revision, version=version, since=moment, stepped=moment)


# --- What people ask


def _verbs(state: State, inputs: Inputs, moment: int) -> tuple[State, tuple[Transition, ...], Verb | None]:
    """The state after every verb that is new, and the promotion that is asked for."""
    handled = dict(state.handled)
    promote: Verb | None = None
    transitions: tuple[Transition, ...] = ()
    for verb in sorted(inputs.verbs, key=lambda verb: ORDER.index(verb.name)):
        under_way = verb.name == "Drill" and (inputs.drilled is None or inputs.drilled.id != verb.id)
        if handled.get(verb.name) == verb.id or under_way:
            continue
        handled[verb.name] = verb.id
        known = {holder.revision for holder in (state.champion, state.candidate) if holder is not None}
        if verb.revision and verb.revision not in known:
            why = f"{verb.name.lower()}: revision {verb.revision} is neither candidate nor champion any more"
            transitions += (_noted("Ignored", verb, moment, why),)
        elif verb.name == "Promote":
            promote = verb
        elif verb.name == "Drill" and inputs.drilled is not None:
            what = DRILLED if inputs.drilled.answered else DRILL_FAILED
            why = f"{inputs.drilled.words} ({verb.why})" if verb.why else inputs.drilled.words
            transitions += (_noted(what, verb, moment, why),)
        else:
            state, moved = _asked(state, inputs, verb, moment)
            transitions += moved
    return replace(state, handled=tuple(sorted(handled.items()))), transitions, promote


def _asked(state: State, inputs: Inputs, verb: Verb, moment: int) -> Moved:
    """The state after one verb other than Promote and Drill."""
    asked = Asked(by=verb.by, at=moment, why=verb.why, level=verb.level)
    match verb.name:
        case "Pause":
            return replace(state, paused=asked), (_noted("Paused", verb, moment, verb.why),)
        case "Halt":
            if verb.level not in (None, "Shadow"):
                return state, (_noted("Ignored", verb, moment, f"halt: to Shadow or off, not to {verb.level}"),)
            where = "at Shadow" if verb.level else "and off"
            return replace(state, halted=asked), (_noted("Halted", verb, moment, _words(f"halted {where}", verb)),)
        case "Resume":
            if state.paused is None and state.halted is None:
                return state, (_noted("Ignored", verb, moment, "resume: nothing is paused or halted"),)
            return replace(state, paused=None, halted=None), (_noted("Resumed", verb, moment, verb.why),)
        case "Retry":
            return _retried(state, verb, moment)
        case "Abort":
            return _aborted(state, verb, moment)
        case _:
            return _asked_back(state, inputs, verb, moment)


def _retried(state: State, verb: Verb, moment: int) -> Moved:
    candidate = state.candidate
    if candidate is None or state.refusal(candidate.revision) is None or candidate.leaving is not None:
        return state, ()  # the evaluation sees to a retry of what couldn't be judged
    afresh = _newcomer(candidate.revision, candidate.version, moment)
    state = replace(state, candidate=afresh, refused=_without(state, candidate.revision))
    return state, (_transition("Retried", candidate, afresh, moment, by=verb.by, why=_words("retry", verb)),)


def _aborted(state: State, verb: Verb, moment: int) -> Moved:
    candidate = state.candidate
    if candidate is None or candidate.leaving is not None or state.refusal(candidate.revision) is not None:
        return state, (_noted("Ignored", verb, moment, "abort: no candidate is climbing"),)
    return _cut_off(state, Leaving(reason="Aborted", message=_words("abort", verb), by=verb.by), moment)


def _asked_back(state: State, inputs: Inputs, verb: Verb, moment: int) -> Moved:
    """From a candidate that answers to the champion; without one, from the champion to the one before it."""
    candidate = state.candidate
    leaving = Leaving(reason="RolledBack", message=_words("rollback", verb), by=verb.by)
    if candidate is not None and candidate.leaving is None and rank(candidate.rung.level) > 1:
        return _cut_off(state, leaving, moment)
    if not _can_go_back(state):
        return state, (_noted("Ignored", verb, moment, f"rollback: {_no_way_back(state)}"),)
    return _rolled_back(state, inputs, leaving, moment)


# --- What evidence carries


def _capped(state: State, inputs: Inputs, moment: int) -> Moved:
    """Nobody stands above what the verdict, the target and a halt allow."""
    state, first = _capped_champion(state, inputs, moment)
    state, second = _capped_candidate(state, inputs, moment)
    behind = state.previous
    if behind is not None and behind.holder.revision in inputs.judgements:
        reached = inputs.judgements[behind.holder.revision].reached
        if reached is None:
            state = replace(state, previous=None)
        elif rank(reached) < rank(behind.holder.rung.level):
            state = replace(state, previous=replace(behind, holder=replace(behind.holder, rung=top(reached))))
    return state, first + second


def _capped_champion(state: State, inputs: Inputs, moment: int) -> Moved:
    champion = state.champion
    if champion is None:
        return state, ()
    judgement = inputs.judgements.get(champion.revision)
    if _exchanged(champion, inputs):
        after = _newcomer(champion.revision, champion.version, moment)
        state = replace(state, champion=None, candidate=state.candidate or after)
        return state, (_transition("Lowered", champion, after, moment, why=EXCHANGED),)
    champion = _judged(champion, inputs)
    if judgement is None or judgement.reached is not None:
        lowered, moved = _lowered(champion, state, inputs, moment)
        return replace(state, champion=lowered), moved
    # Its evidence, judged again, carries nothing: it isn't the champion any more.
    why = f"Shadow isn't granted: {judgement.blocking.get('Shadow', 'the verdict carries no level')}"
    after = replace(_newcomer(champion.revision, champion.version, moment), evaluation=champion.evaluation)
    state = replace(state, champion=None, refused=_with(state, champion, GATES_NOT_MET, why))
    if state.candidate is None:
        state = replace(state, candidate=after)
    return state, (_transition("Refused", champion, after, moment, why=why),)


def _capped_candidate(state: State, inputs: Inputs, moment: int) -> Moved:
    candidate = state.candidate
    if candidate is None:
        return state, ()
    if _exchanged(candidate, inputs):
        after = _newcomer(candidate.revision, candidate.version, moment)
        return replace(state, candidate=after), (_transition("Lowered", candidate, after, moment, why=EXCHANGED),)
    candidate = _judged(candidate, inputs)
    state = replace(state, candidate=candidate)
    judgement, refusal = inputs.judgements.get(candidate.revision), state.refusal(candidate.revision)
    if judgement is not None and judgement.reached is None:
        why = f"Shadow isn't granted: {judgement.blocking.get('Shadow', 'the verdict carries no level')}"
        after = replace(candidate.at(Rung(), moment), leaving=None)
        state = replace(state, candidate=after, refused=_with(state, candidate, GATES_NOT_MET, why))
        known = refusal is not None and after == candidate
        return state, () if known else (_transition("Refused", candidate, after, moment, why=why),)
    if refusal is not None and refusal.reason == GATES_NOT_MET and judgement is not None:
        state = replace(state, refused=_without(state, candidate.revision))
    lowered, moved = _lowered(candidate, state, inputs, moment)
    return replace(state, candidate=lowered), moved


def _exchanged(holder: Holder, inputs: Inputs) -> bool:
    """Whether what was judged are other bytes than those that earned the revision its level."""
    judgement = inputs.judgements.get(holder.revision)
    known = judgement is not None and judgement.reached is not None and holder.model_digest is not None
    return known and judgement is not None and judgement.model_digest != holder.model_digest


def _judged(holder: Holder, inputs: Inputs) -> Holder:
    judgement = inputs.judgements.get(holder.revision)
    if judgement is None:
        return holder
    return replace(
        holder,
        evaluation=judgement.evaluation,
        model_digest=judgement.model_digest,
        criteria=judgement.criteria,
    )


def _lowered(holder: Holder, state: State, inputs: Inputs, moment: int) -> tuple[Holder, tuple[Transition, ...]]:
    """The holder at no more than verdict, target and halt allow. That is no fall: use showed nothing against it."""
    judgement = inputs.judgements.get(holder.revision)
    caps: list[tuple[Level | None, str, str, str]] = []
    if judgement is not None and judgement.reached is not None:
        over = LEVELS[min(rank(judgement.reached), len(LEVELS) - 1)]
        because = judgement.blocking.get(over, "the verdict doesn't carry it")
        caps.append((judgement.reached, "Lowered", OPERATOR, f"{over} isn't granted: {because}"))
    if inputs.rules is not None:
        caps.append((inputs.rules.target, "Lowered", OPERATOR, f"the target is {inputs.rules.target}"))
    if state.halted is not None:
        caps.append((state.halted.level, "Halted", state.halted.by, state.halted.why))
    for level, what, by, why in sorted(caps, key=lambda cap: rank(cap[0])):
        if rank(holder.rung.level) > rank(level):
            after = holder.at(top(level), moment)
            return after, (_transition(what, holder, after, moment, by=by, why=why),)
    return holder, ()


# --- What use shows


def _failing(state: State, inputs: Inputs, moment: int) -> Moved:
    """A failing candidate loses its traffic; a failing champion comes down as the spec says."""
    candidate, champion = state.candidate, state.champion
    transitions: tuple[Transition, ...] = ()
    if candidate is not None and candidate.rung.level is not None and candidate.leaving is None:
        why = inputs.broken.get(candidate.revision) or inputs.failing(candidate)
        if why:
            state, transitions = _cut_off(state, Leaving(reason="Failed", message=why, by=OPERATOR), moment)
    if champion is None or champion.rung.level is None or inputs.rules is None:
        return state, transitions
    failing = inputs.failing(champion)
    if inputs.rules.on_degradation == "Rollback" and _can_go_back(state):
        why = failing or inputs.broken.get(champion.revision, "")
        if why:
            state, moved = _rolled_back(state, inputs, Leaving(reason="Degraded", message=why, by=OPERATOR), moment)
            return state, transitions + moved
    if not failing or inputs.rules.on_degradation == "Hold" or champion.rung.level == "Shadow":
        return state, transitions
    lower = top(LEVELS[rank(champion.rung.level) - 2])
    after = replace(champion.at(lower, moment, used=inputs.used(champion)), fallen=True)
    seen = _evidence(inputs, champion)
    return replace(state, champion=after), (
        *transitions,
        _transition("Demoted", champion, after, moment, why=failing, evidence=seen),
    )


def _cut_off(state: State, leaving: Leaving, moment: int) -> Moved:
    """The candidate without traffic, on its way out; it is refused once no answer of it is used any more."""
    candidate = state.candidate
    assert candidate is not None
    rung = min(candidate.rung, Rung("Shadow"), key=Rung.height)
    after = replace(candidate.at(rung, moment), leaving=leaving, fallen=True)
    moved = _transition("CutOff", candidate, after, moment, by=leaving.by, why=leaving.message)
    return replace(state, candidate=after), (moved,) if candidate.rung.level is not None else ()


def _left(state: State, inputs: Inputs, moment: int) -> Moved:
    """A candidate on its way out is refused as soon as the provider sends it nothing that is used."""
    candidate = state.candidate
    if candidate is None or candidate.leaving is None or inputs.true.reach(candidate.revision):
        return state, ()
    leaving = candidate.leaving
    after = replace(candidate.at(Rung(), moment), leaving=None)
    state = replace(
        state, candidate=after, refused=_with(state, candidate, leaving.reason, leaving.message, always=True)
    )
    return state, (_transition(leaving.reason, candidate, after, moment, by=leaving.by, why=leaving.message),)


def _can_go_back(state: State) -> bool:
    behind = state.previous
    return (
        state.halted is None
        and state.champion is not None
        and behind is not None
        and behind.holder.rung.level is not None
        and state.refusal(behind.holder.revision) is None
    )


def _no_way_back(state: State) -> str:
    if state.halted is not None:
        return "the model is halted; resume it first"
    return "there is no champion before this one" if state.previous is None else "the champion before it was refused"


def _rolled_back(state: State, inputs: Inputs, leaving: Leaving, moment: int) -> Moved:
    """The champion before this one is the champion again, at once; this one is refused."""
    champion, behind = state.champion, state.previous
    assert champion is not None
    assert behind is not None
    back = replace(behind.holder, since=moment, stepped=moment, begun=None, fallen=False, leaving=None)
    candidate = state.candidate
    if candidate is not None and candidate.revision == back.revision:
        candidate = None
    gone = _newcomer(champion.revision, champion.version, moment)
    if candidate is None and champion.revision == inputs.revision:
        candidate = replace(
            gone,
            evaluation=champion.evaluation,
            model_digest=champion.model_digest,
            criteria=champion.criteria,
        )
    refused = _with(state, champion, leaving.reason, leaving.message, always=True)
    why = f"{leaving.message}; back to version {back.version}"
    down = _transition(
        "RolledBack", champion, gone, moment, by=leaving.by, why=why, evidence=_evidence(inputs, champion)
    )
    up = _transition("Reinstated", behind.holder, back, moment, by=leaving.by, why=f"instead of {champion.version}")
    return replace(state, champion=back, candidate=candidate, previous=None, refused=refused), (down, up)


# --- What is true already


def _begun(state: State, inputs: Inputs, moment: int) -> Moved:
    """Since when each rung is in use; at Automate an interruption starts the time anew."""
    return (
        replace(
            state,
            champion=_started(state.champion, state, inputs, moment),
            candidate=_started(state.candidate, state, inputs, moment),
        ),
        (),
    )


def _started(holder: Holder | None, state: State, inputs: Inputs, moment: int) -> Holder | None:
    if holder is None or holder.rung.level is None:
        return holder
    if _is_true(holder, state, inputs):
        return holder if holder.begun is not None else replace(holder, begun=moment)
    return replace(holder, begun=None) if holder.rung.level == "Automate" else holder


def _is_true(holder: Holder, state: State, inputs: Inputs) -> bool:
    """Whether the revision runs, and gets the requests that its rung says."""
    if holder.revision not in inputs.ready:
        return False
    wanted, true = desired_shares(state), inputs.true
    match holder.rung.level:
        case "Automate":
            share = wanted.automate.get(holder.revision, 0)
            return share > 0 and true.automate.get(holder.revision, 0) == share
        case "Suggest":
            # The candidate comes before the champion, which then has nobody to answer.
            return true.suggest.get(holder.revision, 0) == wanted.suggest.get(holder.revision, 0)
        case _:
            return holder.revision in true.mirrored


def _released(state: State, inputs: Inputs, moment: int) -> Moved:
    """The champion before this one leaves the grant once its successor has held for a step's duration."""
    behind, champion = state.previous, state.champion
    if behind is None or behind.released or inputs.rules is None:
        return state, ()
    if champion is None or not _replaces(champion, behind.holder, state, inputs):
        return replace(state, previous=replace(behind, alone=None)), ()
    alone = moment if behind.alone is None else behind.alone
    if moment - alone < inputs.rules.step_duration:
        return replace(state, previous=replace(behind, alone=alone)), ()
    why = f"version {champion.version} has answered in its place for long enough"
    done = _transition("Released", behind.holder, behind.holder, moment, why=why)
    return replace(state, previous=replace(behind, alone=alone, released=True)), (done,)


def _replaces(champion: Holder, before: Holder, state: State, inputs: Inputs) -> bool:
    """Whether the champion answers as high as the one before it did, or as the target asks, and that one nowhere."""
    assert inputs.rules is not None
    enough = min(rank(before.rung.level), rank(inputs.rules.target))
    answers_elsewhere = inputs.true.reach(before.revision) and (
        state.candidate is None or state.candidate.revision != before.revision
    )
    return rank(champion.rung.level) >= enough and _is_true(champion, state, inputs) and not answers_elsewhere


# --- Up


def _climbed(
    state: State, inputs: Inputs, clock: _Clock, promote: Verb | None
) -> tuple[State, tuple[Transition, ...], Verb | None]:
    """One rung up for whoever may, the candidate first; `promote` spares the first of them its wait."""
    transitions: tuple[Transition, ...] = ()
    if inputs.rules is None:
        return state, (), promote
    for role in ("candidate", "champion"):
        holder = state.candidate if role == "candidate" else state.champion
        if holder is None or not _climbs(holder, state, inputs.rules, role):
            continue
        found = _missing(holder, state, inputs, clock)
        waits = all(item.seconds is not None for item in found)
        if found and (promote is None or not waits):
            continue
        state, moved = _up(holder, state, inputs, clock.moment, role, promote)
        promote = None
        transitions += moved
    return state, transitions, promote


def _climbs(holder: Holder, state: State, rules: Rules, role: str) -> bool:
    """Whether there is anything above for it at all."""
    if holder.leaving is not None or state.refusal(holder.revision) is not None:
        return False
    return role == "candidate" or _next(holder.rung, rules) is not None


def _next(rung: Rung, rules: Rules) -> Rung | None:
    """The next rung; None at the end of the target."""
    if rung.level == "Automate":
        return next((Rung("Automate", share) for share in rules.steps if share > rung.share), None)
    if rung.level == rules.target:
        return None
    level = LEVELS[rank(rung.level)]
    return Rung(level, rules.steps[0]) if level == "Automate" else Rung(level)


def _up(holder: Holder, state: State, inputs: Inputs, moment: int, role: str, promote: Verb | None) -> Moved:
    assert inputs.rules is not None
    following = _next(holder.rung, inputs.rules)
    by, why = (promote.by, _words("promote", promote)) if promote is not None else (OPERATOR, _reason(holder))
    seen = _evidence(inputs, holder)
    if following is None:
        return _crowned(holder, state, moment, by=by, why=why, evidence=seen)
    after = holder.at(following, moment, used=inputs.used(holder))
    if _next(following, inputs.rules) is None and role == "champion":
        after = replace(after, fallen=False)
    state = replace(state, candidate=after) if role == "candidate" else replace(state, champion=after)
    what = "Advanced" if following.level == holder.rung.level else "Promoted"
    return state, (_transition(what, holder, after, moment, by=by, why=why, evidence=seen),)


def _crowned(holder: Holder, state: State, moment: int, *, by: str, why: str, evidence: str) -> Moved:
    """The candidate is the champion; behind it stands the last one that had held."""
    old, behind = state.champion, state.previous
    after = replace(holder, fallen=False)
    held = behind is None or behind.released or behind.holder.revision == holder.revision
    if old is not None and held and not old.fallen:
        behind = Previous(holder=old)
    elif behind is not None and behind.holder.revision == holder.revision:
        behind = None
    elif behind is not None:
        behind = replace(behind, alone=None)
    done = _transition("BecameChampion", holder, after, moment, by=by, why=why, evidence=evidence)
    return replace(state, champion=after, candidate=None, previous=behind), (done,)


def _reason(holder: Holder) -> str:
    if holder.rung.level is None:
        return "its test evidence carries Shadow"
    return f"{holder.rung} has seen what it must"


def _missing(holder: Holder, state: State, inputs: Inputs, clock: _Clock) -> tuple[Missing, ...]:
    """What keeps the holder from its next rung (for a candidate at the last one: from becoming champion)."""
    assert inputs.rules is not None
    rules = inputs.rules
    following = _next(holder.rung, rules) or holder.rung
    level = following.level
    assert level is not None
    found: list[Missing] = []
    if clock.behind > 0:
        found.append(Missing(f"the clock stands {clock.behind} s before the last change on record, and must catch up"))
    if state.halted is not None and rank(level) > rank(state.halted.level):
        found.append(Missing(f"halted by {state.halted.by}; resume lifts it"))
    if state.paused is not None:
        found.append(Missing(f"paused by {state.paused.by}; resume goes on"))
    judgement = inputs.judgements.get(holder.revision)
    if judgement is None:
        found.append(Missing("its test evidence isn't judged yet"))
    elif rank(judgement.reached) < rank(level):
        found.append(Missing(judgement.blocking.get(level, "the verdict doesn't carry it")))
    found += _unseen(holder, following, state, inputs, clock.moment)
    if holder.revision in inputs.misdrawn:
        found.append(Missing(f"its share isn't as declared: {inputs.misdrawn[holder.revision]}"))
    if level in rules.approvals and level not in inputs.approved.get(holder.revision, frozenset()):
        found.append(Missing(f"nobody approved {level} yet"))
    if rules.drill and level == "Automate" and inputs.undrilled:
        words = f"the fallback isn't proven to answer: {inputs.undrilled}; ask for one with kubectl mandate drill"
        found.append(Missing(words))
    return tuple(found)


def _unseen(holder: Holder, following: Rung, state: State, inputs: Inputs, moment: int) -> list[Missing]:
    """What use must still show on this rung before the next."""
    assert inputs.rules is not None
    if holder.rung.level is None:
        return []
    rules, seen, level = inputs.rules, inputs.fresh(holder), following.level
    assert level is not None
    lived = None if holder.begun is None else float(moment - holder.begun)
    found: list[Missing] = []
    if following.level != holder.rung.level:
        unknown = inputs.unknown.get(holder.revision, "")
        minimum, rival = rules.minimum(holder.rung.level), state.rival(holder)
        if rival is None:  # where no champion answers there is nothing to compare with
            minimum = replace(minimum, max_missing_pairs=None)
        elif seen is not None and seen.compared is not None and not _is_fresh(seen.compared, holder, rival):
            seen = replace(seen, compared=None)
        alone = inputs.alone.get(holder.revision, "")
        found += missing(holder.rung.level, minimum, seen, lived=lived, unknown=unknown, alone=alone)
    elif holder.rung.level == "Automate" and rules.step_duration > 0:
        if lived is None:
            # One below the first step, as after a change of provider, may never be served; nor would it come first now.
            if holder.rung.share >= rules.steps[0]:
                found.append(Missing(f"the provider doesn't serve {holder.rung} yet"))
        elif lived < rules.step_duration:
            left = rules.step_duration - lived
            found.append(Missing(f"{holder.rung} must hold, {about(left)} more", left))
    if following.level == holder.rung.level:
        return found  # a failing one is cut off; a rung of the same level asks for no more than not to fail
    if holder.fallen and (seen is None or seen.predictions == 0):
        found.append(Missing(f"it fell, and {_nothing_seen(holder, inputs)}"))
    elif level in inputs.live.get(holder.revision, rules.live):
        verdict = seen.gates.get(level) if seen is not None else None
        if verdict is None:
            found.append(Missing(_nothing_seen(holder, inputs)))
            return found
        # Not to be refuted yet isn't enough for who fell: it would rise, be refuted, and fall, for ever.
        open_gates = [
            gate for gate in verdict.gates if not gate.holds or (holder.fallen and gate.verdict == "Inconclusive")
        ]
        if open_gates or not verdict.holds:
            words = "; ".join(f"{gate.name}: {gate.verdict}: {gate.message}" for gate in open_gates)
            found.append(Missing(words or f"no live gate asks anything at {level}"))
    return found


def _is_fresh(compared: Compared, holder: Holder, rival: Holder) -> bool:
    """Whether it is about this champion, and began since the holder came to its level."""
    return compared.against == rival.revision and compared.since >= holder.since


def _nothing_seen(holder: Holder, inputs: Inputs) -> str:
    unknown = inputs.unknown.get(holder.revision, "")
    return f"nothing was seen in use since it came to {holder.rung.level}{f' ({unknown})' if unknown else ''}"


def _held(state: State, inputs: Inputs, clock: _Clock) -> tuple[str, float | None]:
    """Why nobody stands higher, the candidate first, and in how many seconds time alone may change anything."""
    waits: list[float] = [min(clock.behind, LOOK_AT_CLOCK)] if clock.behind > 0 else []
    words: list[str] = []
    if inputs.rules is not None:
        for role in ("candidate", "champion"):
            holder = state.candidate if role == "candidate" else state.champion
            if holder is None or not _climbs(holder, state, inputs.rules, role):
                continue
            found = _missing(holder, state, inputs, clock)
            following = _next(holder.rung, inputs.rules)
            what = f"{following} isn't granted" if following is not None else "it isn't the champion yet"
            words.append(f"{what}: {'; '.join(item.words for item in found)}")
            waits += [item.seconds for item in found if item.seconds is not None]
        behind = state.previous
        if behind is not None and not behind.released and behind.alone is not None:
            waits.append(inputs.rules.step_duration - (clock.moment - behind.alone))
    candidate = state.candidate
    if candidate is not None:
        refusal = state.refusal(candidate.revision)
        if candidate.leaving is not None:
            words.insert(0, f"{candidate.leaving.reason}: {candidate.leaving.message}; it still gets traffic")
        elif refusal is not None:
            advice = "" if refusal.reason == GATES_NOT_MET else "; a retry lets it climb again"
            words.insert(0, f"{refusal.reason}: {refusal.message}{advice}")
    return words[0] if words else "", min(waits, default=None)


# --- In words


def _with(state: State, holder: Holder, reason: str, message: str, *, always: bool = False) -> tuple[Refused, ...]:
    """The refusals with this one; a person's, or a failure in use, isn't replaced by a verdict's."""
    known = state.refusal(holder.revision)
    if known is not None and known.reason != reason and not always:
        return state.refused
    retry = dict(state.handled).get("Retry", "") if known is None else known.retry
    new = Refused(revision=holder.revision, version=holder.version, reason=reason, message=message, retry=retry)
    if known is not None:
        return tuple(new if item is known else item for item in state.refused)
    return (new, *state.refused)[:REFUSALS]


def _without(state: State, revision: str) -> tuple[Refused, ...]:
    return tuple(item for item in state.refused if item.revision != revision)


def _transition(
    what: str, before: Holder, after: Holder, moment: int, *, why: str, by: str = OPERATOR, evidence: str = ""
) -> Transition:
    return Transition(
        at=moment,
        what=what,
        by=by,
        why=why,
        revision=before.revision,
        version=before.version,
        before=before.rung,
        after=after.rung,
        evidence=evidence or before.evaluation,
    )


def _noted(what: str, verb: Verb, moment: int, why: str) -> Transition:
    return Transition(at=moment, what=what, by=verb.by, why=why, revision=verb.revision)


def _words(what: str, verb: Verb) -> str:
    return f"{what}: {verb.why}" if verb.why else f"{what} asked"


def _evidence(inputs: Inputs, holder: Holder) -> str:
    """On what a transition rests: the evaluation, and what was seen in use."""
    parts = [holder.evaluation] if holder.evaluation else []
    seen = inputs.fresh(holder)
    if seen is not None:
        parts.append(f"{seen.predictions} predictions, {seen.labelled} labelled in use")
    return "; ".join(parts)
