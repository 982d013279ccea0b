"""Estimates from what the load generator saw."""

import numpy as np
import pytest

from mandate.evaluate.service import measured, not_measured, rate_of
from mandate.inference.load import Loaded


def seen(*, crashes=0):
    random = np.random.default_rng(1)
    return Loaded(tuple(random.exponential(0.01, 100) for _ in range(20)), 2000, crashes, 0, None)


def test_each_load_gets_its_quantiles_and_crashes():
    found = {
        (e.quantity.metric, e.quantity.load): e
        for e in measured({"50/s": seen(), "9/s": seen(crashes=3)}, timeout=10, requests=500)
    }
    assert len(found) == 2 * 4 + 1
    assert found["latency_p50", "50/s"].estimate == pytest.approx(0.01 * np.log(2), rel=0.1)
    assert found["latency_p99", "50/s"].estimate == pytest.approx(0.01 * np.log(100), rel=0.2)
    assert found["latency_p95", "50/s"].support.events == 100
    assert found["crashes", "50/s"].estimate == 0
    assert found["crashes", "9/s"].estimate == 3
    assert (found["crashes", None].estimate, found["crashes", None].support.rows) == (3, 4500)


def test_without_loads_only_the_answers_themselves_count():
    [crashes] = measured({}, timeout=10, requests=500)
    assert (crashes.quantity.load, crashes.estimate, crashes.support.rows) == (None, 0, 500)


def test_the_same_quantities_are_faulty_where_nothing_was_measured():
    done = {e.quantity for e in measured({"50/s": seen()}, timeout=10, requests=1)}
    faulty = not_measured(["50/s"], reason="offline")
    assert {e.quantity for e in faulty} == done
    assert {(e.estimate, e.interval, e.fault.code, e.fault.message) for e in faulty} == {
        (None, None, "NotMeasured", "offline")
    }


def test_rates():
    assert rate_of("50/s") == 50
    with pytest.raises(ValueError, match="50/m"):
        rate_of("50/m")
