"""The SQLite file itself: schema, failures, forgetting."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mandate.evidence.live import BinaryOutcomes, Drawn, Live
from mandate.recorder.__main__ import parse
from mandate.recorder.facts import Drops, Fact, Outcome, Prediction
from mandate.recorder.sqlite import SCHEMA_VERSION, SqliteStorage
from mandate.recorder.storage import DrawnQuery, Query, SchemaError, StorageError

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
    with pytest.raises(SchemaError, match=f"schema 99, but this program knows {SCHEMA_VERSION}"):
        SqliteStorage(newer)
    with pytest.raises(SchemaError, match="another program's database"):
        SqliteStorage(foreign)
    with pytest.raises(StorageError, match="not a database"):
        SqliteStorage(garbage)
    with pytest.raises(StorageError, match="unable to open"):
        SqliteStorage(tmp_path / "missing" / "events.db")


def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "events.db"
    storage = SqliteStorage(file)
    storage.write([[prediction("a")]], received=1)
    storage.close()
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE predictions DROP COLUMN unit")
        connection.execute("PRAGMA user_version = 1")
    storage = SqliteStorage(file)
    assert storage._writer.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert storage.write([[prediction("a")], [drawn("b", "r1", 6)]], received=2) == [["duplicate"], ["accepted"]]
    assert ask(storage).predictions == 2
    assert where(storage).units == {"r1": 1, "r2": 0}
    storage.close()


def drawn(unit: str, revision: str, time: int, *, row: int = 0) -> Prediction:
    request = f"{unit} {revision} {time}"
    return Prediction(**PLACE, revision=revision, request=request, row=row, time=time, label="bad", unit=unit)


def where(storage: SqliteStorage, *revisions: str, since: int = 0) -> Drawn:
    return storage.drawn(DrawnQuery(**PLACE, revisions=revisions or ("r1", "r2"), since=since, until=100))


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "the other way round"])
def test_a_unit_counts_once_and_where_its_first_answer_came_from(tmp_path: Path, backwards: bool) -> None:
    facts: list[Fact] = [
        *(drawn("one", "r1", 5, row=row) for row in range(3)),
        drawn("one", "r1", 7),
        drawn("two", "r2", 5),
        drawn("asked again", "r2", 6),
        drawn("asked again", "r1", 8),
        drawn("at once", "r2", 9),
        drawn("at once", "r1", 9),
        drawn("a copy", "shadow", 4),
        drawn("a copy", "r2", 5),
        drawn("before", "r1", 1),
        prediction("none"),
    ]
    storage = SqliteStorage(tmp_path / "events.db")
    storage.write([[fact] for fact in (reversed(facts) if backwards else facts)], received=1)
    found = where(storage, since=2)
    assert (found.units, found.several, found.undrawn) == ({"r1": 2, "r2": 3}, 2, {"r1": 1, "r2": 0})
    assert where(storage, "r2", "r1", since=2).units == {"r1": 1, "r2": 4}
    assert where(storage, "nobody").units == {"nobody": 0}
    storage.close()


def test_who_couldnt_deliver_predictions_lately_is_named(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "events.db")
    storage.write([[drawn("one", "r1", 5), drawn("two", "r2", 5)]], received=5)
    for revision, received in (("r1", 6), ("r2", 8), ("shadow", 9)):
        storage.write([[Drops(**PLACE, revision=revision, reporter="pod", dropped=3, time=1)]], received=received)
    assert [where(storage, since=since).dropping for since in (6, 7, 9)] == [("r1", "r2"), ("r2",), ()]
    storage.close()


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


def test_orders_have_a_port_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--database=x", "--port=8081"], {})
    assert "--orders-port must be another port than --port, which is 8081" in capsys.readouterr().err
