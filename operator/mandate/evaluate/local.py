"""The whole evaluation without a cluster, for the command line."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import mandate
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import ModelSource
from mandate.evidence.schema import Evidence, Starts
from mandate.inference.errors import InferenceError
from mandate.measure.shelf import HELD, Shelf
from mandate.measure.work import SERIAL, Workers
from mandate.sources import Reader, Spill, digest_of

from . import containers, data, predict, service
from .data import Rows
from .failures import EvaluationError, discreet, failing, of_champion
from .frame import read_termination
from .model_file import fetch_model, file_of
from .places import place_of
from .predict import Predicted
from .run import champions, evidence
from .signed import signed_by

STARTING = 60.0
"""Seconds after which the predictor isn't started again, however often it was."""
T = TypeVar("T")


@discreet
def evaluate_locally(
    spec: ModelEvaluationSpec,
    *,
    reader: Reader,
    now: datetime,
    serve: bool = False,
    starts: int = 1,
    baselines: Mapping[str, str] | None = None,
    stage: Callable[[str], None] = lambda _: None,
    workers: Workers = SERIAL,
    spill: Spill | None = None,
) -> Evidence:
    """Evidence as the Job would find it; `reader` reads what is behind a URI, `now` is what rows' age is reckoned from.

    A model file runs in process and service quantities are NotMeasured. With `serve` it runs in the predictor, a
    process on the loopback interface, and they are measured; it is started `starts` times for cold_start. Baselines
    that are containers answer at their URLs in `baselines`, by name. `stage` is told what is being done, in words.
    `workers` do what is cut into tasks, and large tables, with what is known of their rows, lie in files where `spill`
    says so; the evidence depends on neither. Raises EvaluationError.
    """
    start = time.monotonic()
    source = spec.model.source
    for field, model in (("model", spec.model), ("champion", spec.champion)):
        if model is not None and model.source.image is not None:
            with failing("Predict", field=f"spec.{field}.source.image"):
                raise InferenceError(
                    "NeedsCluster", f"{model.source.image} runs in a cluster only; apply the manifest there"
                )
    addresses = baselines or {}
    containers.need_addresses(spec, addresses)
    stage("reading the data")
    rows = data.load(spec, reader=reader, spill=spill)
    shelf = _shelf(rows, spill)
    with failing("Measure", field="spec.data"):
        rows = replace(rows, split=rows.split.kept(shelf))
    prepared = time.monotonic() - start
    stage("serving the model and asking it" if serve and source.uri else "asking the model")
    if source.uri is None:
        predicted = predict.from_table(spec, rows)
    elif serve:
        predicted = asyncio.run(_served(spec, rows, reader=reader, starts=starts))
    else:
        with failing("Fetch", field="spec.model.source.uri"):
            file = _file(source, reader=reader)
        predicted = predict.in_process(spec, rows, file)
    if (asked := champions(spec)) is not None:
        stage("asking the champion")
        with failing("Fetch", field="spec.champion.source.uri"):
            file = _file(asked.model.source, reader=reader)
        with of_champion():
            predicted = replace(predicted, champion=predict.in_process(asked, rows, file).answers)
    if any(containers.declared(spec)):
        from mandate.inference.client import Limits

        stage("asking the baselines' containers")
        asking = containers.ask(spec, rows, addresses=addresses, model="model", limits=Limits(), container=False)
        predicted = replace(predicted, containers=asyncio.run(asking))
    stage("measuring")
    with failing("Measure", field="spec.data"):
        predicted = replace(predicted, answers=predicted.answers.kept(shelf))
    return evidence(
        spec,
        rows,
        predicted,
        isolation="Unknown",
        seconds={"prepare": prepared},
        now=now,
        workers=workers,
        shelf=shelf,
    )


def _shelf(rows: Rows, spill: Spill | None) -> Shelf:
    """Beside a table that is too large to be held, what is known of each of its rows is in files, too."""
    if spill is None or rows.table.nbytes <= spill.most:
        return HELD
    return Shelf(folder=spill.folder or Path(tempfile.gettempdir()))


async def _served(spec: ModelEvaluationSpec, rows: Rows, *, reader: Reader, starts: int) -> Predicted:
    """As `over_http`, with a predictor of our own, which is started `starts` times."""
    from mandate.inference.client import Limits

    from .served import over_http, start_of

    limits = Limits()
    with tempfile.TemporaryDirectory(prefix="mandate-") as name:
        folder = Path(name)
        place = place_of(spec.model.source)
        digest = fetch_model(
            place,
            format=spec.model.source.format,
            digest=spec.model.source.digest,
            reader=reader,
            model_dir=folder,
        )
        signed_by(spec.model.source, digest=digest)
        probing = asyncio.Event()
        async with _predictor(spec, folder=folder, digest=digest) as server:
            asking = over_http(
                spec, rows, url=server.url, model="model", limits=limits, container=False, probing=probing
            )
            found = replace(await server.watched(asking, probing=probing), model_digest=digest)
        first = None if found.starts is None else found.starts.seconds[0]
        if starts == 1 or first is None:
            return found
        seconds: list[float | None] = [first]
        began = time.monotonic()
        while len(seconds) < starts and time.monotonic() - began < STARTING:
            async with _predictor(spec, folder=folder, digest=digest) as server:
                starting = start_of(spec, rows, url=server.url, model="model", limits=limits)
                try:
                    seconds.append(await server.watched(starting))
                except (EvaluationError, InferenceError):  # what was measured before stays; of this there is nothing
                    seconds.append(None)
            if seconds[-1] is None:
                break
        return _with_starts(found, seconds, took=time.monotonic() - began)


def _with_starts(found: Predicted, seconds: Sequence[float | None], *, took: float) -> Predicted:
    """What was measured, with the several starts for the one."""
    estimate = service.starts(seconds)
    others = [other for other in found.estimates if other.quantity != estimate.quantity]
    known = tuple(round(one, 4) for one in seconds if one is not None)
    return replace(
        found,
        estimates=service.in_order([*others, estimate]),
        starts=Starts(seconds=known),
        seconds={**found.seconds, "start": took},
    )


@dataclass(frozen=True, kw_only=True)
class _Server:
    """A predictor of our own, a process on the loopback interface."""

    process: asyncio.subprocess.Process
    url: str
    folder: Path
    source: str

    async def watched(self, asking: Coroutine[Any, Any, T], *, probing: asyncio.Event | None = None) -> T:
        """What comes of `asking`. Raises EvaluationError where the process ends before, and wasn't being probed."""
        asked = asyncio.create_task(asking)
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
        if probing is not None and probing.is_set():
            await asyncio.wait({asked})  # where a bad input ended it, that is what was to be found out
        if not asked.done():
            asked.cancel()
            await asyncio.wait({asked})
            with failing("Predict", field="spec.model.source"):
                raise _why(self.folder, name=self.source)
        return asked.result()


@asynccontextmanager
async def _predictor(spec: ModelEvaluationSpec, *, folder: Path, digest: str) -> AsyncIterator[_Server]:
    """The model in `folder` behind a predictor, which is stopped again whatever happens."""
    port = _free_port()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mandate.predictor", "--model-dir", str(folder), "--digest", digest),
            *("--format", spec.model.source.format or "ONNX"),
            *("--host", "127.0.0.1", "--port", str(port), "--termination-log", str(folder / "ended")),
            env={**os.environ, "PYTHONPATH": _with_ours(os.environ.get("PYTHONPATH"))},
            stdout=log,
            stderr=log,
        )
    try:
        source = place_of(spec.model.source).uri
        yield _Server(process=process, url=f"http://127.0.0.1:{port}", folder=folder, source=source)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _file(source: ModelSource, *, reader: Reader) -> Path:
    found = reader.path(file_of(place_of(source), format=source.format, reader=reader))
    if source.signature is not None:
        signed_by(source, digest=digest_of(found))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_ours(path: str | None) -> str:
    ours = str(Path(mandate.__path__[0]).parent)
    return ours if not path else os.pathsep.join([ours, path])


def _why(folder: Path, *, name: str) -> InferenceError:
    """Why the predictor ended: that the model, which users call `name`, can't be loaded, or else its last line."""
    ended = folder / "ended"
    failure = read_termination(ended.read_text("utf-8")).failure if ended.exists() else None
    if failure is not None:
        return InferenceError(failure.code, f"{name}: {failure.message}", field="spec.model.source")
    return InferenceError("PredictorCrashed", f"the predictor ended: {_last_line(folder / 'log')}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "it said nothing"
