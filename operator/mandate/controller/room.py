"""A grant is one object, and etcd takes no object over 1.5 MiB: what fits into it, and what is told of the rest. Pure.

What the grant holds already keeps its place, so that nobody's models stop because somebody declared one more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mandate.api.grant import AutonomyGrantSpec, GrantedEvaluation, GrantedRevision

GRANT_FULL = "GrantFull"
"""The reason of conditions that are so because there is no room."""
MOST_MODELS = 500
MOST_REVISIONS = 1000
MOST_EVALUATIONS = 100
MOST_BYTES = 1_400_000
"""Leaves room in etcd's 1.5 MiB for metadata, for what found no room, and for defaults that entries gain later."""


def fitted(wanted: AutonomyGrantSpec, *, before: AutonomyGrantSpec) -> AutonomyGrantSpec:
    """`wanted` as far as it fits: what the grant held `before`, then new revisions, new evaluations, new batches.

    What finds no room is left out, and `left_out` says how many bytes that is for each model.
    """
    known = set(before.models)
    models = sorted(wanted.models, key=lambda name: (name not in known, name))[:MOST_MODELS]
    grants = {
        name: entry if before.grants[name].batch is not None else _without_batch(entry)
        for name, entry in wanted.grants.items()
        if name in before.grants
    }
    evaluations = {name: entry for name, entry in wanted.evaluations.items() if name in before.evaluations}
    kept = wanted.model_copy(update={"models": tuple(sorted(models)), "grants": grants, "evaluations": evaluations})
    used = size(kept.model_dump(mode="json", by_alias=True, exclude_none=True))
    left_out: dict[str, int] = {}

    def takes(model: str, document: Mapping[str, Any], *, slots: int) -> bool:
        nonlocal used
        cost = size(document)
        if model in models and slots > 0 and used + cost <= MOST_BYTES:
            used += cost
            return True
        left_out[model] = left_out.get(model, 0) + cost
        return False

    def shown(entry: GrantedRevision | GrantedEvaluation) -> dict[str, Any]:
        return entry.model_dump(mode="json", by_alias=True, exclude_none=True)

    for name, entry in wanted.grants.items():
        alone = _without_batch(entry)
        if name not in grants and takes(entry.model, {name: shown(alone)}, slots=MOST_REVISIONS - len(grants)):
            grants[name] = alone
    for name, job in wanted.evaluations.items():
        if name not in evaluations and takes(job.model, {name: shown(job)}, slots=MOST_EVALUATIONS - len(evaluations)):
            evaluations[name] = job
    for name, entry in wanted.grants.items():
        if entry.batch is None or name not in grants or grants[name].batch is not None:
            continue
        if takes(entry.model, {"batch": entry.batch}, slots=1):
            grants[name] = entry
    return kept.model_copy(
        update={
            "grants": dict(sorted(grants.items())),
            "evaluations": dict(sorted(evaluations.items())),
            "left_out": dict(sorted(left_out.items())[:MOST_MODELS]),
        }
    )


def _without_batch(entry: GrantedRevision) -> GrantedRevision:
    return entry.model_copy(update={"batch": None})


def size(document: Mapping[str, Any]) -> int:
    """Bytes of a document as JSON, as etcd keeps it."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


def no_room(grant: Mapping[str, Any] | None, model: str) -> str:
    """Why something of `model` found no room in the namespace's grant, and what to do; empty where all of it did."""
    missing = ((grant or {}).get("spec") or {}).get("leftOut", {}).get(model)
    if missing is None:
        return ""
    return (
        f"no room in the namespace's AutonomyGrant: {missing:,} bytes of this model don't fit beside the others, "
        f"as at most {MOST_MODELS} models, {MOST_REVISIONS:,} revisions and {MOST_BYTES:,} bytes do; delete "
        "ModelDeployments of this namespace that aren't used any more, or move some to another"
    )
