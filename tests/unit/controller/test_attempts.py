"""What is said of a failed evaluation's next attempt is what happens."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from mandate.api.kinds import ModelEvaluationStatus
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_EVALUATION, LABEL_MODEL
from mandate.controller.assess import NotJudged, assess
from mandate.controller.choice import evaluation_status
from mandate.controller.conditions import find
from mandate.controller.decide_evaluation import decide_evaluation
from mandate.controller.desired import owner
from mandate.controller.identity import job_name
from mandate.controller.loop import Controller
from mandate.controller.plan import Key, SetStatus
from mandate.controller.progress import UNLOADABLE
from mandate.controller.snapshot import EvaluationSnapshot, ModelSnapshot
from mandate.evaluate.frame import Failure, Result, frame
from mandate.kube.resources import JOBS, MODEL_EVALUATIONS, PODS
from tests.unit.controller.fake_api import FakeApi
from tests.unit.controller.judged import SETTINGS, declared, judged
from tests.unit.controller.samples import evidence

Object = dict[str, Any]
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


async def told(seen: Object | None, truth: Object, *, over: str) -> ModelEvaluationStatus:
    """What an evaluation becomes whose Job is heard to end while its Pod's status is `seen`, None for no Pod at all."""
    api: Any = FakeApi(random.Random(0))
    controller = Controller(api, SETTINGS, identity="x", operator_namespace="mandate-system", now=lambda: NOW)
    (meval,) = failed("Waiting", attempt=1).mevals
    meval["status"] = {"attempt": 1}
    space, name = meval["metadata"]["namespace"], meval["metadata"]["name"]
    controller.store.upsert(MODEL_EVALUATIONS, api.put(MODEL_EVALUATIONS, meval))
    (meval,) = api.all(MODEL_EVALUATIONS)
    labels = {LABEL_EVALUATION: job_name(name, 1), LABEL_MODEL: meval["spec"]["modelDeployment"]}
    metadata = {"name": job_name(name, 1), "namespace": space, "labels": labels, "ownerReferences": [owner(meval)]}
    ended = {"conditions": [{"type": over, "status": "True"}]}
    controller.store.upsert(JOBS, api.put(JOBS, {"metadata": metadata, "spec": {}, "status": ended}))
    pod = api.put(PODS, {"metadata": {"name": "p", "namespace": space, "labels": labels}, "status": seen or {}})
    if seen is not None:
        controller.store.upsert(PODS, pod)
    api.logs["p"] = LOG.encode()
    api.change(PODS, space, "p", status=truth)
    await controller.reconcile(Key("Evaluation", space, name))
    return evaluation_status(api.all(MODEL_EVALUATIONS)[0])


def ended(name: str, message: str, *, code: int = 0, reason: str = "Completed") -> Object:
    return {"name": name, "state": {"terminated": {"exitCode": code, "message": message, "reason": reason}}}


LOG, VOUCHED = frame(Result(evidence=evidence(0.8).dump()))
LOST = ended(
    "judge",
    frame(Result(failure=Failure(stage="Predict", code="PredictorCrashed", message="lost", field="spec.model")))[
        1
    ].dump(),
    code=3,
)


@pytest.mark.parametrize("seen", [None, {"phase": "Pending"}, {"phase": "Running"}])
async def test_a_job_heard_to_end_before_its_pod_is_measured_all_the_same(seen: Object | None) -> None:
    """Kinds are watched apart: the Pod's end, or all of it, may be heard of later."""
    status = await told(
        seen, {"phase": "Succeeded", "containerStatuses": [ended("judge", VOUCHED.dump())]}, over="Complete"
    )
    complete = find(status.conditions, "Complete")
    assert complete is not None
    assert (status.attempt, complete.status) == (1, "True"), status.conditions


async def test_a_job_heard_to_end_before_its_predictor_is_told_with_the_predictors_end() -> None:
    killed = ended("predictor", "", code=137, reason="OOMKilled")
    status = await told(
        {"phase": "Running", "containerStatuses": [LOST]},
        {"phase": "Failed", "containerStatuses": [LOST], "initContainerStatuses": [killed]},
        over="Failed",
    )
    found = find(status.conditions, "Failed")
    assert found is not None
    assert "out of memory" in found.message


@pytest.mark.parametrize("failed_", [False, True])
async def test_nobody_is_asked_for_the_pod_of_an_attempt_whose_failure_is_written_down(failed_: bool) -> None:
    """Its finished Job stays for a while, without a Pod."""
    api: Any = FakeApi(random.Random(0))
    controller = Controller(api, SETTINGS, identity="x", operator_namespace="mandate-system", now=lambda: NOW)
    (meval,) = failed("PodLost", attempt=1).mevals
    if not failed_:
        meval["status"] = {"attempt": 1}
    space, name = meval["metadata"]["namespace"], meval["metadata"]["name"]
    controller.store.upsert(MODEL_EVALUATIONS, api.put(MODEL_EVALUATIONS, meval))
    (meval,) = api.all(MODEL_EVALUATIONS)
    labels = {LABEL_EVALUATION: job_name(name, 1), LABEL_MODEL: meval["spec"]["modelDeployment"]}
    metadata = {"name": job_name(name, 1), "namespace": space, "labels": labels, "ownerReferences": [owner(meval)]}
    over = {"conditions": [{"type": "Failed", "status": "True"}]}
    controller.store.upsert(JOBS, api.put(JOBS, {"metadata": metadata, "spec": {}, "status": over}))
    asked = []
    listed = api.list

    async def counted(resource: Any, **options: Any) -> Any:
        asked.append(resource)
        return await listed(resource, **options)

    api.list = counted
    await controller._gatherer.gather(Key("Evaluation", space, name))
    assert (PODS in asked) == (not failed_)
