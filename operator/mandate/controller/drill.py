"""Drills: whether the declared fallback answers a real request, as people ask it by the verb `drill`. Pure.

The request is the one that `spec.useCase.fallback.request` declares, and has to feed what the model is fed. The
fallback answered if the declared output came back with a value for every row. What is sent and what came of it is
decided here; sending is `driller`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mandate.api.asks import Ask
from mandate.api.check import SpecError
from mandate.api.kinds import FallbackDrill, ModelDeploymentSpec
from mandate.api.moments import stamp
from mandate.api.names import LABEL_ENFORCE
from mandate.controller.choice import asked_of, status_of, understood
from mandate.controller.conditions import Finding, cut
from mandate.controller.serve import fallback_target
from mandate.controller.snapshot import DrillOutcome, ModelSnapshot
from mandate.rollout.inputs import Drilled
from mandate.rollout.ladder import DRILL_FAILED, DRILLED
from mandate.rollout.state import Transition

Object = dict[str, Any]

PATH = "/v2/models/model/infer"
"""Where every model is asked, and so whoever answers in its place. Nobody chooses another: the operator's request can't
be aimed at anything else."""
FIELD = "spec.useCase.fallback"
MESSAGE = 1024


@dataclass(frozen=True, kw_only=True)
class DrillRequest:
    """A request to send: to which Service, with which body; `output` with `rows` values is what has to come back."""

    id: str
    namespace: str
    service: str
    port: int
    body: bytes
    output: str
    rows: int

    @property
    def where(self) -> str:
        """The Service in words."""
        return f"Service {self.service}:{self.port}"


class RequestError(ValueError):
    """A declared request that can't be sent; the message names field, value and what was expected."""


def drill_asked(mdep: Object) -> Ask | None:
    """The drill that is asked and wasn't seen to yet."""
    done = status_of(mdep).handled.get("Drill")
    return next((ask for ask in asked_of(mdep) if ask.verb == "Drill" and ask.id != done), None)


def to_send(snapshot: ModelSnapshot, ask: Ask, *, enabled: bool) -> DrillRequest | DrillOutcome:
    """What to send for `ask`, or why nothing is sent."""

    def nothing(reason: str, message: str, *, answered: bool | None = None) -> DrillOutcome:
        return DrillOutcome(id=ask.id, answered=answered, reason=reason, message=message, service=name, port=port)

    name, port = "", 0
    try:
        spec = understood(snapshot.mdep)
    except SpecError as error:
        return nothing("InvalidSpec", f"nothing was sent: the spec isn't understood: {error}")
    namespace, status = snapshot.mdep["metadata"]["namespace"], status_of(snapshot.mdep)
    fallback = spec.use_case.fallback
    if fallback is not None:
        name, port = fallback.service_ref.name, fallback.service_ref.port
    standing = {holder.revision for holder in (status.champion, status.candidate) if holder is not None}
    if ask.revision and ask.revision not in standing:
        return nothing("NotSent", f"nothing was sent: revision {ask.revision} is neither candidate nor champion")
    if fallback is None:
        return nothing("NoFallback", f"{FIELD} isn't declared, so nothing answers where no model may", answered=False)
    _, unusable = fallback_target(snapshot, fallback)
    if unusable:
        return nothing("FallbackUnusable", unusable, answered=False)
    if ((snapshot.fallback or {}).get("spec") or {}).get("type") == "ExternalName":
        return nothing(
            "NotSent", f"{FIELD}.serviceRef: Service {name} has type ExternalName; drills stay in the cluster"
        )
    if not enabled:
        return nothing(
            "DrillsOff", "nothing was sent: this operator sends no drills; install its chart with drills.enabled=true"
        )
    if not _may_be_enrolled(snapshot.namespace):
        return nothing(
            "NotEnrolled",
            f"nothing was sent: namespace {namespace} isn't enrolled, and drills go only to namespaces that are: "
            f"kubectl label namespace {namespace} {LABEL_ENFORCE}=Labelled",
        )
    try:
        body, rows = request_of(spec)
    except RequestError as error:
        return nothing("RequestInvalid", f"nothing was sent: {error}")
    return DrillRequest(
        id=ask.id,
        namespace=namespace,
        service=name,
        port=port,
        body=body,
        output=spec.model.output.name,
        rows=rows,
    )


def request_of(spec: ModelDeploymentSpec) -> tuple[bytes, int]:
    """The declared request as it is sent, and its rows; raises RequestError where it doesn't feed what the model takes.

    The declared output is asked for, unless the request names outputs itself.
    """
    fallback, inputs = spec.use_case.fallback, spec.model.inputs
    where = f"{FIELD}.request"
    if fallback is None or fallback.request is None:
        raise RequestError(f"{where} isn't declared; put a request there as callers send it, with inputs")
    try:
        document = json.loads(fallback.request, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{where} isn't JSON: {error}") from None
    given = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise RequestError(f"{where}: expected an object with inputs, a list of tensors with name, shape and data")
    names = [str(item.get("name")) for item in given]
    if inputs is not None:
        wanted = inputs.columns if inputs.encoding == "Columns" else (inputs.name,)
        if sorted(names) != sorted(wanted):
            raise RequestError(
                f"{where}: inputs {', '.join(names)}, expected those that the model is fed: {', '.join(wanted)}"
            )
    rows = {_first(item.get("shape")) for item in given}
    if len(rows) != 1 or None in rows:
        raise RequestError(f"{where}: expected every input with a shape that starts with the same number of rows")
    outputs = {"outputs": [{"name": spec.model.output.name}]}
    return json.dumps({**outputs, **document}, ensure_ascii=False).encode(), int(rows.pop() or 0)


def judged(asked: DrillRequest, *, status: int, body: bytes, seconds: float) -> DrillOutcome:
    """What came of a request that got an answer, `seconds` after it was sent."""
    reason, wrong = _fault(asked, status, body)
    took = f"in {seconds * 1000:.1f} ms"
    words = f"{took} with {wrong}" if wrong else f"{took} with {asked.output} for {asked.rows} rows"
    return DrillOutcome(
        id=asked.id,
        answered=not wrong,
        reason=reason or "Answered",
        message=f"{asked.where} answered {words}".replace("for 1 rows", "for 1 row"),
        service=asked.service,
        port=asked.port,
        microseconds=round(seconds * 1e6),
    )


def unanswered(asked: DrillRequest, *, reason: str, words: str) -> DrillOutcome:
    """What came of a request that got none."""
    return DrillOutcome(
        id=asked.id,
        answered=False,
        reason=reason,
        message=f"{asked.where}: {words}",
        service=asked.service,
        port=asked.port,
    )


def told(outcome: DrillOutcome) -> Drilled:
    """The outcome as the ladder is told."""
    return Drilled(id=outcome.id, answered=outcome.answered is True, words=outcome.message)


def recorded_drill(outcome: DrillOutcome | None, transitions: Iterable[Transition]) -> FallbackDrill | None:
    """The status' record of a drill, where one was just seen to."""
    seen = next((item for item in transitions if item.what in (DRILLED, DRILL_FAILED)), None)
    if outcome is None or seen is None:
        return None
    return FallbackDrill(
        at=stamp(seen.at),
        by=seen.by,
        service=outcome.service,
        port=outcome.port,
        answered=outcome.answered,
        microseconds=outcome.microseconds,
        reason=outcome.reason,
        message=cut(outcome.message, MESSAGE),
    )


def drill_findings(drill: FallbackDrill | None, spec: ModelDeploymentSpec | None) -> tuple[Finding, ...]:
    """What the last drill says of the fallback that is declared now; nothing where there was none."""
    if drill is None:
        return ()
    words = f"{drill.message}, at {drill.at}, asked by {drill.by}"
    fallback = spec.use_case.fallback if spec is not None else None
    now = (fallback.service_ref.name, fallback.service_ref.port) if fallback is not None else None
    then = (drill.service, drill.port) if drill.service else None
    if drill.answered is not None and spec is not None and now != then:
        return (Finding("FallbackDrilled", "Unknown", "FallbackChanged", f"another fallback was drilled: {words}"),)
    if drill.answered is None:
        return (Finding("FallbackDrilled", "Unknown", drill.reason, words),)
    return (Finding("FallbackDrilled", "True" if drill.answered else "False", drill.reason, words),)


def undrilled(drill: FallbackDrill | None, spec: ModelDeploymentSpec) -> str:
    """Why the fallback that is declared now isn't known to answer; empty only where its last drill was answered."""
    if spec.use_case.fallback is None:
        return f"{FIELD} isn't declared"
    found = next(iter(drill_findings(drill, spec)), None)
    if found is None:
        return "no drill is on record"
    return "" if found.status == "True" else found.message


def _may_be_enrolled(namespace: Object | None) -> bool:
    """Whether the operator's NetworkPolicy lets it reach Pods there; nobody knows of one that it may not read."""
    return namespace is None or LABEL_ENFORCE in (namespace["metadata"].get("labels") or {})


def _fault(asked: DrillRequest, status: int, body: bytes) -> tuple[str, str]:
    """The reason and the words for an answer that isn't one; empty for one that is. Quotes nothing of it."""
    if status != 200:
        return "BadStatus", f"status {status} at {PATH}"
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "Malformed", "something that isn't JSON"
    outputs = document.get("outputs") if isinstance(document, dict) else None
    found = [item for item in outputs if isinstance(item, dict)] if isinstance(outputs, list) else []
    output = next((item for item in found if item.get("name") == asked.output), None)
    if output is None:
        return "Malformed", f"no output {asked.output}"
    if _first(output.get("shape")) != asked.rows or not output.get("data"):
        return "Malformed", f"{asked.output} of another shape than {asked.rows} rows"
    if not _usable(output["data"]):
        return "Malformed", f"{asked.output} that holds missing or non-finite values"
    return "", ""


def _first(shape: Any) -> int | None:
    """The rows of a tensor; None where it doesn't say."""
    rows = shape[0] if isinstance(shape, list) and shape else None
    return rows if isinstance(rows, int) and not isinstance(rows, bool) and rows > 0 else None


def _usable(data: Any) -> bool:
    """Whether every value is one; without recursion, as it is a stranger's."""
    left = [data]
    while left:
        match left.pop():
            case list() as values:
                left += values
            case float() as value if not math.isfinite(value):
                return False
            case None | Mapping():
                return False
    return True


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
