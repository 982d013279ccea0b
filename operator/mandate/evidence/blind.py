"""Which decisions people take before they see the model's answer: drawn by what they are about, so that whoever shows
the answer and whoever counts the decisions agree without talking.
"""

from __future__ import annotations

from hashlib import sha256


def is_blind(
    *,
    namespace: str,
    model: str,
    percent: int,
    request: str | None = None,
    row: int | None = None,
    entity: str | None = None,
) -> bool:
    """Whether the decision at this address is to be taken blind, where `percent` (0 to 100) of all are.

    The address is what the decision is sent with: `request` and `row`, or `entity`. It is drawn if the first 32 bits of
    the SHA-256 of these lines, as a share of 2^32, are below the share that is asked: the namespace, the model, and
    `request` with its id and row, or `entity` with its id. So the same address is always drawn alike, whatever the
    version; and what is drawn at 10 % is drawn at 20 % as well. Raises ValueError for any other address or percent.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be from 0 to 100, got {percent}")
    by_request = request is not None and row is not None
    if by_request == (entity is not None) or (request is None) != (row is None):
        raise ValueError(f"either request and row, or entity; got {request!r}, {row!r} and {entity!r}")
    about = ["entity", str(entity)] if entity is not None else ["request", str(request), str(row)]
    drawn = sha256("\n".join((namespace, model, *about)).encode()).digest()[:4]
    return int.from_bytes(drawn, "big") * 100 < percent * 2**32
