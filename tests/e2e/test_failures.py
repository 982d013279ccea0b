"""Evaluations that end without evidence: each names its cause in time, grants nothing, and recovers without deletions.

All of them start together and are looked at one by one. Nothing is tried again by itself meanwhile (see VALUES), so
that what a test sees is the first attempt's end.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.e2e import declared
from tests.e2e.cluster import VALUES, Cluster, Object, Space, condition, holds, space
from tests.models import columns_model
from tests.signing import signed

WRONG = "sha256:" + "1" * 64
DEADLINE = float(VALUES["evaluation.deadline"])


@dataclass(frozen=True)
class Bad:
    """One bad input: what is declared, the code that names it, words of the message, and what mends it.

    Two codes, parted by a space, where it is a matter of moments who sees it first.
    """

    declare: Callable[[Space, str], Object]
    code: str
    words: tuple[str, ...]
    mend: Callable[[Space, str], None]


def _file(path: str) -> Callable[[Space, str], Object]:
    return lambda space, name: declared.model(name, source=declared.onnx(path))


def _data(path: str) -> Callable[[Space, str], Object]:
    return lambda space, name: declared.model(name, source=declared.onnx(), data=f"pvc://data/{path}")


def _pinned(space: Space, name: str) -> Object:
    return declared.model(name, source=declared.onnx() | {"digest": WRONG})


def _signed_elsewhere(space: Space, name: str) -> Object:
    signature, _ = signed(b"another model")
    return declared.model(name, source=declared.onnx() | {"signature": signature})


def _unknown_column(space: Space, name: str) -> Object:
    return declared.model(name, source=declared.onnx(), columns=("amount", "age", "colour"))


def _behaving(behaviour: str) -> Callable[[Space, str], Object]:
    return lambda space, name: declared.misbehaving(space, name, behaviour)


def _huge(space: Space, name: str) -> Object:
    document = declared.model(name, source=declared.onnx())
    document["spec"]["serving"]["resources"] = {"limits": {"cpu": "900"}, "requests": {"cpu": "900"}}
    return document


def _put_model(path: str) -> Callable[[Space, str], None]:
    return lambda space, name: _retried(space, name, space.put(space.models / path, columns_model()))


def _put_table(path: str) -> Callable[[Space, str], None]:
    return lambda space, name: _retried(space, name, space.put(space.data / path, declared.table()))


def _retried(space: Space, name: str, _: object) -> None:
    """The annotation that asks for another try of the same spec."""
    change = {"metadata": {"annotations": {"mandate.dev/retry": "mended"}}}
    space.admin.merge(space.get("ModelDeployment", name), change)


def _declared_again(**changes: object) -> Callable[[Space, str], None]:
    def mend(space: Space, name: str) -> None:
        space.apply(declared.model(name, source=declared.onnx(), **changes))  # type: ignore[arg-type]

    return mend


def _behaving_now(space: Space, name: str) -> None:
    space.apply(declared.misbehaving(space, name, "honest", version="2"))


BAD = {
    "missing-model": Bad(_file("later.onnx"), "NotFound", ("pvc://models/later.onnx",), _put_model("later.onnx")),
    "missing-table": Bad(
        _data("later.parquet"), "NotFound", ("pvc://data/later.parquet",), _put_table("later.parquet")
    ),
    "wrong-digest": Bad(_pinned, "DigestMismatch", (WRONG, "pvc://models/good.onnx"), _declared_again()),
    "signed-elsewhere": Bad(
        _signed_elsewhere,
        "BadSignature",
        ("spec.model.source.signature", "isn't signed by publicKey"),
        lambda space, name: space.apply(
            declared.model(name, source=declared.onnx() | {"signature": signed(columns_model())[0]})
        ),
    ),
    "unreadable": Bad(_data("torn.parquet"), "Unreadable", ("pvc://data/torn.parquet",), _put_table("torn.parquet")),
    "missing-column": Bad(_unknown_column, "MissingColumn", ("colour", "model.inputs.columns"), _declared_again()),
    "one-class": Bad(_data("good.parquet"), "UnknownPositive", ("risk", "bad"), _put_table("good.parquet")),
    "broken-model": Bad(
        _file("broken.onnx"),
        "Unreadable",
        ("spec.model.source: not a self-contained ONNX model",),
        _put_model("broken.onnx"),
    ),
    "crashing": Bad(_behaving("crashing"), "PredictorCrashed", ("predictor was lost",), _behaving_now),
    # The kubelet, which then doesn't start the judge, or the judge, where the server was once seen to run.
    "dying": Bad(
        declared.dying,
        "PredictorCrashLoop PredictorNotReady",
        ("predictor ended ", "last with exit code 3: no weights in /weights"),
        _behaving_now,
    ),
    "hungry": Bad(_behaving("hungry"), "PredictorCrashed", ("out of memory",), _behaving_now),
    "hanging": Bad(_behaving("hanging"), "PredictorTimeout", ("no answer within 30 s",), _behaving_now),
    "unready": Bad(_behaving("unready"), "PredictorNotReady", ("503",), _behaving_now),
    "short": Bad(_behaving("short"), "WrongShape", ("probabilities",), _behaving_now),
    "wordy": Bad(_behaving("wordy"), "WrongType", ("BYTES",), _behaving_now),
    "slow": Bad(_behaving("slow"), "DeadlineExceeded", (), _behaving_now),
    "huge": Bad(_huge, "DeadlineExceeded", ("Unschedulable", "cpu"), _declared_again()),
}


@pytest.fixture(scope="module")
def ward(cluster: Cluster) -> Iterator[Space]:
    """A namespace with every bad input applied."""
    with space(cluster, "ward", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.data / "torn.parquet", declared.table()[:-1000])
        for label in ("good", "bad"):
            found.put(found.data / f"{label}.parquet", _one_class(label))
        # `slow` takes as many requests as there are thousands of rows, two at a time.
        found.put(found.data / "long.parquet", declared.table(rows=20_000))
        found.put(found.models / "good.onnx", columns_model())
        found.put(found.models / "broken.onnx", columns_model()[:-100])
        for name, bad in BAD.items():
            document = bad.declare(found, name)
            if name == "slow":
                document["spec"]["data"]["source"]["uri"] = "pvc://data/long.parquet"
            found.apply(document)
        found.apply(declared.misbehaving(found, "evicted", "late"))
        found.apply(declared.misbehaving(found, "undefined", "undefined"))
        found.apply(_data("bad.parquet")(found, "only-bad"))
        yield found


def _one_class(label: str) -> bytes:
    whole = parquet.read_table(io.BytesIO(declared.table()))
    alike = pa.array([label] * len(whole))
    file = io.BytesIO()
    parquet.write_table(whole.set_column(whole.column_names.index("risk"), "risk", alike), file)
    return file.getvalue()


def test_an_evicted_pod_is_replaced_and_the_model_judged(ward: Space) -> None:
    """A disruption is no verdict and no error: another Pod takes over within the same attempt."""
    pod = ward.evaluation_pod("evicted", seconds=240)
    metadata = {"name": pod["metadata"]["name"], "namespace": ward.name}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    ward.admin.request("POST", f"/api/v1/namespaces/{ward.name}/pods/{metadata['name']}/eviction", eviction)
    item = ward.judged("evicted", seconds=400)
    assert item["status"]["level"] == "Suggest"
    (evaluation,) = ward.evaluations("evicted")
    assert evaluation["status"]["attempt"] == 1
    assert len(ward.jobs("evicted")) == 1
    successors = ward.all("Pod", "mandate.dev/model=evicted,mandate.dev/evaluation")
    assert metadata["name"] not in {pod["metadata"]["name"] for pod in successors}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_an_error_that_names_it(ward: Space, name: str) -> None:
    """In time, in words, on the ModelDeployment and the ModelEvaluation; nothing granted; once mended, it serves."""
    bad = BAD[name]
    item = ward.failed(name, seconds=DEADLINE + 60)
    stalled = condition(item, "Stalled")
    assert stalled["status"] == "True", ward.describe(name)
    assert stalled["reason"] in bad.code.split(), ward.describe(name)
    for word in bad.words:
        assert word in stalled["message"], ward.describe(name)
    assert condition(item, "Granted")["status"] == "False"
    assert item["status"].get("level", "None") == "None"
    (evaluation,) = ward.evaluations(name)
    assert condition(evaluation, "Failed")["reason"] == stalled["reason"]
    assert "evidence" not in evaluation["status"]
    assert _taken(evaluation) < DEADLINE + 30
    grant = ward.get("AutonomyGrant", "mandate")["spec"]
    assert name not in {entry["model"] for entry in grant.get("grants", {}).values()}
    assert ward.serving_pods(name) == []
    bad.mend(ward, name)
    item = ward.until(name, "served once mended", lambda item: holds(item, "Ready"))
    assert item["status"]["level"] == "Suggest"
    ward.delete("ModelDeployment", name)


def _taken(evaluation: Object) -> float:
    """Seconds from the Job's creation to the failure."""
    began = datetime.fromisoformat(evaluation["status"].get("started") or evaluation["metadata"]["creationTimestamp"])
    ended = datetime.fromisoformat(condition(evaluation, "Failed")["lastTransitionTime"])
    return (ended - began).total_seconds()


@pytest.mark.parametrize(
    ("name", "words"), [("undefined", "answers are missing, NaN or infinite"), ("only-bad", "same label")]
)
def test_what_has_no_number_passes_no_gate(ward: Space, name: str, words: str) -> None:
    """Nothing but NaN for answers, nothing but one class for labels: measured, without a number, and so refused."""
    item = ward.judged(name)
    assert holds(item, "CandidateRefused"), ward.describe(name)
    assert words in condition(item, "CandidateRefused")["message"], ward.describe(name)
    assert item["status"]["level"] == "None"
    (gate,) = item["status"]["gates"]
    assert gate["verdict"] == "Error"
    assert ward.serving_pods(name) == []
