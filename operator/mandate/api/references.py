"""The kinds of baseline: for which tasks each is, and which fields say how it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .catalogue import CLASSIFICATION, TASKS, Task

BaselineType = Literal[
    "Prior",
    "MostFrequent",
    "Uniform",
    "Stratified",
    "Threshold",
    "Mean",
    "Median",
    "PreviousValue",
    "SeasonalNaive",
    "LastPeriodMean",
    "Linear",
    "Column",
    "Container",
    "Popularity",
    "Human",
]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`needs` and `takes` are fields, as they are written in a manifest, that it must and that it may have."""

    tasks: tuple[Task, ...] = TASKS
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    timed: bool = False
    """Whether it needs task.time."""
    trained: bool = True
    """Whether it is made from training rows."""
    fitted: bool = False
    """Whether it is found on the model's features, so that model.inputs must say which those are."""


_ROWS: tuple[Task, ...] = (*CLASSIFICATION, "Regression", "Forecast")
"""Tasks whose rows are answered one by one."""

KINDS: dict[BaselineType, Kind] = {
    "Prior": Kind(tasks=CLASSIFICATION),
    "MostFrequent": Kind(tasks=CLASSIFICATION),
    "Uniform": Kind(tasks=(*CLASSIFICATION, "Ranking"), takes=("seed",), trained=False),
    "Stratified": Kind(tasks=CLASSIFICATION, takes=("seed",)),
    "Threshold": Kind(tasks=_ROWS, fitted=True),
    "Mean": Kind(tasks=("Regression", "Forecast")),
    "Median": Kind(tasks=("Regression", "Forecast")),
    "PreviousValue": Kind(tasks=("Regression", "Forecast"), takes=("by", "delay"), timed=True),
    "SeasonalNaive": Kind(
        tasks=("Regression", "Forecast"), needs=("period",), takes=("by", "delay", "timeZone"), timed=True
    ),
    "LastPeriodMean": Kind(
        tasks=("Binary", "Regression", "Forecast"), needs=("period",), takes=("by", "delay", "timeZone"), timed=True
    ),
    "Linear": Kind(tasks=_ROWS, fitted=True),
    "Column": Kind(needs=("column",), trained=False),
    "Container": Kind(needs=("container",), trained=False),
    "Popularity": Kind(tasks=("Ranking",), needs=("by",)),
    "Human": Kind(tasks=CLASSIFICATION, takes=("against", "seed"), trained=False),
}


def that_take(field: str) -> tuple[str, ...]:
    """The types that a field belongs to."""
    return tuple(name for name, kind in KINDS.items() if field in (*kind.needs, *kind.takes))


def of_task(task: Task) -> tuple[str, ...]:
    """The types that are for a task."""
    return tuple(name for name, kind in KINDS.items() if task in kind.tasks)


MAX_CONTAINERS = 2
"""Baselines of type Container: each runs in the evaluation's Pod beside model and champion."""
TIMED = tuple(name for name, kind in KINDS.items() if kind.timed)
FIELDS = tuple(dict.fromkeys(field for kind in KINDS.values() for field in (*kind.needs, *kind.takes)))
"""All fields that belong to some types only."""
