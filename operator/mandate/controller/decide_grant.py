"""One namespace's AutonomyGrant: what may run, computed from all models of the namespace. Pure.

What models may do is read from their status, which only the operator writes. An entry leaves only when nothing of ours
serves it, no Pod of it runs and nobody would fall back on it, so that a Pod of an approved revision can always be
scheduled again. One that stays only because it is still in use stays at Shadow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mandate.admission.template import granted
from mandate.api.check import SpecError
from mandate.api.criteria import Level
from mandate.api.grant import AutonomyGrantSpec, GrantedEvaluation, GrantedRevision
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, LABEL_SERVES, workload_name
from mandate.api.spec import Batch
from mandate.controller import desired, kserve
from mandate.controller.choice import evaluation_of, evaluation_status, is_external, status_of, understood
from mandate.controller.dask import Scheduler, refusal, told
from mandate.controller.decide_evaluation import attempt_of, runs, scheduler_declared
from mandate.controller.desired import controller_of
from mandate.controller.identity import job_name
from mandate.controller.plan import Plan, Replace
from mandate.controller.pods import batch_template, serving_template
from mandate.controller.progress import finished
from mandate.controller.room import MOST_EVALUATIONS, fitted
from mandate.controller.serve import recorded
from mandate.controller.snapshot import GrantSnapshot
from mandate.rollout.record import state_of
from mandate.rollout.state import Holder, State, rank

Object = dict[str, Any]


@dataclass(frozen=True)
class Granted:
    """A revision that may run up to `level`, and its Pod template as stated, before the API server's defaults.

    `batch` is that of Jobs that score batches with it, None where none are declared.
    """

    model: str
    level: Level
    holder: Holder
    template: Object
    batch: Object | None = None
    external: bool = False


def holders(snapshot: GrantSnapshot) -> dict[str, Granted]:
    """Every revision that may run, by its key."""
    found: dict[str, Granted] = {}
    for mdep in snapshot.mdeps:
        name = mdep["metadata"]["name"]
        state = state_of(status_of(mdep))
        own = tuple(item for item in snapshot.revisions if _label(item, LABEL_MODEL) == name)
        for revision, level in state.granted().items():
            holder = _holder(state, revision)
            kept = recorded(own, revision, images=snapshot.settings.images)
            if kept is None or holder.model_digest is None:
                continue
            template = serving_template(
                namespace=snapshot.namespace,
                model_name=name,
                revision=revision,
                spec=kept.spec,
                images=kept.images,
                digest=holder.model_digest,
                recorder_url=snapshot.settings.recorder_url,
            )
            if kserve.is_asked(kept.spec):
                template = kserve.pod_template(template, service=workload_name(name, revision))
            batch, marked = _batch_of(mdep, kept.spec), batch_level(state, revision)
            scoring = None
            if batch is not None and marked is not None and kept.spec.model.source.uri is not None:
                scoring = batch_template(
                    model_name=name,
                    revision=revision,
                    spec=kept.spec,
                    batch=batch,
                    level=marked,
                    images=kept.images,
                    digest=holder.model_digest,
                )
            # Others can't make Pods as KServe does: a version of its goes on with it until another one takes over.
            # Where another provider serves by now, theirs may still come back after their node.
            running = any(_label(pod, LABEL_MODEL) == name and _label(pod, LABEL_SERVES) for pod in snapshot.pods)
            others = (is_external(mdep) or running) and not kserve.is_asked(kept.spec)
            found[revision] = Granted(name, level, holder, template, scoring, external=others)
    return found


def batch_key(revision: str) -> str:
    """Under which the batch template of a revision is kept in a snapshot."""
    return f"batch {revision}"


def batch_level(state: State, revision: str) -> Level | None:
    """What marks a revision's batches; None where it scores none: it leaves, or only waits to be fallen back on.

    A batch has no shares, so whoever acts on some of the requests only suggests all of it.
    """
    holders = (item for item in (state.champion, state.candidate) if item is not None)
    holder = next((item for item in holders if item.revision == revision and item.leaving is None), None)
    if holder is None:
        return None
    return "Suggest" if holder.rung.level == "Automate" and holder.rung.share < 100 else holder.rung.level


def _batch_of(mdep: Object, kept: ModelDeploymentSpec) -> Batch | None:
    """Where batches are, as the present spec says; as the revision's own did where that isn't understood."""
    try:
        return understood(mdep).batch
    except SpecError:
        return kept.batch


def _holder(state: State, revision: str) -> Holder:
    behind = state.previous.holder if state.previous is not None else None
    every = (state.champion, state.candidate, behind)
    return next(item for item in every if item is not None and item.revision == revision)


def attempts(snapshot: GrantSnapshot) -> dict[str, tuple[str, Object]]:
    """The attempts at evaluations whose Pods may run, by Job: the model and the stated Pod template.

    Those under way come first, then the oldest; the rest wait until the grant has room.
    """
    mdeps = {mdep["metadata"]["name"]: mdep for mdep in snapshot.mdeps}
    jobs = {job["metadata"]["name"]: job for job in snapshot.jobs}
    of_model: dict[str, list[Object]] = {}
    for meval in snapshot.mevals:
        of_model.setdefault(str((meval.get("spec") or {}).get("modelDeployment")), []).append(meval)
    waiting: list[tuple[bool, str, str, str, Object, Scheduler | None]] = []
    for meval in snapshot.mevals:
        spec = evaluation_of(meval)
        if spec is None or meval["metadata"].get("deletionTimestamp"):
            continue
        name = job_name(meval["metadata"]["name"], attempt_of(evaluation_status(meval)))
        job = jobs.get(name)
        going = job is not None and not finished(job)
        model = spec.model_deployment
        if going or (job is None and runs(meval, mdeps.get(model), of_model[model])):
            # An attempt under way keeps the Dask cluster that it began with.
            scheduler = told(job) if job is not None else scheduler_declared(mdeps.get(model))
            if going or not refusal(scheduler, snapshot.settings.dask_schedulers):
                created = meval["metadata"].get("creationTimestamp", "")
                waiting.append((not going, created, name, model, meval, scheduler))
    chosen = sorted(waiting, key=lambda item: item[:3])[:MOST_EVALUATIONS]
    return {
        name: (model, desired.attempt_template(meval, name, settings=snapshot.settings, scheduler=scheduler))
        for _, _, name, model, meval, scheduler in chosen
    }


def is_needed(snapshot: GrantSnapshot) -> bool:
    """Whether the namespace needs a grant: it is enrolled or has models. One that exists stays."""
    return snapshot.enrolled or bool(snapshot.mdeps) or bool(snapshot.mevals)


def decide_grant(snapshot: GrantSnapshot, now: float) -> Plan:
    """What to do about a namespace's grant."""
    del now
    if snapshot.grant is None and not is_needed(snapshot):
        return Plan()
    before = _before(snapshot.grant)
    revisions = {
        revision: GrantedRevision(
            model=entry.model,
            level=entry.level,
            model_digest=entry.holder.model_digest or "",
            evaluation=entry.holder.evaluation,
            template=granted(snapshot.templates[revision]),
            batch=granted(snapshot.templates[batch_key(revision)])
            if entry.batch is not None and batch_key(revision) in snapshot.templates
            else None,
            external=entry.external,
        )
        for revision, entry in holders(snapshot).items()
        if revision in snapshot.templates
    }
    in_use, holding = _in_use(snapshot), _holding(snapshot)
    for revision, entry in before.grants.items():
        if revision not in revisions and (entry.model, revision) in in_use:
            level = min(entry.level, holding.get(revision, "Shadow"), key=rank)
            revisions[revision] = entry.model_copy(update={"level": level, "batch": None})
    evaluations = {
        job: GrantedEvaluation(model=model, template=granted(snapshot.templates[job]))
        for job, (model, _) in attempts(snapshot).items()
        if job in snapshot.templates
    }
    models = (mdep["metadata"]["name"] for mdep in snapshot.mdeps if not mdep["metadata"].get("deletionTimestamp"))
    # Unchecked, as there may be more of everything than a grant holds until `fitted` has left some out.
    wanted = AutonomyGrantSpec.model_construct(
        models=tuple(models),
        allowed_images=tuple(sorted(set(snapshot.settings.allowed_images))),
        grants=revisions,
        evaluations=evaluations,
        left_out={},
    )
    after = fitted(wanted, before=before)
    if snapshot.grant is not None and before == after:
        return Plan()
    document = desired.grant(snapshot.namespace, after)
    if snapshot.grant is not None:
        document["metadata"] = {
            name: value
            for name, value in snapshot.grant["metadata"].items()
            if name in ("name", "namespace", "uid", "resourceVersion", "labels", "annotations")
        }
    return Plan((Replace(document),))


def _before(grant: Object | None) -> AutonomyGrantSpec:
    try:
        return AutonomyGrantSpec.model_validate((grant or {}).get("spec") or {})
    except ValueError:
        return AutonomyGrantSpec()


def _in_use(snapshot: GrantSnapshot) -> set[tuple[str, str]]:
    """Models and revisions that a Pod runs, or a Deployment, InferenceService or Service of ours is of.

    A Pod counts whoever made it: this very entry let it in, and it must be able to come back after its node. What else
    only mentions a revision counts for nothing, or anybody could keep a refused one granted: a Service is ours by a
    label that the API server keeps others from writing, the others by a name under which the operator itself makes
    and deletes them. Whose it is, both say; that owner must exist.
    """
    found = {(_label(pod, LABEL_MODEL), _label(pod, LABEL_REVISION)) for pod in snapshot.pods}
    models = {mdep["metadata"]["uid"]: mdep["metadata"]["name"] for mdep in snapshot.mdeps}
    for item in (*snapshot.deployments, *snapshot.inference_services):
        model, revision = _label(item, LABEL_MODEL), _label(item, LABEL_REVISION)
        if models.get(controller_of(item)) == model and item["metadata"]["name"] == workload_name(model, revision):
            found.add((model, revision))
    for item in snapshot.services:
        model = _label(item, LABEL_MODEL)
        if models.get(controller_of(item)) == model:
            selector = (item.get("spec") or {}).get("selector") or {}
            found.add((model, str(selector.get(LABEL_REVISION, ""))))
    return found


def _holding(snapshot: GrantSnapshot) -> dict[str, Level]:
    """The levels that are on record, also of revisions whose template isn't known at the moment."""
    states = (state_of(status_of(mdep)) for mdep in snapshot.mdeps)
    return {revision: level for state in states for revision, level in state.granted().items()}


def _label(item: Object, label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))
