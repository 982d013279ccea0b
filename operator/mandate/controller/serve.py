"""What serves: Deployments or InferenceServices of the revisions that hold a level, and the two addresses. Pure.

The level is part of the address. NAME answers only with what may act, NAME-suggest answers people; both fall back to
the declared fallback, and to nobody where there is none. Traffic moves up only onto Pods that are ready, and down at
once. A Service has one answer for all: of shares, whoever has the largest gets everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from mandate.api.criteria import Level
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.moments import age
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, nobody_name, suggest_name, workload_name
from mandate.api.spec import Fallback
from mandate.controller import desired, kserve, others, replay, routing
from mandate.controller.choice import evaluation_of
from mandate.controller.conditions import Finding, Trouble
from mandate.controller.plan import Action, Create, bring, delete
from mandate.controller.room import GRANT_FULL, no_room
from mandate.controller.settings import Images
from mandate.controller.snapshot import ModelSnapshot
from mandate.evidence.measurement import key, revision_digest
from mandate.rollout.shares import desired_shares
from mandate.rollout.state import FALLBACK, Holder, Shares, State, rank

Object = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """A revision's spec and images as its ControllerRevision keeps them."""

    spec: ModelDeploymentSpec
    images: Images


@dataclass(frozen=True)
class Observed:
    """What is true now: where each address leads, who has a Pod that is ready, who can't get one, in words.

    `copied` is the share of requests, by revision, that it is sent copies of. Where nobody but the caller can copy,
    callers are taken at their word: all requests, for who has a Pod.
    """

    true: Shares
    ready: frozenset[str]
    broken: Mapping[str, str] = field(default_factory=dict)
    copied: Mapping[str, Fraction] = field(default_factory=dict)

    def answering(self, revision: str) -> Level | None:
        """The highest address that leads to this revision."""
        if self.true.automate.get(revision, 0) > 0:
            return "Automate"
        return "Suggest" if self.true.suggest.get(revision, 0) > 0 else None


@dataclass(frozen=True)
class Served:
    """What is to be done so that the state is served.

    `waiting` says what isn't there yet, `trouble` what a person must resolve; `fallback` is a finding about the
    fallback Service, empty where there is none. `again` is in how many seconds to look again. `elsewhere` is what is
    found where somebody else's workloads serve.
    """

    actions: tuple[Action, ...]
    waiting: tuple[str, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    fallback: str = ""
    again: float | None = None
    findings: tuple[Finding, ...] = ()
    elsewhere: Trouble | None = None


def standing(state: State) -> tuple[Holder, ...]:
    """Those that hold a level, the champion first."""
    return tuple(item for item in (state.champion, state.candidate) if item is not None and item.rung.level is not None)


def record(snapshot: ModelSnapshot, spec: ModelDeploymentSpec) -> tuple[Create, ...]:
    """Keep the present spec as a ControllerRevision, unless it is kept already."""
    model = snapshot.mdep["metadata"]["name"]
    name = workload_name(model, revision_digest(model, spec))
    if any(item["metadata"]["name"] == name for item in snapshot.revisions):
        return ()
    images = images_of(snapshot, key(revision_digest(model, spec)))
    return (Create(desired.controller_revision(snapshot.mdep, spec, images=images)),)


def images_of(snapshot: ModelSnapshot, revision: str) -> Images:
    """The images that a revision is measured and served with: those it was first seen with, the judge's aside.

    They are on its ControllerRevision. Where a ModelDeployment was deleted and made again that is gone, but not the
    evidence, nor what it was measured with. A revision of which neither is known takes the present images.
    """
    present = snapshot.settings.images
    kept = recorded(snapshot.revisions, revision, images=present)
    if kept is not None:
        return kept.images
    for meval in sorted(snapshot.mevals, key=age):
        spec = evaluation_of(meval)
        if spec is not None and spec.revision == revision and spec.images is not None:
            then = {"fetch": spec.images.fetch, "predictor": spec.images.predictor}
            return replace(present, **then, recording=present.recording or present.predictor)
    return present


def recorded(revisions: tuple[Object, ...], revision: str, *, images: Images) -> Recorded | None:
    """What is recorded of `revision`; None where nothing is, or nothing that this version understands."""
    for item in revisions:
        if (item["metadata"].get("labels") or {}).get(LABEL_REVISION) != revision:
            continue
        data = item.get("data") or {}
        try:
            spec = ModelDeploymentSpec.model_validate(data["spec"])
            kept = Images(
                fetch=data["images"]["fetch"],
                judge=images.judge,
                predictor=data["images"]["predictor"],
                recording=data["images"].get("recording", ""),
            )
        except (KeyError, TypeError, ValueError):
            return None
        model = item["metadata"]["labels"].get(LABEL_MODEL, "")
        if key(revision_digest(model, spec)) != revision:
            return None
        if not kept.recording:  # it is from before there was a sidecar
            spec = spec.model_copy(update={"serving": spec.serving.model_copy(update={"recording": "Model"})})
        return Recorded(spec, kept)
    return None


def observe(snapshot: ModelSnapshot, spec: ModelDeploymentSpec | None) -> Observed:
    """What the routes say, or else the addresses' selectors, and the Deployments.

    A Service copies no requests to anyone: a revision counts as mirrored once it runs. How much it must have seen is
    the spec's to say (minPredictions).
    """
    name = snapshot.mdep["metadata"]["name"]
    automate, suggest = _selected(snapshot, name), _selected(snapshot, suggest_name(name))
    deployments = _deployments(snapshot)
    # Whoever scales a Deployment changes it, and until its controller has looked nothing is said of what runs on.
    ready = frozenset(revision for revision, item in deployments.items() if _ready_pods(item) > 0)
    broken = {revision: why for revision, item in deployments.items() if (why := _broken(item))}
    if routing.is_asked(snapshot, spec):
        selected = {name: automate, suggest_name(name): suggest}
        shares = routing.true_shares(snapshot, selected=selected)
        return Observed(shares, ready, broken, routing.copied(snapshot))
    shares = Shares(automate={automate: 100}, suggest={suggest: 100}, mirrored=tuple(sorted(ready)))
    return Observed(shares, ready, broken, dict.fromkeys(ready, Fraction(1)))


def serve(
    snapshot: ModelSnapshot,
    state: State,
    *,
    spec: ModelDeploymentSpec | None,
    declared: Fallback | None,
    now: float,
) -> Served:
    """Actions and findings for `state`; `spec` is the present one, `declared` the fallback that it declares.

    Without a spec, as one isn't understood or is for others to serve by, each Deployment keeps its number of replicas,
    and an address stays as it is unless it leads to whom it mayn't lead any more.
    """
    mdep = snapshot.mdep
    name = mdep["metadata"]["name"]
    actions: list[Action] = []
    waiting: list[str] = []
    trouble: list[Trouble] = []
    deployments, workloads = _deployments(snapshot), _workloads(snapshot)
    wanted: set[str] = set()
    for holder in standing(state):
        wanted.add(holder.revision)
        live = workloads.get(holder.revision)
        document, why = _workload(snapshot, holder, live, spec=spec)
        full = no_room(snapshot.grant, name) if granted_level(snapshot.grant, holder) is None else ""
        if full:
            trouble.append(Trouble(GRANT_FULL, f"version {holder.version}: {full}", holder.revision))
        elif why:
            waiting.append(why)
        if document is not None and document["kind"] == kserve.KIND and snapshot.inference_services is None:
            trouble.append(Trouble("KServeMissing", kserve.MISSING, holder.revision))
        elif document is not None:
            kind, made = document["kind"], document["metadata"]["name"]
            taken = [item for item in _named(snapshot, kind, made) if not desired.is_ours(item, mdep)]
            if taken:
                trouble.append(name_taken(kind, made))
            else:
                actions += (kserve.bring if kind == kserve.KIND else bring)(document, live)
                if not available(deployments.get(holder.revision)):
                    waiting.append(f"{kind} {made} has no Pod ready yet")
                if kind == kserve.KIND and live is not None and (words := kserve.finding(live, now)):
                    trouble.append(Trouble("InferenceServiceNotServed", words, holder.revision))
    selected: set[str] = set()
    targets, found = fallback_target(snapshot, declared)
    place = (declared.service_ref.name, declared.service_ref.port) if declared is not None and not found else None
    levels: tuple[Level, ...] = ("Automate", "Suggest")
    for address, level in zip((name, suggest_name(name)), levels, strict=True):
        live = snapshot.services.get(address)
        if live is not None and not desired.is_ours(live, mdep):
            trouble.append(name_taken("Service", address))
            continue
        leads = _selected(snapshot, address)
        answers = _answers(snapshot, state, deployments, now=leads, level=level)
        theirs = led_elsewhere(snapshot, state, level)
        selector, port = targets if theirs is None else (theirs, "http")
        if answers != FALLBACK:
            selector, port = {LABEL_MODEL: name, LABEL_REVISION: answers}, "http"
            selected.add(answers)
        document = desired.service(mdep, address, selector=selector, port=port)
        astray = others.is_led_to(live) and live is not None and live["spec"]["selector"] != theirs
        astray = astray or not _may(state, leads, level) or (leads == FALLBACK and place is not None)
        turned = bring(document, live) if spec is not None or astray else ()
        actions += turned
        if turned:
            waiting.append(f"Service {address} is being turned to who may answer there")
        if leads != FALLBACK:
            selected.add(leads)
    behind, refused = _replayed(snapshot, state, deployments, spec=spec)
    actions += behind
    trouble += refused
    routed = _routed(snapshot, state, deployments, spec=spec, fallback=place, wanted=wanted, now=now)
    busy = selected | routing.held(snapshot, now)
    actions += routed.actions
    for revision, item in workloads.items():
        if revision not in wanted and revision not in busy and not _leaving(item):
            actions.append(delete(item))
    shadow = replay.receiver(state, spec)
    kept = wanted if routing.is_asked(snapshot, spec) else {shadow.revision} if shadow is not None else set[str]()
    actions += _superfluous(snapshot, spec=spec, kept=kept, fallback=place, now=now)
    of_kserve = [item for item in workloads.values() if item["kind"] == kserve.KIND]
    later = (routed.again, routing.settles(snapshot, now), *(kserve.patience(item, now) for item in of_kserve))
    return Served(
        tuple(actions),
        (*waiting, *routed.waiting),
        (*trouble, *routed.trouble),
        found,
        min((each for each in later if each is not None), default=None),
        routed.findings,
    )


def _replayed(
    snapshot: ModelSnapshot,
    state: State,
    deployments: Mapping[str, Object],
    *,
    spec: ModelDeploymentSpec | None,
) -> tuple[tuple[Action, ...], tuple[Trouble, ...]]:
    """The Service at which the revision at Shadow is asked what others are asked."""
    holder = replay.receiver(state, spec)
    if holder is None or holder.revision not in deployments:
        return (), ()
    document = desired.backend(snapshot.mdep, holder.revision)
    live = snapshot.services.get(document["metadata"]["name"])
    if live is not None and not desired.is_ours(live, snapshot.mdep):
        return (), (name_taken("Service", document["metadata"]["name"]),)
    return bring(document, live), ()


def _routed(
    snapshot: ModelSnapshot,
    state: State,
    deployments: Mapping[str, Object],
    *,
    spec: ModelDeploymentSpec | None,
    fallback: routing.Place | None,
    wanted: Collection[str],
    now: float,
) -> routing.Routed:
    """The Services behind the routes, which come before them, and the routes."""
    if not routing.is_asked(snapshot, spec):
        return routing.Routed(routing.leave(snapshot))
    if snapshot.routes is None:
        return routing.Routed(trouble=(Trouble("GatewayAPIMissing", routing.MISSING),))
    mdep = snapshot.mdep
    running = [revision for revision in deployments if revision in wanted]
    documents = [desired.backend(mdep, revision) for revision in running]
    if fallback is None:
        documents.append(desired.nobody(mdep))
    actions: list[Action] = []
    for document in documents:
        live = snapshot.services.get(document["metadata"]["name"])
        if live is not None and not desired.is_ours(live, mdep):
            return routing.Routed(trouble=(name_taken("Service", document["metadata"]["name"]),))
        actions += bring(document, live)

    def may(revision: str, level: Level) -> bool:
        holder = next((item for item in _holders(state) if item.revision == revision), None)
        granted = granted_level(snapshot.grant, holder) if holder is not None else None
        return rank(granted) >= rank(level) and rank(state.granted().get(revision)) >= rank(level)

    def able(level: Level, answering: Collection[str]) -> set[str]:
        there = {
            revision for revision in running if workload_name(mdep["metadata"]["name"], revision) in snapshot.services
        }
        ready = {revision for revision in there if available(deployments[revision])}
        return {revision for revision in deployments if may(revision, level) and revision in {*ready, *answering}}

    routed = routing.turn(
        snapshot,
        lambda able: desired_shares(state, able=able),
        spec=spec,
        versions={holder.revision: holder.version for holder in _holders(state)},
        rights=routing.Rights(may=may, able=able, running=running),
        fallback=fallback,
        now=now,
    )
    return replace(routed, actions=(*actions, *routed.actions))


def _superfluous(
    snapshot: ModelSnapshot,
    *,
    spec: ModelDeploymentSpec | None,
    kept: Collection[str],
    fallback: routing.Place | None,
    now: float,
) -> list[Action]:
    """The Services of revisions that no route names any more, and to which nothing is replayed."""
    mdep, asked = snapshot.mdep, routing.is_asked(snapshot, spec)
    busy = routing.held(snapshot, now)
    actions: list[Action] = []
    for name, item in snapshot.services.items():
        if not desired.is_ours(item, mdep) or _leaving(item):
            continue
        revision = others.revision_of(item)
        if revision and revision not in busy and revision not in kept:
            actions.append(delete(item))
        elif name == nobody_name(mdep["metadata"]["name"]) and not routing.names_nobody(snapshot, now):
            actions += () if asked and fallback is None else (delete(item),)
    return actions


def granted_level(grant: Object | None, holder: Holder) -> Level | None:
    """The level at which the grant holds this very model, None where it doesn't."""
    entry = ((grant or {}).get("spec") or {}).get("grants", {}).get(holder.revision)
    if entry is None or entry.get("modelDigest") != holder.model_digest:
        return None
    level: Level = entry["level"]
    return level


def available(deployment: Object | None) -> bool:
    """Whether the Deployment's present template has a Pod that is ready."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and _ready_pods(deployment) > 0)


def _ready_pods(deployment: Object) -> int:
    return int((deployment.get("status") or {}).get("availableReplicas", 0))


def _broken(deployment: Object) -> str:
    """Why the Deployment's present template can't get a Pod to be ready, once its deadline for that is over."""
    status, metadata = deployment.get("status") or {}, deployment["metadata"]
    if available(deployment) or status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return f"Deployment {metadata['name']} has no Pod ready: {condition.get('message', '')}"
    return ""


def is_serving(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod is of a revision and hasn't ended."""
    of_revision = LABEL_REVISION in (pod["metadata"].get("labels") or {})
    return of_revision and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _workloads(snapshot: ModelSnapshot) -> dict[str, Object]:
    """Our Deployments and InferenceServices by revision."""
    every = (*snapshot.deployments, *(snapshot.inference_services or {}).values())
    return {others.revision_of(item): item for item in every if desired.is_ours(item, snapshot.mdep)}


def _deployments(snapshot: ModelSnapshot) -> dict[str, Object]:
    """Our Deployments by revision, and those that KServe made of our InferenceServices."""
    makers = {item["metadata"]["uid"] for item in (snapshot.mdep, *_workloads(snapshot).values())}
    return {
        others.revision_of(item): item
        for item in snapshot.deployments
        if desired.controller_of(item) in makers or (snapshot.inference_services is None and _by_kserve(snapshot, item))
    }


def _by_kserve(snapshot: ModelSnapshot, deployment: Object) -> bool:
    """Whether KServe made a Deployment of an InferenceService of ours, as far as names say, where none can be seen."""
    revision = others.revision_of(deployment)
    kept = recorded(snapshot.revisions, revision, images=snapshot.settings.images)
    if kept is None or not kserve.is_asked(kept.spec):
        return False
    service = workload_name(snapshot.mdep["metadata"]["name"], revision)
    return kserve.is_made_of(deployment, service)


def _named(snapshot: ModelSnapshot, kind: str, name: str) -> list[Object]:
    """The object of this name, whoever made it; KServe's Deployments have others."""
    every = (snapshot.inference_services or {}).values() if kind == kserve.KIND else snapshot.deployments
    return [item for item in every if item["metadata"]["name"] == name]


def _selected(snapshot: ModelSnapshot, address: str) -> str:
    """The revision of whose Pods of ours our Service leads to; FALLBACK where it leads elsewhere, to nobody, or isn't
    there.
    """
    live = snapshot.services.get(address)
    if live is None or not desired.is_ours(live, snapshot.mdep) or others.is_led_to(live):
        return FALLBACK
    revision = str(((live.get("spec") or {}).get("selector") or {}).get(LABEL_REVISION, ""))
    return FALLBACK if revision == desired.NOBODY else revision


def _workload(
    snapshot: ModelSnapshot, holder: Holder, live: Object | None, *, spec: ModelDeploymentSpec | None
) -> tuple[Object | None, str]:
    if granted_level(snapshot.grant, holder) is None:
        return None, f"version {holder.version} waits for its entry in the namespace's AutonomyGrant"
    kept = recorded(snapshot.revisions, holder.revision, images=snapshot.settings.images)
    if kept is None or holder.model_digest is None:
        return None, f"version {holder.version}: no ControllerRevision holds it, so its Pods can't be made"
    by_kserve = kserve.is_asked(kept.spec)
    replicas = spec.serving.replicas if spec is not None else kept.spec.serving.replicas if live is None else None
    if replicas is None and not by_kserve:
        replicas = desired.left_to_others(live)
    elif by_kserve and spec is None and live is not None:
        replicas = kserve.replicas(live)
    document = desired.workload(
        snapshot.mdep,
        kept.spec,
        revision=holder.revision,
        replicas=replicas,
        images=kept.images,
        digest=holder.model_digest,
        recorder_url=snapshot.settings.recorder_url,
    )
    return document, ""


def _holders(state: State) -> tuple[Holder, ...]:
    behind = state.previous.holder if state.previous is not None and not state.previous.released else None
    return tuple(holder for holder in (state.candidate, state.champion, behind) if holder is not None)


def led_elsewhere(snapshot: ModelSnapshot, state: State, level: Level) -> Mapping[str, str] | None:
    """Whom of others' Pods a Service selects that answers at `level`; None where none is ready that is granted it."""
    known = sorted(_holders(state), key=lambda holder: holder is state.candidate)
    allowed = [
        holder.revision
        for holder in known
        if _may(state, holder.revision, level) and rank(granted_level(snapshot.grant, holder)) >= rank(level)
    ]
    return others.selector(snapshot, level, allowed=allowed)


def _may(state: State, revision: str, level: Level) -> bool:
    """Whether the state lets this revision, or the fallback, answer at `level`."""
    return revision == FALLBACK or rank(state.granted().get(revision)) >= rank(level)


def _answers(
    snapshot: ModelSnapshot, state: State, deployments: Mapping[str, Object], *, now: str, level: Level
) -> str:
    """The revision that answers at `level`, or FALLBACK: only who is granted, and ready or answering already."""
    able = {
        holder.revision
        for holder in _holders(state)
        if rank(granted_level(snapshot.grant, holder)) >= rank(level)
        and holder.revision in deployments
        and (holder.revision == now or available(deployments[holder.revision]))
    }
    shares = desired_shares(state, able=able)
    parts = shares.automate if level == "Automate" else shares.suggest
    return max(parts, key=lambda revision: parts[revision])


def fallback_target(
    snapshot: ModelSnapshot, fallback: Fallback | None
) -> tuple[tuple[Mapping[str, str], int | str], str]:
    """The fallback's selector and port; nobody's where there is none, with what is wrong in words."""
    nobody = ({LABEL_MODEL: snapshot.mdep["metadata"]["name"], LABEL_REVISION: desired.NOBODY}, "http")
    if fallback is None:
        return nobody, ""
    reference = fallback.service_ref
    where = f"spec.useCase.fallback.serviceRef: Service {reference.name}"
    if snapshot.fallback is None:
        return nobody, f"{where} doesn't exist in this namespace; create it or name another"
    spec = snapshot.fallback.get("spec") or {}
    ports = [port for port in spec.get("ports") or () if port.get("port") == reference.port]
    if not spec.get("selector"):
        return nobody, f"{where} has no selector to copy; use a Service that selects Pods"
    if not ports:
        known = ", ".join(str(port.get("port")) for port in spec.get("ports") or ())
        return nobody, f"{where} has no port {reference.port}; it has {known or 'none'}"
    return (spec["selector"], ports[0].get("targetPort", reference.port)), ""


def name_taken(kind: str, name: str) -> Trouble:
    """A name that we need belongs to somebody else's object."""
    words = f"{kind} {name} exists and isn't this ModelDeployment's; rename or delete it, or name the model otherwise"
    return Trouble("NameTaken", words)


def _leaving(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))
