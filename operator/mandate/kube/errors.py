"""What the API server may answer instead of what was asked, as types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API server refused or failed. `status` is the HTTP status (0 where there was no answer)."""

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details = details or {}


class NotFoundError(ApiError):
    """404: there is no such object (or no such kind)."""


class ConflictError(ApiError):
    """409: the object changed since it was read, or a precondition doesn't hold."""


class AlreadyExistsError(ConflictError):
    """409 with reason AlreadyExists: an object of this name is there already."""


class ForbiddenError(ApiError):
    """401 or 403: RBAC, a policy or a quota says no; the message says which."""


class InvalidError(ApiError):
    """400, 405, 413, 415 or 422: the object can't be accepted as it is."""


class UnavailableError(ApiError):
    """No answer, a timeout, 429 or 5xx: asking again later may succeed."""


def from_response(status: int, body: bytes) -> ApiError:
    """The typed error for an HTTP status and a `Status` document (or whatever else came)."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"message": body[:500].decode(errors="replace")}
    message = str(document.get("message") or f"HTTP {status}")
    reason = str(document.get("reason") or "")
    details = document.get("details")
    kind = _kind(status, reason)
    return kind(message, status=status, reason=reason, details=details if isinstance(details, dict) else None)


def _kind(status: int, reason: str) -> type[ApiError]:
    match status:
        case 404 | 410:
            return NotFoundError
        case 409:
            return AlreadyExistsError if reason == "AlreadyExists" else ConflictError
        case 401 | 403:
            return ForbiddenError
        case 400 | 405 | 413 | 415 | 422:
            return InvalidError
        case 408 | 429:
            return UnavailableError
        case _ if status >= 500:
            return UnavailableError
        case _:
            return ApiError
