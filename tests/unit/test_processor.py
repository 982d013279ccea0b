"""Which instructions NumPy is told to leave alone."""

import os
import platform
import subprocess
import sys

import pytest

from mandate import processor


@pytest.mark.parametrize(
    ("machine", "flags", "set_", "found"),
    [
        ("x86_64", "flags : sse avx2 avx512f avx512cd", None, processor.WIDE),
        ("x86_64", "flags : sse avx2 avx512f", "AVX2", "AVX2"),
        ("x86_64", "flags : sse avx2", None, None),
        ("x86_64", None, None, None),
        ("aarch64", "flags : avx512f", None, None),
    ],
)
def test_only_avx_512_is_left_alone_and_only_where_it_is(machine, flags, set_, found, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(flags)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.delenv(processor.VARIABLE, raising=False)
    if set_ is not None:
        monkeypatch.setenv(processor.VARIABLE, set_)
    processor.narrow(file)
    assert os.environ.get(processor.VARIABLE) == found
    monkeypatch.delenv(processor.VARIABLE, raising=False)


@pytest.mark.parametrize("entry", ["mandate.cli", "mandate.evaluate.__main__"])
def test_the_commands_say_so_before_numpy_is_there(entry, monkeypatch):
    code = f"""
import importlib, os, sys
entry = importlib.import_module({entry!r})
early = "numpy" in sys.modules
try:
    entry.main(["--help"])
except SystemExit:
    print(early, os.environ.get({processor.VARIABLE!r}), sep=";", file=sys.stderr)
"""
    monkeypatch.delenv(processor.VARIABLE, raising=False)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    processor.narrow()
    assert said.strip() == f"False;{os.environ.get(processor.VARIABLE)}"
