"""What wrong labels mean for measured accuracy, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mandate.api.criteria import number_text

if TYPE_CHECKING:
    from .content import Number


def ceiling(noise: Number, *, classes: int) -> str:
    """The accuracy at which a model that is always right would be measured; empty where the noise isn't known."""
    if noise.value is None:
        return ""
    alike = "" if classes == 2 else " and every wrong class is equally likely"
    return (
        f"label_noise: {_share(noise.value)}{_between(noise)} of the labels of test rows are taken to be wrong, if "
        f"errors of the target and of annotators are independent{alike}; a model that is always right would be "
        f"measured at an accuracy of {number_text(1 - max(noise.value, 0.0))}{_accuracy(noise)}"
    )


def _between(noise: Number) -> str:
    if noise.lower is None or noise.upper is None:
        return " (no interval)"
    return f" ({_share(noise.lower)} to {_share(noise.upper)})"


def _accuracy(noise: Number) -> str:
    if noise.lower is None or noise.upper is None:
        return ""
    low, high = (min(max(1 - end, 0.0), 1.0) for end in (noise.upper, noise.lower))
    return f" ({number_text(low)} to {number_text(high)})"


def _share(value: float) -> str:
    return f"{min(max(value, 0.0), 1.0) * 100:.1f} %"
