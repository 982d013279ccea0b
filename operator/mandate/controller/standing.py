"""What one step of the ladder is told of a ModelDeployment: its rules, what evidence carries, what is true. Pure."""

from __future__ import annotations

from typing import Any

from mandate.api.criteria import LEVELS, Level
from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec
from mandate.controller import replay, routing
from mandate.controller.assess import Assessment, Judged, blocking, model_digest
from mandate.controller.choice import asked_of, evaluation_of, status_of
from mandate.controller.drill import told, undrilled
from mandate.controller.pods import records_by_sidecar
from mandate.controller.serve import Observed, recorded
from mandate.controller.snapshot import LiveQuestion, LiveUnavailable, ModelSnapshot
from mandate.evidence.live import Live
from mandate.evidence.measurement import key, revision_digest
from mandate.evidence.schema import Evidence
from mandate.rollout.decisions import blind_percent
from mandate.rollout.inputs import Inputs, Judgement, Rules, Verb
from mandate.rollout.pairs import compared, comparison
from mandate.rollout.ratio import Divided, Ratio, divided, ratio
from mandate.rollout.record import live_levels, rules_of, seen_of, state_of
from mandate.rollout.state import Holder, State
from mandate.verdict.criteria import criteria_digest, looked_digest, settings_digest
from mandate.verdict.judge import LevelVerdict, Verdict, judge
from mandate.verdict.live import judge_live
from mandate.verdict.looks import look_at
from mandate.verdict.required import required

Object = dict[str, Any]

NOTHING_TO_SERVE = "NotServable: the model's answers are columns of the data: there is nothing to serve"


def inputs(
    snapshot: ModelSnapshot,
    state: State,
    spec: ModelDeploymentSpec | None,
    assessment: Assessment,
    observed: Observed,
) -> Inputs:
    """What `step` looks at.

    A spec that isn't understood asks for nothing, and what stands goes on standing; people may ask all the same.
    """
    verbs = tuple(
        Verb(name=ask.verb, id=ask.id, by=ask.by, why=ask.why, revision=ask.revision, level=ask.level)
        for ask in asked_of(snapshot.mdep)
    )
    drilled = told(snapshot.drill) if snapshot.drill is not None else None
    if spec is None:
        return Inputs(rules=None, verbs=verbs, drilled=drilled, true=observed.true, ready=observed.ready)
    revision = key(revision_digest(snapshot.mdep["metadata"]["name"], spec))
    judgements = {} if not isinstance(assessment, Judged) else {revision: _present(assessment)}
    for holder in others(state, revision):
        known = _standing(snapshot, holder)
        if known is not None:
            judgements[holder.revision] = known
    unknown = _unknown(snapshot, state, spec)
    criteria = {
        holder.revision: criteria_of(snapshot, holder, spec=spec)
        for holder in (state.champion, state.candidate)
        if holder is not None
    }
    pairs = status_of(snapshot.mdep).pairs
    seen = {
        revision: seen_of(live, _judged_live(live, criteria.get(revision)), compared(pairs, live))
        for revision, live in snapshot.live.items()
        if isinstance(live, Live) and revision not in unknown
    }
    drawn, climbing = drawn_shares(snapshot, state), state.candidate or state.champion
    misdrawn = {climbing.revision: drawn.words} if climbing and drawn and drawn.status == "False" else {}
    return Inputs(
        revision=revision,
        version=spec.model.version,
        rules=_rules(spec),
        judgements=judgements,
        seen=seen,
        live={item: _live_levels(kept) for item, kept in criteria.items() if item != revision},
        unknown=unknown,
        alone=snapshot.alone,
        verbs=verbs,
        drilled=drilled,
        undrilled=undrilled(status_of(snapshot.mdep).drill, spec),
        true=observed.true,
        ready=observed.ready,
        broken=observed.broken,
        misdrawn=misdrawn,
    )


def _rules(spec: ModelDeploymentSpec) -> Rules:
    """Routes divide. A Service leads to one revision as a whole, and the shares of others aren't ours."""
    return rules_of(
        spec.autonomy,
        effective(spec).gates,
        whole=spec.serving.gateway is None,
        drill=required(spec).fallback is not None,
    )


def criteria_of(snapshot: ModelSnapshot, holder: Holder, *, spec: ModelDeploymentSpec) -> ModelDeploymentSpec | None:
    """The spec by whose criteria a revision stands: the present one of the revision that it describes.

    Another's are those recorded with it; None where it was last judged by others, which aren't kept anywhere.
    """
    if holder.revision == key(revision_digest(snapshot.mdep["metadata"]["name"], spec)):
        return spec
    kept = recorded(snapshot.revisions, holder.revision, images=snapshot.settings.images)
    return kept.spec if kept is not None and criteria_digest(kept.spec) == holder.criteria else None


def _judged_live(live: Live, criteria: ModelDeploymentSpec | None) -> dict[Level, LevelVerdict]:
    if criteria is None:
        return {}
    return judge_live(gates=effective(criteria).gates, tier=criteria.use_case.risk_tier, live=live)


def _live_levels(criteria: ModelDeploymentSpec | None) -> frozenset[Level]:
    """The levels at which something is asked of live rows; all of them where nobody knows, so that it can't rise."""
    return live_levels(effective(criteria).gates) if criteria is not None else frozenset(LEVELS)


def _unknown(snapshot: ModelSnapshot, state: State, spec: ModelDeploymentSpec) -> dict[str, str]:
    """Why nothing can be seen of a revision in use, and what to do about it."""
    found = {}
    for revision, live in snapshot.live.items():
        if isinstance(live, LiveUnavailable):
            found[revision] = live.reason
        elif live.predictions == 0:
            found[revision] = _silence(snapshot, state, revision, spec)
    return {revision: why for revision, why in found.items() if why}


def _silence(snapshot: ModelSnapshot, state: State, revision: str, spec: ModelDeploymentSpec) -> str:
    """Why no prediction of a revision may ever come by itself; empty where they should."""
    candidates = (holder for holder in (state.candidate, state.champion) if holder is not None)
    standing = next((each for each in candidates if each.revision == revision and each.rung.level == "Shadow"), None)
    if spec.serving.provider == "KServe" and spec.serving.gateway is None and standing is not None:
        return (
            "the provider KServe without a gateway sends no copies of requests to Shadow; send some yourself, or ask "
            "for minPredictions: 0"
        )
    if spec.serving.provider == "Service" and standing is not None:
        if not replay.is_asked(spec):
            return (
                "the provider Service sends no copies of requests to Shadow; set spec.serving.replay, send some "
                "yourself, or ask for minPredictions: 0"
            )
        if why := replay.silence(snapshot, standing):
            return why
    if _records_by_itself(snapshot, revision):
        return (
            "the image is your own, and no sidecar records it, so it must send its predictions to the recorder itself"
        )
    return ""


def _records_by_itself(snapshot: ModelSnapshot, revision: str) -> bool:
    kept = recorded(snapshot.revisions, revision, images=snapshot.settings.images)
    return kept is not None and kept.spec.model.source.image is not None and not records_by_sidecar(kept.spec)


def others(state: State, revision: str) -> tuple[Holder, ...]:
    """Champions, present and previous, that aren't the revision that the spec describes."""
    behind = state.previous
    every = (state.champion, behind.holder if behind is not None else None)
    return tuple(holder for holder in every if holder is not None and holder.revision != revision)


def judged_by(mdep: Object) -> frozenset[str]:
    """The ModelEvaluations that the champions stand on."""
    return frozenset(holder.evaluation for holder in others(state_of(status_of(mdep)), "") if holder.evaluation)


def compares(spec: ModelDeploymentSpec | None) -> bool:
    """Whether a candidate at Shadow is compared with the champion: where it gets copies or replays, or as asked.

    Elsewhere most have nothing to compare, and looking for it would cost a recorder as much as the rest together.
    """
    if spec is None:
        return False
    copied = spec.serving.gateway is not None or replay.is_asked(spec)
    return copied or spec.autonomy.shadow.max_missing_pairs is not None


def to_count(snapshot: ModelSnapshot) -> Divided | None:
    """The step whose draws are to be counted, where a gateway draws."""
    step = divided(state_of(status_of(snapshot.mdep)))
    return step if step is not None and step.others and routing.own(snapshot) else None


def drawn_shares(snapshot: ModelSnapshot, state: State) -> Ratio | None:
    """Whether the draws of the step under way led where they should; None where there is none."""
    step = divided(state) if routing.own(snapshot) else None
    if step is None:
        return None
    mute = {revision for revision in step.revisions if _records_by_itself(snapshot, revision)}
    found = snapshot.drawn
    if isinstance(found, LiveUnavailable):
        return ratio(step, None, mute=mute, why=found.reason)
    return ratio(step, found, mute=mute)


def to_ask(snapshot: ModelSnapshot, spec: ModelDeploymentSpec) -> tuple[LiveQuestion, ...]:
    """The revisions of whose use something is asked; the candidate's is one question with its pairs."""
    status = status_of(snapshot.mdep)
    state, rules = state_of(status), _rules(spec)
    found = []
    for holder in (state.champion, state.candidate):
        if holder is None or holder.rung.level is None or holder.leaving is not None:
            continue
        criteria = criteria_of(snapshot, holder, spec=spec)
        minimum = rules.minimum(holder.rung.level)
        counted = minimum.max_override_rate is not None or minimum.predictions + minimum.labelled + minimum.blind > 0
        blind = blind_percent(spec.autonomy.suggest.blind_share) if holder.rung.level == "Suggest" else 0
        watched = criteria is not None and bool(_live_levels(criteria))
        beside = comparison(status.pairs, state, holder) if compares(spec) else None
        climbs = counted and holder.rung.level != rules.target
        if climbs or watched or holder.fallen or beside is not None or blind > 0:
            task = (criteria or spec).task
            found.append(LiveQuestion(holder=holder, task=task, compared=beside, blind_share=blind))
    return tuple(found)


def _present(judged: Judged) -> Judgement:
    return _judgement(judged.verdict, judged.evaluation, digest=judged.model_digest, criteria=judged.criteria)


def _standing(snapshot: ModelSnapshot, holder: Holder) -> Judgement | None:
    """The judgement that a revision stands on which the spec doesn't describe any more.

    Its criteria are those recorded with it. Where it was last judged by others, those aren't kept anywhere, and where
    its evidence isn't either, nothing is known of it.
    """
    kept = recorded(snapshot.revisions, holder.revision, images=snapshot.settings.images)
    meval = next((item for item in snapshot.mevals if item["metadata"]["name"] == holder.evaluation), None)
    evidence = snapshot.evidence.get(holder.evaluation)
    measured = evaluation_of(meval) if meval is not None else None
    if kept is None or measured is None or not isinstance(evidence, Evidence):
        return None
    criteria = criteria_digest(kept.spec)
    taken = look_at(evidence, criteria=looked_digest(kept.spec), settings=settings_digest(kept.spec, evidence))
    look = snapshot.looks.get(taken.key, snapshot.looks.get(taken.former))
    if criteria != holder.criteria or look is None:
        return None
    verdict = judge(
        gates=effective(kept.spec).gates,
        tier=kept.spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=measured.champion is not None,
        required=required(kept.spec),
    )
    digest = model_digest(kept.spec, evidence)
    return _judgement(verdict, holder.evaluation, digest=digest, criteria=criteria)


def _judgement(verdict: Verdict, evaluation: str, *, digest: str | None, criteria: str) -> Judgement:
    words: dict[Level, str] = (
        dict.fromkeys(LEVELS, NOTHING_TO_SERVE)
        if digest is None
        else {item.level: blocking(verdict, item.level) for item in verdict.levels if not item.holds}
    )
    return Judgement(
        reached=verdict.reached if digest is not None else None,
        evaluation=evaluation,
        model_digest=digest,
        criteria=criteria,
        blocking=words,
    )
