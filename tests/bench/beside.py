"""What the recording sidecar adds to a request, and how many it passes.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.beside [--requests 2000] [--rows 1]

Mandate's own model server stands for the image, a real recorder takes what is told. Requests go to the model directly
and through the sidecar in turn, over kept connections; then 8 callers at once ask through either. Prints milliseconds
and requests per second, each as a pair with its ratio.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

from tests.models import columns_model, predictor
from tests.processes import serving

INFER = "/v2/models/model/infer"
CALLERS = 8
NAMES = ("--namespace", "lending", "--model-deployment", "credit", "--revision", "0" * 32)


def request(rows: int) -> bytes:
    columns = {"amount": ("FP32", 0.5), "age": ("INT64", 30), "purpose": ("BYTES", "car")}
    inputs = [
        {"name": name, "datatype": datatype, "shape": [rows, 1], "data": [value] * rows}
        for name, (datatype, value) in columns.items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def timed(connection: http.client.HTTPConnection, body: bytes) -> float:
    """Milliseconds of one request."""
    began = time.perf_counter()
    connection.request("POST", INFER, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return 1000 * (time.perf_counter() - began)


def in_turn(ports: tuple[int, int], body: bytes, count: int) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = ([], [])
    with (
        closing(http.client.HTTPConnection("127.0.0.1", ports[0])) as direct,
        closing(http.client.HTTPConnection("127.0.0.1", ports[1])) as through,
    ):
        for number in range(count + 50):
            for place, connection in enumerate((direct, through)):
                took = timed(connection, body)
                if number >= 50:
                    found[place].append(took)
    return found


def at_once(port: int, body: bytes, count: int) -> float:
    """Requests per second of all callers together."""

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            for _ in range(count // CALLERS):
                timed(connection, body)

    threads = [threading.Thread(target=ask) for _ in range(CALLERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.perf_counter() - began)


def _pair(what: str, direct: float, through: float) -> None:
    print(f"{what:28} direct {direct:8.2f}   through the sidecar {through:8.2f}   ratio {through / direct:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1)
    options = parser.parse_args()
    body = request(options.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(columns_model())
        with (
            predictor(folder) as (url, _),
            serving("mandate.recorder", "--database", str(folder / "r.sqlite"), ready="/healthz") as (recorder, _),
            serving(
                "mandate.predictor.beside",
                *("--upstream", url, "--record", recorder, *NAMES, "--positive=bad"),
                ready="/v2/health/ready",
            ) as (beside, _),
        ):
            ports = (int(url.rpartition(":")[2]), int(beside.rpartition(":")[2]))
            direct, through = in_turn(ports, body, options.requests)
            _pair("ms at the median", statistics.median(direct), statistics.median(through))
            _pair("ms at the 99th percentile", *(statistics.quantiles(found, n=100)[98] for found in (direct, through)))
            _pair(f"requests/s of {CALLERS} callers", *(at_once(port, body, options.requests) for port in ports))


if __name__ == "__main__":
    main()
