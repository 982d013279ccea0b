"""Answers of a predictor over HTTP, and how fast they come. Apart from `predict`: aiohttp is slow to import."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evidence.schema import NUDGED
from mandate.inference import capacity, nudges, probes, robustness
from mandate.inference.answers import BATCH_ROWS, REPEATED, alike, check_own, some
from mandate.inference.client import Limits, Usage, connect
from mandate.inference.errors import InferenceError
from mandate.inference.features import Features
from mandate.inference.load import Plan, Send, run
from mandate.measure.answers import Answers
from mandate.measure.table import text_codes
from mandate.predictor.datatypes import Array

from . import nudges as nudging
from . import service
from .data import Rows
from .failures import failing
from .predict import Predicted, inputs_of

RECOVERY = 30.0
"""Seconds that a container has to come back after bad input."""
ONCE = "an evaluation's container starts once: nothing here may start it again"
ONCE_HERE = "no gate asks for cold_start, so the server was started once"
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
    own = spec.model.source.image is None

    async def usage() -> Usage | None:
        # Only our own server's word is taken: an image of the user's could say that it used nothing.
        return await client.usage(container=container) if own else None

    async with connect(url, model=model, limits=limits) as client:
        with failing("Predict", field="spec.model"):
            seconds["ready"] = await client.wait_ready()
            metadata = await client.metadata()
            start = time.monotonic()
            inputs, output = inputs_of(spec), spec.model.output
            fed = client.features(rows.table, inputs=inputs, output=output, metadata=metadata)
            size = fed.batch or 1
            first = client.body(fed, 0, size, output=output, metadata=metadata)
            first_answer = None
            began = time.monotonic()
            with suppress(InferenceError):  # asked again below, where the words name the rows
                await client.ask(first, output=output, task=spec.task, rows=size)
                first_answer = time.monotonic() - began
            values = await client.predict(fed, output=output, task=spec.task, metadata=metadata)
            for row in some(fed.rows) if spec.task.type == "Ranking" else ():
                body = client.body(fed.alone(row), 0, size, output=output, metadata=metadata)
                alone = await client.ask(body, output=output, task=spec.task, rows=size)
                check_own(alone, values[row : row + 1], row=row)
            seconds["predict"] = time.monotonic() - start
        with failing("Load", field="spec.loads"):
            start = time.monotonic()
            test = [int(row) for row in rows.split.rows("test").nonzero()[0][:_LOAD_ROWS]]
            starts = [row - row % size for row in test]
            bodies = [client.body(fed, row, row + size, output=output, metadata=metadata) for row in starts]

            async def ask(place: int) -> Array:
                return await client.ask(bodies[place], output=output, task=spec.task, rows=size, timeout=limits.loaded)

            loads = {}
            if spec.loads or "Capacity" in spec.service:
                send = await repeated(ask, places=len(bodies))
            before, peaks = await usage(), list[float]()

            async def account() -> Usage | None:
                """What was used so far; noted as of a block's end."""
                if (now := await usage()) is not None:
                    peaks.append(now.memory)
                return now

            for load in spec.loads:
                plan = Plan(rate=service.rate_of(load), timeout=limits.loaded)
                loads[load] = await run(send, plan, after=account)
            estimates = [*service.measured(loads, timeout=limits.loaded, requests=fed.rows)]
            found = None
            if "Capacity" in spec.service:
                found = await capacity.measure(send, capacity.Effort(), timeout=limits.loaded, usage=account)
                estimates += service.capacity(found, rows=size, serving=spec.serving)
            estimates += service.used(before, await usage(), first_answer=first_answer, peaks=peaks)
            seconds["load"] = time.monotonic() - start
        survived, moved = None, None
        if "Robustness" in spec.service:
            if probing is not None:
                probing.set()
            with failing("Load", field="spec.gates"):
                start = time.monotonic()

                async def answered(rows: Features) -> Array:
                    return await client.predict(rows, output=output, task=spec.task, metadata=metadata)

                cluster = spec.task.cluster
                made = nudges.nudges(
                    fed,
                    test=rows.split.rows("test").nonzero()[0],
                    clusters=None if cluster is None else text_codes(rows.table, cluster)[1],
                )
                # Before bad inputs are sent, which may end the server.
                seen, moved = await nudging.nudge(answered, made, output=output, task=spec.task)
                estimates += nudging.flipped(moved, task=spec.task)
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
                if seen.probes:
                    survived[NUDGED] = seen
                estimates.append(service.probed(survived))
                seconds["probe"] = time.monotonic() - start
    versions = {"server": metadata.server} | ({"model": metadata.version} if metadata.version else {})
    return Predicted(
        answers=Answers(values=values),
        estimates=service.in_order(estimates),
        loads=service.under_load(loads),
        robustness=None if survived is None else service.by_kind(survived),
        peaks=service.kept(peaks, estimates),
        starts=service.started(estimates, once=ONCE if container else ONCE_HERE),
        nudged=moved,
        saturated=None if found is None else service.saturated(found, serving=spec.serving),
        seconds=seconds,
        versions=versions,
    )


async def start_of(spec: ModelEvaluationSpec, rows: Rows, *, url: str, model: str, limits: Limits) -> float | None:
    """Seconds from the start of the process that serves at `url` to its first right answer; None where that isn't one.

    As `over_http` measures it: what the process needed until it listened, and its first answer. Raises InferenceError.
    """
    async with connect(url, model=model, limits=limits) as client:
        await client.wait_ready()
        metadata, output = await client.metadata(), spec.model.output
        table = rows.table.slice(0, BATCH_ROWS)  # all of it again at each start would take longer than the start
        fed = client.features(table, inputs=inputs_of(spec), output=output, metadata=metadata)
        size = fed.batch or 1
        body = client.body(fed, 0, size, output=output, metadata=metadata)
        began = time.monotonic()
        try:
            await client.ask(body, output=output, task=spec.task, rows=size)
        except InferenceError:
            return None
        took = time.monotonic() - began
        used = await client.usage(container=False)
        return None if used is None else used.cold + took


async def repeated(ask: Callable[[int], Awaitable[Array]], *, places: int) -> Send:
    """What sends request i of a load: `ask` about place i modulo `places`, whose answer must be its first one again.

    A server that answers something else when it is busy doesn't answer what its quality was measured by. Of one that
    answers the same question otherwise at rest, such as by sampling, an answer is enough.
    """
    known: dict[int, Array] = {}
    steady = False
    with suppress(InferenceError):  # what fails is counted under load
        known[0] = await ask(0)
        steady = alike(known[0], await ask(0), room=REPEATED)

    async def send(number: int) -> None:
        place = number % places
        found = await ask(place)
        if steady and not alike(known.setdefault(place, found), found, room=REPEATED):
            raise InferenceError("OtherAnswer", "the same question got another answer than before")

    return send
