"""The digest of what is asked, fixed before the measurement starts."""

from __future__ import annotations

from collections.abc import Sequence

from mandate.api.criteria import Level
from mandate.api.spec import Gate, RiskTier
from mandate.evidence.canonical import digest


def criteria_digest(*, gates: Sequence[Gate], tier: RiskTier, target: Level) -> str:
    """`sha256:…` of gates, tier and target; the gates' order and unset defaults don't matter."""
    asked = [gate.model_dump(mode="json", by_alias=True, exclude_none=True) for gate in gates]
    return digest({"gates": sorted(asked, key=lambda gate: str(gate["name"])), "tier": tier, "target": target})
