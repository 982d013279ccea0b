"""Simulated situations whose rows aren't alone: rankings, whose unit is the query, and forecasts, whose errors overlap.

Rankings: rows of relevance 0 to 3, drawn query by query, some queries harder than others. Ours and a rival's scores
share part of their noise; rounded ones have ties.

Forecasts: of an autoregressive process around the series' own level, forecast at every step as well as it can be, from
1 to some steps ahead, so that errors less than that apart share what happened in between. The rival answers with the
value at the origin. Which rows are a cluster is asked of the code that the judge asks, once for the layout of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter

from mandate.api import spec
from mandate.api.catalogue import metrics_for
from mandate.measure.forecasts import Forecasts, forecasts
from mandate.measure.metrics import Declared, Sample
from mandate.measure.split import PARTS, Split
from tests.peers.cell import Cell, Drawn, Population

RANKING = tuple(metric.name for metric in metrics_for("Ranking") if metric.groups)
FORECAST = tuple(metric.name for metric in metrics_for("Forecast") if metric.groups)
DEEP = Declared(top_k=3)
SHARES = (0.7, 0.85, 0.95)
"""Relevance 0, up to 1, up to 2 among all rows."""
SEVERAL = 0.3
"""Share of a query's rows that are relevant, on the average."""
CHUNK, CHUNKS = 1_000_000, 12
"""Rows of a piece of a population, and pieces: so many queries and series that the truth is known ten times as well as
any sample tells it."""
DAY = 86_400_000_000
ROOT = 0.8
"""Of the autoregressive process: what is left of a shock one step later."""


def ranking_cell(
    *,
    queries: int,
    rows: int,
    rival: bool = False,
    rounded: bool = False,
    together: int = 1,
    even: bool = True,
    pieces: int = CHUNKS,
) -> Cell:
    """Queries of `rows` rows, or of 2 to twice as many; `together` of them in a row are a cluster and alike hard."""

    def draw(rng: np.random.Generator, count: int = queries) -> Drawn:
        sizes = np.full(count, rows) if even else rng.integers(2, 2 * rows + 1, count)
        query = np.repeat(np.arange(count), sizes)
        actual = np.searchsorted(SHARES, rng.random(len(query)), side="right").astype(np.float64)
        ease = np.repeat(rng.normal(0.6, 0.4, -(-count // together)), together)[:count][query]
        noise, own, other = rng.standard_normal((3, len(query)))

        def answers(skill: float, own: NDArray[np.float64]) -> Sample:
            score = skill * ease * actual + 0.8 * noise + 0.6 * own
            return Sample(actual=actual, score=np.round(score) if rounded else score, query=query, declared=DEEP)

        return answers(1.0, own), answers(0.8, other) if rival else None, query // together if together > 1 else None

    def populations() -> Iterator[Population]:
        for seed in range(pieces):
            mine, theirs, _ = draw(np.random.default_rng([1, seed]), CHUNK // rows // together * together)
            yield mine, theirs

    clusters = f" {together} together" if together > 1 else ""
    words = f"{' uneven' if not even else ''}{' ties' if rounded else ''}{' against a rival' if rival else ''}"
    return Cell(
        name=f"{queries} queries of {rows}{clusters}{words}", draw=draw, populations=populations, metrics=RANKING
    )


def weighted_ranking_cell(*, queries: int, rows: int, sampling: str, rival: bool = False) -> Cell:
    """About `queries` queries drawn unevenly, whose weights make up for it; the truth is that of all queries.

    `relevance`: those of few relevant rows are kept one in four times. `chance`: all are kept, and weigh by chance.
    """
    plain = ranking_cell(queries=queries, rows=rows, rival=rival)
    many = ranking_cell(queries=queries if sampling == "chance" else round(queries * 1.6), rows=rows, rival=rival)

    def draw(rng: np.random.Generator) -> Drawn:
        mine, theirs, _ = many.draw(rng)
        assert mine.query is not None
        relevant = np.bincount(mine.query, weights=mine.actual > 0)
        chance, weight = np.ones(len(relevant)), rng.lognormal(0.0, 1.0, len(relevant))
        if sampling == "relevance":
            chance = np.where(relevant >= SEVERAL * rows, 1.0, 0.25)
            weight = 1.0 / chance
        kept, heavy = (rng.random(len(relevant)) < chance)[mine.query], weight[mine.query]
        mine, theirs = (None if one is None else replace(one, weight=heavy).take(kept) for one in (mine, theirs))
        assert mine is not None
        return mine, theirs, None

    return replace(plain, name=f"{plain.name} weights={sampling}", draw=draw)


def forecast_cell(
    *, series: int, steps: int, horizons: tuple[int, ...], spread: float = 0.0, growth: float = 0.0, rival: bool = False
) -> Cell:
    """`series` of `steps` steps, each forecast at all `horizons`.

    `spread`: of the logarithm of the series' own size of errors. `growth`: how much of itself a shock gains over all
    steps.
    """
    longest = max(horizons)
    shape = (series, len(horizons), steps)
    day = np.broadcast_to(np.arange(steps), shape).ravel()

    @cache
    def layout() -> Forecasts:
        return _layout(shape, horizons)

    def draw(rng: np.random.Generator, copies: int = 1) -> Drawn:
        count = series * copies
        size = rng.lognormal(0.0, spread, (count, 1)) if spread else np.ones((count, 1))
        before = 40 + longest
        gain = 1.0 + growth * np.clip(np.arange(-before, steps) / steps, 0.0, None)
        shocks = size * gain * rng.standard_normal((count, before + steps))
        away = lfilter([1.0], [1.0, -ROOT], shocks, axis=1)
        values = 10.0 * size + away
        truth, ours, theirs = (np.empty((count, len(horizons), steps)) for _ in range(3))
        for place, ahead in enumerate(horizons):
            truth[:, place] = values[:, before:]
            ours[:, place] = 10.0 * size + ROOT**ahead * away[:, before - ahead : before + steps - ahead]
            theirs[:, place] = values[:, before - ahead : before + steps - ahead]
        scale = np.broadcast_to(size[:, :, None], truth.shape).ravel()
        days = np.tile(day, copies).astype(np.float64)

        block = layout().blocks if copies == 1 else None

        def answers(found: NDArray[np.float64]) -> Sample:
            return Sample(actual=truth.ravel(), score=found.ravel(), scale=scale, days=days, block=block)

        return answers(ours), answers(theirs) if rival else None, layout().clusters if copies == 1 else None

    def populations() -> Iterator[Population]:
        for seed in range(CHUNKS):
            mine, theirs, _ = draw(np.random.default_rng([1, seed]), max(1, CHUNK // (series * len(horizons) * steps)))
            yield mine, theirs

    ahead = f"{horizons[0]}" if len(horizons) == 1 else f"{horizons[0]} to {longest}"
    words = f"{f' spread={spread:g}' if spread else ''}{f' growth={growth:g}' if growth else ''}"
    name = f"{series} series of {steps} steps, {ahead} ahead{words}{' against a rival' if rival else ''}"
    return Cell(name=name, draw=draw, populations=populations, metrics=FORECAST)


def _layout(shape: tuple[int, int, int], horizons: tuple[int, ...]) -> Forecasts:
    """What the judge takes for clusters, and blocks of time, of rows laid out like this."""
    series, ahead, at = (axis.ravel() for axis in np.indices(shape))
    table = pa.table(
        {
            "series": series,
            "at": pa.array(at.astype(np.int64) * DAY, pa.timestamp("us", "UTC")),
            "ahead": np.array(horizons)[ahead],
            "y": np.zeros(len(at)),
        }
    )
    task = spec.Task(type="Forecast", target="y", time="at", series="series", horizon="ahead")
    rows = len(at)
    part = np.full(rows, PARTS.index("test"), dtype=np.int8)
    split = Split(part=part, keys=np.arange(rows, dtype=np.uint64), digest="sha256:" + "0" * 64)
    found = forecasts(table, split, np.zeros(rows), task=task, weights=None)
    assert found is not None
    return found


def cells() -> tuple[Cell, ...]:
    """Every such situation."""
    week = tuple(range(1, 8))
    return (
        *(ranking_cell(queries=queries, rows=rows) for queries in (150, 600) for rows in (5, 10)),
        *(ranking_cell(queries=queries, rows=10, rival=True) for queries in (150, 600)),
        ranking_cell(queries=600, rows=10, together=6),
        ranking_cell(queries=600, rows=10, even=False, rounded=True),
        *(forecast_cell(series=series, steps=28, horizons=(1,), spread=0.5) for series in (30, 100, 400)),
        forecast_cell(series=100, steps=28, horizons=(1, 3, 7), spread=0.5, growth=1.0),
        forecast_cell(series=100, steps=28, horizons=(1,), spread=0.5, rival=True),
        forecast_cell(series=1, steps=200, horizons=(1,)),
        forecast_cell(series=1, steps=1000, horizons=(1,)),
        forecast_cell(series=1, steps=800, horizons=week),
        forecast_cell(series=1, steps=1400, horizons=week),
        forecast_cell(series=1, steps=1400, horizons=week, rival=True),
        forecast_cell(series=5, steps=1400, horizons=week, growth=1.0),
        *(ranking_cell(queries=queries, rows=50) for queries in (150, 600)),
        *(
            weighted_ranking_cell(queries=queries, rows=10, sampling=sampling)
            for sampling in ("relevance", "chance")
            for queries in (150, 600)
        ),
        weighted_ranking_cell(queries=600, rows=10, sampling="relevance", rival=True),
    )
