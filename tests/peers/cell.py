"""One simulated situation: how samples are drawn, what is measured in them, and what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mandate.measure.metrics import METRICS, Sample

Drawn = tuple[Sample, Sample | None, NDArray[np.intp] | None]
"""The model's answers, a rival's to the same rows, and the rows' clusters."""
Draw = Callable[[np.random.Generator], Drawn]
Population = tuple[Sample, Sample | None]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`populations` gives the population in one piece or in several, whose values' mean, by events, is the truth.

    It is called once the truth is asked for: a list of all cells costs nothing.
    """

    name: str
    draw: Draw
    populations: Callable[[], Iterator[Population]]
    metrics: Sequence[str]

    def truth(self) -> dict[str, float]:
        """Each metric's value in the population; with a rival, how much more it is than the rival's."""
        sums = dict.fromkeys(self.metrics, (0.0, 0))
        for mine, theirs in self.populations():
            for metric, (total, weight) in sums.items():
                point = METRICS[metric](mine)
                value = point.value if theirs is None else point.value - METRICS[metric](theirs).value
                sums[metric] = (total + value * point.events, weight + point.events)
        return {metric: total / weight for metric, (total, weight) in sums.items()}
