"""The routes of rollout/gateway.py on a real gateway: Envoy Gateway, with real requests.

It needs no product, only the cluster: the models are servers that keep what they were asked. Shares are held to five
standard deviations of the binomial distribution, which one run in a million exceeds by chance.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import aiohttp
import pytest

from mandate.rollout.gateway import LEAD, Backend, Mirror, Split, accepted, assignment, routes, step, suggest_hostnames
from tests.e2e.cluster import Cluster, Object, eventually, like

ROUTE = "gateway.networking.k8s.io/v1"
ENVOY = "gateway.envoyproxy.io/owning-gateway-name"
ENVOY_NAMESPACE = "envoy-gateway-system"
STATISTICS = 19001
"""The port of Envoy's own metrics."""
WORKERS = 8
PATH = "/v2/models/model/infer"


@dataclass(frozen=True)
class Answer:
    """What came back for a request: status, the gateway's words, who says that it answered; and what was sent."""

    status: int
    autonomy: str
    version: str
    who: str
    id: str
    sha256: str
    entity: str


@dataclass
class Lab:
    """A namespace with the models `champion`, `candidate` and `shadow`, and the route to them."""

    cluster: Cluster
    namespace: str
    address: str
    parents: list[dict[str, str]]
    host: str
    writes: int = 0
    split: list[Backend] = field(default_factory=list)

    def put(self, backends: Sequence[Backend], mirror: Mirror | None = None) -> None:
        """Write the routes. Versions carry the number of the write, so that answers tell which one Envoy has."""
        self.writes += 1
        self.split = [replace(each, version=f"{each.service}.{self.writes}") for each in backends]
        told = routes(
            name="credit",
            namespace=self.namespace,
            parents=self.parents,
            hostnames=[self.host],
            act=Split(backends=self.split, mirror=mirror),
            suggest=Split(backends=[backend("candidate", 1, autonomy="Suggest")]),
        )
        for route in told:
            self.cluster.admin.apply(route)

    def route(self, name: str = "credit") -> Object:
        return self.cluster.admin.get(like("HTTPRoute", self.namespace, name, api=ROUTE))

    def until_told(self, *words: str) -> str:
        """What keeps the gateway from carrying the route, once that names all of these; no words: nothing does."""

        def said() -> str | None:
            told = accepted(self.route())
            return told if all(word in told for word in words) and bool(told) == bool(words) else None

        return eventually(f"the gateway to say {words}", said, seconds=120, seen=lambda: accepted(self.route()))

    def until_carried(self, mirror: bool = False) -> None:
        """Wait until Envoy has what was last written: its clusters have Pods, and answers carry this write's number."""
        self.until_told()
        wanted = {f"backend/{place}" for place, each in enumerate(self.split) if each.share}
        names = {f"httproute/{self.namespace}/credit/rule/0/{each}" for each in wanted}
        # Named after the filter's place: the first one says by what requests are shared.
        names |= {f"httproute/{self.namespace}/credit/rule/0-mirror-1"} if mirror else set()
        eventually("Envoy to know the backends", lambda: names <= self.clusters() or None, seconds=120)

        def numbered() -> bool | None:
            return True if self.ask(1)[0].version.endswith(f".{self.writes}") else None

        eventually("Envoy to have the route", numbered, seconds=120, seen=lambda: self.ask(1))

    def clusters(self) -> set[str]:
        """Envoy's clusters that have somebody to send to."""
        found: set[str] = set()
        for pod in self.cluster.admin.list(like("Pod", ENVOY_NAMESPACE), f"{ENVOY}=shared"):
            if pod["status"]["phase"] != "Running":
                continue
            where = f"/api/v1/namespaces/{ENVOY_NAMESPACE}/pods/{pod['metadata']['name']}:{STATISTICS}/proxy"
            text = self.cluster.admin.request("GET", f"{where}/stats/prometheus", filter="membership_healthy")["text"]
            for line in text.splitlines():
                if line.startswith("envoy_cluster_membership_healthy{") and not line.endswith(" 0"):
                    found.add(line.split('envoy_cluster_name="')[1].split('"')[0])
        return found

    def ask(self, count: int, **options: Any) -> list[Answer]:
        return asyncio.run(self.asked(count, **options))

    async def asked(
        self,
        count: int,
        *,
        host: str = "",
        named: bool = True,
        entities: int = 0,
        rows: int = 20,
        more: Mapping[str, str] | None = None,
    ) -> list[Answer]:
        """The answers to that many requests, each with a body of its own; `named` ones carry an id."""
        numbers = iter(range(count))

        async def worker(session: aiohttp.ClientSession) -> list[Answer]:
            where = host or self.host
            return [await self._one(session, number, where, named, entities, rows, more or {}) for number in numbers]

        async with aiohttp.ClientSession() as session:
            lists = await asyncio.gather(*(worker(session) for _ in range(min(WORKERS, count))))
        return [answer for each in lists for answer in each]

    async def _one(
        self,
        session: aiohttp.ClientSession,
        number: int,
        host: str,
        named: bool,
        entities: int,
        rows: int,
        more: Mapping[str, str],
    ) -> Answer:
        tensor = {"name": "x", "datatype": "FP64", "shape": [rows, 1], "data": [random.random() for _ in range(rows)]}
        body = json.dumps({"inputs": [tensor]}).encode()
        headers = {"Host": host, "Content-Type": "application/json", **more}
        headers |= {"X-Request-Id": str(uuid.uuid4())} if named else {}
        headers |= {"Entity": f"entity-{number % entities}"} if entities else {}
        async with session.post(f"http://{self.address}{PATH}", data=body, headers=headers) as answer:
            text = await answer.read()
            return Answer(
                answer.status,
                ",".join(answer.headers.getall("Mandate-Autonomy", [])),
                answer.headers.get("Mandate-Model-Version", ""),
                json.loads(text)["model_name"] if answer.status == 200 else text.decode(),
                headers.get("X-Request-Id", ""),
                hashlib.sha256(body).hexdigest(),
                headers.get("Entity", ""),
            )

    def recorded(self, name: str) -> list[Object]:
        """What a model was asked."""
        [pod] = self.cluster.admin.list(like("Pod", self.namespace), f"app={name}")
        where = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}:9000/proxy/recorded"
        return list(self.cluster.admin.request("GET", where)["recorded"])


def backend(service: str, share: Fraction | int, *, autonomy: Any = "Automate") -> Backend:
    return Backend(service=service, port=80, share=Fraction(share), autonomy=autonomy, version=service)


def within(count: int, total: int, share: Fraction) -> bool:
    """Whether a count is within five standard deviations of what the share makes of the total."""
    return abs(count - total * share) <= 5 * math.sqrt(total * share * (1 - share))


def model(namespace: str, name: str, image: str, *, fault: str = "") -> list[Object]:
    labels = {"app": name}
    container = {
        "name": "model",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "/opt/test/recording.py"],
        "env": [{"name": "NAME", "value": name}, {"name": "FAULT", "value": fault}],
        "readinessProbe": {"httpGet": {"path": "/v2/health/ready", "port": 9000}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
        service(namespace, name, labels),
    ]


def service(namespace: str, name: str, selector: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": dict(selector), "ports": [{"port": 80, "targetPort": 9000}]},
    }


@pytest.fixture(scope="module")
def lab(cluster: Cluster, gateway: dict[str, str]) -> Iterator[Lab]:
    name = f"e2e-gateway-{uuid.uuid4().hex[:6]}"
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        for each in ("champion", "candidate", "shadow"):
            for item in model(name, each, cluster.images["test-model"]):
                cluster.admin.apply(item)
        cluster.admin.apply(service(name, "empty", {"app": "nobody"}))
        cluster.run("kubectl", "-n", name, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=180s")
        namespace, _, shared = gateway["gateway"].partition("/")
        yield Lab(cluster, name, gateway["address"], [{"name": shared, "namespace": namespace}], f"credit.{name}.test")
    finally:
        cluster.run("kubectl", "delete", "namespace", name, "--timeout=180s")


def test_shares_mirrored_bodies_ids_and_headers(lab: Lab) -> None:
    copies = Fraction(1, 4)
    lab.put([backend("champion", Fraction(9, 10)), backend("candidate", Fraction(1, 10))], mirror("shadow", copies))
    lab.until_carried(mirror=True)
    before = {name: len(lab.recorded(name)) for name in ("champion", "candidate", "shadow")}
    answers = lab.ask(1500) + lab.ask(500, named=False)

    assert Counter(answer.status for answer in answers) == {200: 2000}
    # The gateway's word replaces what the server says of itself, and names the one who answered.
    assert {answer.autonomy for answer in answers} == {"Automate"}
    assert all(answer.version.partition(".")[0] == answer.who for answer in answers)
    candidate = sum(answer.who == "candidate" for answer in answers)
    assert within(candidate, 2000, Fraction(1, 10)), candidate

    def copied() -> bool | None:
        return within(len(lab.recorded("shadow")) - before["shadow"], 2000, copies) or None

    eventually("the copies", copied, seconds=60, seen=lambda: len(lab.recorded("shadow")) - before["shadow"])
    asked = {name: lab.recorded(name)[count:] for name, count in before.items()}
    served = {each["id"]: each for name in ("champion", "candidate") for each in asked[name]}
    assert (len(asked["champion"]), len(asked["candidate"])) == (2000 - candidate, candidate)
    assert len(served) == 2000, "an id was used twice, or one is missing"
    bodies = {each["sha256"]: each["id"] for each in served.values()}
    for answer in answers:  # a caller's id is kept; where there was none, there is one now
        assert bodies[answer.sha256] == answer.id if answer.id else bodies[answer.sha256]
    for copy in asked["shadow"]:
        assert copy == served[copy["id"]], "the copy differs from what was served under its id"
    [suggested] = lab.ask(1, host=suggest_hostnames([lab.host])[0])
    assert (suggested.who, suggested.autonomy) == ("candidate", "Suggest")


def test_only_the_route_says_what_was_drawn(lab: Lab) -> None:
    lab.put([backend("champion", Fraction(9, 10)), backend("candidate", Fraction(1, 10))])
    lab.until_carried()
    claimed = {"Mandate-Shared-By": "X-Forged"}
    asked = lab.ask(20, more=claimed)
    suggested = lab.ask(5, host=suggest_hostnames([lab.host])[0], more=claimed)
    said = {each["id"]: each["sharedBy"] for name in ("champion", "candidate") for each in lab.recorded(name)}
    assert {said[answer.id] for answer in asked} == {"x-request-id"}
    assert {said[answer.id] for answer in suggested} == {None}


def test_large_bodies_are_mirrored_whole(lab: Lab) -> None:
    lab.put([backend("champion", 1)], mirror("shadow", Fraction(1)))
    lab.until_carried(mirror=True)
    answers = lab.ask(8, rows=100_000)
    assert {answer.status for answer in answers} == {200}
    sent = {answer.id: answer.sha256 for answer in answers}

    def copied() -> bool | None:
        found = {each["id"]: each["sha256"] for each in lab.recorded("shadow") if each["length"] > 1 << 20}
        return True if sent.items() <= found.items() else None

    eventually("the copies of the large bodies", copied, seconds=60)


def test_a_missing_service_is_told_and_answers_nobody(lab: Lab) -> None:
    lab.put([backend("champion", Fraction(1, 2)), backend("nowhere", Fraction(1, 2))])
    said = lab.until_told("ResolvedRefs", "BackendNotFound", "nowhere")
    assert "create it" in said
    eventually("its share to get 500", lambda: answered(lab, 200, 500), seconds=60)
    # Worse: a mirror that is missing takes the whole rule with it. Services come before routes, and go after them.
    lab.put([backend("champion", 1)], mirror("nowhere", Fraction(1)))
    lab.until_told("ResolvedRefs", "BackendNotFound", "nowhere")
    eventually("everything to get 500", lambda: answered(lab, 500), seconds=60)
    lab.put([backend("champion", 1)])
    lab.until_carried()


def test_a_backend_without_pods_is_told_and_its_share_gets_503(lab: Lab) -> None:
    lab.put([backend("champion", Fraction(1, 2)), backend("empty", Fraction(1, 2))])
    lab.until_told("BackendsAvailable", "EndpointsNotFound", "empty")
    eventually("its share to get 503", lambda: answered(lab, 200, 503), seconds=60)
    # A mirror without Pods does no harm.
    lab.put([backend("champion", 1)], mirror("empty", Fraction(1)))
    lab.until_told("BackendsAvailable", "EndpointsNotFound", "empty")
    eventually("everything to be answered", lambda: answered(lab, 200), seconds=60)


def test_a_second_route_for_the_same_requests_is_told(lab: Lab) -> None:
    lab.put([backend("champion", 1)])
    lab.until_carried()
    other = lab.route()
    second = {key: other[key] for key in ("apiVersion", "kind", "spec")}
    second |= {"metadata": {"name": "somebody-elses", "namespace": lab.namespace}}
    lab.cluster.admin.apply(second)
    lab.until_told("RouteRulesOverlap", "somebody-elses")
    lab.cluster.admin.delete(second)
    lab.until_told()


def test_traffic_moves_in_steps_and_nothing_is_lost(lab: Lab) -> None:
    lab.put([backend("champion", 1)])
    lab.until_carried()
    with steady(lab) as answers:
        for goal in ("candidate", "champion", "candidate"):
            while (then := step(unnumbered(lab.split), [backend(goal, 1)])) != unnumbered(lab.split):
                lab.put(then)
                lab.until_carried()
            assert {each.service for each in lab.split} == {goal}
    assert len(answers) > 100
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert all(answer.version.partition(".")[0] == answer.who for answer in answers)
    assert {answer.who for answer in answers} == {"champion", "candidate"}


def test_entities_stay_where_they_are_as_shares_grow(lab: Lab) -> None:
    lab.cluster.admin.apply(assignment(name="credit", namespace=lab.namespace, header="Entity"))
    # Beyond weights, the hash needs a moment to arrive: wait until no entity is seen at both.
    before: set[str] = set()
    lab.put([backend("champion", 1 - LEAD), backend("candidate", LEAD)])
    lab.until_carried()
    for share in (Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)):
        lab.put([backend("champion", 1 - share), backend("candidate", share)])
        lab.until_carried()
        there = eventually("each entity at one backend", lambda: settled(lab), seconds=180)
        assert within(len(there), ENTITIES, share), (share, len(there))
        assert before <= there
        before = there


ENTITIES = 400


def settled(lab: Lab) -> set[str] | None:
    """The entities that the candidate answers; None while any entity gets answers of both."""
    answers = lab.ask(3 * ENTITIES, entities=ENTITIES)
    by = {name: {answer.entity for answer in answers if answer.who == name} for name in ("champion", "candidate")}
    return None if by["champion"] & by["candidate"] else by["candidate"]


def answered(lab: Lab, *statuses: int) -> bool | None:
    """True when the statuses of 60 answers are exactly these."""
    return True if {answer.status for answer in lab.ask(60)} == set(statuses) else None


def mirror(service: str, share: Fraction) -> Mirror:
    return Mirror(service=service, port=80, share=share)


def unnumbered(backends: Sequence[Backend]) -> list[Backend]:
    """Backends without the number of the write in their versions."""
    return [replace(each, version=each.service) for each in backends]


@contextmanager
def steady(lab: Lab) -> Iterator[list[Answer]]:
    """Requests without a pause while the block runs; the answers are in the list afterwards."""
    answers: list[Answer] = []
    stop = threading.Event()

    async def run() -> None:
        while not stop.is_set():
            answers.extend(await lab.asked(50))

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
