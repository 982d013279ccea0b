"""Which of the processor's instructions NumPy uses: those of every x86 machine of the last ten years, on all alike.

With AVX-512 its logarithms and exponentials differ from those with AVX2 in the last digit, so that one evaluation on
two machines would be two pieces of evidence; and on AMD's Zen 4, whose AVX-512 has no fast way to compress a register
into memory, it sorts four times as slowly.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

VARIABLE = "NPY_DISABLE_CPU_FEATURES"
WIDE = "X86_V4 AVX512_ICL AVX512_SPR"
"""As NumPy 2.4 calls them; others have other names, and leave these with an ImportWarning that nobody sees."""
FLAGS = Path("/proc/cpuinfo")


def narrow(flags: Path = FLAGS) -> None:
    """To be called by a process before it imports NumPy; what its user has set is left alone.

    Only where there is AVX-512: NumPy warns of instructions that a machine doesn't have.
    """
    if VARIABLE in os.environ or platform.machine() not in ("x86_64", "AMD64"):
        return
    try:
        with flags.open(errors="replace") as lines:  # the first processor's: a large machine has hundreds alike
            wide = "avx512f" in next((line for line in lines if line.startswith("flags")), "")
    except OSError:  # not Linux
        return
    if wide:
        os.environ[VARIABLE] = WIDE
