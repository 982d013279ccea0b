"""The judge's step with a real Dask cluster on this machine: the same evidence, over TLS too; and what can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from distributed import LocalCluster, Security

from mandate.evaluate import frame
from mandate.evaluate.failures import explain
from mandate.evaluate.on_dask import CREDENTIALS, DaskError, on_dask
from mandate.evidence.schema import Evidence, computed_bytes
from mandate.measure.work import SERIAL
from tests.evaluation import locally
from tests.processes import OPERATOR

Object = dict[str, Any]
SCHEDULER = """
import time
from distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0") as one:
    print(one.scheduler_address, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a mounted Secret: a certificate for 127.0.0.1, which is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("dask")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=dask", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", folder / "tls.key", "-out", folder / "tls.crt"),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
    return folder


@contextmanager
def cluster(secret: Path | None = None) -> Iterator[LocalCluster]:
    """A scheduler and a worker, a process of its own."""
    security = None
    if secret is not None:
        authority, certificate, key = (str(secret / name) for name in CREDENTIALS)
        both = {f"tls_{role}_{part}": path for role in ("scheduler", "worker", "client")
                for part, path in (("cert", certificate), ("key", key))}  # fmt: skip
        security = Security(tls_ca_file=authority, require_encryption=True, **both)
    protocol = "tcp://" if secret is None else "tls://"
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, protocol=protocol, security=security,
        dashboard_address=":0", silence_logs=50,
    ) as found:  # fmt: skip
        yield found


@pytest.fixture
def answered(declared: Object) -> Object:
    """The evaluation of answers that stand in the data: nothing needs to be served."""
    return declared | {
        "model": {"version": "7", "source": {"columns": ["score"]}, "inputs": {"columns": ["amount", "age"]}}
    }


@pytest.fixture
def claims(claims: Path) -> Path:
    """As everywhere, with answers in the table."""
    from pyarrow import parquet

    path = claims / "data" / "loans.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("score", pa.array([(n * 7 % 100) / 100 for n in range(len(table))])), path)
    return claims


def in_a_process(data: Path, log: Path, *options: str) -> tuple[str, bytes]:
    """The judge as in its Pod: a process of its own, without a home. Its termination message and its log."""
    command = [
        sys.executable,
        "-m",
        "mandate.evaluate",
        "judge",
        "--data-dir",
        str(data),
        "--termination-log",
        str(log),
    ]
    environment = {name: os.environ[name] for name in ("PATH", frame.SETTINGS_VARIABLE)}
    environment |= {"HOME": "/nonexistent", "PYTHONPATH": str(OPERATOR)}
    judge = subprocess.run([*command, *options], env=environment, capture_output=True, check=False)
    assert judge.returncode == 0, judge.stderr.decode()
    return log.read_text(), judge.stdout


@pytest.mark.row("D2/dask-job")
def test_the_job_s_judge_gives_the_same_evidence_with_a_cluster(
    pod: Any, answered: Object, claims: Path, secret: Path, tmp_path: Path
) -> None:
    assert pod.fetch(answered)[0] == 0
    with cluster() as found:
        ended, log = in_a_process(pod.data, tmp_path / "ended", "--dask", found.scheduler_address)
        assert tasks(found) >= 2, "nothing was done there"
    vouched = frame.read_termination(ended).sha256
    assert vouched is not None
    alone = computed_bytes(locally(answered, claims).computed)
    assert same(frame.read(log, sha256=vouched), alone)
    with cluster(secret) as found:
        assert found.scheduler_address.startswith("tls://")
        mounted = ("--dask-credentials", "dask", "--dask-folder", secret)
        _, _, result = pod.judge("http://127.0.0.1:9", "--dask", found.scheduler_address, *mounted)
        assert tasks(found) >= 2, "nothing was done there"
    assert same(result, alone)


def tasks(found: LocalCluster) -> int:
    """How many were done by its workers."""
    return len({step[0] for step in found.scheduler.transition_log if step[2] == "memory"})


def same(result: frame.Result, alone: bytes) -> bool:
    """Whether it is the evidence that is found without a cluster, of a Pod that isn't sealed."""
    evidence = Evidence.model_validate(result.evidence)
    assert evidence.measured.isolation == "Open"
    return computed_bytes(evidence.computed) == alone


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(on_dask.__wrapped__.__kwdefaults__, "patience", 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_can_t_be_used_is_no_evidence(pod: Any, answered: Object, secret: Path, tmp_path: Path) -> None:
    pod.fetch(answered)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "ca.crt").write_text("x")
    garbled = tmp_path / "garbled"
    garbled.mkdir()
    for name in CREDENTIALS:
        (garbled / name).write_text("x")
    tls, named = "tls://127.0.0.1:1", ("--dask-credentials", "dask", "--dask-folder")
    for options, code, words in (
        (("tcp://127.0.0.1:1",), "DaskUnreachable", "no Dask scheduler answers at tcp://127.0.0.1:1"),
        ((tls,), "DaskUnreachable", "no Dask scheduler answers at tls://127.0.0.1:1"),
        ((tls, *named, secret), "DaskUnreachable", "no Dask scheduler answers at tls://127.0.0.1:1"),
        ((tls, *named, garbled), "DaskUnreachable", "no Dask scheduler answers at tls://127.0.0.1:1"),
        ((tls, *named, tmp_path / "half"), "NoCredentials", "no tls.crt, tls.key in"),
    ):
        ended, _, result = pod.judge("http://127.0.0.1:9", "--dask", *options)
        assert ended != 0
        assert result.evidence is None
        assert (result.failure.stage, result.failure.code) == ("Settings", code)
        assert result.failure.field == "spec.evaluation.dask"
        assert words in result.failure.message


def test_a_scheduler_that_goes_away_is_told(tmp_path: Path) -> None:
    """Neither waited for, nor taken for a defect of ours."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCHEDULER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(OPERATOR), str(OPERATOR.parent)])},
    )
    assert process.stdout is not None
    try:
        with (
            pytest.raises(DaskError) as error,
            on_dask(process.stdout.readline().strip(), here=SERIAL, patience=5) as workers,
        ):
            list(workers.map(_length, _killing(process.kill)))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    failed = explain(error.value, stage="Measure")
    assert (failed.failure.code, failed.exit_code) == ("DaskFailed", 3)
    assert "the connection to the Dask scheduler is lost" in failed.failure.message


def _killing(kill: Callable[[], None]) -> Iterator[str]:
    yield "first"
    kill()
    for _ in range(8):
        yield "later"


def _length(text: str) -> int:
    return len(text)
