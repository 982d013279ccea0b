"""From a table's columns to the tensors that the model takes, exactly as a client in production sends them.

The model's declared datatypes decide, not the table's. Missing numbers are NaN, missing strings the empty string; an
integer or truth value can't be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mandate.api.spec import ModelInputs
from mandate.predictor.datatypes import DTYPES, Array, Tensor

from .errors import InferenceError

FIELD = "spec.model.inputs"
MAX_NAMES = 10
"""In a message."""


@dataclass(frozen=True)
class Features:
    """The tensors of all rows: `arrays[name]` is (rows,), (rows, 1) or (rows, columns), `datatypes[name]` its type.

    `batch` is how many rows the model takes at once, None where that is open.
    """

    arrays: dict[str, Array]
    datatypes: dict[str, str]
    batch: int | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.arrays.values())))

    def take(self, start: int, stop: int) -> dict[str, Array]:
        """The tensors of the rows from `start` to before `stop`."""
        return {name: array[start:stop] for name, array in self.arrays.items()}

    def alone(self, row: int) -> Features:
        """One row by itself, as often as the model takes rows at once."""
        times = self.batch or 1
        arrays = {name: np.repeat(array[row : row + 1], times, axis=0) for name, array in self.arrays.items()}
        return replace(self, arrays=arrays)


def features(table: pa.Table, *, inputs: ModelInputs, declared: Mapping[str, Tensor] | None) -> Features:
    """Encode the declared columns of `table`.

    `declared` is what the model says it takes; None where it doesn't say, then the table's own types are used.
    Raises InferenceError naming the column.
    """
    if inputs.encoding == "Matrix":
        return _matrix(table, inputs=inputs, declared=declared)
    if declared is not None:
        _same_names(inputs.columns, declared)
    arrays: dict[str, Array] = {}
    datatypes: dict[str, str] = {}
    batches: set[int | None] = set()
    for name in inputs.columns:
        values = _column(table, name)
        tensor = Tensor(name, _natural(name, values), (-1, 1)) if declared is None else declared[name]
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,), (-1,)):
            raise InferenceError(
                "WrongShape",
                f"input {name!r} has shape {list(tensor.shape)}; encoding Columns feeds [n] or [n, 1]. "
                "Use encoding: Matrix for one tensor with all columns",
                field=f"{FIELD}.encoding",
            )
        array = _typed(name, values, tensor.datatype)
        arrays[name] = array if len(tensor.shape) == 1 else array.reshape(-1, 1)
        datatypes[name] = tensor.datatype
        batches.add(_batch(tensor))
    return Features(arrays, datatypes, _one_batch(batches))


def _matrix(table: pa.Table, *, inputs: ModelInputs, declared: Mapping[str, Tensor] | None) -> Features:
    width = len(inputs.columns)
    if declared is None:
        tensor = Tensor(inputs.name, "FP64", (-1, width))
    else:
        if inputs.name not in declared and len(declared) > 1:
            raise InferenceError(
                "UnknownInput",
                f"{inputs.name!r} isn't an input of the model, which takes {_listed(declared)}: one tensor for each "
                "column? Then declare encoding: Columns, or export the model from an array without names",
                field=FIELD,
            )
        _same_names((inputs.name,), declared)
        tensor = declared[inputs.name]
    if len(tensor.shape) != 2 or tensor.shape[1] not in (-1, width):
        raise InferenceError(
            "WrongShape",
            f"input {tensor.name!r} has shape {list(tensor.shape)}, but {width} columns are declared",
            field=f"{FIELD}.columns",
        )
    if not tensor.datatype.startswith("FP"):
        raise InferenceError(
            "WrongType",
            f"input {tensor.name!r} is {tensor.datatype}; encoding Matrix feeds a float tensor",
            field=f"{FIELD}.encoding",
        )
    columns = [_typed(name, _column(table, name), tensor.datatype) for name in inputs.columns]
    return Features({tensor.name: np.column_stack(columns)}, {tensor.name: tensor.datatype}, _batch(tensor))


def _same_names(wanted: tuple[str, ...], declared: Mapping[str, Tensor]) -> None:
    for name in wanted:
        if name not in declared:
            raise InferenceError(
                "UnknownInput",
                f"{name!r} isn't an input of the model, which takes {_listed(declared)}{_cure(name, declared)}",
                field=FIELD,
            )
    for name in declared:
        if name not in wanted:
            raise InferenceError(
                "MissingInput", f"the model's input {name!r} isn't among the declared {_listed(wanted)}", field=FIELD
            )


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    found = list(names)
    left = len(found) - MAX_NAMES
    return ", ".join(found[:MAX_NAMES]) + (f" and {left} more" if left > 0 else "")


def _cure(name: str, declared: Mapping[str, Tensor]) -> str:
    """What usually helps with a name that the model doesn't know; empty where nothing is plain."""
    if len(declared) == 1:
        (tensor,) = declared.values()
        if len(tensor.shape) == 2 and tensor.datatype.startswith("FP"):
            return f": one tensor for all columns? Then declare encoding: Matrix and name: {tensor.name}"
        return ""
    plain = re.sub(r"\W", "_", name)
    if plain in declared:
        # skl2onnx names inputs so when it is given a DataFrame.
        return (
            f": exporting {name!r} made {plain!r} of it. Rename the table's columns so, or export the model from an "
            "array without names and declare encoding: Matrix"
        )
    return ""


def _batch(tensor: Tensor) -> int | None:
    return tensor.shape[0] if tensor.shape[0] > 0 else None


def _one_batch(batches: set[int | None]) -> int | None:
    if len(batches) > 1:
        raise InferenceError("WrongShape", "the model's inputs differ in their number of rows", field=FIELD)
    return batches.pop()


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise InferenceError(
            "MissingColumn",
            f"column {name!r} isn't in the data, which has {', '.join(table.column_names)}",
            field=FIELD,
        )
    values = table.column(name).combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # Arrow keeps no chunk where there are no rows
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], type=values.type)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _natural(name: str, values: pa.Array) -> str:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "BYTES"
    if pa.types.is_boolean(kind) and not values.null_count:
        return "BOOL"
    if pa.types.is_integer(kind) and not values.null_count:
        return "INT64"
    if _numeric(kind):
        return "FP32" if pa.types.is_float32(kind) else "FP64"
    raise _wrong_type(name, kind, "a number, a string or a truth value")


def _numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def _typed(name: str, values: pa.Array, datatype: str) -> Array:
    if datatype == "BYTES":
        return _strings(name, values)
    if not _numeric(values.type):
        raise _wrong_type(name, values.type, datatype)
    dtype = DTYPES[datatype]
    if pa.types.is_integer(values.type) and not values.null_count and dtype.kind in "iu":
        return _integers(name, values.to_numpy(zero_copy_only=False), datatype)
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        values = values.cast(pa.int8())
    wide = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if dtype.kind == "f":
        return _floats(name, wide, datatype)
    if np.isnan(wide).any():
        raise InferenceError(
            "MissingValue",
            f"column {name!r}: {int(np.isnan(wide).sum())} values are missing, but the model's input is {datatype}, "
            "which can't be missing; export the model with a float input, or fill the column",
            field=FIELD,
        )
    if dtype.kind == "b":
        if not np.isin(wide, (0, 1)).all():
            raise _wrong_type(name, values.type, datatype)
        truths: Array = wide.astype(np.bool_)
        return truths
    if (wide != np.floor(wide)).any():
        raise _wrong_type(name, values.type, f"{datatype}: whole numbers")
    return _integers(name, wide, datatype)


def _floats(name: str, wide: Array, datatype: str) -> Array:
    with np.errstate(over="ignore"):
        array = wide.astype(DTYPES[datatype])
    if (infinite := np.isinf(array)).any():
        row = int(np.flatnonzero(infinite)[0])
        raise InferenceError(
            "OutOfRange", f"column {name!r}: row {row} is {wide[row]:g}, which {datatype} can't carry", field=FIELD
        )
    return array


def _integers(name: str, values: Array, datatype: str) -> Array:
    limits = np.iinfo(DTYPES[datatype].type)  # type: ignore[type-var]  # DTYPES says nothing of integers
    if len(values) and not (limits.min <= values.min() and values.max() <= limits.max):
        raise InferenceError(
            "OutOfRange",
            f"column {name!r} reaches from {values.min()} to {values.max()}, beyond {datatype}",
            field=FIELD,
        )
    return values.astype(DTYPES[datatype])


def _strings(name: str, values: pa.Array) -> Array:
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_null(values.type)):
        raise _wrong_type(name, values.type, "BYTES: strings")
    filled = pc.fill_null(values.cast(pa.string()), "")
    array: Array = np.empty(len(filled), dtype=object)
    array[:] = filled.to_pylist()
    return array


def _wrong_type(name: str, found: pa.DataType, expected: str) -> InferenceError:
    return InferenceError("WrongType", f"column {name!r} holds {found}, the model expects {expected}", field=FIELD)
