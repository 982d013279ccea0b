"""The provider External with the real Argo Rollouts: it promotes and aborts on our verdict, and grants still block.

Real are the API server with its controllers, the chart's policies and rights, the operator, the recorder and Argo
Rollouts under the rights of its own manifests. Pretended is the node: it makes Pods ready, and what they would have
recorded the test tells the recorder.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mandate.api.names import GRANT_NAME, LABEL_MODEL, LABEL_REVISION, LABEL_SERVES
from mandate.controller.desired import ANNOTATION_STEPPED
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.kube.client import Object
from mandate.kube.errors import ForbiddenError, InvalidError
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    POD_TEMPLATES,
    PODS,
    SERVICES,
    Resource,
)
from mandate.rollout.gateway import GONE
from tests.integration.chart.conftest import Helm
from tests.integration.chart.test_operator import NAMESPACE, account, as_node, forbidden, install
from tests.integration.conftest import ROOT
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.kubelet import Ended
from tests.integration.controller.process import eventually, operator
from tests.integration.controller.rights import KINDS, with_token
from tests.processes import free_port
from tests.recording import event, recorder, send
from tests.unit.controller.samples import SPEC, evidence, mdep

ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
ANALYSIS_TEMPLATES = Resource("argoproj.io", "v1alpha1", "analysistemplates", "AnalysisTemplate")
ANALYSIS_RUNS = Resource("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
IN_USE = {"name": "in-use", "metric": "accuracy", "rows": "live", "require": {"Automate": ">= 0.70"}}
ASKED: dict[str, Any] = {
    "gates": [*SPEC["gates"], IN_USE],
    "serving": {"provider": "External"},
    "autonomy__target": "Automate",
    "autonomy__automate": {"stepDuration": "1s"},
}
PODS_OF_ROLLOUT = 4


def hack(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="module")
def installed(chart_cluster: Path, helm: Helm) -> Path:
    """The chart, and Argo Rollouts' kinds as its module has them."""
    install(helm, chart_cluster)
    kinds = (Path(hack("module", "rollouts-controller")) / "manifests" / "crds").glob("*-crd.yaml")
    files = [part for path in kinds for part in ("--filename", str(path))]
    kubectl = (hack("build", "kubectl"), "--kubeconfig", str(chart_cluster))
    subprocess.run([*kubectl, "apply", "--server-side", *files], check=True, stdout=subprocess.DEVNULL)
    return chart_cluster


def script(pod: Object) -> Ended:
    """Every version is good on test rows; use shows what it is worth."""
    settings = next(item["value"] for item in pod["spec"]["containers"][0]["env"] if item["name"] == SETTINGS_VARIABLE)
    version = unpack(settings)["spec"]["model"]["version"]
    return good(evidence(0.97, test_rows=int(version)))


@contextmanager
def rollouts_controller(kubeconfig: Path, log: Path) -> Iterator[None]:
    """Argo Rollouts' controller as a process of this machine."""
    ports = ("--metricsPort", str(free_port()), "--healthzPort", str(free_port()))
    command = [hack("build", "rollouts-controller"), "--kubeconfig", str(kubeconfig), "--leader-elect=false", *ports]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            yield
            assert process.poll() is None, log.read_text()[-3000:]
        finally:
            process.kill()
            process.wait(10)


async def its_account(world: World, kubeconfig: Path) -> Path:
    """A kubeconfig with the rights of Argo Rollouts' own manifests, and no others."""
    manifests = Path(hack("module", "rollouts-controller")) / "manifests"
    role = yaml.safe_load((manifests / "role" / "argo-rollouts-clusterrole.yaml").read_text())
    name, namespace = "argo-rollouts", world.namespace
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    await world.client.apply(KINDS["ServiceAccount"], made)
    await world.client.apply(KINDS["ClusterRole"], role)
    binding = {
        "apiVersion": role["apiVersion"],
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    await world.client.apply(KINDS["ClusterRoleBinding"], binding)
    return await with_token(world.client, kubeconfig, namespace, name, world.folder)


class Scene:
    """One model that Argo Rollouts serves."""

    def __init__(self, world: World, *, verdicts: str, recorder: str) -> None:
        self.world = world
        self.verdicts = verdicts
        self.recorder = recorder

    async def declare(self, version: str, **more: Any) -> None:
        document = mdep(namespace=self.world.namespace, model__version=version, **ASKED | more)
        if await self.world.get(MODEL_DEPLOYMENTS, "credit") is None:
            await self.world.client.create(MODEL_DEPLOYMENTS, document)
        else:
            await self.world.client.merge(MODEL_DEPLOYMENTS, document)

    async def rollout(self, *, pause: Object) -> None:
        """The example's manifests, with shorter pauses, and an operator that listens elsewhere."""
        folder = ROOT / "examples" / "argo-rollouts"
        always, once = yaml.safe_load_all((folder / "analysis.yaml").read_text())
        always["spec"]["metrics"][0]["interval"] = "1s"
        document, service = yaml.safe_load_all((folder / "rollout.yaml").read_text())
        canary = document["spec"]["strategy"]["canary"]
        for asked in (canary["analysis"], *(step["analysis"] for step in canary["steps"] if "analysis" in step)):
            asked["args"].append({"name": "operator", "value": self.verdicts})
        for step in canary["steps"]:
            if "pause" in step:
                step["pause"] = pause
        analyses = ((ANALYSIS_TEMPLATES, always), (ANALYSIS_TEMPLATES, once))
        for resource, item in (*analyses, (ROLLOUTS, document), (SERVICES, service)):
            item["metadata"]["namespace"] = self.world.namespace
            await self.world.client.apply(resource, item)

    def verdict(self, *, generation: str) -> int:
        """The status of the answer to an analysis of Pods of this generation."""
        path = f"/v1/namespaces/{self.world.namespace}/models/credit/verdict?generation={generation}"
        try:
            with urllib.request.urlopen(f"{self.verdicts}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    async def use(self, role: str, level: str, *, right: bool, done: Callable[[Object], bool]) -> Object:
        """Answers of a revision at a level, and what came of them, until `done`."""
        async for _ in eventually(f"{role} to be used at {level}"):
            item = await self.credit()
            if done(item):
                return item
            holder = (item.get("status") or {}).get(role) or {}
            if holder.get("level") != level:
                continue
            moment = datetime.now(UTC).isoformat()
            place = {"namespace": self.world.namespace, "model": "credit", "time": moment}
            events = []
            for number in range(150):
                name = uuid.uuid4().hex
                answered = {"answer": {"label": "bad", "probability": 0.75}, "revision": holder["revision"]}
                said = {**place, "requestId": name, "row": 0}
                events.append(event("dev.mandate.prediction", said | answered, id_=f"p{name}"))
                label = "bad" if right or number % 5 == 0 else "good"
                events.append(event("dev.mandate.outcome", said | {"label": label}, id_=f"o{name}"))
            status, answer = await asyncio.to_thread(send, self.recorder, *events)
            assert (status, answer["refused"]) == (200, []), answer
            await asyncio.sleep(1)
        raise AssertionError

    async def credit(self) -> Object:
        item = await self.world.get(MODEL_DEPLOYMENTS, "credit")
        assert item is not None
        return item

    async def serving(self, level: str = "Automate") -> dict[str, int]:
        """How many Pods serve at a level, by revision."""
        found: dict[str, int] = {}
        for pod in await self.world.all(PODS, f"{LABEL_SERVES}={level}"):
            if not pod["metadata"].get("deletionTimestamp"):
                revision = pod["metadata"]["labels"][LABEL_REVISION]
                found[revision] = found.get(revision, 0) + 1
        return found

    async def runs(self, phase: str) -> list[Object]:
        return [run for run in await self.world.all(ANALYSIS_RUNS) if run.get("status", {}).get("phase") == phase]

    async def until(self, what: str, found: Callable[[Object], bool], **more: Any) -> Object:
        return await self.world.until(what, found, **more)


@asynccontextmanager
async def a_scene(installed: Path, folder: Path) -> AsyncIterator[Scene]:
    verdicts = f"127.0.0.1:{free_port()}"
    enrolled = {"mandate.dev/enforce": "Labelled"}
    (folder / "recorder").mkdir()
    async with a_world(as_node(installed), folder, script, **enrolled) as world:
        async for _ in eventually("Argo Rollouts' kinds to be served"):
            if all([await world.client.serves(kind) for kind in (ROLLOUTS, ANALYSIS_TEMPLATES, ANALYSIS_RUNS)]):
                break
        theirs = await its_account(world, installed)
        with (
            recorder(folder / "recorder" / "events.sqlite") as (url, _),
            operator(
                await account(world, installed),
                folder / "log",
                namespace=NAMESPACE,
                listen=verdicts,
                verdicts="true",
                recorder_url=url,
                live_every="1",
            ),
            rollouts_controller(theirs, folder / "rollouts.log"),
        ):
            yield Scene(world, verdicts=f"http://{verdicts}", recorder=url)


def champion(version: str) -> Callable[[Object], bool]:
    def found(item: Object) -> bool:
        status = item.get("status") or {}
        known = (status.get("champion") or {}).get("version") == version and not status.get("candidate")
        return known and condition(item, "Ready") == ("True", "Serving")

    return found


def candidate(level: str) -> Callable[[Object], bool]:
    return lambda item: ((item.get("status") or {}).get("candidate") or {}).get("level") == level


def _lost_automate(item: Object) -> bool:
    return bool(item["status"].get("refused")) or candidate("Shadow")(item)


async def test_argo_rollouts_promotes_on_pass_and_aborts_on_fail(installed: Path, tmp_path: Path) -> None:
    async with a_scene(installed, tmp_path) as scene:
        first = await _the_first_version(scene)
        second = await _promoted(scene, first)
        await _aborted(scene, second)
        await _back_and_forth(scene, second)
        assert forbidden(installed) == []


async def _the_first_version(scene: Scene) -> str:
    """Nothing runs before Automate is granted; then it serves, and is the champion."""
    await scene.rollout(pause={"duration": "2s"})
    await scene.declare("1")
    item = await scene.until("at Suggest", candidate("Suggest"))
    revision = str(item["status"]["candidate"]["revision"])
    assert await scene.world.get(POD_TEMPLATES, "credit") is None
    assert condition(item, "ServedElsewhere") == ("False", "NotServed")
    await _is_refused_at(scene, revision, "Automate", "granted Suggest")
    assert await scene.serving() == {}

    item = await scene.use("candidate", "Suggest", right=True, done=champion("1"))
    assert await scene.serving() == {revision: PODS_OF_ROLLOUT}
    assert condition(item, "ServedElsewhere") == ("True", "AsGranted")
    assert item["status"]["level"] == "Automate"
    assert await scene.world.all(DEPLOYMENTS) == ()
    assert [item["metadata"]["name"] for item in await scene.world.all(SERVICES)] == ["credit-live"]
    return revision


async def _is_refused_at(scene: Scene, revision: str, level: str, says: str) -> None:
    """A Pod exactly as granted, but at a level that it isn't granted."""
    template: Object = {}
    async for _ in eventually("it to be granted"):
        grant = await scene.world.get(AUTONOMY_GRANTS, GRANT_NAME)
        granted = grant["spec"]["grants"] if grant is not None else {}
        if revision in granted:
            template = deepcopy(granted[revision]["template"])
            break
    template["metadata"]["labels"][LABEL_SERVES] = level
    metadata = template["metadata"] | {"name": "credit-0-0", "namespace": scene.world.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    with pytest.raises((ForbiddenError, InvalidError), match=says):
        await scene.world.client.create(PODS, pod)


async def _promoted(scene: Scene, first: str) -> str:
    """The next version takes over in steps, on verdicts."""
    await scene.declare("2")
    item = await scene.use("candidate", "Suggest", right=True, done=candidate("Automate"))
    second = str(item["status"]["candidate"]["revision"])
    seen = set()
    async for _ in eventually("the rollout to be through"):
        serving = await scene.serving()
        seen.add((serving.get(first, 0) > 0, serving.get(second, 0) > 0))
        rollout = await scene.world.get(ROLLOUTS, "credit")
        assert rollout is not None
        if serving == {second: PODS_OF_ROLLOUT} and rollout["status"].get("phase") == "Healthy":
            break
    assert (True, True) in seen, "the two served side by side"
    await scene.until("the second is the champion", champion("2"))
    passed = await scene.runs("Successful")
    answers = [json.loads(one["value"]) for run in passed for one in run["status"]["metricResults"][0]["measurements"]]
    assert {(one["verdict"], one["revision"]) for one in answers} == {("Pass", second)}
    template = await scene.world.get(POD_TEMPLATES, "credit")
    assert template is not None
    assert {_generation(run) for run in passed} == {str(template["metadata"]["generation"])}
    print(f"promoted after {len(answers)} verdicts in {len(passed)} analysis runs")
    return second


def _generation(run: Object) -> str:
    """By which generation of the PodTemplate the Pods were made that an AnalysisRun is about."""
    return str(next(item["value"] for item in run["spec"]["args"] if item["name"] == "generation"))


async def _aborted(scene: Scene, second: str) -> None:
    """A version that is wrong in use loses the rollout, though nothing else would end it."""
    await scene.rollout(pause={})
    await scene.declare("3")
    item = await scene.use("candidate", "Suggest", right=True, done=candidate("Automate"))
    third = str(item["status"]["candidate"]["revision"])
    async for _ in eventually("the canary to serve"):
        if await scene.serving() == {second: PODS_OF_ROLLOUT - 1, third: 1}:
            break
    await scene.until("side by side", lambda item: condition(item, "ServedElsewhere") == ("True", "AsGranted"))

    # Once the champion is named again, the rollout forgets that it was aborted: it is watched from before the verdict.
    aborted = scene.until("aborted", lambda item: item["status"].get("abort", False), resource=ROLLOUTS)
    async with asyncio.TaskGroup() as tasks:
        abort = tasks.create_task(aborted)
        leaving = await scene.use("candidate", "Automate", right=False, done=_lost_automate)
    rollout = abort.result()
    verdict = leaving["status"]["history"][-1]
    print(json.dumps(verdict, indent=1))

    def late() -> float:
        """Seconds since the verdict, at most: the moment on record is rounded up to a whole one."""
        return time.time() - datetime.fromisoformat(verdict["at"]).timestamp() + 1

    print(f"aborted at most {late():.1f} s after the verdict: {rollout['status'].get('message')}")
    async for _ in eventually("the canary to be gone"):
        if await scene.serving() == {second: PODS_OF_ROLLOUT}:
            break
    print(f"back on the champion at most {late():.1f} s after the verdict")
    [failed] = await scene.runs("Failed")
    last = json.loads(failed["status"]["metricResults"][0]["measurements"][-1]["value"])
    assert (last["verdict"], last["revision"], last["version"]) == ("Fail", third, "3"), last
    assert "in-use" in last["message"], last

    item = await scene.until(
        "refused, and the champion serves on",
        lambda item: (
            condition(item, "CandidateRefused") == ("True", "Failed")
            and condition(item, "Ready") == ("True", "Serving")
        ),
    )
    assert item["status"]["champion"]["version"] == "2"
    # The template names the champion again, so the rollout is whole without anybody's doing.
    await scene.until(
        "the champion is named",
        lambda item: item["metadata"]["labels"][LABEL_REVISION] == second,
        resource=POD_TEMPLATES,
    )
    told = await asyncio.to_thread(scene.verdict, generation=_generation(failed))
    assert told == 409, "it is about another version now"
    await scene.until("healthy again", lambda item: item["status"].get("phase") == "Healthy", resource=ROLLOUTS)
    assert await scene.serving() == {second: PODS_OF_ROLLOUT}
    await _insisting(scene, second, third)


async def _insisting(scene: Scene, second: str, third: str) -> None:
    """Whoever rolls the refused version out again by its own template gets no Pod of it."""
    every = await scene.world.all(REPLICA_SETS)
    [old] = [item for item in every if item["spec"]["template"]["metadata"]["labels"][LABEL_REVISION] == third]
    async for _ in eventually("the refused version to leave the grant"):
        grant = await scene.world.get(AUTONOMY_GRANTS, GRANT_NAME)
        if grant is not None and set(grant["spec"]["grants"]) == {second}:
            break
    labels = old["spec"]["template"]["metadata"]["labels"]
    again: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "credit-again", "namespace": scene.world.namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": old["spec"]["template"]},
    }
    again["spec"]["template"]["metadata"]["labels"] = again["spec"]["selector"]["matchLabels"] = labels | {
        "rollouts-pod-template-hash": "again"
    }
    await scene.world.client.create(REPLICA_SETS, again)
    refused = await scene.until(
        "the API server to refuse it",
        lambda item: any(one["type"] == "ReplicaFailure" for one in item["status"].get("conditions", ())),
        resource=REPLICA_SETS,
        name="credit-again",
        seconds=60,
    )
    [failure] = [one for one in refused["status"]["conditions"] if one["type"] == "ReplicaFailure"]
    print(failure["message"])
    assert "not granted in namespace" in failure["message"]
    assert await scene.serving() == {second: PODS_OF_ROLLOUT}


async def _back_and_forth(scene: Scene, second: str) -> None:
    """The operator serves for a while, and hands over again: the addresses lead to somebody all the time."""

    async def led(address: str) -> Object:
        service = await scene.world.get(SERVICES, address)
        assert service is not None
        return dict(service["spec"]["selector"])

    ours = {LABEL_MODEL: "credit", LABEL_REVISION: second}
    theirs = {LABEL_MODEL: "credit", LABEL_SERVES: "Automate"}
    await scene.declare("3", serving={"provider": "Service"})
    for address in ("credit", "credit-suggest"):
        await scene.until("an address of ours", lambda _: True, resource=SERVICES, name=address)
        async for _ in eventually(f"{address} to lead to the operator's Pods"):
            selector = await led(address)
            assert selector in (ours, theirs)
            if selector == ours:
                break
    assert await scene.serving() == {second: PODS_OF_ROLLOUT}

    await scene.declare("3")
    async for _ in eventually("what is ours to go"):
        before = await scene.world.all(DEPLOYMENTS)
        selectors = [await led(address) for address in ("credit", "credit-suggest")]
        assert all(selector == theirs or (selector == ours and before) for selector in selectors)
        if not await scene.world.all(DEPLOYMENTS):
            break
    for address in ("credit", "credit-suggest"):
        service = await scene.world.get(SERVICES, address)
        assert service is not None
        assert service["spec"]["selector"] == theirs
        since = datetime.fromisoformat(service["metadata"]["annotations"][ANNOTATION_STEPPED])
        assert time.time() - since.timestamp() >= GONE
    await scene.until(
        "served by others",
        lambda item: (
            condition(item, "ServedElsewhere") == ("True", "AsGranted")
            and condition(item, "Ready") == ("True", "Serving")
        ),
    )
    for address in ("credit", "credit-suggest"):
        await scene.world.client.delete(SERVICES, address, namespace=scene.world.namespace)
    await scene.declare("3", autonomy__automate={"stepDuration": "2s"})
    await scene.until(
        "looked at again", lambda item: item["status"]["observedGeneration"] == item["metadata"]["generation"]
    )
    assert [item["metadata"]["name"] for item in await scene.world.all(SERVICES)] == ["credit-live"]
