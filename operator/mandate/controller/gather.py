"""All reads of one decision: from the store what is watched, from the API server what isn't."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from mandate.api.check import SpecError
from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.names import (
    GRANT_NAME,
    LABEL_ENFORCE,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_SERVES,
    nobody_name,
    suggest_name,
)
from mandate.controller import desired, replay
from mandate.controller.cache import Defaults, EvidenceCache
from mandate.controller.choice import evaluation_status, understood, wanted
from mandate.controller.conditions import is_true
from mandate.controller.decide_evaluation import attempt_of
from mandate.controller.decide_grant import attempts, batch_key, holders
from mandate.controller.driller import Driller
from mandate.controller.external import template_names
from mandate.controller.first_seen import FirstSeen
from mandate.controller.identity import evidence_name, job_name
from mandate.controller.intake import LOG_AT_MOST, LOG_KEEP, LOG_LINES, IntakeError, take
from mandate.controller.ledger import Ledger
from mandate.controller.live import LiveSource
from mandate.controller.plan import Key
from mandate.controller.progress import pod_to_read, untold
from mandate.controller.replay_source import ReplaySource
from mandate.controller.serve import is_serving
from mandate.controller.settings import Settings
from mandate.controller.snapshot import (
    EvaluationSnapshot,
    GrantSnapshot,
    LiveAnswer,
    LiveUnavailable,
    ModelSnapshot,
    Snapshot,
)
from mandate.controller.standing import judged_by, to_ask, to_count
from mandate.controller.store import Store
from mandate.evidence.live import Drawn
from mandate.evidence.replay import ReplayState
from mandate.evidence.schema import Evidence
from mandate.kube.client import Client
from mandate.kube.errors import InvalidError, NotFoundError, UnavailableError
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    NAMESPACES,
    NETWORK_POLICIES,
    POD_TEMPLATES,
    PODS,
    SERVICES,
    Resource,
)

Object = dict[str, Any]


class Gatherer:
    """Reads snapshots."""

    def __init__(
        self,
        client: Client,
        store: Store,
        ledger: Ledger,
        first_seen: FirstSeen,
        settings: Settings,
        *,
        live: LiveSource,
        driller: Driller,
        replays: ReplaySource,
        watched: Collection[Resource],
    ) -> None:
        self._client = client
        self._store = store
        self._ledger = ledger
        self._first_seen = first_seen
        self._settings = settings
        self._live = live
        self._driller = driller
        self._replays = replays
        self._watched = watched
        self._evidence = EvidenceCache(client)
        self._defaults = Defaults(client)

    async def gather(self, key: Key) -> Snapshot | None:
        """Everything that deciding about `key` needs; None where the object is gone, or its namespace going."""
        space = self._store.get(NAMESPACES, "", key.namespace)
        if space is not None and space["metadata"].get("deletionTimestamp"):
            return None  # nothing new may be made there
        match key.kind:
            case "Evaluation":
                return await self._evaluation(key.namespace, key.name)
            case "Model":
                return await self._model(key.namespace, key.name)
            case "Grant":
                return await self._grant(key.namespace)

    def _of_model(self, resource: Resource, namespace: str, model: str) -> tuple[Object, ...]:
        return self._store.labelled(resource, namespace, LABEL_MODEL, model)

    def _measurements(self, namespace: str, model: str) -> tuple[Object, ...]:
        every = self._of_model(MODEL_EVALUATIONS, namespace, model)
        return tuple(meval for meval in every if (meval.get("spec") or {}).get("modelDeployment") == model)

    async def _evaluation(self, namespace: str, name: str) -> EvaluationSnapshot | None:
        store = self._store
        meval = store.get(MODEL_EVALUATIONS, namespace, name)
        if meval is None:
            return None
        model = str((meval.get("spec") or {}).get("modelDeployment", ""))
        status = evaluation_status(meval)
        job = job_name(name, attempt_of(status))
        jobs = self._owned(JOBS, namespace, model, meval)
        pods = store.labelled(PODS, namespace, LABEL_EVALUATION, job)
        present = next((item for item in jobs if item["metadata"]["name"] == job), None)
        open_ = status.evidence is None and not is_true(status.conditions, "Failed")
        if open_ and untold(present, pods):
            # Kinds are watched apart: the Job's end may be heard of before its Pod is. Only the API server knows.
            pods = (await self._client.list(PODS, namespace=namespace, selector=f"{LABEL_EVALUATION}={job}")).items
        result, unread = None, ""
        read = pod_to_read(pods) if status.evidence is None else None
        if read is not None:
            result, unread = await self._result(namespace, *read)
        return EvaluationSnapshot(
            meval=meval,
            mdep=store.get(MODEL_DEPLOYMENTS, namespace, model),
            grant=store.get(AUTONOMY_GRANTS, namespace, GRANT_NAME),
            mevals=self._measurements(namespace, model),
            jobs=jobs,
            pods=pods,
            seals=self._owned(NETWORK_POLICIES, namespace, model, meval),
            result=result,
            unread=unread,
            refusal=self._defaults.refusal(job, namespace=namespace),
            first_seen=dict(self._first_seen.times),
            settings=self._settings,
        )

    def _owned(self, resource: Resource, namespace: str, model: str, owner: Object) -> tuple[Object, ...]:
        return tuple(item for item in self._of_model(resource, namespace, model) if desired.is_ours(item, owner))

    async def _result(self, namespace: str, pod: str, termination: str) -> tuple[Evidence | IntakeError | None, str]:
        """What the judge's log holds, or why it couldn't be read yet."""
        try:
            log = await self._client.log_tail(
                pod, namespace=namespace, container="judge", lines=LOG_LINES, keep=LOG_KEEP, read_at_most=LOG_AT_MOST
            )
            return take(termination, log), ""
        except IntakeError as error:
            return error, ""
        except (InvalidError, NotFoundError) as error:
            return IntakeError("LogUnreadable", f"the judge's log can't be read: {error.message}"), ""
        except UnavailableError as error:
            return None, f"the judge's log can't be read yet: {error.message}"

    async def _model(self, namespace: str, name: str) -> ModelSnapshot | None:
        asking = self._stored(namespace, name)
        if asking is None:
            return None
        # Its answers may take a while: what else is decided on is read afterwards, as it is then.
        answers = await self._live_of(asking)
        drawn = await self._drawn_of(asking)
        told = await self._replay_of(asking)
        snapshot = self._stored(namespace, name)
        if snapshot is None:
            return None
        drill = self._driller.outcome(snapshot)
        evidence = await self._evidence_for(snapshot.mdep, snapshot.mevals)
        live = {revision: answer.live for revision, answer in answers.items()}
        alone = {revision: answer.alone for revision, answer in answers.items() if answer.alone}
        return replace(snapshot, live=live, alone=alone, drawn=drawn, replay=told, drill=drill, evidence=evidence)

    def _stored(self, namespace: str, name: str) -> ModelSnapshot | None:
        """What there is to read without waiting for anyone."""
        store = self._store
        mdep = store.get(MODEL_DEPLOYMENTS, namespace, name)
        if mdep is None:
            return None
        mevals = self._measurements(namespace, name)
        deployments = self._of_model(DEPLOYMENTS, namespace, name)
        behind = (item["metadata"]["name"] for item in (*deployments, *self._of_model(SERVICES, namespace, name)))
        addresses = (name, suggest_name(name))
        services = self._named(SERVICES, namespace, (*addresses, nobody_name(name), *behind))
        revisions = self._owned(CONTROLLER_REVISIONS, namespace, name, mdep)
        workloads = [item["metadata"]["name"] for item in revisions]
        workloads += [item["metadata"]["name"] for item in self._of_model(INFERENCE_SERVICES, namespace, name)]
        return ModelSnapshot(
            mdep=mdep,
            namespace=store.get(NAMESPACES, "", namespace),
            grant=store.get(AUTONOMY_GRANTS, namespace, GRANT_NAME),
            mevals=mevals,
            revisions=revisions,
            deployments=deployments,
            services=services,
            routes=self._optional(HTTP_ROUTES, namespace, addresses),
            policies=self._optional(BACKEND_TRAFFIC_POLICIES, namespace, (name,)),
            inference_services=self._optional(INFERENCE_SERVICES, namespace, workloads),
            templates=self._named(POD_TEMPLATES, namespace, template_names(name).values()),
            pods=tuple(
                pod
                for pod in self._of_model(PODS, namespace, name)
                if is_serving(pod) and LABEL_SERVES in pod["metadata"]["labels"]
            ),
            fallback=self._fallback(mdep),
            records=self._of_model(CONFIG_MAPS, namespace, name),
            looks=dict(self._ledger.looks),
            first_seen=dict(self._first_seen.times),
            settings=self._settings,
        )

    def _named(self, resource: Resource, namespace: str, names: Iterable[str]) -> dict[str, Object]:
        """The objects of these names that there are, whoever made them."""
        every = ((name, self._store.get(resource, namespace, name)) for name in names)
        return {name: item for name, item in every if item is not None}

    def _optional(self, resource: Resource, namespace: str, names: Iterable[str]) -> dict[str, Object] | None:
        """As `_named`; None where the kind isn't looked after."""
        return self._named(resource, namespace, names) if resource in self._watched else None

    async def _live_of(self, snapshot: ModelSnapshot) -> dict[str, LiveAnswer]:
        """What use shows of the revisions of which that is asked."""
        metadata = snapshot.mdep["metadata"]
        try:
            spec = understood(snapshot.mdep)
        except SpecError:
            return {}
        place = (metadata["namespace"], metadata["name"])
        questions = to_ask(snapshot, spec)
        return {asked.holder.revision: await self._live.ask(place, asked) for asked in questions}

    async def _drawn_of(self, snapshot: ModelSnapshot) -> Drawn | LiveUnavailable | None:
        """Where the draws of a step under way led; None where there is no such step."""
        step = to_count(snapshot)
        if step is None:
            return None
        metadata = snapshot.mdep["metadata"]
        return await self._live.drawn((metadata["namespace"], metadata["name"]), step)

    async def _replay_of(self, snapshot: ModelSnapshot) -> ReplayState | LiveUnavailable | None:
        """What the recorder says of the model's replays, where there are any, or were when it was last looked at."""
        metadata = snapshot.mdep["metadata"]
        spec: ModelDeploymentSpec | None
        try:
            spec = understood(snapshot.mdep)
        except SpecError:
            spec = None  # what was begun before it wasn't understood is still to be ended
        if not replay.concerns(snapshot, spec):
            return None
        return await self._replays.state((metadata["namespace"], metadata["name"]))

    def _fallback(self, mdep: Object) -> Object | None:
        try:
            fallback = understood(mdep).use_case.fallback
        except SpecError:
            return None
        if fallback is None:
            return None
        return self._store.get(SERVICES, mdep["metadata"]["namespace"], fallback.service_ref.name)

    async def _evidence_for(self, mdep: Object, mevals: tuple[Object, ...]) -> dict[str, Evidence | IntakeError]:
        """The evidence records that the present spec and the champions stand on."""
        try:
            names = {wanted(mdep, mevals).name, *judged_by(mdep)}
        except SpecError:
            return {}
        found: dict[str, Evidence | IntakeError] = {}
        for meval in mevals:
            name, status = meval["metadata"]["name"], evaluation_status(meval)
            if name in names and status.evidence_digest is not None:
                namespace = meval["metadata"]["namespace"]
                stored = self._store.get(CONFIG_MAPS, namespace, evidence_name(status.evidence_digest)) is not None
                found[name] = await self._evidence.read(status.evidence_digest, namespace=namespace, stored=stored)
        return found

    async def _grant(self, namespace: str) -> GrantSnapshot:
        store = self._store
        space = store.get(NAMESPACES, "", namespace)
        labels = ((space or {}).get("metadata") or {}).get("labels") or {}
        snapshot = GrantSnapshot(
            namespace=namespace,
            enrolled=LABEL_ENFORCE in labels,
            grant=store.get(AUTONOMY_GRANTS, namespace, GRANT_NAME),
            mdeps=store.all(MODEL_DEPLOYMENTS, namespace),
            mevals=store.all(MODEL_EVALUATIONS, namespace),
            revisions=store.all(CONTROLLER_REVISIONS, namespace),
            jobs=store.all(JOBS, namespace),
            deployments=store.all(DEPLOYMENTS, namespace),
            inference_services=store.all(INFERENCE_SERVICES, namespace),
            services=store.all(SERVICES, namespace),
            pods=tuple(pod for pod in store.all(PODS, namespace) if is_serving(pod)),
            settings=self._settings,
        )
        templates: dict[str, Object] = {}
        for revision, holder in holders(snapshot).items():
            template = await self._defaults.deployment(revision, holder.template, namespace=namespace)
            if template is not None:
                templates[revision] = template
            if holder.batch is not None:
                name = batch_key(revision)
                template = await self._defaults.job(name, holder.batch, namespace=namespace)
                if template is not None:
                    templates[name] = template
        for job, (_, stated) in attempts(snapshot).items():
            template = await self._defaults.job(job, stated, namespace=namespace)
            if template is not None:
                templates[job] = template
        return replace(snapshot, templates=templates)
