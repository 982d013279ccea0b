"""What CI reads: JUnit XML, GitHub's annotations; and that no printed form commands a runner."""

from __future__ import annotations

import dataclasses
import re

import pytest

from mandate.report import document, github, html, junit, markdown, model_card, text
from mandate.report.content import Obstacle
from tests.unit.report import junit_schema
from tests.unit.report.runner import commands
from tests.unit.report.sample import crowd, judged, report, table
from tests.unit.report.test_content import BROKEN, FAILING, OPEN, PASSING, with_gates
from tests.unit.report.test_formats import hostile


def test_junit_has_a_suite_per_level_and_a_case_per_gate() -> None:
    told = report()
    root = junit_schema.read(junit.render(told))
    assert [suite.get("name") for suite in root] == list(told.levels)
    for suite in root:
        asked = {gate.name: gate.at(suite.get("name")) for gate in told.gates}  # type: ignore[arg-type]
        cases = {case.get("name"): case for case in suite.iter("testcase")}
        assert set(cases) == {name for name, at in asked.items() if at is not None}
        for name, case in cases.items():
            at = asked[str(name)]
            assert at is not None
            blocks = [child for child in case if child.tag in ("failure", "error")]
            assert bool(blocks) == (not at.holds), name
            assert [child.get("type") for child in blocks] == [at.verdict] * len(blocks)


@pytest.mark.parametrize(
    ("gate", "tag", "level"),
    [
        (FAILING, "failure", "Suggest"),
        (OPEN, "failure", "Suggest"),
        (BROKEN, "error", "Suggest"),
        ({**OPEN, "require": {"Shadow": ">= 0.68"}}, "system-out", "Shadow"),
        ({**BROKEN, "firstModel": "Skip"}, "skipped", "Suggest"),
    ],
)
def test_junit_says_what_a_verdict_means(gate: dict[str, object], tag: str, level: str) -> None:
    from tests.unit.report.sample import evidence

    root = junit_schema.read(junit.render(judged(with_gates(PASSING, gate, target=level), evidence())))
    (case,) = [
        case
        for case in root.iter("testcase")
        if case.get("name") == gate["name"] and level in case.get("classname", "")
    ]
    assert [child.tag for child in case] == [tag]
    (passing,) = [
        case
        for case in root.iter("testcase")
        if case.get("name") == "beats-prior" and level in case.get("classname", "")
    ]
    assert list(passing) == []


def test_junit_holds_what_xml_cannot() -> None:
    root = junit_schema.read(junit.render(hostile()))
    words = " ".join([*root.itertext(), *(value for item in root.iter() for value in item.attrib.values())])
    assert "<script>alert(1)</script>" in words
    assert not set("\x00\x08\x1b\u202e\ufffe\ud800") & set(words)


def test_junit_of_a_crowd_is_cut_and_says_so() -> None:
    source = junit.render(crowd())
    junit_schema.read(source)
    assert len(source.encode()) < 300_000
    assert source.count("more, none worse") == 9, "of the tenth gate everything passes"


def test_annotations_are_read_back_as_they_were_meant() -> None:
    told = report()
    first = dataclasses.replace(told.obstacles[0], message="50%0A of 100%25")
    told = dataclasses.replace(told, obstacles=(first, *told.obstacles[1:]))
    lines = {obstacle.gate: 10 + place for place, obstacle in enumerate(told.obstacles)}
    head, *found = commands(github.render(told, file="models/a, b::c%2C.yaml", lines=lines))
    assert (head.name, head.message) == ("error", told.answer)
    assert head.properties == {"title": told.headline, "file": "models/a, b::c%2C.yaml"}
    assert len(found) == len(told.obstacles)
    for command, obstacle in zip(found, told.obstacles, strict=True):
        assert command.name == ("warning" if obstacle.verdict == "Inconclusive" else "error")
        assert command.properties["line"] == str(lines[obstacle.gate])
        assert f"{obstacle.gate} is {obstacle.verdict} at {obstacle.level}" in command.properties["title"]
        assert command.message == f"{obstacle.message}. What to do: {obstacle.step}"


def test_what_holds_is_a_notice_and_nothing_more() -> None:
    from tests.unit.report.sample import evidence

    (only,) = commands(github.render(judged(with_gates(PASSING), evidence()), file=None))
    assert only.name == "notice"
    assert only.properties == {"title": "credit 7 may Automate"}


def test_annotations_keep_to_what_github_shows() -> None:
    many = tuple(
        Obstacle(level="Shadow", gate=f"gate-{place}", verdict=verdict, message="m", step="s")  # type: ignore[arg-type]
        for verdict in ("Fail", "Inconclusive")
        for place in range(15)
    )
    head, *found = commands(github.render(dataclasses.replace(report(), obstacles=many)))
    names = [head.name, *(command.name for command in found)]
    assert (names.count("error"), names.count("warning")) == (10, 10)
    assert "11 more that stand in the way found no room here" in head.message


def test_names_write_no_annotations_of_their_own() -> None:
    source = github.render(hostile(), file="model.yaml", lines={"recall": 3})
    found = commands(source)
    assert [command.name for command in found] == ["error", "error"] == [line[2:7] for line in source.splitlines()], (
        "one line, one command, each ours"
    )
    assert all(set(command.properties) <= {"title", "file", "line"} for command in found)
    assert "<script>" in found[1].message


@pytest.mark.parametrize("form", [text, document, markdown, model_card, html, junit])
def test_what_is_printed_commands_no_runner(form: object) -> None:
    """Values of slices stand at the start of a text table's rows, where a runner looks for `::`."""
    told = hostile()
    rows = tuple(dataclasses.replace(row, value="::add-mask::a") for row in told.slices[0].rows)
    told = dataclasses.replace(told, slices=(dataclasses.replace(told.slices[0], rows=rows),))
    source = form.render(told)  # type: ignore[attr-defined]
    assert "add-mask" in source
    assert commands(source) == []


@pytest.mark.row("R3/no-rows")
@pytest.mark.parametrize("form", [text, document, markdown, model_card, html, junit, github])
def test_no_row_of_the_data_is_told(form: object) -> None:
    """Neither ids nor amounts of single rows, in any form."""
    source = form.render(report())  # type: ignore[attr-defined]
    assert not re.search(r"(?<![0-9a-z])a\d{1,4}(?![0-9a-z])", source)
    amounts = {f"{amount}" for amount in table()["amount"].to_pylist()}
    assert not amounts & set(re.findall(r"\d+\.\d+", source))
