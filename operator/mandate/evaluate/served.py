"""Answers of a predictor over HTTP, and how fast they come. Apart from `predict`: aiohttp is slow to import."""

from __future__ import annotations

import time

from mandate.api.kinds import ModelEvaluationSpec
from mandate.inference.client import Limits, connect
from mandate.inference.load import Plan, run
from mandate.measure.answers import Answers

from . import service
from .data import Rows
from .failures import failing
from .predict import Predicted, inputs_of

_LOAD_ROWS = 500
"""Different rows that the load consists of."""


async def over_http(spec: ModelEvaluationSpec, rows: Rows, *, url: str, model: str, limits: Limits) -> Predicted:
    """Answers of the predictor at `url`, and its latencies under the declared loads. Raises EvaluationError."""
    seconds: dict[str, float] = {}
    async with connect(url, model=model, limits=limits) as client:
        with failing("Predict", field="spec.model"):
            seconds["ready"] = await client.wait_ready()
            metadata = await client.metadata()
            start = time.monotonic()
            inputs, output = inputs_of(spec), spec.model.output
            fed = client.features(rows.table, inputs=inputs, output=output, metadata=metadata)
            values = await client.predict(fed, output=output, task=spec.task, metadata=metadata)
            seconds["predict"] = time.monotonic() - start
        with failing("Load", field="spec.loads"):
            start = time.monotonic()
            size = fed.batch or 1
            test = [int(row) for row in rows.split.rows("test").nonzero()[0][:_LOAD_ROWS]]
            starts = [row - row % size for row in test]
            bodies = [client.body(fed, row, row + size, output=output, metadata=metadata) for row in starts]
            loads = {}
            for load in spec.loads:
                plan = Plan(rate=service.rate_of(load), timeout=limits.loaded)
                loads[load] = await run(lambda i: client.answer(bodies[i % len(bodies)], timeout=limits.loaded), plan)
            seconds["load"] = time.monotonic() - start
    estimates = service.measured(loads, timeout=limits.loaded, requests=fed.rows)
    versions = {"server": metadata.server} | ({"model": metadata.version} if metadata.version else {})
    return Predicted(answers=Answers(values=values), estimates=estimates, seconds=seconds, versions=versions)
