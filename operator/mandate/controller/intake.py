"""What an evaluation Pod says, taken with care: the judge isn't trusted to be whole, only to be itself. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mandate.evaluate.frame import MAX_LINE, FrameError, read, read_termination
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.schema import Evidence, computed_digest

LOG_LINES = 256
"""Raw lines asked of the kubelet: the frame's 1 MiB in chunks of 16 KiB makes 64, the rest is slack."""
LOG_KEEP = 2 * MAX_LINE
LOG_AT_MOST = 16 * MAX_LINE
SUMMARY_LIMIT = 32 * 1024
"""Bytes of status.evidence."""


class IntakeError(Exception):
    """What the judge left can't be used; `code` is CamelCase, the message says what was expected and found."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def take(termination: str, log: bytes) -> Evidence:
    """The evidence in a judge's log, vouched for by its termination message; raises IntakeError."""
    try:
        vouched = read_termination(termination)
        if vouched.sha256 is None:
            raise FrameError("the termination message vouches for no result")
        result = read(log, sha256=vouched.sha256)
    except FrameError as error:
        raise IntakeError("JudgeGarbled", str(error)) from error
    if result.failure is not None:
        raise IntakeError(result.failure.code, result.failure.message)
    try:
        return Evidence.model_validate(result.evidence)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise IntakeError("JudgeGarbled", f"evidence.{field}: {first['msg']}"[:1024]) from error


def summary(evidence: Evidence, *, evidence_digest: str) -> str:
    """Canonical JSON of what fits into status: inputs, counts, overall numbers. At most SUMMARY_LIMIT bytes."""
    whole = evidence.dump()
    computed = {name: part for name, part in whole["computed"].items() if name not in ("estimates", "row_sketch")}
    if "data" in computed:
        # The columns' distances and the findings' advice are in the stored evidence.
        found = computed["data"]
        parts = [{k: v for k, v in part.items() if k != "columns"} for part in found.get("comparisons", ())]
        computed["data"] = {"counts": found["counts"], "comparisons": parts}
    measured = {name: part for name, part in whole["measured"].items() if name != "estimates"}
    document: dict[str, Any] = {
        "computedDigest": computed_digest(evidence.computed),
        "evidenceDigest": evidence_digest,
        "computed": computed,
        "measured": measured,
    }
    estimates = [_brief(item) for item in (*whole["computed"]["estimates"], *whole["measured"].get("estimates", ()))]
    overall = [item for item in estimates if item["quantity"].get("slice") == "overall"]
    for chosen in (estimates, overall, overall[:20]):
        text = canonical(document | {"estimates": chosen})
        if len(text) <= SUMMARY_LIMIT:
            return text.decode()
    for dropped in ("findings", "classes"):
        computed.pop(dropped, None)
    text = canonical(document)
    if len(text) > SUMMARY_LIMIT:
        raise IntakeError("JudgeGarbled", f"the evidence's summary has {len(text)} bytes, at most {SUMMARY_LIMIT} fit")
    return text.decode()


def _brief(estimate: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("quantity", "estimate", "reference", "support", "fault")
    return {name: estimate[name] for name in kept if name in estimate}


def restore(data: bytes, *, digest: str) -> Evidence:
    """Evidence from its stored canonical bytes.

    Raises IntakeError where they aren't what `digest` says, or where this version doesn't understand them.
    """
    if sha256(data) != digest:
        raise IntakeError("EvidenceDamaged", f"the stored evidence has digest {sha256(data)}, expected {digest}")
    try:
        return Evidence.model_validate(json.loads(data))
    except ValueError as error:
        raise IntakeError("EvidenceOutdated", "this version doesn't understand the stored evidence") from error
