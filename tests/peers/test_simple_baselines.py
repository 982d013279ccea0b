"""Guesses, one-column rules and looking back in time, against scikit-learn and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import balanced_accuracy_score, roc_curve
from sklearn.tree import DecisionTreeRegressor

from mandate.measure import baselines, guesses, history, threshold

TRAIN = np.arange(900) < 600
VALIDATION = ~TRAIN & (np.arange(900) < 750)


def rows(seed: int = 0, size: int = 900) -> pd.DataFrame:
    """Columns with ties, with a skewed distribution, and one that tells nothing."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "noise": rng.normal(size=size),
        "tied": rng.integers(0, 12, size).astype(float),
        "skewed": rng.lognormal(size=size),
    })  # fmt: skip


def classes_of(frame: pd.DataFrame, classes: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = np.log(frame["skewed"].to_numpy()) + 0.1 * frame["tied"].to_numpy() + rng.normal(size=len(frame))
    return np.digitize(raw, np.quantile(raw, np.linspace(0, 1, classes + 1)[1:-1] ** 0.5)).astype(np.intp)


def rule_of(frame: pd.DataFrame, actual: np.ndarray, *, classes: int, names=("noise", "tied", "skewed")):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    found = threshold.best_rule(table, names, actual, classes=classes, train=TRAIN, validation=VALIDATION)
    assert found is not None
    return found


@pytest.mark.row("B1/class-shares")
@pytest.mark.parametrize("strategy", ["prior", "uniform"])
def test_probabilities_are_those_of_the_dummy_classifier(strategy):
    actual = classes_of(rows(), 3)
    dummy = DummyClassifier(strategy=strategy).fit(np.zeros((600, 1)), actual[TRAIN])
    ours = (
        baselines.prior(actual, TRAIN, classes=3)
        if strategy == "prior"
        else guesses.uniform(np.zeros(900), binary=False, classes=3)[1]
    )
    assert ours == pytest.approx(dummy.predict_proba(np.zeros((900, 1))), abs=1e-12)


@pytest.mark.row("B1/constant")
@pytest.mark.parametrize("strategy", ["mean", "median"])
def test_numbers_are_those_of_the_dummy_regressor(strategy):
    actual = rows()["skewed"].to_numpy()
    dummy = DummyRegressor(strategy=strategy).fit(np.zeros((600, 1)), actual[TRAIN])
    ours = {"mean": np.mean, "median": np.median}[strategy](actual[TRAIN])
    assert baselines.constant(float(ours), 2) == pytest.approx(dummy.predict(np.zeros((2, 1))))


@pytest.mark.row("B1/guesses")
@pytest.mark.parametrize("strategy", ["uniform", "stratified"])
@pytest.mark.parametrize("classes", [2, 4])
def test_guesses_are_right_as_often_as_the_dummy_classifiers(strategy, classes):
    """Both against what is expected of them, Σ p/K or Σ p², within five standard errors; every class in its share."""
    size = 40_000
    rng = np.random.default_rng(2)
    share = np.arange(1, classes + 1) / (classes * (classes + 1) / 2)
    actual = rng.choice(classes, size, p=share)
    truth = actual == 1 if classes == 2 else actual
    drawn = guesses.draws(rng.integers(0, 2**63, size).astype(np.uint64), np.zeros(size, dtype=np.int8), seed=7)
    prior = baselines.prior(truth, np.ones(size, dtype=np.bool_), classes=classes)
    if strategy == "uniform":
        said, chance = guesses.uniform(drawn, binary=classes == 2, classes=classes)[0], np.full(classes, 1 / classes)
    else:
        said, chance = guesses.stratified(drawn, prior), share
    dummy = DummyClassifier(strategy=strategy, random_state=3).fit(np.zeros((size, 1)), actual)
    expected = float(share @ chance)
    bound = 5 * np.sqrt(expected * (1 - expected) / size)
    assert np.mean(said == truth) == pytest.approx(expected, abs=bound)
    assert np.mean(dummy.predict(np.zeros((size, 1))) == actual) == pytest.approx(expected, abs=bound)
    counts = np.bincount(said.astype(np.intp), minlength=classes) / size
    assert counts == pytest.approx(chance, abs=5 * np.sqrt(0.25 / size))


@pytest.mark.row("B1/threshold")
def test_the_cut_off_is_youdens():
    """Of one column: the highest TPR - FPR on scikit-learn's ROC curve, in either direction."""
    frame = rows()
    actual = classes_of(frame, 2) == 1
    for name, sign in (("skewed", 1.0), ("tied", 1.0), ("noise", 1.0), ("skewed", -1.0)):
        turned = frame.assign(one=sign * frame[name])
        rule, group = rule_of(turned, actual, classes=2, names=("one",))
        best = 0.0
        for side in (turned["one"], -turned["one"]):
            fpr, tpr, _ = roc_curve(actual[TRAIN], side[TRAIN])
            best = max(best, float(np.max(tpr - fpr)))
        assert 2 * rule.on_train - 1 == pytest.approx(best, abs=1e-12)
        said = rule.labels[group] == 1
        assert balanced_accuracy_score(actual[TRAIN], said[TRAIN]) == pytest.approx(rule.on_train, abs=1e-12)
        assert balanced_accuracy_score(actual[VALIDATION], said[VALIDATION]) == pytest.approx(rule.on_validation)


@pytest.mark.row("B1/threshold")
def test_the_cut_off_of_several_classes_is_the_best_of_all():
    frame = rows(5)
    actual = classes_of(frame, 4)
    rule, _ = rule_of(frame, actual, classes=4, names=("skewed",))
    best = 0.0
    for cut in np.unique(frame["skewed"][TRAIN])[:-1]:
        above = (frame["skewed"] > cut).to_numpy()[TRAIN]
        for high in range(4):
            for low in range(4):
                best = max(best, balanced_accuracy_score(actual[TRAIN], np.where(above, high, low)))
    assert rule.on_train == pytest.approx(best, abs=1e-12)


@pytest.mark.row("B1/threshold")
def test_the_cut_off_of_numbers_is_a_regression_trees_first():
    frame = rows(6)
    actual = 3.0 * (frame["tied"].to_numpy() > 7.5) + np.random.default_rng(8).normal(size=900) + 1e6
    for name in ("tied", "skewed"):
        rule, group = rule_of(frame, actual, classes=0, names=(name,))
        tree = DecisionTreeRegressor(max_depth=1).fit(frame.loc[TRAIN, [name]], actual[TRAIN])
        assert rule.cutoff == pytest.approx(tree.tree_.threshold[0], rel=1e-6)
        assert rule.answers[group] == pytest.approx(tree.predict(frame[[name]]), rel=1e-12)
        assert rule.on_train == pytest.approx(tree.score(frame.loc[TRAIN, [name]], actual[TRAIN]), abs=1e-9)


def test_the_validation_rows_choose_the_column():
    """A column of many values is the best in training by chance, and no good elsewhere."""
    frame = rows(7)
    rng = np.random.default_rng(9)
    actual = rng.random(900) < np.where(frame["tied"] > 5.5, 0.6, 0.4)
    lucky = np.where(TRAIN, actual + rng.normal(size=900), rng.normal(size=900))
    frame = frame.assign(lucky=lucky)
    rule, _ = rule_of(frame, actual, classes=2, names=("lucky", "tied"))
    assert rule.name == "tied"
    alone, _ = rule_of(frame, actual, classes=2, names=("lucky",))
    assert alone.on_train > rule.on_train
    assert alone.on_validation < rule.on_validation


def sales(seed: int = 3) -> pd.DataFrame:
    """Daily at 8 o'clock in Berlin, two shops, over both changes of the clock, with days that are left out."""
    days = pd.date_range("2024-02-01 08:00", "2024-12-20 08:00", freq="D", tz="Europe/Berlin")
    rng = np.random.default_rng(seed)
    frame = pd.concat([pd.DataFrame({"at": days, "shop": shop}) for shop in ("north", "south")], ignore_index=True)
    frame["sold"] = rng.normal(10, 3, len(frame))
    return frame[rng.random(len(frame)) > 0.1].sample(frac=1, random_state=seed).reset_index(drop=True)


def looking_back(frame: pd.DataFrame, how, *, delay: str | None = None, zone: str | None = None, **settings):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    given = history.past(table, "at", zone=zone, delay=delay)
    return how(frame["sold"].to_numpy(), history.series(table, ["shop"]), given, **settings)


@pytest.mark.row("B1/past")
def test_the_value_before_is_pandas_shift():
    frame = sales()
    theirs = frame.sort_values("at").groupby("shop")["sold"].shift(1).sort_index()
    assert looking_back(frame, history.previous) == pytest.approx(theirs.to_numpy(), nan_ok=True)


def test_a_value_that_is_known_late_is_pandas_merge_asof():
    frame = sales()
    known = frame.assign(at=frame["at"] + pd.Timedelta(days=3)).rename(columns={"sold": "before"}).sort_values("at")
    merged = pd.merge_asof(frame.reset_index().sort_values("at"), known, on="at", by="shop").sort_values("index")
    ours = looking_back(frame, history.previous, delay="3d")
    assert ours == pytest.approx(merged["before"].to_numpy(), nan_ok=True)


@pytest.mark.row("B1/past")
@pytest.mark.parametrize("written", ["Berlin", "UTC", "text"])
def test_a_season_before_is_the_same_hour_on_the_clock(written):
    """A week before by pandas' calendar; where that day is left out, two weeks before, and so on."""
    frame = sales()
    found = frame.set_index(["shop", "at"])["sold"]
    wanted = []
    for shop, at in zip(frame["shop"], frame["at"], strict=True):
        earlier = (found.get((shop, at - pd.DateOffset(weeks=weeks))) for weeks in range(1, 60))
        wanted.append(next((value for value in earlier if value is not None), np.nan))
    times = {
        "Berlin": frame["at"],
        "UTC": frame["at"].dt.tz_convert("UTC"),
        "text": frame["at"].map(lambda at: at.isoformat()),
    }
    zone = None if written == "Berlin" else "Europe/Berlin"
    ours = looking_back(frame.assign(at=times[written]), history.seasonal, season="Week", zone=zone)
    assert np.count_nonzero(~np.isnan(wanted)) > 500
    assert ours == pytest.approx(np.array(wanted), nan_ok=True)


@pytest.mark.row("B1/past")
@pytest.mark.parametrize(("period", "code"), [("Week", "W-SUN"), ("Month", "M"), ("Quarter", "Q")])
def test_the_last_period_is_pandas_period(period, code):
    frame = sales()
    number = frame["at"].dt.tz_localize(None).dt.to_period(code)
    means = frame.assign(number=number).groupby(["shop", "number"])["sold"].mean()
    wanted = []
    for shop, own in zip(frame["shop"], number, strict=True):
        earlier = [mean for other, mean in means[shop].items() if other < own]
        wanted.append(earlier[-1] if earlier else np.nan)
    assert looking_back(frame, history.last_period, period=period) == pytest.approx(np.array(wanted), nan_ok=True)
