"""What every source says when it can't be used."""

from __future__ import annotations


class SourceError(Exception):
    """A source can't be used. `code` is CamelCase and stable; the message says where, what and what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)
