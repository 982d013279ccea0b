"""A small, seeded run of the coverage simulation; `python -m tests.peers.coverage` is the whole of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest

from mandate.verdict.judge import share_of_alpha
from tests.peers import coverage

REPEATS = 400


def situations() -> dict[str, Callable[[], coverage.Cell]]:
    """Every size with every prevalence, the binary models in turn; and unbounded values, pairs of them, clusters."""
    found: dict[str, Callable[[], coverage.Cell]] = {}
    for index, (rows, prevalence) in enumerate(product(coverage.SIZES, coverage.PREVALENCES)):
        distance, sharpness, rival = coverage.MODELS[index % len(coverage.MODELS)]
        found[f"n={rows} prevalence={prevalence:g}"] = partial(
            coverage.binary_cell, rows=rows, prevalence=prevalence, distance=distance, sharpness=sharpness, rival=rival
        )
    for rows, residuals, rival in ((50, "lognormal", False), (200, "t3", False), (1000, "t3", True)):
        found[f"n={rows} residuals={residuals}"] = partial(
            coverage.regression_cell, rows=rows, residuals=residuals, rival=rival
        )
    found["clusters"] = partial(coverage.cluster_cell, clusters=100, size=10, likeness=0.2, prevalence=0.5)
    return found


@pytest.mark.parametrize("cell", situations().values(), ids=situations())
def test_limits_are_wrong_no_more_often_than_they_may_be(cell, record_property):
    scores = coverage.score(cell(), repeats=REPEATS, seed=1)
    worst = max(scores, key=coverage.Score.excess)
    explained = coverage.most_wrong(look=worst.worst()[0], repeats=REPEATS) / REPEATS
    record_property("coverage", (worst.excess(), f"{worst}; in {REPEATS} repeats chance explains {explained:.2%}"))
    assert all(map(coverage.tolerated, scores)), [str(score) for score in scores if not coverage.tolerated(score)]


@pytest.mark.parametrize("look", coverage.LOOKS)
def test_the_check_gives_each_look_its_own_room_for_chance(look):
    """What is tolerated of a small run is what the look's own share explains, one in a thousand times exceeded."""
    most, share = coverage.most_wrong(look=look, repeats=REPEATS), share_of_alpha(confidence=0.95, look=look) + 0.005
    chances = [math.comb(REPEATS, k) * share**k * (1 - share) ** (REPEATS - k) for k in range(most + 1)]
    assert 1 - sum(chances) <= 0.001 < 1 - sum(chances[:-1])
    wrong = dict.fromkeys(product(coverage.LOOKS, ("lower", "upper")), 0.0)
    for count, expected in ((most, True), (most + 1, False)):
        score = coverage.Score(
            cell="", metric="", repeats=REPEATS, wrong=wrong | {(look, "upper"): count / REPEATS}, unbounded=0.0
        )
        assert coverage.tolerated(score) == expected


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
