"""`mandate evaluate`: measure and judge."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mandate.api.check import SpecError
from mandate.api.defaults import effective
from mandate.api.spec import Model
from mandate.evaluate.failures import failing
from mandate.evaluate.local import evaluate_locally
from mandate.evaluate.places import place_of
from mandate.evidence.measurement import evaluation_spec
from mandate.measure.work import Workers, available, threads
from mandate.sources import SourceError, Spill, digest_of

from . import manifest, output, sources, verdict
from .errors import InputError
from .manifest import Manifest
from .progress import progress


def execute(options: argparse.Namespace) -> int:
    """Run the evaluation that the manifest declares; returns the exit code."""
    read = [path for path in (options.file, options.champion) if path is not None]
    outputs = output.parse(options.output, keep=read)
    verdict.check(options)
    declared = manifest.read(options.file, name=options.name)
    baselines = addresses(options.baseline, declared)
    champion = None if options.champion is None else rival(options.champion, declared, options)
    asked = evaluation_spec(declared.name, declared.declared, champion=champion)
    with (
        sources.reading(options, folder=declared.folder) as reader,
        progress(f"evaluating {declared.name}") as stage,
        _workers(options) as workers,
    ):
        evidence = evaluate_locally(
            asked,
            reader=reader,
            now=datetime.now(UTC),
            serve=options.serve,
            starts=starts(declared),
            baselines=baselines,
            stage=stage,
            workers=workers,
            spill=None if options.memory is None else Spill(most=options.memory // 2),
        )
    return verdict.conclude(declared, evidence, options, outputs)


@contextmanager
def _workers(options: argparse.Namespace) -> Iterator[Workers]:
    """Who does what is cut into tasks: threads, or a Dask cluster. Raises EvaluationError."""
    here = threads(options.workers or available())
    if options.dask is None:
        yield here
        return
    from mandate.evaluate.on_dask import on_dask

    with ExitStack() as stack:
        with failing("Settings", field=f"--dask {options.dask}"):
            workers = stack.enter_context(on_dask(options.dask, here=here))
        yield workers


def starts(declared: Manifest) -> int:
    """How often the predictor is started: again and again where a gate asks how long that takes."""
    from mandate.inference.starts import STARTS  # SciPy

    return STARTS if any(gate.metric == "cold_start" for gate in effective(declared.declared).gates) else 1


def addresses(given: Sequence[tuple[str, str]], declared: Manifest) -> dict[str, str]:
    """Where the containers of baselines listen, by name. Raises InputError for a name that has none, or has two."""
    known = [baseline.name for baseline in declared.declared.baselines if baseline.type == "Container"]
    found: dict[str, str] = {}
    for name, url in given:
        if name not in known:
            some = f"those are {', '.join(known)}" if known else "the manifest declares none"
            raise InputError(f"--baseline {name}={url}: {name!r} is no baseline of type Container; {some}")
        if name in found:
            raise InputError(f"--baseline {name}={url}: {name!r} was given as {found[name]} before; give it once")
        found[name] = url
    return found


def rival(path: Path, candidate: Manifest, options: argparse.Namespace) -> Model:
    """The model that the manifest in `path` declares, with its file's digest and place, as a cluster has pinned it.

    Raises InputError where it can't be the candidate's champion.
    """
    try:
        declared = manifest.read(path, choose="give a file with one")
    except SpecError as error:
        raise InputError(f"--champion {path}: {'; '.join(map(str, error.problems))}") from None
    ours, theirs = candidate.declared.task, declared.declared.task
    for field in ("type", "target", "positive"):
        if getattr(ours, field) != getattr(theirs, field):
            raise InputError(
                f"--champion {path}: spec.task.{field}: got {getattr(theirs, field)!r}, the candidate's is "
                f"{getattr(ours, field)!r}; a champion answers the same question"
            )
    model = declared.declared.model
    if model.source.columns is not None:
        raise InputError(
            f"--champion {path}: spec.model.source.columns: a champion is a model that runs; compare with answers in "
            "the data through a baseline of type Column"
        )
    if model.source.uri is None:
        return model  # an image: evaluating says that it needs a cluster
    try:
        with sources.reading(options, folder=declared.folder) as reader:
            place = place_of(model.source)
            file = reader.path(place).absolute()
            digest = model.source.digest or digest_of(file)
    except SourceError as error:
        raise InputError(f"--champion {path}: spec.model.source: {error.code}: {error}") from None
    # Its own folder isn't the candidate's, from which relative paths are read.
    uri = place.uri if reader.is_remote(place) else str(file)
    source = model.source.model_copy(update={"uri": uri, "digest": digest})
    return model.model_copy(update={"source": source})
