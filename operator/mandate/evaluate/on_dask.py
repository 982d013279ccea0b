"""A Dask cluster that the user has, as those who do tasks. `distributed` is imported only where an address is given.

Tasks carry their values, so that those of a worker that died run again on another. Rows go to the cluster.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mandate.api
import mandate.measure
from mandate.measure.work import AHEAD, Result, Submit, Task, Workers, in_order

if TYPE_CHECKING:
    from distributed import Client, Future, Security

CONNECT = 30.0
"""Seconds within which the scheduler, and then a worker, must be there."""
POLL = 1.0
"""Seconds between two looks whether anybody is left to do a task."""
CREDENTIALS = ("ca.crt", "tls.crt", "tls.key")
"""Files of a folder with credentials, as Kubernetes' Secrets of type tls and cert-manager name them."""


class DaskError(Exception):
    """The cluster can't be used. `code` is CamelCase and stable; the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@contextmanager
def on_dask(
    address: str, *, here: Workers, patience: float = CONNECT, credentials: Path | None = None
) -> Iterator[Workers]:
    """The workers of the scheduler at `address`, such as tcp://HOST:8786; `here` does what isn't worth sending.

    `credentials` is a folder with what CREDENTIALS name, for tls://HOST:8786; without it, Dask's own configuration
    holds. The scheduler passes everything on, so that nothing but its address need be in reach. Raises DaskError:
    NoDask, NoCredentials, DaskUnreachable, DaskVersions; and while tasks are done DaskFailed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise DaskError(
            "NoDask", "a Dask cluster needs the package distributed here: pip install 'mandate-operator[dask]'"
        ) from None
    security = None if credentials is None else _security(credentials)
    try:
        client = Client(address, timeout=patience, set_as_default=False, direct_to_workers=False, security=security)
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls without credentials
        raise DaskError(
            "DaskUnreachable", f"no Dask scheduler answers at {address}, expected one such as tcp://HOST:8786: {error}"
        ) from None
    with client:
        with _there(client):
            try:
                client.wait_for_workers(1, timeout=patience)
            except TimeoutError:
                raise DaskError("DaskUnreachable", f"the Dask cluster at {address} has no worker; start some") from None
            _check(client.run(versions, on_error="return"), address)
        yield _Dask(client, here=here, patience=patience)


def _security(folder: Path) -> Security:
    from distributed import Security

    files = [folder / name for name in CREDENTIALS]
    if missing := [file.name for file in files if not file.is_file()]:
        raise DaskError(
            "NoCredentials",
            f"no {', '.join(missing)} in {folder}: credentialsRef must name a Secret with {', '.join(CREDENTIALS)}",
        )
    authority, certificate, key = map(str, files)
    return Security(tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)


def versions() -> dict[str, str]:
    """Of what a task's result may depend on, in this process: ours by its code, which images hold without a version."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "mandate's code": _code()}
    for package in ("numpy", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _code() -> str:
    """Hex digits of a digest of what tasks run."""
    found = hashlib.sha256()
    for package in (mandate.api, mandate.measure):
        folder = Path(package.__path__[0])
        for file in sorted(folder.rglob("*.py")):
            found.update(f"{package.__name__}/{file.relative_to(folder)}".encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:12]


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
        with _there(self._client):
            threads = sum(self._client.nthreads().values())

        def submit(task: Task) -> _Promise:
            with _there(self._client):
                future = self._client.submit(function, task, pure=False)
            return _Promise(future, self._client, patience=self._patience)

        yield from in_order(submit, tasks, ahead=AHEAD * max(threads, 1))

    def aside(self) -> AbstractContextManager[Submit]:
        return self._here.aside()


@contextmanager
def _there(client: Client) -> Iterator[None]:
    """What fails inside because the scheduler is gone says so."""
    from distributed import CancelledError

    try:
        yield
    except DaskError:
        raise
    except Exception as error:
        if client.status == "running" and not isinstance(error, CancelledError):
            raise
        raise DaskError(
            "DaskFailed", "the connection to the Dask scheduler is lost; see whether it was started again, and its log"
        ) from error


class _Promise:
    """A future that is given up where nobody is left to do it."""

    def __init__(self, future: Future, client: Client, *, patience: float) -> None:
        self._future, self._client, self._patience = future, client, patience

    def result(self) -> Any:
        with _there(self._client):
            return self._result()

    def _result(self) -> Any:
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
