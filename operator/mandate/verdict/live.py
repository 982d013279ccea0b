"""Gates on live rows, judged on what the recorder counted: by limits that hold at any time of looking.

A pass needs every place at the gate's own error: all must hold, so nothing has to be adjusted. A Fail takes traffic
from something that runs, and one place is enough: each is tested at its share of the error (Bonferroni over all places
that there may ever be at the level, which bounds Holm's first step; values of a slice appear as rows come in).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mandate.api.catalogue import METRICS, Metric
from mandate.api.criteria import (
    LEVELS,
    OVERALL,
    Level,
    Limit,
    Range,
    Requirement,
    bounds,
    describe,
    number_text,
    requirements,
)
from mandate.api.kinds import VerdictWord, tier_burden
from mandate.api.spec import Gate, RiskTier
from mandate.evidence.live import MAX_SLICE_VALUES, BinaryOutcomes, Live, MulticlassOutcomes, RegressionOutcomes

from .anytime import BURN_IN, bounded_limits, bounded_rows_to_decide, mean_limits, mean_rows_to_decide
from .judge import SEVERITY, GateVerdict, LevelVerdict, Outcome

OTHER = "other"
"""What the recorder calls the values of a slice that it doesn't tell apart."""
Part = BinaryOutcomes | MulticlassOutcomes | RegressionOutcomes


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over some rows. `squares`, `least` and `greatest` are missing where every value is 0 or 1."""

    rows: int
    total: float
    squares: float | None = None
    least: float = 0.0
    greatest: float = 1.0

    def limits(self, alpha: float) -> tuple[float, float] | None:
        """Its limits; None where the values don't vary, so that nothing is known of what else they might be."""
        if self.squares is None:
            return bounded_limits(rows=self.rows, total=self.total, alpha=alpha)
        return mean_limits(
            rows=self.rows,
            total=self.total,
            squares=self.squares,
            least=self.least,
            greatest=self.greatest,
            alpha=alpha,
        )

    def rows_to_decide(self, limit: float, alpha: float) -> float:
        """Rows in all by which the limits leave `limit`, with 80 % power at the present value."""
        estimate = self.total / self.rows
        if self.squares is None:
            return bounded_rows_to_decide(limit=limit, estimate=estimate, alpha=alpha)
        variance = max(self.squares / self.rows - estimate**2, 0.0)
        return mean_rows_to_decide(gap=estimate - limit, sd=math.sqrt(variance), alpha=alpha)


def judge_live(*, gates: Sequence[Gate], tier: RiskTier, live: Live) -> dict[Level, LevelVerdict]:
    """The verdict on `live` at every level at which a gate asks something of live rows."""
    found: dict[Level, LevelVerdict] = {}
    for level in LEVELS:
        asked = [
            (gate, requirement, place, part)
            for index, gate in enumerate(gates)
            if gate.rows == "live"
            for requirement in _asked(gate, index, level)
            for place, part in _places(gate, live)
        ]
        names = dict.fromkeys(gate.name for gate, *_ in asked)
        among = sum(
            _tests(gate, requirement)
            for index, gate in enumerate(gates)
            if gate.rows == "live"
            for requirement in _asked(gate, index, level)
        )
        judged = [
            (gate, _outcome(gate, requirement, place, part, among=among)) for gate, requirement, place, part in asked
        ]
        verdicts = tuple(
            _gate([(gate, outcome) for gate, outcome in judged if gate.name == name], level, tier) for name in names
        )
        if verdicts:
            found[level] = LevelVerdict(level, all(verdict.holds for verdict in verdicts), verdicts)
    return found


def _asked(gate: Gate, index: int, level: Level) -> tuple[Requirement, ...]:
    texts = gate.require.texts()
    return tuple(requirements(texts, metric=METRICS[gate.metric], field=f"spec.gates[{index}]")[level])


def _tests(gate: Gate, requirement: Requirement) -> int:
    """How many tests that could fail the requirement may ever be: of each place, on each side that it limits."""
    places = sum(1 if name == OVERALL else MAX_SLICE_VALUES + 1 for name in gate.each or (OVERALL,))
    return places * (2 if isinstance(requirement, Range) else 1)


def _places(gate: Gate, live: Live) -> Iterator[tuple[str, Part | None]]:
    """Where the gate asks, in words, with what was counted there; None where no row was."""
    for name in gate.each or (OVERALL,):
        if name == OVERALL:
            yield OVERALL, live.outcomes.overall
            continue
        sliced = live.outcomes.slices.get(name)
        if sliced is None:
            yield name, None
            continue
        if not sliced.values and sliced.other is None:
            yield name, None
        for value, part in sliced.values.items():
            yield f"{name} {value}", part
        if sliced.other is not None:
            yield f"{name} {OTHER}", sliced.other


def _gate(judged: list[tuple[Gate, Outcome]], level: Level, tier: RiskTier) -> GateVerdict:
    gate = judged[0][0]
    outcomes = sorted((outcome for _, outcome in judged), key=lambda each: (-SEVERITY[each.verdict], -each.shortfall))
    verdict = outcomes[0].verdict
    burden = gate.burden or tier_burden(tier, level)
    limit = SEVERITY["Inconclusive"] if burden == "NotRefuted" else SEVERITY["Pass"]
    return GateVerdict(gate.name, level, gate.metric, verdict, burden, SEVERITY[verdict] <= limit, tuple(outcomes))


def _outcome(gate: Gate, requirement: Requirement, place: str, part: Part | None, *, among: int) -> Outcome:
    metric, alpha = METRICS[gate.metric], (1 - float(gate.confidence)) / 2
    asked = describe(requirement, unit=metric.unit)
    if not isinstance(requirement, Limit | Range):
        return Outcome("Error", asked, place, f"{place}: NotPaired: live rows are held against numbers only")
    mean = _mean(gate.metric, part) if part is not None else None
    if mean is None or mean.rows == 0:
        return Outcome("Inconclusive", asked, place, f"{place}: no row that {gate.metric} counts has its outcome yet")
    estimate, limits = mean.total / mean.rows, mean.limits(alpha)
    shown = number_text(estimate, metric.unit)
    if limits is None:
        message = f"{place}: {shown}, but no variance could be estimated, so nothing is shown"
        return Outcome("Inconclusive", asked, place, message, estimate=estimate)
    low, high = bounds(requirement)
    far = mean.limits(alpha / among) or limits
    verdict: VerdictWord = "Inconclusive"
    if limits[0] >= low and limits[1] <= high:
        verdict = "Pass"
    elif far[1] < low or far[0] > high:
        verdict = "Fail"
    words = {"Pass": "meets", "Fail": "misses", "Inconclusive": "can't be told from"}[verdict]
    needed: int | None = None
    if verdict == "Inconclusive":
        missed = limits[1] < low or limits[0] > high  # but not yet at its share of the error
        needed = _needed(mean, low, high, *((far, alpha / among) if missed else (limits, alpha)))
    advice = "" if needed is None else f"; about {needed:,} more of its rows needed".replace(",", " ")
    return Outcome(
        verdict,
        asked,
        place,
        f"{place}: {_interval(shown, limits, metric)} {words} {asked}{advice}",
        estimate=estimate,
        lower=limits[0] if math.isfinite(limits[0]) else None,
        upper=limits[1] if math.isfinite(limits[1]) else None,
        needed=needed,
        shortfall=max(low - estimate, estimate - high, 0.0),
    )


def _needed(mean: Mean, low: float, high: float, limits: tuple[float, float], alpha: float) -> int | None:
    """Rows still needed to tell, None where the value sits on the limit."""
    ends = [end for end in (low, high) if math.isfinite(end) and limits[0] <= end <= limits[1]]
    if not ends:
        return max(BURN_IN - mean.rows, 1)
    rows = max(mean.rows_to_decide(end, alpha) for end in ends)
    return max(math.ceil(rows) - mean.rows, 1) if math.isfinite(rows) else None


def _interval(shown: str, limits: tuple[float, float], metric: Metric) -> str:
    return f"{shown} [{number_text(limits[0], metric.unit)}, {number_text(limits[1], metric.unit)}]"


def _mean(metric: str, part: Part) -> Mean | None:
    """The metric as a mean over the rows that fulfil its condition; None where this task's counts don't give it."""
    match part:
        case BinaryOutcomes(tp=tp, fp=fp, tn=tn, fn=fn):
            parts = {
                "accuracy": (tp + tn, tp + fp + tn + fn),
                "recall": (tp, tp + fn),
                "precision": (tp, tp + fp),
                "false_positive_rate": (fp, fp + tn),
                "selection_rate": (tp + fp, tp + fp + tn + fn),
            }
            total, rows = parts.get(metric, (0, 0))
            return Mean(rows=rows, total=total)
        case MulticlassOutcomes(right=right, wrong=wrong):
            return Mean(rows=right + wrong, total=right) if metric == "accuracy" else None
        case _:
            return _of_errors(metric, part)


def _of_errors(metric: str, part: RegressionOutcomes) -> Mean | None:
    least, greatest = part.min, part.max
    if least is None or greatest is None:
        return None
    if metric == "bias":
        return Mean(rows=part.count, total=part.sum, squares=part.sum_squares, least=least, greatest=greatest)
    # No absolute error is below 0: with it as the least, the limits say too little rather than too much.
    largest = max(abs(least), abs(greatest))
    return Mean(rows=part.count, total=part.sum_absolute, squares=part.sum_squares, least=0.0, greatest=largest)
