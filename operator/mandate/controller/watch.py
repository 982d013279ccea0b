"""kopf's part: authenticate, discover, watch. Its handlers do nothing but hand events over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import kopf

from mandate.kube.resources import Resource

Heard = Callable[[Resource, str | None, Mapping[str, Any]], None]

SERVER_TIMEOUT = 300  # an int: kopf writes it into the URL as it is
CONNECT_TIMEOUT = 10.0
LOGIN_FOR = timedelta(minutes=10)
"""How long kopf uses credentials before it asks again: projected tokens change about every hour."""


def registry(watched: Mapping[Resource, str], heard: Heard, configuration: Any) -> kopf.OperatorRegistry:
    """Handlers that pass each event of the `watched` kinds to `heard`, and a login by `configuration`."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)  # type: ignore[arg-type, unused-ignore]
    async def login(**_: Any) -> kopf.ConnectionInfo:
        credentials = await configuration.auth_settings()
        token = str(credentials.get("BearerToken", {}).get("value") or "").partition(" ")[2]
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme="Bearer" if token else None,
            token=token or None,
            expiration=datetime.now(UTC) + LOGIN_FOR,
        )

    def feed(resource: Resource) -> None:
        async def handler(event: Mapping[str, Any], **_: Any) -> None:
            heard(resource, event["type"], event["object"])

        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=handlers)(handler)

    for resource in watched:
        feed(resource)
    return handlers


def settings(watched: Mapping[Resource, str]) -> kopf.OperatorSettings:
    """kopf without what isn't wanted of it: events of its own, peering. Kinds that come later are watched from then."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.networking.connect_timeout = CONNECT_TIMEOUT
    chosen.networking.request_timeout = 3 * CONNECT_TIMEOUT
    chosen.watching.server_timeout = SERVER_TIMEOUT
    chosen.watching.connect_timeout = CONNECT_TIMEOUT
    chosen.watching.chunk_size = 500
    for resource, selector in watched.items():
        if selector:
            chosen.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return chosen


async def watch(
    watched: Mapping[Resource, str],
    heard: Heard,
    configuration: Any,
    *,
    namespaces: tuple[str, ...] = (),
    stop: asyncio.Event,
) -> None:
    """Watch until `stop` is set, or a signal asks the process to end; raises what keeps kopf from watching."""
    await kopf.operator(
        registry=registry(watched, heard, configuration),
        settings=settings(watched),
        standalone=True,
        # Peering is off, but kopf would still look the user's name up, and the image's user has none.
        identity=cast(Any, "mandate"),
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
