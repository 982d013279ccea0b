"""Design matrices are never written out, and their products are those of the matrix that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from mandate.measure.matrix import BLOCK, Design, OneHot
from mandate.measure.work import threads


def design(size: int, *, ones: bool = False) -> tuple[Design, np.ndarray]:
    """A design, and what it stands for in the order of `Rows`."""
    rng = np.random.default_rng(size)
    number = rng.normal(size=size)
    three, two = rng.integers(-1, 3, size).astype(np.int8), rng.integers(-1, 2, size).astype(np.int8)
    found = Design(
        size=size, columns=[number, OneHot(code=three, width=3), number**2, OneHot(code=two, width=2), number**3]
    )
    hot = [code == place for code, width in ((three, 3), (two, 2)) for place in range(width)]
    return found, np.column_stack([*hot, number, number**2, number**3, *([np.ones(size)] if ones else [])])


@pytest.mark.parametrize("size", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("ones", [False, True])
def test_products_are_those_of_the_columns_side_by_side(size, ones):
    found, whole = design(size, ones=ones)
    rng = np.random.default_rng(1)
    chosen, heavy = rng.random(size) < 0.6, rng.random(size)
    weights = rng.normal(size=(whole.shape[1], 2))
    assert found.width == 8
    assert found.times(weights, ones=ones) == pytest.approx(whole @ weights, abs=1e-12)
    for some in (chosen, slice(None), slice(7, 30_000, 2)):
        rows, written = found.rows(some, ones=ones), whole[some]
        assert (rows.size, rows.width) == written.shape
        assert rows.times(weights) == pytest.approx(written @ weights, abs=1e-12)
        values = heavy[some][:, None] * (1, -2)
        assert rows.sums(values) == pytest.approx(written.T @ values, rel=1e-9, abs=1e-9)
        assert rows.squares(heavy[some]) == pytest.approx(written.T @ (written * heavy[some][:, None]), rel=1e-9)
    assert np.array_equal(rows.squares(heavy[some]), rows.squares(heavy[some], workers=threads(2)))


def test_a_matrix_that_is_written_out_is_its_columns():
    whole = np.random.default_rng(3).normal(size=(40, 3))
    assert np.array_equal(Design.of(whole).rows(slice(None)).numbers, whole.T)


def test_more_columns_than_a_code_has_values():
    code = np.random.default_rng(2).integers(-1, 50, 3000).astype(np.int8)
    found = Design(size=3000, columns=[OneHot(code=code, width=50)] * 6).rows(slice(None))
    written = np.tile(code[:, None] == np.arange(50), 6)
    assert np.array_equal(found.times(np.eye(300)), written)
    assert np.array_equal(found.squares(np.ones(3000)), written.T.astype(float) @ written)


def test_no_columns_and_no_rows():
    nothing = Design(size=9, columns=[]).rows(slice(None))
    assert (nothing.size, nothing.width, nothing.times(np.zeros((0, 1))).shape) == (9, 0, (9, 1))
    none = design(3)[0].rows(np.zeros(3, dtype=np.bool_))
    assert (none.size, none.width) == (0, 8)
    assert np.array_equal(none.squares(np.zeros(0)), np.zeros((8, 8)))
