"""A project folder with a table of loans and a manifest whose answers are a column of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import csv

from mandate.cli import main
from tests.unit.report.sample import SPEC, table


class Project:
    """`run` runs a command in the folder; `out` and `err` hold what the last one said."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.out = self.err = ""
        self._capture = capture

    def manifest(self, *, name: str = "model.yaml", **parts: Any) -> Path:
        """Write SPEC with top-level parts replaced."""
        document = {
            "apiVersion": "mandate.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "credit"},
            "spec": copy.deepcopy(SPEC) | parts,
        }
        return self.write(name, yaml.safe_dump(document))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, *arguments: str | Path) -> int:
        """The exit code of `mandate ARGUMENTS`."""
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        self.out, self.err = self._capture.readouterr()
        return code


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    csv.write_csv(table(), tmp_path / "loans.csv")
    made = Project(tmp_path, capsys)
    made.manifest()
    return made
