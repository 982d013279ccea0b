"""A proxy before the API server that kills the operator before and after each of its writes.

Every process of the operator has a port of its own, so the proxy knows whose request it sees. Writes are told apart by
method, path and body without times and resource versions. At the first sight of a write the process dies before the
write is passed on; at the second it dies after the API server has done it, before it hears so; from then on the write
passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp
import yaml
from aiohttp import web

from mandate.kube.client import load_configuration

WRITES = ("POST", "PUT", "PATCH", "DELETE")
CHANGING = re.compile(
    rb'"resourceVersion": ?"[0-9]+",? ?|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z'
)
HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding", "accept-encoding"}


class Process(Protocol):
    """What can be killed."""

    def kill(self) -> None: ...


@dataclass
class Proxy:
    """Passes on what operators ask; with `deadly`, kills as the module says."""

    upstream: str
    tls: ssl.SSLContext
    deadly: bool
    writes: Counter[str] = field(default_factory=Counter)
    """How often each write was seen; passed-on ones included."""
    kills: int = 0
    jobs_created: Counter[str] = field(default_factory=Counter)
    """Jobs that the API server created, by name."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _runners: list[web.AppRunner] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self.tls, limit=0)
        # Operators must not get what they didn't ask for: the API server compresses what is longer than 128 KiB.
        plain = ("Accept-Encoding",)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, skip_auto_headers=plain)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def door(self, victim: dict[str, Process], folder: Path) -> Path:
        """A kubeconfig for one operator process; `victim["process"]` is filled in once it runs."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, victim)

        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        path = folder / f"kubeconfig-{port}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "proxy", "user": {}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    async def _handle(self, request: web.Request, victim: dict[str, Process]) -> web.StreamResponse:
        body = await request.read()
        # Events tell people what the state says anyway; one that is lost is let go.
        counted = (
            request.method in WRITES
            and not {"leases", "events"} & set(request.path.split("/"))
            and request.query.get("dryRun", "") != "All"
        )
        if not counted:
            return await self._pass_on(request, body)
        async with self._lock:
            if victim.get("dead"):
                raise ConnectionResetError
            write = f"{request.method} {request.path} {CHANGING.sub(b'', body).decode()}"
            self.writes[write] += 1
            if self.deadly and self.writes[write] == 1:
                self._kill(victim)
                raise ConnectionResetError
            status, headers, answer = await self._ask(request, body)
            if request.method == "POST" and request.path.endswith("/jobs") and status == 201:
                self.jobs_created[json.loads(body)["metadata"]["name"]] += 1
            if self.deadly and self.writes[write] == 2:
                self._kill(victim)
                raise ConnectionResetError
            return web.Response(status=status, headers=headers, body=answer)

    def _kill(self, victim: dict[str, Process]) -> None:
        victim["process"].kill()
        victim["dead"] = victim["process"]
        self.kills += 1

    async def _ask(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        async with self._request(request, body) as answer:
            return answer.status, _headers(answer.headers), await answer.read()

    async def _pass_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        async with self._request(request, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=_headers(answer.headers))
            await response.prepare(request)
            # A process that died doesn't hear the rest.
            with contextlib.suppress(ConnectionError):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response

    def _request(self, request: web.Request, body: bytes) -> aiohttp.client._RequestContextManager:
        assert self._session is not None
        return self._session.request(
            request.method,
            self.upstream + request.path_qs,
            headers=_headers(request.headers),
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None),
        )


def _headers(headers: object) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}  # type: ignore[attr-defined]


async def administrator(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """The API server's address and the administrator's TLS from a kubeconfig."""
    configuration = await load_configuration(kubeconfig=str(kubeconfig))
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return configuration.host, context
