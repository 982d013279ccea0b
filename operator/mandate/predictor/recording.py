"""What is recorded of an answered request: who asked, what the declared output said, how long it took."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .datatypes import Array
from .raw import HEADER_LENGTH

REQUEST_ID = b"x-request-id"
SHARED_BY = b"mandate-shared-by"
"""Names the header by whose value the gateway drew this version; its routes set it on what they share out."""
_UNIT_DIGITS = 32
REPLAYED = b"mandate-replayed"
"""On a request that the recorder sends again: its input is known there."""
BYTES_BEHIND = HEADER_LENGTH.lower().encode()
"""On a request whose tensors are bytes behind its JSON: no text that could be kept and sent again."""
MAX_INPUT = 200_000
"""Bytes of a request's body that are kept for a replay; larger ones aren't kept at all."""
_LONGEST_ID = 128
_CLOSE = 1e-6
"""How far a probability may miss 0 to 1: room for float32."""

Kind = Literal["Probability", "Label", "Value", "Quantiles"]
MEDIAN = "0.5"
Answer = dict[str, str | float]
"""`label` with `probability` where there is one, or `value`."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Which output is the answer, and how it is read; as `model.output` and `task.positive` of the ModelDeployment.

    Of Quantiles, `classes` names each column's, and the answer is the median.
    """

    output: str
    kind: Kind
    classes: tuple[str, ...] = ()
    positive: str | None = None
    cutoff: float = 0.5

    def problem(self) -> str | None:
        """What is wrong with the declaration, None where it holds."""
        if self.kind == "Probability" and self.positive is None and not self.classes:
            return "a Probability needs a positive class, or a class for each column"
        if self.kind == "Quantiles" and MEDIAN not in self.classes:
            return f"Quantiles need the quantile of each column, {MEDIAN} among them"
        if self.positive is not None and self.classes and (self.positive not in self.classes or len(self.classes) != 2):
            return f"beside the positive class {self.positive!r} there are two classes, it among them, or none declared"
        return None


@dataclass(frozen=True, kw_only=True)
class Input:
    """What was asked: the request's path and body, to be asked again. The body is text, in UTF-8."""

    path: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One request that was answered. `values` (rows, …) holds the declared output; None where it failed.

    `time` in seconds since 1970, `latency` in milliseconds. `unit` is what was drawn to choose this version: the
    request, or a digest of the entity that it is about; None where nothing was. `input` only where somebody wants
    inputs.
    """

    request_id: str
    unit: str | None = None
    time: float
    latency: float
    rows: int
    values: Array | None
    input: Input | None = None


@dataclass(kw_only=True)
class Exchange:
    """What is known so far of the request under way."""

    request_id: str | None = None
    rows: int = 0
    values: Array | None = None

    def asked(self, *, request_id: str | None, rows: int) -> None:
        """The model was reached. The x-request-id header goes before the protocol's own id."""
        self.request_id = self.request_id or usable_id(request_id) or str(uuid.uuid4())
        self.rows = rows


_under_way: ContextVar[Exchange | None] = ContextVar("under_way", default=None)


def under_way() -> Exchange:
    """The exchange that the present task answers."""
    return _under_way.get() or Exchange()


def asks(scope: MutableMapping[str, Any]) -> bool:
    """Whether it is a question to the model, whose answer is recorded."""
    return scope["type"] == "http" and scope["method"] == "POST" and bool(scope["path"].endswith("/infer"))


def usable_id(text: str | None) -> str | None:
    """The id where it can travel in a header and be kept: 1 to 128 printable ASCII characters."""
    if text and len(text) <= _LONGEST_ID and text.isascii() and text.isprintable():
        return text
    return None


def drawn_unit(headers: Iterable[tuple[bytes, bytes]], *, request_id: str) -> str | None:
    """What was drawn to choose who answers; `headers` in lower case, as ASGI has them.

    An entity's value isn't kept, only its digest. A request without it was drawn by itself.
    """
    given = list(headers)
    by = next((value.lower() for name, value in given if name == SHARED_BY), b"")
    if not by:
        return None
    # As Envoy draws: an empty value is one as any other, and of several the order doesn't matter.
    values = sorted(value for name, value in given if name == by)
    if not values or by == REQUEST_ID:
        return request_id
    return hashlib.sha256(b",".join(values)).hexdigest()[:_UNIT_DIGITS]


def answers(values: Array, declared: Declared) -> list[Answer | None]:
    """Each row's answer; None where it isn't finite. `values`: (rows,) or (rows, columns).

    The label is that of the judge: the positive class from the cut-off on, in the output's own precision, or the most
    probable class. A negative class that nobody named is `not <positive>`. Raises ValueError where the shape, the type
    or a probability doesn't fit the declaration.
    """
    wide = values.reshape(len(values), -1) if values.ndim <= 2 else values
    width = wide.shape[1] if wide.ndim == 2 else 0
    if width not in (expected := _widths(declared)):
        raise ValueError(f"output {declared.output!r} has shape {list(values.shape)}, expected {expected} columns")
    if declared.kind == "Label":
        return [None if (text := _text(value)) is None else {"label": text} for value in wide[:, 0].tolist()]
    if wide.dtype.kind not in "fiu":
        raise ValueError(f"output {declared.output!r} holds {wide.dtype}, expected numbers")
    finite = [all(row) for row in np.isfinite(wide).tolist()]
    if declared.kind == "Value":
        found: list[Answer] = [{"value": float(value)} for value in wide[:, 0].tolist()]
    elif declared.kind == "Quantiles":
        found = [{"value": float(value)} for value in wide[:, declared.classes.index(MEDIAN)].tolist()]
    else:
        found = _probable(wide, declared)
    return [answer if fine else None for answer, fine in zip(found, finite, strict=True)]


def _widths(declared: Declared) -> set[int]:
    if declared.kind in ("Label", "Value"):
        return {1}
    if declared.positive is None or declared.classes:
        return {len(declared.classes)}
    return {1, 2}


def _probable(wide: Array, declared: Declared) -> list[Answer]:
    outside = wide[(wide < -_CLOSE) | (wide > 1 + _CLOSE)]
    outside = outside[np.isfinite(outside)]
    if outside.size:
        raise ValueError(f"output {declared.output!r} holds {outside[0]:g}, expected probabilities")
    if declared.positive is None:
        best = np.argmax(wide, axis=1)
        chosen = wide[np.arange(len(wide)), best]
        labels = [declared.classes[place] for place in best.tolist()]
    else:
        place = declared.classes.index(declared.positive) if declared.classes else wide.shape[1] - 1
        negative = declared.classes[1 - place] if declared.classes else f"not {declared.positive}"
        chosen = wide[:, place]
        cutoff = chosen.dtype.type(declared.cutoff) if chosen.dtype.kind == "f" else declared.cutoff
        labels = [declared.positive if reached else negative for reached in (chosen >= cutoff).tolist()]
    probabilities = np.clip(chosen.astype(np.float64), 0.0, 1.0).tolist()
    return [{"label": label, "probability": value} for label, value in zip(labels, probabilities, strict=True)]


def _text(value: Any) -> str | None:
    """A class as tables spell it: whole floats as integers, truth values in lower case; None for NaN."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)
    return str(value)


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Exchanges:
    """ASGI: gives every answer to an infer request its x-request-id back, and tells `record` what was answered."""

    def __init__(
        self,
        application: Application,
        *,
        record: Callable[[Answered], None] | None,
        inputs: Callable[[], bool] = lambda: False,
    ) -> None:
        """`inputs` says whether what is asked now is wanted as well."""
        self._application = application
        self._record = record
        self._inputs = inputs

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection's event, as ASGI has it."""
        if not asks(scope):
            await self._application(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
        exchange = Exchange(request_id=usable_id(given.decode("latin-1")))
        body = _Body(receive) if self._record is not None and _repeatable(scope) and self._inputs() else None
        began = time.perf_counter()
        status, ended = 500, None

        async def sending(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                if exchange.request_id is not None:
                    others = (header for header in message.get("headers", ()) if header[0].lower() != REQUEST_ID)
                    message = {**message, "headers": [*others, (REQUEST_ID, exchange.request_id.encode())]}
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                ended = time.perf_counter()

        token = _under_way.set(exchange)
        try:
            await self._application(scope, receive if body is None else body.receive, sending)
        finally:
            _under_way.reset(token)
            if self._record is not None and exchange.request_id is not None and exchange.rows:
                self._record(
                    Answered(
                        request_id=exchange.request_id,
                        unit=drawn_unit(scope["headers"], request_id=exchange.request_id),
                        time=time.time(),
                        latency=((ended or time.perf_counter()) - began) * 1000,
                        rows=exchange.rows,
                        values=exchange.values if status == 200 else None,
                        input=body.input(scope["path"]) if body is not None and status == 200 else None,
                    )
                )


def _repeatable(scope: MutableMapping[str, Any]) -> bool:
    """Whether the request is what its body says, and is no repetition itself."""
    return not any(name in (REPLAYED, b"content-encoding", BYTES_BEHIND) for name, _ in scope["headers"])


class _Body:
    """A request's body as it passes by, as long as it isn't too large to be kept."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: bytearray | None = bytearray()

    async def receive(self) -> Message:
        """The next message, as the application gets it."""
        message = await self._receive()
        if message["type"] == "http.request":
            part = message.get("body", b"")
            if self._kept is not None and len(self._kept) + len(part) <= MAX_INPUT:
                self._kept += part
            else:
                self._kept = None
        return message

    def input(self, path: str) -> Input | None:
        """What was asked; None where it is too large or isn't text."""
        if not self._kept:
            return None
        try:
            self._kept.decode()
        except UnicodeDecodeError:
            return None
        return Input(path=path, body=bytes(self._kept))
