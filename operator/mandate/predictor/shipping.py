"""Predictions on their way to the recorder: queued by the server, sent by a thread of their own.

Nothing here can slow or fail an answer: the queue is bounded, what doesn't fit is dropped, counted and reported with
the next batch. What was taken is sent again until the recorder has it; it knows repetitions by request and row.

Inputs go along only while the recorder asks for them, no faster than it asks, and each is sent once: they are samples.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from .recording import Answered, Declared, Input, answers

log = logging.getLogger("mandate.predictor")

PATH = "/v1/events"
_HOPELESS = frozenset({400, 413, 415, 422})
"""Statuses that the same batch would always get."""
_BATCH_BYTES = 900_000
"""Below the recorder's limit of 1 MiB."""
_MOST_BYTES = _BATCH_BYTES // 2
"""Of one event, so that one always fits into a batch beside a report of drops."""
_LOG_EVERY = 30.0
INPUTS = "Mandate-Inputs"
"""In the recorder's answers: how many inputs a second it wants of this server, none without it."""
_MOST_INPUTS = 1000
"""A second, that can be asked for."""
_INPUT_BYTES = 8 * 2**20
"""Of inputs that wait; what comes beyond isn't kept."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whose predictions these are."""

    namespace: str
    model: str
    revision: str


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Bounds. `capacity` rows may wait; a batch holds at most `batch` and is sent `linger` s after its first.

    `timeout` s for one attempt; the n-th retry comes after about `base` * 2^n s, at most `cap`.
    """

    capacity: int = 10_000
    batch: int = 500
    linger: float = 0.25
    timeout: float = 5.0
    base: float = 0.5
    cap: float = 30.0


class _RetryError(Exception):
    """The recorder couldn't take the batch now."""


class Shipper:
    """Sends to the recorder at `url` (`http://host:port`, or a whole URL) from `start` to `close`."""

    def __init__(self, url: str, *, source: Source, declared: Declared, pace: Pace | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL such as http://recorder:8080, got {url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = (parts.path if parts.path not in ("", "/") else PATH) + (f"?{parts.query}" if parts.query else "")
        self._source = source
        self._declared = declared
        self._pace = pace or Pace()
        self._reporter = uuid.uuid4().hex
        self._connection: HTTPConnection | None = None
        self._changed = threading.Condition()
        self._queue: deque[Answered] = deque()
        self._rows = 0
        self._dropped = 0
        self._reported = 0
        self._end: float | None = None
        self._inputs_rate = 0.0
        self._inputs_after = 0.0
        self._inputs_size = 0
        self._logged: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wants_inputs(self) -> bool:
        """Whether the recorder wants what is asked as well, and the next one's turn has come."""
        return self._inputs_rate > 0 and time.monotonic() >= self._inputs_after

    def put(self, answered: Answered) -> None:
        """Queue a request's predictions, or count them as dropped; returns at once."""
        with self._changed:
            if answered.input is not None and not self._takes(answered.input):
                answered = replace(answered, input=None)
            if self._end is None and self._rows + answered.rows <= self._pace.capacity:
                self._queue.append(answered)
                self._rows += answered.rows
            else:
                self._dropped += answered.rows
                self._inputs_size -= _size(answered)
            self._changed.notify()

    def _takes(self, asked: Input) -> bool:
        """Whether there is time and room for an input; then both are taken."""
        now, size = time.monotonic(), len(asked.body)
        if self._inputs_rate <= 0 or now < self._inputs_after or self._inputs_size + size > _INPUT_BYTES:
            return False
        self._inputs_after = now + 1 / self._inputs_rate
        self._inputs_size += size
        return True

    def close(self, patience: float) -> int:
        """Send what waits for at most `patience` seconds; how many rows never arrived since the start."""
        with self._changed:
            self._end = time.monotonic() + patience
            self._changed.notify()
        self._thread.join(patience)
        with self._changed:
            lost = self._dropped + self._rows
        if lost:
            log.warning("%d predictions were never recorded, as far as is known", lost)
        return lost

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            events: list[bytes] = []
            for answered in batch:
                try:
                    events += self._events(answered)
                except Exception as error:  # whatever a model answers, recording goes on
                    self.lose(answered.rows, f"an answer isn't what was declared: {error}")
            if not self._send(events):
                return
            self._send_inputs(batch)
            with self._changed:
                self._rows -= sum(answered.rows for answered in batch)
                self._inputs_size -= sum(map(_size, batch))

    def _next(self) -> list[Answered] | None:
        """The next requests to send, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._unreported() or self._end is not None)
            self._changed.wait_for(
                lambda: self._end is not None or self._rows >= self._pace.batch, timeout=self._pace.linger
            )
            if self._end is not None and not self._queue and not self._unreported():
                return None
            batch: list[Answered] = []
            rows = 0
            while self._queue and (not batch or rows + self._queue[0].rows <= self._pace.batch):
                batch.append(self._queue.popleft())
                rows += batch[-1].rows
            return batch

    def _unreported(self) -> bool:
        return self._dropped > self._reported

    def _send(self, events: list[bytes]) -> bool:
        """Everything in one or more requests, drops reported in the first; False where time ran out."""
        rest = deque(event for event in events if len(event) < _MOST_BYTES)
        if len(rest) < len(events):
            self.lose(len(events) - len(rest), f"events of more than {_MOST_BYTES} bytes")
        while True:
            with self._changed:
                dropped = self._dropped
            part = [self._drops(dropped)] if dropped > self._reported else []
            predictions, size = 0, sum(map(len, part))
            while rest and predictions < self._pace.batch and size + len(rest[0]) < _BATCH_BYTES:
                part.append(rest.popleft())
                size += len(part[-1]) + 1
                predictions += 1
            if not part:
                return True
            if not self._deliver(b"[" + b",".join(part) + b"]", predictions=predictions):
                return False
            self._reported = dropped

    def _send_inputs(self, batch: list[Answered]) -> None:
        """Once, as far as the recorder still wants them."""
        rest = deque(event for answered in batch if (event := self._input(answered)) and len(event) < _MOST_BYTES)
        while rest and self._inputs_rate > 0 and self._end is None:
            part = [rest.popleft()]
            size = len(part[0])
            while rest and size + len(rest[0]) < _BATCH_BYTES:
                part.append(rest.popleft())
                size += len(part[-1]) + 1
            try:
                status, text = self._request(b"[" + b",".join(part) + b"]")
            except (OSError, HTTPException) as error:
                self._disconnect()
                self._say("inputs", "%d inputs weren't taken: %s", len(part) + len(rest), error)
                return
            if status != 200:
                self._say("inputs", "of %d inputs some weren't taken: status %d: %r", len(part), status, text[:300])

    def _deliver(self, body: bytes, *, predictions: int) -> bool:
        """Whether the recorder has it, or never will; False where time ran out."""
        pause = self._pace.base
        while True:
            try:
                self._post(body, predictions=predictions)
                return True
            except (_RetryError, OSError, HTTPException) as error:
                self._disconnect()
                self._say("retry", "the recorder doesn't take predictions, trying on: %s", error)
            with self._changed:
                jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads servers, hides nothing
                self._changed.wait_for(lambda: self._end is not None, timeout=pause * jitter)
                left = None if self._end is None else self._end - time.monotonic()
            if left is None:
                pause = min(self._pace.cap, pause * 2)
            elif left <= 0:
                return False
            else:
                time.sleep(min(left, self._pace.base))

    def _post(self, body: bytes, *, predictions: int) -> None:
        status, text = self._request(body)
        if status in _HOPELESS:
            self.lose(predictions, f"status {status}: {text[:300]!r}")
        elif status >= 300:
            raise _RetryError(f"status {status}: {text[:300]!r}")
        elif status == 207:
            self.lose(_refused(text), f"refused: {text[:300]!r}")

    def _request(self, body: bytes) -> tuple[int, bytes]:
        """Status and the beginning of the answer, which also says whether inputs are wanted from now on."""
        if self._connection is None:
            kind: Callable[..., HTTPConnection] = HTTPSConnection if self._secure else HTTPConnection
            self._connection = kind(self._host, self._port, timeout=self._pace.timeout)
        self._connection.request("POST", self._path, body, {"Content-Type": "application/cloudevents-batch+json"})
        response = self._connection.getresponse()
        text = response.read(65_536)
        if response.read(1):
            self._disconnect()
        with self._changed:
            self._inputs_rate = _rate(response.getheader(INPUTS))
        return response.status, text

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def lose(self, rows: int, why: str) -> None:
        """Count predictions as dropped, and say why."""
        with self._changed:
            self._dropped += rows
            self._changed.notify()
        self._say("lost", "%d predictions can't be recorded: %s", rows, why)

    def _say(self, topic: str, message: str, *arguments: object) -> None:
        """Log, but about one topic only once in a while."""
        now = time.monotonic()
        if now - self._logged.get(topic, -_LOG_EVERY) >= _LOG_EVERY:
            self._logged[topic] = now
            log.warning(message, *arguments)

    def _events(self, answered: Answered) -> list[bytes]:
        if answered.values is None:
            found: list[dict[str, Any]] = [{"failed": True}] * answered.rows
        else:
            found = [
                {"failed": True} if answer is None else {"answer": answer}
                for answer in answers(answered.values, self._declared)
            ]
        shared = {"requestId": answered.request_id, "time": _rfc3339(answered.time), "latencyMs": answered.latency}
        shared |= {"unit": answered.unit} if answered.unit is not None else {}
        return [
            self._event("dev.mandate.prediction", f"{answered.request_id}.{row}", {**shared, "row": row, **said})
            for row, said in enumerate(found)
        ]

    def _input(self, answered: Answered) -> bytes | None:
        if answered.input is None:
            return None
        data = {"requestId": answered.request_id, "time": _rfc3339(answered.time)}
        data |= {"path": answered.input.path, "body": answered.input.body.decode()}
        return self._event("dev.mandate.input", f"{answered.request_id}.input", data)

    def _drops(self, dropped: int) -> bytes:
        data = {"reporter": self._reporter, "dropped": dropped, "time": _rfc3339(time.time())}
        return self._event("dev.mandate.drops", f"{self._reporter}.{dropped}", data)

    def _event(self, type_: str, id_: str, data: dict[str, Any]) -> bytes:
        source = self._source
        event = {
            "specversion": "1.0",
            "id": id_,
            "source": f"/namespaces/{source.namespace}/models/{source.model}/revisions/{source.revision}",
            "type": type_,
            "data": {
                "namespace": source.namespace,
                "model": source.model,
                "revision": source.revision,
                **data,
            },
        }
        return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _size(answered: Answered) -> int:
    return len(answered.input.body) if answered.input is not None else 0


def _rate(said: str | None) -> float:
    """Inputs a second, 0 where nothing is said that can be understood."""
    try:
        rate = float(said or 0)
    except ValueError:
        return 0.0
    return rate if 0 < rate <= _MOST_INPUTS else 0.0


def _refused(text: bytes) -> int:
    try:
        return len(json.loads(text)["refused"])
    except (ValueError, KeyError, TypeError):
        return 0


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
