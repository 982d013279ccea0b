"""What holds for every server behind a gateway."""

from __future__ import annotations

IDLE = 3900
"""Seconds for which a caller's idle connection is kept.

Longer than a gateway keeps it (Envoy: an hour): whoever closes first may do so while a request is on its way, and only
the gateway knows that there is none. A request that meets a closing server is lost, since gateways don't try again.
"""
