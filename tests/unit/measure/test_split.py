import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mandate.api import spec
from mandate.measure import split as splitting
from mandate.measure.split import NONE, PARTS, divide, instants, join, row_keys
from mandate.measure.table import MeasureError

TASK = spec.Task(type="Binary", target="y", positive="1", id="id", cluster="who", time="at")


def table(rows: int = 1000) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": [f"r{i}" for i in range(rows)],
            "who": rng.integers(0, rows // 5, rows),
            "at": pa.array(rng.integers(0, 100, rows) * 86_400_000_000, pa.timestamp("us")),
            "y": rng.integers(0, 2, rows),
        }
    )


def how(method: str, **kwargs) -> spec.Split:
    return spec.Split(method=method, **kwargs)


def code(call, *args, **kwargs) -> str:
    with pytest.raises(MeasureError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.mark.row("G8/methods")
def test_random_meets_its_shares_on_average():
    split = divide(table(20_000), how=how("Random", seed=7), task=TASK)
    shares = [split.rows(part).mean() for part in PARTS]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.015)
    assert sum(split.counts().values()) == 20_000


def test_shares_below_one_leave_rows_out():
    split = divide(table(5000), how=how("Random", train="0.5", validation="0", test="0.1"), task=TASK)
    counts = split.counts()
    assert counts["validation"] == 0
    assert counts["none"] == pytest.approx(2000, abs=150)


@pytest.mark.row("G8/digest")
@pytest.mark.parametrize("method", ["Random", "Group", "Time"])
def test_row_order_changes_neither_parts_nor_digest(method):
    original = table()
    order = np.random.default_rng(1).permutation(original.num_rows)
    first = divide(original, how=how(method, seed=3), task=TASK)
    second = divide(original.take(pa.array(order)), how=how(method, seed=3), task=TASK)
    assert second.digest == first.digest
    assert (second.part == first.part[order]).all()
    assert (second.keys == first.keys[order]).all()


def test_the_seed_changes_random_and_group():
    for method in ("Random", "Group"):
        digests = {divide(table(), how=how(method, seed=seed), task=TASK).digest for seed in range(4)}
        assert len(digests) == 4


def test_a_row_keeps_its_part_when_the_table_grows():
    small = divide(table(1000).slice(0, 500), how=how("Random", seed=7), task=TASK)
    large = divide(table(1000), how=how("Random", seed=7), task=TASK)
    assert (large.part[:500] == small.part).all()


@pytest.mark.row("G8/methods")
def test_group_keeps_clusters_together():
    data = table()
    split = divide(data, how=how("Group", seed=5), task=TASK)
    parts = {}
    for who, part in zip(data["who"].to_pylist(), split.part.tolist(), strict=True):
        parts.setdefault(who, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())
    assert len({part for found in parts.values() for part in found}) == 3


@pytest.mark.row("G8/methods")
def test_time_puts_later_rows_later_and_ties_together():
    data = table()
    split = divide(data, how=how("Time"), task=TASK)
    at = np.array(data["at"].to_pylist())
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert at[split.rows(earlier)].max() < at[split.rows(later)].min()
    assert split.counts()["none"] == 0
    assert split.rows("train").mean() == pytest.approx(0.6, abs=0.02)


@pytest.mark.row("G8/methods")
def test_a_gap_is_left_out_before_each_later_part():
    data = table()
    split = divide(data, how=how("Time", gap="3d"), task=TASK)
    at = np.array(data["at"].to_pylist())
    none = split.part == NONE
    assert none.any()
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert (at[split.rows(later)].min() - at[split.rows(earlier)].max()).days >= 3
    without = divide(data, how=how("Time"), task=TASK)
    assert (split.rows("train") == without.rows("train")).all()


def test_time_from_text_and_from_numbers():
    data = table()
    texts = [str(value) for value in data["at"].to_pylist()]
    as_text = data.set_column(data.column_names.index("at"), "at", pa.array(texts))
    assert divide(as_text, how=how("Time", gap="3d"), task=TASK).digest == (
        divide(data, how=how("Time", gap="3d"), task=TASK).digest
    )
    as_number = data.set_column(data.column_names.index("at"), "at", data["at"].cast(pa.int64()))
    assert divide(as_number, how=how("Time"), task=TASK).digest == divide(data, how=how("Time"), task=TASK).digest
    assert code(divide, as_number, how=how("Time", gap="3d"), task=TASK) == "GapWithoutTime"


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_are_cut_to_microseconds(zone):
    """As a column's type and as texts; times of one microsecond are one instant."""
    nanoseconds = [1706688000123456789, 1706688000123456999, 1706688000123457000, -1]
    column = pa.array(nanoseconds, pa.timestamp("ns", zone))
    expected = [1706688000123456, 1706688000123456, 1706688000123457]
    found, scale = instants(pa.table({"at": column}), "at")
    assert (found.tolist()[:3], scale) == (expected, 1e6)
    end = "Z" if zone else ""
    texts = [f"2024-01-31T08:00:00.{digits}{end}" for digits in ("123456789", "123456999", "123457")]
    assert instants(pa.table({"at": texts}), "at")[0].tolist() == expected
    with pytest.raises(MeasureError, match="holds 'soon', expected ISO 8601"):
        instants(pa.table({"at": [*texts, "soon"]}), "at")


BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = datetime.datetime(2024, 10, 26, 22, tzinfo=datetime.UTC)
"""Three hours before clocks in Berlin went back from 3 to 2 o'clock."""


def over_the_change(written: str) -> pa.Table:
    """A row every 10 minutes from midnight in Berlin on, so that the parts end between 2 and 3 o'clock, both times."""
    moments = [AUTUMN + datetime.timedelta(minutes=10 * number) for number in range(30)]
    wall = [moment.astimezone(BERLIN) for moment in moments]
    times = {
        "zone": pa.array(moments, pa.timestamp("us", "Europe/Berlin")),
        "offset": pa.array([moment.isoformat() for moment in wall]),
        "clock": pa.array([moment.replace(tzinfo=None) for moment in wall], pa.timestamp("us")),
        "text": pa.array([moment.replace(tzinfo=None).isoformat() for moment in wall]),
    }
    order = np.random.default_rng(2).permutation(30)
    found = pa.table({"id": np.arange(30), "at": times[written], "y": np.arange(30) % 2, "moment": pa.array(moments)})
    return found.take(pa.array(order))


def times_of(table: pa.Table, split: splitting.Split) -> list[list[datetime.datetime]]:
    """When the rows of each part really were, sorted."""
    return [sorted(table["moment"].filter(pa.array(split.rows(part))).to_pylist()) for part in PARTS]


@pytest.mark.row("G8/methods")
@pytest.mark.parametrize("gap", [None, "20m"])
def test_where_clocks_go_back_rows_are_in_order_by_their_offset(gap):
    """Half past two comes twice, and the first one is the earlier, however the times are written."""
    shares = {"train": "0.5", "validation": "0.2", "test": "0.3", "gap": gap}
    task = spec.Task(type="Binary", target="y", positive="1", id="id", time="at")
    digests = set()
    for written in ("zone", "offset"):
        table = over_the_change(written)
        split = divide(table, how=how("Time", **shares), task=task)
        train, validation, test = times_of(table, split)
        apart = datetime.timedelta(minutes=30 if gap else 10)
        assert [len(train), validation[0] - train[-1], test[0] - validation[-1]] == [15, apart, apart]
        digests.add(split.digest)
    repeated = pc.strftime(pc.local_timestamp(over_the_change("zone")["at"]), format="%H:%M").to_pylist()
    assert repeated.count("02:30") == 2
    assert len(digests) == 1


@pytest.mark.parametrize("written", ["clock", "text"])
def test_where_clocks_go_back_times_without_an_offset_need_a_gap_of_an_hour(written):
    """They are taken as they are: nothing says which of two half past twos a row is of."""
    table = over_the_change(written)
    task = spec.Task(type="Binary", target="y", positive="1", id="id", time="at")
    shares = {"train": "0.6", "validation": "0", "test": "0.4"}
    train, _, test = times_of(table, divide(table, how=how("Time", **shares), task=task))
    assert train[-1] > test[0]
    train, _, test = times_of(table, divide(table, how=how("Time", gap="1h", **shares), task=task))
    assert train[-1] < test[0]


def test_what_time_cannot_do():
    data = table(10)
    place = data.column_names.index("at")
    words = data.set_column(place, "at", pa.array(["soon"] * 10))
    assert code(divide, words, how=how("Time"), task=TASK) == "NotTime"
    holes = data.set_column(place, "at", pa.array([None, *data["at"].to_pylist()[1:]]))
    assert code(divide, holes, how=how("Time"), task=TASK) == "MissingTime"
    assert code(divide, data, how=how("Time", gap="1000d"), task=TASK) == "NoTestRows"


@pytest.mark.row("D6/duplicates")
def test_ids_must_name_rows_once():
    data = table(10)
    twice = data.set_column(0, "id", pa.array(["a", "a", *"bcdefghi"]))
    assert code(divide, twice, how=how("Random"), task=TASK) == "DuplicateId"
    missing = data.set_column(0, "id", pa.array([None, *"abcdefghi"]))
    assert code(divide, missing, how=how("Random"), task=TASK) == "MissingId"


def test_blocks_of_rows_change_neither_keys_nor_what_occurs_twice(monkeypatch):
    data = table(50)
    whole = [row_keys(data, target="y", identity=name).tolist() for name in ("id", None)]
    monkeypatch.setattr(splitting, "BLOCK", 7)
    assert [row_keys(data, target="y", identity=name).tolist() for name in ("id", None)] == whole
    ids = [str(value) for value in data["id"].to_pylist()]
    twice = data.set_column(0, "id", pa.array([*ids[:-2], ids[0], ids[-1]]))
    with pytest.raises(MeasureError, match=f"1 values occur more often, such as '{ids[0]}'"):
        row_keys(twice, target="y", identity="id")
    monkeypatch.setattr("builtins.hash", lambda _: 0)  # texts that only look alike
    assert row_keys(data, target="y", identity="id").tolist() == whole[0]


def test_without_an_id_equal_rows_stay_together():
    data = pa.table({"x": [i % 50 for i in range(500)], "y": [i % 2 for i in range(500)]})
    split = divide(data, how=how("Random", seed=1), task=spec.Task(type="Binary", target="y", positive="1"))
    assert split.shared("train", "test") == 0
    assert len(np.unique(split.keys)) == 50


def test_keys_tell_apart_what_reads_alike():
    def keys(a: list[str | None], b: list[str]) -> list[int]:
        return row_keys(pa.table({"a": a, "b": b}), target="b", identity=None).tolist()

    assert keys(["x1"], ["y"]) != keys(["x"], ["1y"])
    assert keys([""], ["y"]) != keys([None], ["y"])
    assert keys(["a\x1f1\x1fb"], ["c"]) != keys(["a"], ["b\x1f1\x1fc"])


def test_ids_of_unrelated_tables_do_not_look_alike():
    first = row_keys(pa.table({"id": [1, 2], "y": [0, 1]}), target="y", identity="id")
    second = row_keys(pa.table({"loan": [1, 2], "y": [0, 1]}), target="y", identity="loan")
    assert not np.isin(first, second).any()


def test_file_types_do_not_change_keys():
    whole = row_keys(pa.table({"id": [1, 2], "y": [0.0, 1.0]}), target="y", identity="id")
    other = row_keys(pa.table({"id": ["1", "2"], "y": [0, 1]}), target="y", identity="id")
    assert (whole == other).all()


@pytest.mark.row("D6/types")
def test_given_parts_of_other_types_are_refused():
    words = pa.table({"id": [1], "x": ["many"], "y": [0]})
    numbers = pa.table({"id": [2], "x": [1.5], "y": [1]})
    assert code(join, {"train": words, "test": numbers}, task=TASK) == "DifferentTypes"


@pytest.mark.row("G5/overlap")
def test_given_parts_count_what_they_share():
    data = table(100)
    joined, split = join({"train": data.slice(0, 60), "test": data.slice(50, 50)}, task=TASK)
    assert joined.num_rows == 110
    assert split.counts() == {"train": 60, "validation": 0, "test": 50, "none": 0}
    assert split.shared("train", "test") == 10


def test_the_sketch_is_the_smallest_keys_in_hex():
    split = divide(table(2000), how=how("Random"), task=TASK)
    sketch = split.sketch("test")
    assert len(sketch) == 256
    assert list(sketch) == sorted(sketch)
    assert sketch[0] == f"{split.keys[split.rows('test')].min():016x}"
