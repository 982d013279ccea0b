"""The digest of what is asked, fixed before the measurement starts."""

from __future__ import annotations

from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec
from mandate.evidence.canonical import digest
from mandate.evidence.measurement import stated


def criteria_digest(spec: ModelDeploymentSpec) -> str:
    """`sha256:…` of the gates in effect, in any order, and of the risk tier that sets their burden."""
    gates = sorted((stated(gate) for gate in effective(spec).gates), key=lambda gate: str(gate["name"]))
    return digest({"gates": gates, "tier": spec.use_case.risk_tier})
