"""Answers of a predictor over HTTP, and how fast they come. Apart from `predict`: aiohttp is slow to import."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from mandate.api.kinds import ModelEvaluationSpec
from mandate.inference import capacity, probes, robustness
from mandate.inference.client import Client, Limits, connect
from mandate.inference.errors import InferenceError
from mandate.inference.load import Plan, run
from mandate.measure.answers import Answers

from . import service
from .data import Rows
from .failures import failing
from .predict import Predicted, inputs_of

RECOVERY = 30.0
"""Seconds that a container has to come back after bad input."""
_LOAD_ROWS = 500
"""Different rows that the load consists of."""


async def over_http(
    spec: ModelEvaluationSpec,
    rows: Rows,
    *,
    url: str,
    model: str,
    limits: Limits,
    container: bool,
    probing: asyncio.Event | None = None,
) -> Predicted:
    """Answers of the predictor at `url`, and what is measured at it. Raises EvaluationError.

    `container`: whether it has one of its own, whose memory and CPU count, and which is started again where it ends;
    else those of its process do. `probing` is set before bad inputs are sent, which may end it.
    """
    seconds: dict[str, float] = {}
    async with connect(url, model=model, limits=limits) as client:
        with failing("Predict", field="spec.model"):
            seconds["ready"] = await client.wait_ready()
            metadata = await client.metadata()
            start = time.monotonic()
            inputs, output = inputs_of(spec), spec.model.output
            fed = client.features(rows.table, inputs=inputs, output=output, metadata=metadata)
            size = fed.batch or 1
            first = client.body(fed, 0, size, output=output, metadata=metadata)
            began = time.monotonic()
            with suppress(InferenceError):  # asked again below, where the words name the rows
                await client.answer(first)
            first_answer = time.monotonic() - began
            values = await client.predict(fed, output=output, task=spec.task, metadata=metadata)
            seconds["predict"] = time.monotonic() - start
        with failing("Load", field="spec.loads"):
            start = time.monotonic()
            test = [int(row) for row in rows.split.rows("test").nonzero()[0][:_LOAD_ROWS]]
            starts = [row - row % size for row in test]
            bodies = [client.body(fed, row, row + size, output=output, metadata=metadata) for row in starts]
            loads = {}
            for load in spec.loads:
                plan = Plan(rate=service.rate_of(load), timeout=limits.loaded)
                loads[load] = await run(lambda i: client.answer(bodies[i % len(bodies)], timeout=limits.loaded), plan)
            estimates = [*service.measured(loads, timeout=limits.loaded, requests=fed.rows)]
            found = None
            if "Capacity" in spec.service:
                found = await capacity.measure(
                    lambda i: client.answer(bodies[i % len(bodies)], timeout=limits.loaded),
                    capacity.Effort(),
                    timeout=limits.loaded,
                    cpu=lambda: _cpu(client, container=container),
                )
                estimates += service.capacity(found, rows=size, serving=spec.serving)
            estimates += service.used(await client.usage(container=container), first_answer=first_answer)
            seconds["load"] = time.monotonic() - start
        survived = None
        if "Robustness" in spec.service:
            if probing is not None:
                probing.set()
            with failing("Load", field="spec.gates"):
                start = time.monotonic()
                row = starts[0]
                survived = await robustness.send(
                    lambda body: client.answer(body, timeout=limits.loaded),
                    probes.probes(fed, row=row, output=output.name, columns=inputs.columns),
                    good=probes.known(fed, row=row, output=output.name),
                    output=output,
                    task=spec.task,
                    rows=size,
                    recovery=RECOVERY if container else 0.0,
                )
                estimates.append(service.probed(survived))
                seconds["probe"] = time.monotonic() - start
    versions = {"server": metadata.server} | ({"model": metadata.version} if metadata.version else {})
    return Predicted(
        answers=Answers(values=values),
        estimates=service.in_order(estimates),
        loads=service.under_load(loads),
        robustness=None if survived is None else service.by_kind(survived),
        saturated=None if found is None else service.saturated(found, serving=spec.serving),
        seconds=seconds,
        versions=versions,
    )


async def _cpu(client: Client, *, container: bool) -> float | None:
    used = await client.usage(container=container)
    return None if used is None else used.cpu
