"""The real operator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example/mandate/{}@sha256:" + "0123456789abcdef" * 4
DEFAULTS = {
    "judge-image": IMAGE.format("judge"),
    "predictor-image": IMAGE.format("predictor"),
    # Nobody is there to take over, and nobody starts the operator anew: a busy machine mustn't cost it the Lease.
    "lease-duration": "60",
    "renew-deadline": "50",
    "retry-period": "5",
    "retry-base": "0.5",
    "retry-cap": "2",
    "resync": "5",
    "listen": "127.0.0.1:0",
    "log-format": "text",
}


class Operator:
    """One process; `log` is where it writes."""

    def __init__(self, kubeconfig: Path, log: Path, **flags: str) -> None:
        given = (
            DEFAULTS | {"kubeconfig": str(kubeconfig)} | {name.replace("_", "-"): text for name, text in flags.items()}
        )
        command = [sys.executable, "-m", "mandate.controller", *(f"--{name}={text}" for name, text in given.items())]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MANDATE_")}
        environment["PYTHONPATH"] = str(ROOT / "operator")
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)

    def stop(self, *, grace: float = 20.0) -> int:
        """End it as Kubernetes does; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(grace)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@contextmanager
def operator(kubeconfig: Path, log: Path, **flags: str) -> Iterator[Operator]:
    """The operator while the context lasts; afterwards, none of its requests may have been beyond its rights."""
    running = Operator(kubeconfig, log, **flags)
    try:
        yield running
    finally:
        running.kill()
    # In a namespace that was deleted a moment ago, everything is forbidden to everybody.
    lines = (line for line in log.read_text().splitlines() if "is being terminated" not in line)
    assert [line for line in lines if "orbidden" in line or "denied" in line] == []


async def eventually(what: str, seconds: float = 180.0) -> AsyncIterator[None]:
    """Iterate until the test breaks out; fails the test after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        yield
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")
