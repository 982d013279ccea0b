"""What an object said and when, as a watch saw it; goes on where the API server was gone for a while."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.integration.admission.api import Api, Refused, path

Object = dict[str, Any]
REST = 0.2
"""Seconds before another try where the API server doesn't answer."""
QUIET = 15.0
"""Seconds without a word after which a watch begins anew."""
LONGEST = 5
"""Seconds that one watch lasts: as long may it go on after `stop`."""


class Watched:
    """Every state of one object from `start` until `stop`, with the time (seconds since 1970) at which it was seen."""

    def __init__(self, api: Api, like: Object) -> None:
        self._api = api
        self._where = path(like, named=False)
        self._name = like["metadata"]["name"]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {self._name}", daemon=True)
        self.seen: list[tuple[float, Object]] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """See nothing more, a few seconds from now."""
        self._over.set()

    def last(self) -> Object | None:
        return self.seen[-1][1] if self.seen else None

    def _run(self) -> None:
        version = ""
        while not self._over.is_set():
            try:
                if not version:
                    version = self._listed()
                for event in self._events(version):
                    if event["type"] == "ERROR":  # the version is too old: what it missed shows in the next list
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self.seen.append((time.time(), event["object"]))
            except (urllib3.exceptions.HTTPError, Refused, OSError, ValueError):
                self._over.wait(REST)

    def _listed(self) -> str:
        found = self._api.request("GET", self._where, fieldSelector=f"metadata.name={self._name}")
        known = self.seen[-1][1]["metadata"]["resourceVersion"] if self.seen else ""
        now = time.time()
        fresh = [item for item in found["items"] if item["metadata"]["resourceVersion"] != known]
        self.seen.extend((now, item) for item in fresh)
        return str(found["metadata"]["resourceVersion"])

    def _events(self, version: str) -> Iterator[Object]:
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(LONGEST),
        }
        timeout = urllib3.Timeout(connect=5, read=QUIET)
        url = f"{self._api.server}{self._where}?{urlencode(query)}"
        answer = self._api.pool.request("GET", url, preload_content=False, timeout=timeout, retries=False)
        try:
            if answer.status != 200:
                raise Refused(answer.status, "watch")
            rest = b""
            for part in answer.stream(65_536):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield json.loads(line)
                if self._over.is_set():
                    return
        finally:
            answer.close()
