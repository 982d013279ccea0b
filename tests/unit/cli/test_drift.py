"""`mandate profile` stores what `mandate drift` compares new data with."""

from __future__ import annotations

import copy
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from mandate.evidence.canonical import sha256
from mandate.measure.data.profile import loads
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, table


@pytest.fixture
def stored(project: Project) -> Project:
    """A project with profile.json, of the training rows."""
    assert project.run("profile", "-f", "model.yaml", "--out", "profile.json") == 0
    return project


def new(project: Project, rows: pa.Table) -> None:
    csv.write_csv(rows, project.folder / "new.csv")


@pytest.mark.row("D2/stored")
def test_the_profile_is_of_the_part_that_was_asked_for_and_has_a_digest(stored: Project) -> None:
    document = (stored.folder / "profile.json").read_bytes()
    assert stored.out.splitlines() == ["1 827 rows of train, 4 columns", f"digest: {sha256(document)}"]
    kept = loads(document)
    assert {name: column.kind for name, column in kept.columns.items()} == {
        "amount": "Number", "age": "Number", "sex": "Category", "risk": "Category"
    }  # fmt: skip
    stored.run("profile", "-f", "model.yaml", "--out", "again.json")
    assert (stored.folder / "again.json").read_bytes() == document


@pytest.mark.row("D2/names")
def test_texts_that_name_rows_are_not_stored(project: Project) -> None:
    model = copy.deepcopy(SPEC["model"]) | {"inputs": {"columns": ["amount", "age", "id"]}}
    project.manifest(model=model, task=SPEC["task"] | {"cluster": "sex"})
    assert project.run("profile", "-f", "model.yaml", "--out", "profile.json") == 0
    assert "left out 'id'" in project.err
    assert "left out 'sex'" in project.err
    text = (project.folder / "profile.json").read_text()
    assert '"a17"' not in text
    assert "female" not in text


def test_rows_of_production_are_profiled_as_the_evaluation_does(project: Project) -> None:
    new(project, table(2000, seed=5).drop_columns(["risk", "score"]))
    assert project.run("profile", "-f", "model.yaml", "--table", "new.csv", "--out", "june.json") == 0
    assert project.out.startswith("2 000 rows of new.csv, 3 columns\n")
    gate = {"name": "all-there", "metric": "unrepresented_groups", "require": {"Shadow": "<= 0"}}
    said = []
    for uri in ("june.json", "new.csv"):
        data = copy.deepcopy(SPEC["data"]) | {"production": {"uri": uri}}
        project.manifest(data=data, gates=[gate], autonomy={"target": "Shadow"})
        assert project.run("evaluate", "-f", "model.yaml", "-o", "json") == 0
        said.append(json.loads(project.out)["data"])
    assert said[0] == said[1]
    assert project.run("profile", "-f", "model.yaml", "--table", "new.csv", "--out", "new.csv") == 2
    assert project.run("profile", "-f", "model.yaml", "--table", "gone.csv", "--out", "p.json") == 2
    assert "--table: " in project.err


def test_new_data_like_the_old_is_0_and_changed_data_1(stored: Project) -> None:
    same = table(2000, seed=5)
    new(stored, same)
    assert stored.run("drift", "new.csv", "--reference", "profile.json") == 0
    assert "the new data beside the reference: of 4 columns none is distributed otherwise" in stored.out
    assert "Nothing was found." in stored.out
    amount = np.asarray(same.column("amount")) * 3
    new(stored, same.set_column(same.column_names.index("amount"), "amount", pa.array(amount)))
    assert stored.run("drift", "new.csv", "--reference", "profile.json") == 1
    assert "- Drift: 'amount' is distributed otherwise in the new data than in the reference" in stored.out


def test_every_form_says_the_same(stored: Project) -> None:
    rows = table(2000, seed=5)
    new(stored, rows.set_column(3, "sex", pa.array(["<script>alert(1)</script>"] * 2000)))
    forms = ("-o", "markdown=d.md", "-o", "html=d.html", "-o", "json")
    assert stored.run("drift", "new.csv", "--reference", "profile.json", *forms) == 1
    told = json.loads(stored.out)
    assert told["schema"] == "mandate.dev/drift/v1"
    assert told["reference"]["digest"] == sha256((stored.folder / "profile.json").read_bytes())
    codes = [finding["code"] for finding in told["data"]["findings"]]
    assert {"Drift", "UnseenCategory", "Constant"} == set(codes)
    page, words = ((stored.folder / name).read_text() for name in ("d.html", "d.md"))
    assert all(f"<td>{code}</td>" in page or f"<b>{code}</b>" in page for code in codes), page
    assert all(f"**{code}**" in words for code in codes)
    assert "<script>" not in page + words


def test_too_few_rows_are_3_not_0(stored: Project) -> None:
    new(stored, table(9, seed=5))
    assert stored.run("drift", "new.csv", "--reference", "profile.json") == 3
    assert "not looked at (TooFewRows)" in stored.out


def test_labels_that_come_later_age_and_volume(stored: Project) -> None:
    rows = table(2000, seed=5).drop_columns(["risk"])
    new(stored, rows.append_column("at", pa.array(["2020-01-01T00:00:00"] * 2000)))
    asked = ("drift", "new.csv", "--reference", "profile.json", "--without", "risk", "--id", "id")
    assert stored.run(*asked) == 0
    assert stored.run(*asked, "--time", "at", "--max-age", "7d", "--usual-rows", "10000") == 1
    assert "Stale: the newest 'at' of the new data is" in stored.out
    assert "FewRows: the new data has 2,000 rows, 10,000 are usual" in stored.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--reference", "nowhere.json"), "--reference nowhere.json: No such file"),
        (("--reference", "model.yaml"), "BadProfile: not a profile"),
        (
            ("--reference", "profile.json", "--without", "x"),
            "--without x: the reference has no such column; it has 'age'",
        ),
        (("--reference", "profile.json", "--max-age", "7d"), "--max-age and --time: give both"),
        (("--reference", "profile.json", "--max-age", "7 days", "--time", "age"), "--max-age 7 days: expected"),
        (("--reference", "profile.json", "--usual-rows", "0"), "0: expected a whole number of rows above 0"),
        (("--reference", "profile.json", "--cluster", "who"), "MissingColumn"),
    ],
)
def test_what_cannot_be_used_is_2(stored: Project, arguments: tuple[str, ...], words: str) -> None:
    new(stored, table(2000, seed=5))
    assert stored.run("drift", "new.csv", *arguments) == 2
    assert words in stored.err


def test_a_profile_never_overwrites_what_is_read(project: Project) -> None:
    for name in ("loans.csv", "model.yaml"):
        assert project.run("profile", "-f", "model.yaml", "--out", name) == 2
        assert "would overwrite what is read" in project.err
    data = copy.deepcopy(SPEC["data"]) | {
        "split": {"method": "Random", "train": "0", "validation": "0.5", "test": "0.5"}
    }
    project.manifest(
        data=data, baselines=[], gates=[{"name": "g", "metric": "recall", "require": {"Shadow": ">= 0.2"}}]
    )
    assert project.run("profile", "-f", "model.yaml", "--out", "p.json") == 2
    assert "--part train: has no rows; there are validation, test" in project.err
