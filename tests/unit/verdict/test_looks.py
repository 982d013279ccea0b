"""Looks are counted over models and criteria, never twice for the same question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.evidence.schema import Estimate, Measured, Quantity, Support
from mandate.verdict.looks import Look, look_at, number
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
    assert len({look_at(item, criteria="c").key for item in (fresh, *aged)}) == 1


def test_measured_again_it_is_another_look_and_judged_again_it_is_not() -> None:
    first = evidence(0.8)
    latency = Estimate(
        quantity=Quantity(metric="latency_p95", load="10"), estimate=0.01, support=Support(rows=9, events=9)
    )
    slow, slower = (
        first.model_copy(update={"measured": Measured(estimates=(latency.model_copy(update={"estimate": seconds}),))})
        for seconds in (0.01, 0.02)
    )
    keys = {look_at(item, criteria="c").key for item in (first, slow, slower)}
    assert len(keys) == 3
    assert look_at(slow, criteria="c").key in keys
    assert look_at(slow, criteria="d").key not in keys
