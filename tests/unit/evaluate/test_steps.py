"""fetch, fetch-model and judge as the Pod runs them: real files, a real predictor, real messages."""

import os
import re
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.evaluate import frame
from mandate.evaluate.data import read
from mandate.evaluate.failures import EvaluationError
from mandate.evidence.schema import Evidence, computed_bytes
from tests.evaluation import digest, locally
from tests.models import columns_model, matrix_model, nan_model, predictor
from tests.processes import OPERATOR


def test_a_model_is_fetched_judged_and_its_evidence_framed(pod, declared):
    code, ended = pod.fetch(declared)
    assert code == 0
    assert ended.digests["model"] == digest(pod.claims / "models" / "model.onnx")
    assert ended.digests["source"] == digest(pod.claims / "data" / "loans.parquet")
    assert digest(pod.model / "model.onnx") == ended.digests["model"]
    with predictor(pod.model, "--digest", ended.digests["model"]) as (url, _):
        code, judged, result = pod.judge(url)
    assert (code, judged.failure, result.failure) == (0, None, None)
    evidence = Evidence.model_validate(result.evidence)
    computed = evidence.computed
    assert computed.inputs.model == ended.digests["model"]
    assert computed.inputs.data == {"source": ended.digests["source"]}
    assert computed.inputs.split == ended.digests["split"]
    assert sum(computed.rows.values()) == 1200
    auc = next(e for e in computed.estimates if e.quantity.metric == "roc_auc" and e.quantity.versus is None)
    assert 0.6 < auc.estimate < 1
    crashes = [e for e in evidence.measured.estimates if e.quantity.metric == "crashes"]
    assert [(e.estimate, e.support.rows) for e in crashes] == [(0.0, 1200)]
    assert computed_bytes(computed) == computed_bytes(locally(declared, pod.claims).computed)


def test_the_predictors_folder_holds_the_model_and_nothing_else(pod, declared):
    pod.fetch(declared)
    assert [path.name for path in pod.model.iterdir()] == ["model.onnx"]


def test_only_needed_columns_reach_the_judge(pod, declared, tmp_path):
    table = parquet.read_table(pod.claims / "data" / "loans.parquet")
    table = table.append_column("secret", table.column("id"))
    parquet.write_table(table, pod.claims / "data" / "loans.parquet")
    assert pod.fetch(declared)[0] == 0
    assert set(read(pod.data)[0].table.column_names) == {"id", "amount", "age", "purpose", "sex", "risk"}
    assert sorted(path.name for path in pod.data.iterdir()) == ["inputs.json", "split.arrow", "table.arrow"]


def change(document, path, value):
    *parents, last = path.split(".")
    for part in parents:
        document = document[int(part) if part.isdigit() else part]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "code", "words"),
    [
        ("data.source.uri", "pvc://data/none.parquet", "NotFound", "none.parquet"),
        ("data.source.uri", "pvc://other/loans.parquet", "NotMounted", "other"),
        ("data.source.uri", "pvc://models/model.onnx", "UnknownFormat", ".onnx"),
        ("data.source.uri", "pvc://data/../models/model.onnx", "OutsideMount", "outside|inside"),
        ("data.source.digest", "sha256:" + "0" * 64, "DigestMismatch", "sha256:000"),
        ("model.source.uri", "pvc://models/none.onnx", "NotFound", "none.onnx"),
        ("model.source.digest", "sha256:" + "0" * 64, "DigestMismatch", "sha256:000"),
        ("task.target", "riks", "MissingColumn", "riks"),
        ("model.inputs.columns", ["amount", "income"], "MissingColumn", "column 'income' isn't in data.source"),
        ("data.slices.0.column", "gender", "MissingColumn", "column 'gender' isn't in data.source"),
        ("task.id", "sex", "DuplicateId", "sex"),
        ("modelDeployment", 3, "BadSettings", "spec.modelDeployment"),
    ],
)
def test_bad_input_ends_fetch_with_2_and_names_the_cause(pod, declared, path, value, code, words):
    change(declared, path, value)
    ended, message = pod.fetch(declared)
    assert (ended, message.failure.code) == (2, code)
    assert re.search(words, message.failure.message)
    if code == "MissingColumn":
        assert message.failure.field == f"spec.{path}".replace("slices.0", "slices[sex]")
    assert not (pod.data / "inputs.json").exists()


def test_a_model_that_mismatches_is_not_left_for_the_predictor(pod, declared):
    declared["model"]["source"]["digest"] = "sha256:" + "0" * 64
    pod.fetch(declared)
    assert list(pod.model.iterdir()) == []


def test_a_damaged_table_is_unreadable(pod, declared):
    (pod.claims / "data" / "loans.parquet").write_bytes(b"PAR1 garbage")
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code, ended.failure.field) == (2, "Unreadable", "spec.data.source")


@pytest.mark.parametrize("text", [None, "", "garbage", frame.pack([]), frame.pack({"spec": {}})])
def test_bad_settings_end_every_step_with_2(pod, text):
    if text is not None:
        pod.monkeypatch.setenv(frame.SETTINGS_VARIABLE, text)
    code, ended = pod.run("fetch", "--sources", pod.claims, "--model-dir", pod.model, "--data-dir", pod.data)
    assert (code, ended.failure.code) == (2, "BadSettings")
    code, ended, result = pod.judge()
    assert (code, result.failure.code, ended.failure) == (2, "BadSettings", result.failure)


def test_labels_of_one_class(declared, claims):
    path = claims / "data" / "loans.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index("risk")
    parquet.write_table(table.set_column(place, "risk", pa.array(["good"] * table.num_rows)), path)
    with pytest.raises(EvaluationError) as caught:
        locally(declared, claims)
    assert caught.value.exit_code == 2
    assert (caught.value.failure.stage, caught.value.failure.code) == ("Measure", "UnknownPositive")
    parquet.write_table(table.set_column(place, "risk", pa.array(["bad"] * table.num_rows)), path)
    estimates = locally(declared, claims).computed.estimates
    auc = next(e for e in estimates if e.quantity.metric == "roc_auc")
    assert (auc.estimate, auc.fault is None) == (None, False)


def test_no_predictor_is_not_judged(pod, declared):
    pod.fetch(declared)
    code, ended, result = pod.judge("http://127.0.0.1:9", "--ready-timeout", "0.3")
    assert code == 3
    assert (result.failure.stage, result.failure.code) == ("Predict", "PredictorNotReady")
    assert ended.failure == result.failure


@pytest.mark.parametrize(
    ("model", "inputs", "output", "ended", "code"),
    [
        (matrix_model(3), None, {"name": "value"}, 2, "UnknownInput"),
        (columns_model(), None, {"name": "scores"}, 2, "UnknownOutput"),
        (columns_model(), None, {"name": "label"}, 3, "WrongType"),
        (matrix_model(1, outputs=3), {"columns": ["age"], "encoding": "Matrix"}, {"name": "value"}, 3, "WrongShape"),
        (matrix_model(2), {"columns": ["age"], "encoding": "Matrix"}, {"name": "value"}, 3, "WrongShape"),
        (nan_model(), {"columns": ["amount", "age"]}, {"name": "probabilities"}, 2, "UnknownInput"),
    ],
)
def test_a_model_that_is_not_what_was_declared(pod, declared, model, inputs, output, ended, code):
    (pod.claims / "models" / "model.onnx").write_bytes(model)
    if inputs:
        declared["model"]["inputs"] = inputs
    if output:
        declared["model"]["output"] = output
    with pytest.raises(EvaluationError) as caught:
        locally(declared, pod.claims)
    assert (caught.value.exit_code, caught.value.failure.code) == (ended, code)


def test_nan_answers_are_counted_and_fault_the_metrics(pod, declared):
    (pod.claims / "models" / "model.onnx").write_bytes(nan_model())
    declared["model"]["inputs"] = {"columns": ["amount"]}
    estimates = locally(declared, pod.claims).computed.estimates
    finite = next(e for e in estimates if e.quantity.metric == "finite_answers")
    assert 0.3 < finite.estimate < 0.7
    auc = next(e for e in estimates if e.quantity.metric == "roc_auc" and e.quantity.slice == "overall")
    assert auc.estimate is None
    assert auc.fault.code == "NonFinitePredictions"


def test_columns_of_the_data_need_no_predictor(pod, declared):
    table = parquet.read_table(pod.claims / "data" / "loans.parquet")
    parquet.write_table(
        table.append_column("score", table.column("age").cast("double")), pod.claims / "data" / "loans.parquet"
    )
    declared["model"] = {"version": "1", "source": {"columns": ["risk"]}, "output": {"kind": "Label"}}
    code, ended = pod.fetch(declared)
    assert code == 0
    assert "model" not in ended.digests
    code, _, result = pod.judge()
    evidence = Evidence.model_validate(result.evidence)
    accuracy = next(e for e in evidence.computed.estimates if e.quantity.metric == "accuracy")
    assert accuracy.estimate == 1
    assert computed_bytes(evidence.computed) == computed_bytes(locally(declared, pod.claims).computed)


def test_fetch_model_alone_copies_and_verifies(pod):
    good = digest(pod.claims / "models" / "model.onnx")
    options = ("fetch-model", "--uri", "pvc://models/model.onnx", "--sources", pod.claims, "--model-dir", pod.model)
    assert pod.run(*options, "--digest", good) == (0, frame.Termination(digests={"model": good}))
    code, ended = pod.run(*options, "--digest", "sha256:" + "0" * 64)
    assert (code, ended.failure.code) == (2, "DigestMismatch")
    assert list(pod.model.iterdir()) == []


def test_fetch_model_imports_little(tmp_path):
    """It runs before every serving Pod's start."""
    arguments = ["fetch-model", "--uri", "pvc://a/b", "--digest", "x", "--termination-log", str(tmp_path / "log")]
    code = (
        f"import sys; from mandate.evaluate.__main__ import main; main({arguments}); "
        "print([m for m in ('scipy', 'pandas', 'aiohttp', 'pydantic', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert frame.read_termination((tmp_path / "log").read_text()).failure.code == "NotMounted"


def test_an_image_needs_a_cluster(declared, claims):
    declared["model"]["source"] = {"image": "registry.example/model@sha256:" + "0" * 64}
    with pytest.raises(EvaluationError) as caught:
        locally(declared, claims)
    assert (caught.value.exit_code, caught.value.failure.code) == (3, "NeedsCluster")


def test_offline_service_quantities_are_not_measured(declared, claims):
    declared["loads"] = ["50/s"]
    estimates = locally(declared, claims).measured.estimates
    assert {e.quantity.metric for e in estimates} == {"latency_p50", "latency_p95", "latency_p99", "crashes"}
    assert {e.fault.code for e in estimates} == {"NotMeasured"}


def test_a_predictor_that_ends_at_once_is_noticed_at_once(declared, claims):
    (claims / "models" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EvaluationError) as served:
        locally(declared, claims, serve=True)
    with pytest.raises(EvaluationError) as in_process:
        locally(declared, claims)
    assert served.value.failure == in_process.value.failure
    assert (served.value.exit_code, served.value.failure.code) == (2, "Unreadable")
    assert served.value.failure.message.startswith("pvc://models/model.onnx: not a self-contained ONNX model: ")


def test_csv_and_parquet_of_the_same_rows_give_the_same_numbers(declared, claims):
    from_parquet = locally(declared, claims).computed
    declared["data"]["source"]["uri"] = "pvc://data/loans.csv"
    from_csv = locally(declared, claims).computed
    assert from_csv.inputs.split == from_parquet.inputs.split
    assert from_csv.inputs.predictions == from_parquet.inputs.predictions
    assert from_csv.estimates == from_parquet.estimates
