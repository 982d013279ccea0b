import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.table import Ordered, column, known_codes, numbers, text_codes

TABLE = pa.table({
    "x": pa.chunked_array([[1.5, None, 3.0], [4.0]]),
    "c": pa.chunked_array([["b", None, "a"], ["b"]]),
    "d": pa.chunked_array([pa.array(["v", "u", "v"]).dictionary_encode(), pa.array(["w"]).dictionary_encode()]),
})  # fmt: skip


@pytest.mark.parametrize("rows", [[3, 1, 0, 2], [2, 0], [1]])
def test_rows_in_an_order_are_as_a_table_that_was_put_into_it(rows):
    ordered, taken = Ordered(TABLE, np.array(rows)), TABLE.take(pa.array(rows))
    assert (ordered.num_rows, ordered.column_names, ordered.schema) == (len(rows), ["x", "c", "d"], TABLE.schema)
    for name in TABLE.column_names:
        assert column(ordered, name).equals(column(taken, name))
        for codes in (known_codes, text_codes):
            names, code = codes(ordered, name)
            expected, places = codes(taken, name)
            assert names == expected
            assert code.tolist() == places.tolist()
    np.testing.assert_array_equal(numbers(ordered, "x"), numbers(taken, "x"))
    assert ordered.select(["c"]).equals(taken.select(["c"]).combine_chunks())


def test_rows_in_an_order_are_taken_again():
    again = Ordered(TABLE, np.array([3, 1, 0, 2])).take(pa.array([2, 0]))
    assert column(again, "x").to_pylist() == [1.5, 4.0]
    assert known_codes(again, "c")[0] == ("b",)
