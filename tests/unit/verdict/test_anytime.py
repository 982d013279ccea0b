"""Anytime limits against direct integration of the mixtures, exact expectations, and seeded paths."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaincc

from mandate.evidence.intervals import Beta
from mandate.verdict.anytime import (
    BURN_IN,
    bounded_limits,
    bounded_rows_to_decide,
    log_evidence,
    mean_limits,
    mean_rows_to_decide,
)
from mandate.verdict.limits import beta_limits

ALPHA = 0.025


def integrated(mean: float, rows: float, total: float) -> float:
    """ln E(mean) by integrating the likelihood ratio over q in (mean, 1], scaled to 1 at its largest."""

    def log_ratio(q: float) -> float:
        gain = total * math.log(q / mean) if total else 0.0
        return gain + ((rows - total) * math.log((1 - q) / (1 - mean)) if rows > total else 0.0)

    centre = min(max(total / rows, mean), 1.0)
    width = math.sqrt(max(centre * (1 - centre), 1 / rows) / rows)
    scale = log_ratio(min(max(centre, mean * (1 + 1e-15)), 1 - 1e-15))
    ends = sorted({mean, 1.0, *(min(max(centre + k * width, mean), 1.0) for k in range(-12, 13))})
    parts = [
        quad(lambda q: math.exp(log_ratio(q) - scale), low, high, epsabs=0, epsrel=1e-12)[0]
        for low, high in pairwise(ends)
    ]
    return scale + math.log(math.fsum(parts)) - math.log(1 - mean)


@pytest.mark.parametrize(
    ("rows", "total", "mean"),
    [
        (1, 1, 0.3),
        (10, 7, 0.2),
        (10, 2.25, 0.4),
        (100, 5, 0.01),
        (100, 5, 0.2),
        (500, 312.5, 0.55),
        (2000, 1990, 0.97),
        (10_000, 480, 0.04),
        (100_000, 51_000, 0.5),
    ],
)
def test_evidence_is_the_integral_of_the_mixture(rows: float, total: float, mean: float) -> None:
    assert log_evidence(mean, rows=rows, total=total) == pytest.approx(integrated(mean, rows, total), abs=1e-9)


@pytest.mark.parametrize(
    ("rows", "total"), [(10, 9), (37, 12.34), (500, 25), (500, 488), (4000, 2000), (20_000, 19_900.5)]
)
def test_limits_stand_where_the_integral_reaches_one_over_alpha(rows: float, total: float) -> None:
    lower, upper = bounded_limits(rows=rows, total=total, alpha=ALPHA)
    assert integrated(lower, rows, total) == pytest.approx(-math.log(ALPHA), abs=1e-9)
    assert integrated(1 - upper, rows, rows - total) == pytest.approx(-math.log(ALPHA), abs=1e-9)


@given(
    rows=st.integers(0, 300),
    share=st.floats(0, 1),
    mean=st.floats(0.01, 0.99),
    size=st.floats(0, 1),
)
def test_no_row_of_a_mean_that_small_adds_evidence_on_average(
    rows: int, share: float, mean: float, size: float
) -> None:
    """The supermartingale itself: exactly level for all-or-nothing rows of this mean, never rising for others."""

    before = log_evidence(mean, rows=rows, total=rows * share)
    # Where the mixture's tail leaves the range of floats, evidence is far too small to decide anything, and inexact.
    assume(betaincc(rows * share + 2, rows * (1 - share) + 2, mean) > 1e-280)

    def gained(value: float) -> float:
        return math.exp(log_evidence(mean, rows=rows + 1, total=min(rows * share + value, rows + 1)) - before)

    assert mean * gained(1) + (1 - mean) * gained(0) == pytest.approx(1, rel=1e-9)
    # Any other row: two values around a mean that is at most `mean`.
    low, high = mean * (1 - size), mean + (1 - mean) * size * 0.5
    weight = (mean - low) / (high - low) if high > low else 0.0
    assert weight * gained(high) + (1 - weight) * gained(low) <= 1 + 1e-9
    assert gained(low) <= 1 + 1e-9 or low > mean


@given(rows=st.integers(1, 100_000), share=st.floats(0, 1), alpha=st.floats(1e-6, 0.2))
def test_limits_enclose_the_mean_and_are_wider_than_a_single_look_s(rows: int, share: float, alpha: float) -> None:
    total = round(rows * share)
    lower, upper = bounded_limits(rows=rows, total=total, alpha=alpha)
    once = beta_limits(Beta(successes=total, trials=rows), alpha)
    assert 0 <= lower <= once[0] <= total / rows <= once[1] <= upper <= 1
    mirrored = bounded_limits(rows=rows, total=rows - total, alpha=alpha)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((lower, upper), abs=1e-12)


def test_nothing_seen_says_nothing() -> None:
    assert bounded_limits(rows=0, total=0, alpha=ALPHA) == (0.0, 1.0)
    assert bounded_limits(rows=100, total=0, alpha=ALPHA)[0] == 0.0
    assert bounded_limits(rows=100, total=100, alpha=ALPHA)[1] == 1.0
    assert bounded_limits(rows=1e9, total=1e-6, alpha=ALPHA)[0] == 0.0


@pytest.mark.parametrize(("rows", "total", "alpha"), [(10, 11, 0.025), (10, -1, 0.025), (-1, 0, 0.025), (10, 5, 0.4)])
def test_what_cant_be_is_refused(rows: float, total: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="got"):
        bounded_limits(rows=rows, total=total, alpha=alpha)


def half_normal_mixture(z: float, rows: float, prior: float) -> float:
    """Integral of exp(l s - l^2 n / 2) over l > 0 with density 2 N(0, 1 / prior), at s = z sqrt(n + prior)."""
    s = z * math.sqrt(rows + prior)
    peak = max(s / (rows + prior), 0.0)
    width = 1 / math.sqrt(rows + prior)
    scale = peak * s - peak**2 * (rows + prior) / 2

    def density(x: float) -> float:
        return 2 * math.sqrt(prior / (2 * math.pi)) * math.exp(x * s - x**2 * (rows + prior) / 2 - scale)

    ends = sorted({0.0, *(max(peak + k * width, 0.0) for k in range(-12, 13))})
    parts = [quad(density, low, high, epsabs=0, epsrel=1e-12)[0] for low, high in pairwise(ends)]
    return scale + math.log(math.fsum(parts))


@pytest.mark.parametrize("rows", [BURN_IN, 2000, 30_000, 1_000_000])
@pytest.mark.parametrize("alpha", [0.025, 0.001])
def test_asymptotic_limits_stand_where_the_normal_mixture_reaches_one_over_alpha(rows: int, alpha: float) -> None:
    limits = mean_limits(rows=rows, total=0.0, squares=rows - 1.0, least=-2.0, greatest=2.0, alpha=alpha)
    assert limits is not None
    log_square = -2 * math.log(2 * alpha)
    prior = 4 * BURN_IN / (log_square + math.log(1 + log_square))
    z = limits[1] * rows / math.sqrt(rows + prior)
    assert half_normal_mixture(z, rows, prior) == pytest.approx(-math.log(alpha), abs=1e-9)
    assert limits[0] == -limits[1]


def test_an_asymptotic_limit_waits_for_enough_rows_and_for_none_to_stand_out() -> None:
    values = np.random.default_rng(5).normal(3.0, 2.0, BURN_IN)
    sums = {"total": float(values.sum()), "squares": float((values**2).sum())}
    ends = {"least": float(values.min()), "greatest": float(values.max())}
    assert mean_limits(rows=BURN_IN - 1, **sums, **ends, alpha=ALPHA) == (-math.inf, math.inf)
    limits = mean_limits(rows=BURN_IN, **sums, **ends, alpha=ALPHA)
    assert limits is not None
    assert limits[0] < 3.0 < limits[1]
    assert mean_limits(rows=BURN_IN, **sums, least=0.0, greatest=30.0, alpha=ALPHA) == (-math.inf, math.inf)


def test_values_that_dont_vary_have_no_limits() -> None:
    rows = 1000
    assert mean_limits(rows=rows, total=0.0, squares=0.0, least=0.0, greatest=0.0, alpha=ALPHA) is None
    assert mean_limits(rows=rows, total=0.1 * rows, squares=0.01 * rows, least=0.1, greatest=0.1, alpha=ALPHA) is None


def test_a_share_is_decided_by_the_rows_foretold() -> None:
    rows = int(bounded_rows_to_decide(limit=0.05, estimate=0.03, alpha=ALPHA))
    sums = np.random.default_rng(11).binomial(rows, 0.03, 400)
    below = [bounded_limits(rows=rows, total=int(total), alpha=ALPHA)[1] < 0.05 for total in sums]
    assert 0.7 < sum(below) / len(below) < 0.9


def test_a_mean_is_decided_by_the_rows_foretold() -> None:
    rows = int(mean_rows_to_decide(gap=0.1, sd=1.0, alpha=ALPHA))
    values = np.random.default_rng(12).normal(0.1, 1.0, (400, rows))
    decided = 0
    for row in values:
        limits = mean_limits(
            rows=rows,
            total=float(row.sum()),
            squares=float((row**2).sum()),
            least=float(row.min()),
            greatest=float(row.max()),
            alpha=ALPHA,
        )
        decided += limits is not None and limits[0] > 0
    assert 0.7 < decided / len(values) < 0.9


@given(limit=st.floats(0.01, 0.99), near=st.floats(0.01, 0.4), far=st.floats(1.2, 2))
def test_a_wider_gap_takes_fewer_rows(limit: float, near: float, far: float) -> None:
    towards = 1.0 if limit < 0.5 else -1.0
    first = bounded_rows_to_decide(limit=limit, estimate=limit + towards * near / 2, alpha=ALPHA)
    second = bounded_rows_to_decide(limit=limit, estimate=limit + towards * near * far / 2, alpha=ALPHA)
    assert second <= first * 1.02 + 1


def test_on_the_limit_no_number_of_rows_decides() -> None:
    assert bounded_rows_to_decide(limit=0.05, estimate=0.05, alpha=ALPHA) == math.inf
    assert bounded_rows_to_decide(limit=0.0, estimate=0.2, alpha=ALPHA) == math.inf
    assert mean_rows_to_decide(gap=0.0, sd=1.0, alpha=ALPHA) == math.inf
    assert mean_rows_to_decide(gap=0.1, sd=0.0, alpha=ALPHA) == BURN_IN
