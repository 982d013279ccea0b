"""A small, seeded run of the coverage simulation; `python -m tests.peers.coverage` is the whole of it."""

from __future__ import annotations

import inspect
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import product
from pkgutil import iter_modules

import numpy as np
import pandas as pd
import pytest

from mandate.api.catalogue import METRICS as METRICS_OF
from mandate.measure import metrics, uncertainty
from mandate.measure.metrics import METRICS
from mandate.verdict.judge import share_of_alpha
from tests.peers import coverage, dependent, parts

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
    for sampling, rival in (("classes", None), ("answers", 0.9), ("chance", None)):
        found[f"weights={sampling}"] = partial(
            coverage.weighted_cell, rows=1000, prevalence=0.1, sampling=sampling, rival=rival
        )
    found["weighted residuals"] = partial(coverage.regression_cell, rows=1000, residuals="t5", weighted=True)
    found["clusters"] = partial(coverage.cluster_cell, clusters=100, size=10, likeness=0.2, prevalence=0.5)
    found["queries"] = partial(dependent.ranking_cell, queries=150, rows=5, even=False, rounded=True, pieces=1)
    found["series"] = partial(dependent.forecast_cell, series=100, steps=28, horizons=(1,), spread=0.5)
    found["blocks of steps"] = partial(dependent.forecast_cell, series=1, steps=800, horizons=(1, 3, 7))
    return found


@pytest.mark.row("T5/interval")
@pytest.mark.parametrize("cell", situations().values(), ids=situations())
def test_limits_are_wrong_no_more_often_than_they_may_be(cell, record_property):
    scores = coverage.score(cell(), repeats=REPEATS, seed=1)
    worst = max(scores, key=coverage.Score.excess)
    record_property("coverage", (worst.excess(), str(worst)))
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
            cell="",
            metric="",
            repeats=REPEATS,
            wrong=wrong | {(look, "upper"): count / REPEATS},
            unbounded=0.0,
            margin={},
        )
        assert coverage.tolerated(score) == expected


def test_the_check_sees_limits_that_are_too_narrow(monkeypatch):
    """With half the standard error, the same simulation objects."""
    contributions = uncertainty.contributions

    def narrow(point, clusters):
        spread = contributions(point, clusters)
        return uncertainty.Spread(spread.units / 2, spread.freedom)

    monkeypatch.setattr(uncertainty, "contributions", narrow)
    scores = coverage.score(coverage.binary_cell(rows=200, prevalence=0.5, distance=1.0), repeats=REPEATS, seed=1)
    assert not all(map(coverage.tolerated, scores))


def test_the_check_tells_the_margin_that_eighty_percent_of_runs_pass_by():
    """Asked for that much less than the truth, the limits of 80 % of the same runs pass."""
    cell = replace(coverage.binary_cell(rows=1000, prevalence=0.5, distance=1.0), metrics=["accuracy", "roc_auc"])
    ((population, _),) = cell.populations()
    for found in coverage.score(cell, repeats=REPEATS, seed=1):
        truth = METRICS[found.metric](population).value
        rng = np.random.default_rng([1, zlib.crc32(cell.name.encode())])
        lower = []
        for _ in range(REPEATS):
            sample, _, _ = cell.draw(rng)
            limits = coverage.sides(uncertainty.alone(METRICS[found.metric](sample), None), 1)
            lower.append(limits[0])
        passed = np.mean(np.array(lower) >= truth - found.margin["lower"])
        with_less = np.mean(np.array(lower) >= truth - 0.999 * found.margin["lower"])
        assert with_less < coverage.POWER <= passed


def test_the_check_tells_no_margin_without_limits_in_a_fifth_of_runs():
    (found,) = coverage.score(
        replace(coverage.binary_cell(rows=50, prevalence=0.02, distance=1.0), metrics=["roc_auc"]), repeats=50, seed=1
    )
    assert found.margin == {"lower": math.inf, "upper": math.inf}


def test_the_check_writes_every_cell(tmp_path):
    scores = coverage.score(coverage.binary_cell(rows=200, prevalence=0.5, distance=1.0), repeats=20, seed=1)
    coverage.write(scores, tmp_path / "cells.csv")
    table = pd.read_csv(tmp_path / "cells.csv")
    assert list(table["metric"]) == [score.metric for score in scores]
    assert list(table["lower limit wrong, look 1, %"]) == [100 * score.wrong[1, "lower"] for score in scores]


def test_some_cells_do_have_intervals():
    """Else nothing above would say anything."""
    scores = coverage.score(coverage.binary_cell(rows=1000, prevalence=0.5, distance=1.0), repeats=50, seed=1)
    assert all(score.unbounded == 0 for score in scores)


@pytest.fixture
def quick(tmp_path):
    """Parts of a few repeats, and what is measured with them."""
    how = {"repeats": 3, "seed": 1}
    kept = parts.Parts(folder=tmp_path, table="calibration", settings={"repeats": "3", "seed": "1", "code": "abc"})
    return kept, how


def test_the_check_goes_on_where_a_run_was_stopped(quick, monkeypatch):
    kept, how = quick
    cell = replace(coverage.binary_cell(rows=50, prevalence=0.5, distance=1.0), metrics=["accuracy", "recall"])
    whole = coverage.score(cell, **how)
    first = coverage._run(replace(cell, metrics=["recall"]), kept, **how)
    asked = []
    score = coverage.score
    monkeypatch.setattr(coverage, "score", lambda cell, **how: asked.append(list(cell.metrics)) or score(cell, **how))
    again = coverage._run(cell, kept, **how)
    assert asked == [["accuracy"]], "what was found is found"
    assert coverage._run(cell, kept, **how) == again
    assert asked == [["accuracy"]]
    assert coverage.lines(again) == coverage.lines(whole), "as in one go"
    assert coverage.lines(first) == coverage.lines(whole)[1:]


def test_the_check_goes_on_from_what_is_published_by_the_same_code(quick, tmp_path):
    kept, how = quick
    table, folder = tmp_path / "calibration.csv", tmp_path / "elsewhere"
    cell = replace(coverage.binary_cell(rows=50, prevalence=0.5, distance=1.0), metrics=["accuracy", "recall"])
    coverage._run(cell, kept, **how)
    parts.write(parts.every(tmp_path, "calibration"), table)
    assert replace(kept, folder=folder, settings={**kept.settings, "code": "abd"}).adopt(table) == 0
    assert not folder.exists()
    elsewhere = replace(kept, folder=folder)
    assert elsewhere.adopt(tmp_path / "missing.csv") == 0
    assert (elsewhere.adopt(table), elsewhere.adopt(table)) == (1, 0)
    assert parts.every(folder, "calibration") == parts.every(tmp_path, "calibration") != []


def test_the_check_finds_anew_what_other_code_found(quick):
    kept, how = quick
    cell = replace(coverage.binary_cell(rows=50, prevalence=0.5, distance=1.0), metrics=["recall"])
    coverage._run(cell, kept, **how)
    assert len(kept.found(cell.name)) == 1
    assert replace(kept, settings=dict(kept.settings) | {"code": "other"}).found(cell.name) == []


def test_the_check_knows_a_metrics_code_by_all_that_it_is_computed_by(monkeypatch):
    sources = {name: set(parts.reached(metric)) for name, metric in METRICS.items()}
    everywhere = set().union(*sources.values())
    modules = [import_module(f"{metrics.__name__}.{found.name}") for found in iter_modules(metrics.__path__)]
    assert len(modules) > 6
    held = {
        name: parts.bare(inspect.getsource(value))
        for module in modules
        for name, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__
    }
    unused = {"Declared", "known_shares", "crossed", "start", "separates", "climb"}  # by the judge, and baselines' fits
    assert {name for name, source in held.items() if source not in everywhere} == unused
    assert held["average"] in sources["ndcg"] & sources["recall"]
    assert held["_mean_recall"] in sources["recall"] - sources["ndcg"]
    assert {f"STEADY_MEAN = {metrics.point.STEADY_MEAN}"} <= sources["ndcg"] - sources["recall"]
    assert len({parts.code("calibration", metric=name) for name in METRICS}) == len(METRICS)
    before = {name: parts.code("calibration", metric=name) for name in ("ndcg", "recall")}
    monkeypatch.setattr(metrics.ranking, "STEADY_MEAN", 25.0)
    parts.code.cache_clear()
    after = {name: parts.code("calibration", metric=name) for name in ("ndcg", "recall")}
    parts.code.cache_clear()
    assert (after["ndcg"] != before["ndcg"], after["recall"]) == (True, before["recall"])


def test_the_check_finds_anew_what_another_metrics_code_found(quick):
    kept, how = quick
    cell = replace(coverage.binary_cell(rows=50, prevalence=0.5, distance=1.0), metrics=["accuracy", "recall"])
    code = {"accuracy": "1", "recall": "1"}
    by_metric = replace(kept, settings={"repeats": "3", "seed": "1"}, code=lambda line: code[str(line["metric"])])
    coverage._run(cell, by_metric, **how)
    code["recall"] = "2"
    assert [line["metric"] for line in by_metric.found(cell.name)] == ["accuracy"]
    coverage._run(cell, by_metric, **how)
    assert {line["metric"]: line["code"] for line in by_metric.found(cell.name)} == {"accuracy": "1", "recall": "2"}


def test_the_check_simulates_every_metric_with_an_interval():
    cells = coverage.cells()
    assert len({cell.name for cell in cells}) == len(cells)
    every = {metric for cell in cells for metric in cell.metrics}
    assert every == {name for name in METRICS if METRICS_OF[name].groups}


def test_the_check_counts_series_where_there_are_enough_and_blocks_else():
    def clusters(**how):
        _, _, codes = dependent.forecast_cell(**how).draw(np.random.default_rng(1))
        return codes

    assert len(np.unique(clusters(series=30, steps=4, horizons=(1, 2)))) == 30
    assert len(np.unique(clusters(series=5, steps=100, horizons=(1, 2)))) == 20, "five steps each"
    assert clusters(series=1, steps=40, horizons=(1,)) is None, "rows that stand alone"
