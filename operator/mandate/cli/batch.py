"""`kubectl mandate batch MODEL`: the Job or CronJob that scores batches with what is granted now."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mandate.api.names import GRANT_NAME

from .cluster import answered, connected
from .errors import InputError
from .progress import progress
from .run import EXIT_HOLDS

Object = dict[str, Any]


def execute(options: argparse.Namespace) -> int:
    """Print it, as JSON."""
    return answered(_execute(options))


async def _execute(options: argparse.Namespace) -> int:
    from mandate.kube.errors import NotFoundError
    from mandate.kube.resources import AUTONOMY_GRANTS, MODEL_DEPLOYMENTS

    async with connected(options) as (client, namespace):
        with progress("asking the cluster"):
            mdep = await client.get(MODEL_DEPLOYMENTS, options.model, namespace=namespace)
            try:
                grant = await client.get(AUTONOMY_GRANTS, GRANT_NAME, namespace=namespace)
            except NotFoundError:
                grant = {}
    print(json.dumps(manifest(mdep, grant, schedule=options.schedule), indent=2, ensure_ascii=False))
    return EXIT_HOLDS


def manifest(mdep: Object, grant: Object, *, schedule: str) -> Object:
    """The Job, or with a `schedule` the CronJob, of the champion, or else the candidate; raises InputError."""
    metadata, spec = mdep["metadata"], mdep.get("spec") or {}
    if "batch" not in spec:
        raise InputError(f"{metadata['name']}: spec.batch isn't declared; say where the batches are")
    status, entries = mdep.get("status") or {}, (grant.get("spec") or {}).get("grants") or {}
    holders = (status[role]["revision"] for role in ("champion", "candidate") if role in status)
    template = next((entries[key]["batch"] for key in holders if "batch" in entries.get(key, {})), None)
    if template is None:
        name, full = metadata["name"], metadata["name"] in ((grant.get("spec") or {}).get("leftOut") or {})
        stands = f"kubectl mandate status {name} says where it stands"
        why = "the namespace's AutonomyGrant has no room for all that is asked of it" if full else stands
        raise InputError(f"{name}: no batch is granted: {why}")
    place = {"namespace": metadata["namespace"]}
    job = {"backoffLimit": 2, "template": _with_resources(template, spec.get("serving") or {})}
    # Without labels of its own a Job takes its Pods', and what carries those is the operator's.
    own = {"labels": {"app.kubernetes.io/name": f"{metadata['name']}-batch"}}
    if not schedule:
        name = {"generateName": f"{metadata['name']}-batch-"}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**name, **place, **own}, "spec": job}
    # Two at once would answer the same batches.
    timed = {"schedule": schedule, "concurrencyPolicy": "Forbid", "jobTemplate": {"metadata": own, "spec": job}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"{metadata['name']}-batch", **place},
        "spec": timed,
    }


def _with_resources(template: Object, serving: Object) -> Object:
    """The granted template, which says nothing of resources, with those that were evaluated for the model."""
    spec = template["spec"]
    resources = serving.get("resources")
    init = [
        {**item, "resources": resources} if resources and item["name"] == "predictor" else item
        for item in spec.get("initContainers") or ()
    ]
    return {**template, "spec": {**spec, "initContainers": init}}
