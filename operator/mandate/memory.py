"""How this process keeps memory that it has no use for: not for long, so that the peak is what the work takes.

glibc gives each thread a heap of its own, and Arrow's own allocator keeps what it freed; both hold on to tens of
megabytes for every stage of a measurement, which the next stage, on another thread, can't use. Where the C library is
another one, nothing is done.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

HEAPS = 2
"""Heaps that all threads share: arrays are few and large, so threads seldom wait for one."""
_M_ARENA_MAX = -8


def frugal() -> None:
    """To be called by a process before it imports Arrow and starts threads; what its user has set is left alone."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := _libc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Memory that is free back to the system; takes some milliseconds for each stage that went before."""
    if (trim := _libc("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def _libc(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None
    return found
