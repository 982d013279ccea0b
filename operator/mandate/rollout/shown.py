"""Estimates with their limits, as a status shows them. Pure."""

from __future__ import annotations

from mandate.api.kinds import MeanLimits
from mandate.verdict.anytime import bounded_limits


def number(value: float) -> str:
    """The value at six significant digits."""
    return f"{value:.6g}"


def limits(mean: float, lower: float, upper: float) -> MeanLimits:
    """An estimate between its limits."""
    return MeanLimits(mean=number(mean), lower=number(lower), upper=number(upper))


def share(part: int, whole: int, *, alpha: float) -> MeanLimits | None:
    """The share that `part` is of `whole`; each limit errs by `alpha`, at all times together. None of nothing."""
    if whole == 0:
        return None
    return limits(part / whole, *bounded_limits(rows=whole, total=part, alpha=alpha))
