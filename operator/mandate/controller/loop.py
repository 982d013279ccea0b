"""The control loop: watches and re-lists feed the store, the store feeds the queue, workers bring keys up to date."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from mandate.api.moments import instant
from mandate.api.names import GRANT_NAME, LABEL_EVALUATION, LABEL_MODEL, LABEL_RECORD
from mandate.controller.apply import Applier, describe
from mandate.controller.choice import StatusNotUnderstoodError, evaluation_status
from mandate.controller.conditions import is_true
from mandate.controller.decide import decide
from mandate.controller.driller import Driller
from mandate.controller.events import Note, Recorder, transitions
from mandate.controller.first_seen import FirstSeen
from mandate.controller.gather import Gatherer
from mandate.controller.ledger import Ledger
from mandate.controller.live import LiveSource
from mandate.controller.plan import Action, Delete, Key, Look, Replay, See
from mandate.controller.queue import Queue, work
from mandate.controller.replay_source import ReplaySource
from mandate.controller.router import concerned
from mandate.controller.settings import Settings
from mandate.controller.store import Store
from mandate.kube.client import Client
from mandate.kube.errors import ApiError, ConflictError, ForbiddenError, InvalidError, UnavailableError
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
from mandate.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

Object = dict[str, Any]

WATCHED: Mapping[Resource, str] = {
    NAMESPACES: "",
    MODEL_DEPLOYMENTS: "",
    MODEL_EVALUATIONS: "",
    AUTONOMY_GRANTS: "",
    CONTROLLER_REVISIONS: LABEL_MODEL,
    CONFIG_MAPS: f"{LABEL_RECORD}=Evidence",
    DEPLOYMENTS: LABEL_MODEL,
    SERVICES: "",
    JOBS: LABEL_EVALUATION,
    PODS: LABEL_MODEL,
    POD_TEMPLATES: "",
    NETWORK_POLICIES: LABEL_EVALUATION,
}
"""What is watched, and by which label selector. Services without one of ours may be fallbacks,
and PodTemplates without one may have a name that we need."""


def optional(settings: Settings) -> dict[Resource, str]:
    """What is watched where the cluster knows the kind. What has no label of ours may have a name that we need."""
    return {HTTP_ROUTES: "", BACKEND_TRAFFIC_POLICIES: ""} | ({INFERENCE_SERVICES: ""} if settings.kserve else {})


class Controller:
    """One operator's state and loop, for all namespaces or those named."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        identity: str,
        operator_namespace: str,
        namespaces: tuple[str, ...] = (),
        metrics: Metrics | None = None,
        live: LiveSource | None = None,
        driller: Driller | None = None,
        replays: ReplaySource | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._now = now
        self.metrics = metrics or Metrics()
        self.queue: Queue[Key] = Queue()
        self.store = Store(self._changed)
        self._ledger = Ledger(client, namespace=operator_namespace)
        self._first_seen = FirstSeen(client, namespace=operator_namespace)
        live = live or LiveSource(url=settings.recorder_url, every=settings.live_every)
        replays = replays or ReplaySource(url=settings.recorder_orders_url, every=settings.live_every)
        self._optional = optional(settings)
        self.watched: dict[Resource, str] = dict(WATCHED)
        driller = driller or Driller(enabled=settings.drills)
        driller.then(lambda namespace, model: self.queue.add(Key("Model", namespace, model)))
        self._gatherer = Gatherer(
            client,
            self.store,
            self._ledger,
            self._first_seen,
            settings,
            live=live,
            driller=driller,
            replays=replays,
            watched=self.watched,
        )
        self._recorder = Recorder(client, instance=identity)
        self._applier = Applier(
            client, self.store, self._ledger, self._first_seen, self._recorder, self.metrics, replays=replays
        )
        self.listed = False
        self.metrics.queue_depth.set_function(self.queue.depth)

    def heard(self, resource: Resource, event: str | None, item: Mapping[str, Any]) -> None:
        """One watch event."""
        if not self._looks_after(resource, item):
            return
        if event == "DELETED":
            self.store.remove(resource, item)
        else:
            self.store.upsert(resource, item)

    async def run(self, *, workers: int, resync: float) -> None:
        """List everything once, then work for ever, with a diffing re-list every `resync` seconds."""
        await self._ledger.load()
        await self._first_seen.load()
        await self.discover()
        await self.relist()
        self.listed = True
        async with asyncio.TaskGroup() as group:
            group.create_task(work(self.queue, self.reconcile, workers=workers))
            group.create_task(self._relist_for_ever(resync))

    async def discover(self) -> None:
        """Learn which optional kinds the cluster knows now; a change is news for every model."""
        known = {kind: selector for kind, selector in self._optional.items() if await self._client.serves(kind)}
        gone = [resource for resource in self._optional if resource in self.watched and resource not in known]
        came = [resource for resource in known if resource not in self.watched]
        for resource in gone:
            del self.watched[resource]
            for item in self.store.all(resource):
                self.store.remove(resource, item)
        self.watched.update(known)
        if gone or came:
            log.info("kinds that came: %s; that went: %s", _kinds(came), _kinds(gone))
            for mdep in self.store.all(MODEL_DEPLOYMENTS):
                self.queue.add(Key("Model", mdep["metadata"]["namespace"], mdep["metadata"]["name"]))

    async def relist(self) -> None:
        """Compare the store with the API server, kind by kind. Each difference is news and enqueues its keys."""
        for resource, selector in tuple(self.watched.items()):
            for namespace in (self._namespaces if resource.namespaced else ()) or (None,):
                listing = await self._client.list(resource, namespace=namespace, selector=selector)
                items = [item for item in listing.items if self._looks_after(resource, item)]
                news = self.store.relist(resource, items, version=listing.resource_version, namespace=namespace)
                if self.listed and news:
                    log.info("re-list of %s brought %d changes before the watch did", resource.plural, news)
                    self.metrics.relist_news.labels(resource.kind).inc(news)

    def _looks_after(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Whether an object is this operator's business: Namespaces are cluster-scoped, so all of them are heard of."""
        return resource != NAMESPACES or not self._namespaces or item["metadata"]["name"] in self._namespaces

    async def _relist_for_ever(self, resync: float) -> None:
        while True:
            await asyncio.sleep(resync)
            try:
                await self.discover()
                await self.relist()
            except ApiError as error:
                log.warning("re-list: %s", error)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one key up to date; returns in how many seconds to look again. Raises what the queue backs off on."""
        with self.metrics.reconcile_seconds.labels(key.kind).time():
            try:
                return await self._reconcile(key)
            except (ConflictError, UnavailableError) as error:
                log.info("%s: %s; trying again", _words(key), error)
                self._count_error(key, error)
                raise
            except (ApiError, StatusNotUnderstoodError) as error:
                log.warning("%s: %s: %s; trying again", _words(key), type(error).__name__, error)
                self._count_error(key, error)
                raise
            except Exception as error:
                log.exception("%s: trying again", _words(key))
                self._count_error(key, error)
                raise

    async def _reconcile(self, key: Key) -> float | None:
        try:
            snapshot = await self._gatherer.gather(key)
            if snapshot is None:
                return None
            plan = decide(snapshot, self._now())
        except StatusNotUnderstoodError as error:
            await self._tell(key, "StatusNotUnderstood", str(error))
            raise
        for action in plan.actions:
            try:
                await self._applier.apply(action)
            except (ForbiddenError, InvalidError) as error:
                await self._tell(key, "Refused", f"{describe(action)}: {error}")
                raise
            self.metrics.actions.labels(type(action).__name__, _kind(action)).inc()
        if any(isinstance(action, Look | See) for action in plan.actions):
            return 0.0
        return plan.again

    async def _tell(self, key: Key, reason: str, text: str) -> None:
        """Say on the object itself why nothing could be done."""
        resource = {"Model": MODEL_DEPLOYMENTS, "Evaluation": MODEL_EVALUATIONS, "Grant": AUTONOMY_GRANTS}[key.kind]
        item = self.store.get(resource, key.namespace, key.name or GRANT_NAME)
        if item is not None:
            await self._recorder.tell(item, Note(warning=True, reason=reason, text=text))

    def _changed(self, resource: Resource, before: Object | None, after: Object | None) -> None:
        for key in concerned(resource, before, after, self.store):
            self.queue.add(key)
        if resource == MODEL_DEPLOYMENTS and before is not None and after is not None:
            old, new = ((item.get("status") or {}).get("history") or () for item in (before, after))
            for entry in transitions(old, new):
                self.metrics.transitions.labels(entry["what"]).inc()
        if resource == MODEL_EVALUATIONS and before is not None and after is not None:
            self._count_evaluation(before, after)

    def _count_evaluation(self, before: Object, after: Object) -> None:
        old, new = evaluation_status(before), evaluation_status(after)
        if new.evidence is not None and old.evidence is None:
            self.metrics.evaluations.labels("Complete").inc()
            if new.started is not None and new.completed is not None:
                self.metrics.evaluation_seconds.observe(instant(new.completed) - instant(new.started))
        elif is_true(new.conditions, "Failed") and not is_true(old.conditions, "Failed"):
            self.metrics.evaluations.labels("Error").inc()

    def _count_error(self, key: Key, error: Exception) -> None:
        self.metrics.reconcile_errors.labels(key.kind, type(error).__name__).inc()


def _words(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}"


def _kinds(resources: list[Resource]) -> str:
    return ", ".join(resource.kind for resource in resources) or "none"


def _kind(action: Action) -> str:
    match action:
        case Delete(_, kind):
            return kind
        case Look() | See():
            return "ConfigMap"
        case Replay():
            return "ReplayOrder"
        case _:
            return str(action.document["kind"])
