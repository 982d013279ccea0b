"""The recorder over HTTP: events in, live aggregates out. Nothing a client sends makes a 500 or a traceback."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, from_json

from mandate.evidence.live import LiveTask
from mandate.evidence.replay import ReplayOrder
from mandate.telemetry.recorder import RecorderMetrics

from . import events, kserve
from .events import Event, Name, RefusedError, RevisionName, Text, Time, checked
from .facts import Fact, Input, Prediction, Result
from .replay import Offered, Place, Replays
from .storage import DrawnQuery, Query, Storage, StorageError
from .writer import BusyError, Writer

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
MAX_BODY = 2**20
"""Bytes of one request."""
MAX_EVENTS = 1000
"""Events of one request."""
INPUTS = "Mandate-Inputs"
"""In answers to a model server: how many inputs a second are wanted of it."""
_REPLAY = "/v1/namespaces/{namespace}/models/{model}/replay"
_BODY_SECONDS = 30
"""Time for a client to send its body."""

_SHORT_TYPES = {
    events.PREDICTION: "prediction",
    events.OUTCOME: "outcome",
    events.DECISION: "decision",
    events.DROPS: "drops",
    events.INPUT: "input",
    kserve.REQUEST: "kserve-request",
    kserve.RESPONSE: "kserve-response",
}


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """One event that holds: its place in the request, its type in short, its facts."""

    index: int
    type: str
    facts: list[Fact]


def _listed(text: Any) -> Any:
    return tuple(text.split(",")) if isinstance(text, str) else text


class LiveParameters(BaseModel):
    """The query of `GET …/live`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    namespace: Name
    model: Name
    revision: RevisionName
    against: RevisionName | None = None
    task: LiveTask
    positive: Text | None = None
    since: Time
    until: Time | None = None
    pairs_since: Time | None = Field(default=None, alias="pairsSince")
    blind_share: int = Field(default=0, ge=0, le=100, alias="blindShare")
    """Percentage of decisions that were to be taken before people see the answer."""
    grace: float = Field(default=60.0, ge=0, le=86_400)
    """Seconds until a prediction without its partner counts as missing."""

    @model_validator(mode="after")
    def _fits(self) -> LiveParameters:
        if (self.task == "Binary") != (self.positive is not None):
            raise PydanticCustomError("positive", "positive (the class that counts) for task=Binary, and only there")
        if self.until is not None and self.until < self.since:
            raise PydanticCustomError("until", "until at or after since")
        if self.against == self.revision:
            raise PydanticCustomError("against", "another revision than revision")
        if self.pairs_since is not None and self.against is None:
            raise PydanticCustomError("pairsSince", "pairsSince only with against")
        return self


LATE = 60_000
"""Milliseconds for which predictions may be on their way. One server's are later than another's after a restart, and
whose are there already would look like who had more of the draws."""
MAX_REVISIONS = 8


class DrawnParameters(BaseModel):
    """The query of `GET …/drawn`; `revisions` are separated by commas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Name
    model: Name
    revisions: Annotated[
        tuple[RevisionName, ...], BeforeValidator(_listed), Field(min_length=1, max_length=MAX_REVISIONS)
    ]
    since: Time
    until: Time | None = None

    @model_validator(mode="after")
    def _fits(self) -> DrawnParameters:
        if self.until is not None and self.until < self.since:
            raise PydanticCustomError("until", "until at or after since")
        return self


class _Place(BaseModel):
    """Whose replays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Name
    model: Name


class _Since(BaseModel):
    """A moment that can be understood."""

    since: Time


class Recorder:
    """The handlers. `clock` gives milliseconds since 1970. Without `replays` no input is ever taken."""

    def __init__(
        self,
        storage: Storage,
        writer: Writer,
        *,
        clock: Callable[[], int],
        metrics: RecorderMetrics,
        replays: Replays | None = None,
        readers: int = 2,
    ) -> None:
        self._storage = storage
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._replays = replays
        self._readers = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="read")

    def application(self) -> web.Application:
        """Every path, the events' also at `/`, where KServe's logger posts when its URL has no path."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._refusals])
        app.add_routes(
            [
                web.post("/v1/events", self._post_events),
                web.post("/", self._post_events),
                web.get("/v1/namespaces/{namespace}/models/{model}/live", self._get_live),
                web.get("/v1/namespaces/{namespace}/models/{model}/drawn", self._get_drawn),
                web.get(_REPLAY, self._get_replay),
                web.put(_REPLAY, self._order_elsewhere),
                web.delete(_REPLAY, self._order_elsewhere),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._get_metrics),
            ]
        )
        return app

    def orders(self) -> web.Application:
        """What only the operator may reach, as an order has people's requests handed over: a port of its own."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._refusals])
        app.add_routes(
            [
                web.get(_REPLAY, self._get_replay),
                web.put(_REPLAY, self._put_replay),
                web.delete(_REPLAY, self._delete_replay),
            ]
        )
        return app

    def close(self) -> None:
        """Wait for questions under way."""
        self._readers.shutdown(cancel_futures=True)

    async def _post_events(self, request: web.Request) -> web.Response:
        said = kserve.declared({name: request.query.getall(name) for name in request.query})
        taken: list[_Taken] = []
        refused: list[dict[str, Any]] = []
        inputs: list[tuple[Input, Offered]] = []
        ignored = 0
        for index, event in enumerate(_events(request, await _body(request))):
            try:
                found = event()
                type_ = _SHORT_TYPES.get(found.envelope.type)
                if type_ is None:
                    ignored += 1
                    continue
                if found.envelope.type == events.INPUT:
                    given = events.input_of(found)
                    inputs.append((given, "ignored" if self._replays is None else self._replays.offer(given)))
                    continue
                facts = events.facts(found) if events.known(found) else kserve.facts(found, said)
                taken.append(_Taken(index=index, type=type_, facts=facts))
            except RefusedError as error:
                refused.append({"index": index, **error.shown()})
        results = await self._writer.write([one.facts for one in taken]) if taken else []
        return self._answer(taken, results, refused, ignored, inputs)

    def _answer(
        self,
        taken: list[_Taken],
        results: list[list[Result]],
        refused: list[dict[str, Any]],
        ignored: int,
        inputs: list[tuple[Input, Offered]],
    ) -> web.Response:
        now = self._clock()
        counts: Counter[str] = Counter(offered for _, offered in inputs)
        for _, offered in inputs:
            self._metrics.events.labels(type="input", result=offered).inc()
        for one, group in zip(taken, results, strict=True):
            result = _worst(group)
            counts[result] += 1
            self._metrics.events.labels(type=one.type, result=result).inc()
            if one.facts and result == "accepted":
                self._metrics.lag_seconds.labels(type=one.type).observe(max(now - one.facts[0].time, 0) / 1000)
        if ignored:
            self._metrics.events.labels(type="other", result="ignored").inc(ignored)
        if refused:
            self._metrics.events.labels(type="other", result="refused").inc(len(refused))
        status = 200 if not refused else 207 if taken or ignored or inputs else 400
        document = {
            "accepted": counts["accepted"],
            "duplicates": counts["duplicate"],
            "conflicts": counts["conflict"],
            "ignored": ignored + counts["ignored"],
            "refused": refused,
        }
        told = {fact for one in taken for fact in one.facts[:1] if isinstance(fact, Prediction)}
        rate = self._inputs_wanted(*told, *(given for given, _ in inputs))
        return _json(document, status=status, headers={INPUTS: str(rate)} if rate else None)

    def _inputs_wanted(self, *told: Prediction | Input) -> int:
        """A model server tells of one revision only; of several, whoever is wanted most of."""
        if self._replays is None:
            return 0
        servers = {(each.namespace, each.model, each.revision) for each in told}
        return max((self._replays.wanted((space, model), revision) for space, model, revision in servers), default=0)

    def _asked_replays(self, request: web.Request) -> tuple[Replays, Place]:
        if self._replays is None:
            raise _WholeError(403, "a recorder that replays: recorder.replay=true in the chart, or --replay")
        place: _Place = checked(_Place, dict(request.match_info), path="")
        return self._replays, (place.namespace, place.model)

    async def _get_replay(self, request: web.Request) -> web.Response:
        replays, place = self._asked_replays(request)
        return await self._replay_state(replays, place)

    async def _order_elsewhere(self, request: web.Request) -> web.Response:
        self._asked_replays(request)
        raise _WholeError(
            403,
            f"{request.method} …/replay at the port for orders, --orders-port (8081 in the chart), which is for the "
            "operator; here one may only GET it",
        )

    async def _put_replay(self, request: web.Request) -> web.Response:
        replays, place = self._asked_replays(request)
        order: ReplayOrder = checked(ReplayOrder, _parsed(await _body(request)), path="")
        checked(_Since, {"since": order.since}, path="")
        replays.order(place, order)
        return await self._replay_state(replays, place)

    async def _delete_replay(self, request: web.Request) -> web.Response:
        replays, place = self._asked_replays(request)
        replays.end(place)
        return await self._replay_state(replays, place)

    async def _replay_state(self, replays: Replays, place: Place) -> web.Response:
        state = replays.state(place)
        if state.order is not None:
            ask = partial(
                self._storage.replayed,
                namespace=place[0],
                model=place[1],
                revision=state.order.revision,
                since=events.milliseconds(state.order.since),
            )
            replayed, failed = await asyncio.get_running_loop().run_in_executor(self._readers, ask)
            state = state.model_copy(update={"replayed": replayed, "failed": failed})
        return _json(state.dump())

    async def _get_live(self, request: web.Request) -> web.Response:
        asked: LiveParameters = checked(LiveParameters, _question(request), path="")
        now = self._clock()
        query = Query(
            namespace=asked.namespace,
            model=asked.model,
            revision=asked.revision,
            task=asked.task,
            positive=asked.positive,
            against=asked.against,
            pairs_since=asked.pairs_since,
            blind_share=asked.blind_share,
            since=asked.since,
            # Up to and with this very millisecond, where no end is given.
            until=max(now + 1, asked.since) if asked.until is None else asked.until,
            missing_before=now - round(asked.grace * 1000),
        )
        with self._metrics.query_seconds.time():
            live = await asyncio.get_running_loop().run_in_executor(self._readers, self._storage.live, query)
        return _json(live.dump())

    async def _get_drawn(self, request: web.Request) -> web.Response:
        asked: DrawnParameters = checked(DrawnParameters, _question(request), path="")
        query = DrawnQuery(
            namespace=asked.namespace,
            model=asked.model,
            revisions=asked.revisions,
            since=asked.since,
            until=max(self._clock() - LATE, asked.since) if asked.until is None else asked.until,
        )
        with self._metrics.query_seconds.time():
            drawn = await asyncio.get_running_loop().run_in_executor(self._readers, self._storage.drawn, query)
        return _json(drawn.model_dump(mode="json", by_alias=True))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._writer.failing is not None:
            return web.Response(text=self._writer.failing, status=503)
        return web.Response(text="ok")

    async def _get_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._metrics.registry), headers={"Content-Type": content_type})

    @web.middleware
    async def _refusals(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except RefusedError as error:
            return self._refuse(400, error.shown())
        except _WholeError as error:
            return self._refuse(error.status, {"field": "", "value": None, "expected": error.expected})
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return self._refuse(error.status, {"field": "", "value": None, "expected": error.reason})
        except BusyError:
            return self._refuse(503, {"field": "", "value": None, "expected": "fewer events at once; try again"})
        except StorageError as error:
            return self._refuse(503, {"field": "", "value": None, "expected": f"a working database; {error}"})
        return response

    def _refuse(self, status: int, refusal: dict[str, Any]) -> web.Response:
        self._metrics.refused_requests.labels(status=str(status)).inc()
        headers = {"Retry-After": "1"} if status == 503 else None
        return _json({"refused": [refusal]}, status=status, headers=headers)


def _question(request: web.Request) -> dict[str, str]:
    """The parameters of a question. Raises RefusedError."""
    for name in request.query:
        if len(request.query.getall(name)) > 1:
            raise RefusedError(name, request.query.getall(name), "one value")
    return {**request.query, **request.match_info}


class _WholeError(Exception):
    """The request can't be taken as a whole."""

    def __init__(self, status: int, expected: str) -> None:
        self.status = status
        self.expected = expected
        super().__init__(expected)


async def _body(request: web.Request) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise _WholeError(415, f"a body without Content-Encoding, which is {encoding[:32]!r} here")
    if (request.content_length or 0) > MAX_BODY:
        raise _WholeError(413, f"at most {MAX_BODY} bytes")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise _WholeError(408, f"the body within {_BODY_SECONDS} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise _WholeError(413, f"at most {MAX_BODY} bytes") from None


def _events(request: web.Request, body: bytes) -> Sequence[Callable[[], Event]]:
    """The request's events, each still to be checked. Raises _WholeError."""
    kind = request.content_type
    if kind == BATCHED:
        documents = _parsed(body)
        if not isinstance(documents, list):
            raise _WholeError(400, f"a JSON array of CloudEvents, as {BATCHED} says")
        if len(documents) > MAX_EVENTS:
            raise _WholeError(413, f"at most {MAX_EVENTS} events in one request, got {len(documents)}")
        return [lambda document=document: events.structured(document) for document in documents]  # type: ignore[misc]
    if kind == STRUCTURED:
        document = _parsed(body)
        return [lambda: events.structured(document)]
    if any(name.lower() == "ce-specversion" for name in request.headers):
        attributes = {
            name.lower()[3:]: unquote(value, errors="replace")
            for name, value in request.headers.items()
            if name.lower().startswith("ce-")
        }
        return [lambda: events.binary(attributes, body)]
    raise _WholeError(415, f"Content-Type {STRUCTURED} or {BATCHED}, or headers ce-specversion, ce-id, …")


def _parsed(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError as error:
        raise _WholeError(400, f"JSON in UTF-8, not too deep: {str(error)[:200]}") from None


def _worst(results: Sequence[Result]) -> Result:
    order: tuple[Literal["conflict"], Literal["accepted"]] = ("conflict", "accepted")
    return next((result for result in order if result in results), "duplicate")


def _json(document: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return web.Response(
        text=text + "\n", status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve while the context lasts (port 0 for any); yields the port. Requests under way are answered at the end."""
    # Bodies are never decompressed: a small one could fill the memory.
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=10.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
