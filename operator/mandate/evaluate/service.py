"""Latencies and crashes under the declared loads, as estimates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mandate.api.catalogue import QUANTILES
from mandate.evidence.intervals import Fact
from mandate.evidence.schema import Estimate, Fault, Quantity, Support
from mandate.inference.load import Loaded

CRASHES = "crashes"


def rate_of(load: str) -> float:
    """Requests per second of a load such as `50/s`."""
    number, _, unit = load.partition("/")
    if unit != "s":
        raise ValueError(f"expected a rate such as 50/s, got {load!r}")
    return float(number)


def measured(loads: Mapping[str, Loaded], *, timeout: float, requests: int) -> tuple[Estimate, ...]:
    """Estimates of what happened under each load; `requests` without a load were answered before, without a crash."""
    from mandate.inference.latency import quantile  # SciPy, which isn't needed where nothing was measured

    estimates: list[Estimate] = []
    for load, seen in loads.items():
        for metric, share in QUANTILES.items():
            value, interval = quantile(seen.blocks, share, censored=timeout)
            beyond = round(seen.requests * min(share, 1 - share))
            estimates.append(
                Estimate(
                    quantity=Quantity(metric=metric, load=load),
                    estimate=value,
                    interval=interval,
                    support=Support(rows=seen.requests, events=beyond),
                )
            )
        estimates.append(_crashes(seen.crashes, requests=seen.requests, load=load))
    everything = requests + sum(seen.requests for seen in loads.values())
    estimates.append(_crashes(sum(seen.crashes for seen in loads.values()), requests=everything, load=None))
    return _sorted(estimates)


def not_measured(loads: Iterable[str], *, reason: str) -> tuple[Estimate, ...]:
    """The same quantities where no predictor was loaded: each with the fault NotMeasured."""
    fault = Fault(code="NotMeasured", message=reason)
    nothing = Support(rows=0, events=0)
    quantities = [Quantity(metric=metric, load=load) for load in loads for metric in (*QUANTILES, CRASHES)]
    quantities.append(Quantity(metric=CRASHES))
    return _sorted([Estimate(quantity=quantity, support=nothing, fault=fault) for quantity in quantities])


def _crashes(count: int, *, requests: int, load: str | None) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=CRASHES, load=load),
        estimate=float(count),
        interval=Fact(),
        support=Support(rows=requests, events=count),
    )


def _sorted(estimates: list[Estimate]) -> tuple[Estimate, ...]:
    return tuple(sorted(estimates, key=lambda estimate: estimate.quantity.sort_key()))
