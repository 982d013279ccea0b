"""Names of the objects that the operator makes; each follows from what the object is of. Pure."""

from __future__ import annotations

from mandate.evidence.canonical import digest
from mandate.evidence.measurement import key


def job_name(evaluation: str, attempt: int) -> str:
    """The Job of one attempt; Pod names keep it whole, so that admission knows evaluation Pods by name."""
    return f"mandate-eval-{digest([evaluation, attempt]).removeprefix('sha256:')[:16]}"


def evidence_name(evidence_digest: str) -> str:
    """The ConfigMap that holds an evidence record."""
    return f"mandate-evidence-{key(evidence_digest)}"
