"""What `make check` leaves out is named, and is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import slow

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(slow.names()))
def test_every_slow_test_exists(name):
    file, *_, function = name.split("::")
    assert f"def {function}(" in (TESTS / file).read_text() or function == "runTest", (
        "python -m tests.slow writes the list"
    )


def test_slow_ones_are_read_from_a_run(tmp_path):
    junit = tmp_path / "junit.xml"
    first = "tests.unit.test_a"
    cases = {(first, "test_x[1]"): 9, (first, "test_y"): 0.1, ("tests.unit.b.test_c.TestD", "test_z"): 1}
    lines = (f'<testcase classname="{where}" name="{name}" time="{time}"/>' for (where, name), time in cases.items())
    junit.write_text(f"<testsuites><testsuite>{''.join(lines)}</testsuite></testsuites>")
    assert slow.slow(junit) == ["unit/b/test_c.py::TestD::test_z", "unit/test_a.py::test_x"]
    assert slow.named("tests/unit/test_a.py::test_x[1-b[c]]") == "unit/test_a.py::test_x"
