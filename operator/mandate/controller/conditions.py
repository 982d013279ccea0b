"""Typed outcomes as Kubernetes conditions: the one place where reasons and words are given. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from mandate.api.kinds import Condition, GateSummary
from mandate.api.moments import stamp

Status = Literal["True", "False", "Unknown"]
MESSAGE_LIMIT = 4096


@dataclass(frozen=True)
class Finding:
    """One condition as it should read now."""

    type: str
    status: Status
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Trouble:
    """What a person must resolve, as a condition says it; `revision` where it is about one only."""

    reason: str
    message: str
    revision: str = ""


def merged(
    before: Iterable[Condition], findings: Iterable[Finding], *, generation: int, now: float
) -> tuple[Condition, ...]:
    """Conditions for `findings`; the time of transition stays where the status stays."""
    known = {condition.type: condition for condition in before}
    result = []
    for finding in sorted(findings, key=lambda item: item.type):
        old = known.get(finding.type)
        kept = old is not None and old.status == finding.status
        result.append(
            Condition(
                type=finding.type,
                status=finding.status,
                reason=finding.reason,
                message=cut(finding.message, MESSAGE_LIMIT),
                last_transition_time=old.last_transition_time if old is not None and kept else stamp(now),
                observed_generation=generation,
            )
        )
    return tuple(result)


Said = TypeVar("Said", Condition, GateSummary)


def steady(before: Iterable[Said], after: Iterable[Said]) -> tuple[Said, ...]:
    """`after`, with what was said before where only numbers in a message differ, and not in their first digit.

    For when nothing else is new: what counts rows and time would otherwise be written at every look.
    """
    known = {_kept(item): item for item in before}
    return tuple(known.get(_kept(item), item) for item in after)


def _kept(item: Said) -> str:
    """What has to differ for an item to be news."""
    rough = _NUMBER.sub(lambda found: f"{float(found[0].replace(' ', '')):.0e}", item.message)
    return item.model_copy(update={"message": rough}).model_dump_json()


_NUMBER = re.compile(r"[0-9]+(?: [0-9]{3})*(?:\.[0-9]+)?")


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether there is such a condition and it is True."""
    condition = find(conditions, kind)
    return condition is not None and condition.status == "True"


def cut(message: str, limit: int) -> str:
    """A message that fits its field."""
    return message if len(message) <= limit else message[: limit - 1] + "…"


def dumped(status: Any) -> dict[str, Any]:
    """A status as it is applied: everything that is set, nothing that is at its default."""
    document: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return document
