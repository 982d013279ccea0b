"""`mandate evaluate` where decisions hide outcomes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, table
from tests.unit.report.test_content import PASSING


@pytest.fixture
def loans(project: Project) -> Project:
    """Nobody learns whether those would have repaid who were refused."""
    rows = table()
    score = np.array(rows["score"])
    chance = np.clip(1.1 - score, 0.05, 1).round(6)
    approved = np.random.default_rng(5).random(len(score)) < chance
    risk = [value if known else None for value, known in zip(rows["risk"].to_pylist(), approved, strict=True)]
    rows = rows.set_column(rows.column_names.index("risk"), "risk", pa.array(risk))
    rows = rows.append_column("decision", pa.array(np.where(approved, "approve", "refuse")))
    csv.write_csv(rows.append_column("p", pa.array(chance)), project.folder / "loans.csv")
    return project


def evaluated(project: Project, labels: dict[str, Any] | None, tier: str = "Medium") -> dict[str, Any]:
    declared = (
        {} if labels is None else {"labels": {"revealedBy": {"column": "decision", "values": ["approve"]}, **labels}}
    )
    project.manifest(
        task=SPEC["task"] | declared,
        useCase={"riskTier": tier},
        gates=[PASSING],
        autonomy={"target": "Suggest"},
    )
    code = project.run("evaluate", "-f", "model.yaml", "-o", "json")
    return {"code": code} | (json.loads(project.out) if project.out else {})


@pytest.mark.row("P5/corrected")
def test_the_whole_path(loans: Project) -> None:
    marked = evaluated(loans, {})
    assert marked["code"] == 0
    assert "of the accepted only" in marked["answer"]
    assert marked["labels"].startswith("of the accepted only")
    assert [gate["name"] for gate in marked["gates"]] == ["beats-prior", "revealed-labels"]
    weighted = evaluated(loans, {"propensity": "p"})
    assert weighted["labels"].startswith("Weighted")
    assert "accepted" not in weighted["answer"]


def test_tier_high_asks_for_everyone(loans: Project) -> None:
    found = evaluated(loans, {}, tier="High")
    assert (found["code"], found["reached"]) == (1, "Shadow")
    assert any("task.labels.holdout" in step for step in found["steps"])


def test_without_it_every_row_must_have_a_label(loans: Project) -> None:
    assert evaluated(loans, None)["code"] == 2
    assert "MissingLabels" in loans.err
    assert "task.labels" in loans.err


def test_a_column_that_is_not_there_is_named(loans: Project) -> None:
    assert evaluated(loans, {"propensity": "chance"})["code"] == 2
    assert "spec.task.labels.propensity" in loans.err
