"""Queries of a Ranking stay whole: in one part, in one cluster, in one value of a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec

from .metrics import Floats
from .metrics.point import effective
from .slices import Sliced
from .split import NONE, Split
from .table import MeasureError, known_codes
from .uncertainty import Clusters

Rows = NDArray[np.intp]


def by_query(table: pa.Table, task: spec.Task) -> Rows:
    """Each row's query, by codes 0 …; raises MissingQuery."""
    names, code = known_codes(table, task.query or "")
    if missing := int(np.count_nonzero(code == len(names))):
        raise MeasureError(
            "MissingQuery", f"task.query: column {task.query!r} is missing on {missing} rows; leave them out"
        )
    return code


def torn(query: Rows, code: NDArray[Any]) -> int:
    """How many queries have rows of several codes; both (n,)."""
    if not len(query):
        return 0
    first = np.empty(int(query.max()) + 1, dtype=code.dtype)
    first[query] = code
    return len(np.unique(query[first[query] != code]))


def whole_queries(query: Rows, split: Split, slices: Sequence[Sliced], task: spec.Task) -> None:
    """Raises QueryInParts, and SliceInQuery: some rows of a query are no ranking."""
    within = split.part != NONE
    if count := torn(query, split.part):  # in none, too: what a gap leaves of a query is no ranking
        raise MeasureError(
            "QueryInParts",
            f"task.query: {count} values of {task.query!r} have rows in several parts, or some in a part and some in "
            f"none; split by method Group with task.cluster: {task.query} or a column above it, or by hand, with "
            "queries named differently in each table",
        )
    for sliced in slices:
        count = torn(query[within], sliced.code[within]) if sliced.fault is None else 0
        if count:
            raise MeasureError(
                "SliceInQuery",
                f"data.slices {sliced.name!r}: rows of one {task.query!r} are in several of its values "
                f"({count} times), and some rows of a query are no ranking; slice by a column that is the same "
                "on all of them",
            )


def inside_clusters(query: Rows, clusters: Clusters | None, task: spec.Task) -> None:
    """Raises ClusterInQuery where a query's rows are in several clusters."""
    if clusters is not None and (count := torn(query, clusters)):
        raise MeasureError(
            "ClusterInQuery",
            f"task.cluster: rows of one {task.query!r} are in several of {task.cluster!r} ({count} times); name a "
            "column above it, or leave it out: rows of a query belong together anyway",
        )


def alike_heavy(query: Rows, weights: Floats, task: spec.Task) -> None:
    """Raises WeightInQuery where a query's rows have several `weights` (n,)."""
    if count := torn(query, weights):
        raise MeasureError(
            "WeightInQuery",
            f"task.weight: rows of one {task.query!r} have several values of {task.weight!r} ({count} times), and a "
            "query counts as a whole; give all its rows the same",
        )


def heaviness(query: Rows, weights: Floats) -> str:
    """A finding: what queries tell of which rows (n,) have these weights; all rows of a query have the same."""
    heavy = weights[np.unique(query, return_index=True)[1]]
    count = effective(np.ones(len(heavy), dtype=np.bool_), heavy / heavy.max())
    return f"queries have weights: the {len(heavy)} test queries tell as much as {count:.0f} equal ones"


def told(actual: NDArray[Any], query: Rows, rows: Rows, *, depth: int | None) -> str:
    """A finding: how many of the queries that have these rows tell anything; `depth`: task.topK."""
    code = np.unique(query[rows], return_inverse=True)[1]
    size = np.bincount(code)
    least, most = np.full(code.max() + 1, np.inf), np.zeros(code.max() + 1)
    np.minimum.at(least, code, actual[rows])
    np.maximum.at(most, code, actual[rows])
    without, alike = int(np.count_nonzero(most == 0)), int(np.count_nonzero((least == most) & (most > 0)))
    words = f"task.query: {len(rows)} test rows are {len(most)} queries; {without} without a relevant row are left out"
    if alike:
        words += f", {alike} with nothing to order (rows of one relevance) count as any other"
    if depth is not None and (short := int(np.count_nonzero((size <= depth) & (most > 0)))):
        words += f"; on {short} that have no more rows than task.topK ({depth}), recall at k is 1 in any order"
    return words
