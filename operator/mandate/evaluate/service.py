"""Latencies and failures under the declared loads, as estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mandate.api.catalogue import METRICS, QUANTILES
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.quantity import quantity
from mandate.api.spec import Prices, Serving
from mandate.evidence.intervals import Fact, Interval, StudentT, Table, Unbounded
from mandate.evidence.schema import (
    Estimate,
    Fault,
    Peaks,
    Probed,
    Quantity,
    Saturated,
    Starts,
    Support,
    UnderLoad,
)
from mandate.inference.load import KEPT, Loaded

if TYPE_CHECKING:
    from mandate.inference.capacity import Capacity
    from mandate.inference.client import Usage
    from mandate.inference.robustness import Probed as Kind

CRASHES, FAILED = "crashes", "failed_requests"
MEMORY, COLD = "memory_peak", "cold_start"
THROUGHPUT, CPU, COST = "throughput", "cpu_per_prediction", "cost_per_million"
USED_COST = "used_cost_per_million"
ROBUSTNESS = "robustness_failures"
SILENT = "the container doesn't say what it uses; Mandate's own server for model files does"

AGAIN = "the server was started again while it was measured, so its account is of a part; read its container's log"
NO_FIRST = "the first request got no right answer; read the model container's log"


def rate_of(load: str) -> float:
    """Requests per second of a load such as `50/s`."""
    number, _, unit = load.partition("/")
    if unit != "s":
        raise ValueError(f"expected a rate such as 50/s, got {load!r}")
    return float(number)


def measured(loads: Mapping[str, Loaded], *, timeout: float, requests: int) -> tuple[Estimate, ...]:
    """Estimates of what happened under each load; `requests` without a load were answered before, without a failure."""
    estimates: list[Estimate] = []
    for load, seen in loads.items():
        for metric, share in QUANTILES.items():
            value, interval = _latency(seen, share, rate=rate_of(load), timeout=timeout)
            beyond = round(seen.requests * min(share, 1 - share))
            estimates.append(
                Estimate(
                    quantity=Quantity(metric=metric, load=load),
                    estimate=value,
                    interval=interval,
                    support=Support(rows=seen.requests, events=beyond),
                )
            )
        estimates.append(_count(CRASHES, seen.crashes, requests=seen.requests, load=load))
        estimates.append(_count(FAILED, seen.failed, requests=seen.requests, load=load))
    everything = requests + sum(seen.requests for seen in loads.values())
    estimates.append(_count(CRASHES, sum(seen.crashes for seen in loads.values()), requests=everything, load=None))
    estimates.append(_count(FAILED, sum(seen.failed for seen in loads.values()), requests=everything, load=None))
    return in_order(estimates)


def _latency(seen: Loaded, share: float, *, rate: float, timeout: float) -> tuple[float, Interval]:
    """A quantile from the moments due, with limits that hold although requests may have left late.

    What a late request waited for this process isn't the server's, so the lower limit is of latencies from the moment
    of sending; the upper one is of those from the moment due. A server that got less than the declared rate wasn't
    under that load at all: then there are no limits. One that doesn't keep pace with the rate has no latency under it,
    only one that grows for as long as the load lasts: then there is no upper limit.
    """
    from mandate.inference.latency import quantile, rising  # SciPy, which isn't needed where nothing was measured

    value, interval = quantile(seen.blocks, share, censored=timeout)
    if seen.kept < KEPT:
        return value, Unbounded(
            reason=f"the load generator kept up {seen.kept:.0%} of the declared rate, so this is its own speed: "
            "lower the load, or give the judge more CPU",
            unit="punctual",
            found=seen.requests - seen.late,
            needed=seen.requests,
        )
    if not isinstance(interval, Table):
        return value, interval
    _, sent = quantile(seen.sent, share, censored=timeout)
    if not isinstance(sent, Table):
        return value, sent
    lower = tuple(
        None if due is None or own is None else min(due, own)
        for due, own in zip(interval.lower, sent.lower, strict=True)
    )
    upper = (None,) * len(lower) if rising(seen.blocks, rate=rate) else interval.upper
    return value, Table(levels=interval.levels, lower=lower, upper=upper)


def under_load(loads: Mapping[str, Loaded]) -> dict[str, UnderLoad]:
    """What became of the requests of each load."""
    from mandate.inference.latency import rising  # SciPy, which isn't needed where nothing was measured

    return {
        load: UnderLoad(
            requests=seen.requests,
            late=seen.late,
            kept=seen.kept,
            crashes=seen.crashes,
            timeouts=seen.timeouts,
            refused=seen.refused,
            rising=rising(seen.blocks, rate=rate_of(load)) or None,
        )
        for load, seen in loads.items()
    }


def used(
    before: Usage | None, after: Usage | None, *, first_answer: float | None, peaks: Sequence[float] = ()
) -> list[Estimate]:
    """What the server used, and how long it took until it could be asked.

    `before` and `after` are its accounts on both sides of the load, `first_answer` its first answer's seconds, None
    where that was none. `peaks`: the most bytes so far, at the end of each block of load; a peak's support are these
    blocks, and as events those that raised it.
    """
    if before is None or after is None:
        return [not_had(metric, reason=SILENT) for metric in (MEMORY, COLD)]
    # Accounts of one process only grow: a server that was started again, maybe since memory ran out, has a new one.
    if after.cold != before.cold or after.cpu < before.cpu or after.memory < before.memory:
        return [not_had(metric, reason=AGAIN) for metric in (MEMORY, COLD)]
    memory = _fact(MEMORY, after.memory / 2**20, rows=max(len(peaks), 1), events=raised(peaks))
    if first_answer is None:
        return [memory, not_had(COLD, reason=NO_FIRST)]
    return [memory, _fact(COLD, after.cold + first_answer, rows=1)]


def raised(peaks: Sequence[float]) -> int:
    """How many blocks after the first raised the peak."""
    return sum(later > earlier for earlier, later in pairwise(peaks))


def kept(peaks: Sequence[float], estimates: Iterable[Estimate]) -> Peaks | None:
    """What is kept of the memory by block, `peaks` in bytes, where `estimates` tell of the whole."""
    told = any(e.quantity.metric == MEMORY and e.fault is None for e in estimates)
    return Peaks(mib=tuple(round(peak / 2**20, 3) for peak in peaks)) if peaks and told else None


def started(estimates: Iterable[Estimate], *, once: str) -> Starts | None:
    """What is kept of the one start that `estimates` tell of; `once`: why there was no other."""
    seconds = [e.estimate for e in estimates if e.quantity.metric == COLD and e.estimate is not None]
    return Starts(seconds=(round(seconds[0], 4),), once=once) if seconds else None


def starts(seconds: Sequence[float | None]) -> Estimate:
    """The median of several cold starts, in seconds; None where a start gave no right answer, or said nothing."""
    from mandate.inference.starts import middle  # SciPy, which isn't needed where nothing was measured

    for place, one in enumerate(seconds, start=1):
        if one is None:
            return not_had(COLD, reason=f"start {place} of {len(seconds)}: {NO_FIRST}")
    value, interval = middle([one for one in seconds if one is not None])
    support = Support(rows=len(seconds), events=0)
    return Estimate(quantity=Quantity(metric=COLD), estimate=value, interval=interval, support=support)


def capacity(found: Capacity, *, rows: int, serving: Serving) -> list[Estimate]:
    """Throughput, CPU time and cost of a prediction; `rows` are in each request."""
    from mandate.inference.capacity import limits  # SciPy, which isn't needed where nothing was measured
    from mandate.inference.latency import LEVELS

    answered = sum(found.answers)
    if answered == 0:
        fault = Fault(code="NoAnswers", message="the server answered nothing; read the model container's log")
        nothing = Support(rows=0, events=0)
        names = (THROUGHPUT, CPU, COST, USED_COST)
        return [Estimate(quantity=Quantity(metric=name), support=nothing, fault=fault) for name in names]
    lower, upper = limits(found)
    support = Support(rows=answered * rows, events=0)
    rate = (found.rate if found.held is None else found.held) * rows
    faster = Table(levels=LEVELS, lower=_times(lower, rows), upper=_times(upper, rows))
    estimates = [
        Estimate(quantity=Quantity(metric=THROUGHPUT), estimate=rate, interval=faster, support=support),
        _cpu(found, rows=rows, support=support),
        _used_cost(found, rows=rows, serving=serving, support=support),
    ]
    per_second = _price(serving)
    if isinstance(per_second, str):
        return [*estimates, not_had(COST, reason=per_second)]
    million = 1e6 * per_second
    dearer = Table(levels=LEVELS, lower=_over(million, faster.upper), upper=_over(million, faster.lower))
    return [
        *estimates,
        Estimate(quantity=Quantity(metric=COST), estimate=million / rate, interval=dearer, support=support),
    ]


def _cpu(found: Capacity, *, rows: int, support: Support) -> Estimate:
    """CPU time of a prediction while the server was busy."""
    if found.cpu is None:
        return not_had(CPU, reason=SILENT)
    if min(found.cpu) < 0:
        return not_had(CPU, reason=AGAIN)
    value, interval = _per_answer(found.cpu, found.answers, rows=rows)
    return Estimate(quantity=Quantity(metric=CPU), estimate=value, interval=interval, support=support)


def _used_cost(found: Capacity, *, rows: int, serving: Serving, support: Support) -> Estimate:
    """Price of the CPU time that a million predictions took, and of the memory for as long as they took.

    Memory counts at its peak so far: what a busy server once needed can't be given to others.
    """
    prices = _prices(serving)
    if isinstance(prices, str):
        return not_had(USED_COST, reason=prices)
    if found.cpu is None or found.memory is None:
        return not_had(USED_COST, reason=SILENT)
    if min(found.cpu) < 0:
        return not_had(USED_COST, reason=AGAIN)
    cpu, gib = float(prices.cpu_hour) / 3600, float(prices.gib_hour) / 3600
    bills = [
        1e6 * (used * cpu + memory / 2**30 * took * gib)
        for used, memory, took in zip(found.cpu, found.memory, found.seconds, strict=True)
    ]
    value, interval = _per_answer(bills, found.answers, rows=rows)
    return Estimate(quantity=Quantity(metric=USED_COST), estimate=value, interval=interval, support=support)


def _per_answer(amounts: Sequence[float], answers: Sequence[int], *, rows: int) -> tuple[float, Interval]:
    """Of an amount per block, how much a prediction took, over all blocks: Student-t on the logarithms of the blocks'.

    A block without an answer has none, so then there is no interval.
    """
    from mandate.inference.latency import MIN_BLOCKS

    value = sum(amounts) / sum(answers) / rows
    logs = [math.log(used / count / rows) for used, count in zip(amounts, answers, strict=True) if used > 0 and count]
    if 0 in answers:
        words = "blocks without an answer have no use per prediction"
        return value, Unbounded(reason=words, unit="blocks", found=len(logs), needed=len(answers))
    if len(logs) >= MIN_BLOCKS and (error := stdev(logs) / math.sqrt(len(logs))) > 0:
        return value, StudentT(link="Log", centre=fmean(logs), se=error, df=len(logs) - 1)
    words = "too few blocks to see how it varies"
    return value, Unbounded(reason=words, unit="blocks", found=len(logs), needed=MIN_BLOCKS)


def _price(serving: Serving) -> float | str:
    """What the declared resources cost per second, or why that isn't known.

    Of each resource its limit counts, under which the throughput was measured, else what is requested.
    """
    prices = _prices(serving)
    if isinstance(prices, str):
        return prices
    total = 0.0
    for name, price, size in (("cpu", prices.cpu_hour, 1), ("memory", prices.gib_hour, 2**30)):
        declared = (serving.resources.get(side, {}).get(name) for side in ("limits", "requests"))
        amount = next((found for text in declared if text and (found := quantity(text)) is not None), None)
        if amount is None:
            return f"serving.resources says nothing of {name}, so it has no price; set serving.resources.limits.{name}"
        total += float(amount) / size * float(price) / 3600
    return total


def _prices(serving: Serving) -> Prices | str:
    """The declared prices, or why they aren't those of all that is declared."""
    if serving.prices is None:
        return "no prices are declared; set serving.prices"
    named = {name for side in ("limits", "requests") for name in serving.resources.get(side, {})}
    if unpriced := sorted(named - {"cpu", "memory", "ephemeral-storage"}):  # disks come with their machines
        return f"serving.resources has {', '.join(unpriced)}, which serving.prices has no price of"
    return serving.prices


def _times(values: tuple[float | None, ...], factor: float) -> tuple[float | None, ...]:
    return tuple(None if value is None else value * factor for value in values)


def _over(number: float, values: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return tuple(None if value is None else number / value for value in values)


def not_measured(spec: ModelEvaluationSpec, *, reason: str) -> tuple[Estimate, ...]:
    """The same quantities where no predictor was asked: each with the fault NotMeasured."""
    names = [CRASHES, FAILED, MEMORY, COLD]
    asked = (metric for metric in METRICS.values() if metric.measurement in spec.service)
    names += [metric.name for metric in asked if spec.task.type in metric.tasks]
    loaded = [(metric, load) for load in spec.loads for metric in (*QUANTILES, CRASHES, FAILED)]
    estimates = [not_had(name, reason=reason) for name in names]
    return in_order([*estimates, *(not_had(metric, reason=reason, load=load) for metric, load in loaded)])


def not_had(metric: str, *, reason: str, load: str | None = None) -> Estimate:
    """The quantity with the fault NotMeasured."""
    fault = Fault(code="NotMeasured", message=reason)
    return Estimate(quantity=Quantity(metric=metric, load=load), support=Support(rows=0, events=0), fault=fault)


def _fact(metric: str, value: float, *, rows: int, events: int = 0) -> Estimate:
    support = Support(rows=rows, events=events)
    return Estimate(quantity=Quantity(metric=metric), estimate=value, interval=Fact(), support=support)


def probed(found: Mapping[str, Kind]) -> Estimate:
    """How many bad inputs ended as they mustn't."""
    sent, failed = sum(kind.probes for kind in found.values()), sum(kind.failed for kind in found.values())
    return _count(ROBUSTNESS, failed, requests=sent, load=None)


def by_kind(found: Mapping[str, Kind]) -> dict[str, Probed]:
    """What is kept of the bad inputs."""
    return {
        name: Probed(
            refused=kind.refused,
            answered=kind.answered,
            failures=dict(sorted(kind.failures.items())),
            first=None if kind.first is None else kind.first[:512],
        )
        for name, kind in found.items()
    }


def saturated(found: Capacity, *, serving: Serving) -> Saturated:
    """What is kept of it beside the numbers."""
    currency = None if serving.prices is None else serving.prices.currency
    return Saturated(rate=found.rate, held=found.held, failed=found.failed, own=found.own, currency=currency)


def _count(metric: str, count: int, *, requests: int, load: str | None) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, load=load),
        estimate=float(count),
        interval=Fact(),
        support=Support(rows=requests, events=count),
    )


def in_order(estimates: Iterable[Estimate]) -> tuple[Estimate, ...]:
    """By quantity, so that evidence has one listing."""
    return tuple(sorted(estimates, key=lambda estimate: estimate.quantity.sort_key()))
