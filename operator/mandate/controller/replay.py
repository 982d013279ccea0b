"""Shadow under the provider Service: which revision is asked again what others are asked, and how that goes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mandate.api.criteria import seconds
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_ENFORCE, workload_name
from mandate.controller import desired
from mandate.controller.choice import status_of
from mandate.controller.conditions import Finding, find
from mandate.controller.plan import Replay
from mandate.controller.snapshot import LiveUnavailable, ModelSnapshot
from mandate.evidence.replay import MOST_LEASE, ReplayOrder, ReplayState
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import Holder, State

CONDITION = "Replayed"
NOT_SWITCHED_ON = "no recorder replays; install the chart with recorder.enabled=true and recorder.replay=true"
"""Then nothing is held, either: orders are in a recorder's memory."""
LEASE = 600
"""Seconds for which the recorder goes on without a word of ours, at least."""


@dataclass(frozen=True)
class Replaying:
    """What the recorder is to be told, and how replays go where somebody waits for them."""

    actions: tuple[Replay, ...] = ()
    finding: Finding | None = None


def is_asked(spec: ModelDeploymentSpec | None) -> bool:
    """Whether the model wants its revision at Shadow to be asked again what others are asked."""
    return spec is not None and spec.serving.provider == "Service" and spec.serving.replay is not None


def concerns(snapshot: ModelSnapshot, spec: ModelDeploymentSpec | None) -> bool:
    """Whether the recorder has to be asked: replays are wanted, or were when the status was written."""
    return is_asked(spec) or find(status_of(snapshot.mdep).conditions, CONDITION) is not None


def receiver(state: State, spec: ModelDeploymentSpec | None) -> Holder | None:
    """Who is asked again: the one at Shadow, the candidate before the champion."""
    first = next(iter(desired_shares(state).mirrored), None) if is_asked(spec) else None
    holders = (state.candidate, state.champion)
    return next((each for each in holders if each is not None and each.revision == first), None)


def replaying(snapshot: ModelSnapshot, state: State, *, spec: ModelDeploymentSpec | None, now: float) -> Replaying:
    """What to tell the recorder so that it replays to whoever is at Shadow, and to nobody else."""
    known, metadata = snapshot.replay, snapshot.mdep["metadata"]
    stands = known.order if isinstance(known, ReplayState) else None
    end = Replay(metadata["namespace"], metadata["name"], None)
    holder = receiver(state, spec)
    if holder is None or spec is None:
        # The condition stands until the recorder says that nothing is held any more: by it we know whom to ask.
        if not _held(snapshot):
            return Replaying()
        return Replaying((end,), Finding(CONDITION, "False", "Ending", _ending(known)))
    if known is None:
        return Replaying()
    trouble = silence(snapshot, holder)
    if not _may_be_enrolled(snapshot):
        return Replaying((end,) if _held(snapshot) else (), Finding(CONDITION, "False", "NotEnrolled", trouble))
    if isinstance(known, LiveUnavailable):
        return Replaying((), Finding(CONDITION, "False", "RecorderUnavailable", trouble))
    if not _is_there(snapshot, holder):
        waits = Finding(CONDITION, "Unknown", "Starting", f"version {holder.version} can't be asked yet")
        return Replaying((end,) if stands is not None else (), waits)
    order = _order(snapshot, spec, holder)
    lasting = known.lapses is not None and instant(known.lapses) - now > order.lease_seconds / 2
    actions = () if stands == order and lasting else (Replay(metadata["namespace"], metadata["name"], order),)
    if stands is None or (stands.revision, stands.since) != (order.revision, order.since):
        return Replaying(actions, Finding(CONDITION, "Unknown", "Starting", "the recorder is being told"))
    if known.problem:
        return Replaying(actions, Finding(CONDITION, "False", "Unreachable", trouble))
    if trouble:
        return Replaying(actions, Finding(CONDITION, "Unknown", "NoInputs", trouble))
    return Replaying(actions, Finding(CONDITION, "True", "Replaying", _progress(known, holder)))


def _held(snapshot: ModelSnapshot) -> bool:
    """Whether inputs of the model may be held: an order stands, or may, as nobody says that it doesn't."""
    known = snapshot.replay
    if isinstance(known, ReplayState):
        return known.order is not None
    if known is None or known.reason == NOT_SWITCHED_ON:
        return False
    return find(status_of(snapshot.mdep).conditions, CONDITION) is not None


def _ending(known: ReplayState | LiveUnavailable | None) -> str:
    if isinstance(known, LiveUnavailable):
        return (
            "nobody is to be asked again any more, but the recorder can't be told, and is told again and again: "
            f"{known.reason}; what waits there is forgotten when it is told, starts anew, or its order lapses"
        )
    return "nobody is to be asked again any more; what waits is forgotten"


def silence(snapshot: ModelSnapshot, holder: Holder) -> str:
    """Why no replay reaches a revision at Shadow, and what to do about it; empty where one did, or may any moment."""
    known = snapshot.replay
    if known is None:
        return ""
    if not _may_be_enrolled(snapshot):
        name = snapshot.mdep["metadata"]["namespace"]
        return (
            "spec.serving.replay: requests are asked again in enrolled namespaces only, where nobody else can take the "
            f"version's place: kubectl label namespace {name} {LABEL_ENFORCE}=Labelled"
        )
    if isinstance(known, LiveUnavailable):
        return f"spec.serving.replay: {known.reason}"
    if known.problem:
        return (
            f"spec.serving.replay: {known.problem}; let the recorder's Pod reach version {holder.version} "
            "(NetworkPolicies of either namespace)"
        )
    if known.order is not None and known.replayed + known.waiting + known.dropped == 0:
        return (
            f"spec.serving.replay: no input came yet since version {holder.version} came to Shadow; another version "
            "has to answer requests in Mandate's model server, or send events dev.mandate.input yourself"
        )
    return ""


def _may_be_enrolled(snapshot: ModelSnapshot) -> bool:
    """Where the namespace can't be read, the network policy alone decides."""
    space = snapshot.namespace
    return space is None or LABEL_ENFORCE in (space["metadata"].get("labels") or {})


def _is_there(snapshot: ModelSnapshot, holder: Holder) -> bool:
    """Whether the revision's own Service is known to be there; whether anybody answers, the recorder finds out."""
    live = snapshot.services.get(workload_name(snapshot.mdep["metadata"]["name"], holder.revision))
    return live is not None and desired.is_ours(live, snapshot.mdep)


def _order(snapshot: ModelSnapshot, spec: ModelDeploymentSpec, holder: Holder) -> ReplayOrder:
    asked = spec.serving.replay
    assert asked is not None
    return ReplayOrder(
        revision=holder.revision,
        since=stamp(holder.since),
        rate=int(asked.rate.removesuffix("/s")),
        inputs=asked.inputs,
        keep_seconds=int(seconds(asked.keep)),
        lease_seconds=min(max(LEASE, int(4 * snapshot.settings.live_every)), MOST_LEASE),
    )


def _progress(known: ReplayState, holder: Holder) -> str:
    failed = f", {known.failed} of them failed" if known.failed else ""
    last = f" (last: {known.last_failure})" if known.last_failure else ""
    vain = f"; {known.dropped} were too many or too old" if known.dropped else ""
    return (
        f"version {holder.version} was asked {known.replayed} requests again{failed}{last}; {known.waiting} wait{vain}"
    )
