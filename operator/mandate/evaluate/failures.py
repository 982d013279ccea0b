"""From an exception of any stage to the failure that users see, and the exit code that goes with it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from mandate.evidence.personal import withheld, words_of

from .frame import EXIT_INPUT, EXIT_INTERNAL, EXIT_NOT_JUDGED, Failure, FrameError

if TYPE_CHECKING:
    from mandate.api.kinds import ModelEvaluationSpec

Stage = Literal["Settings", "Fetch", "Split", "Predict", "Load", "Measure", "Report"]

_NOT_JUDGED = {
    "PredictorNotReady",
    "PredictorCrashed",
    "PredictorTimeout",
    "RequestRefused",
    "MalformedAnswer",
    "WrongShape",
    "WrongType",
    "DependsOnOthers",
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


P = ParamSpec("P")
R = TypeVar("R")
_NOT_OURS = frozenset({"RequestRefused", "PredictorCrashed", "PredictorNotReady", "MalformedAnswer", "Unreadable"})
"""Codes of messages that hold the words of servers or libraries, which may quote rows in any way."""
_OF_ROWS = re.compile(r"(rows \d+ to \d+ of \d+: )?(status \d{3})?")
_PLACE = re.compile(r" \(\w+\.py:\d+\)$")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.,]*(e[-+]?\d+)?")
_TOLD = "what was said is withheld, as it may quote data.personal; look at it with rows that aren't people's"
SHARED = 12
"""Characters that a message has in common with what it was made from, from which on it holds the latter's words."""


def discreet(
    step: Callable[Concatenate[ModelEvaluationSpec, P], R],
) -> Callable[Concatenate[ModelEvaluationSpec, P], R]:
    """A step that sees rows, whose failures tell no values of the spec's personal columns. It may be a coroutine.

    This is the one place at which values are taken out of failures: whatever is raised inside leaves through it.
    """

    @contextmanager
    def guarded(spec: ModelEvaluationSpec) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not spec.data.personal:
                raise
            explained = explain(error, stage="Measure")
            failure = _withheld(explained.failure, error, known=_words(spec))
        else:
            return
        # Out here, so that no traceback leads back to what is withheld.
        raise EvaluationError(failure, explained.exit_code) from None

    if iscoroutinefunction(step):

        @wraps(step)
        async def later(spec: ModelEvaluationSpec, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            with guarded(spec):
                return await step(spec, *args, **kwargs)

        return later  # type: ignore[return-value]  # R is the coroutine, which is awaited in there

    @wraps(step)
    def now(spec: ModelEvaluationSpec, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with guarded(spec):
            return step(spec, *args, **kwargs)

    return now


def discreetly(error: Exception, *, personal: Collection[str], known: Iterable[str]) -> str:
    """What an exception of ours says; where columns are `personal`, without what it quotes that isn't `known`."""
    failure = explain(error, stage="Fetch").failure
    return (_withheld(failure, error, known=frozenset(known)) if personal else failure).message


def _words(spec: ModelEvaluationSpec) -> frozenset[str]:
    return frozenset(words_of(spec.model_dump(mode="json")))


def _withheld(failure: Failure, error: Exception, *, known: Collection[str]) -> Failure:
    message = failure.message
    if message.endswith(_TOLD):
        return failure
    if failure.code == "InternalError":
        place = _PLACE.search(message)
        kind = message.partition(":")[0]
        return replace(failure, message=f"{kind}{place.group() if place else ''}: {_TOLD}")
    if failure.code in _NOT_OURS or _quotes(message, error):
        found = _OF_ROWS.match(message)
        start = found.group().removesuffix(": ") if found else ""
        return replace(failure, message=f"{start}{': ' if start else ''}{_TOLD}")
    message = withheld(message, known=known)
    if failure.code == "OutOfRange":
        message = _NUMBER.sub("(withheld)", message)
    return replace(failure, message=message)


def _quotes(message: str, error: BaseException) -> bool:
    """Whether a message holds words of an exception that isn't ours, or is a model server's."""
    under: BaseException | None = error
    while under is not None:
        ours = type(under).__module__.startswith("mandate.") and not type(under).__module__.startswith(
            "mandate.predictor."
        )
        words = str(under)[:SHARED]
        if not ours and words and words in message:
            return True
        under = under.__cause__ or under.__context__
    return False
