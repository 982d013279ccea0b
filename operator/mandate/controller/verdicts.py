"""Whether a revision may act at a level, over HTTP: for the analyses of those who roll out themselves.

`GET /v1/namespaces/NAMESPACE/models/NAME/verdict?level=LEVEL&revision=REVISION` answers from what the API server has on
record at that moment, so every replica of the operator can, and an operator that works on nothing changes no answer. In
place of a revision an analysis says by which generation of the PodTemplate its Pods were made.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from mandate.api.criteria import LEVELS, Level
from mandate.api.names import GRANT_NAME, LABEL_REVISION
from mandate.controller.choice import StatusNotUnderstoodError, asked_of, status_of
from mandate.controller.conditions import find
from mandate.controller.desired import is_ours
from mandate.controller.external import template_names
from mandate.controller.serve import granted_level
from mandate.kube.client import Client
from mandate.kube.errors import ApiError, NotFoundError
from mandate.kube.resources import AUTONOMY_GRANTS, MODEL_DEPLOYMENTS, POD_TEMPLATES, Resource
from mandate.rollout.record import state_of
from mandate.rollout.state import Holder, State, rank

Object = dict[str, Any]
Word = Literal["Pass", "Fail", "Inconclusive"]

AT_ONCE = 8
"""Questions that may ask the API server at the same time; the others wait."""
PATIENCE = 5.0
"""Seconds for one answer."""
DOWNWARD = ("Halt", "Abort", "Rollback", "Pause")
"""What people ask that may take a level away, or keep it from rising."""


class TurnedError(Exception):
    """The PodTemplate names somebody else than when the Pods were made that are asked about."""


class Answer(BaseModel):
    """`Pass`: the revision may act at the level. `Fail`: it mayn't any more, take it out. `Inconclusive`: not yet."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    model: str
    level: Level
    revision: str
    version: str
    verdict: Word
    successful: bool
    """Whether the verdict is Pass."""
    message: str


def answer(
    mdep: Object, *, grant: Object | None, template: Object | None, level: Level, revision: str | None
) -> Answer:
    """The verdict on `revision`; without one, on whom the model's PodTemplate of the level names.

    Raises StatusNotUnderstoodError.
    """
    whoever = revision is None
    if revision is None:
        named = template is not None and is_ours(template, mdep)
        revision = str(template["metadata"]["labels"].get(LABEL_REVISION, "")) if template is not None and named else ""
    state = state_of(status_of(mdep))
    holder = _holder(state, revision)
    word, message = _verdict(mdep, state, holder, grant=grant, level=level, revision=revision)
    if whoever and revision and rank(holder.rung.level if holder is not None else None) < rank(level):
        word = "Fail"  # the template named it while it might act there
    refusal = state.refusal(revision)
    version = holder.version if holder is not None else refusal.version if refusal is not None else ""
    return Answer(
        namespace=mdep["metadata"]["namespace"],
        model=mdep["metadata"]["name"],
        level=level,
        revision=revision,
        version=version,
        verdict=word,
        successful=word == "Pass",
        message=message,
    )


def _holder(state: State, revision: str) -> Holder | None:
    behind = state.previous.holder if state.previous is not None and not state.previous.released else None
    every = (state.candidate, state.champion, behind)
    return next((item for item in every if item is not None and item.revision == revision), None)


def _verdict(
    mdep: Object, state: State, holder: Holder | None, *, grant: Object | None, level: Level, revision: str
) -> tuple[Word, str]:
    refusal = state.refusal(revision)
    if holder is not None and holder.leaving is not None:
        return "Fail", f"{holder.leaving.reason}: {holder.leaving.message}"
    if refusal is not None:
        return "Fail", f"{refusal.reason}: {refusal.message}"
    if state.halted is not None and rank(state.halted.level) < rank(level):
        return "Fail", f"halted by {state.halted.by}: {state.halted.why or 'no reason given'}; resume lifts it"
    if holder is None:
        if not revision:
            return "Inconclusive", f"no revision may act at {level} yet: {_held(mdep)}"
        return "Inconclusive", f"revision {revision} is neither candidate nor champion"
    if rank(holder.rung.level) < rank(level):
        if holder.fallen:
            return "Fail", f"it fell to {holder.rung} in use: {_held(mdep)}"
        return "Inconclusive", f"it stands at {holder.rung}: {_held(mdep)}"
    if rank(granted_level(grant, holder)) < rank(level):
        return "Inconclusive", f"{level} isn't in the namespace's AutonomyGrant yet"
    if (word := _unseen(mdep, state, revision)) is not None:
        return "Inconclusive", f"{word.lower()} is asked, and not seen to yet"
    if state.paused is not None and state.candidate is not None and state.candidate.revision == revision:
        return "Inconclusive", f"paused by {state.paused.by}: {state.paused.why or 'no reason given'}; resume lifts it"
    return "Pass", f"version {holder.version} may act at {holder.rung}"


def _unseen(mdep: Object, state: State, revision: str) -> str | None:
    """A verb that may take the level away, and that the operator hasn't seen to; None where there is none."""
    handled = dict(state.handled)
    asked = (ask for ask in asked_of(mdep) if ask.verb in DOWNWARD and ask.revision in ("", revision))
    return next((ask.verb for ask in asked if handled.get(ask.verb) != ask.id), None)


def _held(mdep: Object) -> str:
    """Why nobody stands higher, as the status says it."""
    condition = find(status_of(mdep).conditions, "Granted")
    return condition.message if condition is not None else "nothing is judged yet"


class Verdicts:
    """Answers from what `client` reads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._free = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Where it answers."""
        return (web.get("/v1/namespaces/{namespace}/models/{model}/verdict", self._respond),)

    async def _respond(self, request: web.Request) -> web.Response:
        namespace, model = request.match_info["namespace"], request.match_info["model"]
        asked = request.query.get("level", "Automate")
        level = next((level for level in LEVELS if level == asked), None)
        if level is None:
            return _refused(400, f"level: got {asked!r}, expected one of {', '.join(LEVELS)}")
        try:
            async with asyncio.timeout(PATIENCE), self._free:
                revision, generation = (request.query.get(name) for name in ("revision", "generation"))
                found = await self._answer(namespace, model, level, revision, generation)
        except TurnedError as error:
            return _refused(409, str(error))
        except StatusNotUnderstoodError as error:
            return _refused(503, str(error))
        except (ApiError, TimeoutError) as error:
            return _refused(503, f"the API server can't be asked: {type(error).__name__}")
        if found is None:
            return _refused(404, f"there is no ModelDeployment {namespace}/{model}")
        return web.Response(text=found.model_dump_json(), content_type="application/json")

    async def _answer(
        self, namespace: str, model: str, level: Level, revision: str | None, generation: str | None
    ) -> Answer | None:
        """Raises TurnedError where `generation` is stated, and the PodTemplate's is another."""
        # The model last: whoever rose meanwhile passes a moment later, instead of seeming to have fallen.
        named = template_names(model)[level]
        template = await self._read(POD_TEMPLATES, namespace, named) if revision is None else None
        if revision is None and generation:
            present = template["metadata"].get("generation") if template is not None else None
            if str(present) != generation:
                raise TurnedError(
                    f"generation: got {generation}, but PodTemplate {named} is at {present}: it has been turned since, "
                    "so nothing is told of the Pods that were made by it then; ask with their revision"
                )
        grant = await self._read(AUTONOMY_GRANTS, namespace, GRANT_NAME)
        mdep = await self._read(MODEL_DEPLOYMENTS, namespace, model)
        if mdep is None or mdep["metadata"].get("deletionTimestamp"):
            return None
        return answer(mdep, grant=grant, template=template, level=level, revision=revision)

    async def _read(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return await self._client.get(resource, name, namespace=namespace)
        except NotFoundError:
            return None


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
