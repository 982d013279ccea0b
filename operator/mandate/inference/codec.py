"""Bodies of the Open Inference Protocol v2: JSON, or the binary tensor data extension where the server has it.

https://github.com/kserve/open-inference-protocol: `specification/protocol/inference_rest.md`, and Triton's
`extension_binary_data.md` for the raw bytes (little-endian; each string with its length in 4 bytes before it).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mandate.predictor.datatypes import DTYPES, Array
from mandate.predictor.raw import HEADER_LENGTH, from_bytes, to_bytes

from .errors import InferenceError


@dataclass(frozen=True)
class Body:
    """A request or response body with the headers that explain it."""

    data: bytes
    headers: Mapping[str, str]


def encode_request(
    arrays: Mapping[str, Array], *, datatypes: Mapping[str, str], outputs: Sequence[str], binary: bool
) -> Body:
    """The body that asks for `outputs`. A missing float is null in JSON, which has no NaN."""
    inputs: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for name, array in arrays.items():
        tensor: dict[str, Any] = {"name": name, "datatype": datatypes[name], "shape": list(array.shape)}
        if binary:
            blob = to_bytes(array)
            tensor["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            tensor["data"] = _to_list(array)
        inputs.append(tensor)
    wanted: list[dict[str, Any]] = [
        {"name": name} | ({"parameters": {"binary_data": True}} if binary else {}) for name in outputs
    ]
    header = json.dumps(
        {"inputs": inputs, "outputs": wanted}, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
    if not binary:
        return Body(header, {"Content-Type": "application/json"})
    return Body(
        b"".join([header, *blobs]),
        {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))},
    )


def decode_response(body: Body, *, outputs: Sequence[str]) -> dict[str, tuple[str, Array]]:
    """Datatype and array of each of `outputs`. Raises InferenceError UnknownOutput or MalformedAnswer."""
    headers = {name.lower(): value for name, value in body.headers.items()}
    length = headers.get(HEADER_LENGTH.lower())
    try:
        end = len(body.data) if length is None else int(length)
        document = json.loads(body.data[:end])
        tensors = {tensor["name"]: tensor for tensor in document["outputs"]}
        found: dict[str, tuple[str, Array]] = {}
        for name, tensor in tensors.items():
            if not isinstance(name, str):
                raise TypeError(f"an output's name is {str(name)[:32]!r}, expected text")
            size = (tensor.get("parameters") or {}).get("binary_data_size")
            if size is None:
                array = _from_list(tensor["datatype"], tensor["shape"], tensor["data"])
            else:
                if end + size > len(body.data):
                    raise ValueError(f"output {name!r} announces {size} bytes, {len(body.data) - end} are left")
                array = from_bytes(tensor["datatype"], body.data[end : end + size]).reshape(tuple(tensor["shape"]))
                end += size
            found[name] = (tensor["datatype"], array)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, struct.error) as error:
        raise InferenceError(
            "MalformedAnswer", f"the answer isn't Open Inference Protocol v2: {type(error).__name__}: {error}"
        ) from error
    for name in outputs:
        if name not in found:
            raise InferenceError(
                "UnknownOutput",
                f"the answer holds the outputs {', '.join(found) or 'none'}, expected {name!r}",
                field="spec.model.output.name",
            )
    return {name: found[name] for name in outputs}


def _to_list(array: Array) -> list[Any]:
    values: list[Any] = array.ravel().tolist()
    if array.dtype.kind == "f" and np.isnan(array).any():
        return [None if value != value else value for value in values]
    return values


def _from_list(datatype: str, shape: Sequence[int], data: Any) -> Array:
    dtype = DTYPES[datatype]
    nested: Array = np.array(data, dtype=object)
    values = nested.ravel()
    if values.size != math.prod(shape):
        raise ValueError(f"shape {list(shape)} holds {math.prod(shape)} values, data has {values.size}")
    allowed: tuple[type, ...] = {"f": (float, int, type(None)), "b": (bool,), "O": (str,)}.get(dtype.kind, (int,))
    if not {type(value) for value in values} <= set(allowed):
        wrong = next(value for value in values if type(value) not in allowed)
        raise ValueError(f"{datatype} can't hold {str(wrong)[:32]!r}")
    if dtype.kind == "f":
        values = np.array(values, dtype=np.float64)
    return values.astype(dtype).reshape(tuple(shape))
