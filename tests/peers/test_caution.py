"""How little a variance may be taken for: against sums over pairs of rows, and by how often limits are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mandate.evidence.intervals import AllPairs, Paired, StudentT
from mandate.measure import caution, metrics, uncertainty
from mandate.measure.metrics import Sample
from tests.peers import dependent
from tests.peers.coverage import most_wrong, sides
from tests.peers.samples import binary, of_pairs

NEAR = {"rel": 1e-9, "abs": 1e-12}


@pytest.mark.row("T3/clusters")
def test_clusters_are_as_alike_as_they_are_on_average():
    """Row by row and pair by pair; rows that don't count are in no pair."""
    rng = np.random.default_rng(1)
    codes = np.sort(rng.geometric(0.05, 200) % 12)
    psi = rng.standard_normal(200) + rng.standard_normal(12)[codes]
    for weight in (None, rng.lognormal(size=200)):
        heavy = np.ones(200) if weight is None else weight
        for counted in (np.ones(200, dtype=bool), rng.random(200) < 0.7):
            seen = np.where(counted, psi * heavy, 0.0)
            expected = of_pairs(seen[counted] / 200, heavy[counted], codes[counted])
            assert caution.of_clusters(seen, weight, counted, codes, 0.0) == pytest.approx(expected, **NEAR)


def test_clusters_of_a_size_have_their_own_variance():
    point = metrics.METRICS["brier_score"](binary(rows=280))
    for size in (1, 7):
        spread = uncertainty.contributions(point, np.arange(280) // size)
        assert spread.least == pytest.approx(spread.variance, **NEAR)
        assert spread.sums.cautious == spread.variance


def test_rows_differ_as_much_whatever_their_weight():
    """The weighted variance over Kish's number, class by class where that is what a metric is centred by."""
    rng = np.random.default_rng(2)
    weight, stratum = rng.lognormal(size=90), np.repeat([0, 1, -1], 30)
    values = rng.standard_normal(90) * (1 + stratum)
    expected = 0.0
    for code in (0, 1):
        w, v = weight[stratum == code], values[stratum == code]
        kish = w.sum() ** 2 / (w**2).sum()
        expected += (w.sum() / 90) ** 2 * (np.average(v**2, weights=w) / kish)
    assert caution.of_rows(weight * values, weight, stratum) == pytest.approx(expected, **NEAR)


def wrong(found: list[tuple[float, float] | None], truth: float) -> tuple[int, int]:
    """How many lower limits lie above the truth, how many upper ones below it."""
    limits = [limit for limit in found if limit is not None]
    assert len(limits) > len(found) / 4, "there must be limits to be wrong"
    return sum(low > truth for low, _ in limits), sum(high < truth for _, high in limits)


@pytest.mark.row("T5/interval")
def test_limits_hold_where_a_fifth_of_the_clusters_has_most_rows():
    """30 clusters, six of them with 100 rows and the others with ten, whose accuracies are mostly near 1."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(30), np.where(np.arange(30) < 6, 100, 10))
    found = []
    for _ in range(300):
        right = rng.random(len(codes)) < rng.beta(0.8, 0.2, 30)[codes]
        point = metrics.METRICS["accuracy"](Sample(actual=np.ones(len(codes), dtype=bool), label=right))
        found.append(sides(uncertainty.alone(point, codes), 1))
    assert max(wrong(found, 0.8)) <= most_wrong(look=1, repeats=300)


@pytest.mark.row("T4/weights")
def test_limits_of_a_comparison_hold_where_heavy_rows_mostly_agree():
    """1,000 light rows on which two models differ a little, 300 of 30 times the weight of which one in 300 differs."""
    rng = np.random.default_rng(4)
    weight = np.repeat([30.0, 1.0], [300, 1000])
    actual, theirs = np.zeros(1300), np.full(1300, 10.0)
    found = []
    for _ in range(300):
        more = np.concatenate([2.0 * (rng.random(300) < 1 / 300), rng.standard_normal(1000)])
        a, b = (Sample(actual=actual, score=score, weight=weight) for score in (theirs + more, theirs))
        name = "mean_absolute_error"
        found.append(sides(uncertainty.paired(metrics.METRICS[name](a), metrics.METRICS[name](b), None), 1))
    assert max(wrong(found, 300 * 30 * 2 / 300 / weight.sum())) <= most_wrong(look=1, repeats=300)


@pytest.mark.row("T4/weights")
def test_limits_of_a_number_alone_hold_where_heavy_rows_are_mostly_right():
    """1,000 light rows of which one in five is wrong, 300 of 30 times the weight of which one in 300 is."""
    rng = np.random.default_rng(6)
    weight, rare = np.repeat([30.0, 1.0], [300, 1000]), np.repeat([1 / 300, 0.2], [300, 1000])
    truth = -(weight @ (rare * np.log(0.1) + (1 - rare) * np.log(0.9))) / weight.sum()
    below = 0
    for _ in range(300):
        actual, mistaken = rng.random(1300) < 0.5, rng.random(1300) < rare
        sample = Sample(actual=actual, score=np.where(actual ^ mistaken, 0.9, 0.1), weight=weight)
        point = metrics.METRICS["log_loss"](sample)
        found = sides(uncertainty.alone(point, None), 1)
        below += found is not None and found[1] < truth
        spread = uncertainty.contributions(point, None).sums
        expected = caution.of_rows(point.psi, point.weight, point.stratum)
        assert spread.cautious == pytest.approx(max(spread.variance, expected), rel=1e-8)
    assert below <= most_wrong(look=1, repeats=300)


def ring(units: np.ndarray) -> float:
    """Newey and West's variance of a sum by Bartlett's kernel, products taken over the end into the beginning.

    Of residuals from a regression on time, and over what it is expected to be of independent ones.
    """
    count = len(units)
    width = min(math.ceil(math.sqrt(count)), count // 2)
    apart = (np.arange(count)[:, None] - np.arange(count)) % count
    kernel = np.maximum(0.0, 1.0 - np.minimum(apart, count - apart) / width)
    time = np.column_stack([np.ones(count), np.arange(count)])
    left = np.eye(count) - time @ np.linalg.pinv(time)
    found = float(units @ left @ kernel @ left @ units)
    return found * count / float(np.trace(left @ kernel)) * (1.0 + 2.0 * width / count)


@pytest.mark.row("T5/interval")
@pytest.mark.parametrize("count", [3, 4, 17, 40])
def test_blocks_of_time_are_as_alike_as_their_neighbours_seem(count):
    """Against a double sum over blocks; neither the rows' order nor codes without rows matter."""
    rng = np.random.default_rng(7)
    block = np.concatenate([np.arange(count), rng.integers(0, count, 60)])
    psi = rng.standard_normal(len(block)) + np.sin(block)
    psi -= psi.mean()
    expected = ring(np.bincount(block, weights=psi) / len(psi))
    order = rng.permutation(len(block))
    assert caution.of_blocks(psi, block) == pytest.approx(expected, **NEAR)
    assert caution.of_blocks(psi[order], 3 * block[order] + 5) == pytest.approx(expected, **NEAR)


@pytest.mark.parametrize("block", [[4, 4], [4, 9]])
def test_two_blocks_of_time_tell_nothing_of_their_neighbours(block):
    assert caution.of_blocks(np.array([1.0, -1.0]), np.array(block)) == 0.0


def test_errors_that_grow_are_not_alike_for_that():
    psi = np.random.default_rng(10).standard_normal(400)
    growing = np.linspace(-9, 9, 400)
    found = [caution.of_blocks(values - values.mean(), np.arange(400)) for values in (psi, psi + growing)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_independent_blocks_keep_their_variance_on_average():
    """But for what is added for so few windows, 1 + 2w/b."""
    rng = np.random.default_rng(8)
    found = [caution.of_blocks(psi - psi.mean(), np.arange(100)) for psi in rng.standard_normal((4000, 100))]
    assert np.mean(found) * 100 == pytest.approx(1.2, rel=0.02)


@pytest.mark.row("T5/interval")
def test_limits_know_that_the_denominators_of_shares_follow_the_level():
    """One series of 200 steps, a step ahead: the variance of sMAPE is nearly half as much again as that of its rows."""
    cell = dependent.forecast_cell(series=1, steps=200, horizons=(1,))
    rng = np.random.default_rng(9)
    points = [metrics.METRICS["smape"](cell.draw(rng)[0]) for _ in range(300)]
    spreads = [uncertainty.contributions(point, None).sums for point in points]
    assert points[0].block is not None
    true = np.var([point.value for point in points])
    assert true > 1.25 * np.mean([spread.variance for spread in spreads])
    assert true < 1.05 * np.mean([spread.cautious for spread in spreads])
    for point, spread in zip(points[:20], spreads[:20], strict=True):
        found = caution.of_blocks(point.psi, point.block)
        assert spread.cautious == pytest.approx(max(found, spread.variance), **NEAR)


def test_shares_on_few_steps_have_no_limits():
    """On 200 steps an upper limit that knows how alike they seem was still too low in 2.1 % of 10,000 samples."""
    for steps, limits in ((200, False), (1000, True)):
        mine, _, _ = dependent.forecast_cell(series=1, steps=steps, horizons=(1,)).draw(np.random.default_rng(5))
        found = uncertainty.alone(metrics.METRICS["smape"](mine), None)
        assert isinstance(found, StudentT) == limits, steps


def test_a_comparison_of_forecasts_knows_it_too():
    """As the difference's own blocks resemble each other, which is told neither of the two alone."""
    cell = dependent.forecast_cell(series=1, steps=1400, horizons=(1, 7), rival=True)
    mine, theirs, codes = cell.draw(np.random.default_rng(3))
    assert metrics.METRICS["bias"](mine).block is not None
    for clusters in (codes, None):
        a, b = (metrics.METRICS["bias"](sample) for sample in (mine, theirs))
        u, v = (uncertainty.contributions(point, clusters) for point in (a, b))
        plain = float((u.units - v.units) @ (u.units - v.units))
        least = caution.of_blocks(a.psi - b.psi, a.block)
        assert least > 1.05 * plain
        between = uncertainty.paired(a, b, clusters)
        assert isinstance(between, Paired)
        assert between.var_a + between.var_b - 2 * between.cov == pytest.approx(least, **NEAR)


def test_comparisons_on_different_rows_are_as_cautious_as_either_side():
    """Slices of one table, whose clusters may reach over both."""
    rng = np.random.default_rng(5)
    sizes = np.where(np.arange(400) < 100, 20, 5)
    codes = np.repeat(np.arange(400), sizes)
    alike = np.where(sizes == 5, rng.standard_normal(400), 0.0)[codes]
    sample = Sample(actual=np.zeros(len(codes)), score=alike + rng.standard_normal(len(codes)))
    side = codes % 2 == 0
    points = [metrics.METRICS["bias"](sample.take(rows)) for rows in (side, ~side)]
    spreads = [uncertainty.contributions(p, codes[rows]) for p, rows in zip(points, (side, ~side), strict=True)]
    wider = max(spread.sums.cautious / spread.variance for spread in spreads)
    assert wider > 1.01
    plain = sum(spread.variance for spread in spreads)
    between = uncertainty.apart(points[0], points[1], (codes[side], codes[~side]))
    assert isinstance(between, Paired)
    assert between.var_a + between.var_b - 2 * between.cov == pytest.approx(wider * plain, **NEAR)
    groups = {"a": (points[0], codes[side]), "b": (points[1], codes[~side])}
    spread = uncertainty.all_pairs(groups, ratio=False)
    assert isinstance(spread, AllPairs)
    (pair,) = spread.pairs
    assert isinstance(pair.interval, StudentT)
    assert pair.interval.se == pytest.approx(math.sqrt(wider * plain), **NEAR)
