"""How often latency limits are wrong, by simulation: the figures of docs/decisions/0004.

    PYTHONPATH=operator .venv/bin/python tests/bench/latency_limits.py [repeats]

Prints, per cell, how often the upper limit fell below the true quantile (a wrong pass), the lower one above it (a
wrong fail), and how often there was no upper limit; for two usual intervals beside ours.
"""

import itertools
import sys

import numpy as np
from scipy import stats

from mandate.inference.latency import LEVELS, quantile

CORRELATIONS = (0.0, 0.5, 0.9, 0.97)
SHAPES = ((10, 200), (20, 100), (20, 200))
SHARES = (0.5, 0.95, 0.99)
PLACE = 0
LEVEL = LEVELS[PLACE]


def blocks_of(random, count, size, rho):
    """Independent blocks of a stationary AR(1) process with standard normal margins."""
    values = random.standard_normal((count, size))
    for index in range(1, size):
        values[:, index] = rho * values[:, index - 1] + np.sqrt(1 - rho**2) * values[:, index]
    return values


def ours(blocks, share):
    _, interval = quantile(list(blocks), share, censored=np.inf)
    return interval.lower[PLACE], interval.upper[PLACE]


def order_statistics(blocks, share):
    every = np.sort(blocks, axis=None)
    low, high = stats.binom.ppf([LEVEL, 1 - LEVEL], every.size, share).astype(int)
    return every[low - 1], every[min(high, every.size - 1)]


def averaged(blocks, share):
    own = np.quantile(blocks, share, axis=1, method="inverted_cdf")
    reach = stats.t.ppf(1 - LEVEL, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
    return own.mean() - reach, own.mean() + reach


def main(repeats: int) -> None:
    print(f"level {LEVEL:g}, {repeats} repeats; wrong passes / wrong fails / no upper limit, in %")
    for rho, (count, size), share in itertools.product(CORRELATIONS, SHAPES, SHARES):
        truth = stats.norm.ppf(share)
        cells = []
        for method in (ours, order_statistics, averaged):
            random = np.random.default_rng([int(100 * rho), count, size, int(100 * share)])
            found = [method(blocks_of(random, count, size, rho), share) for _ in range(repeats)]
            passed = np.mean([upper is not None and upper < truth for _, upper in found])
            failed = np.mean([lower is not None and lower > truth for lower, _ in found])
            none = np.mean([upper is None for _, upper in found])
            cells.append(f"{method.__name__} {100 * passed:.1f} / {100 * failed:.1f} / {100 * none:.0f}")
        print(f"rho {rho:<4} {count} x {size} p{100 * share:g}: " + "   ".join(cells), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
