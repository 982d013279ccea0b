"""Every way in which an evaluation can end becomes one named cause."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api.moments import stamp
from mandate.controller.intake import IntakeError
from mandate.controller.progress import Failed, Measured, Under, pod_to_read, progress
from mandate.evaluate.frame import Failure, Result, frame
from tests.unit.controller.samples import evidence

NOW = 1_800_000_000.0


def job(*, age: float = 10.0, over: str | None = None) -> dict[str, Any]:
    conditions = (
        [{"type": over, "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}] if over else []
    )
    return {
        "metadata": {"name": "mandate-eval-1", "creationTimestamp": stamp(NOW - age)},
        "status": {"conditions": conditions},
    }


def pod(
    phase: str = "Running", *, name: str = "p", age: float = 5.0, init: Any = (), main: Any = (), **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": stamp(NOW - age)},
        "status": {"phase": phase, "initContainerStatuses": list(init), "containerStatuses": list(main), **status},
    }


def ended(name: str, code: int = 1, *, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return {"name": name, "restartCount": 0, "state": state}


def waiting(name: str, reason: str, *, restarts: int = 0, last: Any = None) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "said the kubelet"}}
    return {"name": name, "restartCount": restarts, "state": state, "lastState": last or {}}


def running(name: str) -> dict[str, Any]:
    return {"name": name, "restartCount": 0, "state": {"running": {}}}


def unloadable(*, code: str = "Unreadable", exit_code: int = 2) -> dict[str, Any]:
    """What the predictor leaves where its model can't be loaded."""
    failure = {"stage": "Predict", "code": code, "message": "not a self-contained ONNX model: truncated"}
    return {"terminated": {"exitCode": exit_code, "reason": "Error", "message": json.dumps({"failure": failure})}}


def found(pods: list[Any], *, of: Any = None, result: Any = None, deadline: float = 3600.0) -> Any:
    return progress(job=of or job(), pods=pods, result=result, now=NOW, deadline=deadline)


OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}]
SAID = frame(Result(failure=Failure(stage="fetch", code="DigestMismatch", message="not it", field="spec.model")))[
    1
].dump()
LOST = frame(Result(failure=Failure(stage="Predict", code="PredictorCrashed", message="lost", field="spec.champion")))[
    1
].dump()

FAILURES = {
    "fetch says why": (pod("Failed", init=[ended("fetch", 2, message=SAID)]), "DigestMismatch", "spec.model: not it"),
    "fetch out of memory": (pod("Failed", init=[ended("fetch", 137, reason="OOMKilled")]), "FetchOutOfMemory", "limit"),
    "fetch crashes": (pod("Failed", init=[ended("fetch", 1, message="Traceback")]), "FetchCrashed", "Traceback"),
    "judge out of memory": (
        pod("Failed", main=[ended("judge", 137, reason="OOMKilled")]),
        "JudgeOutOfMemory",
        "memory",
    ),
    "judge crashes": (pod("Failed", main=[ended("judge", 1)]), "JudgeCrashed", "exit code 1"),
    "judge says why": (pod("Failed", main=[ended("judge", 3, message=SAID)]), "DigestMismatch", "not it"),
    "deadline": (pod("Failed", reason="DeadlineExceeded", message="too long"), "DeadlineExceeded", "too long"),
    "deadline with a judge that was killed": (
        pod("Failed", main=[ended("judge", 137)], reason="DeadlineExceeded", message="too long"),
        "DeadlineExceeded",
        "too long",
    ),
    "evicted without a disruption": (pod("Failed", reason="Evicted", message="disk"), "Evicted", "disk"),
    "crash loop before the judge starts": (
        pod(
            "Pending",
            init=[waiting("predictor", "CrashLoopBackOff", restarts=3, last=OOM)],
            main=[waiting("judge", "PodInitializing")],
        ),
        "PredictorCrashLoop",
        "out of memory",
    ),
    "crash loop of the champion": (
        pod(
            "Pending",
            init=[running("predictor"), waiting("champion", "CrashLoopBackOff", restarts=3, last=OOM)],
            main=[waiting("judge", "PodInitializing")],
        ),
        "ChampionCrashLoop",
        "the champion's container doesn't stay up; champion ended 4 times, last with out of memory",
    ),
    "crash loop of a baseline's container": (
        pod(
            "Pending",
            init=[running("predictor"), waiting("baseline-rival", "CrashLoopBackOff", restarts=3, last=OOM)],
            main=[waiting("judge", "PodInitializing")],
        ),
        "BaselineCrashLoop",
        "baseline 'rival': its container doesn't stay up; baseline-rival ended 4 times, last with out of memory",
    ),
    "a champion that crashed while it was asked": (
        pod("Failed", init=[running("predictor"), ended("champion", 7)], main=[ended("judge", 3, message=LOST)]),
        "PredictorCrashed",
        "spec.champion: lost; champion ended 1 time, last with exit code 7",
    ),
    "deadline with a champion that had crashed": (
        pod("Failed", init=[ended("champion", 7)], reason="DeadlineExceeded", message="too long"),
        "DeadlineExceeded",
        "too long; champion ended 1 time",
    ),
    "a model that can't be loaded, while the judge waits for it": (
        pod(init=[waiting("predictor", "CrashLoopBackOff", restarts=1, last=unloadable())], main=[running("judge")]),
        "Unreadable",
        "spec.model.source: not a self-contained ONNX model",
    ),
    "a model that couldn't be loaded, when the judge had waited": (
        pod("Failed", init=[{"name": "predictor", "state": unloadable()}], main=[ended("judge", 3, message=SAID)]),
        "Unreadable",
        "not a self-contained ONNX model",
    ),
    "a champion that can't be loaded": (
        pod(init=[{"name": "champion", "state": {"running": {}}, "lastState": unloadable()}], main=[running("judge")]),
        "Unreadable",
        "spec.champion.source: not a self-contained",
    ),
    "no reason at all": (pod("Failed"), "PodFailed", "without saying why"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_named(name: str) -> None:
    item, code, words = FAILURES[name]
    outcome = found([item])
    assert isinstance(outcome, Failed)
    assert outcome.code == code
    assert words in outcome.message


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (pod("Pending", main=[waiting("judge", "PodInitializing")]), "Running"),
        (pod("Pending", init=[waiting("fetch", "ImagePullBackOff")]), "ContainerWaiting"),
        (pod("Pending", init=[waiting("predictor", "CrashLoopBackOff", restarts=2)]), "Running"),
        (pod("Failed", conditions=DISRUPTED), "Disrupted"),
        (pod(init=[waiting("predictor", "X", last=unloadable(code="Made Up!"))], main=[running("judge")]), "Running"),
        (pod(init=[waiting("predictor", "X", last=unloadable(exit_code=0))], main=[running("judge")]), "Running"),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]),
            "Unschedulable",
        ),
    ],
)
def test_what_may_still_come_right_is_waited_for(item: Any, reason: str) -> None:
    outcome = found([item])
    assert isinstance(outcome, Under)
    assert outcome.reason in (reason, "ContainerWaiting")


@pytest.mark.parametrize("container", ["fetch", "predictor", "champion", "baseline-rival", "judge"])
def test_a_container_that_cannot_start_is_named(container: str) -> None:
    outcome = found([pod("Pending", init=[waiting(container, "ErrImagePull")])])
    assert (outcome.reason, outcome.message) == ("ContainerWaiting", f"{container}: ErrImagePull: said the kubelet")


def test_a_disrupted_pod_is_replaced_and_counted() -> None:
    first = pod("Failed", name="a", age=50, conditions=DISRUPTED)
    second = pod("Succeeded", name="b", age=5, main=[ended("judge", 0)])
    outcome = found([first, second], result=evidence(0.8))
    assert isinstance(outcome, Measured)
    assert outcome.disruptions == 1


def test_a_pod_that_is_being_evicted_is_disrupted_unless_its_judge_was_done() -> None:
    stopping = pod(main=[ended("judge", 137)], conditions=DISRUPTED)
    stopping["metadata"]["deletionTimestamp"] = stamp(NOW)
    outcome = found([stopping])
    assert isinstance(outcome, Under)
    assert (outcome.reason, outcome.disruptions) == ("Disrupted", 1)
    done = pod(main=[ended("judge", 0)], conditions=DISRUPTED)
    done["metadata"]["deletionTimestamp"] = stamp(NOW)
    assert isinstance(found([done], result=evidence(0.8)), Measured)


def test_a_judge_that_lost_its_predictor_is_heard_once_the_predictors_end_is_known() -> None:
    """The kubelet tells of one container after the other."""
    judge = ended("judge", 3, message=LOST)
    assert isinstance(found([pod(init=[running("predictor")], main=[judge])]), Under)
    for item, over in ((pod(init=[ended("predictor", 7)], main=[judge]), None), (pod("Failed", main=[judge]), None)):
        assert isinstance(found([item], of=job(over=over)), Failed)
    outcome = found([pod(init=[running("predictor")], main=[judge])], of=job(over="Failed"))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message) == ("PredictorCrashed", "spec.champion: lost")


def test_the_overall_deadline_names_what_was_last_seen() -> None:
    outcome = found([pod("Pending", init=[waiting("fetch", "ImagePullBackOff")])], of=job(age=100), deadline=60)
    assert isinstance(outcome, Failed)
    assert (outcome.code, "ImagePullBackOff" in outcome.message) == ("DeadlineExceeded", True)


def test_a_job_that_ended_without_its_pod_is_lost() -> None:
    outcome = found([], of=job(over="Failed"))
    assert isinstance(outcome, Failed)
    assert outcome.code == "PodLost"


def test_a_result_that_could_not_be_used_is_the_cause() -> None:
    outcome = found([pod("Succeeded", main=[ended("judge", 0)])], result=IntakeError("JudgeGarbled", "no frame"))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message) == ("JudgeGarbled", "no frame")


def test_only_a_judge_that_ended_well_has_a_log_to_read() -> None:
    done = pod("Succeeded", main=[ended("judge", 0, message="x")])
    assert pod_to_read([done]) == ("p", "x")
    for item in (pod(), pod("Failed", main=[ended("judge", 1)])):
        assert pod_to_read([item]) is None
    assert pod_to_read([]) is None


STATES = st.sampled_from(
    [{}, {"waiting": {}}, {"waiting": {"reason": "X"}}, {"running": {}}, {"terminated": {"exitCode": 0}}, OOM]
)
CONTAINERS = st.lists(
    st.builds(
        lambda name, state, last, restarts: {"name": name, "state": state, "lastState": last, "restartCount": restarts},
        st.sampled_from(["fetch", "predictor", "champion", "judge", "injected"]),
        STATES,
        STATES,
        st.integers(0, 9),
    ),
    max_size=4,
)
PODS = st.builds(
    lambda phase, init, main, reason, disrupted, age: pod(
        phase, age=age, init=init, main=main, reason=reason, conditions=DISRUPTED if disrupted else []
    ),
    st.sampled_from(["", "Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    CONTAINERS,
    CONTAINERS,
    st.sampled_from(["", "Evicted", "NodeLost"]),
    st.booleans(),
    st.floats(0, 1000),
)


@given(
    pods=st.lists(PODS, max_size=3),
    over=st.sampled_from([None, "Failed", "Complete"]),
    age=st.floats(0, 10_000),
)
def test_no_status_confuses_it_and_none_is_evidence(pods: list[Any], over: str | None, age: float) -> None:
    outcome = progress(job=job(age=age, over=over), pods=pods, result=None, now=NOW, deadline=5000)
    assert not isinstance(outcome, Measured)
    assert isinstance(outcome, Failed) or age < 5001


@pytest.mark.parametrize(
    ("crash", "told"),
    [("2030-01-01T00:00:00Z", "; predictor ended 1 time, last with exit code 7"), ("2030-01-01T00:00:31Z", "")],
)
def test_a_predictor_that_was_stopped_after_the_judge_is_not_said_to_have_crashed(crash: str, told: str) -> None:
    """A sidecar that ignores SIGTERM is killed when the Pod ends: that is no cause of anything."""
    said = frame(Result(failure=Failure(stage="judge", code="PredictorCrashed", message="lost", field="spec.model")))
    judge = ended("judge", 2, message=said[1].dump())
    judge["state"]["terminated"]["finishedAt"] = "2030-01-01T00:00:01Z"
    predictor = ended("predictor", 7)
    predictor["state"]["terminated"]["finishedAt"] = crash
    assert found([pod("Failed", init=[predictor], main=[judge])]).message == f"spec.model: lost{told}"


def test_a_predictor_out_of_memory_was_not_stopped_whenever_its_end_was_noted() -> None:
    judge = ended("judge", 3, message=LOST)
    judge["state"]["terminated"]["finishedAt"] = "2030-01-01T00:00:01Z"
    predictor = ended("predictor", 137, reason="OOMKilled")
    predictor["state"]["terminated"]["finishedAt"] = "2030-01-01T00:00:02Z"
    outcome = found([pod("Failed", init=[predictor], main=[judge])])
    assert outcome.message == "spec.champion: lost; predictor ended 1 time, last with out of memory"


@pytest.mark.parametrize(("killed", "told"), [("01", True), ("09", True), ("10", True), ("11", False), ("40", False)])
def test_what_is_killed_sooner_than_a_stop_allows_was_not_stopped(killed: str, told: bool) -> None:
    """The runtime may miss that memory ran out, and note the end after the judge's, which came of it."""
    judge = ended("judge", 3, message=LOST)
    judge["state"]["terminated"]["finishedAt"] = "2030-01-01T00:00:01Z"
    predictor = ended("predictor", 137, reason="Error")
    predictor["state"]["terminated"]["finishedAt"] = f"2030-01-01T00:00:{killed}Z"
    outcome = found([pod("Failed", init=[predictor], main=[judge])])
    story = "; predictor ended 1 time, last with exit code 137: killed, as where a container runs out of memory"
    assert outcome.message == "spec.champion: lost" + (story if told else "")


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_server_that_was_started_again_is_told_of_though_its_first_end_is_forgotten(restarts: int) -> None:
    """As seen on a node: the second container was stopped after the judge, and nothing was left of the first."""
    judge = ended("judge", 3, message=LOST)
    judge["state"]["terminated"]["finishedAt"] = "2030-01-01T00:36:42Z"
    predictor = ended("predictor", 137, reason="Error") | {"restartCount": restarts, "lastState": {}}
    predictor["state"]["terminated"]["finishedAt"] = "2030-01-01T00:36:53Z"
    message = found([pod("Failed", init=[predictor], main=[judge])]).message
    times = {0: "", 1: "; predictor ended 1 time and was", 2: "; predictor ended 2 times and was"}[restarts]
    assert message.startswith(f"spec.champion: lost{times}")
    assert ("out of memory" in message) == bool(restarts)


@pytest.mark.parametrize(("started", "told"), [("00:36:41", True), ("00:36:05", False), ("00:36:01", False)])
def test_a_server_that_started_after_the_judge_was_started_again(started: str, told: bool) -> None:
    judge = ended("judge", 3, message=LOST)
    judge["state"]["terminated"] |= {"startedAt": "2030-01-01T00:36:05Z", "finishedAt": "2030-01-01T00:36:42Z"}
    predictor = ended("predictor", 137, reason="Error")
    predictor["state"]["terminated"] |= {
        "startedAt": f"2030-01-01T{started}Z",
        "finishedAt": "2030-01-01T00:36:53Z",
    }
    message = found([pod("Failed", init=[predictor], main=[judge])]).message
    assert ("; predictor ended 1 time and was started again" in message) == told
