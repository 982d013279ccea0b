"""Evaluations that end badly, on a real API server: each says why, grants nothing, recovers when the cause is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mandate.api.check import SpecError, load_spec
from mandate.api.names import ANNOTATION_RETRY, GRANT_NAME
from mandate.evaluate.frame import MARK, Failure, Result, frame
from mandate.kube.client import Object
from mandate.kube.resources import AUTONOMY_GRANTS, DEPLOYMENTS, JOBS, MODEL_DEPLOYMENTS, MODEL_EVALUATIONS
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.kubelet import Ended, Raw, container, now
from tests.integration.controller.process import eventually, operator
from tests.unit.controller.samples import evidence, mdep

GARBAGE = b"x" * 1023 + b"\n"


def _failure(code: str) -> Ended:
    line, termination = frame(Result(failure=Failure(stage="judge", code=code, message="as the test says")))
    return Ended(log=line.encode(), message=termination.dump(), code=3)


def _crash_loop(pod: Object) -> Raw:
    times = {"startedAt": now(), "finishedAt": now()}
    last = {"exitCode": 2, "reason": "Error", "message": "BadModel: no such operator", **times}
    done = {"exitCode": 0, "reason": "Completed", **times}
    backing_off = container(
        "predictor",
        pod,
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        restartCount=3,
        lastState={"terminated": last},
    )
    waiting = container("judge", pod, {"waiting": {"reason": "PodInitializing"}})
    fetched = container("fetch", pod, {"terminated": done})
    return Raw({"phase": "Pending", "initContainerStatuses": [fetched, backing_off], "containerStatuses": [waiting]})


def _unloadable(pod: Object) -> Raw:
    """The predictor has ended once, with the reason in its termination message; the judge waits for it."""
    times = {"startedAt": now(), "finishedAt": now()}
    failure = {"stage": "Predict", "code": "Unreadable", "message": "not a self-contained ONNX model: cut"}
    last = {"exitCode": 2, "reason": "Error", "message": json.dumps({"failure": failure}), **times}
    running = {"running": {"startedAt": now()}}
    again = container("predictor", pod, running, restartCount=1, lastState={"terminated": last})
    fetched = container("fetch", pod, {"terminated": {"exitCode": 0, "reason": "Completed", **times}})
    judge = container("judge", pod, running)
    return Raw({"phase": "Running", "initContainerStatuses": [fetched, again], "containerStatuses": [judge]})


CAUSES: dict[str, tuple[Callable[[Object], Any], str]] = {
    "prints garbage": (lambda _: Ended(log=GARBAGE, message="Segmentation fault"), "JudgeGarbled"),
    "prints 100 MB, then half a result": (
        lambda _: Ended(
            log=GARBAGE * 100_000 + f"{MARK} 1000 ".encode() + b"0" * 64 + b" H4sI",
            message=json.dumps({"sha256": "0" * 64}),
        ),
        "JudgeGarbled",
    ),
    "forges a result": (
        lambda _: Ended(log=good(evidence(0.99)).log, message=json.dumps({"sha256": "0" * 64})),
        "JudgeGarbled",
    ),
    "is killed for memory": (lambda _: Ended(code=137, reason="OOMKilled"), "JudgeOutOfMemory"),
    "says why": (lambda _: _failure("OneClass"), "OneClass"),
    "never starts, its model crash-looping": (_crash_loop, "PredictorCrashLoop"),
    "waits for a model that can't be loaded": (_unloadable, "Unreadable"),
    "runs out of time": (
        lambda _: Raw({"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active too long"}),
        "DeadlineExceeded",
    ),
}


async def _nothing_granted(world: World) -> None:
    grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
    assert grant is not None
    assert grant["spec"]["grants"] == {}
    assert await world.all(DEPLOYMENTS) == ()


@pytest.mark.parametrize("name", CAUSES)
async def test_a_judge_that(name: str, cluster: Path, tmp_path: Path) -> None:
    script, code = CAUSES[name]
    cured: list[bool] = []
    async with a_world(cluster, tmp_path, lambda pod: good(evidence(0.8)) if cured else script(pod)) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, max_attempts="2"):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("stalled", lambda item: condition(item, "Stalled") == ("True", code))
            assert condition(item, "Ready") == ("False", code)
            assert condition(item, "Evaluated") == ("False", code)
            await _nothing_granted(world)
            await world.until("no attempts left", _said("no attempts are left of 2"))
            await _nothing_granted(world)
            assert len(set(world.node.seen.values())) == 2, "two attempts, each with its own Job"

            cured.append(True)
            metadata = {"name": "credit", "namespace": world.namespace, "annotations": {ANNOTATION_RETRY: "once more"}}
            await world.client.merge(MODEL_DEPLOYMENTS, {"metadata": metadata})
            item = await world.until("served", lambda item: condition(item, "Ready") == ("True", "Serving"))
            assert item["status"]["level"] == "Suggest"


def _said(words: str) -> Callable[[Object], bool]:
    def found(item: Object) -> bool:
        conditions = (item.get("status") or {}).get("conditions") or ()
        return any(words in entry.get("message", "") for entry in conditions if entry["type"] == "Evaluated")

    return found


async def test_a_cause_that_goes_away_needs_nobody(cluster: Path, tmp_path: Path) -> None:
    tries: list[str] = []

    def script(pod: Object) -> Any:
        tries.append(pod["metadata"]["name"])
        return good(evidence(0.8)) if len(tries) >= 3 else _failure("NotFound")

    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("served", lambda item: condition(item, "Ready") == ("True", "Serving"))
            evaluations = await world.all(MODEL_EVALUATIONS)
    assert [evaluation["status"]["attempt"] for evaluation in evaluations] == [3]


async def test_an_evicted_pod_is_replaced_within_the_same_attempt(cluster: Path, tmp_path: Path) -> None:
    def script(pod: Object) -> Any:
        if len(world.node.seen) > 1:
            return good(evidence(0.8))
        disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": ""}
        return Raw({"phase": "Failed", "reason": "Evicted", "message": "drained", "conditions": [disrupted]})

    async with a_world(cluster, tmp_path, lambda pod: script(pod)) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("served", lambda item: condition(item, "Ready") == ("True", "Serving"))
            (evaluation,) = await world.all(MODEL_EVALUATIONS)
            assert (evaluation["status"].get("attempt"), evaluation["status"].get("failures")) == (1, 1)
            assert len(await world.all(JOBS)) == 1
            assert len(world.node.seen) == 2


async def test_a_hung_evaluation_ends_with_the_overall_deadline(cluster: Path, tmp_path: Path) -> None:
    running = Raw({"phase": "Running"})
    async with a_world(cluster, tmp_path, lambda _: running) as world:
        flags = {"evaluation_deadline": "3", "max_attempts": "1"}
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, **flags):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("ended", lambda item: condition(item, "Stalled") == ("True", "DeadlineExceeded"))
            await _nothing_granted(world)
            async for _ in eventually("the hung Job is deleted"):
                if not await world.all(JOBS):
                    break


async def test_a_spec_that_only_the_operator_refuses_is_stalled_in_the_words_of_the_command_line(
    cluster: Path, tmp_path: Path
) -> None:
    asked = {"name": "accurate", "metric": "accuracy", "require": {"Automate": ">= 0.9"}}
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.97))) as world:
        document = mdep(namespace=world.namespace, gates=[asked])
        with pytest.raises(SpecError, match="no gate asks anything at Shadow") as error:
            load_spec(document["spec"])
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await world.client.create(MODEL_DEPLOYMENTS, document)
            item = await world.until("it is stalled", lambda item: condition(item, "Stalled")[0] == "True")
            said = next(entry for entry in item["status"]["conditions"] if entry["type"] == "Stalled")
            assert (said["reason"], said["message"]) == ("InvalidSpec", str(error.value))
            assert not await world.all(MODEL_EVALUATIONS)

            await world.client.merge(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            await world.until("mended, it serves", lambda item: condition(item, "Ready") == ("True", "Serving"))
