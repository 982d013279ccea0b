"""Large tables lie in a file that nobody else sees, and hold what they would hold in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from mandate.sources import SourceError, Spill, read_table, spilled, tables

ROWS = 1000


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that there are some."""
    for module in ("mandate.sources.spilled", "mandate.sources.tables"):
        monkeypatch.setattr(f"{module}.BLOCK_ROWS", 64)


def table(rows: int = ROWS) -> pa.Table:
    number = np.random.default_rng(1).normal(size=rows)
    texts = [None if place % 7 == 0 else f"text {place % 13}" for place in range(rows)]
    return pa.table(
        {
            "n": pa.array(number, mask=number > 1),
            "t": texts,
            "d": pa.array(texts).dictionary_encode(),
            "i": pa.array(range(rows), type=pa.int16()),
            "at": pa.array(range(rows), type=pa.timestamp("us")),
            "none": pa.nulls(rows),
        }
    )


def mapped(folder: Path) -> list[str]:
    """The files of ours that this process maps from `folder`."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if f"{folder}/mandate-" in line]


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_a_mapped_table_is_the_one_that_would_be_held(ending: str, tmp_path: Path, blocks: None) -> None:
    path, folder = tmp_path / f"t.{ending}", tmp_path / "spilled"
    folder.mkdir()
    match ending:
        case "parquet":
            parquet.write_table(table(), path, row_group_size=300)
        case "arrow":
            feather.write_feather(table(), path)
        case _:
            csv.write_csv(table().drop_columns(["none"]), path)
    held = read_table(path)
    found = read_table(path, spill=Spill(most=0, folder=folder))
    assert found.equals(held)
    assert found.schema.equals(held.schema)
    assert found.column("n").num_chunks > 1
    assert mapped(folder)
    assert list(folder.iterdir()) == []


def test_columns_come_in_the_order_in_which_they_were_asked_for(tmp_path: Path, blocks: None) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(table(), path)
    asked = ["i", "t", "n"]
    assert read_table(path, columns=asked, spill=Spill(most=0, folder=tmp_path)).equals(read_table(path, columns=asked))


def test_no_more_is_held_of_a_larger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mandate.sources.tables.BLOCK_ROWS", 4096)
    monkeypatch.setattr("mandate.sources.tables._PAGES", 4096)
    held = []
    for groups in (4, 40):
        path = tmp_path / f"{groups}.parquet"
        number = np.random.default_rng(1).normal(size=groups * 8192)  # packed as large as it is
        parquet.write_table(pa.table({"n": number}), path, row_group_size=8192)
        del number
        before = pa.total_allocated_bytes()
        held.append(max(pa.total_allocated_bytes() - before for _ in tables._parquet_blocks(path, ["n"], "t")))
    assert held[1] < 2 * held[0]


def test_a_table_that_fits_is_held(tmp_path: Path) -> None:
    path, folder = tmp_path / "t.parquet", tmp_path / "spilled"
    parquet.write_table(table(), path)
    size = read_table(path).nbytes
    assert read_table(path, spill=Spill(most=4 * size, folder=folder)).num_rows == ROWS  # the folder isn't even there


def test_texts_that_repeat_are_larger_than_their_file_says(tmp_path: Path, blocks: None) -> None:
    path, folder = tmp_path / "t.parquet", tmp_path / "spilled"
    folder.mkdir()
    long = pa.table({"t": ["x" * 10_000] * ROWS})
    parquet.write_table(long, path)
    assert path.stat().st_size < long.nbytes / 100
    found = read_table(path, spill=Spill(most=long.nbytes // 2, folder=folder))
    assert mapped(folder)
    assert found.equals(long)


def test_faults_are_told_as_without_it(tmp_path: Path, blocks: None) -> None:
    spill = Spill(most=0, folder=tmp_path)
    nested, broken, none = (tmp_path / f"{name}.parquet" for name in ("nested", "broken", "none"))
    parquet.write_table(pa.table({"a": [[1]], "b": [1]}), nested)
    parquet.write_table(pa.table({"a": pa.array([], type=pa.int64())}), none)
    parquet.write_table(table(), broken, compression="NONE", use_dictionary=False)
    whole = bytearray(broken.read_bytes())
    whole[4:5000] = b"\xff" * 4996
    broken.write_bytes(bytes(whole))
    for path, code in ((nested, "NestedColumn"), (none, "EmptyTable"), (broken, "Unreadable")):
        with pytest.raises(SourceError) as caught:
            read_table(path, name="data.test", spill=spill)
        assert caught.value.code == code
        assert str(caught.value).startswith("data.test")
    with pytest.raises(SourceError) as caught:
        read_table(nested, columns=["c"], spill=spill)
    assert caught.value.code == "MissingColumn"
    assert not list(tmp_path.glob("mandate-*"))


def test_no_room_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(table(), path)
    with pytest.raises(SourceError, match=r"can't be written to .*gone.*set TMPDIR") as caught:
        read_table(path, spill=Spill(most=0, folder=tmp_path / "gone"))
    assert caught.value.code == "NoSpace"

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spilled.pa.ipc, "new_file", full)
    with pytest.raises(SourceError, match="No space left") as caught:
        read_table(path, spill=Spill(most=0, folder=tmp_path))
    assert caught.value.code == "NoSpace"
    assert not list(tmp_path.glob("mandate-*"))
