"""The Dask cluster that measures for a ModelDeployment: which scheduler, whether it may, how a Pod reaches it. Pure.

It is part of no measurement: evidence is the same without it. So an attempt takes what is declared when it starts, and
the Job says afterwards what that was.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mandate.api.kinds import ModelDeploymentSpec

Object = dict[str, Any]

PORT = 8786
"""Of the scheduler Services that Dask's Kubernetes operator makes."""
DNS_PORTS = (53, 1053, 5353)
"""Of name servers, before and behind their Service: a NetworkPolicy holds for the Pods' own, often not 53."""
FLAGS = ("--dask", "--dask-credentials")
"""Of the judge, in its Pod's command."""


@dataclass(frozen=True)
class Scheduler:
    """Where the judge finds workers. `secret` holds what opens a tls address; `cluster` names the DaskCluster."""

    address: str
    secret: str = ""
    cluster: str = ""


def scheduler_of(spec: ModelDeploymentSpec, *, namespace: str) -> Scheduler | None:
    """The declared scheduler; None where none is."""
    dask = spec.evaluation.dask if spec.evaluation is not None else None
    if dask is None:
        return None
    if dask.cluster is not None:
        return Scheduler(f"tcp://{dask.cluster}-scheduler.{namespace}.svc:{PORT}", cluster=dask.cluster)
    secret = dask.credentials_ref.name if dask.credentials_ref is not None else ""
    return Scheduler(str(dask.address), secret=secret)


def refusal(scheduler: Scheduler | None, allowed: Collection[str]) -> str:
    """Why rows may not go there, and what to do; empty where they may."""
    if scheduler is None or scheduler.address in allowed:
        return ""
    known = f"it allows {', '.join(sorted(allowed))}" if allowed else "it allows none"
    return (
        f"spec.evaluation.dask: the operator doesn't let evaluations use {scheduler.address}, {known}; remove the "
        "field, or have the platform's administrator add the address to the chart's evaluation.dask.schedulers"
    )


def arguments(scheduler: Scheduler | None) -> list[str]:
    """What tells the judge of it."""
    if scheduler is None:
        return []
    address, credentials = FLAGS
    return [address, scheduler.address, *((credentials, scheduler.secret) if scheduler.secret else ())]


def told(job: Mapping[str, Any]) -> Scheduler | None:
    """The scheduler that a Job's judge was told of, whatever is declared by now."""
    containers = job["spec"]["template"]["spec"]["containers"]
    command = next((list(item.get("command") or ()) for item in containers if item["name"] == "judge"), [])
    found = {flag: command[place + 1] for place, flag in enumerate(command[:-1]) if flag in FLAGS}
    address, credentials = (found.get(flag, "") for flag in FLAGS)
    return Scheduler(address, secret=credentials) if address else None


def egress(scheduler: Scheduler, *, dns_ports: Collection[int] = DNS_PORTS) -> list[Object]:
    """The ways out of an otherwise sealed Pod: to the scheduler, and to name servers where its address is a name.

    Results come through the scheduler, so none leads to workers. A NetworkPolicy knows Pods and addresses, no names: of
    a Service it knows the namespace, of a name elsewhere only the port.
    """
    host, _, port = scheduler.address.partition("://")[2].rpartition(":")
    host = host.strip("[]")
    ports = [{"port": int(port), "protocol": "TCP"}]
    dns: list[Object] = [{"ports": [{"port": each, "protocol": name} for each in dns_ports for name in ("UDP", "TCP")]}]
    if (block := _block(host)) is not None:
        return [{"to": [{"ipBlock": {"cidr": block}}], "ports": ports}]
    if scheduler.cluster:
        labels = {"dask.org/cluster-name": scheduler.cluster, "dask.org/component": "scheduler"}
        return [{"to": [{"podSelector": {"matchLabels": labels}}], "ports": ports}, *dns]
    names = host.rstrip(".").split(".")
    if len(names) == 1:
        return [{"to": [{"podSelector": {}}], "ports": ports}, *dns]
    if len(names) == 2 or names[2] == "svc":
        space = {"kubernetes.io/metadata.name": names[1]}
        return [{"to": [{"namespaceSelector": {"matchLabels": space}}], "ports": ports}, *dns]
    return [{"ports": ports}, *dns]


def _block(host: str) -> str | None:
    try:
        return str(ipaddress.ip_network(host))
    except ValueError:
        return None
