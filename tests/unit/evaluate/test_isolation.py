"""The egress probe: what counts as open, as closed, and as unclear."""

import asyncio
import errno

import pytest

from mandate.evaluate import isolation
from mandate.evaluate.isolation import probe, targets
from tests.processes import free_port


async def listening():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_an_address_that_connects_is_open():
    server, port = await listening()
    async with server:
        assert await probe([("127.0.0.1", port)]) == "Open"
        assert await probe([("127.0.0.1", free_port()), ("127.0.0.1", port)]) == "Open"


async def test_a_refusal_proves_nothing():
    assert await probe([("127.0.0.1", free_port())]) == "Unclear"


async def test_no_address_proves_nothing():
    assert await probe([]) == "Unclear"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENETUNREACH, "unreachable"), "Closed"),
        (OSError(errno.EHOSTUNREACH, "unreachable"), "Closed"),
        (PermissionError(errno.EPERM, "filtered"), "Closed"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "Unclear"),
        (None, "Closed"),
    ],
)
async def test_packets_that_vanish_are_closed(monkeypatch, error, expected):
    async def open_connection(host, port):
        if error is not None:
            raise error
        await asyncio.sleep(60)

    monkeypatch.setattr(isolation.asyncio, "open_connection", open_connection)
    assert await probe([("192.0.2.1", 443)], timeout=0.05) == expected
    assert await probe([("192.0.2.1", 443), ("192.0.2.2", 53)], timeout=0.05) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("Closed", "Closed", "Sealed"),
        ("Closed", "Open", "Open"),
        ("Open", "Closed", "Open"),
        ("Open", "Unclear", "Open"),
        ("Closed", "Unclear", "Unknown"),
        ("Unclear", "Unclear", "Unknown"),
    ],
)
def test_sealed_only_where_nothing_was_reachable_twice(before, after, expected):
    assert isolation.isolation(before, after, sealed=True) == expected
    assert isolation.isolation(before, after, sealed=False) == "Open"


def test_targets_are_the_api_server_the_name_servers_and_those_named(tmp_path):
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("search lending.svc\nnameserver 10.96.0.10\nnameserver fd00::a\n")
    environment = {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "MANDATE_EGRESS_PROBES": "10.0.0.7:8080, [fd00::1]:80",
    }
    assert targets(environment, resolver) == [
        ("10.96.0.1", 443),
        ("10.96.0.10", 53),
        ("fd00::a", 53),
        ("10.0.0.7", 8080),
        ("fd00::1", 80),
    ]
    assert targets({}, tmp_path / "none") == []
