"""Just enough of the DNS protocol to learn whether a name server knows a name."""

from __future__ import annotations

import socket
import struct

QUERY_ID = 0x4D44
RECURSION_DESIRED = 0x0100
TYPE_A, CLASS_INTERNET = 1, 1


def answers(server: str, name: str) -> bool | None:
    """Ask for the IPv4 addresses of a name: True when the server gives one, else None, after half a second at most."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", TYPE_A, CLASS_INTERNET)
    query = struct.pack(">HHHHHH", QUERY_ID, RECURSION_DESIRED, 1, 0, 0, 0) + question
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.5)
        try:
            channel.sendto(query, (server, 53))
            answer = channel.recv(512)
        except OSError:
            return None
    if len(answer) < 12:
        return None
    identity, flags, _, count = struct.unpack(">HHHH", answer[:8])
    return True if identity == QUERY_ID and flags & 0x000F == 0 and count else None
