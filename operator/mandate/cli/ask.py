"""`kubectl mandate VERB MODEL`: ask, wait until the operator has seen to it, say what came of it."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from mandate.api.asks import Ask, AskError, VerbName, annotation, compose

from .cluster import answered, connected, user_name
from .errors import InputError
from .ladder import history, sentence
from .progress import progress
from .run import EXIT_HOLDS, EXIT_NOT_JUDGED, EXIT_REFUSED, clean, say

Object = dict[str, Any]
POLL = 0.5
"""Seconds between two looks at the status."""


def execute(options: argparse.Namespace) -> int:
    """Ask, and report."""
    return answered(_execute(options, identity=secrets.token_hex(4)))


async def _execute(options: argparse.Namespace, *, identity: str) -> int:
    from mandate.kube.resources import MODEL_DEPLOYMENTS

    async with connected(options) as (client, namespace):
        with progress("asking the cluster"):
            ask = wanted(options, identity=identity, user=await user_name(client))
            place = {"name": options.model, "namespace": namespace}
            change = {"metadata": {**place, "annotations": {annotation(ask.verb): compose(ask)}}}
            before = await client.merge(MODEL_DEPLOYMENTS, change)
        print(clean(f"{namespace}/{options.model}: {ask.verb.lower()} asked by {ask.by}"), flush=True)
        if options.wait == 0:
            return EXIT_HOLDS

        async def read() -> Object:
            item: Object = await client.get(MODEL_DEPLOYMENTS, options.model, namespace=namespace)
            return item

        with progress("waiting for the operator"):
            after = await seen_to(read, ask, seconds=options.wait)
    if after is None:
        return say(
            f"not seen to within {options.wait:g} s: is the operator running? It will be seen to when it does",
            code=EXIT_NOT_JUDGED,
        )
    code, lines = outcome(before, after, ask)
    for line in lines:
        print(clean(line))
    return code


def wanted(options: argparse.Namespace, *, identity: str, user: str) -> Ask:
    """What the command line asks in `user`'s name; raises InputError where no annotation can say so."""
    verb: VerbName = options.verb.capitalize()
    level: Literal["Shadow"] | None = "Shadow" if options.level == "Shadow" else None
    ask = Ask(verb=verb, id=identity, by=user, why=options.why, revision=options.revision, level=level)
    try:
        compose(ask)
    except AskError as error:
        raise InputError(str(error)) from None
    return ask


async def seen_to(read: Callable[[], Awaitable[Object]], ask: Ask, *, seconds: float) -> Object | None:
    """The ModelDeployment once its status says that `ask` was seen to; None where it doesn't within `seconds`."""
    from mandate.kube.errors import UnavailableError

    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while True:
        try:
            item = await read()
        except UnavailableError:
            item = {}  # asked it is; the API server may be back in time
        if ((item.get("status") or {}).get("handled") or {}).get(ask.verb) == ask.id:
            return item
        if clock() >= end:
            return None
        await asyncio.sleep(min(POLL, max(0.0, end - clock())))


def outcome(before: Object, after: Object, ask: Ask) -> tuple[int, tuple[str, ...]]:
    """The exit code, and what changed since `before` in words."""
    from mandate.controller.events import transitions

    news = transitions(history(before), history(after))
    prefix = f"{ask.verb.lower()}: "
    ignored = any(
        entry["what"] == "Ignored" and entry["by"] == ask.by and entry.get("why", "").startswith(prefix)
        for entry in news
    ) or (ask.verb == "Drill" and any(entry["what"] == "DrillFailed" for entry in news))
    lines = tuple(sentence(entry) for entry in news) or ("seen to; nothing changed",)
    return EXIT_REFUSED if ignored else EXIT_HOLDS, lines
