"""What must hold of baselines on any rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mandate.measure import guesses, history, threshold

NUMBER = st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=64), st.sampled_from([0.0, 1.0, -1.0]))
TEN_YEARS = 10 * 366 * 86_400 * history.SECOND


@given(st.data())
def test_draws_lie_between_0_and_1_and_belong_to_their_rows(data):
    size = data.draw(st.integers(1, 60))
    keys = data.draw(npst.arrays(np.uint64, size, elements=st.integers(0, 2**64 - 1), unique=True))
    part = data.draw(npst.arrays(np.int8, size, elements=st.integers(-1, 2)))
    drawn = guesses.draws(keys, part, seed=data.draw(st.integers(0, 2**31 - 1)))
    assert ((drawn >= 0) & (drawn < 1)).all()
    order = np.random.default_rng(0).permutation(size)
    seed = data.draw(st.integers(0, 2**31 - 1))
    assert (guesses.draws(keys[order], part[order], seed=seed) == guesses.draws(keys, part, seed=seed)[order]).all()


@given(npst.arrays(float, st.integers(1, 6), elements=st.floats(0, 1)), st.floats(0, 1, exclude_max=True))
def test_a_stratified_guess_is_a_class_that_occurs(weights, drawn):
    weights = weights if weights.sum() > 0 else np.ones(len(weights))
    prior = np.tile(weights / weights.sum(), (3, 1))
    said = guesses.stratified(np.full(3, drawn), prior)
    assert (prior[0][said] > 0).all()


@given(st.data())
def test_a_rule_is_at_least_as_good_as_chance_in_training(data):
    size = data.draw(st.integers(2, 80))
    values = data.draw(npst.arrays(float, size, elements=NUMBER))
    classes = data.draw(st.integers(2, 4))
    actual = data.draw(npst.arrays(np.intp, size, elements=st.integers(0, classes - 1)))
    every = np.ones(size, dtype=np.bool_)
    found = threshold.best_rule(pa.table({"x": values}), ["x"], actual, classes=classes, train=every, validation=~every)
    finite = np.unique(values[np.isfinite(values)])
    groups = len(finite) + (0 < np.count_nonzero(np.isfinite(values)) < size)
    assert (found is None) == (groups < 2 or len(np.unique(actual)) < 2)
    if found is not None:
        rule, group = found
        assert rule.on_validation is None
        assert rule.on_train >= 1 / len(np.unique(actual)) - 1e-12
        assert finite[0] <= rule.cutoff < finite[-1] or finite[0] == rule.cutoff == finite[-1]
        assert ((rule.answers >= 0) & (rule.answers <= 1)).all()
        assert (group == threshold.groups(values, rule.cutoff)).all()


@pytest.mark.row("B1/past")
@given(st.data())
@settings(deadline=None)
def test_what_looks_back_sees_earlier_rows_of_its_series_and_no_others(data):
    size = data.draw(st.integers(1, 40))
    at = data.draw(npst.arrays(np.int64, size, elements=st.integers(-TEN_YEARS, TEN_YEARS)))
    if data.draw(st.booleans()):
        at = at // (30 * 86_400 * history.SECOND) * (30 * 86_400 * history.SECOND)  # many at one instant
    code = data.draw(npst.arrays(np.intp, size, elements=st.integers(0, 3)))
    actual = data.draw(npst.arrays(float, size, elements=st.floats(-1e6, 1e6)))
    known = at + data.draw(st.integers(0, TEN_YEARS // 10))
    given_ = history.Past(at=at, wall=at, known=known, asked=at)
    period = data.draw(st.sampled_from(["Hour", "Day", "Week", "Month", "Quarter", "Year", "90m", "13d"]))
    number, place = history.periods(at, period)
    for answers, slot, same in (
        (history.previous(actual, code, given_), at, np.ones((size, size), dtype=np.bool_)),
        (history.seasonal(actual, code, given_, season=period), number, place[:, None] == place[None, :]),
        (history.last_period(actual, code, given_, period=period), number, np.ones((size, size), dtype=np.bool_)),
    ):
        mine = (code[:, None] == code[None, :]) & same
        for row in range(size):
            earlier = [s for s in np.unique(slot[mine[row]]) if s < slot[row]]
            whole = [s for s in earlier if known[mine[row] & (slot == s)].max() <= at[row]]
            # A slot counts only from when all before it are known, too.
            whole = [s for s in whole if all(known[mine[row] & (slot == t)].max() <= at[row] for t in earlier if t < s)]
            if whole:
                wanted = actual[mine[row] & (slot == whole[-1])].mean()
                assert np.isclose(answers[row], wanted, rtol=1e-9, atol=1e-6)
            else:
                assert np.isnan(answers[row])


@given(npst.arrays(np.int64, st.integers(1, 50), elements=st.integers(-10 * TEN_YEARS, 10 * TEN_YEARS)))
def test_a_period_later_is_the_next_number_at_the_same_place(wall):
    for period, length in (("Hour", 3_600), ("Day", 86_400), ("Week", 7 * 86_400), ("90m", 5_400)):
        number, place = history.periods(wall, period)
        later, again = history.periods(wall + length * history.SECOND, period)
        assert (later == number + 1).all()
        assert (again == place).all()
    months = history.periods(wall, "Month")[0]
    assert (history.periods(wall, "Year")[0] == months // 12).all()
    assert (months == [np.datetime64(int(at), "us").astype("datetime64[M]").astype(int) for at in wall]).all()
