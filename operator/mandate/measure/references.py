"""The baselines that say in words what they are made of: guesses, one-column rules and what looks back in time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.api.references import KINDS
from mandate.evidence.schema import Fault

from . import baselines, guesses, history, threshold
from .answers import Voice
from .metrics import Floats
from .metrics.point import average, shares, tally
from .split import Split
from .table import MeasureError

WITH_WORDS = ("Popularity", "Uniform", "Stratified", "Threshold", "PreviousValue", "SeasonalNaive", "LastPeriodMean")
MOST_WITHOUT = 0.5
"""A baseline that has nothing to look back to on more rows than this, of all or a slice, is another one: the mean."""


def no_history(voice: Voice, rows: NDArray[np.intp]) -> Fault | None:
    """Why a baseline that looks back isn't one on these rows, or None where it is."""
    if voice.made_up is None:
        return None
    missing = int(np.count_nonzero(voice.made_up[rows]))
    if missing <= MOST_WITHOUT * len(rows):
        return None
    message = (
        f"{missing} of these {len(rows)} rows have no earlier value to look back to; compare with another baseline"
    )
    return Fault(code="NoHistory", message=message)


def make(
    reference: spec.Baseline,
    table: pa.Table,
    split: Split,
    actual: NDArray[Any],
    *,
    task: spec.Task,
    features: Sequence[str],
    classes: Sequence[str],
    cutoff: float,
    weights: Floats | None = None,
    origin: NDArray[np.int64] | None = None,
    personal: Collection[str] = (),
) -> tuple[Voice, str]:
    """Answers on all rows of `table`, and what they are made of in words; a fault where they can't be had.

    `actual` (n,) is the truth as metrics take it. `cutoff`: Binary, from which probability on the answer is positive.
    `weights` (n,): how much each row counts for; one of weight 0 is neither learnt from nor looked back to.
    `origin` (n,): when each row's forecast was made; what looks back sees only what was known by then. Words hold no
    value of columns in `personal`.
    """
    try:
        if task.type not in KINDS[reference.type].tasks:
            kinds = " and ".join(KINDS[reference.type].tasks)
            raise MeasureError("WrongTask", f"baseline {reference.type} is for {kinds}; use another type")
        match reference.type:
            case "Popularity":
                return _popularity(reference, table, split, actual, weights)
            case "Uniform" if task.type == "Ranking":
                # Tied rows count as the mean of all their orders, so nothing has to be drawn.
                return _voice(score=np.zeros(len(actual))), "every order of a query's rows, each as likely as another"
            case "Uniform" | "Stratified":
                return _guess(reference, split, actual, weights, classes=len(classes))
            case "Threshold":
                return _threshold(
                    table, split, actual, weights, task=task, features=features, classes=classes, personal=personal
                )
            case _:
                return _looking_back(reference, table, split, actual, weights, task=task, cutoff=cutoff, origin=origin)
    except MeasureError as error:
        return Voice(fault=Fault(code=error.code, message=str(error)[:1024])), ""


def _voice(*, label: NDArray[Any] | None = None, score: Floats) -> Voice:
    return Voice(label=label, score=score, finite=np.ones(len(score), dtype=np.bool_))


def _of_train(weights: Floats | None, split: Split) -> Floats | None:
    """The training rows' weights with mean 1."""
    return None if weights is None else shares(weights[split.rows("train")])


def _guess(
    reference: spec.Baseline, split: Split, actual: NDArray[Any], weights: Floats | None, *, classes: int
) -> tuple[Voice, str]:
    binary = actual.dtype == np.bool_
    seed = reference.seed or 0
    drawn = guesses.draws(split.keys, split.part, seed=seed)
    words = f"labels drawn by row with seed {seed}, probabilities as they are drawn with"
    if reference.type == "Uniform":
        label, score = guesses.uniform(drawn, binary=binary, classes=classes)
        return _voice(label=label, score=score), words
    score = baselines.prior(actual, split.rows("train"), _of_train(weights, split), classes=classes)
    return _voice(label=guesses.stratified(drawn, score), score=score), words


def _popularity(
    reference: spec.Baseline, table: pa.Table, split: Split, actual: NDArray[Any], weights: Floats | None
) -> tuple[Voice, str]:
    """An item's mean relevance in the training rows; all of them's mean, where it isn't among them."""
    code, train = history.series(table, reference.by or ()), split.rows("train")
    heavy, found = _of_train(weights, split), int(code.max()) + 1
    count = tally(code[train], heavy, size=found)
    total = tally(code[train], heavy, size=found, values=actual[train])
    middle = average(actual[train], heavy)
    score = np.where(count > 0, total / np.where(count > 0, count, 1), middle)[code]
    test = split.rows("test")
    unseen = int(np.count_nonzero((count[code] == 0) & test))
    words = f"{unseen} of {int(test.sum())} test rows are of items that the training rows don't have and get their mean"
    return _voice(score=score), f"{words}, {middle:.4g}"


def _threshold(
    table: pa.Table,
    split: Split,
    actual: NDArray[Any],
    weights: Floats | None,
    *,
    task: spec.Task,
    features: Sequence[str],
    classes: Sequence[str],
    personal: Collection[str],
) -> tuple[Voice, str]:
    # A Binary label is an index, too: of the negative class, then of the positive one.
    names = sorted(classes, key=lambda name: name == task.positive) if task.type == "Binary" else list(classes)
    found = threshold.best_rule(
        table,
        features,
        actual,
        classes=len(names),
        train=split.rows("train"),
        validation=split.rows("validation"),
        weights=weights,
    )
    if found is None:
        raise MeasureError(
            "NoThreshold",
            "baseline Threshold: in the training rows no numeric feature varies, or the truth doesn't; "
            "use MostFrequent or Median",
        )
    rule, group = found
    cutoff = f"{rule.cutoff:.6g}"
    if rule.name in personal:
        above = np.mean((group == threshold.ABOVE)[split.rows("train")])
        cutoff = f"a cut-off that is withheld, which {above:.0%} of the training rows exceed"
    words = _rule_words(rule, names=names, missing=bool(np.any(group == threshold.MISSING)), cutoff=cutoff)
    if task.type in ("Regression", "Forecast"):
        return _voice(score=rule.answers[group]), words
    if task.type == "Binary":
        return _voice(label=rule.labels[group] == 1, score=rule.answers[group, 1]), words
    return _voice(label=rule.labels[group], score=rule.answers[group]), words


def _rule_words(rule: threshold.Rule, *, names: Sequence[str], missing: bool, cutoff: str) -> str:
    def answer(group: int) -> str:
        return _short(names[rule.labels[group]]) if names else f"{rule.answers[group]:.4g}"

    score = "balanced accuracy" if names else "R²"
    validated = (
        "" if rule.on_validation is None else f", {rule.on_validation:.3f} on the validation rows, which chose it"
    )
    without = f", without a value: {answer(threshold.MISSING)}" if missing else ""
    return (
        f"{_short(rule.name)} above {cutoff}: {answer(threshold.ABOVE)}, up to it: {answer(threshold.BELOW)}"
        f"{without}; {score} {rule.on_train:.3f} on the training rows{validated}"
    )


def _short(text: str) -> str:
    return text if len(text) <= 128 else text[:127] + "…"


def _looking_back(
    reference: spec.Baseline,
    table: pa.Table,
    split: Split,
    actual: NDArray[Any],
    weights: Floats | None,
    *,
    task: spec.Task,
    cutoff: float,
    origin: NDArray[np.int64] | None,
) -> tuple[Voice, str]:
    if task.time is None:
        raise MeasureError("NoTime", f"baseline {reference.type} needs task.time")
    given = history.past(table, task.time, zone=reference.time_zone, delay=reference.delay, origin=origin)
    own = () if task.series is None else (task.series,)
    code = history.series(table, reference.by or own)
    train, test = split.rows("train"), split.rows("test")
    # Rows that count for nothing aren't there.
    rows = np.arange(len(actual)) if weights is None else np.flatnonzero(weights > 0)
    weight = None if weights is None else shares(weights[rows])
    values, codes, given = actual[rows].astype(np.float64), code[rows], given.take(rows)
    period = reference.period or ""
    match reference.type:
        case "PreviousValue":
            found = history.previous(values, codes, given, weight)
        case "SeasonalNaive":
            found = history.seasonal(values, codes, given, weight, season=period)
        case _:
            found = history.last_period(values, codes, given, weight, period=period)
    score = np.full(len(actual), np.nan)
    score[rows] = found
    without = np.isnan(score)
    missing, every = int(np.count_nonzero(without & test)), int(np.count_nonzero(test))
    if missing > MOST_WITHOUT * every:
        raise MeasureError(
            "NoHistory",
            f"baseline {reference.type}: {missing} of {every} test rows have no earlier value to look back to; "
            "correct by, period or delay, or use another baseline",
        )
    mean = average(actual[train], _of_train(weights, split))
    score = np.where(without, mean, score)
    label = score >= cutoff if task.type == "Binary" else None
    words = f"{missing} of {every} test rows have nothing to look back to and get the training rows' mean, {mean:.4g}"
    voice = _voice(label=label, score=score)
    return replace(voice, cutoff=cutoff if label is not None else None, made_up=without), words
