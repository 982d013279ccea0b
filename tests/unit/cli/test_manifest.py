"""Manifests are read as strictly as the API server reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mandate.api.check import SpecError
from mandate.cli.errors import InputError
from mandate.cli.manifest import read
from tests.unit.cli.conftest import Project

HEAD = "apiVersion: mandate.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: credit}\n"


def test_other_documents_are_passed_over(project: Project) -> None:
    own = (project.folder / "model.yaml").read_text()
    path = project.write("all.yaml", f"apiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n---\n---\n{own}")
    assert read(path).name == "credit"


def test_one_of_several_is_named(project: Project) -> None:
    own = (project.folder / "model.yaml").read_text()
    path = project.write("two.yaml", f"{own}---\n{own.replace('name: credit', 'name: fraud')}")
    with pytest.raises(InputError, match=r"holds 2 ModelDeployments \(credit, fraud\); say which with --name"):
        read(path)
    assert read(path, name="fraud").name == "fraud"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no ModelDeployment"),
        ("just text", "expected a mapping with apiVersion, kind, metadata and spec"),
        ("kind: ModelDeployment\n", "apiVersion: got None, expected 'mandate.dev/v1alpha1'"),
        ("apiVersion: v1\n", "kind: is required"),
        (HEAD.replace("v1alpha1", "v1"), "mandate.dev has no other version"),
        (HEAD, "spec: is required"),
        (HEAD + "sepc: {}\n", "sepc: unknown field"),
        (HEAD.replace("credit", "Credit_1") + "spec: {}\n", "metadata.name: got 'Credit_1'"),
        (HEAD.replace("{name: credit}", "{}") + "spec: {}\n", "metadata.name: got None"),
        (HEAD.replace("credit", "c" * 41) + "spec: {}\n", "at most 40 fit"),
        (HEAD + "spec:\n  task: {}\n  task: {}\n", "model.yaml:6:3: 'task' stands twice"),
        (HEAD + "spec: {task: {type: Binary, type: Multiclass}}\n", "'type' stands twice"),
        (HEAD + "spec: {1: x}\n", "key '1' is read as 1; put it in quotes"),
        (HEAD + "spec: {on: x}\n", "key 'on' is read as True; put it in quotes"),
        (HEAD + "spec: [\n", "model.yaml:"),
        (HEAD + "spec: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        (HEAD + "spec: " + "[" * 5000, "model.yaml"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(project: Project, text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        read(project.write("model.yaml", text))
    assert words in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="isn't UTF-8"):
        read(path)


def test_a_file_too_large_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match="is it the manifest"):
        read(path)


def test_every_problem_of_the_spec_is_told(project: Project) -> None:
    project.manifest(task={"type": "Binary", "target": "risk", "positiv": "bad"})
    with pytest.raises(SpecError) as error:
        read(project.folder / "model.yaml")
    assert "spec.task.positiv: unknown field; did you mean positive?" in str(error.value)
    assert project.run("evaluate", "-f", "model.yaml") == 2
    assert "mandate: spec.task.positiv: unknown field; did you mean positive?" in project.err


def test_kserve_takes_shorter_names(project: Project) -> None:
    own = (project.folder / "model.yaml").read_text().replace("name: credit", f"name: {'c' * 38}")
    assert read(project.write("long.yaml", own)).name == "c" * 38
    by_kserve = project.write("kserve.yaml", own + "  serving: {provider: KServe}\n")
    with pytest.raises(InputError, match="has 38 characters, at most 37 fit with the provider KServe"):
        read(by_kserve)
