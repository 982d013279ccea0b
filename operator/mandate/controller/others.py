"""Pods of somebody else's workloads, and how a Service of ours leads to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mandate.api.criteria import Level
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, LABEL_SERVES
from mandate.controller.snapshot import ModelSnapshot

Object = dict[str, Any]


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether its kubelet says that it answers, and nobody has asked it to end."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def at(snapshot: ModelSnapshot, level: Level) -> tuple[Object, ...]:
    """The Pods that say that they answer at `level`."""
    return tuple(pod for pod in snapshot.pods if pod["metadata"]["labels"][LABEL_SERVES] == level)


def revision_of(item: Mapping[str, Any]) -> str:
    """The revision that an object's labels name; empty where they name none."""
    return str((item["metadata"].get("labels") or {}).get(LABEL_REVISION, ""))


def selector(snapshot: ModelSnapshot, level: Level, *, allowed: Sequence[str]) -> Mapping[str, str] | None:
    """Whom a Service selects that answers at `level`; None where no Pod of the `allowed` revisions is ready.

    All Pods that are there for it, so that whoever makes them divides the traffic. Where one of them mayn't answer,
    the first that may, alone. People are also answered by what may act, where nothing is there for them only.
    """
    levels: tuple[Level, ...] = ("Suggest", "Automate") if level == "Suggest" else (level,)
    for each in levels:
        pods = at(snapshot, each)
        ready = {revision_of(pod) for pod in pods if is_ready(pod)}
        first = next((revision for revision in allowed if revision in ready), None)
        if first is None:
            continue
        labels = {LABEL_MODEL: str(snapshot.mdep["metadata"]["name"]), LABEL_SERVES: str(each)}
        return labels if {revision_of(pod) for pod in pods} <= {*allowed} else labels | {LABEL_REVISION: first}
    return None


def is_led_to(service: Mapping[str, Any] | None) -> bool:
    """Whether a Service leads to Pods of others'."""
    return service is not None and LABEL_SERVES in ((service.get("spec") or {}).get("selector") or {})
