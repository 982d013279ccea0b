import ctypes
import os
import subprocess
import sys

import pytest

from mandate import memory

POOL = "from mandate.memory import frugal, give_back; frugal(); import pyarrow as pa; give_back(); "
POOL += "print(pa.default_memory_pool().backend_name)"


@pytest.mark.parametrize(("chosen", "found"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_arrow_keeps_nothing_for_itself_unless_the_user_says_so(chosen, found):
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment |= {} if chosen is None else {"ARROW_DEFAULT_MEMORY_POOL": chosen}
    done = subprocess.run([sys.executable, "-c", POOL], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == found


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")

    def without(name):
        raise OSError("there is none")

    monkeypatch.setattr(ctypes, "CDLL", without)
    memory.frugal()
    memory.give_back()
    assert memory._libc("malloc_trim") is None
