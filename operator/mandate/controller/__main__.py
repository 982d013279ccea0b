"""`python -m mandate.controller`: the operator's process."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubernetes.aio.client import ApiClient

from mandate.controller.loop import WATCHED, Controller, optional
from mandate.controller.queue import Backoff
from mandate.controller.server import serving
from mandate.controller.settings import Images, Settings
from mandate.controller.verdicts import Verdicts
from mandate.controller.watch import watch
from mandate.kube.client import Client, load_configuration
from mandate.kube.lease import ApiLeaseStore, Elector, LeaseSettings, LostLeadershipError, lead
from mandate.kube.resources import AUTONOMY_GRANTS, MODEL_DEPLOYMENTS
from mandate.telemetry.metrics import GrantCollector, ModelCollector

log = logging.getLogger("mandate.controller")

LEASE_NAME = "mandate-controller"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, understood."""

    settings: Settings
    lease: LeaseSettings
    namespaces: tuple[str, ...]
    kubeconfig: str | None
    workers: int
    resync: float
    listen: str
    verdicts: bool
    log_format: str


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Flags, each with an environment variable `MANDATE_…` behind it; exits with status 2 on bad ones."""
    parser = argparse.ArgumentParser(prog="mandate-controller", description="The Mandate operator.")

    def flag(name: str, default: str | None, text: str) -> None:
        variable = "MANDATE_" + name.upper().replace("-", "_")
        value = environment.get(variable, default)
        parser.add_argument(f"--{name}", default=value, required=value is None, help=f"{text} [${variable}]")

    flag("judge-image", None, "the judge's image, name@sha256:…")
    flag("fetch-image", "", "the fetch init container's image; the judge's where empty")
    flag("predictor-image", None, "the default model runtime's image, name@sha256:…")
    flag("allowed-images", "", "images that any Pod of a Strict namespace may run, by digest, comma-separated")
    flag("namespace", "mandate-system", "the operator's own namespace: its Lease and its ledger")
    flag("namespaces", "", "namespaces to watch, comma-separated; all where empty")
    flag("identity", socket.gethostname(), "this process's name in the Lease and in events")
    flag("kubeconfig", "", "kubeconfig file; the Pod's service account where empty")
    flag("lease-duration", "10", "seconds after which another process may take over")
    flag("renew-deadline", "6", "seconds after which a leader that couldn't renew stops")
    flag("retry-period", "2", "seconds between renewals, and between attempts to lead")
    flag("workers", "8", "keys worked on at once")
    flag("resync", "300", "seconds between diffing re-lists")
    flag("evaluation-deadline", "3600", "seconds for one attempt at an evaluation, waiting and disruptions included")
    flag("pod-deadline", "1800", "seconds for one evaluation Pod once it runs")
    flag("max-attempts", "5", "attempts at an evaluation that ends in Error")
    flag("retry-base", "30", "seconds before the second attempt; doubles with each")
    flag("retry-cap", "1800", "most seconds between attempts")
    flag("keep-finished", "3600", "seconds that a finished evaluation Job is kept for its logs")
    flag("dask-schedulers", "", "addresses of Dask schedulers that evaluations may use, tcp://… or tls://…, by commas")
    flag("dns-ports", "53,1053,5353", "ports of the cluster's name servers, as Pods reach them, comma-separated")
    flag("judge-memory", "2Gi", "memory limit of the judge")
    flag("judge-cpu", "2", "CPU limit of the judge")
    flag("recorder-url", "", "the recorder, http://NAME.NAMESPACE:PORT; live use is neither sent nor asked where empty")
    flag("recorder-orders-url", "", "where it takes orders for replays, http://NAME.NAMESPACE:PORT; empty: nowhere")
    flag("live-every", "60", "seconds between questions about a revision's live use")
    flag("drills", "false", "true: send drills of fallbacks, which takes a way to Pods of enrolled namespaces")
    flag("kserve", "false", "true: look after InferenceServices, for models with the provider KServe")
    flag("listen", "0.0.0.0:8080", "host:port of /metrics, /healthz and /readyz")
    flag("verdicts", "false", "true: answer there whether a revision may act, for others' analyses")
    flag("log-format", "json", "json or text")
    given = parser.parse_args(arguments)
    try:
        return _options(given)
    except ValueError as error:
        parser.error(str(error))


def _options(given: argparse.Namespace) -> Options:
    images = Images(
        fetch=given.fetch_image or given.judge_image, judge=given.judge_image, predictor=given.predictor_image
    )
    settings = Settings(
        images=images,
        allowed_images=_list(given.allowed_images),
        evaluation_deadline=float(given.evaluation_deadline),
        pod_deadline=float(given.pod_deadline),
        max_attempts=int(given.max_attempts),
        retry=Backoff(base=float(given.retry_base), cap=float(given.retry_cap), jitter=0.0),
        keep_finished=int(given.keep_finished),
        kserve=_truth("--kserve", given.kserve),
        dask_schedulers=_list(given.dask_schedulers),
        dns_ports=tuple(map(int, _list(given.dns_ports))),
        judge_memory=given.judge_memory,
        judge_cpu=given.judge_cpu,
        recorder_url=given.recorder_url.rstrip("/"),
        recorder_orders_url=given.recorder_orders_url.rstrip("/"),
        live_every=float(given.live_every),
        drills=_truth("--drills", given.drills),
    )
    lease = LeaseSettings(
        name=LEASE_NAME,
        namespace=given.namespace,
        # A restarted container has its predecessor's host name, but must not take its Lease for its own.
        identity=f"{given.identity}_{uuid.uuid4().hex[:8]}",
        duration=float(given.lease_duration),
        renew_deadline=float(given.renew_deadline),
        retry_period=float(given.retry_period),
    )
    if given.log_format not in ("json", "text"):
        raise ValueError(f"--log-format must be json or text, got {given.log_format!r}")
    return Options(
        settings=settings,
        lease=lease,
        namespaces=_list(given.namespaces),
        kubeconfig=given.kubeconfig or None,
        workers=int(given.workers),
        resync=float(given.resync),
        listen=given.listen,
        verdicts=_truth("--verdicts", given.verdicts),
        log_format=given.log_format,
    )


def _truth(flag: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{flag} must be true or false, got {text!r}")
    return text == "true"


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def run(options: Options) -> None:
    """Serve HTTP, wait to lead, lead until a signal; raises what must end the process."""
    configuration = await load_configuration(kubeconfig=options.kubeconfig)
    client = Client(ApiClient(configuration))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    controller = Controller(
        client,
        options.settings,
        identity=options.lease.identity,
        operator_namespace=options.lease.namespace,
        namespaces=options.namespaces,
    )
    controller.metrics.registry.register(ModelCollector(lambda: controller.store.all(MODEL_DEPLOYMENTS)))
    controller.metrics.registry.register(GrantCollector(lambda: controller.store.all(AUTONOMY_GRANTS)))
    patience = client.with_timeout(options.lease.retry_period)
    store = ApiLeaseStore(patience, name=options.lease.name, namespace=options.lease.namespace)
    elector = Elector(store, options.lease)
    leading = False

    async def work() -> None:
        nonlocal leading
        leading = True
        controller.metrics.leader.set(1)
        watching = asyncio.create_task(
            watch(
                {**WATCHED, **optional(options.settings)},
                controller.heard,
                configuration,
                namespaces=options.namespaces,
                stop=stop,
            )
        )
        working = asyncio.create_task(controller.run(workers=options.workers, resync=options.resync))
        stopping = asyncio.create_task(stop.wait())
        tasks = (watching, working, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            working.cancel()
            stopping.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in (working, watching):
            if not task.cancelled():
                task.result()

    def ready() -> bool:
        return controller.listed or not leading

    try:
        more = Verdicts(client).routes() if options.verdicts else ()
        async with serving(options.listen, registry=controller.metrics.registry, ready=ready, more=more):
            leader = asyncio.create_task(lead(elector, work))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({leader, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not leading:
                leader.cancel()
            await leader
    finally:
        await client.close()


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with time, level, logger, message and, where there is one, the exception."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(log_format: str) -> None:
    """Log to standard error; kopf's own chatter from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter()
        if log_format == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # Optional kinds may be missing, and it would say so at every kind that comes. Without ours, nothing works anyway.
    logging.getLogger("kopf._core.reactor.observation").addFilter(
        lambda record: not record.getMessage().startswith("Unresolved resources")
    )


def main() -> int:
    """0 after a signal, 1 where leadership was lost or anything broke."""
    options = parse(sys.argv[1:], os.environ)
    set_up_logging(options.log_format)
    try:
        asyncio.run(run(options))
    except asyncio.CancelledError:
        return 0
    except LostLeadershipError as error:
        log.error("%s; exiting", error)
        return 1
    except Exception:
        log.exception("exiting")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
