"""Events as clients of the recorder send them, and a real recorder process."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.processes import Serving, serving

PLACE = {"namespace": "lending", "model": "credit"}
NOON = "2026-01-31T12:00:00Z"
BATCHED = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"


def event(type_: str, data: Any, *, id_: str = "1", source: str = "/test") -> dict[str, Any]:
    return {"specversion": "1.0", "id": id_, "source": source, "type": type_, "data": data}


def prediction(request: str = "q", row: int = 0, **fields: Any) -> dict[str, Any]:
    answer = {} if fields.get("failed") else {"answer": {"label": "bad", "probability": 0.75}}
    data = {**PLACE, "revision": "r1", "requestId": request, "row": row, "time": NOON, **answer, **fields}
    return event("dev.mandate.prediction", data)


def outcome(request: str = "q", row: int = 0, **fields: Any) -> dict[str, Any]:
    truth = {} if "value" in fields else {"label": "bad"}
    return event("dev.mandate.outcome", {**PLACE, "requestId": request, "row": row, "time": NOON, **truth, **fields})


def decision(request: str = "q", row: int = 0, **fields: Any) -> dict[str, Any]:
    data = {**PLACE, "requestId": request, "row": row, "time": NOON, "decision": "bad", "by": "ann", "shown": True}
    return event("dev.mandate.decision", data | fields)


def live_path(revision: str = "r1", *, task: str = "Binary", **parameters: str) -> str:
    asked = {"revision": revision, "task": task, "since": "2026-01-01T00:00:00Z", **parameters}
    if task == "Binary":
        asked = {"positive": "bad", **asked}
    return f"/v1/namespaces/lending/models/credit/live?{urllib.parse.urlencode(asked)}"


def call(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, timeout: float = 60
) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            status, text = response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    with contextlib.suppress(ValueError):
        return status, json.loads(text)
    return status, text


def send(url: str, *events: Any, timeout: float = 60) -> tuple[int, Any]:
    return call(f"{url}/v1/events", json.dumps(events).encode(), {"Content-Type": BATCHED}, timeout=timeout)


def recorder(database: Path, *arguments: str, port: int | None = None) -> Serving:
    """A real recorder, ready; yields its URL and process."""
    given, log = ("--database", str(database), *arguments), database.parent / "recorder.log"
    return serving("mandate.recorder", *given, ready="/readyz", port=port, log=log)
