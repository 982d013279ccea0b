"""How much each row counts for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec

from .metrics import Floats
from .metrics.point import effective
from .queries import alike_heavy, by_query
from .split import NONE, PARTS, Part, Split
from .table import MeasureError, numbers

WIDEST = 1e12
"""How many times as much as the lightest row the heaviest one may count: more is lost in rounding."""


def weigh(table: pa.Table, split: Split, *, task: spec.Task) -> tuple[Floats | None, Split]:
    """Weights (n,), 0 or more, or None where all rows count alike; and the split with rows of weight 0 in no part.

    Of a Ranking, all rows of a query have the same. Raises BadWeight, MissingColumn, NotNumeric, WeightInQuery,
    MissingQuery.
    """
    if task.weight is None:
        return None, split
    weights = _declared(table, task.weight)
    if task.query is not None:
        alike_heavy(by_query(table, task), weights, task)
    if weights.min() == weights.max() > 0:
        return None, split
    part = np.where(weights > 0, split.part, NONE).astype(np.int8)
    if not (part == PARTS.index("test")).any():
        raise _bad(task.weight, "is 0 on all test rows, so nothing can be measured; give rows that count more than 0")
    return weights, replace(split, part=part)


def by_class(
    weights: Floats | None,
    split: Split,
    *,
    code: NDArray[np.intp],
    classes: Sequence[str],
    sampling: Sequence[spec.ClassSampling],
) -> Floats | None:
    """`weights` times what makes up for rows that were drawn by their class alone; `code` (n,) indexes `classes`.

    With rates, a row stands for 1 / kept rows, a class that isn't listed was kept whole. With prevalences, each part's
    classes get their shares (Elkan 2001, for the rows instead of the scores). Every weight stays above 0, so that rows
    stay in their parts. Raises UnknownClass, MissingClass, BadSampling, BadWeight.
    """
    if not sampling:
        return weights
    declared = {item.class_: item for item in sampling}
    occurring = [classes[place] for place in np.unique(code)]
    for name in declared:
        if name not in classes:
            raise MeasureError(
                "UnknownClass",
                f"data.sampling: {name[:64]!r} isn't among the classes {', '.join(map(repr, classes[:10]))}",
            )
        given = declared[name].kept or declared[name].prevalence
        if given is None or float(given) <= 0:
            raise MeasureError(
                "BadSampling", f"data.sampling: class {name[:64]!r} is given {given}, expected a share above 0"
            )
    base = np.ones(len(code)) if weights is None else weights
    if sampling[0].kept is not None:
        kept = np.array([float(declared[name].kept or 1) if name in declared else 1.0 for name in classes])
        return _near(np.asarray(base / kept[code], dtype=np.float64), split)
    for name in occurring:
        if name not in declared:
            message = f"data.sampling: class {name[:64]!r} occurs and has no prevalence; give it"
            raise MeasureError("MissingClass", message)
    target = np.array([float(declared[name].prevalence or 0) if name in declared else 0.0 for name in classes])
    result = base.astype(np.float64)
    times: Floats | None = None
    for part in PARTS:
        rows = split.rows(part)
        if not rows.any():
            continue
        mass = np.bincount(code[rows], weights=base[rows] / base[rows].max(), minlength=len(classes))
        if (missing := np.flatnonzero((mass == 0) & (target > 0))).size:
            raise MeasureError(
                "MissingClass",
                f"data.sampling: no {part} row is of class {classes[missing[0]][:64]!r}, so its share can't be made up "
                "for; give more rows, or leave the class out",
            )
        # A part's rows keep their mean, so that rows of several parts can be looked back to alike.
        factor = target / target.sum() * mass.sum() / np.where(mass > 0, mass, 1.0)
        result[rows] *= factor[code[rows]]
        times = factor if times is None else times
    if times is not None:  # what is in no part may still be looked back to: as the first part, which is training's
        rows = split.part == NONE
        result[rows] *= times[code[rows]]
    return _near(result, split)


def _near(weights: Floats, split: Split) -> Floats:
    """The weights, which within each part are near enough to each other to be added up."""
    for part in PARTS:
        some = weights[split.rows(part)]
        if len(some) and some.max() / WIDEST > some.min():
            raise MeasureError(
                "BadWeight",
                f"data.sampling makes {part} rows count from {some.min():g} to {some.max():g}; expected at most "
                f"{WIDEST:g} times as much: give rarer classes more rows, or task.weight a narrower range",
            )
    return weights


def effective_rows(weights: Floats, split: Split, part: Part) -> float:
    """How many equal rows tell as much as those of a part: (Σ w)² / Σ w² (Kish 1965)."""
    rows = split.rows(part)
    return effective(rows, weights / weights[rows].max())


def _declared(table: pa.Table, name: str) -> Floats:
    weights = numbers(table, name)
    for wrong, what in (
        (np.isnan(weights), "is missing"),
        (np.isinf(weights), "is infinite"),
        (weights < 0, "is below 0"),
    ):
        if wrong.any():
            example = "" if what == "is missing" else f", such as {weights[wrong][0]:g}"
            raise _bad(name, f"{what} on {int(wrong.sum())} rows{example}; expected numbers of 0 or more")
    some = weights[weights > 0]
    if len(some) and some.max() / WIDEST > some.min():
        raise _bad(name, f"goes from {some.min():g} to {some.max():g}; expected at most {WIDEST:g} times as much, or 0")
    return weights


def _bad(name: str, what: str) -> MeasureError:
    return MeasureError("BadWeight", f"task.weight: column {name!r} {what}")
