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
from mandate.measure.queries import told, whole_queries
from mandate.measure.references import make
from mandate.measure.split import NONE, Split, divide
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


@pytest.mark.row("G4/ranking")
@pytest.mark.row("B1/popularity")
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


def test_baselines_of_rankings_say_what_they_are_and_popularity_learns_from_train_alone():
    rows = table()
    found = measured(rows)
    words = {said.baseline: said.words for said in found.learnt or ()}
    assert words["random"] == "every order of a query's rows, each as likely as another"
    assert words["popular"].startswith("0 of ")
    split = divide(
        rows,
        how=spec.Split(method="Group", seed=1),
        task=spec.Task(type="Ranking", target="y", cluster="query", id="id"),
    )
    test = split.rows("test")
    reference = spec.Baseline(name="popular", type="Popularity", by=("item",))
    scores = []
    for truth in (np.array(rows["y"]), np.where(test, 3.0 - np.array(rows["y"]), np.array(rows["y"]))):
        task = spec.Task(type="Ranking", target="y", query="query")
        voice, _ = make(reference, rows, split, truth, task=task, features=(), classes=(), cutoff=0.5)
        scores.append(voice.score)
    np.testing.assert_array_equal(*scores)
    item, y, train = np.array(rows["item"]), np.array(rows["y"]), split.rows("train")
    assert scores[0][item == 7] == pytest.approx(y[train & (item == 7)].mean())
    # One that train doesn't have gets the mean of all.
    odd = rows.set_column(2, "item", pa.array(np.where(np.flatnonzero(test)[0] == np.arange(len(item)), 99, item)))
    voice, said = make(reference, odd, split, y, task=task, features=(), classes=(), cutoff=0.5)
    assert voice.score[np.flatnonzero(test)[0]] == pytest.approx(y[train].mean())
    assert said.startswith("1 of ")


@pytest.mark.row("G4/ranking")
def test_queries_count_for_what_they_weigh():
    rows = table(900)
    heavy = np.where(np.array(rows["device"]) == "phone", 3.0, 1.0)
    plain = measured(rows, slices=(spec.Slice(name="device", column="device"),))
    found = measured(rows.append_column("shown", pa.array(heavy)), weight="shown")

    def test(computed, value=None):
        return {
            e.quantity.metric: e
            for e in computed.estimates
            if (e.quantity.on, e.quantity.value, e.quantity.versus) == ("test", value, None) and not e.quantity.across
        }

    overall, phone, desk = test(found), test(plain, "phone"), test(plain, "desk")
    for name in NAMES:
        counts = 3 * phone[name].support.events, desk[name].support.events
        wanted = np.average([phone[name].estimate, desk[name].estimate], weights=counts)
        assert overall[name].estimate == pytest.approx(wanted), name
        assert overall[name].support.events == int(sum(counts) ** 2 / (3 * counts[0] + counts[1])), name
    words = next(said for said in found.findings if "weights" in said)
    queries = found.rows["test"] // 6
    assert words.startswith(f"queries have weights: the {queries} test queries tell as much as ")
    assert int(words.split(" as much as ")[1].split()[0]) < queries


def test_popularity_counts_queries_for_what_they_weigh():
    rows = table()
    heavy = np.where(np.array(rows["device"]) == "phone", 3.0, 1.0)
    task = spec.Task(type="Ranking", target="y", query="query", cluster="query", id="id")
    split, truth = divide(rows, how=spec.Split(method="Group", seed=1), task=task), np.array(rows["y"])
    reference = spec.Baseline(name="popular", type="Popularity", by=("item",))
    voice, _ = make(reference, rows, split, truth, task=task, features=(), classes=(), cutoff=0.5, weights=heavy)
    seven = split.rows("train") & (np.array(rows["item"]) == 7)
    assert voice.score[np.flatnonzero(seven)[0]] == pytest.approx(np.average(truth[seven], weights=heavy[seven]))


def test_a_querys_rows_have_one_weight_and_none_where_it_is_0():
    rows = table()
    torn = rows.append_column("shown", pa.array(1.0 + np.arange(rows.num_rows) % 2))
    with pytest.raises(
        MeasureError, match=r"rows of one 'query' have several values of 'shown' \(400 times\)"
    ) as error:
        measured(torn, weight="shown")
    assert error.value.code == "WeightInQuery"
    none = rows.append_column("shown", pa.array(np.array(rows["query"]) % 4 * 1.0))
    assert measured(none, weight="shown").rows["test"] < measured(rows).rows["test"]


def test_what_a_gap_leaves_of_a_query_is_no_ranking():
    def refused(*part: int) -> str:
        keys = np.arange(4, dtype=np.uint64)
        split = Split(part=np.array(part, dtype=np.int8), keys=keys, digest="sha256:")
        try:
            whole_queries(np.array([0, 0, 1, 1]), split, (), spec.Task(type="Ranking", target="y", query="q"))
        except MeasureError as error:
            return str(error)
        return ""

    assert "1 values of 'q' have rows in several parts, or some in a part and some in none" in refused(0, 0, 2, NONE)
    assert refused(0, 0, NONE, NONE) == refused(0, 0, 2, 2) == ""


def test_what_tells_nothing_is_said():
    query = np.array([0, 1, 1, 2, 2, 3, 3, 3])
    actual = np.array([1.0, 0, 0, 2, 2, 0.5, 0, 0])
    assert told(actual, query, np.arange(8), depth=2) == (
        "task.query: 8 test rows are 4 queries; 1 without a relevant row are left out, 2 with nothing to order (rows "
        "of one relevance) count as any other; on 2 that have no more rows than task.topK (2), recall at k is 1 in any "
        "order"
    )
    assert told(actual, query, np.array([5, 6, 7]), depth=None) == (
        "task.query: 3 test rows are 1 queries; 0 without a relevant row are left out"
    )


ONE = {
    "one row": ([1.0], [0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1 / 3]),
    "all relevant": ([1.0, 1.0], [0.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 2 / 3]),
    "fractions, the last first": (
        [0.5, 0.0, 0.0, 0.0],
        [-1.0, 0.0, 1.0, 2.0],
        [np.log(2) / np.log(5), 0, 1 / 4, 1 / 4, 0, 0],
    ),
    "scores so far apart that their difference overflows": ([0.0, 1.0], [-1.7e308, 1.7e308], [1, 1, 1, 1, 1, 1 / 3]),
    "gains whose sum overflows": ([1.7e308, 1.7e308, 0.0], [2.0, 1.0, 0.0], [1, 1, 1, 1, 1, 2 / 3]),
    "zeros of both signs are a tie": (
        [1.0, 0.0],
        [0.0, -0.0],
        [(1 + np.log(2) / np.log(3)) / 2] * 2 + [0.75, 0.75, 1, 1 / 3],
    ),
}


@pytest.mark.parametrize("which", ONE)
@pytest.mark.filterwarnings("error")
def test_odd_queries_have_their_values(which):
    actual, score, expected = ONE[which]
    sample = Sample(
        actual=np.array(actual), score=np.array(score), query=np.zeros(len(actual), np.intp), declared=Declared(top_k=3)
    )
    assert [METRICS[name](sample).value for name in NAMES] == pytest.approx(expected)


def test_without_a_relevant_row_there_is_no_value_and_a_missing_score_is_a_fault():
    rows = table()
    nothing = rows.set_column(rows.column_names.index("y"), "y", pa.array(np.zeros(rows.num_rows)))
    missing = rows.set_column(rows.column_names.index("score"), "score", pa.array(np.full(rows.num_rows, np.nan)))
    for odd, code in ((nothing, "NoRelevantRow"), (missing, "NonFinitePredictions")):
        faults = {e.quantity.metric: e.fault for e in measured(odd).estimates if e.quantity.on == "test"}
        assert {name: faults[name].code for name in NAMES} == dict.fromkeys(NAMES, code)


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
