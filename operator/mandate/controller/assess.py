"""What is known about the revision that the spec describes: nothing yet, why not, or a verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mandate.api.check import SpecError
from mandate.api.criteria import Level
from mandate.api.defaults import effective
from mandate.api.kinds import EvaluationImages, FirstSeen, GateSummary, ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.moments import instant, stamp
from mandate.api.spec import DATA_TABLES, Data
from mandate.controller import desired
from mandate.controller.choice import (
    evaluation_of,
    evaluation_status,
    is_forgotten,
    known_digest,
    status_of,
    understood,
    wanted,
)
from mandate.controller.conditions import cut, dumped, find, is_true
from mandate.controller.decide_evaluation import attempt_of, retry_in
from mandate.controller.intake import IntakeError
from mandate.controller.plan import Create, Look, See, SetStatus
from mandate.controller.serve import images_of
from mandate.controller.snapshot import ModelSnapshot
from mandate.evidence.schema import Evidence
from mandate.verdict.criteria import criteria_digest, looked_digest, settings_digest
from mandate.verdict.judge import GateVerdict, LevelVerdict, Verdict, judge
from mandate.verdict.looks import look_at
from mandate.verdict.required import required

Object = dict[str, Any]
SUMMARY_MESSAGE = 512


@dataclass(frozen=True)
class Unclear:
    """The spec can't be judged; `problems` name field, value, what was expected and what to do."""

    problems: str


@dataclass(frozen=True)
class Measuring:
    """The evaluation is under way, or is to be created."""

    evaluation: str
    reason: str
    message: str
    actions: tuple[Create | Look | See | SetStatus, ...] = ()
    again: float | None = None
    """In how many seconds to look again, where no event says so."""


@dataclass(frozen=True)
class NotJudged:
    """The evaluation ended without evidence."""

    evaluation: str
    code: str
    message: str


@dataclass(frozen=True)
class Judged:
    """The evidence is in and `verdict` was given on it."""

    evaluation: str
    verdict: Verdict
    evidence: Evidence
    model_digest: str | None
    criteria: str
    criteria_changed: bool
    """Whether the criteria changed after the measurement had started."""


Assessment = Unclear | Measuring | NotJudged | Judged


def assess(snapshot: ModelSnapshot, now: float) -> Assessment:
    """The present revision's assessment at `now`."""
    try:
        spec = understood(snapshot.mdep)
    except SpecError as error:
        return Unclear("; ".join(map(str, error.problems)))
    asked = wanted(snapshot.mdep, snapshot.mevals)
    name = asked.name
    meval = next((item for item in snapshot.mevals if item["metadata"]["name"] == name), None)
    if meval is None:
        due = _repeated(snapshot, asked.spec)
        if due > now:
            words = f"evidence of this isn't stored any more; it is measured again at {stamp(due)}"
            return Measuring(name, "BackingOff", words, again=due - now)
        digest = known_digest(asked.spec, snapshot.mdep)
        if digest is not None and digest not in snapshot.first_seen:
            words = "when the model was first seen is being entered into the ledger"
            return Measuring(name, "Creating", words, (See(digest),))
        measured = _with_images(snapshot, asked.spec).model_copy(update={"first_seen": _seen(snapshot, digest)})
        document = desired.evaluation(snapshot.mdep, name, measured)
        return Measuring(name, "Creating", "the ModelEvaluation is being created", (Create(document),))
    if meval["metadata"].get("deletionTimestamp"):
        return Measuring(name, "Deleting", "the ModelEvaluation is being deleted and will be made again")
    status = evaluation_status(meval)
    if status.evidence is None:
        return _unfinished(snapshot, meval, now)
    evidence = snapshot.evidence.get(name)
    if not isinstance(evidence, Evidence):
        why = evidence if isinstance(evidence, IntakeError) else IntakeError("EvidenceLost", "it isn't stored any more")
        return Measuring(name, why.code, f"{why.message}; it is measured again", (forget(meval),))
    return _judged(snapshot, spec, asked.spec, meval, evidence)


def _with_images(snapshot: ModelSnapshot, asked: ModelEvaluationSpec) -> ModelEvaluationSpec:
    """The measurement to be made, with the images that the revisions in it are served with."""
    own, champion = images_of(snapshot, asked.revision), status_of(snapshot.mdep).champion
    beside = images_of(snapshot, champion.revision) if asked.champion is not None and champion is not None else None
    images = EvaluationImages(
        fetch=own.fetch, predictor=own.predictor, champion=beside.predictor if beside is not None else None
    )
    return asked.model_copy(update={"images": images})


def _seen(snapshot: ModelSnapshot, digest: str | None) -> FirstSeen | None:
    """Since when the model is known, for the judge to hold test rows against; None where nobody knows."""
    time = snapshot.first_seen.get(digest or "")
    return FirstSeen(digest=digest, time=time) if digest and time else None


def _repeated(snapshot: ModelSnapshot, asked: ModelEvaluationSpec) -> float:
    """When `asked` may be measured, in seconds since the epoch: at once, unless its evidence was lost before.

    Whatever deletes evidence may do so again: the time from one measurement to the next grows as after failed attempts.
    """
    completed = [
        evaluation_status(meval).completed or ""  # RFC 3339 in UTC: the latest is the greatest
        for meval in snapshot.mevals
        if is_forgotten(meval) and _same(evaluation_of(meval), asked)
    ]
    if not any(completed):
        return 0.0
    return instant(max(completed)) + snapshot.settings.retry.delay(len(completed), spread=0)


def _same(made: ModelEvaluationSpec | None, asked: ModelEvaluationSpec) -> bool:
    """Whether `asked` repeats `made`, with or without the digests learnt by then. The model is the revision's."""
    if made is None:
        return False
    like_asked = {"repeat": asked.repeat, "model": asked.model, "images": asked.images, "data": asked.data}
    like_asked |= {"first_seen": asked.first_seen}
    return _tables(made.data) == _tables(asked.data) and made.model_copy(update=like_asked) == asked


def _tables(data: Data) -> Data:
    """The data without the digests of its tables."""
    return data.model_copy(
        update={
            name: table.model_copy(update={"digest": None})
            for name in DATA_TABLES
            if (table := getattr(data, name)) is not None
        }
    )


def forget(meval: Object) -> SetStatus:
    """Put on record that the evidence of this measurement isn't stored any more; its summary stays."""
    status = evaluation_status(meval).model_copy(update={"evidence_config_map": ""})
    metadata = {name: meval["metadata"][name] for name in ("name", "namespace", "uid")}
    return SetStatus(
        {"apiVersion": meval["apiVersion"], "kind": meval["kind"], "metadata": metadata, "status": dumped(status)}
    )


def _unfinished(snapshot: ModelSnapshot, meval: Object, now: float) -> Measuring | NotJudged:
    status = evaluation_status(meval)
    name = meval["metadata"]["name"]
    if evaluation_of(meval) is None:
        words = "this version of the operator doesn't understand its spec; install the one that made it, or delete it"
        return NotJudged(name, "SpecNotUnderstood", f"{words} to have it made again")
    failed = find(status.conditions, "Failed")
    if failed is None or not is_true(status.conditions, "Failed"):
        complete = find(status.conditions, "Complete")
        reason, message = (complete.reason, complete.message) if complete else ("Pending", "waiting for the operator")
        return Measuring(name, reason, message)
    again = retry_in(status, settings=snapshot.settings, now=now)
    attempt, most = attempt_of(status), snapshot.settings.max_attempts
    advice = (
        f"attempt {attempt + 1} of {most} follows by itself"
        if again is not None
        else f"no attempts are left of {most}; fix the cause, then change the spec or the annotation mandate.dev/retry"
    )
    return NotJudged(name, failed.reason, f"{failed.message}; {advice}")


def _judged(
    snapshot: ModelSnapshot,
    spec: ModelDeploymentSpec,
    measured: ModelEvaluationSpec,
    meval: Object,
    evidence: Evidence,
) -> Assessment:
    name = meval["metadata"]["name"]
    status = evaluation_status(meval)
    criteria = criteria_digest(spec)
    taken = look_at(evidence, criteria=looked_digest(spec), settings=settings_digest(spec, evidence))
    look = snapshot.looks.get(taken.key)
    if look is None:
        action = Look(taken.sketch, taken.key, taken.former)
        return Measuring(name, "Judging", "the look at the test rows is being entered into the ledger", (action,))
    complete = effective(spec)
    champion = status_of(snapshot.mdep).champion
    itself = champion is not None and champion.revision == measured.revision
    verdict = judge(
        gates=complete.gates,
        tier=spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=measured.champion is not None or (champion is not None and not itself),
        itself=itself,
        target=spec.autonomy.target,
        required=required(spec),
    )
    return Judged(
        evaluation=name,
        verdict=verdict,
        evidence=evidence,
        model_digest=model_digest(spec, evidence),
        criteria=criteria,
        criteria_changed=status.criteria_digest not in (None, criteria),
    )


def model_digest(spec: ModelDeploymentSpec, evidence: Evidence) -> str | None:
    """The digest of the model that was measured; None where there is nothing to serve."""
    return spec.model.source.image_digest or evidence.computed.inputs.model


def gate_summaries(levels: Iterable[LevelVerdict]) -> tuple[GateSummary, ...]:
    """Per gate: the first level where it doesn't hold, else the highest that asks anything of it."""
    chosen: dict[str, GateVerdict] = {}
    for level in levels:
        for gate in level.gates:
            before = chosen.get(gate.name)
            if before is None or before.holds:
                chosen[gate.name] = gate
    return tuple(
        GateSummary(name=gate.name, level=gate.level, verdict=gate.verdict, message=cut(gate.message, SUMMARY_MESSAGE))
        for gate in chosen.values()
    )


def gates_passed(verdict: Verdict, target: Level) -> str:
    """`passed/all` at the target level."""
    gates = verdict.at(target).gates
    return f"{sum(gate.holds for gate in gates)}/{len(gates)}"


def blocking(verdict: Verdict, level: Level) -> str:
    """What keeps `level` from holding, in words."""
    gates = [gate for gate in verdict.at(level).gates if not gate.holds]
    if not verdict.at(level).gates:
        return f"no gate asks anything at {level}, and nothing asked is nothing shown"
    return "; ".join(f"{gate.name}: {gate.verdict}: {gate.message}" for gate in gates)
