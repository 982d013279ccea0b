"""Design matrices are written out as they are asked for, and are the same as when they are there whole."""

from __future__ import annotations

import numpy as np
import pytest

from mandate.measure.matrix import BLOCK, Design, OneHot


def design(size: int) -> tuple[Design, np.ndarray]:
    rng = np.random.default_rng(size)
    number, code = rng.normal(size=size), rng.integers(-1, 3, size).astype(np.int8)
    whole = np.column_stack([number, *(code == place for place in range(3)), number**2])
    return Design(size=size, columns=[number, OneHot(code=code, width=3), number**2]), whole


def test_rows_are_those_of_the_columns_side_by_side():
    found, whole = design(50_000)
    chosen = np.random.default_rng(1).random(50_000) < 0.3
    assert found.width == 5
    assert np.array_equal(found.rows(chosen), whole[chosen])
    assert np.array_equal(found.rows(slice(7, 30_000, 2)), whole[7:30_000:2])
    assert np.array_equal(found.rows(chosen, ones=True), np.column_stack([whole, np.ones(50_000)])[chosen])
    assert np.array_equal(Design.of(whole).rows(chosen), whole[chosen])


@pytest.mark.parametrize("size", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1, 3 * BLOCK])
def test_what_is_told_of_blocks_is_told_of_all_rows(size):
    found, whole = design(size)
    weights = np.arange(1.0, 6.0)
    assert found.each(lambda rows: rows @ weights) == pytest.approx(whole @ weights, abs=1e-12)
    assert found.each(lambda rows: rows, ones=True).shape == (size, 6)
    assert found.each(lambda rows: rows)[:, 0].tolist() == whole[:, 0].tolist()


def test_more_columns_than_a_code_has_values():
    code = np.random.default_rng(2).integers(-1, 50, 3000).astype(np.int8)
    found = Design(size=3000, columns=[OneHot(code=code, width=50)] * 6).rows(slice(None))
    assert np.array_equal(found, np.tile(code[:, None] == np.arange(50), 6))


def test_no_columns_and_no_rows():
    assert Design(size=9, columns=[]).rows(slice(None)).shape == (9, 0)
    assert design(3)[0].rows(np.zeros(3, dtype=np.bool_)).shape == (0, 5)
