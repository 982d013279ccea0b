"""From rows to the units that production scores: segments to one video, transactions to one customer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.evidence.schema import Fault
from mandate.evidence.slices import MISSING

from .answers import Voice
from .slices import Sliced
from .split import NONE, Split, instants
from .table import MeasureError, text_codes

Rows = NDArray[np.intp]
HUGE = 1e290
"""Numbers whose sums may overflow; those are added up after they are multiplied by SHRINK, a power of two."""
SHRINK = 2.0**-64

OF_LABELS = ("Prior", "MostFrequent", "Mean", "Median", "Uniform", "Stratified")
"""Baselines that are made of labels alone."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """`order` (m,): the rows that are in a part, unit by unit and by time within each; `start` (u,): where each unit
    begins in it; `code` (n,): each row's unit, -1 where it is in no part; `split` says which part a unit is in."""

    how: spec.Unit
    order: Rows
    start: Rows
    code: Rows
    split: Split

    def __len__(self) -> int:
        return len(self.start)

    @property
    def last(self) -> Rows:
        """Each unit's last row by time; without a time, the one with the largest key."""
        return np.asarray(self.order[np.append(self.start[1:], len(self.order)) - 1], dtype=np.intp)

    def reduce(self, values: NDArray[Any], how: str) -> NDArray[Any]:
        """(n,) or (n, k) of rows to (u,) or (u, k) of units: Mean, Max or Last."""
        if how == "Last":
            return values[self.last]
        if how == "Max":
            return np.asarray(np.maximum.reduceat(values[self.order], self.start, axis=0))
        # The mean of equal numbers is that number, which sums don't always give; and sums of huge ones would overflow.
        size = np.abs(values).max(initial=0.0, where=np.isfinite(values))
        shrunk = SHRINK if size > HUGE else 1.0
        values = values * shrunk
        middle = values[self.last]
        away = np.add.reduceat((values - middle[self.code])[self.order], self.start, axis=0)
        rows = np.diff(np.append(self.start, len(self.order)))
        return np.asarray((middle + away / rows.reshape(-1, *[1] * (values.ndim - 1))) / shrunk)

    def same(self, values: NDArray[Any]) -> bool:
        """Whether each unit's rows all have the same of (n,) values."""
        return bool((values[self.order] == values[self.last][self.code[self.order]]).all())

    def voice(self, voice: Voice) -> Voice:
        """One answer per unit; a unit whose rows hold an answer that is no number has none."""
        if voice.fault is not None:
            return voice
        how = self.how.answers
        score = None if voice.score is None else self.reduce(voice.score, how)
        label = None
        if voice.label is not None:
            if score is not None and voice.cutoff is not None:
                label = score >= voice.cutoff
            elif score is not None and score.ndim == 2:
                label = np.argmax(np.nan_to_num(score), axis=1)
            elif how == "Mean" and not self.same(voice.label):
                message = "task.unit.answers: labels have no mean; declare Max or Last, or answers that are numbers"
                return Voice(fault=Fault(code="NoMean", message=message))
            else:
                label = self.reduce(voice.label, "Last" if how == "Mean" else how)
        finite = None
        if voice.finite is not None:
            finite = np.logical_and.reduceat(voice.finite[self.order], self.start)
        made_up = None
        if voice.made_up is not None:
            made_up = np.logical_and.reduceat(voice.made_up[self.order], self.start)
        quantiles = None if voice.quantiles is None else self.reduce(voice.quantiles, how)
        return replace(voice, label=label, score=score, quantiles=quantiles, finite=finite, made_up=made_up)

    def sliced(self, slices: Sliced, *, timed: bool) -> Sliced:
        """The slice that each unit's last row is in. Raises SliceInUnit where rows differ and no time says which."""
        if slices.fault is not None:
            return slices
        if not timed and not self.same(slices.code):
            raise MeasureError(
                "SliceInUnit",
                f"data.slices {slices.name!r}: rows of one {self.how.column!r} are in several; declare task.time, and "
                "the last one counts",
            )
        return replace(slices, code=slices.code[self.last])


def units(table: pa.Table, split: Split, *, task: spec.Task) -> Units | None:
    """The declared units of a table whose rows are in the order of their keys; None where rows are the unit.

    Raises MissingUnit, UnitInParts, MissingTime, MissingColumn.
    """
    if task.unit is None:
        return None
    column = task.unit.column
    names, every = text_codes(table, column)
    if MISSING in names:
        message = f"task.unit: column {column!r} is missing on {int((every == names.index(MISSING)).sum())} rows"
        raise MeasureError("MissingUnit", message)
    within = np.flatnonzero(split.part != NONE)
    _, found = np.unique(every[within], return_inverse=True)
    time = np.zeros(len(within), dtype=np.int64) if task.time is None else instants(table, task.time)[0][within]
    order = within[np.lexsort((np.arange(len(within)), time, found))]
    code = np.full(table.num_rows, -1, dtype=np.intp)
    code[within] = found
    start = np.flatnonzero(np.diff(code[order], prepend=-1))
    part = split.part[order][start]
    astray = np.unique(code[order][split.part[order] != part[code[order]]])
    if len(astray):
        raise MeasureError(
            "UnitInParts",
            f"task.unit: {len(astray)} values of {column!r} have rows in several parts; split by method Group with "
            f"task.cluster: {column}, or by hand",
        )
    whole = Split(part=part, keys=split.keys[order][start], digest=split.digest)
    return Units(how=task.unit, order=order, start=start, code=code, split=whole)
