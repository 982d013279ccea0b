"""Which measurement a spec asks for, and what makes two measurements or two revisions the same. Pure."""

from __future__ import annotations

from typing import Any

from mandate.api.catalogue import METRICS, derived
from mandate.api.criteria import CHAMPION, Against, requirements
from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.names import SHORT
from mandate.api.spec import Model, Serving, Spec

from .canonical import digest

KEY = 32
"""Hex digits in labels and map keys, which hold at most 63 characters."""


def stated(record: Spec) -> dict[str, Any]:
    """A record as JSON without what is at its default, so that a new optional field changes no old digest."""
    return record.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def revision_digest(name: str, spec: ModelDeploymentSpec) -> str:
    """Identity of what serves: the ModelDeployment's name, the model as it is fed and read, and its resources.

    The name keeps two use cases of the very same model apart: a namespace's grant holds one entry per revision. Pods
    that KServe makes are others than ours, and so of another revision.
    """
    model = stated(spec.model)
    model.pop("training", None)  # lineage: says where the model comes from, not what it does
    made = {"maker": "KServe"} if spec.serving.provider == "KServe" else {}
    return digest({"name": name, "model": model, "resources": spec.serving.resources} | made)


def key(full: str) -> str:
    """The 32 hex digits of a digest that labels and maps use."""
    return full.removeprefix("sha256:")[:KEY]


def names_champion(spec: ModelDeploymentSpec) -> bool:
    """Whether any gate in effect compares with the champion."""
    asked = (
        requirement
        for gate in effective(spec).gates
        for level in requirements(
            gate.require.texts(), metric=derived(METRICS[gate.metric], on=gate.rows, shape=gate.as_), field=gate.name
        ).values()
        for requirement in level
    )
    return any(isinstance(requirement, Against) and requirement.ref == CHAMPION for requirement in asked)


def evaluation_spec(
    name: str, spec: ModelDeploymentSpec, *, retry: str = "", champion: Model | None = None
) -> ModelEvaluationSpec:
    """The measurement that `spec` asks for. Criteria aren't part of it: they are judged on its evidence.

    `champion` is the champion's model, with its digest; it is measured only where a gate compares with it.
    """
    complete = effective(spec)
    service = tuple(sorted({asked for gate in complete.gates if (asked := METRICS[gate.metric].measurement)}))
    loads = sorted({gate.load for gate in complete.gates if gate.load is not None}, key=lambda load: (len(load), load))
    return ModelEvaluationSpec(
        model_deployment=name,
        revision=key(revision_digest(name, spec)),
        model=spec.model,
        task=complete.task,
        data=spec.data.model_copy(update={"lineage": None}),  # told, not measured
        baselines=complete.baselines,
        error_costs=spec.use_case.error_costs,
        champion=champion if names_champion(spec) else None,
        loads=tuple(loads),
        service=service,
        # How many Pods there are and who leads there is about what is served, not about what is measured.
        serving=Serving(
            resources=spec.serving.resources, prices=spec.serving.prices if "Capacity" in service else None
        ),
        retry=retry,
    )


def measurement_settings(spec: ModelEvaluationSpec) -> dict[str, Any]:
    """What is measured, as JSON; the images that measure it belong to the revision, and neither they nor since when the
    model is known are part of the question.
    """
    return stated(spec.model_copy(update={"images": None, "first_seen": None}))


def measurement_digest(spec: ModelEvaluationSpec) -> str:
    """Identity of a measurement, however often and by whomever it was repeated, and whoever was champion then."""
    return digest(measurement_settings(spec.model_copy(update={"retry": "", "repeat": 0, "champion": None})))


def evaluation_name(spec: ModelEvaluationSpec) -> str:
    """The ModelEvaluation's name: of the model and of everything that is measured."""
    return f"{spec.model_deployment}-{digest(measurement_settings(spec)).removeprefix('sha256:')[:SHORT]}"
