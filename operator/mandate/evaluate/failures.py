"""From an exception of any stage to the failure that users see, and the exit code that goes with it."""

from __future__ import annotations

import traceback
from typing import Literal

from mandate.inference.errors import InferenceError
from mandate.measure.table import MeasureError
from mandate.sources import SourceError

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
}


class EvaluationError(Exception):
    """A stage failed: `failure` for users, `exit_code` for whoever runs us."""

    def __init__(self, failure: Failure, exit_code: int) -> None:
        self.failure = failure
        self.exit_code = exit_code
        super().__init__(f"{failure.stage}: {failure.code}: {failure.message}")


def explain(error: Exception, *, stage: Stage, field: str | None = None) -> EvaluationError:
    """What to tell users of `error`; what we don't know is InternalError, with the place where it happened."""
    match error:
        case EvaluationError():
            return error
        case InferenceError():
            code = EXIT_NOT_JUDGED if error.code in _NOT_JUDGED else EXIT_INPUT
            failure = Failure(stage=stage, code=error.code, message=str(error), field=error.field or field)
            return EvaluationError(failure, code)
        case SourceError() | MeasureError():
            return EvaluationError(Failure(stage=stage, code=error.code, message=str(error), field=field), EXIT_INPUT)
        case FrameError():
            return EvaluationError(Failure(stage=stage, code="ResultTooLarge", message=str(error)), EXIT_INPUT)
        case MemoryError():
            failure = Failure(
                stage=stage, code="OutOfMemory", message="memory ran out; raise the limit or use fewer rows"
            )
            return EvaluationError(failure, EXIT_INTERNAL)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    failure = Failure(stage=stage, code="InternalError", message=f"{type(error).__name__}: {error}{place}")
    return EvaluationError(failure, EXIT_INTERNAL)
