"""A skops file is served as scikit-learn itself answers; what could run code is refused."""

import operator
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from mandate.predictor.datatypes import Tensor
from mandate.predictor.errors import ModelError
from mandate.predictor.model import load
from mandate.predictor.skops_model import SkopsModel

LOANS = pd.DataFrame(
    {
        "amount": [1.0, 2.0, 3.0, np.nan] * 10,
        "purpose": ["car", "tv", "car", "boat"] * 10,
        "note": ["late again", "on time", "", "late"] * 10,
    }
)
RISK = ["good", "bad", "good", "bad"] * 10


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def loaded(path, estimator):
    skops.io.dump(estimator, path)
    return load(path, expected="Skops")


def refusal(path, **options):
    with pytest.raises(ModelError) as caught:
        load(path, **options)
    return caught.value.code, str(caught.value)


def fed(frame, model):
    """The columns as a client's tensors: missing texts travel as empty ones."""
    found = {}
    for name, tensor in model.inputs.items():
        text = tensor.datatype == "BYTES"
        values = frame[name].fillna("").to_numpy(object) if text else frame[name].to_numpy(np.float64)
        found[name] = values.reshape(-1, 1)
    return found


@pytest.mark.parametrize(
    "estimator", [HistGradientBoostingClassifier(max_iter=5), LogisticRegression()], ids=["trees", "linear"]
)
def test_columns_by_name_and_kind_are_answered_as_by_scikit_learn(path, estimator):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["purpose"]),
        (TfidfVectorizer(), "note"),
        (SimpleImputer(), ["amount"]),
        sparse_threshold=0,
    )
    fitted = make_pipeline(columns, estimator).fit(LOANS, RISK)
    model = loaded(path, fitted)
    assert {name: tensor.datatype for name, tensor in model.inputs.items()} == {
        "amount": "FP64",
        "purpose": "BYTES",
        "note": "BYTES",
    }
    assert model.outputs == {
        "label": Tensor("label", "BYTES", (-1,)),
        "probabilities": Tensor("probabilities", "FP64", (-1, 2)),
    }
    found = model.run(fed(LOANS, model))
    np.testing.assert_array_equal(found["probabilities"], fitted.predict_proba(LOANS))
    assert found["label"].tolist() == fitted.predict(LOANS).tolist()
    assert list(model.run(fed(LOANS, model), ("label",))) == ["label"]


def test_a_missing_text_is_what_the_encoder_knows_as_missing(path):
    gaps = LOANS.assign(purpose=[None, "tv", "car", "boat"] * 10)[["purpose"]].astype(object)
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder())
    for step in (OneHotEncoder(), filled):
        fitted = make_pipeline(make_column_transformer((step, ["purpose"])), LogisticRegression()).fit(gaps, RISK)
        model = loaded(path, fitted)
        found = model.run({"purpose": np.array([[""], ["car"]], dtype=object)})["probabilities"]
        np.testing.assert_array_equal(found, fitted.predict_proba(gaps.iloc[[0, 2]]))


def test_an_array_without_names_is_one_matrix(path):
    fitted = RandomForestRegressor(5, n_jobs=2, random_state=0).fit(np.arange(30.0).reshape(-1, 3), range(10))
    model = loaded(path, fitted)
    assert model.inputs == {"X": Tensor("X", "FP64", (-1, 3))}
    assert list(model.outputs) == ["variable"]
    rows = np.array([[1.0, 2.0, 3.0], [20.0, 21.0, 22.0]])
    np.testing.assert_allclose(model.run({"X": rows})["variable"], fitted.predict(rows))


def test_a_refused_input_says_why(path):
    columns = make_column_transformer((OneHotEncoder(), ["purpose"]))
    model = loaded(path, make_pipeline(columns, LogisticRegression()).fit(LOANS, RISK))
    assert list(model.inputs) == ["purpose"], "the others are dropped, so nobody needs to send them"
    with pytest.raises(ModelError, match="unknown categories") as caught:
        model.run({"purpose": np.array([["yacht"]], dtype=object)})
    assert caught.value.code == "RunFailed"


@pytest.mark.row("R3/formats")
def test_a_function_of_the_files_own_is_refused_by_name(path):
    turned = make_pipeline(FunctionTransformer(operator.neg), LogisticRegression())
    skops.io.dump(turned.fit(LOANS[["amount"]].fillna(0), RISK), path)
    code, words = refusal(path, expected="Skops")
    assert code == "Unreadable"
    assert "operator.neg" in words
    assert "ONNX" in words


@pytest.mark.row("R3/formats")
@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(print), b"PK\x03\x04 schema.json"])
def test_what_is_no_skops_file_is_refused(path, content):
    path.write_bytes(content)
    assert refusal(path, expected="Skops")[0] == "Unreadable"


def test_an_archive_without_a_model_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "{}")
    assert refusal(path)[0] == "Unreadable"


def test_an_archive_that_unpacks_to_far_more_is_refused(path, monkeypatch):
    skops.io.dump(LogisticRegression(), path)
    monkeypatch.setattr("mandate.predictor.skops_model._UNPACKED", 100)
    assert "unpacks to" in refusal(path, expected="Skops")[1]


@pytest.mark.parametrize(
    ("estimator", "words"),
    [(LogisticRegression(), "isn't fitted"), (KMeans(2, n_init=1).fit([[0.0], [1.0]]), "a classifier or a regressor")],
)
def test_what_gives_no_answers_is_refused(path, estimator, words):
    skops.io.dump(estimator, path)
    code, said = refusal(path)
    assert code == "UnsupportedModel"
    assert words in said


def test_the_declared_format_is_held_to(path):
    skops.io.dump(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), path)
    code, words = refusal(path, expected="ONNX")
    assert (code, "declare format: Skops" in words) == ("Unreadable", True)
    assert isinstance(load(path), SkopsModel)
