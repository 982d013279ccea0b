"""Between the JSON tensors of the Open Inference Protocol v2 and arrays, naming the tensor in every complaint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .datatypes import DTYPES, Array, Tensor


class RequestError(ValueError):
    """The request can't be answered; the message names the input, what was expected and what was found."""


def decode(tensor: Tensor, *, datatype: str, shape: Sequence[int], data: Sequence[Any]) -> Array:
    """One input as an array of the declared type and rank. `data` is flat or nested, in row-major order.

    A missing float travels as null, since JSON has no NaN. Where the model declares [n, 1], [n] is taken too, and the
    other way round. Raises RequestError.
    """
    if datatype != tensor.datatype:
        raise RequestError(f"input {tensor.name!r}: expected datatype {tensor.datatype}, got {datatype}")
    size = math.prod(shape)
    if any(length < 0 for length in shape) or not shape or size == 0:
        raise RequestError(f"input {tensor.name!r}: expected a shape of at least one row, got {list(shape)}")
    flat = _flat(data) if data and isinstance(data[0], list | tuple) else list(data)
    if len(flat) != size:
        raise RequestError(f"input {tensor.name!r}: shape {list(shape)} holds {size} values, data has {len(flat)}")
    return shaped(tensor, _typed(tensor, flat), shape)


def shaped(tensor: Tensor, values: Array, shape: Sequence[int]) -> Array:
    """All of an input's values in the request's shape, or the declared one that means the same. Raises RequestError."""
    if any(length < 0 for length in shape) or not shape or math.prod(shape) == 0:
        raise RequestError(f"input {tensor.name!r}: expected a shape of at least one row, got {list(shape)}")
    if len(values) != math.prod(shape):
        held = f"shape {list(shape)} holds {math.prod(shape)} values"
        raise RequestError(f"input {tensor.name!r}: {held}, its bytes {len(values)}")
    return values.reshape(_fitting_shape(tensor, tuple(shape)))


def complete(declared: Mapping[str, Tensor], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Check that a request holds every declared input, no other, and one number of rows. Raises RequestError."""
    known = ", ".join(declared)
    for name in arrays:
        if name not in declared:
            raise RequestError(f"input {name!r}: unknown; the model takes {known}")
    for name in declared:
        if name not in arrays:
            raise RequestError(f"input {name!r}: missing; the model takes {known}")
    rows = {name: len(array) for name, array in arrays.items()}
    first = next(iter(rows), None)
    for name, count in rows.items():
        if first is not None and count != rows[first]:
            raise RequestError(f"input {name!r}: {count} rows, but input {first!r} has {rows[first]}")
    return dict(arrays)


def _fitting_shape(tensor: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    for candidate in (shape, (*shape, 1), shape[:1] if shape[1:] == (1,) else None):
        if candidate is not None and _fits(tensor.shape, candidate):
            return candidate
    expected = ["n" if index == 0 and length == -1 else length for index, length in enumerate(tensor.shape)]
    raise RequestError(f"input {tensor.name!r}: expected shape {expected}, got {list(shape)}")


def _fits(declared: tuple[int, ...], actual: tuple[int, ...]) -> bool:
    return len(declared) == len(actual) and all(d in (-1, a) for d, a in zip(declared, actual, strict=True))


def _flat(data: Sequence[Any]) -> list[Any]:
    values: list[Any] = []
    stack = [iter(data)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list | tuple):
                stack.append(iter(item))
                break
            values.append(item)
        else:
            stack.pop()
    return values


def _typed(tensor: Tensor, values: list[Any]) -> Array:
    dtype = DTYPES[tensor.datatype]
    allowed: tuple[type, ...]
    match dtype.kind:
        case "f":
            allowed = (float, int, type(None))
        case "i" | "u":
            allowed = (int,)
        case "b":
            allowed = (bool,)
        case _:
            allowed = (str,)
    kinds = {type(value) for value in values}
    if not kinds <= set(allowed):
        row = next(index for index, value in enumerate(values) if type(value) not in allowed)
        raise RequestError(f"input {tensor.name!r}: value {row} is {_shown(values[row])}, expected {tensor.datatype}")
    if dtype.kind == "O":
        array: Array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if dtype.kind in "iu":
        return _integers(tensor, values, dtype)
    wide = np.array(values, dtype=np.float64 if dtype.kind == "f" else dtype)
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    if dtype.kind == "f" and not np.array_equal(np.isinf(array), np.isinf(wide)):
        row = int(np.flatnonzero(np.isinf(array) & np.isfinite(wide))[0])
        raise RequestError(f"input {tensor.name!r}: value {row} is {wide[row]:g}, out of range for {tensor.datatype}")
    return array


def _integers(tensor: Tensor, values: list[int], dtype: np.dtype[Any]) -> Array:
    limits = np.iinfo(dtype)
    if not int(limits.min) <= min(values) <= max(values) <= int(limits.max):
        row = next(index for index, value in enumerate(values) if not int(limits.min) <= value <= int(limits.max))
        raise RequestError(f"input {tensor.name!r}: value {row} is {values[row]}, out of range for {tensor.datatype}")
    return np.array(values, dtype=dtype)


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:32]!r}"
