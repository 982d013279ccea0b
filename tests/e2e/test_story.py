"""The story of the flights model, shortened: 5,000 requests and 5 kills (`make story`: 50,000 and 50)."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.cluster import Cluster
from tests.e2e.story.telling import Plan, staged

# Machines that run tests are often busy: with the chart's own 6 s to renew its Lease, an operator ends now and then.
LEASE = ("24", "18", "3")
PLAN = Plan(requests=5000, kills=5, rate=17.0, day=8.0, gap=45.0, patience=600.0, lease=LEASE, chance=0.001)


def test_a_challenger_becomes_champion_and_a_fault_takes_it_down(
    cluster: Cluster, gateway: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    with staged(cluster, PLAN, address=gateway["address"]) as story:
        told = story.told()
    record_property("measured", str(told.summary))
    assert told.problems() == []
