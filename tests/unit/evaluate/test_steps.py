"""fetch, fetch-model and judge as the Pod runs them: real files, a real predictor, real messages."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from pyarrow import parquet

from mandate.evaluate import frame, judge, served
from mandate.evaluate.data import read
from mandate.evaluate.failures import EvaluationError
from mandate.evidence.schema import NUDGED, Evidence, computed_bytes
from mandate.inference.probes import KINDS
from tests.evaluation import digest, locally
from tests.models import columns_model, matrix_model, nan_model, predictor
from tests.processes import OPERATOR
from tests.signing import signed


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


@pytest.mark.parametrize(
    ("uri", "isolated"),
    [("pvc://data/loans.parquet", "Sealed"), ("https://203.0.113.7/loans.parquet", "Open")],
)
def test_evidence_says_sealed_only_where_no_server_is_read(pod, declared, uri, isolated):
    """The judge asks the cluster's own addresses; that they are closed says nothing of the server with the rows."""

    async def closed(_):
        return "Closed"

    pod.monkeypatch.setattr(judge, "probe", closed)
    digests = pod.fetch(declared)[1].digests
    declared["data"]["source"]["uri"] = uri
    pod.declare(declared)
    with predictor(pod.model, "--digest", digests["model"]) as (url, _):
        _, _, result = pod.judge(url)
    assert Evidence.model_validate(result.evidence).measured.isolation == isolated


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


@pytest.mark.row("D4/digests")
def test_a_model_that_mismatches_is_not_left_for_the_predictor(pod, declared):
    declared["model"]["source"]["digest"] = "sha256:" + "0" * 64
    pod.fetch(declared)
    assert list(pod.model.iterdir()) == []


@pytest.mark.parametrize("column", ["id", "cluster"])
def test_rows_of_two_customers_do_not_become_one_s(pod, declared, column):
    rows = "".join(f"{number:03},{number % 90},{'bad' if number % 3 else 'good'}\n" for number in range(200))
    (pod.claims / "data" / "loans.csv").write_text(f"customer,amount,risk\n{rows}7,1,good\n")
    declared["data"] |= {"source": {"uri": "pvc://data/loans.csv"}, "slices": []}
    declared["model"]["inputs"] = {"columns": ["amount"]}
    declared["task"] = {"type": "Binary", "target": "risk", "positive": "bad", column: "customer"}
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code, ended.failure.field) == (2, "AmbiguousValues", "spec.data.source")
    assert "'007' and '7'" in ended.failure.message


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


@pytest.mark.row("R3/scanned")
def test_a_file_that_is_signed_is_told_with_its_key_in_the_pod_and_here(pod, declared):
    content = (pod.claims / "models" / "model.onnx").read_bytes()
    declared["model"]["source"]["signature"], key = signed(content)
    _, digests = pod.fetch(declared)
    with predictor(pod.model, "--digest", digests.digests["model"]) as (url, _):
        _, _, result = pod.judge(url)
    evidence = Evidence.model_validate(result.evidence)
    here = locally(declared, pod.claims)
    assert evidence.computed.inputs.signer == here.computed.inputs.signer == key
    assert computed_bytes(evidence.computed) == computed_bytes(here.computed)


@pytest.mark.row("R3/scanned")
def test_a_file_that_is_not_signed_so_is_never_opened(pod, declared):
    declared["model"]["source"]["signature"], _ = signed(b"another model")
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code, ended.failure.field) == (2, "BadSignature", "spec.model.source.signature")
    assert list(pod.model.iterdir()) == []
    (pod.claims / "models" / "model.onnx").write_bytes(b"no model at all")
    with pytest.raises(EvaluationError) as caught:
        locally(declared, pod.claims)
    assert (caught.value.failure.code, caught.value.failure.field) == ("BadSignature", "spec.model.source.signature")


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
    assert {e.quantity.metric for e in estimates} == {
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "crashes",
        "failed_requests",
        "memory_peak",
        "cold_start",
    }
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


def robustness(evidence):
    [found] = [e for e in evidence.measured.estimates if e.quantity.metric == "robustness_failures"]
    return found


def share(evidence):
    [found] = [e for e in evidence.measured.estimates if e.quantity.metric == "flipped_answers"]
    return found


@pytest.mark.row("R2/probes", "R2/nudges")
def test_bad_inputs_are_refused_or_answered_by_our_server_in_the_pod_and_here(pod, declared):
    """The same probes from the Job's judge and from the command line, to real predictors."""
    declared["service"] = ["Robustness"]
    pod.fetch(declared)
    with predictor(pod.model) as (url, _):
        result = pod.judge(url)[2]
    inside = Evidence.model_validate(result.evidence)
    here = locally(declared, pod.claims, serve=True)
    assert set(here.measured.robustness) == {*KINDS, NUDGED}
    assert inside.measured.robustness == here.measured.robustness
    for evidence in (inside, here):
        assert (robustness(evidence).estimate, robustness(evidence).support.rows > 40) == (0, True)
        nudged = evidence.measured.nudged
        # Rows whose amount is missing have no number that moves: ages stay whole.
        assert 200 < nudged.rows == evidence.measured.robustness[NUDGED].answered < evidence.computed.rows["test"]
        assert (nudged.flipped_itself, 0 < nudged.largest < 0.1 < nudged.spread) == (0, True)
        assert share(evidence).estimate == nudged.flipped / nudged.rows < 0.1
    one, other = (evidence.measured.nudged.model_dump() for evidence in (inside, here))
    assert one == pytest.approx(other, rel=1e-6)
    assert computed_bytes(inside.computed) == computed_bytes(here.computed)


def test_a_model_without_a_number_for_bad_inputs_fails_them(declared, claims):
    """Its square root has none below zero, nor of what is missing."""
    (claims / "models" / "model.onnx").write_bytes(nan_model())
    declared["model"]["inputs"] = {"columns": ["amount"]}
    declared["service"] = ["Robustness"]
    measured = locally(declared, claims, serve=True).measured
    assert measured.robustness["out_of_range"].failures == {"NoNumber": 1}
    assert measured.robustness["out_of_range"].first == "amount: far below: NoNumber"
    assert measured.robustness["missing"].failures["NoNumber"] >= 1
    assert measured.robustness["malformed"].failures == {}


def test_a_server_that_bad_input_ends_is_counted_and_no_error(declared, claims, monkeypatch):
    """The predictor is killed as the probes begin; here nobody starts it again."""
    make = served.probes.probes

    def kill(*arguments, **options):
        found = make(*arguments, **options)
        children = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split()
        [child] = [pid for pid in children if b"mandate.predictor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        yield found[0]
        os.kill(int(child), signal.SIGKILL)
        yield from found[1:]

    monkeypatch.setattr(served.probes, "probes", kill)
    declared["service"] = ["Robustness"]
    evidence = locally(declared, claims, serve=True)
    probed = evidence.measured.robustness
    assert probed["missing"].failures["Crash"] == 1
    answered = probed[NUDGED].answered  # before
    assert robustness(evidence).estimate == robustness(evidence).support.rows - answered - 1


def annotate(declared, claims):
    """What two officers said of the loans, beside what nobody needs to know of them."""
    table = parquet.read_table(claims / "data" / "loans.parquet")
    risk, ids = table.column("risk").to_pylist(), table.column("id").to_pylist()
    said = [["bad" if (place + shift) % 5 == 0 else label for place, label in enumerate(risk)] for shift in (0, 1)]
    annotations = pa.table(
        {
            "loan": ids * 2,
            "officer": ["ann"] * 1200 + ["bob"] * 1200,
            "opinion": said[0] + said[1],
            "mood": ["?"] * 2400,
        }
    )
    parquet.write_table(annotations, claims / "data" / "said.parquet")
    declared["data"]["annotations"] = {
        "uri": "pvc://data/said.parquet", "row": "loan", "annotator": "officer", "label": "opinion"
    }  # fmt: skip
    declared["baselines"].append({"name": "officers", "type": "Human"})
    return annotations


def test_annotations_are_fetched_pinned_and_judged(pod, declared):
    declared["model"] = {"version": "1", "source": {"columns": ["risk"]}, "output": {"kind": "Label"}}
    annotate(declared, pod.claims)
    code, ended = pod.fetch(declared)
    assert code == 0
    assert ended.digests["annotations"] == digest(pod.claims / "data" / "said.parquet")
    assert read(pod.data)[0].annotations.column_names == ["loan", "officer", "opinion"]
    _, _, result = pod.judge()
    computed = Evidence.model_validate(result.evidence).computed
    assert computed.inputs.data["annotations"] == ended.digests["annotations"]
    found = {(e.quantity.metric, e.quantity.versus): e for e in computed.estimates if e.quantity.on == "test"}
    assert found["cohen_kappa", None].interval is not None
    assert [learnt.baseline for learnt in computed.learnt] == ["officers"]
    assert computed_bytes(computed) == computed_bytes(locally(declared, pod.claims).computed)


def test_annotations_that_are_not_as_declared_are_refused(pod, declared):
    annotate(declared, pod.claims)
    declared["data"]["annotations"]["digest"] = "sha256:" + "0" * 64
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code, ended.failure.field) == (2, "DigestMismatch", "spec.data.annotations")
    del declared["data"]["annotations"]["digest"]
    declared["data"]["annotations"]["label"] = "verdict"
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code, ended.failure.field) == (2, "MissingColumn", "spec.data.annotations.label")
    assert "'verdict' isn't in data.annotations, which has 'loan', 'officer'" in ended.failure.message


def test_a_ranking_whose_scores_depend_on_the_batch_is_not_measured_in_process_either(declared, claims):
    """The model says how far a row is above its batch's mean: as good an order, until a query is asked by itself."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("ReduceMean", ["input"], ["mean"], axes=[0], keepdims=1),
                helper.make_node("Sub", ["input", "mean"], ["score"]),
            ],
            "beside-others",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
            [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (claims / "models" / "model.onnx").write_bytes(model.SerializeToString())
    declared["model"] |= {"inputs": {"columns": ["age"], "encoding": "Matrix", "name": "input"}}
    declared["model"]["output"] = {"name": "score", "kind": "Value"}
    declared["task"] = {"type": "Ranking", "target": "age", "query": "purpose"}
    declared["data"] |= {"split": {"method": "Random", "seed": 7}, "slices": []}
    declared["baselines"] = []
    with pytest.raises(EvaluationError) as error:
        locally(declared, claims)
    assert (error.value.failure.code, error.value.exit_code) == ("DependsOnOthers", 3)
