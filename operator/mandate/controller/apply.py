"""One API request per action. Every action may be interrupted before or after and done again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mandate.controller.events import Recorder, changes, taken_back, told, transitions
from mandate.controller.first_seen import FirstSeen
from mandate.controller.ledger import Ledger
from mandate.controller.plan import Action, Apply, Create, Delete, Look, Replace, Replay, See, SetStatus
from mandate.controller.replay_source import ReplaySource
from mandate.controller.store import Store
from mandate.kube.client import Client
from mandate.kube.errors import AlreadyExistsError, ConflictError, NotFoundError, TakenError
from mandate.kube.resources import Resource, resource_of
from mandate.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
Object = dict[str, Any]


class Applier:
    """Does what a plan says, and tells the store what came of it, so that the next decision sees it."""

    def __init__(
        self,
        client: Client,
        store: Store,
        ledger: Ledger,
        first_seen: FirstSeen,
        recorder: Recorder,
        metrics: Metrics,
        *,
        replays: ReplaySource,
    ) -> None:
        self._client = client
        self._store = store
        self._ledger = ledger
        self._first_seen = first_seen
        self._recorder = recorder
        self._metrics = metrics
        self._replays = replays

    async def apply(self, action: Action) -> None:
        """Do one action; raises ApiError where the API server doesn't let us."""
        log.info("%s", describe(action))
        match action:
            case Create(document):
                await self._create(document)
            case Apply(document):
                await self._apply(document)
            case Replace(document):
                await self._replace(document)
            case SetStatus(document):
                await self._set_status(document)
            case Delete():
                await self._delete(action)
            case Look(sketch, identity, former):
                await self._ledger.record(sketch, identity, former=former)
            case See(digest):
                await self._first_seen.see(digest)
            case Replay(namespace, model, order):
                await self._replays.tell((namespace, model), order)

    async def _create(self, document: Object) -> None:
        resource, metadata = _resource(document), document["metadata"]
        try:
            item = await self._client.create(resource, document)
        except AlreadyExistsError:
            item = await self._client.get(resource, metadata["name"], namespace=metadata["namespace"])
        self._store.upsert(resource, item)

    async def _apply(self, document: Object) -> None:
        """What is ours is ours: fields that somebody else has set otherwise are taken back, and that is told."""
        resource = _resource(document)
        try:
            item, taken = await self._client.apply(resource, document, force=False), {}
        except TakenError as error:
            item, taken = await self._client.apply(resource, document), error.taken
        self._store.upsert(resource, item)
        for note in taken_back(item, taken):
            self._metrics.taken_back.labels(resource.kind).inc()
            await self._recorder.tell(_controller(item), note)

    async def _replace(self, document: Object) -> None:
        resource = _resource(document)
        fresh = "resourceVersion" not in document["metadata"]
        write = self._client.create if fresh else self._client.replace
        try:
            self._store.upsert(resource, await write(resource, document))
        except (AlreadyExistsError, ConflictError):
            metadata = document["metadata"]
            item = await self._client.get(resource, metadata["name"], namespace=metadata["namespace"])
            self._store.upsert(resource, item)
            raise

    async def _set_status(self, document: Object) -> None:
        resource, metadata = _resource(document), document["metadata"]
        before = self._store.get(resource, metadata["namespace"], metadata["name"]) or {}
        item = await self._client.apply(resource, document, subresource="status")
        self._store.upsert(resource, item)
        notes = [told(entry) for entry in transitions(_history(before), _history(item))]
        for note in (*notes, *changes(_conditions(before), _conditions(item))):
            await self._recorder.tell(item, note)

    async def _delete(self, action: Delete) -> None:
        resource = resource_of(action.api_version, action.kind)
        identity = {"name": action.name, "namespace": action.namespace, "uid": action.uid}
        try:
            gone = await self._client.delete(resource, action.name, namespace=action.namespace, uid=action.uid)
            if gone:
                self._store.remove(resource, {"metadata": identity})
        except NotFoundError:
            self._store.remove(resource, {"metadata": identity})
        except ConflictError:
            # Another object has the name now: ours is gone.
            self._store.remove(resource, {"metadata": identity})


def describe(action: Action) -> str:
    """An action in words, for the log."""
    match action:
        case Delete(_, kind, namespace, name):
            return f"Delete {kind} {namespace}/{name}"
        case Look(_, identity):
            return f"Look {identity}"
        case See(digest):
            return f"See {digest}"
        case Replay(namespace, model, order):
            return f"Replay of {namespace}/{model} " + (f"to {order.revision}" if order is not None else "ends")
        case _:
            metadata = action.document["metadata"]
            name = f"{action.document['kind']} {metadata.get('namespace')}/{metadata['name']}"
            return f"{type(action).__name__} {name}"


def _controller(item: Object) -> Object:
    """What an object of ours belongs to, as far as an event needs it."""
    [owner] = (owner for owner in item["metadata"]["ownerReferences"] if owner.get("controller"))
    metadata = {"name": owner["name"], "namespace": item["metadata"]["namespace"], "uid": owner["uid"]}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata}


def _resource(document: Object) -> Resource:
    return resource_of(document["apiVersion"], document["kind"])


def _conditions(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((item.get("status") or {}).get("conditions") or ())


def _history(item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((item.get("status") or {}).get("history") or ())
