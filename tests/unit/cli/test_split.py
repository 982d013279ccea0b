"""`mandate split` gives training the very rows that the evaluation uses."""

from __future__ import annotations

import copy
import json

import pytest
from pyarrow import csv, parquet

from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, evidence


@pytest.mark.row("G8/command")
def test_sizes_and_digest_are_the_evaluations(project: Project) -> None:
    assert project.run("split", "-f", "model.yaml", "--json") == 0
    told = json.loads(project.out)
    assert told["digest"] == evidence().computed.inputs.split
    assert told["rows"] == evidence().computed.rows


def test_the_digest_can_be_declared(project: Project) -> None:
    project.run("split", "-f", "model.yaml", "--json")
    digest = json.loads(project.out)["digest"]
    project.manifest(model=copy.deepcopy(SPEC["model"]) | {"training": {"splitDigest": digest}})
    project.run("evaluate", "-f", "model.yaml")
    assert "Proven: model.training.splitDigest is this split's digest" in project.out


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_parts_are_written_row_by_row(project: Project, suffix: str) -> None:
    assert project.run("split", "-f", "model.yaml", "--out", f"parts.{suffix}") == 0
    path = project.folder / f"parts.{suffix}"
    table = csv.read_csv(path) if suffix == "csv" else parquet.read_table(path)
    assert table.column_names == ["id", "part"]
    assert table.column("id").to_pylist() == [f"a{row}" for row in range(3000)]
    parts = table.column("part").to_pylist()
    assert {part: parts.count(part) for part in ("train", "validation", "test")} == {
        part: count for part, count in evidence().computed.rows.items() if part != "none"
    }


def test_people_read_shares(project: Project) -> None:
    assert project.run("split", "-f", "model.yaml") == 0
    train, *_, digest = project.out.splitlines()
    assert train.split() == ["train", "1", "827", "60.9%"]
    assert digest == f"splitDigest: {evidence().computed.inputs.split}"


def test_a_format_nobody_knows_is_refused(project: Project) -> None:
    assert project.run("split", "-f", "model.yaml", "--out", "parts.xlsx") == 2
    assert "expected .parquet or .csv" in project.err
