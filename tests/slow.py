"""The unit tests that `make check` leaves to `make test`: those that took longest, by name in slow.txt.

python -m tests.slow JUNIT.XML      # writes slow.txt anew, from `pytest --junitxml`
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

LONGER = 0.4
"""Seconds from which on a test is slow, with its fixtures."""
LIST = Path(__file__).parent / "slow.txt"


def names() -> frozenset[str]:
    """Files and functions as `unit/x/test_y.py::test_z`, without parameters."""
    return frozenset(LIST.read_text().split())


def named(nodeid: str) -> str:
    """What the list calls a test: its pytest id without the folder of all tests, and without parameters."""
    return nodeid.removeprefix("tests/").split("[", maxsplit=1)[0]


def slow(junit: Path) -> list[str]:
    """The slow tests of a run."""
    found = set()
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        if float(case.get("time", "0")) >= LONGER:
            *folders, last = case.get("classname", "").removeprefix("tests.").split(".")
            place = (
                [*folders, last + ".py"] if last.startswith("test_") else [*folders[:-1], folders[-1] + ".py::" + last]
            )
            found.add(named("/".join(place) + "::" + case.get("name", "")))
    return sorted(found)


if __name__ == "__main__":
    LIST.write_text("\n".join(slow(Path(sys.argv[1]))) + "\n")
