"""What is worth reading once: things that never change under their digest."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from mandate.controller.desired import EVIDENCE_KEY
from mandate.controller.identity import evidence_name
from mandate.controller.intake import IntakeError, restore
from mandate.evaluate.frame import MAX_DOCUMENT
from mandate.evidence.canonical import digest
from mandate.evidence.schema import Evidence
from mandate.kube.client import Client
from mandate.kube.errors import ForbiddenError, InvalidError, NotFoundError
from mandate.kube.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS

Object = dict[str, Any]
Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The `size` values that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, name: str) -> Value | None:
        """The value, which counts as used now."""
        if name in self._values:
            self._values.move_to_end(name)
        return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        """Keep a value."""
        self._values[name] = value
        self._values.move_to_end(name)
        while len(self._values) > self._size:
            self._values.popitem(last=False)


class EvidenceCache:
    """Evidence records by digest, from their ConfigMaps."""

    def __init__(self, client: Client, *, size: int = 256) -> None:
        self._client = client
        self._recent: Recent[Evidence] = Recent(size)

    async def read(self, evidence_digest: str, *, namespace: str, stored: bool = False) -> Evidence | IntakeError:
        """The evidence, or why it can't be had any more. Only of what is known to be `stored` is a copy as good."""
        known = self._recent.get(evidence_digest) if stored else None
        if known is not None:
            return known
        name = evidence_name(evidence_digest)
        try:
            record = await self._client.get(CONFIG_MAPS, name, namespace=namespace)
        except NotFoundError:
            return IntakeError("EvidenceLost", f"ConfigMap {name}, which held the evidence, is gone")
        try:
            evidence = restore(_unpacked(record), digest=evidence_digest)
        except IntakeError as error:
            return error
        self._recent.put(evidence_digest, evidence)
        return evidence


def _unpacked(record: Mapping[str, Any]) -> bytes:
    try:
        compressed = base64.b64decode((record.get("binaryData") or {})[EVIDENCE_KEY], validate=True)
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(compressed, MAX_DOCUMENT)
    except (KeyError, binascii.Error, zlib.error) as error:
        raise IntakeError("EvidenceDamaged", f"ConfigMap {record['metadata']['name']} holds no evidence") from error


class Defaults:
    """Pod templates as the API server would store them, learnt by dry runs.

    A template that the API server refuses is remembered under its key with the reason, until it is asked for again.
    """

    def __init__(self, client: Client, *, size: int = 4096) -> None:
        self._client = client
        self._recent: Recent[Object] = Recent(size)
        self._refused: Recent[str] = Recent(size)

    def refusal(self, key: str, *, namespace: str) -> str:
        """Why the template last asked for under `key` was refused in the namespace; empty where it wasn't."""
        return self._refused.get(f"{namespace}/{key}") or ""

    async def job(self, key: str, template: Object, *, namespace: str) -> Object | None:
        """The Pod template of a Job; None where the API server refuses it."""
        labels = template["metadata"]["labels"]
        spec = {"manualSelector": True, "selector": {"matchLabels": labels}, "template": template}
        document = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "spec": spec}
        return await self._ask(key, document, namespace=namespace)

    async def deployment(self, key: str, template: Object, *, namespace: str) -> Object | None:
        """The Pod template of a Deployment; None where the API server refuses it."""
        labels = template["metadata"]["labels"]
        spec = {"selector": {"matchLabels": labels}, "template": template}
        document = {"apiVersion": DEPLOYMENTS.api_version, "kind": DEPLOYMENTS.kind, "spec": spec}
        return await self._ask(key, document, namespace=namespace)

    async def _ask(self, key: str, document: Object, *, namespace: str) -> Object | None:
        identity = digest({"namespace": namespace, "document": document})
        known = self._recent.get(identity)
        if known is not None:
            self._refused.put(f"{namespace}/{key}", "")
            return known
        resource = JOBS if document["kind"] == JOBS.kind else DEPLOYMENTS
        labels = document["spec"]["template"]["metadata"]["labels"]
        metadata = {"generateName": "mandate-dry-run-", "namespace": namespace, "labels": labels}
        try:
            answer = await self._client.create(resource, {**document, "metadata": metadata}, dry_run=True)
        except (InvalidError, ForbiddenError) as error:
            self._refused.put(f"{namespace}/{key}", error.message)
            return None
        self._refused.put(f"{namespace}/{key}", "")
        template: Object = answer["spec"]["template"]
        self._recent.put(identity, template)
        return template
