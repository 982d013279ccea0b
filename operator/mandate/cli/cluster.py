"""The cluster as `kubectl mandate` reaches it."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from .errors import InputError
from .run import EXIT_NOT_JUDGED, say

Object = dict[str, Any]


class NotAnsweredError(Exception):
    """The API server couldn't be asked, or didn't answer."""


def answered(command: Coroutine[Any, Any, int]) -> int:
    """A command's exit code, where the API server answered it."""
    try:
        return asyncio.run(command)
    except NotAnsweredError as error:
        return say(str(error), code=EXIT_NOT_JUDGED)


@asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[tuple[Any, str]]:
    """A client and the namespace that `options` mean.

    Raises InputError where there is no cluster to talk to, or it says no; NotAnsweredError where it says nothing.
    """
    try:
        from kubernetes.aio.config import ConfigException

        from mandate.kube.client import connect, default_namespace
    except ImportError as error:
        raise InputError(f"{error.name} is missing; install mandate-operator[kubectl]") from None
    given = {"kubeconfig": options.kubeconfig or _kubectls(), "context": options.context}
    try:
        namespace = options.namespace or default_namespace(**given)
        client = await connect(**given, manager=AGENT, agent=AGENT)
    except (ConfigException, OSError) as error:
        raise InputError(f"no cluster to talk to: {error}; name it by --kubeconfig and --context") from None
    try:
        with _said():
            yield client, namespace
    finally:
        await client.close()


AGENT = "kubectl-mandate"


def _kubectls() -> str | None:
    """The kubeconfig that kubectl would use; None where it would ask for the Pod's own account."""
    default = Path.home() / ".kube" / "config"
    return os.environ.get("KUBECONFIG") or (str(default) if default.exists() else None)


@contextmanager
def _said() -> Iterator[None]:
    """What the API server says, as what a command ends with."""
    from mandate.kube.errors import ApiError, UnavailableError

    try:
        yield
    except UnavailableError as error:
        raise NotAnsweredError(error.message) from None
    except ApiError as error:
        raise InputError(error.message) from None


async def user_name(client: Any) -> str:
    """Who the API server takes us for."""
    from mandate.kube.resources import SELF_SUBJECT_REVIEWS

    kind = {"apiVersion": SELF_SUBJECT_REVIEWS.api_version, "kind": SELF_SUBJECT_REVIEWS.kind}
    review: Object = await client.create(SELF_SUBJECT_REVIEWS, {**kind, "metadata": {}})
    return str(review["status"]["userInfo"]["username"])
