"""`kubectl mandate compare MODEL`: the evaluations of a model that a cluster keeps, side by side."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mandate.evidence.schema import Evidence

from . import compare
from .cluster import answered, connected
from .errors import InputError
from .progress import progress

Object = dict[str, Any]


def execute(options: argparse.Namespace) -> int:
    """Read the kept evidence and compare it; returns the exit code."""
    return answered(_execute(options))


async def _execute(options: argparse.Namespace) -> int:
    outputs, declared = compare.asked(options, keep=())
    async with connected(options) as (client, namespace):
        with progress("asking the cluster"):
            named = await stored(client, options.model, namespace=namespace)
    return compare.conclude(named, declared, options, outputs)


async def stored(client: Any, model: str, *, namespace: str) -> list[tuple[str, Evidence]]:
    """Name and evidence of each of the model's evaluations whose evidence is kept. Raises InputError."""
    from mandate.controller.cache import EvidenceCache
    from mandate.controller.intake import IntakeError
    from mandate.kube.resources import MODEL_EVALUATIONS

    listing = await client.list(MODEL_EVALUATIONS, namespace=namespace)
    cache = EvidenceCache(client)
    found = []
    for name, digest in kept(listing.items, model):
        evidence = await cache.read(digest, namespace=namespace)
        if isinstance(evidence, IntakeError):
            raise InputError(f"{name}: {evidence.code}: {evidence}")
        found.append((name, evidence))
    return found


def kept(mevals: Sequence[Object], model: str) -> list[tuple[str, str]]:
    """Name and evidence digest of each of the model's evaluations whose evidence is kept whole, the oldest first.

    The name is the model's version; where several are of one version, each has its ModelEvaluation's name behind it.
    """
    ours = [
        meval
        for meval in sorted(mevals, key=lambda meval: str(meval["metadata"].get("creationTimestamp", "")))
        if meval["spec"].get("modelDeployment") == model and meval.get("status", {}).get("evidenceConfigMap")
    ]
    versions = Counter(str(meval["spec"]["model"]["version"]) for meval in ours)
    found = []
    for meval in ours:
        version = str(meval["spec"]["model"]["version"])
        name = version if versions[version] == 1 else f"{version} ({meval['metadata']['name']})"
        found.append((name, str(meval["status"]["evidenceDigest"])))
    return found
