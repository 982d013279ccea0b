"""AutonomyGrant: what may run in a namespace. Written by the operator, read by the API server's policies.

Maps keyed by revision, against the API conventions' habit: the policies look an entry up by its key, in constant time
where a list of 1,000 would be walked for every Pod.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from .criteria import Level
from .spec import LIST_SET, Digest, PinnedImage, Spec

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=40)]
Template = Annotated[
    dict[str, Any], Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]
ATOMIC: dict[str, Any] = {"x-kubernetes-map-type": "atomic"}


class GrantedRevision(Spec):
    """One revision that may run."""

    model: ModelName
    """The ModelDeployment."""
    level: Level
    """How far it may act."""
    model_digest: Digest
    """Digest of the model as evaluated."""
    evaluation: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """The ModelEvaluation that earned it."""
    template: Template
    """The Pod template that was evaluated, as the API server defaults it; Pods must equal it."""
    batch: Template | None = None
    """The Pod template of Jobs that score batches, where spec.batch declares them; it names the level."""
    external: bool = False
    """Somebody else's workloads run it: its Pods say in `mandate.dev/serves` at which level they answer."""


class GrantedEvaluation(Spec):
    """One evaluation Job whose Pod may run."""

    model: ModelName
    """The ModelDeployment."""
    template: Template
    """The Job's Pod template, as the API server defaults it; Pods must equal it."""


class AutonomyGrantSpec(Spec):
    """What may run in this namespace."""

    models: Annotated[tuple[ModelName, ...], Field(max_length=500, json_schema_extra=LIST_SET)] = ()
    """The namespace's ModelDeployments; reserves the Service names NAME and NAME-suggest."""
    allowed_images: Annotated[tuple[PinnedImage, ...], Field(max_length=200, json_schema_extra=LIST_SET)] = ()
    """Images that any Pod may run in a Strict namespace, by digest."""
    grants: Annotated[
        dict[str, GrantedRevision], Field(default_factory=dict, max_length=1000, json_schema_extra=ATOMIC)
    ]
    """Revisions that may run, by revision."""
    evaluations: Annotated[
        dict[str, GrantedEvaluation], Field(default_factory=dict, max_length=100, json_schema_extra=ATOMIC)
    ]
    """Evaluation Jobs that may run, by the Job's name."""
    left_out: dict[ModelName, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, max_length=500, json_schema_extra=ATOMIC
    )
    """Models of which something may not run because it found no room here, with the bytes that it takes."""


class AutonomyGrant(Spec):
    """The grant object; `metadata` passes through as it is."""

    api_version: Literal["mandate.dev/v1alpha1"]
    kind: Literal["AutonomyGrant"]
    metadata: dict[str, Any]
    spec: AutonomyGrantSpec
