"""What a level requires beside its gates: numbers of everyone, a declared lineage, latency and fallback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mandate.api.criteria import (
    DECLARED_FALLBACK,
    DECLARED_LATENCY,
    DECLARED_LINEAGE,
    LEVELS,
    REVEALED_LABELS,
    SIGNED_MODEL,
    Level,
)
from mandate.api.defaults import are_built_in
from mandate.api.kinds import ModelDeploymentSpec, VerdictWord
from mandate.api.spec import RiskTier
from mandate.evidence.labels import ACCEPTED_ONLY
from mandate.evidence.schema import Evidence

TITLES = {
    "held_out": "Test rows held out",
    "revealed_labels": "Numbers are of everyone",
    "declared_lineage": "Lineage declared",
    "declared_latency": "Latency declared",
    "declared_fallback": "Fallback declared",
    "signed_model": "Model's file signed",
}
"""By what stands where a gate has its metric."""
STEPS = {
    "held_out": "train on this split and declare its digest, so that the test rows are proven to be held out",
    "revealed_labels": "label a random holdout whatever is decided (task.labels.holdout), or record how likely each "
    "row's label was to be revealed (task.labels.propensity)",
}
"""What to do where it stands in the way; of others their message says it."""


UNPROMISED = (
    "not declared: how fast answers must come, and under which load; declare it, such as "
    "serving.latency: {p99: 40ms, load: 50/s}"
)
UNANSWERED = (
    "not declared: what answers where no model may; declare it, such as "
    "useCase.fallback: {serviceRef: {name: rules, port: 8080}}"
)
UNSIGNED = (
    "the evidence knows no signature of the model's file; sign the file and declare model.source.signature: {value, "
    "publicKey}"
)


@dataclass(frozen=True, kw_only=True)
class Required:
    """From which levels on what is asked; None where it never is. `undeclared`: lineage fields that say nothing;
    `promised`: whether it is declared how fast answers must come; `covered`: whether a fallback is declared. That it
    was drilled is nothing that evidence of a model can say: the ladder asks it before Automate."""

    labels: Level | None = None
    lineage: Level | None = None
    undeclared: tuple[str, ...] = ()
    latency: Level | None = None
    promised: bool = False
    fallback: Level | None = None
    covered: bool = False
    signature: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of one requirement; `asked`: whether the level stands on it."""

    name: str
    metric: str
    verdict: VerdictWord
    requirement: str
    message: str
    asked: bool


def required(spec: ModelDeploymentSpec) -> Required:
    """What a spec requires."""
    built_in: Level | None = "Suggest" if spec.model.source.columns is None and are_built_in(spec) else None
    promised = spec.serving.latency is not None or any(gate.metric == "latency_p99" for gate in spec.gates)
    covered = spec.use_case.fallback is not None
    if (asked := spec.readiness) is None:
        return Required(latency=built_in, promised=promised, fallback=built_in, covered=covered)
    return Required(
        labels=asked.labels,
        lineage=asked.lineage,
        undeclared=undeclared(spec),
        latency=asked.latency or built_in,
        promised=promised,
        fallback=asked.fallback or built_in,
        covered=covered,
        signature=asked.signature,
    )


def undeclared(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """The fields of the lineage that say nothing."""
    told, training = spec.data.lineage, spec.model.training
    fields = {
        "data.lineage.source": told and told.source,
        "data.lineage.collection": told and told.collection,
        "data.lineage.period": told and told.period,
        "data.lineage.consent or licence": told and (told.consent.strip() or told.licence),
        "model.training.run": training.run,
        "model.training.codeRevision": training.code_revision,
    }
    return tuple(name for name, words in fields.items() if not (words or "").strip())


def found(asks: Required, evidence: Evidence, *, level: Level, tier: RiskTier) -> Iterator[Found]:
    """What a level finds of what is required, and of selective labels also where they aren't: numbers are marked."""
    known = evidence.computed.labels
    asked = _from(asks.labels, level) or (known is not None and tier == "High" and level != "Shadow")
    if known is not None or asked:
        verdict: VerdictWord = "Pass" if known is not None and known.of_everyone else "Inconclusive"
        message = "the evidence doesn't say whose labels are known; measure again"
        if known is not None:
            message = known.reason if known.of_everyone else f"every number is {ACCEPTED_ONLY}: {known.reason}"
        yield Found(
            name=REVEALED_LABELS,
            metric="revealed_labels",
            verdict=verdict,
            requirement="of everyone",
            message=message,
            asked=asked,
        )
    if _from(asks.lineage, level):
        message = "source, collection, period, consent or licence, code revision and training run are declared"
        if asks.undeclared:
            message = f"not declared: {', '.join(asks.undeclared)}; declare them"
        yield Found(
            name=DECLARED_LINEAGE,
            metric="declared_lineage",
            verdict="Inconclusive" if asks.undeclared else "Pass",
            requirement="declared",
            message=message,
            asked=True,
        )
    if _from(asks.latency, level):
        yield Found(
            name=DECLARED_LATENCY,
            metric="declared_latency",
            verdict="Pass" if asks.promised else "Inconclusive",
            requirement="declared",
            message="it is declared how fast answers must come" if asks.promised else UNPROMISED,
            asked=True,
        )
    if _from(asks.fallback, level):
        yield Found(
            name=DECLARED_FALLBACK,
            metric="declared_fallback",
            verdict="Pass" if asks.covered else "Inconclusive",
            requirement="declared",
            message="it is declared what answers where no model may" if asks.covered else UNANSWERED,
            asked=True,
        )
    if _from(asks.signature, level):
        signer = evidence.computed.inputs.signer
        yield Found(
            name=SIGNED_MODEL,
            metric="signed_model",
            verdict="Inconclusive" if signer is None else "Pass",
            requirement="signed",
            message=UNSIGNED if signer is None else f"the model's file is signed by the key {signer}",
            asked=True,
        )


def _from(first: Level | None, level: Level) -> bool:
    return first is not None and LEVELS.index(level) >= LEVELS.index(first)
