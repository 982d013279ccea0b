"""Settings for every test."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from mandate.processor import narrow
from tests import slow

narrow()  # as the commands do, so that numbers are theirs to the last digit
# What lands must not depend on luck: examples are fixed. MANDATE_EXPLORE=1 takes others with every run.
settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("MANDATE_EXPLORE") else "fixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the tests that slow.txt names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    left_out = slow.names()
    kept = [item for item in items if slow.named(item.nodeid) not in left_out]
    config.hook.pytest_deselected(items=[item for item in items if slow.named(item.nodeid) in left_out])
    items[:] = kept


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured, also where every test passed."""
    for found in ("passed", "failed"):
        for report in terminalreporter.getreports(found):
            for name, value in report.user_properties:
                if name == "measured":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
