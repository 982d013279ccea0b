"""The work queue, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mandate.controller.queue import Backoff, Queue, work
from tests.unit.virtual import run


def now() -> float:
    return asyncio.get_running_loop().time()


async def worked(queue: Queue[str], handle: object, *, workers: int = 2, until: float = 1000.0) -> None:
    task = asyncio.create_task(work(queue, handle, workers=workers))  # type: ignore[arg-type]
    await asyncio.sleep(until)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_key_added_twice_is_worked_on_once() -> None:
    async def main() -> list[str]:
        queue: Queue[str] = Queue()
        done: list[str] = []

        async def handle(key: str) -> None:
            done.append(key)

        for key in ("a", "b", "a", "a"):
            queue.add(key)
        await worked(queue, handle)
        return done

    assert run(main()) == ["a", "b"]


def test_one_worker_per_key_and_once_more_after_an_add_meanwhile() -> None:
    async def main() -> tuple[int, list[tuple[float, float]]]:
        queue: Queue[str] = Queue()
        at_once, most, spans = 0, 0, []

        async def handle(key: str) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            began = now()
            await asyncio.sleep(10)
            spans.append((began, now()))
            at_once -= 1

        queue.add("a")
        task = asyncio.create_task(worked(queue, handle, workers=4))
        await asyncio.sleep(3)
        queue.add("a")
        queue.add("a")
        await task
        return most, spans

    assert run(main()) == (1, [(0, 10), (10, 20)])


def test_concurrency_is_bounded() -> None:
    async def main() -> int:
        queue: Queue[int] = Queue()
        at_once = most = 0

        async def handle(_: int) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(1)
            at_once -= 1

        for key in range(50):
            queue.add(key)
        await worked(queue, handle, workers=3)  # type: ignore[arg-type]
        return most

    assert run(main()) == 3


def test_the_earliest_of_several_delayed_adds_counts() -> None:
    async def main() -> list[float]:
        queue: Queue[str] = Queue()
        times: list[float] = []

        async def handle(_: str) -> None:
            times.append(now())

        queue.add_after("a", 50)
        queue.add_after("a", 20)
        queue.add_after("a", 90)
        await worked(queue, handle)
        return times

    assert run(main()) == [20]


def test_failures_back_off_and_success_forgets_them() -> None:
    async def main() -> list[float]:
        queue: Queue[str] = Queue(backoff=Backoff(base=1, cap=5, jitter=0))
        times: list[float] = []

        async def handle(_: str) -> None:
            times.append(now())
            if len(times) in (1, 2, 3, 4, 6):
                raise ValueError("not yet")
            if len(times) == 5:
                queue.add_after("a", 100)

        queue.add("a")
        await worked(queue, handle)
        return times

    assert run(main()) == [0, 1, 3, 7, 12, 112, 113]


def test_a_key_asks_to_be_looked_at_again() -> None:
    async def main() -> list[float]:
        queue: Queue[str] = Queue()
        times: list[float] = []

        async def handle(_: str) -> float | None:
            times.append(now())
            return 7.0 if len(times) < 3 else None

        queue.add("a")
        await worked(queue, handle)
        return times

    assert run(main()) == [0, 7, 14]


def test_every_key_is_worked_on_under_load() -> None:
    async def main() -> Counter[int]:
        queue: Queue[int] = Queue(backoff=Backoff(base=0.1, cap=1, jitter=0.5))
        done: Counter[int] = Counter()

        async def handle(key: int) -> None:
            await asyncio.sleep(0.01 * (key % 7))
            done[key] += 1
            if done[key] < 1 + key % 3:
                raise ValueError("again")

        for key in range(1000):
            queue.add(key)
        await worked(queue, handle, workers=8)  # type: ignore[arg-type]
        assert queue.idle()
        assert queue.depth() == 0
        return done

    done = run(main())
    assert done == Counter({key: 1 + key % 3 for key in range(1000)})


@pytest.mark.parametrize(("failures", "delay"), [(1, 2), (2, 4), (5, 32), (6, 60), (1000, 60)])
def test_backoff_doubles_up_to_its_cap(failures: int, delay: float) -> None:
    assert Backoff(base=2, cap=60, jitter=0).delay(failures, spread=0) == delay
    assert Backoff(base=2, cap=60, jitter=0.1).delay(failures, spread=-1) == pytest.approx(0.9 * delay)
