"""A Binary model's cut-off, chosen on the validation rows.

Every cut-off that answers some validation row otherwise is tried, so the best one is found, not searched for. Rates
and costs come from the four cells of the confusion matrix, and their errors from the cells' derivatives (the delta
method), which are taken by a complex step (Squire & Trapp 1998): exact to rounding, and nothing to derive by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mandate.api import spec
from mandate.evidence.schema import Cutoff, Fault, Learnt

from .answers import Voice
from .metrics import Floats
from .uncertainty import Clusters
from .units import OF_LABELS, Units

Cells = NDArray[Any]
"""(4, …) shares of the rows: true negatives, false positives, false negatives, true positives."""
Function = Callable[[Cells], Any]

TIES = 1e-12
"""Values of a metric that differ by less, as a share of the best one, are equal: rounding makes no choice."""
QUANTILE = 1.959963984540054
"""Of a 95 % interval, normal."""
MOST = 200
"""Cut-offs whose difference is examined where rows are in clusters, which takes a pass over the rows each."""
LEAST_DIGITS, MOST_DIGITS = 2, 9
CHOSEN = ("Prior", "Linear", "Column", "Container", "PreviousValue", "SeasonalNaive", "LastPeriodMean")
"""Baselines whose answer is a probability; the others' is a label, drawn or found by a rule of their own."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Validation rows with finite scores. `score`, `positive`: (n,); `weight`, `clusters`: (n,) or None.

    `dtype`: in what precision scores are held against a cut-off where the model serves; None for double.
    """

    score: Floats
    positive: NDArray[np.bool_]
    weight: Floats | None = None
    clusters: Clusters | None = None
    dtype: np.dtype[Any] | None = None


def choose(
    given: Given, choice: spec.CutoffChoice, *, declared: str, costs: Floats | None = None, beta: float | None = None
) -> Cutoff:
    """The cut-off at which `choice.metric` is best on these rows, among those that keep `choice.at_least`.

    Of equal ones the nearest to 0.5 is taken, then the lower; and between two rows' scores the middle, in as few digits
    (two to nine) as tell them apart. `costs` (2, 2) by actual and by answered class, negative first; `beta` of f_beta.
    The fault says why there is none: no rows, one class, or none that keeps what is asked.
    """
    rows, positives = len(given.score), int(np.count_nonzero(given.positive))
    at_least = None if choice.at_least is None else f"{choice.at_least.metric} of at least {choice.at_least.value}"
    record = Cutoff(
        metric=choice.metric,
        at_least=at_least,
        declared=declared,
        rows=rows,
        events=min(positives, rows - positives),
    )
    if not rows:
        return _without(
            record, "NoValidationRows", "there are no validation rows, and test rows mustn't choose; give some"
        )
    if not record.events:
        kind = "positive" if positives else "negative"
        return _without(record, "OneClass", f"all {rows} validation rows are {kind}; give rows of both classes")
    curve = _Curve(given)
    function = _function(choice.metric, costs=costs, beta=beta)
    value = _real(function, curve.cells)
    better = -value if choice.metric == "expected_cost" else value
    kept, allowed = None, np.isfinite(better)
    if choice.at_least is not None:
        kept = _real(_function(choice.at_least.metric), curve.cells)
        with np.errstate(invalid="ignore"):
            allowed = allowed & (kept >= float(choice.at_least.value) - TIES)
        if not allowed.any():
            reached = f", the most is {np.nanmax(kept):.4g}" if np.isfinite(kept).any() else ""
            message = f"no cut-off has a {at_least} on the {rows} validation rows{reached}; ask for less"
            return _without(record, "NoCutoff", message)
    place, text = _best(curve, better, allowed, given.dtype)
    if place is None:
        message = "the best cut-offs lie between scores that differ by less than 1e-9; give scores of fewer digits"
        return _without(record, "NoCutoff", message)
    limit = None if choice.at_least is None else (choice.at_least.metric, float(choice.at_least.value))
    alike = _alike(curve, function, value, place, limit=limit, higher=choice.metric != "expected_cost")
    low, high = curve.ends(alike)
    return record.model_copy(
        update={
            "chosen": text,
            "value": float(value[place]),
            "kept": None if kept is None else float(kept[place]),
            "low": min(low, float(text)),
            "high": max(high, float(text)),
        }
    )


def apply(voice: Voice, cutoff: Cutoff) -> Voice:
    """The voice with labels from the chosen cut-off on; without labels, and with the reason, where there is none."""
    if cutoff.chosen is None:
        return replace(voice, label=None, cutoff=None, unlabelled=cutoff.fault)
    assert voice.score is not None
    chosen = float(cutoff.chosen)
    return replace(voice, label=voice.score >= chosen, cutoff=chosen)


@dataclass(frozen=True, kw_only=True)
class Chooser:
    """Chooses for the model and, alike, for its baselines. All arrays are of all rows; `rolled` makes units of them.

    `costs` is a fault where they are declared and aren't whole.
    """

    choice: spec.CutoffChoice
    costs: Floats | Fault | None
    beta: float | None
    validation: NDArray[np.bool_]
    actual: NDArray[np.bool_]
    weights: Floats | None
    clusters: Clusters | None
    rolled: Units | None

    def cutoff(
        self, voice: Voice, *, declared: str, dtype: np.dtype[Any] | None = None, of_units: bool = False
    ) -> Cutoff:
        """The cut-off of one party's answers, or the fault that kept it from being chosen. `of_units`: rows roll up and
        its answers are units'."""
        actual, weights, clusters, rows = self.actual, self.weights, self.clusters, self.validation
        if (rolled := self.rolled) is not None:
            voice, rows = voice if of_units else rolled.voice(voice), rolled.split.rows("validation")
            actual = rolled.reduce(actual, rolled.how.labels)
            weights = None if weights is None else rolled.reduce(weights, "Mean")
            clusters = None if clusters is None else clusters[rolled.last]
        nothing = Cutoff(metric=self.choice.metric, declared=declared, rows=int(rows.sum()), events=0)
        fault = voice.fault
        if fault is None and self.choice.metric == "expected_cost" and not isinstance(self.costs, np.ndarray):
            fault = self.costs or Fault(code="MissingCosts", message="useCase.errorCosts are missing; declare them")
        if fault is None and voice.score is None:
            fault = Fault(code="NoProbabilities", message="a cut-off needs answers that are probabilities")
        if fault is None and voice.finite is not None and not voice.finite[rows].all():
            bad = int(np.count_nonzero(~voice.finite[rows]))
            message = f"{bad} of {nothing.rows} validation rows have answers that are missing, NaN or infinite"
            fault = Fault(code="NonFinitePredictions", message=f"model.output.choose: {message}")
        if fault is not None:
            return nothing.model_copy(update={"fault": fault})
        assert voice.score is not None
        given = Given(
            score=voice.score[rows],
            positive=actual[rows],
            weight=None if weights is None else weights[rows],
            clusters=None if clusters is None else clusters[rows],
            dtype=dtype if dtype is not None and dtype.kind == "f" else None,
        )
        costs = self.costs if isinstance(self.costs, np.ndarray) else None
        return choose(given, self.choice, declared=declared, costs=costs, beta=self.beta)

    def others(
        self, voices: Mapping[str, Voice], references: Sequence[spec.Baseline], learnt: Sequence[Learnt]
    ) -> tuple[dict[str, Voice], list[Learnt]]:
        """Baselines that answer with a probability get their own best cut-off, or the model would win by having one."""
        found, words = dict(voices), {item.baseline: item.words for item in learnt}
        for reference in references:
            voice = found.get(reference.name)
            if reference.type not in CHOSEN or voice is None or voice.score is None or voice.label is None:
                continue
            cutoff = self.cutoff(voice, declared="0.5", of_units=reference.type in OF_LABELS)
            found[reference.name] = apply(voice, cutoff)
            said = cutoff.fault.message if cutoff.fault else f"positive from {cutoff.chosen} on, chosen as the model's"
            before = words.get(reference.name)
            words[reference.name] = (said if before is None else f"{before}; {said}")[:1024]
        return found, [
            Learnt(baseline=reference.name, words=words[reference.name])
            for reference in references
            if reference.name in words
        ]


def finding(cutoff: Cutoff) -> str:
    """What was chosen and how sure that is, in a sentence; or why nothing was."""
    if cutoff.fault is not None:
        return f"model.output.choose: {cutoff.fault.message}"[:512]
    return (
        f"cut-off {cutoff.chosen}: chosen by {cutoff.by} on {cutoff.rows} validation rows, {cutoff.events} of the "
        f"rarer class; from {cutoff.low:.4g} to {cutoff.high:.4g} they can't tell (95 %)"
    )


def _without(record: Cutoff, code: str, message: str) -> Cutoff:
    return record.model_copy(update={"fault": Fault(code=code, message=f"model.output.choose: {message}")})


class _Curve:
    """The confusion matrix at every cut-off: `cells` (4, m + 1) where scores hold m values; at place j the j lowest
    values are answered negative."""

    def __init__(self, given: Given) -> None:
        # Rows of equal scores keep their order, so that sums are the same whatever the order of the others.
        order = np.argsort(given.score, kind="stable")
        self.positive = given.positive[order]
        weight = np.ones(len(order)) if given.weight is None else given.weight[order]
        self.weight = weight / weight.sum()
        self.clusters = None if given.clusters is None else given.clusters[order]
        self.values, first = np.unique(given.score[order], return_index=True)
        self.first = np.append(first, len(order))
        """The first row, in the order of scores, that is answered positive, by place."""
        below = self._below(self.weight)
        total = below[:, -1:]
        negative, positive = below
        self.cells = np.stack((negative, total[0] - negative, positive, total[1] - positive))
        self.squares = self._below(self.weight**2)

    def _below(self, weight: Floats) -> Floats:
        """(2, m + 1): sums of `weight` over the negatives, and over the positives, that are answered negative."""
        sums = [np.append(0.0, np.cumsum(np.where(chosen, weight, 0.0))) for chosen in (~self.positive, self.positive)]
        return np.stack(sums)[:, self.first]

    @property
    def middle(self) -> Floats:
        """(m + 1,) of the gaps between scores; at the ends between 0 or 1 and a score."""
        ends = np.concatenate(([0.0], self.values, [1.0]))
        return np.asarray((ends[:-1] + ends[1:]) / 2)

    def text(self, place: int, dtype: np.dtype[Any] | None) -> str | None:
        """A cut-off at `place`, in as few digits as tell the scores apart; None where nine don't."""
        low = self.values[place - 1] if place else -math.inf
        high = self.values[place] if place < len(self.values) else math.inf
        # All are positive from 0 on, however near to it the lowest score lies.
        middle = (Decimal(low) + Decimal(min(high, 1.0))) / 2 if place else Decimal(0)
        for digits in range(LEAST_DIGITS, MOST_DIGITS + 1):
            rounded = middle.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
            if (
                0 <= rounded <= 1
                and low < (float(rounded) if dtype is None else float(dtype.type(float(rounded)))) <= high
            ):
                text = f"{rounded:f}".rstrip("0").rstrip(".")
                return text or "0"
        return None

    def ends(self, places: NDArray[np.bool_]) -> tuple[float, float]:
        """The lowest and the highest cut-off among `places`."""
        found = np.flatnonzero(places)
        return float(self.middle[found[0]] if found[0] else 0.0), float(self.middle[found[-1]])

    def variance(self, gradient: Cells, place: int | None = None, fixed: Cells | None = None) -> Floats:
        """(m + 1,) of a metric by its `gradient` (4, m + 1) in the cells; with `place`, of its difference from that at
        `place`, whose gradient is `fixed` (4,). NaN where it isn't examined."""
        places = np.arange(len(self.first))
        at = np.zeros(4) if fixed is None else fixed
        mean = (gradient * self.cells).sum(axis=0) - (0.0 if place is None else float(at @ self.cells[:, place]))
        lower, upper = (places, places) if place is None else (np.minimum(places, place), np.maximum(places, place))
        tn, fp, fn, tp = gradient
        here = places >= (place if place is not None else 0)
        # Per class: rows below both cut-offs, between them, and above both differ by the same amount each.
        moved = (
            (tn - at[0], np.where(here, tn - at[1], fp - at[0]), fp - at[1]),
            (fn - at[2], np.where(here, fn - at[3], tp - at[2]), tp - at[3]),
        )
        if self.clusters is not None:
            return self._clustered(moved, mean, lower, upper)
        found = np.zeros(len(places))
        for kind, (below, between, above) in enumerate(moved):
            sums = self.squares[kind]
            found += (below - mean) ** 2 * sums[lower]
            found += (between - mean) ** 2 * (sums[upper] - sums[lower])
            found += (above - mean) ** 2 * (sums[-1] - sums[upper])
        return found

    def _clustered(
        self,
        moved: tuple[tuple[Floats, Floats, Floats], ...],
        mean: Floats,
        lower: NDArray[np.intp],
        upper: NDArray[np.intp],
    ) -> Floats:
        """The sum of squares over clusters, at MOST places at most."""
        assert self.clusters is not None
        count = len(self.first)
        found = np.full(count, np.nan)
        codes = np.unique(self.clusters, return_inverse=True)[1]
        kind = self.positive.astype(np.intp)
        rows = np.arange(len(kind))
        for place in np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(np.intp)):
            table = np.array([[part[place] for part in one] for one in moved]) - mean[place]
            region = (rows >= self.first[lower[place]]).astype(np.intp) + (rows >= self.first[upper[place]])
            sums = np.bincount(codes, weights=self.weight * table[kind, region])
            found[place] = sums @ sums
        return found


def _best(
    curve: _Curve, better: Floats, allowed: NDArray[np.bool_], dtype: np.dtype[Any] | None
) -> tuple[int | None, str]:
    """The best place that a cut-off can name, and the cut-off."""
    left = allowed.copy()
    while left.any():
        best = better[left].max()
        tied = np.flatnonzero(left & (better >= best - TIES * max(1.0, abs(best))))
        middle = curve.middle[tied]
        for place in tied[np.lexsort((middle, np.abs(middle - 0.5)))]:
            if (text := curve.text(int(place), dtype)) is not None:
                return int(place), text
        left[tied] = False
    return None, ""


def _alike(
    curve: _Curve,
    function: Function,
    value: Floats,
    place: int,
    *,
    limit: tuple[str, float] | None,
    higher: bool,
) -> NDArray[np.bool_]:
    """(m + 1,): at which cut-offs the metric can't be told from that at `place`.

    With a rate that must be kept, those at which it isn't surely missed, and which are as good or don't surely keep it.
    """
    gradient = _gradient(function, curve.cells)
    with np.errstate(invalid="ignore"):
        worse = (value[place] - value) * (1 if higher else -1)
        se = np.sqrt(curve.variance(gradient, place, gradient[:, place]))
        alike = worse <= QUANTILE * se
        if limit is not None:
            rate = _function(limit[0])
            kept, error = _real(rate, curve.cells), np.sqrt(curve.variance(_gradient(rate, curve.cells)))
            unsure = np.abs(kept - limit[1]) <= QUANTILE * error
            alike = (unsure | (alike & (kept >= limit[1]))) & np.isfinite(value)
    alike[place] = True
    return np.asarray(alike, dtype=np.bool_)


def _real(function: Function, cells: Cells) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(function(cells), dtype=np.float64)


def _gradient(function: Function, cells: Cells) -> Cells:
    """(4, …): derivatives by each cell."""
    step = 1e-100
    found = np.empty(cells.shape)
    with np.errstate(all="ignore"):
        for cell in range(4):
            moved = cells.astype(np.complex128)
            moved[cell] += 1j * step
            found[cell] = function(moved).imag / step
    return found


def _function(name: str, *, costs: Floats | None = None, beta: float | None = None) -> Function:
    """A metric of the four cells; NaN where it has no value. Definitions as in `metrics.labels`."""
    if name == "expected_cost":
        assert costs is not None
        flat = costs.ravel()  # by actual and answered class: the order of the cells
        return lambda cells: np.tensordot(flat, cells, axes=1)
    if name in ("f1", "f_beta"):
        square = 1.0 if name == "f1" else float(beta or 0.0) ** 2
        return lambda c: (1 + square) * c[3] / ((1 + square) * c[3] + square * c[2] + c[1])
    if name == "matthews_corrcoef":
        return lambda c: (
            (c[3] * c[0] - c[1] * c[2]) / np.sqrt((c[3] + c[1]) * (c[3] + c[2]) * (c[0] + c[1]) * (c[0] + c[2]))
        )
    return {
        "accuracy": lambda c: c[0] + c[3],
        "balanced_accuracy": lambda c: (c[3] / (c[3] + c[2]) + c[0] / (c[0] + c[1])) / 2,
        "recall": lambda c: c[3] / (c[3] + c[2]),
        "precision": lambda c: c[3] / (c[3] + c[1]),
        "specificity": lambda c: c[0] / (c[0] + c[1]),
        "negative_predictive_value": lambda c: c[0] / (c[0] + c[2]),
    }[name]
