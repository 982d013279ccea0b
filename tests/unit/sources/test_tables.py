import datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.sources import SourceError, read_table


@pytest.fixture
def write(tmp_path):
    def _write(content: bytes | pa.Table, name: str = "t.csv"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            parquet.write_table(content, path)
        return path

    return _write


def fails(path, **kwargs) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read_table(path, name="data.test", **kwargs)
    assert str(caught.value).startswith("data.test")
    return caught.value


def test_csv_types_and_missing_values(write):
    table = read_table(write(b'\xef\xbb\xbfid,x,s,t\n1,1.5,NA,2024-01-02 03:04:05\n2,,"NA",2024-01-03 00:00:00\n'))
    assert table.to_pydict() == {
        "id": [1, 2],
        "x": [1.5, None],
        "s": [None, "NA"],
        "t": [datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.datetime(2024, 1, 3)],
    }


def test_a_columns_type_comes_from_all_of_its_values(write):
    lines = b"x\n" + b"1\n" * 700_000 + b"1.5\n"  # over a megabyte of integers first
    assert read_table(write(lines)).schema.field("x").type == pa.float64()


def test_quoted_line_breaks(write):
    assert read_table(write(b'a,b\n"x\ny",1\n'))["a"].to_pylist() == ["x\ny"]


def test_only_the_asked_columns_in_the_asked_order(write):
    path = write(b"a,b,c\n1,2,3\n")
    assert read_table(path, columns=["c", "a", "c"]).to_pydict() == {"c": [3], "a": [1]}
    path = write(pa.table({"a": [1], "b": [2], "c": [3]}), "t.parquet")
    assert read_table(path, columns=["c", "a", "c"]).to_pydict() == {"c": [3], "a": [1]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "EmptyTable"),
        (b"a,b\n", "EmptyTable"),
        (b"a,a\n1,2\n", "DuplicateColumn"),
        (b"a,b\n1,2,3\n", "Unreadable"),
        (b"a,b\n1,\xff\n", "NotUtf8"),
        (b"a\n" + b"x\n" * 100_000 + b"\xff\n", "NotUtf8"),
    ],
)
def test_bad_csv(write, content, expected):
    assert fails(write(content)).code == expected


def test_bad_parquet(write):
    assert fails(write(b"not parquet", "t.parquet")).code == "Unreadable"
    assert fails(write(pa.table({"a": pa.array([], pa.int64())}), "t.parquet")).code == "EmptyTable"
    assert fails(write(pa.table({"a": [[1, 2]]}), "t.parquet")).code == "NestedColumn"
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert fails(write(twice, "t.parquet")).code == "DuplicateColumn"


def test_a_missing_column_is_named_with_those_there_are(write):
    error = fails(write(b"amount,age\n1,2\n"), columns=["amount", "risk"])
    assert error.code == "MissingColumn"
    assert "'risk'" in str(error)
    assert "'amount', 'age'" in str(error)


def test_other_formats(write, tmp_path):
    assert fails(write(b"x", "t.xlsx")).code == "UnknownFormat"
    assert fails(tmp_path / "none.csv").code == "Unreadable"
