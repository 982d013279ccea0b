"""`decide(snapshot, now) -> Plan`: the whole of the operator's judgement, without a cluster. Pure."""

from __future__ import annotations

from mandate.controller.decide_evaluation import decide_evaluation
from mandate.controller.decide_grant import decide_grant
from mandate.controller.decide_model import decide_model
from mandate.controller.plan import Plan
from mandate.controller.snapshot import EvaluationSnapshot, ModelSnapshot, Snapshot


def decide(snapshot: Snapshot, now: float) -> Plan:
    """What to do about what was read; `now` is seconds since the epoch."""
    match snapshot:
        case EvaluationSnapshot():
            return decide_evaluation(snapshot, now)
        case ModelSnapshot():
            return decide_model(snapshot, now)
        case _:
            return decide_grant(snapshot, now)
