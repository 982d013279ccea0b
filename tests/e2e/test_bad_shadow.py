"""A bad candidate at Shadow beside a champion: what its copies do to the champion's answers, measured.

Three addresses lead to the same champion: one without copies, one with copies to a healthy candidate, one with copies
to a bad one. Short blocks of requests take turns, in an order drawn anew each turn. Of each block the median and the
95th percentile are kept, and blocks of the same turn compared: is the one beside the bad candidate slower by more than
a margin? Counts of that are the same whatever the machine's speed, and whatever it does besides for longer than a turn.

Where it is slower by no more than the margin in at least half of the turns, the count is shown to be more than half in
at most ALPHA of runs, all comparisons of a fault together (Bonferroni): 44 of 60 turns. Power: a bad candidate whose
blocks are slower by more than the margin in 80 % of turns is caught in 92 % of runs, one in 85 % of turns in 99 %.
Where blocks vary by 10 %, that is one that makes answers 1.45 times as slow as a healthy one does (simulated: 99 %).
"""

from __future__ import annotations

import http.client
import json
import math
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from functools import partial

import pytest
from scipy.stats import binom

from mandate.rollout.gateway import Mirror, Split, accepted, routes
from tests.e2e.cluster import eventually, like
from tests.e2e.test_gateway import PATH, ROUTE, Lab, backend, lab, model

__all__ = ["lab"]

TURNS = 60
REQUESTS = 20
PAUSE = 0.2
"""Seconds before each block: copies of a slow candidate are under way for 10 s, and shouldn't pile up."""
ALPHA = 0.001
NONE, GOOD = "none", "shadow"
MARGINS = {GOOD: 0.25, NONE: 1.0}
"""By how much it may be slower than beside whom. Copies to anybody cost something where all share a few cores, and that
is no fault of the bad one: so more than without any. On two busy cores, copies to the healthy one made the median 1.2
to 1.3 times as long."""
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [0.5]}]})

Kept = dict[str, list[float]]


def high(taken: list[float]) -> float:
    """The 95th percentile: 95 of 100 took no longer."""
    return sorted(taken)[math.ceil(0.95 * len(taken)) - 1]


def slower(left: list[float], right: list[float], *, margin: float) -> tuple[int, float]:
    """In how many pairs `left` is larger by more than the margin, and how likely so many are where half of them are."""
    count = sum(mine > other * (1 + margin) for mine, other in zip(left, right, strict=True))
    return count, float(binom.sf(count - 1, len(left), 0.5))


def hosted(lab: Lab, shadow: str) -> str:
    """A route of its own to the champion while `shadow` gets copies of all requests; its host name."""
    host = f"beside-{shadow}.{lab.host.partition('.')[2]}"
    champion = [backend("champion", 1)]
    mirror = None if shadow == NONE else Mirror(service=shadow, port=80, share=Fraction(1))
    name = f"beside-{shadow}"
    route, _ = routes(
        name=name,
        namespace=lab.namespace,
        parents=lab.parents,
        hostnames=[host],
        act=Split(backends=champion, mirror=mirror),
        suggest=Split(backends=champion),
    )
    lab.cluster.admin.apply(route)

    def told() -> str:
        return accepted(lab.cluster.admin.get(like("HTTPRoute", lab.namespace, name, api=ROUTE)))

    eventually(f"the gateway to carry {name}", lambda: None if told() else True, seconds=120, seen=told)
    return host


def block(connection: http.client.HTTPConnection, host: str) -> list[float]:
    """One block of requests, one after another, in milliseconds; each must be the champion's answer."""
    headers = {"Host": host, "Content-Type": "application/json"}
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("POST", PATH, BODY, headers)
        answer = connection.getresponse()
        text = answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, text
        assert json.loads(text)["model_name"] == "champion"
    return taken


def carried(lab: Lab, host: str) -> bool | None:
    """Whether Envoy has the route by now."""
    connection = http.client.HTTPConnection(lab.address, timeout=60)
    try:
        connection.request("POST", PATH, BODY, {"Host": host, "Content-Type": "application/json"})
        return connection.getresponse().status == 200 or None
    finally:
        connection.close()


def copied(lab: Lab, shadow: str, before: int) -> bool | None:
    """Whether it has nearly all the copies that it should; a gateway drops some."""
    return len(lab.recorded(shadow)) - before >= 0.95 * TURNS * REQUESTS or None


@pytest.mark.parametrize("fault", ["crashes", "fails", "is slow"])
def test_a_bad_candidate_at_shadow_leaves_the_champions_latency_alone(
    lab: Lab, fault: str, record_property: Callable[[str, object], None]
) -> None:
    bad = f"bad-{fault.replace(' ', '-')}"
    for item in model(lab.namespace, bad, lab.cluster.images["test-model"], fault=fault):
        lab.cluster.admin.apply(item)
    lab.cluster.run("kubectl", "-n", lab.namespace, "rollout", "status", f"deployment/{bad}", "--timeout=180s")
    # All routes are there before the first request: a candidate that has crashed has no endpoint to be told of.
    hosts = {shadow: hosted(lab, shadow) for shadow in (NONE, GOOD, bad)}
    for host in hosts.values():
        eventually(f"{host} to be answered", partial(carried, lab, host), seconds=120)
    before = len(lab.recorded(GOOD))  # the lab is the module's

    medians: Kept = {shadow: [] for shadow in hosts}
    highs: Kept = {shadow: [] for shadow in hosts}
    chance = random.Random(fault)  # the order is the same each time
    with ExitStack() as stack:
        connections = {}
        for shadow in hosts:
            connections[shadow] = http.client.HTTPConnection(lab.address, timeout=60)
            stack.callback(connections[shadow].close)
        for _ in range(TURNS):
            for shadow in chance.sample(list(hosts), len(hosts)):
                time.sleep(PAUSE)
                taken = block(connections[shadow], hosts[shadow])
                medians[shadow].append(statistics.median(taken))
                highs[shadow].append(high(taken))

    # Copies were made: without them there would be nothing to compare. Whoever crashes forgets them.
    eventually("copies to the healthy one", partial(copied, lab, GOOD, before), seconds=60)
    if fault != "crashes":
        eventually("copies to the bad one", partial(copied, lab, bad, 0), seconds=60)

    problems = []
    for what, kept in (("median", medians), ("95th percentile", highs)):
        for other, margin in MARGINS.items():
            count, likely = slower(kept[bad], kept[other], margin=margin)
            typical = f"{statistics.median(kept[bad]):.2f} ms, beside {other} {statistics.median(kept[other]):.2f} ms"
            words = f"{what} {typical}; slower by more than {margin:.0%} in {count} of {TURNS} (p={likely:.2g})"
            record_property("measured", words)
            if likely < ALPHA / (2 * len(MARGINS)):
                problems.append(words)
    assert problems == []
