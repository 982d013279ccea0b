"""Tensors as bytes: little-endian numbers, a byte for each truth value, strings with their length in 4 bytes before.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct

import numpy as np

from .datatypes import DTYPES, Array

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says where JSON ends and the tensors' bytes begin."""
EXTENSION = "binary_tensor_data"
"""How a server says in its metadata that it takes and gives them."""


def to_bytes(array: Array) -> bytes:
    """Row-major."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    encoded = [value.encode() for value in array.ravel()]
    return b"".join(part for value in encoded for part in (struct.pack("<I", len(value)), value))


def from_bytes(datatype: str, data: bytes) -> Array:
    """All values in a row. Raises ValueError or struct.error where they aren't whole values of the datatype."""
    dtype = DTYPES[datatype]
    if dtype.kind == "b":
        values = np.frombuffer(data, dtype=np.uint8)
        if (values > 1).any():
            raise ValueError(f"a truth value is {int(values.max())}, expected 0 or 1")
        return values.astype(dtype)
    if dtype.kind != "O":
        return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype)
    strings: list[str] = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise ValueError("a string is longer than the bytes that are left")
        strings.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    array: Array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array
