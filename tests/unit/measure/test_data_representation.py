"""Groups that production has and training lacks."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from mandate.api import spec
from mandate.evidence.data import DataEvidence
from mandate.measure.data.columns import columns, stored
from mandate.measure.data.profile import dumps, loads
from mandate.measure.data.representation import chance, interval, represent
from mandate.measure.slices import assign_all
from mandate.measure.split import Split

TASK = spec.Task(type="Binary", target="y", positive="1")
SLICES = (spec.Slice(name="age", column="age", edges=("30", "60")), spec.Slice(name="sex", column="sex"))


def rows(count, *, seed, oldest=80, kinds=("car", "tv"), gap=0.0):
    random = np.random.default_rng(seed)
    age = np.where(random.random(count) < gap, np.nan, random.integers(18, oldest, count))
    return pa.table(
        {
            "age": pa.array(age, from_pandas=True),
            "purpose": random.choice(list(kinds), count),
            "sex": random.choice(["f", "m"], count),
            "who": random.integers(0, count // 2, count),
        }
    )


def found(train, production, *, task=TASK, slices=SLICES, inputs=("age", "purpose"), before=None):
    data = spec.Data(test=spec.TableSource(uri="t.csv"), slices=slices)
    model = spec.Model(
        version="1",
        source=spec.ModelSource(columns=("a",)),
        inputs=spec.ModelInputs(columns=inputs, encoding="Columns"),
    )
    kept = columns(model=model, task=task, data=data, target=False)
    part = np.zeros(len(train), dtype=np.int8)
    split = Split(part=part, keys=np.arange(len(train), dtype=np.uint64), digest="d")
    return represent(
        before or DataEvidence(),
        train,
        split,
        loads(dumps(stored(production, kept))),
        model=model,
        task=task,
        data=data,
        slices=assign_all(train, slices, train=split.rows("train")),
    )


def lacking(told):
    return [
        (item.column, item.message.split(" is ")[1].split(" on ")[0])
        for item in told.findings
        if item.code == "UnrepresentedGroup"
    ]


def test_production_as_training_lacks_nothing():
    told = found(rows(4000, seed=1, gap=0.1), rows(3000, seed=2, gap=0.1))
    assert (told.counts, told.unasked) == ({}, ())
    assert [(one.reference, one.current, one.compared) for one in told.comparisons] == [("train", "production", 3)]


@pytest.mark.row("D3/production")
def test_groups_that_training_lacks_are_named_with_shares_and_intervals():
    train = rows(4000, seed=1, oldest=60)
    told = found(train, rows(3000, seed=2, kinds=("car", "tv", "boat"), gap=0.05))
    assert lacking(told) == [("purpose", "'boat'"), ("age", "'>=60'"), ("age", "missing")]
    boat = next(item for item in told.findings if "boat" in item.message)
    assert boat.message.startswith("'purpose' is 'boat' on 33.")
    assert boat.message.endswith("and on 0.0% (0.0% to 0.1%) of the training rows")
    assert "train with them" in boat.advice
    assert told.counts["OutsideTraining"] == 1, "ages above 59"
    low, high = (boat.numbers[name] for name in ("shareLow", "shareHigh"))
    exact = stats.binomtest(int(boat.numbers["scored"]), 3000).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))


def test_a_thin_group_is_lacking_and_a_small_one_in_production_is_not():
    few = pa.array(["boat"] * 4 + ["car"] * 3996)
    many = pa.array(["boat"] * 300 + ["car"] * 2700)
    train, production = (
        rows(4000, seed=1).set_column(1, "purpose", few),
        rows(3000, seed=2).set_column(1, "purpose", many),
    )
    assert lacking(found(train, production)) == [("purpose", "'boat'")]
    rare = pa.array(["boat"] * 29 + ["car"] * 2971)
    assert lacking(found(rows(4000, seed=1), rows(3000, seed=2).set_column(1, "purpose", rare))) == []


def test_ranges_by_quantiles_are_those_of_the_training_rows():
    quarters = (spec.Slice(name="age", column="age", quantiles=2),)
    old = pa.array([70.0] * 2990 + [20.0] * 10)
    told = found(rows(4000, seed=1), rows(3000, seed=2).set_column(0, "age", old), slices=quarters)
    assert lacking(told) == [], "training has both halves"
    young = rows(4000, seed=1).set_column(0, "age", pa.array([70.0] * 3999 + [20.0]))
    told = found(young, rows(3000, seed=2), slices=(spec.Slice(name="age", column="age", edges=("30",)),))
    assert lacking(told) == [("age", "'<30'")]


def test_no_text_of_fewer_than_ten_rows_is_named():
    train = rows(40_000, seed=1)
    kinds = pa.array(["Jo Doe, 4 High Street"] * 9 + ["car"] * 291)
    told = found(train, rows(300, seed=2).set_column(1, "purpose", kinds))
    assert lacking(told) == [("purpose", "a text that fewer than 10 rows have")]
    assert "Jo Doe" not in told.model_dump_json()


def test_clusters_make_production_tell_less():
    task = spec.Task(type="Binary", target="y", positive="1", cluster="who")
    train = rows(400, seed=1).set_column(3, "who", pa.array(np.arange(400) % 8))
    production = rows(300, seed=2, kinds=("car", "tv", "boat"))
    assert lacking(found(train, production)) == [("purpose", "'boat'")]
    told = found(train, production, task=task)
    assert lacking(told) == []
    assert [(item.count, item.code) for item in told.unasked] == [("unrepresented_groups", "TooFewRows")]


@pytest.mark.parametrize(
    ("production", "why"),
    [
        (rows(3000, seed=2).drop_columns(["sex"]), "'sex' isn't in production's rows"),
        (
            rows(3000, seed=2).set_column(0, "age", pa.array(["old"] * 3000)),
            "'age' holds double in train and string",
        ),
        (
            rows(3000, seed=2).set_column(1, "purpose", pa.array([["car"]] * 3000)),
            "'purpose' isn't in production's rows",
        ),
    ],
)
def test_what_was_not_looked_at_is_said(production, why):
    (asked,) = found(rows(4000, seed=1), production).unasked
    assert (asked.count, asked.code) == ("unrepresented_groups", "NotExamined")
    assert asked.message.startswith(why)


def test_columns_that_name_clusters_are_no_groups_but_a_slice_of_them_is_unasked():
    task = spec.Task(type="Binary", target="y", positive="1", cluster="who")
    plain = found(rows(4000, seed=1), rows(3000, seed=2), task=task, inputs=("age", "who"))
    assert plain.unasked == ()
    by_who = (*SLICES, spec.Slice(name="who", column="who", edges=("5",)))
    (asked,) = found(rows(4000, seed=1), rows(3000, seed=2), task=task, slices=by_who).unasked
    assert asked.message.startswith("'who' names rows or clusters")


def test_chance_is_scipys_and_is_kept_to():
    assert chance(3, 40, rows=(4000, 3000)) == pytest.approx(stats.binom.cdf(3, 43, 4 / 7))
    assert interval(0, 20) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert interval(20, 20) == pytest.approx((0.025 ** (1 / 20), 1))
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        trained, scored = random.binomial((200, 300), 0.03)
        alarms += (
            scored >= 3 and trained / 200 <= 0.2 * scored / 300 and chance(trained, scored, rows=(200, 300)) <= 0.05
        )
    assert alarms <= 15
