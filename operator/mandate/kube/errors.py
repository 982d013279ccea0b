"""What the API server may answer instead of what was asked, as types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

TAKEN = "FieldManagerConflict"
"""Cause of a refused apply: another field manager has the field."""
_MANAGER = re.compile(r'conflict with "([^"]*)"')


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


class TakenError(ConflictError):
    """409: an apply without force would take fields from others. `taken` are those fields by field manager."""

    @property
    def taken(self) -> dict[str, tuple[str, ...]]:
        """Fields in the API server's notation (`.spec.rules`), by the manager that has them."""
        found: dict[str, list[str]] = {}
        for cause in self.details.get("causes") or ():
            manager = _MANAGER.search(str(cause.get("message", "")))
            if cause.get("reason") == TAKEN and manager is not None:
                found.setdefault(manager[1], []).append(str(cause.get("field", "")))
        return {manager: tuple(sorted(set(fields))) for manager, fields in sorted(found.items())}


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
    details = details if isinstance(details, dict) else {}
    kind = _kind(status, reason)
    if kind is ConflictError and any(cause.get("reason") == TAKEN for cause in details.get("causes") or ()):
        kind = TakenError
    return kind(message, status=status, reason=reason, details=details)


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
