"""When a model was first seen, on a real API server: written once, by its clock, and by nobody else's word."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mandate.controller.first_seen import FirstSeen
from mandate.kube.errors import InvalidError, UnavailableError
from mandate.kube.resources import CONFIG_MAPS
from tests.integration.controller.conftest import a_world, good
from tests.unit.controller.samples import MODEL_DIGEST, evidence

FORGED = "2001-01-01T00:00:00Z"


class Killed:
    """A client that dies right after a write has reached the API server."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def create(self, *arguments: Any, **options: Any) -> None:
        await self._client.create(*arguments, **options)
        raise UnavailableError("killed")


@pytest.mark.row("G5/by-time")
async def test_it_is_written_once_and_dated_by_the_api_server(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        client, namespace = world.client, world.namespace
        with pytest.raises(UnavailableError):
            await FirstSeen(Killed(client), namespace=namespace).see(MODEL_DIGEST)  # type: ignore[arg-type]
        found = await client.list(CONFIG_MAPS, namespace=namespace, selector="mandate.dev/record=FirstSeen")
        (entry,) = found.items
        name, time = entry["metadata"]["name"], entry["metadata"]["creationTimestamp"]

        await asyncio.sleep(1.1)  # its clock shows whole seconds: a second entry would have another time
        operators = [FirstSeen(client, namespace=namespace) for _ in range(3)]
        assert await asyncio.gather(*(each.see(MODEL_DIGEST) for each in operators)) == [time] * 3
        again = FirstSeen(client, namespace=namespace)
        await again.load()
        assert dict(again.times) == {MODEL_DIGEST: time}

        for change in ({"data": {"digest": "sha256:" + "f" * 64}}, {"immutable": False}):
            with pytest.raises(InvalidError, match="immutable"):
                await client.replace(CONFIG_MAPS, entry | change)
        dated = entry | {"metadata": entry["metadata"] | {"creationTimestamp": FORGED}}
        assert (await client.replace(CONFIG_MAPS, dated))["metadata"]["creationTimestamp"] == time

        await client.delete(CONFIG_MAPS, name, namespace=namespace)
        fresh = {"name": name, "namespace": namespace, "labels": entry["metadata"]["labels"]}
        forged = {**entry, "metadata": fresh | {"creationTimestamp": FORGED}}
        made = await client.create(CONFIG_MAPS, forged)
        assert made["metadata"]["creationTimestamp"] > time, "made anew, it is later: it shows less, not more"
