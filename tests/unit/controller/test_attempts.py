"""What is said of a failed evaluation's next attempt is what happens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.moments import instant, stamp
from mandate.controller.assess import NotJudged, assess
from mandate.controller.choice import evaluation_status
from mandate.controller.decide_evaluation import decide_evaluation
from mandate.controller.plan import SetStatus
from mandate.controller.progress import UNLOADABLE
from mandate.controller.snapshot import EvaluationSnapshot, ModelSnapshot
from tests.unit.controller.judged import SETTINGS, declared, judged

NOW = instant("2026-01-02T00:00:00Z")
CODES = (*UNLOADABLE, "PredictorCrashLoop", "JudgeOutOfMemory", "PodRefused", "ResultTooLarge", "DeadlineExceeded")


def failed(code: str, *, attempt: int, **spec: Any) -> ModelSnapshot:
    """The present version's evaluation failed with this code, a moment ago."""
    snapshot = judged(declared("1"), accuracy=0.8)
    (meval,) = snapshot.mevals
    condition = {"type": "Failed", "status": "True", "reason": code, "message": f"attempt {attempt}: x"}
    meval["status"] = {"attempt": attempt, "conditions": [{**condition, "lastTransitionTime": stamp(NOW)}]}
    meval["spec"] |= spec
    return replace(snapshot, evidence={})


def followed(snapshot: ModelSnapshot) -> bool:
    """Whether the operator begins another attempt, looking again whenever it said it would."""
    (meval,) = snapshot.mevals
    found = EvaluationSnapshot(meval=meval, mdep=snapshot.mdep, grant=None, mevals=(meval,), settings=SETTINGS)
    now, again = NOW, 0.0
    while again is not None:
        now += again
        plan = decide_evaluation(found, now)
        for action in plan.actions:
            if isinstance(action, SetStatus):
                after = evaluation_status({"status": action.document["status"]})
                return after.attempt == evaluation_status(meval).attempt + 1
        again = plan.again
    return False


@pytest.mark.parametrize("attempt", [1, 4, 5])
@pytest.mark.parametrize("code", CODES)
def test_another_attempt_is_promised_exactly_where_one_follows(code: str, attempt: int) -> None:
    snapshot = failed(code, attempt=attempt)
    told = assess(snapshot, NOW)
    assert isinstance(told, NotJudged)
    assert told.code == code
    assert (f"attempt {attempt + 1} of 5 follows by itself" in told.message) == followed(snapshot) == (attempt < 5)


def test_none_is_promised_where_the_evaluation_is_not_understood() -> None:
    """Another version of the operator made it."""
    snapshot = failed("JudgeCrashed", attempt=1, fromTheFuture="x")
    told = assess(snapshot, NOW)
    assert not followed(snapshot)
    assert isinstance(told, NotJudged)
    assert told.code == "SpecNotUnderstood"
    assert "by itself" not in told.message
    assert "delete it" in told.message
