"""Who dominates whom is an order, whatever the intervals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.verdict.pareto import Span, dominates, dominators

MEASURES = 3
# Few values, so that ties, and intervals that touch, are common.
NUMBERS = st.integers(-3, 3).map(float)
ENDS = st.lists(NUMBERS | st.sampled_from([-math.inf, math.inf]), min_size=2, max_size=2).map(sorted)
SPANS = st.builds(lambda value, ends: Span(min(ends[0], value), value, max(ends[1], value)), NUMBERS, ENDS)
EXACT = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(SPANS, min_size=MEASURES, max_size=MEASURES), min_size=1)
# What wasn't measured is None.
CANDIDATE = st.lists(SPANS | st.none(), min_size=MEASURES, max_size=MEASURES)
CANDIDATES = st.dictionaries(st.sampled_from("abcdefgh"), CANDIDATE, min_size=1)


@given(CANDIDATE, CANDIDATE)
def test_nobody_dominates_itself_and_no_two_each_other(one, other):
    assert not dominates(one, one)
    assert not (dominates(one, other) and dominates(other, one))


@given(CANDIDATE, CANDIDATE, CANDIDATE)
def test_whom_the_dominated_dominates_is_dominated(one, other, third):
    if dominates(one, other) and dominates(other, third):
        assert dominates(one, third)


@pytest.mark.row("L4/pareto")
@given(CANDIDATE, CANDIDATE)
def test_it_takes_a_sure_difference_and_no_loss(one, other):
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if b is not None]
    surely = [a is not None and a.lower > b.upper for a, b in pairs]
    lost = [a is None or a.value < b.value for a, b in pairs]
    if dominates(one, other):
        assert any(surely)
        assert not any(lost)
    if surely and all(surely):
        assert dominates(one, other)


@given(CANDIDATES)
def test_there_is_always_somebody_to_choose_who_dominates_the_others(candidates):
    found = dominators(candidates)
    front = {name for name, by in found.items() if not by}
    assert front
    for name, by in found.items():
        assert name in front or front & set(by), "whoever is dominated is so by one of the front"


@pytest.mark.row("L4/pareto")
@given(EXACT)
def test_without_intervals_it_is_paretos_own_order(candidates):
    exact = {name: [Span(s.value, s.value, s.value) for s in spans] for name, spans in candidates.items()}
    values = {name: tuple(s.value for s in spans) for name, spans in exact.items()}
    for name, by in dominators(exact).items():
        expected = {
            rival
            for rival, theirs in values.items()
            if theirs != values[name] and all(t >= o for t, o in zip(theirs, values[name], strict=True))
        }
        assert set(by) == expected
