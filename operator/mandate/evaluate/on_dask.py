"""A Dask cluster that the user has, as those who do tasks. `distributed` is imported only where an address is given.

Tasks carry their values, so that those of a worker that died run again on another. Rows go to the cluster.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from mandate.measure.work import AHEAD, Result, Submit, Task, Workers, in_order

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT = 30.0
"""Seconds within which the scheduler, and then a worker, must be there."""
POLL = 1.0
"""Seconds between two looks whether anybody is left to do a task."""


class DaskError(Exception):
    """The cluster can't be used. `code` is CamelCase and stable; the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@contextmanager
def on_dask(address: str, *, here: Workers, patience: float = CONNECT) -> Iterator[Workers]:
    """The workers of the scheduler at `address`, such as tcp://HOST:8786; `here` does what isn't worth sending.

    Raises DaskError: NoDask, DaskUnreachable, DaskVersions; and while tasks are done DaskFailed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise DaskError(
            "NoDask", "a Dask cluster needs the package distributed here: pip install 'mandate-operator[dask]'"
        ) from None
    try:
        client = Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DaskError(
            "DaskUnreachable", f"no Dask scheduler answers at {address}, expected one such as tcp://HOST:8786: {error}"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            raise DaskError("DaskUnreachable", f"the Dask cluster at {address} has no worker; start some") from None
        _check(client.run(versions, on_error="return"), address)
        yield _Dask(client, here=here, patience=patience)


def versions() -> dict[str, str]:
    """Of what a task's result may depend on, in this process."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("mandate-operator", "numpy", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _check(told: Mapping[str, Any], address: str) -> None:
    """Every worker has what this process has: another version may round otherwise."""
    ours = versions()
    for worker, theirs in sorted(told.items()):
        if isinstance(theirs, BaseException):
            raise DaskError(
                "DaskVersions", f"{address}: worker {worker} can't load Mandate: {theirs}; install it there, as here"
            )
        unlike = [f"{name} {theirs.get(name)} (here {ours[name]})" for name in ours if theirs.get(name) != ours[name]]
        if unlike:
            raise DaskError(
                "DaskVersions", f"{address}: worker {worker} has {', '.join(unlike)}; give its image the same versions"
            )


class _Dask:
    """As of `Workers`."""

    def __init__(self, client: Client, *, here: Workers, patience: float) -> None:
        self._client, self._here, self._patience = client, here, patience

    @property
    def here(self) -> Workers:
        return self._here

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task], /) -> Iterator[Result]:
        threads = sum(self._client.nthreads().values())

        def submit(task: Task) -> _Promise:
            future = self._client.submit(function, task, pure=False)
            return _Promise(future, self._client, patience=self._patience)

        yield from in_order(submit, tasks, ahead=AHEAD * max(threads, 1))

    def aside(self) -> AbstractContextManager[Submit]:
        return self._here.aside()


class _Promise:
    """A future that is given up where nobody is left to do it."""

    def __init__(self, future: Future, client: Client, *, patience: float) -> None:
        self._future, self._client, self._patience = future, client, patience

    def result(self) -> Any:
        from distributed import KilledWorker

        alone = 0.0
        while not self._future.done():
            before = time.monotonic()
            try:
                return self._future.result(timeout=POLL)
            except TimeoutError:
                if self._future.done():
                    break
            except KilledWorker as error:
                raise _failed(error) from None
            alone = 0.0 if self._client.nthreads() else alone + time.monotonic() - before
            if alone >= self._patience:
                raise DaskError("DaskFailed", f"the Dask cluster has had no worker for {alone:.0f} s; start some")
        try:
            return self._future.result()
        except KilledWorker as error:
            raise _failed(error) from None

    def cancel(self) -> None:
        self._future.cancel()


def _failed(error: Exception) -> DaskError:
    return DaskError(
        "DaskFailed", f"workers of the Dask cluster died: {error}; look at their logs, and at their memory"
    )
