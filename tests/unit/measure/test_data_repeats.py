from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from mandate.evidence.data import NOTES
from mandate.measure.data.contents import contents
from mandate.measure.data.repeats import repeated_rows
from mandate.measure.split import Split
from mandate.measure.work import Threads

NAMES = ["x", "c"]


def found(table, *, part=None, features=NAMES, **kwargs):
    part = np.zeros(table.num_rows, np.int8) if part is None else np.asarray(part, np.int8)
    split = Split(part=part, keys=np.arange(table.num_rows, dtype=np.uint64), digest="sha256:" + "0" * 64)
    content = contents(table, [*features, "y"])
    return repeated_rows(table, split, content, features=features, **kwargs)


def sound(rows=2000, seed=1):
    rng = np.random.default_rng(seed)
    return pa.table({"x": rng.normal(size=rows), "c": rng.choice(list("abc"), rows), "y": rng.integers(0, 2, rows)})


def twice(table, share):
    return pa.concat_tables([table, table.slice(0, int(table.num_rows * share))])


@pytest.mark.row("D6/repeats")
def test_a_batch_that_was_loaded_twice_is_a_fault_from_five_percent_on():
    assert found(sound()) == ()
    (few,) = found(twice(sound(), 0.04))
    assert (few.code, few.effect) == ("RepeatedRows", 80 / 2080)
    assert few.code in NOTES
    (many,) = found(twice(sound(), 0.10))
    assert many.code == "CopiedRows"
    assert many.code not in NOTES
    assert many.numbers == {"rows": 2200, "repeated": 400, "different": 200, "surplus": 200}
    assert "loaded twice" in many.advice


def test_they_are_counted_as_one_by_one_part_by_part():
    rng = np.random.default_rng(4)
    table = pa.table({"x": rng.integers(0, 30, 900), "c": rng.choice(list("ab"), 900), "y": rng.integers(0, 2, 900)})
    part = rng.integers(-1, 3, 900)
    told = {one.part: one for one in found(table, part=part, workers=Threads(2))}
    for place, name in enumerate(("train", "validation", "test")):
        counts = Counter(tuple(row.values()) for row, of in zip(table.to_pylist(), part, strict=True) if of == place)
        again = [count for count in counts.values() if count > 1]
        assert told[name].numbers == {
            "rows": sum(counts.values()), "repeated": sum(again), "different": len(again),
            "surplus": sum(again) - len(again),
        }  # fmt: skip
        assert told[name].message.startswith(f"{sum(again):,} of {sum(counts.values()):,} rows of {name} ")


def test_the_same_inputs_at_another_time_are_another_row():
    at = np.arange(2200).astype("datetime64[h]").astype("datetime64[us]")
    table = twice(sound(), 0.10)
    assert found(table.append_column("at", pa.array(at)), time="at") == ()
    at[2000:] = at[:200]
    (copied,) = found(table.append_column("at", pa.array(at)), time="at")
    assert (copied.code, copied.numbers["surplus"]) == ("CopiedRows", 200)
    assert "label and time" in copied.message


def honest(kind, rng, rows=3000):
    """Tables whose rows are drawn one by one, and often alike."""
    if kind == "coarse":
        columns = {"x": rng.integers(0, 9, rows), "c": rng.choice(list("abcd"), rows)}
    elif kind == "silent customers":  # no amount on most rows
        quiet = rng.random(rows) < 0.6
        columns = {"x": np.where(quiet, 0.0, rng.normal(size=rows)), "c": rng.choice(list("abc"), rows)}
    elif kind == "shops":  # one column says all the others
        shop = rng.integers(0, 400, rows)
        columns = {"x": shop * 1.0, "c": np.array(list("abcd"))[shop % 4]}
    else:  # rounded
        columns = {"x": np.round(rng.gamma(2, 200, rows), -1), "c": rng.choice(list("ab"), rows)}
    return pa.table(columns | {"y": (rng.random(rows) < 0.3).astype(int)})


@pytest.mark.parametrize("kind", ["coarse", "silent customers", "shops", "rounded"])
def test_rows_that_are_alike_by_what_they_are_no_copies(kind):
    rng = np.random.default_rng(9)
    told = [one.code for _ in range(50) for one in found(honest(kind, rng))]
    assert told == ["RepeatedRows"] * 50


def test_without_inputs_nothing_is_asked():
    assert found(sound(), features=[]) == ()


def test_times_that_cannot_be_read_are_left_out():
    table = twice(sound(), 0.10).append_column("at", pa.array([None] * 2200, pa.timestamp("us")))
    (copied,) = found(table, time="at")
    assert copied.code == "CopiedRows"
    assert "label and time" not in copied.message
