"""A small, seeded run of the anytime simulation; `python -m tests.peers.anytime` is the whole of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mandate.verdict.anytime import bounded_limits, mean_limits
from mandate.verdict.limits import normal_quantile
from tests.peers import anytime

CELLS = [cell for cell in anytime.cells() if cell.name in ("Bernoulli 0.05", "Beta(0.2, 1.8)", "normal", "exponential")]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_limits_are_wrong_at_any_row_no_more_often_than_they_may_be(cell: anytime.Cell) -> None:
    result = anytime.score(cell, repeats=200, rows=anytime.ROWS, seed=1)
    assert result.tolerated(), result
    assert result.limited > 0.9, "without limits, nothing above would say anything"


def test_the_check_sees_limits_that_hold_for_one_look_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits of a single look, the same simulation objects."""

    def once(*, rows: float, total: float, squares: float, least: float, greatest: float, alpha: float):
        reach = -normal_quantile(alpha) / math.sqrt(rows)
        return (-reach, reach) if rows >= 500 else (-math.inf, math.inf)

    monkeypatch.setattr(anytime, "mean_limits", once)
    assert not anytime.score(anytime.unbounded("normal"), repeats=200, rows=5000, seed=1).tolerated()


def test_critical_sums_are_where_the_limits_change_sides() -> None:
    sums = anytime.critical_sums(0.2, 300, alpha=anytime.ALPHA)
    for rows in (10, 57, 300):
        above, below = sums[rows - 1] + 1e-6, sums[rows - 1] - 1e-6
        assert bounded_limits(rows=rows, total=above, alpha=anytime.ALPHA)[0] > 0.2
        assert bounded_limits(rows=rows, total=below, alpha=anytime.ALPHA)[0] < 0.2


def test_simulated_paths_and_limits_agree() -> None:
    """What the simulation counts is what `mean_limits` says of the same rows."""
    cell, rows = anytime.unbounded("exponential"), 700
    reach = anytime.critical_means(rows, alpha=anytime.ALPHA)
    for values in cell.draw(np.random.default_rng(3), (50, rows)):
        far = max(values.max() - values.mean(), values.mean() - values.min())
        usual = far**2 <= anytime.LARGEST_SHARE * values.var(ddof=1) * rows
        limits = mean_limits(
            rows=rows,
            total=float(values.sum()),
            squares=float((values**2).sum()),
            least=float(values.min()),
            greatest=float(values.max()),
            alpha=anytime.ALPHA,
        )
        assert limits is not None
        expected = values.mean() + reach[-1] * values.std(ddof=1) if usual else math.inf
        assert limits[1] == pytest.approx(expected, rel=1e-9)
