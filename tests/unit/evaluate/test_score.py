"""Batches answered by a real predictor: whole, marked, and once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.evaluate import frame
from mandate.evaluate.__main__ import main
from tests.evaluation import declare, loans, write_csv
from tests.models import columns_model, predictor

MARKS = ["--version", "7", "--revision", "0" * 32, "--digest", "sha256:" + "a" * 64]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Folders for the model, for batches, and for answers; and the environment that says how the model is fed."""
    found = [tmp_path / name for name in ("model", "in", "out")]
    for folder in found:
        folder.mkdir()
    (found[0] / "model.onnx").write_bytes(columns_model())
    told = {name: declare()[name] for name in ("model", "task")}
    monkeypatch.setenv(frame.SETTINGS_VARIABLE, frame.pack(told))
    return found


def scored(folders: list[Path], url: str, level: str) -> int:
    _, batches, answers = folders
    where = ["--input", str(batches), "--output", str(answers), "--predictor", url]
    return main(["score", *where, "--autonomy", level, *MARKS])


def test_every_row_is_answered_and_marked_and_no_batch_twice(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, batches, answers = folders
    table = loans(1500)
    parquet.write_table(table, batches / "monday.parquet")
    write_csv(loans(5), batches / "tuesday.csv")
    (batches / "notes.txt").write_text("no batch")
    (batches / ".hidden.csv").write_text("half a batch")
    with predictor(model) as (url, _):
        assert scored(folders, url, "Suggest") == 0
        assert capsys.readouterr().out == "2 batches answered at Suggest\nmonday.parquet\ntuesday.csv.parquet\n"
        assert sorted(path.relative_to(answers).as_posix() for path in answers.rglob("*") if path.is_file()) == [
            "Suggest/monday.parquet",
            "Suggest/tuesday.csv.parquet",
        ]
        found = parquet.read_table(answers / "Suggest" / "monday.parquet")
        assert found.select(table.column_names).equals(table)
        assert set(found.column("mandate_autonomy").to_pylist()) == {"Suggest"}
        assert set(found.column("mandate_version").to_pylist()) == {"7"}
        assert set(found.column("mandate_revision").to_pylist()) == {"0" * 32}
        output = found.column("mandate_output").to_pylist()
        assert len(output) == 1500
        expected = _expected(table)
        assert [row[1] if isinstance(row, list) else row for row in output] == pytest.approx(expected, abs=1e-5)
        kept = found.schema.metadata
        assert (kept[b"mandate_autonomy"], kept[b"mandate_model_digest"]) == (b"Suggest", b"sha256:" + b"a" * 64)

        # The model has risen: what was answered at Suggest isn't answered again, to be acted upon.
        parquet.write_table(loans(3), batches / "wednesday.parquet")
        assert scored(folders, url, "Automate") == 0
        assert capsys.readouterr().out == "1 batches answered at Automate\nwednesday.parquet\n"
        assert [path.name for path in (answers / "Automate").iterdir()] == ["wednesday.parquet"]


def _expected(table: pa.Table) -> list[float]:
    from math import exp

    rows = table.to_pylist()
    return [1 / (1 + exp(-((row["amount"] or 0.0) + row["age"] / 100 + (row["purpose"] == "car")))) for row in rows]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (loans(3).drop_columns(["amount"]), "MissingColumn"),
        (loans(3).append_column("mandate_autonomy", pa.array(["Automate"] * 3)), "DuplicateColumn"),
    ],
)
def test_a_batch_that_cannot_be_answered_leaves_nothing_and_says_so(
    folders: list[Path], capsys: pytest.CaptureFixture[str], table: pa.Table, words: str
) -> None:
    model, batches, answers = folders
    parquet.write_table(table, batches / "monday.parquet")
    with predictor(model) as (url, _):
        assert scored(folders, url, "Suggest") != 0
    assert words in capsys.readouterr().err
    assert not [path for path in answers.rglob("*") if path.is_file()]


def test_nothing_to_do_needs_no_predictor(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert scored(folders, "http://127.0.0.1:9", "Shadow") == 0
    assert capsys.readouterr().out == "0 batches answered at Shadow\n"
    assert list(folders[2].iterdir()) == []
