import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris

from mandate.api import spec
from mandate.evidence.data import LEAKS
from mandate.measure.data import leakage as leaks
from mandate.measure.data.contents import contents
from mandate.measure.data.leakage import (
    GLANCED,
    giveaways,
    leakage,
    shared_content,
    shared_entities,
    shared_rows,
    time_travel,
    too_few,
)
from mandate.measure.split import Split, divide, row_keys

RNG = np.random.default_rng(21)
TRAIN, VALIDATION, TEST = 0, 1, 2


def parts(table, part, *, identity=None):
    keys = row_keys(table, target="y", identity=identity) if table.num_rows else np.empty(0, np.uint64)
    return Split(part=np.array(part, np.int8), keys=keys, digest="sha256:" + "0" * 64)


def codes(findings):
    return [(finding.code, finding.part, finding.column) for finding in findings]


def test_a_sound_split_leaks_nothing():
    rows = 3000
    table = pa.table({
        "x": RNG.normal(size=rows), "c": RNG.choice(list("abc"), rows), "who": np.arange(rows),
        "at": np.arange(rows).astype("datetime64[h]").astype("datetime64[us]"), "y": RNG.integers(0, 2, rows),
    })  # fmt: skip
    task = spec.Task(type="Binary", target="y", positive="1", cluster="who", time="at")
    split = divide(table, how=spec.Split(method="Time"), task=task)
    assert leakage(table, split, target="y", features=["x", "c"], cluster="who", time="at", in_order=True) == ((), ())


@pytest.mark.row("D5/rows")
def test_rows_that_two_parts_share():
    table = pa.table({"x": [1, 2, 3, 1, 9, 2], "y": [0, 1, 0, 0, 1, 1]})
    (found,) = shared_rows(parts(table, [TRAIN, TRAIN, TRAIN, TEST, TEST, TEST]))
    assert (found.code, found.part, found.numbers) == ("SharedRows", "test", {"rows": 3, "shared": 2})
    assert found.effect == pytest.approx(2 / 3)
    assert found.message == "2 of 3 rows of test occur in train, too"
    assert codes(shared_rows(parts(table, [TRAIN, VALIDATION, TRAIN, TRAIN, TEST, TEST]))) == [
        ("SharedRows", "test", None)
    ]  # validation's row 2 is in test


@pytest.mark.row("D5/rows")
def test_copies_under_new_ids_are_found_by_their_content():
    x, y = RNG.normal(size=400), RNG.integers(0, 2, 400)
    x[300:320], y[300:320] = x[:20], y[:20]
    table = pa.table({"id": np.arange(400), "x": x, "c": ["v"] * 400, "y": y})
    split = parts(table, [TRAIN] * 300 + [TEST] * 100, identity="id")
    assert shared_rows(split) == ()
    (found,) = shared_content(contents(table, ["x", "c", "y"]), split)
    assert (found.code, found.numbers) == ("SharedContent", {"rows": 100, "shared": 20, "usual": 2 / 302})
    few = table.set_column(1, "x", pa.array(np.concatenate([x[:300], x[:2], RNG.normal(size=98)])))
    few = few.set_column(3, "y", pa.array(np.concatenate([y[:300], y[:2], y[302:]])))
    assert shared_content(contents(few, ["x", "c", "y"]), split) == ()  # as rounding does by chance


def test_rounded_numbers_are_alike_by_chance_and_no_copies():
    """Where training rows happen to have no twins, as here in every fifth table, a twin in test isn't a copy either."""
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(200):
        columns = {f"x{i}": np.round(rng.normal(size=500) * 3) / 3 for i in range(4)}
        table = pa.table(columns | {"y": rng.integers(0, 2, 500)})
        split = Split(
            part=np.repeat(np.array([TRAIN, TEST], np.int8), [350, 150]),
            keys=np.arange(500, dtype=np.uint64),
            digest="x",
        )
        found += len(shared_content(contents(table, table.column_names), split))
    assert found <= 3


def test_rows_of_few_values_are_alike_without_being_copies():
    table = pa.table({"a": RNG.integers(0, 8, 5000), "b": RNG.integers(0, 8, 5000), "y": RNG.integers(0, 2, 5000)})
    split = Split(
        part=np.array([TRAIN] * 4900 + [TEST] * 100, np.int8), keys=np.arange(5000, dtype=np.uint64), digest="x"
    )
    assert shared_content(contents(table, ["a", "b", "y"]), split) == ()


def test_content_is_equal_exactly_where_values_are():
    table = pa.table({
        "f": [0.0, -0.0, float("nan"), None, 1.0, 1.0], "i": [1, 1, None, None, 0, None],
        "t": ["a", "a", None, None, "a", "a"],
    })  # fmt: skip
    found = contents(table, ["f", "i", "t"])
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found.tolist())) == 4
    many = pa.table({"a": RNG.integers(0, 1000, 100_000), "b": RNG.integers(0, 1000, 100_000)})
    pairs = set(zip(*many.to_pydict().values(), strict=True))
    assert len(np.unique(contents(many, ["a", "b"]))) == len(pairs)
    assert len(np.unique(contents(pa.table({"a": [1, 2], "b": [2, 1]}), ["a", "b"]))) == 2


@pytest.mark.row("D5/entities")
def test_entities_with_rows_in_two_parts():
    table = pa.table({"who": ["a", "a", "b", None, "a", "c", None, "b"], "x": range(8), "y": [0, 1] * 4})
    split = parts(table, [TRAIN] * 4 + [TEST] * 4)
    (found,) = shared_entities(table, split, cluster="who")
    assert (found.code, found.column, found.numbers) == (
        "SharedEntities", "who", {"rows": 4, "shared": 2, "entities": 2}
    )  # fmt: skip


@pytest.mark.row("D5/time")
def test_no_training_row_is_later_than_a_test_row():
    at = np.array(["2024-01-01", "2024-01-02", "2024-01-05", "2024-01-03", "2024-01-05"], "datetime64[us]")
    table = pa.table({"at": at, "x": range(5), "y": [0, 1, 0, 1, 0]})
    (found,) = time_travel(table, parts(table, [TRAIN] * 3 + [TEST] * 2), time="at")
    assert (found.code, found.part, found.numbers) == (
        "TimeTravel",
        "train",
        {"rows": 3, "late": 1, "seconds": 172_800},
    )
    assert time_travel(table, parts(table, [TRAIN, TRAIN, TEST, TEST, TEST]), time="at") == ()
    equal = time_travel(table, parts(table, [TRAIN, TRAIN, TRAIN, -1, TEST]), time="at")
    assert equal[0].numbers["late"] == 1  # the same instant isn't earlier
    numbered = table.set_column(0, "at", pa.array([1, 2, 5, 3, 5]))
    assert time_travel(numbered, parts(numbered, [TRAIN] * 3 + [TEST] * 2), time="at")[0].numbers == {
        "rows": 3, "late": 1
    }  # fmt: skip


ROWS = 4000
LABEL = RNG.random(ROWS) < 0.2
HALF = np.arange(ROWS) < ROWS // 2


def given(regression=False, label=LABEL, **features):
    table = pa.table({**features, "y": label})
    found = giveaways(table, HALF, ~HALF, target="y", features=list(features), regression=regression)
    return {finding.column: finding for finding in found}


@pytest.mark.row("D5/giveaways")
def test_a_feature_that_is_the_label_in_disguise():
    noise = RNG.normal(size=ROWS)
    found = given(
        above=np.where(LABEL, 5 + noise, noise - 5),
        below=np.where(LABEL, noise - 50, noise),
        between=np.where(LABEL, noise * 0.01, np.where(noise > 0, 1 + noise, noise - 1)),
        text=np.where(LABEL, "refused", "granted"),
        unknown=pa.array(noise, mask=LABEL),
        noise=noise,
        good=noise + 1.5 * LABEL,
        id=[f"i{i}" for i in range(ROWS)],
        number=np.arange(ROWS),
        constant=["v"] * ROWS,
        empty=pa.nulls(ROWS),
    )
    assert set(found) == {"above", "below", "between", "text", "unknown"}
    assert all(finding.numbers["auc"] >= 0.98 and finding.code == "GivesLabelAway" for finding in found.values())
    assert "when it is known" in found["text"].advice


def test_a_feature_that_gives_one_class_away_is_told_but_not_called_a_leak():
    label = RNG.choice(["a", "b", "c"], ROWS)
    found = given(label=label, x=np.where(label == "c", 1, 0), z=RNG.normal(size=ROWS))
    assert {name: finding.code for name, finding in found.items()} == {"x": "GivesClassAway"}
    assert "of class 'c'" in found["x"].message


def test_a_feature_that_gives_several_classes_away():
    classes = np.array(list("abcdefghij"))
    place = RNG.choice(10, ROWS, p=[0.55] + [0.05] * 9)
    found = given(
        label=classes[place],
        text=np.char.add("was ", classes[place]),
        number=place + RNG.random(ROWS).round(1) / 2,  # of which no range holds two classes
        good=place + RNG.normal(size=ROWS),
        id=[f"i{i}" for i in range(ROWS)],
    )
    assert {name: finding.code for name, finding in found.items()} == {
        "text": "GivesLabelAway", "number": "GivesLabelAway"
    }  # fmt: skip
    assert found["text"].numbers == {"rows": ROWS / 2, "lambda": 1.0}


def test_irises_are_told_apart_by_honest_measures():
    flowers = load_iris()
    order = np.random.default_rng(1).permutation(150)
    table = pa.table({f"x{i}": flowers.data[order, i] for i in range(4)} | {"y": flowers.target[order].astype(str)})
    half = np.arange(150) < 75
    found = giveaways(table, half, ~half, target="y", features=table.column_names[:4])
    assert {finding.code for finding in found} == {"GivesClassAway"}


def test_a_feature_that_gives_a_number_away():
    label = RNG.lognormal(0, 1.5, ROWS)
    found = given(
        regression=True,
        label=label,
        tax=3 * label + RNG.normal(0, 0.01, ROWS),
        z=RNG.normal(size=ROWS),
        root=np.sqrt(label),
        part=np.sqrt(label) * RNG.lognormal(0, 0.2, ROWS),
    )
    assert set(found) == {"tax", "root"}
    assert found["tax"].numbers["r2"] > 0.99


def test_a_hundred_rows_are_enough_to_see_the_label():
    half = np.arange(200) < 100
    for seed in range(20):
        y = np.arange(200) % 2
        table = pa.table({"y": y, "x": np.random.default_rng(seed).normal(size=200) + 100 * y})
        assert codes(giveaways(table, half, ~half, target="y", features=["x"])) == [("GivesLabelAway", "test", "x")]


def test_a_time_that_is_written_because_of_the_outcome():
    y = np.arange(400) % 2
    hours = RNG.permutation(400) + 1000 * y
    for kind in ("datetime64[us]", "datetime64[D]"):
        table = pa.table({"y": y, "closed": hours.astype(kind)})
        half = np.arange(400) < 200
        (found,) = giveaways(table, half, ~half, target="y", features=["closed"])
        assert (found.code, found.column, found.effect) == ("GivesLabelAway", "closed", 1.0)
    table = pa.table({"y": y, "at": RNG.permutation(400).astype("datetime64[h]").astype("datetime64[us]")})
    assert giveaways(table, half, ~half, target="y", features=["at"]) == ()


def test_a_rising_function_of_a_number_with_a_long_tail_gives_it_away():
    log = 1.5 * RNG.normal(size=2000)
    half = np.arange(2000) < 1000
    table = pa.table({"y": np.exp(log), "log": log, "near": log + 0.5 * RNG.normal(size=2000)})
    found = giveaways(table, half, ~half, target="y", features=["log", "near"], regression=True)
    assert codes(found) == [("GivesLabelAway", "test", "log")]
    often = np.where(np.arange(2000) % 4 > 0, 0.0, np.exp(log))
    table = pa.table({"y": often, "some": (often > 0).astype(int)})
    assert giveaways(table, half, ~half, target="y", features=["some"], regression=True) == ()


def test_too_few_rows_or_no_labels_show_nothing():
    table = pa.table({"x": [0.0, 1.0] * 20, "y": [0, 1] * 20})
    train = np.arange(40) < 20
    assert giveaways(table, train, ~train, target="y", features=["x"]) == ()
    for labels in (pa.nulls(40), pa.array([None, 1] * 20), [1] * 40):
        odd = table.set_column(1, "y", pa.array(labels))
        assert giveaways(odd, train, ~train, target="y", features=["x"]) == ()
    empty = table.set_column(1, "y", pa.nulls(40, pa.float64()))
    assert giveaways(empty, train, ~train, target="y", features=["x"], regression=True) == ()


def test_what_too_few_rows_leave_open():
    part = np.array([TRAIN] * 2000 + [TEST] * 400, np.int8)
    for positives, open_ in ((19, ["TooFewRows"]), (20, [])):
        label = np.concatenate([np.arange(2000) < 100, np.arange(400) < positives]).astype(int)
        table = pa.table({"copy": label * 1.0, "y": label})
        split = Split(part=part, keys=np.arange(2400, dtype=np.uint64), digest="x")
        found, unasked = leakage(table, split, target="y", features=["copy"])
        leaking = any(one.code in LEAKS for one in found)
        assert ([one.code for one in unasked], leaking) == (open_, not open_)
    same = table.append_column("same", pa.array(np.ones(2400)))
    (unasked,) = too_few(same, part == TRAIN, part == TEST, target="same", regression=True)
    assert unasked.message.startswith("train has 0 rows of different labels")
    assert too_few(same, part == TRAIN, part == TEST, target="copy", regression=True) == ()


def test_times_that_cant_be_read_leave_time_travel_open():
    table = pa.table({"x": RNG.normal(size=400), "at": pa.array([None] + [1] * 399), "y": [0, 1] * 200})
    split = Split(part=np.repeat([TRAIN, TEST], 200).astype(np.int8), keys=np.arange(400, dtype=np.uint64), digest="x")
    found, unasked = leakage(table, split, target="y", features=["x"], time="at", in_order=True)
    assert (found, [one.code for one in unasked]) == ((), ["NotExamined"])
    assert leakage(table, split, target="y", features=["x"], time="at") == ((), ())


def test_missing_labels_are_left_out():
    hidden = pa.array(LABEL.astype(int), mask=np.arange(ROWS) % 3 == 0)
    assert set(given(label=hidden, x=LABEL.astype(int))) == {"x"}


def test_everything_at_once():
    rows = 1000
    label = RNG.integers(0, 2, rows)
    at = np.arange(rows)
    at[0] = 2000
    table = pa.table({"x": RNG.normal(size=rows), "leak": label, "who": np.arange(rows) % 500, "at": at, "y": label})
    split = parts(table, [TRAIN] * 600 + [TEST] * 400)
    found, unasked = leakage(table, split, target="y", features=["x", "leak"], cluster="who", time="at", in_order=True)
    assert unasked == ()
    assert codes(found) == [
        ("SharedEntities", "test", "who"), ("TimeTravel", "train", "at"), ("GivesLabelAway", "test", "leak")
    ]  # fmt: skip


def test_numbers_that_a_sample_shows_to_be_harmless_are_not_looked_at_on_all_rows(monkeypatch):
    rng = np.random.default_rng(5)
    rows = 3 * GLANCED
    label = rng.random(rows) < 0.05
    table = pa.table({
        "plain": label + rng.normal(0, 0.3, rows), "faint": label + rng.normal(0, 0.4, rows),
        "noise": rng.normal(size=rows), "text": rng.choice(list("abc"), rows), "y": label,
    })  # fmt: skip
    names = table.column_names[:4]
    split = Split(
        part=np.repeat([TRAIN, TEST], [rows // 2, rows - rows // 2]).astype(np.int8),
        keys=rng.integers(0, 2**63, rows).astype(np.uint64),
        digest="",
    )
    train, test = split.rows("train"), split.rows("test")
    looked: list[tuple[str, int]] = []
    cells = leaks._cells

    def noted(table, feature, *given, **options):
        looked.append((feature, table.num_rows))
        return cells(table, feature, *given, **options)

    monkeypatch.setattr(leaks, "_cells", noted)
    found, _ = leakage(table, split, target="y", features=names)
    assert [one for one in found if one.code == "GivesLabelAway"] == list(
        giveaways(table, train, test, target="y", features=names)
    )
    assert codes(found) == [("GivesLabelAway", "test", "plain")]
    glanced = 2 * GLANCED
    assert looked[:3] == [("plain", glanced), ("faint", glanced), ("noise", glanced)]
    assert {name for name, count in looked[3:6]} == {"plain", "faint", "text"}
    rare = table.set_column(4, "y", pa.array(label & (rng.random(rows) < 0.2)))
    looked.clear()
    leakage(rare, split, target="y", features=names)
    assert looked[0] == ("plain", rows)
