"""An API server in memory with the controllers around it, for tests of the whole loop in virtual time.

It keeps what the operator's code relies on: versions, uids, conflicts, preconditions, server-side apply of spec and
status, dry runs, and watches that may miss events. What a real API server does beyond that is for tests/integration.
Objects are never changed in place, so they are handed out as they are.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from mandate.api.moments import stamp
from mandate.api.names import LABEL_EVALUATION
from mandate.kube.client import Listing
from mandate.kube.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from mandate.kube.resources import DEPLOYMENTS, EVENTS, HTTP_ROUTES, INFERENCE_SERVICES, JOBS, PODS, Resource
from tests.unit.controller.fake_kserve import deployment_of

Object = dict[str, Any]
EPOCH = 1_800_000_000.0


def clock() -> float:
    return EPOCH + asyncio.get_running_loop().time()


class FakeApi:
    """Has the methods of `mandate.kube.client.Client` that the operator uses."""

    def __init__(self, dice: random.Random, *, faults: float = 0.0) -> None:
        self.objects: dict[tuple[Resource, str, str], Object] = {}
        self.listeners: list[Callable[[Resource, str, Object], None]] = []
        self.after_write: list[Callable[[Resource, Object | None], None]] = []
        self.logs: dict[str, bytes] = {}
        self.writes: Counter[str] = Counter()
        self.dice = dice
        self.faults = faults
        self.deaf = 0.0
        self.unknown: set[Resource] = set()
        self.version = 0

    # What the operator calls.

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Object:
        await self._network()
        return self._there(resource, namespace or "", name)

    async def list(self, resource: Resource, *, namespace: str | None = None, selector: str = "") -> Listing:
        await self._network()
        label, _, value = selector.partition("=")
        items = [
            item
            for (kind, space, _), item in sorted(self.objects.items(), key=lambda entry: entry[0][1:])
            if kind == resource and namespace in (None, space) and _selected(item, label, value)
        ]
        return Listing(tuple(items), str(self.version))

    async def serves(self, resource: Resource) -> bool:
        await self._network()
        return resource not in self.unknown

    async def create(self, resource: Resource, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        await self._network()
        if dry_run:
            return {**copy.deepcopy(dict(document))}
        if resource == EVENTS:
            return dict(document)
        metadata = document["metadata"]
        if (resource, metadata.get("namespace", ""), metadata["name"]) in self.objects:
            raise AlreadyExistsError("it exists", status=409)
        item = self._written(resource, self.put(resource, dict(document)))
        await self._network(answering=True)
        return item

    async def apply(
        self, resource: Resource, document: Mapping[str, Any], *, subresource: str | None = None, force: bool = True
    ) -> Object:
        await self._network()
        metadata = document["metadata"]
        place = (resource, metadata.get("namespace", ""), metadata["name"])
        before = self.objects.get(place)
        if before is None:
            if subresource is not None or "uid" in metadata:
                raise NotFoundError("it is gone", status=404)
            item = self._written(resource, self.put(resource, dict(document)))
        else:
            if metadata.get("uid", before["metadata"]["uid"]) != before["metadata"]["uid"]:
                raise ConflictError("another uid", status=409)
            after = copy.deepcopy(before)
            if subresource == "status":
                after["status"] = copy.deepcopy(document["status"])
            else:
                for name in ("labels", "annotations"):
                    after["metadata"][name] = (after["metadata"].get(name) or {}) | (metadata.get(name) or {})
                after["spec"] = _merged(after.get("spec"), document.get("spec"))
            item = self._written(resource, self._replace(resource, before, after))
        await self._network(answering=True)
        return item

    async def replace(self, resource: Resource, document: Mapping[str, Any]) -> Object:
        await self._network()
        metadata = document["metadata"]
        before = self._there(resource, metadata.get("namespace", ""), metadata["name"])
        if metadata.get("resourceVersion", "") != before["metadata"]["resourceVersion"]:
            raise ConflictError("it changed", status=409)
        after = {**copy.deepcopy(dict(document)), "metadata": {**before["metadata"], **metadata}}
        item = self._written(resource, self._replace(resource, before, after))
        await self._network(answering=True)
        return item

    async def delete(
        self, resource: Resource, name: str, *, namespace: str | None = None, uid: str | None = None
    ) -> bool:
        await self._network()
        item = self._there(resource, namespace or "", name)
        if uid not in (None, item["metadata"]["uid"]):
            raise ConflictError("another uid", status=409)
        self.writes[f"delete {resource.kind}"] += 1
        self.take(resource, namespace or "", name)
        await self._network(answering=True)
        return True

    async def log_tail(self, pod: str, **_: Any) -> bytes:
        await self._network()
        return self.logs[pod]

    # What everyone else does.

    def put(self, resource: Resource, document: Object) -> Object:
        """Create an object, whoever does."""
        item = copy.deepcopy(document)
        metadata = item["metadata"]
        self.version += 1
        metadata |= {
            "uid": f"{resource.kind}-{self.version}",
            "resourceVersion": str(self.version),
            "generation": 1,
            "creationTimestamp": stamp(clock()),
        }
        item |= {"apiVersion": resource.api_version, "kind": resource.kind}
        self.objects[(resource, metadata.get("namespace", ""), metadata["name"])] = item
        self._tell(resource, "ADDED", item)
        return item

    def change(self, resource: Resource, namespace: str, name: str, **parts: Any) -> None:
        """Change parts of an object, e.g. its status, whoever does; nothing where it is gone."""
        before = self.objects.get((resource, namespace, name))
        if before is not None:
            self._replace(resource, before, {**before, **copy.deepcopy(parts)})

    def take(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object and what it owns, whoever does."""
        item = self.objects.pop((resource, namespace, name), None)
        if item is None:
            return
        self.version += 1
        last = copy.deepcopy(item)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._tell(resource, "DELETED", last)
        for (kind, space, child), other in list(self.objects.items()):
            owners = [owner["uid"] for owner in other["metadata"].get("ownerReferences") or ()]
            if item["metadata"]["uid"] in owners:
                self.take(kind, space, child)

    def collect(self) -> None:
        """Delete what is owned by nobody that still exists, as the garbage collector does on its rounds."""
        alive = {item["metadata"]["uid"] for item in self.objects.values()}
        for place, item in list(self.objects.items()):
            owners = [owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()]
            if owners and not alive.intersection(owners):
                self.take(*place)

    def all(self, resource: Resource) -> list[Object]:
        return [item for (kind, _, _), item in self.objects.items() if kind == resource]

    def _there(self, resource: Resource, namespace: str, name: str) -> Object:
        item = self.objects.get((resource, namespace, name))
        if item is None:
            raise NotFoundError(f"no {resource.kind} {name}", status=404)
        return item

    def _replace(self, resource: Resource, before: Object, after: Object) -> Object:
        after = copy.deepcopy(after)
        if all(before.get(part) == after.get(part) for part in ("metadata", "spec", "status", "data", "series")):
            return before
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        if before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        self.objects[(resource, after["metadata"].get("namespace", ""), after["metadata"]["name"])] = after
        self._tell(resource, "MODIFIED", after)
        return after

    def _written(self, resource: Resource, item: Object) -> Object:
        self.writes[f"write {resource.kind}"] += 1
        for check in self.after_write:
            check(resource, item)
        return item

    def _tell(self, resource: Resource, kind: str, item: Object) -> None:
        for listener in self.listeners:
            if self.dice.random() >= self.deaf:
                delay = self.dice.uniform(0, 0.5)
                asyncio.get_running_loop().call_later(delay, listener, resource, kind, item)

    async def _network(self, *, answering: bool = False) -> None:
        await asyncio.sleep(self.dice.uniform(0, 0.05))
        if self.dice.random() < self.faults / (2 if answering else 1):
            raise UnavailableError("the network")


def _selected(item: Object, label: str, value: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    return not label or (label in labels and (not value or labels[label] == value))


def _merged(before: Any, stated: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(stated, dict):
        return copy.deepcopy(stated)
    # Selectors are atomic maps.
    return {name: before[name] for name in before if name not in stated} | {
        name: copy.deepcopy(value) if name == "selector" else _merged(before.get(name), value)
        for name, value in stated.items()
    }


class Surroundings:
    """The Job and Deployment controllers, the kubelet, a gateway and KServe.

    `outcome` gives an evaluation Pod's status.
    """

    def __init__(self, api: FakeApi, outcome: Callable[[Object], tuple[Object, bytes]]) -> None:
        self._api = api
        self._outcome = outcome
        self._tended: set[str] = set()
        api.after_write.append(self._after)

    def _after(self, resource: Resource, item: Object | None) -> None:
        if item is None:
            return
        loop, dice = asyncio.get_running_loop(), self._api.dice
        if resource == JOBS and not item.get("status"):
            loop.call_later(dice.uniform(0.1, 2), self._run, item)
        elif resource == HTTP_ROUTES:
            loop.call_later(dice.uniform(0.05, 1), self._carry, item)
        elif resource == INFERENCE_SERVICES:
            loop.call_later(dice.uniform(0.1, 2), self._make, item, False)
            if item["metadata"]["uid"] not in self._tended:
                self._tended.add(item["metadata"]["uid"])
                loop.call_later(dice.uniform(10, 30), self._make, item, True)
        elif resource == DEPLOYMENTS:
            loop.call_later(dice.uniform(0.1, 5), self._available, item)

    def _run(self, job: Object) -> None:
        metadata = job["metadata"]
        place = (JOBS, metadata["namespace"], metadata["name"])
        if self._api.objects.get(place, {}).get("metadata", {}).get("uid") != metadata["uid"]:
            return
        if any(pod["metadata"]["labels"][LABEL_EVALUATION] == metadata["name"] for pod in self._api.all(PODS)):
            return
        name = f"{metadata['name']}-{self._api.version}"
        template = job["spec"]["template"]
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        pod = self._api.put(
            PODS,
            {
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )
        asyncio.get_running_loop().call_later(self._api.dice.uniform(0.1, 20), self._end, job, pod)

    def _end(self, job: Object, pod: Object) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        status, log = self._outcome(pod)
        self._api.logs[name] = log
        self._api.change(PODS, namespace, name, status=status)
        if status["phase"] in ("Succeeded", "Failed"):
            kind = "Complete" if status["phase"] == "Succeeded" else "Failed"
            over = {"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}]}
            asyncio.get_running_loop().call_later(
                0.2, lambda: self._api.change(JOBS, namespace, job["metadata"]["name"], status=over)
            )

    def _carry(self, item: Object) -> None:
        metadata = item["metadata"]
        present = self._api.objects.get((HTTP_ROUTES, metadata["namespace"], metadata["name"]))
        if present is not None:
            seen = present["metadata"]["generation"]
            parents = [
                {
                    "parentRef": parent,
                    "conditions": [{"type": "Accepted", "status": "True", "reason": "-", "observedGeneration": seen}],
                }
                for parent in present["spec"]["parentRefs"]
            ]
            status = {"parents": parents}
            self._api.change(HTTP_ROUTES, metadata["namespace"], metadata["name"], status=status)

    def _make(self, item: Object, again: bool) -> None:
        """As KServe's controller does, which makes again what somebody deletes."""
        metadata = item["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        present = self._api.objects.get((INFERENCE_SERVICES, namespace, name))
        if present is None or present["metadata"]["uid"] != metadata["uid"]:
            return
        if again:
            asyncio.get_running_loop().call_later(self._api.dice.uniform(10, 30), self._make, item, True)
        self._api.change(INFERENCE_SERVICES, namespace, name, status={"deploymentMode": "Standard"})
        made = deployment_of(present)
        before = self._api.objects.get((DEPLOYMENTS, namespace, made["metadata"]["name"]))
        if before is None:
            before = self._api.put(DEPLOYMENTS, made)
        else:
            self._api.change(DEPLOYMENTS, namespace, made["metadata"]["name"], spec=made["spec"])
        asyncio.get_running_loop().call_later(self._api.dice.uniform(0.1, 5), self._available, before)

    def _available(self, item: Object) -> None:
        metadata = item["metadata"]
        present = self._api.objects.get((DEPLOYMENTS, metadata["namespace"], metadata["name"]))
        if present is not None:
            status = {"observedGeneration": present["metadata"]["generation"], "availableReplicas": 1}
            self._api.change(DEPLOYMENTS, metadata["namespace"], metadata["name"], status=status)
