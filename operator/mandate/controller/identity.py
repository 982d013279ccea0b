"""Names of the objects that the operator makes; each follows from what the object is of. Pure."""

from __future__ import annotations

from mandate.evidence.canonical import digest
from mandate.evidence.measurement import SHORT, key


def workload_name(model: str, revision: str) -> str:
    """The name of a revision's Deployment and ControllerRevision; `revision` is its key or digest."""
    return f"{model}-{revision.removeprefix('sha256:')[:SHORT]}"


def job_name(evaluation: str, attempt: int) -> str:
    """The Job of one attempt; Pod names keep it whole, so that admission knows evaluation Pods by name."""
    return f"mandate-eval-{digest([evaluation, attempt]).removeprefix('sha256:')[:16]}"


def evidence_name(evidence_digest: str) -> str:
    """The ConfigMap that holds an evidence record."""
    return f"mandate-evidence-{key(evidence_digest)}"
