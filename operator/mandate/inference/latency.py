"""Quantiles of latencies that came in blocks, with limits that hold although neighbours resemble each other.

Averaging each block's own p99 is biased: a short block of correlated latencies rarely sees its tail, so such an
interval passes a slow server far too often. The share of requests below a fixed duration has no such bias, whatever
the correlation. So the limits of a quantile are those durations below which an exact test of that share (Clopper &
Pearson 1934) can't place it, on the effective number of requests of Korn & Graubard (1998): the blocks are the
clusters, and their variance tells how many independent requests these are worth. That variance is looked at where
the quantile lies and where twice as many requests exceed it, and the larger effect counts: the tail alone holds too
few requests to be sure of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtri, stdtrit

from mandate.evidence.intervals import Interval, Table, Unbounded

Floats = npt.NDArray[np.float64]

LEVELS = (0.025, *(0.025 / (look * (look + 1)) for look in range(1, 31)))
"""One-sided levels at which limits are recorded: the first is α itself, the others its share at each look."""
BACKLOG = 0.03
"""Share of each second by which latencies must grow for it to be a backlog; busy servers' queues come about slowly."""
MIN_BLOCKS = 5
"""Below this, a variance between blocks says nothing."""


def quantile(blocks: Sequence[Floats], share: float, *, censored: float) -> tuple[float, Interval]:
    """The `share` quantile of all latencies (seconds), an order statistic, with its limits.

    `censored` is the duration (seconds) at which waiting ended: a latency of that much means "or more", so it gives
    no upper limit.
    """
    sizes = np.array([len(block) for block in blocks])
    count = int(sizes.sum())
    everything = np.sort(np.concatenate(blocks))
    estimate = float(everything[math.ceil(count * share) - 1])
    if len(blocks) < MIN_BLOCKS:
        return estimate, Unbounded(
            reason="too few blocks to see how latencies vary", unit="blocks", found=len(blocks), needed=MIN_BLOCKS
        )
    milder = float(everything[max(math.ceil(count * (1 - 2 * (1 - share))), 1) - 1])
    worth = count / max(_design_effect(blocks, threshold) for threshold in (estimate, milder))
    lower, upper = [], []
    for level in LEVELS:
        effective = worth * float((ndtri(1 - level) / stdtrit(len(blocks) - 1, 1 - level)) ** 2)
        below, above = _places(count, effective, share, level)
        lower.append(None if below is None else float(everything[below]))
        reached = None if above is None else float(everything[above])
        upper.append(None if reached is None or reached >= censored else reached)
    return estimate, Table(levels=LEVELS, lower=tuple(lower), upper=tuple(upper))


def rising(blocks: Sequence[Floats], *, rate: float) -> float:
    """By what share of each second latencies grew within the blocks; 0 where they surely didn't, or too little to tell.

    Requests that come faster than they are answered wait longer and longer (by 1 - answered / due), so how long they
    waited in a block tells how long the block was. Of each block the last quarter is held against the second: the
    first sees a queue come about that stands afterwards. Student-t over the blocks, one-sided at 1 %.
    """
    if len(blocks) < MIN_BLOCKS or min(map(len, blocks)) < 8:
        return 0.0
    growths = []
    for block in blocks:
        quarter = len(block) / 4
        early, late = block[int(quarter) : int(2 * quarter)].mean(), block[int(3 * quarter) :].mean()
        growths.append(float(late - early) / (2 * quarter / rate))
    mean, error = float(np.mean(growths)), float(np.std(growths, ddof=1)) / math.sqrt(len(growths))
    return mean if mean > max(BACKLOG, float(stdtrit(len(growths) - 1, 0.99)) * error) else 0.0


def _design_effect(blocks: Sequence[Floats], threshold: float) -> float:
    """How many times the variance of the share above `threshold` exceeds that of independent requests; at least 1."""
    sizes = np.array([len(block) for block in blocks], dtype=np.float64)
    above = np.array([np.count_nonzero(block > threshold) for block in blocks], dtype=np.float64)
    count = float(sizes.sum())
    share = float(above.sum()) / count
    if share in (0.0, 1.0):
        return 1.0
    residuals = above - share * sizes  # of the ratio estimator, for blocks that differ in size
    variance = len(blocks) / (len(blocks) - 1) * float((residuals**2).sum()) / count**2
    return max(1.0, variance / (share * (1 - share) / count))


def _places(count: int, effective: float, share: float, level: float) -> tuple[int | None, int | None]:
    """Indices of the order statistics that are the lower and upper limit; None where the sample is too small.

    At most i of `count` latencies lie at or below the i-th smallest. If, at `level`, that refutes that more than
    `share` do, it is a lower limit; if it refutes that fewer do, an upper one. Both tests are monotone in i.
    """

    def refutes_fewer(smallest: int) -> bool:
        rank = smallest / count * effective
        return rank > 0 and bool(betainc(rank, effective - rank + 1, share) <= level)

    def allows_more(smallest: int) -> bool:
        rank = smallest / count * effective
        return rank >= effective or bool(1 - betainc(rank + 1, effective - rank, share) > level)

    places = range(count + 1)
    above = bisect_left(places, True, key=refutes_fewer)
    below = bisect_left(places, True, key=allows_more) - 1
    return (below if below >= 0 else None), (above - 1 if above <= count else None)
