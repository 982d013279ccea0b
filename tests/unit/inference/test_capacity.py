"""What a server can do, in virtual time: the capacity, the rate that holds, and whose limit it was."""

import asyncio

import numpy as np
import pytest

from mandate.inference.capacity import Capacity, Effort, holds, limits, measure
from mandate.inference.client import Usage
from mandate.inference.errors import InferenceError
from mandate.inference.load import Loaded
from tests.unit.inference.test_load import VirtualLoop

EFFORT = Effort()


def measured(server, *, effort=EFFORT, own=lambda now: 0.1 * now, cpu=lambda answered: 0.002 * answered):
    loop = VirtualLoop()
    answered = 0

    async def used():
        return None if cpu is None else Usage(cold=1.0, cpu=cpu(answered), memory=1000.0 + answered)

    send = server(loop)

    async def counted(number):
        nonlocal answered
        await send(number)
        answered += 1

    try:
        return loop.run_until_complete(
            measure(counted, effort, timeout=10, usage=used, clock=loop.time, own=lambda: own(loop.time()))
        )
    finally:
        loop.close()


def workers(count, seconds, *, jitter=0.2):
    """A server that answers `count` requests at once, each in about `seconds`."""

    def of(loop):
        free = asyncio.Semaphore(count)
        random = np.random.default_rng(1)

        async def send(number):
            async with free:
                await asyncio.sleep(seconds * random.uniform(1 - jitter, 1 + jitter))

        return send

    return of


@pytest.mark.row("L2/throughput")
def test_the_capacity_is_what_the_workers_can_do():
    found = measured(workers(2, 0.02))
    assert found.rate == pytest.approx(100, rel=0.05)
    assert found.held == pytest.approx(0.9 * found.rate)
    assert sum(found.cpu) == pytest.approx(0.002 * sum(found.answers))
    assert np.diff(found.memory).tolist() == list(found.answers[1:])
    assert (found.failed, found.own) == (0, pytest.approx(0.1))
    lower, upper = limits(found)
    assert lower[0] == pytest.approx(found.held, rel=0.05)
    assert 100 < upper[0] < 110


def test_a_server_that_answers_many_at_once_is_given_many():
    """What waits for others takes 50 ms, whether for one or for hundred: eight at once are no measure of it."""
    found = measured(workers(100, 0.05))
    assert found.rate == pytest.approx(2000, rel=0.05)
    assert (found.under_way, found.more) == (128, False)
    assert found.held > 0.8 * found.rate
    assert limits(found)[1][0] > 1950


def test_where_more_at_once_might_be_answered_faster_there_is_no_upper_limit():
    lower, upper = limits(measured(workers(1000, 0.05), effort=Effort(most=32)))
    assert lower[0] > 500
    assert set(upper) == {None}


def test_a_rate_that_a_busy_server_answers_but_callers_at_random_cannot_have_does_not_hold():
    """It answers 100 a second to eight who wait their turn, but fails where more than nine wait."""

    def of(loop):
        free, waiting = asyncio.Semaphore(1), 0

        async def send(number):
            nonlocal waiting
            waiting += 1
            try:
                if waiting > 9:
                    raise InferenceError("RequestRefused", "status 429")
                async with free:
                    await asyncio.sleep(0.01)
            finally:
                waiting -= 1

        return send

    found = measured(of)
    assert found.rate == pytest.approx(100, rel=0.05)
    assert found.held is not None
    assert found.held < 0.85 * found.rate


def test_a_slow_server_is_no_backlog():
    """Two seconds for each of eight at once: slow, but it keeps pace with what it can do."""
    found = measured(workers(8, 2.0), effort=Effort(blocks=5, run=20.0))
    assert found.rate == pytest.approx(4, rel=0.1)
    assert found.held is not None
    assert (found.under_way, found.more) == (8, False)


def test_a_server_that_fails_is_counted_and_not_hammered():
    def of(loop):
        async def send(number):
            raise InferenceError("PredictorCrashed", "gone")

        return send

    found = measured(of)
    assert (sum(found.answers), found.held) == (0, None)
    assert found.failed <= 10 * 8 * 51
    assert limits(found) == ((None,) * 31, (None,) * 31)


def test_a_server_that_hangs_ends_in_bounded_time():
    def of(loop):
        async def send(number):
            await asyncio.sleep(10)
            raise InferenceError("PredictorTimeout", "no answer")

        return send

    loop_times = []
    found = measured(of, own=lambda now: loop_times.append(now) or 0.0)
    assert sum(found.answers) == 0
    assert max(loop_times) <= 41


def test_a_server_that_says_nothing_of_its_cpu():
    assert measured(workers(2, 0.02), cpu=None).cpu is None


def test_where_this_process_was_the_limit_there_is_no_upper_one():
    found = measured(workers(2, 0.02), own=lambda now: 0.97 * now)
    lower, upper = limits(found)
    assert lower[0] is not None
    assert set(upper) == {None}


def test_without_variance_nothing_is_shown():
    still = Capacity(answers=(10,) * 5, seconds=(1.0,) * 5, cpu=None, failed=0, own=0.1, held=9.0)
    assert limits(still) == ((None,) * 31, (None,) * 31)


def of_latencies(*blocks, **others):
    return Loaded(blocks=tuple(map(np.array, blocks)), sent=tuple(map(np.array, blocks)), **others)


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        (of_latencies(np.full(100, 0.01), np.full(100, 0.01)), True),
        (of_latencies(np.full(100, 0.01), np.linspace(0, 1, 100)), False),
        (of_latencies(np.r_[np.full(99, 0.01), 1.0]), True),
        (of_latencies(np.full(100, 0.01), timeouts=1), False),
        (of_latencies(np.full(100, 0.01), kept=0.8), False),
    ],
    ids=["steady", "a wait that grows", "one slow answer at the end", "a request that failed", "a slow generator"],
)
def test_a_rate_holds_where_nothing_fails_and_no_backlog_is_left(loaded, expected):
    assert holds(loaded, patience=0.1) is expected
