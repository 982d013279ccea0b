"""The search for weak parts against SciPy and statsmodels, on planted parts, and where there is none."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mandate.measure import weakest
from mandate.measure.uncertainty import MIN_CLUSTERS
from tests.peers.weakest import CELLS, share_of_runs_that_list, uncorrected

REPEATS = 100


def axis(name: str, code: np.ndarray) -> weakest.Axis:
    return weakest.Axis(name=name, values=tuple(f"v{k}" for k in range(int(code.max()) + 1)), code=code)


@pytest.mark.parametrize(
    ("rows", "good", "total"), [(50, 20, 1500), (700, 300, 1500), (60, 1400, 1500), (1450, 5, 1500)]
)
def test_draws_of_errors_are_fishers(rows, good, total):
    low, high = max(0, rows + good - total), min(rows, good)
    hits = np.arange(low, high + 1)
    ours = weakest.draw_tail(hits, np.full(len(hits), rows), good=good, total=total)
    assert ours == pytest.approx(stats.hypergeom.sf(hits - 1, total, good, rows), rel=1e-9, abs=1e-300)
    table = [[hits[-1], rows - hits[-1]], [good - hits[-1], total - good - rows + hits[-1]]]
    assert ours[-1] == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-9)


def test_tails_of_rank_sums_are_pearsons():
    z = np.linspace(-2, 12, 29)
    for skew in (0.01, 0.3, 1.0, 2.5):
        ours = weakest.pearson_tail(z, np.full(len(z), skew))
        assert ours == pytest.approx(stats.pearson3.sf(z, skew), rel=1e-8, abs=1e-300)
    assert weakest.pearson_tail(z, np.full(len(z), -0.5)) == pytest.approx(stats.norm.sf(z), rel=1e-12)


def test_moments_of_draws_are_those_of_all_draws():
    """Every 4 of 9 losses: mean, variance and skewness of their rank sums, counted out."""
    loss = np.array([0.0, 0.0, 0.1, 0.3, 0.3, 0.3, 2.0, 5.0, 9.0])
    rank = stats.rankdata(loss)
    sums = np.array([rank[list(pick)].sum() for pick in combinations(range(9), 4)])
    code = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1])
    tests = weakest._Tests(loss, None, floors=(0.0, 0.0))
    grid = weakest._Grid(code=code, sides=((), ()))
    own = rank[code == 0].sum()
    z, skew = (own - sums.mean()) / sums.std(), stats.skew(sums)
    ours = tests.drawn(tests.sums(grid)[:1], np.array([4.0]), tests.pool(None))
    assert ours[0] == pytest.approx(stats.pearson3.sf(z, skew), rel=1e-9)


@pytest.mark.row("T2/search")
def test_q_values_are_scipys_and_statsmodels():
    p = np.random.default_rng(2).random(300) ** 3
    p[:20], p[-1] = 0.01, 1.0  # ties and a one
    ours = weakest.benjamini_yekutieli(p)
    assert ours == pytest.approx(stats.false_discovery_control(p, method="by"), rel=1e-12)
    assert ours == pytest.approx(multipletests(p, method="fdr_by")[1], rel=1e-12)
    assert weakest.benjamini_yekutieli(np.array([])).tolist() == []


@pytest.mark.row("T2/search")
def test_a_planted_part_is_found_with_its_numbers():
    """80 % overall, 55 % for ages 20-30: found, named, and nothing else."""
    rng = np.random.default_rng(5)
    age, sex, other = rng.integers(0, 6, 5000), rng.integers(0, 2, 5000), rng.integers(0, 9, 5000)
    loss = (rng.random(5000) < np.where(age == 1, 0.45, 0.2)).astype(float)
    found = weakest.search(loss, [axis("age", age), axis("sex", sex), axis("other", other)], kind="Error")
    (only,) = found.slices
    assert [(side.name, side.value) for side in only.sides] == [("age", "v1")]
    inside = age == 1
    assert (only.rows, only.loss) == (inside.sum(), pytest.approx(loss[inside].mean()))
    assert only.elsewhere == pytest.approx(loss[~inside].mean())
    table = [[loss[inside].sum(), (1 - loss)[inside].sum()], [loss[~inside].sum(), (1 - loss)[~inside].sum()]]
    assert only.p == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-7, abs=0)
    assert only.effect == pytest.approx((only.loss - only.elsewhere) / loss.std())
    error = np.hypot(loss[inside].std(ddof=1) / inside.sum() ** 0.5, loss[~inside].std(ddof=1) / (~inside).sum() ** 0.5)
    reach = stats.norm.isf(0.05 / found.candidates)
    assert only.at_least == pytest.approx(only.loss - only.elsewhere - reach * error, rel=1e-6)


def test_a_weak_pair_is_told_as_a_pair():
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 4, 8000), rng.integers(0, 4, 8000)
    pair = (rng.random(8000) < np.where((a == 1) & (b == 2), 0.7, 0.1)).astype(float)
    (worst, *_) = weakest.search(pair, [axis("a", a), axis("b", b)], kind="Error").slices
    assert [(side.name, side.value) for side in worst.sides] == [("a", "v1"), ("b", "v2")]


def test_a_weak_column_is_not_told_as_its_pairs():
    """Some of 40 cells are worse than their column's value by chance, and all are worse than the rest."""
    rng = np.random.default_rng(8)
    a, b = rng.integers(0, 4, 8000), rng.integers(0, 10, 8000)
    loss = (rng.random(8000) < np.where(a == 1, 0.5, 0.1)).astype(float)
    cells = [loss[(a == 1) & (b == k)].mean() - loss[a == 1].mean() for k in range(10)]
    assert max(cells) > weakest.OWN_FLOOR * loss.std(), "else the floor alone hides them"
    found = weakest.search(loss, [axis("a", a), axis("b", b)], kind="Error").slices
    assert [[(side.name, side.value) for side in item.sides] for item in found] == [[("a", "v1")]]


def test_clusters_count_as_one_each():
    """Whole clusters are wrong or right: by rows a part looks surely weak, by clusters it doesn't."""
    rng = np.random.default_rng(7)
    codes = np.repeat(np.arange(200), 20)
    half = codes % 2
    loss = (codes < np.where(half == 1, 80, 60)).astype(float)  # 40 % against 30 % of the clusters
    by_row = weakest.search(loss, [axis("half", half)], kind="Error")
    by_cluster = weakest.search(loss, [axis("half", half)], kind="Error", clusters=codes)
    assert by_row.found == 1
    assert by_cluster.found == 0
    wrong = np.where(half == 1, 0.9, 0.1) > rng.random(4000)
    (only,) = weakest.search(wrong.astype(float), [axis("half", half)], kind="Error", clusters=codes).slices
    assert only.clusters == 100
    few = np.repeat(np.arange(200) < MIN_CLUSTERS - 1, 20).astype(int)
    wrong = np.where(few == 1, 0.9, 0.1) > rng.random(4000)
    assert weakest.search(wrong.astype(float), [axis("few", few)], kind="Error", clusters=codes).found == 0


@pytest.mark.row("T2/search")
@pytest.mark.parametrize("cell", list(CELLS))
def test_without_a_weak_part_few_runs_list_one(cell):
    share = share_of_runs_that_list(cell, repeats=REPEATS)
    assert share * REPEATS <= stats.binom.isf(0.001, REPEATS, weakest.LEVEL)


def test_the_check_objects_to_p_values_taken_one_by_one():
    share = share_of_runs_that_list("errors 20 %", repeats=20, adjust=uncorrected)
    assert share * 20 > stats.binom.isf(0.001, 20, weakest.LEVEL)
