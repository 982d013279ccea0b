"""Real requests through the gateway at a steady rate, and what comes of them: outcomes, and people's decisions.

Nothing is tried again: a request that isn't answered with 200, and by somebody who says who it is, is lost. Every one
that is sent has an entry, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import pandas as pd
import urllib3
from pyarrow import parquet

from examples.flights.prepare import NUMBERS, STRINGS
from mandate.evidence.blind import is_blind
from tests.e2e.story.ledger import SAYS, Address, Entry
from tests.integration.admission.api import Refused

Object = dict[str, Any]
PATH = "/v2/models/model/infer"
READY = "/v2/health/ready"
FAULTY = "2013-12-01"
"""From this day on the delay at the gate is missing."""
MISSING = "dep_delay"
PEOPLE = 3
"""Every such request is somebody's who asks for a suggestion."""
PATIENCE = 20.0
"""Seconds for an answer; the gateway's own limit is 15."""
REST = 0.5
"""Seconds between batches of outcomes and decisions."""
TELLING = 60.0
"""Seconds after the last answer for which the recorder is told what it wasn't told yet."""


@dataclass(frozen=True)
class Flight:
    """One row to be replayed: the request's inputs, what came of it, what today's rule says."""

    id: str
    inputs: tuple[Object, ...]
    truth: str
    rule: str
    origin: str


@dataclass(frozen=True)
class Flights:
    """Those that are replayed while all is well, and those with the fault; both in order of departure."""

    well: Sequence[Flight]
    faulty: Sequence[Flight]


def replayed(table: Path, *, count: int) -> Flights:
    """About `count` flights of each part, evenly spread over it."""
    frame = parquet.read_table(table).to_pandas()
    late = frame["date"] >= FAULTY
    parts = (frame[~late], frame[late].assign(**{MISSING: float("nan")}))
    drawn = (part.iloc[:: max(1, len(part) // count)].to_dict("records") for part in parts)
    return Flights(*([_flight(row) for row in rows] for rows in drawn))


def _flight(row: Mapping[str, Any]) -> Flight:
    numbers = {name: None if pd.isna(row[name]) else float(row[name]) for name in NUMBERS}
    columns = {name: ("BYTES", "" if pd.isna(row[name]) else row[name]) for name in STRINGS}
    columns |= {name: ("FP32", value) for name, value in numbers.items()}
    return Flight(
        id=row["flight_id"],
        inputs=tuple(
            {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}
            for name, (datatype, value) in columns.items()
        ),
        truth=row["arrival"],
        rule="late" if row["rule"] else "on time",
        origin=row["origin"],
    )


def who_answered(text: bytes) -> str:
    """The version that an answer says it is from; raises ValueError where it is no answer of a model."""
    try:
        answer = json.loads(text)
        outputs = [output["data"] for output in answer["outputs"]]
        version = answer["model_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no answer by the Open Inference Protocol ({type(error).__name__}: {error})") from error
    if not outputs or not all(outputs):
        raise ValueError("an answer without outputs")
    if not isinstance(version, str) or not version:
        raise ValueError(f"model_version is {version!r}, expected who answered")
    return version


@dataclass
class Traffic:
    """Callers of both addresses, `rate` a second, at most `concurrency` at a time, until `end`.

    `tell` brings a batch of events to the recorder, and raises where it can't; then they are told again later.
    `revisions` says which revision a version is.
    """

    address: str
    host: str
    flights: Flights
    rate: float
    tell: Callable[[list[Object]], None]
    place: Mapping[str, str]
    revisions: Callable[[], Mapping[str, str]]
    concurrency: int = 32
    entries: list[Entry] = field(default_factory=list)
    told: int = 0
    sent: int = 0
    problem: str = ""
    _fault: bool = False
    _over: bool = False
    _untold: list[Object] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic", daemon=True)
        self._thread.start()

    def answers(self, address: str) -> bool:
        """Whether anybody does there."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request("GET", READY, headers={"Host": self._host(address)})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _host(self, address: str) -> str:
        first, _, rest = self.host.partition(".")
        return self.host if address == "act" else f"{first}-suggest.{rest}"

    def break_feed(self) -> None:
        """From the next request on the flights are those with the fault."""
        self._fault = True

    def end(self) -> None:
        """Send nothing more; returns when everything is answered and told. Raises RuntimeError where it can't be."""
        assert self._thread is not None
        self._over = True
        self._thread.join(PATIENCE + TELLING + 60)
        if self._thread.is_alive() or self.problem:
            raise RuntimeError(f"the traffic didn't end well: {self.problem or 'it is still running'}")
        counted = len({entry.id for entry in self.entries})
        if not len(self.entries) == counted == self.sent:
            raise RuntimeError(
                f"{self.sent} requests were sent, and {len(self.entries)} entries of {counted} requests are there: "
                "expected one of each"
            )

    async def _run(self) -> None:
        try:
            connections = aiohttp.TCPConnector(limit=self.concurrency)
            timeout = aiohttp.ClientTimeout(total=PATIENCE)
            async with aiohttp.ClientSession(connector=connections, timeout=timeout) as session:
                sending = asyncio.create_task(self._send_all(session))
                await asyncio.gather(sending, self._tell_all(sending))
        except Exception as error:  # a thread's exception would be lost
            self.problem = self.problem or f"{type(error).__name__}: {error}"
            raise

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        """One request every 1 / rate seconds, whoever is still waiting; later where all hands are busy."""
        free = asyncio.Semaphore(self.concurrency)
        under_way: set[asyncio.Task[None]] = set()
        well, faulty = cycle(self.flights.well), cycle(self.flights.faulty)
        loop = asyncio.get_running_loop()
        due = loop.time()

        async def one(number: int, flight: Flight) -> None:
            try:
                await self._ask(session, number, flight)
            except Exception as error:  # nobody waits for a task that has ended
                self.problem = self.problem or f"request {number}: {type(error).__name__}: {error}"
            finally:
                free.release()

        while not self._over:
            await asyncio.sleep(due - loop.time())
            await free.acquire()
            self.sent += 1
            task = asyncio.create_task(one(self.sent, next(faulty if self._fault else well)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due = max(due + 1 / self.rate, loop.time() - 1)
        await asyncio.gather(*under_way)

    async def _ask(self, session: aiohttp.ClientSession, number: int, flight: Flight) -> None:
        address: Address = "suggest" if number % PEOPLE == 0 else "act"
        request = f"story-{number:06d}"
        headers = {
            "Host": self._host(address),
            "Content-Type": "application/json",
            "X-Request-Id": request,
        }
        began, blind = time.time(), 0
        entry = Entry(id=request, address=address, sent=began, ended=began, status=0, error="given up before it ended")
        try:
            body = json.dumps({"id": flight.id, "inputs": flight.inputs}, allow_nan=False)
            async with session.post(f"http://{self.address}{PATH}", data=body, headers=headers) as answer:
                text = await answer.read()
                ended = time.time()
                blind = int(answer.headers.get("Mandate-Blind-Percent", "0"))
                answered, error = _read(answer.status, text)
                entry = replace(
                    entry,
                    ended=ended,
                    status=answer.status,
                    autonomy=",".join(answer.headers.getall("Mandate-Autonomy", [])),
                    version=",".join(answer.headers.getall("Mandate-Model-Version", [])),
                    answered=answered,
                    error=error,
                )
        except Exception as error:  # whatever it was: the request was sent, and wasn't answered as it should be
            entry = replace(entry, ended=time.time(), error=f"{type(error).__name__}: {error}")
        finally:
            self.entries.append(entry)
        self._untold.extend(self._what_came_of(entry, flight, blind=blind))

    def _what_came_of(self, entry: Entry, flight: Flight, *, blind: int) -> Iterator[Object]:
        """The outcome, and where a model suggested, what a person decided: today's rule plays them.

        They see the answer first but for `blind` percent of requests, as docs/user/deciding.md has a screen do.
        """
        data = {**self.place, "requestId": entry.id, "row": 0, "time": datetime.now(UTC).isoformat()}
        yield _event("dev.mandate.outcome", {**data, "label": flight.truth, "slices": {"origin": flight.origin}})
        if entry.address == "suggest" and entry.autonomy == SAYS["suggest"]:
            shown = not is_blind(**self.place, percent=blind, request=entry.id, row=0)
            decided = {"decision": flight.rule, "by": "desk", "shown": shown}
            revision = self.revisions().get(entry.version)
            yield _event("dev.mandate.decision", {**data, **decided, **({"revision": revision} if revision else {})})

    async def _tell_all(self, sending: asyncio.Task[None]) -> None:
        """What came of requests, in batches; where the recorder can't be reached, later.

        Until `sending` has ended and all is told; raises RuntimeError where that takes more than TELLING seconds after.
        """
        loop = asyncio.get_running_loop()
        over, why = 0.0, ""
        while not sending.done() or self._untold:
            if sending.done():
                over = over or loop.time()
                if loop.time() > over + TELLING:
                    raise RuntimeError(
                        f"telling the recorder was given up after {TELLING:g} s: {len(self._untold)} events are untold "
                        f"({why or 'there were too many'})"
                    )
            await asyncio.sleep(REST)
            batch = self._untold[:400]
            if not batch:
                continue
            try:
                await asyncio.to_thread(self.tell, batch)
            except (Refused, urllib3.exceptions.HTTPError, OSError) as error:
                why = f"{type(error).__name__}: {error}"
                continue
            del self._untold[: len(batch)]
            self.told += len(batch)


def _read(status: int, text: bytes) -> tuple[str, str]:
    """Who answered, and what is wrong with the answer."""
    if status != 200:
        return "", text.decode(errors="replace")[:200]
    try:
        return who_answered(text), ""
    except ValueError as error:
        return "", f"{error}: {text[:200]!r}"


def _event(kind: str, data: Object) -> Object:
    source = "/desk" if kind.endswith("decision") else "/arrivals"
    return {"specversion": "1.0", "id": f"{data['requestId']}", "source": source, "type": kind, "data": data}
