"""Limits that hold however often, and whenever, one looks: confidence sequences for live evidence.

Live evidence is looked at continuously. A fixed-sample limit at 2.5 % that is looked at after every row is wrong far
more often than in 2.5 % of runs; these limits are wrong at *any* time in at most that share (Robbins 1970,
doi:10.1214/aoms/1177696786; Howard, Ramdas, McAuliffe & Sekhon 2021, doi:10.1214/20-AOS1991). So there is no budget of
looks to spend, and a decision may be taken the moment a limit allows it. The price is about 2.5 times the rows.

**Bounded means, exact.** Rows X in [0, 1], a row's mean given those before it being p. For any q

    L(q) = prod (q / p)^X ((1 - q) / (1 - p))^(1 - X)

has conditional expectation at most 1 per row: the factor is convex in X, so it lies below its chord, whose expectation
is p q/p + (1 - p)(1 - q)/(1 - p) = 1. For q > p the chord rises with the mean, so this holds for every mean up to p as
well. Averages of L over a distribution of q keep the property, so they are non-negative supermartingales that start at
1, and exceed 1 / alpha at any time with probability at most alpha (Ville 1939). With q uniform over (p, 1], n rows and
their sum S,

    E(p) = B(S + 1, n - S + 1) P(Beta(S + 1, n - S + 1) > p) / ((1 - p) p^S (1 - p)^(n - S))

and the lower limit is where E(p) = 1 / alpha: every p below is refuted, together with all means below it. The upper
limit is one minus the lower limit of 1 - X. Where E(p) >= 1 and p <= S / (n + 1), E falls strictly in p, and between
S / (n + 1) and S / n it stays below e; so there is exactly one such p for alpha < 1 / e.

**Ratios of counts** (recall, precision, overrides per decision) are bounded means over the rows that fulfil the
condition: which row is the k-th to do so is known when it comes, so the argument runs over those rows alone, at times
that are their own. Rows, and the sum over them, are all that is needed.

**Unbounded means, asymptotic.** For differences of scores or latencies no such limit can be exact. The rows are
compared with a Brownian motion, whose one-sided normal mixture has a closed form (Howard et al. 2021, section 3.2;
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, doi:10.1214/24-AOS2408), with the sample's own variance. It counts
from BURN_IN rows on, and while no single row makes up more than LARGEST_SHARE of the variance (Lindeberg's condition,
as far as a sample shows it).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import betaincc, betaln, log_ndtr

from .limits import Limits, normal_quantile

BURN_IN = 500
"""Rows before an asymptotic limit says anything; chosen by simulation (docs/contributor/coverage.md)."""
TIGHTEST = 4 * BURN_IN
"""The number of rows at which asymptotic limits are as tight as they can be."""
LARGEST_SHARE = 0.04
"""Most that a single row may contribute to the variance: with rare, far values nothing is normal yet."""
SAME = 1e-10
"""Relative variance below which sums at 12 significant digits can't tell values apart."""
MOST_ROWS = 1e12
"""More rows than this are no advice."""

_LARGEST_ALPHA = math.exp(-1)


def log_evidence(mean: float, *, rows: float, total: float) -> float:
    """ln E(p): how strongly `rows` values in [0, 1] that add up to `total` speak against all means up to `mean`."""
    if not 0 < mean < 1:
        raise ValueError(f"mean must lie between 0 and 1, got {mean}")
    _check(rows, total)
    return _log_evidence(math.log(mean), rows, total)


def bounded_limits(*, rows: float, total: float, alpha: float) -> Limits:
    """Limits of the mean of values in [0, 1], each wrong at any time with probability at most `alpha` (below 1 / e).

    `total` is the sum of the `rows` values; for a share it is the number of successes.
    """
    if not 0 < alpha < _LARGEST_ALPHA:
        raise ValueError(f"alpha must lie between 0 and 1/e, got {alpha}")
    _check(rows, total)
    return _lower(rows, total, alpha), 1 - _lower(rows, rows - total, alpha)


def mean_limits(
    *, rows: float, total: float, squares: float, least: float, greatest: float, alpha: float
) -> Limits | None:
    """Limits of a mean from sum, sum of squares, least and greatest value, asymptotically valid at any time.

    Infinite before BURN_IN rows, and while the least or the greatest value alone makes up too much of the variance.
    None where the values don't vary: then nothing is known about what else they might be.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, got {alpha}")
    if rows < BURN_IN:
        return -math.inf, math.inf
    mean = total / rows
    variance = (squares - total * mean) / (rows - 1)
    if variance <= SAME * squares / rows:
        return None
    if max(greatest - mean, mean - least) ** 2 > LARGEST_SHARE * variance * rows:
        return -math.inf, math.inf
    reach = math.sqrt(variance) * _boundary(rows, alpha) / rows
    return mean - reach, mean + reach


def bounded_rows_to_decide(*, limit: float, estimate: float, alpha: float, power: float = 0.8) -> float:
    """Rows by which a share's limits have left `limit` with probability `power`, if `estimate` is the truth.

    Infinite where the two are equal or more than MOST_ROWS would be needed.
    """
    gap = estimate - limit
    if gap == 0:
        return math.inf
    if gap < 0:
        limit, estimate = 1 - limit, 1 - estimate
    if limit <= 0:
        return math.inf  # nothing refutes a mean of nought or more
    spread = normal_quantile(power) * math.sqrt(estimate * (1 - estimate))

    def decided(rows: float) -> bool:
        share = estimate - spread / math.sqrt(rows)
        return limit < share and _log_evidence(math.log(limit), rows, rows * share) >= -math.log(alpha)

    return _first(decided)


def mean_rows_to_decide(*, gap: float, sd: float, alpha: float, power: float = 0.8) -> float:
    """Rows by which an asymptotic limit has passed a `gap` with probability `power`, if gap and `sd` are the truth."""
    if gap == 0:
        return math.inf
    if sd <= 0:
        return float(BURN_IN)
    spread = normal_quantile(power)

    def decided(rows: float) -> bool:
        return rows >= BURN_IN and abs(gap) * rows >= sd * (_boundary(rows, alpha) + spread * math.sqrt(rows))

    return _first(decided)


def _check(rows: float, total: float) -> None:
    if not (rows >= 0 and 0 <= total <= rows):
        raise ValueError(f"values in [0, 1] add up to between 0 and their number, got {total} over {rows} rows")


def _log_evidence(log_mean: float, rows: float, total: float) -> float:
    mean, log_rest = math.exp(log_mean), math.log(-math.expm1(log_mean))
    above = float(betaincc(total + 1, rows - total + 1, mean))
    if above <= 0:
        return -math.inf
    mixed = float(betaln(total + 1, rows - total + 1)) + math.log(above)
    return mixed - log_rest - total * log_mean - (rows - total) * log_rest


def _lower(rows: float, total: float, alpha: float) -> float:
    if total <= 0:
        return 0.0
    top, bottom = math.log(total / (rows + 1)), -700.0
    enough = -math.log(alpha)
    if _log_evidence(bottom, rows, total) <= enough:
        return 0.0
    root = brentq(lambda x: _log_evidence(x, rows, total) - enough, bottom, top, xtol=1e-14, rtol=1e-14)
    return math.exp(float(root))


def _boundary(rows: float, alpha: float) -> float:
    """The sum that standardised rows exceed at any time with probability `alpha`: the one-sided normal mixture."""
    prior = TIGHTEST * _prior_share(alpha)
    return math.sqrt(rows + prior) * _crossing(0.5 * math.log1p(rows / prior) - math.log(2 * alpha))


def _prior_share(alpha: float) -> float:
    """Prior weight, as a share of the rows at which the boundary is tightest (Howard et al. 2021, section 3.5)."""
    log_square = -2 * math.log(2 * alpha)
    return 1 / (log_square + math.log1p(log_square))


def _crossing(height: float) -> float:
    """z with z^2 / 2 + ln Phi(z) = height, for height above that at z = 0 (-ln 2)."""
    return float(brentq(lambda z: z * z / 2 + float(log_ndtr(z)) - height, 0.0, math.sqrt(2 * height + 4)))


def _first(decided: Callable[[float], bool]) -> float:
    """The smallest whole number of rows that decides, up to 1 %."""
    high = 1.0
    while not decided(high):
        high *= 2
        if high > MOST_ROWS:
            return math.inf
    low = high / 2
    while high - low > max(1.0, 0.01 * high):
        middle = (low + high) / 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return float(math.ceil(high))
