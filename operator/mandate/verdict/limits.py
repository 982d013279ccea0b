"""One-sided confidence limits from recorded interval families, at whatever level decides."""

from __future__ import annotations

import math
from typing import Literal

from scipy.special import betaincinv, ndtri, stdtrit

from mandate.evidence.intervals import AllPairs, Beta, Link, Paired, Proportions, StudentT, Table

Limits = tuple[float, float]
"""Lower and upper limit, each one-sided at the level asked for; infinite where there is none."""


def beta_limits(interval: Beta, alpha: float) -> Limits:
    """Clopper & Pearson (1934): the proportions that a one-sided exact test at `alpha` doesn't refute."""
    k, n = interval.successes, interval.trials
    lower = 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, alpha))
    upper = 1.0 if k >= n else float(betaincinv(k + 1, n - k, 1 - alpha))
    return lower, upper


def student_limits(interval: StudentT, alpha: float) -> Limits:
    """Student-t limits on the link's scale, taken back to the metric's own."""
    reach = float(stdtrit(interval.df, 1 - alpha)) * interval.se
    return _inverse(interval.link, interval.centre - reach), _inverse(interval.link, interval.centre + reach)


def table_limits(interval: Table, alpha: float) -> Limits:
    """The recorded limits at the largest level not above `alpha`; none where the grid ends before."""
    for level, lower, upper in zip(interval.levels, interval.lower, interval.upper, strict=True):
        if level <= alpha * (1 + 1e-9):
            return (-math.inf if lower is None else lower), (math.inf if upper is None else upper)
    return -math.inf, math.inf


def spread_limits(interval: AllPairs, alpha: float, *, ratio: bool) -> Limits:
    """Limits of a spread over groups from all its pairs.

    The spread meets a limit when every pair's far limit does (no correction needed: all must hold); it breaks it when
    one pair's near limit does at alpha / pairs (Bonferroni, which bounds Holm's first step; pairs that couldn't be had
    count). With a hindrance there is no far limit: the lower one of a ratio, the upper one of a difference is infinite.
    """
    far, near = 0.0 if interval.hindrance is None else math.inf, 0.0
    share = alpha / (len(interval.pairs) + (interval.left_out or 0))
    for pair in interval.pairs:
        if isinstance(pair.interval, Proportions):
            near = max(near, _apart(pair.interval, share))
            continue
        low, high = student_limits(pair.interval, alpha)
        far = max(far, high, -low)
        low, high = student_limits(pair.interval, share)
        near = max(near, low, -high)
    if ratio:
        return (math.exp(-far) if math.isfinite(far) else -math.inf), math.exp(-near)
    return near, far


def _apart(interval: Proportions, alpha: float) -> float:
    """How far apart two proportions' logarithms surely are; half of `alpha` for each of them."""
    (low, high), (least, most) = (beta_limits(side, alpha / 2) for side in (interval.first, interval.second))
    gaps = (math.log(a / b) for a, b in ((low, most), (least, high)) if a > 0 and b > 0)
    return max(gaps, default=0.0)


def contrast_limits(
    interval: Paired, alpha: float, *, direction: Literal[1, -1], margin: float, relative: bool
) -> Limits | None:
    """Limits of `direction*(a - b) - margin` (or `- margin*|b|`), by the delta method on the joint variance.

    None where the variance is zero: then the difference has no honest limits.
    """
    share = margin * math.copysign(1.0, interval.b) if relative else 0.0
    weight = direction + share
    value = direction * interval.a - weight * interval.b - (0.0 if relative else margin)
    variance = interval.var_a + weight**2 * interval.var_b - 2 * direction * weight * interval.cov
    if variance <= 1e-12 * (interval.var_a + weight**2 * interval.var_b) or variance <= 0:
        return None
    reach = float(stdtrit(interval.df, 1 - alpha)) * math.sqrt(variance)
    return value - reach, value + reach


def link(name: Link, value: float) -> float:
    """The link function; infinite at the ends of the metric's range."""
    match name:
        case "Identity":
            return value
        case "Logit":
            if value <= 0 or value >= 1:
                return math.copysign(math.inf, value - 0.5)
            return math.log(value) - math.log1p(-value)
        case "Log":
            return math.log(value) if value > 0 else -math.inf
        case "LogComplement":
            return -math.log1p(-value) if value < 1 else math.inf


def _inverse(name: Link, value: float) -> float:
    match name:
        case "Identity":
            return value
        case "Logit":
            return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
        case "Log":
            return math.exp(min(value, 700.0))
        case "LogComplement":
            return -math.expm1(min(-value, 700.0))


def normal_quantile(probability: float) -> float:
    """Standard normal quantile."""
    return float(ndtri(probability))


def proportion_sample_size(*, limit: float, estimate: float, alpha: float, power: float = 0.8) -> float:
    """Trials for a one-sided test of a proportion against `limit` to decide with `power`, if `estimate` is the truth.

    Normal approximation (Fleiss, Levin & Paik 2003, eq. 2.9). Infinite where the two are equal.
    """
    gap = abs(estimate - limit)
    if gap == 0:
        return math.inf
    spread = -normal_quantile(alpha) * math.sqrt(limit * (1 - limit))
    spread += normal_quantile(power) * math.sqrt(estimate * (1 - estimate))
    return (spread / gap) ** 2


def growth_to_decide(*, gap: float, se: float, alpha: float, power: float = 0.8) -> float:
    """How many times the present sample a normal test needs to decide, if the present gap is the truth."""
    if gap == 0:
        return math.inf
    return ((-normal_quantile(alpha) + normal_quantile(power)) * se / gap) ** 2
