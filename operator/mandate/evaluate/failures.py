"""From an exception of any stage to the failure that users see, and the exit code that goes with it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from .frame import EXIT_INPUT, EXIT_INTERNAL, EXIT_NOT_JUDGED, Failure, FrameError

Stage = Literal["Settings", "Fetch", "Split", "Predict", "Load", "Measure", "Report"]

_NOT_JUDGED = {
    "PredictorNotReady",
    "PredictorCrashed",
    "PredictorTimeout",
    "RequestRefused",
    "MalformedAnswer",
    "WrongShape",
    "WrongType",
    "NeedsCluster",
    "Unreachable",
    "Unavailable",
    "Truncated",
    "TooSlow",
    "DaskFailed",
}


class EvaluationError(Exception):
    """A stage failed: `failure` for users, `exit_code` for whoever runs us."""

    def __init__(self, failure: Failure, exit_code: int) -> None:
        self.failure = failure
        self.exit_code = exit_code
        super().__init__(f"{failure.stage}: {failure.code}: {failure.message}")


def explain(error: Exception, *, stage: Stage, field: str | None = None) -> EvaluationError:
    """What to tell users of `error`.

    Our rooms' own exceptions carry a code; asking for it, not for their classes, imports none of the rooms. Whatever
    else comes is InternalError, with the place where it happened.
    """
    if isinstance(error, EvaluationError):
        return error
    if isinstance(error, FrameError):
        return EvaluationError(Failure(stage=stage, code="ResultTooLarge", message=str(error)), EXIT_INPUT)
    if isinstance(error, MemoryError):
        message = "memory ran out; raise the limit or use fewer rows"
        return EvaluationError(Failure(stage=stage, code="OutOfMemory", message=message), EXIT_INTERNAL)
    code = getattr(error, "code", None)
    if isinstance(code, str) and type(error).__module__.startswith("mandate."):
        where = getattr(error, "field", None) or field
        failure = Failure(stage=stage, code=code, message=str(error), field=where)
        return EvaluationError(failure, EXIT_NOT_JUDGED if code in _NOT_JUDGED else EXIT_INPUT)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    failure = Failure(stage=stage, code="InternalError", message=f"{type(error).__name__}: {error}{place}")
    return EvaluationError(failure, EXIT_INTERNAL)


@contextmanager
def failing(stage: Stage, *, field: str | None = None) -> Iterator[None]:
    """Whatever goes wrong inside leaves as EvaluationError of that stage."""
    try:
        yield
    except Exception as error:
        raise explain(error, stage=stage, field=field) from error


@contextmanager
def of_champion() -> Iterator[None]:
    """Whatever fails inside about spec.model is about spec.champion: it was asked in the model's place."""
    try:
        yield
    except EvaluationError as error:
        field = error.failure.field or ""
        if not field.startswith("spec.model"):
            raise
        there = replace(error.failure, field="spec.champion" + field.removeprefix("spec.model"))
        raise EvaluationError(there, error.exit_code) from error
