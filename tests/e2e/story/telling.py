"""The story itself: a champion, a challenger that climbs beside it, a fault that takes it down; on a real cluster."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mandate.api.criteria import seconds
from mandate.rollout.gateway import accepted, split_of
from tests.e2e.cluster import ROOT, SYSTEM, Cluster, Object, Space, condition, eventually, like, space
from tests.e2e.story.history import Watched
from tests.e2e.story.ledger import CHANCE, FALLBACK, RULE, SAYS, Split, Summary, spells, summed_up
from tests.e2e.story.traffic import Traffic, replayed
from tests.e2e.story.trouble import Killer, restart_api_server

EXAMPLE = ROOT / "examples" / "flights"
OUT = ROOT / "out" / "story"
MODEL = "flights"
ROUTE = "gateway.networking.k8s.io/v1"
GRACE = 5.0
"""Seconds from a verdict to the data path that are promised."""
SETTLE = 1.0
"""Seconds until Envoy has a route; 0.65 at most in the measurements of decision 0015."""
SEEN = 0.25
"""Seconds by which a watch may be later than the gateway."""
DAY = 86_400
MOVES = {
    ("Promoted", "1", "Shadow"),
    ("Promoted", "1", "Suggest"),
    ("Promoted", "1", "Automate at 100 %"),
    ("BecameChampion", "1", "Automate at 100 %"),
    ("Promoted", "2", "Shadow"),
    ("Promoted", "2", "Suggest"),
    ("Promoted", "2", "Automate at 10 %"),
    ("Advanced", "2", "Automate at 50 %"),
    ("Advanced", "2", "Automate at 100 %"),
    ("BecameChampion", "2", "Automate at 100 %"),
    ("Demoted", "2", "Suggest"),
}
"""What must happen: transition, version, where to."""
ANSWERS = {
    ("act", FALLBACK, RULE),
    ("act", "Automate", "1"),
    ("act", "Automate", "2"),
    ("suggest", FALLBACK, RULE),
    ("suggest", "Suggest", "1"),
    ("suggest", "Suggest", "2"),
}
"""Who answers, all of it and nobody else: address, level in the header, version."""
STEPS = (0.1, 0.5)
"""Version 2's shares on its way."""
REFUTED = "right-in-use"
"""The gate that takes version 2 down."""
SHADOWED, BLIND, SHOWN = 50, 5, 50
"""Fewest pairs at Shadow, and decisions of people without and with the answer in sight."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a story is told: at least so many requests at `rate` a second, so many kills, `day` seconds for each day that
    the manifests declare.
    """

    requests: int
    kills: int
    rate: float
    day: float
    gap: float
    """Seconds between two kills, on average."""
    seed: int = 7
    lease: tuple[str, str, str] = ("10", "6", "2")
    """Seconds that the operator's Lease lasts, is to be renewed within, and between tries; as the chart has them."""
    restart: bool = False
    """Whether the API server is killed once as well."""
    patience: float = 900.0
    """Seconds for each thing that must come."""
    chance: float = CHANCE
    """How often a share that is as declared may be called off."""
    sharp: bool = False
    """Whether each step must last until its share can be told from half as much more or less."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of it: the summary, and the model's own history."""

    plan: Plan
    summary: Summary
    history: list[Object]
    began: float
    took: float
    gone: float
    """Seconds for which the API server was gone."""
    refuted: str
    """Why version 2 came down, in the operator's words."""
    showed: float
    """Seconds from the first request with the fault to the verdict."""
    pairs: Object = field(default_factory=dict)
    """`status.pairs` at the end of version 2's time at Shadow."""
    decisions: Object = field(default_factory=dict)
    """`status.decisions` when most of people's decisions on version 2 were counted."""

    def problems(self) -> list[str]:
        """What must not be, or is missing, in words; of a story that went well there is none."""
        plan, summary = self.plan, self.summary
        found = summary.problems()
        counts = (
            ("requests", summary.requests, plan.requests),
            ("kills of the operator", summary.kills, plan.kills),
            ("restarts of the API server", summary.restarts, int(plan.restart)),
            ("pairs at Shadow", int(self.pairs.get("paired", 0)), SHADOWED),
            ("decisions before the answer was seen", _decisions(self.decisions, "blind"), BLIND),
            ("decisions with the answer in sight", _decisions(self.decisions, "shown"), SHOWN),
        )
        found += [f"too few {what}: {count}, expected {least}" for what, count, least in counts if count < least]
        moved = {(entry["what"], entry.get("version", ""), entry.get("after", "")) for entry in self.history}
        found += [f"didn't happen: {' '.join(move)}" for move in sorted(MOVES - moved)]
        found += [f"nobody answered so: {' '.join(who)}" for who in sorted(ANSWERS - set(summary.answers))]
        found += [f"nobody should answer so: {' '.join(who)}" for who in sorted(set(summary.answers) - ANSWERS)]
        if REFUTED not in self.refuted:
            found.append(f"version 2 came down because {self.refuted!r}, expected {REFUTED}")
        return found + self._unshared()

    def _unshared(self) -> list[str]:
        found = []
        for step in STEPS:
            [*shares] = (item for item in self.summary.shares if (item.version, item.declared) == ("2", step))
            if not shares:
                found.append(f"nobody was asked while version 2 had {step:.0%}")
            for share in shares:
                if self.plan.sharp and not share.sharp(self.plan.chance):
                    least, greatest = share.passing(self.plan.chance)
                    found.append(
                        f"too few answers to judge a share: {share}, {least} to {greatest} would pass, expected half "
                        "of it off at most: let a day last longer (--day), or more requests come (--rate)"
                    )
        return found


def prepared() -> Path:
    """The folder with the story's tables and models, made where they are missing."""
    for module, made in (("prepare", OUT / "production.parquet"), ("train", OUT / "models" / "rule" / "model.onnx")):
        if not made.exists():
            command = [sys.executable, "-m", f"examples.flights.story.{module}", "--out", str(OUT)]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return OUT


def manifest(version: str, *, namespace: str, day: float) -> Object:
    """The version's ModelDeployment, with `day` seconds for each day that must last."""
    document: Object = yaml.safe_load((EXAMPLE / "story" / f"flights-v{version}.yaml").read_text())
    document["metadata"]["namespace"] = namespace
    autonomy = document["spec"]["autonomy"]
    for part, name in (("shadow", "minDuration"), ("suggest", "minDuration"), ("automate", "stepDuration")):
        autonomy[part][name] = f"{math.ceil(seconds(autonomy[part][name]) * day / DAY)}s"
    return document


class Story:
    """One telling, in a namespace of its own."""

    def __init__(self, cluster: Cluster, place: Space, plan: Plan, address: str) -> None:
        self._cluster, self._place, self._plan = cluster, place, plan
        api, name = cluster.admin, place.name
        self._mdep = Watched(api, like("ModelDeployment", name, MODEL, api="mandate.dev/v1alpha1"))
        self._grant = Watched(api, like("AutonomyGrant", name, "mandate", api="mandate.dev/v1alpha1"))
        self._route = Watched(api, like("HTTPRoute", name, MODEL, api=ROUTE))
        self._killer = Killer(cluster, count=plan.kills, gap=plan.gap, seed=plan.seed)
        [host] = manifest("1", namespace=name, day=plan.day)["spec"]["serving"]["gateway"]["hostnames"]
        self._traffic = Traffic(
            address=address,
            host=host,
            flights=replayed(OUT / "production.parquet", count=plan.requests),
            rate=plan.rate,
            tell=self._tell,
            place={"namespace": name, "model": MODEL},
            revisions=lambda: {version: revision for revision, version in self._versions().items()},
        )
        self._began = time.time()
        self._gone: list[float] = []
        self._broken = 0.0

    def told(self) -> Told:
        """Tell it; raises AssertionError where something that must come doesn't."""
        for watched in (self._mdep, self._grant, self._route):
            watched.start()
        try:
            self._champion()
            self._challenger()
            verdict = self._fault()
            self._rest()
        finally:
            self._killer.stop()
            if self._traffic.sent:
                self._traffic.end()
            for watched in (self._mdep, self._grant, self._route):
                watched.stop()
        if self._killer.problem:
            raise RuntimeError(self._killer.problem)
        return self._sum(verdict)

    def _champion(self) -> None:
        self._apply("1")
        self._until("version 1 at Shadow", lambda item: _standing(item, "candidate") == ("1", "Shadow", 0))
        self._until_routed()
        self._traffic.start()
        self._killer.start()
        self._until("version 1 the champion", lambda item: _standing(item, "champion") == ("1", "Automate", 100))

    def _challenger(self) -> None:
        self._apply("2")
        self._until("version 2 at Shadow", lambda item: _standing(item, "candidate") == ("2", "Shadow", 0))
        self._until("version 2 at Suggest", lambda item: _standing(item, "candidate") == ("2", "Suggest", 0))
        for share in (10, 50, 100):
            asked = ("2", "Automate", share)
            # A step may be over, and it the champion, before anybody looks.
            self._until(
                f"version 2 at {share} %",
                lambda item, asked=asked: asked in (_standing(item, "candidate"), _standing(item, "champion")),  # type: ignore[misc]
            )
            if share == 50 and self._plan.restart:
                self._gone.append(restart_api_server(self._cluster, note=self._say))
                self._say(f"the API server is back after {self._gone[-1]:.1f} s")
        self._until("version 2 the champion", lambda item: _standing(item, "champion") == ("2", "Automate", 100))

    def _fault(self) -> float:
        """The moment of the verdict that took version 2 down: from when the operator says it, rounded up, less 1 s."""
        self._killer.spare(True)
        self._traffic.break_feed()
        self._broken = time.time()
        self._say("December: the delay at the gate is missing from now on")
        item = self._until("version 2 demoted", lambda item: _standing(item, "champion") == ("2", "Suggest", 0))
        demoted = next(entry for entry in reversed(item["status"]["history"]) if entry["what"] == "Demoted")
        self._say(f"demoted: {demoted['why']}")
        answers = self._traffic.entries

        def fallen_back() -> bool | None:
            latest = [entry for entry in list(answers)[-40:] if entry.address == "act"]
            return True if latest and all(entry.autonomy == FALLBACK for entry in latest) else None

        eventually("only the fallback to answer", fallen_back, seconds=60, seen=lambda: answers[-5:])
        self._killer.spare(False)
        return datetime.fromisoformat(demoted["at"]).timestamp() - 1

    def _rest(self) -> None:
        """What is left of requests and kills."""

        def enough() -> bool | None:
            self._check()
            return True if self._killer.done and self._traffic.sent >= self._plan.requests else None

        left = max(0, self._plan.requests - self._traffic.sent) / self._plan.rate
        left += max(0, self._plan.kills - len(self._killer.kills)) * (self._plan.gap + 10)
        eventually("all requests and kills", enough, seconds=2 * left + 60, seen=lambda: str(self._killer.kills))

    def _sum(self, verdict: float) -> Told:
        versions = self._versions()
        levels = [(at, _granted(item, versions)) for at, item in self._grant.seen]
        last = self._mdep.last()
        assert last is not None
        history = self._history()
        summary = summed_up(
            self._traffic.entries,
            sent=self._traffic.sent,
            granted=spells(levels),
            splits=list(splits(self._route.seen, until=time.time())),
            grace=GRACE,
            settle=SETTLE,
            kills=len(self._killer.kills),
            restarts=len(self._gone),
            version="2",
            verdict=verdict,
            chance=self._plan.chance,
        )
        demoted = next(entry for entry in history if entry["what"] == "Demoted")
        return Told(
            plan=self._plan,
            summary=summary,
            history=history,
            began=self._began,
            took=time.time() - self._began,
            gone=sum(self._gone),
            refuted=demoted["why"],
            showed=verdict - self._broken,
            pairs=max(self._each("pairs"), key=lambda pairs: int(pairs.get("paired", 0)), default={}),
            decisions=self._decided(versions),
        )

    def _history(self) -> list[Object]:
        """Every transition, in order; a status keeps the last 20."""
        found: dict[str, Object] = {}
        for _, item in self._mdep.seen:
            for entry in (item.get("status") or {}).get("history") or ():
                found.setdefault(f"{entry['at']} {entry['what']} {entry.get('version')} {entry.get('after')}", entry)
        return list(found.values())

    def _each(self, part: str) -> Iterator[Object]:
        """What the model's status ever said there."""
        return ((item.get("status") or {}).get(part) or {} for _, item in self._mdep.seen)

    def _decided(self, versions: Mapping[str, str]) -> Object:
        on = (found for found in self._each("decisions") if versions.get(found.get("revision", "")) == "2")
        return max(on, key=lambda found: found["blind"]["count"] + found["shown"]["count"], default={})

    def _versions(self) -> dict[str, str]:
        """The version of each revision that the model's status ever named."""
        found: dict[str, str] = {}
        for _, item in list(self._mdep.seen):
            status = item.get("status") or {}
            for holder in (status.get("champion"), status.get("candidate"), status.get("previous")):
                if holder:
                    found[holder["revision"]] = holder["version"]
        return found

    def _apply(self, version: str) -> None:
        self._place.apply(manifest(version, namespace=self._place.name, day=self._plan.day))
        self._say(f"applied version {version}")

    def _until_routed(self) -> None:
        """Both addresses answer through the gateway, so that requests find somebody."""

        def routed() -> bool | None:
            found = self._routes()
            taken = len(found) == 2 and all(map(_taken, found))
            return True if taken and all(self._traffic.answers(address) for address in SAYS) else None

        eventually("the routes to be taken", routed, seconds=120, seen=self._routes)

    def _routes(self) -> list[Object]:
        found = self._cluster.admin.list(like("HTTPRoute", self._place.name, api=ROUTE))
        return [item for item in found if item["metadata"]["name"] in (MODEL, f"{MODEL}-suggest")]

    def _until(self, what: str, check: Callable[[Object], bool]) -> Object:
        def attempt() -> Object | None:
            self._check()
            item = self._mdep.last()
            return item if item is not None and check(item) else None

        item = eventually(what, attempt, seconds=self._plan.patience, seen=self._seen)
        self._say(what)
        return item

    def _check(self) -> None:
        for problem in (self._traffic.problem, self._killer.problem):
            assert not problem, problem

    def _seen(self) -> str:
        item = self._mdep.last() or {"metadata": {}}
        told = {kind: condition(item, kind) for kind in ("Granted", "Ready", "Stalled", "Evaluated")}
        return "; ".join(f"{kind}={found.get('status')} {found.get('message')}" for kind, found in told.items())

    def _tell(self, events: list[Object]) -> None:
        """Tell the recorder, as a client in the cluster would."""
        where = f"/api/v1/namespaces/{SYSTEM}/services/mandate-recorder:8080/proxy/v1/events"
        content = "application/cloudevents-batch+json"
        said = self._cluster.admin.request("POST", where, events, content=content)
        if said["refused"] or said["accepted"] + said["duplicates"] != len(events):
            raise ValueError(f"the recorder refused events: {said}")

    def _say(self, what: str) -> None:
        since, sent, kills = time.time() - self._began, self._traffic.sent, len(self._killer.kills)
        print(f"   {since:6.0f} s  {sent:6d} requests  {kills:3d} kills  {what}", flush=True)


@contextmanager
def staged(cluster: Cluster, plan: Plan, *, address: str) -> Iterator[Story]:
    """A namespace with tables, models and the rule to fall back on, ready for a story; the gateway's is `address`."""
    folder = prepared()
    names = ("leaseDuration", "renewDeadline", "retryPeriod")
    lease = {f"controller__leaderElection__{name}": value for name, value in zip(names, plan.lease, strict=True)}
    with (
        cluster.upgraded(judge=cluster.images["judge"], **lease),
        space(cluster, "story", enforce="Labelled") as place,
    ):
        for volume, part in ((place.data, "data"), (place.models, "models")):
            for path in (folder / part).rglob("*"):
                if path.is_file():
                    place.put(volume / path.relative_to(folder / part), path.read_bytes())
        pinned = f"image: {cluster.images['predictor']} "
        setup = (EXAMPLE / "namespace.yaml").read_text().replace("image: mandate/predictor ", pinned)
        for document in yaml.safe_load_all(setup):
            if document["kind"] != "Namespace":
                document["metadata"]["namespace"] = place.name
                place.apply(document)
        eventually("the rule to answer", lambda: place.endpoints("rule") or None, seconds=120)
        yield Story(cluster, place, plan, address)


def _standing(item: Mapping[str, Any], role: str) -> tuple[str, str, int]:
    """Version, level and share of the champion or the candidate; empty where there is none."""
    holder = (item.get("status") or {}).get(role) or {}
    return str(holder.get("version", "")), str(holder.get("level", "")), int(holder.get("share", 0))


def _decisions(decisions: Mapping[str, Any], how: str) -> int:
    return int((decisions.get(how) or {}).get("count", 0))


def _taken(route: Mapping[str, Any]) -> bool:
    """Whether a gateway accepts the route."""
    parents = (route.get("status") or {}).get("parents") or ()
    return any(c["type"] == "Accepted" and c["status"] == "True" for each in parents for c in each["conditions"])


def _granted(grant: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, str]:
    entries = (grant.get("spec") or {}).get("grants") or {}
    return {versions[revision]: entry["level"] for revision, entry in entries.items() if revision in versions}


def splits(seen: Sequence[tuple[float, Object]], *, until: float) -> Iterator[Split]:
    """What a route gave to whom, from when the gateway says that it carries it until the route is changed again."""
    known: list[tuple[float, float, dict[str, float]]] = []
    for at, route in seen:
        split = split_of(route)
        if split is None:
            continue
        shares: dict[str, float] = {}
        for each in split.backends:
            who = each.version or FALLBACK
            shares[who] = shares.get(who, 0.0) + float(each.share)
        carried = math.inf if accepted(route) else at
        if not known or known[-1][2] != shares:
            known.append((at, carried, shares))
        elif known[-1][1] > carried:
            known[-1] = (known[-1][0], carried, shares)
    ends = [at - SEEN for at, _, _ in known[1:]] + [until]
    for (_, carried, shares), end in zip(known, ends, strict=True):
        if carried < end:
            yield Split(since=carried, until=end, shares={who: share for who, share in shares.items() if share})
