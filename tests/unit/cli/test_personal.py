"""Columns in data.personal: planted values that must occur in nothing that comes out, whatever quotes values."""

import copy
import json
import re
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import csv, parquet

from mandate.cli import main
from mandate.cli.parser import FORMATS
from tests.unit.cli.conftest import Project

BASE = 73_519_846_000
"""Of planted numbers: whatever shows their first digits shows them."""
CANARY = re.compile(r"canary|735\d?19846|7\.35(2|19\d*)e\+10|7[.,]?3[.,]?5[.,]?19[.,]?8", re.IGNORECASE)
PERSONAL = ["application", "region", "income", "customer", "row", "annotator", "letter"]


def rows(count: int, *, seed: int, regions: str, beyond: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    amount = random.normal(size=count)
    bad = random.random(count) < 1 / (1 + np.exp(-2 * amount))
    score = 1 / (1 + np.exp(-2 * amount - random.normal(0, 0.3, count)))
    region = random.choice(list(regions), count)
    score[region == "a"] = 1 - score[region == "a"]
    return pa.table(
        {
            "application": [f"CANARY-ID-{seed}-{row}" for row in range(count)],
            "region": [f"CANARY-REGION-{letter}" for letter in region],
            "letter": [f"CANARY-LETTER-{random.integers(300)}" for _ in range(count)],
            "income": BASE + 7 * random.integers(0, 900, count) + 4000 * bad + beyond * (random.random(count) < 0.2),
            "amount": amount,
            "customer": [f"CANARY-CUSTOMER-{(1 if beyond else seed) * 10_000 + row // 2}" for row in range(count)],
            "purpose": random.choice(["car", "home"], count),
            "score": score,
            "old": np.clip(score + random.normal(0, 0.2, count), 0.01, 0.99),
            "risk": np.where(bad, "bad", "good"),
        }
    )


SPEC = {
    "useCase": {"decision": "Approve a loan", "owner": "credit-models"},
    "model": {
        "version": "7",
        "source": {"columns": ["score"]},
        "inputs": {"columns": ["amount", "income", "letter", "region", "purpose"]},
    },
    "task": {"type": "Binary", "target": "risk", "positive": "bad", "id": "application", "cluster": "customer"},
    "data": {
        "train": {"uri": "train.parquet"},
        "validation": {"uri": "validation.parquet"},
        "test": {"uri": "test.parquet"},
        "production": {"uri": "production.parquet"},
        "annotations": {"uri": "said.parquet", "row": "row", "annotator": "annotator", "label": "label"},
        "slices": [
            {"name": "region", "column": "region", "sensitive": True},
            {"name": "income", "column": "income", "quantiles": 4},
            {"name": "letter", "column": "letter"},
            {"name": "both", "cross": ["region", "income"]},
            {"name": "purpose", "column": "purpose"},
        ],
        "search": {"columns": ["income", "letter", "amount"], "minRows": 30},
        "domainClassifier": {},
    },
    "baselines": [
        {"name": "rule", "type": "Threshold"},
        {"name": "linear", "type": "Linear"},
        {"name": "people", "type": "Human"},
        {"name": "old", "type": "Column", "column": "old"},
    ],
    "gates": [
        {
            "name": "ranking",
            "metric": "roc_auc",
            "each": ["overall", "region", "both"],
            "require": {"Shadow": ">= 0.55"},
        },
        {"name": "rule", "metric": "accuracy", "require": {"Shadow": "better than rule"}},
        {
            "name": "fair",
            "metric": "selection_rate",
            "across": "region",
            "as": "ratio",
            "require": {"Shadow": ">= 0.9"},
        },
        {"name": "people", "metric": "accuracy", "require": {"Suggest": "better than people"}},
        {"name": "groups", "metric": "unrepresented_groups", "require": {"Suggest": "<= 0"}},
        {"name": "clean", "metric": "data_faults", "require": {"Suggest": "<= 0"}},
    ],
    "autonomy": {"target": "Suggest"},
}


def plant(folder: Path) -> None:
    parquet.write_table(rows(600, seed=1, regions="aabbbc"), folder / "train.parquet")
    parquet.write_table(rows(300, seed=2, regions="aabbbc"), folder / "validation.parquet")
    tested = rows(600, seed=3, regions="aaaa" + "b" * 14 + "de", beyond=90_000)
    parquet.write_table(tested, folder / "test.parquet")
    parquet.write_table(rows(600, seed=4, regions="fffab", beyond=50_000), folder / "production.parquet")
    ids = tested["application"].to_pylist()[:100]
    said = pa.table(
        {
            "row": ids * 2,
            "annotator": ["CANARY-ANN"] * 100 + ["CANARY-BOB"] * 100,
            "label": tested["risk"].to_pylist()[:100] * 2,
        }
    )
    parquet.write_table(said, folder / "said.parquet")


@pytest.fixture
def planted(project: Project) -> Project:
    plant(project.folder)
    return project


def declared(personal: list[str], **data) -> dict:
    spec = copy.deepcopy(SPEC)
    spec["data"] |= {"personal": personal} if personal else {}
    spec["data"] = {field: said for field, said in (spec["data"] | data).items() if said is not None}
    return spec


def everything(folder: Path, manifest: dict) -> tuple[int, dict[str, str]]:
    """The exit code of `mandate evaluate`, and what it says and writes, by form."""
    written = {form: folder / f"out.{form}" for form in FORMATS}
    (folder / "model.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "mandate.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": "credit"},
                "spec": manifest,
            }
        )
    )
    asked = [argument for form, path in written.items() for argument in ("-o", f"{form}={path}")]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(["evaluate", "-f", str(folder / "model.yaml"), *asked])
    said = {form: path.read_text() for form, path in written.items() if path.exists()}
    return code, said | {"stdout": out.getvalue(), "stderr": err.getvalue()}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """What comes of the same rows where nothing is declared, and where all is."""
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    outcomes = [everything(folder, declared(personal)) for personal in ([], PERSONAL)]
    assert [code for code, _ in outcomes] == [1, 1], outcomes[1][1]["stderr"]
    return outcomes[0][1], outcomes[1][1]


def computed(said: dict[str, str]) -> dict:
    return json.loads(said["evidence"])["computed"]


@pytest.mark.row("R3/personal")
def test_no_planted_value_is_told_by_anything(told) -> None:
    plain, withheld = told
    assert CANARY.search(plain["evidence"]), "undeclared, they are told"
    assert {*withheld} == {*FORMATS, "stdout", "stderr"}
    for form, text in withheld.items():
        assert not CANARY.search(text), (form, CANARY.search(text))
        if form not in ("stdout", "stderr", "evidence", "github"):
            assert "(values withheld)" in text, form


@pytest.mark.row("R3/personal")
def test_everything_that_quotes_values_had_something_to_quote(told) -> None:
    """Else nothing would be shown by finding no value in it."""
    found = computed(told[1])
    codes = {"BeyondRange", "UnseenCategory", "UnrepresentedGroup", "OutsideTraining", "Drift", "SharedEntities"}
    assert codes <= {*found["data"]["counts"]}
    values = {item["quantity"].get("value") for item in found["estimates"]}
    assert {"group 1", "range 2 of 4", "group 1 × range 1 of 4"} <= values
    assert "a cut-off that is withheld" in json.dumps(found["learnt"])
    assert any("in test and not in train" in finding for finding in found["findings"])
    assert any(item["quantity"]["metric"] == "cohen_kappa" for item in found["estimates"])
    sides = {side["name"] for item in found["weakest"]["slices"] for side in item["sides"]}
    assert "region" in sides
    assert {*found["weakest"]["columns"]} == {"region", "income", "purpose", "amount"}
    assert "edges" not in found


@pytest.mark.row("R3/personal")
def test_declaring_changes_names_and_no_number(told) -> None:
    plain, withheld = map(computed, told)

    def numbers(found: dict, *, sliced: bool) -> list[str]:
        listed = []
        for item in found["estimates"]:
            quantity = {name: value for name, value in item["quantity"].items() if name != "value"}
            if sliced == ("slice" in quantity or "across" in quantity) and "fault" not in item:
                listed.append(json.dumps([quantity, item["estimate"], item.get("reference"), item["support"]]))
        return sorted(listed)

    assert numbers(plain, sliced=False) == numbers(withheld, sliced=False)
    some, every = numbers(withheld, sliced=True), numbers(plain, sliced=True)
    assert len(some) > 300
    assert {*some} <= {*every}
    assert plain["data"]["comparisons"] == withheld["data"]["comparisons"]
    assert plain["data"]["counts"] == withheld["data"]["counts"]
    assert plain["inputs"] == withheld["inputs"] | {"settings": plain["inputs"]["settings"]}
    assert plain["inputs"]["settings"] != withheld["inputs"]["settings"], "it is measured again"


@pytest.mark.row("R3/personal")
def test_few_people_are_told_of_by_no_number(told) -> None:
    """Rows of one customer are one person, who has two."""
    few, many = Counter(), Counter()
    for item in computed(told[1])["estimates"]:
        quantity = item["quantity"]
        if (
            quantity["metric"] == "accuracy"
            and quantity["slice"] in ("region", "both", "income")
            and "value" in quantity
        ):
            told_of = item.get("fault", {}).get("code") != "TooFewPeople"
            (many if told_of else few)[quantity["value"], quantity.get("versus")] += 1
            if told_of:
                assert item["support"].get("clusters", 0) >= 10 or "fault" in item
    assert few
    assert many
    assert not {*few} & {*many}


def changed(table: pa.Table, name: str, values) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def twice(table: pa.Table) -> pa.Table:
    return changed(table, "application", ["CANARY-ID"] * table.num_rows)


def bytes_in(table: pa.Table) -> pa.Table:
    return changed(table, "region", [b"CANARY\xff"] * table.num_rows)


def lists_in(table: pa.Table) -> pa.Table:
    return changed(table, "region", [["CANARY"]] * table.num_rows)


def texts_in(table: pa.Table) -> pa.Table:
    return changed(table, "income", [f"CANARY{row}" for row in range(table.num_rows)])


@pytest.mark.row("R3/personal")
@pytest.mark.parametrize("spoil", [twice, bytes_in, lists_in, texts_in])
def test_no_planted_value_is_told_by_a_failure(planted: Project, spoil) -> None:
    for name in ("train", "validation", "test"):
        path = planted.folder / f"{name}.parquet"
        parquet.write_table(spoil(parquet.read_table(path)), path)
    code, told = everything(planted.folder, declared(PERSONAL))
    assert code in (1, 2, 3)
    assert "".join(told.values()).strip()
    for form, text in told.items():
        assert not CANARY.search(text), (form, text[:2000])


@pytest.mark.row("R3/personal")
def test_no_planted_value_is_told_of_people_who_labelled_a_row_twice(planted: Project) -> None:
    path = planted.folder / "said.parquet"
    said = parquet.read_table(path)
    parquet.write_table(pa.concat_tables([said, said]), path)
    _, told = everything(planted.folder, declared(PERSONAL, domainClassifier=None))
    assert "DuplicateAnnotation" in told["evidence"]
    assert "data.annotations: (withheld) labelled a row twice" in told["evidence"]
    assert not CANARY.search("".join(told.values()))


@pytest.mark.row("R3/personal")
def test_no_planted_value_is_told_of_a_table_that_cannot_be_read(planted: Project) -> None:
    table = parquet.read_table(planted.folder / "train.parquet")
    commas = changed(table, "income", [f"73519846,{row}" for row in range(table.num_rows)])
    for name in ("train", "validation", "test"):
        csv.write_csv(commas, planted.folder / f"{name}.csv")
    tables = {name: {"uri": f"{name}.csv"} for name in ("train", "validation", "test")}
    code, told = everything(planted.folder, declared(PERSONAL, **tables))
    assert code == 2
    assert "DecimalComma" in told["stderr"]
    assert "'income'" in told["stderr"], "the column is named"
    assert not CANARY.search("".join(told.values()))
    assert planted.run("profile", "-f", "model.yaml", "--table", "train.csv", "--out", "p.json") == 2
    assert "DecimalComma" in planted.err
    assert not CANARY.search(planted.out + planted.err)
    planted.manifest(**declared([], train={"uri": "train.parquet"}))
    assert planted.run("profile", "-f", "model.yaml", "--table", "train.parquet", "--out", "p.json") == 0
    drift = ["drift", "train.csv", "--reference", "p.json", "--id", "application", "--personal", "income"]
    assert planted.run(*drift) == 2
    assert "DecimalComma: train.csv: column 'income' holds numbers with a comma, such as (withheld)" in planted.err
    drift[1] = "test.parquet"
    assert planted.run(*drift, "--personal", "letter", "--personal", "region", "-o", "json=d.json") in (0, 1, 3)
    assert not CANARY.search(planted.out + planted.err + (planted.folder / "d.json").read_text())


@pytest.mark.row("R3/personal")
def test_a_profile_holds_nothing_of_personal_columns(planted: Project) -> None:
    planted.manifest(**declared(PERSONAL))
    assert planted.run("profile", "-f", "model.yaml", "--out", "profile.json") == 0, planted.err
    assert "left out 'income': it is personal" in planted.err
    assert not CANARY.search(planted.out + planted.err + (planted.folder / "profile.json").read_text())
    assert planted.run("drift", "--reference", "profile.json", "test.parquet", "--id", "application") in (0, 1, 3)
    assert not CANARY.search(planted.out + planted.err)
    _, told = everything(planted.folder, declared(PERSONAL, production={"uri": "profile.json"}))
    assert "isn't in production's rows" in told["evidence"], "what isn't compared is said"
    assert not CANARY.search("".join(told.values()))


@pytest.mark.row("R3/personal")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("risk", "'risk' is task.target, which can't be withheld"),
        ("score", "'score' is model.source.columns, which can't be withheld"),
        ("old", "'old' is baselines[old].column, which can't be withheld"),
        ("label", "'label' is data.annotations.label, which can't be withheld"),
        ("incmoe", "data.personal names the column 'incmoe', which no table has"),
    ],
)
def test_what_cannot_be_withheld_is_refused(planted: Project, name: str, why: str) -> None:
    planted.manifest(**declared([*PERSONAL, name]))
    assert planted.run("evaluate", "-f", "model.yaml") == 2
    assert why in planted.err
    assert "data.personal" in planted.err


@pytest.mark.row("R3/personal")
def test_names_that_look_personal_are_a_note(project: Project) -> None:
    table = csv.read_csv(project.folder / "loans.csv")
    csv.write_csv(table.append_column("home_address", table["sex"]), project.folder / "loans.csv")
    spec = json.loads(json.dumps({"inputs": {"columns": ["amount", "age", "home_address"]}}))
    project.manifest(model={"version": "7", "source": {"columns": ["score"]}} | spec)
    project.run("evaluate", "-f", "model.yaml", "-o", "json=told.json")
    note = "personal by their names, but not in data.personal: 'home_address'"
    report = json.loads((project.folder / "told.json").read_text())
    assert any(note in finding for finding in report["findings"])
    assert "data_faults" not in str(report["obstacles"])


@pytest.mark.row("R3/personal")
def test_init_proposes_what_looks_personal(project: Project) -> None:
    table = csv.read_csv(project.folder / "loans.csv")
    csv.write_csv(table.append_column("Email", table["id"]).append_column("birthDate", table["sex"]), "people.csv")
    assert project.run("init", "people.csv", "--target", "risk", "--model", "m.onnx") == 0, project.err
    assert "    personal: [Email, birthDate]  # by their names" in project.out
    project.write("people.yaml", project.out)
    assert project.run("split", "-f", "people.yaml", "--json") == 0, project.err
