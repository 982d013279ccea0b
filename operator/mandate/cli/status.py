"""`kubectl mandate status MODEL`: who stands where, what is missing, what happened last."""

from __future__ import annotations

import argparse

from .cluster import answered, connected
from .ladder import lines
from .progress import progress
from .run import EXIT_HOLDS, clean


def execute(options: argparse.Namespace) -> int:
    """Read the ModelDeployment and print it."""
    return answered(_execute(options))


async def _execute(options: argparse.Namespace) -> int:
    from mandate.kube.resources import MODEL_DEPLOYMENTS

    async with connected(options) as (client, namespace):
        with progress("asking the cluster"):
            mdep = await client.get(MODEL_DEPLOYMENTS, options.model, namespace=namespace)
    for line in lines(mdep):
        print(clean(line))
    return EXIT_HOLDS
