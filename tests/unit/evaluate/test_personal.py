"""Failures of steps that see personal columns: what is left of them."""

import asyncio
from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate import frame
from mandate.evaluate.failures import EvaluationError, discreet, failing, of_champion
from mandate.inference.errors import InferenceError
from mandate.measure.table import MeasureError
from tests.evaluation import declare, digest
from tests.models import predictor

SPEC = ModelEvaluationSpec.model_validate(declare() | {"data": declare()["data"] | {"personal": ["age"]}})
SAID = "what was said is withheld, as it may quote data.personal; look at it with rows that aren't people's"


@pytest.mark.row("R3/personal")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            InferenceError("RequestRefused", "rows 0 to 99 of 200: status 400: input 'age': value 3 is 7351"),
            f"rows 0 to 99 of 200: status 400: {SAID}",
        ),
        (InferenceError("PredictorCrashed", "status 500: 7351"), f"status 500: {SAID}"),
        (InferenceError("PredictorCrashed", "the predictor ended: 7351"), SAID),
        (
            InferenceError("OutOfRange", "column 'age' reaches from -7351 to 7.351e+04, beyond INT8"),
            "column 'age' reaches from (withheld) to (withheld), beyond INT8",
        ),
        (
            InferenceError("PredictorTimeout", "the predictor answered 7 of 9 rows in 600 s; make it faster"),
            "the predictor answered 7 of 9 rows in 600 s; make it faster",
        ),
        (
            MeasureError("NotTime", "column 'age' holds 'Ann', expected times"),
            "column 'age' holds (withheld), expected times",
        ),
        (MeasureError("NotTime", "column 'age' holds '7351" + "1" * 600), "column 'age' holds (withheld)"),
        (MeasureError("MissingColumn", "column 'ages' isn't there"), "column (withheld) isn't there"),
    ],
)
def test_what_is_left_of_a_message(error, words):
    @discreet
    async def step(_: ModelEvaluationSpec, *, there: str) -> None:
        await asyncio.sleep(0)
        with failing("Predict", field=there):
            raise error

    with pytest.raises(EvaluationError) as caught:
        asyncio.run(step(SPEC, there="spec.model"))
    failure = caught.value.failure
    assert (failure.message, failure.code, failure.field) == (words, error.code, "spec.model")
    with pytest.raises(EvaluationError) as again:
        discreet(_raising(caught.value))(SPEC)
    assert again.value.failure == failure, "taken out once, it stays so"


def _raising(error):
    def step(_: ModelEvaluationSpec) -> None:
        raise error

    return step


@pytest.mark.row("R3/personal")
def test_a_defect_tells_its_kind_and_place_only():
    def step(_: ModelEvaluationSpec) -> None:
        int("Ann")

    with pytest.raises(EvaluationError) as caught:
        discreet(step)(SPEC)
    assert caught.value.failure.message.startswith("ValueError (test_personal.py:")
    assert caught.value.failure.message.endswith(f"): {SAID}")
    with pytest.raises(ValueError, match="Ann"):
        discreet(step)(ModelEvaluationSpec.model_validate(declare()))


def test_a_step_answers_as_before():
    @discreet
    def step(spec: ModelEvaluationSpec, more: int, *, other: int = 0) -> tuple[str, int]:
        """Its words."""
        return spec.task.target, more + other

    assert step(SPEC, 2, other=3) == ("risk", 5)
    assert step.__doc__ == "Its words."


def test_of_a_champion_the_field_is_kept():
    @discreet
    def step(_: ModelEvaluationSpec) -> None:
        with of_champion(), failing("Predict", field="spec.model"):
            raise InferenceError("WrongType", "the answer is 'x'")

    with pytest.raises(EvaluationError) as caught:
        step(SPEC)
    assert caught.value.failure == replace(
        caught.value.failure, field="spec.champion", message="the answer is (withheld)"
    )


@pytest.mark.row("R3/personal")
def test_the_jobs_messages_tell_no_value(pod, declared):
    """Neither the log, nor the termination message, nor the frame: of a model that can't be fed the values."""
    path = pod.claims / "data" / "loans.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index("amount")
    parquet.write_table(table.set_column(place, "amount", pa.array([7.3519e45] * table.num_rows)), path)
    for personal, told in (([], True), (["amount"], False)):
        assert pod.fetch(declared | {"data": declared["data"] | {"personal": personal}})[0] == 0
        with predictor(pod.model, "--digest", digest(pod.model / "model.onnx")) as (url, _):
            code, ended = pod.run("judge", "--data-dir", pod.data, "--predictor", url)
        assert code in (2, 3)
        said = pod.capsys.readouterr()
        result = frame.read(said.out.encode(), sha256=ended.sha256)
        assert ("7.3519" in f"{ended} {result} {said}") == told
