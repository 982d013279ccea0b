"""Events for people: one per change of a condition, the same one counted rather than repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mandate.api.names import FIELD_MANAGER
from mandate.controller.conditions import cut
from mandate.evidence.canonical import digest
from mandate.kube.client import Client
from mandate.kube.errors import AlreadyExistsError, ApiError
from mandate.kube.resources import EVENTS
from mandate.rollout.state import OPERATOR

log = logging.getLogger(__name__)

Object = dict[str, Any]
NOTE_LIMIT = 1024
CONTROLLER = "mandate.dev/controller"
TOLD = (
    "AskUnderstood",
    "ClockTrusted",
    "Degraded",
    "SharesAsDeclared",
    "SharesByEntity",
    "Stalled",
    "Failed",
    "CandidateRefused",
    "Evaluated",
    "Granted",
    "Ready",
)
"""Conditions whose changes are told, what says most first; the rest can be read from the object."""
BAD_WHEN = {
    "AskUnderstood": "False",
    "CandidateRefused": "True",
    "ClockTrusted": "False",
    "Degraded": "True",
    "SharesAsDeclared": "False",
    "SharesByEntity": "False",
    "Failed": "True",
    "Stalled": "True",
    "Ready": "",
    "Granted": "",
    "Evaluated": "False",
}
"""Under which status a change is a warning."""


@dataclass(frozen=True)
class Note:
    """One thing to tell about an object."""

    warning: bool
    reason: str
    text: str


def changes(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> tuple[Note, ...]:
    """What changed for people between two lists of conditions: one note per reason, whatever it changed. Pure."""
    known = {item["type"]: (item["status"], item["reason"]) for item in before}
    notes: dict[str, Note] = {}
    for item in sorted((item for item in after if item["type"] in TOLD), key=lambda item: TOLD.index(item["type"])):
        kind, status, reason = item["type"], item["status"], item["reason"]
        quiet = status == "False" and kind in ("CandidateRefused", "Failed", "Stalled")
        quiet = quiet or (status == "Unknown" and kind in ("SharesAsDeclared", "SharesByEntity"))
        if quiet or known.get(kind) == (status, reason):
            continue
        notes.setdefault(reason, Note(status == BAD_WHEN[kind], reason, f"{kind}: {item.get('message') or reason}"))
    return tuple(notes.values())


WARNED = (
    "CutOff",
    "Failed",
    "Degraded",
    "Demoted",
    "RolledBack",
    "Refused",
    "Aborted",
    "Halted",
    "Lowered",
    "DrillFailed",
)
"""Transitions that take something away; the others are told as news."""


def transitions(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    """The entries of a history that weren't in it before. Pure.

    A history keeps its last entries only, so what both have is an end of the one and a beginning of the other.
    """
    old, new = list(before), list(after)
    for kept in range(min(len(old), len(new)), -1, -1):
        if old[len(old) - kept :] == new[:kept]:
            return tuple(new[kept:])
    return tuple(new)


def told(transition: Mapping[str, Any]) -> Note:
    """A transition in words. Pure."""
    what, version = transition["what"], transition.get("version", "")
    rungs = " to ".join(transition.get(side) or "no level" for side in ("before", "after"))
    moved = f"version {version}: {rungs}: " if version else ""
    by = "" if transition["by"] == OPERATOR else f" (asked by {transition['by']})"
    return Note(what in WARNED, what, f"{moved}{transition.get('why') or what}{by}")


FIELDS_TOLD = 5


def taken_back(item: Mapping[str, Any], taken: Mapping[str, Sequence[str]]) -> tuple[Note, ...]:
    """That fields of an object of ours were somebody else's, one note per field manager. Pure."""
    what = f"{item['kind']} {item['metadata']['name']}"
    return tuple(
        Note(
            True,
            "TakenBack",
            f"{what}: field manager {manager} had set {_listed(fields)}; the operator set it back, since the object is "
            "its own. Change the ModelDeployment instead, and keep the object out of what that manager applies",
        )
        for manager, fields in taken.items()
        if manager != FIELD_MANAGER
    )


def _listed(fields: Sequence[str]) -> str:
    more = len(fields) - FIELDS_TOLD
    return ", ".join(fields[:FIELDS_TOLD]) + (f" and {more} more" if more > 0 else "")


class Recorder:
    """Writes events; an event that can't be written is logged and let go."""

    def __init__(
        self, client: Client, *, instance: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._instance = instance
        self._now = now

    async def tell(self, regarding: Mapping[str, Any], note: Note) -> None:
        """One event about an object, or one more of it."""
        metadata = regarding["metadata"]
        text = cut(note.text, NOTE_LIMIT)
        identity = digest([metadata["uid"], note.reason, text]).removeprefix("sha256:")[:16]
        name = f"{metadata['name'][:200]}.{identity}"
        time = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        document: Object = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "eventTime": time,
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": note.reason,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "note": text,
            "type": "Warning" if note.warning else "Normal",
        }
        try:
            await self._write(document, time)
        except ApiError as error:
            log.warning("event %s/%s: %s", metadata["namespace"], name, error)

    async def _write(self, document: Object, time: str) -> None:
        try:
            await self._client.create(EVENTS, document)
        except AlreadyExistsError:
            metadata = document["metadata"]
            there = await self._client.get(EVENTS, metadata["name"], namespace=metadata["namespace"])
            count = int((there.get("series") or {}).get("count", 1)) + 1
            series = {"count": count, "lastObservedTime": time}
            await self._client.merge(EVENTS, {"metadata": metadata, "series": series})
