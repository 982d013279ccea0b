"""Requests whose tensors are bytes behind their JSON: what MLServer's HTTP has not, and 200,000 rows need.

All else passes on to MLServer. Answers are the same; outputs come as bytes where the request wants them so.
"""

from __future__ import annotations

import asyncio
import json
import struct
import uuid
from collections.abc import Collection, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from .answering import Answering, claimed_rows
from .datatypes import Array
from .errors import ModelError
from .raw import HEADER_LENGTH, from_bytes, to_bytes
from .recording import BYTES_BEHIND, Application, Exchange, Receive, Send, asks, under_way
from .tensors import RequestError, decode, shaped


@dataclass(frozen=True)
class _Question:
    id: str
    arrays: dict[str, Array]
    outputs: tuple[str, ...]
    as_bytes: frozenset[str]


class Binary:
    """ASGI: answers binary requests to `paths` on `threads`; `application` answers all others."""

    def __init__(
        self,
        application: Application,
        *,
        answering: Answering,
        paths: Collection[str],
        name: str,
        version: str,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._application = application
        self._answering = answering
        self._paths = frozenset(paths)
        self._named = {"model_name": name, "model_version": version}
        self._threads = threads

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        length = next((value for name, value in scope.get("headers", ()) if name == BYTES_BEHIND), None)
        if length is None or not asks(scope) or scope["path"] not in self._paths:
            await self._application(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        loop = asyncio.get_running_loop()
        exchange = under_way()
        response: Response
        try:
            question = await loop.run_in_executor(self._threads, self._read, length, body, exchange)
            answers = await loop.run_in_executor(
                self._threads, self._answering.answer, question.arrays, question.outputs, exchange
            )
            response = self._written(question, answers)
        except (RequestError, ModelError) as error:
            response = JSONResponse({"error": str(error)}, status_code=400)
        await response(scope, receive, send)

    def _read(self, length: bytes, body: bytes, exchange: Exchange) -> _Question:
        if not length.isdigit() or not 0 < int(length) <= len(body):
            raise RequestError(f"{HEADER_LENGTH}: {length[:32]!r} of a body of {len(body)} bytes")
        end = int(length)
        try:
            document = json.loads(body[:end])
            inputs = [dict(item) for item in document["inputs"]]
            outputs = [dict(item) for item in document.get("outputs") or ()]
            every = bool((document.get("parameters") or {}).get("binary_data_output", False))
            named = [(str(item["name"]), _parameters(item).get("binary_data", every)) for item in outputs]
            identity = given if isinstance(given := document.get("id"), str) and given else str(uuid.uuid4())
            shape = list(inputs[0]["shape"]) if inputs else []
            rows = claimed_rows([length for length in shape if type(length) is int])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RequestError(f"the JSON isn't a request of the Open Inference Protocol v2: {error}"[:300]) from error
        exchange.asked(request_id=identity, rows=rows)
        arrays: dict[str, Array] = {}
        for item in inputs:
            name, array, end = self._tensor(item, body, end, known=arrays)
            arrays[name] = array
        if end != len(body):
            raise RequestError(f"{len(body) - end} bytes more than the inputs announce")
        wanted = self._answering.wanted(name for name, _ in named)
        as_bytes = {name for name, asked in named if asked is True} if named else set(wanted) if every else set()
        return _Question(identity, arrays, wanted, frozenset(as_bytes))

    def _tensor(self, item: dict[str, Any], body: bytes, at: int, *, known: dict[str, Array]) -> tuple[str, Array, int]:
        name = str(item.get("name"))
        tensor = self._answering.declared(name, known=known)
        shape, size = item.get("shape"), _parameters(item).get("binary_data_size")
        if not isinstance(shape, list) or not all(type(length) is int for length in shape):
            raise RequestError(f"input {name!r}: expected a shape, got {str(shape)[:64]}")
        datatype = str(item.get("datatype"))
        if size is None:
            data = item.get("data")
            if not isinstance(data, list):
                raise RequestError(f"input {name!r}: expected data, or parameters.binary_data_size")
            return name, decode(tensor, datatype=datatype, shape=shape, data=data), at
        if type(size) is not int or not 0 <= size <= len(body) - at:
            left = len(body) - at
            raise RequestError(f"input {name!r}: binary_data_size is {str(size)[:32]}, {left} bytes are left")
        if datatype != tensor.datatype:
            raise RequestError(f"input {name!r}: expected datatype {tensor.datatype}, got {datatype[:32]}")
        try:
            values = from_bytes(datatype, body[at : at + size])
        except (ValueError, struct.error) as error:
            raise RequestError(f"input {name!r}: its bytes aren't {datatype}: {error}") from error
        return name, shaped(tensor, values, shape), at + size

    def _written(self, question: _Question, answers: dict[str, Array]) -> Response:
        outputs, blobs = [], []
        for name in question.outputs:
            array = answers[name]
            datatype = self._answering.model.outputs[name].datatype
            described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
            if name in question.as_bytes:
                blobs.append(to_bytes(array))
                described["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                described["data"] = _plain(array)
            outputs.append(described)
        document = {**self._named, "id": question.id, "outputs": outputs}
        header = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if not blobs:
            return Response(header, media_type="application/json")
        headers = {HEADER_LENGTH: str(len(header))}
        return Response(b"".join([header, *blobs]), media_type="application/octet-stream", headers=headers)


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
    found = item.get("parameters")
    return found if isinstance(found, dict) else {}


def _plain(array: Array) -> list[Any]:
    """For JSON, which has neither NaN nor infinities: null, as MLServer writes them."""
    values: list[Any] = array.ravel().tolist()
    if array.dtype.kind != "f":
        return values
    return [value if value - value == 0 else None for value in values]
