"""CloudEvents and our own event types, checked field by field and turned into facts."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, from_json

from .facts import Decision, Drops, Fact, Input, Outcome, Prediction

PREDICTION = "dev.mandate.prediction"
OUTCOME = "dev.mandate.outcome"
DECISION = "dev.mandate.decision"
DROPS = "dev.mandate.drops"
INPUT = "dev.mandate.input"
"""Held until it is replayed, and no fact."""

MAX_NUMBER = 1e100
"""Greatest magnitude of a number: beyond it squares leave the floats' range."""
MAX_ROW = 1_000_000
_TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$")
_PART = "[A-Za-z0-9_][A-Za-z0-9._-]*"
_INFER = f"^/v2/models/{_PART}(/versions/{_PART})?/infer$"
_SHOWN = 64
"""Characters of a refused value that are given back."""


class RefusedError(Exception):
    """One event can't be taken: which field, what it holds, what was expected."""

    def __init__(self, field: str, value: Any, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field}: expected {expected}")

    def shown(self) -> dict[str, Any]:
        """As JSON, the value cut short."""
        return {"field": self.field, "value": _short(self.value), "expected": self.expected}


def milliseconds(text: Any) -> int:
    """RFC 3339 with an offset, to milliseconds since 1970. Raises a pydantic error for anything else."""
    if isinstance(text, str) and _TIME.match(text):
        try:
            moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
            passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
        else:
            found = (passed.days * 86_400 + passed.seconds) * 1000 + passed.microseconds // 1000
            if found >= 0:
                return found
    raise PydanticCustomError("time", "a time since 1970 such as 2026-01-31T09:00:00.000Z")


def _label(value: Any) -> Any:
    """Classes as text, the way tables are read: 1 and 1.0 are "1", true is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int) and abs(value) < 2**63 else value


# No control characters: NUL ends strings for some readers, and a line's end forges lines in logs.
_PLAIN = r"^[^\x00-\x1f\x7f]+$"
Short = Annotated[str, StringConstraints(pattern=_PLAIN, max_length=128)]
Text = Annotated[str, StringConstraints(pattern=_PLAIN, max_length=256)]
Label = Annotated[Text, BeforeValidator(_label)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
RevisionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)]
Time = Annotated[int, BeforeValidator(milliseconds)]
Row = Annotated[int, Field(ge=0, le=MAX_ROW)]
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
SliceValues = Annotated[
    dict[Annotated[str, StringConstraints(pattern=_PLAIN, max_length=64)], Label], Field(max_length=20)
]


class _Data(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, alias_generator=to_camel, validate_by_name=False
    )


class AnswerData(_Data):
    """What the model said: a label, with its probability where there is one, or a value."""

    label: Label | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    value: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> AnswerData:
        if (self.label is None) == (self.value is None):
            raise PydanticCustomError("answer", "either label (with probability where there is one) or value")
        if self.probability is not None and self.label is None:
            raise PydanticCustomError("answer", "no probability beside value")
        return self


class _Addressed(_Data):
    namespace: Name
    model: Name
    time: Time
    request_id: Short | None = None
    row: Row | None = None
    entity: Text | None = None

    @model_validator(mode="after")
    def _one_address(self) -> _Addressed:
        by_request = self.request_id is not None and self.row is not None
        if by_request == (self.entity is not None) or (self.request_id is None) != (self.row is None):
            raise PydanticCustomError("address", "either requestId and row, or entity")
        return self


class PredictionData(_Data):
    """Data of `dev.mandate.prediction`."""

    namespace: Name
    model: Name
    revision: RevisionName
    request_id: Short
    row: Row
    time: Time
    answer: AnswerData | None = None
    latency_ms: Annotated[float, Field(ge=0, le=1e9)] | None = None
    failed: bool = False
    entity: Text | None = None
    unit: Short | None = None
    slices: SliceValues = Field(default_factory=dict)

    @model_validator(mode="after")
    def _answered_or_failed(self) -> PredictionData:
        if (self.answer is not None) == self.failed:
            raise PydanticCustomError("answer", "either answer, or failed: true")
        return self

    def fact(self) -> Prediction:
        """As the store takes it."""
        answer = self.answer or AnswerData.model_construct()
        return Prediction(
            namespace=self.namespace,
            model=self.model,
            revision=self.revision,
            request=self.request_id,
            row=self.row,
            time=self.time,
            label=answer.label,
            probability=answer.probability,
            value=answer.value,
            latency=self.latency_ms,
            failed=self.failed,
            entity=self.entity,
            unit=self.unit,
            slices=tuple(sorted(self.slices.items())),
        )


class OutcomeData(_Addressed):
    """Data of `dev.mandate.outcome`."""

    label: Label | None = None
    value: Number | None = None
    slices: SliceValues = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_truth(self) -> OutcomeData:
        if (self.label is None) == (self.value is None):
            raise PydanticCustomError("truth", "either label or value")
        return self

    def fact(self) -> Outcome:
        """As the store takes it."""
        return Outcome(
            namespace=self.namespace,
            model=self.model,
            time=self.time,
            request=self.request_id,
            row=self.row,
            entity=self.entity,
            label=self.label,
            value=self.value,
            slices=tuple(sorted(self.slices.items())),
        )


class DecisionData(_Addressed):
    """Data of `dev.mandate.decision`. `decision` is a class, or a number for a Regression."""

    decision: Label | None = None
    value: Number | None = None
    by: Short
    shown: bool
    revision: RevisionName | None = None

    @model_validator(mode="after")
    def _one_decision(self) -> DecisionData:
        if (self.decision is None) == (self.value is None):
            raise PydanticCustomError("decision", "either decision (a class) or value (a number)")
        return self

    def fact(self) -> Decision:
        """As the store takes it."""
        return Decision(
            namespace=self.namespace,
            model=self.model,
            time=self.time,
            by=self.by,
            shown=self.shown,
            request=self.request_id,
            row=self.row,
            entity=self.entity,
            label=self.decision,
            value=self.value,
            revision=self.revision,
        )


class DropsData(_Data):
    """Data of `dev.mandate.drops`."""

    namespace: Name
    model: Name
    revision: RevisionName
    reporter: Short
    dropped: Annotated[int, Field(ge=1, le=2**53)]
    time: Time

    def fact(self) -> Drops:
        """As the store takes it."""
        return Drops(**self.model_dump())


MAX_BODY_LENGTH = 200_000
"""Characters of a request that can be replayed."""


class InputData(_Data):
    """Data of `dev.mandate.input`: a request of the Open Inference Protocol v2, as `revision` answered it."""

    namespace: Name
    model: Name
    revision: RevisionName
    request_id: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]+$", max_length=128)]
    time: Time
    path: Annotated[str, StringConstraints(pattern=_INFER, max_length=256)]
    body: Annotated[str, StringConstraints(min_length=1, max_length=MAX_BODY_LENGTH)]

    def held(self) -> Input:
        """As it is held, without the version that was named: another one is going to answer."""
        name = self.path.split("/")[3]
        return Input(
            namespace=self.namespace,
            model=self.model,
            revision=self.revision,
            request=self.request_id,
            time=self.time,
            path=f"/v2/models/{name}/infer",
            body=self.body,
        )


_TYPES: Mapping[str, type[PredictionData | OutcomeData | DecisionData | DropsData]] = {
    PREDICTION: PredictionData,
    OUTCOME: OutcomeData,
    DECISION: DecisionData,
    DROPS: DropsData,
}


class Envelope(BaseModel):
    """A CloudEvent's attributes; extension attributes are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    specversion: Literal["1.0"]
    id: Text
    source: Annotated[str, StringConstraints(pattern=_PLAIN, max_length=512)]
    type: Text
    time: Time | None = None
    datacontenttype: Annotated[str, StringConstraints(max_length=128)] | None = None

    def extension(self, name: str) -> Any:
        """An extension attribute, None where it is missing."""
        return (self.model_extra or {}).get(name)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One CloudEvent: attributes that hold, and data as parsed JSON."""

    envelope: Envelope
    data: Any


def structured(document: Any) -> Event:
    """One event of the structured or batched mode. Raises RefusedError."""
    if not isinstance(document, dict):
        raise RefusedError("", document, "a CloudEvent: an object with specversion, id, source, type and data")
    attributes = {key: value for key, value in document.items() if key not in ("data", "data_base64")}
    envelope = checked(Envelope, attributes, path="")
    if "data_base64" not in document:
        return Event(envelope=envelope, data=document.get("data"))
    try:
        encoded = base64.b64decode(document["data_base64"], validate=True)
        return Event(envelope=envelope, data=from_json(encoded))
    except (TypeError, ValueError, binascii.Error):
        raise RefusedError("data_base64", document["data_base64"], "JSON in base64") from None


def binary(attributes: Mapping[str, str], body: bytes) -> Event:
    """An event of the binary mode, where headers carry the attributes. Raises RefusedError."""
    envelope = checked(Envelope, dict(attributes), path="")
    try:
        return Event(envelope=envelope, data=from_json(body))
    except ValueError as error:
        raise RefusedError("data", body[:_SHOWN].decode(errors="replace"), f"JSON ({_first_line(error)})") from None


def known(event: Event) -> bool:
    """Whether this is one of our own types."""
    return event.envelope.type in _TYPES


def facts(event: Event) -> list[Fact]:
    """What an event of our own types says. Raises RefusedError."""
    data: PredictionData | OutcomeData | DecisionData | DropsData = checked(
        _TYPES[event.envelope.type], event.data, path="data"
    )
    return [data.fact()]


def input_of(event: Event) -> Input:
    """What an event of type `dev.mandate.input` holds. Raises RefusedError."""
    data: InputData = checked(InputData, event.data, path="data")
    return data.held()


_EXPECTED = {
    "extra_forbidden": "no field of this name",
    "missing": "this field",
    "model_type": "an object",
    "string_pattern_mismatch": "no control characters, and for names lower-case letters, digits, - and .",
    "string_unicode": "text in UTF-8",
}
"""By pydantic's type of error, where its own message says less."""


def checked(kind: type[Any], document: Any, *, path: str) -> Any:
    """`document` as `kind`. Raises RefusedError with the first wrong field, below `path`."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join([path, *map(_plain, first["loc"])] if path else map(_plain, first["loc"]))
        expected = _EXPECTED.get(first["type"], first["msg"].removeprefix("Input should be "))
        raise RefusedError(field or path, first["input"], expected[:200]) from None


def _plain(part: str | int) -> str:
    return str(part)[:_SHOWN]


def _short(value: Any) -> str | None:
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = type(value).__name__
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
