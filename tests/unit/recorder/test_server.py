"""The recorder over HTTP, in this process, on loopback."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mandate.evidence.blind import is_blind
from mandate.evidence.live import Drawn, Live
from mandate.recorder.facts import Fact, Result
from mandate.recorder.server import MAX_BODY, MAX_EVENTS, Recorder, serving
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.storage import DrawnQuery, Query, StorageError
from mandate.recorder.writer import Writer
from mandate.telemetry.recorder import RecorderMetrics
from tests.recording import BATCHED, NOON, PLACE, STRUCTURED, decision, event, live_path, outcome, prediction

NOW = 1_769_860_800_000  # 2026-01-31T12:00:00Z


class Client:
    def __init__(self, session: aiohttp.ClientSession, metrics: RecorderMetrics, port: int) -> None:
        self.session = session
        self.metrics = metrics
        self.port = port

    async def post(self, body: bytes, path: str = "/v1/events", **headers: str) -> tuple[int, Any]:
        async with self.session.post(path, data=body, headers=headers) as response:
            return response.status, await response.json()

    async def send(self, *events: Any) -> tuple[int, Any]:
        return await self.post(json.dumps(events).encode(), **{"Content-Type": BATCHED})

    async def live(self, *arguments: str, **parameters: str) -> dict[str, Any]:
        async with self.session.get(live_path(*arguments, **parameters)) as response:
            document: dict[str, Any] = await response.json()
            assert response.status == 200, document
            assert Live.model_validate(document).dump() == document
            return document


@asynccontextmanager
async def recording(storage: Any, **options: Any) -> AsyncIterator[Client]:
    metrics = RecorderMetrics()
    writer = Writer(storage, clock=lambda: NOW, committed=metrics.commit_seconds.observe, **options)
    recorder = Recorder(storage, writer, clock=lambda: NOW, metrics=metrics)
    writing = asyncio.create_task(writer.run())
    async with (
        serving(recorder.application(), host="127.0.0.1", port=0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Client(session, metrics, port)
    await writer.close()
    await writing
    recorder.close()
    storage.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with recording(SqliteStorage(tmp_path / "events.db")) as found:
        yield found


def without(sent: dict[str, Any]) -> dict[str, Any]:
    """The event without the fields of its data that are None."""
    return sent | {"data": {name: value for name, value in sent["data"].items() if value is not None}}


def counts(**found: Any) -> dict[str, Any]:
    return {"accepted": 0, "duplicates": 0, "conflicts": 0, "ignored": 0, "refused": [], **found}


async def test_events_are_kept_once_and_joined(client: Client) -> None:
    events = [prediction(), outcome(label="good"), decision(decision="good")]
    assert await client.send(*events) == (200, counts(accepted=3))
    assert await client.send(*reversed(events)) == (200, counts(duplicates=3))
    live = await client.live()
    assert (live["predictions"], live["labelled"], live["unknown"]) == (1, 1, 0)
    assert live["outcomes"] == {"overall": {"tp": 0, "fp": 1, "tn": 0, "fn": 0}, "slices": {}}
    assert live["decisions"]["shown"] == {
        "count": 1, "overridden": 1, "labelled": 1, "humanRight": 1, "modelRight": 0, "bothRight": 0,
    }  # fmt: skip
    assert live["first"] == live["last"] == "2026-01-31T12:00:00.000Z"


async def test_what_contradicts_is_counted_once_and_the_first_stays(client: Client) -> None:
    await client.send(prediction(), outcome(), decision())
    other = prediction(answer={"label": "good", "probability": 0.25})
    for _ in range(2):
        found = await client.send(other, outcome(label="good"), decision(decision="good"))
        assert found == (200, counts(conflicts=3))
    live = await client.live()
    assert live["conflicts"] == 3
    assert live["outcomes"]["overall"]["tp"] == 1
    # A retry that was answered the same, only later, contradicts nothing.
    assert (await client.send(prediction(time="2026-01-31T12:00:01Z", latencyMs=7)))[1] == counts(duplicates=1)


async def test_structured_binary_and_base64_say_the_same(client: Client) -> None:
    one = prediction()
    assert await client.post(json.dumps(one).encode(), **{"Content-Type": STRUCTURED}) == (200, counts(accepted=1))
    data = json.dumps(one.pop("data")).encode()
    encoded = {**one, "data_base64": base64.b64encode(data).decode()}
    assert (await client.send(encoded))[1] == counts(duplicates=1)
    headers = {f"ce-{name}": value for name, value in one.items()}
    found = await client.post(data, path="/", **headers, **{"Content-Type": "application/json"})
    assert found == (200, counts(duplicates=1))


async def test_kserves_logger_is_understood(client: Client) -> None:
    path = "/v1/events?revision=r1&model=credit&positive=bad&cutoff=0.7"
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": "3ba84918-209f-4d8d-ae38-b041e5e4a328",
        "ce-source": "http://localhost:9081/",
        "ce-inferenceservicename": "credit-r1",
        "ce-namespace": "lending",
        "ce-component": "predictor",
        "ce-endpoint": "default",
        "ce-metadata": '{"X-Request-Id":["from-the-gateway"]}',
        "ce-recordedtime": "2026-01-31T12:00:00.1Z",
        "Content-Type": "application/json",
    }
    probabilities = {"name": "probabilities", "datatype": "FP32", "shape": [2, 1], "data": [0.699999988, 0.5]}
    response = {"model_name": "model", "id": "oip", "outputs": [probabilities]}
    sent = [
        (response, "org.kubeflow.serving.inference.response", "2026-01-31T11:59:59.025123456Z"),
        ({"inputs": []}, "org.kubeflow.serving.inference.request", "2026-01-31T11:59:59.005Z"),
    ]
    for expected in (counts(accepted=1), counts(duplicates=1)):
        for body, type_, time in sent:
            headers = attributes | {"ce-type": type_, "ce-time": time}
            assert await client.post(json.dumps(body).encode(), path, **headers) == (200, expected)
    await client.send(outcome("from-the-gateway", 0), outcome("from-the-gateway", 1))
    live = await client.live()
    assert live["latency"] == {"count": 2, "sum": 40.0, "sumSquares": 800.0, "min": 20.0, "max": 20.0}
    assert live["outcomes"]["overall"] == {"tp": 1, "fp": 0, "tn": 0, "fn": 1}


async def test_the_good_events_of_a_batch_are_kept(client: Client) -> None:
    status, document = await client.send(
        prediction("a"),
        prediction("b", row="0"),
        event("com.example.other", {"x": 1}),
        prediction("c", answer={"label": "bad", "probability": 1.5}),
        7,
        prediction("d"),
    )
    assert status == 207
    refused = document.pop("refused")
    assert document == {"accepted": 2, "duplicates": 0, "conflicts": 0, "ignored": 1}
    assert [(one["index"], one["field"], one["value"]) for one in refused] == [
        (1, "data.row", "0"),
        (3, "data.answer.probability", "1.5"),
        (4, "", "7"),
    ]
    assert refused[1]["expected"] == "less than or equal to 1"
    assert (await client.live())["predictions"] == 2


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"requestId": "a\0b"}, "data.requestId", "no control characters"),
        ({"entity": "line\nend"}, "data.entity", "no control characters"),
        ({"latencyMs": float("nan")}, "data.latencyMs", "finite number"),
        ({"answer": {"value": float("inf")}}, "data.answer.value", "finite number"),
        ({"answer": {"value": 1e101}}, "data.answer.value", "less than or equal to"),
        ({"answer": None}, "data", "either answer, or failed: true"),
        ({"failed": True, "answer": {"label": "a"}}, "data", "either answer, or failed: true"),
        ({"answer": {"label": "a", "value": 1.0}}, "data.answer", "either label"),
        ({"answer": {"label": ""}}, "data.answer.label", "no control characters"),
        ({"time": "yesterday"}, "data.time", "a time since 1970"),
        ({"time": "2026-02-30T00:00:00Z"}, "data.time", "a time since 1970"),
        ({"time": "2026-01-31T12:00:00"}, "data.time", "a time since 1970"),
        ({"time": 1769860800}, "data.time", "a time since 1970"),
        ({"requestId": "x" * 129}, "data.requestId", "at most 128 characters"),
        ({"row": 10**30}, "data.row", "less than or equal to 1000000"),
        ({"row": True}, "data.row", "valid integer"),
        ({"slices": {f"s{i}": "x" for i in range(21)}}, "data.slices", "at most 20 items"),
        ({"slices": {"age": ["x"]}}, "data.slices.age", "valid string"),
        ({"lable": "bad"}, "data.lable", "no field of this name"),
        ({"namespace": "../etc"}, "data.namespace", "lower-case"),
        ({"model": "credit\n"}, "data.model", "lower-case"),
    ],
)
async def test_what_is_refused_names_the_field(
    client: Client, change: dict[str, Any], field: str, expected: str
) -> None:
    data = {**prediction()["data"], **change}
    status, document = await client.send(event("dev.mandate.prediction", data))
    assert status == 400
    (refused,) = document["refused"]
    assert (refused["index"], refused["field"]) == (0, field)
    assert expected in refused["expected"]
    assert (await client.live())["predictions"] == 0


@pytest.mark.parametrize(
    ("body", "headers", "status", "expected"),
    [
        (b"[" * 100_000, {"Content-Type": BATCHED}, 400, "not too deep"),
        (b'{"a":' * 50_000, {"Content-Type": STRUCTURED}, 400, "not too deep"),
        (b'["\\ud800"]', {"Content-Type": BATCHED}, 400, "JSON in UTF-8"),
        (b"[\xff]", {"Content-Type": BATCHED}, 400, "JSON in UTF-8"),
        (b"", {"Content-Type": BATCHED}, 400, "JSON in UTF-8"),
        (b"{}", {"Content-Type": BATCHED}, 400, "a JSON array"),
        (b"[]", {"Content-Type": "application/json"}, 415, "Content-Type"),
        (b" " * (MAX_BODY + 1), {"Content-Type": BATCHED}, 413, "1048576 bytes"),
        (json.dumps([{}] * (MAX_EVENTS + 1)).encode(), {"Content-Type": BATCHED}, 413, "at most 1000 events"),
        (gzip.compress(b" " * 100_000_000), {"Content-Type": BATCHED, "Content-Encoding": "gzip"}, 415, "gzip"),
        (b"x", {"Content-Type": BATCHED, "Content-Encoding": "deflate, gzip"}, 415, "deflate"),
    ],
    ids=[
        "deep list", "deep object", "surrogate", "not utf-8", "empty", "no list", "other type", "huge", "many", "gzip",
        "encodings",
    ],
)  # fmt: skip
async def test_a_hostile_body_is_refused_as_a_whole(
    client: Client, body: bytes, headers: dict[str, str], status: int, expected: str
) -> None:
    found, document = await client.post(body, **headers)
    assert found == status
    assert expected in document["refused"][0]["expected"]
    assert await client.send(prediction()) == (200, counts(accepted=1))


async def test_a_huge_body_without_a_length_is_cut_off(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * 65_536

    async with client.session.post("/v1/events", data=chunks(), headers={"Content-Type": BATCHED}) as response:
        assert response.status == 413


async def test_bytes_that_are_no_http_get_no_traceback(client: Client) -> None:
    def talk() -> bytes:
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
            connection.sendall(b"\x16\x03\x01 garbage\0\r\n\r\n")
            return connection.recv(65_536)

    answer = await asyncio.to_thread(talk)
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"Traceback" not in answer


async def test_outcomes_before_their_predictions_are_unknown_until_then(client: Client) -> None:
    await client.send(outcome("early"), decision("early"), outcome("never"))
    assert (await client.live())["unknown"] == 3
    await client.send(prediction("early"))
    live = await client.live()
    assert (live["unknown"], live["labelled"], live["decisions"]["shown"]["count"]) == (1, 1, 1)


async def test_pairs_are_waited_for_then_missing(client: Client) -> None:
    times = {"paired": NOON, "old": "2026-01-31T11:58:59Z", "young": "2026-01-31T11:59:30Z"}
    await client.send(*(prediction(name, revision="champion", time=time) for name, time in times.items()))
    await client.send(prediction("paired", answer={"label": "bad", "probability": 0.875}, latencyMs=3.5))
    pairs = (await client.live(against="champion"))["pairs"]["overall"]
    assert (pairs["paired"], pairs["missing"], pairs["waiting"], pairs["agree"]) == (1, 1, 1, 1)
    assert pairs["scoreDifference"] == {"count": 1, "sum": 0.125, "sumSquares": 0.015625, "min": 0.125, "max": 0.125}
    assert (await client.live(against="champion", grace="10"))["pairs"]["overall"]["missing"] == 2


async def test_pairs_may_begin_later_than_what_else_is_asked(client: Client) -> None:
    times = {"before": "2026-01-31T11:00:00Z", "since": "2026-01-31T11:30:00Z"}
    for revision in ("r1", "champion"):
        await client.send(*(prediction(name, revision=revision, time=time) for name, time in times.items()))
    live = await client.live(against="champion", pairsSince="2026-01-31T11:30:00Z")
    assert (live["predictions"], live["pairs"]["overall"]["paired"]) == (2, 1)
    assert live["pairsSince"] == "2026-01-31T11:30:00.000Z"


def drawn(names: Iterable[str], percent: int, *, blind: bool) -> list[str]:
    """Those of the requests whose first row is drawn to be decided on blind, or isn't."""
    return [name for name in names if is_blind(**PLACE, percent=percent, request=name, row=0) == blind]


async def test_what_was_drawn_and_decided_blind_is_told_from_the_rest(client: Client) -> None:
    names = [f"q{number}" for number in range(200)]
    blind, open_ = drawn(names, 30, blind=True), drawn(names, 30, blind=False)
    assert len(blind) > 40
    await client.send(*(prediction(name) for name in names))
    await client.send(*(outcome(name, label="good") for name in names))
    # Alone, every fourth follows the model; with the answer in sight all but one do.
    await client.send(
        *(decision(name, shown=False, decision="bad" if n % 4 == 0 else "good") for n, name in enumerate(blind)),
        *(decision(name, decision="good" if name == open_[0] else "bad") for name in open_),
    )
    live = await client.live(blindShare="30")
    alike = len(range(0, len(blind), 4))
    assert live["blindShare"] == 30
    assert live["decisions"] == {
        "blind": {
            "count": len(blind), "overridden": len(blind) - alike, "labelled": len(blind),
            "humanRight": len(blind) - alike, "modelRight": 0, "bothRight": 0,
        },
        "shown": {
            "count": len(open_), "overridden": 1, "labelled": len(open_),
            "humanRight": 1, "modelRight": 0, "bothRight": 0,
        },
        "peeked": 0, "revised": 0, "unasked": 0,
    }  # fmt: skip
    # By a lower share fewer are drawn, and those that aren't any more were decided blind unasked.
    fewer = (await client.live(blindShare="10"))["decisions"]
    assert fewer["blind"]["count"] == len(drawn(names, 10, blind=True))
    assert fewer["unasked"] == len(blind) - fewer["blind"]["count"]
    assert (await client.live())["decisions"]["unasked"] == len(blind)


async def test_who_saw_the_answer_first_did_not_decide_blind(client: Client) -> None:
    first, second, third, fourth = drawn((f"q{number}" for number in range(100)), 30, blind=True)[:4]
    await client.send(*(prediction(name) for name in (first, second, third, fourth)))
    later, latest = "2026-01-31T12:01:00Z", "2026-01-31T12:02:00Z"
    sent = [
        # Saw it though it was drawn; saw it, then claims to decide blind.
        decision(first),
        decision(second, time=later),
        decision(second, time=latest, shown=False),
        # Decided blind, then again; somebody else saw it all along.
        decision(third, time=later, shown=False, decision="good"),
        decision(third, time=latest),
        decision(third, by="bob"),
        # Both sent with one time.
        decision(fourth, shown=False),
        decision(fourth),
    ]
    for order in (sent, sent[::-1]):
        await client.send(*order)
        found = (await client.live(blindShare="30"))["decisions"]
        assert (found["blind"]["count"], found["blind"]["overridden"], found["shown"]["count"]) == (2, 1, 0)
        assert (found["peeked"], found["revised"], found["unasked"]) == (4, 2, 0)


async def test_a_decision_about_an_entity_is_about_its_last_answer(client: Client) -> None:
    entity = next(name for name in map(str, range(100)) if is_blind(**PLACE, percent=50, entity=name))
    times = ("11:00", "11:30", "11:50")
    answers = ("bad", "good", "bad")
    for number, (time, label) in enumerate(zip(times, answers, strict=True)):
        when = f"2026-01-31T{time}:00Z"
        await client.send(prediction(f"q{number}", entity=entity, time=when, answer={"label": label}))
    about: dict[str, Any] = {"requestId": None, "row": None, "entity": entity, "shown": False}
    await client.send(without(decision(**about, time="2026-01-31T11:45:00Z", decision="good")))
    blind = (await client.live(blindShare="50"))["decisions"]["blind"]
    assert (blind["count"], blind["overridden"]) == (1, 0)
    early = without(decision(**about, time="2026-01-31T10:00:00Z", decision="good", by="bob"))
    await client.send(early)
    blind = (await client.live(blindShare="50"))["decisions"]["blind"]
    assert (blind["count"], blind["overridden"]) == (2, 1), "the answer came late: it is about the first"


async def test_slices_are_bounded(client: Client) -> None:
    for start in range(0, 200, 100):
        names = range(start, start + 100)
        await client.send(*(prediction(f"q{i}", slices={"city": f"c{i // 2:03d}", f"s{i % 25}": "x"}) for i in names))
        await client.send(*(outcome(f"q{i}") for i in names))
    await client.send(prediction("more", slices={"city": "c099"}), outcome("more"))
    outcomes = (await client.live())["outcomes"]
    assert outcomes["overall"]["tp"] == 201
    assert len(outcomes["slices"]) == 20
    city = outcomes["slices"]["city"]
    assert len(city["values"]) == 64
    assert city["values"]["c099"]["tp"] == 3
    assert city["other"]["tp"] == 201 - 3 - 63 * 2


async def test_drops_only_grow(client: Client) -> None:
    def drops(reporter: str, dropped: int) -> dict[str, Any]:
        data = {"namespace": "lending", "model": "credit", "revision": "r1", "time": NOON}
        return event("dev.mandate.drops", {**data, "reporter": reporter, "dropped": dropped})

    assert (await client.send(drops("a", 5), drops("b", 2), drops("a", 3)))[1] == counts(accepted=2, duplicates=1)
    assert (await client.live())["dropped"] == 7


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"task": "Ranking"}, "task"),
        ({"since": "today"}, "since"),
        ({"until": "2025-12-31T00:00:00Z"}, ""),
        ({"positive": ""}, "positive"),
        ({"task": "Regression", "positive": "bad"}, ""),
        ({"against": "r1"}, ""),
        ({"pairsSince": "2026-01-31T11:30:00Z"}, ""),
        ({"against": "r2", "pairsSince": "noon"}, "pairsSince"),
        ({"blindShare": "101"}, "blindShare"),
        ({"blindShare": "-1"}, "blindShare"),
        ({"blindShare": "10%"}, "blindShare"),
        ({"grace": "-1"}, "grace"),
        ({"grace": "nan"}, "grace"),
        ({"level": "Shadow"}, "level"),
    ],
)
async def test_bad_questions_are_named(client: Client, parameters: dict[str, str], field: str) -> None:
    async with client.session.get(live_path(**{"task": "Binary", **parameters})) as response:
        assert response.status == 400
        assert (await response.json())["refused"][0]["field"] == field


DRAWN = "/v1/namespaces/lending/models/credit/drawn?since=2026-01-01T00:00:00Z"


async def test_where_draws_led(client: Client) -> None:
    await client.send(prediction("a", unit="e1"), prediction("b", unit="e1"), prediction("c", unit="e2"), prediction())
    async with client.session.get(f"{DRAWN}&revisions=r1,r2&until=2026-02-01T00:00:00Z") as response:
        assert await response.json() == {
            "namespace": "lending",
            "model": "credit",
            "since": "2026-01-01T00:00:00.000Z",
            "until": "2026-02-01T00:00:00.000Z",
            "units": {"r1": 2, "r2": 0},
            "several": 0,
            "undrawn": {"r1": 1, "r2": 0},
            "dropping": [],
        }
    async with client.session.get(f"{DRAWN}&revisions=r1") as response:
        assert (await response.json())["until"] == "2026-01-31T11:59:00.000Z", "what may be on its way isn't counted"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("", "revisions"),
        ("&revisions=r1,,r2", "revisions.1"),
        ("&revisions=" + ",".join(f"r{number}" for number in range(9)), "revisions"),
        ("&revisions=r1&until=2025-12-31T00:00:00Z", ""),
        ("&revisions=r1&revisions=r2", "revisions"),
    ],
)
async def test_bad_questions_about_draws_are_named(client: Client, more: str, field: str) -> None:
    async with client.session.get(DRAWN + more) as response:
        assert response.status == 400
        assert (await response.json())["refused"][0]["field"] == field


async def test_an_unknown_model_has_nothing(client: Client) -> None:
    live = await client.live("nobody", against="nothing")
    assert (live["predictions"], live["pairs"]["overall"]["paired"]) == (0, 0)
    assert "first" not in live


@pytest.mark.parametrize(("task", "overall"), [
    ("Multiclass", {"right": 0, "wrong": 0}),
    ("Regression", {"count": 0, "sum": 0.0, "sumAbsolute": 0.0, "sumSquares": 0.0}),
])  # fmt: skip
async def test_nothing_is_zero_for_every_task(client: Client, task: str, overall: dict[str, float]) -> None:
    assert (await client.live(task=task))["outcomes"] == {"overall": overall, "slices": {}}


async def test_other_paths_and_methods(client: Client) -> None:
    async with client.session.get("/nothing") as response:
        assert (response.status, (await response.json())["refused"][0]["expected"]) == (404, "Not Found")
    async with client.session.put("/v1/events", data=b"") as response:
        assert response.status == 405


async def test_metrics_have_no_labels_of_requests(client: Client) -> None:
    await client.send(prediction(), prediction(), prediction("b", row=-1), event("com.example.other", {}))
    async with client.session.get("/metrics") as response:
        text = await response.text()
    assert 'mandate_recorder_events_total{result="accepted",type="prediction"} 1.0' in text
    assert 'mandate_recorder_events_total{result="duplicate",type="prediction"} 1.0' in text
    assert 'mandate_recorder_events_total{result="ignored",type="other"} 1.0' in text
    assert 'mandate_recorder_lag_seconds_count{type="prediction"} 1.0' in text
    assert "credit" not in text
    for path in ("/healthz", "/readyz"):
        async with client.session.get(path) as response:
            assert (response.status, await response.text()) == (200, "ok")


class Broken:
    """A store whose disk is full while `full` is set, and which waits while `hold` isn't."""

    def __init__(self) -> None:
        self.full = False
        self.written: list[int] = []
        self.hold = threading.Event()
        self.hold.set()

    def write(self, groups: Sequence[Sequence[Fact]], *, received: int) -> list[list[Result]]:
        self.hold.wait(60)
        if self.full:
            raise StorageError("database: disk is full")
        self.written.append(len(groups))
        return [["accepted" for _ in group] for group in groups]

    def live(self, query: Query) -> Live:
        raise StorageError("database: interrupted")

    def drawn(self, query: DrawnQuery) -> Drawn:
        raise StorageError("database: interrupted")

    def prune(self, *, before: int | None, rows: int | None) -> int:
        return 0

    def close(self) -> None:
        pass


async def test_a_full_disk_is_a_503_until_it_isnt() -> None:
    storage = Broken()
    async with recording(storage) as client:
        storage.full = True
        status, document = await client.send(prediction())
        assert status == 503
        assert "disk is full" in document["refused"][0]["expected"]
        async with client.session.get("/readyz") as response:
            assert response.status == 503
        storage.full = False
        assert (await client.send(prediction()))[0] == 200
        async with client.session.get("/readyz") as response:
            assert response.status == 200
        async with client.session.get(live_path()) as response:
            assert response.status == 503


async def test_what_waits_is_bounded_and_written_together() -> None:
    storage = Broken()
    storage.hold.clear()
    async with recording(storage, most_waiting=3) as client:
        sent = [asyncio.create_task(client.send(prediction(str(number)))) for number in range(12)]
        # Up to three are being written, three wait; the others are told at once, while the store still holds.
        for answered in itertools.islice(asyncio.as_completed(sent), 6):
            assert (await answered)[0] == 503
        storage.hold.set()
        statuses = [(await task)[0] for task in sent]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 3
    assert sum(storage.written) == statuses.count(200)
    assert max(storage.written) > 1
