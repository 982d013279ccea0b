"""An asynchronous client of the API server: raw JSON in and out, a timeout on every request, typed errors.

The official package supplies configuration, credentials and connections. Its generated models aren't used: decoding
them costs more than the operator's own work, and they drop fields that they don't know.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from mandate.api.names import FIELD_MANAGER
from mandate.kube.errors import ApiError, InvalidError, NotFoundError, UnavailableError, from_response
from mandate.kube.resources import PODS, Resource

Object = dict[str, Any]

AGENT = "mandate-controller"
DEFAULT_TIMEOUT = 10.0
PAGE_SIZE = 500
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON = "application/json"


@dataclass(frozen=True)
class Listing:
    """All objects of a kind at one resource version."""

    items: tuple[Object, ...]
    resource_version: str


class Client:
    """Requests to one API server. `timeout` is seconds per request, everything included.

    `manager` is whose the fields are that it writes, `agent` who it says it is in the audit log.
    """

    def __init__(
        self,
        transport: Any,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        manager: str = FIELD_MANAGER,
        agent: str = AGENT,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._manager = manager
        self._agent = agent

    def with_timeout(self, timeout: float) -> Client:
        """The same connections with another time limit per request, in seconds."""
        return Client(self._transport, timeout=timeout, manager=self._manager, agent=self._agent)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def get(self, resource: Resource, name: str, *, namespace: str | None = None) -> Object:
        """One object; raises NotFoundError."""
        return await self._json("GET", resource.path(namespace=namespace, name=name))

    async def list(
        self, resource: Resource, *, namespace: str | None = None, selector: str = "", page_size: int = PAGE_SIZE
    ) -> Listing:
        """All objects, read page by page; `apiVersion` and `kind`, which lists leave out, are filled in."""
        items: list[Object] = []
        continued = ""
        while True:
            query = {"limit": str(page_size)} | ({"labelSelector": selector} if selector else {})
            query |= {"continue": continued} if continued else {}
            page = await self._json("GET", resource.path(namespace=namespace), query=query)
            for item in page.get("items") or ():
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                items.append(item)
            metadata = page.get("metadata") or {}
            continued = metadata.get("continue") or ""
            if not continued:
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server knows this kind at all."""
        try:
            known = await self._json("GET", f"/apis/{resource.api_version}" if resource.group else "/api/v1")
        except NotFoundError:
            return False
        return any(item["name"] == resource.plural for item in known.get("resources") or ())

    async def create(self, resource: Resource, document: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Create an object, or with `dry_run` only say what it would be; raises AlreadyExistsError."""
        path = resource.path(namespace=document["metadata"].get("namespace"))
        query = {"fieldManager": self._manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._json("POST", path, query=query, body=document)

    async def apply(
        self, resource: Resource, document: Mapping[str, Any], *, subresource: str | None = None, force: bool = True
    ) -> Object:
        """Server-side apply: what `document` states is ours, what we stated before and no longer do is removed.

        With `metadata.uid`, raises InvalidError if another object has the name now; without `force`, TakenError where
        somebody else has set a field otherwise.
        """
        metadata = document["metadata"]
        path = resource.path(namespace=metadata.get("namespace"), name=metadata["name"], subresource=subresource)
        query = {"fieldManager": self._manager, "force": str(force).lower()}
        return await self._json("PATCH", path, query=query, body=document, content_type=APPLY_PATCH)

    async def replace(
        self,
        resource: Resource,
        document: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        """Replace an object; with `metadata.resourceVersion`, raises ConflictError if it changed meanwhile."""
        metadata = document["metadata"]
        path = resource.path(namespace=metadata.get("namespace"), name=metadata["name"], subresource=subresource)
        return await self._json("PUT", path, query={"fieldManager": self._manager}, body=document)

    async def merge(self, resource: Resource, document: Mapping[str, Any]) -> Object:
        """JSON merge patch: only what `document` states changes."""
        metadata = document["metadata"]
        path = resource.path(namespace=metadata.get("namespace"), name=metadata["name"])
        query = {"fieldManager": self._manager}
        return await self._json("PATCH", path, query=query, body=document, content_type=MERGE_PATCH)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Delete one object; returns whether it is gone, rather than waiting for its finalizers.

        Raises ConflictError if `uid` or `resource_version` isn't what is there, NotFoundError if nothing is.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {key: value for key, value in preconditions.items() if value is not None},
        }
        answer = await self._json("DELETE", resource.path(namespace=namespace, name=name), body=body)
        return answer.get("kind") == "Status"

    async def log_tail(
        self, pod: str, *, namespace: str, container: str, lines: int, keep: int, read_at_most: int
    ) -> bytes:
        """The end of a container's log, at most `keep` bytes of it.

        `lines` bounds what the kubelet sends; runtimes cut long lines into chunks of 16 KiB and the kubelet counts each
        chunk, so ask for enough of them. (`limitBytes` would keep the beginning.) Memory stays within `keep` plus one
        chunk; raises InvalidError once more than `read_at_most` bytes came.
        """
        query = {"container": container, "tailLines": str(lines)}
        path = PODS.path(namespace=namespace, name=pod, subresource="log")
        chunks: deque[bytes] = deque()
        held = total = 0
        async with aclosing(self._stream("GET", path, query=query)) as stream:
            async for chunk in stream:
                total += len(chunk)
                if total > read_at_most:
                    raise InvalidError(f"the log's last {lines} lines are longer than {read_at_most} bytes")
                chunks.append(chunk)
                held += len(chunk)
                while chunks and held - len(chunks[0]) >= keep:
                    held -= len(chunks.popleft())
        return b"".join(chunks)[-keep:]

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Object:
        chunks = self._stream(method, path, query=query, body=body, content_type=content_type)
        raw = b"".join([chunk async for chunk in chunks])
        document = json.loads(raw)
        if not isinstance(document, dict):
            raise ApiError(f"{method} {path}: expected a JSON object, got {raw[:100]!r}")
        return document

    async def _stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> AsyncGenerator[bytes, None]:
        configuration = self._transport.configuration
        url = configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": self._agent}
        limit = self._timeout
        try:
            await self._transport.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = await self._transport.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=limit)
            )
            async with answer.response as response:
                if response.status >= 400:
                    raise from_response(response.status, await response.content.read(1 << 20))
                async for chunk in response.content.iter_any():
                    yield chunk
        except TimeoutError as error:
            raise UnavailableError(f"{method} {path}: no answer within {limit:g} s") from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise UnavailableError(f"{method} {path}: {error}") from error


async def connect(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    request_timeout: float = DEFAULT_TIMEOUT,
    manager: str = FIELD_MANAGER,
    agent: str = AGENT,
) -> Client:
    """A client from `kubeconfig`, else from the Pod's service account, else from $KUBECONFIG or the user's default."""
    configuration = await load_configuration(kubeconfig=kubeconfig, context=context)
    return Client(ApiClient(configuration), timeout=request_timeout, manager=manager, agent=agent)


async def load_configuration(*, kubeconfig: str | None = None, context: str | None = None) -> Any:
    """The official package's Configuration, with token refresh in a Pod; raises its ConfigException without any."""
    configuration = Configuration()
    # Proxies from the environment are for the outside world; a proxy for the API server is named in the kubeconfig.
    configuration.client_session_kwargs = {"trust_env": False}
    if _in_pod(kubeconfig, context):
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    return configuration


def default_namespace(*, kubeconfig: str | None = None, context: str | None = None) -> str:
    """The namespace that the kubeconfig's context names, or the Pod's own, else `default`; raises as `connect`."""
    if _in_pod(kubeconfig, context):
        return POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.exists() else "default"
    contexts, current = config.list_kube_config_contexts(config_file=kubeconfig)
    chosen = current if context is None else next((item for item in contexts if item["name"] == context), {})
    return str((chosen.get("context") or {}).get("namespace") or "default")


def _in_pod(kubeconfig: str | None, context: str | None) -> bool:
    return kubeconfig is None and context is None and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
