"""What is measured at a real server: latencies under load, and crashes."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest

from mandate.evaluate import local
from mandate.evidence.schema import Evidence
from mandate.inference.client import Limits, connect
from mandate.inference.codec import encode_request
from mandate.inference.errors import InferenceError
from mandate.inference.load import KEPT, Plan, run
from tests.evaluation import locally
from tests.models import predictor

RATE = 400
BODY = encode_request(
    {
        "amount": np.ones((1, 1), np.float32),
        "age": np.ones((1, 1), np.int64),
        "purpose": np.array([["car"]], dtype=object),
    },
    datatypes={"amount": "FP32", "age": "INT64", "purpose": "BYTES"},
    outputs=["probabilities"],
    binary=False,
)


def estimates(result):
    measured = Evidence.model_validate(result.evidence).measured.estimates
    return {(estimate.quantity.metric, estimate.quantity.load): estimate for estimate in measured}


@pytest.mark.row("L1/container")
def test_latencies_are_measured_under_each_load(pod, declared):
    load = f"{RATE}/s"
    declared["loads"] = [load]
    pod.fetch(declared)
    with predictor(pod.model) as (url, _):
        _, _, result = pod.judge(url)
    found = estimates(result)
    metrics = ("latency_p50", "latency_p95", "latency_p99", "crashes")
    counts = {(metric, where) for metric in ("crashes", "failed_requests") for where in (load, None)}
    own = {("memory_peak", None), ("cold_start", None)}
    assert set(found) == {*((metric, load) for metric in metrics[:3]), *counts, *own}
    assert found["memory_peak", None].estimate > 20
    assert found["cold_start", None].estimate > 0.1
    p50, p95, p99 = (found[metric, load] for metric in metrics[:3])
    assert 0 < p50.estimate <= p95.estimate <= p99.estimate
    kept = Evidence.model_validate(result.evidence).measured.loads[load].kept
    # A machine that is busy with other things may not keep up this rate; then it must say so.
    assert p99.interval.family == ("Table" if kept >= KEPT else "Unbounded")
    assert (p50.support.rows, p50.support.events) == (2000, 1000)
    assert (p99.support.rows, p99.support.events) == (2000, 20)
    assert found["crashes", None].support.rows == 1200 + 2000


@pytest.mark.row("L1/container")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_predictor_that_dies_or_hangs_under_load_is_seen(pod, declared, sign):
    """Killed: every later request is a crash. Stopped: every later one goes unanswered."""
    pod.fetch(declared)
    plan = Plan(rate=200, blocks=2, requests=200, warm_up=3, timeout=1.0)

    async def load(url, process):
        async with connect(url, model="model", limits=Limits()) as client:
            await client.wait_ready()
            sent = 0

            async def send(number):
                nonlocal sent
                sent += 1
                if sent == 100:
                    os.kill(process.pid, sign)
                await client.answer(BODY, timeout=plan.timeout)

            return await run(send, plan)

    with predictor(pod.model) as (url, process):
        loaded = asyncio.run(load(url, process))
    lost = np.count_nonzero(np.concatenate(loaded.blocks) == plan.timeout)
    assert lost >= 90
    if sign == signal.SIGKILL:
        assert loaded.crashes >= 90
    else:
        assert (loaded.crashes, loaded.timeouts >= 90) == (0, True)


def test_a_predictor_that_dies_between_batches_is_a_crash(pod, declared):
    pod.fetch(declared)
    with predictor(pod.model) as (url, process):

        async def die():
            async with connect(url, model="model", limits=Limits()) as client:
                await client.wait_ready()
                await client.answer(BODY)
                process.kill()
                process.wait()
                await client.answer(BODY)

        with pytest.raises(InferenceError, match="connection to the predictor was lost") as caught:
            asyncio.run(die())
    assert caught.value.code == "PredictorCrashed"


def test_what_a_server_can_do_is_measured_on_request(declared, claims):
    """The real predictor, on this machine: its rate, what holds, CPU time and cost belong together."""
    declared["service"] = ["Capacity"]
    declared["serving"] = {
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "prices": {"cpuHour": "0.04", "gibHour": "0.005", "currency": "EUR"},
    }
    measured = locally(declared, claims, serve=True).measured
    found = {e.quantity.metric: e for e in measured.estimates}
    throughput, cpu, cost = (found[name] for name in ("throughput", "cpu_per_prediction", "cost_per_million"))
    assert 0 < throughput.estimate <= measured.saturated.rate
    assert measured.saturated.failed == 0
    assert 0 < cpu.estimate < len(os.sched_getaffinity(0)) / measured.saturated.rate * 1.5
    assert cost.estimate == pytest.approx((2 * 0.04 + 0.005) / 3600 / throughput.estimate * 1e6)
    use, memory = found["used_cost_per_million"], found["memory_peak"].estimate
    rate = measured.saturated.rate
    most = (cpu.estimate * 0.04 + memory / 1024 / rate * 0.005) / 3600 * 1e6
    assert (cpu.estimate * 0.04) / 3600 * 1e6 < use.estimate <= most * (1 + 1e-9)
    assert len(measured.peaks.mib) == found["memory_peak"].support.rows >= 1 + 10 + 3
    assert measured.peaks.mib[-1] == pytest.approx(memory, rel=0.01)


@pytest.mark.row("L2/starts")
def test_the_server_is_started_again_and_again_where_that_can_be_done(declared, claims, monkeypatch):
    """Each start is a process of its own, whose own account says how long it took until it listened."""
    monkeypatch.setattr(local, "STARTING", 600.0)  # a busy machine's starts take their time, too
    before = time.monotonic()
    measured = locally(declared, claims, serve=True, starts=6).measured
    whole = time.monotonic() - before
    cold = next(e for e in measured.estimates if e.quantity.metric == "cold_start")
    seconds = sorted(measured.starts.seconds)
    assert (len(seconds), len(set(seconds)), measured.starts.once) == (6, 6, None)
    assert 0.1 < seconds[0] <= cold.estimate <= seconds[-1]
    assert sum(seconds) < whole
    assert (cold.interval.lower[0], cold.interval.upper[0]) == pytest.approx((seconds[0], seconds[-1]), abs=1e-3)
    assert set(cold.interval.upper[1:]) == {None}


@pytest.mark.row("L2/starts")
def test_where_starts_take_too_long_there_are_fewer_and_no_interval(declared, claims, monkeypatch):
    monkeypatch.setattr(local, "STARTING", 0.0)
    measured = locally(declared, claims, serve=True, starts=6).measured
    cold = next(e for e in measured.estimates if e.quantity.metric == "cold_start")
    assert len(measured.starts.seconds) == cold.support.rows == 1
    assert (cold.interval.family, cold.interval.needed) == ("Unbounded", 6)


@pytest.mark.row("L2/starts")
def test_a_start_that_fails_is_told_and_leaves_the_rest(declared, claims, monkeypatch):
    """The second start finds no model: there is no cold start, and what was measured before stays."""
    folders, predictor_of = [], local._predictor

    @asynccontextmanager
    async def without_a_model(spec, *, folder, digest):
        if folders:
            (folder / "model.onnx").unlink()
        folders.append(folder)
        async with predictor_of(spec, folder=folder, digest=digest) as server:
            yield server

    monkeypatch.setattr(local, "_predictor", without_a_model)
    found = {e.quantity.metric: e for e in locally(declared, claims, serve=True, starts=6).measured.estimates}
    assert (found["cold_start"].estimate, found["cold_start"].fault.code) == (None, "NotMeasured")
    assert "start 2 of 2" in found["cold_start"].fault.message
    assert found["memory_peak"].estimate > 20
    assert len(folders) == 2
