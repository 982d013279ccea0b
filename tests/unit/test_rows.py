"""The table of rows is looked up, not written: what doesn't exist is refused, what nothing shows is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests import rows
from tests.rows import ROWS, RowsError, called, check_complete, gather, located, marked, part, render, row


def test_a_row_without_code_or_test_says_so() -> None:
    given = row("X1", "Rows", part("a", "One", "measure.split.divide"), part("b", "Two"))
    shown = [rows.Shown(row=given, part=one, idle=(), tests=()) for one in given.parts]
    assert [one.state for one in shown] == ["built, not covered", "not built"]
    text = render(shown)
    assert "| One | [`measure.split.divide`](../../operator/mandate/measure/split.py) | **not covered** |" in text
    assert "| Two | **not built** | – |" in text
    assert "| [X1](#x1) | Rows |  | 1 |  | 1 |" in text


def test_what_nothing_calls_is_no_finished_part() -> None:
    path, name = located("measure.split.divide")
    assert called(path, name)
    assert not called(path, "nothing")
    one = rows.Shown(
        row=ROWS[0], part=part("a", "One", "measure.split.divide"), idle=("measure.split.divide",), tests=("t",)
    )
    assert one.state == "nothing calls it yet"


@pytest.mark.parametrize("name", ["measure.split.divid", "measure.nowhere.at_all", "measure", "measure.split"])
def test_code_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(RowsError, match=f"'{name}' is no function or class"):
        located(name)


@pytest.mark.parametrize(
    ("change", "tests", "said"),
    [
        (part("labels", "More"), {}, "parts occur twice: .*G4/labels"),
        (part("new", "New", metrics="accuracies"), {}, "there is no metric accuracies"),
        (part("new", "New", baselines="Oracle"), {}, "there is no baseline Oracle"),
        (part("new", "New"), {"G4/other": ("t.py::test_x",)}, "there is no part G4/other"),
        (
            part("new", "New"),
            {"G4/new": ("t.py::test_x",)},
            "G4/new is said not to be built, but t.py::test_x shows it",
        ),
        (part("new", "New", until="def divide"), {}, "not to be built, but operator/mandate/.*'def divide'"),
        (part("new", "New", "cli.main", until="x"), {}, "has code and `until`"),
    ],
)
def test_a_table_that_the_code_contradicts_is_refused(change: rows.Part, tests: rows.Tests, said: str) -> None:
    first, *others = ROWS
    with pytest.raises(RowsError, match=said):
        check_complete([replace(first, parts=(*first.parts, change)), *others], tests)


def test_no_metric_and_no_baseline_is_left_out() -> None:
    first, *others = ROWS
    with pytest.raises(RowsError, match=r"has the metric .*accuracy, .*; add it to one"):
        check_complete([replace(first, parts=first.parts[1:]), *others], {})


def test_marks_are_read_from_functions_whatever_else_decorates_them(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    file = folder / "test_some.py"
    file.write_text(
        '@pytest.mark.row("G4/cost", "T1/parts")\n@pytest.mark.parametrize("x", [1])\nasync def test_one(x): ...\n'
        'class TestAll:\n    @pytest.mark.row("G4/cost")\n    def test_two(self): ...\n'
        '# @pytest.mark.row("G4/numbers")\ndef test_three(): ...\n'
    )
    one, two = "tests/test_some.py::test_one", "tests/test_some.py::test_two"
    assert marked(folder) == {"G4/cost": [one, two], "T1/parts": [one]}
    rows.tree.cache_clear()
    rows.source.cache_clear()
    file.write_text('@pytest.mark.row("G4/cost")\n@pytest.mark.skip("later")\ndef test_one(): ...\n')
    with pytest.raises(RowsError, match=r"test_some.py::test_one carries pytest.mark.row, and shows nothing"):
        marked(folder)


def test_a_metrics_tests_are_those_that_its_mutations_make_fail() -> None:
    shown = {f"{one.row.id}/{one.part.name}": one for one in gather(marks={})}
    assert "tests/peers/test_values.py::test_counts_of_a_binary_model" in shown["G4/labels"].tests
    assert shown["G4/by-class"].state == "built, not covered"
