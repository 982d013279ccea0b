"""What a report says, whatever it is written in: the verdict, what stands in the way, what to do, and the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

from mandate.api.catalogue import METRICS, Metric, derived, metrics_for
from mandate.api.criteria import CHAMPION, OVERALL, Level, Requirement, describe, number_text, requirements
from mandate.api.kinds import ModelDeploymentSpec, Transition, VerdictWord
from mandate.api.spec import EACH, Burden, Gate, Slice
from mandate.evidence.data import Comparison, DataEvidence
from mandate.evidence.held_out import held_out
from mandate.evidence.intervals import AllPairs, Beta, StudentT, Table, Unbounded
from mandate.evidence.labels import ACCEPTED_ONLY
from mandate.evidence.schema import (
    NUDGED,
    OWN_CPU,
    Computed,
    Estimate,
    Evidence,
    Measured,
    Nudged,
    Peaks,
    Probed,
    Quantity,
    ReliabilityBin,
    Saturated,
    Starts,
    UnderLoad,
    digests,
)
from mandate.evidence.slices import CROSS, MISSING, range_names
from mandate.verdict.criteria import criteria_digest
from mandate.verdict.judge import CUT_OFF, REMEDY, SEVERITY, GateVerdict, Outcome, Verdict, share_of_alpha
from mandate.verdict.limits import beta_limits, spread_limits, student_limits, table_limits
from mandate.verdict.required import STEPS
from mandate.verdict.required import TITLES as REQUIRED

from . import fairness, noise, windows
from .about import Change, Declared, change, declared
from .fairness import FairnessTable
from .weakest import WeakestTold, tell
from .windows import WindowsTold

Result = Literal["Holds", "Refused", "NotJudged"]
"""`Holds`: the target level's gates hold. `Refused`: a gate in the way is Fail or Inconclusive. `NotJudged`: none of
them is Fail and at least one is Error, so the answer isn't known."""

LookSource = Literal["Assumed", "Given", "Ledger", "Operator"]
"""Where the look's number comes from: nobody counted, somebody said so, or a ledger counted."""

MEANING: dict[Level, str] = {
    "Shadow": "its answers are recorded and never used",
    "Suggest": "people see its answers and decide",
    "Automate": "its answers act",
}

_MAY: dict[Level, str] = {"Shadow": "may run in Shadow", "Suggest": "may Suggest", "Automate": "may Automate"}

SLICE_METRICS = 3
"""Metrics shown per slice: those that gates ask for there, filled up with the task's first ones to this many."""

MOST_OBSTACLES = 10
"""Told in full, per level; the table of gates has them all."""

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
        return f"{self.point} {self.interval}".rstrip()

    @property
    def point(self) -> str:
        """The number alone, or why there is none."""
        return (self.fault or "–") if self.value is None else number_text(self.value, self.unit)

    @property
    def interval(self) -> str:
        """The interval in brackets; empty where none belongs to it."""
        if self.value is None:
            return ""
        if self.lower is None or self.upper is None:
            return "(no interval)" if self.fault else ""
        return f"[{number_text(self.lower, self.unit)}, {number_text(self.upper, self.unit)}]"


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
    """One value of a slice on the test rows. `verdict`: the worst that gates say of it; None where none asks."""

    value: str
    rows: int
    events: int
    numbers: tuple[Number, ...]
    verdict: VerdictWord | None


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
class ClassRow:
    """One class of a Multiclass task against all others, or one horizon of a Forecast, on the test rows."""

    name: str
    rows: int
    numbers: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """The classes, or the horizons; `metrics` and `titles` name the columns of numbers."""

    metrics: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The reliability curve: per bin its probabilities' mean and, with limits at this look, what share came true.

    Without limits where rows come in clusters. `told` says in a sentence what the error is worth.
    """

    what: str
    told: str
    error: float
    chance: float
    bins: tuple[tuple[ReliabilityBin, Number], ...]


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
    learnt: tuple[tuple[str, str], ...]
    """Baselines and what each is made of, in words."""
    metrics: tuple[MetricRow, ...]
    classes: ClassTable | None
    """Of a Multiclass task; None for others."""
    horizons: ClassTable | None
    """Of a Forecast whose horizons are measured one by one; None for others."""
    windows: WindowsTold | None
    """How metrics vary over windows of the test rows; None where none are declared."""
    calibration: Calibration | None
    slices: tuple[SliceTable, ...]
    fairness: tuple[FairnessTable, ...]
    """Of sensitive slices."""
    weakest: WeakestTold | None
    """Where the model is weakest; None where no search was made."""
    service: tuple[Service, ...]
    service_notes: tuple[str, ...]
    """How that was measured, in sentences: what became of each load's requests."""
    rows: dict[str, int]
    look: int
    look_source: LookSource
    look_share: float
    """This look's share of the total error probability."""
    held_out: str
    held_out_reason: str
    labels: str
    """Of whom the numbers are, where decisions hide outcomes, and why; empty where every row has a label."""
    personal: str
    """Columns whose values evidence doesn't tell; empty where none are declared."""
    isolation: str
    newest: str
    """Each part's newest row, and how old it was when it was measured; empty where rows have no times."""
    findings: tuple[str, ...]
    data: DataEvidence | None
    """What was found about the rows; None where evidence is older than that."""
    criteria_digest: str
    computed_digest: str
    evidence_digest: str
    inputs: dict[str, str]
    versions: dict[str, str]
    seconds: dict[str, float]
    declared: Declared
    history: tuple[Change, ...]
    """What the cluster recorded, the latest at the end; empty outside of one."""


def build(
    *,
    name: str,
    spec: ModelDeploymentSpec,
    evidence: Evidence,
    verdict: Verdict,
    look_source: LookSource,
    history: Sequence[Transition] = (),
) -> Report:
    """The report on a verdict. `spec` is the effective one: with the gates and baselines that were judged."""
    target = spec.autonomy.target
    gates = _gates(spec, verdict)
    result = _result(verdict, target)
    obstacles = _obstacles(spec, verdict)
    computed = evidence.computed
    alpha = share_of_alpha(confidence=CONFIDENCE, look=verdict.look)
    cells = {estimate.quantity.sort_key(): estimate for estimate in computed.estimates}
    values = _values(spec, computed)
    computed_digest, evidence_digest = digests(evidence)
    found = held_out(evidence)
    inputs = {
        "model": computed.inputs.model or "none: the answers are columns of the data",
        **({} if computed.inputs.signer is None else {"model signed by the key": computed.inputs.signer}),
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
        answer=_answer(verdict.reached, target, result) + _marked(computed),
        obstacles=obstacles,
        levels=tuple(level.level for level in verdict.levels),
        held={level.level: (sum(gate.holds for gate in level.gates), len(level.gates)) for level in verdict.levels},
        gates=gates,
        references=_references(spec, computed.estimates),
        learnt=tuple((item.baseline, item.words) for item in computed.learnt or ()),
        metrics=_metrics(spec, cells, _references(spec, computed.estimates), alpha=alpha),
        classes=_classes(spec, computed, cells, alpha=alpha),
        horizons=_horizons(spec, computed, cells, alpha=alpha),
        windows=windows.tell(
            computed.windows,
            first=(*(gate.metric for gate in spec.gates if gate.window is not None), *_first(spec)),
            cells=cells,
            show=partial(_number, alpha=alpha),
            title=partial(_title, spec=spec),
        ),
        calibration=_calibration(spec, computed, alpha=alpha),
        slices=_slices(spec, values, cells, gates, alpha=alpha),
        fairness=fairness.tables(
            spec,
            cells,
            gates,
            values,
            show=partial(_number, alpha=alpha),
            title=partial(_title, spec=spec),
        ),
        weakest=tell(computed.weakest),
        service=_service(spec, evidence.measured.estimates, alpha=alpha),
        service_notes=_service_notes(evidence.measured),
        # Stored evidence is sorted by name; people read the parts in the order in which they are used.
        rows={part: computed.rows[part] for part in ROW_PARTS if part in computed.rows},
        look=verdict.look,
        look_source=look_source,
        look_share=1 / (verdict.look * (verdict.look + 1)),
        held_out=found.status,
        held_out_reason=found.reason,
        labels=_labels(computed),
        personal=f"{', '.join(computed.personal)} (values withheld)" if computed.personal else "",
        isolation=evidence.measured.isolation,
        newest=newest_text(evidence.measured),
        findings=(*_noise(computed, cells, alpha=alpha), *computed.findings),
        data=computed.data,
        criteria_digest=criteria_digest(spec),
        computed_digest=computed_digest,
        evidence_digest=evidence_digest,
        inputs=inputs,
        versions=dict(sorted(evidence.measured.versions.items())),
        seconds=evidence.measured.seconds,
        declared=declared(spec),
        history=tuple(change(transition) for transition in history),
    )


def count_text(number: int) -> str:
    """Thousands set apart by spaces, as verdicts write them."""
    return f"{number:,}".replace(",", " ")


def rows_text(report: Report) -> str:
    """Rows per part, and those that are in none, if there are any."""
    parts = [f"{count_text(count)} {part}" for part, count in report.rows.items() if part != "none"]
    unused = report.rows.get("none", 0)
    return ", ".join([*parts, f"{count_text(unused)} in no part"] if unused else parts)


def comparison_text(found: Comparison) -> str:
    """How many columns changed between two parts of the rows."""
    changed = "none is" if not found.changed else "1 is" if found.changed == 1 else f"{found.changed} are"
    return f"{found.current} beside {found.reference}: of {found.compared} columns {changed} distributed otherwise"


def findings_left_text(found: DataEvidence, shown: int) -> str:
    """How many findings aren't shown; empty where all are."""
    left = sum(found.counts.values()) - shown
    return f"… and {left} more" if left > 0 else ""


def look_text(report: Report) -> str:
    """Which look this is, what it may spend, and who counted."""
    counted = {
        "Assumed": "nobody counted; --ledger FILE does",
        "Given": "as given by --look",
        "Ledger": "counted by the ledger",
        "Operator": "counted by the operator",
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


def reliability_rows(calibration: Calibration) -> list[list[str]]:
    """Per bin: its range, its rows, the mean of its probabilities, and what share came true."""
    return [
        [
            f"{number_text(round(item.low, 3))}–{number_text(round(item.high, 3))}",
            count_text(item.rows),
            number_text(item.predicted),
            number.text,
        ]
        for item, number in calibration.bins
    ]


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


def _noise(computed: Computed, cells: Cells, *, alpha: float) -> list[str]:
    """What wrong labels mean for the numbers."""
    metric = METRICS["label_noise"]
    estimate = cells.get(Quantity(metric=metric.name).sort_key())
    number = _number(estimate, metric, alpha=alpha)
    return [words] if (words := noise.ceiling(number, classes=len(computed.classes))) else []


def _labels(computed: Computed) -> str:
    known = computed.labels
    if known is None:
        return ""
    rows = f"{count_text(known.measured['test'])} of {count_text(known.rows['test'])} test rows measured"
    return f"{ACCEPTED_ONLY if not known.of_everyone else known.status}: {known.reason}; {rows}"


def _marked(computed: Computed) -> str:
    """What the answer adds where numbers are of some rows only."""
    known = computed.labels
    if known is None or known.of_everyone:
        return ""
    return f" Every number is {ACCEPTED_ONLY}: decisions hid the outcomes of the others, and nothing makes up for it."


def _obstacles(spec: ModelDeploymentSpec, verdict: Verdict) -> tuple[Obstacle, ...]:
    """Blocking gates, each at the first level where it blocks, and again where a higher level says another word."""
    goals = {gate.name: _goal(gate) for gate in spec.gates}
    found: list[Obstacle] = []
    told: set[tuple[str, VerdictWord]] = set()
    for gate in blocking(verdict):
        if (gate.name, gate.verdict) not in told:
            told.add((gate.name, gate.verdict))
            worst = [outcome for outcome in gate.outcomes if outcome.verdict == gate.verdict]
            # What may help is told as the step.
            message, _, remedy = worst[0].message.partition(REMEDY)
            more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
            step = _step(gate, worst, remedy=remedy, goal=goals.get(gate.name, ""))
            found.append(
                Obstacle(level=gate.level, gate=gate.name, verdict=gate.verdict, message=message + more, step=step)
            )
    return tuple(found)


BUILT_IN = {**REQUIRED, CUT_OFF: "Cut-off as measured"}
"""Titles of gates that nobody declares."""


def _goal(gate: Gate) -> str:
    """What meets a gate, if not more rows."""
    title = METRICS[gate.metric].title
    if gate.rows == "train-test":
        return f"narrow the gap of {title} between train and test"
    return f"narrow the spread of {title}" if gate.across else f"improve {title}"


def _step(gate: GateVerdict, worst: Sequence[Outcome], *, remedy: str, goal: str) -> str:
    """What would help one gate: told from its worst outcomes; `goal` is what it asks, in words."""
    first = worst[0]
    if gate.metric in REQUIRED:
        return STEPS.get(gate.metric, first.message)
    if gate.verdict == "Error":
        return _cure(gate, first)
    if gate.verdict == "Fail":
        return f"{remedy or goal}{_places(worst)}"
    if remedy:
        return remedy
    stuck = [outcome for outcome in worst if outcome.needed is None]
    most = max(worst, key=lambda outcome: outcome.needed or 0)
    where = "" if most.where == OVERALL or " across " in most.where else f" with {most.where}"
    rows = f"{count_text(most.needed or 0)} more {most.unit}{where}"
    if not stuck:
        return f"add {rows} to the test data (decides with 80 % power if the number stays), or {goal}{_places(worst)}"
    elsewhere = "" if len(stuck) == len(worst) else f"; elsewhere {rows} would"
    limit = stuck[0].requirement
    return f"{goal}{_places(stuck)}: it sits on the limit of {limit}, more rows won't decide{elsewhere}"


def _places(outcomes: Sequence[Outcome]) -> str:
    """Where, in brackets: at most three places; nothing where it is all rows."""
    places = list(dict.fromkeys(outcome.where for outcome in outcomes))
    if places == [OVERALL]:
        return ""
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return f" ({', '.join(places[:3])}{more})"


def _cure(gate: GateVerdict, outcome: Outcome) -> str:
    metric = METRICS.get(gate.metric)
    if "NotMeasured" in outcome.message and metric is not None and metric.origin == "Service":
        return "measure it: `mandate evaluate --serve`, or let the cluster do it"
    # The message of an Error says what to do, after where it is and its code.
    return re.sub(r"^[A-Z][A-Za-z]+: ", "", outcome.message.removeprefix(f"{outcome.where}: "))


def _gates(spec: ModelDeploymentSpec, verdict: Verdict) -> tuple[GateRow, ...]:
    declared = {gate.name: gate for gate in spec.gates}
    names = dict.fromkeys(gate.name for level in verdict.levels for gate in level.gates)
    order = [name for name in declared if name in names] + [name for name in names if name not in declared]
    return tuple(
        _gate(
            name,
            declared.get(name),
            [g for level in verdict.levels for g in level.gates if g.name == name],
            verdict,
            spec,
        )
        for name in order
    )


def _gate(
    name: str, declared: Gate | None, found: Sequence[GateVerdict], verdict: Verdict, spec: ModelDeploymentSpec
) -> GateRow:
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
        title=BUILT_IN[found[index].metric] if metric is None else _title(metric, spec),
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
    if gate.class_ is not None:
        parts.append(f"class {gate.class_}")
    if gate.quantile is not None:
        parts.append(f"quantile {gate.quantile}")
    if gate.horizon is not None:
        parts.append("each horizon" if gate.horizon == EACH else f"horizon {gate.horizon}")
    if gate.window is not None:
        parts.append("each window")
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
    asked = [
        (metric, quantile)
        for metric in metrics_for(spec.task.type)
        for quantile in (None, *((spec.task.quantiles or ()) if metric.by_quantile else ()))
    ]
    for metric, quantile in asked:
        own = Quantity(metric=metric.name, quantile=quantile)
        test = cells.get(own.sort_key())
        if metric.origin == "Service" or metric.fact or test is None:
            continue
        versus = [cells.get(own.model_copy(update={"versus": name}).sort_key()) for name in references]
        train, validation = (
            cells.get(own.model_copy(update={"on": part}).sort_key()) for part in ("train", "validation")
        )
        rows.append(
            MetricRow(
                metric=metric.name,
                title=_title(metric, spec) + ("" if quantile is None else f", quantile {quantile}"),
                better=_better(metric),
                test=_number(test, metric, alpha=alpha),
                train=_number(train, metric),
                validation=_number(validation, metric),
                references=tuple(_reference(estimate, metric) for estimate in versus),
            )
        )
    return tuple(rows)


def _title(metric: Metric, spec: ModelDeploymentSpec) -> str:
    """The metric's title with what was declared for it."""
    costs = spec.use_case.error_costs
    declared = {
        "task.beta": f" (β = {spec.task.beta})",
        "task.topK": f" (k = {spec.task.top_k})",
        "useCase.errorCosts": f" ({costs[0].currency})" if costs else "",
        "serving.prices": f" ({spec.serving.prices.currency})" if spec.serving.prices else "",
    }
    return metric.title + declared.get(metric.declaration, "")


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


def shown(estimate: Estimate | None, *, alpha: float) -> Number:
    """A measured number as every report shows it, with its one-sided limits at `alpha`."""
    return Number() if estimate is None else _number(estimate, METRICS[estimate.quantity.metric], alpha=alpha)


def _reference(estimate: Estimate | None, metric: Metric) -> Number:
    if estimate is None:
        return Number()
    if estimate.reference is None:
        return Number(fault=estimate.fault.code if estimate.fault else "")
    return Number(value=estimate.reference, unit=metric.unit)


def _limits(estimate: Estimate, alpha: float) -> tuple[float, float] | None:
    """One-sided limits of a number that stands alone, or of a spread; None where there are none (no support, …)."""
    match estimate.interval:
        case Beta() as interval:
            return beta_limits(interval, alpha)
        case StudentT() as interval:
            return student_limits(interval, alpha)
        case Table() as interval:
            return table_limits(interval, alpha)
        case AllPairs() as interval:
            return spread_limits(interval, alpha, ratio=estimate.quantity.shape == "ratio")
        case _:
            return None


def _classes(spec: ModelDeploymentSpec, computed: Computed, cells: Cells, *, alpha: float) -> ClassTable | None:
    metrics = [metric for metric in metrics_for(spec.task.type) if metric.by_class]
    rows: list[ClassRow] = []
    for name in computed.classes:
        found = {m.name: cells.get(Quantity(metric=m.name, of_class=name).sort_key()) for m in metrics}
        metrics = [metric for metric in metrics if found[metric.name] is not None]
        recall = found.get("recall")
        if recall is None:
            return None
        numbers = tuple(_number(found[metric.name], metric, alpha=alpha) for metric in metrics)
        # Recall counts the rows that are of the class.
        rows.append(ClassRow(name=name, rows=recall.support.events, numbers=numbers))
    if not rows:
        return None
    return ClassTable(
        metrics=tuple(metric.name for metric in metrics),
        titles=tuple(_title(metric, spec) for metric in metrics),
        rows=tuple(rows),
    )


def _horizons(spec: ModelDeploymentSpec, computed: Computed, cells: Cells, *, alpha: float) -> ClassTable | None:
    named = {estimate.quantity.horizon for estimate in computed.estimates} - {None, EACH}
    metrics = [metric for metric in metrics_for(spec.task.type) if metric.by_horizon]
    rows: list[ClassRow] = []
    for name in sorted(map(str, named), key=int):
        found = [cells.get(Quantity(metric=metric.name, horizon=name).sort_key()) for metric in metrics]
        count = max((estimate.support.rows for estimate in found if estimate is not None), default=0)
        numbers = tuple(_number(estimate, metric, alpha=alpha) for estimate, metric in zip(found, metrics, strict=True))
        rows.append(ClassRow(name=name, rows=count, numbers=numbers))
    if not rows:
        return None
    return ClassTable(
        metrics=tuple(metric.name for metric in metrics),
        titles=tuple(_title(metric, spec) for metric in metrics),
        rows=tuple(rows),
    )


def _calibration(spec: ModelDeploymentSpec, computed: Computed, *, alpha: float) -> Calibration | None:
    found = computed.reliability
    if found is None:
        return None
    bins = []
    for item in found.bins:
        lower, upper = None, None
        if spec.task.cluster is None and item.observed is not None:
            lower, upper = beta_limits(Beta(successes=item.observed, trials=item.rows), alpha)
        bins.append((item, Number(value=item.happened, lower=lower, upper=upper)))
    binary = spec.task.type == "Binary"
    chance = f"were every probability right, such rows would show {number_text(found.chance)} by chance"
    return Calibration(
        what=f"P({spec.task.positive})" if binary else "the answered class's probability",
        told=f"Expected calibration error {number_text(found.error)}; {chance}.",
        error=found.error,
        chance=found.chance,
        bins=tuple(bins),
    )


def _values(spec: ModelDeploymentSpec, computed: Computed) -> dict[str, list[str]]:
    """The values of every declared slice, in the order in which people read them."""
    values: dict[str, dict[str, None]] = {}
    for estimate in computed.estimates:
        if estimate.quantity.value is not None:
            values.setdefault(estimate.quantity.slice, {})[estimate.quantity.value] = None
    ordered: dict[str, list[str]] = {}
    found = {edges.slice: edges.values for edges in computed.edges or ()}
    for item in sorted(spec.data.slices, key=lambda item: item.cross is not None):
        sides = [ordered.get(name, []) for name in item.cross or ()]
        known = [CROSS.join(pair) for pair in product(*sides)] if sides else found.get(item.name)
        ordered[item.name] = _in_order(values.get(item.name, ()), known=known or range_names(item.edges))
    return ordered


def _slices(
    spec: ModelDeploymentSpec,
    values: Mapping[str, Sequence[str]],
    cells: Cells,
    gates: Sequence[GateRow],
    *,
    alpha: float,
) -> tuple[SliceTable, ...]:
    each = {gate.name for gate in spec.gates if gate.each}
    said: dict[str, VerdictWord] = {}
    # Only gates on each value speak of values: a gate's `class bee` is no value bee of a slice named class.
    for outcome in (outcome for gate in gates if gate.name in each for outcome in gate.outcomes):
        said[outcome.where] = max(said.get(outcome.where, outcome.verdict), outcome.verdict, key=SEVERITY.__getitem__)
    return tuple(_slice(spec, item, values[item.name], cells, said, alpha=alpha) for item in spec.data.slices)


def _slice(
    spec: ModelDeploymentSpec,
    declared: Slice,
    values: Sequence[str],
    cells: Cells,
    said: dict[str, VerdictWord],
    *,
    alpha: float,
) -> SliceTable:
    name = declared.name
    asks = [METRICS[g.metric] for g in spec.gates if name in (g.each or ()) or g.across == name]
    asked = list(dict.fromkeys(part for metric in asks for part in metric.spreads or (metric.name,)))
    usual = [m.name for m in metrics_for(spec.task.type) if m.origin == "Computed" and not m.fact and not m.spreads]
    metrics = list(dict.fromkeys([*asked, *_first(spec), *usual]))[: max(SLICE_METRICS, len(asked))]
    rows = []
    for value in values:
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
                verdict=said.get(f"{name} {value}"),
            )
        )
    return SliceTable(
        name=name,
        column=declared.of,
        sensitive=declared.sensitive,
        metrics=tuple(metrics),
        titles=tuple(_title(METRICS[metric], spec) for metric in metrics),
        rows=tuple(rows),
    )


def _first(spec: ModelDeploymentSpec) -> tuple[str, ...]:
    """The metrics that people look at first."""
    if spec.task.type == "Regression":
        return ("mean_absolute_error",) if spec.task.quantiles is None else ("pinball_loss",)
    if spec.task.type == "Ranking":
        return ("ndcg", "mean_reciprocal_rank")
    if spec.task.type == "Forecast":
        return ("mase", "mean_absolute_error")
    if spec.task.type == "Binary":
        return ("roc_auc", "recall") if spec.model.output.kind == "Probability" else ("balanced_accuracy", "recall")
    return ("balanced_accuracy",)


def _in_order(values: Iterable[str], *, known: Sequence[str]) -> list[str]:
    """Those `known` in their order, other values by name; a missing value last."""
    places = {value: place for place, value in enumerate(known)}
    return sorted(values, key=lambda value: (value == MISSING, places.get(value, len(known)), value))


def _service(spec: ModelDeploymentSpec, estimates: Sequence[Estimate], *, alpha: float) -> tuple[Service, ...]:
    return tuple(
        Service(
            metric=estimate.quantity.metric,
            title=_title(METRICS[estimate.quantity.metric], spec),
            load=estimate.quantity.load or "",
            number=_number(estimate, METRICS[estimate.quantity.metric], alpha=alpha),
        )
        for estimate in estimates
        # What wasn't measured shows where a gate asks for it.
        if estimate.quantity.metric in METRICS
        and METRICS[estimate.quantity.metric].origin == "Service"
        and (estimate.fault is None or estimate.fault.code != "NotMeasured")
    )


def _service_notes(measured: Measured) -> tuple[str, ...]:
    notes = [_load_note(load, seen) for load, seen in (measured.loads or {}).items()]
    if measured.saturated is not None:
        notes.append(_saturated_note(measured.saturated))
    if measured.peaks is not None:
        notes.append(_peaks_note(measured.peaks))
    if measured.starts is not None:
        notes.append(_starts_note(measured.starts))
    notes += [_probed_note(kind, seen) for kind, seen in (measured.robustness or {}).items()]
    if measured.nudged is not None:
        notes.append(_nudged_note(measured.nudged))
    return tuple(notes)


def newest_text(measured: Measured) -> str:
    """The newest row of each part, and its age at the evaluation."""
    ages = {str(e.quantity.on): e.estimate for e in measured.estimates if e.quantity.metric == "data_age"}
    newest = [(part, at, ages.get(part)) for part, at in (measured.newest or {}).items()]
    return ", ".join(
        f"{part} {at}" + ("" if old is None else f" ({Number(value=old, unit='duration').text} old)")
        for part, at, old in sorted(newest, key=lambda item: ROW_PARTS.index(item[0]))
    )


def _load_note(load: str, seen: UnderLoad) -> str:
    failed = ", ".join(
        f"{count_text(count)} {words}"
        for count, words in (
            (seen.crashes, "lost to crashes or server errors"),
            (seen.timeouts, "without an answer in time"),
            (seen.refused, "refused"),
        )
        if count
    )
    late = f"; {count_text(seen.late)} left late" if seen.late else ""
    behind = f", at {seen.kept:.0%} of the rate" if round(seen.kept, 2) < 1 else ""
    rising = ""
    if seen.rising is not None:
        rising = f"; the server fell behind by {seen.rising:.0%} of the time, so latencies have no upper limit"
    return f"{load}: {count_text(seen.requests)} requests, {failed or 'none failed'}{late}{behind}{rising}."


def _probed_note(kind: str, seen: Probed) -> str:
    failed = sum(seen.failures.values())
    told = ", ".join(f"{count} {how}" for how, count in seen.failures.items())
    worse = f", {count_text(failed)} failed ({told}; first {seen.first})" if failed else ""
    words = "Numbers moved a little" if kind == NUDGED else f"Bad inputs, {kind.replace('_', ' ')}"
    return f"{words}: {count_text(seen.refused)} refused, {count_text(seen.answered)} answered{worse}."


def _nudged_note(seen: Nudged) -> str:
    told = []
    if seen.flipped is not None:
        itself = ""
        if seen.flipped_itself:
            itself = f", {count_text(seen.flipped_itself)} without being moved"
        told.append(f"{count_text(seen.flipped)} of {count_text(seen.rows)} answers flipped{itself}")
    if seen.largest is not None and seen.median is not None and seen.spread is not None:
        told.append(
            f"scores changed by {number_text(seen.largest)} at most and {number_text(seen.median)} in the middle; "
            f"they spread by {number_text(seen.spread)}"
        )
    changed = "; ".join(told) or "no answer was a number"
    return f"Numbers moved by {seen.step:.0%} of their spread, {count_text(seen.rows)} rows: {changed}."


def _peaks_note(seen: Peaks) -> str:
    blocks, most = len(seen.mib), f"{number_text(seen.mib[-1])} MiB"
    if blocks == 1:
        return f"Memory: {most} at most at the end of the one block of load."
    if seen.rising:
        return f"Memory: still rising in block {seen.last} of {blocks}, to {most}: it may need more than was seen."
    share = f"{int(100 * seen.covered(alpha=0.05))}%"
    reached = f"Memory: {most} at most over {blocks} blocks of load, reached in block {seen.last}"
    return f"{reached}; with 95% confidence {share} of such blocks need no more."


def _starts_note(seen: Starts) -> str:
    if seen.once is not None:
        return f"Cold start: one start, without an interval: {seen.once}."
    count, fastest, slowest = len(seen.seconds), min(seen.seconds), max(seen.seconds)
    took = f"{number_text(fastest, 'duration')} to {number_text(slowest, 'duration')}"
    return f"Cold start: {count} start{'s' if count > 1 else ''} of the server took {took}; the number is their median."


def _saturated_note(seen: Saturated) -> str:
    held = "no rate that was tried held at random moments"
    if seen.held is not None:
        held = f"at random moments {number_text(seen.held)} a second held"
    failed = f"; {count_text(seen.failed)} requests failed" if seen.failed else ""
    own = "; the load generator was the limit, so the server can do more" if seen.own > OWN_CPU else ""
    return f"Always at work it answered {number_text(seen.rate)} requests a second; {held}{failed}{own}."


def worst_first(row: GateRow, *, most: int) -> tuple[list[tuple[Outcome, Requirement | None]], int]:
    """At most `most` of a gate's outcomes, the worst first, and how many were left out."""
    pairs = list(zip(row.outcomes, row.parsed, strict=True))
    ordered = sorted(pairs, key=lambda pair: -SEVERITY[pair[0].verdict])
    return ordered[:most], max(len(ordered) - most, 0)


def worst_values(table: SliceTable, *, most: int) -> tuple[tuple[SliceRow, ...], int]:
    """All of a slice's values in its order; where there are more than `most`, the worst of them, and how many are left.

    Worse is what gates say worse of; then what is surely worse, by the better end of the first metric's interval; then
    what has more rows.
    """
    if len(table.rows) <= most:
        return table.rows, 0
    metric = METRICS[table.metrics[0]]

    def badness(row: SliceRow) -> tuple[float, float, int]:
        said = SEVERITY[row.verdict] if row.verdict else 0
        return -said, -_surely_off(row.numbers[0], metric), -row.rows

    return tuple(sorted(table.rows, key=badness)[:most]), len(table.rows) - most


def _surely_off(number: Number, metric: Metric) -> float:
    """How bad a number is at the better end of its interval, larger is worse; minus infinity where that isn't known."""
    if number.lower is None or number.upper is None:
        return -math.inf
    match metric.better:
        case "Higher":
            return -number.upper
        case "Lower":
            return number.lower
        case "Nearest":
            ideal = metric.ideal
            return -math.inf if ideal is None else max(number.lower - ideal, ideal - number.upper, 0.0)


def largest(table: ClassTable, *, most: int) -> tuple[ClassRow, ...]:
    """At most `most` classes, those with most rows of data, in their own order."""
    kept = sorted(table.rows, key=lambda row: -row.rows)[:most]
    return tuple(row for row in table.rows if row in kept)


def left_out_text(table: SliceTable, left: int) -> str:
    """What `worst_values` left out, in words."""
    return (
        f"The {count_text(len(table.rows) - left)} worst of {count_text(len(table.rows))} values, the worst first "
        f"(by what gates say of them, then by {table.titles[0]}); {count_text(left)} more are in the JSON report."
    )
