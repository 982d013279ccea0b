"""The sample-ratio check, by simulation with a look at every draw."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from mandate.rollout.ratio import ALPHA, limits
from tests.peers.ratio import bernoulli, boundary, chi_square, hashed, requests_of, score


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(1, 2)])
def test_false_alarms_stay_below_alpha_however_often_one_looks(share: Fraction) -> None:
    where = boundary(share, 1_500)
    found = score(where, bernoulli(float(share)), repeats=20_000, seed=1)
    assert found.tolerated(), found


def test_a_hash_of_entities_is_as_good_as_a_draw() -> None:
    found = score(boundary(Fraction(1, 10), 1_000), hashed(0.1), repeats=400, seed=2)
    assert found.tolerated(), found


def test_why_it_is_neither_a_chi_square_nor_about_requests() -> None:
    assert chi_square(0.1, draws=1_500, repeats=2_000, seed=3).wrong > 5 * ALPHA
    where = boundary(Fraction(1, 10), 1_500)
    assert score(where, requests_of(bernoulli(0.1), each=5), repeats=2_000, seed=4).wrong > 20 * ALPHA


@pytest.mark.parametrize(("true", "draws"), [(0.2, 1_000), (0.02, 1_000), (0.0, 500)])
def test_wrong_shares_are_found(true: float, draws: int) -> None:
    found = score(boundary(Fraction(1, 10), draws), bernoulli(true), repeats=500, seed=5)
    assert found.wrong > 0.95, found


@pytest.mark.parametrize(("units", "mine"), [(40, 12), (300, 30), (1_000, 140), (5_000, 2_600)])
def test_the_limits_are_where_the_average_likelihood_ratio_says(units: int, mine: int) -> None:
    """By numerical integration of the ratio over all larger shares, where the product has closed forms."""
    lower, _ = limits(units=units, mine=mine)

    def evidence(declared: float) -> float:
        def ratio(share: float) -> float:
            up = mine * math.log(share / declared)
            return math.exp(up + (units - mine) * math.log((1 - share) / (1 - declared)))

        near = beta(mine + 1, units - mine + 1).ppf([1e-12, 0.5, 1 - 1e-12])
        inner = [point for point in near if declared < point < 1]
        return float(quad(ratio, declared, 1 - 1e-15, points=inner or None, limit=500)[0]) / (1 - declared)

    assert evidence(lower) == pytest.approx(2 / ALPHA, rel=1e-4)
    upper = limits(units=units, mine=mine)[1]
    assert np.isclose(1 - limits(units=units, mine=units - mine)[0], upper)
