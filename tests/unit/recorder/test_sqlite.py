"""The SQLite file itself: schema, failures, forgetting."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mandate.evidence.live import BinaryOutcomes, Live
from mandate.recorder.__main__ import parse
from mandate.recorder.facts import Fact, Outcome, Prediction
from mandate.recorder.sqlite import SCHEMA_VERSION, SqliteStorage
from mandate.recorder.storage import Query, SchemaError, StorageError

PLACE = {"namespace": "lending", "model": "credit"}


def prediction(request: str) -> Prediction:
    return Prediction(**PLACE, revision="r1", request=request, row=0, time=5, label="bad", slices=(("age", "old"),))


def outcome(request: str) -> Outcome:
    return Outcome(**PLACE, request=request, row=0, time=5, label="bad")


def ask(storage: SqliteStorage) -> Live:
    return storage.live(Query(**PLACE, revision="r1", task="Binary", positive="bad", since=0, until=10))


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    for expected in ("accepted", "duplicate"):
        storage = SqliteStorage(tmp_path / "events.db")
        assert storage.write([[prediction("a")], [outcome("a")]], received=1) == [[expected], [expected]]
        assert ask(storage).outcomes.overall == BinaryOutcomes(tp=1, fp=0, tn=0, fn=0)
        storage.close()


def test_commits_are_synchronous_and_the_log_is_written_ahead(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "events.db")
    for pragma, value in {"journal_mode": "wal", "synchronous": 2, "user_version": SCHEMA_VERSION}.items():
        assert storage._writer.execute(f"PRAGMA {pragma}").fetchone() == (value,)
    storage.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    class Fails(SqliteStorage):
        def _keep_outcome(self, fact: Outcome, model: int, received: int) -> str:  # type: ignore[override]
            raise sqlite3.OperationalError("database or disk is full")

    storage = Fails(tmp_path / "events.db")
    with pytest.raises(StorageError, match="disk is full"):
        storage.write([[prediction("a")], [outcome("a")]], received=1)
    assert ask(storage).predictions == 0
    # Neither do numbers that were given to names within it.
    assert storage.write([[prediction("a")]], received=1) == [["accepted"]]
    assert ask(storage).predictions == 1
    storage.close()


def test_a_full_disk_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "events.db")
    storage.write([[prediction("a")]], received=1)
    (pages,) = storage._writer.execute("PRAGMA page_count").fetchone()
    storage._writer.execute(f"PRAGMA max_page_count = {pages}")
    many: list[Fact] = [prediction(f"{number:0100d}") for number in range(1000)]
    with pytest.raises(StorageError, match="full"):
        storage.write([many], received=2)
    assert ask(storage).predictions == 1
    storage._writer.execute("PRAGMA max_page_count = 100000")
    storage.write([many], received=3)
    assert ask(storage).predictions == 1001
    storage.close()


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    newer, foreign, garbage = tmp_path / "newer.db", tmp_path / "foreign.db", tmp_path / "garbage.db"
    SqliteStorage(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    garbage.write_bytes(b"no database" * 1000)
    with pytest.raises(SchemaError, match="schema 99, but this program knows 1"):
        SqliteStorage(newer)
    with pytest.raises(SchemaError, match="another program's database"):
        SqliteStorage(foreign)
    with pytest.raises(StorageError, match="not a database"):
        SqliteStorage(garbage)
    with pytest.raises(StorageError, match="unable to open"):
        SqliteStorage(tmp_path / "missing" / "events.db")


def test_the_oldest_are_forgotten_by_age_and_by_number(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "events.db")
    for number in range(10):
        storage.write([[prediction(f"q{number}")], [outcome(f"q{number}")]], received=number)
    assert storage.prune(before=3, rows=None) == 6
    assert storage.prune(before=3, rows=None) == 0
    assert (ask(storage).predictions, ask(storage).labelled) == (7, 7)
    assert storage.prune(before=None, rows=5) == 2
    live = ask(storage)
    # Outcomes outlive their predictions until they are too old themselves.
    assert (live.predictions, live.labelled, live.unknown) == (5, 5, 2)
    storage.close()


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "events.db", deadline=lambda: lambda: True)
    storage.write([[prediction(f"q{number}") for number in range(5000)]], received=1)
    with pytest.raises(StorageError, match="interrupted"):
        ask(storage)
    storage.close()


def test_flags_win_over_the_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"MANDATE_RECORDER_DATABASE": "/data/a.db", "MANDATE_RECORDER_KEEP_DAYS": "7"}
    options = parse(["--port", "0", "--keep-rows", "5"], environment)
    assert (options.database, options.port, options.keep_days, options.keep_rows) == (Path("/data/a.db"), 0, 7.0, 5)
    for bad in ([], ["--database=x", "--port=99999"], ["--database=x", "--keep-days=-1"], ["--database=x", "--port=y"]):
        with pytest.raises(SystemExit) as caught:
            parse(bad, {})
        assert caught.value.code == 2
    assert "--keep-days must be 0 or more, got -1.0" in capsys.readouterr().err
