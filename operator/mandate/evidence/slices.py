"""Names of slices' values, as evidence holds them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

MISSING = "(missing)"
"""Rows without a value."""
CROSS = " × "
"""Between the two values of a cross."""


def range_names(edges: Sequence[str]) -> tuple[str, ...]:
    """Names of the ranges [low, high) between edges, from low to high."""
    if not edges:
        return ("any number",)
    return (f"<{edges[0]}", *(f"{low}-{high}" for low, high in pairwise(edges)), f">={edges[-1]}")
