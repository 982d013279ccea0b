"""`python -m mandate.predictor.beside`: stands before a server that isn't ours, and tells the recorder what it answers.

It is a sidecar of serving Pods. Requests and answers pass as they are and as they come; what is recorded is read from
copies, after the answer. Nothing is tried again. A question that gets no answer is recorded as failed, also where its
caller leaves first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import uvicorn
from yarl import URL

from .datatypes import DTYPES, Array
from .gateways import IDLE
from .options import FLUSH_SECONDS, add_recording, shipper_of
from .recording import Exchanges, Message, Receive, Send, asks, under_way
from .shipping import Shipper

log = logging.getLogger("mandate.predictor")

MOST = 2**20
"""Bytes of a request or an answer that are kept to be read, and that are read once they are unpacked.

As JSON it can take 35 MiB of memory at worst, one at a time.
"""
SMALL = 32 * 2**10
"""Bytes that are read at once; what is larger waits for its turn in a thread, so that others are served in between."""
ROOM = 48 * 2**20
"""Bytes that are kept of all of them at once."""
WAITING = 64
"""Copies that may wait to be read; what comes beyond isn't read, as if it were too large."""
MOST_FAILED = 1000
"""Rows of one request that can fail: as many as Mandate's own server says."""
CONNECT_SECONDS = 5.0
PATIENCE = 300.0
"""Seconds for which nothing may pass, to the model or from it; gateways and callers give up long before."""
ANSWERED, UNFINISHED, UNREACHABLE, SILENT = 200, 408, 502, 504
HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
_EITHER = 47
"""What zlib takes for: a gzip or a zlib header, and the largest window."""
_UNPACKED = ("", "identity")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Question:
    """What of a request to the Open Inference Protocol matters here."""

    id: str | None
    rows: int


def question(body: bytes | bytearray) -> Question | None:
    """The request's id, and its rows by the first input, at most MOST_FAILED; None where it isn't the protocol's."""
    try:
        document = json.loads(body)
        rows, given = document["inputs"][0]["shape"][0], document.get("id")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    rows = rows if isinstance(rows, int) else 1
    return Question(id=given if isinstance(given, str) else None, rows=max(1, min(rows, MOST_FAILED)))


def answer(body: bytes | bytearray, output: str) -> Array:
    """The named output of an answer in the protocol's JSON, (rows, …). Raises ValueError with what is wrong."""
    try:
        outputs = {item["name"]: item for item in json.loads(body)["outputs"]}
    except (ValueError, TypeError, LookupError, RecursionError):
        raise ValueError("it isn't JSON of the Open Inference Protocol") from None
    if output not in outputs:
        raise ValueError(f"it has no output {output!r}, but {', '.join(map(repr, outputs)) or 'none'}")
    found = outputs[output]
    try:
        values = np.array(found["data"], dtype=DTYPES[found["datatype"]]).reshape(found["shape"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError(f"output {output!r}: {error}") from None
    if not values.ndim or not len(values):
        raise ValueError(f"output {output!r} has no rows")
    return values


class Room:
    """Bytes that all copies together may hold."""

    def __init__(self, size: int) -> None:
        self._left = size

    def takes(self, size: int) -> bool:
        """Whether there is so much room; then it is taken."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Have room again."""
        self._left += size


class Copy:
    """What passes by, as long as it isn't too large to be kept, while the context lasts.

    `over` at its end. `encoding` is its Content-Encoding.
    """

    def __init__(self, room: Room, encoding: str = "") -> None:
        self.encoding = encoding
        self.over = False
        self._room = room
        self._kept: bytearray | None = bytearray()

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    @property
    def small(self) -> bool:
        """Whether it is read in no time."""
        return not self._kept or (len(self._kept) <= SMALL and self.encoding in _UNPACKED)

    def add(self, part: bytes) -> None:
        """Keep what came next."""
        if self._kept is None:
            return
        if len(self._kept) + len(part) > MOST or not self._room.takes(len(part)):
            self._forget()
            return
        self._kept += part

    def plain(self) -> bytes | bytearray:
        """All of it as it was before it was compressed. Raises ValueError where that isn't known."""
        if self._kept is None:
            raise ValueError(f"it has more than {MOST} bytes, or too many others came at once")
        return plain(self._kept, self.encoding)

    def _forget(self) -> None:
        if self._kept is not None:
            self._room.give(len(self._kept))
            self._kept = None


class Watch:
    """Over one exchange: within the context, waiting ends with TimeoutError once the caller has left or nothing passes.

    Nothing passes where for `patience` seconds neither side sends or takes anything. `left`: the caller has. `owed`
    while the caller is to send the rest of the body.
    """

    def __init__(self, receive: Receive, patience: float) -> None:
        self.left = self.owed = False
        self._receive = receive
        self._patience = patience
        self._limit = asyncio.timeout(patience)
        self._hearing: asyncio.Task[None] | None = None
        self._over = False

    async def __aenter__(self) -> Watch:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self.trust()
        await self._limit.__aexit__(kind, error, trace)

    @property
    def silent(self) -> bool:
        """Whether nothing passed for too long."""
        return self._limit.expired() and not self.left

    def passed(self) -> None:
        """Something did: patience begins anew."""
        if not self._over and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._patience)

    async def body(self, copy: Copy) -> AsyncIterator[bytes]:
        """What the caller sends; from its end on they are heard. Raises ConnectionResetError where they leave first."""
        while True:
            self.owed = True
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                raise ConnectionResetError("the caller is gone")
            self.owed = False
            self.passed()
            part = message.get("body", b"")
            copy.add(part)
            if part:
                yield part
            if not message.get("more_body"):
                copy.over = True
                self.hear()
                return

    def hear(self) -> None:
        """From here on the caller has nothing to say but that they leave."""
        if not self._over:
            self._hearing = asyncio.create_task(self._hear())

    def trust(self) -> None:
        """From here on nobody is heard."""
        if self._hearing is not None:
            self._hearing.cancel()

    async def _hear(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())


class Passing:
    """ASGI: passes a request to the server at `upstream`, and its answer back.

    Tells the exchange under way what was asked and what `output` answered; `lose` hears of rows whose answer can't be
    read.
    """

    def __init__(
        self,
        *,
        upstream: str,
        output: str,
        session: aiohttp.ClientSession,
        lose: Callable[[int, str], None],
        reader: Executor,
        patience: float = PATIENCE,
    ) -> None:
        """`reader` reads what isn't small, and is to do one thing at a time."""
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._output = output
        self._session = session
        self._lose = lose
        self._reader = reader
        self._patience = patience
        self._room = Room(ROOM)
        self._waiting = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        # Anything else, such as `@elsewhere`, could be read as another server's address.
        if not path.startswith(b"/") or scope["method"] == "CONNECT":
            await _say(send, 400, f"expected a path, got {path.decode(errors='replace')[:100]!r}")
            return
        headers = dict(scope["headers"])
        # RFC 9112, 6.1, leaves it to a server. Who sends both has it in mind that two servers see two ends of the body.
        if b"transfer-encoding" in headers and b"content-length" in headers:
            await _say(send, 400, "expected Content-Length or Transfer-Encoding, got both: leave one out")
            return
        room = self._room if asks(scope) else Room(0)
        with (
            Copy(room, headers.get(b"content-encoding", b"").decode("latin-1").lower()) as asked,
            Copy(room) as told,
        ):
            status = await self._pass(scope, path, receive, send, asked=asked, told=told)
            if status is not None and asks(scope):
                await self._read(status, asked, told)

    async def _pass(
        self, scope: MutableMapping[str, Any], path: bytes, receive: Receive, send: Send, *, asked: Copy, told: Copy
    ) -> int | None:
        """The status that came of it, also where the caller didn't wait for it; None where they never asked."""
        url = URL.build(
            scheme="http",
            host=self._host,
            port=self._port,
            path=path.decode("latin-1"),
            query_string=scope["query_string"].decode("latin-1"),
            encoded=True,
        )
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        headers = [(_text(name), _text(value)) for name, value in kept(scope["headers"], but={b"expect"})]
        begun, status = False, UNREACHABLE
        watch = Watch(receive, self._patience)
        try:
            async with watch:
                if not has_body:
                    watch.hear()
                async with self._session.request(
                    scope["method"],
                    url,
                    headers=headers,
                    data=watch.body(asked) if has_body else None,
                    allow_redirects=False,
                ) as response:
                    watch.passed()
                    told.encoding = response.headers.get("Content-Encoding", "").lower()
                    if asks(scope):
                        await self._name(asked, response.headers.get("x-request-id"))
                    begun = True
                    await send(_start(response.status, kept(response.raw_headers)))
                    async for part in response.content.iter_any():
                        told.add(part)
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                        watch.passed()
                    status = response.status
                    watch.trust()  # the model has answered, whoever takes it
                    await send({"type": "http.response.body", "body": b""})
                    return status
        except (aiohttp.ClientError, OSError) as error:
            if watch.left and not asked.over and has_body:
                return None
            if watch.left:
                await self._name(asked, None)
                return status
            if begun:
                if asks(scope):
                    await self._read(status, asked, told)
                raise  # the caller has half an answer: the connection must end
            if watch.silent and watch.owed:
                await _say(send, UNFINISHED, f"for {self._patience:g} s nothing came of the body: send all of it")
                return None
            if watch.silent:
                status, words = SILENT, f"the model's server took and said nothing for {self._patience:g} s"
            else:
                words = f"the model's server can't be reached: {error}"
        log.warning("%s", words)
        if has_body and not asked.over:
            rest = Watch(receive, self._patience)
            with suppress(TimeoutError, ConnectionResetError):
                async with rest:
                    async for _ in rest.body(asked):
                        pass
            if rest.left:
                return None
        await self._name(asked, None)
        await _say(send, status, words)
        return status

    async def _name(self, asked: Copy, given: str | None) -> None:
        """See that the exchange has an id before the answer begins: the caller's, the server's, or the body's."""
        exchange = under_way()
        if exchange.request_id is None:
            found = None if given else await self._asked(asked)
            exchange.asked(request_id=given or (found.id if found else None), rows=0)

    async def _read(self, status: int, asked: Copy, told: Copy) -> None:
        """What was asked and answered, as far as it is about the model.

        What the server refuses is a failure where it is a question by the protocol: which rows are answered isn't the
        model's to choose. Nothing is recorded of answers that can't be read, but that they are missing.
        """
        exchange = under_way()
        if exchange.request_id is None:
            return
        if status == ANSWERED:
            try:
                exchange.values = await self._in_turn(told, lambda: answer(told.plain(), self._output))
                exchange.rows = len(exchange.values)
            except ValueError as error:
                self._lose(_rows(await self._asked(asked)), f"an answer can't be read: {error}")
        elif status >= 400:
            found = await self._asked(asked)
            if status >= 500 or found is not None:
                exchange.rows = _rows(found)

    async def _asked(self, asked: Copy) -> Question | None:
        try:
            return await self._in_turn(asked, lambda: question(asked.plain()))
        except ValueError:
            return None

    async def _in_turn(self, copy: Copy, read: Callable[[], _Read]) -> _Read:
        """What `read` makes of the copy: here where it is small, else by the reader. Raises ValueError as `read`."""
        if copy.small:
            return read()
        if self._waiting >= WAITING:
            raise ValueError(f"{WAITING} others wait to be read")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, read)
        finally:
            self._waiting -= 1


def _rows(found: Question | None) -> int:
    return found.rows if found is not None else 1


async def _say(send: Send, status: int, words: str) -> None:
    """An answer of our own; the connection ends, as whoever listens elsewhere may be better."""
    await send(_start(status, [(b"content-type", b"application/json"), (b"connection", b"close")]))
    await send({"type": "http.response.body", "body": json.dumps({"error": words}).encode()})


def _text(value: bytes) -> str:
    """As aiohttp writes it again: it encodes in UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def plain(body: bytes | bytearray, encoding: str) -> bytes | bytearray:
    """A body as it was before it was compressed, at most MOST bytes. Raises ValueError."""
    if encoding in _UNPACKED:
        return body
    if encoding not in ("gzip", "deflate"):
        raise ValueError(f"its Content-Encoding is {encoding!r}")
    unpacking = zlib.decompressobj(_EITHER)
    try:
        found = unpacking.decompress(body, MOST)
    except zlib.error as error:
        raise ValueError(f"its Content-Encoding is {encoding!r}, but {error}") from None
    if not unpacking.eof:
        raise ValueError(f"it has more than {MOST} bytes, or was cut off")
    return found


def kept(headers: Sequence[tuple[bytes, bytes]], *, but: Set[bytes] = frozenset()) -> list[tuple[bytes, bytes]]:
    """All headers but those that are between two neighbours only (RFC 9110, 7.6.1), and `but`; names in lower case.

    Content-Length isn't true beside Transfer-Encoding (RFC 9112, 6.3).
    """
    lower = [(name.lower(), value) for name, value in headers]
    if any(name == b"transfer-encoding" for name, _ in lower):
        but = but | {b"content-length"}
    named = {item.strip().lower() for name, value in lower if name == b"connection" for item in value.split(b",")}
    return [(name, value) for name, value in lower if name not in HOP_BY_HOP | named | but]


class LostError(aiohttp.ClientError):
    """The connection to the model's server ended before the answer began."""


async def once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Middleware: aiohttp asks again after the errors that are another here, where the method is idempotent."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise LostError(str(error)) from error


async def serve(*, host: str, port: int, upstream: str, output: str, shipper: Shipper, patience: float) -> None:
    """Stand at `port` before `upstream` until SIGTERM or SIGINT."""
    # A connection for each request: one that was idle may be closed by the server just when it is used.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            middlewares=(once,),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as session:
            passing = Passing(
                upstream=upstream, output=output, session=session, lose=shipper.lose, reader=reader, patience=patience
            )
            await _listen(host, port, Exchanges(passing, record=shipper.put, inputs=shipper.wants_inputs))


async def _listen(host: str, port: int, recorded: Exchanges) -> None:
    config = uvicorn.Config(
        recorded,
        host=host,
        port=port,
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=IDLE,
    )
    await uvicorn.Server(config).serve()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mandate.predictor.beside", description="Record what another server answers.")
    parser.add_argument("--upstream", required=True, help="the model's server, such as http://127.0.0.1:9000")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104  # Services
    parser.add_argument("--port", type=int, default=8090, help="port to listen on")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE, help="seconds for which nothing may pass until a request ends"
    )
    add_recording(parser, os.environ)
    options = parser.parse_args(arguments)
    if not 0 < options.patience < float("inf"):
        parser.error(f"--patience: expected seconds above 0, got {options.patience:g}")
    if urlsplit(options.upstream).scheme != "http" or not urlsplit(options.upstream).hostname:
        parser.error(f"--upstream: expected a URL such as http://127.0.0.1:9000, got {options.upstream!r}")
    shipper, declared = shipper_of(parser, options)
    if shipper is None:
        parser.error("--record is needed: without a recorder there is nothing to do here")
    shipper.start()
    # Uvicorn ends well after a signal, and then raises it once more for whoever was to hear it before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        asyncio.run(
            serve(
                host=options.host,
                port=options.port,
                upstream=options.upstream,
                output=declared.output,
                shipper=shipper,
                patience=options.patience,
            )
        )
    finally:
        shipper.close(FLUSH_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
