"""What this process and its container use, from the kernel's own accounts.

A container can't see another's: so the one that is measured says it itself, to whoever asks from its own Pod.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
PATH = "/mandate/usage"


def age(process: Path = PROCESS, *, clock: Callable[[int], float] = time.clock_gettime) -> float:
    """Seconds since this process started (proc(5): field 22 of stat, in clock ticks since boot)."""
    # The second field is the program's name in brackets, which may hold blanks.
    after_name = (process / "stat").read_text().rpartition(")")[2].split()
    return clock(time.CLOCK_BOOTTIME) - int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def usage(*, cold: float, cgroups: Path = CGROUPS, process: Path = PROCESS) -> dict[str, Any]:
    """`cold` as given (seconds from the process's start until it listened), CPU seconds and bytes at most.

    `process` is this process alone; `container` its cgroup (v2 or v1) with whatever else runs in it and with the page
    cache, None where the kernel doesn't say.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cold": cold,
        "process": {"cpu": used.ru_utime + used.ru_stime, "memory": _peak(process)},
        "container": _v2(cgroups) or _v1(cgroups),
    }


def _peak(process: Path) -> int | None:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _v2(cgroups: Path) -> dict[str, float] | None:
    try:
        memory = int((cgroups / "memory.peak").read_text())
        cpu = dict(line.split() for line in (cgroups / "cpu.stat").read_text().splitlines())
        return {"cpu": int(cpu["usage_usec"]) / 1e6, "memory": memory}
    except (OSError, ValueError, KeyError):
        return None


def _v1(cgroups: Path) -> dict[str, float] | None:
    try:
        memory = int((cgroups / "memory" / "memory.max_usage_in_bytes").read_text())
        return {"cpu": int((cgroups / "cpuacct" / "cpuacct.usage").read_text()) / 1e9, "memory": memory}
    except (OSError, ValueError):
        return None
