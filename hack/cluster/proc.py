"""Long-running processes: started detached, recorded with their start time, found again, stopped for certain."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from say import ClusterError

POLL_SECONDS = 0.1
T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """A process by id and start time (clock ticks since boot), so that a reused id isn't taken for it."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return _started(self.pid) == self.started

    def kill(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)


def _started(pid: int) -> int | None:
    """The start time, or None for a process that is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def observe(pid: int) -> Process | None:
    started = _started(pid)
    return None if started is None else Process(pid, started)


class Ledger:
    """The processes of one state folder, one JSON file each under `pids/`."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "pids"
        self._logs = state / "log"

    def find(self, name: str) -> Process | None:
        """The running process of that name, or None."""
        try:
            process = Process(**json.loads((self._folder / f"{name}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return process if process.alive else None

    def all(self) -> dict[str, Process | None]:
        return {file.stem: self.find(file.stem) for file in sorted(self._folder.glob("*.json"))}

    def status(self, names: Iterable[str]) -> list[tuple[str, str, bool]]:
        """(name, what it does, whether that is well) for each of the named."""
        found = {name: self.find(name) for name in names}
        return [
            (name, f"runs as {process.pid}" if process else "stopped", process is not None)
            for name, process in found.items()
        ]

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, name: str, command: Sequence[str | Path], *, inside: bool = False) -> Process:
        """Start a daemon unless it runs. With `inside`, the command is a wrapper; its child is what gets recorded."""
        if running := self.find(name):
            return running
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as output:
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )

        def pid() -> int | None:
            if child.poll() is not None:
                raise ClusterError(
                    f"{name} ended at once with code {child.returncode}; the end of its log:\n{self.tail(name)}"
                )
            return _only_child(child.pid) if inside else child.pid

        process = observe(wait_for(pid, seconds=10, what=f"{name} to start"))
        if process is None:
            raise ClusterError(f"{name} ended at once; the end of its log:\n{self.tail(name)}")
        (self._folder / f"{name}.json").write_text(json.dumps(asdict(process)))
        return process

    def stop(self, names: Iterable[str], *, grace: float) -> None:
        """Ask each of the named to end, in the order given; kill what hasn't ended within `grace` seconds."""
        for name in names:
            if process := self.find(name):
                process.kill(signal.SIGTERM)
                if not gone(process, seconds=grace):
                    process.kill(signal.SIGKILL)
                    gone(process, seconds=10)
            (self._folder / f"{name}.json").unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop the records of processes that have ended."""
        for name, process in self.all().items():
            if process is None:
                (self._folder / f"{name}.json").unlink()

    def tail(self, name: str, lines: int = 15) -> str:
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


def gone(process: Process, *, seconds: float) -> bool:
    """Wait until the process has ended; False if it still runs after that time."""
    deadline = time.monotonic() + seconds
    while process.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _only_child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def wait_for(check: Callable[[], T | None], *, seconds: float, what: str, log: Callable[[], str] | None = None) -> T:
    """Call `check` until it gives something; raise a ClusterError naming `what` after that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if (value := check()) is not None:
            return value
        if time.monotonic() > deadline:
            end = f"; the end of the log:\n{log()}" if log else ""
            raise ClusterError(f"waited {seconds:.0f} s for {what}, in vain{end}")
        time.sleep(POLL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on now, outside the range that the kernel takes ports from."""
    found: list[int] = []
    for port in random.sample(range(20000, 30000), 1000):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ClusterError("no free ports between 20000 and 30000 on 127.0.0.1")
