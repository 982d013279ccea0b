"""A Ranking through the engine, and what it refuses."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api import spec
from mandate.evidence.intervals import Paired, StudentT
from mandate.evidence.schema import computed_bytes
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.metrics import METRICS, Declared, Sample
from mandate.measure.split import divide
from mandate.measure.table import MeasureError

NAMES = ("ndcg", "ndcg_at_k", "mean_average_precision", "mean_reciprocal_rank", "recall_at_k", "precision_at_k")


def table(queries: int = 400, each: int = 6, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    rows = queries * each
    query = np.repeat(np.arange(queries), each)
    item = rng.integers(0, 30, rows)
    taste = rng.normal(size=rows)
    return pa.table(
        {
            "id": np.arange(rows),
            "query": query,
            "item": item,
            "device": np.where(query % 2, "phone", "desk"),
            "row": np.arange(rows) % 3,
            "y": np.clip(np.round(taste + item / 30 - 0.5), 0, 3),
            "today": item * 1.0,
            "score": taste + rng.normal(size=rows),
        }
    )


def measured(given: pa.Table, *, slices: tuple[spec.Slice, ...] = (), method: str = "Group", **changes):
    task = spec.Task(type="Ranking", target="y", query="query", cluster="query", id="id", top_k=3)
    task = task.model_copy(update=changes)
    return compute(
        table=given,
        split=divide(given, how=spec.Split(method=method, seed=1), task=task),
        answers=Answers(values=np.array(given["score"])),
        champion=Answers(values=np.array(given["today"])),
        model=spec.Model(
            version="1", source=spec.ModelSource(columns=("score",)), output=spec.ModelOutput(kind="Value")
        ),
        task=task,
        data=spec.Data(source=spec.TableSource(uri="t.csv"), slices=slices),
        references=(
            spec.Baseline(name="random", type="Uniform"),
            spec.Baseline(name="popular", type="Popularity", by=("item",)),
            spec.Baseline(name="item", type="Column", column="id"),
        ),
    )


def test_a_ranking_is_measured_by_query_in_any_order():
    rows = table(1500)
    found = measured(rows, slices=(spec.Slice(name="device", column="device"),))
    by = {
        (e.quantity.metric, e.quantity.on, e.quantity.value, e.quantity.versus): e
        for e in found.estimates
        if not e.quantity.across
    }
    for name in NAMES:
        alone, beaten = by[name, "test", None, None], by[name, "test", None, "random"]
        assert isinstance(alone.interval, StudentT), (name, alone)
        assert isinstance(beaten.interval, Paired), (name, beaten)
        assert beaten.estimate > beaten.reference, name
        assert by[name, "test", None, "champion"].fault is None, name
        assert by[name, "test", None, "popular"].fault is None, name
        assert by[name, "test", "phone", "rest"].fault is None, name
        assert alone.support.events <= alone.support.clusters * 1.0 <= found.rows["test"] / 6, name
    assert any("without a relevant row are left out" in said for said in found.findings)
    shuffled = rows.take(pa.array(np.random.default_rng(1).permutation(rows.num_rows)))
    assert computed_bytes(measured(shuffled, slices=(spec.Slice(name="device", column="device"),))) == computed_bytes(
        found
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slices": (spec.Slice(name="row", column="row"),)}, "SliceInQuery"),
        ({"method": "Random", "cluster": None}, "QueryInParts"),
        ({"method": "Random", "cluster": "row"}, "ClusterInQuery"),
    ],
)
def test_queries_stay_whole(changes, code):
    with pytest.raises(MeasureError) as error:
        measured(table(), **changes)
    assert error.value.code == code


def test_relevance_is_not_negative_and_queries_are_named():
    rows = table()
    negative = rows.set_column(rows.column_names.index("y"), "y", pa.array(np.full(rows.num_rows, -1.0)))
    with pytest.raises(MeasureError, match="relevance is 0 or more"):
        measured(negative)
    unnamed = pa.array([None, *rows["query"].to_pylist()[1:]])
    with pytest.raises(MeasureError, match=r"task\.query"):
        measured(rows.set_column(1, "query", unnamed))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30), st.randoms()
)
def test_values_keep_to_their_range_and_to_no_order(rows, random):
    shuffled = random.sample(rows, len(rows))
    points = []
    for some in (rows, shuffled):
        query, score, actual = np.array(some).T
        if not actual.any():
            return
        sample = Sample(actual=actual * 1.0, score=score * 1.0, query=query.astype(np.intp), declared=Declared(top_k=2))
        points.append({name: METRICS[name](sample) for name in NAMES})
    for name in NAMES:
        first, second = (point[name] for point in points)
        assert -1e-12 <= first.value <= 1 + 1e-12, name
        assert first.value == second.value, name
        assert first.events == second.events, name
        assert abs(first.psi.mean()) < 1e-9, name
