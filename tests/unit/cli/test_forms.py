"""Reports for CI from real runs: each form where it is sent, annotations at the gates' lines, history from a status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mandate.cli.manifest import gate_lines, read
from tests.unit.cli.conftest import Project
from tests.unit.report import junit_schema
from tests.unit.report.runner import commands


def test_one_measurement_is_told_in_every_form(project: Project) -> None:
    files = {"html": "r.html", "junit": "r.xml", "model-card": "README.md", "markdown": "r.md", "json": "r.json"}
    outputs = [item for form, file in files.items() for item in ("-o", f"{form}={file}")]
    assert project.run("evaluate", "-f", "model.yaml", *outputs, "-o", "github", "-o", "evidence=e.json") == 1
    headline = "credit 7 may run in Shadow, not Automate"
    texts = {form: (project.folder / file).read_text() for form, file in files.items()}
    assert all(headline in text for text in texts.values())
    junit_schema.read(texts["junit"])
    found = commands(project.out)
    assert len(found) == len(project.out.splitlines())
    assert found[0].properties == {"title": headline, "file": "model.yaml"}
    # Judged anew, the same evidence says the same.
    first = project.out
    assert project.run("report", "-f", "model.yaml", "-e", "e.json", "-o", "github") == 1
    assert project.out == first


def test_annotations_stand_at_the_gates(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "github")
    lines = (project.folder / "model.yaml").read_text().splitlines()
    stand = {
        command.properties["title"].split()[2]: command.properties.get("line") for command in commands(project.out)[1:]
    }
    assert set(stand) == {"recall", "ranking"} | (set(stand) & {"fair"})
    for gate, line in stand.items():
        block = "\n".join(lines[int(str(line)) - 1 : int(str(line)) + 8])
        assert lines[int(str(line)) - 1].lstrip().startswith("- ")
        assert f"name: {gate}\n" in block


def test_lines_are_those_of_the_model_that_was_asked_for(project: Project) -> None:
    one = yaml.safe_load((project.folder / "model.yaml").read_text())
    two = {**one, "metadata": {"name": "other"}}
    path = project.write("both.yaml", yaml.safe_dump_all([two, {"kind": "Secret", "apiVersion": "v1"}, one]))
    text = path.read_text()
    found = gate_lines(read(path, name="credit"))
    assert set(found) == {"beats-prior", "ranking", "recall", "fair"}
    assert min(found.values()) > text[: text.index("kind: Secret")].count("\n")
    assert max(gate_lines(read(path, name="other")).values()) < text[: text.index("kind: Secret")].count("\n")


def test_built_in_gates_stand_nowhere(project: Project) -> None:
    project.manifest(gates=[], baselines=[])
    project.run("evaluate", "-f", "model.yaml", "-o", "github")
    assert all("line" not in command.properties for command in commands(project.out))


@pytest.mark.parametrize(("workspace", "file"), [("..", "{folder}/model.yaml"), (".", "model.yaml"), ("gone", None)])
def test_files_are_named_from_the_repository(
    project: Project, monkeypatch: pytest.MonkeyPatch, workspace: str, file: str | None
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str((project.folder / workspace).resolve()))
    project.run("evaluate", "-f", "model.yaml", "-o", "github")
    expected = None if file is None else file.format(folder=project.folder.name)
    assert {command.properties.get("file") for command in commands(project.out)} == {expected}


def with_status(project: Project, history: Any) -> Path:
    document = yaml.safe_load((project.folder / "model.yaml").read_text())
    return project.write("live.yaml", yaml.safe_dump({**document, "status": {"history": history}}))


def test_history_comes_with_the_cluster_s_own_manifest(project: Project) -> None:
    change = {"at": "2026-01-08T00:00:00Z", "what": "Promoted", "by": "jane", "version": "6", "newer": "field"}
    with_status(project, [change])
    project.run("evaluate", "-f", "live.yaml", "-o", "model-card")
    assert "| 2026-01-08T00:00:00Z | Promoted 6 |" in project.out


@pytest.mark.parametrize("history", ["x", [1], [{"what": "Promoted"}], {"a": 1}])
def test_a_history_that_is_none_is_refused(project: Project, history: Any) -> None:
    with_status(project, history)
    assert project.run("evaluate", "-f", "live.yaml") == 2
    assert "status.history" in project.err
