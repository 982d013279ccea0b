import datetime
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

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
        (b"a,b\n1,2,3\n", "RaggedLine"),
        (b'a,b\n1,"2\n', "Unreadable"),
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


TEXTS = {"id": [1, 2], "città": ["Málaga", "Köln"], "x": [1.5, None]}


def as_csv(separator: str = ",") -> str:
    return separator.join(TEXTS) + f"\n1{separator}Málaga{separator}1.5\n2{separator}Köln{separator}\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_marked_encodings_are_told_from_the_file(write, separator, codec):
    assert read_table(write(as_csv(separator).encode(codec))).to_pydict() == TEXTS


@pytest.mark.parametrize(
    ("codec", "declared"),
    [("latin-1", "Latin1"), ("cp1252", "Windows1252"), ("utf-16-le", "UTF16"), ("utf-16-be", "UTF16")],
)
def test_other_encodings_must_be_declared(write, codec, declared):
    path = write(as_csv().encode(codec))
    refused = fails(path)
    assert refused.code == "NotUtf8"
    assert f"csv.encoding: {declared}" in str(refused) or "Latin1 or Windows1252" in str(refused)
    assert read_table(path, encoding=declared).to_pydict() == TEXTS


def test_a_line_that_is_not_utf_8_is_named(write):
    content = b"a,b\n" + b"x,y\n" * 50_000 + "x,Köln\n".encode("latin-1") + b"x,y\n" * 50_000
    assert "line 50002 isn't UTF-8" in str(fails(write(content)))


def test_a_declared_encoding_that_is_not_the_files(write):
    assert fails(write(as_csv().encode("utf-8-sig")), encoding="Latin1").code == "WrongEncoding"
    assert fails(write(as_csv().encode()), encoding="UTF16").code == "WrongEncoding"
    assert fails(write(as_csv().encode("utf-16")[:-1])).code == "WrongEncoding"
    refused = fails(write(b"a,b\n1,x\n2,\x81\n"), encoding="Windows1252")
    assert refused.code == "WrongEncoding"
    assert "line 3" in str(refused)
    assert fails(write("a,b\n1,2\n".encode("utf-32"))).code == "NotUtf8"


def test_types_of_another_encoding_come_from_all_values(write):
    content = ("é\n" + "1\n" * 700_000 + "1.5\n").encode("latin-1")
    assert read_table(write(content), encoding="Latin1").schema.field("é").type == pa.float64()


def test_a_quote_that_is_not_closed_swallows_no_rows(write):
    refused = fails(write(b'a,b\n1,x\n2,"y\n' + b"3,z\n" * 1000))
    assert refused.code == "Unreadable"
    assert "from line 3 on" in str(refused)
    assert read_table(write(b'a,b\n1,"x\ny"\n'))["b"].to_pylist() == ["x\ny"]


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n1,"Paris"\n2,"Lon',
        b'a,b\n1,"12"\n2,"1',
        b'a,b\r1,x\r2,"y\r3,z\r4,w\r',
        b'a,b\n1,"open\n2,x\n3,"close"\n4,y\n',
        'a,b\n1,"Kö"\n2,"Lon'.encode("utf-16"),
    ],
)
def test_a_file_that_is_cut_inside_of_quotes(write, content):
    assert fails(write(content)).code == "Unreadable"


def test_quotes_that_are_text(write):
    long = "x" * 200_000
    table = read_table(write(f'a,b\n1,5" pipe\n2,"{long}"\n3,"z\ny"\n'.encode()))
    assert table["b"].to_pylist() == ['5" pipe', long, "z\ny"]


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (["007", "7"], "'007' and '7'"),
        (['"007"', '"7"'], "'007' and '7'"),
        (["12345678901234567890", "12345678901234567891"], "'12345678901234567890' and '12345678901234567891'"),
        (["1e5", "100000", "3"], "'100000' and '1e5'"),
        (["true", "1"], "'1' and 'true'"),
    ],
)
def test_what_says_whose_a_row_is_is_not_merged(write, ids, texts):
    path = write("\n".join(["id,y", *(f"{each},1" for each in ids)]).encode())
    refused = fails(path, identities=["id", "none"])
    assert refused.code == "AmbiguousValues"
    assert "column 'id'" in str(refused)
    assert texts in str(refused)
    assert read_table(path).num_rows == len(ids)  # other columns are numbers, as they are to pandas


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["007", "008", "", "007"], [7, 8, None, 7]),
        (["1", " 1", "NA"], [1, 1, None]),
        (["1.0", "2.5", "nan"], [1.0, 2.5, None]),
        (["NA", ""], [None, None]),
        (["A7", "7", "007"], ["A7", "7", "007"]),
    ],
)
def test_what_says_whose_a_row_is_keeps_its_type_where_nothing_is_lost(write, lines, expected):
    path = write("\n".join(["id,y", *(f"{each},1" for each in lines)]).encode())
    assert read_table(path, identities=["id"]).equals(read_table(path))
    assert read_table(path, identities=["id"])["id"].to_pylist() == expected


def test_a_separator_in_text_is_not_taken_for_one(write):
    assert read_table(write(b"a,b|c\n1,x|y|z\n2,w\n")).to_pydict() == {"a": [1, 2], "b|c": ["x|y|z", "w"]}
    assert read_table(write(b"a;b,c\n1;x\n2;y,z,w\n")).to_pydict() == {"a": [1, 2], "b,c": ["x", "y,z,w"]}
    assert read_table(write(b"a\n1\n")).to_pydict() == {"a": [1]}


def test_a_separator_in_doubt_must_be_declared(write):
    path = write(b"a,b;c\n1x,2;3\n")
    refused = fails(path)
    assert refused.code == "AmbiguousSeparator"
    assert "Comma or Semicolon" in str(refused)
    assert read_table(path, separator="Semicolon").to_pydict() == {"a,b": ["1x,2"], "c": [3]}


@pytest.mark.parametrize(
    ("content", "line", "fields"),
    [
        (b"a,b\n1,2\n1,2,3\n", 3, 3),
        (b"a,b\n1,2\n1\n", 3, 1),
        (b'a,b\n"1\n\n",2\n1,2\n\n1,2,3,4\n', 7, 4),
        (b"a,b\n" + b"1,2\n" * 300_000 + b"1,2,3\n", 300_002, 3),
        (b"a;b\n1;2\n1;2;3\n", 3, 3),
    ],
)
def test_a_ragged_line_is_named_by_its_number(write, content, line, fields):
    refused = fails(write(content))
    assert refused.code == "RaggedLine"
    assert f"line {line} has {fields} fields, expected 2" in str(refused)


@pytest.mark.parametrize(
    "content",
    [
        b"a;b\n1,5;2\n3;4\n",
        b'a,b\n"1,5",2\n',
        b"a;b\n1.234,5;2\n",
        b"a\tb\n-0,5\t2\n\t3\n",
        b'a,b\n"1,234",2\n',
        b'a,b\n"1,234.50",2\n999.00,3\n',
        b'a,b\n999,3\n"1,234,567",2\n',
        b"a;b\n1,5E+03;2\n2,5e3;3\n",
        "a;b\n1\u00a0234,5;2\n".encode(),
        "a;b\n1\u202f234,5;2\n".encode(),
    ],
)
def test_decimal_commas_are_refused_in_words(write, content):
    refused = fails(write(content))
    assert refused.code == "DecimalComma"
    assert "column 'a'" in str(refused)
    assert "decimal point" in str(refused)


def test_text_with_commas_is_text(write):
    table = read_table(write(b"a;b\n1,5;2\nx;4\n"))
    assert table["a"].to_pylist() == ["1,5", "x"]
    assert read_table(write(b'a;b\n"1,2,3";2\n"4,5";3\n'))["a"].to_pylist() == ["1,2,3", "4,5"]
    assert read_table(write(b"a;b\n0012;x\n0013;y\n"))["b"].to_pylist() == ["x", "y"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(10**9), 10**9),
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r")),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    ),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_pandas_writes_is_read_as_it_was(tmp_path, rows, separator, codec):
    """Text in quotes survives whatever it holds, in every encoding that needn't be declared."""
    frame = pd.DataFrame(rows, columns=["n", "text", "flag"]).assign(text=lambda every: "§" + every["text"])
    path = tmp_path / "t.csv"
    frame.to_csv(path, sep=separator, encoding=codec, index=False, quoting=2, lineterminator="\n")
    table = read_table(path)
    assert table["n"].to_pylist() == [row[0] for row in rows]
    assert table["text"].to_pylist() == ["§" + row[1] for row in rows]


VALUES = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int32()),
        "s": ["a", "b", None],
        "d": pa.array(["x", "y", "x"]).dictionary_encode(),
        "t": pa.array([0, 1, 2], pa.timestamp("us", tz="Europe/Rome")),
        "v": pa.array(["p", None, "q"], pa.string_view()),
        "r": pa.compute.run_end_encode(pa.array([7, 7, 8])),
    }
)


def write_arrow(path, table, *, stream=False, compression=None, chunk=2):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    writer = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, writer(sink, table.schema, options=options) as opened:
        opened.write_table(table, max_chunksize=chunk)
    return path


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize(("suffix", "stream"), [("arrow", False), ("arrows", True), ("feather", False)])
def test_arrow_files_and_streams(tmp_path, suffix, stream, compression):
    table = read_table(write_arrow(tmp_path / f"t.{suffix}", VALUES, stream=stream, compression=compression))
    assert table.to_pydict() == VALUES.to_pydict()
    assert table.schema.field("v").type == pa.string()
    assert table.schema.field("r").type == pa.int64()
    assert read_table(tmp_path / f"t.{suffix}", columns=["s", "i"]).column_names == ["s", "i"]


def test_feather_as_pandas_writes_it(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "c": pd.Categorical(["x", "y"])})
    frame.to_feather(tmp_path / "t.feather")
    assert read_table(tmp_path / "t.feather").to_pydict() == {"a": [1, 2], "c": ["x", "y"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        feather.write_feather(pa.table({"a": [1]}), tmp_path / "old.feather", version=1)
    assert "Feather version 1" in str(fails(tmp_path / "old.feather"))


def test_bad_arrow(tmp_path, write):
    whole = write_arrow(tmp_path / "t.arrow", VALUES).read_bytes()
    for cut in (0, 5, 100, len(whole) // 2, len(whole) - 4):
        assert fails(write(whole[:cut], "cut.arrow")).code == "Unreadable", cut
    assert fails(write_arrow(tmp_path / "e.arrow", VALUES.slice(0, 0))).code == "EmptyTable"
    assert fails(write_arrow(tmp_path / "n.arrow", pa.table({"a": [[1]]}))).code == "NestedColumn"
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert fails(write_arrow(tmp_path / "d.arrow", twice)).code == "DuplicateColumn"
    assert fails(write_arrow(tmp_path / "m.arrow", VALUES), columns=["none"]).code == "MissingColumn"


def batches_of(path, kind, *values, deltas=False):
    """A stream with a batch per array."""
    schema = pa.schema([("c", kind)])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=options) as writer:
        for each in values:
            writer.write_batch(pa.record_batch([each], schema=schema))
    return path


def encoded(indices, dictionary):
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), dictionary)


@pytest.mark.parametrize(
    ("second", "values", "deltas"),
    [
        (encoded([0, 1], ["x", "y"]), ["a", "b", "x", "y"], False),
        (encoded([0, 2], ["a", "b", "c"]), ["a", "b", "a", "c"], True),
        (encoded([0, 1], pa.array(["x", None])), ["a", "b", "x", None], False),
        (encoded(range(127), [f"x{i}" for i in range(127)]), ["a", "b", *(f"x{i}" for i in range(127))], False),
    ],
    ids=["replaced", "grown", "with null", "too many for one"],
)
def test_dictionaries_that_change_on_the_way(tmp_path, second, values, deltas):
    """What is read here is written to one file in a Pod, which holds one dictionary per column."""
    first = encoded([0, 1], ["a", "b"])
    table = read_table(batches_of(tmp_path / "t.arrows", first.type, first, second, deltas=deltas))
    assert table["c"].to_pylist() == values
    write_arrow(tmp_path / "w.arrow", table)
    assert read_table(tmp_path / "w.arrow")["c"].to_pylist() == values


@pytest.mark.parametrize(
    "packed",
    [
        pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["a", "b"]).dictionary_encode()),
        pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["a", "b"], pa.string_view())),
        encoded([0, 0], pa.array(["a"], pa.string_view())),
        encoded([0, 0], pa.array([[1]])),
    ],
    ids=["runs of a dictionary", "runs of views", "dictionary of views", "dictionary of lists"],
)
def test_columns_that_are_packed_twice_are_named(tmp_path, packed):
    refused = fails(batches_of(tmp_path / "t.arrows", packed.type, packed))
    assert refused.code == "NestedColumn"
    assert "column 'c' holds" in str(refused)


def test_a_stream_that_is_cut_between_two_batches(tmp_path, write):
    batches = [pa.array([10 * number, -1, 0], pa.int32()) for number in range(3)]
    whole, two = (batches_of(tmp_path / "t.arrows", pa.int32(), *batches[:count]).read_bytes() for count in (3, 2))
    end = len(two) - 8
    assert whole[:end] == two[:end]
    assert read_table(write(whole, "t.arrows")).num_rows == 9
    for content in (whole[:end], whole[:-8], whole + b"more", two + whole):
        refused = fails(write(content, "t.arrows"))
        assert refused.code == "Unreadable"
        assert "end mark" in str(refused)


def test_names_that_are_no_text(tmp_path, write):
    named = write_arrow(tmp_path / "t.arrow", pa.table({"zzzz": [1]}), stream=True).read_bytes()
    assert fails(write(named.replace(b"zzzz", b"\xff\xfe\xfd\xfc"), "t.arrow")).code == "Unreadable"


def test_offsets_that_point_elsewhere_are_refused(tmp_path):
    """An IPC file says where its texts begin and end; one that says too much must not be followed."""
    texts = pa.table({"s": ["abcdefgh"] * 4})
    whole = write_arrow(tmp_path / "t.arrow", texts, chunk=4).read_bytes()
    true, false = (np.array([0, 8, end, 24, 32], dtype="<i4").tobytes() for end in (16, 1 << 28))
    assert whole.count(true) == 1
    (tmp_path / "t.arrow").write_bytes(whole.replace(true, false))
    assert fails(tmp_path / "t.arrow").code == "Unreadable"


def test_a_declared_format_beats_the_ending(write):
    assert read_table(write(b"a,b\n1,2\n", "download"), format="CSV").to_pydict() == {"a": [1], "b": [2]}
    assert fails(write(b"a,b\n1,2\n"), format="Parquet").code == "Unreadable"


def test_parquet_of_many_columns_is_read_as_it_was_written(tmp_path):
    written = pa.table(
        {f"c{index}": pa.array([index, None, index + 1]) for index in range(11)} | {"a.b": ["x", "y", "z"]}
    )
    parquet.write_table(written, tmp_path / "t.parquet", row_group_size=2)
    found = read_table(tmp_path / "t.parquet")
    assert found.column_names == written.column_names
    assert found.equals(written)
    assert read_table(tmp_path / "t.parquet", columns=["c9", "a.b", "c0"]).column_names == ["c9", "a.b", "c0"]
