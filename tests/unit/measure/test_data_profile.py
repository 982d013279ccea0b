import json
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data import profile as profiles
from mandate.measure.data.profile import STORED, dumps, loads, profile
from mandate.measure.table import MeasureError


def column(values, **kwargs):
    return profile([pa.table({"x": values})], **kwargs).columns["x"]


def test_numbers_are_counted_by_value_missing_and_infinity():
    found = column([2.0, float("nan"), None, float("inf"), -0.0, 0.0, 2.0, float("-inf"), float("-inf")])
    assert (found.kind, found.rows, found.missing, found.infinite) == ("Number", 9, 2, (2, 1))
    assert found.numbers.low.tolist() == [0.0, 2.0]
    assert not np.signbit(found.numbers.low[0])
    assert found.numbers.count.tolist() == [2, 2]
    assert found.numbers.exact


@pytest.mark.parametrize(
    "values",
    [pa.array([1, 2, 2], pa.int8()), pa.array([1, 2, 2], pa.uint64()), pa.array([1, 2, 2], pa.decimal128(9, 2)),
     pa.array([1, 2, 2], pa.float32()), pa.array(np.array([1, 2, 2], np.float16)),
     pa.array([1, 2, 2]).dictionary_encode().cast(pa.int64())],
)  # fmt: skip
def test_every_type_of_number_is_a_number(values):
    found = column(values)
    assert (found.kind, found.numbers.low.tolist(), found.numbers.count.tolist()) == ("Number", [1, 2], [1, 2])


def test_texts_truth_values_and_declared_columns_are_categories():
    assert column(["b", None, "a", "b"]).texts.named == {"a": 1, "b": 2}
    assert column(pa.array(["b", None, "a"]).dictionary_encode()).texts.named == {"a": 1, "b": 1}
    assert column([True, False, True, None]).texts.named == {"false": 1, "true": 2}
    assert column([1.0, 2.5, float("nan")], categories=["x"]).texts.named == {"1": 1, "2.5": 1}
    assert column([1.0, float("nan")], categories=["x"]).missing == 1


def test_long_texts_are_cut_and_still_told_apart():
    found = column(["a" * 1000 + "x", "a" * 1000 + "y", "a" * 128]).texts.named
    assert len(found) == 3
    assert max(map(len, found)) == 128


def test_ten_thousand_categories_are_counted_by_hash():
    names = [f"n{i}" for i in range(10_001)]
    assert len(column(names[:-1]).texts.named) == 10_000
    found = column(names).texts
    assert not found.named
    assert (len(found.hashed), found.size) == (profiles.HASHED, 10_001)


def test_times_have_a_period():
    day = datetime(2024, 1, 2, tzinfo=UTC)
    expected = (int(day.timestamp() * 1e6), int(day.timestamp() * 1e6) + 86_400_000_000)
    assert column([date(2024, 1, 3), None, date(2024, 1, 2)]).period == expected
    assert column(pa.array([day, None, day.replace(day=3)])).period == expected
    assert column(["2024-01-02T00:00:00", "2024-01-03T00:00:00", None], times=["x"]).period == expected
    assert column(["2024-01-02T01:00:00+01:00", "2024-01-03T00:00:00Z"], times=["x"]).period == expected
    with pytest.raises(MeasureError, match="'x' holds plain numbers") as caught:
        column([1, 2], times=["x"])
    assert caught.value.code == "NotTime"


def test_a_column_without_values_is_empty_and_merges_with_any():
    nothing = profile([pa.table({"x": pa.nulls(2), "y": pa.array([None, float("nan")], pa.float64())})])
    assert {name: (c.kind, c.missing) for name, c in nothing.columns.items()} == {"x": ("Empty", 2), "y": ("Empty", 2)}
    some = profile([pa.table({"x": ["a"], "y": [1.0]})])
    for merged in (nothing.merge(some), some.merge(nothing)):
        assert (merged.columns["x"].kind, merged.columns["y"].kind, merged.rows) == ("Category", "Number", 3)
        assert merged.columns["x"].types == ("null", "string")


def test_only_an_empty_column_is_not_constant():
    for values, expected in (
        ([1, 1, None], True), ([1, 2], False), ([float("inf")] * 2, True), ([1, float("inf")], False),
        (["a", "a"], True), (["a", "b"], False), ([None, None], False), ([date(2024, 1, 1)] * 2, True),
    ):  # fmt: skip
        assert column(values).constant is expected, values
    assert column([1.0] * 5 + [2.0, 3.0], limit=2).constant is False


def test_what_does_not_belong_together_is_refused():
    one = profile([pa.table({"x": [1]})])
    for other, code in (
        (profile([pa.table({"x": ["a"]})]), "DifferentTypes"),
        (profile([pa.table({"y": [1]})]), "DifferentColumns"),
        (one.coarsen(5), "DifferentLimits"),
    ):
        with pytest.raises(MeasureError) as caught:
            one.merge(other)
        assert caught.value.code == code
    for call, code in (
        (lambda: profile([]), "NoRows"),
        (lambda: column([1], limit=1), "BadLimit"),
        (lambda: column([[1]]), "NestedColumn"),
        (lambda: column([b"\xff"]), "NotText"),
        (lambda: one.coarsen(5).coarsen(6), "DifferentLimits"),
        (lambda: profile([pa.table({"n" * 129: [1]})]), "LongName"),
    ):
        with pytest.raises(MeasureError) as caught:
            call()
        assert caught.value.code == code


def test_a_table_without_rows_has_a_profile():
    found = profile([pa.table({"x": pa.array([], pa.int64())})])
    assert (found.rows, found.columns["x"].kind) == (0, "Empty")


@pytest.mark.row("D2/profile")
def test_a_stored_profile_is_small():
    rng = np.random.default_rng(1)
    found = profile([pa.table({"x": rng.normal(size=300_000)})])
    assert found.columns["x"].numbers.exact
    stored = found.coarsen()
    assert len(stored.columns["x"].numbers.count) <= STORED
    assert len(dumps(stored)) <= 32 * 1024
    assert stored.columns["x"].numbers.size == 300_000


GOOD = json.loads(dumps(profile([pa.table({"x": [1.0, 2.0, 2.0], "c": ["a", "b", None]})])))


@pytest.mark.row("D2/stored")
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("version",), 2, "version 2"), (("rows",), 4, "add up to 4 rows"), (("columns", "x", "kind"), "Y", "kind 'Y'"),
        (("columns", "x", "count"), [1, 3], "add up"), (("columns", "x", "count"), [4, -1], "whole number"),
        (("limit",), 1, "impossible size"), (("columns", "x", "low"), "AAAA", "multiple of"),
        (("columns", "x", "low"), "QAAAAAAAAAA/8AAAAAAAAA==", "don't rise"),
        (("columns", "c", "named", "a"), 1.5, "whole"), (("columns",), 3, "items"), (("columns", "x"), {}, "no 'kind'"),
    ],
)  # fmt: skip
def test_a_damaged_profile_is_refused(path, value, words):
    document = json.loads(json.dumps(GOOD))
    *above, last = path
    place = document
    for key in above:
        place = place[key]
    place[last] = value
    with pytest.raises(MeasureError, match=words) as caught:
        loads(json.dumps(document).encode())
    assert caught.value.code == "BadProfile"


def test_no_json_is_no_profile():
    for data in (b"", b"[]", b"\xff", b'{"version":1}', b"1" * 5000):
        with pytest.raises(MeasureError, match="not a profile"):
            loads(data)
