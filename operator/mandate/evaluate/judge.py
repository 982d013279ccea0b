"""The main container: rows and answers in, evidence out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evidence.schema import Evidence
from mandate.inference.client import Limits
from mandate.measure.work import Workers, available, threads

from . import containers, data, predict
from .failures import discreet, failing, of_champion
from .isolation import isolation, probe, targets
from .run import champions, evidence
from .served import over_http


@discreet
async def judge(
    spec: ModelEvaluationSpec,
    *,
    data_dir: Path,
    predictor: str,
    champion: str,
    baselines: Mapping[str, str],
    model: str,
    environment: Mapping[str, str],
    limits: Limits,
    now: datetime,
    dask: str | None = None,
    dask_credentials: Path | None = None,
) -> Evidence:
    """Evidence on the model behind `predictor` (a URL), or on columns of the data. Raises EvaluationError.

    Where the settings name a champion, the one behind `champion` is asked about the same rows, and so are baselines
    that are containers, each behind its URL in `baselines`, or else on its own port of this Pod. `now`, with a time
    zone, is what the rows' age is reckoned from. The workers of the Dask scheduler at `dask`, where it is given, do
    what is cut into tasks; the evidence doesn't depend on them.
    """
    start = time.monotonic()
    with failing("Settings"):
        addresses = targets(environment)
    before = asyncio.create_task(probe(addresses))
    with _workers(dask, dask_credentials):
        pass  # what is wrong there is told before the model is asked, and not held open while it is timed
    with failing("Fetch"):
        rows, file_digest = data.read(data_dir)
    prepared = time.monotonic() - start
    source = spec.model.source
    if source.columns is not None:
        predicted = predict.from_table(spec, rows)
    else:
        predicted = await over_http(spec, rows, url=predictor, model=model, limits=limits, container=True)
    rival = None
    if (asked := champions(spec)) is not None:
        with of_champion():
            rival = (await over_http(asked, rows, url=champion, model=model, limits=limits, container=True)).answers
    asked_too = await containers.ask(spec, rows, addresses=baselines, model=model, limits=limits, container=True)
    # A scheduler runs whatever it is sent, and a NetworkPolicy covers the model's container too.
    isolated = isolation(await before, await probe(addresses), sealed=spec.sealed and dask is None)
    digest = file_digest if source.image is None else source.image_digest
    with _workers(dask, dask_credentials) as workers:
        return evidence(
            spec,
            rows,
            replace(predicted, model_digest=digest, champion=rival, containers=asked_too),
            isolation=isolated,
            seconds={"prepare": prepared},
            now=now,
            workers=workers,
        )


@contextmanager
def _workers(dask: str | None, credentials: Path | None) -> Iterator[Workers]:
    """Who does what is cut into tasks: threads, or a Dask cluster. Raises EvaluationError."""
    here = threads(available())
    if dask is None:
        yield here
        return
    from .on_dask import on_dask

    with ExitStack() as stack:
        with failing("Settings", field="spec.evaluation.dask"):
            workers = stack.enter_context(on_dask(dask, here=here, credentials=credentials))
        yield workers
