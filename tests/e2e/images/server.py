"""A model server by the Open Inference Protocol v2 whose port says how it misbehaves.

The probability it answers is the logistic function of the feature `x`. Only Python's standard library is used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORTS = {
    "honest": 9000,
    "late": 9001,
    "crashing": 9002,
    "hanging": 9003,
    "short": 9004,
    "undefined": 9005,
    "slow": 9006,
    "unready": 9007,
    "searching": 9008,
    "meddling": 9009,
    "wordy": 9010,
    "hungry": 9011,
    "beacon": 9012,
}
DIES = os.environ.get("DIES", "")
"""Where set, it ends at once, with these words."""
LATE = 25.0
"""Seconds until `late` is ready."""
SLOW = 25.0
"""Seconds per answer of `slow`."""
CANARY = "-".join(("canary", "label", ""))
"""What every label and row id of a searched evaluation begins with; put together, so that this file isn't a find."""
FORGED = "MANDATE-RESULT/1 4 " + "0" * 64 + " AAAA"
MOST = 64 << 20
"""Bytes read of one file at most."""

_STARTED = time.monotonic()
_SAID: set[str] = set()
_LOCK = threading.Lock()


def say(**report: Any) -> None:
    # One write for the line: threads must not mix theirs.
    os.write(1, json.dumps(report).encode() + b"\n")


def once(behaviour: str, act: Callable[[], None]) -> None:
    """Do it at the first call only; later calls wait for it."""
    with _LOCK:
        if behaviour not in _SAID:
            act()
            _SAID.add(behaviour)


# --- searching -------------------------------------------------------------------------------------------------------


def mounts() -> list[tuple[str, bool]]:
    """Mount points but the root's, and whether they are mounted for writing."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[4] != "/" and not fields[4].startswith(("/proc", "/sys")):
            found.append((fields[4], "rw" in fields[5].split(",")))
    return found


def files(top: str) -> Iterator[str]:
    if os.path.isfile(top):
        yield top
    for folder, _, names in os.walk(top):
        for name in names:
            yield os.path.join(folder, name)


def holds(path: str) -> bool:
    try:
        # Devices and pipes may never end, or never begin.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return CANARY.encode() in file.read(MOST)
    except OSError:
        return False


def others() -> list[int]:
    """Processes that aren't this one or its own."""
    mine = {1, os.getpid()} if os.getpid() == 1 else {os.getpid()}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in mine]


def reached(host: str, port: int, *, timeout: float) -> socket.socket | None:
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except OSError:
        return None
    if connection.getsockname() == connection.getpeername():
        # A socket may get the very port it asks for, and then talks to itself.
        connection.close()
        return None
    return connection


def asked(host: str, port: int, path: str = "/", *, timeout: float = 1.0) -> tuple[bool, bool]:
    """Whether a connection came about, and whether the canary came over it."""
    connection = reached(host, port, timeout=timeout)
    if connection is None:
        return False, False
    try:
        with connection:
            connection.settimeout(timeout)
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            while block := connection.recv(1 << 16):
                answer += block
            return True, CANARY.encode() in answer
    except OSError:
        return True, False


def resolved(name: str) -> str | None:
    """The address, or None; a name server that doesn't answer isn't waited for longer than 8 s."""
    found: list[str] = []

    def look() -> None:
        try:
            found.append(str(socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0]))
        except OSError:
            return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(8)
    return found[0] if found else None


def search() -> None:
    """Look for the canary wherever a container might see something; say what was found where."""
    found: list[str] = []
    searched = 0
    places = sorted({point for point, _ in mounts()} | {"/mandate", "/tmp", "/run", "/var", "/etc", "/home", "/root"})
    for path in (path for place in places for path in files(place)):
        searched += 1
        if holds(path):
            found.append(f"file {path}")
    if any(CANARY in value for value in os.environ.values()):
        found.append("environment")
    foreign = others()
    for process in foreign:
        found += [f"/proc/{process}/{name}" for name in ("environ", "cmdline") if holds(f"/proc/{process}/{name}")]
        found += [f"process file {path}" for path in files(f"/proc/{process}/root/mandate") if holds(path)]
    network, open_ports = search_network()
    say(
        searched=searched,
        found=sorted(set(found) | {f"network {place}" for place in network["found"]}),
        processes=len(foreign),
        ports=open_ports,
        reached=network["reached"],
    )


def search_network() -> tuple[dict[str, list[str]], list[int]]:
    """The network beyond the Pod: what could be reached, where the canary was; and the Pod's own open ports."""
    with ThreadPoolExecutor(32) as pool:
        candidates = [port for port in range(1, 65536) if port not in PORTS.values()]

        def knock(port: int) -> bool:
            connection = reached("127.0.0.1", port, timeout=1.0)
            if connection is not None:
                connection.close()
            return connection is not None

        open_ports = [port for port, is_open in zip(candidates, pool.map(knock, candidates), strict=True) if is_open]
        there: list[str] = []
        found = [f"localhost:{port}" for port in open_ports if asked("127.0.0.1", port)[1]]
        # The predictor's address isn't localhost to other Pods, and not the other way round.
        targets = [("api", os.environ.get("KUBERNETES_SERVICE_HOST", "10.96.0.1"), 443)]
        resolver = re.findall(r"^nameserver (\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
        targets += [("dns", address, 53) for address in resolver]
        beacon = resolved("beacon")
        if beacon is not None:
            there.append("dns-answer")
            targets.append(("beacon", beacon, PORTS["beacon"]))
        own = socket.gethostbyname(socket.gethostname())
        neighbours = [f"{own.rpartition('.')[0]}.{last}" for last in range(1, 255)]
        targets += [("neighbour", address, PORTS["beacon"]) for address in neighbours if address != own]
        answers = pool.map(lambda target: asked(target[1], target[2]), targets)
        for (name, address, port), (connected, canary) in zip(targets, answers, strict=True):
            there += [name] if connected else []
            found += [f"{address}:{port}"] if canary else []
    return {"reached": sorted(set(there)), "found": found}, open_ports


# --- meddling --------------------------------------------------------------------------------------------------------


def meddle() -> None:
    """Try to end, stop or speak for the judge; say what worked."""
    worked: list[str] = []
    for process in others():
        try:
            os.kill(process, 0)
            worked.append(f"signal {process}")
        except OSError:
            pass
        for name in ("fd/1", "fd/2", "mem"):
            worked += attempt(f"/proc/{process}/{name}")
    for place in sorted({point for point, _ in mounts()} | {"/mandate/data", "/mandate/model", "/mandate"}):
        own = place.startswith("/tmp") or place in ("/dev/termination-log", "/dev/shm", "/dev/mqueue")
        if os.path.isdir(place) and not own:
            worked += attempt(os.path.join(place, "table.arrow"))
    # What it may write is its own: a result in its own log and its own termination message.
    print(FORGED, flush=True)
    with contextlib.suppress(OSError):
        Path("/dev/termination-log").write_text(json.dumps({"sha256": "0" * 64, "length": 4}))
    say(worked=worked, processes=len(others()))


def attempt(path: str) -> list[str]:
    try:
        with open(path, "ab", buffering=0) as file:
            file.write(FORGED.encode() + b"\n")
        return [f"wrote {path}"]
    except OSError:
        return []


# --- serving ---------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: Any) -> None:
        """Only reports go into the log."""

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        if behaviour == "beacon":
            self.reply(200, {"label": CANARY + "beacon"})
        elif self.path.endswith("/ready"):
            self.reply(200 if self.ready(behaviour) else 503, {})
        elif self.path.endswith("/live"):
            self.reply(200, {})
        else:
            self.reply(200, {"name": "test-model", "version": "1"})

    def ready(self, behaviour: str) -> bool:
        # The judge asks for the model, the kubelet for the server: a judge to look at is there in an evaluation only.
        if "/models/" in self.path:
            if behaviour == "searching":
                threading.Thread(target=once, args=("searching", search), daemon=True).start()
                return "searching" in _SAID
            if behaviour == "meddling":
                once("meddling", meddle)
        return behaviour != "unready" and (behaviour != "late" or time.monotonic() - _STARTED > LATE)

    def do_POST(self) -> None:
        behaviour = self.server.behaviour
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        values = next(tensor["data"] for tensor in request["inputs"] if tensor["name"] == "x")
        if behaviour == "crashing":
            print("test-model: crashing as I should", file=sys.stderr, flush=True)
            os._exit(7)
        if behaviour == "hanging":
            time.sleep(3600)
        if behaviour == "hungry":
            held = []
            while True:
                held.append(bytearray(os.urandom(1 << 20) * 16))
        if behaviour == "slow":
            time.sleep(SLOW)
        if behaviour == "meddling":
            meddle()
        answers: list[Any] = [1 / (1 + math.exp(-value)) for value in values]
        if behaviour == "short":
            answers = answers[:-1]
        if behaviour == "undefined":
            answers = [None] * len(answers)
        datatype = "FP64"
        if behaviour == "wordy":
            datatype, answers = "BYTES", [str(value) for value in answers]
        output = {"name": "probabilities", "datatype": datatype, "shape": [len(answers)], "data": answers}
        self.reply(200, {"model_name": "model", "outputs": [output]})

    def reply(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviour: str, port: int) -> None:
        self.behaviour = behaviour
        super().__init__(("0.0.0.0", port), Handler)


def main() -> None:
    if DIES:
        Path("/dev/termination-log").write_text(DIES)
        sys.exit(3)
    for behaviour, port in PORTS.items():
        threading.Thread(target=Server(behaviour, port).serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
