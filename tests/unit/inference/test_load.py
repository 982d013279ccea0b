"""The load generator in virtual time: when requests are sent, and from when their latency counts."""

import asyncio
import selectors

import numpy as np
import pytest

from mandate.inference.errors import InferenceError
from mandate.inference.load import Plan, run


class VirtualSelector(selectors.SelectSelector):
    """Instead of waiting, moves the loop's clock."""

    now = 0.0

    def select(self, timeout=None):
        if timeout:
            self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self):
        return self.virtual.now


def virtually(send_of, plan, **options):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(run(send_of(loop), plan, clock=loop.time, **options))
    finally:
        loop.close()


PLAN = Plan(rate=100, blocks=4, requests=400, warm_up=5, pause=1.0)


def steady(seconds):
    def of(loop):
        async def send(number):
            await asyncio.sleep(seconds)

        return send

    return of


def test_the_servers_account_is_asked_for_between_blocks():
    """After the last answer of a block, and before the first request of the next."""
    under_way, seen = 0, []

    def of(loop):
        async def send(number):
            nonlocal under_way
            under_way += 1
            await asyncio.sleep(0.02)
            under_way -= 1

        return send

    async def after():
        seen.append(under_way)

    virtually(of, PLAN, after=after)
    assert seen == [0] * PLAN.blocks


def test_a_steady_server_has_its_own_latency():
    loaded = virtually(steady(0.02), PLAN)
    assert [len(block) for block in loaded.blocks] == [100] * 4
    assert loaded.requests == 400
    np.testing.assert_allclose(np.concatenate(loaded.blocks), 0.02, atol=2.1e-3)
    assert (loaded.crashes, loaded.timeouts, loaded.first_error) == (0, 0, None)


@pytest.mark.row("L1/load")
def test_requests_do_not_wait_for_answers():
    """At 100/s and 2 s per answer about 200 are under way; a closed loop would never have more than one."""
    most = 0

    def of(loop):
        under_way = 0

        async def send(number):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(2)
            under_way -= 1

        return send

    virtually(of, Plan(rate=100, blocks=1, requests=400, warm_up=0))
    assert 150 <= most <= 300


def test_a_stall_counts_against_every_request_that_was_due_meanwhile():
    """One worker stops for a second: requests due meanwhile waited, although they took no time themselves."""

    def of(loop):
        free = asyncio.Lock()

        async def send(number):
            async with free:
                await asyncio.sleep(1.0 if number == 50 else 0.0)

        return send

    [block] = virtually(of, Plan(rate=100, blocks=1, requests=400, warm_up=0)).blocks
    waited = block > 0.1
    assert 70 <= waited.sum() <= 110  # those due in the first 0.9 s of the stop, about 90
    assert block[50] == pytest.approx(1.0, abs=0.01)
    late = block[50:][waited[50:]]
    assert list(late) == sorted(late, reverse=True)


def test_the_schedule_is_a_seeded_poisson_process():
    def arrivals(seed):
        times = []

        def of(loop):
            async def send(number):
                times.append(loop.time())

            return send

        virtually(of, Plan(rate=50, blocks=1, requests=2000, seconds=60, warm_up=0, seed=seed))
        return np.diff(times)

    gaps = arrivals(1)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.1)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.15)
    np.testing.assert_array_equal(gaps, arrivals(1))
    assert not np.array_equal(gaps, arrivals(2))


def failing_every(step, code):
    def of(loop):
        async def send(number):
            await asyncio.sleep(0.01)
            if number % step == step - 1:
                raise InferenceError(code, "gone")

        return send

    return of


@pytest.mark.parametrize(("code", "crashes", "timeouts"), [("PredictorCrashed", 40, 0), ("PredictorTimeout", 0, 40)])
def test_crashes_and_timeouts_are_counted_and_wait_the_longest(code, crashes, timeouts):
    loaded = virtually(failing_every(10, code), PLAN)
    assert (loaded.crashes, loaded.timeouts, loaded.first_error) == (crashes, timeouts, "gone")
    assert np.count_nonzero(np.concatenate(loaded.blocks) == PLAN.timeout) == 40


def test_a_request_that_is_refused_beforehand_says_nothing_of_speed():
    with pytest.raises(InferenceError, match="gone") as caught:
        virtually(failing_every(5, "RequestRefused"), PLAN)
    assert caught.value.code == "RequestRefused"


def test_requests_refused_under_load_are_counted():
    """As by a server that sheds load with status 429."""
    loaded = virtually(failing_every(50, "RequestRefused"), PLAN)
    assert (loaded.refused, loaded.failed, loaded.first_error) == (8, 8, "gone")
    assert np.count_nonzero(np.concatenate(loaded.blocks) == PLAN.timeout) == 8


@pytest.mark.row("L1/load")
def test_a_closed_loop_would_hide_the_stall_that_is_seen_here():
    """The same server, asked by one client that waits for each answer: one slow request in 400, p99 is as if nothing
    had been. The open loop sees what callers see: those who came during the second waited for the rest of it."""

    def server(loop):
        free = asyncio.Lock()

        async def send(number):
            async with free:
                await asyncio.sleep(1.0 if number == 50 else 0.001)

        return send

    async def closed(send, clock):
        latencies = []
        for number in range(400):
            start = clock()
            await send(number)
            latencies.append(clock() - start)
        return np.array(latencies)

    loop = VirtualLoop()
    try:
        hidden = loop.run_until_complete(closed(server(loop), loop.time))
    finally:
        loop.close()
    [block] = virtually(server, Plan(rate=100, blocks=1, requests=400, warm_up=0)).blocks
    assert np.quantile(hidden, 0.99) < 0.01
    assert np.quantile(block, 0.99) > 0.9
    assert (hidden > 0.1).sum() == 1
    assert (block > 0.1).sum() >= 70


def busy(seconds):
    """This process is what is slow: each request costs it `seconds` before it leaves the loop free again."""

    def of(loop):
        async def send(number):
            loop.virtual.now += seconds

        return send

    return of


def test_a_slow_generator_is_told_from_a_slow_server():
    loaded = virtually(busy(0.02), Plan(rate=100, blocks=4, requests=400, warm_up=0))
    assert loaded.kept == pytest.approx(0.5, abs=0.1)
    assert loaded.late > 300
    late, own = np.concatenate(loaded.blocks), np.concatenate(loaded.sent)
    assert np.median(late) > 0.3
    np.testing.assert_allclose(own, 0.02, atol=1e-9)


def test_a_slow_server_leaves_the_schedule_alone():
    loaded = virtually(steady(2), Plan(rate=100, blocks=2, requests=200, warm_up=0))
    assert (loaded.kept, loaded.late) == (pytest.approx(1, abs=0.01), 0)
    np.testing.assert_allclose(np.concatenate(loaded.sent), np.concatenate(loaded.blocks), atol=2e-3)


def test_requests_beyond_what_may_be_under_way_count_as_unanswered():
    loaded = virtually(steady(5), Plan(rate=100, blocks=1, requests=400, warm_up=0, in_flight=50))
    assert 300 <= loaded.timeouts <= 350
    assert "50 requests were waiting" in loaded.first_error


@pytest.mark.parametrize(("rate", "expected"), [(100, 100), (1000, 100), (10, 30), (1, 3), (0.01, 1)])
def test_low_rates_get_fewer_requests(rate, expected):
    assert Plan(rate=rate).per_block() == expected
