"""The stages that CLI and Job share, put together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evidence.schema import Evidence, Measured
from mandate.measure.engine import compute
from mandate.measure.shelf import HELD, Shelf
from mandate.measure.work import SERIAL, Workers

from . import age
from .data import Rows
from .failures import failing
from .first_seen import by_time
from .isolation import Isolation
from .predict import Predicted
from .signed import signed_by


def champions(spec: ModelEvaluationSpec) -> ModelEvaluationSpec | None:
    """The settings under which the champion is asked: on the same rows, without load. None without a champion."""
    if spec.champion is None:
        return None
    return spec.model_copy(update={"model": spec.champion, "champion": None, "loads": (), "service": ()})


def evidence(
    spec: ModelEvaluationSpec,
    rows: Rows,
    predicted: Predicted,
    *,
    isolation: Isolation,
    seconds: Mapping[str, float],
    now: datetime,
    workers: Workers = SERIAL,
    shelf: Shelf = HELD,
) -> Evidence:
    """Compute the evidence of answers that were had; `seconds` are the earlier stages'. Raises EvaluationError.

    `now` has a time zone. Only how old the rows are is held against it, which is no part of what is computed.
    `workers` do what is cut into tasks, `shelf` is where lies what is known of every row; the evidence depends on
    neither.
    """
    start = time.monotonic()
    with failing("Measure", field="spec"):
        computed = compute(
            table=rows.table,
            split=rows.split,
            answers=predicted.answers,
            model=spec.model,
            task=spec.task,
            data=spec.data,
            references=spec.baselines,
            error_costs=spec.error_costs,
            champion=predicted.champion,
            champion_model=spec.champion,
            containers=predicted.containers,
            model_digest=predicted.model_digest,
            signer=signed_by(spec.model.source, digest=predicted.model_digest),
            data_digests=rows.digests,
            annotations=rows.annotations,
            workers=workers,
            shelf=shelf,
            production=rows.production,
        )
        newest, ages = ({}, ()) if spec.task.time is None else age.ages(rows, time=spec.task.time, now=now)
        beside = by_time(rows, time=spec.task.time, first_seen=spec.first_seen, digest=predicted.model_digest)
    measured = Measured(
        estimates=(*predicted.estimates, *ages),
        loads=predicted.loads or None,
        saturated=predicted.saturated,
        robustness=predicted.robustness,
        peaks=predicted.peaks,
        starts=predicted.starts,
        nudged=predicted.nudged,
        newest=newest or None,
        by_time=beside,
        isolation=isolation,
        seconds={**seconds, **predicted.seconds, "compute": time.monotonic() - start},
        versions={**_versions(), **predicted.versions},
    )
    return Evidence(computed=computed, measured=measured)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in ("mandate-operator", "numpy", "scipy", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
