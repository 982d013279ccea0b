"""What can go wrong between the judge and a model, each with a stable code."""

from __future__ import annotations


class InferenceError(Exception):
    """The model gave no usable answer. `code` is CamelCase and stable; the message says what was seen.

    Codes about the declaration: UnknownInput, MissingInput, UnknownOutput, WrongType, WrongShape, MissingColumn,
    MissingValue, OutOfRange. About the predictor: PredictorNotReady, PredictorCrashed, PredictorTimeout,
    RequestRefused, MalformedAnswer. About a model in process: NotFound, DigestMismatch, Unreadable.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        self.code = code
        self.field = field
        super().__init__(message)
