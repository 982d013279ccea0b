"""Peer tests against another copy of the package, in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import io
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("pytest", "hypothesis", "numpy", "pandas", "pyarrow", "pydantic", "scipy.stats", "scipy.optimize")
HEAVY += ("sklearn.metrics", "sklearn.linear_model", "sklearn.compose", "sklearn.svm", "statsmodels.api")
HEAVY += tuple(plugin.module for plugin in entry_points(group="pytest11"))
"""What the tests import besides the package: imported once, and every process is forked from there."""


@dataclass
class Outcome:
    """What became of each test: "" where it passed, else the statement that failed; and pytest's own words."""

    tests: dict[str, str] = field(default_factory=dict)
    asserted: bool = True
    """Whether all that failed were assertions."""
    text: str = ""


class _Notes:
    """A pytest plugin that writes down the outcome."""

    def __init__(self) -> None:
        self.outcome = Outcome()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.outcome.tests = {item.nodeid: "" for item in items}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        report = yield
        if report.failed:
            self.outcome.asserted &= isinstance(call.excinfo.value, AssertionError)
            lines = report.longreprtext.splitlines()
            self.outcome.tests[item.nodeid] = "\n".join(line for line in lines if line.startswith((">", "E")))
        return report


def _run(package: Path, arguments: tuple[str, ...]) -> Outcome:
    notes = _Notes()
    gc.freeze()  # pytest collects garbage often, and there is none in what was imported before
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()) as text:
        pytest.main([*arguments, f"--rootdir={ROOT}", "-o", f"pythonpath={package} {ROOT}"], plugins=[notes])
    notes.outcome.text = text.getvalue()
    return notes.outcome


def run(package: Path, *arguments: str) -> Outcome:
    """Run pytest on `arguments`, with the package `mandate` from the folder `package`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*HEAVY])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, package, arguments).result()
