"""Bodies of the Open Inference Protocol, as KServe's logger sends them, read as answers."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.recorder.events import Envelope, Event, RefusedError
from mandate.recorder.facts import Exchange, Prediction
from mandate.recorder.kserve import REQUEST, RESPONSE, Declared, declared, facts

ATTRIBUTES = {"specversion": "1.0", "id": "ce", "source": "/agent", "time": "2026-01-31T12:00:00Z"}
EXTENSIONS = {"namespace": "lending", "inferenceservicename": "credit"}


def event(type_: str, data: Any, **attributes: Any) -> Event:
    envelope = Envelope.model_validate({**ATTRIBUTES, **EXTENSIONS, "type": type_, **attributes})
    return Event(envelope=envelope, data=data)


def response(data: list[Any], shape: list[int], *, datatype: str = "FP64", name: str = "probabilities") -> Event:
    output = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return event(RESPONSE, {"model_name": "m", "outputs": [output]})


def url(**parameters: str | list[str]) -> Declared:
    listed = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    return declared({"revision": ["r1"], **listed})


def answers(found: Event, said: Declared) -> list[tuple[Any, ...]]:
    result = []
    for fact in facts(found, said):
        assert isinstance(fact, Prediction)
        assert fact.row == len(result)
        result.append((fact.label, fact.probability, fact.value, fact.failed))
    return result


def test_a_request_says_when_it_came() -> None:
    (fact,) = facts(event(REQUEST, {"anything": 1}), url())
    assert fact == Exchange(namespace="lending", model="credit", key="/agent ce", time=1_769_860_800_000)


@pytest.mark.parametrize(
    ("found", "said", "expected"),
    [
        (response([0.5, 0.49], [2]), url(positive="bad"), [("bad", 0.5, None, False), ("not bad", 0.49, None, False)]),
        (response([[0.2, 0.8]], [1, 2]), url(positive="bad"), [("bad", 0.8, None, False)]),
        (
            response([0.2, 0.8], [1, 2]),
            url(**{"class": ["bad", "good"]}, positive="bad"),
            [("good", 0.2, None, False)],
        ),
        (
            response([0.2, 0.5, 0.3], [1, 3]),
            url(**{"class": ["a", "b", "c"]}),
            [("b", 0.5, None, False)],
        ),
        (response([None, 1.0000001], [2]), url(positive="bad"), [(None, None, None, True), ("bad", 1.0, None, False)]),
        (
            response([0.69999998807907], [1], datatype="FP32"),
            url(positive="bad", cutoff="0.7"),
            [("bad", 0.69999998807907, None, False)],
        ),
        (
            response([0.69999998807907], [1]),
            url(positive="bad", cutoff="0.7"),
            [("not bad", 0.69999998807907, None, False)],
        ),
        (response([1], [1], name="label"), url(output="label", kind="Label"), [("1", None, None, False)]),
        (response([True, "x"], [2]), url(kind="Label"), [("true", None, None, False), ("x", None, None, False)]),
        (response([2, -0.5], [2, 1]), url(kind="Value"), [(None, None, 2.0, False), (None, None, -0.5, False)]),
    ],
)  # fmt: skip
def test_answers_are_read_as_declared(found: Event, said: Declared, expected: list[tuple[Any, ...]]) -> None:
    assert answers(found, said) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ce"),
        ({"body": "oip"}, "oip"),
        ({"body": "oip", "metadata": "{}"}, "oip"),
        ({"body": "oip", "metadata": '{"X-Request-Id": ["header"]}'}, "header"),
    ],
)
def test_which_request_it_was(changes: dict[str, str], expected: str) -> None:
    found = response([0.5], [1])
    body = {**found.data, **({"id": changes.pop("body")} if "body" in changes else {})}
    (fact,) = facts(event(RESPONSE, body, **changes), url(positive="bad"))
    assert isinstance(fact, Prediction)
    assert fact.request == expected


@pytest.mark.parametrize(
    ("found", "said", "field"),
    [
        (response([0.5], [1]), url(), "positive"),
        (response([0.5], [1]), declared({"positive": ["bad"]}), "revision"),
        (response([0.5], [2]), url(positive="bad"), "data.outputs.data"),
        (response([0.5], [1, 1, 1]), url(positive="bad"), "data.outputs.shape"),
        (response([0.0] * 1001, [1001]), url(positive="bad"), "data.outputs.shape"),
        (response([0.1] * 3, [1, 3]), url(positive="bad"), "data.outputs.shape"),
        (response([0.1] * 2, [1, 2]), url(kind="Value"), "data.outputs.shape"),
        (response(["0.5"], [1]), url(positive="bad"), "data.outputs.data"),
        (response([1.5], [1]), url(positive="bad"), "data.outputs.data"),
        (response([10**400], [1]), url(kind="Value"), "data.outputs.data"),
        (response([None], [1]), url(kind="Label"), "data.outputs.data.label"),
        (response([0.5], [1], name="other"), url(positive="bad"), "data.outputs"),
        (response([0.5], [1], name="probabilities"), url(positive="bad", output="x"), "data.outputs"),
        (event(RESPONSE, {"predictions": [1]}), url(positive="bad"), "data.outputs"),
        (event(RESPONSE, None), url(positive="bad"), "data"),
        (event(REQUEST, {}, namespace=None), url(), "namespace.name"),
        (event(REQUEST, {}, inferenceservicename='"quoted"'), url(), "inferenceservicename.name"),
        (event(REQUEST, {}, time=None), url(), "time"),
        (event(RESPONSE, {"outputs": []}, metadata="{"), url(positive="bad"), "metadata"),
        (event(RESPONSE, {"outputs": []}, metadata='{"x-request-id": 1}'), url(positive="bad"), "metadata.request_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_the_field(found: Event, said: Declared, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        facts(found, said)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "parameters",
    [
        {"cutoff": ["2"]},
        {"kind": ["Score"]},
        {"cut": ["0.5"]},
        {"output": ["a", "b"]},
        {"class": ["a"], "positive": ["b"]},
    ],
)
def test_a_wrong_url_is_refused(parameters: dict[str, list[str]]) -> None:
    with pytest.raises(RefusedError):
        declared(parameters)
