"""Asks a server over the Open Inference Protocol v2 (HTTP): ready, metadata, answers for whole tables."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import pyarrow as pa

from mandate.api.spec import ModelInputs, ModelOutput, Task
from mandate.predictor.datatypes import DTYPES, Array, Tensor
from mandate.predictor.raw import EXTENSION
from mandate.predictor.usage import PATH as USAGE_PATH

from .answers import batches, check_batch, check_output, join
from .codec import Body, decode_response, encode_request
from .errors import InferenceError
from .features import Features, features

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of one answer that are read at most."""
MAX_TEXT = 300
"""Characters of a server's own words that are quoted."""
_KEEP_ALIVE = 2.0  # seconds; shorter than servers' own, so that a reused connection isn't just being closed


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long to wait, in seconds, and how much to ask at once."""

    ready: float = 120.0
    """Until the model is ready, since the judge's start."""
    request: float = 30.0
    """For one batch."""
    total: float = 1200.0
    """For all batches."""
    loaded: float = 10.0
    """For one request under load; after that it counts as unanswered."""
    concurrency: int = 2
    """Batches under way at once."""


@dataclass(frozen=True)
class Metadata:
    """What the server says of itself and the model; None where it doesn't say."""

    server: str
    binary: bool
    version: str | None
    inputs: Mapping[str, Tensor] | None
    outputs: Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Usage:
    """What the server says it used since its start: CPU in seconds, memory at most in bytes.

    `cold`: seconds from its process's start until it listened.
    """

    cold: float
    cpu: float
    memory: float


class Client:
    """One model on one server. Make it with `connect`; call `wait_ready`, then `metadata`, then `predict`."""

    def __init__(self, session: aiohttp.ClientSession, *, url: str, model: str, limits: Limits) -> None:
        self._session = session
        self._model_url = f"{url.rstrip('/')}/v2/models/{quote(model, safe='')}"
        self._server_url = f"{url.rstrip('/')}/v2"
        self._usage_url = f"{url.rstrip('/')}{USAGE_PATH}"
        self._limits = limits

    async def wait_ready(self, *, clock: Callable[[], float] = time.monotonic) -> float:
        """Seconds until the model was ready. Raises InferenceError PredictorNotReady with what was seen last."""
        start = clock()
        pause, seen = 0.02, "nothing"
        while (waited := clock() - start) < self._limits.ready:
            patience = min(5.0, self._limits.ready - waited)
            try:
                timeout = aiohttp.ClientTimeout(total=patience)
                async with self._session.get(
                    f"{self._model_url}/ready", timeout=timeout, allow_redirects=False
                ) as response:
                    if response.status == 200:
                        return clock() - start
                    seen = f"status {response.status}: {await _words(response)}"
            except TimeoutError:
                # The last request has what is left of the time: that it got no answer says less than what came before.
                if patience == 5.0 or seen == "nothing":
                    seen = f"no answer to a readiness request within {patience:.3g} s"
            except (aiohttp.ClientError, OSError) as error:
                seen = f"{type(error).__name__}: {error}"
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)
        raise InferenceError(
            "PredictorNotReady", f"the model wasn't ready after {self._limits.ready:g} s; last seen: {seen}"
        )

    async def metadata(self) -> Metadata:
        """What the server declares; a server that declares nothing isn't at fault."""
        server = await self._json(self._server_url)
        model = await self._json(self._model_url)
        versions, extensions = model.get("versions"), server.get("extensions")
        return Metadata(
            server=_name(f"{server.get('name', 'unknown')} {server.get('version', '')}"),
            binary=isinstance(extensions, list) and EXTENSION in extensions,
            version=_name(str(versions[0])) if isinstance(versions, list) and versions else None,
            inputs=_tensors(model.get("inputs")),
            outputs=_tensors(model.get("outputs")),
        )

    async def usage(self, *, container: bool) -> Usage | None:
        """What the server's container used, or its process alone; None where it doesn't say."""
        try:
            said = await self._json(self._usage_url)
        except InferenceError:  # it needn't know this path, so it may do with it what it likes
            return None
        part = (said.get("container") if container else None) or said.get("process")
        try:
            found = Usage(float(said["cold"]), float(part["cpu"]), float(part["memory"]))  # type: ignore[index]
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        known = all(0 <= number < math.inf for number in (found.cold, found.cpu, found.memory))
        return found if known else None

    async def predict(self, fed: Features, *, output: ModelOutput, task: Task, metadata: Metadata) -> Array:
        """The declared output for all rows: (rows,) or (rows, classes). Raises InferenceError."""
        ranges = batches(fed.rows, size=fed.batch)
        parts: list[Array | None] = [None] * len(ranges)
        waiting = iter(enumerate(ranges))

        async def work() -> None:
            for index, (start, stop) in waiting:
                body = self.body(fed, start, stop, output=output, metadata=metadata)
                try:
                    parts[index] = await self.ask(body, output=output, task=task, rows=stop - start)
                except InferenceError as error:
                    raise InferenceError(
                        error.code, f"rows {start} to {stop - 1} of {fed.rows}: {error}", field=error.field
                    ) from error

        try:
            async with asyncio.timeout(self._limits.total), asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(ranges))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            # Not `except*`: Python before 3.11.4 puts what is raised in there into a group again.
            ours = errors.subgroup(InferenceError)
            if ours is None:
                raise
            raise _first(ours) from None
        except TimeoutError:
            done = sum(stop - start for part, (start, stop) in zip(parts, ranges, strict=True) if part is not None)
            raise InferenceError(
                "PredictorTimeout",
                f"the predictor answered {done} of {fed.rows} rows in {self._limits.total:g} s; "
                "make it faster, or evaluate fewer rows",
            ) from None
        return join([part for part in parts if part is not None], output=output)

    def features(self, table: pa.Table, *, inputs: ModelInputs, output: ModelOutput, metadata: Metadata) -> Features:
        """The table's tensors as this model takes them, after checking what it declares."""
        check_output(output, metadata.outputs)
        return features(table, inputs=inputs, declared=metadata.inputs)

    def body(self, fed: Features, start: int, stop: int, *, output: ModelOutput, metadata: Metadata) -> Body:
        """The request for some rows."""
        return encode_request(
            fed.take(start, stop), datatypes=fed.datatypes, outputs=[output.name], binary=metadata.binary
        )

    async def answer(self, body: Body, *, timeout: float | None = None) -> Body:  # noqa: ASYNC109  # per request
        """The server's answer to one request.

        Raises InferenceError PredictorCrashed (connection lost, or a status from 500), PredictorTimeout,
        RequestRefused (another status than 200) or MalformedAnswer (too long). Nothing is tried twice.
        """
        seconds = timeout or self._limits.request
        try:
            async with self._session.post(
                f"{self._model_url}/infer",
                data=body.data,
                headers=body.headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,  # rows go to the model that is judged, and only its answers count
            ) as response:
                if response.status >= 500:
                    raise InferenceError("PredictorCrashed", f"status {response.status}: {await _words(response)}")
                if response.status != 200:
                    raise InferenceError("RequestRefused", f"status {response.status}: {await _words(response)}")
                return Body(await _read(response), dict(response.headers))
        except TimeoutError as error:
            raise InferenceError("PredictorTimeout", f"no answer within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise InferenceError(
                "PredictorCrashed", f"the connection to the predictor was lost: {type(error).__name__}: {error}"
            ) from error

    async def ask(
        self,
        body: Body,
        *,
        output: ModelOutput,
        task: Task,
        rows: int,
        timeout: float | None = None,  # noqa: ASYNC109  # per request
    ) -> Array:
        """The declared output for the `rows` that one request asks about: (rows,) or (rows, classes).

        Raises InferenceError as `answer`, and where the answer is none: MalformedAnswer, UnknownOutput, WrongType,
        WrongShape.
        """
        found = decode_response(await self.answer(body, timeout=timeout), outputs=[output.name])
        datatype, array = found[output.name]
        return check_batch(output, task, datatype=datatype, answer=array, rows=rows)

    async def _json(self, url: str) -> dict[str, Any]:
        try:
            timeout = aiohttp.ClientTimeout(total=self._limits.request)
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
                if response.status != 200:
                    return {}
                document = json.loads(await _read(response))
        except TimeoutError as error:
            raise InferenceError("PredictorTimeout", f"no metadata within {self._limits.request:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise InferenceError("PredictorCrashed", f"while asked for metadata: {error}") from error
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


@asynccontextmanager
async def connect(url: str, *, model: str, limits: Limits) -> AsyncIterator[Client]:
    """A client for `model` on the server at `url`; no proxies, no redirects to elsewhere, no cookies."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=True
    ) as session:
        yield Client(session, url=url, model=model, limits=limits)


def _name(text: str) -> str:
    """What a server says of itself, short and without halves of characters, which no evidence could hold."""
    return text.strip()[:128].encode("utf-8", "replace").decode("utf-8")


def _tensors(declared: Any) -> dict[str, Tensor] | None:
    """Declared tensors by name; None where there are none or they can't be read."""
    try:
        tensors = [
            Tensor(str(item["name"]), str(item["datatype"]), tuple(int(size) for size in item["shape"]))
            for item in declared or ()
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    known = {tensor.name: tensor for tensor in tensors if tensor.datatype in DTYPES}
    return known or None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for block in response.content.iter_chunked(1 << 16):
        data += block
        if len(data) > MAX_ANSWER:
            raise InferenceError("MalformedAnswer", f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(data)


async def _words(response: aiohttp.ClientResponse) -> str:
    """The start of what the server says, its `error` where it is JSON."""
    text = (await response.content.read(1 << 16)).decode("utf-8", "replace")
    try:
        document = json.loads(text)
        text = str(document["error"]) if isinstance(document, dict) and "error" in document else text
    except (ValueError, RecursionError):
        pass
    return text[:MAX_TEXT].strip() or "nothing said"


def _first(errors: BaseExceptionGroup[InferenceError]) -> InferenceError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
