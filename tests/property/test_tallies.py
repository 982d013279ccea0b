"""Slices by sums against the same slices row by row, whatever the rows."""

import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mandate.api.catalogue import metrics_for
from mandate.evidence.schema import Fault
from mandate.measure import remainder as remainders
from mandate.measure.answers import Voice
from mandate.measure.judge import Judge
from mandate.measure.metrics import Declared
from mandate.measure.slices import Sliced

RELATIVE = 1e-9
STEPS = 1e-7
"""Of a calibration slope, where Newton's method stops."""


PARTIES = ("near", "constant", "labels", "scores", "fault", "holes", "late")
CASES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "rows": st.sampled_from([1, 7, 60, 400, 1500]),
        "values": st.integers(1, 7),
        "even": st.sampled_from([0.2, 1.0, 20.0]),
        "noise": st.sampled_from([0.0, 0.5, 2.0]),
        "middle": st.sampled_from([0.0, 1.5]),
        "one_class": st.sampled_from([None, False, True]),
        "all_right": st.booleans(),
        "decimals": st.sampled_from([1, 2, 15]),
        "scored": st.sampled_from([True, True, True, False]),
        "others": st.lists(st.sampled_from(PARTIES), unique=True, max_size=3),
        "beta": st.sampled_from([None, 0.5, 2.0]),
        "cost": st.sampled_from([None, 1.0, 0.0]),
        "sensitive": st.booleans(),
    }
)
CASE = {
    "seed": 1,
    "rows": 400,
    "values": 3,
    "even": 20.0,
    "noise": 0.5,
    "middle": 0.0,
    "one_class": None,
    "all_right": False,
    "decimals": 15,
    "scored": True,
    "others": ["near"],
    "beta": 2.0,
    "cost": 1.0,
    "sensitive": False,
}


def build(case):
    """A judge of Binary answers and a slice of some values, of which one may be of one class, and one all right."""
    rng, rows, size = np.random.default_rng(case["seed"]), case["rows"], case["values"]
    code = rng.choice(size, rows, p=rng.dirichlet(np.full(size, case["even"]))).astype(np.int16)
    x, every = rng.normal(size=rows), np.ones(rows, dtype=bool)
    actual = x + case["noise"] * rng.normal(size=rows) > case["middle"]
    if case["one_class"] is not None:
        actual[code == 0] = case["one_class"]

    def voice(given):
        score = np.round(1 / (1 + np.exp(-given)), case["decimals"])
        return Voice(label=score >= 0.5, score=score, finite=every, cutoff=0.5)

    mine = voice(x - case["middle"])
    if case["all_right"]:
        mine.label[code == size - 1] = actual[code == size - 1]
    order = np.argsort(mine.score, kind="stable")
    if not case["scored"]:
        mine = Voice(label=mine.label, finite=every)
    no_label = Fault(code="NoCutoff", message="no")
    parties = {
        "near": voice(x - case["middle"] + 0.3 * rng.normal(size=rows)),
        "constant": voice(np.full(rows, -1.0)),
        "labels": Voice(label=rng.random(rows) < 0.5, finite=every),
        "scores": Voice(score=voice(x).score, finite=every, unlabelled=no_label),
        "fault": Voice(fault=Fault(code="WrongShape", message="strange")),
        "holes": Voice(label=mine.label, score=mine.score, finite=rng.random(rows) < 0.99),
        "late": Voice(label=actual, finite=every, made_up=rng.random(rows) < 0.05),
    }
    costs = None if case["cost"] is None else np.array([[0.0, 2.5 * case["cost"]], [case["cost"], 0.0]])
    none = np.empty(0, dtype=np.intp)
    judge = Judge(
        task="Binary",
        actual=actual,
        classes=("no", "yes"),
        mine=mine,
        others={name: parties[name] for name in case["others"]},
        clusters=None,
        weights=None,
        known=None,
        parts={"train": none, "validation": none, "test": order},
        queries=None,
        declared=Declared(beta=case["beta"], costs=costs),
        costs_fault=None,
    )
    names = tuple(f"v{place}" for place in range(size))
    return judge, Sliced(name="s", sensitive=case["sensitive"], values=names, code=code, found=size)


@pytest.mark.row("T2/declared")
@settings(max_examples=40, phases=[Phase.explicit, Phase.generate])  # a smaller table says no more
@given(case=CASES)
def test_sums_say_what_rows_say(case):
    judge, sliced = build(case)
    remainder = judge.overall()[1]
    with patch.object(remainders, "BLOCK", 128):
        by_sums = {each.quantity: each for each in judge.sliced(sliced, remainder)}
    by_rows = {each.quantity: each for each in judge.sliced(sliced, None)}
    assert by_sums.keys() == by_rows.keys()
    wrong = {}
    for quantity, expected in by_rows.items():
        rel = STEPS if quantity.metric == "calibration_slope" else RELATIVE
        if place := differs(by_sums[quantity].model_dump(mode="json"), expected.model_dump(mode="json"), rel=rel):
            wrong[quantity.metric, quantity.versus, place] = by_sums[quantity].estimate, expected.estimate
    assert not wrong, wrong


def test_sums_tell_all_but_ranks():
    judge, sliced = build(CASE)
    remainder = judge.overall()[1]
    sums = judge._tallies(sliced.code[judge.parts["test"]], len(sliced.values), remainder)
    told = {metric.name for metric in metrics_for("Binary") if metric in judge.metrics}
    by_rows = {"roc_auc", "average_precision", "calibration_slope"}
    assert set(sums.own(0)) == set(judge._told(sums)["near"][0]) == told - by_rows
    assert judge._tallies(sliced.code, 1, None) is None, "rows with weights or clusters have no remainder"


@pytest.mark.parametrize("party", ["holes", "late"])
def test_where_a_party_lacks_answers_rows_are_asked(party):
    judge, sliced = build(CASE | {"others": [party]})
    assert judge._tallies(sliced.code, len(sliced.values), judge.overall()[1]) is None


def differs(found, expected, *, rel, at=""):
    """Where two records differ, or None; numbers may by `rel`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if found.keys() != expected.keys():
            return at or "/"
        parts = (differs(found[name], expected[name], rel=rel, at=f"{at}/{name}") for name in expected)
        return next((part for part in parts if part), None)
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        parts = (differs(*pair, rel=rel, at=f"{at}/{place}") for place, pair in pairs)
        return next((part for part in parts if part), None)
    if isinstance(expected, float) and isinstance(found, int | float):
        return None if math.isclose(found, expected, rel_tol=rel, abs_tol=1e-14) else at
    return None if found == expected else at
