"""The end of a download, also of one that never falls silent: its connections are shut down.

Time limits of sockets are for one piece; a server that sends a byte now and then, of its headers too, passes them all.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Deadline:
    """After `seconds`, whatever is read from connections of `pools()` ends; `passed` says so."""

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._timer = threading.Timer(max(0.0, seconds), self._end)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for watched in self._open:
                watched.close()
            self._open.clear()

    def pools(self) -> dict[str, type[HTTPConnectionPool]]:
        """urllib3's pools by scheme, whose connections are watched from before their first byte."""
        watch = self._watch

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return watch(super()._new_conn())

        class SecureConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return watch(super()._new_conn())

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        return {"http": PlainPool, "https": SecurePool}

    def _watch(self, connection: socket.socket) -> socket.socket:
        # A second handle: TLS takes the first one over, and closing it mustn't lead to a stranger's.
        with self._lock:
            self._open.append(connection.dup())
        if self.passed:
            self._end()
        return connection

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            for watched in self._open:
                with contextlib.suppress(OSError):  # closed by the other side
                    watched.shutdown(socket.SHUT_RDWR)
