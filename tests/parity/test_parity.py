"""The Pod's steps, the command line and the command line with a server: the same computed evidence, byte for byte."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mandate.evidence.schema import Evidence, computed_bytes
from tests.evaluation import loans, locally
from tests.models import predictor


def credit(claims, declared):
    """Binary, one tensor per column: a pipeline with imputation and one-hot encoding of strings."""
    frame = loans().to_pandas()
    features = ["amount", "age", "purpose"]
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("amount", make_pipeline(SimpleImputer(), StandardScaler()), ["amount"]),
                ("age", StandardScaler(), ["age"]),
                ("purpose", OneHotEncoder(handle_unknown="ignore"), ["purpose"]),
            ]
        ),
        LogisticRegression(),
    ).fit(frame[features], (frame["risk"] == "bad").astype(int))
    types = [
        ("amount", FloatTensorType([None, 1])),
        ("age", Int64TensorType([None, 1])),
        ("purpose", StringTensorType([None, 1])),
    ]
    model = to_onnx(pipeline, initial_types=types, options={"zipmap": False}, target_opset=17)
    (claims / "models" / "model.onnx").write_bytes(model.SerializeToString())
    declared["task"]["beta"] = "2"
    declared["errorCosts"] = [
        {"actual": "bad", "predicted": "good", "cost": "5200.50", "currency": "EUR"},
        {"actual": "good", "predicted": "bad", "cost": "0", "currency": "EUR"},
    ]


def wine(claims, declared):
    """Multiclass, one matrix: a forest, whose float32 sums depend on their order."""
    data = datasets.load_wine()
    random = np.random.default_rng(1)
    rows = random.integers(0, len(data.target), 3300)
    values = data.data[rows] + random.normal(scale=0.3, size=(len(rows), data.data.shape[1])) * data.data.std(0)
    classes = tuple(data.target_names.tolist())
    forest = RandomForestClassifier(60, random_state=1).fit(values[:2000], data.target[rows][:2000])
    model = to_onnx(forest, values[:1].astype(np.float32), options={"zipmap": False}, target_opset=17)
    (claims / "models" / "model.onnx").write_bytes(model.SerializeToString())
    names = [f"x{index}" for index in range(values.shape[1])]
    table = pa.table(dict(zip(names, values.T, strict=True)) | {"kind": np.array(classes)[data.target[rows]]})
    parquet.write_table(table, claims / "data" / "wine.parquet")
    declared["model"]["inputs"] = {"columns": names, "encoding": "Matrix", "name": "X"}
    declared["model"]["output"] = {"name": "probabilities", "classes": list(classes)}
    declared["task"] = {"type": "Multiclass", "target": "kind", "topK": 2}
    declared["data"] = {"source": {"uri": "pvc://data/wine.parquet"}, "split": {"method": "Random", "seed": 3}}
    declared["baselines"] = [{"name": "most-frequent", "type": "MostFrequent"}, {"name": "linear", "type": "Linear"}]


def diabetes(claims, declared):
    """Regression, parts given one by one, as CSV."""
    data = datasets.load_diabetes()
    model = GradientBoostingRegressor(random_state=1).fit(data.data[:250], data.target[:250])
    exported = to_onnx(model, data.data[:1].astype(np.float32), target_opset=17)
    (claims / "models" / "model.onnx").write_bytes(exported.SerializeToString())
    columns = dict(zip(data.feature_names, data.data.T, strict=True)) | {"progression": data.target}
    table = pa.table(columns)
    for name, start, stop in (("train", 0, 250), ("validation", 250, 300), ("test", 300, 442)):
        csv.write_csv(table.slice(start, stop - start), claims / "data" / f"{name}.csv")
    declared["model"]["inputs"] = {"columns": list(data.feature_names), "encoding": "Matrix", "name": "X"}
    declared["model"]["output"] = {"name": "variable", "kind": "Value"}
    declared["task"] = {"type": "Regression", "target": "progression"}
    declared["data"] = {part: {"uri": f"pvc://data/{part}.csv"} for part in ("train", "validation", "test")}
    declared["baselines"] = [{"name": "median", "type": "Median"}, {"name": "linear", "type": "Linear"}]


def searches(claims, declared):
    """Ranking, one matrix: scores of rows, in batches that cut queries."""
    random = np.random.default_rng(5)
    rows, each = 3000, 7
    values = random.normal(size=(rows, 3))
    grade = np.clip(np.round(values[:, 0] + random.normal(size=rows)), 0, 3)
    model = GradientBoostingRegressor(random_state=1).fit(values[:1500], grade[:1500])
    exported = to_onnx(model, values[:1].astype(np.float32), target_opset=17)
    (claims / "models" / "model.onnx").write_bytes(exported.SerializeToString())
    columns = dict(zip("abc", values.T, strict=True)) | {"grade": grade, "item": random.integers(0, 40, rows)}
    parquet.write_table(pa.table(columns | {"search": np.arange(rows) // each}), claims / "data" / "searches.parquet")
    declared["model"]["inputs"] = {"columns": ["a", "b", "c"], "encoding": "Matrix", "name": "X"}
    declared["model"]["output"] = {"name": "variable", "kind": "Value"}
    declared["task"] = {"type": "Ranking", "target": "grade", "query": "search", "cluster": "search", "topK": 3}
    declared["data"] = {"source": {"uri": "pvc://data/searches.parquet"}, "split": {"method": "Group", "seed": 3}}
    declared["baselines"] = [{"name": "popular", "type": "Popularity", "by": ["item"]}]


@pytest.mark.row("G6/evidence")
@pytest.mark.parametrize("prepare", [credit, wine, diabetes, searches])
def test_the_pod_and_the_command_line_agree_byte_for_byte(pod, claims, declared, prepare):
    prepare(claims, declared)
    offline = computed_bytes(locally(declared, claims).computed)
    assert computed_bytes(locally(declared, claims, serve=True).computed) == offline
    code, ended = pod.fetch(declared)
    assert code == 0, ended.failure
    with predictor(pod.model, "--digest", ended.digests["model"]) as (url, _):
        _, _, result = pod.judge(url)
    assert result.failure is None
    assert computed_bytes(Evidence.model_validate(result.evidence).computed) == offline
    digests = {name: digest for name, digest in ended.digests.items() if name not in ("model", "split")}
    assert Evidence.model_validate(result.evidence).computed.inputs.data == digests
