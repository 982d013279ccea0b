"""Requests that a model should survive: bad inputs, made from a good row, the declared tensors and the data's ranges.

Everything is JSON: that is what callers of any server can send. The same table, row and seed give the same probes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from mandate.predictor.datatypes import DTYPES, Array
from mandate.predictor.raw import HEADER_LENGTH

from .codec import Body, encode_request
from .features import Features

Kind = Literal["missing", "out_of_range", "huge", "shuffled", "wrong_type", "wrong_shape", "malformed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_COLUMNS = 20
"""Columns that are probed one by one, spread over all of them."""
HUGE_TEXT = 100_000
"""Characters."""
HUGE_ROWS = 2_000
HUGE_CELLS = 40_000
"""Of such a request, at most."""
UNSEEN = "mandate: no such category \N{SNOWMAN}"
DEEP = 100_000
"""Brackets in one another."""

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One request. `what` says in words what is wrong with it, without any value of the data."""

    kind: Kind
    what: str
    body: Body
    same: bool = False
    """Whether it asks what the good row asks, so that its answer must be the same."""
    rows: int | None = None
    """How many rows an answer must have; None where the request doesn't say so rightly."""


@dataclass(frozen=True)
class _Cell:
    """One number or text of the good row: its place in the document, and the column's range over the data."""

    name: str
    tensor: int
    index: int
    datatype: str
    low: float
    high: float


def known(fed: Features, *, row: int, output: str) -> Body:
    """The good row's request; where the model takes several rows at once, those from `row` on."""
    return _body(_document(fed, row=row, output=output))


def probes(fed: Features, *, row: int, output: str, columns: tuple[str, ...], seed: int = 0) -> tuple[Probe, ...]:
    """All probes by kind, in the order of `KINDS`. `columns` names those of a matrix's tensor."""
    good = _document(fed, row=row, output=output)
    size = fed.batch or 1
    cells = _cells(fed, columns)
    found = [
        *_values(good, cells, rows=size),
        *_left_out(good),
        *_shuffled(good, rows=size, seed=seed),
        *_many_rows(good, fed),
        *_wrong_types(good, cells),
        *_wrong_shapes(good),
        *_malformed(good),
    ]
    return tuple(sorted(found, key=lambda probe: KINDS.index(probe.kind)))


def _document(fed: Features, *, row: int, output: str) -> Document:
    arrays = fed.take(row, row + (fed.batch or 1))
    body = encode_request(arrays, datatypes=fed.datatypes, outputs=[output], binary=False)
    document: Document = json.loads(body.data)
    return document


def _body(document: Any) -> Body:
    return _text(json.dumps(document, ensure_ascii=False).encode())


def _text(data: bytes) -> Body:
    return Body(data, {"Content-Type": "application/json"})


def _cells(fed: Features, columns: tuple[str, ...]) -> list[_Cell]:
    cells = []
    for tensor, (name, array) in enumerate(fed.arrays.items()):
        width = array.shape[1] if array.ndim == 2 else 1
        for index in range(width):
            values = array[:, index] if array.ndim == 2 else array
            low, high = _range(values)
            label = columns[index] if width > 1 else name
            cells.append(_Cell(label, tensor, index, fed.datatypes[name], low, high))
    chosen = np.unique(np.linspace(0, len(cells) - 1, min(MOST_COLUMNS, len(cells))).round().astype(int))
    return [cells[index] for index in chosen]


def _range(values: Array) -> tuple[float, float]:
    if values.dtype.kind not in "fiu":
        return 0.0, 0.0
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _with(good: Document, cell: _Cell, value: Any) -> Document:
    document = copy.deepcopy(good)
    document["inputs"][cell.tensor]["data"][cell.index] = value
    return document


def _values(good: Document, cells: list[_Cell], *, rows: int) -> Iterator[Probe]:
    """One value at a time, then all missing at once. Their answers can be as any row's."""
    for cell in cells:
        for kind, values in (
            ("missing", _missing(cell)),
            ("out_of_range", _out_of_range(cell)),
            ("huge", _huge(cell)),
        ):
            for words, value in values:
                yield Probe(
                    kind=kind,  # type: ignore[arg-type]  # mypy widens the literals
                    what=f"{cell.name}: {words}",
                    body=_body(_with(good, cell, value)),
                    rows=rows,
                )
    everything = copy.deepcopy(good)
    for tensor in everything["inputs"]:
        tensor["data"] = [None] * len(tensor["data"])
    yield Probe(kind="missing", what="all values null", body=_body(everything), rows=rows)


def _missing(cell: _Cell) -> list[tuple[str, Any]]:
    return [("null", None), *([("no text", "")] if cell.datatype == "BYTES" else [])]


def _out_of_range(cell: _Cell) -> list[tuple[str, Any]]:
    """Ten times the data's range beyond its ends, as far as the type goes; a category that doesn't exist."""
    dtype = DTYPES[cell.datatype]
    if dtype.kind == "O":
        return [("an unseen category", UNSEEN)]
    if dtype.kind == "b":
        return []
    reach = 10 * max(cell.high - cell.low, abs(cell.low), abs(cell.high), 1.0)
    smallest, largest = _ends(cell.datatype)
    values = (("far below", max(cell.low - reach, smallest)), ("far above", min(cell.high + reach, largest)))
    return [(words, float(value) if dtype.kind == "f" else int(value)) for words, value in values]


def _huge(cell: _Cell) -> list[tuple[str, Any]]:
    """The ends of the type, and beyond them; a long text."""
    dtype = DTYPES[cell.datatype]
    if dtype.kind == "O":
        return [("a long text", "x" * HUGE_TEXT)]
    if dtype.kind == "b":
        return []
    ends = [("the type's smallest", _ends(cell.datatype)[0]), ("the type's largest", _ends(cell.datatype)[1])]
    return [*ends, ("beyond the type", 2**70 if dtype.kind in "iu" else 10**400)]


def _ends(datatype: str) -> tuple[Any, Any]:
    dtype: np.dtype[Any] = DTYPES[datatype]
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return float(limits.min), float(limits.max)
    whole = np.iinfo(dtype)
    return int(whole.min), int(whole.max)


def _left_out(good: Document) -> Iterator[Probe]:
    for index, tensor in enumerate(good["inputs"][:MOST_COLUMNS]):
        document = copy.deepcopy(good)
        del document["inputs"][index]
        yield Probe(kind="missing", what=f"{tensor['name']}: left out", body=_body(document))


def _shuffled(good: Document, *, rows: int, seed: int) -> Iterator[Probe]:
    """Tensors have names, so their order says nothing; a matrix's columns have none, so theirs does."""
    random = np.random.default_rng(seed)
    if len(good["inputs"]) > 1:
        for words, order in (("backwards", range(len(good["inputs"]))[::-1]), ("shuffled", None)):
            order = random.permutation(len(good["inputs"])).tolist() if order is None else order
            document = copy.deepcopy(good) | {"inputs": [good["inputs"][index] for index in order]}
            yield Probe(kind="shuffled", what=f"inputs {words}", body=_body(document), same=True, rows=rows)
        return
    [tensor] = good["inputs"]
    for words, data in (("backwards", tensor["data"][::-1]), ("shuffled", random.permutation(tensor["data"]).tolist())):
        document = copy.deepcopy(good) | {"inputs": [tensor | {"data": data}]}
        yield Probe(kind="shuffled", what=f"values {words}", body=_body(document), rows=rows)


def _many_rows(good: Document, fed: Features) -> Iterator[Probe]:
    if fed.batch is not None:
        return
    cells = sum(len(tensor["data"]) for tensor in good["inputs"])
    rows = max(2, min(HUGE_ROWS, HUGE_CELLS // cells))
    document = copy.deepcopy(good)
    for tensor in document["inputs"]:
        tensor["shape"][0] = rows
        tensor["data"] = tensor["data"] * rows
    yield Probe(kind="huge", what=f"{rows} rows at once", body=_body(document), rows=rows)


def _wrong_types(good: Document, cells: list[_Cell]) -> Iterator[Probe]:
    for cell in cells:
        wrong = 7 if cell.datatype == "BYTES" else "seven"
        for words, value in ((f"{type(wrong).__name__} for {cell.datatype}", wrong), ("an object", {"a": 1})):
            yield Probe(kind="wrong_type", what=f"{cell.name}: {words}", body=_body(_with(good, cell, value)))
    for words, datatype in (("another datatype", None), ("a datatype that doesn't exist", "FP7")):
        document = copy.deepcopy(good)
        for tensor in document["inputs"]:
            tensor["datatype"] = datatype or ("INT64" if tensor["datatype"] == "BYTES" else "BYTES")
        yield Probe(kind="wrong_type", what=words, body=_body(document))


def _wrong_shapes(good: Document) -> Iterator[Probe]:
    rows, *others = good["inputs"][0]["shape"]
    shapes: tuple[tuple[str, Any], ...] = (
        ("more rows than values", [rows + 1, *others]),
        ("no rows", [0, *others]),
        ("rows below nothing", [-1, *others]),
        ("a million million rows", [10**12, *others]),
        ("two dimensions too many", [rows, *others, 1, 1]),
        ("no shape", []),
        ("a shape in words", "all"),
    )
    for words, shape in shapes:
        document = copy.deepcopy(good)
        document["inputs"][0]["shape"] = shape
        yield Probe(kind="wrong_shape", what=words, body=_body(document))
    document = copy.deepcopy(good)
    for tensor in document["inputs"]:
        tensor["data"] = []
    yield Probe(kind="wrong_shape", what="no values", body=_body(document))


def _malformed(good: Document) -> Iterator[Probe]:
    text = json.dumps(good, ensure_ascii=False).encode()
    first = good["inputs"][0]
    documents: tuple[tuple[str, Any], ...] = (
        ("an empty object", {}),
        ("a list", []),
        ("null", None),
        ("inputs in words", good | {"inputs": "all"}),
        ("no inputs", good | {"inputs": []}),
        ("an input twice", good | {"inputs": [*good["inputs"], first]}),
        ("an unknown input", good | {"inputs": [*good["inputs"], first | {"name": UNSEEN}]}),
        ("an unknown output", good | {"outputs": [{"name": UNSEEN}]}),
    )
    for words, document in documents:
        yield Probe(kind="malformed", what=words, body=_body(document))
    bodies = (
        ("nothing", b""),
        ("half a request", text[: len(text) // 2]),
        ("not UTF-8", b"\xff\xfe" + text),
        ("brackets without end", b"[" * DEEP),
        ("objects in objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        ("not JSON", b"amount=7&age=30"),
    )
    for words, data in bodies:
        yield Probe(kind="malformed", what=words, body=_text(data))
    binary = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text) + 1000)}
    yield Probe(kind="malformed", what="binary data that isn't there", body=Body(text, binary))
