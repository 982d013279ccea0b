"""One ModelDeployment: record the revision, have it measured, judge it, let it stand, serve it, say so. Pure."""

from __future__ import annotations

from typing import Any, Literal

from mandate.api.check import SpecError
from mandate.api.criteria import Level, seconds
from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus, Pinned
from mandate.api.names import GROUP, LABEL_ENFORCE
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
from mandate.controller.choice import evaluation_status, is_forgotten, retry_of, status_of, understood
from mandate.controller.conditions import Finding, dumped, merged
from mandate.controller.desired import is_ours
from mandate.controller.plan import Action, Delete, Plan, SetStatus, delete
from mandate.controller.room import GRANT_FULL
from mandate.controller.serve import Served, record, serve
from mandate.controller.snapshot import ModelSnapshot
from mandate.controller.standing import Standing, outlived, rank, stand, unchanged
from mandate.evidence.measurement import key, revision_digest

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
    actions: list[Action] = []
    if spec is None:
        standing = unchanged(before)
        served = serve(snapshot, standing, spec=None)
    else:
        actions += record(snapshot, spec)
        standing = stand(
            before,
            spec,
            assessment,
            revision=key(revision_digest(mdep["metadata"]["name"], spec)),
            retry=retry_of(mdep),
            now=now,
        )
        served = serve(snapshot, standing, spec=spec)
        step = seconds(spec.autonomy.automate.step_duration)
        standing = outlived(standing, alone=_alone(standing, served, spec.autonomy.target), step=step, now=now)
    if isinstance(assessment, Measuring):
        actions += assessment.actions
    after = _status(snapshot, before, assessment, standing, served, now=now)
    written = _write(mdep, before, after)
    # The standing is on record before anything serves by it, so that a crash in between can't leave more than it says.
    actions += [*written, *served.actions, *_old_evidence(snapshot, assessment, after)]
    return Plan(tuple(actions), standing.again)


def _spec(mdep: Object) -> ModelDeploymentSpec | None:
    try:
        return understood(mdep)
    except SpecError:
        return None


def _status(
    snapshot: ModelSnapshot,
    before: ModelDeploymentStatus,
    assessment: Assessment,
    standing: Standing,
    served: Served,
    *,
    now: float,
) -> ModelDeploymentStatus:
    generation = snapshot.mdep["metadata"].get("generation", 0)
    level = _level(standing, served)
    shown = standing.champion or standing.candidate
    update: dict[str, Any] = {
        "observed_generation": generation,
        "champion": standing.champion,
        "candidate": standing.candidate,
        "previous": standing.previous,
        "refused": standing.refused,
        "level": level or "None",
        "version": shown.version if shown is not None else "",
    }
    spec = _spec(snapshot.mdep)
    if isinstance(assessment, Judged) and spec is not None:
        update |= {
            "criteria_digest": assessment.criteria,
            "look": assessment.verdict.look,
            "gates": gate_summaries(assessment.verdict),
            "gates_passed": gates_passed(assessment.verdict, spec.autonomy.target),
            "pinned": Pinned(
                revision=key(revision_digest(snapshot.mdep["metadata"]["name"], spec)),
                model=assessment.model_digest,
                data=dict(assessment.evidence.computed.inputs.data),
            ),
        }
    elif not (isinstance(assessment, Measuring) and assessment.reason == "Judging"):
        update |= {"gates": (), "gates_passed": "", "criteria_digest": None, "look": 0}
    findings = _findings(snapshot, assessment, standing, served, level)
    update["conditions"] = merged(before.conditions, findings, generation=generation, now=now)
    return before.model_copy(update=update)


def _level(standing: Standing, served: Served) -> Level | None:
    """The highest level that is granted and served; Shadow is served by running, without an address of its own."""
    levels: list[Level] = []
    for item in standing.revisions():
        reached = served.answering.get(item.revision)
        if reached is not None:
            levels.append(reached if rank(reached) <= rank(item.level) else item.level or reached)
        elif not served.waiting:
            levels.append("Shadow")
    return max(levels, key=rank, default=None)


def _alone(standing: Standing, served: Served, target: Level) -> bool:
    """Whether the champion answers, as high as the one before it did or as the target asks, from Pods that are ready.

    At Shadow there is no address: there it is enough to run.
    """
    champion, previous = standing.champion, standing.previous
    if champion is None or previous is None or champion.revision not in served.ready:
        return False
    if rank(champion.level) < min(rank(previous.level), rank(target)):
        return False
    return champion.level == "Shadow" or served.answering.get(champion.revision) == champion.level


def _findings(
    snapshot: ModelSnapshot, assessment: Assessment, standing: Standing, served: Served, level: Level | None
) -> tuple[Finding, ...]:
    evaluated = _evaluated(assessment)
    refused = isinstance(assessment, Judged) and assessment.verdict.reached is None
    granted = _granted(assessment, standing, served)
    stalled = _stalled(assessment, standing, served)
    moving = _moving(assessment, standing, served, stalled)
    findings = [
        evaluated,
        granted,
        _enforced(snapshot.namespace),
        Finding("CandidateRefused", "True", "GatesNotMet", standing.held)
        if refused
        else Finding("CandidateRefused", "False", evaluated.reason),
        stalled or Finding("Stalled", "False", "Progressing" if moving else "Settled"),
        moving or Finding("Reconciling", "False", "Stalled" if stalled else "Settled"),
        _ready(standing, served, stalled, moving, level),
    ]
    if isinstance(assessment, Judged) and assessment.criteria_changed:
        findings.append(
            Finding(
                "CriteriaChanged", "True", "AfterMeasurement", "the criteria changed after the measurement had started"
            )
        )
    if served.fallback:
        findings.append(Finding("FallbackReady", "False", "FallbackUnusable", served.fallback))
    return tuple(findings)


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


def _granted(assessment: Assessment, standing: Standing, served: Served) -> Finding:
    present = standing.candidate or standing.champion
    if present is not None and present.level is not None:
        for trouble in served.trouble:
            if trouble.revision == present.revision:
                return Finding("Granted", "False", trouble.reason, trouble.message)
        held = f"; {standing.held}" if standing.held else ""
        return Finding("Granted", "True", present.level, f"version {present.version} may act at {present.level}{held}")
    match assessment:
        case Judged():
            return Finding("Granted", "False", "GatesNotMet", standing.held)
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


def _stalled(assessment: Assessment, standing: Standing, served: Served) -> Finding | None:
    """What a person must resolve, or None."""
    if isinstance(assessment, Unclear):
        return Finding("Stalled", "True", "InvalidSpec", assessment.problems)
    if served.trouble:
        words = "; ".join(trouble.message for trouble in served.trouble)
        return Finding("Stalled", "True", served.trouble[0].reason, words)
    if isinstance(assessment, Measuring) and assessment.reason == GRANT_FULL:
        return Finding("Stalled", "True", GRANT_FULL, assessment.message)
    if standing.revisions():
        return None
    if isinstance(assessment, NotJudged):
        return Finding("Stalled", "True", assessment.code, assessment.message)
    if isinstance(assessment, Judged):
        return Finding("Stalled", "True", "CandidateRefused", standing.held)
    return None


def _moving(assessment: Assessment, standing: Standing, served: Served, stalled: Finding | None) -> Finding | None:
    """Evaluating, or changing objects; never the time that a level must last."""
    if stalled is not None:
        return None
    if isinstance(assessment, Measuring):
        return Finding("Reconciling", "True", "Evaluating", assessment.message)
    if standing.revisions() and served.waiting:
        return Finding("Reconciling", "True", "Serving", "; ".join(served.waiting))
    return None


def _ready(
    standing: Standing, served: Served, stalled: Finding | None, moving: Finding | None, level: Level | None
) -> Finding:
    """Ready: what is granted is served."""
    holders = standing.revisions()
    if holders and not served.waiting and not served.trouble:
        words = ", ".join(f"version {item.version} at {item.level}" for item in holders)
        return Finding("Ready", "True", "Serving" if rank(level) > 1 else "Shadowing", words)
    status: Literal["False", "Unknown"] = "False"
    if stalled is not None:
        return Finding("Ready", status, stalled.reason, stalled.message)
    if moving is not None:
        return Finding("Ready", status, moving.reason, moving.message)
    return Finding("Ready", status, "NothingGranted", "no revision holds a level")


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
