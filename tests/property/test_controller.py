"""Whatever users, nodes and the network do: nothing is granted or served that wasn't shown, and the loop comes to rest.

The whole loop (store, queue, gather, decide, apply) runs in virtual time against an API server in memory. Seeds choose
what happens: specs edited, retries asked, evaluations ending every which way, objects deleted by hand, requests and
watch events lost, the operator killed and started anew, its clock set back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mandate.api.asks import VERBS, annotation
from mandate.api.criteria import Level
from mandate.api.moments import instant, stamp
from mandate.api.names import ANNOTATION_RETRY, GRANT_NAME, LABEL_REVISION
from mandate.controller.loop import Controller
from mandate.controller.queue import Backoff
from mandate.controller.settings import Images, Settings
from mandate.controller.snapshot import LiveAnswer, LiveQuestion, LiveUnavailable
from mandate.evaluate.frame import SETTINGS_VARIABLE, Failure, Result, frame, unpack
from mandate.evidence.live import Drawn, Live
from mandate.kube.errors import ApiError
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    BACKEND_TRAFFIC_POLICIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    NAMESPACES,
    NETWORK_POLICIES,
    SERVICES,
    Resource,
)
from mandate.rollout.ratio import Divided
from mandate.rollout.state import rank
from tests.unit.controller.fake_api import FakeApi, Surroundings, clock
from tests.unit.controller.samples import evidence, mdep
from tests.unit.rollout.test_pairs import part as paired_part
from tests.unit.virtual import run

logging.getLogger("mandate").setLevel(logging.CRITICAL)

NAMESPACE = "lending"
NAME = "credit"
IMAGE = "registry.example/{}@sha256:" + "0" * 64
SETTINGS = Settings(
    images=Images(fetch=IMAGE.format("judge"), judge=IMAGE.format("judge"), predictor=IMAGE.format("predictor")),
    evaluation_deadline=600,
    max_attempts=3,
    retry=Backoff(base=30, cap=60, jitter=0),
    keep_finished=100,
    recorder_url="http://recorder.mandate-system:8080",
    kserve=True,
)
TRUTH: dict[str, Level | None] = {
    "none": None,
    "shadow": "Shadow",
    "suggest": "Suggest",
    "automate": "Automate",
    "drifts": "Automate",
}
"""What a version that is called so can show; any other name ends in an error."""
ACCURACY = {"none": 0.3, "shadow": 0.6, "suggest": 0.8, "automate": 0.97, "drifts": 0.97}
IN_USE = {"name": "in-use", "metric": "accuracy", "rows": "live", "require": {"Suggest": ">= 0.6"}}
"""A gate on live rows, that versions called `drifts` fail from when people have seen their answers."""
ERRORS = ("garbled", "failure", "memory", "crash", "evicted", "hang", "flaky")
ROUTED: dict[str, Any] = {
    "provider": "GatewayAPI",
    "gateway": {"parentRefs": [{"name": "shared", "namespace": "gateway"}], "hostnames": ["credit.example.com"]},
}
BY_ENTITY = ROUTED | {"gateway": {**ROUTED["gateway"], "entityHeader": "X-Customer"}}
BY_KSERVE = {"provider": "KServe"}
BY_KSERVE_ROUTED = ROUTED | BY_KSERVE
BY_KSERVE_AND_ENTITY = BY_ENTITY | BY_KSERVE
VERSIONS = (*TRUTH, "automate", "drifts", *ERRORS)  # some more often


class Recorder:
    """What use shows: nothing at first, then enough; now and then it can't be asked."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._seen_by_people: set[str] = set()

    async def ask(self, place: tuple[str, str], asked: LiveQuestion) -> LiveAnswer:
        del place
        if asked.compared is not None and self._world.dice.random() < self._world.api.faults:
            return LiveAnswer(live=self._shown(replace(asked, compared=None)), alone="the network")
        return LiveAnswer(live=self._shown(asked))

    async def drawn(self, place: tuple[str, str], step: Divided) -> Drawn | LiveUnavailable:
        if self._world.dice.random() < self._world.api.faults:
            return LiveUnavailable("the network")
        units = 1000 if clock() > step.since + 30 else 0
        mine = round(units * step.share)
        counts = dict.fromkeys(step.revisions, 0) | {step.others[0]: units - mine, step.holder.revision: mine}
        return Drawn(
            namespace=place[0],
            model=place[1],
            since=stamp(step.since),
            until=stamp(clock()),
            units=counts,
            several=0,
            undrawn=dict.fromkeys(step.revisions, 0),
        )

    def _shown(self, asked: LiveQuestion) -> Live | LiveUnavailable:
        holder, task = asked.holder, asked.task
        if self._world.dice.random() < self._world.api.faults:
            return LiveUnavailable("the network")
        if rank(holder.rung.level) > 1:
            self._seen_by_people.add(holder.revision)
        rows = 1000 if clock() > holder.since + 30 else 0
        bad = holder.revision in self._seen_by_people and self._world.kind(holder.revision) == "drifts"
        right = round(rows * (0.3 if bad else 0.9))
        sums = {"count": 0, "sum": 0, "sumSquares": 0}
        none = dict.fromkeys(("count", "overridden", "labelled", "humanRight", "modelRight", "bothRight"), 0)
        outcomes = {"overall": {"tp": right, "fp": 0, "tn": 0, "fn": rows - right}}
        decided = none | {"count": rows // 10}
        pairs = {}
        if asked.compared is not None:
            paired = 1000 if clock() > instant(asked.compared.since) + 30 else 0
            pairs = {"against": asked.compared.against, "pairsSince": asked.compared.since}
            pairs |= {"pairs": {"overall": paired_part(paired, paired)}}
        return Live.model_validate(
            pairs
            | {"namespace": NAMESPACE, "model": NAME, "revision": holder.revision, "task": task.type}
            | {"positive": task.positive, "since": stamp(holder.since), "until": stamp(clock())}
            | {"predictions": rows, "labelled": rows, "outcomes": outcomes, "latency": sums}
            | {"decisions": {"shown": none, "blind": decided if asked.blind_share else none}}
            | {"blindShare": asked.blind_share}
            | dict.fromkeys(("failed", "conflicts", "unknown", "dropped"), 0)
        )


class Simulation:
    """One namespace, its users, and the operator."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.api = FakeApi(self.dice, faults=self.dice.choice([0.0, 0.05, 0.2]))
        self.api.deaf = self.dice.choice([0.0, 0.1, 0.5])
        self.surroundings = Surroundings(self.api, self._outcome)
        self.wrong: list[str] = []
        self.api.after_write.append(self._look)
        self.recorder = Recorder(self)
        self.revisions: dict[str, str] = {}
        self.deleted = False
        self.clock_error = 0.0
        self.misses = bool(self.api.deaf or self.api.faults)
        self.routed: dict[str, dict[str, Any]] = {}
        self.api.unknown = self.dice.choice([set(), {HTTP_ROUTES}, {BACKEND_TRAFFIC_POLICIES}, {INFERENCE_SERVICES}])
        self.operator: asyncio.Task[None] | None = None

    def _outcome(self, pod: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        environment = pod["spec"]["containers"][0]["env"]
        settings = next(item["value"] for item in environment if item["name"] == SETTINGS_VARIABLE)
        version = unpack(settings)["spec"]["model"]["version"]
        kind = version.split(".")[0]
        if kind == "flaky":
            kind = self.dice.choice(["suggest", *ERRORS[:-1]])
        return self._ending(kind, pod)

    def _ending(self, kind: str, pod: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        if kind in ACCURACY:
            line, termination = frame(
                Result(evidence=evidence(ACCURACY[kind], test_rows=self.dice.randrange(3)).dump())
            )
            return _ended(0, termination.dump()), b"noise\n" + line.encode()
        match kind:
            case "garbled":
                return _ended(0, self.dice.choice(["", "{}", '{"sha256": "00"}', "\x00"])), self.dice.randbytes(200)
            case "failure":
                result = Result(failure=Failure(stage="judge", code="OneClass", message="the label has one class"))
                return _ended(3, frame(result)[1].dump()), frame(result)[0].encode()
            case "memory":
                return _ended(137, "", reason="OOMKilled"), b""
            case "evicted":
                return {"phase": "Failed", "reason": "Evicted", "message": "no memory left on the node"}, b""
            case "hang":
                return {"phase": "Running"}, b""
            case _:
                return _ended(1, "Traceback"), b""

    def _look(self, resource: Resource, item: dict[str, Any] | None) -> None:
        """Raised here, it would be one more failed attempt of the operator's, and forgotten with the next."""
        try:
            self._check(resource, item)
        except AssertionError as error:
            self.wrong.append(str(error))

    def _check(self, resource: Resource, item: dict[str, Any] | None) -> None:
        """What must be true after every single write."""
        if item is None:
            return
        if resource == CONTROLLER_REVISIONS:
            version = item["data"]["spec"]["model"]["version"]
            self.revisions[item["metadata"]["labels"][LABEL_REVISION]] = version
        if resource == AUTONOMY_GRANTS:
            for revision, entry in item["spec"].get("grants", {}).items():
                assert self._shown(revision) >= rank(entry["level"]), f"{self.revisions[revision]} at {entry['level']}"
            model = self.api.objects.get((MODEL_DEPLOYMENTS, NAMESPACE, NAME), {})
            status = model.get("status") or {}
            previous = None if "halted" in status else status.get("previous")
            kept = previous is None or previous.get("released") or previous["revision"] in item["spec"]["grants"]
            assert kept, "nobody left to fall back on"
        if resource == SERVICES and item["metadata"]["name"] in (NAME, f"{NAME}-suggest"):
            revision = item["spec"]["selector"][LABEL_REVISION]
            least: Level = "Automate" if item["metadata"]["name"] == NAME else "Suggest"
            assert revision == "none" or self._shown(revision) >= rank(least), "an address leads to what may not answer"
            assert revision == "none" or self._recorded(item, revision) >= rank(least), (
                f"{item['kind']}: it isn't on record"
            )
        if resource == HTTP_ROUTES:
            self._check_route(item)
        if resource == MODEL_DEPLOYMENTS:
            for role in ("champion", "candidate"):
                standing = (item.get("status") or {}).get(role) or {}
                assert rank(standing.get("level")) <= self._shown(standing.get("revision", ""))
                halted = (item.get("status") or {}).get("halted")
                assert not halted or rank(standing.get("level")) <= rank(halted.get("level")), "it was halted"
        if resource == JOBS:
            running = [job["metadata"]["ownerReferences"][0]["uid"] for job in self.api.all(JOBS) if not _over(job)]
            assert len(running) == len(set(running)), "two Jobs of one evaluation run at once"

    def _check_route(self, item: dict[str, Any]) -> None:
        """Everything goes to who may answer; who mayn't any more only gets less; and no step loses a request."""
        address = item["metadata"]["name"]
        least: Level = "Automate" if address == NAME else "Suggest"
        [rule] = item["spec"]["rules"]
        before = self.routed.get(item["metadata"]["uid"])
        self.routed[item["metadata"]["uid"]] = rule
        # A place that was left names a backend that stays, so one may be named twice.
        old = Counter[str]()
        for part in before["backendRefs"] if before else ():
            old[part["name"]] += part["weight"]
        assert sum(part["weight"] for part in rule["backendRefs"]) == 1_000_000
        mirrors = [part["requestMirror"]["backendRef"]["name"] for part in rule["filters"] if "requestMirror" in part]
        model = self.api.objects.get((MODEL_DEPLOYMENTS, NAMESPACE, NAME))
        # What was on its way when its model went is collected with the rest.
        orphan = model is None or model["metadata"]["uid"] != item["metadata"]["ownerReferences"][0]["uid"]
        for service in {part["name"] for part in rule["backendRefs"]} | set(mirrors):
            there = (SERVICES, NAMESPACE, service) in self.api.objects
            # Who misses a deletion takes for there what isn't, until the next re-list.
            known = self.misses or self.deleted or orphan or service in str(before)
            assert there or known, f"{service} isn't there yet, or any more"
        for place, part in enumerate(rule["backendRefs"]):
            if part["weight"] > 1 and before:
                known = before["backendRefs"][place]
                assert known["weight"] > 0, "a share goes where no cluster is yet"
                assert known["name"] == part["name"], "a place with a share changes hands"
            revision = next((key for key in self.revisions if part["name"] == f"{NAME}-{key[:10]}"), None)
            if revision is None:
                assert part["name"] == f"{NAME}-nobody"
            elif part["weight"] > old[part["name"]]:
                assert self._shown(revision) >= rank(least), "a route leads to what may not answer"
                assert self._recorded(item, revision) >= rank(least), f"{item['kind']}: it isn't on record"

    def _recorded(self, service: dict[str, Any], revision: str) -> int:
        """The rank at which the status has this revision, if it is still the model's whose Service this is."""
        model = self.api.objects.get((MODEL_DEPLOYMENTS, NAMESPACE, NAME))
        if model is None or model["metadata"]["uid"] != service["metadata"]["ownerReferences"][0]["uid"]:
            return rank("Automate")
        roles = (model.get("status", {}).get(role, {}) for role in ("champion", "candidate", "previous"))
        return max(rank(role.get("level")) for role in roles if role.get("revision") in (None, revision))

    def kind(self, revision: str) -> str:
        return self.revisions.get(revision, "").split(".")[0]

    def _shown(self, revision: str) -> int:
        kind = self.kind(revision)
        return rank("Suggest") if kind == "flaky" else rank(TRUTH.get(kind))

    def start(self) -> None:
        """A fresh operator, as after a crash."""
        controller = Controller(
            self.api,  # type: ignore[arg-type]
            SETTINGS,
            identity="simulated",
            operator_namespace="mandate-system",
            now=lambda: clock() - self.clock_error,
            live=self.recorder,  # type: ignore[arg-type]
        )

        def heard(resource: Resource, kind: str, item: dict[str, Any]) -> None:
            if resource in controller.watched:
                controller.heard(resource, kind, item)

        async def forever() -> None:
            while True:
                try:
                    await controller.run(workers=4, resync=200)
                except* ApiError:
                    await asyncio.sleep(1)

        self.api.listeners[:] = [heard]
        self.operator = asyncio.create_task(forever())

    async def stop(self) -> None:
        """Killed: whatever was under way stays as it is."""
        self.api.listeners.clear()
        if self.operator is not None:
            self.operator.cancel()
            outcome = (await asyncio.gather(self.operator, return_exceptions=True))[0]
            assert isinstance(outcome, asyncio.CancelledError), outcome

    def disturb(self) -> None:
        """One thing that users or nodes do."""
        place = (MODEL_DEPLOYMENTS, NAMESPACE, NAME)
        present = self.api.objects.get(place)
        match self.dice.randrange(10):
            case 0 | 1 | 2 | 3:
                version = f"{self.dice.choice(VERSIONS)}.{self.dice.randrange(3)}"
                changed = mdep(
                    model__version=version,
                    autonomy__target=self.dice.choice(["Shadow", "Suggest", "Automate"]),
                    serving=self.dice.choice(
                        [{}, ROUTED, BY_ENTITY, BY_KSERVE, BY_KSERVE_ROUTED, BY_KSERVE_AND_ENTITY]
                    ),
                    autonomy__automate={"stepDuration": self.dice.choice(["30s", "30d"])},
                    autonomy__shadow={"minDuration": "0s", "minPredictions": self.dice.choice([0, 500])}
                    | self.dice.choice([{}, {"maxMissingPairs": "0.02"}]),
                    autonomy__suggest={"minDuration": "0s", "minPredictions": 0, "minLabelled": 0}
                    | self.dice.choice([{}, {"blindShare": "10%", "minBlind": 50}]),
                    autonomy__onDegradation=self.dice.choice(["Demote", "Rollback"]),
                    gates=[*mdep()["spec"]["gates"], *self.dice.choice([[], [IN_USE]])],
                )
                if present is None:
                    self.api.put(MODEL_DEPLOYMENTS, changed)
                else:
                    generation = {**present["metadata"], "generation": present["metadata"]["generation"] + 1}
                    self.api.change(*place, spec=changed["spec"], metadata=generation)
            case 4 if present is not None:
                annotations = {**(present["metadata"].get("annotations") or {}), **self._ask()}
                self.api.change(*place, metadata={**present["metadata"], "annotations": annotations})
            case 5:
                kinds = [JOBS, DEPLOYMENTS, SERVICES, HTTP_ROUTES, NETWORK_POLICIES, AUTONOMY_GRANTS, CONFIG_MAPS]
                kinds.append(BACKEND_TRAFFIC_POLICIES)
                kinds.append(INFERENCE_SERVICES)
                kind = self.dice.choice(kinds)
                items = [item for item in self.api.all(kind) if item["metadata"]["namespace"] == NAMESPACE]
                if items:
                    chosen = self.dice.choice(items)["metadata"]
                    self.deleted = self.deleted or kind == SERVICES
                    self.api.take(kind, chosen["namespace"], chosen["name"])
            case 6:
                for meval in self.api.all(MODEL_EVALUATIONS)[: self.dice.randrange(2)]:
                    self.api.take(MODEL_EVALUATIONS, NAMESPACE, meval["metadata"]["name"])
            case 7 if present is not None and self.dice.random() < 0.2:
                self.api.take(*place)
            case 8:
                self.clock_error = self.dice.choice([0.0, 20.0, 7200.0])
            case _:
                pass

    def _ask(self) -> dict[str, str]:
        """One verb, or something that is none."""
        number = self.dice.randrange(100)
        if self.dice.random() < 0.3:
            return {ANNOTATION_RETRY: str(number)}
        verb = self.dice.choice(VERBS)
        level = self.dice.choice(["", " to Shadow"]) if verb == "Halt" else ""
        return {annotation(verb): self.dice.choice([f"{number}{level} by ann", f"{number}{level} by ann: why", "?"])}


def _ended(code: int, message: str, *, reason: str = "") -> dict[str, Any]:
    terminated = {"exitCode": code, "message": message, "reason": reason or "Error"}
    done = {"terminated": {"exitCode": 0, "message": '{"digests": {}}'}}
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "initContainerStatuses": [{"name": "fetch", "state": done}],
        "containerStatuses": [{"name": "judge", "state": {"terminated": terminated}}],
    }


def _over(job: dict[str, Any]) -> bool:
    return bool((job.get("status") or {}).get("conditions"))


async def simulate(seed: int) -> None:
    world = Simulation(seed)
    labels = {"mandate.dev/enforce": "Labelled"}
    world.api.put(NAMESPACES, {"metadata": {"name": NAMESPACE, "labels": labels}})
    world.start()
    for _ in range(world.dice.randrange(1, 12)):
        world.disturb()
        await asyncio.sleep(world.dice.choice([0.1, 3, 30, 400]))
        if world.dice.random() < 0.3:
            await world.stop()
            world.start()
    world.api.faults = world.api.deaf = 0.0
    world.api.unknown = set()
    world.clock_error = 0.0
    # An operator that hadn't yet heard of a deletion may have made something for the deleted object's uid.
    await asyncio.sleep(400)
    world.api.collect()
    await asyncio.sleep(3000)
    await world.stop()

    world.api.writes.clear()
    world.start()
    await asyncio.sleep(800)
    await world.stop()
    assert not world.wrong, world.wrong
    assert not world.api.writes, f"the operator isn't at rest: {world.api.writes}"
    _check_end(world)


def _check_end(world: Simulation) -> None:
    item = world.api.objects.get((MODEL_DEPLOYMENTS, NAMESPACE, NAME))
    if item is None:
        return
    grant = world.api.objects[(AUTONOMY_GRANTS, NAMESPACE, GRANT_NAME)]
    status, spec = item["status"], item["spec"]
    conditions = {entry["type"]: entry for entry in status["conditions"]}
    kind = spec["model"]["version"].split(".")[0]
    target: Level = spec["autonomy"]["target"]
    standing = [status[role] for role in ("champion", "candidate") if role in status]
    present = [entry for entry in standing if entry["version"] == spec["model"]["version"]]
    assert status["observedGeneration"] == item["metadata"]["generation"]
    assert conditions["Reconciling"]["status"] == "False", conditions
    watched = IN_USE in spec["gates"]
    held_back = {"Pause", "Halt", "Abort", "Rollback"} & set(status.get("handled") or {})
    # What failed in use stays refused also when nobody asks for that gate any more.
    failed = [item for item in status.get("refused", ()) if item["reason"] == "Failed"]
    if kind == "drifts" and (watched or spec["model"]["version"] in [item["version"] for item in failed]):
        assert all(rank(entry.get("level")) <= rank("Shadow") for entry in present), (standing, conditions)
    elif kind in TRUTH:
        reached = min(rank(TRUTH[kind]), rank(target))
        # Another revision of the same version may still be champion: what counts is the newest.
        levels = [rank(entry.get("level")) for entry in present[-1:]]
        if held_back:
            assert len(levels) == 1, (kind, target, standing, conditions)
            assert levels[0] <= reached, (kind, target, standing, conditions)
        else:
            assert levels == [reached], (kind, target, standing, conditions)
            assert (conditions["CandidateRefused"]["status"] == "True") == (reached == 0)
    held = {entry["revision"]: entry["level"] for entry in standing if "level" in entry}
    behind = status.get("previous")
    kept = behind and not behind.get("released") and "halted" not in status and "level" in behind
    granted = {behind["revision"]: behind["level"]} if kept else {}
    for revision, level in held.items():
        granted[revision] = max(level, granted.get(revision, level), key=rank)
    assert {revision: entry["level"] for revision, entry in grant["spec"]["grants"].items()} == granted
    soon = spec["autonomy"]["automate"]["stepDuration"] == "30s"
    if behind and not behind.get("released") and soon and not held_back:
        least = min(rank(behind["level"]), rank(target))
        assert rank((status.get("champion") or {}).get("level")) < least, "its successor has held"
    assert (conditions["Ready"]["status"] == "True") == bool(held)
    deployments = {entry["metadata"]["labels"][LABEL_REVISION] for entry in world.api.all(DEPLOYMENTS)}
    assert deployments == set(held)
    for entry in world.api.all(INFERENCE_SERVICES):
        made = f"{entry['metadata']['name']}-predictor"
        assert (DEPLOYMENTS, NAMESPACE, made) in world.api.objects, "nothing else is made by KServe"
    assert grant["spec"]["evaluations"] == {}
    _check_routes(world, granted, routed="gateway" in spec.get("serving", {}))
    policies = {entry["metadata"]["name"] for entry in world.api.all(BACKEND_TRAFFIC_POLICIES)}
    assert policies == ({NAME} if spec.get("serving") in (BY_ENTITY, BY_KSERVE_AND_ENTITY) else set())


def _check_routes(world: Simulation, granted: dict[str, Level], *, routed: bool) -> None:
    """At rest, a model's routes and what is behind them are those that its provider has, and no others."""
    routes = {item["metadata"]["name"]: item for item in world.api.all(HTTP_ROUTES)}
    services = {item["metadata"]["name"] for item in world.api.all(SERVICES)}
    if not routed:
        assert routes == {}
        assert services == {NAME, f"{NAME}-suggest"}
        return
    assert services - {NAME, f"{NAME}-suggest", f"{NAME}-nobody"} == {
        item["metadata"]["name"].removesuffix("-predictor") for item in world.api.all(DEPLOYMENTS)
    }
    for address, least in ((NAME, "Automate"), (f"{NAME}-suggest", "Suggest")):
        may = {f"{NAME}-{revision[:10]}" for revision, level in granted.items() if rank(level) >= rank(least)}
        backends = routes[address]["spec"]["rules"][0]["backendRefs"]
        assert {part["name"] for part in backends if part["weight"]} <= may | {f"{NAME}-nobody"}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
@example(seed=2996)
def test_nothing_unshown_is_granted_and_everything_comes_to_rest(seed: int) -> None:
    run(simulate(seed))
