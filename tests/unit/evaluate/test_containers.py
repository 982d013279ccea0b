"""How baselines' containers are asked, and what becomes of one that doesn't answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import mandate.evaluate.judge  # noqa: F401 - takes over_http as it is, before it is replaced
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import BaselineContainer, ModelInputs
from mandate.evaluate import containers, served
from mandate.evaluate.__main__ import main
from mandate.evaluate.addresses import addressed
from mandate.evaluate.data import load
from mandate.evaluate.failures import EvaluationError, explain, failing
from mandate.evaluate.local import evaluate_locally
from mandate.evaluate.predict import Predicted
from mandate.evidence.schema import Fault
from mandate.inference.client import Limits
from mandate.inference.errors import InferenceError
from mandate.measure.answers import Answers
from mandate.sources import Reader
from tests.evaluation import NOW

DIGEST = "sha256:" + "c" * 64
IMAGE = f"registry/rival@{DIGEST}"
ADDRESS = "http://127.0.0.1:7001"


@pytest.fixture
def spec(claims: Any, declared: dict[str, Any]) -> ModelEvaluationSpec:
    """A model whose answers are a column, beside a container, under a load and with a champion's settings."""
    path = claims / "data" / "loans.parquet"
    table = parquet.read_table(path)
    score = np.random.default_rng(5).random(table.num_rows)
    parquet.write_table(table.append_column("score", [score]), path)
    declared["model"]["source"] = {"columns": ["score"]}
    declared["model"]["output"] = {"cutoff": "0.7"}
    declared["loads"], declared["service"] = ["50/s"], ["Robustness"]
    rival = {"image": IMAGE, "output": "score", "inputs": {"columns": ["age"], "encoding": "Matrix"}}
    declared["baselines"] = [
        {"name": "prior", "type": "Prior"},
        {"name": "rival", "type": "Container", "container": rival},
    ]
    return ModelEvaluationSpec.model_validate(declared)


Ask = Callable[..., dict[str, containers.Asked]]


@pytest.fixture
def ask(spec: ModelEvaluationSpec, claims: Any) -> Ask:
    rows = load(spec, reader=Reader(mounts={path.name: path for path in claims.iterdir()}))

    def asked(found: ModelEvaluationSpec = spec, **options: Any) -> dict[str, containers.Asked]:
        given: dict[str, Any] = {"addresses": {}, "model": "model", "limits": Limits(), "container": True}
        return asyncio.run(containers.ask(found, rows, **given | options))

    return asked


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What servers are asked, which answer 0.25 for every row."""
    seen: list[dict[str, Any]] = []

    async def over_http(spec: ModelEvaluationSpec, rows: Any, **options: Any) -> Predicted:
        seen.append({"spec": spec} | options)
        return Predicted(answers=Answers(values=np.full(rows.table.num_rows, 0.25)), estimates=())

    monkeypatch.setattr(served, "over_http", over_http)
    return seen


def failed(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def over_http(*_: Any, **__: Any) -> Predicted:
        with failing("Predict", field="spec.model"):
            raise error

    monkeypatch.setattr(served, "over_http", over_http)


@pytest.mark.row("B1/container")
def test_it_is_asked_as_the_model_is_without_load(
    ask: Ask, spec: ModelEvaluationSpec, seen: list[dict[str, Any]]
) -> None:
    (said,) = ask().values()
    assert isinstance(said.said, Answers)
    assert said.image == DIGEST
    (call,) = seen
    asked = call["spec"]
    assert call["url"] == "http://127.0.0.1:8082"
    assert (asked.loads, asked.service, asked.champion) == ((), (), None)
    assert asked.model.source.image == IMAGE
    assert (asked.model.inputs.columns, asked.model.inputs.encoding) == (("age",), "Matrix")
    assert (asked.model.output.name, asked.model.output.cutoff) == ("score", "0.7")
    assert (asked.task, asked.data) == (spec.task, spec.data)


def test_it_is_fed_what_the_model_is_fed_unless_it_says_otherwise(
    ask: Ask, spec: ModelEvaluationSpec, seen: list[dict[str, Any]]
) -> None:
    plain = spec.baselines[1].model_copy(update={"container": BaselineContainer(image=IMAGE, port=9000)})
    ask(spec.model_copy(update={"baselines": (plain,)}))
    (call,) = seen
    assert call["url"] == "http://127.0.0.1:9000"
    assert call["spec"].model.inputs == spec.model.inputs
    assert call["spec"].model.output == spec.model.output


@pytest.mark.row("B1/container")
@pytest.mark.parametrize("code", ["PredictorNotReady", "PredictorCrashed", "MalformedAnswer", "UnknownOutput"])
def test_what_goes_wrong_names_the_baseline(ask: Ask, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    failed(monkeypatch, InferenceError(code, "status 500: 'Ann' is no number"))
    (said,) = ask().values()
    message = "baseline 'rival', its container: status 500: 'Ann' is no number"
    assert (said.said, said.image) == (Fault(code=code, message=message), None)


@pytest.mark.row("R3/personal")
def test_a_server_that_quotes_people_is_not_quoted(
    ask: Ask, spec: ModelEvaluationSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(monkeypatch, InferenceError("RequestRefused", "status 500: 'Ann' is no number"))
    data = spec.data.model_copy(update={"personal": ("age",)})
    (said,) = ask(spec.model_copy(update={"data": data})).values()
    assert isinstance(said.said, Fault)
    assert said.said.message.startswith("baseline 'rival', its container: status 500: what was said is withheld")
    assert "Ann" not in said.said.message


def test_a_defect_of_ours_is_not_blamed_on_the_container(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(monkeypatch, ZeroDivisionError("oh"))
    with pytest.raises(EvaluationError, match="ZeroDivisionError"):
        ask()


@pytest.mark.row("B1/container")
def test_on_a_laptop_a_server_that_runs_already_answers(
    spec: ModelEvaluationSpec, claims: Any, seen: list[dict[str, Any]]
) -> None:
    reader = Reader(mounts={path.name: path for path in claims.iterdir()})
    evidence = evaluate_locally(spec, reader=reader, now=NOW, baselines={"rival": ADDRESS})
    (call,) = seen
    assert (call["url"], call["container"]) == (ADDRESS, False)
    assert evidence.computed.inputs.containers is None
    assert {(item.baseline, item.words.endswith("isn't known")) for item in evidence.computed.learnt or ()} == {
        ("rival", True)
    }
    with pytest.raises(EvaluationError) as error:
        evaluate_locally(spec, reader=reader, now=NOW)
    failure = error.value.failure
    assert (failure.code, failure.field) == ("NeedsCluster", "spec.baselines[rival].container")
    assert "--baseline rival=http://127.0.0.1:8082, or apply the manifest there" in failure.message
    assert len(seen) == 1, "told before anything is asked"


def test_the_job_asks_the_pods_own_port_and_measures_all_else(
    pod: Any, spec: ModelEvaluationSpec, declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(monkeypatch, InferenceError("PredictorNotReady", "the model wasn't ready"))
    assert pod.fetch(declared)[0] == 0
    code, _, result = pod.judge()
    assert code == 0
    versus = {
        (item["quantity"].get("versus"), item.get("fault", {}).get("code"))
        for item in result.evidence["computed"]["estimates"]
        if item["quantity"]["metric"] == "roc_auc" and item["quantity"]["slice"] == "overall"
    }
    assert ("rival", "PredictorNotReady") in versus
    assert {("prior", None), (None, None)} <= versus


def test_columns_that_only_a_container_is_fed_are_read_and_missed(spec: ModelEvaluationSpec, claims: Any) -> None:
    container = spec.baselines[1].container
    assert container is not None
    fed = container.model_copy(update={"inputs": ModelInputs(columns=("rating",))})
    baselines = (spec.baselines[1].model_copy(update={"container": fed}),)
    with pytest.raises(EvaluationError, match="column 'rating' isn't in") as error:
        load(
            spec.model_copy(update={"baselines": baselines}),
            reader=Reader(mounts={path.name: path for path in claims.iterdir()}),
        )
    assert error.value.failure.field == "spec.baselines[rival].container.inputs"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rival=http://127.0.0.1:8082", ("rival", "http://127.0.0.1:8082")),
        ("r-1=https://h.example/", ("r-1", "https://h.example")),
        ("rival=http://[::1]:80", ("rival", "http://[::1]:80")),
        *((text, None) for text in ("rival", "=http://h", "Rival=http://h", "rival=h:80", "rival=ftp://h",
                                    "rival=http://u:p@h", "rival=http://h/path", "rival=http://h?a")),
    ],
)  # fmt: skip
def test_an_address_is_a_name_and_a_servers_url(text: str, found: tuple[str, str] | None, pod: Any) -> None:
    if found is not None:
        assert addressed(text) == found
        return
    with pytest.raises(SystemExit):
        main(["judge", "--baseline", text])
    assert "expected NAME=URL" in pod.capsys.readouterr().err


def test_a_missing_address_is_no_bad_input() -> None:
    assert explain(InferenceError("NeedsCluster", "words"), stage="Predict").exit_code == 3
