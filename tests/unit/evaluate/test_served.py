"""What counts as an answer while a server is loaded, and whose word is taken for what it used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pyarrow as pa
import pytest
from aiohttp import web

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import Task
from mandate.evaluate import served
from mandate.evaluate.data import Rows
from mandate.evaluate.failures import EvaluationError
from mandate.evaluate.frame import EXIT_NOT_JUDGED
from mandate.evidence.schema import Estimate
from mandate.inference.client import Limits
from mandate.inference.errors import InferenceError
from mandate.inference.load import Plan
from mandate.measure.split import Split
from mandate.predictor.datatypes import Array
from tests.evaluation import declare
from tests.unit.inference.test_client import BOTH, Fake, reply, says, serving


def answering(*answers: float | str) -> Callable[[int], Awaitable[Array]]:
    """One answer after the other, the last one for ever; those in words are errors."""
    left = list(answers)

    async def ask(place: int) -> Array:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, str):
            raise InferenceError(found, "gone")
        return np.array([found], dtype=np.float32)

    return ask


async def failures(*answers: float | str, requests: int = 10) -> int:
    send = await served.repeated(answering(*answers), places=1)
    failed = 0
    for number in range(requests):
        try:
            await send(number)
        except InferenceError:
            failed += 1
    return failed


@pytest.mark.parametrize(
    ("answers", "failed"),
    [
        ((0.7,), 0),
        ((0.7, 0.7, 0.7001, 0.6999, 0.7), 0),
        ((0.7, 0.7, 0.7, 0.5), 9),
        ((0.7, 0.7, 0.7, float("nan")), 9),
        ((0.7, 0.2, 0.9, 0.1, 0.5), 0),
        (("PredictorCrashed", 0.7), 0),
    ],
    ids=["steady", "rounded otherwise", "a fallback", "null", "sampled", "crashed at first"],
)
def test_an_answer_under_load_is_the_one_at_rest(answers: tuple[float | str, ...], failed: int) -> None:
    assert asyncio.run(failures(*answers)) == failed


def spec_and_rows(**source: object) -> tuple[ModelEvaluationSpec, Rows]:
    size = 40
    table = pa.table({"x": np.arange(size, dtype=np.float32), "t": np.arange(size, dtype=np.float64)})
    declared = declare()
    declared["task"] = {"type": "Regression", "target": "t"}
    declared["model"] |= {"inputs": {"columns": ["x"]}, "output": {"name": "y", "kind": "Value"}}
    declared["model"]["source"] = source or {"uri": "model.onnx", "format": "ONNX"}
    spec = ModelEvaluationSpec.model_validate(declared | {"loads": [], "service": []})
    part = np.zeros(size, dtype=np.int8)
    part[20:] = 2
    split = Split(part=part, keys=np.arange(size, dtype=np.uint64), digest="sha256:" + "0" * 64)
    return spec, Rows(table=table, split=split, digests={})


def asked(fake: Fake, *, loads: tuple[str, ...] = (), **source: object) -> dict[str, Estimate]:
    """What is measured at a server of one regression model."""
    spec, rows = spec_and_rows(**source)
    spec = spec.model_copy(update={"loads": loads})

    async def asking() -> dict[str, Estimate]:
        async with serving(fake) as url:
            found = await served.over_http(spec, rows, url=url, model="model", limits=Limits(), container=True)
        return {estimate.quantity.metric: estimate for estimate in found.estimates if estimate.quantity.load is None}

    return asyncio.run(asking())


def test_the_word_of_our_own_server_is_taken_for_what_it_used_and_of_no_image() -> None:
    ours = asked(Fake(usage=says(BOTH)))
    assert ours["memory_peak"].estimate == 30 / 2**20
    theirs = asked(Fake(usage=says(BOTH)), image="registry/own@sha256:" + "0" * 64)
    assert {theirs[name].fault.code for name in ("memory_peak", "cold_start")} == {"NotMeasured"}


def ranked(answer: object) -> list[float]:
    """The scores of a ranking model, 40 rows in 8 queries."""
    spec, rows = spec_and_rows()
    table = rows.table.append_column("q", pa.array(np.arange(40) // 5))
    task = Task(type="Ranking", target="t", query="q")

    async def asking() -> list[float]:
        async with serving(Fake(answer=answer)) as url:
            found = await served.over_http(
                spec.model_copy(update={"task": task}),
                replace(rows, table=table),
                url=url,
                model="model",
                limits=Limits(),
                container=True,
            )
        return list(found.answers.values)

    return asyncio.run(asking())


@pytest.mark.row("G4/ranking")
def test_a_served_ranking_has_the_scores_of_its_rows_and_of_no_others() -> None:
    """Batches are cut without regard to queries, and callers ask for what they like at once."""

    async def each(request: web.Request, x: Array) -> web.StreamResponse:
        return reply(x * 2)

    async def beside_others(request: web.Request, x: Array) -> web.StreamResponse:
        return reply(x - x.mean())

    assert ranked(each) == [2.0 * row for row in range(40)]
    with pytest.raises(EvaluationError) as error:
        ranked(beside_others)
    assert (error.value.failure.code, error.value.exit_code) == ("DependsOnOthers", EXIT_NOT_JUDGED)


@pytest.mark.parametrize(
    "document", [{"outputs": []}, {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}]}]
)
def test_an_answer_that_is_none_is_a_failure_under_load(monkeypatch: pytest.MonkeyPatch, document: object) -> None:
    """A server that says 200 to whatever it has no time for answers at once, and nothing."""
    monkeypatch.setattr(served, "Plan", partial(Plan, blocks=5, requests=50, pause=0.0))
    at_rest, warm_up, under_load, answered = 4, 50, 50, count()

    async def shed(request: web.Request, x: Array) -> web.StreamResponse:
        return reply(x + 1) if next(answered) < at_rest + warm_up + 30 else web.json_response(document)

    found = asked(Fake(answer=shed), loads=("500/s",))
    assert found["failed_requests"].estimate == under_load - 30
