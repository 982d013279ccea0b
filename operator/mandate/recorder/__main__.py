"""`python -m mandate.recorder`: the recorder's process. 0 after a signal, 1 where it broke, 2 on bad options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from mandate.telemetry.recorder import RecorderMetrics

from .replay import Replays
from .server import Recorder, serving
from .sqlite import SqliteStorage
from .storage import SchemaError, StorageError
from .writer import Writer

log = logging.getLogger("mandate.recorder")

_PRUNE_EVERY = 600.0
_QUERY_SECONDS = 60.0
_DAY = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, understood. `keep_days` and `keep_rows`: None keeps everything."""

    database: Path
    host: str
    port: int
    keep_days: float | None
    keep_rows: int | None
    replay: bool
    orders_port: int


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Flags, each with an environment variable `MANDATE_RECORDER_…` behind it; exits with status 2 on bad ones."""
    parser = argparse.ArgumentParser(prog="mandate-recorder", description="Takes and keeps what live use tells.")

    def flag(name: str, kind: type, default: str | None, text: str) -> None:
        variable = "MANDATE_RECORDER_" + name.upper().replace("-", "_")
        value = environment.get(variable, default)
        parser.add_argument(f"--{name}", type=kind, default=value, required=value is None, help=f"{text} [${variable}]")

    flag("database", Path, None, "the SQLite file, on a disk of this node's or a block volume, not on NFS")
    flag("host", str, "0.0.0.0", "address to listen on")  # noqa: S104 - Services and probes
    flag("port", int, "8080", "port to listen on")
    flag("keep-days", float, "0", "days that events are kept; 0 for ever")
    flag("keep-rows", int, "0", "predictions that are kept; 0 all")
    flag("replay", str, "false", "whether inputs are taken, where a model asks for it, and sent to who is at Shadow")
    flag("orders-port", int, "8081", "port to take orders for replays on, with --replay true; for the operator only")
    given = parser.parse_args(arguments)
    for name in ("port", "orders_port"):
        if not 0 <= getattr(given, name) <= 65_535:
            parser.error(f"--{name.replace('_', '-')} must be from 0 to 65535, got {getattr(given, name)}")
    if given.port == given.orders_port != 0:
        parser.error(f"--orders-port must be another port than --port, which is {given.port}: others may reach that")
    for name in ("keep_days", "keep_rows"):
        if not 0 <= getattr(given, name) < 2**53:
            parser.error(f"--{name.replace('_', '-')} must be 0 or more, got {getattr(given, name)}")
    if given.replay not in ("true", "false"):
        parser.error(f"--replay must be true or false, got {given.replay!r}")
    return Options(
        database=given.database,
        host=given.host,
        port=given.port,
        keep_days=given.keep_days or None,
        keep_rows=given.keep_rows or None,
        replay=given.replay == "true",
        orders_port=given.orders_port,
    )


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def query_deadline() -> Callable[[], bool]:
    """Starts a question's clock; the result says whether its time is up."""
    end = time.monotonic() + _QUERY_SECONDS
    return lambda: time.monotonic() > end


async def run(options: Options, *, clock: Callable[[], int] = now, stop: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. Raises StorageError where the file can't be used."""
    stop = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = RecorderMetrics()
    storage = SqliteStorage(options.database, deadline=query_deadline)
    writer = Writer(storage, clock=clock, committed=metrics.commit_seconds.observe)
    replays = Replays(writer, clock=clock) if options.replay else None
    recorder = Recorder(storage, writer, clock=clock, metrics=metrics, replays=replays)
    writing = asyncio.create_task(writer.run())
    pruning = asyncio.create_task(_prune(writer, options, clock=clock, metrics=metrics))
    stopping = asyncio.create_task(stop.wait())
    try:
        async with AsyncExitStack() as stack:
            if replays is not None:
                await stack.enter_async_context(replays.running())
                orders = serving(recorder.orders(), host=options.host, port=options.orders_port)
                log.info("taking orders on %s:%d", options.host, await stack.enter_async_context(orders))
            main = serving(recorder.application(), host=options.host, port=options.port)
            port = await stack.enter_async_context(main)
            log.info("listening on %s:%d, keeping events in %s", options.host, port, options.database)
            await asyncio.wait((writing, pruning, stopping), return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
    finally:
        pruning.cancel()
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await pruning
        await writer.close()
        await writing
        recorder.close()
        storage.close()


async def _prune(writer: Writer, options: Options, *, clock: Callable[[], int], metrics: RecorderMetrics) -> None:
    while True:
        if options.keep_days is not None or options.keep_rows is not None:
            before = None if options.keep_days is None else clock() - round(options.keep_days * _DAY)
            try:
                metrics.pruned.inc(await writer.prune(before=before, rows=options.keep_rows))
            except StorageError as error:
                log.warning("old events couldn't be forgotten: %s", error)
        await asyncio.sleep(_PRUNE_EVERY)


def main() -> int:
    """See the module."""
    options = parse(sys.argv[1:], os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(options))
    except SchemaError as error:
        log.error("%s", error)
        return 2
    except StorageError as error:
        log.error("--database %s: %s", options.database, error)
        return 1
    except Exception:
        log.exception("exiting")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
