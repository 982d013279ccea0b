"""Metrics of rankings against scikit-learn and against every order of tied rows, tried one by one."""

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Declared, Sample

NAMES = ("ndcg", "ndcg_at_k", "mean_average_precision", "mean_reciprocal_rank", "recall_at_k", "precision_at_k")
K = 3


def of_one_order(name: str, relevance: tuple[float, ...]) -> float:
    """The textbook's value of one query whose rows stand in this order."""
    hits = [place for place, value in enumerate(relevance, start=1) if value > 0]
    match name:
        case "ndcg" | "ndcg_at_k":
            depth = K if name == "ndcg_at_k" else len(relevance)
            gains = [
                sum(g / math.log2(p + 2) for p, g in enumerate(some[:depth]))
                for some in (relevance, sorted(relevance)[::-1])
            ]
            return gains[0] / gains[1]
        case "mean_average_precision":
            return sum(rank / place for rank, place in enumerate(hits, start=1)) / len(hits)
        case "mean_reciprocal_rank":
            return 1 / hits[0]
        case "recall_at_k":
            return sum(place <= K for place in hits) / len(hits)
        case _:
            return sum(place <= K for place in hits) / K


def expected(name: str, relevance: np.ndarray, score: np.ndarray) -> float:
    """The mean over all orders of the rows that have the scores fall."""
    orders = [o for o in permutations(range(len(score))) if all(np.diff(score[list(o)]) <= 0)]
    return float(np.mean([of_one_order(name, tuple(relevance[list(o)])) for o in orders]))


def case(seed: int, *, queries: int = 12, most: int = 6, levels: int = 3) -> Sample:
    """Queries of 1 to `most` rows, in no order, with ties and some without a relevant row."""
    rng = np.random.default_rng(seed)
    query = rng.permutation(np.repeat(np.arange(queries), rng.integers(1, most + 1, queries)))
    actual = rng.choice([0.0, 0.0, 1.0, 2.0, 3.0], len(query))
    score = rng.integers(0, levels, len(query)) / 1.0
    return Sample(actual=actual, score=score, query=query, declared=Declared(top_k=K))


def by_query(sample: Sample):
    """(relevance, score) of the queries with a relevant row."""
    for query in np.unique(sample.query):
        rows = sample.query == query
        if sample.actual[rows].any():
            yield sample.actual[rows], sample.score[rows]


@pytest.mark.parametrize("name", NAMES)
def test_ties_count_as_the_mean_of_all_orders(name):
    for seed in range(4):
        sample = case(seed)
        wanted = np.mean([expected(name, *rows) for rows in by_query(sample)])
        assert METRICS[name](sample).value == pytest.approx(wanted, abs=1e-12), name


@pytest.mark.parametrize("name", ["ndcg", "ndcg_at_k"])
def test_ndcg_is_scikit_learns(name):
    sample = case(5, queries=40, most=30, levels=8)
    depth = K if name == "ndcg_at_k" else None
    rows = [(a, s) for a, s in by_query(sample) if len(a) > 1]
    kept = np.isin(sample.query, [q for q in np.unique(sample.query) if (sample.query == q).sum() > 1])
    wanted = np.mean([ndcg_score(a[None], s[None], k=depth) for a, s in rows])
    assert METRICS[name](sample.take(kept)).value == pytest.approx(wanted, abs=1e-12), name


def test_average_precision_without_ties_is_scikit_learns():
    sample = case(6, queries=40, most=30)
    score = np.random.default_rng(6).permutation(len(sample)) * 1.0
    sample = Sample(actual=sample.actual, score=score, query=sample.query)
    wanted = np.mean([average_precision_score(a > 0, s) for a, s in by_query(sample)])
    assert METRICS["mean_average_precision"](sample).value == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_of_queries(name):
    """The weighted mean of what queries have, as NumPy has it, and the variance of a ratio (Cochran 1977)."""
    sample = case(8, queries=90)
    heavy = np.random.default_rng(8).lognormal(size=90)
    point = METRICS[name](replace(sample, weight=heavy[sample.query]))
    values = np.array([expected(name, *rows) for rows in by_query(sample)])
    own = heavy[[query for query in np.unique(sample.query) if sample.actual[sample.query == query].any()]]
    mean = np.average(values, weights=own)
    assert point.value == pytest.approx(mean, rel=1e-12), name
    count = len(values)
    wanted = np.sum(own**2 * (values - mean) ** 2) / own.sum() ** 2 * count / (count - 1)
    spread = uncertainty.contributions(point, None)
    assert spread.variance == pytest.approx(wanted, rel=1e-9), name
    kish = own.sum() ** 2 / np.sum(own**2)
    assert (point.events, spread.freedom) == (int(kish), count - 1), name
    assert uncertainty._design_effect(point) == pytest.approx(count / kish, rel=1e-12), name
    # As if heavy queries differed no less than light ones: the weighted variance over Kish's number.
    least = np.average((values - mean) ** 2, weights=own) / kish
    assert spread.sums.cautious == pytest.approx(max(least, wanted), rel=1e-9), name


@pytest.mark.parametrize("name", NAMES)
def test_a_query_of_whole_weight_is_as_many_queries(name):
    sample = case(9, queries=60)
    often = np.random.default_rng(9).integers(1, 4, 60)
    weighted = replace(sample, weight=often[sample.query].astype(float))
    rows = np.repeat(np.arange(len(sample)), often[sample.query])
    turn = np.concatenate([np.arange(times) for times in often[sample.query]])
    repeated = replace(sample.take(rows), query=sample.query[rows] + 60 * turn)
    assert METRICS[name](weighted).value == pytest.approx(METRICS[name](repeated).value, rel=1e-12), name


@pytest.mark.parametrize("name", NAMES)
def test_the_variance_is_that_of_the_queries_mean(name):
    sample = case(7, queries=80)
    values = np.array([expected(name, *rows) for rows in by_query(sample)])
    point = METRICS[name](sample)
    spread = uncertainty.contributions(point, None)
    assert spread.variance == pytest.approx(values.var(ddof=1) / len(values), rel=1e-9), name
    assert (point.events, spread.freedom) == (len(values), len(values) - 1), name
    # Clusters of queries: sums within them, as of any mean.
    cluster = sample.query // 2
    found = [
        sample.query[rows[0]] // 2
        for rows in (np.flatnonzero(sample.query == q) for q in np.unique(sample.query))
        if sample.actual[rows].any()
    ]
    sums = np.bincount(found, weights=values - values.mean()) / len(values)
    count = len(set(found))
    wanted = float(sums @ sums) * count / (count - 1)
    assert uncertainty.contributions(point, cluster).variance == pytest.approx(wanted, rel=1e-9), name
