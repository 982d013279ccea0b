"""Selective labels: which rows have a label where decisions hide outcomes, and what makes up for the others.

A refused loan never repays. Rows whose label was revealed aren't a random sample: whoever decided took those that
looked good (Lakkaraju et al. 2017). Two designs make up for it: a random holdout, labelled whatever the decision, on
which numbers are measured; or known probabilities that a label was to be revealed, whose inverses weigh the rows
(Horvitz & Thompson 1952; normalised by their sum, Hájek 1971, since every metric divides by the weights that it adds
up). With neither, numbers are of the accepted only, and evidence says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.evidence.labels import ACCEPTED_ONLY, LabelsKnown

from .metrics import Floats
from .split import NONE, PARTS, Split
from .table import MeasureError, column, is_numeric, numbers, texts
from .weights import WIDEST, effective_rows

MISFIT = 5.0
"""Standard errors by which the rows that weights stand for may miss those that there are …"""
MISFIT_SHARE = 0.1
"""… unless it is by less than this share: decisions that depend on each other vary by more than independent ones."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """`rows` (n,): whose label was revealed; all others tell nothing. In `split`, validation and test hold what numbers
    may rest on. `measured` (n,): what numbers are measured on; other training rows only train baselines. `weights`
    (n,), from 1 on, or None where rows count alike."""

    rows: Mask
    split: Split
    measured: Mask
    weights: Floats | None
    known: LabelsKnown


def reveal(table: pa.Table, split: Split, *, task: spec.Task) -> Revealed | None:
    """Which rows of a table have a label by `task.labels`; None where it isn't declared and every row must have one.

    Rows in no part don't matter. Raises MissingDecision, UnknownDecision, BadHoldout, NoHoldout, BadPropensity,
    NoLabels, MissingColumn.
    """
    if (labels := task.labels) is None:
        return None
    within = split.part != NONE
    decided = _decided(table, labels.revealed_by, within, holdout=labels.holdout)
    drawn = None if labels.holdout is None else _truth_values(table, labels.holdout, within)
    rows = decided if drawn is None else decided | drawn
    part = np.where(rows, split.part, NONE).astype(np.int8)
    if drawn is not None:
        part[~drawn & (part != PARTS.index("train"))] = NONE
    measured = within & (rows if drawn is None else rows & drawn)
    if not (measured & split.rows("test")).any():
        if drawn is not None:
            message = f"task.labels.holdout: column {labels.holdout!r} is true on no test row; measure on rows that are"
            raise MeasureError("NoHoldout", message)
        message = f"task.labels: no test row has a label, as {_said(labels.revealed_by)} on none; test on rows that do"
        raise MeasureError("NoLabels", message)
    kept = Split(part=part, keys=split.keys, digest=split.digest)
    weights, clipped, stands_for = None, None, None
    if labels.propensity is not None:
        weights, small, stands_for = _weights(table, labels, split, rows)
        clipped = int((small & kept.rows("test")).sum())
    known = _known(
        labels, split, kept, rows=rows, measured=measured, weights=weights, clipped=clipped, stands_for=stands_for
    )
    return Revealed(rows=rows, split=kept, measured=measured, weights=weights, known=known)


def combined(weights: Floats | None, revealed: Revealed, rows: NDArray[np.intp]) -> Floats | None:
    """The declared weights and the inverse propensities of `rows`, multiplied; None where all count alike."""
    if weights is None or revealed.weights is None:
        either = revealed.weights if weights is None else weights
        return None if either is None else either[rows]
    return np.asarray(weights[rows] * revealed.weights[rows], dtype=np.float64)


def told(known: LabelsKnown) -> str:
    """What a finding says of it."""
    rows, revealed, measured = (counts["test"] for counts in (known.rows, known.revealed, known.measured))
    if known.status == "Holdout":
        return f"task.labels: numbers are of the holdout, {measured:,} of {rows:,} test rows, whatever was decided"
    if known.status == "AcceptedOnly":
        return (
            f"task.labels: every number is {ACCEPTED_ONLY}: {revealed:,} of {rows:,} test rows have a label, and the "
            "others may be quite different; keep a random holdout, or record propensities"
        )
    clipped = "" if known.clipped is None else f"; {known.clipped:,} small propensities were clipped"
    return (
        f"task.labels: {revealed:,} of {rows:,} test rows have a label; by their inverse propensities they stand for "
        f"{known.stands_for or 0:,.0f} and tell as much as {known.effective or 0:,.0f} equal ones{clipped}"
    )


def _decided(table: pa.Table, by: spec.RevealedBy, within: Mask, *, holdout: str | None) -> Mask:
    said = texts(column(table, by.column), name=by.column)
    found = said.to_numpy(zero_copy_only=False)
    missing = within & np.array([value is None for value in found], dtype=np.bool_)
    if missing.any() and holdout is None:
        raise MeasureError(
            "MissingDecision",
            f"task.labels.revealedBy: column {by.column!r} is missing on {int(missing.sum())} rows, so whether their "
            "label was revealed isn't known; fill it in, or leave those rows out",
        )
    decided = np.isin(found.astype("U"), list(by.values)) & ~missing
    if not decided.any():
        raise MeasureError(
            "UnknownDecision",
            f"task.labels.revealedBy.values: {' or '.join(repr(value[:64]) for value in by.values[:3])} never occurs "
            f"in column {by.column!r}; name decisions as they stand there",
        )
    return np.asarray(decided, dtype=np.bool_)


def _truth_values(table: pa.Table, name: str, within: Mask) -> Mask:
    """A column of true and false, or of 1 and 0."""
    values = column(table, name)
    expected = "expected true or false on every row"
    if not (pa.types.is_boolean(values.type) or is_numeric(table, name)):
        raise MeasureError("BadHoldout", f"task.labels.holdout: column {name!r} holds {values.type}; {expected}")
    found = numbers(table, name)
    wrong = within & (found != 0) & (found != 1)
    if wrong.any():
        what = f"task.labels.holdout: column {name!r} is neither true nor false on {int(wrong.sum())} rows"
        raise MeasureError("BadHoldout", f"{what}; {expected}")
    return np.asarray(found == 1, dtype=np.bool_)


def _weights(table: pa.Table, labels: spec.Labels, split: Split, rows: Mask) -> tuple[Floats, Mask, float]:
    """Inverse propensities, which of them were clipped, and how many rows the revealed test rows stand for."""
    name = labels.propensity or ""
    within = split.part != NONE
    found = numbers(table, name)
    for wrong, what in (
        (np.isnan(found), "is missing"),
        (found <= 0, "is 0 or less: what can't be revealed, nothing stands for"),
        (found > 1, "is above 1"),
    ):
        if (bad := wrong & within).any():
            example = "" if what == "is missing" else f" (such as {found[bad][0]:g})"
            raise _bad(name, f"{what} on {int(bad.sum())} rows{example}; expected probabilities above 0 and up to 1")
    # What is in no part may still be looked back to: by its propensity where it has one.
    own = np.where((found > 0) & (found <= 1), found, 1.0)
    stands_for = _fits(own, split, rows, name=name)
    least = 0.0 if labels.min_propensity is None else float(labels.min_propensity)
    used = np.maximum(own, least)
    if used[rows].max() / WIDEST > used[rows].min():
        raise _bad(name, f"goes down to {used[rows].min():g}; clip by task.labels.minPropensity, for example 0.01")
    return 1.0 / used, own < least, stands_for


def _fits(propensity: Floats, split: Split, rows: Mask, *, name: str) -> float:
    """How many rows the revealed test rows stand for: it must be those that there are, where the others are there, too.

    Were labels revealed independently with these probabilities, Σ 1/p over the revealed had the mean n, and the
    variance Σ (1 - p)/p over all rows.
    """
    test = split.rows("test")
    stands_for = float((1.0 / propensity[rows & test]).sum())
    count, hidden = int(test.sum()), int((test & ~rows).sum())
    off = abs(stands_for - count)
    spread = math.sqrt(float(((1.0 - propensity[test]) / propensity[test]).sum()))
    if hidden and off > MISFIT * spread and off > MISFIT_SHARE * count:
        raise _bad(
            name,
            f"doesn't fit what was revealed: by it the {int((rows & test).sum()):,} test rows with a label stand for "
            f"{stands_for:,.0f} rows, and there are {count:,}; expected each row's probability that its label was to "
            "be revealed",
        )
    return stands_for


def _known(
    labels: spec.Labels,
    split: Split,
    kept: Split,
    *,
    rows: Mask,
    measured: Mask,
    weights: Floats | None,
    clipped: int | None,
    stands_for: float | None,
) -> LabelsKnown:
    def counted(mask: Mask) -> dict[str, int]:
        return {part: int((split.rows(part) & mask).sum()) for part in PARTS}

    reason = f"{_said(labels.revealed_by)}, and neither a holdout nor propensities are declared"
    if labels.holdout is not None:
        reason = f"measured where column {labels.holdout!r} is true, whatever was decided"
    if labels.propensity is not None:
        least = "" if labels.min_propensity is None else f", at least {labels.min_propensity}"
        reason = f"weighed by the inverse of column {labels.propensity!r}{least}"
    return LabelsKnown(
        status="Holdout" if labels.holdout is not None else "AcceptedOnly" if weights is None else "Weighted",
        reason=reason[:512],
        rows=counted(np.ones(len(rows), dtype=np.bool_)),
        revealed=counted(rows),
        measured=counted(measured),
        effective=None if weights is None else effective_rows(weights, kept, "test"),
        stands_for=stands_for,
        clipped=None if labels.min_propensity is None else clipped,
    )


def _said(by: spec.RevealedBy) -> str:
    more = f" or {len(by.values) - 3} more" if len(by.values) > 3 else ""
    return f"labels show where column {by.column!r} says {' or '.join(map(repr, by.values[:3]))}{more}"


def _bad(name: str, what: str) -> MeasureError:
    return MeasureError("BadPropensity", f"task.labels.propensity: column {name!r} {what}")
