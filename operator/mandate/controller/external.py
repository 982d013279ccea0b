"""The provider External: somebody else's workloads serve the model, and divide its traffic. Pure.

The operator makes no Deployment, Service or route; Services NAME and NAME-suggest that it had made before stay, and
lead there. It makes one PodTemplate per level, named as the addresses of other providers are, which says whom to run
there; whoever rolls out takes it from there, as Argo Rollouts does by `workloadRef`. Admission lets a Pod in at the
levels that its revision is granted, and at no other. Which Pods there are is all that is seen of their traffic: a
revision that runs alone at a level has all of it, one of several has some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from mandate.api.criteria import LEVELS, Level
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.moments import instant, stamp
from mandate.api.names import LABEL_MODEL, LABEL_SERVES, shadow_name, suggest_name
from mandate.controller import desired, kserve, routing
from mandate.controller.conditions import Trouble
from mandate.controller.others import at, is_ready, revision_of
from mandate.controller.plan import Action, bring, delete
from mandate.controller.pods import serving_template
from mandate.controller.room import GRANT_FULL, no_room
from mandate.controller.serve import (
    Observed,
    Served,
    fallback_target,
    granted_level,
    led_elsewhere,
    name_taken,
    recorded,
    standing,
)
from mandate.controller.snapshot import ModelSnapshot
from mandate.rollout.gateway import GONE
from mandate.rollout.state import FALLBACK, Holder, Shares, State, rank

Object = dict[str, Any]

GRACE = 30.0
"""Seconds for which a PodTemplate goes on naming a candidate that lost the level: an analysis that asks for the verdict
aborts its rollout meanwhile, and says why. Then the template itself goes back."""
WAS_CHAMPION = ("RolledBack", "Degraded")
"""Reasons of refusals for which nobody waits: what was rolled out to the end has no analysis any more."""
SOME = Fraction(1, 100)
"""Percent of the traffic of a revision that shares a level with others, or isn't ready: nobody here knows how much."""
AS_GRANTED = "AsGranted"
NOT_SERVED = "NotServed"
ABOVE_GRANT = "AboveGrant"
HANDING_OVER = "HandingOver"


def template_names(model: str) -> Mapping[Level, str]:
    """The PodTemplate of each level."""
    return {"Automate": model, "Suggest": suggest_name(model), "Shadow": shadow_name(model)}


def has_taken_over(snapshot: ModelSnapshot, state: State) -> bool:
    """Whether nothing of ours serves, or whoever stands runs elsewhere by now, so that what is ours may go.

    As many Pods as ours must be ready there, and no route of ours lead to ours. While nobody stands, our addresses lead
    to the fallback, and stay; what only KServe can run stays ours to have it run.
    """
    held = standing(state)
    if routing.own(snapshot) or any(_is_kserves(snapshot, holder) for holder in held):
        return False
    if not any(not _is_handed_over(item) for item in _ours(snapshot)):
        return True
    return bool(held) and all(
        _served_by(snapshot, holder) >= max(1, _own_pods(snapshot, holder.revision)) for holder in held
    )


def observe(snapshot: ModelSnapshot) -> Observed:
    """Who serves, as far as Pods show it."""
    ready = frozenset(revision_of(pod) for pod in snapshot.pods if is_ready(pod))
    shares = Shares(
        automate=_split(snapshot, "Automate"),
        suggest=_split(snapshot, "Suggest"),
        mirrored=tuple(sorted({revision_of(pod) for pod in at(snapshot, "Shadow") if is_ready(pod)})),
    )
    return Observed(shares, ready)


def serve(snapshot: ModelSnapshot, state: State, *, spec: ModelDeploymentSpec | None, now: float) -> Served:
    """The PodTemplates for `state`, and what is found of others' Pods; `spec` is None where it isn't understood.

    Addresses of ours lead to others' Pods first. What we served with before goes when whoever sends requests there
    knows of that.
    """
    name = snapshot.mdep["metadata"]["name"]
    waiting: list[str] = []
    trouble: list[Trouble] = []
    for holder in standing(state):
        if granted_level(snapshot.grant, holder) is None:
            full = no_room(snapshot.grant, name)
            if full:
                trouble.append(Trouble(GRANT_FULL, f"version {holder.version}: {full}", holder.revision))
            else:
                waiting.append(f"version {holder.version} waits for its entry in the namespace's AutonomyGrant")
    named = templates_for(snapshot, state, now=now)
    turned = _addresses(snapshot, state, spec=spec, now=now)
    left = _leave_ours(snapshot)
    later = (named.again, turned.again if left else None)
    return Served(
        (*named.actions, *turned.actions, *(left if turned.again is None else ())),
        tuple(waiting),
        (*trouble, *named.trouble),
        turned.fallback,
        again=min((each for each in later if each is not None), default=None),
        elsewhere=_elsewhere(snapshot, state),
    )


def hand_over(snapshot: ModelSnapshot, state: State, *, now: float) -> Served:
    """As long as what is ours still serves: only the PodTemplates, and what is waited for."""
    named = templates_for(snapshot, state, now=now)
    found = _elsewhere(snapshot, state)
    routed = sorted(routing.own(snapshot))
    words = (
        f"the operator's own Deployments go once others serve in their place and HTTPRoute {', '.join(routed)} is "
        "gone: make routes of your own to your Pods for its host names, then delete it"
        if routed
        else "the operator's own Deployments go once others serve in their place"
    )
    return replace(named, elsewhere=_above(snapshot, state) or Trouble(HANDING_OVER, f"{words}: {found.message}"))


def templates_for(snapshot: ModelSnapshot, state: State, *, now: float) -> Served:
    """What makes the PodTemplates say whom to run."""
    mdep = snapshot.mdep
    actions: list[Action] = []
    trouble: list[Trouble] = []
    again: list[float] = []
    for level, called in template_names(mdep["metadata"]["name"]).items():
        live = snapshot.templates.get(called)
        if live is not None and not desired.is_ours(live, mdep):
            trouble.append(name_taken("PodTemplate", called))
            continue
        left = _grace(snapshot, state, level, live, now)
        if left > 0:
            again.append(left)
            continue
        # Where nobody may serve any more it stays as it is: without one, a rollout can't even be aborted.
        document = _template(snapshot, level, called, _named(snapshot, state, level))
        actions += bring(document, live) if document is not None else ()
    return Served(tuple(actions), trouble=tuple(trouble), again=min(again, default=None))


def leave(snapshot: ModelSnapshot) -> tuple[Action, ...]:
    """Take the PodTemplates away: another provider serves the model now, and no Pod of others' runs any more."""
    if snapshot.pods:
        return ()
    ours = (item for item in snapshot.templates.values() if desired.is_ours(item, snapshot.mdep))
    return tuple(delete(item) for item in ours if not item["metadata"].get("deletionTimestamp"))


def left(snapshot: ModelSnapshot, state: State) -> Trouble | None:
    """What others still serve where another provider serves the model by now; None where they serve nothing."""
    if not snapshot.pods:
        return None
    running = f"Pods of others still serve {_served(snapshot, state)}"
    return _above(snapshot, state) or Trouble(AS_GRANTED, f"{running}: end them once nobody asks them any more")


def _ours(snapshot: ModelSnapshot) -> tuple[Object, ...]:
    """The Services and workloads that we made."""
    led = (*snapshot.services.values(), *(snapshot.inference_services or {}).values(), *snapshot.deployments)
    return tuple(item for item in led if desired.is_ours(item, snapshot.mdep))


def _is_handed_over(item: Object) -> bool:
    """Whether it is one of the addresses that lead to others' Pods: those say since when."""
    return desired.ANNOTATION_STEPPED in (item["metadata"].get("annotations") or {})


def _leave_ours(snapshot: ModelSnapshot) -> tuple[Action, ...]:
    """Take away what we served with; addresses stay, as nobody knows who asks there."""
    policies = (item for item in (snapshot.policies or {}).values() if desired.is_ours(item, snapshot.mdep))
    return tuple(
        delete(item)
        for item in (*policies, *_ours(snapshot))
        if not _is_address(snapshot, item) and not item["metadata"].get("deletionTimestamp")
    )


def _is_address(snapshot: ModelSnapshot, item: Object) -> bool:
    model = snapshot.mdep["metadata"]["name"]
    return item["kind"] == "Service" and item["metadata"]["name"] in (model, suggest_name(model))


def _addresses(snapshot: ModelSnapshot, state: State, *, spec: ModelDeploymentSpec | None, now: float) -> Served:
    """What makes the Services NAME and NAME-suggest that we had made lead to others' Pods, or else to the fallback.

    `again` is in how many seconds whoever sends requests there knows of it; None where everybody does.
    """
    mdep = snapshot.mdep
    name = mdep["metadata"]["name"]
    targets, found = fallback_target(snapshot, spec.use_case.fallback if spec is not None else None)
    actions: list[Action] = []
    waits: list[float] = []
    levels: tuple[Level, ...] = ("Automate", "Suggest")
    for address, level in zip((name, suggest_name(name)), levels, strict=True):
        live = snapshot.services.get(address)
        if live is None or not desired.is_ours(live, mdep) or live["metadata"].get("deletionTimestamp"):
            continue
        theirs = led_elsewhere(snapshot, state, level)
        selector, port = targets if theirs is None else (theirs, "http")
        if theirs is None and spec is None and LABEL_MODEL not in live["spec"]["selector"]:
            # Nobody knows the fallback, and it leads there.
            selector, port = live["spec"]["selector"], live["spec"]["ports"][0]["targetPort"]
        document = desired.service(mdep, address, selector=selector, port=port)
        since = _turned(live)
        same = live["spec"]["selector"] == selector and since is not None and since <= now + 1
        moment = since if same and since is not None else math.ceil(now)
        document["metadata"]["annotations"] = {desired.ANNOTATION_STEPPED: stamp(moment)}
        actions += bring(document, live)
        waits.append(moment + GONE - now)
    left = max(waits, default=0.0)
    return Served(tuple(actions), fallback=found if waits else "", again=left if left > 0 else None)


def _turned(service: Object) -> float | None:
    """Since when an address leads where it does; None where it isn't handed over."""
    moment = (service["metadata"].get("annotations") or {}).get(desired.ANNOTATION_STEPPED)
    return instant(moment) if moment else None


def _grace(snapshot: ModelSnapshot, state: State, level: Level, live: Object | None, now: float) -> float:
    """For how many seconds the template of a level goes on naming the candidate that has lost it and still runs."""
    candidate = state.candidate
    if candidate is None or live is None or revision_of(live) != candidate.revision:
        return 0.0
    if all(revision_of(pod) != candidate.revision for pod in at(snapshot, level)):
        return 0.0
    refusal = state.refusal(candidate.revision)
    waits = refusal is None or refusal.reason not in WAS_CHAMPION
    # Where the clock was set back nobody knows since when: it isn't named until the clock gets there.
    known = candidate.stepped <= now + 1
    return candidate.stepped + GRACE - now if waits and known and rank(candidate.rung.level) < rank(level) else 0.0


def _named(snapshot: ModelSnapshot, state: State, level: Level) -> Holder | None:
    """Who should run at a level: the candidate before the champion, if state and grant let it."""
    for holder in (state.candidate, state.champion):
        if holder is None or holder.leaving is not None:
            continue
        granted = granted_level(snapshot.grant, holder)
        if rank(holder.rung.level) >= rank(level) and rank(granted) >= rank(level):
            return holder
    return None


def _template(snapshot: ModelSnapshot, level: Level, called: str, holder: Holder | None) -> Object | None:
    if holder is None or holder.model_digest is None:
        return None
    kept = recorded(snapshot.revisions, holder.revision, images=snapshot.settings.images)
    if kept is None or kserve.is_asked(kept.spec):
        return None  # nobody but KServe can make Pods as they are granted
    metadata = snapshot.mdep["metadata"]
    template = serving_template(
        namespace=metadata["namespace"],
        model_name=metadata["name"],
        revision=holder.revision,
        spec=kept.spec,
        images=kept.images,
        digest=holder.model_digest,
        recorder_url=snapshot.settings.recorder_url,
    )
    return desired.pod_template(snapshot.mdep, called, level=level, revision=holder.revision, template=template)


def _split(snapshot: ModelSnapshot, level: Level) -> Mapping[str, int | Fraction]:
    pods = at(snapshot, level)
    there, ready = ({revision_of(pod) for pod in every} for every in (pods, filter(is_ready, pods)))
    if len(there) == 1 and there == ready:
        return dict.fromkeys(there, 100)
    return dict.fromkeys(sorted(there), SOME) if there else {FALLBACK: 100}


def _above(snapshot: ModelSnapshot, state: State) -> Trouble | None:
    """Who serves above what is granted."""
    granted = state.granted()
    above = sorted(
        {
            f"revision {revision_of(pod)} at {level}"
            for level in LEVELS
            for pod in at(snapshot, level)
            if rank(level) > rank(granted.get(revision_of(pod)))
        }
    )
    if not above:
        return None
    return Trouble(
        ABOVE_GRANT,
        f"Pods serve above what is granted: {', '.join(above)}; new ones are refused, but these run on: take them "
        "out of traffic, or roll back",
    )


def _elsewhere(snapshot: ModelSnapshot, state: State) -> Trouble:
    """What others serve, held against what is granted."""
    above = _above(snapshot, state)
    if above is not None:
        return above
    missing = [holder for holder in standing(state) if not _served_by(snapshot, holder)]
    if missing:
        return Trouble(NOT_SERVED, "; ".join(_to_run(snapshot, holder) for holder in missing))
    return Trouble(AS_GRANTED, _served(snapshot, state))


def _served(snapshot: ModelSnapshot, state: State) -> str:
    """What others serve, in words."""
    versions = {item.revision: item.version for item in standing(state)}
    return ", ".join(
        f"version {versions.get(revision, revision)} at {level}"
        for level in LEVELS
        for revision in sorted({revision_of(pod) for pod in at(snapshot, level)})
    )


def _to_run(snapshot: ModelSnapshot, holder: Holder) -> str:
    """What is to be done so that others serve a revision, where anything can be."""
    name = snapshot.mdep["metadata"]["name"]
    who, level = f"version {holder.version} at {holder.rung}", holder.rung.level or "Shadow"
    if _is_kserves(snapshot, holder):
        return f"{who}: only KServe can make its Pods; it serves until another version has taken its place"
    return f"{who}: no Pod is ready with {LABEL_SERVES}={level}; run PodTemplate {template_names(name)[level]}"


def _is_kserves(snapshot: ModelSnapshot, holder: Holder) -> bool:
    """Whether nobody but KServe can make the Pods of whom `holder` names."""
    kept = recorded(snapshot.revisions, holder.revision, images=snapshot.settings.images)
    return kept is not None and kserve.is_asked(kept.spec)


def _served_by(snapshot: ModelSnapshot, holder: Holder) -> int:
    """How many Pods of others' serve it at its level."""
    pods = at(snapshot, holder.rung.level) if holder.rung.level is not None else ()
    return sum(revision_of(pod) == holder.revision and is_ready(pod) for pod in pods)


def _own_pods(snapshot: ModelSnapshot, revision: str) -> int:
    """How many Pods of ours serve a revision."""
    ours = (item for item in snapshot.deployments if desired.is_ours(item, snapshot.mdep))
    return sum(
        int((item.get("status") or {}).get("availableReplicas") or 0) for item in ours if revision_of(item) == revision
    )
