"""A small, seeded run of the coverage simulation; `python -m tests.peers.coverage` is the whole of it."""

from __future__ import annotations

import pytest

from tests.peers import coverage

REPEATS = 400


@pytest.mark.parametrize(
    "cell",
    [
        lambda: coverage.binary_cell(rows=50, prevalence=0.5, distance=2.66),
        lambda: coverage.binary_cell(rows=200, prevalence=0.1, distance=2.66),
        lambda: coverage.binary_cell(rows=1000, prevalence=0.02, distance=1.0, sharpness=2.0),
        lambda: coverage.binary_cell(rows=200, prevalence=0.5, distance=1.2, rival=0.9),
        lambda: coverage.regression_cell(rows=50, residuals="lognormal"),
        lambda: coverage.regression_cell(rows=200, residuals="t3"),
        lambda: coverage.regression_cell(rows=1000, residuals="t3", rival=True),
        lambda: coverage.cluster_cell(clusters=100, size=10, likeness=0.2, prevalence=0.5),
    ],
)
def test_limits_are_wrong_no_more_often_than_they_may_be(cell):
    scores = coverage.score(cell(), repeats=REPEATS, seed=1)
    assert all(map(coverage.tolerated, scores)), [score for score in scores if not coverage.tolerated(score)]


def test_the_check_sees_limits_that_are_too_narrow(monkeypatch):
    """With half the standard error, the same simulation objects."""
    from mandate.measure import uncertainty

    contributions = uncertainty.contributions

    def narrow(point, clusters):
        spread = contributions(point, clusters)
        return uncertainty.Spread(spread.units / 2, spread.freedom)

    monkeypatch.setattr(uncertainty, "contributions", narrow)
    scores = coverage.score(coverage.binary_cell(rows=200, prevalence=0.5, distance=1.0), repeats=REPEATS, seed=1)
    assert not all(map(coverage.tolerated, scores))


def test_some_cells_do_have_intervals():
    """Else nothing above would say anything."""
    scores = coverage.score(coverage.binary_cell(rows=1000, prevalence=0.5, distance=1.0), repeats=50, seed=1)
    assert all(score.unbounded == 0 for score in scores)
