"""How little a variance may be taken for: what is seen of heavy rows and large clusters says little about them.

A variance from contributions is, above all, that of the few which count most. Where those happen to be alike, it is far
too small, and nothing in it tells: limits were wrong up to 30 % of the time instead of 2.5 % (decision 0039). So
what light rows and small clusters show is taken to hold for heavy and large ones, too.
"""

from __future__ import annotations

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
