"""Limits against an independent path: SciPy's distributions, statsmodels, and published figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from mandate.evidence.intervals import Beta, Paired, StudentT, Table
from mandate.verdict.limits import (
    beta_limits,
    contrast_limits,
    growth_to_decide,
    proportion_sample_size,
    student_limits,
    table_limits,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (63, 100), (999, 1000)])
def test_clopper_pearson_agrees_with_statsmodels(k: int, n: int) -> None:
    expected = proportion_confint(k, n, alpha=0.05, method="beta")
    assert beta_limits(Beta(successes=k, trials=n), 0.025) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(3, 20), (17, 20), (50, 80)])
def test_clopper_pearson_inverts_the_exact_binomial_test(k: int, n: int) -> None:
    lower, upper = beta_limits(Beta(successes=k, trials=n), 0.0125)
    assert binom.sf(k - 1, n, lower) == pytest.approx(0.0125, rel=1e-9)
    assert binom.cdf(k, n, upper) == pytest.approx(0.0125, rel=1e-9)


def test_student_limits_on_the_logit_scale_stay_inside() -> None:
    centre = math.log(0.9 / 0.1)
    lower, upper = student_limits(StudentT(link="Logit", centre=centre, se=2.0, df=5), 0.0125)
    assert 0 < lower < 0.9 < upper < 1


def test_student_limits_use_published_t() -> None:
    # t(0.975; 10) = 2.228139 (any table of Student's t).
    lower, upper = student_limits(StudentT(link="Identity", centre=1.0, se=1.0, df=10), 0.025)
    assert (1 - lower, upper - 1) == pytest.approx((2.2281388519649385,) * 2, abs=1e-9)


def test_a_table_takes_the_next_stricter_level() -> None:
    table = Table(levels=(0.025, 0.0125, 0.004), lower=(3.0, 2.0, None), upper=(4.0, 5.0, 6.0))
    assert table_limits(table, 0.02) == (2.0, 5.0)
    assert table_limits(table, 0.004) == (-math.inf, 6.0)
    assert table_limits(table, 0.001) == (-math.inf, math.inf)


@pytest.mark.row("B3/paired")
def test_contrast_of_paired_values_uses_the_covariance() -> None:
    paired = Paired(a=0.8, b=0.7, var_a=0.0004, var_b=0.0005, cov=0.0003, df=1e6)
    limits = contrast_limits(paired, 0.025, direction=1, margin=0.0, relative=False)
    half = 1.959966 * math.sqrt(0.0004 + 0.0005 - 2 * 0.0003)
    assert limits == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)


@pytest.mark.row("B3/margin")
def test_relative_margin_on_a_negative_reference_divides_by_its_magnitude() -> None:
    # R² of -0.5 against -1: better by 0.5, which is 50 % of |-1|; the lead over 10 % is 0.4.
    paired = Paired(a=-0.5, b=-1.0, var_a=1e-6, var_b=1e-6, cov=0.0, df=1e6)
    limits = contrast_limits(paired, 0.025, direction=1, margin=0.1, relative=True)
    assert limits is not None
    assert sum(limits) / 2 == pytest.approx(0.4)


def test_perfectly_correlated_values_have_no_honest_limits() -> None:
    paired = Paired(a=0.8, b=0.7, var_a=0.0004, var_b=0.0004, cov=0.0004, df=100)
    assert contrast_limits(paired, 0.025, direction=1, margin=0.0, relative=False) is None


@pytest.mark.row("T5/rows-needed")
def test_sample_size_agrees_with_the_published_figure() -> None:
    # recall >= 0.70 with true 0.75 at one-sided 2.5 % and 80 % power takes about 637 positives.
    assert proportion_sample_size(limit=0.70, estimate=0.75, alpha=0.025) == pytest.approx(637, abs=1)


@pytest.mark.row("T5/rows-needed")
def test_growth_has_the_stated_power() -> None:
    # With the grown sample the standard error shrinks so that the test decides with 80 % power.
    growth = growth_to_decide(gap=1.0, se=1.0, alpha=0.025)
    assert 1.0 * math.sqrt(growth) == pytest.approx(1.959964 + 0.841621, abs=1e-5)


@given(k=st.integers(0, 300), extra=st.integers(0, 300), alpha=st.floats(1e-6, 0.2), tighter=st.floats(0.01, 0.99))
def test_a_smaller_alpha_never_narrows(k: int, extra: int, alpha: float, tighter: float) -> None:
    interval = Beta(successes=k, trials=max(k + extra, 1))
    wide, narrow = beta_limits(interval, alpha * tighter), beta_limits(interval, alpha)
    assert wide[0] <= narrow[0] + 1e-12
    assert wide[1] >= narrow[1] - 1e-12


def test_student_limits_on_the_scale_of_what_is_left_stay_below_one() -> None:
    lower, upper = student_limits(StudentT(link="LogComplement", centre=-math.log(1 - 0.9), se=0.5, df=1e9), 0.025)
    assert lower == pytest.approx(1 - 0.1 * math.exp(0.5 * 1.959963984540054), rel=1e-9)
    assert upper == pytest.approx(1 - 0.1 * math.exp(-0.5 * 1.959963984540054), rel=1e-9)
