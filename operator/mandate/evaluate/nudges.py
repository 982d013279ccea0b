"""What small changes of the inputs do to the answers: how many labels flip, how far scores go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mandate.api.catalogue import CLASSIFICATION
from mandate.api.spec import ModelOutput, Task
from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Estimate, Nudged, Quantity, Support
from mandate.inference.errors import InferenceError
from mandate.inference.features import Features
from mandate.inference.nudges import STEP, Nudges
from mandate.inference.robustness import Failure, Probed, out_of_bounds
from mandate.measure.answers import Answers, hear
from mandate.predictor.datatypes import Array

from .service import not_had

FLIPPED = "flipped_answers"
Ask = Callable[[Features], Awaitable[Array]]


async def nudge(ask: Ask, made: Nudges, *, output: ModelOutput, task: Task) -> tuple[Probed, Nudged | None]:
    """What came of the nudged rows: whether each was answered as it must be, and how the answers changed.

    None of the latter where they weren't answered, or nothing could be moved.
    """
    if not made.moved.any():
        return Probed(), None
    try:
        before, again, after = [await ask(fed) for fed in (made.before, made.before, made.after)]
    except InferenceError as error:
        seen = Probed()
        match error.code:
            case "RequestRefused":  # although the very rows are answered as they are
                seen.refused = int(made.moved.sum())
            case "PredictorCrashed":
                seen.fail("Crash", "rows nudged")
            case "PredictorTimeout":
                seen.fail("Hang", "rows nudged")
            case _:
                seen.fail("Unreadable", "rows nudged")
        return seen, None
    before, again, after = (answers[made.moved] for answers in (before, again, after))
    return bounded(before, after, output=output), changed(before, again, after, output=output, task=task)


def bounded(before: Array, after: Array, *, output: ModelOutput) -> Probed:
    """How many nudged rows were answered as they mustn't be, of those that were answered well before."""
    spoilt, already = (out_of_bounds(answers, output) for answers in (after, before))
    well = ~np.logical_or.reduce([np.zeros(len(before), dtype=np.bool_), *already.values()])
    failures: Counter[Failure] = Counter({how: int((rows & well).sum()) for how, rows in spoilt.items()})
    seen = Probed(answered=len(after) - failures.total(), failures=+failures)
    seen.first = next((f"rows nudged: {how}" for how in seen.failures), None)
    return seen


def changed(before: Array, again: Array, after: Array, *, output: ModelOutput, task: Task) -> Nudged:
    """How answers (n,) or (n, k) differ once their rows were nudged; `again` are those to the same question."""
    labels = [_labels(answers, output=output, task=task) for answers in (before, again, after)]
    own, repeated, moved = labels
    flipped = None if own is None or moved is None else int(np.count_nonzero(own != moved))
    itself = None if own is None or repeated is None else int(np.count_nonzero(own != repeated))
    nudged = Nudged(rows=len(before), step=STEP, flipped=flipped, flipped_itself=itself)
    if output.kind == "Label":
        return nudged
    wide = [answers.reshape(len(answers), -1).astype(np.float64) for answers in (before, after)]
    finite = np.isfinite(wide[0]).all(axis=1) & np.isfinite(wide[1]).all(axis=1)
    if not finite.any():
        return nudged
    known = wide[0][finite]
    changes = np.abs(wide[1][finite] - known).max(axis=1)
    return nudged.model_copy(
        update={
            "largest": float(changes.max()),
            "median": float(np.median(changes)),
            "spread": float(known.std(axis=0).max()),
        }
    )


def _labels(answers: Array, *, output: ModelOutput, task: Task) -> NDArray[Any] | None:
    """What is answered where it is a class; None where it is a number, or no answer that can be read."""
    if task.type not in CLASSIFICATION:
        return None
    if output.kind == "Label":
        return answers.reshape(len(answers), -1)[:, 0]
    heard = hear(Answers(values=answers), rows=len(answers), task=task, output=output, classes=tuple(output.classes))
    return heard.label


def flipped(found: Nudged | None, *, task: Task) -> list[Estimate]:
    """The share of answers that flip, where answers are classes: exact limits, since each row tells by itself."""
    if task.type not in CLASSIFICATION:
        return []
    if found is None or found.flipped is None:
        return [not_had(FLIPPED, reason="the model takes no numbers that could be moved, or didn't answer")]
    rare = min(found.flipped, found.rows - found.flipped)
    return [
        Estimate(
            quantity=Quantity(metric=FLIPPED),
            estimate=found.flipped / found.rows,
            interval=Beta(successes=found.flipped, trials=found.rows),
            support=Support(rows=found.rows, events=rare),
        )
    ]
