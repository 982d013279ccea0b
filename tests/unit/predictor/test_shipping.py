"""Predictions on their way to a recorder that is down, slow, broken or picky: a real server on loopback."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from mandate.predictor.recording import Answered, Declared, Input
from mandate.predictor.shipping import Pace, Shipper, Source
from tests.processes import free_port

DECLARED = Declared(output="p", kind="Probability", positive="bad")
SOURCE = Source(namespace="lending", model="credit", revision="r1")
QUICK = Pace(linger=0.01, timeout=5.0, base=0.01, cap=0.05)


class Recorder:
    """Answers POSTs as `answer` says (status and body, or an exception to hang up), and keeps accepted events."""

    def __init__(self) -> None:
        self.answer: Callable[[list[Any]], tuple[int, Any]] = lambda events: (200, {"refused": []})
        self.events: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.attempts = 0
        self.inputs: str | None = None
        self.changed = threading.Condition()

    def take(self, events: list[Any]) -> tuple[int, Any]:
        with self.changed:
            self.attempts += 1
            self.changed.notify_all()
        status, body = self.answer(events)
        with self.changed:
            if status == 200:
                self.events += events
                self.batches.append(len(events))
            self.changed.notify_all()
        return status, body

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=60), "it never came"

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events if event["type"] == f"dev.mandate.{kind}"]


@contextmanager
def listening(recorder: Recorder, port: int = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/events"
            assert self.headers["Content-Type"] == "application/cloudevents-batch+json"
            try:
                status, document = recorder.take(json.loads(body))
            except ConnectionError:
                self.close_connection = True
                return
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            if recorder.inputs is not None:
                self.send_header("Mandate-Inputs", recorder.inputs)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def shipper(url: str, pace: Pace = QUICK, declared: Declared = DECLARED) -> Shipper:
    found = Shipper(url, source=SOURCE, declared=declared, pace=pace)
    found.start()
    return found


def answered(request: str, rows: int = 1, *, failed: bool = False, unit: str | None = None) -> Answered:
    values = None if failed else np.linspace(0, 1, rows)
    return Answered(request_id=request, unit=unit, time=1_769_860_800.25, latency=1.5, rows=rows, values=values)


def test_every_row_is_one_event_that_names_its_request() -> None:
    recorder = Recorder()
    with listening(recorder) as url:
        sending = shipper(url)
        sending.put(answered("a", 2))
        sending.put(answered("b", failed=True, unit="e"))
        assert sending.close(60) == 0
    whose = {"namespace": "lending", "model": "credit", "revision": "r1"}
    when = {"time": "2026-01-31T12:00:00.250Z", "latencyMs": 1.5}
    assert recorder.of("prediction") == [
        {**whose, **when, "requestId": "a", "row": 0, "answer": {"label": "not bad", "probability": 0.0}},
        {**whose, **when, "requestId": "a", "row": 1, "answer": {"label": "bad", "probability": 1.0}},
        {**whose, **when, "requestId": "b", "unit": "e", "row": 0, "failed": True},
    ]
    assert [event["id"] for event in recorder.events] == ["a.0", "a.1", "b.0"]
    assert recorder.events[0]["source"] == "/namespaces/lending/models/credit/revisions/r1"


@pytest.mark.parametrize("fault", ["down", 500, 503, 404, "hangs up"])
def test_what_was_taken_is_sent_until_it_is_recorded(fault: Any) -> None:
    recorder = Recorder()
    port = free_port()

    def broken(events: list[Any]) -> tuple[int, Any]:
        if fault == "hangs up":
            raise ConnectionError
        return fault, {}

    if fault == "down":
        sending = shipper(f"http://127.0.0.1:{port}")
        sending.put(answered("a", 3))
    else:
        recorder.answer = broken
        with listening(recorder, port) as url:
            sending = shipper(url)
            sending.put(answered("a", 3))
            recorder.wait(lambda: recorder.attempts >= 3)
    recorder.answer = lambda events: (200, {"refused": []})
    with listening(recorder, port):
        recorder.wait(lambda: len(recorder.events) == 3)
        assert sending.close(60) == 0
    assert Counter(data["row"] for data in recorder.of("prediction")) == {0: 1, 1: 1, 2: 1}
    assert recorder.of("drops") == []


def test_a_slow_recorder_holds_nobody_up_and_drops_are_counted_and_reported() -> None:
    recorder = Recorder()
    go = threading.Event()

    def slow(events: list[Any]) -> tuple[int, Any]:
        go.wait(60)
        return 200, {"refused": []}

    recorder.answer = slow
    with listening(recorder) as url:
        sending = shipper(url, Pace(capacity=100, batch=10, linger=0.0, timeout=60.0))
        sending.put(answered("first"))
        recorder.wait(lambda: recorder.attempts == 1)
        # The recorder takes nothing, and every one of these comes back.
        for number in range(1000):
            sending.put(answered(f"q{number}"))
        assert recorder.attempts == 1
        go.set()
        recorder.wait(lambda: bool(recorder.of("drops")))
        lost = sending.close(60)
    assert lost == 1001 - 100
    assert len(recorder.of("prediction")) == 100
    assert {data["requestId"] for data in recorder.of("prediction")} == {"first", *(f"q{n}" for n in range(99))}
    assert max(data["dropped"] for data in recorder.of("drops")) == lost
    assert len({data["reporter"] for data in recorder.of("drops")}) == 1


def test_a_recorder_that_never_answers_ends_with_the_patience() -> None:
    recorder = Recorder()
    go = threading.Event()

    def never(events: list[Any]) -> tuple[int, Any]:
        go.wait(60)
        raise ConnectionError

    recorder.answer = never
    with listening(recorder) as url:
        sending = shipper(url)
        sending.put(answered("a", 5))
        recorder.wait(lambda: recorder.attempts == 1)
        assert sending.close(0.2) == 5  # while the recorder still holds
        go.set()


def test_a_recorder_that_is_down_at_the_end_is_tried_until_the_patience_ends() -> None:
    sending = shipper(f"http://127.0.0.1:{free_port()}")
    sending.put(answered("a", 5))
    assert sending.close(0.3) == 5


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the predictor's logger is given, however logging was configured in this process before."""
    log, said = logging.getLogger("mandate.predictor"), list[str]()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(log, "disabled", False)
    level, off = log.level, logging.root.manager.disable
    log.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    log.addHandler(handler)
    yield said
    log.removeHandler(handler)
    logging.disable(off)
    log.setLevel(level)


def test_what_the_recorder_refuses_is_given_up_and_counted(warnings: list[str]) -> None:
    recorder = Recorder()
    answers = iter([(400, {}), (400, {}), (207, {"refused": [{"index": 0}]}), (200, {"refused": []})])
    recorder.answer = lambda events: next(answers)
    with listening(recorder) as url:
        sending = shipper(url)
        sending.put(answered("a", 3))
        recorder.wait(lambda: recorder.attempts == 2)  # the batch, then the report of its loss: both refused
        sending.put(answered("b", 2))
        recorder.wait(lambda: recorder.attempts == 4)
        lost = sending.close(60)
    assert lost == 4
    assert [data["dropped"] for data in recorder.of("drops")] == [4]
    assert "3 predictions can't be recorded: status 400" in " ".join(warnings)


def test_a_large_answer_goes_in_several_requests() -> None:
    recorder = Recorder()
    with listening(recorder) as url:
        sending = shipper(url, Pace(batch=50, linger=0.0))
        sending.put(answered("a", 120))
        assert sending.close(60) == 0
    assert recorder.batches == [50, 50, 20]


def test_an_answer_that_is_not_as_declared_is_counted() -> None:
    recorder = Recorder()
    with listening(recorder) as url:
        sending = shipper(url, declared=Declared(output="p", kind="Probability", classes=("a", "b")))
        sending.put(answered("a", 4))
        recorder.wait(lambda: bool(recorder.of("drops")))
        assert sending.close(60) == 4
    assert recorder.of("prediction") == []


@pytest.mark.parametrize("url", ["recorder:8080", "ftp://recorder", "http://", "http://recorder:port"])
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|Port"):
        Shipper(url, source=SOURCE, declared=DECLARED)


def test_an_event_too_large_is_counted_as_lost_and_holds_nothing_up() -> None:
    recorder = Recorder()
    with listening(recorder) as url:
        sending = shipper(url)
        sending.put(answered("x" * 500_000))
        sending.put(answered("b", 2))
        recorder.wait(lambda: len(recorder.of("prediction")) == 2)
        assert sending.close(60) == 1


def asked(request: str, body: str = "{}") -> Answered:
    return replace(answered(request), input=Input(path="/v2/models/model/infer", body=body.encode()))


@contextmanager
def told(recorder: Recorder) -> Iterator[Shipper]:
    """A shipper that has heard from the recorder once."""
    with listening(recorder) as url:
        sending = shipper(url)
        sending.put(answered("first"))
        recorder.wait(lambda: bool(recorder.of("prediction")))
        sending.put(answered("second"))  # taken once the answer about the first was read
        recorder.wait(lambda: len(recorder.of("prediction")) == 2)
        yield sending
        sending.close(60)


@pytest.mark.parametrize("said", [None, "0", "-1", "nan", "inf", "1001", "many"])
def test_inputs_are_never_sent_unless_they_are_asked_for(said: str | None) -> None:
    recorder = Recorder()
    recorder.inputs = said
    with told(recorder) as sending:
        assert not sending.wants_inputs()
        sending.put(asked("a"))
    assert recorder.of("input") == []
    assert len(recorder.of("prediction")) == 3


def test_an_input_is_sent_beside_its_prediction_and_no_faster_than_asked_for() -> None:
    recorder = Recorder()
    recorder.inputs = "0.001"
    with told(recorder) as sending:
        assert sending.wants_inputs()
        sending.put(asked("a", '{"secret": "Zoë"}'))
        assert not sending.wants_inputs()
        sending.put(asked("b"))
        recorder.wait(lambda: bool(recorder.of("input")))
    whose = {"namespace": "lending", "model": "credit", "revision": "r1"}
    what = {"path": "/v2/models/model/infer", "body": '{"secret": "Zoë"}', "time": "2026-01-31T12:00:00.250Z"}
    assert recorder.of("input") == [{**whose, **what, "requestId": "a"}]
    assert len(recorder.of("prediction")) == 4


@pytest.mark.parametrize("status", [400, 500])
def test_an_input_that_is_not_taken_is_no_lost_prediction(status: int) -> None:
    recorder = Recorder()
    recorder.inputs = "1000"
    recorder.answer = lambda events: (status if events[0]["type"] == "dev.mandate.input" else 200, {"refused": []})
    with told(recorder) as sending:
        before = recorder.attempts
        sending.put(asked("a"))
        recorder.wait(lambda: recorder.attempts == before + 2)
        assert sending.close(60) == 0
    assert (recorder.of("input"), recorder.of("drops")) == ([], [])


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("ë", 2), ("😀", 4)])
def test_inputs_that_wait_take_bounded_room(letter: str, size: int) -> None:
    recorder = Recorder()
    recorder.inputs = "1000"
    with told(recorder) as sending:
        recorder.answer = lambda events: (503, {})
        sending.put(answered("held up"))
        recorder.wait(lambda: recorder.attempts >= 3)
        kept = 0
        for number in range(100):
            before = sending._inputs_size
            sending._inputs_after = 0.0
            sending.put(asked(f"q{number}", letter * (200_000 // size)))
            kept += sending._inputs_size > before
        assert kept == 8 * 2**20 // 200_000
        recorder.answer = lambda events: (200, {"refused": []})
        recorder.wait(lambda: len(recorder.of("prediction")) == 103)
    assert sending._inputs_size == 0
