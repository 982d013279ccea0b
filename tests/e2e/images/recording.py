"""A model server by the Open Inference Protocol v2 that keeps what it was asked: request ids, and digests of bodies.

GET /recorded gives all of it. Only Python's standard library is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = os.environ.get("NAME", "recording")
"""Who says that it answered."""
FAULT = os.environ.get("FAULT", "")
"""What becomes of every request: `crashes`, `fails`, `is slow`, or it is answered."""
SLOW = 10.0
"""Seconds."""
PORT = 9000
KEPT: list[dict[str, Any]] = []
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """What was asked is kept, not printed."""

    def do_GET(self) -> None:
        if self.path == "/recorded":
            with LOCK:
                self.reply({"recorded": KEPT})
        else:
            self.reply({"name": NAME})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with LOCK:
            KEPT.append(
                {
                    "id": self.headers.get("x-request-id"),
                    "host": self.headers.get("host"),
                    "path": self.path,
                    "sharedBy": self.headers.get("mandate-shared-by"),
                    "length": len(body),
                    "sha256": hashlib.sha256(body).hexdigest(),
                }
            )
        if FAULT == "crashes":
            os._exit(1)
        if FAULT == "fails":
            self.send_error(500)
            return
        if FAULT == "is slow":
            time.sleep(SLOW)
        rows = json.loads(body)["inputs"][0]["data"]
        output = {"name": "probabilities", "datatype": "FP64", "shape": [len(rows)], "data": [0.5] * len(rows)}
        self.reply({"model_name": NAME, "outputs": [output]})

    def reply(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Mandate-Autonomy", "Claimed"
        )  # what the gateway says must replace what a model says of itself
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    print(f"{NAME} listens on port {PORT}", file=sys.stderr, flush=True)
    Server(("0.0.0.0", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
