"""A real Dask cluster on this machine: a scheduler and two workers, processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster

from mandate.api import spec
from mandate.evaluate import on_dask as module
from mandate.evaluate.failures import explain
from mandate.evaluate.on_dask import DaskError, on_dask, versions
from mandate.evidence.schema import computed_bytes
from mandate.measure.answers import Answers
from mandate.measure.data import shards
from mandate.measure.engine import compute
from mandate.measure.split import divide
from mandate.measure.table import MeasureError
from mandate.measure.work import SERIAL, Serial, Threads, Workers

ROWS = 4000
NAMES = ("amount", "age", "purpose")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
    ) as found:
        yield found


def evidence(workers: Workers) -> bytes:
    """Of a table with a shifted column, one that gives the label away, and texts; in shards of 500 rows."""
    rng = np.random.default_rng(45)
    y = rng.integers(0, 2, ROWS)
    table = pa.table({
        "id": np.arange(ROWS),
        "amount": rng.normal(size=ROWS) + y * 9,
        "age": pa.array(rng.integers(18, 90, ROWS), mask=rng.random(ROWS) < 0.1),
        "purpose": rng.choice(["car", "tv", "ü"], ROWS),
        "y": y,
    })  # fmt: skip
    task = spec.Task(type="Binary", target="y", positive="1", id="id")
    data = spec.Data(source=spec.TableSource(uri="rows.parquet"), split=spec.Split(method="Random", seed=1))
    assert data.split is not None
    found = compute(
        table=table,
        split=divide(table, how=data.split, task=task),
        answers=Answers(values=np.clip(y * 0.4 + rng.random(ROWS) * 0.6, 0, 1)),
        model=spec.Model(
            version="1",
            source=spec.ModelSource(columns=("score",)),
            output=spec.ModelOutput(),
            inputs=spec.ModelInputs(columns=NAMES),
        ),
        task=task,
        data=data,
        workers=workers,
    )
    assert found.data is not None
    assert found.data.counts["GivesLabelAway"] == 1
    return computed_bytes(found)


class Killing:
    """Kills a process before it takes the task at place `at`: those before it are under way, or not yet fetched."""

    def __init__(self, workers: Workers, pid: int, *, at: int) -> None:
        self.workers, self.pid, self.at = workers, pid, at
        self.killed = False

    @property
    def here(self) -> Workers:
        return SERIAL

    def map(self, function: Callable[[Any], Any], tasks: Iterable[Any], /) -> Iterator[Any]:
        def taken() -> Iterator[Any]:
            for place, task in enumerate(tasks):
                if place == self.at:
                    os.kill(self.pid, signal.SIGKILL)
                    self.killed = True
                yield task

        return self.workers.map(function, taken())


@pytest.mark.row("D2/dask")
def test_one_core_all_cores_and_a_cluster_give_the_same_evidence_also_when_a_worker_dies(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evidence(SERIAL)
    monkeypatch.setattr(shards, "SHARD_ROWS", 500)
    assert evidence(Threads(2)) == whole
    with on_dask(cluster.scheduler_address, here=Threads(2)) as workers:
        assert evidence(workers) == whole
        with Client(cluster, set_as_default=False) as client:
            pids = client.run(os.getpid)
        assert len(pids) == 2
        assert os.getpid() not in pids.values()
        killing = Killing(workers, min(pids.values()), at=5)
        assert evidence(killing) == whole
        assert killing.killed
    with pytest.raises(ProcessLookupError):
        os.kill(killing.pid, 0)


def refuse(task: int) -> int:
    raise MeasureError("NotText", f"{task} isn't text")


def end(_: int) -> None:
    os._exit(1)


@pytest.mark.usefixtures("capfd")
def test_what_goes_wrong_there_is_told_here(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with on_dask(cluster.scheduler_address, here=SERIAL, patience=20) as workers:
        with pytest.raises(MeasureError) as refused:
            list(workers.map(refuse, [1, 2]))
        assert (refused.value.code, str(refused.value)) == ("NotText", "1 isn't text")
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
        with pytest.raises(DaskError, match="workers of the Dask cluster died") as died:
            list(workers.map(end, [1]))
    failed = explain(died.value, stage="Measure")
    assert (failed.failure.code, failed.exit_code) == ("DaskFailed", 3)


def test_a_cluster_without_workers_is_waited_for_no_longer_than_said() -> None:
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty:
        with (
            pytest.raises(DaskError, match="has no worker; start some") as error,
            on_dask(empty.scheduler_address, here=SERIAL, patience=0.2),
        ):
            pass
        assert error.value.code == "DaskUnreachable"
        with Client(empty, set_as_default=False) as client:
            promise = module._Promise(client.submit(versions, pure=False), client, patience=0.0)
            with pytest.raises(DaskError, match="has had no worker for 1 s") as gone:
                promise.result()
    assert gone.value.code == "DaskFailed"


def test_no_scheduler_and_no_package_are_told() -> None:
    with pytest.raises(DaskError, match="no Dask scheduler answers at tcp:") as error:
        enter("tcp://127.0.0.1:1")
    assert error.value.code == "DaskUnreachable"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        with pytest.raises(DaskError, match=r"pip install 'mandate-operator\[dask\]'") as missing:
            enter("tcp://127.0.0.1:1")
    assert missing.value.code == "NoDask"


def enter(address: str) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_dask(address, here=Serial(), patience=0.5))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (versions() | {"numpy": "1.0"}, "worker tcp://w has numpy 1.0 (here"),
        (ModuleNotFoundError("No module named 'mandate'"), "worker tcp://w can't load Mandate: No module named"),
    ],
)
def test_workers_of_other_versions_are_refused(told: Any, words: str) -> None:
    module._check({"tcp://v": versions()}, "tcp://s")
    with pytest.raises(DaskError) as error:
        module._check({"tcp://v": versions(), "tcp://w": told}, "tcp://s")
    assert error.value.code == "DaskVersions"
    assert words in str(error.value)
