"""What is counted or timed rather than computed from labels, against plain counting."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.catalogue import METRICS
from mandate.evaluate.service import measured
from mandate.inference.load import Loaded
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.split import join

LATENCIES = [metric.name for metric in METRICS.values() if metric.origin == "Service" and not metric.fact]


def test_facts_of_a_run_are_counted():
    rng = np.random.default_rng(1)
    rows = {"train": 200, "test": 90}
    tables = {part: pa.table({"x": rng.integers(0, 40, n), "y": rng.integers(0, 2, n)}) for part, n in rows.items()}
    task = spec.Task(type="Binary", target="y", positive="1")
    table, split = join(tables, task=task)
    answers = rng.random(290)
    answers[rng.random(290) < 0.1] = np.nan
    answers[-3:] = math.inf
    computed = compute(
        table=table,
        split=split,
        answers=Answers(values=answers),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=spec.ModelOutput()),
        task=task,
        data=spec.Data(test=spec.TableSource(uri="t.csv")),
    )
    found = {(e.quantity.metric, e.quantity.on): e.estimate for e in computed.estimates if e.quantity.versus is None}
    for part, own in (("train", answers[:200]), ("test", answers[200:])):
        assert found["finite_answers", part] == sum(map(math.isfinite, own.tolist())) / len(own)
    train, test = (Counter(tuple(row.values()) for row in tables[part].to_pylist()) for part in ("train", "test"))
    assert found["shared_rows", "test"] == sum(count for row, count in test.items() if row in train)


def loads() -> dict[str, Loaded]:
    """Two loads of blocks of unequal length, with crashes under both."""
    rng = np.random.default_rng(2)
    sizes = {"50/s": rng.integers(20, 90, 15), "9/s": rng.integers(20, 90, 15)}
    return {
        load: Loaded(tuple(rng.exponential(0.02, n) for n in found), int(found.sum()), crashes, 0, None)
        for (load, found), crashes in zip(sizes.items(), (2, 5), strict=True)
    }


@pytest.mark.parametrize("name", LATENCIES)
def test_latency_is_numpys_quantile_without_interpolation(name):
    found = {(e.quantity.metric, e.quantity.load): e.estimate for e in measured(loads(), timeout=10, requests=0)}
    percent = float(name.removeprefix("latency_p"))
    for load, seen in loads().items():
        expected = np.percentile(np.concatenate(seen.blocks), percent, method="inverted_cdf")
        assert found[name, load] == expected


def test_crashes_are_counted_by_load_and_together():
    found = {e.quantity.load: e for e in measured(loads(), timeout=10, requests=70) if e.quantity.metric == "crashes"}
    assert {load: e.estimate for load, e in found.items()} == {"50/s": 2, "9/s": 5, None: 7}, "crashes"
    sent = {load: sum(map(len, seen.blocks)) for load, seen in loads().items()}
    assert {load: e.support.rows for load, e in found.items()} == sent | {None: 70 + sum(sent.values())}, "crashes"
