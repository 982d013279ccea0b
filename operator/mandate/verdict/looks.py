"""Counting looks at test rows: every look at overlapping rows, by any model, spends from one error budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mandate.api.catalogue import METRICS
from mandate.evidence.canonical import digest
from mandate.evidence.schema import Evidence, dump


@dataclass(frozen=True)
class Look:
    """One look: which model, which rows (a bottom-k sketch of 16-hex row hashes), which sample, settings and criteria.

    `former` is the key that ledgers had before settings were in it; empty where there never was one.
    """

    key: str
    sketch: tuple[str, ...]
    former: str = ""


def look_at(evidence: Evidence, *, criteria: str, settings: str) -> Look:
    """The look that judging `evidence` on criteria and settings with these digests is.

    What was measured (latencies, crashes) is a sample of its own: measured again, it is another look. Rows that have
    grown older since are not. Other settings are: who moves the cut-off, or a slice's edges, until the test rows say
    yes has looked each time.
    """
    inputs, rows = evidence.computed.inputs, evidence.computed.row_sketch
    known = {"model": inputs.model or inputs.predictions, "rows": rows, "criteria": criteria}
    sample = [dump(each) for each in evidence.measured.estimates if _is_sample(each.quantity.metric)]
    before = known | ({"sample": sample} if sample else {})
    return Look(digest(before | {"settings": settings}), rows, digest(before))


def _is_sample(metric: str) -> bool:
    """Whether measuring it again draws again; of what this version doesn't know, it is taken to."""
    known = METRICS.get(metric)
    return known is None or known.is_sample


def overlap(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two row sets share rows, as far as their sketches can tell.

    Bottom-k sketches: among the k smallest hashes of the union, those in both sketches estimate the Jaccard index
    (Broder 1997). One hash in common is enough: it is a shared row.
    """
    return not set(first).isdisjoint(second)


def number(looks: Sequence[Look], new: Look) -> int:
    """Which look at its rows `new` is, 1 for the first; `looks` in the order in which they were taken.

    The same model, rows, settings and criteria again is no new look: it keeps the number it had.
    """
    seen: list[str] = []
    for look in looks:
        if overlap(look.sketch, new.sketch) and look.key not in seen:
            seen.append(look.key)
    known = new.key if new.key in seen else new.former
    return seen.index(known) + 1 if known in seen else len(seen) + 1
