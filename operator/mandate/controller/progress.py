"""Where an attempt at an evaluation stands, read from its Job and Pods. Pure.

Kubernetes says why something failed in many places; here they become one named cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mandate.api.moments import age, elapsed, instant
from mandate.controller.intake import IntakeError
from mandate.controller.pods import BASELINE_CONTAINERS, EVALUATION_GRACE
from mandate.evaluate.frame import FrameError, read_termination
from mandate.evidence.schema import Evidence

Object = Mapping[str, Any]


class Server(NamedTuple):
    """How to speak of a model server of an evaluation Pod."""

    field: str
    crash_loop: str
    whose: str


SERVERS = {
    "predictor": Server("spec.model.source", "PredictorCrashLoop", "the model's"),
    "champion": Server("spec.champion.source", "ChampionCrashLoop", "the champion's"),
}
"""By container."""

CRASH_LOOP = 3
"""Restarts of a model server before the judge could start, after which waiting on is pointless."""

KILLED = 128 + 9
"""Exit code of what got SIGKILL. The runtime hears of memory that ran out apart from the end, and may miss it."""

UNLOADABLE = ("NotFound", "DigestMismatch", "Unreadable", "UnsupportedInput", "UnsupportedModel", "UnknownOutput")
"""What our model server says of a file that it can't load. A closed list: a user's own container may say anything."""


@dataclass(frozen=True)
class Under:
    """Under way, or waiting for what `reason` names."""

    reason: str
    message: str
    disruptions: int = 0


@dataclass(frozen=True)
class Failed:
    """Ended without evidence: not judged."""

    code: str
    message: str
    disruptions: int = 0


@dataclass(frozen=True)
class Measured:
    """Ended with evidence."""

    evidence: Evidence
    disruptions: int = 0


Progress = Under | Failed | Measured


def pod_to_read(pods: Iterable[Object]) -> tuple[str, str] | None:
    """The Pod whose judge left a result in its log, with its termination message; None where none did."""
    pod = latest(pods)
    ended = _ended(pod, "judge") if pod is not None else None
    if pod is None or ended is None or ended.get("exitCode") != 0:
        return None
    return str(pod["metadata"]["name"]), str(ended.get("message") or "")


def progress(
    *, job: Object | None, pods: Iterable[Object], result: Evidence | IntakeError | None, now: float, deadline: float
) -> Progress:
    """Where the attempt stands at `now` (seconds since the epoch); it may take `deadline` seconds in all.

    `result` is what was read from the Pod that `pod_to_read` names.
    """
    every = tuple(pods)
    disruptions = sum(1 for pod in every if _disrupted(pod))
    found = _progress(job, latest(every), result, disruptions)
    if not isinstance(found, Under) or job is None:
        return found
    taken = elapsed(str(job["metadata"]["creationTimestamp"]), now)
    if taken < deadline:
        return found
    return Failed(
        "DeadlineExceeded", f"no result within {deadline:g} s; last seen: {found.reason}: {found.message}", disruptions
    )


def _progress(
    job: Object | None, pod: Object | None, result: Evidence | IntakeError | None, disruptions: int
) -> Progress:
    if job is None:
        return Under("Pending", "the Job isn't created yet", disruptions)
    over = _over(job)
    if pod is None or _disrupted(pod):
        if over is not None:
            return Failed("PodLost", f"the Job ended and its Pod is gone: {over.get('message') or 'no reason given'}")
        if pod is None:
            return Under("WaitingForPod", "the Job controller hasn't created the Pod yet; see the Job's events")
        return Under("Disrupted", f"{_disruption(pod)}; the Pod is being replaced", disruptions)
    if isinstance(result, Evidence):
        return Measured(result, disruptions)
    if isinstance(result, IntakeError):
        return Failed(result.code, result.message, disruptions)
    cause = _cause(pod, over=over is not None or _over_with(pod))
    if cause is not None:
        return Failed(cause[0], cause[1][:2048], disruptions)
    if over is not None and over.get("type") == "Failed":
        return Failed("JobFailed", f"{over.get('reason')}: {over.get('message') or 'no reason given'}", disruptions)
    return Under(*_waiting(pod), disruptions)


def untold(job: Object | None, pods: Iterable[Object]) -> bool:
    """Whether the Job has ended, and what is known of its Pods doesn't say how: Jobs end after their Pods have."""
    pod = latest(pods)
    return job is not None and finished(job) and (pod is None or _disrupted(pod) or not _over_with(pod))


def latest(pods: Iterable[Object]) -> Object | None:
    """The youngest Pod."""
    return max(pods, key=age, default=None)


def ending(pods: Iterable[Object]) -> bool:
    """Whether the youngest Pod has given all it can give, so that the Job controller is about to end its Job."""
    pod = latest(pods)
    return pod is not None and (_over_with(pod) or _ended(pod, "judge") is not None)


def finished(job: Object) -> bool:
    """Whether the Job controller has ended the Job."""
    return _over(job) is not None


def _over(job: Object) -> Object | None:
    """The condition by which the Job controller has ended the Job."""
    return _condition(job, "Failed") or _condition(job, "Complete")


def _cause(pod: Object, *, over: bool) -> tuple[str, str] | None:
    """Why the Pod can't give a result any more, or None while it may, or while it isn't known in full."""
    fetch = _ended(pod, "fetch")
    if fetch is not None and fetch.get("exitCode") != 0:
        return _exit("Fetch", fetch)
    judge = _ended(pod, "judge")
    if (judge or {}).get("exitCode") != 0 and (refused := _unloadable(pod)) is not None:
        return refused
    if judge is not None and judge.get("exitCode") != 0 and not _pod_reason(pod):
        code, message = _exit("Judge", judge)
        stories = _stories(pod) if code.startswith("Predictor") else ""
        if code == "PredictorCrashed" and not stories and not over:
            return None  # the kubelet may hear of the server's end after the judge's
        return code, message + stories
    if judge is not None and judge.get("exitCode") == 0:
        return None  # its result is being read
    if reason := _pod_reason(pod):
        message = (pod.get("status") or {}).get("message") or "the kubelet ended the Pod"
        return reason, f"{message}{_stories(pod)}"
    if "running" not in (_status(pod, "judge").get("state") or {}):
        for server, words in (SERVERS | _baselines(pod)).items():
            if _status(pod, server).get("restartCount", 0) >= CRASH_LOOP:
                return words.crash_loop, f"{words.whose} container doesn't stay up{_story(pod, server)}"
    if _phase(pod) == "Failed":
        return "PodFailed", (pod.get("status") or {}).get("message") or "the Pod failed without saying why"
    return None


def _baselines(pod: Object) -> dict[str, Server]:
    """The baselines' containers. Once the judge runs, what they do is its affair: it takes them for answers only."""
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    named = (str(status.get("name")) for status in statuses)
    return {
        name: Server(f"spec.baselines[{baseline}]", "BaselineCrashLoop", f"baseline {baseline!r}: its")
        for name in named
        if (baseline := name.removeprefix(BASELINE_CONTAINERS)) != name
    }


def _exit(role: str, ended: Object) -> tuple[str, str]:
    if ended.get("reason") == "OOMKilled":
        return f"{role}OutOfMemory", f"{role.lower()} was killed: it needed more memory than its limit"
    text = str(ended.get("message") or "")
    try:
        failure = read_termination(text).failure
    except FrameError:
        failure = None
    if failure is not None:
        where = f"{failure.field}: " if failure.field else ""
        return failure.code, f"{where}{failure.message}"
    said = f": {text[:512]}" if text else ""
    return f"{role}Crashed", f"{role.lower()} ended with exit code {ended.get('exitCode')}{said}"


def _unloadable(pod: Object) -> tuple[str, str] | None:
    """Why a model can't be loaded, where its server says so; it would only say so again at every restart."""
    for server, words in SERVERS.items():
        ended = _last_ended(_status(pod, server))
        try:
            failure = read_termination(str(ended.get("message") or "")).failure
        except FrameError:
            continue
        if ended.get("exitCode") and failure is not None and failure.code in UNLOADABLE:
            return failure.code, f"{words.field}: {failure.message}"
    return None


def _last_ended(status: Object) -> Object:
    """How a container ended before it was started again, or else how it ended; empty where it never did."""
    last, state = status.get("lastState") or {}, status.get("state") or {}
    return last.get("terminated") or state.get("terminated") or {}


def _stories(pod: Object) -> str:
    """How the model servers last ended by themselves, in words."""
    return "".join(_story(pod, server) for server in SERVERS)


def _story(pod: Object, server: str) -> str:
    """How a model server last ended by itself, in words; empty where it never did, or it isn't known any more."""
    status = _status(pod, server)
    ended = _last_ended(status)
    starved = ended.get("reason") == "OOMKilled"
    if not (ended.get("exitCode") or starved):
        return _restarts(pod, server)
    killed = ended.get("exitCode") == KILLED
    after = _after((_ended(pod, "judge") or {}).get("finishedAt"), ended.get("finishedAt"))
    if not starved and (after >= EVALUATION_GRACE if killed else after > 0):
        # It was stopped, as the judge had ended; what ignores that is killed, but only so long after.
        return _restarts(pod, server)
    why = "out of memory" if starved else f"exit code {ended.get('exitCode')}"
    why += ": killed, as where a container runs out of memory" if killed and not starved else ""
    said = f": {str(ended['message'])[:512]}" if ended.get("message") else ""
    times = int(status.get("restartCount", 0)) + 1
    return f"; {server} ended {times} time{'s' if times > 1 else ''}, last with {why}{said}"


def _restarts(pod: Object, server: str) -> str:
    """That a server had been started again, where nothing is left of how it ended before: the kubelet may clear it.

    Servers start before the judge does, so one that started after it was started again.
    """
    status = _status(pod, server)
    later = _after((_ended(pod, "judge") or {}).get("startedAt"), _last_ended(status).get("startedAt")) > 0
    times = max(int(status.get("restartCount", 0)), int(later))
    if not times or (status.get("lastState") or {}).get("terminated"):
        return ""
    ended = f"; {server} ended {times} time{'s' if times > 1 else ''} and was started again"
    return f"{ended}; the kubelet no longer says why, most often it was out of memory"


def _after(judged: str | None, ended: str | None) -> float:
    """Seconds from one moment to the other, whole ones as the kubelet writes them; 0 where one isn't known."""
    return elapsed(judged, instant(ended)) if judged and ended else 0.0


def _waiting(pod: Object) -> tuple[str, str]:
    """What a Pod that hasn't ended is waiting for."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return "Unschedulable", str(condition.get("message") or "no node takes the Pod")
    for name in ("fetch", *SERVERS, *_baselines(pod), "judge"):
        waiting = (_status(pod, name).get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason and reason not in ("PodInitializing", "ContainerCreating"):
            return "ContainerWaiting", f"{name}: {reason}: {waiting.get('message') or ''}".rstrip(": ")
    return "Running", f"Pod {pod['metadata']['name']} is {_phase(pod) or 'starting'}"


def _pod_reason(pod: Object) -> str:
    """`DeadlineExceeded`, `Evicted`, … where the kubelet itself ended the Pod."""
    return str((pod.get("status") or {}).get("reason") or "") if _phase(pod) == "Failed" else ""


def _disrupted(pod: Object) -> bool:
    """Whether a disruption ended the Pod, or is ending it: its containers stop one after the other, the judge first."""
    if _condition(pod, "DisruptionTarget") is None:
        return False
    stopping = pod["metadata"].get("deletionTimestamp") is not None and _phase(pod) != "Succeeded"
    done = (_ended(pod, "judge") or {}).get("exitCode") == 0
    return _phase(pod) == "Failed" or (stopping and not done)


def _disruption(pod: Object) -> str:
    condition = _condition(pod, "DisruptionTarget") or {}
    return f"{condition.get('reason')}: {condition.get('message') or 'the Pod was disrupted'}"


def _over_with(pod: Object) -> bool:
    """Whether all its containers have ended for good."""
    return _phase(pod) in ("Succeeded", "Failed")


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def _condition(item: Object, kind: str) -> Object | None:
    """The condition of this type, if it is True."""
    for condition in (item.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            return dict(condition)
    return None


def _status(pod: Object, container: str) -> Object:
    status = pod.get("status") or {}
    for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if item.get("name") == container:
            return dict(item)
    return {}


def _ended(pod: Object, container: str) -> Object | None:
    return (_status(pod, container).get("state") or {}).get("terminated") or None
