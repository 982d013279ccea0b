"""One ModelDeployment: record the revision, have it measured, judge it, let it climb, serve it, say so. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from mandate.api.check import SpecError
from mandate.api.criteria import Level
from mandate.api.kinds import (
    DecisionsStatus,
    GateSummary,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    PairsStatus,
    Pinned,
)
from mandate.api.moments import stamp
from mandate.api.names import GROUP, LABEL_ENFORCE
from mandate.controller import external, routing
from mandate.controller.assess import (
    Assessment,
    Judged,
    Measuring,
    NotJudged,
    Unclear,
    assess,
    forget,
    gate_summaries,
    gates_passed,
)
from mandate.controller.choice import (
    evaluation_status,
    is_external,
    is_forgotten,
    not_asked,
    status_of,
    understood,
)
from mandate.controller.conditions import Finding, dumped, merged, steady
from mandate.controller.desired import is_ours
from mandate.controller.drill import drill_findings, recorded_drill
from mandate.controller.plan import Action, Delete, Plan, SetStatus, delete
from mandate.controller.replay import Replaying, replaying
from mandate.controller.room import GRANT_FULL
from mandate.controller.serve import Observed, Served, observe, record, serve, standing
from mandate.controller.snapshot import LiveUnavailable, ModelSnapshot
from mandate.controller.standing import compares, drawn_shares, inputs
from mandate.evidence.live import Live
from mandate.evidence.measurement import key, revision_digest
from mandate.rollout import decisions, pairs
from mandate.rollout.inputs import Inputs
from mandate.rollout.ladder import GATES_NOT_MET, Step, step
from mandate.rollout.record import state_of, update_of
from mandate.rollout.state import Refused, State, rank

Object = dict[str, Any]

EVIDENCE_KEPT = 3
"""Evidence records kept per model, the champions' and the candidate's besides."""


def decide_model(snapshot: ModelSnapshot, now: float) -> Plan:
    """What to do about one ModelDeployment at `now`, in seconds since the epoch."""
    mdep = snapshot.mdep
    if mdep["metadata"].get("deletionTimestamp"):
        return Plan()
    before = status_of(mdep)
    assessment = assess(snapshot, now)
    spec = _spec(mdep)
    actions: list[Action] = list(record(snapshot, spec)) if spec is not None else []
    state = state_of(before)
    elsewhere = is_external(mdep) and external.has_taken_over(snapshot, state)
    observed = external.observe(snapshot) if elsewhere else observe(snapshot, spec)
    told = inputs(snapshot, state, spec, assessment, observed)
    climb = step(state, told, now)
    served = (
        external.serve(snapshot, climb.state, spec=spec, now=now)
        if elsewhere
        else _served_here(snapshot, climb.state, spec, now)
    )
    replays = replaying(snapshot, climb.state, spec=spec, now=now)
    if isinstance(assessment, Measuring):
        actions += assessment.actions
    asked = bool(snapshot.live or snapshot.drawn) and bool(snapshot.settings.recorder_url)
    after = _status(snapshot, before, assessment, _Situation(told, climb, observed, served, replays), now=now)
    written = _write(mdep, before, after)
    # The state is on record before anything serves by it, so that a crash in between can't leave more than it says.
    actions += [*written, *served.actions, *replays.actions, *_old_evidence(snapshot, assessment, after)]
    # What use shows changes without an event that says so.
    waits = (
        climb.again,
        served.again,
        snapshot.settings.live_every if asked or replays.finding is not None else None,
        assessment.again if isinstance(assessment, Measuring) else None,
    )
    return Plan(tuple(actions), min((wait for wait in waits if wait is not None), default=None))


def _served_here(snapshot: ModelSnapshot, state: State, spec: ModelDeploymentSpec | None, now: float) -> Served:
    """What we serve with, and what leads to others or away from them."""
    # Until others serve, routes of ours lead as they do; only whom they mayn't lead to any more goes.
    handing_over = is_external(snapshot.mdep) and bool(routing.own(snapshot))
    declared = spec.use_case.fallback if spec is not None else None
    served = serve(snapshot, state, spec=None if handing_over else spec, declared=declared, now=now)
    if not is_external(snapshot.mdep):
        actions = (*served.actions, *external.leave(snapshot))
        return replace(served, actions=actions, elsewhere=external.left(snapshot, state))
    handed = external.hand_over(snapshot, state, now=now)
    return replace(
        served,
        actions=(*served.actions, *handed.actions),
        trouble=(*served.trouble, *handed.trouble),
        again=min((each for each in (served.again, handed.again) if each is not None), default=None),
        elsewhere=handed.elsewhere,
    )


@dataclass(frozen=True)
class _Situation:
    """What was known, where everyone stands now, what was seen before, what is being done, how replays go."""

    told: Inputs
    climb: Step
    observed: Observed
    served: Served
    replays: Replaying

    @property
    def state(self) -> State:
        return self.climb.state

    @property
    def refusal(self) -> Refused | None:
        """Why the candidate may not climb, if it was refused."""
        candidate = self.state.candidate
        return self.state.refusal(candidate.revision) if candidate is not None else None

    @property
    def held(self) -> str:
        """Why nobody stands higher, in words."""
        refusal = self.refusal
        return refusal.message if refusal is not None and refusal.reason == GATES_NOT_MET else self.climb.held


def _spec(mdep: Object) -> ModelDeploymentSpec | None:
    try:
        return understood(mdep)
    except SpecError:
        return None


def _status(
    snapshot: ModelSnapshot,
    before: ModelDeploymentStatus,
    assessment: Assessment,
    situation: _Situation,
    *,
    now: float,
) -> ModelDeploymentStatus:
    generation = snapshot.mdep["metadata"].get("generation", 0)
    level = _level(situation)
    shown = situation.state.champion or situation.state.candidate
    update: dict[str, Any] = update_of(situation.state) | {
        "observed_generation": generation,
        "level": level or "None",
        "version": shown.version if shown is not None else "",
        "pairs": _pairs(snapshot, before, situation, now=now),
        "decisions": _decisions(snapshot, before, situation.state),
    }
    spec = _spec(snapshot.mdep)
    if isinstance(assessment, Judged) and spec is not None:
        update |= {
            "criteria_digest": assessment.criteria,
            "look": assessment.verdict.look,
            "gates": (*gate_summaries(assessment.verdict.levels), *_live_gates(situation)),
            "gates_passed": gates_passed(assessment.verdict, spec.autonomy.target),
            "pinned": _pinned(
                before, assessment, revision=key(revision_digest(snapshot.mdep["metadata"]["name"], spec))
            ),
        }
    elif not (isinstance(assessment, Measuring) and assessment.reason == "Judging"):
        update |= {"gates": (), "gates_passed": "", "criteria_digest": None, "look": 0}
    findings = _findings(snapshot, assessment, situation, level)
    drill = recorded_drill(snapshot.drill, situation.climb.transitions)
    if drill is not None:
        update["drill"] = drill
    findings += drill_findings(drill or before.drill, spec)
    update["conditions"] = merged(before.conditions, findings, generation=generation, now=now)
    after = before.model_copy(update=update)
    counted = {"pairs": before.pairs, "decisions": before.decisions}
    kept = {"conditions": before.conditions, "gates": before.gates, **counted}
    news = pairs.is_news(before.pairs, after.pairs) or decisions.is_news(before.decisions, after.decisions)
    if news or after.model_copy(update=kept) != before:
        return after
    return after.model_copy(
        update={
            "conditions": steady(before.conditions, after.conditions),
            "gates": steady(before.gates, after.gates),
            **counted,
        }
    )


def _pairs(
    snapshot: ModelSnapshot, before: ModelDeploymentStatus, situation: _Situation, *, now: float
) -> PairsStatus | None:
    """The candidate beside the champion; as it was known, where they aren't compared any more."""
    state, compared = situation.state, compares(_spec(snapshot.mdep))
    live = snapshot.live.get(state.candidate.revision) if state.candidate is not None else None
    return pairs.follow(
        before.pairs,
        state,
        copied=situation.observed.copied if compared else {},
        live=live if isinstance(live, Live) and compared else None,
        now=now,
    )


def _decisions(snapshot: ModelSnapshot, before: ModelDeploymentStatus, state: State) -> DecisionsStatus | None:
    """What people decide at Suggest; as it was known, where nothing new is."""
    spec = _spec(snapshot.mdep)
    return decisions.follow(
        before.decisions,
        state_of(before),
        state,
        share=spec.autonomy.suggest.blind_share if spec is not None else None,
        live={revision: live for revision, live in snapshot.live.items() if isinstance(live, Live)},
    )


def _pinned(before: ModelDeploymentStatus, judged: Judged, *, revision: str) -> Pinned:
    """What was learnt of the present revision: its model's digest the first time, and never another."""
    known = before.pinned.model if before.pinned is not None and before.pinned.revision == revision else None
    data = dict(judged.evidence.computed.inputs.data)
    return Pinned(revision=revision, model=known or judged.model_digest, data=data)


def _live_gates(situation: _Situation) -> tuple[GateSummary, ...]:
    """The verdict on live rows of whoever climbs, or else acts."""
    holder = situation.state.candidate or situation.state.champion
    seen = situation.told.fresh(holder) if holder is not None else None
    return gate_summaries(seen.gates.values()) if seen is not None else ()


def _level(situation: _Situation) -> Level | None:
    """The highest level that is granted and served; Shadow is served by running, without an address of its own."""
    levels: list[Level] = []
    for holder in standing(situation.state):
        reached, held = situation.observed.answering(holder.revision), holder.rung.level
        if reached is not None and held is not None:
            levels.append(min(reached, held, key=rank))
        elif not situation.served.waiting and _is_served(situation):
            levels.append("Shadow")
    return max(levels, key=rank, default=None)


def _findings(
    snapshot: ModelSnapshot, assessment: Assessment, situation: _Situation, level: Level | None
) -> tuple[Finding, ...]:
    evaluated = _evaluated(assessment)
    stalled = _stalled(assessment, situation)
    moving = _moving(assessment, situation, stalled)
    findings = [
        evaluated,
        _granted(assessment, situation),
        _enforced(snapshot.namespace),
        _refused(assessment, situation) or Finding("CandidateRefused", "False", evaluated.reason),
        stalled or Finding("Stalled", "False", "Progressing" if moving else "Settled"),
        moving or Finding("Reconciling", "False", "Stalled" if stalled else "Settled"),
        _ready(situation, stalled, moving, level),
    ]
    if isinstance(assessment, Judged) and assessment.criteria_changed:
        findings.append(
            Finding(
                "CriteriaChanged", "True", "AfterMeasurement", "the criteria changed after the measurement had started"
            )
        )
    if situation.climb.recorded is not None:
        findings.append(_clock(situation.climb.recorded))
    wrong = not_asked(snapshot.mdep)
    if wrong:
        findings.append(Finding("AskUnderstood", "False", "InvalidAnnotation", "; ".join(wrong)))
    findings += _in_use(situation) + _alone(snapshot, situation) + situation.served.findings
    if situation.replays.finding is not None:
        findings.append(situation.replays.finding)
    drawn = drawn_shares(snapshot, situation.state)
    if drawn is not None:
        findings.append(Finding("SharesAsDeclared", drawn.status, drawn.reason, drawn.words))
    if situation.served.elsewhere is not None:
        found = situation.served.elsewhere
        findings.append(
            Finding(
                "ServedElsewhere",
                "True" if found.reason == external.AS_GRANTED else "False",
                found.reason,
                found.message,
            )
        )
    if situation.served.fallback:
        findings.append(Finding("FallbackReady", "False", "FallbackUnusable", situation.served.fallback))
    return tuple(findings)


def _clock(recorded: int) -> Finding:
    """The time on record, not how far it is: that would be another message every second."""
    words = (
        f"the operator's clock stands before the last change on record ({stamp(recorded)}), so it went back: nobody "
        "climbs until it gets there; who serves goes on serving, and coming down goes on. Set the clocks right of the "
        "nodes that the operator runs on"
    )
    return Finding("ClockTrusted", "False", "ClockWentBack", words)


def _in_use(situation: _Situation) -> tuple[Finding, ...]:
    """What use shows against the champion, whatever follows from it, or that it shows nothing though gates ask."""
    champion, told = situation.state.champion, situation.told
    if champion is None or champion.rung.level is None or told.rules is None:
        return ()
    seen, level = told.fresh(champion), champion.rung.level
    what = f"version {champion.version} at {champion.rung}"
    failing = told.failing(champion)
    if failing:
        return (Finding("Degraded", "True", "LiveGatesFail", f"{what}: {failing}"),)
    if level not in told.live.get(champion.revision, told.rules.live) or (seen is not None and level in seen.gates):
        return ()
    why = told.unknown.get(champion.revision) or "nothing was seen in use since it came there"
    return (Finding("Watched", "False", "NotSeen", f"{what}: its gates on live rows can't be judged: {why}"),)


def _alone(snapshot: ModelSnapshot, situation: _Situation) -> tuple[Finding, ...]:
    """Why a candidate of which pairs are asked isn't compared with the champion."""
    candidate = situation.state.candidate
    if candidate is None or situation.state.rival(candidate) is None or not compares(_spec(snapshot.mdep)):
        return ()
    live = snapshot.live.get(candidate.revision)
    why = live.reason if isinstance(live, LiveUnavailable) else snapshot.alone.get(candidate.revision)
    if not why:
        return ()
    what = f"version {candidate.version} at {candidate.rung} isn't compared with the champion"
    return (Finding("Compared", "False", "NotAnswered", f"{what}: {why}"),)


def _refused(assessment: Assessment, situation: _Situation) -> Finding | None:
    """The candidate's refusal; one by gates counts once they are judged."""
    refusal = situation.refusal
    if refusal is None or (refusal.reason == GATES_NOT_MET and not isinstance(assessment, Judged)):
        return None
    return Finding("CandidateRefused", "True", refusal.reason, situation.held)


def _evaluated(assessment: Assessment) -> Finding:
    match assessment:
        case Unclear(problems):
            return Finding("Evaluated", "False", "InvalidSpec", problems)
        case Measuring(evaluation, reason, message):
            return Finding("Evaluated", "Unknown", reason, f"ModelEvaluation {evaluation}: {message}")
        case NotJudged(evaluation, code, message):
            return Finding("Evaluated", "False", code, f"ModelEvaluation {evaluation}: not judged: {message}")
        case Judged(evaluation, verdict):
            reached = f"its evidence carries {verdict.reached}" if verdict.reached else "its evidence carries no level"
            return Finding(
                "Evaluated", "True", "Judged", f"ModelEvaluation {evaluation}, look {verdict.look}: {reached}"
            )


def _granted(assessment: Assessment, situation: _Situation) -> Finding:
    present = situation.state.candidate or situation.state.champion
    if present is not None and present.rung.level is not None:
        for trouble in situation.served.trouble:
            if trouble.revision == present.revision:
                return Finding("Granted", "False", trouble.reason, trouble.message)
        held = f"; {situation.held}" if situation.held else ""
        words = f"version {present.version} may act at {present.rung}{held}"
        return Finding("Granted", "True", present.rung.level, words)
    match assessment:
        case Judged():
            refusal = situation.refusal
            reason = refusal.reason if refusal is not None else "Held"
            return Finding("Granted", "False", reason, situation.held)
        case Measuring(_, reason, message) if reason == GRANT_FULL:
            return Finding("Granted", "False", reason, message)
        case Measuring():
            return Finding("Granted", "False", "Evaluating", "nothing is granted before there is evidence")
        case NotJudged(_, code):
            return Finding("Granted", "False", code, "not judged, so nothing is granted")
        case Unclear():
            return Finding("Granted", "False", "InvalidSpec", "the spec can't be judged, so nothing is granted")


def _enforced(namespace: Object | None) -> Finding:
    if namespace is None:
        return Finding("Enforced", "Unknown", "NamespaceUnreadable", "the operator may not read the namespace")
    value = (namespace["metadata"].get("labels") or {}).get(LABEL_ENFORCE)
    match value:
        case "Labelled":
            message = f"Pods that carry {GROUP}/model are admitted by grant only"
            return Finding("Enforced", "True", value, message)
        case "Strict":
            return Finding("Enforced", "True", value, "every Pod of the namespace is admitted by grant only")
        case _:
            name = namespace["metadata"]["name"]
            message = f"anyone may run anything here; enrol it: kubectl label namespace {name} {LABEL_ENFORCE}=Labelled"
            return Finding("Enforced", "False", "NotEnrolled", message)


def _stalled(assessment: Assessment, situation: _Situation) -> Finding | None:
    """What a person must resolve, or None."""
    if isinstance(assessment, Unclear):
        return Finding("Stalled", "True", "InvalidSpec", assessment.problems)
    if situation.served.trouble:
        words = "; ".join(trouble.message for trouble in situation.served.trouble)
        return Finding("Stalled", "True", situation.served.trouble[0].reason, words)
    if isinstance(assessment, Measuring) and assessment.reason == GRANT_FULL:
        return Finding("Stalled", "True", GRANT_FULL, assessment.message)
    if standing(situation.state):
        return None
    if isinstance(assessment, NotJudged):
        return Finding("Stalled", "True", assessment.code, assessment.message)
    if isinstance(assessment, Judged):
        reason = "CandidateRefused" if situation.refusal is not None else "Held"
        return Finding("Stalled", "True", reason, situation.held)
    return None


def _moving(assessment: Assessment, situation: _Situation, stalled: Finding | None) -> Finding | None:
    """Evaluating, or changing objects; never the time that a level must last."""
    if stalled is not None:
        return None
    if isinstance(assessment, Measuring):
        return Finding("Reconciling", "True", "Evaluating", assessment.message)
    if standing(situation.state) and situation.served.waiting:
        return Finding("Reconciling", "True", "Serving", "; ".join(situation.served.waiting))
    return None


def _ready(situation: _Situation, stalled: Finding | None, moving: Finding | None, level: Level | None) -> Finding:
    """Ready: what is granted is served."""
    holders, served = standing(situation.state), situation.served
    if holders and not served.waiting and not served.trouble and _is_served(situation):
        words = ", ".join(f"version {holder.version} at {holder.rung}" for holder in holders)
        return Finding("Ready", "True", "Serving" if rank(level) > 1 else "Shadowing", words)
    status: Literal["False", "Unknown"] = "False"
    if stalled is not None:
        return Finding("Ready", status, stalled.reason, stalled.message)
    if moving is not None:
        return Finding("Ready", status, moving.reason, moving.message)
    if holders and served.elsewhere is not None:
        return Finding("Ready", status, served.elsewhere.reason, served.elsewhere.message)
    return Finding("Ready", status, "NothingGranted", "no revision holds a level")


def _is_served(situation: _Situation) -> bool:
    """Whether others serve as granted, where it is them."""
    elsewhere = situation.served.elsewhere
    return elsewhere is None or elsewhere.reason in (external.AS_GRANTED, external.HANDING_OVER)


def _old_evidence(
    snapshot: ModelSnapshot, assessment: Assessment, status: ModelDeploymentStatus
) -> list[SetStatus | Delete]:
    """Evidence beyond the last few is forgotten, and records that no ModelEvaluation names are deleted.

    The ModelEvaluations and their summaries stay. A record is written before its ModelEvaluation names it, so those of
    unfinished ones are left alone.
    """
    holders = [item for item in (status.champion, status.candidate, status.previous) if item is not None]
    used = {item.evaluation for item in holders}
    if not isinstance(assessment, Unclear):
        used.add(assessment.evaluation)
    complete = [meval for meval in snapshot.mevals if evaluation_status(meval).evidence is not None]
    stored = sorted(
        (meval for meval in complete if not is_forgotten(meval)),
        key=lambda meval: (evaluation_status(meval).completed or "", meval["metadata"]["name"]),
        reverse=True,
    )
    old = [meval for meval in stored[EVIDENCE_KEPT:] if meval["metadata"]["name"] not in used]
    named = {evaluation_status(meval).evidence_config_map for meval in stored if meval not in old}
    superfluous = [
        item
        for item in snapshot.records
        if item["metadata"]["name"] not in named and any(is_ours(item, meval) for meval in complete)
    ]
    return [*(forget(meval) for meval in old), *(delete(item) for item in superfluous)]


def _write(mdep: Object, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> tuple[SetStatus, ...]:
    if before == after and mdep.get("status"):
        return ()
    metadata = {name: mdep["metadata"][name] for name in ("name", "namespace", "uid")}
    document = {"apiVersion": mdep["apiVersion"], "kind": mdep["kind"], "metadata": metadata, "status": dumped(after)}
    return (SetStatus(document),)
