"""Pod templates as the grant holds them.

Admission compares a Pod with the granted template field by field, everything except what is listed here. What the list
leaves out is compared, so a field that Kubernetes adds later is refused until it was evaluated. What is on the list
either can't change what runs, or is filled in per Pod by the API server and the scheduler. Harmless looks deceive:
a kubelet mounts a file at `terminationMessagePath`, over whatever the image has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POD_FIELDS_NOT_COMPARED = (
    # Where it runs, and when.
    "affinity",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "schedulerName",
    "schedulingGates",
    "tolerations",
    "topologySpreadConstraints",
    # How much it gets: quotas, limit ranges and autoscalers may change it.
    "resources",
    # Images are pinned by digest, whoever pulls them.
    "imagePullSecrets",
    # The old name of serviceAccountName, which is compared.
    "serviceAccount",
)
CONTAINER_FIELDS_NOT_COMPARED = ("resources", "resizePolicy", "imagePullPolicy")
CONTAINER_LISTS = ("containers", "initContainers")


def granted(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template as `AutonomyGrant` holds it.

    `template` is a PodTemplateSpec *as the API server defaulted it*: `.spec.template` of what a create or apply of the
    Deployment or Job with `dryRun=All` answers. Raises ValueError for an image that isn't pinned by digest.
    """
    metadata = template.get("metadata") or {}
    # These two are defaulted on Pods, but not in templates.
    spec = {"serviceAccountName": "default", "enableServiceLinks": True} | {
        name: value for name, value in template["spec"].items() if name not in POD_FIELDS_NOT_COMPARED
    }
    for containers in CONTAINER_LISTS:
        if containers in spec:
            spec[containers] = [_container(container) for container in spec[containers]]
    return {
        "metadata": {kind: dict(metadata[kind]) for kind in ("labels", "annotations") if metadata.get(kind)},
        "spec": spec,
    }


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    if "@sha256:" not in container["image"]:
        raise ValueError(
            f"container {container['name']}: image {container['image']!r} isn't pinned; expected NAME@sha256:DIGEST"
        )
    return {name: value for name, value in container.items() if name not in CONTAINER_FIELDS_NOT_COMPARED}
