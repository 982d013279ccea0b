"""`kubectl mandate status MODEL`: who stands where, what is missing, what happened last."""

from __future__ import annotations

import argparse
import asyncio

from .cluster import NotAnsweredError, connected
from .ladder import lines
from .run import EXIT_HOLDS, EXIT_NOT_JUDGED, clean, say


def execute(options: argparse.Namespace) -> int:
    """Read the ModelDeployment and print it."""
    try:
        return asyncio.run(_execute(options))
    except NotAnsweredError as error:
        return say(str(error), code=EXIT_NOT_JUDGED)


async def _execute(options: argparse.Namespace) -> int:
    from mandate.kube.resources import MODEL_DEPLOYMENTS

    async with connected(options) as (client, namespace):
        mdep = await client.get(MODEL_DEPLOYMENTS, options.model, namespace=namespace)
    for line in lines(mdep):
        print(clean(line))
    return EXIT_HOLDS
