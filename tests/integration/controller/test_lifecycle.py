"""Versions come and go on a real API server: the champion serves on, verdicts follow criteria, drift is undone."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

from mandate.api.moments import age
from mandate.api.names import ANNOTATION_RETRY, GRANT_NAME, LABEL_ENFORCE, LABEL_RECORD, LABEL_REVISION
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.kube.client import Object
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    NETWORK_POLICIES,
    PODS,
    SERVICES,
    Resource,
)
from tests.integration.controller.conftest import World, a_world, condition, good
from tests.integration.controller.kubelet import Ended
from tests.integration.controller.process import IMAGE, eventually, operator
from tests.unit.controller.samples import evidence, mdep

AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
ACCURACY = {"worst": 0.1, "worse": 0.2, "bad": 0.3, "shadow": 0.6, "suggest": 0.8, "better": 0.85, "automate": 0.97}


def script(pod: Object) -> Ended:
    """A version shows what it is called."""
    environment = pod["spec"]["containers"][0]["env"]
    settings = next(item["value"] for item in environment if item["name"] == SETTINGS_VARIABLE)
    return good(evidence(ACCURACY[unpack(settings)["spec"]["model"]["version"]]))


def serving(version: str) -> object:
    def found(item: Object) -> bool:
        champion = (item.get("status") or {}).get("champion") or {}
        return champion.get("version") == version and condition(item, "Ready") == ("True", "Serving")

    return found


async def apply(world: World, **changes: object) -> None:
    document = mdep(namespace=world.namespace, **changes)
    try:
        await world.client.create(MODEL_DEPLOYMENTS, document)
    except Exception:
        await world.client.merge(MODEL_DEPLOYMENTS, document)


async def selected(world: World, service: str) -> str:
    item = await world.get(SERVICES, service)
    assert item is not None
    return str(item["spec"]["selector"].get(LABEL_REVISION, ""))


async def test_the_champion_serves_while_the_next_is_refused_and_until_one_takes_over(
    cluster: Path, tmp_path: Path
) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await apply(world, model__version="suggest")
            item = await world.until("the first serves", serving("suggest"))
            first = item["status"]["champion"]["revision"]

            await apply(world, model__version="bad")
            item = await world.until(
                "the second is refused", lambda item: condition(item, "CandidateRefused")[0] == "True"
            )
            assert condition(item, "Ready") == ("True", "Serving")
            assert condition(item, "Stalled")[0] == "False"
            assert item["status"]["level"] == "Suggest"
            assert item["status"]["refused"][0]["version"] == "bad"
            assert await selected(world, "credit-suggest") == first

            await apply(world, model__version="better", autonomy__automate={"stepDuration": "0s"})
            item = await world.until("the third takes over", serving("better"))
            third = item["status"]["champion"]["revision"]
            async for _ in eventually("traffic moves, then the first is gone"):
                left = {entry["metadata"]["labels"][LABEL_REVISION] for entry in await world.all(DEPLOYMENTS)}
                grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
                assert grant is not None
                if left == {third} and set(grant["spec"]["grants"]) == {third}:
                    break
            assert await selected(world, "credit-suggest") == third
            assert len(await world.all(CONTROLLER_REVISIONS)) == 3

            # Whoever applies a refused version again and again, as GitOps does, makes nothing happen.
            measured = dict(world.node.seen)
            await apply(world, model__version="bad")
            await world.until("the second is refused still", refused("bad"))
            await at_rest(world)
            item = await credit(world)
            assert refused("bad")(item)
            assert serving("better")(item)
            assert [entry["version"] for entry in item["status"]["refused"]].count("bad") == 1
            assert world.node.seen == measured, "no Job ran anew"
            assert len(await world.all(MODEL_EVALUATIONS)) == 3
            assert set(await granted(world)) == {third}

            await apply(world, model__version="suggest")
            await world.until("back to the first", serving("suggest"))
            assert len(await world.all(MODEL_EVALUATIONS)) == 3, "what was measured isn't measured again"


async def test_the_champion_to_fall_back_on_stays_granted_until_its_successor_has_held(
    cluster: Path, tmp_path: Path
) -> None:
    async with a_world(cluster, tmp_path, script, **{LABEL_ENFORCE: "Labelled"}) as world:
        # Re-lists come too late to help: what happens here, the operator comes back for by itself.
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, resync="3600"):
            await apply(world, model__version="suggest")
            item = await world.until("the first serves", serving("suggest"))
            first = item["status"]["champion"]["revision"]

            await apply(world, model__version="better")
            item = await world.until("its successor answers", answers_alone)
            second = item["status"]["champion"]["revision"]
            assert item["status"]["previous"]["revision"] == first
            async for _ in eventually("nothing of the first runs any more"):
                if await running(world) == {second}:
                    break
            assert await granted(world) == {first, second}
            await at_rest(world)
            assert await granted(world) == {first, second}

            await apply(world, model__version="better", autonomy__automate={"stepDuration": "1s"})
            item = await world.until("the successor has held", has_held)
            async for _ in eventually("the first leaves"):
                if await granted(world) == {second}:
                    break

            (pod,) = await world.all(PODS, f"{LABEL_REVISION}={second}")
            name = pod["metadata"]["name"]
            await hold(world, name, "tests/still-serving")
            await apply(world, model__version="automate", autonomy__automate={"stepDuration": "2s"})
            item = await world.until("the third takes over", serving("automate"))
            third = item["status"]["champion"]["revision"]
            await world.until("the third has held", has_held)
            async for _ in eventually("the second's Deployment is deleted"):
                if await running(world) == {third}:
                    break
            await at_rest(world)
            assert await granted(world) == {second, third}, "a Pod of the second is still there"
            await hold(world, name)
            async for _ in eventually("with its last Pod the second leaves"):
                if await granted(world) == {third}:
                    break


def has_held(item: Object) -> bool:
    return bool(item["status"].get("previous", {}).get("released"))


def answers_alone(item: Object) -> bool:
    return bool(item["status"].get("previous", {}).get("replaced"))


async def granted(world: World) -> set[str]:
    """The revisions in the grant."""
    grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
    return set(grant["spec"]["grants"]) if grant is not None else set()


async def running(world: World) -> set[str]:
    """The revisions that have a Deployment."""
    return {item["metadata"]["labels"][LABEL_REVISION] for item in await world.all(DEPLOYMENTS)}


async def hold(world: World, pod: str, *finalizers: str) -> None:
    """Keep a Pod from going away, or let it."""
    metadata = {"name": pod, "namespace": world.namespace, "finalizers": list(finalizers)}
    await world.client.merge(PODS, {"metadata": metadata})


async def test_an_autoscaler_is_left_alone_unless_replicas_are_declared(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, resync="2"):
            await apply(world, model__version="suggest")
            item = await world.until("served", serving("suggest"))
            name = f"credit-{item['status']['champion']['revision'][:10]}"
            scaler = {
                "apiVersion": AUTOSCALERS.api_version,
                "kind": AUTOSCALERS.kind,
                "metadata": {"name": "credit", "namespace": world.namespace},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "minReplicas": 3,
                    "maxReplicas": 5,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                        }
                    ],
                },
            }
            await world.client.create(AUTOSCALERS, scaler)
            three = {"resource": DEPLOYMENTS, "name": name}
            await world.until("it scales", lambda item: item["spec"]["replicas"] == 3, **three)
            await at_rest(world)
            await world.until("and is left alone", lambda item: item["spec"]["replicas"] == 3, **three)

            await world.client.delete(AUTOSCALERS, "credit", namespace=world.namespace)
            await apply(world, model__version="suggest", serving__replicas=2)
            await world.until("what is declared holds", lambda item: item["spec"]["replicas"] == 2, **three)
            await world.client.merge(
                DEPLOYMENTS, {"metadata": {"name": name, "namespace": world.namespace}, "spec": {"replicas": 4}}
            )
            await world.until("and is restored", lambda item: item["spec"]["replicas"] == 2, **three)

            await world.client.merge(
                MODEL_DEPLOYMENTS,
                {"metadata": {"name": "credit", "namespace": world.namespace}, "spec": {"serving": {"replicas": None}}},
            )
            await at_rest(world)
            await world.until("taken out, it stays", lambda item: item["spec"]["replicas"] == 2, **three)
            await world.client.create(AUTOSCALERS, scaler)
            await world.until("until the autoscaler scales again", lambda item: item["spec"]["replicas"] == 3, **three)
            await at_rest(world)
            await world.until("and is left alone again", lambda item: item["spec"]["replicas"] == 3, **three)


async def test_criteria_are_judged_anew_without_measuring_again(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await apply(world, model__version="suggest")
            await world.until("served", serving("suggest"))
            (before,) = await world.all(MODEL_EVALUATIONS)

            stricter = [{"name": "accurate", "metric": "accuracy", "burden": "Shown", "require": {"Shadow": ">= 0.9"}}]
            await apply(world, model__version="suggest", gates=stricter)
            item = await world.until("demoted", lambda item: condition(item, "Stalled") == ("True", "CandidateRefused"))
            assert "champion" not in item["status"]
            assert item["status"]["look"] == 2
            assert condition(item, "CriteriaChanged")[0] == "True"
            async for _ in eventually("nothing serves any more"):
                if not await world.all(DEPLOYMENTS) and await selected(world, "credit-suggest") == "none":
                    break
            assert [entry["metadata"]["uid"] for entry in await world.all(MODEL_EVALUATIONS)] == [
                before["metadata"]["uid"]
            ]

            slices = [{"name": "age", "column": "age"}]
            await apply(world, model__version="suggest", data__slices=slices)
            await world.until("measured anew and served", serving("suggest"))
            assert len(await world.all(MODEL_EVALUATIONS)) == 2


async def test_evidence_is_kept_for_the_last_three_and_the_champion_and_made_again_where_it_is_needed(
    cluster: Path, tmp_path: Path
) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace) as process:
            await apply(world, model__version="suggest")
            await world.until("served", serving("suggest"))
            for version in ("bad", "worse", "worst", "shadow"):
                await apply(world, model__version=version)
                await world.until(f"{version} judged", judged(version))
            async for _ in eventually("only what is kept is stored"):
                if set(await stored(world)) == {"suggest", "worse", "worst", "shadow"}:
                    break
            for evaluation in await world.all(MODEL_EVALUATIONS):
                assert evaluation["status"]["evidence"], "the summary stays"
            await at_rest(world)

            await apply(world, model__version="bad")
            await world.until("measured again and refused again", refused("bad"))
            first, again = await measurements(world, "bad")
            assert "digest" not in first["spec"]["data"]["source"]
            learnt = {"source": again["spec"]["data"]["source"]["digest"]}
            assert learnt == first["status"]["dataDigests"], "it must be the very same rows"
            async for _ in eventually("the last three are others now"):
                if set(await stored(world)) == {"suggest", "worst", "shadow", "bad"}:
                    break
            assert await asyncio.to_thread(process.stop) == 0

        # A fresh process, which has nothing in memory.
        lost = (await stored(world))["suggest"]
        await world.client.delete(CONFIG_MAPS, lost, namespace=world.namespace)
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await apply(world, model__version="suggest")
            async for _ in eventually("the champion's evidence is back"):
                if "suggest" in await stored(world) and serving("suggest")(await credit(world)):
                    break


def judged(version: str) -> Callable[[Object], bool]:
    def found(item: Object) -> bool:
        status = item.get("status") or {}
        named = (status.get("candidate") or {}).get("version") == version
        return named and condition(item, "Evaluated")[0] == "True"

    return found


def refused(version: str) -> Callable[[Object], bool]:
    return lambda item: judged(version)(item) and condition(item, "CandidateRefused")[0] == "True"


async def credit(world: World) -> Object:
    item = await world.get(MODEL_DEPLOYMENTS, "credit")
    assert item is not None
    return item


async def measurements(world: World, version: str) -> list[Object]:
    """The measurements of a version, the first one first."""
    found = [item for item in await world.all(MODEL_EVALUATIONS) if item["spec"]["model"]["version"] == version]
    return sorted(found, key=age)


async def stored(world: World) -> dict[str, str]:
    """By version, the record of its evidence: each immutable, compressed, and what the ModelEvaluation says it is."""
    records = {item["metadata"]["name"]: item for item in await world.all(CONFIG_MAPS, f"{LABEL_RECORD}=Evidence")}
    found = {}
    for evaluation in await world.all(MODEL_EVALUATIONS):
        status = evaluation.get("status") or {}
        record = records.pop(status.get("evidenceConfigMap", ""), None)
        if record is not None:
            assert record["immutable"] is True
            whole = gzip.decompress(base64.b64decode(record["binaryData"]["evidence.json.gz"]))
            assert "sha256:" + hashlib.sha256(whole).hexdigest() == status["evidenceDigest"]
            found[evaluation["spec"]["model"]["version"]] = record["metadata"]["name"]
    # What no evaluation names is on its way in, or out.
    return found | {name: name for name in records}


async def test_a_candidate_is_measured_beside_the_champion_each_with_what_serves_it_also_after_an_upgrade(
    cluster: Path, tmp_path: Path
) -> None:
    seen: dict[str, dict[str, str]] = {}

    def beside(pod: Object) -> Ended:
        containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
        seen[pod["metadata"]["name"]] = {container["name"]: container["image"] for container in containers}
        return script(pod)

    compared = {"name": "keeps", "metric": "accuracy", "require": {"Shadow": "no worse than champion by 0.5"}}
    gates = [*mdep()["spec"]["gates"], {**compared, "firstModel": "Skip"}]
    async with a_world(cluster, tmp_path, beside) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace) as process:
            await apply(world, model__version="suggest", gates=gates)
            earned = (await world.until("served", serving("suggest")))["status"]["champion"]["evaluation"]
            assert await asyncio.to_thread(process.stop) == 0
        first = await served_by(world, "suggest")
        upgraded = {f"{role}_image": IMAGE.format(f"{role}-2") for role in ("judge", "predictor")}
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, **upgraded):
            await apply(world, model__version="suggest", gates=gates, data__slices=[{"name": "age", "column": "age"}])
            await world.until("measured anew and still served", lambda item: serves_by_another(item, earned))
            await apply(world, model__version="better", gates=gates)
            await world.until("measured and judged", judged("better"))
            await apply(world, model__version="better")
            await world.until("not compared any more, it serves", serving("better"))
            second = await served_by(world, "better")
    ran = list(seen.values())
    judges = [IMAGE.format(name) for name in ("judge", "judge-2", "judge-2", "judge-2")]
    assert [pod.pop("judge") for pod in ran] == judges
    assert first == {"fetch": IMAGE.format("judge"), "predictor": IMAGE.format("predictor")}
    assert second == {"fetch": IMAGE.format("judge-2"), "predictor": IMAGE.format("predictor-2")}
    assert ran == [first, first, second | {"champion": first["predictor"]}, second]


def serves_by_another(item: Object, evaluation: str) -> bool:
    """Whether the champion serves, and by another measurement."""
    return bool(serving("suggest")(item)) and item["status"]["champion"]["evaluation"] != evaluation


async def served_by(world: World, version: str) -> dict[str, str]:
    """Container by container, the image that a version is served with."""
    (revision,) = {item["spec"]["revision"] for item in await measurements(world, version)}
    deployment = await world.get(DEPLOYMENTS, f"credit-{revision[:10]}")
    assert deployment is not None
    pod = deployment["spec"]["template"]["spec"]
    return {container["name"]: container["image"] for container in (*pod["initContainers"], *pod["containers"])}


async def test_a_retry_measures_a_refused_revision_again(cluster: Path, tmp_path: Path) -> None:
    improved: list[bool] = []
    async with a_world(cluster, tmp_path, lambda _: good(evidence(0.8 if improved else 0.3))) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            await apply(world)
            await world.until("refused", lambda item: condition(item, "Stalled") == ("True", "CandidateRefused"))
            improved.append(True)
            metadata = {"name": "credit", "namespace": world.namespace, "annotations": {ANNOTATION_RETRY: "1"}}
            await world.client.merge(MODEL_DEPLOYMENTS, {"metadata": metadata})
            await world.until("served", serving("1"))

            # A new generation goes with it: once that was looked at, so was the annotation, and a measurement was made.
            metadata["annotations"] = {ANNOTATION_RETRY: "2"}
            spec = {"useCase": {"owner": "somebody else"}}
            generation = (await world.client.merge(MODEL_DEPLOYMENTS, {"metadata": metadata, "spec": spec}))[
                "metadata"
            ]["generation"]
            await world.until("it was seen", lambda item: item["status"]["observedGeneration"] == generation)
            assert len(await world.all(MODEL_EVALUATIONS)) == 2, "what stands isn't measured again"


async def test_the_fallback_answers_until_a_model_may(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace):
            fallback = {"serviceRef": {"name": "scorecard", "port": 80}}
            await apply(world, model__version="suggest", useCase__fallback=fallback)
            item = await world.until("served", serving("suggest"))
            assert condition(item, "FallbackReady")[0] == "False"
            spec = {"selector": {"app": "scorecard"}, "ports": [{"port": 80, "targetPort": 8000}]}
            scorecard = {"metadata": {"name": "scorecard", "namespace": world.namespace}, "spec": spec}
            await world.client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **scorecard})
            automate = await world.until(
                "the fallback answers where the model may not",
                lambda item: item["spec"]["selector"] == {"app": "scorecard"},
                resource=SERVICES,
            )
            assert automate["spec"]["ports"][0]["targetPort"] == 8000
            suggest = await world.get(SERVICES, "credit-suggest")
            assert suggest is not None
            assert suggest["spec"]["ports"][0]["targetPort"] == "http"

            await apply(
                world,
                model__version="automate",
                autonomy__target="Automate",
                autonomy__automate={"stepDuration": "0s"},
                useCase__fallback=fallback,
            )
            await world.until("the model acts", serving("automate"))
            async for _ in eventually("both addresses lead to the model"):
                if await selected(world, "credit") == await selected(world, "credit-suggest") != "":
                    break


async def test_drift_is_undone_and_nothing_is_written_at_rest(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, script, **{LABEL_ENFORCE: "Labelled"}) as world:
        with operator(world.kubeconfig, tmp_path / "log", namespace=world.namespace, resync="2") as process:
            await apply(world, model__version="suggest")
            item = await world.until("served", serving("suggest"))
            assert condition(item, "Enforced") == ("True", "Labelled")
            name = f"credit-{item['status']['champion']['revision'][:10]}"
            deployment = await world.get(DEPLOYMENTS, name)
            assert deployment is not None
            containers = deployment["spec"]["template"]["spec"]["containers"]
            containers[0]["image"] = "registry.example/evil@sha256:" + "6" * 64
            # Whatever was written to it meanwhile: the Deployment's controller and the operator write too.
            del deployment["metadata"]["resourceVersion"]
            await world.client.replace(DEPLOYMENTS, deployment)
            await world.until(
                "the image is as granted",
                lambda item: "evil" not in item["spec"]["template"]["spec"]["containers"][0]["image"],
                resource=DEPLOYMENTS,
                name=name,
            )
            grant = await world.get(AUTONOMY_GRANTS, GRANT_NAME)
            assert grant is not None
            assert "evil" not in str(grant["spec"]), "a Deployment that was tampered with isn't granted"
            await world.client.delete(SERVICES, "credit-suggest", namespace=world.namespace)
            await world.until("the address is back", lambda _: True, resource=SERVICES, name="credit-suggest")

            await at_rest(world)
        assert process.log.read_text().count("Traceback") == 0


async def at_rest(world: World) -> None:
    """Nothing is written any more: waits until that holds for longer than a re-list of two seconds takes."""
    before: dict[str, str] = {}
    async for _ in eventually("the operator at rest"):
        now = await versions(world)
        if now == before:
            return
        before = now
        await asyncio.sleep(6)


async def versions(world: World) -> dict[str, str]:
    """The version of everything that the operator writes, Leases left out."""
    kinds = (
        MODEL_DEPLOYMENTS,
        MODEL_EVALUATIONS,
        AUTONOMY_GRANTS,
        CONTROLLER_REVISIONS,
        CONFIG_MAPS,
        DEPLOYMENTS,
        SERVICES,
        JOBS,
        NETWORK_POLICIES,
        EVENTS,
    )
    found = {}
    for kind in kinds:
        for item in await world.all(kind):
            found[f"{kind.kind}/{item['metadata']['name']}"] = item["metadata"]["resourceVersion"]
    return found


async def test_a_second_process_takes_over_from_one_that_ends_well(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, script) as world:
        with operator(world.kubeconfig, tmp_path / "first", namespace=world.namespace, lease_duration="600") as first:
            await apply(world, model__version="suggest")
            await world.until("served", serving("suggest"))
            with operator(world.kubeconfig, tmp_path / "second", namespace=world.namespace, lease_duration="600"):
                assert await asyncio.to_thread(first.stop) == 0
                await apply(world, model__version="better")
                await world.until("the second process acts", serving("better"))
                lease = await world.get(LEASES, "mandate-controller")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1
