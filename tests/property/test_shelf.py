"""Where arrays lie changes no number, and a full disk is an error with a name."""

import errno
import gc
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.api import spec
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.shelf import HELD, Shelf
from mandate.measure.split import divide
from mandate.measure.table import MeasureError


def evidence(*, seed: int, rows: int, shelf: Shelf) -> str:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    table = pa.table(
        {
            "y": (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(int),
            "score": 1 / (1 + np.exp(-signal + rng.normal(0, 0.3, rows))).round(3),
            "x": pa.array(signal.round(1), mask=rng.random(rows) < 0.05),
            "n": pa.array(rng.integers(0, 9, rows), mask=rng.random(rows) < 0.05),
            "g": rng.choice(list("abc"), rows),
        }
    )
    task = spec.Task(type="Binary", target="y", positive="1")
    split = divide(table, how=spec.Split(method="Random", seed=1, train="0.5", validation="0.1", test="0.4"), task=task)
    found = compute(
        table=table,
        split=split.kept(shelf),
        answers=from_columns(table, ["score"]).kept(shelf),
        model=spec.Model(
            version="1",
            source=spec.ModelSource(columns=("score",)),
            output=spec.ModelOutput(),
            inputs=spec.ModelInputs(columns=("x", "n", "g")),
        ),
        task=task,
        data=spec.Data(test=spec.TableSource(uri="rows.parquet"), slices=(spec.Slice(name="g", column="g"),)),
        references=(spec.Baseline(name="prior", type="Prior"), spec.Baseline(name="linear", type="Linear")),
        shelf=shelf,
    )
    return found.model_dump_json()


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(60, 3000))
@settings(max_examples=15)
def test_evidence_is_the_same_to_the_byte_wherever_arrays_lie(tmp_path_factory, seed, rows):
    folder = tmp_path_factory.mktemp("shelf")
    assert evidence(seed=seed, rows=rows, shelf=Shelf(folder=folder, least=1)) == evidence(
        seed=seed, rows=rows, shelf=HELD
    )
    assert list(folder.iterdir()) == []


def mapped(folder: Path) -> int:
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_large_arrays_lie_in_files_without_a_name_for_as_long_as_they_are_needed(tmp_path):
    shelf = Shelf(folder=tmp_path, least=4096)
    values = np.arange(1000.0).reshape(2, 500)
    found = shelf.keep(values)
    assert mapped(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(found, values)
    part = found[1, ::2]
    del found
    gc.collect()
    assert part[-1] == 998.0
    del part
    gc.collect()
    assert mapped(tmp_path) == 0


def test_small_arrays_and_those_of_objects_stay_where_they_are(tmp_path):
    shelf = Shelf(folder=tmp_path, least=4096)
    for values in (np.arange(10.0), np.array(["a"] * 10_000, dtype=object)):
        assert shelf.keep(values) is values
    assert shelf.keep(None) is None
    assert HELD.keep(values := np.arange(10_000_000)) is values


def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MeasureError, match=r"1 MiB of what is known.*No space left on device; set TMPDIR") as error:
        Shelf(folder=tmp_path, least=1).keep(np.zeros(1 << 17))
    assert error.value.code == "NoSpace"
