"""`kubectl mandate report NAME`: the evidence of an evaluation, as a cluster keeps it, judged and shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mandate.api.check import SpecError
from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus, ModelEvaluationSpec, ModelEvaluationStatus
from mandate.api.moments import age
from mandate.api.names import LABEL_MODEL, LABEL_REVISION
from mandate.api.spec import DATA_TABLES
from mandate.evidence.measurement import evaluation_spec, key, revision_digest
from mandate.evidence.schema import Evidence
from mandate.verdict.criteria import criteria_digest

from . import manifest, output, report, verdict
from .cluster import answered, connected
from .errors import InputError
from .manifest import Manifest
from .progress import progress
from .run import say
from .verdict import Known

if TYPE_CHECKING:
    from mandate.controller.intake import IntakeError

Object = dict[str, Any]

FORBIDDEN = 403
KEPT = "the last three and the champions' are kept"
ADVICE = {
    "EvidenceLost": "the operator measures again what a model stands on: `kubectl mandate status {model}` shows it",
    "EvidenceDamaged": "don't use it; the operator measures again what a model stands on: "
    "`kubectl mandate status {model}` shows it",
    "EvidenceOutdated": "use the kubectl-mandate of the operator's version",
}
"""What to do about evidence that can't be read."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One evaluation and what surrounds it. `model` is its ModelDeployment, None where that is gone."""

    name: str
    spec: ModelEvaluationSpec
    status: ModelEvaluationStatus
    digest: str
    model: Object | None
    evaluations: tuple[Object, ...]
    """All of the same ModelDeployment, the oldest first."""
    current: bool
    """Whether it is the one that the operator judges the present spec by."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What evidence is judged on, whose words that are, and what the cluster knows beside the evidence."""

    manifest: Manifest
    origin: str
    known: Known


def execute(options: argparse.Namespace) -> int:
    """Read the evidence, judge it, write the outputs; returns the exit code."""
    try:
        return answered(_execute(options))
    except ImportError as error:
        raise InputError(f"{error.name} is missing; install mandate-operator[all]") from None


async def _execute(options: argparse.Namespace) -> int:
    given: Path | None = options.file
    outputs = output.parse(options.output, keep=[given] if given is not None else [])
    verdict.check(options)
    declared = None if given is None else manifest.read(given, name=options.name)
    async with connected(options) as (client, namespace):
        with progress("asking the cluster"), _permitted(namespace):
            found = await find(client, options.model, namespace=namespace)
            evidence = await read(client, found, namespace=namespace)
            criteria = (
                await _kept_criteria(client, found, namespace=namespace)
                if declared is None
                else _given_criteria(declared, found, evidence)
            )
    version, when = found.spec.model.version, found.status.completed or "some time ago"
    say(f"{namespace}/{found.name}: version {version}, measured {when}, judged on {criteria.origin}", code=0)
    return verdict.conclude(criteria.manifest, evidence, options, outputs, known=criteria.known)


@contextmanager
def _permitted(namespace: str) -> Iterator[None]:
    """Says which rights it takes where one is missing. Raises InputError."""
    from mandate.kube.errors import ForbiddenError

    try:
        yield
    except ForbiddenError as error:
        if error.status != FORBIDDEN:
            raise
        raise InputError(
            f"{error.message}; it takes the rights to get modeldeployments.mandate.dev and configmaps and to list "
            f"modelevaluations.mandate.dev and controllerrevisions.apps in {namespace}, as in the ClusterRole view: "
            "ask who administers it"
        ) from None


async def find(client: Any, name: str, *, namespace: str) -> Found:
    """The evaluation of this name, or that which the ModelDeployment of this name, which comes first, is judged by.

    That is the newest of what its spec declares now, never an earlier version's. Raises InputError where there is none,
    SpecError where nobody knows what the spec declares.
    """
    from mandate.controller.choice import evaluation_of, evaluation_status
    from mandate.kube.errors import NotFoundError
    from mandate.kube.resources import MODEL_DEPLOYMENTS, MODEL_EVALUATIONS

    async def model_of(name: str) -> Object | None:
        try:
            item: Object = await client.get(MODEL_DEPLOYMENTS, name, namespace=namespace)
        except NotFoundError:
            return None
        return item

    model = await model_of(name)
    every = (await client.list(MODEL_EVALUATIONS, namespace=namespace)).items
    if model is not None:
        ours = _of_model(every, name)
        own = judged_by = _judged_by(model, ours)
        if all(item["metadata"]["name"] != own for item in ours):
            raise InputError(f"{namespace}/{name}: {_unmeasured(model)}{_instead(ours, own)}")
    else:
        of = next((_model_of(item) for item in every if item["metadata"]["name"] == name), None)
        if of is None:
            raise InputError(
                f"{namespace}/{name}: is neither a ModelDeployment nor a ModelEvaluation; "
                f"`kubectl get mdep,meval -n {namespace}` lists them"
            )
        own, model, ours = name, await model_of(of), _of_model(every, of)
        try:
            judged_by = "" if model is None else _judged_by(model, ours)
        except SpecError:
            judged_by = ""
    meval = next(item for item in ours if item["metadata"]["name"] == own)
    spec, status = evaluation_of(meval), evaluation_status(meval)
    if spec is None:
        raise InputError(f"{namespace}/{own}: this version doesn't understand its spec; {ADVICE['EvidenceOutdated']}")
    if status.evidence is None or status.evidence_digest is None:
        raise InputError(f"{namespace}/{own}: {_unfinished(status, spec)}{_instead(ours, own)}")
    if not status.evidence_config_map:
        raise InputError(f"{namespace}/{own}: its evidence isn't kept any more ({KEPT}){_instead(ours, own)}")
    return Found(
        name=own,
        spec=spec,
        status=status,
        digest=status.evidence_digest,
        model=model,
        evaluations=ours,
        current=own == judged_by,
    )


def _judged_by(model: Object, ours: Sequence[Object]) -> str:
    """The name of the evaluation that the operator judges the present spec by. Raises InputError and SpecError."""
    from mandate.controller.choice import StatusNotUnderstoodError, wanted

    try:
        return wanted(model, ours).name
    except StatusNotUnderstoodError as error:
        raise InputError(str(error)) from None


def _model_of(meval: Object) -> str:
    return str((meval.get("spec") or {}).get("modelDeployment"))


def _of_model(every: Sequence[Object], model: str) -> tuple[Object, ...]:
    return tuple(sorted((item for item in every if _model_of(item) == model), key=age))


def _unmeasured(model: Object) -> str:
    """Why what a model declares has no evaluation yet, as its operator says."""
    conditions = (model.get("status") or {}).get("conditions") or ()
    said = [item.get("message") or item["reason"] for item in conditions if item["type"] == "Evaluated"]
    generation = model["metadata"].get("generation", 0)
    seen = (model.get("status") or {}).get("observedGeneration", 0) >= generation
    why = said[0] if said and seen else "the operator hasn't looked at the present spec yet"
    name, version = model["metadata"]["name"], model["spec"]["model"]["version"]
    return f"version {version} has no evaluation yet: {why}; `kubectl mandate status {name}` shows how it goes"


def _unfinished(status: ModelEvaluationStatus, spec: ModelEvaluationSpec) -> str:
    """Why an evaluation has no evidence, and what to do."""
    said = {item.type: item for item in status.conditions}
    failed, complete = said.get("Failed"), said.get("Complete")
    if failed is not None and failed.status == "True":
        again = f"`kubectl mandate retry {spec.model_deployment}`"
        return f"has no evidence: {failed.reason}: {failed.message}; mend the cause, then {again}"
    why = "" if complete is None else f": {complete.message or complete.reason}"
    return f"has no evidence yet{why}; `kubectl mandate status {spec.model_deployment}` shows how it goes"


def _instead(ours: Sequence[Object], name: str) -> str:
    """Which other evaluation's evidence can be had."""
    others = [
        str(item["metadata"]["name"])
        for item in ours
        if (item.get("status") or {}).get("evidenceConfigMap") and item["metadata"]["name"] != name
    ]
    return f"; the evidence of {others[-1]} is there: name that one" if others else ""


async def read(client: Any, found: Found, *, namespace: str) -> Evidence:
    """The whole evidence, verified by its digest. Raises InputError."""
    from mandate.controller.cache import EvidenceCache
    from mandate.controller.intake import IntakeError

    evidence = await EvidenceCache(client).read(found.digest, namespace=namespace)
    if isinstance(evidence, IntakeError):
        raise InputError(_unreadable(evidence, found, namespace=namespace))
    return evidence


def _unreadable(error: IntakeError, found: Found, *, namespace: str) -> str:
    advice = ADVICE[error.code].format(model=found.spec.model_deployment)
    return f"{namespace}/{found.name}: {error.code}: {error}; {advice}{_instead(found.evaluations, found.name)}"


def _given_criteria(declared: Manifest, found: Found, evidence: Evidence) -> Criteria:
    """Those of a file, as `mandate report` takes them. Raises InputError."""
    said, measured = declared.spec.model.version, found.spec.model.version
    if said != measured:
        raise InputError(f"spec.model.version: declared is {said!r}, measured by {found.name} was {measured!r}")
    report.same_measurement(declared, evidence, name=found.name)
    known = _known(found, _status(found), look=None)
    return Criteria(manifest=declared, origin="the criteria of --file", known=known)


async def _kept_criteria(client: Any, found: Found, *, namespace: str) -> Criteria:
    """The present spec's where it asks for this measurement, else those on record from when it was made.

    Raises InputError where neither is there.
    """
    from mandate.kube.resources import CONTROLLER_REVISIONS

    name, status = found.spec.model_deployment, _status(found)
    present = _present(found)
    if present is not None and asks_for(name, present, found.spec):
        known = _known(found, status, look=_look(found, status, present))
        return Criteria(manifest=_manifest(name, present, status), origin="the present criteria", known=known)
    selector = f"{LABEL_MODEL}={name},{LABEL_REVISION}={found.spec.revision}"
    for item in (await client.list(CONTROLLER_REVISIONS, namespace=namespace, selector=selector)).items:
        kept = _recorded(item, name, found.spec.revision)
        stood = found.status.criteria_digest
        if kept is not None and asks_for(name, kept, found.spec) and stood in (None, criteria_digest(kept)):
            known = _known(found, status, look=None)
            return Criteria(manifest=_manifest(name, kept, status), origin="the criteria of that time", known=known)
    why = (
        "is gone"
        if found.model is None
        else "asks for another measurement by now, and its earlier criteria aren't kept"
    )
    raise InputError(
        f"{namespace}/{found.name}: the ModelDeployment {name} {why}; "
        "give the manifest to judge by with --file, or take the evidence alone from the ConfigMap "
        f"{found.status.evidence_config_map}"
    )


def _status(found: Found) -> ModelDeploymentStatus:
    from mandate.controller.choice import StatusNotUnderstoodError, status_of

    try:
        return ModelDeploymentStatus() if found.model is None else status_of(found.model)
    except StatusNotUnderstoodError as error:
        raise InputError(str(error)) from None


def _present(found: Found) -> ModelDeploymentSpec | None:
    """What the ModelDeployment declares now; None where it is gone, or isn't understood."""
    from mandate.controller.choice import understood

    try:
        return None if found.model is None else understood(found.model)
    except SpecError:
        return None


def _recorded(item: Object, name: str, revision: str) -> ModelDeploymentSpec | None:
    """The spec in a ControllerRevision, where it is this revision's and is understood."""
    try:
        spec = ModelDeploymentSpec.model_validate((item.get("data") or {})["spec"])
    except (KeyError, ValueError):
        return None
    return spec if key(revision_digest(name, spec)) == revision else None


def _manifest(name: str, spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> Manifest:
    """A ModelDeployment as the cluster has it."""
    return Manifest(
        name=name,
        declared=spec,
        spec=effective(spec),
        folder=Path(),
        path=None,
        text="",
        history=status.history,
    )


def asks_for(name: str, spec: ModelDeploymentSpec, measured: ModelEvaluationSpec) -> bool:
    """Whether `spec` asks for numbers such as were measured, whatever digests were learnt meanwhile.

    What may differ is what shows as not measured (a champion, a load), and the images that measured.
    """
    asked = evaluation_spec(name, spec)
    return _question(asked) == _question(measured) and asked.revision == measured.revision


def _question(spec: ModelEvaluationSpec) -> tuple[Any, ...]:
    tables = {field: getattr(spec.data, field) for field in DATA_TABLES}
    bare = {field: table.model_copy(update={"digest": None}) for field, table in tables.items() if table is not None}
    source = spec.model.source.model_copy(update={"digest": None})
    model = spec.model.model_copy(update={"source": source})
    return model, spec.task, spec.data.model_copy(update=bare), spec.baselines, spec.error_costs


def _known(found: Found, status: ModelDeploymentStatus, *, look: int | None) -> Known:
    """As the operator judges: a model that the present spec describes beside the champion of now, others as then."""
    measured, champion = found.spec.champion is not None, status.champion
    if champion is None or not found.current:
        return Known(champion=measured, look=look)
    itself = champion.revision == found.spec.revision
    return Known(champion=measured or not itself, itself=itself, look=look)


def _look(found: Found, status: ModelDeploymentStatus, present: ModelDeploymentSpec) -> int | None:
    """Which look at the test rows the operator counted this verdict as; None where it isn't on record."""
    from mandate.controller.conditions import is_true

    assert found.model is not None
    current = status.observed_generation == found.model["metadata"].get("generation", 0)
    judged = is_true(status.conditions, "Evaluated") and status.criteria_digest == criteria_digest(present)
    return status.look if current and judged and status.look > 0 and found.current else None
