"""The truth and the answers as arrays that metrics understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.api.catalogue import NUMBERS
from mandate.evidence.schema import Fault

from .metrics import Declared, Floats, Sample
from .shelf import Shelf
from .split import Keys
from .table import MeasureError, as_text, column, is_numeric, numbers, text_codes, texts

ROUNDING = 1e-3
"""How far probabilities of several classes may miss a sum of 1, and one probability the range from 0 to 1 (times
1e-3): room for float32, not for scores that aren't probabilities."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model said, one answer per row.

    `values`: (n,) or (n, k) numbers, or (n,) labels. `keys` (n,): the rows' keys, where the answers were kept from
    elsewhere and may come in another order.
    """

    values: NDArray[Any]
    keys: Keys | None = None

    def take(self, rows: NDArray[Any]) -> Answers:
        """The answers of `rows`, in that order."""
        return Answers(values=self.values[rows], keys=None if self.keys is None else self.keys[rows])

    def kept(self, shelf: Shelf) -> Answers:
        """The same answers, where `shelf` keeps them."""
        return replace(self, values=shelf.keep(self.values))

    def order(self, keys: Keys) -> NDArray[np.intp]:
        """The order by key and, where keys are equal, by answer."""
        columns = self.values.reshape(len(self.values), -1).T
        if columns.dtype.kind not in "fiub":
            columns = np.unique(as_text(self.values).astype("U"), return_inverse=True)[1][None, :]
        order = np.argsort(keys)
        ordered = keys[order]
        alike = np.zeros(len(keys) + 1, dtype=np.bool_)
        np.equal(ordered[1:], ordered[:-1], out=alike[1:-1])
        if (tied := np.flatnonzero(alike[1:] | alike[:-1])).size:  # few: by their answers, and as they came
            rows = np.sort(order[tied])
            order[tied] = rows[np.lexsort((*columns[:, rows], keys[rows]))]
        return order


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One party's answers on all rows, ready for metrics. `fault` says why none can be had."""

    label: NDArray[Any] | None = None
    score: Floats | None = None
    quantiles: Floats | None = None
    finite: NDArray[np.bool_] | None = None
    cutoff: float | None = None
    """Binary: from this score on the label is positive, in the answers' own precision."""
    made_up: NDArray[np.bool_] | None = None
    """Rows whose answer is a stand-in, for want of what the answers are made of."""
    fault: Fault | None = None
    unlabelled: Fault | None = None
    """Why there are no labels although there are scores."""

    def sample(
        self,
        actual: NDArray[Any],
        rows: NDArray[np.intp],
        *,
        classes: int,
        declared: Declared,
        weights: Floats | None = None,
    ) -> Sample:
        """The answers on `rows` beside the truth; `weights` (n,) of all rows."""
        return Sample(
            actual=actual[rows],
            label=None if self.label is None else self.label[rows],
            score=None if self.score is None else self.score[rows],
            classes=classes,
            declared=declared,
            weight=None if weights is None else weights[rows],
            quantiles=None if self.quantiles is None else self.quantiles[rows],
        )

    def take(self, rows: NDArray[np.intp]) -> Voice:
        """The answers on `rows`, in that order."""
        return Voice(
            label=None if self.label is None else self.label[rows],
            score=None if self.score is None else self.score[rows],
            finite=None if self.finite is None else self.finite[rows],
            made_up=None if self.made_up is None else self.made_up[rows],
            fault=self.fault,
            unlabelled=self.unlabelled,
        )

    def kept(self, shelf: Shelf) -> Voice:
        """The same answers, where `shelf` keeps them."""
        return replace(
            self,
            label=shelf.keep(self.label),
            score=shelf.keep(self.score),
            quantiles=shelf.keep(self.quantiles),
            finite=shelf.keep(self.finite),
        )

    def same(self, other: Voice) -> bool:
        """Whether both say the same on every row."""
        pairs = ((self.label, other.label), (self.score, other.score), (self.quantiles, other.quantiles))
        return all(_equal(own, theirs) for own, theirs in pairs)


def _equal(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)


def from_columns(table: pa.Table, columns: Sequence[str]) -> Answers:
    """Answers that the table already holds."""
    first = column(table, columns[0])
    # A column that is missing throughout has no type of its own: missing numbers are as good as missing texts.
    if len(columns) == 1 and not is_numeric(table, columns[0]) and not pa.types.is_null(first.type):
        return Answers(values=first.to_numpy(zero_copy_only=False))
    found = [numbers(table, name) for name in columns]
    return Answers(values=found[0] if len(found) == 1 else np.column_stack(found))


def truth(table: pa.Table, task: spec.Task, *, named: Sequence[str] = ()) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The target as metrics take it, and the classes in order; `named` adds classes that the model knows.

    Raises MissingLabels, NotNumeric, NegativeRelevance, UnknownPositive, NotBinary.
    """
    if task.type in NUMBERS:
        values = numbers(table, task.target)
        _all_labelled(int(np.count_nonzero(~np.isfinite(values))), task)
        if task.type == "Ranking" and len(values) and values.min() < 0:
            raise MeasureError(
                "NegativeRelevance",
                f"task.target: column {task.target!r} holds {values.min():g}; relevance is 0 or more, above 0 where a "
                "row is relevant",
            )
        return values, ()
    names, code = text_codes(table, task.target)
    _all_labelled(texts(column(table, task.target), name=task.target).null_count, task)
    if task.type == "Multiclass":
        classes = tuple(sorted({*names, *named}))
        return np.array([classes.index(name) for name in names], dtype=np.intp)[code], classes
    if task.positive not in names:
        raise MeasureError(
            "UnknownPositive",
            f"task.positive: {task.positive!r} never occurs in column {task.target!r}, which holds "
            f"{', '.join(map(repr, names[:10]))}",
        )
    if len(names) > 2:
        raise MeasureError(
            "NotBinary",
            f"task.type Binary: column {task.target!r} holds {len(names)} classes "
            f"({', '.join(map(repr, names[:10]))}), expected two; use Multiclass",
        )
    return code == names.index(task.positive), names


def _all_labelled(missing: int, task: spec.Task) -> None:
    if missing:
        raise MeasureError(
            "MissingLabels",
            f"task.target: column {task.target!r} is missing on {missing} rows; leave those rows out, or declare "
            "task.labels where decisions hide outcomes",
        )


def hear(
    answers: Answers,
    *,
    rows: int,
    task: spec.Task,
    output: spec.ModelOutput,
    classes: tuple[str, ...],
) -> Voice:
    """Answers as labels and scores; whatever is wrong with them becomes the voice's fault."""
    values = answers.values
    if len(values) != rows:
        return Voice(fault=Fault(code="DifferentRows", message=f"{len(values)} answers for {rows} rows"))
    if output.kind == "Label":
        return _labels(values, task=task, classes=classes)
    if values.dtype.kind not in "fiub":
        return Voice(
            fault=Fault(
                code="NotNumeric",
                message="model.output: the answers aren't numbers; name what holds numbers, or declare kind: Label",
            )
        )
    wide = values.reshape(rows, -1)
    if output.kind == "Quantiles":
        return _quantiles(wide, task)
    if task.type in NUMBERS:
        if wide.shape[1] != 1:
            return _wrong_shape(wide.shape[1], "one number")
        score = wide[:, 0].astype(np.float64)
        return Voice(score=score, finite=np.isfinite(score))
    return _binary(wide, task, output) if task.type == "Binary" else _multiclass(wide, output, classes)


def _wrong_shape(found: int, expected: str) -> Voice:
    return Voice(
        fault=Fault(code="WrongShape", message=f"model.output: {found} numbers per answer, expected {expected}")
    )


def _binary(wide: NDArray[Any], task: spec.Task, output: spec.ModelOutput) -> Voice:
    if wide.shape[1] not in (1, 2):
        return _wrong_shape(wide.shape[1], "P(positive), or one probability for each of two classes")
    place = wide.shape[1] - 1
    if wide.shape[1] == 2 and output.classes:
        if task.positive not in output.classes:
            return Voice(
                fault=Fault(
                    code="UnknownPositive", message=f"model.output.classes doesn't hold task.positive {task.positive!r}"
                )
            )
        place = output.classes.index(task.positive)
    chosen = wide[:, place]
    finite = np.isfinite(chosen)
    # The cut-off in the answers' own precision: float32 0.7 is below the float64 one, and is meant to reach it.
    cutoff = float(chosen.dtype.type(output.cutoff) if chosen.dtype.kind == "f" else output.cutoff)
    label = chosen >= cutoff
    score = chosen.astype(np.float64)
    outside = finite & ((score < -(ROUNDING**2)) | (score > 1 + ROUNDING**2))
    if outside.any():
        return _not_probabilities(f"{score[outside][0]:g} on {int(outside.sum())} rows lies outside 0 to 1")
    return Voice(label=label, score=np.clip(score, 0.0, 1.0), finite=finite, cutoff=cutoff)


def _quantiles(wide: NDArray[Any], task: spec.Task) -> Voice:
    levels = [float(level) for level in task.quantiles or ()]
    if wide.shape[1] != len(levels):
        return _wrong_shape(wide.shape[1], f"one for each of task.quantiles ({len(levels)})")
    answers = wide.astype(np.float64)
    finite = np.isfinite(wide).all(axis=1)
    return Voice(score=answers[:, levels.index(0.5)], quantiles=answers, finite=finite)


def _multiclass(wide: NDArray[Any], output: spec.ModelOutput, classes: tuple[str, ...]) -> Voice:
    if wide.shape[1] != len(output.classes):
        return _wrong_shape(wide.shape[1], f"one probability for each of model.output.classes ({len(output.classes)})")
    finite = np.isfinite(wide).all(axis=1)
    score = np.zeros((len(wide), len(classes)))
    score[:, [classes.index(name) for name in output.classes]] = wide
    off = finite & (
        (score < -(ROUNDING**2)).any(axis=1) | (np.abs(score.sum(axis=1, where=finite[:, None]) - 1) > ROUNDING)
    )
    if off.any():
        return _not_probabilities(f"on {int(off.sum())} rows the classes' probabilities don't add up to 1")
    return Voice(label=np.argmax(np.nan_to_num(score), axis=1), score=np.clip(score, 0.0, 1.0), finite=finite)


def _not_probabilities(found: str) -> Voice:
    return Voice(
        fault=Fault(code="NotProbabilities", message=f"model.output: {found}; name the output that holds probabilities")
    )


def _labels(values: NDArray[Any], *, task: spec.Task, classes: tuple[str, ...]) -> Voice:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        return _wrong_shape(values.shape[1], "one label")
    said = as_text(values)
    known = {name: index for index, name in enumerate(classes)}
    strange = sorted({text for text in said if text is not None and text not in known})
    if strange:
        return Voice(
            fault=Fault(
                code="UnknownAnswer",
                message=f"model.output: answers {strange[0][:64]!r}, which isn't among the classes "
                f"{', '.join(map(repr, classes[:10]))}",
            )
        )
    code = np.array([-1 if text is None else known[text] for text in said], dtype=np.intp)
    label = code == classes.index(task.positive) if task.type == "Binary" and task.positive is not None else code
    return Voice(label=label, finite=code >= 0)
