"""Looks are counted over models and criteria, never twice for the same question."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mandate.verdict.looks import Look, number

ROWS, OTHER_ROWS = ("01", "05", "09"), ("02", "06", "0a")


def test_the_first_look_is_number_one() -> None:
    assert number([], Look("a", ROWS)) == 1


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
