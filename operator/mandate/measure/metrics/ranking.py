"""Metrics of rankings: of each query's rows, ordered by score, the value; of all queries, the mean.

Weights are of queries: all rows of one have the same (the judge sees to it), and the mean is weighted by it.

`actual` (n,) is a row's relevance: 0 or more, a row above 0 is relevant; `score` (n,) ranks the rows of a query, the
largest first; `query` (n,) says which query a row belongs to. The query is the unit of evidence: the influence of one
stands at its first row, and the others' don't count.

Rows of a query with equal scores have no order. A value is then the expected one over all orders of the tied rows, each
as likely as another (McSherry & Najork 2008), and never depends on the order in which rows came.

On a query without a relevant row every order is as good as any other, and NDCG, average precision, reciprocal rank and
recall are 0/0. Such queries are left out of all five metrics alike, so that all are about the same queries
(scikit-learn's `ndcg_score` counts them as 0); the judge says how many they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .point import (
    STEADY_MEAN,
    Floats,
    Point,
    Sample,
    UndefinedError,
    average,
    effective,
    scores,
    shares,
    weighed,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Rows of the telling queries, query by query and by falling score; all (m,) but `queries`, their number.

    `place`: 1 … within the query. `size`, `turn` and `before`: rows in the group of tied rows, the row's number 1 …
    within it, and relevant rows of the query that stand before the group. `hits`: relevant rows in the group. `gain`:
    the group's mean relevance, as a share of the query's largest. `relevant` (queries,): relevant rows.
    """

    query: NDArray[np.intp]
    place: Floats
    size: Floats
    turn: Floats
    hits: Floats
    before: Floats
    gain: Floats
    best: Floats
    """The gains in the order that is best; `query` and `place` go with it, too."""
    relevant: Floats
    queries: int
    first: NDArray[np.intp]
    """(queries,): each query's first row in the sample."""

    def by_query(self, values: Floats) -> Floats:
        """(queries,) sums of (m,) `values`."""
        return np.asarray(np.bincount(self.query, weights=values, minlength=self.queries), dtype=np.float64)


def telling(actual: Floats, query: NDArray[np.intp]) -> NDArray[np.bool_]:
    """(n,) Whether a row's query has a relevant row. `query` (n,) holds codes 0 …"""
    return np.asarray(np.bincount(query, weights=actual > 0)[query] > 0)


def ndcg(sample: Sample) -> Point:
    """Normalised discounted cumulative gain of all the query's rows (Järvelin & Kekäläinen 2002); 0 to 1.

    The gain is the relevance itself and the discount log2(1 + place), as in scikit-learn's `ndcg_score`; whoever means
    the gain 2^relevance - 1 has it in the target column. Raises UndefinedError.
    """
    return _ndcg(sample, None)


def ndcg_at_k(sample: Sample) -> Point:
    """NDCG of the first `task.topK` places; the best order is cut off there, too. Raises UndefinedError."""
    return _ndcg(sample, _depth(sample))


def mean_average_precision(sample: Sample) -> Point:
    """Mean over queries of the precisions at the relevant rows' places, averaged; 0 to 1. Raises UndefinedError."""
    ranked = _ranked(sample)
    # A tied row is relevant with hits/size, and then the others before it in the group with (hits-1)/(size-1).
    ahead = (ranked.turn - 1) * (ranked.hits - 1) / np.maximum(ranked.size - 1, 1)
    precisions = ranked.hits / ranked.size * (ranked.before + 1 + ahead) / ranked.place
    return _over_queries(sample, ranked, ranked.by_query(precisions) / ranked.relevant)


def mean_reciprocal_rank(sample: Sample) -> Point:
    """Mean over queries of 1 / the place of the first relevant row; above 0, to 1. Raises UndefinedError."""
    ranked = _ranked(sample)
    left = ranked.size - ranked.turn + 1  # rows of the group from this one on
    decides = (ranked.before == 0) & (ranked.hits > 0) & (left >= ranked.hits)
    hits, left, size = (np.where(decides, values, 1.0) for values in (ranked.hits, left, ranked.size))
    none_before = _log_choose(left, hits) - _log_choose(size, hits)
    chance = np.exp(none_before) * hits / left
    return _over_queries(sample, ranked, ranked.by_query(np.where(decides, chance / ranked.place, 0.0)))


def recall_at_k(sample: Sample) -> Point:
    """Mean over queries of the share of the relevant rows that stand in the first `task.topK` places."""
    ranked = _ranked(sample)
    return _over_queries(sample, ranked, _found(ranked, _depth(sample)) / ranked.relevant)


def precision_at_k(sample: Sample) -> Point:
    """Mean over queries of the share of the first `task.topK` places that relevant rows have.

    A place that a shorter query leaves empty counts as one without a relevant row, as trec_eval has it.
    """
    ranked, depth = _ranked(sample), _depth(sample)
    return _over_queries(sample, ranked, _found(ranked, depth) / depth)


def _depth(sample: Sample) -> int:
    if sample.declared.top_k is None:
        raise UndefinedError("NoDepth", "declare task.topK: how many places count")
    return sample.declared.top_k


def _ndcg(sample: Sample, depth: int | None) -> Point:
    ranked = _ranked(sample)
    discount = 1.0 / np.log2(1.0 + ranked.place)
    if depth is not None:
        discount = np.where(ranked.place <= depth, discount, 0.0)
    values = ranked.by_query(ranked.gain * discount) / ranked.by_query(ranked.best * discount)
    return _over_queries(sample, ranked, values)


def _found(ranked: _Ranked, depth: int) -> Floats:
    """(queries,) Expected number of relevant rows in the first places."""
    return ranked.by_query(np.where(ranked.place <= depth, ranked.hits / ranked.size, 0.0))


def _log_choose(n: Floats, k: Floats) -> Floats:
    return np.asarray(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1))


def _ranked(sample: Sample) -> _Ranked:
    """Once for all of a sample's metrics: sorting is most of the work. Raises UndefinedError."""
    known: _Ranked | None = sample.memo.get("ranked")
    if known is None:
        known = sample.memo["ranked"] = _rank(sample)
    return known


def _rank(sample: Sample) -> _Ranked:
    every = scores(sample)
    if sample.query is None:
        raise UndefinedError("NoQueries", "declare task.query: the column that says which rows are ranked together")
    kept = np.flatnonzero(telling(sample.actual, sample.query))
    if not len(kept):
        raise UndefinedError("NoRelevantRow", f"no query of these {len(sample)} rows has a row of relevance above 0")
    _, first, code = np.unique(sample.query[kept], return_index=True, return_inverse=True)
    score, actual = every[kept], sample.actual[kept]
    order = np.lexsort((-score, code))
    query, score, actual = code[order], score[order], actual[order]
    queries = len(first)
    starts = np.searchsorted(query, np.arange(queries))
    index = np.arange(len(query))
    # Sums of gains stay finite as shares of the largest.
    gain = actual / np.maximum.reduceat(actual, starts)[query]
    opens = np.ones(len(query), dtype=np.bool_)
    opens[1:] = (query[1:] != query[:-1]) | (score[1:] != score[:-1])
    group = np.cumsum(opens) - 1
    size = np.bincount(group)
    hits = np.bincount(group, weights=actual > 0)
    ahead = np.cumsum(hits) - hits  # of all queries' rows so far
    relevant = np.bincount(query, weights=actual > 0).astype(np.float64)
    return _Ranked(
        query=query,
        place=(index - starts[query] + 1).astype(np.float64),
        size=size[group].astype(np.float64),
        turn=(index - np.flatnonzero(opens)[group] + 1).astype(np.float64),
        hits=hits[group],
        before=ahead[group] - ahead[group[starts]][query],
        gain=_group_means(gain, group, size)[group],
        best=gain[np.lexsort((-gain, query))],
        relevant=relevant,
        queries=queries,
        first=kept[first],
    )


def _group_means(gain: Floats, group: NDArray[np.intp], size: NDArray[np.intp]) -> Floats:
    """Each group's mean, the same in whatever order its rows came."""
    ordered = gain[np.lexsort((gain, group))]
    return np.asarray(np.bincount(group, weights=ordered) / size, dtype=np.float64)


def _over_queries(sample: Sample, ranked: _Ranked, values: Floats) -> Point:
    """The mean of (queries,) `values`, none of them above 1 but by rounding, each for as much as its query counts."""
    values = np.minimum(values, 1.0)
    heavy = None if sample.share is None else shares(sample.share[ranked.first])
    value = min(average(values, heavy), 1.0)
    psi = np.zeros(len(sample))
    stratum = np.full(len(sample), -1, dtype=np.intp)
    psi[ranked.first] = weighed(values - value, heavy) * (len(sample) / ranked.queries)
    stratum[ranked.first] = 0
    weight = None
    if heavy is not None:  # rows that don't count get what leaves the rows' design effect that of the queries
        weight = np.full(len(sample), math.sqrt(heavy @ heavy / ranked.queries))
        weight[ranked.first] = heavy
    return Point(
        value=value,
        psi=psi,
        stratum=stratum,
        events=whole(effective(np.ones(ranked.queries, dtype=np.bool_), heavy)),
        unit="queries",
        link="Logit",
        weight=weight,
        steady=STEADY_MEAN,
    )
