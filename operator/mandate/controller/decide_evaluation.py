"""One ModelEvaluation: bring its Job up, follow it, store what comes out, try again where that may help. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mandate.api.check import SpecError
from mandate.api.kinds import ModelEvaluationSpec, ModelEvaluationStatus
from mandate.api.moments import elapsed, stamp
from mandate.controller import desired
from mandate.controller.choice import evaluation_of, evaluation_status, understood, wanted
from mandate.controller.conditions import Finding, dumped, find, is_true, merged
from mandate.controller.dask import Scheduler, refusal, scheduler_of
from mandate.controller.identity import job_name
from mandate.controller.intake import IntakeError, summary
from mandate.controller.plan import Action, Apply, Create, Plan, See, SetStatus, delete
from mandate.controller.progress import Failed, Measured, Progress, Under, ending, finished, progress
from mandate.controller.room import GRANT_FULL, no_room
from mandate.controller.settings import Settings
from mandate.controller.snapshot import EvaluationSnapshot
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.schema import computed_digest
from mandate.verdict.criteria import criteria_digest

Object = dict[str, Any]

UNREAD_AGAIN = 5.0
"""Seconds until a result that couldn't be read is read again."""


def attempt_of(status: ModelEvaluationStatus) -> int:
    """The attempt that is under way or ended last; the first where none was begun."""
    return status.attempt or 1


def runs(meval: Object, mdep: Object | None, mevals: Iterable[Object]) -> bool:
    """Whether an attempt is under way, or is to start as soon as it is granted."""
    status = evaluation_status(meval)
    return status.evidence is None and not is_true(status.conditions, "Failed") and is_wanted(meval, mdep, mevals)


def is_wanted(meval: Object, mdep: Object | None, mevals: Iterable[Object]) -> bool:
    """Whether its ModelDeployment still asks for this measurement; `mevals` are all of that model."""
    if mdep is None or mdep["metadata"].get("deletionTimestamp"):
        return False
    try:
        return wanted(mdep, mevals).name == str(meval["metadata"]["name"])
    except SpecError:
        return False


def scheduler_declared(mdep: Object | None) -> Scheduler | None:
    """The Dask scheduler of a ModelDeployment as it is now; None also where that is gone, or isn't understood."""
    if mdep is None:
        return None
    try:
        return scheduler_of(understood(mdep), namespace=str(mdep["metadata"]["namespace"]))
    except SpecError:
        return None


def decide_evaluation(snapshot: EvaluationSnapshot, now: float) -> Plan:
    """What to do about one ModelEvaluation at `now`, in seconds since the epoch."""
    meval = snapshot.meval
    spec = evaluation_of(meval)
    if meval["metadata"].get("deletionTimestamp") or spec is None:
        return Plan()
    status = evaluation_status(meval)
    if status.evidence is not None:
        return Plan((*_see(snapshot, status), *_tidy(snapshot, keep=None)))
    if is_true(status.conditions, "Failed"):
        return _after_failure(snapshot, status, now)
    return _follow(snapshot, spec, status, now)


def _see(snapshot: EvaluationSnapshot, status: ModelEvaluationStatus) -> tuple[See, ...]:
    """Enter a digest that was learnt by measuring, from when it is known on: the next measurement may stand on it."""
    digest = status.model_digest
    return () if digest is None or digest in snapshot.first_seen else (See(digest),)


def _follow(snapshot: EvaluationSnapshot, spec: ModelEvaluationSpec, status: ModelEvaluationStatus, now: float) -> Plan:
    attempt = attempt_of(status)
    name = job_name(snapshot.meval["metadata"]["name"], attempt)
    job = next((item for item in snapshot.jobs if item["metadata"]["name"] == name), None)
    deadline = snapshot.settings.evaluation_deadline
    found = progress(job=job, pods=snapshot.pods, result=snapshot.result, now=now, deadline=deadline)
    actions: tuple[Action, ...] = ()
    if job is None:
        found, actions = _start(snapshot, spec, attempt)
    elif snapshot.unread and isinstance(found, Under):
        found = Under("ReadingResult", snapshot.unread, found.disruptions)
    after = _status(snapshot, status, found, attempt=attempt, job=job, now=now)
    if isinstance(found, Measured) and after.evidence is not None:
        actions += (Create(desired.evidence_record(snapshot.meval, found.evidence.dump())),)
    # The status comes first: a Job whose attempt isn't on record could be started twice.
    begins = isinstance(found, Under)
    written = _write(snapshot, status, after)
    tidied = _tidy(snapshot, keep=name if begins else None)
    again = deadline - elapsed(job["metadata"]["creationTimestamp"], now) if job is not None and begins else None
    if again is not None and snapshot.unread:
        again = min(again, UNREAD_AGAIN)
    return Plan((*written, *actions, *tidied) if begins else (*actions, *written, *tidied), again)


def _start(
    snapshot: EvaluationSnapshot, spec: ModelEvaluationSpec, attempt: int
) -> tuple[Under | Failed, tuple[Action, ...]]:
    """The Job, once the grant lets its Pod run."""
    meval, settings = snapshot.meval, snapshot.settings
    name = job_name(meval["metadata"]["name"], attempt)
    if not is_wanted(meval, snapshot.mdep, snapshot.mevals):
        return Under("Superseded", "the ModelDeployment asks for another measurement now"), ()
    scheduler = scheduler_declared(snapshot.mdep)
    if refused := refusal(scheduler, settings.dask_schedulers):
        return Under("DaskNotAllowed", refused), ()
    if snapshot.refusal:
        return Failed("PodRefused", snapshot.refusal), ()
    if name not in ((snapshot.grant or {}).get("spec") or {}).get("evaluations", {}):
        full = no_room(snapshot.grant, spec.model_deployment)
        if full:
            return Under(GRANT_FULL, full), ()
        return Under("WaitingForGrant", "the namespace's AutonomyGrant doesn't hold this evaluation's Pod yet"), ()
    actions: tuple[Action, ...] = ()
    if spec.sealed and not any(item["metadata"]["name"] == name for item in snapshot.seals):
        policy = desired.seal(meval, attempt=attempt, scheduler=scheduler, dns_ports=settings.dns_ports)
        actions = (Create(policy),)
    return Under("Starting", f"Job {name}"), (
        *actions,
        Create(desired.job(meval, attempt=attempt, settings=settings, scheduler=scheduler)),
    )


def _status(
    snapshot: EvaluationSnapshot,
    before: ModelEvaluationStatus,
    found: Progress,
    *,
    attempt: int,
    job: Object | None,
    now: float,
) -> ModelEvaluationStatus:
    meval = snapshot.meval
    update: dict[str, Any] = {"attempt": attempt, "failures": max(before.failures, found.disruptions)}
    if before.criteria_digest is None:
        update["criteria_digest"] = _criteria(snapshot.mdep)
    if before.started is None and job is not None:
        update["started"] = job["metadata"]["creationTimestamp"]
    if isinstance(found, Measured):
        whole = found.evidence.dump()
        full = sha256(canonical(whole))
        try:
            update["evidence"] = summary(found.evidence, evidence_digest=full)
        except IntakeError as error:
            found = Failed(error.code, error.message)
        else:
            inputs = found.evidence.computed.inputs
            update |= {
                "evidence_digest": full,
                "computed_digest": computed_digest(found.evidence.computed),
                "evidence_config_map": desired.evidence_record(meval, whole)["metadata"]["name"],
                "model_digest": inputs.model,
                "data_digests": dict(inputs.data),
                "completed": stamp(now),
            }
    generation = meval["metadata"].get("generation", 0)
    update["conditions"] = merged(before.conditions, _findings(found, attempt), generation=generation, now=now)
    return before.model_copy(update=update)


def _findings(found: Progress, attempt: int) -> tuple[Finding, ...]:
    match found:
        case Under(reason, message):
            return (
                Finding("Complete", "False", reason, message),
                Finding("Failed", "False", "Underway", f"attempt {attempt}"),
            )
        case Failed(code, message):
            return (
                Finding("Complete", "False", code, message),
                Finding("Failed", "True", code, f"attempt {attempt}: {message}"),
            )
        case Measured():
            return (
                Finding("Complete", "True", "EvidenceStored", "the evidence is stored"),
                Finding("Failed", "False", "EvidenceStored", ""),
            )


def _criteria(mdep: Object | None) -> str | None:
    try:
        return criteria_digest(understood(mdep)) if mdep is not None else None
    except SpecError:
        return None


def _after_failure(snapshot: EvaluationSnapshot, status: ModelEvaluationStatus, now: float) -> Plan:
    """Another attempt after the back-off, while there are any left and the measurement is still asked for."""
    tidied = _tidy(snapshot, keep=None)
    attempt = attempt_of(status)
    wait = retry_in(status, settings=snapshot.settings, now=now)
    if wait is None or not is_wanted(snapshot.meval, snapshot.mdep, snapshot.mevals):
        return Plan(tidied)
    if wait > 0:
        return Plan(tidied, again=wait)
    findings = _findings(Under("Retrying", f"attempt {attempt + 1} of {snapshot.settings.max_attempts}"), attempt + 1)
    generation = snapshot.meval["metadata"].get("generation", 0)
    conditions = merged(status.conditions, findings, generation=generation, now=now)
    after = status.model_copy(update={"attempt": attempt + 1, "conditions": conditions})
    return Plan((*_write(snapshot, status, after), *tidied), again=0)


def retry_in(status: ModelEvaluationStatus, *, settings: Settings, now: float) -> float | None:
    """Seconds until the next attempt at an evaluation in Error, at least 0; None when there are none left."""
    failed = find(status.conditions, "Failed")
    attempt = attempt_of(status)
    if failed is None or attempt >= settings.max_attempts:
        return None
    return max(0.0, settings.retry.delay(attempt, spread=0) - elapsed(failed.last_transition_time, now))


def _tidy(snapshot: EvaluationSnapshot, *, keep: str | None) -> tuple[Action, ...]:
    """Jobs and seals of attempts that are over: running ones go now, finished ones once their logs are of no use."""
    actions: list[Action] = []
    present = job_name(snapshot.meval["metadata"]["name"], attempt_of(evaluation_status(snapshot.meval)))
    over = [
        job for job in snapshot.jobs if job["metadata"]["name"] != keep and not job["metadata"].get("deletionTimestamp")
    ]
    for job in over:
        if not finished(job):
            if job["metadata"]["name"] != present or not ending(snapshot.pods):
                actions.append(delete(job))
        elif job["spec"].get("ttlSecondsAfterFinished") is None:
            actions.append(Apply(_expiring(job, snapshot.settings.keep_finished)))
    actions += [delete(seal) for seal in snapshot.seals if seal["metadata"]["name"] != keep]
    return tuple(actions)


def _expiring(job: Object, seconds: int) -> Object:
    metadata = job["metadata"]
    identity = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
    spec = {"ttlSecondsAfterFinished": seconds}
    return {"apiVersion": job["apiVersion"], "kind": job["kind"], "metadata": identity, "spec": spec}


def _write(
    snapshot: EvaluationSnapshot, before: ModelEvaluationStatus, after: ModelEvaluationStatus
) -> tuple[SetStatus, ...]:
    if before == after:
        return ()
    meval = snapshot.meval
    metadata = {name: meval["metadata"][name] for name in ("name", "namespace", "uid")}
    return (
        SetStatus(
            {
                "apiVersion": meval["apiVersion"],
                "kind": meval["kind"],
                "metadata": metadata,
                "status": dumped(after),
            }
        ),
    )
