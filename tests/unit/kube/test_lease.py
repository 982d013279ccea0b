"""Leadership in virtual time: candidates with clocks that run apart, a store that is slow, fails, or loses answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.kube.errors import ConflictError, UnavailableError
from mandate.kube.lease import Elector, LeaseSettings, LostLeadershipError, lead
from tests.unit.virtual import run

DURATION, DEADLINE, RETRY = 10.0, 6.0, 2.0


@dataclass
class Fake:
    """The Lease as an API server keeps it; `delay` and `fault` play the network for one candidate."""

    shelf: dict[str, Any] = field(default_factory=dict)
    delay: Callable[[], float] = lambda: 0.0
    fault: Callable[[], str] = lambda: ""

    async def _network(self) -> str:
        await asyncio.sleep(self.delay())
        fault = self.fault()
        if fault == "lost request":
            raise UnavailableError("no answer")
        return fault

    def _answer(self, fault: str, lease: Any) -> Any:
        if fault == "lost answer":
            raise UnavailableError("no answer")
        return lease

    async def read(self) -> Any:
        fault = await self._network()
        return self._answer(fault, self.shelf.get("lease"))

    async def create(self, lease: Any) -> Any:
        fault = await self._network()
        if "lease" in self.shelf:
            raise ConflictError("it exists")
        self.shelf["lease"] = _versioned(lease, 1)
        return self._answer(fault, self.shelf["lease"])

    async def replace(self, lease: Any) -> Any:
        fault = await self._network()
        version = int(self.shelf["lease"]["metadata"]["resourceVersion"])
        if lease["metadata"]["resourceVersion"] != str(version):
            raise ConflictError("it changed")
        self.shelf["lease"] = _versioned(lease, version + 1)
        return self._answer(fault, self.shelf["lease"])


def _versioned(lease: Any, version: int) -> Any:
    return {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(version)}}


def elector(store: Fake, identity: str, *, skew: float = 0.0) -> Elector:
    lease = LeaseSettings("mandate", "here", identity, duration=DURATION, renew_deadline=DEADLINE, retry_period=RETRY)
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=skew)

    def passed() -> float:
        return asyncio.get_running_loop().time()

    return Elector(
        store, lease, monotonic=lambda: passed() + 1000 * skew, now=lambda: start + timedelta(seconds=passed())
    )


def holder(store: Fake) -> str:
    return str(store.shelf["lease"]["spec"]["holderIdentity"])


def test_the_first_leads_and_the_second_waits_for_its_release() -> None:
    async def main() -> list[tuple[float, str]]:
        shelf: dict[str, Any] = {}
        led: list[tuple[float, str]] = []

        def candidate(name: str, seconds: float) -> asyncio.Task[None]:
            async def do() -> None:
                led.append((asyncio.get_running_loop().time(), name))
                await asyncio.sleep(seconds)

            return asyncio.create_task(lead(elector(Fake(shelf), name), do))

        first, second = candidate("a", 30), candidate("b", 5)
        await asyncio.gather(first, second)
        return led

    (began, first), (followed, second) = run(main())
    assert (began, first, second) == (0, "a", "b")
    assert 30 <= followed <= 30 + RETRY, "a release needn't be waited out"


def test_a_dead_leaders_lease_is_taken_over_after_its_duration_by_ones_own_clock() -> None:
    async def main() -> float:
        shelf: dict[str, Any] = {}
        first = elector(Fake(shelf), "a")
        await first.acquire()
        # Its wall clock is a day ahead of the dead leader's: that must not matter.
        second = elector(Fake(shelf), "b", skew=86400)
        await second.acquire()
        return asyncio.get_running_loop().time()

    taken = run(main())
    assert DURATION <= taken <= DURATION + RETRY


def test_whoever_cannot_renew_stops_before_anyone_else_starts() -> None:
    async def main() -> tuple[float, float]:
        shelf: dict[str, Any] = {}
        cut = [False]
        mine = Fake(shelf, fault=lambda: "lost request" if cut[0] else "")

        async def forever() -> None:
            await asyncio.sleep(5)
            cut[0] = True
            await asyncio.Event().wait()

        async def stopped() -> float:
            with pytest.raises(LostLeadershipError):
                await lead(elector(mine, "a"), forever)
            return asyncio.get_running_loop().time()

        async def started() -> float:
            await asyncio.sleep(1)
            await elector(Fake(shelf), "b").acquire()
            return asyncio.get_running_loop().time()

        ended, began = await asyncio.gather(stopped(), started())
        return ended, began

    ended, began = run(main())
    assert ended < began


def test_a_hung_request_counts_as_no_renewal() -> None:
    async def main() -> float:
        shelf: dict[str, Any] = {}
        hung = [0.0]
        store = Fake(shelf, delay=lambda: hung[0])

        async def forever() -> None:
            hung[0] = 10_000.0
            await asyncio.Event().wait()

        with pytest.raises(LostLeadershipError):
            await lead(elector(store, "a"), forever)
        return asyncio.get_running_loop().time()

    assert run(main()) <= DEADLINE


def test_any_exception_of_the_work_ends_leadership_and_frees_the_lease() -> None:
    async def main() -> str:
        store = Fake()

        async def broken() -> None:
            raise ZeroDivisionError("a defect")

        with pytest.raises(ZeroDivisionError):
            await lead(elector(store, "a"), broken)
        return holder(store)

    assert run(main()) == ""


def test_any_exception_of_the_renewal_ends_the_work() -> None:
    async def main() -> list[str]:
        events: list[str] = []
        broken = [False]

        def fault() -> str:
            if broken[0]:
                raise ZeroDivisionError("a defect")
            return ""

        async def forever() -> None:
            broken[0] = True
            try:
                await asyncio.Event().wait()
            finally:
                events.append("stopped")

        with pytest.raises(ZeroDivisionError):
            await lead(elector(Fake(fault=fault), "a"), forever)
        return events

    assert run(main()) == ["stopped"]


def test_a_lost_lease_is_not_given_back() -> None:
    async def main() -> str:
        shelf: dict[str, Any] = {}
        store = Fake(shelf)

        async def robbed() -> None:
            await asyncio.sleep(1)
            lease = shelf["lease"]
            shelf["lease"] = _versioned({**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}}, 99)
            await asyncio.Event().wait()

        with pytest.raises(LostLeadershipError, match="thief leads now"):
            await lead(elector(store, "a"), robbed)
        return holder(store)

    assert run(main()) == "thief"


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.2, 0.5, 0.9]), slow=st.sampled_from([0.0, 1.0, 4.0]))
def test_there_are_never_two_leaders(seed: int, loss: float, slow: float) -> None:
    """Three candidates, each coming back after it lost, over ten virtual minutes of a bad network."""

    async def main() -> tuple[int, int]:
        dice = random.Random(seed)
        shelf: dict[str, Any] = {}
        leading: set[str] = set()
        most = reigns = 0

        def fault() -> str:
            return dice.choice(["lost request", "lost answer"]) if dice.random() < loss else ""

        async def work(name: str) -> None:
            nonlocal most, reigns
            leading.add(name)
            reigns += 1
            most = max(most, len(leading))
            try:
                await asyncio.sleep(dice.uniform(0, 120))
            finally:
                leading.discard(name)

        async def candidate(name: str, skew: float) -> None:
            turn = 0
            while True:
                turn += 1
                store = Fake(shelf, delay=lambda: dice.uniform(0, slow), fault=fault)
                identity = f"{name}-{turn}"
                with_lease = elector(store, identity, skew=skew)
                try:
                    await lead(with_lease, lambda identity=identity: work(identity))  # type: ignore[misc]
                except LostLeadershipError:
                    await asyncio.sleep(dice.uniform(0, 5))

        tasks = [asyncio.create_task(candidate(name, dice.uniform(-1e6, 1e6))) for name in ("a", "b", "c")]
        await asyncio.sleep(600)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return most, reigns

    most, reigns = run(main())
    assert most <= 1
    assert reigns >= 1 or loss > 0.5


@pytest.mark.parametrize("times", [(6, 6, 2), (10, 2, 2), (10, 6, 0), (10, 6, -1)])
def test_times_that_could_overlap_are_refused(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="duration > renew deadline > retry period"):
        LeaseSettings("a", "b", "c", duration=times[0], renew_deadline=times[1], retry_period=times[2])
