"""What the recorder knows of a revision's use: asked over HTTP, at most once in a period."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from mandate.api.moments import stamp
from mandate.controller.cache import Recent
from mandate.controller.snapshot import LiveAnswer, LiveQuestion, LiveUnavailable
from mandate.evidence.live import Drawn, Live
from mandate.rollout.ratio import Divided

NO_RECORDER = "no recorder is configured; install the chart with recorder.enabled=true"
LIVE = {"Forecast": "Regression", "Ranking": "Regression"}
"""Tasks of whose live rows the recorder counts what it counts of another task: numbers, and how far they were off. Of a
Ranking's, which has no queries there, only how many there are says something, and no gate asks for more."""
MOST_BYTES = 4 * 2**20
"""Of one answer; 20 slices of 64 values each take less than 1 MiB, with pairs less than 2."""
NEWER = {"against": "pairs", "blindShare": "blind decisions"}
"""What the first recorders don't know, by the question's field."""
PATIENCE = 15.0
"""Seconds for one answer. A question about 200,000 predictions was seen to take 3."""
REST = 10.0
"""Seconds for which a recorder that doesn't answer is left alone: by everybody where nobody can reach it, otherwise by
whoever asked. Others wait for workers too."""
ALONE = 600.0
"""Seconds for which a revision's pairs aren't asked for, once the recorder couldn't answer with them: without them it
needs half the time, and older recorders know no such question.
"""
Answer = Live | LiveUnavailable


class _NoPairsError(Exception):
    """No answer with pairs; `late` where waiting for one took all the time that there is."""

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class LiveSource:
    """Asks the recorder at `url`; the same question gets the same answer for `every` seconds of `clock`."""

    def __init__(
        self, *, url: str, every: float, clock: Callable[[], float] = time.monotonic, size: int = 4096
    ) -> None:
        self._url = url
        self._every = every
        self._clock = clock
        self._recent: Recent[tuple[float, Answer]] = Recent(size)
        self._alone: Recent[tuple[float, str]] = Recent(size)
        self._counted: Recent[tuple[float, Drawn | LiveUnavailable]] = Recent(size)
        self._down: tuple[float, LiveUnavailable] | None = None

    async def ask(self, place: tuple[str, str], asked: LiveQuestion) -> LiveAnswer:
        """The revision's use since it came to its level; `place` is the model's namespace and name. Never raises.

        Where there was no answer with pairs, the next ones for a while are without, and say why.
        """
        holder, task = asked.holder, asked.task
        if not self._url:
            return LiveAnswer(live=LiveUnavailable(NO_RECORDER))
        if task.type == "Binary" and task.positive is None:
            why = "spec.task.positive isn't declared, so the recorder can't tell the classes apart"
            return LiveAnswer(live=LiveUnavailable(why))
        question = {"revision": holder.revision, "task": LIVE.get(task.type, task.type), "since": stamp(holder.since)}
        if task.type == "Binary":
            question["positive"] = str(task.positive)
        if asked.blind_share:
            question["blindShare"] = str(asked.blind_share)
        if asked.compared is None:
            return LiveAnswer(live=await self._known(place, question))
        identity = repr((place, sorted(question.items())))
        until, why = self._alone.get(identity) or (-math.inf, "")
        if self._clock() >= until:
            pairs = {"against": asked.compared.against, "pairsSince": asked.compared.since}
            try:
                return LiveAnswer(live=await self._known(place, question | pairs))
            except _NoPairsError as error:
                why = str(error)
                self._alone.put(identity, (self._clock() + ALONE, why))
                if error.late:
                    return LiveAnswer(live=LiveUnavailable(why), alone=why)
        return LiveAnswer(live=await self._known(place, question), alone=why)

    async def _known(self, place: tuple[str, str], question: dict[str, str]) -> Answer:
        """The answer, or the one from before while it is recent; raises _NoPairsError for none with pairs."""
        identity = repr((place, sorted(question.items())))
        known = self._recent.get(identity)
        if known is not None and self._clock() < known[0]:
            return known[1]
        if self._down is not None and self._clock() - self._down[0] < REST:
            return self._down[1]
        try:
            answer = await self._asked(place, question)
        except aiohttp.ClientConnectionError as error:
            down = self._unavailable(error)
            self._down = (self._clock(), down)
            return down
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answer = self._unavailable(error)
            if "against" in question:
                raise _NoPairsError(answer.reason, late=isinstance(error, TimeoutError)) from None
            self._recent.put(identity, (self._clock() + max(self._every, REST), answer))
            return answer
        if "against" in question and isinstance(answer, LiveUnavailable):
            raise _NoPairsError(answer.reason)
        self._recent.put(identity, (self._clock() + self._every, answer))
        return answer

    async def drawn(self, place: tuple[str, str], step: Divided) -> Drawn | LiveUnavailable:
        """Where the draws of a step led; `place` is the model's namespace and name. Never raises."""
        if not self._url:
            return LiveUnavailable(NO_RECORDER)
        if self._down is not None and self._clock() - self._down[0] < REST:
            return self._down[1]
        question = {"revisions": ",".join(step.revisions), "since": stamp(step.since)}
        identity = repr((place, sorted(question.items())))
        known = self._counted.get(identity)
        if known is not None and self._clock() < known[0]:
            return known[1]
        answer: Drawn | LiveUnavailable
        try:
            status, body = await self._got(place, "drawn", question)
            older = ", as older ones do to this question: upgrade it" if status == 404 else ""
            answer = (
                Drawn.model_validate_json(body)
                if status == 200
                else LiveUnavailable(f"the recorder at {self._url} answered {status}{older}")
            )
        except ValidationError as error:
            answer = LiveUnavailable(f"the recorder's answer isn't understood ({error.error_count()} fields)")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answer = self._unavailable(error)
        self._counted.put(identity, (self._clock() + max(self._every, REST), answer))
        return answer

    def _unavailable(self, error: Exception) -> LiveUnavailable:
        late = f" within {PATIENCE:g} s" if isinstance(error, TimeoutError) else ""
        return LiveUnavailable(f"the recorder at {self._url} can't be asked{late}: {type(error).__name__}")

    async def _asked(self, place: tuple[str, str], question: dict[str, str]) -> Answer:
        status, body = await self._got(place, "live", question)
        if status != 200:
            about = next((words for field, words in NEWER.items() if field in question), "")
            older = status == 400 and about
            hint = f" to a question about {about}, which older ones don't know: upgrade it" if older else ""
            return LiveUnavailable(f"the recorder at {self._url} answered {status}{hint}")
        return _live(body, question)

    async def _got(self, place: tuple[str, str], what: str, question: dict[str, str]) -> tuple[int, bytes]:
        namespace, model = (quote(part, safe="") for part in place)
        url = f"{self._url}/v1/namespaces/{namespace}/models/{model}/{what}"
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(url, params=question, allow_redirects=False) as response,
        ):
            return response.status, await _bounded(response)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in response.content.iter_chunked(65_536):
        body += part
        if len(body) > MOST_BYTES:
            raise ValueError("the answer is too long")
    return body


def _live(body: bytes, question: dict[str, str]) -> Answer:
    try:
        live = Live.model_validate_json(body)
    except ValidationError as error:
        return LiveUnavailable(f"the recorder's answer isn't understood ({error.error_count()} fields)")
    names = ("revision", "task", "positive", "against")
    said = (live.revision, live.task, live.positive, live.against)
    if said != tuple(map(question.get, names)) or live.blind_share != int(question.get("blindShare", "0")):
        return LiveUnavailable("the recorder answered another question")
    return live
