"""What several voices have in common is measured once: labels or scores that are the same on every row.

A prior's labels are the most frequent class's, its scores those that stratified guesses are drawn by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mandate.api.catalogue import Metric
from mandate.evidence.schema import Fault

from .answers import Voice
from .metrics import Point

Known = dict[tuple[str, int], "Point | Fault"]
"""Numbers on the same rows, by metric and by the array that they are made of: of one metric at a time."""


def unified(voices: Mapping[str, Voice]) -> dict[str, Voice]:
    """The same voices; labels, and scores, that are equal are the same array, by which `key` knows them."""
    labels: list[NDArray[Any]] = []
    scores: list[NDArray[Any]] = []
    return {
        name: replace(voice, label=_first(voice.label, labels), score=_first(voice.score, scores))
        for name, voice in voices.items()
    }


def _first(values: NDArray[Any] | None, known: list[NDArray[Any]]) -> NDArray[Any] | None:
    """The first of `known` that equals `values`, or they themselves, which are then known."""
    if values is None:
        return None
    for other in known:
        if values.dtype == other.dtype and np.array_equal(values, other):
            return other
    known.append(values)
    return values


def key(metric: Metric, voice: Voice) -> tuple[str, int] | None:
    """What the number depends on beside truth and rows; None where that is more than labels or scores alone."""
    match metric.needs:
        case "Label":
            return metric.name, id(voice.label)
        case "Probability":
            return metric.name, id(voice.score)
        case _:
            return None
