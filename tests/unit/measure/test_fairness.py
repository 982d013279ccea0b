"""Groups of which something can't be known: never a Pass, always in words."""

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import Evidence, Measured
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.slices import value_names
from mandate.measure.split import join
from mandate.verdict.judge import judge

FAIR = ("selection_rate", "equalized_odds", "recall", "precision", "observed_expected")


def outcome(groups, *, metric, shape, require, train=None):
    """The verdict of one gate across groups; `groups` holds (name, rows, share of positives, share answered so)."""
    rng = np.random.default_rng(5)
    parts = [
        pa.table({
            "group": pa.array([name] * rows, type=pa.string()),
            "y": (rng.random(rows) < base).astype(int),
            "score": np.where(rng.random(rows) < rate, 0.9, 0.1),
        })
        for name, rows, base, rate in groups
    ]  # fmt: skip
    test = pa.concat_tables(parts)
    tables = {"test": test.append_column("id", pa.array(np.arange(test.num_rows)))}
    if train is not None:
        tables["train"] = pa.table({"group": train, "y": [0, 1], "score": [0.1, 0.9], "id": [-1, -2]})
    task = spec.Task(type="Binary", target="y", positive="1", id="id")
    table, split = join(tables, task=task)
    computed = compute(
        table=table,
        split=split,
        answers=from_columns(table, ["score"]),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("score",))),
        task=task,
        data=spec.Data(
            test=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="group", column="group", sensitive=True),)
        ),
    )
    gate = spec.Gate.model_validate({
        "name": "fair", "metric": metric, "across": "group", "as": shape, "require": {"Shadow": require},
    })  # fmt: skip
    verdict = judge(
        gates=[gate],
        tier="Medium",
        evidence=Evidence(computed=computed, measured=Measured()),
        look=1,
        champion=False,
        target="Shadow",
    )
    return verdict.at("Shadow").gates[0].outcomes[0]


LOOSE = {"difference": "<= 1", "ratio": ">= 0"}


@pytest.mark.parametrize("metric", FAIR)
@pytest.mark.parametrize("shape", ["difference", "ratio"])
def test_even_the_loosest_gate_passes_only_what_is_known(metric, shape):
    def word(*groups, **options):
        return outcome(groups, metric=metric, shape=shape, require=LOOSE[shape], **options)

    assert word(("a", 800, 0.5, 0.5), ("b", 800, 0.5, 0.5)).verdict == "Pass"
    for groups, options, words in (
        ([("a", 800, 0.5, 0.5)], {}, "OneGroup"),
        ([("a", 800, 0.5, 0.5), ("b", 3, 0.5, 0.5)], {}, "b"),
        ([("a", 800, 0.5, 0.5), ("b", 800, 0.5, 0.5)], {"train": ["c", "a"]}, "c: none of its 1 rows is a test row"),
        ([(f"g{n}", 60, 0.5, 0.5) for n in range(21)], {}, "TooManyGroups"),
        ([(f"g{n}", 1, 0.5, 0.5) for n in range(101)], {}, "TooManyValues"),
    ):
        found = word(*groups, **options)
        assert found.verdict in ("Inconclusive", "Error"), (groups[:2], found)
        assert words in found.message


@pytest.mark.parametrize(
    ("metric", "group", "words"),
    [
        ("equalized_odds", ("b", 400, 0.0, 0.5), "NoRows: recall: b: no row is actually positive"),
        ("equalized_odds", ("b", 400, 1.0, 0.5), "NoRows: false_positive_rate: b: no row is actually negative"),
        ("recall", ("b", 400, 0.0, 0.5), "NoRows: b: no row is actually positive"),
        ("precision", ("b", 400, 0.5, 0.0), "NoRows: b: no row was predicted to be positive"),
        ("observed_expected", ("b", 400, 0.0, 0.5), "OneClass: b: "),
    ],
)
def test_a_group_without_a_denominator_is_an_error_that_names_it(metric, group, words):
    for shape, require in LOOSE.items():
        found = outcome([("a", 400, 0.5, 0.5), group], metric=metric, shape=shape, require=require)
        assert found.verdict == "Error"
        assert words in found.message


def test_rates_of_zero_have_no_ratio():
    nobody = outcome(
        [("a", 400, 0.5, 0.0), ("b", 400, 0.5, 0.0)], metric="selection_rate", shape="ratio", require=">= 0"
    )
    assert nobody.verdict == "Error"
    assert "ZeroReference: selection_rate is 0 in every group" in nobody.message
    one = outcome([("a", 400, 0.5, 0.5), ("b", 400, 0.5, 0.0)], metric="selection_rate", shape="ratio", require=">= 0")
    assert one.verdict == "Inconclusive"
    assert "b: no variation was seen" in one.message
    assert one.estimate == 0.0


def test_equalized_odds_fails_by_either_rate():
    even = [("a", 3000, 0.5, 0.5), ("b", 3000, 0.5, 0.5)]
    apart = [("a", 3000, 0.5, 0.5), ("b", 3000, 0.5, 0.8)]
    for groups, verdict in ((even, "Pass"), (apart, "Fail")):
        assert outcome(groups, metric="equalized_odds", shape="difference", require="<= 0.1").verdict == verdict
        assert outcome(groups, metric="equalized_odds", shape="ratio", require=">= 0.8").verdict == verdict


def test_a_small_group_hides_no_gap_between_large_ones():
    apart = [("a", 3000, 0.5, 0.5), ("b", 3000, 0.5, 0.8)]
    for metric in ("selection_rate", "equalized_odds"):
        for shape, limit in (("difference", "<= 0.1"), ("ratio", ">= 0.8")):
            alone = outcome(apart, metric=metric, shape=shape, require=limit)
            beside = outcome([*apart, ("c", 5, 0.5, 0.5)], metric=metric, shape=shape, require=limit)
            assert (alone.verdict, beside.verdict) == ("Fail", "Fail"), (metric, shape, beside.message)
            loose = {"difference": "<= 0.9", "ratio": ">= 0.1"}[shape]
            found = outcome([*apart, ("c", 5, 0.5, 0.5)], metric=metric, shape=shape, require=loose)
            assert found.verdict == "Inconclusive"
            assert "c" in found.message


def test_a_group_of_which_nobody_is_chosen_fails_a_ratio_where_it_is_large_enough():
    def word(rows, require=">= 0.8"):
        groups = [("a", 800, 0.5, 0.5), ("b", rows, 0.5, 0.0)]
        return outcome(groups, metric="selection_rate", shape="ratio", require=require).verdict

    assert word(800) == "Fail"
    assert word(5) == "Inconclusive"
    assert word(800, ">= 0.001") == "Inconclusive"


def test_pairs_of_a_cross_that_read_alike_stay_groups_of_their_own():
    pairs = [("a", "b × c × d"), ("a × b", "c × d"), ("a × b × c", "d")]
    texts = [f"{one} × {other}" for one, other in pairs]
    assert len(set(value_names(texts))) == 3
    taken = value_names(["ü" * 300])[0]
    assert len(set(value_names([taken, "ü" * 300]))) == 2
