"""Looks are counted over models and criteria, never twice for the same question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api.catalogue import METRICS
from mandate.api.check import load_spec
from mandate.evidence.schema import Cutoff, Estimate, Measured, Quantity, Support
from mandate.verdict.criteria import settings_digest
from mandate.verdict.looks import Look, look_at, number
from tests.unit.api.specs import GOOD, changed
from tests.unit.controller.samples import evidence

ROWS, OTHER_ROWS = ("01", "05", "09"), ("02", "06", "0a")


def test_the_first_look_is_number_one() -> None:
    assert number([], Look("a", ROWS)) == 1


@pytest.mark.row("G5/looks")
def test_another_model_on_overlapping_rows_is_another_look() -> None:
    assert number([Look("a", ROWS)], Look("b", ("05", "ff"))) == 2


def test_fresh_rows_start_anew() -> None:
    assert number([Look("a", ROWS), Look("b", ROWS)], Look("c", OTHER_ROWS)) == 1


def test_the_same_question_again_keeps_its_number() -> None:
    looks = [Look("a", ROWS), Look("b", ROWS), Look("a", ROWS)]
    assert number(looks, Look("a", ROWS)) == 1
    assert number(looks, Look("b", ROWS)) == 2
    assert number(looks, Look("c", ROWS)) == 3


@given(st.lists(st.sampled_from("abcdef"), max_size=30))
def test_numbers_never_skip(keys: list[str]) -> None:
    taken: list[Look] = []
    for key in keys:
        look = Look(key, ROWS)
        place = number(taken, look)
        assert 1 <= place <= len({item.key for item in taken} | {key})
        taken.append(look)
        assert number(taken, look) == place


def test_rows_that_grew_older_are_no_other_look() -> None:
    fresh = evidence(0.8)
    days = [
        Estimate(
            quantity=Quantity(metric="data_age", on="test"), estimate=86_400.0 * age, support=Support(rows=9, events=9)
        )
        for age in (1, 2)
    ]
    aged = [fresh.model_copy(update={"measured": Measured(estimates=(day,))}) for day in days]
    assert len({look_at(item, criteria="c", settings="s").key for item in (fresh, *aged)}) == 1


def test_what_a_newer_version_measures_is_taken_for_a_sample() -> None:
    """Only what says itself that it is none is left out: a look too many is the safe side."""
    assert {name for name, metric in METRICS.items() if not metric.is_sample} == {"data_age"}
    fresh = evidence(0.8)
    items = [
        Estimate(quantity=Quantity(metric="later_metric"), estimate=value, support=Support(rows=9, events=9))
        for value in (1, 2)
    ]
    later = [fresh.model_copy(update={"measured": Measured(estimates=(item,))}) for item in items]
    assert len({look_at(item, criteria="c", settings="s").key for item in (fresh, *later)}) == 3


def test_measured_again_it_is_another_look_and_judged_again_it_is_not() -> None:
    first = evidence(0.8)
    latency = Estimate(
        quantity=Quantity(metric="latency_p95", load="10"), estimate=0.01, support=Support(rows=9, events=9)
    )
    slow, slower = (
        first.model_copy(update={"measured": Measured(estimates=(latency.model_copy(update={"estimate": seconds}),))})
        for seconds in (0.01, 0.02)
    )
    keys = {look_at(item, criteria="c", settings="s").key for item in (first, slow, slower)}
    assert len(keys) == 3
    assert look_at(slow, criteria="c", settings="s").key in keys
    assert look_at(slow, criteria="d", settings="s").key not in keys


@pytest.mark.row("G5/looks")
def test_other_settings_are_another_look() -> None:
    """A cut-off that is moved on the same test rows, for the same model."""
    record = evidence(0.8)
    spec = load_spec(changed("model.output.cutoff", "0.5"))
    moved = load_spec(changed("model.output.cutoff", "0.4"))
    one, two = (look_at(record, criteria="c", settings=settings_digest(item, record)) for item in (spec, moved))
    assert number([one], one) == 1
    assert number([one], two) == 2
    assert one.former == two.former != one.key


@pytest.mark.row("G5/looks")
@pytest.mark.parametrize(
    ("path", "value", "same"),
    [
        ("model.output.cutoff", "0.500", True),
        ("model.output.name", "scores", False),
        ("data.slices.0.edges", ["20", "31"], False),
        ("baselines.0.type", "MostFrequent", False),
        ("data.search", {"minRows": 60}, True),
        ("data.lineage", {"source": "elsewhere"}, True),
        ("serving", {"replicas": 2}, True),
    ],
)
def test_settings_are_what_numbers_depend_on(path: str, value: object, same: bool) -> None:
    record = evidence(0.8)
    plain, other = (settings_digest(load_spec(item), record) for item in (GOOD, changed(path, value)))
    assert (plain == other) is same


def test_declaring_the_chosen_cut_off_is_no_further_look() -> None:
    record = evidence(0.8)
    chosen = Cutoff(metric="f1", declared="0.5", chosen="0.31", rows=100, events=50)
    record = record.model_copy(update={"computed": record.computed.model_copy(update={"cutoff": chosen})})
    output = {**GOOD["model"]["output"], "choose": {"metric": "f1"}}
    first, second = (
        settings_digest(load_spec(changed("model.output", {**output, "cutoff": cutoff})), record)
        for cutoff in ("0.5", "0.31")
    )
    assert first == second != settings_digest(load_spec(GOOD), evidence(0.8))


def test_an_entry_without_settings_is_of_the_first_settings_that_ask() -> None:
    before = [Look("x", ROWS), Look("old", ROWS)]
    assert number(before, Look("new", ROWS, "old")) == 2
    assert number([Look("x", ROWS), Look("new", ROWS)], Look("newer", ROWS, "old")) == 3
