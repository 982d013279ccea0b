"""Which columns of an evaluation's rows a stored profile keeps, and how they are read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from mandate.api.catalogue import NUMBERS
from mandate.api.spec import Data, Model, Task

from ..work import SERIAL, Workers
from . import parts
from .profile import STORED, Profile, profile


@dataclass(frozen=True, kw_only=True)
class Columns:
    """`names` are profiled, those in `categories` as texts whatever they look like; `left_out` name rows or people."""

    names: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: tuple[str, ...]
    personal: tuple[str, ...] = ()
    """Left out, too, as what is stored holds values."""

    def without(self, personal: Collection[str]) -> Columns:
        """Of what leaves the evaluation: nothing of columns that are personal."""
        return Columns(
            names=tuple(name for name in self.names if name not in personal),
            categories=tuple(name for name in self.categories if name not in personal),
            left_out=self.left_out,
            personal=tuple(name for name in self.names if name in personal),
        )


def identities(task: Task) -> list[str]:
    """The columns that name rows, units, queries, series and clusters."""
    unit = None if task.unit is None else task.unit.column
    return [name for name in (task.id, task.cluster, task.query, task.series, unit) if name is not None]


def columns(*, model: Model, task: Task, data: Data, target: bool = True) -> Columns:
    """The model's inputs, the columns of slices and, with `target`, what is predicted.

    A column that names a row, unit, query, series or cluster is left out, whatever else it is: its texts are someone's.
    """
    named = identities(task)
    inputs = model.inputs.columns if model.inputs is not None else ()
    sliced = [item for item in data.slices if item.column is not None]
    asked = [*inputs, *(item.column for item in sliced if item.column is not None), *([task.target] if target else [])]
    categories = [item.column for item in sliced if item.column is not None and not item.edges and not item.quantiles]
    if task.type not in NUMBERS:
        categories.append(task.target)
    names = tuple(dict.fromkeys(name for name in asked if name not in named))
    return Columns(
        names=names,
        categories=tuple(name for name in dict.fromkeys(categories) if name in names),
        left_out=tuple(name for name in dict.fromkeys(asked) if name in named),
    )


def stored(table: pa.Table, chosen: Columns, *, workers: Workers = SERIAL) -> Profile:
    """The profile of a table's rows, small enough to be stored, of those columns that it has and that can be read."""
    there = [name for name in chosen.names if name in table.column_names]
    unread = parts.unreadable(table, there, categories=chosen.categories)
    names = [name for name in there if name not in unread]
    if not names:
        return Profile(rows=table.num_rows, limit=STORED, columns={})
    return profile([table.select(names)], categories=chosen.categories, workers=workers).coarsen()
