"""How often the sample-ratio check is wrong, and how soon it is right, by simulation with a look at every draw.

    python -m tests.peers.ratio --repeats 20000

A path is a step whose draws come one by one. It is called wrong where `ratio` says `False` after any of them; with
shares that are right that may happen in at most ALPHA of paths. Beside it, the chi-square test that is usually taken,
looked at as often.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from mandate.api.moments import stamp
from mandate.evidence.live import Drawn
from mandate.rollout.ratio import ALPHA, Divided, ratio
from mandate.rollout.state import Holder, Rung

DRAWS = 10_000
Hits = NDArray[np.bool_]
Draw = Callable[[np.random.Generator, tuple[int, int]], Hits]


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """For 1, 2, … draws: called wrong from `most` of them on, and down to `least`."""

    least: NDArray[np.int64]
    most: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Share of paths that were called wrong at any draw; after how many draws half of all paths were, if they were."""

    wrong: float
    median: float
    repeats: int

    def tolerated(self) -> bool:
        """Within ALPHA, up to three standard errors of a simulated share."""
        return self.wrong <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / self.repeats)


def boundary(share: Fraction, draws: int) -> Boundary:
    """Where the verdict turns, found by asking it: with one draw more, each end moves by at most one."""
    holder = Holder(revision="new", version="2", since=0, stepped=0, rung=Rung("Automate", 10), begun=0)
    step = Divided(holder=holder, others=("old",), share=share, since=0)

    def wrong(mine: int, every: int) -> bool:
        units = {"new": mine, "old": every - mine}
        undrawn = dict.fromkeys(units, 0)
        counted = Drawn(
            namespace="n", model="m", since=stamp(0), until=stamp(1), units=units, several=0, undrawn=undrawn
        )
        return ratio(step, counted, mute=()).status == "False"

    least, most = np.full(draws, -1), np.full(draws, 1)
    low, high = -1, 1
    for every in range(1, draws + 1):
        expected = int(every * share)
        while high <= every and (high <= expected or not wrong(high, every)):
            high += 1
        while low + 1 < expected and wrong(low + 1, every):
            low += 1
        least[every - 1], most[every - 1] = low, high
    return Boundary(least=least, most=most)


def score(where: Boundary, draw: Draw, *, repeats: int, seed: int) -> Score:
    """Draw paths and look after every draw."""
    rng = np.random.default_rng(seed)
    firsts: list[float] = []
    draws = len(where.most)
    while len(firsts) < repeats:
        sums = draw(rng, (min(200, repeats - len(firsts)), draws)).cumsum(axis=1)
        firsts += _firsts((sums >= where.most) | (sums <= where.least))
    return _score(firsts)


def chi_square(share: float, *, draws: int, repeats: int, seed: int) -> Score:
    """The usual test at p < ALPHA, from 100 draws on, looked at after every draw, with shares that are right."""
    rng = np.random.default_rng(seed)
    every = np.arange(1, draws + 1)
    firsts: list[float] = []
    while len(firsts) < repeats:
        sums = (rng.random((min(200, repeats - len(firsts)), draws)) < share).cumsum(axis=1)
        statistic = (sums - every * share) ** 2 / (every * share * (1 - share))
        firsts += _firsts((statistic > chi2.ppf(1 - ALPHA, 1)) & (every >= 100))
    return _score(firsts)


def _firsts(wrong: Hits) -> list[float]:
    return [float(row.argmax() + 1) if row.any() else math.inf for row in wrong]


def _score(firsts: list[float]) -> Score:
    wrong = sum(map(math.isfinite, firsts)) / len(firsts)
    return Score(wrong=wrong, median=float(np.quantile(firsts, 0.5, method="higher")), repeats=len(firsts))


def bernoulli(share: float) -> Draw:
    """Each draw by itself."""
    return lambda rng, shape: rng.random(shape) < share


def hashed(share: float) -> Draw:
    """As a gateway does that hashes: an entity's digest modulo a million says where it goes."""

    def place(salt: int, entity: int) -> bool:
        digest = hashlib.sha256(f"{salt}/customer-{entity}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % 1_000_000 < share * 1_000_000

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Hits:
        salts = rng.integers(2**62, size=shape[0])
        return np.array([[place(int(salt), entity) for entity in range(shape[1])] for salt in salts])

    return draw


def requests_of(entities: Draw, *, each: int) -> Draw:
    """What counting requests would see where entities are drawn: runs of `each` requests that go one way."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Hits:
        drawn = entities(rng, (shape[0], math.ceil(shape[1] / each)))
        return np.repeat(drawn, each, axis=1)[:, : shape[1]]

    return draw


def main(arguments: Sequence[str] | None = None) -> int:
    """Print false alarms and delays; 1 where false alarms are too many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=20260)
    options = parser.parse_args(arguments)
    bad = 0
    for share, others in ((Fraction(1, 10), (0.05, 0.08, 0.12, 0.15)), (Fraction(1, 2), (0.45, 0.48, 0.4))):
        where, right = boundary(share, options.draws), float(share)
        false = score(where, bernoulli(right), repeats=options.repeats, seed=options.seed)
        bad += not false.tolerated()
        print(f"{right:g} declared and true: {false.wrong:.3%} of {false.repeats} paths called wrong")
        chi = chi_square(right, draws=options.draws, repeats=options.repeats // 10, seed=options.seed)
        print(f"{right:g} declared and true, chi-square: {chi.wrong:.2%} of {chi.repeats}")
        runs = score(where, requests_of(bernoulli(right), each=5), repeats=options.repeats // 10, seed=options.seed)
        print(f"{right:g} declared and true, entities of 5 requests counted as requests: {runs.wrong:.2%}")
        for other in others:
            found = score(where, bernoulli(other), repeats=options.repeats // 10, seed=options.seed)
            print(f"{right:g} declared, {other:g} true: {found.wrong:.1%} found, half after {found.median:g} draws")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
