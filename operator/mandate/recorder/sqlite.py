"""The store in one SQLite file: write-ahead log, every commit synchronous, one writer."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mandate.evidence.blind import is_blind
from mandate.evidence.live import Drawn, Live

from .aggregates import compute, count_drawn
from .facts import Decision, Drops, Exchange, Fact, Outcome, Prediction, Replayed, Result, Slices
from .moments import MomentsAggregate
from .storage import DrawnQuery, Query, SchemaError, StorageError

APPLICATION_ID = 0x4D414E44
"""`MAND`, in the file's header: so that no other program's file is taken for ours."""
SCHEMA_VERSION = 2
_PATIENCE = 10.0
"""Seconds to wait for another connection's lock."""
_PRUNE_ROWS = 5000
"""Rows that one call of `prune` deletes at most per table, so that writes are never kept waiting for long."""

_SCHEMA = """
CREATE TABLE models (
  id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (namespace, name)
) STRICT;
CREATE TABLE revisions (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (model, name)
) STRICT;
-- Few combinations of slice values occur on many rows: each is kept once, as JSON with sorted keys. 0 stands for none.
CREATE TABLE slice_sets (id INTEGER PRIMARY KEY, slices TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE predictions (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, revision INTEGER NOT NULL, request TEXT NOT NULL,
  row INTEGER NOT NULL, time INTEGER NOT NULL, received INTEGER NOT NULL, label TEXT, probability REAL, value REAL,
  latency REAL, failed INTEGER NOT NULL, entity TEXT, slices INTEGER NOT NULL, exchange TEXT, unit TEXT
) STRICT;
CREATE UNIQUE INDEX predictions_by_identity ON predictions (model, request, row, revision);
CREATE INDEX predictions_by_time ON predictions (revision, time);
CREATE INDEX predictions_by_entity ON predictions (model, entity) WHERE entity IS NOT NULL;
CREATE INDEX predictions_by_exchange ON predictions (model, exchange) WHERE exchange IS NOT NULL;
CREATE TABLE exchanges (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL, received INTEGER NOT NULL,
  UNIQUE (model, key)
) STRICT;
CREATE TABLE outcomes (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, request TEXT, row INTEGER, entity TEXT, time INTEGER NOT NULL,
  received INTEGER NOT NULL, label TEXT, value REAL, slices INTEGER NOT NULL,
  UNIQUE (model, request, row), UNIQUE (model, entity)
) STRICT;
CREATE INDEX outcomes_by_time ON outcomes (model, time);
CREATE TABLE decisions (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, request TEXT, row INTEGER, entity TEXT, by TEXT NOT NULL,
  shown INTEGER NOT NULL, time INTEGER NOT NULL, received INTEGER NOT NULL, label TEXT, value REAL, revision TEXT,
  UNIQUE (model, request, row, by, shown), UNIQUE (model, entity, by, shown)
) STRICT;
CREATE INDEX decisions_by_time ON decisions (model, time);
-- Contradictions by what was said and about what, so that a repetition counts once.
CREATE TABLE conflicts (
  id INTEGER PRIMARY KEY, model INTEGER NOT NULL, revision INTEGER, time INTEGER NOT NULL, received INTEGER NOT NULL,
  said TEXT NOT NULL, UNIQUE (model, said)
) STRICT;
CREATE TABLE drops (
  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, reporter TEXT NOT NULL, dropped INTEGER NOT NULL,
  received INTEGER NOT NULL, UNIQUE (revision, reporter)
) STRICT;
"""

_UPGRADES = {1: "ALTER TABLE predictions ADD COLUMN unit TEXT"}
"""By schema version, what leads to the next one."""

_REPLAYS = """
CREATE TABLE IF NOT EXISTS replays (
  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, request TEXT NOT NULL, since INTEGER NOT NULL,
  time INTEGER NOT NULL, received INTEGER NOT NULL, state TEXT NOT NULL, UNIQUE (revision, request)
) STRICT
"""
"""Beside the schema: files from before it get it, and programs from before it don't mind."""


class SqliteStorage:
    """See `Storage`. `write`, `prune` and `close` belong to one thread at a time; `live` may be called from any."""

    def __init__(self, file: Path, *, deadline: Callable[[], Callable[[], bool]] | None = None) -> None:
        """Open or create `file`. `deadline()` starts a clock for one query and gives a test whether time is up.

        Raises StorageError, SchemaError.
        """
        self._file = file
        self._deadline = deadline
        self._readers = threading.local()
        self._all_readers: list[sqlite3.Connection] = []
        self._ids: dict[tuple[Any, ...], int] = {}
        with _failing():
            self._writer = _connect(file)
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = FULL")
            _migrate(self._writer, file)
            self._writer.execute(_REPLAYS)

    def write(self, groups: Sequence[Sequence[Fact]], *, received: int) -> list[list[Result]]:
        """See `Storage`."""
        with _failing(), self._transaction():
            return [[self._keep(fact, received) for fact in group] for group in groups]

    def live(self, query: Query) -> Live:
        """See `Storage`."""
        with self._reading() as reader:
            return compute(reader, query)

    def drawn(self, query: DrawnQuery) -> Drawn:
        """See `Storage`."""
        with self._reading() as reader:
            return count_drawn(reader, query)

    def replayed(self, *, namespace: str, model: str, revision: str, since: int) -> tuple[int, int]:
        """See `Storage`."""
        with self._reading() as reader:
            count, failed = reader.execute(
                "SELECT count(*), coalesce(sum(state = 'Failed'), 0) FROM replays "
                "WHERE since = ? AND state != 'UnderWay' AND revision = "
                "(SELECT r.id FROM revisions r JOIN models m ON m.id = r.model "
                "WHERE m.namespace = ? AND m.name = ? AND r.name = ?)",
                (since, namespace, model, revision),
            ).fetchone()
        return count, failed

    def prune(self, *, before: int | None, rows: int | None) -> int:
        """See `Storage`."""
        removed = 0
        with _failing(), self._transaction():
            if before is not None:
                # Rows are numbered as they come, so the oldest are the first ones: no index on `received` is needed.
                for table in ("predictions", "exchanges", "outcomes", "decisions", "conflicts", "drops", "replays"):
                    removed += self._writer.execute(
                        f"DELETE FROM {table} WHERE id IN (SELECT id FROM "  # noqa: S608 - constants
                        f"(SELECT id, received FROM {table} ORDER BY id LIMIT ?) WHERE received < ?)",
                        (_PRUNE_ROWS, before),
                    ).rowcount
            if rows is not None:
                (count,) = self._writer.execute("SELECT count(*) FROM predictions").fetchone()
                excess = min(max(count - rows, 0), _PRUNE_ROWS)
                removed += self._writer.execute(
                    "DELETE FROM predictions WHERE id IN (SELECT id FROM predictions ORDER BY id LIMIT ?)", (excess,)
                ).rowcount
        return removed

    def close(self) -> None:
        """See `Storage`."""
        for reader in self._all_readers:
            reader.close()
        self._writer.close()

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = _connect(self._file)
            connection.execute("PRAGMA query_only = ON")
            connection.create_aggregate("moments", 1, MomentsAggregate)  # type: ignore[arg-type]
            connection.create_function("is_blind", 6, _is_blind, deterministic=True)
            self._readers.connection = connection
            self._all_readers.append(connection)
        return connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view, for as long as one question may take."""
        with _failing():
            reader = self._reader()
            if self._deadline is not None:
                reader.set_progress_handler(self._deadline(), 100_000)
            reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.execute("ROLLBACK")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except BaseException:
            self._ids.clear()
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _keep(self, fact: Fact, received: int) -> Result:
        model = self._id("models", namespace=fact.namespace, name=fact.model)
        match fact:
            case Prediction():
                return self._keep_prediction(fact, model, received)
            case Exchange():
                return self._keep_exchange(fact, model, received)
            case Outcome():
                return self._keep_outcome(fact, model, received)
            case Decision():
                return self._keep_decision(fact, model, received)
            case Drops():
                return self._keep_drops(fact, model, received)
            case Replayed():
                return self._keep_replayed(fact, model, received)

    def _keep_prediction(self, fact: Prediction, model: int, received: int) -> Result:
        revision = self._id("revisions", model=model, name=fact.revision)
        said = {
            "label": fact.label,
            "probability": fact.probability,
            "value": fact.value,
            "failed": int(fact.failed),
            "entity": fact.entity,
            "slices": self._slices(fact.slices),
        }
        latency = fact.latency
        if fact.exchange is not None and latency is None:
            began = self._writer.execute(
                "SELECT time FROM exchanges WHERE model = ? AND key = ?", (model, fact.exchange)
            ).fetchone()
            latency = float(fact.time - began[0]) if began and fact.time >= began[0] else None
        identity = {"model": model, "request": fact.request, "row": fact.row, "revision": revision}
        more = {
            "time": fact.time,
            "received": received,
            "latency": latency,
            "exchange": fact.exchange,
            "unit": fact.unit,
        }
        return self._insert("predictions", identity, said, more, model=model, revision=revision)

    def _keep_exchange(self, fact: Exchange, model: int, received: int) -> Result:
        new = self._writer.execute(
            "INSERT INTO exchanges (model, key, time, received) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (model, fact.key, fact.time, received),
        ).rowcount
        if not new:
            return "duplicate"
        self._writer.execute(
            "UPDATE predictions SET latency = time - ?1 "
            "WHERE model = ?2 AND exchange = ?3 AND latency IS NULL AND time >= ?1",
            (fact.time, model, fact.key),
        )
        return "accepted"

    def _keep_outcome(self, fact: Outcome, model: int, received: int) -> Result:
        said = {"label": fact.label, "value": fact.value, "slices": self._slices(fact.slices)}
        more = {"time": fact.time, "received": received}
        return self._insert("outcomes", _address(fact, model), said, more, model=model)

    def _keep_decision(self, fact: Decision, model: int, received: int) -> Result:
        identity = {**_address(fact, model), "by": fact.by, "shown": int(fact.shown)}
        said = {"label": fact.label, "value": fact.value, "revision": fact.revision}
        more = {"time": fact.time, "received": received}
        return self._insert("decisions", identity, said, more, model=model)

    def _keep_drops(self, fact: Drops, model: int, received: int) -> Result:
        revision = self._id("revisions", model=model, name=fact.revision)
        grown = self._writer.execute(
            "INSERT INTO drops (revision, reporter, dropped, received) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (revision, reporter) DO UPDATE SET dropped = excluded.dropped, received = excluded.received "
            "WHERE excluded.dropped > dropped",
            (revision, fact.reporter, fact.dropped, received),
        ).rowcount
        return "accepted" if grown else "duplicate"

    def _keep_replayed(self, fact: Replayed, model: int, received: int) -> Result:
        revision = self._id("revisions", model=model, name=fact.revision)
        # Sent again after a crash: what came of it then counts, and it stays with the stay that it was sent for first.
        new = self._writer.execute(
            "INSERT INTO replays (revision, request, since, time, received, state) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET state = excluded.state "
            "WHERE since = excluded.since AND excluded.state != 'UnderWay' AND state = 'UnderWay'",
            (revision, fact.request, fact.since, fact.time, received, fact.state),
        ).rowcount
        return "accepted" if new else "duplicate"

    def _insert(
        self,
        table: str,
        identity: dict[str, Any],
        said: dict[str, Any],
        more: dict[str, Any],
        *,
        model: int,
        revision: int | None = None,
    ) -> Result:
        """Insert a row unless its identity is taken; then compare what was said. Names are this module's own."""
        row = identity | said | more
        places = ", ".join(f":{name}" for name in row)
        new = self._writer.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) ON CONFLICT DO NOTHING",  # noqa: S608
            row,
        ).rowcount
        if new:
            return "accepted"
        where = " AND ".join(f"{name} = :{name}" for name, value in identity.items() if value is not None)
        kept = self._writer.execute(f"SELECT {', '.join(said)} FROM {table} WHERE {where}", row).fetchone()  # noqa: S608
        if kept == tuple(said.values()):
            return "duplicate"
        self._writer.execute(
            "INSERT INTO conflicts (model, revision, time, received, said) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (model, revision, more["time"], more["received"], json.dumps([table, identity, said], sort_keys=True)),
        )
        return "conflict"

    def _slices(self, slices: Slices) -> int:
        if not slices:
            return 0
        return self._id("slice_sets", slices=json.dumps(dict(slices), sort_keys=True, ensure_ascii=False))

    def _id(self, table: str, **columns: Any) -> int:
        """The number of a row that is inserted where it is new."""
        key = (table, *columns.values())
        if key not in self._ids:
            if len(self._ids) >= 100_000:
                self._ids.clear()
            names = ", ".join(columns)
            self._writer.execute(
                f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))}) ON CONFLICT DO NOTHING",  # noqa: S608
                tuple(columns.values()),
            )
            where = " AND ".join(f"{name} = ?" for name in columns)
            found = self._writer.execute(f"SELECT id FROM {table} WHERE {where}", tuple(columns.values()))  # noqa: S608
            self._ids[key] = int(found.fetchone()[0])
        return self._ids[key]


def _address(fact: Outcome | Decision, model: int) -> dict[str, Any]:
    return {"model": model, "request": fact.request, "row": fact.row, "entity": fact.entity}


def _is_blind(
    namespace: str, model: str, percent: int, request: str | None, row: int | None, entity: str | None
) -> bool:
    return is_blind(namespace=namespace, model=model, percent=percent, request=request, row=row, entity=entity)


def _connect(file: Path) -> sqlite3.Connection:
    # Connections move between threads of an executor, one thread at a time; transactions are written out.
    return sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if owner != APPLICATION_ID and tables:
            raise SchemaError(f"{file}: another program's database; name another file")
        if version > SCHEMA_VERSION:
            raise SchemaError(
                f"{file}: schema {version}, but this program knows {SCHEMA_VERSION}; run the version that wrote it"
            )
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for step in range(version, SCHEMA_VERSION):
                connection.execute(_UPGRADES[step])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"database: {error}") from error
