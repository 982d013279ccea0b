"""Whether this Pod can reach anything: the judge's own probe, at its start and at its end."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

Reach = Literal["Closed", "Open", "Unclear"]
Isolation = Literal["Sealed", "Open", "Unknown"]

PROBES_VARIABLE = "MANDATE_EGRESS_PROBES"
TIMEOUT = 1.0
"""Seconds per address: inside a cluster an open path answers in milliseconds."""

_DROPPED = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EACCES, errno.EPERM}


def targets(environment: Mapping[str, str], resolver: Path = Path("/etc/resolv.conf")) -> list[tuple[str, int]]:
    """Addresses that answer where egress is open: the API server, the name servers, and those named in
    MANDATE_EGRESS_PROBES (`host:port,host:port`). No names, since resolving one is egress itself."""
    found: list[tuple[str, int]] = []
    if host := environment.get("KUBERNETES_SERVICE_HOST"):
        found.append((host, int(environment.get("KUBERNETES_SERVICE_PORT", "443"))))
    try:
        lines = resolver.read_text().splitlines()
    except OSError:
        lines = []
    found += [(line.split()[1], 53) for line in lines if line.startswith("nameserver ")]
    for address in filter(None, environment.get(PROBES_VARIABLE, "").split(",")):
        host, _, port = address.strip().rpartition(":")
        found.append((host.strip("[]"), int(port)))
    return list(dict.fromkeys(found))


async def probe(addresses: Iterable[tuple[str, int]], *, timeout: float = TIMEOUT) -> Reach:  # noqa: ASYNC109
    """Try all addresses at once: `Open` if one connects, `Closed` if every packet vanished, else `Unclear`."""
    found = await asyncio.gather(*(_reach(host, port, timeout) for host, port in addresses))
    if not found or "Unclear" in found:
        return "Open" if "Open" in found else "Unclear"
    return "Open" if "Open" in found else "Closed"


def isolation(before: Reach, after: Reach, *, sealed: bool) -> Isolation:
    """`Sealed` only where nothing was reachable, at the start and at the end.

    Unless it is `sealed`, a Pod fetches from servers: that the addresses asked here are closed doesn't close those.
    """
    if not sealed or "Open" in (before, after):
        return "Open"
    return "Sealed" if (before, after) == ("Closed", "Closed") else "Unknown"


async def _reach(host: str, port: int, timeout: float) -> Reach:  # noqa: ASYNC109
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "Closed"
    except OSError as error:
        # A refusal may come from the other end, and then the path is open, or from a firewall on the way.
        return "Closed" if error.errno in _DROPPED else "Unclear"
    writer.close()
    return "Open"
