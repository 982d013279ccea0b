"""How little a variance may be taken for: what is seen of heavy rows and large clusters says little about them.

A variance from contributions is, above all, that of the few which count most. Where those happen to be alike, it is far
too small, and nothing in it tells: limits were wrong up to 30 % of the time instead of 2.5 % (decision 0039). So
what light rows and small clusters show is taken to hold for heavy and large ones, too.

And blocks of time that are taken for independent may still resemble their neighbours, each so little that only sums
over many of them tell (decision 0041).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .metrics import Floats

Codes = NDArray[np.intp]


def of_rows(psi: Floats, weight: Floats, stratum: Codes) -> float:
    """Variance of the mean of `psi` (n,) if rows differed as much whatever their `weight` (n,), which is in `psi`.

    The weighted variance over Kish's number of rows (1965), stratum by stratum; -1 are rows that don't count.
    """
    counted = stratum >= 0
    code, heavy, values = stratum[counted], weight[counted], psi[counted]
    with np.errstate(over="ignore"):  # limits of numbers as large as that are refused elsewhere
        mass, squares, spread = (np.bincount(code, weights=each) for each in (heavy, heavy**2, values**2 / heavy))
    return float((squares / np.where(mass > 0, mass, 1.0)) @ spread) / len(psi) ** 2


def of_clusters(psi: Floats, weight: Floats | None, counted: NDArray[np.bool_], clusters: Codes, rows: float) -> float:
    """Variance of the mean of `psi` (n,) if rows of a cluster were as like each other whatever the cluster's size.

    `clusters` (n,) are codes, `rows` is the least that the variance may be as if rows were independent. How like two
    rows of a cluster are is asked of each cluster, which has a say by its weight and not by the square of that, as its
    pairs of rows do.
    """
    found = int(np.count_nonzero(np.bincount(clusters[counted])))
    if found < 2:
        return 0.0
    weight = np.ones(len(psi)) if weight is None else weight
    heavy = np.where(counted, weight, 0.0)
    with np.errstate(over="ignore"):
        sums, own, mass, squares = (np.bincount(clusters, weights=each) for each in (psi, psi**2, heavy, heavy**2))
    pairs = mass**2 - squares
    several = pairs > 1e-9 * mass**2
    likeness = 0.0
    if several.any():
        with np.errstate(over="ignore", invalid="ignore"):
            each = (sums**2 - own)[several] / pairs[several]
        likeness = float(mass[several] @ each) / float(mass[several].sum())
    scale = found / (found - 1) / len(psi) ** 2
    return max(scale * float(own.sum()), rows) + scale * likeness * float(pairs.sum())


def of_blocks(psi: Floats, block: Codes) -> float:
    """Variance of the mean of `psi` (n,), whose sum is 0, if blocks near each other are as alike as they seem.

    `block` (n,) are codes that rise with time. Of b blocks, sums over all windows of w = √b in a row, taken as a ring:
    the products of blocks up to so far apart, the farther the less (Newey & West 1987). A line over time is taken away
    first, since errors that grow resemble each other for no chance; the windows of what is left are smaller for that
    and for the mean. They tell as much as 3b/2w independent ones, for which limits by Student's t would be wider by the
    root of 1 + 2w/b at z = 2.24, the first look's share. Both are made up for.
    """
    found = np.flatnonzero(np.bincount(block))
    count = len(found)
    if count < 3:
        return 0.0
    width = min(math.ceil(math.sqrt(count)), count // 2)
    line: Floats = np.arange(count, dtype=np.float64) - (count - 1) / 2
    line /= math.sqrt(line @ line)
    left = count * width * (1.0 - width / count) - _windows(line, width)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.bincount(block, weights=psi)[found] / len(psi)
        return _windows(sums - line * (line @ sums), width) * count / left * (1.0 + 2.0 * width / count)


def _windows(values: Floats, width: int) -> float:
    """Sum of the squares of the sums of all `width` values in a row, the first following the last."""
    until = np.cumsum(np.concatenate([[0.0], values, values[:width]]))
    sums = until[width : width + len(values)] - until[: len(values)]
    return float(sums @ sums)
