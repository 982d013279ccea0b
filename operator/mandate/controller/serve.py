"""What serves: Deployments of the revisions that hold a level, and the two addresses. Pure.

The level is part of the address. NAME answers only with what may act, NAME-suggest answers people; both fall back to
the declared fallback, and to nobody where there is none. Traffic moves up only onto Pods that are ready, and down at
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mandate.api.criteria import Level
from mandate.api.kinds import ModelDeploymentSpec, RevisionStatus
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, suggest_name
from mandate.api.spec import Fallback
from mandate.controller import desired
from mandate.controller.identity import workload_name
from mandate.controller.plan import Action, Create, bring, delete
from mandate.controller.room import GRANT_FULL, no_room
from mandate.controller.settings import Images
from mandate.controller.snapshot import ModelSnapshot
from mandate.controller.standing import Standing, rank
from mandate.evidence.measurement import key, revision_digest

Object = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """A revision's spec and images as its ControllerRevision keeps them."""

    spec: ModelDeploymentSpec
    images: Images


@dataclass(frozen=True)
class Trouble:
    """What a person must resolve, as a condition says it; `revision` where it is about one only."""

    reason: str
    message: str
    revision: str = ""


@dataclass(frozen=True)
class Served:
    """What is to be done so that the standing is served, and what is true of it already.

    `waiting` says what isn't there yet, `trouble` what a person must resolve; `fallback` is a finding about the
    fallback Service, empty where there is none. `answering` is the level at which each revision is reached now,
    `ready` those with a Pod that is ready.
    """

    actions: tuple[Action, ...]
    waiting: tuple[str, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    fallback: str = ""
    answering: Mapping[str, Level] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()


def record(snapshot: ModelSnapshot, spec: ModelDeploymentSpec) -> tuple[Create, ...]:
    """Keep the present spec as a ControllerRevision, unless it is kept already."""
    model = snapshot.mdep["metadata"]["name"]
    name = workload_name(model, revision_digest(model, spec))
    if any(item["metadata"]["name"] == name for item in snapshot.revisions):
        return ()
    return (Create(desired.controller_revision(snapshot.mdep, spec, images=snapshot.settings.images)),)


def recorded(revisions: tuple[Object, ...], revision: str, *, images: Images) -> Recorded | None:
    """What is recorded of `revision`; None where nothing is, or nothing that this version understands."""
    for item in revisions:
        if (item["metadata"].get("labels") or {}).get(LABEL_REVISION) != revision:
            continue
        data = item.get("data") or {}
        try:
            spec = ModelDeploymentSpec.model_validate(data["spec"])
            kept = Images(fetch=data["images"]["fetch"], judge=images.judge, predictor=data["images"]["predictor"])
        except (KeyError, TypeError, ValueError):
            return None
        model = item["metadata"]["labels"].get(LABEL_MODEL, "")
        return Recorded(spec, kept) if key(revision_digest(model, spec)) == revision else None
    return None


def serve(
    snapshot: ModelSnapshot,
    standing: Standing,
    *,
    spec: ModelDeploymentSpec | None,
) -> Served:
    """Actions and findings for `standing`; `spec` is the present one, None where it isn't understood.

    Then what there is stays as it is: nobody knows the fallback, nor how many replicas are meant.
    """
    mdep = snapshot.mdep
    name = mdep["metadata"]["name"]
    actions: list[Action] = []
    waiting: list[str] = []
    trouble: list[Trouble] = []
    deployments = {_revision(item): item for item in snapshot.deployments if desired.is_ours(item, mdep)}
    wanted: set[str] = set()
    for revision in standing.revisions():
        wanted.add(revision.revision)
        document, why = _deployment(snapshot, revision, spec=spec)
        full = no_room(snapshot.grant, name) if granted_level(snapshot.grant, revision) is None else ""
        if full:
            trouble.append(Trouble(GRANT_FULL, f"version {revision.version}: {full}", revision.revision))
        elif why:
            waiting.append(why)
        if document is not None:
            taken = [item for item in snapshot.deployments if item["metadata"]["name"] == document["metadata"]["name"]]
            if taken and not desired.is_ours(taken[0], mdep):
                trouble.append(_taken("Deployment", document["metadata"]["name"]))
            else:
                if spec is not None or revision.revision not in deployments:
                    actions += bring(document, deployments.get(revision.revision))
                if not available(deployments.get(revision.revision)):
                    waiting.append(f"Deployment {document['metadata']['name']} has no Pod ready yet")
    selected: set[str] = set()
    targets, found = _fallback(snapshot, spec.use_case.fallback if spec is not None else None)
    answering: dict[str, Level] = {}
    for address, chain in ((name, _chain(standing, "Automate")), (suggest_name(name), _chain(standing, "Suggest"))):
        live = snapshot.services.get(address)
        if live is not None and not desired.is_ours(live, mdep):
            trouble.append(_taken("Service", address))
            continue
        level: Level = "Automate" if address == name else "Suggest"
        now = str(((live or {}).get("spec", {}).get("selector") or {}).get(LABEL_REVISION, ""))
        answers = _answers(snapshot, standing, chain, deployments, now=now, level=level)
        if answers is None:
            selector, port = targets
        else:
            selector, port = {LABEL_MODEL: name, LABEL_REVISION: answers}, "http"
            selected.add(answers)
        document = desired.service(mdep, address, selector=selector, port=port)
        turned = bring(document, live) if spec is not None else ()
        actions += turned
        if turned:
            waiting.append(f"Service {address} is being turned to who may answer there")
        if now:
            selected.add(now)
        if live is not None and now == answers and now:
            answering[now] = max(level, answering.get(now, level), key=rank)
    for revision_key, item in deployments.items():
        if revision_key not in wanted and revision_key not in selected and not _leaving(item):
            actions.append(delete(item))
    ready = frozenset(revision for revision, item in deployments.items() if available(item))
    return Served(tuple(actions), tuple(waiting), tuple(trouble), found, answering, ready)


def granted_level(grant: Object | None, revision: RevisionStatus) -> Level | None:
    """The level at which the grant holds this very model, None where it doesn't."""
    entry = ((grant or {}).get("spec") or {}).get("grants", {}).get(revision.revision)
    if entry is None or entry.get("modelDigest") != revision.model_digest:
        return None
    level: Level = entry["level"]
    return level


def available(deployment: Object | None) -> bool:
    """Whether the Deployment's present template has a Pod that is ready."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and status.get("availableReplicas", 0) > 0)


def is_serving(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod is of a revision and hasn't ended."""
    of_revision = LABEL_REVISION in (pod["metadata"].get("labels") or {})
    return of_revision and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _deployment(
    snapshot: ModelSnapshot, revision: RevisionStatus, *, spec: ModelDeploymentSpec | None
) -> tuple[Object | None, str]:
    if granted_level(snapshot.grant, revision) is None:
        return None, f"version {revision.version} waits for its entry in the namespace's AutonomyGrant"
    kept = recorded(snapshot.revisions, revision.revision, images=snapshot.settings.images)
    if kept is None or revision.model_digest is None:
        return None, f"version {revision.version}: no ControllerRevision holds it, so its Deployment can't be made"
    document = desired.deployment(
        snapshot.mdep,
        kept.spec,
        revision=revision.revision,
        replicas=(spec or kept.spec).serving.replicas,
        images=kept.images,
        digest=revision.model_digest,
    )
    return document, ""


def _chain(standing: Standing, level: Level) -> tuple[RevisionStatus, ...]:
    """Who may answer at `level`, in order: for people the candidate comes before the champion."""
    order = (standing.champion,) if level == "Automate" else (standing.candidate, standing.champion)
    return tuple(item for item in order if item is not None and rank(item.level) >= rank(level))


def _answers(
    snapshot: ModelSnapshot,
    standing: Standing,
    chain: tuple[RevisionStatus, ...],
    deployments: Mapping[str, Object],
    *,
    now: str,
    level: Level,
) -> str | None:
    """The revision that answers: the first of the chain that is granted and ready, or answers already.

    While none of the chain is, an earlier champion goes on answering, if the grant still carries it at this level.
    """
    for item in chain:
        if rank(granted_level(snapshot.grant, item)) < rank(level):
            continue
        if item.revision in deployments and (item.revision == now or available(deployments[item.revision])):
            return item.revision
    entry = ((snapshot.grant or {}).get("spec") or {}).get("grants", {}).get(now)
    fallen = {item.revision for item in standing.refused} | {
        item.revision for item in (standing.champion, standing.candidate) if item is not None
    }
    if chain and now in deployments and entry is not None and now not in fallen:
        return now if rank(entry.get("level")) >= rank(level) else None
    return None


def _fallback(snapshot: ModelSnapshot, fallback: Fallback | None) -> tuple[tuple[Mapping[str, str], int | str], str]:
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


def _taken(kind: str, name: str) -> Trouble:
    words = f"{kind} {name} exists and isn't this ModelDeployment's; rename or delete it, or name the model otherwise"
    return Trouble("NameTaken", words)


def _revision(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(LABEL_REVISION, ""))


def _leaving(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))
