"""Canonical JSON and digests: the same content always has the same bytes."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

SIGNIFICANT_DIGITS = 12


def rounded(value: float) -> float:
    """Round to 12 significant digits: below what any gate can ask, above what summation order can change.

    Raises ValueError for NaN and infinities, which evidence records as errors, never as numbers.
    """
    if not math.isfinite(value):
        raise ValueError(f"evidence holds finite numbers only, got {value}")
    return float(f"{value:.{SIGNIFICANT_DIGITS - 1}e}") + 0.0  # + 0.0 turns -0.0 into 0.0


def canonical(document: Any) -> bytes:
    """UTF-8 JSON with sorted keys, no spaces, floats at 12 significant digits; whole floats stay floats."""
    return json.dumps(
        _plain(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(document: Any) -> str:
    """`sha256:<64 hex>` of the canonical form."""
    return sha256(canonical(document))


def sha256(data: bytes) -> str:
    """`sha256:<64 hex>` of raw bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> Any:
    # A report passes tens of thousands of values through here, most of them texts and None.
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"evidence keys are strings, got {type(key).__name__}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise TypeError(f"evidence holds JSON types only, got {type(value).__name__}")
