"""The command line is quick to start and says its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mandate
from mandate.cli.parser import build

HEAVY = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "onnxruntime", "pydantic", "yaml", "jinja2", "mandate.api")


def test_the_parser_loads_nothing_heavy() -> None:
    code = (
        "import sys, mandate.cli, mandate.cli.parser as parser; parser.build(); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    source = str(Path(mandate.__path__[0]).parent)
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["evaluate", "report", "compare", "split", "init", "profile", "drift", "version"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        build().parse_args([command, "--help"])
    assert error.value.code == 0
    assert f"mandate {command}" in capsys.readouterr().out


def test_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build().parse_args(["evaluate", "--help"])
    help_ = capsys.readouterr().out
    for code in ("0  the target level's gates hold", "1  they don't", "2  what was given", "3  not judged"):
        assert code in help_


def test_evaluating_loads_no_large_library_that_it_does_not_need() -> None:
    # Each takes a good part of what a whole evaluation of a small table takes; some are for what few evaluations ask.
    large = ("scipy.stats", "scipy.optimize", "sklearn", "onnxruntime", "aiohttp", "urllib3", "jinja2")
    code = f"import sys, mandate.cli.evaluate; print([name for name in {large!r} if name in sys.modules])"
    source = str(Path(mandate.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"
