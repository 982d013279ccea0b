"""Killed at any moment, the recorder has lost nothing that it said it had, and holds nothing half."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mandate.recorder.sqlite import SqliteStorage
from tests.processes import OPERATOR, free_port
from tests.recording import call, live_path, outcome, prediction, recorder, send

KILLS = 10
SENDERS = 3


class Sender:
    """Sends batches of a prediction and its outcome; remembers what was answered with 200."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.sent = 0
        self.answered: set[str] = set()
        self.wrong: list[Any] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.stop.is_set():
            first = self.sent
            requests = [f"{self.name}-{first + number}" for number in range(20)]
            self.sent += len(requests)
            events = [event for request in requests for event in (prediction(request), outcome(request))]
            try:
                status, document = send(self.url, *events, timeout=10)
            except (urllib.error.URLError, HTTPException, OSError):
                time.sleep(0.01)  # down; not waited for, only not hammered
                continue
            if status == 200 and document["accepted"] == len(events):
                self.answered.update(requests)
            else:
                self.wrong.append((status, document))


def test_nothing_that_was_answered_is_lost(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    luck = random.Random(4)
    database, port = tmp_path / "events.db", free_port()
    senders = [Sender(f"s{number}", f"http://127.0.0.1:{port}") for number in range(SENDERS)]
    for sender in senders:
        sender.thread.start()
    try:
        for _ in range(KILLS):
            with recorder(database, port=port) as (url, process):
                seen = [len(sender.answered) for sender in senders]
                deadline = time.monotonic() + 60
                while all(len(s.answered) == n for s, n in zip(senders, seen, strict=True)):
                    assert time.monotonic() < deadline, "nothing is answered"
                    time.sleep(0.01)
                time.sleep(luck.uniform(0, 0.3))  # any moment
                process.kill()
    finally:
        for sender in senders:
            sender.stop.set()
        for sender in senders:
            sender.thread.join()
    assert [sender.wrong for sender in senders] == [[]] * SENDERS
    answered = set().union(*(sender.answered for sender in senders))
    sent = sum(sender.sent for sender in senders)
    record_property("measured", f"{KILLS} kills: {len(answered)} requests answered of {sent} tried")

    storage = SqliteStorage(database)
    assert storage._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {request for (request,) in storage._writer.execute("SELECT request FROM predictions")}
    labelled = {request for (request,) in storage._writer.execute("SELECT request FROM outcomes")}
    assert answered <= kept
    assert kept == labelled, "a batch is kept whole or not at all"
    storage.close()
    with recorder(database, port=port) as (url, _):
        # Whoever wasn't answered sends again: what was kept is a duplicate, and the sum is right.
        for request in sorted(answered)[:50]:
            assert send(url, prediction(request))[1]["duplicates"] == 1
        status, live = call(url + live_path())
        assert (status, live["predictions"], live["labelled"], live["conflicts"]) == (200, len(kept), len(kept), 0)


def test_sigterm_answers_what_is_under_way_and_ends_with_0(tmp_path: Path) -> None:
    with recorder(tmp_path / "events.db") as (url, process):
        sender = Sender("s", url)
        sender.thread.start()
        deadline = time.monotonic() + 60
        while not sender.answered:
            assert time.monotonic() < deadline, "nothing is answered"
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=60) == 0
        sender.stop.set()
        sender.thread.join()
    assert all(status == 503 for status, _ in sender.wrong), "refused as a whole while stopping, or answered"
    storage = SqliteStorage(tmp_path / "events.db")
    kept = {request for (request,) in storage._writer.execute("SELECT request FROM predictions")}
    assert sender.answered <= kept
    storage.close()


def test_another_programs_file_ends_it_with_2(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    command = [sys.executable, "-m", "mandate.recorder", "--database", str(tmp_path / "other.db")]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(OPERATOR)}, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "another program's database" in ended.stderr
    assert "Traceback" not in ended.stderr
