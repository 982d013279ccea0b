"""The recording sidecar as a process, before a server that isn't ours, with a recorder beside it."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import math
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mandate.predictor import beside
from mandate.predictor.recording import Answered, Exchanges, Message
from tests.processes import serving

INFER = "/v2/models/model/infer"
ASKED = {"id": "by-body", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [0.5, 1.5]}]}
TOLD = {"outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [2, 1], "data": [0.25, 0.75]}]}


class Server(ThreadingHTTPServer):
    request_queue_size = 2 * beside.WAITING
    """As many as ask at once: where a machine is slow to accept, the kernel lets go of those beyond."""


@dataclass
class Served:
    """A server in a thread, with one answer for all, or `instead` of it what this does with all but questions whether
    it is ready; `begun` and `over` are set when this has. What came is in `seen`.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    instead: Callable[[BaseHTTPRequestHandler], None] | None = None
    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    server: Any = None


def serve(served: Served) -> int:
    """Begin; returns the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if served.instead is not None and "/health/" not in self.path:
                self.close_connection = True
                served.seen.append((self.command, self.path, {}, b""))
                served.begun.set()
                served.instead(self)
                served.over.set()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            lower = {name.lower(): value for name, value in self.headers.items()}
            served.seen.append((self.command, self.path, lower, body))
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(served.body)))
            self.end_headers()
            self.wfile.write(served.body if self.command != "HEAD" else b"")

        do_GET = do_HEAD = do_DELETE = do_POST  # noqa: N815 - the names that http.server asks for

        def log_message(self, *_: object) -> None:
            pass

    served.server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.server.serve_forever, daemon=True).start()
    return int(served.server.server_port)


@dataclass
class Scene:
    model: Served
    recorder: Served
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, path: str = INFER, body: Any = ASKED, method: str = "POST", **headers: str) -> tuple[Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(connection):
            connection.request(method, path, content, names)
            answer = connection.getresponse()
            return answer, answer.read()

    def recorded(self, count: int) -> list[dict[str, Any]]:
        """The data of events, as soon as there are so many."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            events = [event for *_, body in list(self.recorder.seen) for event in json.loads(body)]
            if len(events) >= count:
                return [{"type": event["type"], **event["data"]} for event in events]
            time.sleep(0.05)
        raise AssertionError(f"waited for {count} events; there are {self.recorder.seen}")


@contextmanager
def stage(*options: str) -> Iterator[Scene]:
    model, recorder = Served(body=json.dumps(TOLD).encode()), Served(body=b"{}")
    upstream, record = (f"http://127.0.0.1:{serve(served)}" for served in (model, recorder))
    told = ("--upstream", upstream, "--record", record, "--namespace", "lending", "--model-deployment", "credit")
    arguments = (*told, "--revision", "r" * 32, "--positive=bad", *options)
    try:
        with serving("mandate.predictor.beside", *arguments, ready="/v2/health/ready") as (url, process):
            model.seen.clear()
            yield Scene(model, recorder, int(url.rpartition(":")[2]), process)
    finally:
        for served in (model, recorder):
            served.server.shutdown()
            served.server.server_close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with stage() as scene:
        yield scene


@pytest.fixture
def impatient() -> Iterator[Scene]:
    with stage("--patience", "1") as scene:
        yield scene


def test_what_is_asked_and_answered_passes_as_it_is_and_is_recorded(scene: Scene) -> None:
    scene.model.headers = {"Content-Type": "application/json", "X-Own": "kept", "Connection": "x-hop", "X-Hop": "1"}
    answer, body = scene.ask(f"{INFER}?a=%2F", x_request_id="r-1", X_Other="too", Connection="x-gone", X_Gone="1")
    assert (answer.status, body) == (200, scene.model.body)
    assert answer.getheader("X-Own") == "kept"
    assert answer.getheader("X-Hop") is None
    assert answer.getheader("x-request-id") == "r-1"
    [(method, path, headers, asked)] = scene.model.seen
    assert (method, path, json.loads(asked)) == ("POST", f"{INFER}?a=%2F", ASKED)
    assert headers["x-other"] == "too"
    assert headers["host"] == f"127.0.0.1:{scene.port}"
    assert set(headers) == {"x-other", "host", "x-request-id", "content-length", "accept-encoding", "connection"}
    assert headers["accept-encoding"] == "identity", "as http.client says"

    first, second = scene.recorded(2)
    assert (first["type"], first["requestId"], first["row"]) == ("dev.mandate.prediction", "r-1", 0)
    assert (first["namespace"], first["model"], first["revision"]) == ("lending", "credit", "r" * 32)
    assert first["answer"] == {"label": "not bad", "probability": 0.25}
    assert second["answer"] == {"label": "bad", "probability": 0.75}


def test_an_id_comes_from_the_body_where_no_header_has_one(scene: Scene) -> None:
    answer, _ = scene.ask()
    assert answer.getheader("x-request-id") == "by-body"
    assert {event["requestId"] for event in scene.recorded(2)} == {"by-body"}


@pytest.mark.parametrize("target", ["@127.0.0.1:1/v2", "http://127.0.0.1:1/v2", "*", "127.0.0.1:1"])
def test_only_paths_are_asked_for(scene: Scene, target: str) -> None:
    """Else whoever may call the model could have it call anybody."""
    with closing(socket.create_connection(("127.0.0.1", scene.port), timeout=30)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        said = connection.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 400"), said
    assert scene.model.seen == []


def test_odd_paths_pass_as_they_are(scene: Scene) -> None:
    for path in ("/a//b", "/a%2Fb", "/a;b?c=d&c=%20#e", "/@x"):
        assert scene.ask(path)[0].status == 200
        assert scene.model.seen[-1][1] == path


def test_headers_pass_as_they_are_but_what_is_said_to_the_neighbour(scene: Scene) -> None:
    with closing(socket.create_connection(("127.0.0.1", scene.port), timeout=30)) as connection:
        body = json.dumps(ASKED).encode()
        lines = [f"POST {INFER} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "X-Customer: Krüger-7"]
        lines += ["Expect: 100-continue", "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)
        said = connection.makefile("rb").read()
    assert b"HTTP/1.1 200" in said
    headers = scene.model.seen[0][2]
    assert headers["x-customer"].encode("latin-1").decode() == "Krüger-7"
    assert "expect" not in headers


def test_the_server_s_own_id_is_taken_where_the_caller_gives_none(scene: Scene) -> None:
    scene.model.headers = {"X-Request-Id": "by-server"}
    answer, _ = scene.ask()
    assert answer.headers.get_all("x-request-id") == ["by-server"]
    answer, _ = scene.ask(x_request_id="by-caller")
    assert answer.headers.get_all("x-request-id") == ["by-caller"]
    assert {event["requestId"] for event in scene.recorded(4)} == {"by-server", "by-caller"}


def test_a_packed_question_is_read(scene: Scene) -> None:
    scene.model.status = 500
    scene.ask(body=gzip.compress(json.dumps(ASKED).encode()), Content_Encoding="gzip")
    assert [(event["requestId"], event["row"]) for event in scene.recorded(2)] == [("by-body", 0), ("by-body", 1)]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_packed_answer_is_read_and_passes_packed(scene: Scene, pack: Any) -> None:
    scene.model.body = pack(scene.model.body)
    scene.model.headers = {"Content-Encoding": "gzip" if pack is gzip.compress else "deflate"}
    answer, body = scene.ask(Accept_Encoding="gzip, deflate")
    assert (answer.status, body) == (200, scene.model.body)
    assert scene.recorded(2)[1]["answer"]["label"] == "bad"


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_question_that_the_server_refuses_or_fails_at_is_a_failure(scene: Scene, status: int) -> None:
    scene.model.status, scene.model.body = status, b"oh"
    answer, body = scene.ask(x_request_id="failed")
    assert (answer.status, body) == (status, b"oh")
    found = scene.recorded(2)
    assert [(event["requestId"], event["row"], event["failed"]) for event in found] == [
        ("failed", 0, True),
        ("failed", 1, True),
    ]


def test_what_is_no_question_is_no_failure(scene: Scene) -> None:
    scene.model.status, scene.model.body = 400, b"oh"
    assert scene.ask(body=b"no JSON", x_request_id="garbled")[0].status == 400
    scene.model.status = 501
    assert scene.ask(method="HEAD", x_request_id="headers only")[0].status == 501
    scene.model.status, scene.model.body = 204, b""
    assert scene.ask(x_request_id="nothing")[0].status == 204
    scene.model.status, scene.model.body = 200, json.dumps(TOLD).encode()
    scene.ask(x_request_id="the only one")
    assert {event["requestId"] for event in scene.recorded(2)} == {"the only one"}


def test_no_request_claims_more_rows_than_can_fail(scene: Scene) -> None:
    scene.model.status = 500
    scene.ask(body={"inputs": [{"shape": [10**12]}]})
    assert len(scene.recorded(beside.MOST_FAILED)) == beside.MOST_FAILED


def test_a_server_that_is_gone_is_a_failure_in_words(scene: Scene) -> None:
    scene.model.server.shutdown()
    scene.model.server.server_close()
    answer, body = scene.ask(x_request_id="gone")
    assert (answer.status, answer.getheader("connection")) == (502, "close")
    assert "can't be reached" in json.loads(body)["error"]
    assert [(event["requestId"], event["failed"]) for event in scene.recorded(2)] == [("gone", True)] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b'{"outputs": []}',
        b'{"outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [3], "data": [1]}]}',
    ],
    ids=["no JSON", "no output", "another shape"],
)
def test_what_cannot_be_read_passes_and_is_counted_as_dropped(scene: Scene, body: bytes) -> None:
    scene.model.body = body
    assert scene.ask()[1] == body
    [drops] = scene.recorded(1)
    assert (drops["type"], drops["dropped"]) == ("dev.mandate.drops", 2)


def test_a_large_answer_passes_whole_and_is_counted_as_dropped(scene: Scene) -> None:
    scene.model.body = b"x" * (beside.MOST + 1)
    assert scene.ask()[1] == scene.model.body
    assert scene.recorded(1)[0]["dropped"] == 2


def test_a_large_request_passes_whole(scene: Scene) -> None:
    body = b'{"inputs": "' + b"x" * beside.MOST + b'"}'
    assert scene.ask(body=body)[0].status == 200
    assert scene.model.seen[0][3] == body
    assert len(scene.recorded(2)) == 2, "the answer says how many rows there were"


def test_what_isn_t_about_answers_isn_t_recorded(scene: Scene) -> None:
    scene.model.status = 503
    answer, _ = scene.ask("/v2/health/ready", b"", "GET")
    assert answer.status == 503
    scene.model.status = 200
    assert scene.ask("/v2/models/model", b"", "GET")[0].status == 200
    scene.ask(x_request_id="the only one")
    assert {event["requestId"] for event in scene.recorded(2)} == {"the only one"}


def test_what_waits_is_sent_before_it_ends(scene: Scene) -> None:
    scene.ask(x_request_id="last")
    scene.process.send_signal(signal.SIGTERM)
    scene.process.wait(20)
    assert {event["requestId"] for event in scene.recorded(2)} == {"last"}


def read_all(handler: BaseHTTPRequestHandler) -> None:
    """Until the sidecar closes the connection; nothing is answered."""
    while handler.connection.recv(65_536):
        pass


def half_an_answer(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    read_all(handler)


def asked(scene: Scene, *lines: str, method: str = "POST", path: str = INFER, body: bytes = b"") -> socket.socket:
    """A connection on which something was asked, and not yet answered."""
    connection = socket.create_connection(("127.0.0.1", scene.port), timeout=30)
    connection.sendall("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode() + body)
    return connection


def question(scene: Scene, name: str) -> socket.socket:
    body = json.dumps(ASKED).encode()
    return asked(scene, f"Content-Length: {len(body)}", f"x-request-id: {name}", body=body)


def failures(scene: Scene, name: str, rows: int = 2) -> None:
    """There are so many, and nothing else was recorded."""
    found = [(event["requestId"], event.get("failed")) for event in scene.recorded(rows)]
    assert found == [(name, True)] * rows


def test_who_leaves_while_the_model_hangs_is_a_failure_and_the_model_hears_of_it(scene: Scene) -> None:
    scene.model.instead = read_all
    with question(scene, "hung"):
        assert scene.model.begun.wait(30)
    assert scene.model.over.wait(30)
    failures(scene, "hung")


def test_who_leaves_amid_an_answer_is_a_failure_and_the_model_hears_of_it(scene: Scene) -> None:
    scene.model.instead = half_an_answer
    with question(scene, "half") as connection:
        said = b""
        while not said.endswith(b"{"):
            said += connection.recv(65_536)
    assert scene.model.over.wait(30)
    failures(scene, "half")


def test_who_leaves_before_the_question_is_whole_has_asked_nothing(scene: Scene) -> None:
    scene.model.instead = read_all
    with asked(scene, "Content-Length: 1000", "x-request-id: cut", body=b"{"):
        assert scene.model.begun.wait(30)
    assert scene.model.over.wait(30)
    scene.model.instead = None
    scene.ask(x_request_id="the only one")
    assert {event["requestId"] for event in scene.recorded(2)} == {"the only one"}


def test_a_probe_that_gives_up_leaves_nothing_behind(scene: Scene) -> None:
    scene.model.instead = read_all
    with asked(scene, method="GET", path="/ready"):
        assert scene.model.begun.wait(30)
    assert scene.model.over.wait(30)
    scene.model.instead = None
    scene.ask(x_request_id="the only one")
    assert {event["requestId"] for event in scene.recorded(2)} == {"the only one"}


def test_who_stays_on_one_connection_is_answered_each_time(scene: Scene) -> None:
    body = json.dumps(ASKED).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", scene.port, timeout=30)) as connection:
        for number in range(20):
            connection.request("POST", INFER, body, {"x-request-id": f"r-{number}"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, scene.model.body)
    assert [event for event in scene.recorded(40) if "failed" in event] == []


def test_who_leaves_with_the_answer_has_been_answered(scene: Scene) -> None:
    for number in range(20):
        with question(scene, f"r-{number}") as connection:
            said = b""
            while not said.endswith(scene.model.body):
                said += connection.recv(65_536)
    assert [event for event in scene.recorded(40) if "failed" in event] == []


def test_patience_ends_with_a_model_that_says_nothing(impatient: Scene) -> None:
    impatient.model.instead = read_all
    answer, body = impatient.ask(x_request_id="hung")
    assert (answer.status, answer.getheader("connection")) == (504, "close")
    assert json.loads(body) == {"error": "the model's server took and said nothing for 1 s"}
    assert impatient.model.over.wait(30)
    failures(impatient, "hung")


def test_patience_ends_with_half_an_answer(impatient: Scene) -> None:
    impatient.model.instead = half_an_answer
    with pytest.raises(http.client.IncompleteRead):
        impatient.ask(x_request_id="half")
    assert impatient.model.over.wait(30)
    failures(impatient, "half")


def test_patience_ends_with_a_model_that_does_not_take_the_question(impatient: Scene) -> None:
    finished = threading.Event()
    impatient.model.instead = lambda _: assert_set(finished)
    answer, _ = impatient.ask(body=b"x" * 2**25, x_request_id="untaken")
    finished.set()
    assert answer.status == 504
    failures(impatient, "untaken", rows=1)


def assert_set(event: threading.Event) -> None:
    assert event.wait(30)


def test_patience_ends_with_a_caller_who_sends_half_a_question(impatient: Scene) -> None:
    """Whose model can't be blamed."""
    impatient.model.instead = read_all
    with asked(impatient, "Content-Length: 1000", "x-request-id: half", body=b"{") as connection:
        said = connection.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 408"), said
    assert impatient.model.over.wait(30)
    impatient.model.instead = None
    impatient.ask(x_request_id="the only one")
    assert {event["requestId"] for event in impatient.recorded(2)} == {"the only one"}


def test_who_sends_on_is_waited_for(impatient: Scene) -> None:
    body = json.dumps(ASKED).encode()
    with asked(impatient, f"Content-Length: {len(body)}", "Connection: close", "x-request-id: slow") as connection:
        for place in range(0, len(body), 40):
            time.sleep(0.6)
            connection.sendall(body[place : place + 40])
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200")
    assert [event for event in impatient.recorded(2) if "failed" in event] == []


@pytest.mark.parametrize("patience", ["0", "-1", "nan", "inf"])
def test_patience_is_a_time(patience: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        beside.main(["--upstream", "http://127.0.0.1:1", "--patience", patience])
    assert "--patience: expected seconds above 0" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_nothing_is_sent_twice(scene: Scene, method: str) -> None:
    scene.model.instead = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with asked(scene, method=method) as connection:
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 502")
    assert [seen[:2] for seen in scene.model.seen] == [(method, INFER)]


def test_two_ends_of_a_body_are_refused(scene: Scene) -> None:
    with asked(scene, "Transfer-Encoding: chunked", "Content-Length: 3", body=b"5\r\nhello\r\n0\r\n\r\n") as connection:
        said = connection.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 400"), said
    assert said.count(b"HTTP/1.1") == 1
    assert b"got both" in said
    assert scene.model.seen == []


def test_only_one_end_of_a_body_is_passed_on() -> None:
    headers = [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked"), (b"X-Own", b"1")]
    assert beside.kept(headers) == [(b"x-own", b"1")]
    assert beside.kept(headers[::2]) == [(b"content-length", b"3"), (b"x-own", b"1")]


def test_cookies_are_their_callers(scene: Scene) -> None:
    scene.model.headers = {"Set-Cookie": "who=me"}
    assert scene.ask(Cookie="a=b")[0].getheader("Set-Cookie") == "who=me"
    scene.ask()
    assert [headers.get("cookie") for *_, headers, _ in scene.model.seen] == ["a=b", None]


def test_what_takes_memory_when_read_takes_little_of_it(scene: Scene) -> None:
    """Small on its way, and the worst that is known once it is read; the sidecar has 256 MiB."""
    unit = b'{"":[]},'
    bodies = [b'{"inputs":[' + unit * (size // len(unit)) + b"0]}" for size in (beside.MOST - 99, 4 * beside.MOST)]
    packed = [zlib.compress(body) for body in bodies]
    scene.model.status = 400
    with ThreadPoolExecutor(8) as callers:
        for answer, _ in callers.map(lambda body: scene.ask(body=body, Content_Encoding="deflate"), packed * 8):
            assert answer.status == 400
    with open(f"/proc/{scene.process.pid}/status") as status:
        most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert most < 160 * 1024


def test_what_is_large_when_unpacked_counts_as_one_row(scene: Scene) -> None:
    scene.model.status = 500
    body = json.dumps(ASKED | {"parameters": {"x": "y" * beside.MOST}}).encode()
    scene.ask(body=zlib.compress(body), Content_Encoding="Deflate", x_request_id="large")
    failures(scene, "large", rows=1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["outputs", "inputs", "name", "shape", "data", "datatype", "id"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(document=JSON)
@example({"inputs": [{"shape": [math.inf]}]})
@example({"inputs": [{"shape": [True]}]})
@example({"inputs": [{"shape": [-(10**400)]}], "id": 7})
def test_nothing_confuses_it(document: Any) -> None:
    body = json.dumps(document).encode()
    asked = beside.question(body)
    assert asked is None or (1 <= asked.rows <= beside.MOST_FAILED and isinstance(asked.id, str | None))
    with pytest.raises(ValueError, match=r"it isn't JSON of|it has no output|output 'probabilities'"):
        beside.answer(body, "probabilities")


@given(
    rows=st.lists(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2), min_size=1, max_size=5),
    nested=st.booleans(),
)
def test_flat_or_nested_it_reads_the_same(rows: list[list[float]], nested: bool) -> None:
    data = rows if nested else [value for row in rows for value in row]
    output = {"name": "p", "datatype": "FP32", "shape": [len(rows), 2], "data": data}
    assert np.array_equal(beside.answer(json.dumps({"outputs": [output]}).encode(), "p"), np.array(rows, np.float32))


def test_copies_share_one_room() -> None:
    room = beside.Room(10)
    with beside.Copy(room) as first, beside.Copy(room) as second:
        first.add(b"1234567")
        second.add(b"1234")
        second.add(b"5")
        assert first.plain() == b"1234567"
        with pytest.raises(ValueError, match="too many others"):
            second.plain()
    with beside.Copy(room) as third:
        third.add(b"0123456789")
        assert third.plain() == b"0123456789"


async def test_so_many_wait_to_be_read() -> None:
    lost: list[tuple[int, str]] = []
    let, enough = threading.Event(), asyncio.Event()

    def lose(rows: int, why: str) -> None:
        lost.append((rows, why))
        if len(lost) == 3:
            enough.set()

    body = json.dumps(TOLD).encode().ljust(beside.SMALL + 1)
    async with aiohttp.ClientSession() as session:
        with ThreadPoolExecutor(1) as reader:
            reader.submit(assert_set, let)
            told = Served(body=body)
            passing = beside.Passing(
                upstream=f"http://127.0.0.1:{serve(told)}",
                output="probabilities",
                session=session,
                lose=lose,
                reader=reader,
            )
            recorded: list[Answered] = []
            scope = {"type": "http", "method": "POST", "path": INFER, "query_string": b"", "headers": []}
            tasks = [
                asyncio.create_task(Exchanges(passing, record=recorded.append)(dict(scope), stays, taken))
                for _ in range(beside.WAITING + 3)
            ]
            try:
                await asyncio.wait_for(enough.wait(), 60)
            finally:
                let.set()
            await asyncio.gather(*tasks)
    told.server.shutdown()
    told.server.server_close()
    assert len(recorded) == beside.WAITING
    assert lost == [(1, f"an answer can't be read: {beside.WAITING} others wait to be read")] * 3


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def taken(_: Message) -> None:
    pass
