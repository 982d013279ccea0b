"""Counting looks at test rows: every look at overlapping rows, by any model, spends from one error budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mandate.evidence.canonical import digest
from mandate.evidence.schema import Evidence, dump

AGES = frozenset({"data_age"})
"""What time alone changes: told anew it is no other sample."""


@dataclass(frozen=True)
class Look:
    """One look: which model, which rows (a bottom-k sketch of 16-hex row hashes), which sample, which criteria."""

    key: str
    sketch: tuple[str, ...]


def look_at(evidence: Evidence, *, criteria: str) -> Look:
    """The look that judging `evidence` on criteria with this digest is.

    What was measured (latencies, crashes) is a sample of its own: measured again, it is another look. Rows that have
    grown older since are not.
    """
    inputs, rows = evidence.computed.inputs, evidence.computed.row_sketch
    known = {"model": inputs.model or inputs.predictions, "rows": rows, "criteria": criteria}
    sample = [dump(each) for each in evidence.measured.estimates if each.quantity.metric not in AGES]
    return Look(digest(known | ({"sample": sample} if sample else {})), rows)


def overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two row sets share rows, as far as their sketches can tell.

    Bottom-k sketches: among the k smallest hashes of the union, those in both sketches estimate the Jaccard index
    (Broder 1997). One hash in common is enough: it is a shared row.
    """
    return not set(first).isdisjoint(second)


def number(looks: Sequence[Look], new: Look) -> int:
    """Which look at its rows `new` is, 1 for the first; `looks` in the order in which they were taken.

    The same model, rows and criteria again is no new look: it keeps the number it had.
    """
    seen: list[str] = []
    for look in looks:
        if overlap(look.sketch, new.sketch) and look.key not in seen:
            seen.append(look.key)
    return seen.index(new.key) + 1 if new.key in seen else len(seen) + 1
