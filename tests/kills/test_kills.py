"""The operator dies before and after each of its writes; what it leaves behind is as if it had never died.

Two processes run at a time, as with two replicas: one leads, one stands by. Whoever leads is killed with SIGKILL. Of
the Leases that the dead leave behind, some run out, which takes seconds; the others are given back for them, which
moves no more than the moment at which the other process leads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mandate.api.names import GROUP, LABEL_EVALUATION
from mandate.controller.__main__ import LEASE_NAME
from mandate.controller.plan import APPLIED
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.kube.client import Object
from mandate.kube.lease import ApiLeaseStore, Elector, LeaseSettings
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
)
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.kubelet import Ended
from tests.integration.controller.process import Operator, eventually
from tests.kills.proxy import Proxy, administrator
from tests.unit.controller.samples import evidence, mdep

REPLICAS = 2
RUNS_OUT = 20
"""Of so many Leases that dead leaders leave behind, one runs out by itself."""
REST = 6.0
"""Seconds without a write and with one living leader after which the operator is at rest; longer than a re-list."""
FLAGS = {
    # Long enough for a busy machine, where whoever can't renew in time ends.
    "lease_duration": "10",
    "renew_deadline": "8",
    "retry_period": "1",
    "resync": "4",
    "evaluation_deadline": "600",
}
KINDS = (
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    AUTONOMY_GRANTS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    SERVICES,
    NETWORK_POLICIES,
    JOBS,
)
TIME = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
FLEETING = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "clusterIP", "clusterIPs", APPLIED}
"""What differs between any two runs; APPLIED digests the owner's uid too."""


@asynccontextmanager
async def replicas(world: World, proxy: Proxy) -> AsyncIterator[Collection[str]]:
    """As many operators as a Deployment would keep: a dead one is replaced at once. Yields who lives, by name."""
    running: list[Operator] = []
    alive: dict[str, Operator] = {}

    async def start() -> None:
        victim: dict[str, Any] = {}
        kubeconfig = await proxy.door(victim, world.folder)
        name = f"operator-{len(running)}"
        process = Operator(kubeconfig, world.folder / f"{name}.log", namespace=world.namespace, identity=name, **FLAGS)
        victim["process"] = alive[name] = process
        running.append(process)

    async def replace() -> None:
        released = 0
        while True:
            await asyncio.sleep(0.1)
            for name in [name for name, process in alive.items() if process.process.poll() is not None]:
                del alive[name]
                held = await leader(world)
                if held.startswith(f"{name}_"):
                    released += 1
                    if released % RUNS_OUT:
                        await give_back(world, held)
                await start()

    for _ in range(REPLICAS):
        await start()
    replacing = asyncio.create_task(replace())
    try:
        yield alive
    finally:
        replacing.cancel()
        await asyncio.gather(replacing, return_exceptions=True)
        for process in running:
            process.kill()


async def leader(world: World) -> str:
    """Who holds the operators' Lease; empty where nobody does."""
    lease = await world.get(LEASES, LEASE_NAME) or {"spec": {}}
    return str(lease["spec"].get("holderIdentity") or "")


async def give_back(world: World, identity: str) -> None:
    """Release the Lease as that process would have, had it ended in peace."""
    store = ApiLeaseStore(world.client, name=LEASE_NAME, namespace=world.namespace)
    await Elector(store, LeaseSettings(LEASE_NAME, world.namespace, identity)).release()


async def scenario(world: World, proxy: Proxy) -> dict[str, Object]:
    """Version 1 is refused, version 2 granted and served; returns what is left when nothing moves any more."""
    async with replicas(world, proxy) as alive:
        first = mdep(namespace=world.namespace)
        await world.client.create(MODEL_DEPLOYMENTS, first)
        await world.until(
            "version 1 refused", lambda item: condition(item, "CandidateRefused")[0] == "True", seconds=1200
        )
        second = mdep(namespace=world.namespace, model__version="2")
        await world.client.merge(MODEL_DEPLOYMENTS, second)
        await world.until(
            "version 2 served", lambda item: condition(item, "Ready") == ("True", "Serving"), seconds=1200
        )
        await at_rest(world, proxy, alive)
        return await remains(world)


async def at_rest(world: World, proxy: Proxy, alive: Collection[str]) -> None:
    """Return once no write came for REST seconds, in all of which one and the same process lived and led."""
    loop = asyncio.get_running_loop()
    seen, since = (proxy.writes.total(), ""), loop.time()
    async for _ in eventually("the operator at rest", 1200):
        now = (proxy.writes.total(), await leader(world))
        if now != seen or now[1].partition("_")[0] not in alive:
            seen, since = now, loop.time()
        if loop.time() - since > REST:
            return


async def remains(world: World) -> dict[str, Object]:
    """Every object by kind and name, without what differs between any two runs."""
    found: dict[str, Object] = {}
    for kind in KINDS:
        for item in await world.all(kind):
            if kind == AUTONOMY_GRANTS:
                # One evaluation's entry goes before, after or with the coming of the next one's: as the moment has it.
                del item["metadata"]["generation"]
            found[f"{kind.kind}/{item['metadata']['name']}"] = item
    for item in await world.all(CONFIG_MAPS, selector=f"{GROUP}/record"):
        found[f"ConfigMap/{item['metadata']['name']}"] = item
    return {name: _steady(item, world.namespace) for name, item in found.items()}


def _steady(value: Any, namespace: str) -> Any:
    match value:
        case {"name": name, "value": packed} if name == SETTINGS_VARIABLE:
            return {"name": name, "value": _steady(unpack(packed), namespace)}
        case dict():
            return {name: _steady(item, namespace) for name, item in value.items() if name not in FLEETING}
        case list():
            return [_steady(item, namespace) for item in value]
        case str() if TIME.match(value):
            return "TIME"
        case str():
            return value.replace(namespace, "NAMESPACE")
        case _:
            return value


def script(pod: Object) -> Ended:
    """Version 2 is good, version 1 isn't. What the judge is told says which one it measures."""
    environment = pod["spec"]["containers"][0]["env"]
    settings = next(item["value"] for item in environment if item["name"] == SETTINGS_VARIABLE)
    version = unpack(settings)["spec"]["model"]["version"]
    return good(evidence(0.8 if version == "2" else 0.3))


async def run(cluster: Path, folder: Path, *, deadly: bool) -> tuple[Proxy, dict[str, Object], int]:
    """One run of the scenario: the proxy with its counts, what is left, and how many evaluation Pods ever ran twice."""
    upstream, tls = await administrator(cluster)
    proxy = Proxy(upstream, tls, deadly=deadly)
    await proxy.start()
    async with a_world(cluster, folder, script) as world:
        try:
            left = await scenario(world, proxy)
            pods = [pod["metadata"]["labels"][LABEL_EVALUATION] for pod in await world.all(PODS, LABEL_EVALUATION)]
            twice = len(pods) - len(set(pods)) + len(world.node.seen) - len(set(world.node.seen.values()))
        finally:
            await proxy.stop()
    return proxy, left, twice


async def test_killed_before_and_after_every_write(
    cluster: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    _, expected, _ = await run(cluster, tmp_path, deadly=False)
    proxy, left, twice = await run(cluster, tmp_path, deadly=True)

    writes, superseded = len(proxy.writes), _superseded(proxy.writes)
    double_jobs = sum(count - 1 for count in proxy.jobs_created.values()) + twice
    differing = sorted(name for name in expected.keys() | left.keys() if expected.get(name) != left.get(name))
    told = f"writes={writes} kills={proxy.kills} double_jobs={double_jobs} state_diffs={len(differing)}"
    if superseded:
        told += f" superseded={len(superseded)} (killed before it was done, then written otherwise)"
    record_property("measured", told)

    assert writes > 20, "the scenario didn't run"
    assert len(superseded) <= writes // 10, superseded
    assert proxy.kills == 2 * writes - len(superseded), [write for write, count in proxy.writes.items() if count < 2]
    assert double_jobs == 0, proxy.jobs_created
    assert differing == [], "\n".join(_lines(expected, differing, "undisturbed") + _lines(left, differing, "killed"))


def _superseded(writes: Counter[str]) -> list[str]:
    """Writes that never came a second time, where the same object was written in another form instead.

    What an operator finds after its predecessor's death may tell it more than the dead one knew: a grant that was to be
    made empty is made with the entry of an evaluation that has come by then.
    """

    def target(write: str) -> tuple[str, ...]:
        return tuple(write.split(" ", 2)[:2])

    done = {target(write) for write, count in writes.items() if count >= 2}
    return [write for write, count in writes.items() if count < 2 and target(write) in done]


def _lines(found: dict[str, Object], names: list[str], run: str) -> list[str]:
    return [f"{run}: {name} {json.dumps(found.get(name), sort_keys=True)}" for name in names]
