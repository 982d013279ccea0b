import pickle

import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data import shards
from mandate.measure.data.grid import LIMIT
from mandate.measure.data.profile import Profile, dumps, profile
from mandate.measure.split import PARTS, Split
from mandate.measure.table import MeasureError
from mandate.measure.work import SERIAL, Threads

ROWS = 3000
NAMES = ["x", "c", "y", "empty", "day"]


def rows(parts=(-1, 0, 1, 2)):
    rng = np.random.default_rng(45)
    missing = rng.random(ROWS) < 0.1
    table = pa.table({
        "x": pa.array(rng.normal(size=ROWS), mask=missing),
        "c": pa.array(rng.choice(list("abc"), ROWS), mask=missing),
        "y": rng.integers(0, 2, ROWS),
        "empty": pa.nulls(ROWS),
        "day": pa.array(rng.integers(0, 9, ROWS), pa.int32()).cast(pa.date32()),
        "other": np.arange(ROWS),
    })  # fmt: skip
    part = rng.choice(parts, ROWS).astype(np.int8)
    return table, Split(part=part, keys=np.arange(ROWS, dtype=np.uint64), digest="sha256:" + "0" * 64)


def profiles(table, split, names, **kwargs):
    """All columns' at once."""
    columns = dict(shards.by_column(table, split, names, then=lambda name, of: (name, of), **kwargs))
    counts, limit = split.counts(), shards.cells(table.num_rows, len(names))
    return {
        part: Profile(rows=counts[part], limit=limit, columns={name: of[part] for name, of in columns.items()})
        for part in PARTS
        if counts[part]
    }


def found(table, split, **kwargs):
    every = profiles(table, split, NAMES, categories=["y"], **kwargs)
    return {part: dumps(one) for part, one in every.items()}


@pytest.mark.row("D2/shards")
@pytest.mark.parametrize("shard_rows", [7, 1000, ROWS, 1 << 20])
@pytest.mark.parametrize("workers", [SERIAL, Threads(2)])
def test_any_shards_and_workers_give_the_bytes_of_each_parts_own_profile(shard_rows, workers):
    table, split = rows()
    kept = table.select(NAMES)
    alone = {part: dumps(profile([kept.filter(pa.array(split.rows(part)))], categories=["y"])) for part in PARTS}
    assert found(table, split, shard_rows=shard_rows, workers=workers) == alone


def test_only_parts_that_have_rows_have_a_profile():
    assert list(found(*rows(parts=(2,)))) == ["test"]
    assert list(found(*rows(parts=(-1, 0, 2)), shard_rows=10)) == ["train", "test"]


@pytest.mark.row("D2/shards")
def test_a_large_table_shares_its_cells_among_its_columns(monkeypatch):
    """By its size alone, so that neither cores nor memory change what is found."""
    assert shards.cells(1 << 20, 64) == shards.cells(2, 1000) == LIMIT
    assert shards.cells((1 << 20) + 1, 64) == (1 << 22) // 64
    assert shards.cells(1 << 40, 1) == LIMIT
    assert shards.cells(1 << 40, 1 << 20) == shards.LEAST_CELLS
    monkeypatch.setattr(shards, "EXACT_VALUES", 100)
    monkeypatch.setattr(shards, "SHARED_CELLS", 200)
    monkeypatch.setattr(shards, "LEAST_CELLS", 2)
    table, split = rows()
    several = profiles(table, split, NAMES, shard_rows=500)
    numbers = several["train"].columns["x"].numbers
    assert several["train"].limit == 200 // len(NAMES)
    assert 2 < len(numbers.count) <= 40
    assert not numbers.exact
    assert found(table, split, shard_rows=7) == found(table, split, workers=Threads(2))


def test_a_task_is_sent_with_its_own_rows_only():
    table, split = rows()
    table = pa.concat_tables([table] * 20)
    piece = shards.Piece(
        name="x", values=table.slice(100, 50).column("x"), part=split.part[100:150], categories=frozenset(), limit=9
    )
    sent = pickle.dumps(piece)
    assert len(sent) < 2000
    one, other = shards.profile_piece(piece), shards.profile_piece(pickle.loads(sent))
    assert one[0] == other[0] == "x"
    assert one[1].keys() == other[1].keys()
    for part, column in one[1].items():
        assert np.array_equal(column.numbers.low, other[1][part].numbers.low)
        assert (column.rows, column.missing) == (other[1][part].rows, other[1][part].missing)


def test_what_cant_be_profiled_is_refused():
    table, split = rows()
    table = table.append_column("list", pa.array([[1]] * ROWS))
    with pytest.raises(MeasureError) as error:
        profiles(table, split, ["list"], workers=Threads(2))
    assert error.value.code == "NestedColumn"


class Elsewhere:
    """Workers whose tasks would go to other machines."""

    here = SERIAL

    def map(self, function, tasks):
        return map(function, tasks)


@pytest.mark.row("D2/shards")
@pytest.mark.parametrize("workers", [SERIAL, Elsewhere()])
def test_a_column_is_done_with_before_the_next_one_is_profiled(workers, monkeypatch):
    table, split = rows()
    seen, profiled = [], shards.profile_piece
    monkeypatch.setattr(shards, "profile_piece", lambda piece: (seen.append(piece.name), profiled(piece))[1])

    def done(name, columns):
        seen.append(f"{name} done")
        return name, tuple(columns)

    found = shards.by_column(table, split, NAMES, categories=["y"], workers=workers, shard_rows=ROWS // 2, then=done)
    assert list(found) == [(name, PARTS) for name in NAMES]
    if workers is SERIAL:
        assert seen == [step for name in NAMES for step in (name, name, f"{name} done")]
    else:  # known to be whole once the next one's first piece is there
        assert all(seen.index(f"{name} done") <= 2 * place + 4 + place for place, name in enumerate(NAMES))
