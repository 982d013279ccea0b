"""A web server of this machine's for files, with the faults that servers have."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web


@dataclass
class Site:
    """Files by path, and what was asked for. `faults` say how often a path fails, and with which status."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    retry_after: str | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    secret: str | None = None
    """The Authorization header that is asked for."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append((path, dict(request.headers)))
        if self.secret is not None and request.headers.get("Authorization") != self.secret:
            return web.Response(status=401)
        if self.faults.get(path):
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return web.Response(status=self.faults[path].pop(0), headers=headers)
        if path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[path]})
        fault, _, name = path.removeprefix("/").partition("/")
        content = self.files.get(f"/{name}")
        if content is not None:
            return await self._faulty(request, fault, content)
        if path not in self.files:
            return web.Response(status=404, text="secret things of other people")
        return web.Response(body=self.files[path])

    async def _faulty(self, request: web.Request, fault: str, content: bytes) -> web.StreamResponse:
        if fault == "partial":
            return web.Response(status=206, body=content[:10], headers={"Content-Range": f"bytes 0-9/{len(content)}"})
        if fault == "packed":
            return web.Response(body=content, headers={"Content-Encoding": "gzip"})
        if fault == "silent":
            await asyncio.sleep(30)
        response = web.StreamResponse()
        if fault == "short":
            response.content_length = len(content)
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(content if fault == "chunked" else content[: len(content) // 2])
        if fault in ("short", "cut"):
            assert request.transport is not None
            request.transport.close()
        return response


@contextmanager
def serve(site: Site, *, certificate: tuple[Path, Path] | None = None) -> Iterator[Site]:
    """Serve on the loopback interface until the end; `site.url` says where."""
    loop, started, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", site.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        site.url = f"{'http' if context is None else 'https'}://127.0.0.1:{port}"
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    started.wait(10)
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


@contextmanager
def saying(*pieces: bytes, pause: float = 0.0) -> Iterator[str]:
    """The URL of a server that answers any request with these bytes, `pause` seconds between two pieces, and ends."""
    server, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            for piece in pieces:
                connection.sendall(piece)
                if ended.wait(pause):
                    return

    def run() -> None:
        with suppress(OSError):
            while True:
                answer(server.accept()[0])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, which is its own authority, and its key."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=test", "-days", "2"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
