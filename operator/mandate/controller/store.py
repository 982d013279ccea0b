"""What the cluster looked like when we last heard: fed by watches, by our own writes, and by re-lists.

Reads cost nothing here. A stale read is harmless, because names are deterministic and writes carry preconditions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mandate.api.names import LABEL_EVALUATION, LABEL_MODEL
from mandate.kube.resources import CONFIG_MAPS, Resource

Object = dict[str, Any]
OnChange = Callable[[Resource, Object | None, Object | None], None]
"""Called with the object before and after; None where there was none or is none."""

INDEXED_LABELS = (LABEL_MODEL, LABEL_EVALUATION)
TOMBSTONES = 4096


class Store:
    """Objects by kind, namespace and name, with an index on our labels.

    `upsert` and `remove` come in any order and more than once; an object never goes back to an older version, and one
    that was seen deleted doesn't come back.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._objects: dict[tuple[Resource, str], dict[str, Object]] = {}
        self._by_label: dict[tuple[Resource, str, str, str], set[str]] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One object; `namespace` is empty for cluster-scoped kinds."""
        return self._objects.get((resource, namespace), {}).get(name)

    def all(self, resource: Resource, namespace: str | None = None) -> tuple[Object, ...]:
        """Every object of a kind, sorted by name; of all namespaces where none is given."""
        spaces = (
            [objects for (kind, _), objects in self._objects.items() if kind == resource]
            if namespace is None
            else [self._objects.get((resource, namespace), {})]
        )
        return tuple(item for objects in spaces for _, item in sorted(objects.items()))

    def labelled(self, resource: Resource, namespace: str, label: str, value: str) -> tuple[Object, ...]:
        """Objects whose `label` (one of INDEXED_LABELS) is `value`, sorted by name."""
        names = self._by_label.get((resource, namespace, label, value), set())
        objects = self._objects.get((resource, namespace), {})
        return tuple(objects[name] for name in sorted(names))

    def upsert(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Take an object as it is now; returns whether that was news."""
        metadata = item["metadata"]
        namespace, name, uid = metadata.get("namespace", ""), metadata["name"], metadata.get("uid", "")
        before = self.get(resource, namespace, name)
        if uid in self._tombstones:
            return False
        if before is not None and not _newer(item, before):
            return False
        after = _trimmed(resource, item)
        if before is not None:
            self._unindex(resource, before)
        self._objects.setdefault((resource, namespace), {})[name] = after
        for key in _index_keys(resource, after):
            self._by_label.setdefault(key, set()).add(name)
        self._on_change(resource, before, after)
        return True

    def remove(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Take an object as deleted; returns whether that was news."""
        metadata = item["metadata"]
        namespace, name, uid = metadata.get("namespace", ""), metadata["name"], metadata.get("uid", "")
        if uid:
            self._tombstones[uid] = None
            while len(self._tombstones) > TOMBSTONES:
                self._tombstones.popitem(last=False)
        before = self.get(resource, namespace, name)
        if before is None or (uid and before["metadata"].get("uid", "") != uid):
            return False
        self._unindex(resource, before)
        del self._objects[(resource, namespace)][name]
        self._on_change(resource, before, None)
        return True

    def relist(
        self, resource: Resource, items: Iterable[Mapping[str, Any]], *, version: str, namespace: str | None = None
    ) -> int:
        """Take a complete list of a kind (in one namespace, or everywhere) at `version`; returns how much was news.

        What is stored but isn't listed was deleted unseen, unless it is newer than the list.
        """
        news = 0
        listed: set[tuple[str, str]] = set()
        for item in items:
            listed.add((item["metadata"].get("namespace", ""), item["metadata"]["name"]))
            news += self.upsert(resource, item)
        for item in self.all(resource, namespace):
            place = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
            if place not in listed and _version(item["metadata"].get("resourceVersion")) <= _version(version):
                news += self.remove(resource, item)
        return news

    def _unindex(self, resource: Resource, item: Object) -> None:
        for key in _index_keys(resource, item):
            names = self._by_label.get(key, set())
            names.discard(item["metadata"]["name"])
            if not names:
                self._by_label.pop(key, None)


def _index_keys(resource: Resource, item: Object) -> list[tuple[Resource, str, str, str]]:
    metadata = item["metadata"]
    labels = metadata.get("labels") or {}
    return [
        (resource, metadata.get("namespace", ""), label, labels[label]) for label in INDEXED_LABELS if label in labels
    ]


def _trimmed(resource: Resource, item: Mapping[str, Any]) -> Object:
    """Without managedFields and the data of ConfigMaps, most of the bytes; with the kind, which lists leave out."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    kept = {key: value for key, value in item.items() if resource != CONFIG_MAPS or key not in ("data", "binaryData")}
    return {**kept, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _newer(item: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return _version(item["metadata"].get("resourceVersion")) > _version(before["metadata"].get("resourceVersion"))


def _version(text: str | None) -> int:
    """Resource versions are comparable as numbers (KEP-5504; so they were in etcd before)."""
    return int(text) if text and text.isdigit() else 0
