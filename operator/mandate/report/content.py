"""What a report says, whatever it is written in: the verdict, what stands in the way, what to do, and the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mandate.api.catalogue import METRICS, Metric, derived, metrics_for
from mandate.api.criteria import CHAMPION, OVERALL, Level, Requirement, describe, number_text, requirements
from mandate.api.kinds import ModelDeploymentSpec, VerdictWord
from mandate.api.spec import Burden, Gate
from mandate.evidence.canonical import digest
from mandate.evidence.intervals import Beta, StudentT, Table, Unbounded
from mandate.evidence.schema import Estimate, Evidence, Quantity, computed_digest
from mandate.verdict.criteria import criteria_digest
from mandate.verdict.judge import REMEDY, SEVERITY, GateVerdict, Outcome, Verdict, share_of_alpha
from mandate.verdict.limits import beta_limits, student_limits, table_limits

Result = Literal["Holds", "Refused", "NotJudged"]
"""`Holds`: the target level's gates hold. `Refused`: a gate in the way is Fail or Inconclusive. `NotJudged`: none of
them is Fail and at least one is Error, so the answer isn't known."""

LookSource = Literal["Assumed", "Given", "Ledger"]
"""Where the look's number comes from: nobody counted, somebody said so, or a ledger counted."""

MEANING: dict[Level, str] = {
    "Shadow": "its answers are recorded and never used",
    "Suggest": "people see its answers and decide",
    "Automate": "its answers act",
}

_MAY: dict[Level, str] = {"Shadow": "may run in Shadow", "Suggest": "may Suggest", "Automate": "may Automate"}

SLICE_METRICS = 3
"""Metrics shown per slice: those that gates ask for there, filled up with the task's first ones."""

ROW_PARTS = ("train", "validation", "test", "none")

CONFIDENCE = 0.95
"""Two-sided confidence of intervals that no gate asks for, before looks are accounted for."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A measured number as shown. `lower` and `upper` are the limits at this look, where there are any."""

    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    unit: str = ""
    fault: str = ""
    """Why there is no number, or why it has no interval: a CamelCase code or the reason."""

    @property
    def text(self) -> str:
        """The number with its interval, in words that every format shares."""
        if self.value is None:
            return self.fault or "–"
        if self.lower is None or self.upper is None:
            return number_text(self.value, self.unit) + (" (no interval)" if self.fault else "")
        return (
            f"{number_text(self.value, self.unit)} "
            f"[{number_text(self.lower, self.unit)}, {number_text(self.upper, self.unit)}]"
        )


@dataclass(frozen=True, kw_only=True)
class AtLevel:
    """One gate at one level."""

    level: Level
    verdict: VerdictWord
    holds: bool
    burden: Burden
    requirements: tuple[str, ...]
    message: str


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One gate. `decided` is the level told about: the first where it doesn't hold, else the highest it asks at."""

    name: str
    metric: str
    title: str
    asks: str
    bounds: tuple[float, float]
    """Between which values the number can lie at all."""
    levels: tuple[AtLevel, ...]
    decided: AtLevel
    outcomes: tuple[Outcome, ...]
    parsed: tuple[Requirement | None, ...]
    """Per outcome, its requirement as numbers; None for what isn't a number (held-out rows)."""
    confidence: float | None

    def at(self, level: Level) -> AtLevel | None:
        """The gate at `level`; None where it asks nothing there."""
        return next((at for at in self.levels if at.level == level), None)


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """A gate that keeps a level from holding, and what would help."""

    level: Level
    gate: str
    verdict: VerdictWord
    message: str
    step: str


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric over all rows of each part, and what the baselines get on the test rows."""

    metric: str
    title: str
    better: str
    test: Number
    train: Number
    validation: Number
    references: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One value of a slice on the test rows."""

    value: str
    rows: int
    events: int
    numbers: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class SliceTable:
    """One slice; `metrics` and `titles` name the columns of numbers."""

    name: str
    column: str
    sensitive: bool
    metrics: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[SliceRow, ...]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One number measured at the running server."""

    metric: str
    title: str
    load: str
    number: Number


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a report tells. `reached` is the highest level that holds together with all below it."""

    name: str
    version: str
    decision: str
    owner: str
    tier: str
    task: str
    target: Level
    reached: Level | None
    result: Result
    headline: str
    answer: str
    obstacles: tuple[Obstacle, ...]
    levels: tuple[Level, ...]
    held: dict[str, tuple[int, int]]
    """Per level: gates that hold, gates that ask."""
    gates: tuple[GateRow, ...]
    references: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    slices: tuple[SliceTable, ...]
    service: tuple[Service, ...]
    rows: dict[str, int]
    look: int
    look_source: LookSource
    look_share: float
    """This look's share of the total error probability."""
    held_out: str
    held_out_reason: str
    isolation: str
    findings: tuple[str, ...]
    criteria_digest: str
    computed_digest: str
    evidence_digest: str
    inputs: dict[str, str]
    versions: dict[str, str]
    seconds: dict[str, float]


def build(
    *, name: str, spec: ModelDeploymentSpec, evidence: Evidence, verdict: Verdict, look_source: LookSource
) -> Report:
    """The report on a verdict. `spec` is the effective one: with the gates and baselines that were judged."""
    target = spec.autonomy.target
    gates = _gates(spec, verdict)
    result = _result(verdict, target)
    obstacles = _obstacles(verdict)
    computed = evidence.computed
    alpha = share_of_alpha(confidence=CONFIDENCE, look=verdict.look)
    cells = {estimate.quantity.sort_key(): estimate for estimate in computed.estimates}
    inputs = {
        "model": computed.inputs.model or "none: the answers are columns of the data",
        **dict(sorted(computed.inputs.data.items())),
        "split": computed.inputs.split,
        "predictions": computed.inputs.predictions,
        "settings": computed.inputs.settings,
    }
    return Report(
        name=name,
        version=spec.model.version,
        decision=spec.use_case.decision,
        owner=spec.use_case.owner,
        tier=spec.use_case.risk_tier,
        task=spec.task.type,
        target=target,
        reached=verdict.reached,
        result=result,
        headline=_headline(f"{name} {spec.model.version}", verdict.reached, target, result),
        answer=_answer(verdict.reached, target, result),
        obstacles=obstacles,
        levels=tuple(level.level for level in verdict.levels),
        held={level.level: (sum(gate.holds for gate in level.gates), len(level.gates)) for level in verdict.levels},
        gates=gates,
        references=_references(spec, computed.estimates),
        metrics=_metrics(spec, cells, _references(spec, computed.estimates), alpha=alpha),
        slices=_slices(spec, computed.estimates, cells, alpha=alpha),
        service=_service(evidence.measured.estimates, alpha=alpha),
        # Stored evidence is sorted by name; people read the parts in the order in which they are used.
        rows={part: computed.rows[part] for part in ROW_PARTS if part in computed.rows},
        look=verdict.look,
        look_source=look_source,
        look_share=1 / (verdict.look * (verdict.look + 1)),
        held_out=computed.held_out.status,
        held_out_reason=computed.held_out.reason,
        isolation=evidence.measured.isolation,
        findings=computed.findings,
        criteria_digest=criteria_digest(spec),
        computed_digest=computed_digest(computed),
        evidence_digest=digest(evidence.dump()),
        inputs=inputs,
        versions=dict(sorted(evidence.measured.versions.items())),
        seconds=evidence.measured.seconds,
    )


def count_text(number: int) -> str:
    """Thousands set apart by spaces, as verdicts write them."""
    return f"{number:,}".replace(",", " ")


def look_text(report: Report) -> str:
    """Which look this is, what it may spend, and who counted."""
    counted = {
        "Assumed": "nobody counted; --ledger FILE does",
        "Given": "as given by --look",
        "Ledger": "counted by the ledger",
    }[report.look_source]
    share = f"{report.look_share:.1%}".replace("%", " %").replace(".0 %", " %")
    return f"look {report.look} at these test rows, {share} of the error budget ({counted})"


def obstacles_by_level(report: Report) -> list[tuple[Level, list[Obstacle]]]:
    """What stands in the way, level by level from the lowest."""
    return [
        (level, found)
        for level in report.levels
        if (found := [obstacle for obstacle in report.obstacles if obstacle.level == level])
    ]


def steps(report: Report) -> list[str]:
    """What to do for the next level: one step per gate in its way."""
    by_level = obstacles_by_level(report)
    if not by_level:
        return ["apply the manifest"]
    return [f"{obstacle.gate}: {obstacle.step}" for obstacle in by_level[0][1]]


def requirement_text(at: AtLevel) -> str:
    """What a gate asks at a level, in the language's words."""
    return " and ".join(at.requirements)


def blocking(verdict: Verdict) -> Iterable[GateVerdict]:
    """The gates that keep levels up to the target from holding, lowest level first."""
    return (gate for level in verdict.levels for gate in level.gates if not gate.holds)


def _result(verdict: Verdict, target: Level) -> Result:
    if verdict.reached == target:
        return "Holds"
    # A Fail decides, whatever couldn't be had beside it. Without one, an Error leaves the question open.
    words = {outcome.verdict for gate in blocking(verdict) for outcome in gate.outcomes}
    if "Fail" not in words and "Error" in words:
        return "NotJudged"
    return "Refused"


def _headline(who: str, reached: Level | None, target: Level, result: Result) -> str:
    if reached == target:
        return f"{who} {_MAY[target]}"
    if reached is not None:
        return f"{who} {_MAY[reached]}, not {target}"
    return f"{who} couldn't be judged" if result == "NotJudged" else f"{who} may not run"


def _answer(reached: Level | None, target: Level, result: Result) -> str:
    open_question = "; whether it may do more isn't known" if result == "NotJudged" else ""
    if reached is None:
        return f"No level holds{open_question}. The target is {target}: {MEANING[target]}."
    if reached == target:
        climb = ". In a cluster it starts at Shadow and climbs there on live evidence" if target != "Shadow" else ""
        return f"Every gate of its target {target} holds: {MEANING[target]}{climb}."
    return f"{reached} holds: {MEANING[reached]}{open_question}. The target is {target}: {MEANING[target]}."


def _obstacles(verdict: Verdict) -> tuple[Obstacle, ...]:
    """Blocking gates, each at the first level where it blocks, and again where a higher level says another word."""
    found: list[Obstacle] = []
    told: set[tuple[str, VerdictWord]] = set()
    for gate in blocking(verdict):
        if (gate.name, gate.verdict) not in told:
            told.add((gate.name, gate.verdict))
            worst = [outcome for outcome in gate.outcomes if outcome.verdict == gate.verdict]
            # What may help is told as the step.
            message, _, remedy = worst[0].message.partition(REMEDY)
            more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
            step = _step(gate, worst, remedy=remedy)
            found.append(
                Obstacle(level=gate.level, gate=gate.name, verdict=gate.verdict, message=message + more, step=step)
            )
    return tuple(found)


def _step(gate: GateVerdict, worst: Sequence[Outcome], *, remedy: str) -> str:
    """What would help one gate: told from its worst outcomes."""
    first = worst[0]
    if gate.metric == "held_out":
        return "train on this split and declare its digest, so that the test rows are proven to be held out"
    if gate.verdict == "Error":
        return _cure(gate, first)
    if gate.verdict == "Fail":
        return remedy or f"improve {METRICS[gate.metric].title}{_places(worst)}"
    if remedy:
        return remedy
    title = METRICS[gate.metric].title
    stuck = [outcome for outcome in worst if outcome.needed is None]
    most = max(worst, key=lambda outcome: outcome.needed or 0)
    where = "" if most.where == OVERALL or " across " in most.where else f" with {most.where}"
    rows = f"{count_text(most.needed or 0)} more {most.unit}{where}"
    if not stuck:
        return (
            f"add {rows} to the test data (decides with 80 % power if the number stays), "
            f"or improve {title}{_places(worst)}"
        )
    elsewhere = "" if len(stuck) == len(worst) else f"; elsewhere {rows} would"
    limit = stuck[0].requirement
    return f"improve {title}{_places(stuck)}: it sits on the limit of {limit}, more rows won't decide{elsewhere}"


def _places(outcomes: Sequence[Outcome]) -> str:
    """Where, in brackets: at most three places; nothing where it is all rows."""
    places = list(dict.fromkeys(outcome.where for outcome in outcomes))
    if places == [OVERALL]:
        return ""
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return f" ({', '.join(places[:3])}{more})"


def _cure(gate: GateVerdict, outcome: Outcome) -> str:
    metric = METRICS[gate.metric]
    if "NotMeasured" in outcome.message and metric.origin == "Service":
        return "measure it: `mandate evaluate --serve`, or let the cluster do it"
    # The message of an Error says what to do, after where it is and its code.
    return re.sub(r"^[A-Z][A-Za-z]+: ", "", outcome.message.removeprefix(f"{outcome.where}: "))


def _gates(spec: ModelDeploymentSpec, verdict: Verdict) -> tuple[GateRow, ...]:
    declared = {gate.name: gate for gate in spec.gates}
    names = dict.fromkeys(gate.name for level in verdict.levels for gate in level.gates)
    order = [name for name in declared if name in names] + [name for name in names if name not in declared]
    return tuple(
        _gate(name, declared.get(name), [g for level in verdict.levels for g in level.gates if g.name == name], verdict)
        for name in order
    )


def _gate(name: str, declared: Gate | None, found: Sequence[GateVerdict], verdict: Verdict) -> GateRow:
    levels = tuple(
        AtLevel(
            level=gate.level,
            verdict=gate.verdict,
            holds=gate.holds,
            burden=gate.burden,
            requirements=tuple(dict.fromkeys(outcome.requirement for outcome in gate.outcomes)),
            message=gate.message,
        )
        for gate in found
    )
    index = next((i for i, at in enumerate(levels) if not at.holds), len(levels) - 1)
    outcomes = found[index].outcomes
    metric = None if declared is None else METRICS[declared.metric]
    asked = None if declared is None or metric is None else derived(metric, on=declared.rows, shape=declared.as_)
    numbers = (
        ()
        if declared is None or asked is None
        else requirements(declared.require.texts(), metric=asked, field=name)[levels[index].level]
    )
    return GateRow(
        name=name,
        metric=found[index].metric,
        title="Test rows held out" if metric is None else metric.title,
        asks="" if declared is None else _asks(declared),
        bounds=(-math.inf, math.inf) if asked is None else (asked.low, asked.high),
        levels=levels,
        decided=levels[index],
        outcomes=outcomes,
        parsed=tuple(_parsed(outcome, numbers, asked) for outcome in outcomes),
        confidence=verdict.confidence.get(name),
    )


def _asks(gate: Gate) -> str:
    """Where a gate looks, beyond all test rows."""
    parts = []
    if gate.each and gate.each != (OVERALL,):
        parts.append("each of " + ", ".join(gate.each))
    if gate.across:
        parts.append(f"{gate.as_} across {gate.across}")
    if gate.rows != "test":
        parts.append({"train-test": "train against test"}.get(gate.rows, f"on {gate.rows}"))
    if gate.load:
        parts.append(f"at {gate.load}")
    return ", ".join(parts)


def _parsed(outcome: Outcome, asked: Sequence[Requirement], metric: Metric | None) -> Requirement | None:
    """The requirement that an outcome tells of in words."""
    unit = "" if metric is None else metric.unit
    return next((requirement for requirement in asked if describe(requirement, unit=unit) == outcome.requirement), None)


def _references(spec: ModelDeploymentSpec, estimates: Sequence[Estimate]) -> tuple[str, ...]:
    names = [baseline.name for baseline in spec.baselines]
    if any(estimate.quantity.versus == CHAMPION for estimate in estimates):
        names.append(CHAMPION)
    return tuple(names)


Cells = dict[tuple[str, ...], Estimate]


def _metrics(
    spec: ModelDeploymentSpec, cells: Cells, references: Sequence[str], *, alpha: float
) -> tuple[MetricRow, ...]:
    rows = []
    for metric in metrics_for(spec.task.type):
        test = cells.get(Quantity(metric=metric.name).sort_key())
        if metric.origin == "Service" or metric.fact or test is None:
            continue
        versus = [cells.get(Quantity(metric=metric.name, versus=name).sort_key()) for name in references]
        rows.append(
            MetricRow(
                metric=metric.name,
                title=metric.title,
                better=_better(metric),
                test=_number(test, metric, alpha=alpha),
                train=_number(cells.get(Quantity(metric=metric.name, on="train").sort_key()), metric),
                validation=_number(cells.get(Quantity(metric=metric.name, on="validation").sort_key()), metric),
                references=tuple(_reference(estimate, metric) for estimate in versus),
            )
        )
    return tuple(rows)


def _better(metric: Metric) -> str:
    if metric.better == "Nearest":
        return "" if metric.ideal is None else f"nearest {metric.ideal:g}"
    return metric.better.lower()


def _number(estimate: Estimate | None, metric: Metric, *, alpha: float | None = None) -> Number:
    if estimate is None:
        return Number()
    if estimate.fault is not None:
        return Number(fault=estimate.fault.code)
    if alpha is None:
        return Number(value=estimate.estimate, unit=metric.unit)
    lower, upper = _limits(estimate, alpha) or (None, None)
    reason = estimate.interval.reason if isinstance(estimate.interval, Unbounded) else ""
    return Number(value=estimate.estimate, lower=lower, upper=upper, unit=metric.unit, fault=reason)


def _reference(estimate: Estimate | None, metric: Metric) -> Number:
    if estimate is None:
        return Number()
    if estimate.reference is None:
        return Number(fault=estimate.fault.code if estimate.fault else "")
    return Number(value=estimate.reference, unit=metric.unit)


def _limits(estimate: Estimate, alpha: float) -> tuple[float, float] | None:
    """One-sided limits of a number that stands alone; None where there are none (facts, comparisons, no support)."""
    match estimate.interval:
        case Beta() as interval:
            return beta_limits(interval, alpha)
        case StudentT() as interval:
            return student_limits(interval, alpha)
        case Table() as interval:
            return table_limits(interval, alpha)
        case _:
            return None


def _slices(
    spec: ModelDeploymentSpec, estimates: Sequence[Estimate], cells: Cells, *, alpha: float
) -> tuple[SliceTable, ...]:
    tables = []
    for declared in spec.data.slices:
        name = declared.name
        asked = [gate.metric for gate in spec.gates if name in (gate.each or ()) or gate.across == name]
        usual = [m.name for m in metrics_for(spec.task.type) if m.origin == "Computed" and not m.fact]
        metrics = list(dict.fromkeys([*asked, *_first(spec), *usual]))[:SLICE_METRICS]
        values = dict.fromkeys(
            estimate.quantity.value
            for estimate in estimates
            if estimate.quantity.slice == declared.name and estimate.quantity.value is not None
        )
        rows = []
        for value in _in_order(values, edges=declared.edges):
            found = [cells.get(Quantity(metric=m, slice=name, value=value).sort_key()) for m in metrics]
            support = next((estimate.support for estimate in found if estimate is not None), None)
            rows.append(
                SliceRow(
                    value=value,
                    rows=support.rows if support else 0,
                    events=max((estimate.support.events for estimate in found if estimate is not None), default=0),
                    numbers=tuple(
                        _number(cell, METRICS[metric], alpha=alpha) for metric, cell in zip(metrics, found, strict=True)
                    ),
                )
            )
        tables.append(
            SliceTable(
                name=name,
                column=declared.column,
                sensitive=declared.sensitive,
                metrics=tuple(metrics),
                titles=tuple(METRICS[metric].title for metric in metrics),
                rows=tuple(rows),
            )
        )
    return tuple(tables)


def _first(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """The metrics that people look at first."""
    if spec.task.type == "Regression":
        return ("mean_absolute_error",)
    if spec.task.type == "Binary":
        return ("roc_auc", "recall") if spec.model.output.kind == "Probability" else ("balanced_accuracy", "recall")
    return ("balanced_accuracy",)


def _in_order(values: Iterable[str | None], *, edges: Sequence[str]) -> list[str]:
    """Ranges from low to high, other values by name; a missing value last."""
    named = [value for value in values if value is not None]
    places = {f"<{edges[0]}": 0, f">={edges[-1]}": len(edges)} if edges else {}
    places |= {f"{low}-{high}": i + 1 for i, (low, high) in enumerate(pairwise(edges))}
    return sorted(named, key=lambda value: (value == "(missing)", places.get(value, 0), value))


def _service(estimates: Sequence[Estimate], *, alpha: float) -> tuple[Service, ...]:
    return tuple(
        Service(
            metric=estimate.quantity.metric,
            title=METRICS[estimate.quantity.metric].title,
            load=estimate.quantity.load or "",
            number=_number(estimate, METRICS[estimate.quantity.metric], alpha=alpha),
        )
        for estimate in estimates
        # What wasn't measured shows where a gate asks for it.
        if estimate.quantity.metric in METRICS and (estimate.fault is None or estimate.fault.code != "NotMeasured")
    )


def worst_first(row: GateRow, *, most: int) -> tuple[list[tuple[Outcome, Requirement | None]], int]:
    """At most `most` of a gate's outcomes, the worst first, and how many were left out."""
    pairs = list(zip(row.outcomes, row.parsed, strict=True))
    ordered = sorted(pairs, key=lambda pair: -SEVERITY[pair[0].verdict])
    return ordered[:most], max(len(ordered) - most, 0)
