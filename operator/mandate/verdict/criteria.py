"""The digest of what is asked, fixed before the measurement starts."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.spec import Gate
from mandate.evidence.canonical import digest
from mandate.evidence.measurement import stated
from mandate.evidence.schema import Evidence


def criteria_digest(spec: ModelDeploymentSpec) -> str:
    """`sha256:…` of the gates in effect, in any order, of the risk tier that sets their burden, and of what else is
    required."""
    asked = {} if spec.readiness is None else {"readiness": stated(spec.readiness)}
    return digest(_asked(spec, effective(spec).gates) | asked)


def looked_digest(spec: ModelDeploymentSpec) -> str:
    """The digest of those criteria that test rows are looked at for: what is asked of live rows looks at no others,
    and what is required beside gates at none."""
    return digest(_asked(spec, (gate for gate in effective(spec).gates if gate.rows != "live")))


def settings_digest(spec: ModelDeploymentSpec, evidence: Evidence) -> str:
    """The digest of what the numbers of a model on test rows depend on, besides the rows: how its answers are read, how
    rows count, slices, baselines and costs.

    A cut-off that was chosen is the one that all was measured at, so that declaring it is the same; what only reports
    tell isn't in it.
    """
    chosen = evidence.computed.cutoff
    cutoff = Decimal((chosen and chosen.chosen) or spec.model.output.cutoff).normalize()
    listed = {
        "slices": spec.data.slices,
        "baselines": [baseline.as_measured for baseline in effective(spec).baselines],
        "costs": spec.use_case.error_costs,
        "sampling": spec.data.sampling,
    }
    output = stated(spec.model.output.model_copy(update={"cutoff": "0.5", "choose": None}))
    said = {"task": stated(effective(spec).task), "output": output, "cutoff": str(cutoff)}
    said |= {} if spec.data.windows is None else {"windows": stated(spec.data.windows)}
    return digest(said | {name: sorted(map(digest, map(stated, items))) for name, items in listed.items()})


def _asked(spec: ModelDeploymentSpec, gates: Iterable[Gate]) -> dict[str, Any]:
    listed = sorted((stated(gate) for gate in gates), key=lambda gate: str(gate["name"]))
    return {"gates": listed, "tier": spec.use_case.risk_tier}
