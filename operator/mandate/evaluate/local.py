"""The whole evaluation without a cluster, for the command line."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import mandate
from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import ModelSource
from mandate.evidence.schema import Evidence
from mandate.inference.errors import InferenceError
from mandate.measure.shelf import HELD, Shelf
from mandate.measure.work import SERIAL, Workers
from mandate.sources import Reader, Spill

from . import containers, data, predict
from .data import Rows
from .failures import discreet, failing, of_champion
from .frame import read_termination
from .model_file import fetch_model, file_of
from .places import place_of
from .predict import Predicted
from .run import champions, evidence


@discreet
def evaluate_locally(
    spec: ModelEvaluationSpec,
    *,
    reader: Reader,
    now: datetime,
    serve: bool = False,
    baselines: Mapping[str, str] | None = None,
    stage: Callable[[str], None] = lambda _: None,
    workers: Workers = SERIAL,
    spill: Spill | None = None,
) -> Evidence:
    """Evidence as the Job would find it; `reader` reads what is behind a URI, `now` is what rows' age is reckoned from.

    A model file runs in process and service quantities are NotMeasured. With `serve` it runs in the predictor, a
    process on the loopback interface, and they are measured. Baselines that are containers answer at their URLs in
    `baselines`, by name. `stage` is told what is being done, in words. `workers` do
    what is cut into tasks, and large tables, with what is known of their rows, lie in files where `spill` says so; the
    evidence depends on neither. Raises EvaluationError.
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
        predicted = asyncio.run(_served(spec, rows, reader=reader))
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


async def _served(spec: ModelEvaluationSpec, rows: Rows, *, reader: Reader) -> Predicted:
    """As `over_http`, with a predictor of our own, which is stopped again whatever happens."""
    from mandate.inference.client import Limits

    from .served import over_http

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
        port = _free_port()
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mandate.predictor", "--model-dir", name, "--digest", digest),
                *("--format", spec.model.source.format or "ONNX"),
                *("--host", "127.0.0.1", "--port", str(port), "--termination-log", str(folder / "ended")),
                env={**os.environ, "PYTHONPATH": _with_ours(os.environ.get("PYTHONPATH"))},
                stdout=log,
                stderr=log,
            )
        try:
            probing = asyncio.Event()
            asking = asyncio.create_task(
                over_http(
                    spec,
                    rows,
                    url=f"http://127.0.0.1:{port}",
                    model="model",
                    limits=Limits(),
                    container=False,
                    probing=probing,
                )
            )
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
            if probing.is_set():
                await asyncio.wait({asking})  # where a bad input ended it, that is what was to be found out
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})
                with failing("Predict", field="spec.model.source"):
                    raise _why(folder, name=place.uri)
            return replace(asking.result(), model_digest=digest)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _file(source: ModelSource, *, reader: Reader) -> Path:
    return reader.path(file_of(place_of(source), format=source.format, reader=reader))


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
