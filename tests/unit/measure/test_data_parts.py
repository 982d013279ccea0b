import numpy as np
import pyarrow as pa
import pytest

from mandate.evidence.canonical import canonical
from mandate.evidence.data import DataEvidence
from mandate.measure.data.parts import Asked, compared, leaked, together
from mandate.measure.split import Split
from mandate.measure.work import SERIAL, Threads

ROWS = 3000


def rows(**changes):
    rng = np.random.default_rng(31)
    columns = {"x": rng.normal(size=ROWS), "c": rng.choice(list("abc"), ROWS), "y": rng.integers(0, 2, ROWS)}
    columns |= {"who": np.arange(ROWS), "at": np.arange(ROWS)} | changes
    part = np.repeat(np.array([0, 1, 2], np.int8), [1800, 600, 600])
    return pa.table(columns), Split(part=part, keys=np.arange(ROWS, dtype=np.uint64), digest="sha256:" + "0" * 64)


def examine(table, split, *, workers=SERIAL, **asked):
    return together(*(look(table, split, Asked(**asked), workers=workers) for look in (compared, leaked)))


def examined(table, split, **kwargs):
    return examine(
        table, split, target="y", features=["x", "c"], cluster="who", time="at", by_time=True, in_order=True, **kwargs
    )


def test_sound_parts_are_compared_and_nothing_is_found():
    found = examined(*rows())
    assert [(c.reference, c.current, c.compared, c.changed) for c in found.comparisons] == [
        ("train", "validation", 3, 0), ("train", "test", 3, 0)
    ]  # fmt: skip
    assert {column.column: column.kind for column in found.comparisons[0].columns} == {
        "x": "Number", "c": "Category", "y": "Category"
    }  # fmt: skip
    assert (found.counts, found.findings, found.unasked) == ({}, (), ())


@pytest.mark.row("D1/advice")
def test_a_shifted_feature_and_label_are_findings_with_advice():
    table, split = rows()
    last = np.arange(ROWS) >= 2400
    table, split = rows(
        x=table.column("x").to_numpy() + 2 * last, y=np.where(last, 1, table.column("y").to_numpy())
    )  # fmt: skip
    found = examined(table, split)
    assert [(c.current, c.changed) for c in found.comparisons] == [("validation", 0), ("test", 2)]
    by_code = {finding.code: finding for finding in found.findings}
    assert {"Drift", "LabelDrift"} <= set(by_code)
    assert (by_code["Drift"].part, by_code["Drift"].column) == ("test", "x")
    assert by_code["Drift"].numbers["wasserstein"] > 1
    assert by_code["Drift"].effect == by_code["Drift"].numbers["jensen_shannon"]
    assert "recent rows" in by_code["Drift"].advice
    assert by_code["LabelDrift"].message.startswith("the label 'y' is distributed otherwise in test than in train")


def test_neither_order_nor_workers_matter():
    table, split = rows()
    table = table.set_column(0, "x", pa.array(np.where(np.arange(ROWS) >= 2400, 9.0, table.column("x"))))
    once = canonical(examined(table, split).model_dump(mode="json"))
    order = np.random.default_rng(1).permutation(ROWS)
    again = examined(table.take(pa.array(order)), split.take(order), workers=Threads(2))
    assert canonical(again.model_dump(mode="json")) == once
    assert DataEvidence.model_validate_json(once).counts == again.counts != {}


def test_parts_may_be_missing():
    table, split = rows()
    alone = Split(part=np.full(ROWS, 2, np.int8), keys=split.keys, digest=split.digest)
    assert examined(table, alone).comparisons == ()


def test_a_numeric_label_of_a_regression_is_a_number():
    table, split = rows(y=np.random.default_rng(2).normal(size=ROWS))
    found = examined(table, split, regression=True)
    assert {column.column: column.kind for column in found.comparisons[1].columns}["y"] == "Number"


def test_evidence_lists_the_farthest_and_counts_the_rest():
    rng = np.random.default_rng(3)
    last = np.arange(ROWS) >= 1800
    names = [f"x{i}" for i in range(130)]
    table, split = rows(**{name: rng.normal(size=ROWS) + 3 * last for name in names})
    found = examine(table, split, target="y", features=names)
    assert (found.comparisons[1].compared, found.comparisons[1].changed) == (131, 130)
    assert len(found.comparisons[1].columns) == len(found.findings) == 100
    assert found.counts["Drift"] == 260


def test_a_leak_is_named_however_much_else_there_is():
    rng = np.random.default_rng(3)
    last = np.arange(ROWS) >= 1800
    names = [f"x{i}" for i in range(130)]
    table, split = rows(**{name: rng.normal(size=ROWS) + 9 * last for name in names})
    keys = split.keys.copy()
    keys[-1] = keys[0]
    split = Split(part=split.part, keys=keys, digest=split.digest)
    found = examine(table, split, target="y", features=names)
    assert (found.counts["SharedRows"], found.counts["BeyondRange"], found.counts["Drift"]) == (1, 260, 260)
    assert found.findings[0].code == "SharedRows"
    assert found.findings[0].effect < 0.01
    assert {finding.code for finding in found.findings} == set(found.counts)
    assert len(found.findings) == 100


def test_rows_of_a_sound_group_split_are_not_called_changed():
    """Features that are the same on a cluster's rows: as rows by themselves, most such splits look changed."""
    alarms = {"who": 0, None: 0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(300), 20)
        columns = {f"n{i}": rng.normal(size=300)[who] for i in range(6)}
        columns |= {f"c{i}": rng.choice(list("abcde"), 300)[who] for i in range(4)}
        table = pa.table(columns | {"y": rng.integers(0, 2, 6000), "who": who})
        part = np.where(who < 200, 0, 2).astype(np.int8)
        split = Split(part=part, keys=np.arange(6000, dtype=np.uint64), digest="x")
        for cluster in alarms:
            found = examine(table, split, target="y", features=list(columns), cluster=cluster)
            alarms[cluster] += found.comparisons[0].changed > 0
            assert found.unasked == ()
    assert alarms["who"] == 0
    assert alarms[None] >= 5


def test_a_shift_of_clusters_is_still_found_and_few_clusters_leave_it_open():
    rng = np.random.default_rng(1)
    for clusters, changed, open_ in ((300, 1, []), (30, 0, ["TooFewRows"])):
        who = np.repeat(np.arange(clusters), 20)
        late = who >= clusters * 2 // 3
        table = pa.table({"x": rng.normal(size=clusters)[who] + late, "y": rng.integers(0, 2, len(who)), "who": who})
        split = Split(part=np.where(late, 2, 0).astype(np.int8), keys=np.arange(len(who), dtype=np.uint64), digest="x")
        found = examine(table, split, target="y", features=["x"], cluster="who")
        assert found.comparisons[0].changed == changed
        assert [one.code for one in found.unasked if one.count == "changed_columns"] == open_


def test_columns_that_cant_be_profiled_are_named_and_the_others_examined():
    lists = pa.array([[row] for row in range(ROWS)])
    table, split = rows(lists=lists, raw=pa.array([b"\xff"] * ROWS))
    found = examine(table, split, target="y", features=["x", "lists", "raw"])
    assert [(finding.code, finding.column) for finding in found.findings] == [
        ("NotExamined", "lists"), ("NotExamined", "raw")
    ]  # fmt: skip
    assert "holds list<" in found.findings[0].message
    assert [(one.count, one.code) for one in found.unasked] == [
        ("changed_columns", "NotExamined"), ("leaks", "NotExamined")
    ]  # fmt: skip
    assert found.comparisons[0].compared == 2


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"\xff\xfe"] * ROWS, pa.large_binary()),
        pa.array([b"\xff\xfe"] * ROWS, pa.binary(2)),
        pa.array([b"\xff", b"a", b"b"] * (ROWS // 3)).dictionary_encode(),
        pa.array([pa.MonthDayNano([1, 2, 3])] * ROWS),
        pa.array([10**14] * ROWS, pa.timestamp("s")),
        None,
    ],
    ids=["large_binary", "fixed_size_binary", "dictionary", "interval", "year 3 million", "absent"],
)
def test_no_kind_of_column_ends_an_evaluation(values):
    table, split = rows() if values is None else rows(odd=values)
    found = examine(table, split, target="y", features=["x", "odd"])
    assert [(finding.code, finding.column) for finding in found.findings] == [("NotExamined", "odd")]
    assert found.comparisons[0].compared == 2


@pytest.mark.parametrize(
    "values",
    [
        pa.array(range(ROWS), pa.time64("us")),
        pa.array(range(ROWS), pa.duration("s")),
        pa.array(range(ROWS)).cast(pa.decimal256(40, 2)),
        pa.array(["a", "b", "c"] * (ROWS // 3)).dictionary_encode(),
    ],
    ids=["time", "duration", "decimal256", "dictionary"],
)
def test_rarer_kinds_that_can_be_read_are_read(values):
    found = examine(*rows(odd=pa.array(values).take(pa.array(np.random.default_rng(1).permutation(ROWS)))),
                    target="y", features=["x", "odd"])  # fmt: skip
    assert "NotExamined" not in found.counts
