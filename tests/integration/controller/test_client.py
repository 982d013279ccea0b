"""The client against a real API server: what it sends is understood, what comes back has the right type."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from mandate.kube.client import connect
from mandate.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from mandate.kube.resources import CONFIG_MAPS, LEASES, PODS
from tests.integration.controller.conftest import a_world, good
from tests.integration.controller.kubelet import NODE, now
from tests.integration.controller.process import eventually
from tests.unit.controller.samples import evidence


def config_map(name: str, namespace: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


async def test_objects_live_and_die(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        client, namespace = world.client, world.namespace
        dry = await client.create(CONFIG_MAPS, config_map("a", namespace), dry_run=True)
        assert dry["metadata"]["uid"]
        with pytest.raises(NotFoundError):
            await client.get(CONFIG_MAPS, "a", namespace=namespace)

        made = await client.create(CONFIG_MAPS, config_map("a", namespace, x="1"))
        with pytest.raises(AlreadyExistsError):
            await client.create(CONFIG_MAPS, config_map("a", namespace))
        with pytest.raises(InvalidError, match=r"metadata\.name"):
            await client.create(CONFIG_MAPS, config_map("A", namespace))

        changed = await client.replace(CONFIG_MAPS, {**made, "data": {"x": "2"}})
        with pytest.raises(ConflictError):
            await client.replace(CONFIG_MAPS, {**made, "data": {"x": "3"}})
        assert changed["data"] == {"x": "2"}

        with pytest.raises(ConflictError):
            await client.delete(CONFIG_MAPS, "a", namespace=namespace, uid="another")
        version = made["metadata"]["resourceVersion"]
        with pytest.raises(ConflictError):
            await client.delete(CONFIG_MAPS, "a", namespace=namespace, resource_version=version)
        await client.delete(CONFIG_MAPS, "a", namespace=namespace, uid=made["metadata"]["uid"])
        with pytest.raises(NotFoundError):
            await client.delete(CONFIG_MAPS, "a", namespace=namespace)


async def test_apply_states_the_whole_of_what_is_ours(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        client, namespace = world.client, world.namespace
        await client.create(CONFIG_MAPS, config_map("theirs", namespace, other="kept"))
        await client.apply(CONFIG_MAPS, config_map("theirs", namespace, x="1", y="1"))
        item = await client.apply(CONFIG_MAPS, config_map("theirs", namespace, x="2"))
        assert item["data"] == {"other": "kept", "x": "2"}
        again = await client.apply(CONFIG_MAPS, config_map("theirs", namespace, x="2"))
        assert again["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]
        stranger = config_map("theirs", namespace, x="3")
        stranger["metadata"] = {"name": "theirs", "namespace": namespace, "uid": "another"}
        with pytest.raises(InvalidError, match="uid"):
            await client.apply(CONFIG_MAPS, stranger)


async def test_lists_are_read_page_by_page(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8))) as world:
        client, namespace = world.client, world.namespace
        for index in range(7):
            item = config_map(f"c{index}", namespace)
            item["metadata"] = {"name": f"c{index}", "namespace": namespace, "labels": {"odd": str(index % 2)}}
            await client.create(CONFIG_MAPS, item)
        listing = await client.list(CONFIG_MAPS, namespace=namespace, selector="odd", page_size=2)
        assert [item["metadata"]["name"] for item in listing.items] == [f"c{index}" for index in range(7)]
        assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
        assert int(listing.resource_version) > 0
        odd = await client.list(CONFIG_MAPS, namespace=namespace, selector="odd=1")
        assert len(odd.items) == 3


async def test_only_the_end_of_a_log_is_kept(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: None) as world:
        container = {"name": "judge", "image": "x@sha256:" + "0" * 64}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "chatty", "namespace": world.namespace},
            "spec": {"containers": [container], "nodeName": NODE, "automountServiceAccountToken": False},
        }
        async for _ in eventually("the namespace's service account"):
            with contextlib.suppress(ForbiddenError):
                await world.client.create(PODS, pod)
                break
        world.node.logs["chatty"] = b"".join(b"%07d\n" % index for index in range(1_000_000)) + now().encode()

        async def tail(*, lines: int, keep: int, read_at_most: int = 1 << 20) -> bytes:
            return await world.client.log_tail(
                "chatty",
                namespace=world.namespace,
                container="judge",
                lines=lines,
                keep=keep,
                read_at_most=read_at_most,
            )

        assert (await tail(lines=3, keep=1000)).startswith(b"0999998\n0999999\n2")
        whole = world.node.logs["chatty"]
        assert await tail(lines=10_000, keep=50_000) == whole[-50_000:]
        with pytest.raises(InvalidError, match="longer than"):
            await tail(lines=500_000, keep=1000)


async def test_no_answer_in_time_is_unavailable(cluster: Path) -> None:
    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    client = await connect(kubeconfig=str(cluster), request_timeout=0.5)
    try:
        client._transport.configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(UnavailableError, match=r"no answer within 0\.5 s"):
            await client.get(LEASES, "a", namespace="b")
        server.close()
        client._transport.configuration.host = "http://127.0.0.1:1"
        with pytest.raises(UnavailableError):
            await client.get(LEASES, "a", namespace="b")
    finally:
        await client.close()
