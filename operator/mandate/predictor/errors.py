"""Why a model can't be had."""

from __future__ import annotations


class ModelError(Exception):
    """The model can't be loaded or run. `code` is CamelCase and stable."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def first_line(error: Exception) -> str:
    """What a library says of it, in one line."""
    text = str(error).strip()
    return text.splitlines()[0][:500] if text else type(error).__name__
