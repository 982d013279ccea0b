"""Predictions on their way to the recorder: queued by the server, sent by a thread of their own.

Nothing here can slow or fail an answer: the queue is bounded, what doesn't fit is dropped, counted and reported with
the next batch. What was taken is sent again until the recorder has it; it knows repetitions by request and row.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from .recording import Answered, Declared, answers

log = logging.getLogger("mandate.predictor")

PATH = "/v1/events"
_HOPELESS = frozenset({400, 413, 415, 422})
"""Statuses that the same batch would always get."""
_BATCH_BYTES = 900_000
"""Below the recorder's limit of 1 MiB."""
_MOST_BYTES = _BATCH_BYTES // 2
"""Of one event, so that one always fits into a batch beside a report of drops."""
_LOG_EVERY = 30.0


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
        self._logged: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, answered: Answered) -> None:
        """Queue a request's predictions, or count them as dropped; returns at once."""
        with self._changed:
            if self._end is None and self._rows + answered.rows <= self._pace.capacity:
                self._queue.append(answered)
                self._rows += answered.rows
            else:
                self._dropped += answered.rows
            self._changed.notify()

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
                    self._lose(answered.rows, f"an answer isn't what was declared: {error}")
            if not self._send(events):
                return
            with self._changed:
                self._rows -= sum(answered.rows for answered in batch)

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
            self._lose(len(events) - len(rest), f"events of more than {_MOST_BYTES} bytes")
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
        if self._connection is None:
            kind: Callable[..., HTTPConnection] = HTTPSConnection if self._secure else HTTPConnection
            self._connection = kind(self._host, self._port, timeout=self._pace.timeout)
        self._connection.request("POST", self._path, body, {"Content-Type": "application/cloudevents-batch+json"})
        response = self._connection.getresponse()
        text = response.read(65_536)
        if response.read(1):
            self._disconnect()
        if response.status in _HOPELESS:
            self._lose(predictions, f"status {response.status}: {text[:300]!r}")
        elif response.status >= 300:
            raise _RetryError(f"status {response.status}: {text[:300]!r}")
        elif response.status == 207:
            self._lose(_refused(text), f"refused: {text[:300]!r}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _lose(self, rows: int, why: str) -> None:
        with self._changed:
            self._dropped += rows
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
        return [
            self._event("dev.mandate.prediction", f"{answered.request_id}.{row}", {**shared, "row": row, **said})
            for row, said in enumerate(found)
        ]

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


def _refused(text: bytes) -> int:
    try:
        return len(json.loads(text)["refused"])
    except (ValueError, KeyError, TypeError):
        return 0


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
