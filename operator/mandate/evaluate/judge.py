"""The main container: rows and answers in, evidence out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evidence.schema import Evidence
from mandate.inference.client import Limits
from mandate.measure.work import available, threads

from . import data, predict
from .failures import failing, of_champion
from .isolation import isolation, probe, targets
from .run import champions, evidence
from .served import over_http


async def judge(
    spec: ModelEvaluationSpec,
    *,
    data_dir: Path,
    predictor: str,
    champion: str,
    model: str,
    environment: Mapping[str, str],
    limits: Limits,
    now: datetime,
) -> Evidence:
    """Evidence on the model behind `predictor` (a URL), or on columns of the data. Raises EvaluationError.

    Where the settings name a champion, the one behind `champion` is asked about the same rows. `now`, with a time zone,
    is what the rows' age is reckoned from.
    """
    start = time.monotonic()
    with failing("Settings"):
        addresses = targets(environment)
    before = asyncio.create_task(probe(addresses))
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
    isolated = isolation(await before, await probe(addresses), sealed=spec.sealed)
    digest = file_digest if source.image is None else source.image_digest
    return evidence(
        spec,
        rows,
        replace(predicted, model_digest=digest, champion=rival),
        isolation=isolated,
        seconds={"prepare": prepared},
        now=now,
        workers=threads(available()),
    )
