"""What KServe's inference logger sends, turned into facts.

Its agent POSTs two events in binary mode, request and response, with the same `ce-id` and `ce-source` and the bodies of
the Open Inference Protocol as they were (`pkg/logger/worker.go`, `handler.go`). Responses are
logged where their status was 200. What the events can't say (which output is the answer, of which revision) stands in
the logger's URL.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError, from_json

from .events import MAX_NUMBER, Event, Label, Name, RefusedError, RevisionName, Short, Text, checked
from .facts import Exchange, Fact, Prediction

REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"

MAX_ROWS = 1000
"""Rows of one response; more are refused."""
_CLOSE = 1e-6
"""How far a probability may miss 0 to 1: room for float32."""


class Declared(BaseModel):
    """What the logger's URL says: `/v1/events?revision=…&output=…&kind=…&class=…&class=…&positive=…&cutoff=…`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Name | None = None
    revision: RevisionName | None = None
    output: Text = "probabilities"
    kind: Literal["Probability", "Label", "Value"] = "Probability"
    classes: tuple[Label, ...] = Field(default=(), alias="class", max_length=1000)
    positive: Text | None = None
    cutoff: Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$")] = "0.5"

    @model_validator(mode="after")
    def _fits(self) -> Declared:
        if self.positive is not None and self.classes and (self.positive not in self.classes or len(self.classes) != 2):
            raise PydanticCustomError("declared", "beside positive: two classes, positive among them, or none")
        return self


class _Output(BaseModel):
    name: str
    datatype: str = ""
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**31)]], Field(min_length=1, max_length=8)]
    data: list[Any]


class _Response(BaseModel):
    id: Short | None = None
    outputs: Annotated[list[_Output], Field(max_length=1000)]


def declared(parameters: Mapping[str, list[str]]) -> Declared:
    """The URL's parameters. Raises RefusedError."""
    document: dict[str, Any] = {}
    for name, values in parameters.items():
        if name == "class":
            document[name] = tuple(values)
        elif len(values) == 1:
            document[name] = values[0]
        else:
            raise RefusedError(name, values, "one value")
    found: Declared = checked(Declared, document, path="")
    return found


def facts(event: Event, said: Declared) -> list[Fact]:
    """The facts of a request (when it came) or of a response (a prediction per row). Raises RefusedError."""
    envelope = event.envelope
    namespace = checked(_Names, {"name": envelope.extension("namespace")}, path="namespace").name
    service = envelope.extension("inferenceservicename") if said.model is None else said.model
    model = checked(_Names, {"name": service}, path="inferenceservicename").name
    if envelope.time is None:
        raise RefusedError("time", None, "the time of the request or response")
    exchange = f"{envelope.source} {envelope.id}"
    if envelope.type == REQUEST:
        return [Exchange(namespace=namespace, model=model, key=exchange, time=envelope.time)]
    response: _Response = checked(_Response, event.data, path="data")
    if said.revision is None:
        raise RefusedError("revision", None, "the revision, in the logger's URL: …/v1/events?revision=…")
    if said.kind == "Probability" and said.positive is None and not said.classes:
        raise RefusedError("positive", None, "positive (Binary) or one class per column, in the logger's URL")
    request = _request_id(envelope.extension("metadata")) or response.id or envelope.id
    if len(request) > 128:
        raise RefusedError("id", request, "at most 128 characters")
    return [
        Prediction(
            namespace=namespace,
            model=model,
            revision=said.revision,
            request=request,
            row=row,
            time=envelope.time,
            exchange=exchange,
            **answer,
        )
        for row, answer in enumerate(_answers(response, said))
    ]


class _Names(BaseModel):
    name: Name


class _Metadata(BaseModel):
    request_id: Annotated[list[Short], Field(min_length=1)]


def _request_id(metadata: Any) -> str | None:
    """The x-request-id among the headers that the logger was told to pass on (`metadataHeaders`)."""
    if not isinstance(metadata, str):
        return None
    try:
        headers = from_json(metadata)
    except ValueError:
        raise RefusedError("metadata", metadata, "headers as JSON") from None
    if not isinstance(headers, dict):
        raise RefusedError("metadata", metadata, "headers as a JSON object")
    values = next((value for name, value in headers.items() if name.lower() == "x-request-id"), None)
    if values is None:
        return None
    found: str = checked(_Metadata, {"request_id": values}, path="metadata").request_id[0]
    return found


def _answers(response: _Response, said: Declared) -> Iterator[dict[str, Any]]:
    output = next((output for output in response.outputs if output.name == said.output), None)
    if output is None:
        raise RefusedError("data.outputs", [found.name for found in response.outputs], f"an output {said.output!r}")
    rows = output.shape[0]
    width = math.prod(output.shape[1:])
    if len(output.shape) > 2 or rows > MAX_ROWS:
        raise RefusedError("data.outputs.shape", output.shape, f"[rows] or [rows, columns], at most {MAX_ROWS} rows")
    flat = _flat(output.data)
    if len(flat) != rows * width:
        raise RefusedError("data.outputs.data", len(flat), f"{rows * width} values for shape {output.shape}")
    _check_width(width, said)
    for row in range(rows):
        yield _answer(flat[row * width : (row + 1) * width], said, output.datatype)


def _flat(data: list[Any]) -> list[Any]:
    # Flat, or nested by row, as the protocol allows.
    if data and all(isinstance(item, list) for item in data):
        return [value for item in data for value in item]
    return data


def _check_width(width: int, said: Declared) -> None:
    if said.kind != "Probability":
        allowed = {1}
    elif said.positive is not None:
        allowed = {2} if said.classes else {1, 2}
    else:
        allowed = {len(said.classes)}
    if width not in allowed:
        raise RefusedError("data.outputs.shape", width, f"{' or '.join(map(str, sorted(allowed)))} columns")


def _answer(values: list[Any], said: Declared, datatype: str) -> dict[str, Any]:
    if said.kind == "Label":
        return {"label": checked(_Labels, {"label": values[0]}, path="data.outputs.data").label}
    numbers = [_number(value) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        return {"failed": True}
    if said.kind == "Value":
        return {"value": numbers[0]}
    outside = next((number for number in numbers if not -_CLOSE <= number <= 1 + _CLOSE), None)
    if outside is not None:
        raise RefusedError("data.outputs.data", outside, "a probability from 0 to 1")
    if said.positive is None:
        best = max(range(len(numbers)), key=numbers.__getitem__)
        return {"label": said.classes[best], "probability": _clipped(numbers[best])}
    place = said.classes.index(said.positive) if said.classes else len(numbers) - 1
    negative = said.classes[1 - place] if said.classes else f"not {said.positive}"
    positive = _in_precision(numbers[place], datatype) >= _in_precision(float(said.cutoff), datatype)
    return {"label": said.positive if positive else negative, "probability": _clipped(numbers[place])}


class _Labels(BaseModel):
    label: Label


def _number(value: Any) -> float:
    """A number, NaN for null: servers write NaN and infinities so."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or MAX_NUMBER < abs(value) < math.inf:
        raise RefusedError("data.outputs.data", value, f"numbers up to {MAX_NUMBER:g}")
    return float(value)


def _in_precision(probability: float, datatype: str) -> float:
    """As the model's own type holds it: float32's 0.7 is below float64's, and is meant to reach a cut-off of 0.7."""
    code = {"FP32": "f", "FP16": "e"}.get(datatype)
    return probability if code is None else float(struct.unpack(code, struct.pack(code, probability))[0])


def _clipped(probability: float) -> float:
    return min(max(probability, 0.0), 1.0)
