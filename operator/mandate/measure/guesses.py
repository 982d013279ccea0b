"""Random guesses: one per row, from its key and a seed, so that neither the rows' order nor a library decides them.

Labels are drawn; probabilities are the chances they are drawn with. So wherever a guess's expected number is exact
(log loss, Brier score, ROC AUC of probabilities) that number is taken, and numbers made of labels carry the draw's
own noise in their paired interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import Floats
from .split import Keys

_STEP = 0x9E3779B97F4A7C15


def draws(keys: Keys, part: NDArray[np.int8], *, seed: int) -> Floats:
    """One number per row, uniform over [0, 1); rows with one key in one part draw one after the other.

    SplitMix64's finaliser on the row's key (Steele, Lea & Flood 2014); its upper 53 bits are the number.
    """
    order = np.lexsort((part, keys))
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = (np.diff(keys[order]) != 0) | (np.diff(part[order]) != 0)
    start = np.flatnonzero(first)
    turn = np.empty(len(keys), dtype=np.uint64)
    turn[order] = np.arange(len(keys)) - np.repeat(start, np.diff([*start, len(keys)]))
    salt = mixed(np.array([seed + 1], dtype=np.uint64) * np.uint64(_STEP))
    return np.asarray((mixed(mixed(keys ^ salt) + turn * np.uint64(_STEP)) >> np.uint64(11)) * 2.0**-53)


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: each bit of the result depends on all of the value's."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniform(drawn: Floats, *, binary: bool, classes: int) -> tuple[NDArray[Any], Floats]:
    """Every class as likely as any other: labels and probabilities."""
    if binary:
        return drawn < 0.5, np.full(len(drawn), 0.5)
    return (drawn * classes).astype(np.intp), np.full((len(drawn), classes), 1.0 / classes)


def stratified(drawn: Floats, prior: Floats) -> NDArray[Any]:
    """Every class as likely as the training rows have it; `prior` as `baselines.prior` gives it."""
    if prior.ndim == 1:
        return np.asarray(drawn < prior)
    upto = np.cumsum(prior[0]) if len(prior) else np.zeros(0)
    # Rounding may leave the sum below 1: what is drawn beyond it is of the last class that occurs.
    last = int(np.flatnonzero(prior[0])[-1]) if len(prior) else 0
    return np.minimum(np.searchsorted(upto, drawn, side="right"), last).astype(np.intp)
