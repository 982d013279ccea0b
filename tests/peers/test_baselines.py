"""The Linear baseline against scikit-learn's own pipeline on the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mandate.measure import baselines
from mandate.measure.matrix import Design

FEATURES = ["age", "income", "color"]


def data(rows: int = 700) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    income = rng.lognormal(size=rows)
    income[rng.random(rows) < 0.1] = np.nan
    frame = pd.DataFrame({
        "age": rng.integers(18, 80, rows),
        "income": income,
        "color": rng.choice(["red", "green", "blue"], rows),
    })  # fmt: skip
    frame.loc[rows - 3 :, "color"] = "unseen"
    return frame


TRAIN = np.arange(700) < 500


def fit(model, actual):
    """The fitted pipeline and the frame it predicts on."""
    frame = data()
    # Ours scales by the spread of the known values, scikit-learn's by that after the mean is filled in.
    known = frame["income"][TRAIN]
    frame["gone"] = frame["income"].isna().astype(float)
    frame["income"] = ((frame["income"] - known.mean()) / known.std(ddof=0)).fillna(0.0)
    pipeline = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["age"]),
            ("passthrough", ["income", "gone"]),
            (OneHotEncoder(handle_unknown="ignore"), ["color"]),
        ),
        model,
    )
    return pipeline.fit(frame[TRAIN], actual[TRAIN]), frame


def matrix() -> Design:
    return baselines.design(pa.Table.from_pandas(data(), preserve_index=False), FEATURES, TRAIN)


@pytest.mark.row("B1/linear")
def test_binary():
    rng = np.random.default_rng(1)
    actual = rng.random(700) < 1 / (1 + np.exp(-(data()["age"].to_numpy() - 50) / 15))
    pipeline, frame = fit(LogisticRegression(solver="newton-cholesky", tol=1e-12), actual)
    ours, converged = baselines.logistic(matrix(), actual, TRAIN, classes=2)
    assert converged
    assert ours == pytest.approx(pipeline.predict_proba(frame)[:, 1], abs=1e-5)


@pytest.mark.row("B1/linear")
def test_multiclass():
    rng = np.random.default_rng(2)
    actual = np.clip(np.round((data()["age"].to_numpy() - 18) / 20 + rng.normal(size=700)), 0, 2).astype(int)
    pipeline, frame = fit(LogisticRegression(solver="newton-cholesky", tol=1e-12), actual)
    ours, converged = baselines.logistic(matrix(), actual, TRAIN, classes=3)
    assert converged
    assert ours == pytest.approx(pipeline.predict_proba(frame), abs=1e-5)


@pytest.mark.row("B1/linear")
def test_regression():
    actual = 0.3 * data()["age"].to_numpy() + np.random.default_rng(3).normal(size=700)
    pipeline, frame = fit(Ridge(), actual)
    assert baselines.ridge(matrix(), actual, TRAIN) == pytest.approx(pipeline.predict(frame), abs=1e-9)


@pytest.mark.row("B1/training-rows")
def test_nothing_is_learnt_from_rows_that_do_not_train():
    frame = data()
    changed = frame.copy()
    changed.loc[~TRAIN, ["age", "income"]] = 1e6
    ours = baselines.design(pa.Table.from_pandas(frame, preserve_index=False), FEATURES, TRAIN)
    theirs = baselines.design(pa.Table.from_pandas(changed, preserve_index=False), FEATURES, TRAIN)
    ours, theirs = (each.rows(TRAIN) for each in (ours, theirs))
    assert (ours.numbers == theirs.numbers).all()
    assert [code.tolist() for code, _ in ours.hot] == [code.tolist() for code, _ in theirs.hot]


def test_an_unseen_category_is_all_zeros_and_a_constant_column_is_left_out():
    ((code, width),) = matrix().rows(slice(-1, None)).hot
    assert (code.tolist(), width) == ([-1], 3)
    frame = data().assign(age=40)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    nothing = baselines.design(table, ["age"], TRAIN).rows(slice(None))
    assert (nothing.size, nothing.width) == (700, 0)


def test_training_quantiles_are_numpys():
    rng = np.random.default_rng(6)
    values, levels = np.round(rng.normal(size=101), 1), (0.05, 0.25, 0.5, 0.9, 0.999)
    expected = np.quantile(values, levels, method="inverted_cdf")
    assert baselines.quantiles(values, levels).tolist() == expected.tolist()
    weight = rng.integers(1, 5, 101).astype(float)
    expected = np.quantile(values, levels, method="inverted_cdf", weights=weight)
    assert baselines.quantiles(values, levels, weight / weight.mean()).tolist() == expected.tolist()


@pytest.mark.row("B1/class-shares")
def test_simple_baselines_come_from_the_training_rows():
    actual = np.arange(10) < 3
    train = np.arange(10) >= 2
    assert baselines.prior(actual, train, classes=2).tolist() == [0.125] * 10
    assert not baselines.most_frequent(actual, train).any()
    classes = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    assert baselines.prior(classes, train, classes=3)[0].tolist() == [0.0, 3 / 8, 5 / 8]
