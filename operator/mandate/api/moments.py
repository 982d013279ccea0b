"""Times as Kubernetes writes them. Pure: `now` is always a parameter, in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def stamp(now: float) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; raises ValueError for anything else."""
    return datetime.fromisoformat(text).timestamp()


def elapsed(text: str, now: float) -> float:
    """Seconds from `text` to `now`; never negative, since clocks differ."""
    return max(0.0, now - instant(text))


def age(item: Mapping[str, Any]) -> tuple[str, str]:
    """Sorts objects, the oldest first; names break ties."""
    metadata = item["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])
