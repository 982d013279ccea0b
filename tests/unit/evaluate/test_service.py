"""Estimates from what the load generator saw."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import Prices, Serving
from mandate.evaluate.service import capacity, kept, measured, not_measured, rate_of, started, starts, under_load, used
from mandate.evidence.intervals import StudentT, Table, Unbounded
from mandate.inference.capacity import Capacity
from mandate.inference.client import Usage
from mandate.inference.load import Loaded, Plan
from tests.evaluation import declare
from tests.unit.inference.test_load import virtually

FOUND = Capacity(
    answers=(100, 110, 90, 105, 95),
    seconds=(0.5,) * 5,
    cpu=(0.2, 0.21, 0.19, 0.2, 0.2),
    memory=tuple(mib * 2.0**20 for mib in (380, 380, 390, 390, 400)),
    failed=0,
    own=0.4,
    held=180.0,
)
PRICES = Prices(cpu_hour="0.04", gib_hour="0.005", currency="EUR")


def seen(*, crashes=0):
    random = np.random.default_rng(1)
    blocks = tuple(random.exponential(0.01, 100) for _ in range(20))
    return Loaded(blocks=blocks, sent=blocks, crashes=crashes, timeouts=1, refused=2)


def test_each_load_gets_its_quantiles_and_crashes():
    found = {
        (e.quantity.metric, e.quantity.load): e
        for e in measured({"50/s": seen(), "9/s": seen(crashes=3)}, timeout=10, requests=500)
    }
    assert len(found) == 2 * 5 + 2
    assert found["latency_p50", "50/s"].estimate == pytest.approx(0.01 * np.log(2), rel=0.1)
    assert found["latency_p99", "50/s"].estimate == pytest.approx(0.01 * np.log(100), rel=0.2)
    assert found["latency_p95", "50/s"].support.events == 100
    assert found["crashes", "50/s"].estimate == 0
    assert found["crashes", "9/s"].estimate == 3
    assert (found["crashes", None].estimate, found["crashes", None].support.rows) == (3, 4500)
    assert found["failed_requests", "9/s"].estimate == 6
    assert (found["failed_requests", None].estimate, found["failed_requests", None].support.rows) == (9, 4500)


def test_without_loads_only_the_answers_themselves_count():
    found = measured({}, timeout=10, requests=500)
    assert [e.quantity.metric for e in found] == ["crashes", "failed_requests"]
    assert {(e.quantity.load, e.estimate, e.support.rows) for e in found} == {(None, 0, 500)}


def test_the_same_quantities_are_faulty_where_nothing_was_measured():
    done = {e.quantity for e in measured({"50/s": seen()}, timeout=10, requests=1)}
    done |= {e.quantity for e in (*used(None, None, first_answer=1), *capacity(FOUND, rows=1, serving=Serving()))}
    asked = ModelEvaluationSpec.model_validate(declare() | {"loads": ["50/s"], "service": ["Capacity"]})
    faulty = not_measured(asked, reason="offline")
    assert {e.quantity for e in faulty} == done
    assert {(e.estimate, e.interval, e.fault.code, e.fault.message) for e in faulty} == {
        (None, None, "NotMeasured", "offline")
    }


def test_rates():
    assert rate_of("50/s") == 50
    with pytest.raises(ValueError, match="50/m"):
        rate_of("50/m")


def p99(loaded):
    [found] = [e for e in measured({"50/s": loaded}, timeout=10, requests=0) if e.quantity.metric == "latency_p99"]
    return found


def test_what_the_generator_was_late_counts_against_passing_only():
    """The truth lies between the latencies from the moment due and those from the moment of sending."""
    random = np.random.default_rng(2)
    sent = tuple(random.exponential(0.01, 100) for _ in range(20))
    late = Loaded(blocks=tuple(block + 0.1 for block in sent), sent=sent, late=2000)
    on_time = p99(Loaded(blocks=sent, sent=sent))
    found = p99(late)
    assert isinstance(found.interval, Table)
    assert found.estimate == pytest.approx(on_time.estimate + 0.1)
    assert found.interval.lower == on_time.interval.lower
    assert found.interval.upper[0] == pytest.approx(on_time.interval.upper[0] + 0.1)


@pytest.mark.parametrize(("answered", "keeps"), [(600, False), (900, False), (1500, True)])
def test_a_server_that_cannot_keep_pace_has_no_latency_under_that_load(answered, keeps):
    """At 1000/s a block lasts 0.1 s: the queue is short at its end, and would grow for as long as the load lasted."""

    def of(loop):
        free = asyncio.Semaphore(1)

        async def send(number):
            async with free:
                await asyncio.sleep(1 / answered)

        return send

    loaded = virtually(of, Plan(rate=1000))
    found = measured({"1000/s": loaded}, timeout=10, requests=0)
    uppers = {e.interval.upper[0] is not None for e in found if e.quantity.metric in ("latency_p50", "latency_p95")}
    assert uppers == {keeps}
    rising = under_load({"1000/s": loaded})["1000/s"].rising
    assert rising is None if keeps else rising == pytest.approx(1 - answered / 1000, rel=0.8)


def test_a_generator_that_cannot_keep_up_says_so():
    found = p99(replace(seen(), kept=0.6, late=1500))
    assert isinstance(found.interval, Unbounded)
    assert (found.interval.found, found.interval.needed, found.interval.unit) == (500, 2000, "punctual")
    assert "kept up 60% of the declared rate" in found.interval.reason


def test_what_became_of_each_load_is_kept():
    [(load, record)] = under_load({"50/s": seen(crashes=3)}).items()
    counts = {"requests": 2000, "crashes": 3, "timeouts": 1, "refused": 2, "late": 0, "kept": 1.0, "rising": None}
    assert (load, record.model_dump()) == ("50/s", counts)


def by_metric(estimates):
    return {e.quantity.metric: e for e in estimates}


@pytest.mark.row("L2/throughput")
def test_throughput_lies_between_what_held_and_the_capacity():
    found = by_metric(capacity(FOUND, rows=1, serving=Serving(prices=PRICES)))
    throughput = found["throughput"]
    assert (throughput.estimate, throughput.interval.lower[0]) == (180, pytest.approx(180, rel=0.03))
    assert 200 < throughput.interval.upper[0] < 230
    assert list(throughput.interval.upper) == sorted(throughput.interval.upper)


@pytest.mark.row("L3/cost")
def test_cost_is_the_price_of_the_resources_over_the_throughput():
    serving = Serving(resources={"limits": {"cpu": "500m", "memory": "2Gi"}}, prices=PRICES)
    found = by_metric(capacity(FOUND, rows=1, serving=serving))
    throughput, cost = found["throughput"], found["cost_per_million"]
    hour = 0.5 * 0.04 + 2 * 0.005
    assert cost.estimate == pytest.approx(hour / (180 * 3600) * 1e6)
    assert cost.interval.upper[0] == pytest.approx(hour / (throughput.interval.lower[0] * 3600) * 1e6)
    assert cost.interval.lower[0] == pytest.approx(hour / (throughput.interval.upper[0] * 3600) * 1e6)


def test_a_request_of_several_rows_is_several_predictions():
    one, ten = (by_metric(capacity(FOUND, rows=rows, serving=Serving(prices=PRICES))) for rows in (1, 10))
    assert ten["throughput"].estimate == 10 * one["throughput"].estimate
    assert ten["cost_per_million"].estimate == pytest.approx(one["cost_per_million"].estimate / 10)
    assert ten["cpu_per_prediction"].estimate == pytest.approx(one["cpu_per_prediction"].estimate / 10)


def test_where_the_generator_was_the_limit_more_is_possible():
    found = by_metric(capacity(replace(FOUND, own=0.99), rows=1, serving=Serving(prices=PRICES)))
    assert set(found["throughput"].interval.upper) == {None}
    assert None not in found["throughput"].interval.lower
    assert set(found["cost_per_million"].interval.lower) == {None}


def test_where_no_rate_held_nothing_is_shown_to_be_enough():
    found = by_metric(capacity(replace(FOUND, held=None), rows=1, serving=Serving(prices=PRICES)))
    assert found["throughput"].estimate == 200
    assert set(found["throughput"].interval.lower) == {None}
    assert found["throughput"].interval.upper[0] > 200


@pytest.mark.parametrize(
    ("resources", "prices", "words"),
    [
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, None, "set serving.prices"),
        ({"limits": {"cpu": "1"}}, PRICES, "set serving.resources.limits.memory"),
        ({"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"}}, PRICES, "has nvidia.com/gpu, which"),
    ],
)
def test_a_cost_that_cannot_be_had_says_why(resources, prices, words):
    cost = by_metric(capacity(FOUND, rows=1, serving=Serving(resources=resources, prices=prices)))["cost_per_million"]
    assert (cost.estimate, cost.fault.code) == (None, "NotMeasured")
    assert words in cost.fault.message


def test_a_server_that_answers_nothing_has_no_throughput():
    found = capacity(replace(FOUND, answers=(0,) * 5, held=None), rows=1, serving=Serving(prices=PRICES))
    assert {e.fault.code for e in found} == {"NoAnswers"}


def test_cpu_time_varies_from_block_to_block():
    cpu = by_metric(capacity(FOUND, rows=1, serving=Serving()))["cpu_per_prediction"]
    assert isinstance(cpu.interval, StudentT)
    assert cpu.interval.df == 4
    still = replace(FOUND, cpu=(0.1,) * 2, answers=(10, 10), seconds=(1.0, 1.0))
    assert isinstance(by_metric(capacity(still, rows=1, serving=Serving()))["cpu_per_prediction"].interval, Unbounded)


def test_a_block_without_an_answer_leaves_use_without_an_interval():
    """It used CPU and memory for nothing: left out, the others would look sure of less."""
    stuck = replace(FOUND, answers=(100, 110, 0, 105, 95))
    found = by_metric(capacity(stuck, rows=1, serving=Serving(prices=PRICES)))
    for name in ("cpu_per_prediction", "used_cost_per_million"):
        assert (found[name].interval.unit, found[name].interval.found, found[name].interval.needed) == ("blocks", 4, 5)
    assert found["cpu_per_prediction"].estimate == pytest.approx(1.0 / 410)


@pytest.mark.row("L3/use")
@pytest.mark.parametrize(
    ("change", "serving", "words"),
    [
        ({}, Serving(), "set serving.prices"),
        ({}, Serving(resources={"limits": {"nvidia.com/gpu": "1"}}, prices=PRICES), "has nvidia.com/gpu, which"),
        ({"cpu": None, "memory": None}, Serving(prices=PRICES), "doesn't say what it uses"),
        ({"cpu": (0.2, -3.0, 0.2, 0.2, 0.2)}, Serving(prices=PRICES), "started again"),
    ],
)
def test_a_cost_of_use_that_cannot_be_had_says_why(change, serving, words):
    cost = by_metric(capacity(replace(FOUND, **change), rows=1, serving=serving))["used_cost_per_million"]
    assert (cost.estimate, cost.fault.code) == (None, "NotMeasured")
    assert words in cost.fault.message


@pytest.mark.row("L3/use")
def test_what_is_used_costs_less_than_what_is_declared_where_it_is_less():
    """1 CPU and 512 MiB are declared; 0.4 CPU and 400 MiB at most are used."""
    found = by_metric(capacity(replace(FOUND, held=200.0), rows=1, serving=Serving(prices=PRICES)))
    declared, used_cost = (found[name].estimate for name in ("cost_per_million", "used_cost_per_million"))
    assert used_cost == pytest.approx(1e6 / 200 * (0.4 * 0.04 + 0.379 * 0.005) / 3600, rel=0.01)
    assert used_cost < declared / 2


@pytest.mark.row("L2/starts")
def test_fewer_starts_than_a_median_needs_have_no_interval():
    """Five equal to the millisecond still say nothing of the sixth."""
    few, enough = starts([1.0, 1.1, 0.9, 1.2, 1.3]), starts([1.0, 1.1, 0.9, 1.2, 1.3, 1.4])
    assert (few.estimate, few.support.rows, few.interval.needed) == (1.1, 5, 6)
    assert (enough.interval.lower[:2], enough.interval.upper[:2]) == ((0.9, None), (1.4, None))
    assert None not in starts([1.0 + number / 100 for number in range(16)]).interval.upper


@pytest.mark.row("L2/starts")
def test_a_start_without_a_right_answer_is_never_left_out_of_the_median():
    found = starts([1.0] * 9 + [None])
    assert (found.estimate, found.fault.code) == (None, "NotMeasured")
    assert "start 10 of 10" in found.fault.message


@pytest.mark.row("L2/memory")
def test_a_peak_rests_on_blocks_and_on_those_that_raised_it():
    blocks = [mib * 2.0**20 for mib in (300, 380, 380, 400, 400)]
    found = used(USED, replace(USED, cpu=9, memory=400 * 2**20), first_answer=0.25, peaks=blocks)
    assert (found[0].estimate, found[0].support.rows, found[0].support.events) == (400, 5, 2)
    seen = kept(blocks, found)
    assert (seen.mib, seen.last, seen.rising) == ((300, 380, 380, 400, 400), 4, False)
    assert kept([*blocks[:3], 400 * 2.0**20, 405 * 2.0**20], found).rising
    assert kept(blocks, used(USED, None, first_answer=0.25)) is None
    assert started(found, once="it starts once").seconds == (2.75,)
    assert started(used(USED, USED, first_answer=None), once="it starts once") is None


USED = Usage(cold=2.5, cpu=1, memory=300 * 2**20)


@pytest.mark.row("L2/memory")
def test_what_the_server_used_is_a_fact_or_not_measured():
    memory, cold = used(USED, replace(USED, cpu=9, memory=400 * 2**20), first_answer=0.25)
    assert (memory.quantity.metric, memory.estimate) == ("memory_peak", 400)
    assert (cold.quantity.metric, cold.estimate) == ("cold_start", 2.75)
    assert {e.fault.code for e in used(None, None, first_answer=0.25)} == {"NotMeasured"}
    assert {e.fault.code for e in used(USED, None, first_answer=0.25)} == {"NotMeasured"}


@pytest.mark.parametrize("other", [{"cold": 3.5}, {"cpu": 0.1}, {"memory": 2**20}])
def test_a_server_that_was_started_again_meanwhile_has_no_account_of_the_whole(other):
    found = used(USED, replace(USED, **other), first_answer=0.25)
    assert {(e.estimate, e.fault.code) for e in found} == {(None, "NotMeasured")}
    assert "started again" in found[0].fault.message


def test_a_start_that_ended_in_no_right_answer_has_no_duration():
    memory, cold = used(USED, USED, first_answer=None)
    assert memory.estimate == 300
    assert (cold.estimate, cold.fault.code) == (None, "NotMeasured")
