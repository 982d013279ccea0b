"""Several evaluations of one question side by side: quality, latency, cost, and who dominates whom."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mandate.api.catalogue import METRICS, Metric
from mandate.api.criteria import Level
from mandate.evidence.schema import Estimate, Evidence, Quantity
from mandate.verdict.judge import Verdict, share_of_alpha
from mandate.verdict.pareto import Span, dominators

from .content import CONFIDENCE, Number, shown
from .names import plain
from .text import aligned

LATENCY, COST = "latency_p99", "cost_per_million"
FIRST = {
    "Binary": ("roc_auc", "balanced_accuracy"),
    "Multiclass": ("balanced_accuracy",),
    "Regression": ("mean_absolute_error",),
    "Ranking": ("ndcg",),
}
"""Per task: what quality is unless a metric is named; the first that was measured."""


class ComparisonError(ValueError):
    """The evaluations can't be compared; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One evaluation, and what its gates say, where there are criteria; `target` is what they were asked for."""

    name: str
    evidence: Evidence
    verdict: Verdict | None = None
    target: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column. `compared`: whether everyone has it; who lacks it dominates nobody who has it."""

    metric: str
    title: str
    better: str
    load: str
    compared: bool
    lacking: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate. `passes`: whether its target's gates hold; None without criteria."""

    name: str
    model: str
    numbers: tuple[Number, ...]
    passes: bool | None
    gates: str
    dominated_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the comparison tells. `chosen`: dominated by nobody, and passing where there are criteria."""

    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    chosen: tuple[str, ...]
    look: int
    notes: tuple[str, ...]


def compare(
    candidates: Sequence[Candidate], *, metric: str | None = None, load: str | None = None, look: int = 1
) -> Comparison:
    """Compare evaluations of the same rows. Raises ComparisonError.

    Intervals are those of this look, each by itself: whoever is surely better by them is, though the same rows would
    let smaller differences be told (gates against a champion do).
    """
    _same_question(candidates)
    quality = _quality(candidates, metric)
    asked = [Quantity(metric=quality)]
    if (at := _load(candidates, load)) is not None:
        asked.append(Quantity(metric=LATENCY, load=at))
    if any(_cell(candidate, Quantity(metric=COST)) is not None for candidate in candidates):
        asked.append(Quantity(metric=COST))
    alpha = share_of_alpha(confidence=CONFIDENCE, look=look)
    measures = tuple(_measure(candidates, quantity) for quantity in asked)
    spans: Mapping[str, Sequence[Span | None]] = {
        candidate.name: [_span(candidate, quantity, alpha) for quantity in asked] for candidate in candidates
    }
    dominated = dominators(spans)
    rows = tuple(
        Row(
            name=candidate.name,
            model=candidate.evidence.computed.inputs.model or "",
            numbers=tuple(shown(_cell(candidate, q), alpha=alpha) for q in asked),
            passes=None if candidate.verdict is None else candidate.verdict.reached == candidate.target,
            gates="–" if candidate.verdict is None else candidate.verdict.reached or "none",
            dominated_by=dominated[candidate.name],
        )
        for candidate in candidates
    )
    chosen = tuple(row.name for row in rows if not row.dominated_by and row.passes is not False)
    notes = (*_other_settings(candidates), *_notes(measures, rows, chosen))
    return Comparison(measures=measures, rows=rows, chosen=chosen, look=look, notes=notes)


def _same_question(candidates: Sequence[Candidate]) -> None:
    if len(candidates) < 2:
        raise ComparisonError(f"got {len(candidates)} evaluation, expected two or more to compare")
    names = [candidate.name for candidate in candidates]
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise ComparisonError(f"{twice!r} stands twice; give each a name of its own: NAME=FILE")
    first, *others = candidates
    for other in others:
        for what, ours, theirs in _questions(first.evidence, other.evidence):
            if ours != theirs:
                raise ComparisonError(
                    f"{first.name} and {other.name} were measured on different {what} ({ours} and {theirs}), so their "
                    "numbers say nothing of each other; evaluate both on the same"
                )
    priced = [(one.name, seen.currency) for one in candidates if (seen := one.evidence.measured.saturated)]
    known = [(name, currency) for name, currency in priced if currency is not None]
    for name, currency in known[1:]:
        if currency != known[0][1]:
            raise ComparisonError(
                f"{known[0][0]} and {name} were measured on different currencies ({known[0][1]} and {currency}), so "
                "their costs say nothing of each other; declare serving.prices in the same"
            )


def _other_settings(candidates: Sequence[Candidate]) -> list[str]:
    """What was declared of the measurement may differ where data and split don't: another target, weights, costs."""
    first, *others = candidates
    theirs = first.evidence.computed.inputs.settings
    different = [other.name for other in others if other.evidence.computed.inputs.settings != theirs]
    if not different:
        return []
    return [
        f"{', '.join(different)}: measured with other settings than {first.name} (task, output, slices, baselines or "
        "costs of errors), so make sure that their numbers mean the same; -f MANIFEST refuses whatever differs from it."
    ]


def _questions(one: Evidence, other: Evidence) -> list[tuple[str, str, str]]:
    """What must be the same: in words, as one has it, as the other does."""
    a, b = one.computed, other.computed

    def data(evidence: Evidence) -> str:
        return ", ".join(f"{name} {digest}" for name, digest in sorted(evidence.computed.inputs.data.items()))

    return [
        ("tasks", a.task, b.task),
        ("data", data(one), data(other)),
        ("splits", a.inputs.split, b.inputs.split),
        ("positive classes", str(a.positive), str(b.positive)),
        ("costs of errors", str(a.currency), str(b.currency)),
    ]


def _cell(candidate: Candidate, quantity: Quantity) -> Estimate | None:
    every = (*candidate.evidence.computed.estimates, *candidate.evidence.measured.estimates)
    return next((estimate for estimate in every if estimate.quantity == quantity), None)


def _has(candidate: Candidate, quantity: Quantity) -> bool:
    found = _cell(candidate, quantity)
    return found is not None and found.estimate is not None and found.fault is None


def _quality(candidates: Sequence[Candidate], metric: str | None) -> str:
    task = candidates[0].evidence.computed.task
    if metric is None:
        return next((name for name in FIRST[task] if _has(candidates[0], Quantity(metric=name))), FIRST[task][-1])
    found = METRICS.get(metric)
    known = [m.name for m in METRICS.values() if task in m.tasks and m.origin == "Computed" and m.better != "Nearest"]
    if found is None or metric not in known:
        raise ComparisonError(f"--metric {metric}: expected one with a better side; known are {', '.join(known)}")
    return metric


def _load(candidates: Sequence[Candidate], load: str | None) -> str | None:
    """At which load latencies are compared: the one asked for, or the only one that everyone was put under."""
    loads = [
        {
            str(estimate.quantity.load)
            for estimate in candidate.evidence.measured.estimates
            if estimate.quantity.metric == LATENCY and estimate.fault is None
        }
        for candidate in candidates
    ]
    common, every = set.intersection(*loads), sorted(set.union(*loads))
    if load is not None:
        if load not in every:
            raise ComparisonError(f"--load {load}: nobody was put under it; known are {', '.join(every) or 'none'}")
        return load
    if len(common) > 1:
        raise ComparisonError(f"latencies are known at {', '.join(sorted(common))}; say which with --load")
    return next(iter(common), every[0] if len(every) == 1 else None)


def _measure(candidates: Sequence[Candidate], quantity: Quantity) -> Measure:
    metric = METRICS[quantity.metric]
    lacking = tuple(candidate.name for candidate in candidates if not _has(candidate, quantity))
    currencies = {
        seen.currency for candidate in candidates if (seen := candidate.evidence.measured.saturated) and seen.currency
    }
    unit = f" ({', '.join(sorted(currencies))})" if metric.name == COST and currencies else ""
    return Measure(
        metric=metric.name,
        title=metric.title + unit + (f" at {quantity.load}" if quantity.load else ""),
        better=metric.better.lower(),
        load=quantity.load or "",
        compared=not lacking,
        lacking=lacking,
    )


def _span(candidate: Candidate, quantity: Quantity, alpha: float) -> Span | None:
    if not _has(candidate, quantity):
        return None
    estimate, metric = _cell(candidate, quantity), METRICS[quantity.metric]
    assert estimate is not None
    assert estimate.estimate is not None
    value, number = estimate.estimate, shown(estimate, alpha=alpha)
    lower = -math.inf if number.lower is None else number.lower
    upper = math.inf if number.upper is None else number.upper
    return _turned(metric, lower, value, upper)


def _turned(metric: Metric, lower: float, value: float, upper: float) -> Span:
    return Span(-upper, -value, -lower) if metric.better == "Lower" else Span(lower, value, upper)


def _notes(measures: Sequence[Measure], rows: Sequence[Row], chosen: Sequence[str]) -> tuple[str, ...]:
    notes = [
        f"{measure.title} wasn't measured of {', '.join(measure.lacking)}: nobody it was measured of is dominated by "
        "who lacks it."
        for measure in measures
        if measure.lacking
    ]
    notes += [
        f"{row.name} is dominated by {', '.join(row.dominated_by)}: nowhere better, and surely worse somewhere."
        for row in rows
        if row.dominated_by
    ]
    judged = any(row.passes is not None for row in rows)
    if chosen:
        what = "pass their gates and are" if judged else "are"
        notes.append(f"To choose from, since they {what} dominated by nobody: {', '.join(chosen)}.")
    else:
        notes.append("Nobody that is dominated by nobody passes its gates: there is nothing to choose from.")
    return tuple(notes)


def head(comparison: Comparison) -> list[str]:
    """The table's columns."""
    titles = [f"{measure.title}, {measure.better} is better" for measure in comparison.measures]
    return ["Candidate", *titles, "Gates hold up to", "Dominated by"]


def body(comparison: Comparison) -> list[list[str]]:
    """The table's cells, by candidate."""
    marks = {True: " ✓", False: " ✗", None: ""}
    return [
        [
            row.name,
            *(number.text for number in row.numbers),
            f"{row.gates}{marks[row.passes]}",
            ", ".join(row.dominated_by) or "–",
        ]
        for row in comparison.rows
    ]


def text(comparison: Comparison) -> str:
    """For terminals, ending in a newline."""
    table = aligned([title.upper() for title in head(comparison)], body(comparison))
    return "\n".join([*table, "", *map(plain, comparison.notes)]) + "\n"


def document(comparison: Comparison) -> str:
    """As JSON: everything, under a name of its own."""
    found = {
        "schema": "mandate.dev/comparison/v1",
        "measures": [
            {"metric": m.metric, "load": m.load, "better": m.better, "compared": m.compared}
            for m in comparison.measures
        ],
        "candidates": [
            {
                "name": row.name,
                "model": row.model,
                "numbers": [_number(number) for number in row.numbers],
                "passes": row.passes,
                "dominatedBy": list(row.dominated_by),
            }
            for row in comparison.rows
        ],
        "chosen": list(comparison.chosen),
        "look": comparison.look,
        "notes": list(comparison.notes),
    }
    written = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
    # Only strings can hold `##`; GitHub's runner would take a printed `##[…]` for a command.
    return written.replace("##", "#\\u0023") + "\n"


def _number(number: Number) -> dict[str, float | str | None]:
    def finite(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else value

    return {
        "value": number.value,
        "lower": finite(number.lower),
        "upper": finite(number.upper),
        "unit": number.unit,
        "fault": number.fault,
    }


def markdown(comparison: Comparison) -> str:
    """A table and its sentences."""
    from .markdown import escape, table

    cells = [[escape(cell) for cell in row] for row in body(comparison)]
    notes = [f"- {escape(note)}" for note in comparison.notes]
    return "\n".join([*table([escape(title) for title in head(comparison)], cells), "", *notes]) + "\n"


def html(comparison: Comparison) -> str:
    """One page without scripts."""
    from .html import comparison_page

    return comparison_page(head(comparison), body(comparison), comparison.notes, chosen=comparison.chosen)
