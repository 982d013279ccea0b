"""Inputs are held while an order stands, asked again once, and forgotten: a real recorder and a real model server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mandate.evidence.replay import ReplayState
from mandate.recorder import replay
from mandate.recorder.facts import Decision, Fact, Prediction, Replayed
from mandate.recorder.replay import Place, Replays, service_url
from mandate.recorder.server import Recorder, serving
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.storage import Query
from mandate.recorder.writer import Writer
from mandate.telemetry.recorder import RecorderMetrics
from tests.processes import free_port
from tests.recording import BATCHED, NOON, PLACE, event, prediction

NOW = 1_769_860_800_000  # NOON
SHADOW = "a" * 32
PATH = "/v1/namespaces/lending/models/credit/replay"
ORDER = {"revision": SHADOW, "since": NOON, "rate": 999, "inputs": 100, "keepSeconds": 60, "leaseSeconds": 600}
BODY = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0.1]}],\n "secret": "Zoë"}'


@dataclass
class Asked:
    """What a model server was asked, and how it answers."""

    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    status: int = 200
    gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.path, headers, await request.text()))
        if self.gate is not None:
            await self.gate.wait()
        return web.Response(status=self.status, text="{}")

    def ids(self) -> list[str]:
        return [headers["x-request-id"] for _, headers, _ in self.requests]


class Client:
    """Model servers and people reach `session`, the operator alone `orders`, at `orders_url`."""

    def __init__(self, session: aiohttp.ClientSession, orders: aiohttp.ClientSession, orders_url: str) -> None:
        self.session = session
        self.orders = orders
        self.orders_url = orders_url
        self.now = NOW

    async def send(self, *events: Any) -> tuple[dict[str, Any], str | None]:
        headers = {"Content-Type": BATCHED}
        async with self.session.post("/v1/events", data=json.dumps(events).encode(), headers=headers) as response:
            return await response.json(), response.headers.get("Mandate-Inputs")

    async def order(self, **changes: Any) -> tuple[int, Any]:
        async with self.orders.put(PATH, data=json.dumps(ORDER | changes).encode()) as response:
            return response.status, await response.json()

    async def end(self) -> Any:
        async with self.orders.delete(PATH) as response:
            assert response.status == 200
            return await response.json()

    async def state(self) -> ReplayState:
        async with self.session.get(PATH) as response:
            document = await response.json()
            assert response.status == 200, document
            return ReplayState.model_validate(document)

    async def until(self, condition: Callable[[ReplayState], bool]) -> ReplayState:
        async with asyncio.timeout(60):
            while not condition(state := await self.state()):  # noqa: ASYNC110 - another process would be asked alike
                await asyncio.sleep(0.01)
            return state


def given(request: str, **fields: Any) -> dict[str, Any]:
    path = "/v2/models/model/versions/7/infer"
    data = {**PLACE, "revision": "old", "requestId": request, "time": NOON, "path": path, "body": BODY}
    return event("dev.mandate.input", data | fields)


@asynccontextmanager
async def model_server(asked: Asked, port: int = 0) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", asked.answer)])
    async with serving(app, host="127.0.0.1", port=port) as found:
        yield found


@asynccontextmanager
async def recording(file: Path, *, to: int, switched_on: bool = True) -> AsyncIterator[Client]:
    """A recorder whose replays go to a port of this machine."""
    metrics, storage = RecorderMetrics(), SqliteStorage(file)
    client: Client

    def now() -> int:
        return client.now

    def address(place: Place, revision: str) -> str:
        assert place == ("lending", "credit")
        return f"http://127.0.0.1:{to}"

    writer = Writer(storage, clock=now, committed=metrics.commit_seconds.observe)
    replays = Replays(writer, clock=now, address=address, pause=(0.01, 0.05)) if switched_on else None
    recorder = Recorder(storage, writer, clock=now, metrics=metrics, replays=replays)
    async with (
        serving(recorder.application(), host="127.0.0.1", port=0) as port,
        serving(recorder.orders(), host="127.0.0.1", port=0) as orders_port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        aiohttp.ClientSession(f"http://127.0.0.1:{orders_port}") as orders,
    ):
        client = Client(session, orders, f"http://127.0.0.1:{orders_port}")
        writing = asyncio.create_task(writer.run())
        if replays is None:
            yield client
        else:
            async with replays.running():
                yield client
        await writer.close()
        await writing
    recorder.close()
    storage.close()


async def test_what_others_were_asked_is_asked_again_word_for_word(tmp_path: Path) -> None:
    asked = Asked()
    async with model_server(asked) as to, recording(tmp_path / "db", to=to) as client:
        assert await client.send(given("early")) == ({**NOTHING, "ignored": 1}, None)
        assert (await client.order())[0] == 200
        # Whoever answers is told how many inputs a second are wanted; who is asked again isn't asked for them.
        assert (await client.send(prediction(revision="old")))[1] == "999"
        assert (await client.send(prediction(revision=SHADOW)))[1] is None
        assert await client.send(given("q1"), given("q2")) == ({**NOTHING, "accepted": 2}, "999")
        # It is written down as replayed before its turn is over.
        state = await client.until(lambda state: (state.replayed, state.waiting) == (2, 0))
        assert (state.failed, state.dropped, state.problem) == (0, 0, "")
    assert asked.ids() == ["q1", "q2"]
    path, headers, body = asked.requests[0]
    assert (path, body) == ("/v2/models/model/infer", BODY)
    assert (headers["mandate-replayed"], headers["content-type"]) == ("true", "application/json")


NOTHING = {"accepted": 0, "duplicates": 0, "conflicts": 0, "ignored": 0, "refused": []}


async def test_what_is_not_of_this_stay_or_its_own_is_not_taken(tmp_path: Path) -> None:
    async with recording(tmp_path / "db", to=1) as client:
        await client.order()
        refused = [given("own", revision=SHADOW), given("before", time="2026-01-31T11:59:59Z"), given("x", model="m")]
        assert (await client.send(*refused))[0] == {**NOTHING, "ignored": 3}


async def test_a_failure_counts_once_and_says_what_it_was(tmp_path: Path) -> None:
    asked = Asked(status=500)
    async with model_server(asked) as to, recording(tmp_path / "db", to=to) as client:
        await client.order()
        await client.send(given("q1"))
        state = await client.until(lambda state: (state.failed, state.replayed) == (1, 1))
        assert state.last_failure == "status 500"
        asked.status = 200
        await client.send(given("q2"))
        state = await client.until(lambda state: state.replayed == 2)
        assert (state.failed, state.last_failure) == (1, "status 500")
    assert asked.ids() == ["q1", "q2"]


async def test_a_server_that_cannot_be_reached_is_waited_for(tmp_path: Path) -> None:
    asked, port = Asked(), free_port()
    async with recording(tmp_path / "db", to=port) as client:
        await client.order()
        await client.send(given("q1"), given("q2"))
        state = await client.until(lambda state: bool(state.problem))
        assert f"http://127.0.0.1:{port} can't be reached" in state.problem
        assert (state.replayed, state.failed) == (0, 0)
        async with model_server(asked, port):
            state = await client.until(lambda state: state.replayed == 2)
        assert (state.failed, state.problem) == (0, "")
    assert asked.ids() == ["q1", "q2"]


async def test_no_more_wait_than_were_asked_for_and_the_oldest_go(tmp_path: Path) -> None:
    asked = Asked(gate=asyncio.Event())
    async with model_server(asked) as to, recording(tmp_path / "db", to=to) as client:
        await client.order(inputs=2)
        await client.send(given("q0"))
        await client.until(lambda state: bool(asked.requests))
        assert (await client.send(given("q0"), given("q1"), given("q1")))[0] == {
            **NOTHING,
            "accepted": 1,
            "duplicates": 2,
        }
        await client.send(given("q2"), given("q3"))
        assert ((await client.state()).waiting, (await client.state()).dropped) == (3, 1)
        assert asked.gate is not None
        asked.gate.set()
        await client.until(lambda state: state.replayed == 3)
    assert asked.ids() == ["q0", "q2", "q3"]


async def test_models_that_ask_long_questions_share_bounded_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MODEL_BYTES", 2 * len(BODY.encode()))
    monkeypatch.setattr(replay, "ALL_BYTES", 3 * len(BODY.encode()))
    async with recording(tmp_path / "db", to=free_port()) as client:
        await client.order()
        await client.send(*(given(f"q{number}") for number in range(10)))
        state = await client.until(lambda state: bool(state.problem))
        assert state.waiting + state.dropped == 10
        assert state.waiting <= 3


async def test_bytes_are_counted_not_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MODEL_BYTES", 2 * len(BODY.encode()) - 1)
    async with recording(tmp_path / "db", to=free_port()) as client:
        await client.order()
        await client.send(*(given(f"q{number}") for number in range(10)))
        state = await client.until(lambda state: bool(state.problem))
        assert (state.waiting, state.dropped) == (1, 9)


async def test_nothing_outlives_its_time(tmp_path: Path) -> None:
    async with recording(tmp_path / "db", to=free_port()) as client:
        await client.order()
        await client.send(given("q1"))
        client.now += 61_000
        await client.until(lambda state: (state.waiting, state.dropped) == (0, 1))
        await client.send(given("q2", time="2026-01-31T12:01:01Z"))
        client.now = NOW + 600_000
        assert await client.state() == ReplayState()
        assert (await client.send(prediction(revision="old")))[1] is None
        assert (await client.order())[1]["waiting"] == 0


async def test_another_stay_or_the_end_forgets_what_waits(tmp_path: Path) -> None:
    async with recording(tmp_path / "db", to=free_port()) as client:
        for change in ({"since": "2026-01-31T11:00:00Z"}, {"revision": "b" * 32}):
            await client.order()
            await client.send(given("q1"))
            assert (await client.order(rate=5))[1]["waiting"] == 1
            assert (await client.order(**change))[1]["waiting"] == 0
        await client.send(given("q1"))
        assert await client.end() == ReplayState().dump()
        assert (await client.send(given("q2")))[0]["ignored"] == 1


async def test_inputs_are_never_on_disk_and_cannot_be_read_back(tmp_path: Path) -> None:
    asked = Asked()
    async with model_server(asked) as to, recording(tmp_path / "db", to=to) as client:
        await client.order()
        await client.send(given("q1"))
        await client.until(lambda state: state.replayed == 1)
        found = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir()))
        assert b"q1" in found  # that it was asked is on record
        assert "Zoë".encode() not in found
        async with client.session.get(PATH) as response:
            assert "Zoë" not in await response.text()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"revision": "../etc"}, "revision"),
        ({"rate": 0}, "rate"),
        ({"rate": 1000}, "rate"),
        ({"inputs": 10_001}, "inputs"),
        ({"keepSeconds": 0}, "keepSeconds"),
        ({"leaseSeconds": 86_401}, "leaseSeconds"),
        ({"since": "yesterday"}, "since"),
        ({"service": "elsewhere"}, "service"),
    ],
)
async def test_a_bad_order_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    async with recording(tmp_path / "db", to=1) as client:
        status, document = await client.order(**changes)
        assert (status, document["refused"][0]["field"]) == (400, named)
        assert (await client.state()).order is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"path": "/v2/models/../admin/infer"}, "data.path"),
        ({"path": "/metrics"}, "data.path"),
        ({"path": "http://elsewhere/v2/models/model/infer"}, "data.path"),
        ({"body": ""}, "data.body"),
        ({"body": "x" * 200_001}, "data.body"),
        ({"requestId": "a\nb"}, "data.requestId"),
        ({"url": "http://elsewhere"}, "data.url"),
    ],
)
async def test_a_bad_input_is_refused_by_field(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    async with recording(tmp_path / "db", to=1) as client:
        await client.order()
        document, _ = await client.send(given("q", **fields))
        assert document["refused"][0]["field"] == named


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_where_anybody_may_come_no_order_is_taken_or_ended(tmp_path: Path, method: str) -> None:
    async with recording(tmp_path / "db", to=free_port()) as client:
        if method == "DELETE":
            await client.order()
        before = await client.state()
        async with client.session.request(method, PATH, data=json.dumps(ORDER | {"rate": 7}).encode()) as response:
            (refusal,) = (await response.json())["refused"]
            assert response.status == 403
        assert refusal["expected"] == (
            f"{method} …/replay at the port for orders, --orders-port (8081 in the chart), which is for the operator; "
            "here one may only GET it"
        )
        assert await client.state() == before
        assert (await client.send(prediction(revision="old")))[1] == ("999" if method == "DELETE" else None)


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/v1/events"), ("GET", "/")])
async def test_the_port_for_orders_is_for_nothing_else(tmp_path: Path, method: str, path: str) -> None:
    async with (
        recording(tmp_path / "db", to=free_port()) as client,
        client.orders.request(method, path) as response,
    ):
        assert response.status == 404


async def test_switched_off_it_takes_nothing_and_says_so(tmp_path: Path) -> None:
    async with recording(tmp_path / "db", to=1, switched_on=False) as client:
        status, document = await client.order()
        assert (status, "recorder.replay=true" in document["refused"][0]["expected"]) == (403, True)
        assert (await client.send(given("q")))[0]["ignored"] == 1


def test_inputs_leave_for_the_revisions_own_service_only() -> None:
    assert service_url(("lending", "credit"), SHADOW) == "http://credit-aaaaaaaaaa.lending.svc"


def answered(request: str, *, time: int = NOW) -> Prediction:
    whose = {"namespace": "lending", "model": "credit", "revision": SHADOW}
    return Prediction(**whose, request=request, row=0, time=time, label="bad")  # type: ignore[arg-type]


def asked_again(request: str, *, since: int, state: Any = "Answered") -> Replayed:
    whose = {"namespace": "lending", "model": "credit", "revision": SHADOW}
    return Replayed(**whose, request=request, since=since, time=since, state=state)


@pytest.mark.parametrize("state", ["UnderWay", "Answered"])
def test_a_replay_counts_for_the_stay_that_it_was_for_and_no_other_level(tmp_path: Path, state: str) -> None:
    storage = SqliteStorage(tmp_path / "db")
    shadow, suggest = NOW - 1000, NOW
    facts: list[Fact] = [
        asked_again("late", since=shadow, state=state),
        answered("late", time=NOW + 5),
        answered("real"),
    ]
    storage.write([facts], received=NOW)

    def seen(since: int) -> int:
        place = {"namespace": "lending", "model": "credit", "revision": SHADOW}
        query = Query(**place, task="Binary", positive="bad", since=since, until=NOW + 10)  # type: ignore[arg-type]
        return storage.live(query).predictions

    assert (seen(shadow), seen(suggest)) == (2, 1)
    storage.close()


def test_people_at_suggest_decided_on_answers_that_reached_them(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "db")
    place = {"namespace": "lending", "model": "credit"}
    facts: list[Fact] = [
        asked_again("late", since=NOW - 1000),
        replace(answered("real"), entity="e"),
        replace(answered("late", time=NOW + 5), entity="e", label="good"),
        Decision(**place, entity="e", by="anna", shown=True, time=NOW + 8, label="good"),
        Decision(**place, request="late", row=0, by="anna", shown=True, time=NOW + 8, label="good"),
    ]
    storage.write([facts], received=NOW)
    query = Query(**place, revision=SHADOW, task="Binary", positive="bad", since=NOW, until=NOW + 10)
    shown = storage.live(query).decisions.shown
    assert (shown.count, shown.overridden) == (1, 1)
    storage.close()


def test_a_request_is_replayed_once_however_often_it_is_sent(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "db")
    states = ["UnderWay", "UnderWay", "Failed", "UnderWay", "Answered"]
    facts: list[list[Any]] = [[asked_again("q", since=NOW, state=state)] for state in states]
    found = [result for (result,) in storage.write(facts, received=NOW)]
    assert found == ["accepted", "duplicate", "accepted", "duplicate", "duplicate"]
    place = {"namespace": "lending", "model": "credit", "revision": SHADOW}
    assert storage.replayed(**place, since=NOW) == (1, 1)
    assert storage.replayed(**place, since=NOW + 1) == (0, 0)
    assert storage.replayed(**(place | {"revision": "other"}), since=NOW) == (0, 0)
    assert storage.prune(before=NOW + 1, rows=None) == 1
    storage.close()


def test_a_file_from_before_replays_is_taken_over(tmp_path: Path) -> None:
    SqliteStorage(tmp_path / "db").close()
    with sqlite3.connect(tmp_path / "db") as connection:
        connection.execute("DROP TABLE replays")
    connection.close()
    storage = SqliteStorage(tmp_path / "db")
    assert storage.write([[asked_again("q", since=NOW)]], received=NOW) == [["accepted"]]
    storage.close()
