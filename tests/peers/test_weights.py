"""Rows with weights: scikit-learn's `sample_weight`, derivatives by multiplicity, survey statistics, repeated rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge

from mandate.evidence.intervals import Beta, Unbounded
from mandate.measure import baselines, metrics, uncertainty
from mandate.measure.matrix import Design
from mandate.measure.metrics import Sample
from mandate.measure.metrics.point import known_shares
from mandate.measure.reliability import reliability
from mandate.verdict.limits import beta_limits
from tests.peers.samples import binary, clusters, multiclass, of_pairs, regression
from tests.peers.test_variances import of, weighted

NEAR = {"rel": 1e-9, "abs": 1e-12}


def weights(rows: int, seed: int = 11) -> np.ndarray:
    """Uneven, some of them equal."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(rows) < 0.3, 1.0, rng.lognormal(size=rows)) * 7.0


def heavy(sample: Sample) -> Sample:
    return replace(sample, weight=weights(len(sample)))


def value(name: str, sample: Sample) -> float:
    return metrics.METRICS[name](sample).value


def influence(function: Callable[[np.ndarray], float], weight: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """n times the derivative by each row's multiplicity, by central differences."""
    rows = len(weight)
    result = np.empty(rows)
    for row in range(rows):
        more, less = weight.copy(), weight.copy()
        more[row] *= 1 + step
        less[row] *= 1 - step
        result[row] = rows * (function(more) - function(less)) / (2 * step)
    return result


@pytest.mark.row("T4/weights")
@pytest.mark.parametrize("name", of("Binary"))
@pytest.mark.parametrize("ties", [False, True])
def test_weighted_values_are_scikit_learns_binary(name, ties):
    sample = heavy(binary(ties=ties))
    assert value(name, sample) == pytest.approx(weighted(name, sample)(sample.weight), **NEAR)


@pytest.mark.parametrize("name", of("Multiclass"))
def test_weighted_values_are_scikit_learns_multiclass(name):
    sample = heavy(multiclass())
    assert value(name, sample) == pytest.approx(weighted(name, sample)(sample.weight), **NEAR)


@pytest.mark.parametrize("name", of("Regression"))
def test_weighted_values_are_scikit_learns_regression(name):
    sample = heavy(regression())
    assert value(name, sample) == pytest.approx(weighted(name, sample)(sample.weight), **NEAR)


@pytest.mark.parametrize("name", of("Binary"))
def test_weighted_influence_is_the_derivative_binary(name):
    sample = heavy(binary())
    expected = influence(weighted(name, sample), sample.weight)
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", of("Multiclass"))
def test_weighted_influence_is_the_derivative_multiclass(name):
    sample = heavy(multiclass())
    expected = influence(weighted(name, sample), sample.weight)
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", of("Regression"))
def test_weighted_influence_is_the_derivative_regression(name):
    sample = heavy(regression())
    expected = influence(weighted(name, sample), sample.weight)
    assert metrics.METRICS[name](sample).psi == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.row("T4/weights")
def test_weighted_errors_are_statsmodels():
    """An intercept-only weighted regression: robust errors, by row (times n/(n-1)) and by cluster."""
    import statsmodels.api as sm

    for name, sample, values in (
        ("bias", regression(), regression().score - regression().actual),
        ("accuracy", binary(), (binary().label == binary().actual).astype(float)),
        ("brier_score", binary(), (binary().score - binary().actual) ** 2),
    ):
        sample = heavy(sample)
        rows = len(values)
        model = sm.WLS(values, np.ones(rows), weights=sample.weight)
        point = metrics.METRICS[name](sample)
        robust = model.fit(cov_type="HC0").bse[0] ** 2 * rows / (rows - 1)
        assert uncertainty.contributions(point, None).variance == pytest.approx(robust, **NEAR), name
        codes = clusters(rows)
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": codes})
        assert uncertainty.contributions(point, codes).variance == pytest.approx(fit.bse[0] ** 2, **NEAR), name


def test_weighted_calibration_slope_is_statsmodels():
    """Value and sandwich variance of a binomial model whose rows have weights."""
    import statsmodels.api as sm

    sample = heavy(binary())
    share = sample.weight / sample.weight.mean()
    design = sm.add_constant(np.log(sample.score / (1 - sample.score)))
    family = sm.families.Binomial()
    model = sm.GLM(sample.actual.astype(float), design, family=family, freq_weights=share)
    fit = model.fit(tol=1e-14, maxiter=100)
    point = metrics.METRICS["calibration_slope"](sample)
    assert point.value == pytest.approx(fit.params[1], rel=1e-8)
    fitted = fit.fittedvalues
    bread = np.linalg.inv((design * (share * fitted * (1 - fitted))[:, None]).T @ design)
    meat = design * (share * (sample.actual - fitted))[:, None]
    rows = len(sample)
    sandwich = (bread @ meat.T @ meat @ bread)[1, 1] * rows / (rows - 1)
    assert uncertainty.contributions(point, None).variance == pytest.approx(sandwich, rel=1e-7)


def shares_of(sample: Sample, prevalence: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """From base weights to those that give each class its prevalence."""
    code = sample.actual.astype(int)

    def weigh(base: np.ndarray) -> np.ndarray:
        return base * (prevalence / np.bincount(code, weights=base))[code]

    return weigh


@pytest.mark.parametrize("name", [*of("Binary"), *(f"{name} " for name in of("Multiclass"))])
def test_influence_under_known_shares_is_the_derivative(name):
    """By multiplicity, while the classes' weights are made up again so that their shares stay as declared."""
    sample = multiclass() if name.endswith(" ") else binary()
    name = name.strip()
    base = weights(len(sample))
    weigh = shares_of(sample, np.array([0.9, 0.1] if sample.binary else [0.1, 0.2, 0.3, 0.4]))
    sample = replace(sample, weight=weigh(base))
    peer = weighted(name, sample)
    point = metrics.METRICS[name](sample)
    found = known_shares(point, sample.actual.astype(np.intp))
    assert found.value == point.value
    assert found.psi == pytest.approx(influence(lambda w: peer(weigh(w)), base), rel=1e-5, abs=1e-5)


@pytest.mark.row("T4/sampling")
def test_weights_of_classes_are_elkans():
    """Reweighted rows and served scores moved to the other prevalence (Elkan 2001, theorem 2) agree on calibration."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=4000)
    chance = 1 / (1 + np.exp(-x))
    actual = rng.random(4000) < chance
    weight = shares_of(Sample(actual=actual), np.array([0.99, 0.01]))(np.ones(4000))
    odds = chance / (1 - chance) * (0.01 / 0.99) / (actual.mean() / (1 - actual.mean()))
    moved = Sample(actual=actual, score=odds / (1 + odds), weight=weight)
    served = Sample(actual=actual, score=chance, weight=weight)
    assert value("observed_expected", moved) == pytest.approx(1.0, abs=0.1)
    assert value("observed_expected", served) < 0.05
    assert value("calibration_slope", moved) == pytest.approx(1.0, abs=0.15)
    assert value("roc_auc", moved) == pytest.approx(value("roc_auc", served), **NEAR)


def test_proportions_under_known_shares_have_the_stratified_variance():
    """Cochran 1977, 5.6: Σ share² p (1 - p) / (n - 1) over the classes."""
    sample = binary(rows=400)
    weight = shares_of(sample, np.array([0.95, 0.05]))(np.ones(400))
    point = known_shares(metrics.METRICS["accuracy"](replace(sample, weight=weight)), sample.actual.astype(np.intp))
    right = sample.label == sample.actual
    expected = math.fsum(
        share**2 * right[rows].mean() * (1 - right[rows].mean()) / (rows.sum() - 1)
        for share, rows in ((0.05, sample.actual), (0.95, ~sample.actual))
    )
    assert uncertainty.contributions(point, None).variance == pytest.approx(expected, **NEAR)


def kish(weight: np.ndarray) -> float:
    return math.fsum(weight) ** 2 / math.fsum(w * w for w in weight)


def test_events_are_kishs():
    sample = heavy(binary())
    w, actual = sample.weight, sample.actual
    minority = math.floor(min(kish(w[actual]), kish(w[~actual])))
    right = sample.label == actual
    for name, expected in (
        ("roc_auc", minority),
        ("average_precision", minority),
        ("log_loss", minority),
        ("observed_expected", minority),
        ("calibration_slope", minority),
        ("recall", math.floor(kish(w[actual]))),
        ("false_positive_rate", math.floor(kish(w[~actual]))),
        ("accuracy", math.floor(min(kish(w[right]), kish(w[~right])))),
        ("matthews_corrcoef", math.floor(kish(w[~right]))),
        ("expected_cost", math.floor(kish(w[~right]))),
        ("f1", math.floor(min(kish(w[actual & sample.label]), kish(w[~right])))),
    ):
        assert metrics.METRICS[name](sample).events == expected, name
    several = heavy(multiclass())
    rarest = min(kish(several.weight[several.actual == k]) for k in range(several.classes))
    assert metrics.METRICS["log_loss"](several).events == math.floor(rarest)
    numbers = heavy(regression())
    for name in set(of("Regression")) - {"interval_coverage"}:
        assert metrics.METRICS[name](numbers).events == math.floor(kish(numbers.weight)), name


@pytest.mark.parametrize("codes", [None, np.unique(clusters(300), return_inverse=True)[1]], ids=["rows", "clusters"])
def test_effective_trials_are_the_smaller_of_kishs_and_korn_and_graubards(codes):
    sample = heavy(binary(rows=300))
    interval = uncertainty.alone(metrics.METRICS["accuracy"](sample), codes)
    assert isinstance(interval, Beta)
    w = sample.weight / sample.weight.sum()
    hit = (sample.label == sample.actual).astype(float)
    share = math.fsum(w * hit)
    units = np.arange(300) if codes is None else codes
    sums = [math.fsum((w * (hit - share))[units == unit]) for unit in sorted(set(units.tolist()))]
    found = len(sums)
    squares = [s * s * found / (found - 1) for s in sums]
    spread = math.fsum(squares)
    degrees = min(found - 1, 2 / (math.fsum(s * s for s in squares) / spread**2 - 1 / found))
    level = uncertainty.KORN_GRAUBARD_LEVEL
    adjust = (stats.t.ppf(level, 299) / stats.t.ppf(level, degrees)) ** 2
    if codes is not None:
        spread = max(spread, of_pairs(w * (hit - share), w, codes))
    expected = min(kish(w), share * (1 - share) / spread * adjust)
    assert interval.trials == pytest.approx(expected, **NEAR)
    assert interval.successes / interval.trials == pytest.approx(share, **NEAR)


def test_an_unseen_error_on_heavy_rows_is_allowed_for():
    """100 heavy rows, all right; 5,000 light ones, 100 of them wrong: 3 % of the heavy ones may be wrong as well."""
    actual = np.ones(5100, dtype=bool)
    label = np.arange(5100) >= 100
    weight = np.where(np.arange(5100) < 5000, 0.02, 1.0)
    interval = uncertainty.alone(metrics.METRICS["accuracy"](Sample(actual=actual, label=label, weight=weight)), None)
    assert isinstance(interval, Beta)
    assert interval.trials == pytest.approx(kish(weight), **NEAR)
    assert stats.beta.ppf(0.025, interval.successes, interval.trials - interval.successes + 1) < 0.99 - 0.03 / 2


def test_limits_need_more_degrees_of_freedom_by_the_design_effect():
    """A weighted mean's limits on as few degrees as a plain one's are wrong too often: tests/peers/coverage.py."""
    rng = np.random.default_rng(5)
    actual = rng.random(1000) < 0.3
    score = np.where(rng.random(1000) < 0.5, 0.3, 0.4)
    sample = Sample(actual=actual, score=score, weight=rng.lognormal(size=1000))
    point = metrics.METRICS["log_loss"](sample)
    effect = 1000 / kish(sample.weight)
    spread = uncertainty.contributions(point, None)
    within = spread.variance**0.5 / point.value
    degrees = spread.sums.degrees(curvature=-within)
    assert point.steady < degrees < point.steady * effect
    interval = uncertainty.alone(point, None)
    assert isinstance(interval, Unbounded)
    assert f"({degrees:.1f} degrees of freedom of {point.steady * effect:.4g})" in interval.reason


def test_clusters_without_variation_count_for_their_weight():
    codes = np.repeat(np.arange(40), 5)
    weight = np.where(codes < 4, 9.0, 1.0)
    sample = Sample(actual=np.ones(200, dtype=bool), label=np.ones(200, dtype=bool), weight=weight)
    interval = uncertainty.alone(metrics.METRICS["accuracy"](sample), codes)
    assert isinstance(interval, Beta)
    mass = np.bincount(codes, weights=weight)
    assert interval.successes == interval.trials == pytest.approx(mass.sum() / mass.max(), **NEAR)


def unseen(name: str, sample: Sample, codes: np.ndarray | None = None) -> Beta:
    interval = uncertainty.alone(metrics.METRICS[name](sample), codes)
    assert isinstance(interval, Beta)
    return interval


def crossed(actual: str, label: str, *weight: float, by_class: bool = False) -> Sample:
    """Rows by their signs, `+` and `-`."""
    declared = metrics.Declared(by_class=by_class)
    sides = (np.array(list(signs)) == "+" for signs in (actual, label))
    return Sample(**dict(zip(("actual", "label"), sides, strict=True)), weight=np.array(weight), declared=declared)


@pytest.mark.row("T4/weights")
@pytest.mark.parametrize(
    ("name", "sample", "trials"),
    [
        # Positives of 2, 2 and 4; negatives answered negative weigh 3 times as much as those answered positive.
        pytest.param("recall", crossed("+++----", "+++--++", 2, 2, 4, 9, 3, 1, 3), 8 / (4 * 3), id="all found"),
        pytest.param("recall", crossed("+++----", "-----++", 2, 2, 4, 9, 3, 1, 3), 8 / 4, id="none found"),
        pytest.param("recall", crossed("+++----", "---++--", 2, 2, 4, 1, 3, 9, 3), 8 / 4, id="all lost"),
        pytest.param("precision", crossed("+++---+", "+++----", 2, 2, 4, 6, 6, 6, 2), 8 / (4 * 3), id="no false alarm"),
        pytest.param("specificity", crossed("---+++", "---+--", 1, 1, 2, 1, 5, 5), 4 / 2, id="lighter"),
        pytest.param("false_positive_rate", crossed("---+++", "---+--", 1, 1, 2, 5, 1, 1), 4 / (2 * 5), id="two kinds"),
        pytest.param("negative_predictive_value", crossed("---+-", "---++", 1, 1, 2, 5, 1), 4 / 10, id="no miss"),
        # The rest shows one kind only, so any row's weight may be that of the other.
        pytest.param("recall", crossed("+++---", "+++---", 1, 1, 1, 7, 7, 7), 3 / 7, id="perfect"),
        pytest.param("recall", crossed("+++---", "+++---", 1, 1, 1, 7, 7, 7, by_class=True), 3, id="class"),
        pytest.param("precision", crossed("+++---", "+++---", 1, 1, 1, 7, 7, 7, by_class=True), 3 / 7, id="other"),
        pytest.param("specificity", crossed("+++---", "+++---", 7, 7, 7, 1, 1, 1, by_class=True), 3, id="its class"),
        # Each row is its own kind of both.
        pytest.param("accuracy", crossed("+++---", "+++---", 1, 1, 1, 7, 7, 7), 24 / 7, id="right"),
    ],
)
def test_without_variation_trials_are_the_heaviest_rows_that_may_not_have_been_seen(name, sample, trials):
    interval = unseen(name, sample)
    assert interval.trials == pytest.approx(trials, **NEAR)
    assert interval.successes in (0.0, interval.trials)
    assert unseen(name, replace(sample, weight=sample.weight * 1e5)).trials == pytest.approx(trials, **NEAR)


def test_clusters_without_variation_count_for_less_where_a_miss_may_weigh_more():
    """40 clusters of five positives; positives and negatives that are answered negative weigh four times as much."""
    codes = np.concatenate([np.repeat(np.arange(40), 5), np.arange(40)])
    actual = np.arange(240) < 200
    label = actual | (np.arange(240) < 220)
    sample = Sample(actual=actual, label=label, weight=np.where(label, 1.0, 4.0))
    assert unseen("recall", sample, codes).trials == pytest.approx(40 / 4, **NEAR)


@pytest.mark.row("T5/interval")
@pytest.mark.parametrize("heavy_wrong", [0.07, 0.105])
def test_limits_hold_where_only_heavy_rows_are_ever_wrong(heavy_wrong):
    """A lower limit at the level at which none is seen mustn't lie above the truth.

    Of 200 rows a tenth weigh five times as much, so how often none is seen is (1 - p)^20. Kish's 115 trials were wrong
    in 10.9 % of samples where 1.25 % is allowed, with p = 0.105.
    """
    weight = np.repeat([5.0, 1.0], [20, 180])
    right = np.ones(200, dtype=bool)
    truth = 1 - 100 * heavy_wrong / weight.sum()
    interval = unseen("accuracy", Sample(actual=right, label=right, weight=weight))
    alpha = (1 - heavy_wrong) ** 20
    assert beta_limits(interval, alpha)[0] <= truth
    assert beta_limits(Beta(successes=kish(weight), trials=kish(weight)), alpha)[0] > truth


def training() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A design, a number to explain, which rows train, and their weights with mean 1."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(400, 3))
    train = np.arange(400) < 300
    weight = weights(300)
    return matrix, matrix @ [1.0, -0.5, 0.2] + rng.normal(size=400), train, weight / weight.mean()


def test_a_weighted_regression_is_scikit_learns():
    matrix, actual, train, weight = training()
    peer = Ridge().fit(matrix[train], actual[train], sample_weight=weight)
    assert baselines.ridge(Design.of(matrix), actual, train, weight) == pytest.approx(peer.predict(matrix), abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_weighted_logistic_fit_is_scikit_learns(classes):
    matrix, number, train, weight = training()
    actual = number > 0 if classes == 2 else np.digitize(number, [-0.7, 0.7])
    peer = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(
        matrix[train], actual[train], sample_weight=weight
    )
    ours, converged = baselines.logistic(Design.of(matrix), actual, train, weight, classes=classes)
    theirs = peer.predict_proba(matrix)
    assert converged
    assert ours == pytest.approx(theirs[:, 1] if classes == 2 else theirs, abs=1e-5)


def test_simple_baselines_are_those_of_repeated_rows():
    rng = np.random.default_rng(5)
    for seed in range(20):
        number = np.round(rng.normal(size=31), 1)
        often = rng.integers(1, 5, 31)
        share = often / often.mean()
        train = np.ones(31, dtype=bool)
        assert baselines.median(number, share) == pytest.approx(float(np.median(np.repeat(number, often))), **NEAR)
        code = np.digitize(number, [-0.5, 0.5])
        again = np.repeat(code, often)
        every = np.ones(len(again), dtype=bool)
        ours = baselines.prior(code, train, share, classes=3)[0]
        assert ours == pytest.approx(baselines.prior(again, every, classes=3)[0], **NEAR), seed
        assert baselines.prior(number > 0, train, share, classes=2)[0] == pytest.approx(
            float(np.mean(np.repeat(number > 0, often))), **NEAR
        )
        if len(set(np.sort(np.bincount(again, minlength=3))[-2:])) == 2:
            assert baselines.most_frequent(code, train, share)[0] == np.bincount(again).argmax()


def test_the_weighted_reliability_curve_is_that_of_repeated_rows():
    plain = binary(rows=200, ties=False)
    often = np.random.default_rng(4).integers(1, 5, 200)
    found = reliability(replace(plain, weight=often.astype(float)))
    again = reliability(plain.take(np.repeat(np.arange(200), often)))
    assert [item.happened for item in found.bins] == pytest.approx([item.happened for item in again.bins], **NEAR)
    assert [item.predicted for item in found.bins] == pytest.approx([item.predicted for item in again.bins], **NEAR)
    assert found.error == pytest.approx(again.error, **NEAR)
    share = often / often.mean()
    variance = [
        math.fsum((share**2 * plain.score * (1 - plain.score))[(plain.score > item.low) & (plain.score <= item.high)])
        for item in found.bins
    ]
    assert found.chance == pytest.approx(math.sqrt(2 / math.pi) * math.fsum(map(math.sqrt, variance)) / 200, **NEAR)


@pytest.mark.parametrize("by_weight", [False, True])
def test_one_cluster_with_nearly_all_the_weight_has_no_interval(by_weight):
    rng = np.random.default_rng(3)
    codes = np.r_[np.zeros(25 if by_weight else 2500, int), np.repeat(np.arange(1, 40), 25)]
    actual = rng.random(len(codes)) < 0.5
    weight = np.where(codes == 0, 100.0, 1.0) if by_weight else None
    label = actual ^ (rng.random(len(codes)) < 0.2)
    point = metrics.METRICS["accuracy"](Sample(actual=actual, label=label, weight=weight))
    interval = uncertainty.alone(point, codes)
    assert isinstance(interval, Unbounded)
    assert (interval.unit, interval.found, interval.needed) == ("clusters", 1, 10)
