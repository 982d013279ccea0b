"""What makes two things the same thing: digests of inputs, and the names that follow from them. Pure."""

from __future__ import annotations

from typing import Any

from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.spec import Spec
from mandate.evidence.canonical import digest

SHORT = 10
"""Hex digits in names; they only need to differ within one model."""
KEY = 32
"""Hex digits in labels and map keys, which hold at most 63 characters."""


def stated(record: Spec) -> dict[str, Any]:
    """A record as JSON without what is at its default, so that a new optional field changes no old digest."""
    return record.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def revision_digest(spec: ModelDeploymentSpec) -> str:
    """Identity of what serves: the model as it is fed and read, and the resources it runs under."""
    model = stated(spec.model)
    model.pop("training", None)  # lineage: says where the model comes from, not what it does
    return digest({"model": model, "resources": spec.serving.resources})


def key(full: str) -> str:
    """The 32 hex digits of a digest that labels and maps use."""
    return full.removeprefix("sha256:")[:KEY]


def workload_name(model: str, revision: str) -> str:
    """The name of a revision's Deployment and ControllerRevision; `revision` is its key or digest."""
    return f"{model}-{revision.removeprefix('sha256:')[:SHORT]}"


def suggest_name(model: str) -> str:
    """The Service that answers people."""
    return f"{model}-suggest"


def criteria_digest(spec: ModelDeploymentSpec) -> str:
    """Identity of what is asked: the gates in effect and the risk tier that sets their burden."""
    return digest(
        {"gates": [stated(gate) for gate in effective(spec).gates], "tier": spec.use_case.risk_tier},
    )


def evaluation_spec(name: str, spec: ModelDeploymentSpec, *, retry: str) -> ModelEvaluationSpec:
    """The measurement that `spec` asks for. Criteria aren't part of it: they are judged on its evidence."""
    complete = effective(spec)
    loads = sorted({gate.load for gate in complete.gates if gate.load is not None}, key=lambda load: (len(load), load))
    return ModelEvaluationSpec(
        model_deployment=name,
        revision=key(revision_digest(spec)),
        model=spec.model,
        task=spec.task,
        data=spec.data,
        baselines=complete.baselines,
        loads=tuple(loads),
        serving=spec.serving.model_copy(update={"replicas": 1}),
        retry=retry,
    )


def measurement_digest(spec: ModelEvaluationSpec) -> str:
    """Identity of a measurement, whoever asked for it to be repeated."""
    return digest(stated(spec.model_copy(update={"retry": ""})))


def evaluation_name(spec: ModelEvaluationSpec) -> str:
    """The ModelEvaluation's name: of the model and of everything that is measured."""
    return f"{spec.model_deployment}-{digest(stated(spec)).removeprefix('sha256:')[:SHORT]}"


def job_name(evaluation: str, attempt: int) -> str:
    """The Job of one attempt; Pod names keep it whole, so that admission knows evaluation Pods by name."""
    return f"mandate-eval-{digest([evaluation, attempt]).removeprefix('sha256:')[:16]}"


def evidence_name(evidence_digest: str) -> str:
    """The ConfigMap that holds an evidence record."""
    return f"mandate-evidence-{key(evidence_digest)}"
