"""Gates judged on evidence: Pass, Fail, Inconclusive with what is missing, or Error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from mandate.api.catalogue import LOAD_REQUESTS, METRICS, QUANTILES, Metric, derived
from mandate.api.criteria import (
    CHAMPION,
    LEVELS,
    OVERALL,
    Against,
    Level,
    Requirement,
    bounds,
    describe,
    number_text,
    requirements,
)
from mandate.api.kinds import VerdictWord, tier_burden
from mandate.api.spec import EACH, Burden, Gate, RiskTier
from mandate.evidence.held_out import held_out
from mandate.evidence.intervals import AllPairs, Beta, Fact, Paired, StudentT, Table, Unbounded
from mandate.evidence.schema import Cutoff, Estimate, Evidence, Quantity
from mandate.evidence.windows import UNTOLD

from .limits import (
    beta_limits,
    contrast_limits,
    growth_to_decide,
    link,
    normal_quantile,
    proportion_sample_size,
    spread_limits,
    student_limits,
    table_limits,
)
from .remedy import remedy
from .required import Required
from .required import found as found_of

REMEDY = "; what may help: "
"""Before it, an outcome's message says what came out; after it, what to try."""
FASTER = "give the container more CPU (serving.resources), or serve a smaller model"
ON_THE_LIMIT = 100.0
"""From this multiple of the present sample on, more rows are no advice: the value sits on the limit …"""
FEASIBLE = 10_000
"""… unless this many would do."""
NOTHING = 1e-9
"""A gap of at most this share of its standard error would take some 10^19 times the sample: it is the limit itself."""

CUT_OFF = "cut_off"
"""Metric of the gate that holds a chosen cut-off to the declared one; no metric of the catalogue."""

SEVERITY: dict[VerdictWord, int] = {"Pass": 0, "Waived": 0, "Skipped": 0, "Inconclusive": 1, "Fail": 2, "Error": 3}


@dataclass(frozen=True)
class Outcome:
    """One requirement on one number. `lower` and `upper` are the limits that decided, in the metric's unit.

    For comparisons they bound the lead over what was asked, so that 0 decides.
    """

    verdict: VerdictWord
    requirement: str
    where: str
    message: str
    estimate: float | None = None
    reference: float | None = None
    lower: float | None = None
    upper: float | None = None
    needed: int | None = None
    unit: str = "rows"
    shortfall: float = 0.0
    """By how much the number misses what was asked, in its own unit; 0 where it meets it."""


@dataclass(frozen=True)
class GateVerdict:
    """One gate at one level: its outcomes, the worst first, and whether the level may stand on them."""

    name: str
    level: Level
    metric: str
    verdict: VerdictWord
    burden: Burden
    holds: bool
    outcomes: tuple[Outcome, ...]

    @property
    def message(self) -> str:
        """The worst outcome, in words; how many others share its verdict."""
        worst = [outcome for outcome in self.outcomes if outcome.verdict == self.verdict]
        if not worst:
            return ""
        more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
        return f"{worst[0].message}{more}"


@dataclass(frozen=True)
class LevelVerdict:
    """All gates of one level. A level holds when every gate does; no gates never hold."""

    level: Level
    holds: bool
    gates: tuple[GateVerdict, ...]


@dataclass(frozen=True)
class Verdict:
    """What the evidence allows: `reached` is the highest level that holds together with all below it."""

    levels: tuple[LevelVerdict, ...]
    reached: Level | None
    look: int
    confidence: dict[str, float]
    """Per gate, the two-sided confidence of the interval that decided."""

    def at(self, level: Level) -> LevelVerdict:
        """The verdict at one level."""
        return next(verdict for verdict in self.levels if verdict.level == level)


def share_of_alpha(*, confidence: float, look: int) -> float:
    """This look's one-sided error: alpha / (k (k + 1)), which sums to alpha over all looks k = 1, 2, …"""
    if look < 1:
        raise ValueError(f"look must be at least 1, got {look}")
    return (1 - confidence) / 2 / (look * (look + 1))


def judge(
    *,
    gates: Sequence[Gate],
    tier: RiskTier,
    evidence: Evidence,
    look: int,
    champion: bool,
    itself: bool = False,
    target: Level = "Automate",
    required: Required = Required(),  # noqa: B008  # frozen
) -> Verdict:
    """The verdict on `evidence` at every level up to `target`.

    `look` counts the looks at these test rows, this one included; `champion` says whether there is one to compare with,
    `itself` whether the model under judgement is the champion: gates against the champion judge candidates only.
    `required` is what levels ask beside their gates.
    """
    cells = _index((*evidence.computed.estimates, *evidence.measured.estimates))
    levels: list[LevelVerdict] = []
    reached: Level | None = None
    for level in LEVELS[: LEVELS.index(target) + 1]:
        asked = (
            _gate(gate, index, level=level, tier=tier, cells=cells, look=look, champion=champion, itself=itself)
            for index, gate in enumerate(gates)
        )
        verdicts = tuple(verdict for verdict in asked if verdict is not None)
        if verdicts and tier == "High" and level != "Shadow":
            verdicts = (*verdicts, _held_out(evidence, level))
        if verdicts:
            verdicts = (*verdicts, *_required(required, evidence, level=level, tier=tier))
        if verdicts and (chosen := evidence.computed.cutoff) is not None and (level != "Shadow" or chosen.fault):
            verdicts = (*verdicts, _cut_off(chosen, level))
        holds = bool(verdicts) and all(verdict.holds for verdict in verdicts)
        levels.append(LevelVerdict(level, holds, verdicts))
        if holds and len(levels) == 1 + (LEVELS.index(reached) + 1 if reached else 0):
            reached = level
    return Verdict(
        tuple(levels),
        reached,
        look,
        {gate.name: 1 - 2 * share_of_alpha(confidence=float(gate.confidence), look=look) for gate in gates},
    )


Cells = dict[tuple[str, ...], list[Estimate]]


def _index(estimates: Iterable[Estimate]) -> Cells:
    cells: Cells = {}
    for estimate in estimates:
        quantity = estimate.quantity
        cells.setdefault(_key(quantity), []).append(estimate)
        if quantity.horizon not in (None, EACH):
            cells.setdefault(_key(quantity.model_copy(update={"horizon": EACH})), []).append(estimate)
        if quantity.window not in (None, EACH):
            cells.setdefault(_key(quantity.model_copy(update={"window": EACH})), []).append(estimate)
    return cells


def _key(quantity: Quantity) -> tuple[str, ...]:
    """Everything but the slice's value: a gate on a slice asks about all of its values."""
    return quantity.model_copy(update={"value": None}).sort_key()


def _gate(
    gate: Gate,
    index: int,
    *,
    level: Level,
    tier: RiskTier,
    cells: Cells,
    look: int,
    champion: bool,
    itself: bool,
) -> GateVerdict | None:
    """The gate's verdict at `level`; None where it asks nothing of test evidence there."""
    if gate.rows == "live":
        return None
    metric = derived(METRICS[gate.metric], on=gate.rows, shape=gate.as_)
    asked = requirements(gate.require.texts(), metric=metric, field=f"spec.gates[{index}]")[level]
    if not asked:
        return None
    alpha = share_of_alpha(confidence=float(gate.confidence), look=look)
    outcomes: list[Outcome] = []
    for requirement in asked:
        versus = requirement.ref if isinstance(requirement, Against) else None
        if versus == CHAMPION and not champion:
            outcomes.append(_no_champion(gate, requirement, metric, itself=itself))
            continue
        for place in gate.each or (OVERALL,):
            outcomes += _place(gate, place, requirement, metric=metric, versus=versus, cells=cells, alpha=alpha)
    outcomes.sort(key=lambda found: (-SEVERITY[found.verdict], -found.shortfall, -(found.needed or 0)))
    verdict = outcomes[0].verdict
    burden = gate.burden or tier_burden(tier, level)
    limit = SEVERITY["Inconclusive"] if burden == "NotRefuted" else SEVERITY["Pass"]
    return GateVerdict(gate.name, level, gate.metric, verdict, burden, SEVERITY[verdict] <= limit, tuple(outcomes))


def _held_out(evidence: Evidence, level: Level) -> GateVerdict:
    """Tier High stands on rows that are proven to be held out, above Shadow."""
    found, split = held_out(evidence), evidence.computed.inputs.split
    proven = found.status == "Proven"
    message = f"test rows held out: {found.status} ({found.reason})"
    if not proven:
        message += f"; tier High asks for proof: train on this split and set model.training.splitDigest: {split}"
    verdict: VerdictWord = "Pass" if proven else "Inconclusive"
    outcome = Outcome(verdict, "Proven", OVERALL, message)
    return GateVerdict("held-out", level, "held_out", verdict, "Shown", proven, (outcome,))


def _required(required: Required, evidence: Evidence, *, level: Level, tier: RiskTier) -> Iterable[GateVerdict]:
    """What is asked beside gates; what isn't asked there is told, and stands in no way."""
    for item in found_of(required, evidence, level=level, tier=tier):
        outcome = Outcome(item.verdict, item.requirement, OVERALL, item.message)
        burden: Burden = "Shown" if item.asked else "NotRefuted"
        holds = item.verdict == "Pass" or not item.asked
        yield GateVerdict(item.name, level, item.metric, item.verdict, burden, holds, (outcome,))


def _cut_off(cutoff: Cutoff, level: Level) -> GateVerdict:
    """What acts is read with the cut-off that was measured."""
    verdict: VerdictWord = "Pass" if cutoff.frozen else "Inconclusive"
    if cutoff.fault is not None:
        verdict, message = "Error", f"{OVERALL}: {cutoff.fault.code}: {cutoff.fault.message}"
    else:
        message = f"cut-off {cutoff.chosen}, chosen on the validation rows by {cutoff.by}"
        if not cutoff.frozen:
            message += (
                f", is what was measured, and answers are read with {cutoff.declared}{REMEDY}declare "
                f'model.output.cutoff: "{cutoff.chosen}", so that what serves is what was measured'
            )
    outcome = Outcome(verdict, "Declared", OVERALL, message)
    return GateVerdict("cut-off", level, CUT_OFF, verdict, "Shown", verdict == "Pass", (outcome,))


def _no_champion(gate: Gate, requirement: Requirement, metric: Metric, *, itself: bool) -> Outcome:
    asked = describe(requirement, unit=metric.unit)
    if itself:
        return Outcome("Skipped", asked, OVERALL, "skipped: this is the champion")
    if gate.first_model == "Skip":
        return Outcome("Skipped", asked, OVERALL, "skipped: there is no champion yet and firstModel is Skip")
    return Outcome(
        "Error", asked, OVERALL, "NoChampion: there is no champion to compare with; set firstModel: Skip for the first"
    )


def _place(
    gate: Gate,
    place: str,
    requirement: Requirement,
    *,
    metric: Metric,
    versus: str | None,
    cells: Cells,
    alpha: float,
) -> list[Outcome]:
    quantity = Quantity(
        metric=gate.metric,
        on=gate.rows,
        slice=place,
        versus=versus,
        across=gate.across,
        shape=gate.as_,
        load=gate.load,
        of_class=gate.class_,
        quantile=gate.quantile,
        horizon=gate.horizon,
        window=gate.window,
    )
    found = cells.get(_key(quantity), [])
    if not found:
        asked = describe(requirement, unit=metric.unit)
        return [Outcome("Error", asked, place, f"NotMeasured: the evidence holds no {_name(quantity)}")]
    return [_outcome(estimate, requirement, metric=metric, alpha=alpha) for estimate in found]


def _outcome(estimate: Estimate, requirement: Requirement, *, metric: Metric, alpha: float) -> Outcome:
    asked = describe(requirement, unit=metric.unit)
    where = _where(estimate.quantity)
    if estimate.fault is not None:
        message = f"{where}: {estimate.fault.code}: {estimate.fault.message}"
        # A window with too few rows is no mistake of anyone's, and shows nothing.
        untold = estimate.quantity.window is not None and estimate.fault.code in UNTOLD
        return Outcome("Inconclusive" if untold else "Error", asked, where, message)
    if estimate.estimate is None or estimate.interval is None:
        return Outcome("Error", asked, where, f"{where}: NotMeasured: the evidence holds no number")
    interval = estimate.interval
    if isinstance(interval, Unbounded):
        return _unknown(estimate, interval, metric=metric, where=where, asked=asked)
    if isinstance(requirement, Against):
        return _compared(estimate, requirement, metric=metric, alpha=alpha, where=where, asked=asked)
    limits = _limits(estimate, metric=metric, alpha=alpha)
    if limits is None:
        return _zero_variance(estimate, metric=metric, where=where, asked=asked)
    lower, upper = limits
    low, high = bounds(requirement)
    verdict: VerdictWord = "Inconclusive"
    if upper < low or lower > high:
        verdict = "Fail"
    elif isinstance(interval, AllPairs) and interval.hindrance is not None:
        return _unknown(estimate, interval.hindrance, metric=metric, where=where, asked=asked)
    elif lower >= low and upper <= high:
        verdict = "Pass"
    value = _measured(estimate)
    needed, unit, advice = None, "rows", ""
    if verdict == "Inconclusive":
        needed, unit, advice = _advice(estimate, value, low, high, lower=lower, upper=upper, alpha=alpha)
    elif verdict == "Fail":
        advice = f"{REMEDY}{remedy(estimate.quantity, too_low=upper < low)}"
    shown = _value(value, metric)
    if not isinstance(interval, Fact):
        shown += f" [{_value(lower, metric)}, {_value(upper, metric)}]"
    shown += _ends(estimate, metric)
    words = {"Pass": "meets", "Fail": "misses", "Inconclusive": "can't be told from"}[verdict]
    return Outcome(
        verdict,
        asked,
        where,
        f"{where}: {shown} {words} {asked}{advice}",
        estimate=value,
        lower=_finite(lower),
        upper=_finite(upper),
        needed=needed,
        unit=unit,
        shortfall=max(low - value, value - high, 0.0),
    )


def _unknown(estimate: Estimate, hindrance: Unbounded, *, metric: Metric, where: str, asked: str) -> Outcome:
    """Inconclusive, since something of the number can't be bounded."""
    missing = max(hindrance.needed - hindrance.found, 1)
    return Outcome(
        "Inconclusive",
        asked,
        where,
        f"{where}: {_value(_measured(estimate), metric)}{_ends(estimate, metric)}, {hindrance.reason}; "
        f"{_thousands(missing)} more {_unit(hindrance.unit)} needed",
        estimate=_measured(estimate),
        reference=estimate.reference,
        needed=missing,
        unit=_unit(hindrance.unit),
    )


def _measured(estimate: Estimate) -> float:
    """The number a limit is asked of: the estimate, or by how much train is better than test."""
    assert estimate.estimate is not None
    if estimate.quantity.on != "train-test" or estimate.reference is None:
        return estimate.estimate
    return _direction(METRICS[estimate.quantity.metric]) * (estimate.estimate - estimate.reference)


def _ends(estimate: Estimate, metric: Metric) -> str:
    """What a gap between train and test lies between, in brackets."""
    if estimate.quantity.on != "train-test" or estimate.estimate is None or estimate.reference is None:
        return ""
    return f" (train {_value(estimate.estimate, metric)}, test {_value(estimate.reference, metric)})"


def _limits(estimate: Estimate, *, metric: Metric, alpha: float) -> tuple[float, float] | None:
    assert estimate.estimate is not None
    match estimate.interval:
        case Fact():
            return estimate.estimate, estimate.estimate
        case Beta() as interval:
            return beta_limits(interval, alpha)
        case StudentT() as interval:
            return student_limits(interval, alpha)
        case Table() as interval:
            return table_limits(interval, alpha)
        case Paired() as interval:
            # The gap between train and test, in the metric's own direction.
            return contrast_limits(
                interval, alpha, direction=_direction(METRICS[metric.name]), margin=0.0, relative=False
            )
        case AllPairs() as interval:
            return spread_limits(interval, alpha, ratio=estimate.quantity.shape == "ratio")
        case _:
            return None


def _compared(
    estimate: Estimate, requirement: Against, *, metric: Metric, alpha: float, where: str, asked: str
) -> Outcome:
    assert estimate.estimate is not None
    if not isinstance(estimate.interval, Paired) or estimate.reference is None:
        return Outcome("Error", asked, where, f"{where}: NotPaired: the evidence holds no comparison on the same rows")
    if requirement.relative and estimate.reference == 0:
        return Outcome(
            "Error",
            asked,
            where,
            f"{where}: ZeroReference: {requirement.ref} is 0, and a share of 0 is nothing; use an absolute margin",
            estimate=estimate.estimate,
            reference=0.0,
        )
    strict = requirement.sense == "BetterThan"
    margin = float(requirement.margin) * (1 if strict else -1)
    limits = contrast_limits(
        estimate.interval, alpha, direction=_direction(metric), margin=margin, relative=requirement.relative
    )
    if limits is None:
        return _zero_variance(estimate, metric=metric, where=where, asked=asked)
    lower, upper = limits
    if lower > 0 or (lower == 0 and not strict):
        verdict: VerdictWord = "Pass"
    elif upper < 0 or (upper == 0 and strict):
        verdict = "Fail"
    else:
        verdict = "Inconclusive"
    lead = (lower + upper) / 2
    needed, unit, advice = None, "rows", ""
    if verdict == "Inconclusive":
        needed, unit, advice = _grow(estimate, _times(gap=lead, se=_se(lower, upper, alpha), alpha=alpha))
    elif verdict == "Fail":
        advice = f"; what may help: {remedy(estimate.quantity, too_low=True)}"
    words = {"Pass": "meets", "Fail": "misses", "Inconclusive": "can't be told from"}[verdict]
    return Outcome(
        verdict,
        asked,
        where,
        f"{where}: {_value(estimate.estimate, metric)} against {_value(estimate.reference, metric)} {words} "
        f"'{asked}' (lead over what was asked [{lower:.3g}, {upper:.3g}]){advice}",
        estimate=estimate.estimate,
        reference=estimate.reference,
        lower=lower,
        upper=upper,
        needed=needed,
        unit=unit,
        shortfall=max(-lead, 0.0),
    )


def _zero_variance(estimate: Estimate, *, metric: Metric, where: str, asked: str) -> Outcome:
    assert estimate.estimate is not None
    return Outcome(
        "Inconclusive",
        asked,
        where,
        f"{where}: {_value(_measured(estimate), metric)}{_ends(estimate, metric)}, but no variance could be estimated, "
        "so nothing is shown",
        estimate=_measured(estimate),
        reference=estimate.reference,
    )


def _advice(
    estimate: Estimate, value: float, low: float, high: float, *, lower: float, upper: float, alpha: float
) -> tuple[int | None, str, str]:
    """How much more data would decide, in words: at the present value, with 80 % power."""
    latency = estimate.quantity.metric in QUANTILES
    if latency and not (math.isfinite(lower) and math.isfinite(upper)) and isinstance(estimate.interval, Table):
        return _unbounded(estimate, interval=estimate.interval, upper=upper, alpha=alpha)
    metric = METRICS[estimate.quantity.metric]
    if metric.origin == "Service" and metric.name not in QUANTILES:
        advice = remedy(estimate.quantity, too_low=metric.better == "Higher")
        return None, "requests", f"; it sits on the limit{REMEDY}{advice}"
    # The end of the requirement that the interval straddles; of two, the nearer one binds.
    ends = [end for end in (low, high) if math.isfinite(end) and lower <= end <= upper]
    if not ends:
        return None, "rows", ""
    growth = max(_growth(estimate, value, end, alpha=alpha, lower=lower, upper=upper) for end in ends)
    return _grow(estimate, growth)


def _unbounded(estimate: Estimate, *, interval: Table, upper: float, alpha: float) -> tuple[int | None, str, str]:
    """What it takes to bound a quantile of latencies, where one of its limits couldn't be had.

    Of n independent requests all lie below the quantile q with probability q^n: only where that is at most alpha can
    the largest of them bound it (the lower limit likewise, with 1 - q).
    """
    found, quantile = estimate.support.rows, QUANTILES[estimate.quantity.metric]
    if alpha < interval.levels[-1] * (1 - 1e-9):
        return None, "requests", f"; it isn't bounded at a look as late as this{REMEDY}take fresh test rows"
    needed = math.ceil(math.log(alpha) / math.log(1 - quantile if math.isfinite(upper) else quantile))
    if found < needed:
        return _requests(estimate, needed=needed, what="to bound it at this look")
    slow = "too many went unanswered, or were slow together"
    return None, "requests", f"; its {_thousands(found)} requests don't bound it at this look: {slow}{REMEDY}{FASTER}"


def _requests(estimate: Estimate, *, needed: int, what: str) -> tuple[int | None, str, str]:
    """How many requests it takes, and how to get them, if that can be had."""
    found, rate = estimate.support.rows, int(str(estimate.quantity.load).partition("/")[0])
    told = f"; {_thousands(needed)} requests or more are needed {what}, there were {_thousands(found)}{REMEDY}"
    if needed <= LOAD_REQUESTS:
        return (
            needed - found,
            "requests",
            f"{told}raise the gate's load to {math.ceil(rate * needed / found)}/s or more",
        )
    most = f"a load has at most {_thousands(LOAD_REQUESTS)}"
    return needed - found, "requests", f"{told}{FASTER}; {most}"


def _growth(estimate: Estimate, value: float, end: float, *, alpha: float, lower: float, upper: float) -> float:
    match estimate.interval:
        case Beta() as interval:
            size = proportion_sample_size(limit=end, estimate=interval.successes / interval.trials, alpha=alpha)
            return size / interval.trials
        case StudentT() as interval:
            gap = link(interval.link, end) - interval.centre
            return _times(gap=gap, se=interval.se, alpha=alpha) if math.isfinite(gap) else 0.0
        case AllPairs(pairs=pairs):
            # In the pairs' own scale: every pair that still reaches over the limit must come inside.
            limit = -math.log(end) if estimate.quantity.shape == "ratio" else end
            reach = [
                (abs(pair.interval.centre), pair.interval) for pair in pairs if isinstance(pair.interval, StudentT)
            ]
            return max(
                (
                    _times(gap=limit - gap, se=interval.se, alpha=alpha)
                    for gap, interval in reach
                    if max(map(abs, student_limits(interval, alpha))) > limit
                ),
                default=0.0,
            )
        case _:
            if not (math.isfinite(lower) and math.isfinite(upper)):
                return math.inf
            # Limits of a quantile lie as far off as its tail is long: the side that straddles tells.
            far = upper - value if end >= value else value - lower
            return _times(gap=end - value, se=far / -normal_quantile(alpha), alpha=alpha)


def _times(*, gap: float, se: float, alpha: float) -> float:
    """How many times the present sample decides; infinite where the gap is next to nothing beside its error."""
    return math.inf if abs(gap) <= NOTHING * se else growth_to_decide(gap=gap, se=se, alpha=alpha)


def _se(lower: float, upper: float, alpha: float) -> float:
    """The standard error behind a normal interval; a little large where it was Student's."""
    return (upper - lower) / 2 / -normal_quantile(alpha)


def _grow(estimate: Estimate, growth: float) -> tuple[int | None, str, str]:
    if estimate.quantity.metric in QUANTILES:
        if math.isinf(growth):
            return None, "requests", f"; it sits on the limit{REMEDY}{FASTER}"
        present = estimate.support.rows
        return _requests(estimate, needed=max(math.ceil(present * growth), present + 1), what="to tell")
    clusters = estimate.support.clusters
    present, unit = (clusters, "clusters") if clusters else (estimate.support.rows, "rows")
    if growth > ON_THE_LIMIT and present * growth > FEASIBLE:
        return None, unit, "; it sits on the limit"
    needed = max(math.ceil(present * growth) - present, 1)
    where = "" if estimate.quantity.value is None else f" with {_where(estimate.quantity)}"
    counted = unit.removesuffix("s") if needed == 1 else unit
    return needed, unit, f"; {_thousands(needed)} more {counted}{where} needed"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _direction(metric: Metric) -> Literal[1, -1]:
    return -1 if metric.better == "Lower" else 1


def _where(quantity: Quantity) -> str:
    if quantity.across:
        return f"{quantity.shape} across {quantity.across}"
    if quantity.of_class is not None:
        return f"class {quantity.of_class}"
    if quantity.quantile is not None:
        return f"quantile {quantity.quantile}"
    if quantity.horizon is not None:
        return "each horizon" if quantity.horizon == EACH else f"horizon {quantity.horizon}"
    if quantity.window is not None:
        return "each window" if quantity.window == EACH else f"window {quantity.window}"
    if quantity.value is None:
        return quantity.slice
    return f"{quantity.slice} {quantity.value}"


def _name(quantity: Quantity) -> str:
    against = f" against {quantity.versus}" if quantity.versus else ""
    return f"{quantity.metric} for {_where(quantity)} on {quantity.on}{against}"


def _value(number: float, metric: Metric) -> str:
    return number_text(number, metric.unit)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _unit(unit: str) -> str:
    words = {
        "minority": "rows of the rarer class",
        "discordant": "rows on which the two differ",
        "punctual": "requests sent in time",
        "queries": "queries with a relevant row",
    }
    return words.get(unit, unit)
