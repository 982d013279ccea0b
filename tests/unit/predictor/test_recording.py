"""How answers are read for the recorder, and what an exchange tells of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mandate.predictor.recording import (
    MAX_INPUT,
    REQUEST_ID,
    SHARED_BY,
    Answered,
    Declared,
    Exchanges,
    Input,
    answers,
    under_way,
)
from mandate.rollout.gateway import HEADER_SHARED_BY, PER_REQUEST

BINARY = Declared(output="p", kind="Probability", positive="bad")


@pytest.mark.parametrize(
    ("values", "declared", "expected"),
    [
        ([[0.2, 0.8], [0.5, 0.5], [0.51, 0.49]], BINARY, ["bad", "bad", "not bad"]),
        ([0.8, 0.2], BINARY, ["bad", "not bad"]),
        (
            [[0.2, 0.8]],
            Declared(output="p", kind="Probability", classes=("bad", "good"), positive="bad", cutoff=0.2),
            ["bad"],
        ),
        ([[0.2, 0.5, 0.3]], Declared(output="p", kind="Probability", classes=("a", "b", "c")), ["b"]),
        ([[1], [0]], Declared(output="p", kind="Label"), ["1", "0"]),
        ([1.0, 2.5], Declared(output="p", kind="Label"), ["1", "2.5"]),
        ([True, False], Declared(output="p", kind="Label"), ["true", "false"]),
        (np.array(["ä", "b"], dtype=object), Declared(output="p", kind="Label"), ["ä", "b"]),
    ],
)
def test_labels(values: Any, declared: Declared, expected: list[str]) -> None:
    found = answers(np.asarray(values), declared)
    assert [answer and answer["label"] for answer in found] == expected


def test_probabilities_values_and_what_is_not_finite() -> None:
    found = answers(np.array([[0.75], [np.nan], [1.0000001]]), BINARY)
    assert found == [
        {"label": "bad", "probability": 0.75},
        None,
        {"label": "bad", "probability": 1.0},
    ]
    assert answers(np.array([2.5, np.inf]), Declared(output="p", kind="Value")) == [{"value": 2.5}, None]
    quantiles = Declared(output="p", kind="Quantiles", classes=("0.1", "0.5", "0.9"))
    assert quantiles.problem() is None
    assert answers(np.array([[1.0, 2.5, 4.0], [1.0, 2.0, np.inf]]), quantiles) == [{"value": 2.5}, None]
    with pytest.raises(ValueError, match="expected"):
        answers(np.zeros((2, 2)), quantiles)
    assert "0.5 among them" in (Declared(output="p", kind="Quantiles", classes=("0.1", "0.9")).problem() or "")


def test_the_cutoff_is_meant_in_the_outputs_own_precision() -> None:
    declared = Declared(output="p", kind="Probability", positive="bad", cutoff=0.7)
    (single,) = answers(np.array([0.7], np.float32), declared)
    assert single is not None
    assert (single["label"], single["probability"]) == ("bad", float(np.float32(0.7)))


@pytest.mark.parametrize(
    ("values", "declared", "message"),
    [
        (np.zeros((2, 3)), BINARY, "shape [2, 3]"),
        (np.zeros((2, 1, 1)), BINARY, "shape [2, 1, 1]"),
        (np.zeros((2, 2)), Declared(output="p", kind="Value"), "shape [2, 2]"),
        (np.array([1.5]), BINARY, "holds 1.5, expected probabilities"),
        (np.array(["x"], dtype=object), BINARY, "expected numbers"),
    ],
)
def test_what_does_not_fit_is_named(values: Any, declared: Declared, message: str) -> None:
    with pytest.raises(ValueError, match="output 'p'") as caught:
        answers(values, declared)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [
        Declared(output="p", kind="Probability"),
        Declared(output="p", kind="Probability", classes=("a", "b"), positive="c"),
        Declared(output="p", kind="Probability", classes=("a", "b", "c"), positive="c"),
    ],
)
def test_declarations_that_say_too_little(declared: Declared) -> None:
    assert declared.problem()
    assert BINARY.problem() is None


async def exchanged(
    *,
    header: bytes | None,
    oip: str | None,
    status: int = 200,
    reach: bool = True,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[list[Answered], dict[bytes, bytes]]:
    """One infer request through the ASGI wrapper: what was recorded, and the headers that the client got."""
    recorded: list[Answered] = []
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if reach:
            under_way().asked(request_id=oip, rows=2)
            under_way().values = np.array([0.1, 0.9])
        if status == 500:
            raise RuntimeError("broken")
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the wrapper reads nothing")

    headers = [*([] if header is None else [(b"x-request-id", header)]), *more]
    scope = {"type": "http", "method": "POST", "path": "/v2/models/model/infer", "headers": headers}
    try:
        await Exchanges(application, record=recorded.append)(scope, receive, send)
    except RuntimeError:
        assert status == 500
    return recorded, dict(sent[0]["headers"]) if sent else {}


@pytest.mark.parametrize(
    ("header", "oip", "expected"),
    [(b"from-gateway", "oip", "from-gateway"), (None, "oip", "oip"), (b"", "oip", "oip"), (b"a" * 129, "oip", "oip")],
)
async def test_which_request_it_was(header: bytes | None, oip: str, expected: str) -> None:
    (answered,), headers = await exchanged(header=header, oip=oip)
    assert answered.request_id == expected
    assert (answered.rows, answered.latency > 0) == (2, True)
    assert headers == {b"a": b"b", b"x-request-id": expected.encode()}


@pytest.mark.parametrize(
    ("headers", "unit"),
    [
        ([], None),
        ([(b"x-customer", b"A-17")], None),
        ([(b"mandate-shared-by", b"x-request-id")], "q"),
        ([(b"mandate-shared-by", b"X-Customer"), (b"x-customer", b"A-17")], hashlib.sha256(b"A-17").hexdigest()[:32]),
        ([(b"mandate-shared-by", b"X-Customer")], "q"),
        ([(b"mandate-shared-by", b"X-Customer"), (b"x-customer", b"")], hashlib.sha256(b"").hexdigest()[:32]),
        (
            [(b"mandate-shared-by", b"X-Customer"), (b"x-customer", b"B"), (b"x-customer", b"A")],
            hashlib.sha256(b"A,B").hexdigest()[:32],
        ),
    ],
    ids=[
        *("nothing drawn", "no word of the gateway's", "by request", "by entity", "no entity"),
        *("an empty entity, which Envoy draws as any other", "several, of which Envoy minds no order"),
    ],
)
async def test_what_was_drawn(headers: list[tuple[bytes, bytes]], unit: str | None) -> None:
    (answered,), _ = await exchanged(header=b"q", oip=None, more=headers)
    assert answered.unit == unit


@pytest.mark.parametrize("oip", [None, "", "line\nend", "ü", "x" * 129])
async def test_an_id_that_cannot_travel_is_replaced(oip: str | None) -> None:
    (answered,), headers = await exchanged(header=None, oip=oip)
    assert len(answered.request_id) == 36
    assert headers[b"x-request-id"] == answered.request_id.encode()


@pytest.mark.parametrize("status", [400, 500])
async def test_an_error_is_recorded_as_failed(status: int) -> None:
    (answered,), _ = await exchanged(header=None, oip="q", status=status)
    assert (answered.request_id, answered.rows, answered.values) == ("q", 2, None)


async def test_what_never_reached_the_model_is_not_recorded() -> None:
    recorded, headers = await exchanged(header=b"q", oip=None, status=422, reach=False)
    assert recorded == []
    assert headers[b"x-request-id"] == b"q"


def test_the_servers_header_is_the_routes() -> None:
    assert HEADER_SHARED_BY.lower().encode() == SHARED_BY
    assert PER_REQUEST.encode() == REQUEST_ID


async def kept(
    *parts: bytes, wanted: bool = True, status: int = 200, headers: Mapping[str, str] | None = None
) -> Input | None:
    """What is kept of a request whose body comes in these parts; the application must get all of them."""
    recorded: list[Answered] = []
    read: list[bytes] = []
    messages = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        read.extend([(await receive())["body"] for _ in parts])
        under_way().asked(request_id="q", rows=1)
        under_way().values = np.array([0.1])
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message: Any) -> None:
        pass

    async def receive() -> Any:
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v2/models/model/infer",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await Exchanges(application, record=recorded.append, inputs=lambda: wanted)(scope, receive, send)
    assert read == list(parts)
    return recorded[0].input


async def test_what_was_asked_is_kept_word_for_word_while_it_is_wanted() -> None:
    said = '{"secret": "Zoë"}'.encode()
    assert await kept(said[:14], said[14:]) == Input(path="/v2/models/model/infer", body=said)
    assert await kept(said, wanted=False) is None


@pytest.mark.parametrize(
    ("parts", "headers"),
    [
        ((b"{}",), {"mandate-replayed": "true"}),
        ((b"{}",), {"content-encoding": "gzip"}),
        ((b"{} abcd",), {"inference-header-content-length": "2"}),
        ((b"\xff",), {}),
        ((b"",), {}),
        ((b"x" * (MAX_INPUT + 1),), {}),
        ((b"x" * MAX_INPUT, b"x", b"y"), {}),
    ],
)
async def test_what_cannot_or_must_not_be_asked_again_is_not_kept(
    parts: tuple[bytes, ...], headers: dict[str, str]
) -> None:
    assert await kept(*parts, headers=headers) is None


async def test_what_failed_is_not_kept() -> None:
    assert await kept(b"{}", status=400) is None
