"""Distances of samples, and what leaks, against SciPy, NumPy and scikit-learn, or the sum that defines them."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial import distance as spatial
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler

from mandate.measure.data import distances
from mandate.measure.data.contents import contents
from mandate.measure.data.domain import domain_auc
from mandate.measure.data.drift import drift
from mandate.measure.data.grid import grid
from mandate.measure.data.leakage import giveaways
from mandate.measure.data.profile import dumps, loads, profile
from mandate.measure.data.repeats import repeated_rows
from mandate.measure.split import Split

NEAR = {"rel": 1e-9, "abs": 1e-12}
NONE = ((0, 0), (0, 0))
SIZES = [(30, 40), (7, 300), (400, 400), (3000, 20_011), (40_000, 25_000)]


def pair(sizes: tuple[int, int], *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two skewed samples, the second shifted and wider; with `ties`, of few different values."""
    rng = np.random.default_rng(sizes)
    one, other = rng.lognormal(0.0, 0.7, sizes[0]), rng.lognormal(0.2, 0.9, sizes[1]) - 0.5
    return (np.round(one, 1), np.round(other, 1)) if ties else (one, other)


def found(one, other, name: str):
    """The distance of a column with these values, from stored profiles."""
    stored = [loads(dumps(profile([pa.table({"x": values})]))) for values in (one, other)]
    (column,) = drift(*stored)
    return next(item for item in column.distances if item.name == name)


@pytest.mark.row("D1/distances")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_ks_is_scipys_statistic(sizes, ties):
    one, other = pair(sizes, ties=ties)
    expected = stats.ks_2samp(one, other, method="asymp").statistic
    assert found(one, other, "ks").value == pytest.approx(expected, **NEAR)


def test_ks_counts_infinities_at_the_ends():
    one, other = pair((60, 80), ties=False)
    other[:25], one[:3] = -np.inf, np.inf
    assert found(one, other, "ks").value == pytest.approx(stats.ks_2samp(one, other, method="asymp").statistic, **NEAR)


@pytest.mark.parametrize("sizes", SIZES[:3])
def test_ks_p_is_scipys_exact_one(sizes):
    one, other = pair(sizes, ties=False)
    for shift in (0.0, 0.2, 0.45):
        expected = stats.ks_2samp(one, other + shift, method="exact")
        if expected.pvalue > 1e-10:  # a difference from 1 below that is rounding
            assert found(one, other + shift, "ks").p == pytest.approx(expected.pvalue, rel=1e-4)


def test_ks_p_beyond_the_exact_size_is_kolmogorovs_and_near_the_exact_one():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=900), rng.normal(0.07, 1, size=700)
    for shift in (0.0, 0.05, 0.1):
        item, peer = found(one, other + shift, "ks"), stats.ks_2samp(one, other + shift, method="exact")
        assert item.p == pytest.approx(stats.kstwobign.sf(item.value * math.sqrt(900 * 700 / 1600)), rel=1e-9)
        assert peer.pvalue <= item.p <= 1.15 * peer.pvalue


@pytest.mark.row("D1/distances")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_wasserstein_is_scipys_over_the_references_deviation(sizes, ties):
    one, other = pair(sizes, ties=ties)
    expected = stats.wasserstein_distance(one, other) / np.std(one)
    assert found(one, other, "wasserstein").value == pytest.approx(expected, **NEAR)


@pytest.mark.parametrize("sizes", SIZES)
def test_edges_are_numpys_by_doane(sizes):
    one, _ = pair(sizes, ties=False)
    cells = grid(one)
    edges = distances.doane_edges(cells, distances.moments(cells))
    assert edges == pytest.approx(np.histogram_bin_edges(one, "doane")[1:-1], **NEAR)


@pytest.mark.row("D1/distances")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_jensen_shannon_is_scipys_to_base_2(sizes, ties):
    one, other = pair(sizes, ties=ties)
    inner = np.histogram_bin_edges(one, "doane")[1:-1]
    missing = np.full(11, np.nan)
    counts = [np.bincount(np.searchsorted(inner, x, side="right"), minlength=len(inner) + 1) for x in (one, other)]
    counts[1] = np.append(counts[1], len(missing))
    expected = spatial.jensenshannon(np.append(counts[0], 0), counts[1], base=2)
    assert found(one, np.append(other, missing), "jensen_shannon").value == pytest.approx(expected, **NEAR)


@pytest.mark.row("D1/distances")
def test_psi_is_its_sum_over_the_references_deciles_and_missing():
    one, other = pair((997, 503), ties=False)
    other = np.append(other, [np.nan] * 20)
    ordered = sorted(one.tolist())
    edges = [ordered[math.ceil(len(ordered) * tenth / 10) - 1] for tenth in range(1, 10)]

    def shares(values):
        counts = [0] * 11
        for value in values.tolist():
            counts[10 if math.isnan(value) else sum(value >= edge for edge in edges)] += 1
        return [max(count / len(values), 1e-4) for count in counts]

    expected = math.fsum((p - q) * math.log(p / q) for p, q in zip(shares(one), shares(other), strict=True))
    assert found(one, other, "psi").value == pytest.approx(expected, **NEAR)


def test_psi_of_texts_has_bins_for_unseen_and_missing():
    one, other = ["a"] * 50 + ["b"] * 40 + [None] * 10, ["a"] * 20 + ["c"] * 15 + ["d"] * 5 + [None] * 10
    p, q = [0.5, 0.4, 1e-4, 0.1], [0.4, 1e-4, 0.4, 0.2]
    expected = math.fsum((x - y) * math.log(x / y) for x, y in zip(p, q, strict=True))
    assert found(one, other, "psi").value == pytest.approx(expected, **NEAR)
    expected = spatial.jensenshannon([50, 40, 0, 10], [20, 0, 20, 10], base=2)
    assert found(one, other, "jensen_shannon").value == pytest.approx(expected, **NEAR)


@pytest.mark.row("D1/distances")
@pytest.mark.parametrize("sizes", [(300, 300), (5000, 700)])
def test_chi_square_is_scipys_contingency(sizes):
    rng = np.random.default_rng(sizes)
    names, shares = np.array(list("abcd")), ([0.4, 0.3, 0.2, 0.1], [0.25] * 4)
    one, other = (rng.choice(names, size, p=p) for size, p in zip(sizes, shares, strict=True))
    table = np.array([[int((values == name).sum()) for name in names] for values in (one, other)])
    peer = stats.chi2_contingency(table, correction=False)
    item = found(one.tolist(), other.tolist(), "chi_square")
    assert (item.statistic, item.p) == pytest.approx((peer.statistic, peer.pvalue), **NEAR)
    equal = table * np.array([[sizes[1]], [sizes[0]]])
    assert item.value == pytest.approx(stats.contingency.association(equal, method="cramer"), **NEAR)


def test_missing_is_scipys_contingency_of_two_shares():
    one, other = [1.0] * 900 + [None] * 100, [1.0] * 300 + [None] * 60
    peer = stats.chi2_contingency([[900, 100], [300, 60]], correction=False)
    item = found(one, other, "missing")
    assert (item.statistic, item.p) == pytest.approx((peer.statistic, peer.pvalue), **NEAR)
    assert item.value == pytest.approx(60 / 360 - 0.1, **NEAR)


def test_chi_square_takes_no_sample_as_exact():
    """Nothing has changed: 1,000 against 1,000 rows of 5 classes are rarely significant at 5 %."""
    rng = np.random.default_rng(8)
    p = [0.3, 0.3, 0.2, 0.15, 0.05]
    draws = rng.multinomial(1000, p, size=(4000, 2))
    wrong = np.mean([distances.chi_square(a, b).p <= 0.05 for a, b in draws])
    assert 0.035 <= wrong <= 0.06


def test_ks_holds_its_level_with_unequal_sizes():
    rng = np.random.default_rng(9)
    wrong = 0
    for _ in range(1500):
        one, other = grid(rng.normal(size=90)), grid(rng.normal(size=140))
        gap, _ = distances.ks(one, other, distances.apart(one, other), extremes=NONE)
        wrong += distances.ks_p(gap, 90, 140) <= 0.05
    assert 0.025 <= wrong / 1500 <= 0.06


@pytest.mark.row("D1/change")
def test_holm_is_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(3).uniform(size=40) ** 4
    assert distances.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist(), **NEAR)


@pytest.mark.row("D5/giveaways")
def test_a_feature_of_few_values_has_scikit_learns_auc():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    label = rng.random(4000) < 0.3
    feature = np.where(rng.random(4000) < 0.95, label, ~label) * 2 + rng.integers(0, 2, 4000)
    table = pa.table({"x": feature, "y": label})
    train = np.arange(4000) < 2500
    learnt = np.array([label[train][feature[train] == value].mean() for value in range(4)])
    (finding,) = giveaways(table, train, ~train, target="y", features=["x"], limit=0.9)
    expected = roc_auc_score(label[~train], learnt[feature[~train]])
    assert finding.numbers["auc"] == pytest.approx(max(expected, 0), **NEAR)


def test_a_feature_of_few_values_has_scikit_learns_r2():
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(5)
    feature = rng.integers(0, 6, 3000)
    label = np.array([0.0, 7.0, 1.0, 8.0, 2.0, 9.0])[feature] + rng.normal(0, 0.4, 3000)
    table = pa.table({"x": feature, "y": label})
    train = np.arange(3000) < 2000
    learnt = np.array([label[train][feature[train] == value].mean() for value in range(6)])
    (finding,) = giveaways(table, train, ~train, target="y", features=["x"], regression=True)
    assert finding.numbers["r2"] == pytest.approx(r2_score(label[~train], learnt[feature[~train]]), **NEAR)


@pytest.mark.row("D1/classifier")
def test_the_domain_classifier_is_scikit_learns_cross_fitted():
    rng = np.random.default_rng(31)
    rows, columns = 600, 30
    values = rng.normal(size=(rows, columns))
    later = rng.random(rows) < 0.4
    values[:, 0] += 0.6 * later
    keys = rng.integers(0, 2**63, rows, dtype=np.uint64)
    split = Split(part=np.where(later, 2, 0).astype(np.int8), keys=keys, digest="d")
    names = [f"x{index}" for index in range(columns)]
    table = pa.table(dict(zip(names, values.T, strict=True)))
    ours = domain_auc(table, split, features=names, folds=4)
    fold = [((int(key) * 2654435769 % 2**64) >> 16) % 4 for key in keys]
    scaled = StandardScaler().fit_transform(values)
    model = LogisticRegression(tol=1e-10, max_iter=10_000)
    theirs = cross_val_predict(model, scaled, later, cv=PredefinedSplit(fold), method="predict_proba")[:, 1]
    assert ours.estimate == pytest.approx(roc_auc_score(later, theirs), abs=1e-4), "domain_auc"
    assert ours.support.rows == rows


def test_rows_that_repeat_others_of_their_part_are_pandas():
    rng = np.random.default_rng(6)
    columns = {"x": np.round(rng.normal(size=800), 1), "c": rng.choice(list("ab"), 800), "y": rng.integers(0, 2, 800)}
    table, part = pa.table(columns), rng.choice(np.array([-1, 0, 2], np.int8), 800)
    split = Split(part=part, keys=np.arange(800, dtype=np.uint64), digest="sha256:" + "0" * 64)
    told = repeated_rows(table, split, contents(table, table.column_names), features=["x", "c"])
    assert [one.part for one in told] == ["train", "test"]
    for one, place in zip(told, (0, 2), strict=True):
        frame = table.to_pandas()[part == place]
        assert one.numbers["surplus"] == frame.duplicated().sum() > 0
        assert one.numbers["repeated"] == frame.duplicated(keep=False).sum()
        assert one.effect == frame.duplicated().mean()
