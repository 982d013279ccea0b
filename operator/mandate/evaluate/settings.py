"""The declared evaluation, as the Pod's environment carries it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from mandate.api.kinds import ModelEvaluationSpec

from .failures import EvaluationError
from .frame import EXIT_INPUT, SETTINGS_VARIABLE, Failure, FrameError, unpack


def spec_in(environment: Mapping[str, str]) -> ModelEvaluationSpec:
    """The spec in MANDATE_EVALUATION: packed `{"metadata": …, "spec": …}`, beside it `firstSeen` where it is known.

    Raises EvaluationError `BadSettings`.
    """
    text = environment.get(SETTINGS_VARIABLE)
    if text is None:
        raise _bad(f"the environment variable {SETTINGS_VARIABLE} is missing")
    try:
        document = unpack(text)
        known = {name: document[name] for name in ("firstSeen",) if name in document}
        return ModelEvaluationSpec.model_validate(document["spec"] | known)
    except ValidationError as error:
        first = error.errors()[0]
        raise _bad(f"{'.'.join(('spec', *map(str, first['loc'])))}: {first['msg']}") from error
    except (FrameError, KeyError, TypeError) as error:
        raise _bad(f"{SETTINGS_VARIABLE}: {error}") from error


def _bad(message: str) -> EvaluationError:
    return EvaluationError(Failure(stage="Settings", code="BadSettings", message=message), EXIT_INPUT)
