"""Gates against every baseline, overall and per slice: what is ahead passes, and what couldn't be had never does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.api.references import KINDS
from mandate.evidence.schema import Evidence, Measured
from mandate.verdict.judge import GateVerdict, judge
from tests.unit.measure.test_engine import TASKS, Case


def verdict(case: Case, baseline: spec.Baseline, *, metric: str = "accuracy", require: str) -> GateVerdict:
    """What a gate on every value of `sex` says at Shadow."""
    evidence = Evidence(computed=case.compute(references=(baseline,)), measured=Measured())
    gate = spec.Gate.model_validate(
        {"name": "beats", "metric": metric, "each": ["overall", "sex"], "require": {"Shadow": require}}
    )
    told = judge(gates=[gate], tier="Medium", evidence=evidence, look=1, champion=False, target="Shadow")
    return told.at("Shadow").gates[0]


def case_of(kind: str) -> Case:
    rows = 18_000 if kind == "Regression" else 6000  # errors without a bound take more rows
    case = Case(kind, rows=rows)
    case.table = case.table.append_column("at", pa.array(np.arange(rows) * 3_600_000_000, pa.timestamp("us")))
    case.task = case.task.model_copy(update={"time": "at"})
    return case


EVERY = [
    (task, kind)
    for kind, found in KINDS.items()
    for task in found.tasks
    if task in TASKS  # others have test modules of their own
    if kind not in ("Column", "Container", "Human")
]


@pytest.mark.row("B3/paired")
@pytest.mark.parametrize(("task", "kind"), EVERY)
def test_a_good_model_is_ahead_of_what_knows_little(task, kind):
    """The cases' models know more than any of these, but for those that fit the feature that makes the truth."""
    fields = {"period": "Day"} if KINDS[kind].needs else {}
    baseline = spec.Baseline.model_validate({"name": "other", "type": kind} | fields)
    metric = "mean_absolute_error" if task == "Regression" else "accuracy"
    word = "no worse than other by 0.2" if kind in ("Linear", "Threshold") else "better than other by 0.02"
    found = verdict(case_of(task), baseline, metric=metric, require=word)
    assert [outcome.where for outcome in found.outcomes if outcome.where == "overall"] == ["overall"]
    assert {outcome.where for outcome in found.outcomes} == {"overall", "sex f", "sex m"}
    assert found.verdict == "Pass", found.message


@pytest.mark.row("B2/panel")
@pytest.mark.parametrize(
    ("against", "right", "require", "wanted"),
    [
        ("Target", 0.1, "better than people", "Pass"),
        ("Target", 0.95, "better than people", "Fail"),
        ("Others", 0.95, "no worse than people by 0.02", "Fail"),
        ("Others", 0.95, "no worse than people by 0.9", "Pass"),
    ],
)
def test_people_are_beaten_or_not(against, right, require, wanted):
    baseline = spec.Baseline(name="people", type="Human", against=against)
    case = case_of("Binary")
    case.annotate(3, right=right)
    assert verdict(case, baseline, require=require).verdict == wanted


@pytest.mark.parametrize(
    ("baseline", "code"),
    [
        (spec.Baseline(name="other", type="Human"), "NoAnnotations"),
        (spec.Baseline(name="other", type="LastPeriodMean", period="Day", by=("id",)), "NoHistory"),
        (spec.Baseline(name="other", type="Mean"), "WrongTask"),
    ],
)
def test_what_could_not_be_had_is_an_error_and_holds_nothing(baseline, code):
    for require in ("better than other", "no worse than other by 0.9"):
        found = verdict(case_of("Binary"), baseline, require=require)
        assert found.verdict == "Error"
        assert not found.holds
        assert len(found.outcomes) == 3
        assert all(code in outcome.message for outcome in found.outcomes)
