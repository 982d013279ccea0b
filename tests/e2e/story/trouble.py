"""What happens to the cluster during a story: the operator is killed, the API server too."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from tests.e2e.cluster import SYSTEM, Cluster, like
from tests.integration.admission.api import Refused

PROGRAM = b"mandate.controller"
PROC = Path("/proc")


def processes(pod_uid: str) -> list[int]:
    """The operator's processes in a Pod, as this machine numbers them."""
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            inside = pod_uid in (folder / "cgroup").read_text()
            if inside and PROGRAM in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


@dataclass
class Killer:
    """Kills the operator `count` times, at moments drawn from `seed`, `gap` seconds from one to the next on average.

    SIGKILL, and then the Pod goes without a word to the kubelet, so that a new one starts at once instead of after the
    back-off of a container that crashes again and again. Nothing is killed while `spared`.
    """

    cluster: Cluster
    count: int
    gap: float
    seed: int
    kills: list[float] = field(default_factory=list)
    problem: str = ""
    _over: threading.Event = field(default_factory=threading.Event)
    _spared: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="kills", daemon=True)
        self._thread.start()

    def spare(self, yes: bool) -> None:
        (self._spared.set if yes else self._spared.clear)()

    @property
    def done(self) -> bool:
        return len(self.kills) >= self.count

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(60)

    def _run(self) -> None:
        # Not for secrets: the same seed gives the same moments.
        chance = random.Random(self.seed)
        try:
            while not self.done:
                if self._over.wait(self.gap * chance.uniform(0.5, 1.5)):
                    return
                while self._spared.is_set() or not self._kill():
                    if self._over.wait(0.5):
                        return
        except Exception as error:  # a thread's exception would be lost
            self.problem = f"{type(error).__name__}: {error}"
            raise

    def _kill(self) -> bool:
        """Whether an operator ran that could be killed."""
        try:
            pods = self.cluster.admin.list(like("Pod", SYSTEM), "app.kubernetes.io/component=controller")
        except (Refused, urllib3.exceptions.HTTPError, OSError):
            return False
        for pod in pods:
            numbers = processes(pod["metadata"]["uid"])
            for number in numbers:
                os.kill(number, signal.SIGKILL)
            if numbers:
                self.kills.append(time.time())
                where = f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}"
                with suppress(Refused, urllib3.exceptions.HTTPError, OSError):
                    self.cluster.admin.request("DELETE", where, {"gracePeriodSeconds": 0})
                return True
        return False


def restart_api_server(cluster: Cluster, *, note: Callable[[str], None]) -> float:
    """SIGKILL the API server, and have it started again; for how many seconds it was gone.

    Raises RuntimeError where what runs afterwards isn't another process.
    """
    record = cluster.kubeconfig.parents[1] / "pids" / "kube-apiserver.json"
    before = _api_server(record)
    began = time.time()
    os.kill(before["pid"], signal.SIGKILL)
    note(f"killed the API server (process {before['pid']})")
    subprocess.run([*cluster.hack, "up"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    gone = time.time() - began
    if _api_server(record) == before:
        raise RuntimeError(f"the API server, process {before['pid']}, still runs after SIGKILL")
    return gone


def _api_server(record: Path) -> dict[str, int]:
    """The process that the cluster's record names, by id and start time; raises RuntimeError where it doesn't run."""
    found: dict[str, int] = json.loads(record.read_text())
    try:
        command = (PROC / str(found["pid"]) / "cmdline").read_bytes()
    except OSError:
        command = b""
    if b"kube-apiserver" not in command:
        raise RuntimeError(f"process {found['pid']} isn't the API server that {record} names")
    return found
