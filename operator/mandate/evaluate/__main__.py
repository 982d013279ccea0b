"""`python -m mandate.evaluate fetch | fetch-model | judge | score`: steps of evaluation, serving and batch Pods.

Each but `score` writes its termination message; `judge` prints its result as one framed line. See `frame` for the
formats.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mandate.api.criteria import LEVELS
from mandate.memory import frugal
from mandate.processor import narrow

from . import frame
from .addresses import addressed
from .frame import EXIT_OK, Failure, Result, Termination

if TYPE_CHECKING:
    from mandate.sources.reader import Reader


def main(arguments: list[str] | None = None) -> int:
    narrow()
    frugal()
    options = _parser().parse_args(arguments)
    step: Callable[[argparse.Namespace], int] = options.step
    return step(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mandate.evaluate", description="Steps of an evaluation Pod.")
    steps = parser.add_subparsers(required=True)
    fetch = steps.add_parser("fetch", help="verify the sources, execute the split, fill both folders")
    fetch.set_defaults(step=_fetch)
    model = steps.add_parser("fetch-model", help="copy and verify the model file only")
    model.set_defaults(step=_fetch_model)
    model.add_argument("--uri", required=True, help="pvc://CLAIM/PATH, https://…, s3://… or oci://… of the model file")
    model.add_argument("--digest", required=True, help="sha256:… that it must have")
    model.add_argument("--format", help="MLflow: the URI is a folder, whose MLmodel names the file")
    model.add_argument("--credentials-ref", help="name of the Secret whose keys open it")
    model.add_argument("--s3-endpoint", help="https://HOST:PORT of the storage; default: AWS's")
    model.add_argument("--s3-region", help="its region")
    judge = steps.add_parser("judge", help="ask the predictor, measure, print the framed result")
    judge.set_defaults(step=_judge)
    judge.add_argument("--predictor", default="http://127.0.0.1:8080", help="where the predictor listens")
    judge.add_argument("--model-name", default="model", help="the model's name at the predictor")
    judge.add_argument("--ready-timeout", type=float, default=120.0, help="seconds until the model must be ready")
    judge.add_argument("--dask", help="tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler whose workers do tasks")
    judge.add_argument("--dask-credentials", help="name of the Secret that opens a tls one")
    judge.add_argument("--dask-folder", type=Path, default=Path("/mandate/dask"), help="where that Secret is mounted")
    score = steps.add_parser("score", help="answer every batch of a folder that has no answers yet")
    score.set_defaults(step=_score)
    score.add_argument("--predictor", default="http://127.0.0.1:8080", help="where the predictor listens")
    score.add_argument("--input", type=Path, required=True, help="folder with tables")
    score.add_argument("--output", type=Path, required=True, help="folder for answers, one below it per level")
    score.add_argument("--autonomy", choices=LEVELS, required=True, help="the level that marks the answers")
    for name in ("version", "revision", "digest"):
        score.add_argument(f"--{name}", required=True, help=f"the model's {name}")
    for step in (fetch, model):
        step.add_argument("--sources", type=Path, default=Path("/mandate/sources"), help="where claims are mounted")
        step.add_argument(
            "--credentials", type=Path, default=Path("/mandate/credentials"), help="where Secrets are mounted"
        )
        step.add_argument("--model-dir", type=Path, default=Path("/mandate/model"), help="folder for the model file")
    fetch.add_argument("--champion-dir", type=Path, default=Path("/mandate/champion"), help="folder for the champion")
    judge.add_argument("--champion", default="http://127.0.0.1:8081", help="where the champion's predictor listens")
    judge.add_argument(
        "--baseline",
        type=addressed,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="where the container of that baseline listens; default: on its port of this Pod",
    )
    for step in (fetch, judge):
        step.add_argument("--data-dir", type=Path, default=Path("/mandate/data"), help="folder for the rows")
    for step in (fetch, model, judge):
        step.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"))
    return parser


def _fetch(options: argparse.Namespace) -> int:
    return _ending(options, partial(_fetched, options))


def _fetched(options: argparse.Namespace) -> dict[str, str]:
    from .fetch import fetch
    from .settings import spec_in

    return fetch(
        spec_in(os.environ),
        reader=_reader(options),
        model_dir=options.model_dir,
        champion_dir=options.champion_dir,
        data_dir=options.data_dir,
    )


def _fetch_model(options: argparse.Namespace) -> int:
    return _ending(options, partial(_model_fetched, options))


def _model_fetched(options: argparse.Namespace) -> dict[str, str]:
    from mandate.sources.place import Place

    from .model_file import fetch_model

    place = Place(
        uri=options.uri,
        credentials=options.credentials_ref,
        endpoint=options.s3_endpoint,
        region=options.s3_region,
    )
    found = fetch_model(
        place, format=options.format, digest=options.digest, reader=_reader(options), model_dir=options.model_dir
    )
    return {"model": found}


def _reader(options: argparse.Namespace) -> Reader:
    from mandate.sources.reader import Reader

    from .model_file import mounts_in

    return Reader(mounts=mounts_in(options.sources), credentials=mounts_in(options.credentials))


def _ending(options: argparse.Namespace, step: Callable[[], dict[str, str]]) -> int:
    """Run a fetching step; its digests or its failure go into the termination message."""
    from .failures import explain

    try:
        ended, code = Termination(digests=step()), EXIT_OK
    except Exception as error:
        explained = explain(error, stage="Fetch")
        ended, code = Termination(failure=explained.failure), explained.exit_code
        _complain(explained.failure)
    options.termination_log.write_text(ended.dump())
    return code


def _judge(options: argparse.Namespace) -> int:
    from .failures import explain

    try:
        line, ended = frame.frame(Result(evidence=_judged(options)))
        code = EXIT_OK
    except Exception as error:
        explained = explain(error, stage="Report")
        line, ended = frame.frame(Result(failure=explained.failure))
        code = explained.exit_code
        _complain(explained.failure)
    # The message first: a frame that nothing vouches for is never read.
    options.termination_log.write_text(ended.dump())
    sys.stdout.write(line)
    sys.stdout.flush()
    return code


def _judged(options: argparse.Namespace) -> dict[str, Any]:
    from mandate.inference.client import Limits

    from .judge import judge
    from .settings import spec_in

    evidence = asyncio.run(
        judge(
            spec_in(os.environ),
            data_dir=options.data_dir,
            predictor=options.predictor,
            champion=options.champion,
            baselines=dict(options.baseline),
            model=options.model_name,
            environment=os.environ,
            limits=Limits(ready=options.ready_timeout),
            now=datetime.now(UTC),
            dask=options.dask,
            dask_credentials=options.dask_folder if options.dask_credentials else None,
        )
    )
    return evidence.dump()


def _score(options: argparse.Namespace) -> int:
    from .failures import explain

    try:
        done = _scored(options)
    except Exception as error:
        explained = explain(error, stage="Predict")
        _complain(explained.failure)
        return explained.exit_code
    print(f"{len(done)} batches answered at {options.autonomy}", *done, sep="\n", flush=True)
    return EXIT_OK


def _scored(options: argparse.Namespace) -> list[str]:
    from mandate.inference.client import Limits

    from .score import Mark, Told, score

    told = Told.model_validate(frame.unpack(os.environ[frame.SETTINGS_VARIABLE]))
    mark = Mark(autonomy=options.autonomy, version=options.version, revision=options.revision, digest=options.digest)
    return asyncio.run(
        score(
            told,
            folder=options.input,
            answers=options.output,
            mark=mark,
            predictor=options.predictor,
            # As long as it takes: a batch that hangs is the Job's activeDeadlineSeconds to end.
            limits=Limits(total=86_400.0),
        )
    )


def _complain(failure: Failure) -> None:
    print(f"{failure.stage}: {failure.code}: {failure.message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
