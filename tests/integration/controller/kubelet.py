"""A node without containers: takes Pods, writes the statuses that a kubelet would, and serves the logs it is told to.

The API server, its Job, Deployment and garbage controllers, and the way a log takes through the API server are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from mandate.api.names import LABEL_EVALUATION, LABEL_REVISION
from mandate.kube.client import Client
from mandate.kube.errors import ApiError
from mandate.kube.resources import PODS, Resource

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NODE = "pretended"
POLL = 0.1


@dataclass(frozen=True)
class Ended:
    """How the judge's container ended: its log, termination message, exit code, and the kubelet's reason."""

    log: bytes = b""
    message: str = ""
    code: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Raw:
    """A status to write as it is; `then` follows once the first was written, e.g. after a disruption."""

    status: dict[str, Any]


@dataclass
class Kubelet:
    """`script` says what becomes of an evaluation Pod; serving Pods become ready unless `ready` says no."""

    client: Client
    script: Callable[[dict[str, Any]], Ended | Raw | None]
    ready: Callable[[dict[str, Any]], bool] = lambda _: True
    logs: dict[str, bytes] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    """Every evaluation Pod that ever ran, by name, with its Job."""

    async def run(self) -> None:
        """For ever: look at all Pods and bring each a step further."""
        while True:
            with contextlib.suppress(ApiError):
                for pod in (await self.client.list(PODS)).items:
                    await self._step(pod)
            await asyncio.sleep(POLL)

    async def _step(self, pod: dict[str, Any]) -> None:
        metadata, labels = pod["metadata"], pod["metadata"].get("labels") or {}
        status = pod.get("status") or {}
        if metadata.get("deletionTimestamp"):
            await self._finish(metadata)
            return
        if not pod["spec"].get("nodeName"):
            await self._bind(pod)
            return
        if LABEL_EVALUATION in labels and status.get("phase") == "Pending":
            self.seen[metadata["name"]] = labels[LABEL_EVALUATION]
            outcome = self.script(pod)
            if isinstance(outcome, Ended):
                self.logs[metadata["name"]] = outcome.log
                await self._write(pod, judged(pod, outcome))
            elif isinstance(outcome, Raw):
                await self._write(pod, outcome.status)
        elif LABEL_REVISION in labels and self.ready(pod) != _is_ready(status):
            await self._write(pod, serving(self.ready(pod)))

    async def _finish(self, metadata: dict[str, Any]) -> None:
        """What a kubelet does when the containers of a deleted Pod have ended; the operator never does."""
        path = PODS.path(namespace=metadata["namespace"], name=metadata["name"])
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        with contextlib.suppress(ApiError):
            await self.client._json("DELETE", path, body=options | {"preconditions": {"uid": metadata["uid"]}})

    async def _bind(self, pod: dict[str, Any]) -> None:
        metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        resource = Resource("", "v1", f"pods/{metadata['name']}/binding", "Binding")
        await self.client.create(resource, binding)

    async def _write(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
        await self.client.apply(PODS, document, subresource="status")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_ready(status: dict[str, Any]) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or ())


def serving(ready: bool) -> dict[str, Any]:
    word = "True" if ready else "False"
    conditions = [{"type": kind, "status": word} for kind in ("Ready", "ContainersReady")]
    return {"phase": "Running", "conditions": conditions, "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}


def container(name: str, pod: dict[str, Any], state: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One container's status; image and names as the API server wants them."""
    every = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    image = next(item["image"] for item in every if item["name"] == name)
    base = {"name": name, "image": image, "imageID": image, "ready": False, "restartCount": 0, "state": state}
    return base | more


def judged(pod: dict[str, Any], ended: Ended) -> dict[str, Any]:
    """The status of an evaluation Pod whose judge has ended."""
    terminated = {
        "exitCode": ended.code,
        "message": ended.message,
        "reason": ended.reason or ("Completed" if ended.code == 0 else "Error"),
        "startedAt": now(),
        "finishedAt": now(),
    }
    done = {"exitCode": 0, "message": '{"digests":{}}', "reason": "Completed", "startedAt": now(), "finishedAt": now()}
    init = [container(item["name"], pod, {"terminated": done}) for item in pod["spec"].get("initContainers", [])]
    return {
        "phase": "Succeeded" if ended.code == 0 else "Failed",
        "initContainerStatuses": init,
        "containerStatuses": [container("judge", pod, {"terminated": terminated})],
    }


@asynccontextmanager
async def kubelet(client: Client, pki: Path, script: Callable[[dict[str, Any]], Any]) -> AsyncIterator[Kubelet]:
    """A pretended node, registered with the API server, while the context lasts."""
    node = Kubelet(client, script)

    async def container_logs(request: web.Request) -> web.Response:
        lines = int(request.query.get("tailLines", "0"))
        log = node.logs.get(request.match_info["pod"], b"")
        if lines:
            log = b"".join(_raw_lines(log)[-lines:])
        return web.Response(body=log)

    app = web.Application()
    app.add_routes([web.get("/containerLogs/{namespace}/{pod}/{container}", container_logs)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    await _register(client, runner.addresses[0][1])
    task = asyncio.create_task(node.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()


def _raw_lines(log: bytes) -> list[bytes]:
    """A log as containerd keeps it: lines cut into chunks of 16 KiB, each of which `tailLines` counts."""
    size = 16 * 1024
    return [line[start : start + size] for line in log.splitlines(keepends=True) for start in range(0, len(line), size)]


async def _register(client: Client, port: int) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    await client.apply(NODES, node)
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Pretended", "message": ""}],
    }
    await client.apply(NODES, node | {"status": status}, subresource="status")
