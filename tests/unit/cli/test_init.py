"""`mandate init`: what it writes can be evaluated at once, and says what it guessed."""

from __future__ import annotations

import copy

import pytest
import yaml

from mandate.api.check import load_spec
from mandate.cli.manifest import read
from tests.unit.cli.conftest import Project


def test_a_table_becomes_a_manifest_that_runs(project: Project) -> None:
    assert project.run("init", "loans.csv", "--target", "risk", "--out", "new.yaml") == 0
    text = (project.folder / "new.yaml").read_text()
    assert 15 <= len(text.splitlines()) <= 32
    made = read(project.folder / "new.yaml")
    assert made.name == "loans"
    assert (made.spec.task.type, made.spec.task.positive, made.spec.task.id) == ("Binary", "bad", "id")
    assert "positive: the rarer class" in text
    assert "id: id is different on every row" in text
    assert [(item.name, item.sensitive) for item in made.spec.data.slices] == [("age", True), ("sex", True)]
    assert made.spec.model.inputs is not None
    assert set(made.spec.model.inputs.columns) == {"amount", "age", "sex", "score"}
    # With the score taken as the model's answer, the very manifest can be evaluated.
    document = yaml.safe_load(text)
    document["spec"]["model"]["source"] = {"columns": ["score"]}
    document["spec"]["model"]["inputs"]["columns"].remove("score")
    assert document["spec"].pop("serving") == {"latency": {"p99": "100ms", "load": "50/s"}}, "columns aren't served"
    project.write("new.yaml", yaml.safe_dump(document))
    assert project.run("evaluate", "-f", "new.yaml") in (0, 1)


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([20 + row % 60 for row in range(240)], {"edges": ["35", "50", "64"]}),
        ([(row % 60 - 30) / 300 for row in range(240)], {"quantiles": 4}),  # as scaled columns are
        ([(row % 60 - 30) * 1e17 for row in range(240)], {"quantiles": 4}),
        ([7 if row % 4 else row for row in range(240)], {"edges": ["7"]}),
    ],
)
def test_a_slice_of_numbers_has_edges_that_keep_its_quartiles_apart(
    project: Project, ages: list[float], expected: dict[str, object]
) -> None:
    lines = [f"{age},{row},{'good' if row % 3 else 'bad'}" for row, age in enumerate(ages)]
    project.write("a.csv", "\n".join(["age,score,risk", *lines]) + "\n")
    assert project.run("init", "a.csv", "--target", "risk", "--out", "a.yaml") == 0, project.err
    (found,) = yaml.safe_load((project.folder / "a.yaml").read_text())["spec"]["data"]["slices"]
    assert found == {"name": "age", "column": "age", "sensitive": True} | expected
    assert project.run("split", "-f", "a.yaml") == 0, project.err


def test_a_ranking_is_measured_on_its_scores(project: Project) -> None:
    rows = [
        f"{query:03},{row},{(row * 7 + query) % 3},{row % 3 - query % 2},{'fm'[query % 2]},{'fm'[row % 2]}"
        for query in range(400)
        for row in range(5)
    ]
    project.write("s.csv", "\n".join(["search,place,grade,score,sex,seller_sex", *rows]) + "\n")
    arguments = ("init", "s.csv", "--target", "grade", "--query", "search", "--score", "score", "--out", "s.yaml")
    assert project.run(*arguments) == 0, project.err
    document = yaml.safe_load((project.folder / "s.yaml").read_text())["spec"]
    task = {"type": "Ranking", "target": "grade", "query": "search", "cluster": "search", "topK": 2}
    assert document["task"] == task
    # Slices that differ within a query are none.
    assert document["data"]["slices"] == [{"name": "sex", "column": "sex", "sensitive": True}]
    del document["task"]["cluster"]  # so that nothing but the task names the query
    document["task"]["cluster"] = "sex"
    document["data"]["split"] = {"method": "Random"}
    project.write(
        "torn.yaml", yaml.safe_dump({**yaml.safe_load((project.folder / "s.yaml").read_text()), "spec": document})
    )
    assert project.run("evaluate", "-f", "s.yaml") in (0, 1), project.err
    assert "NDCG" in project.out
    assert project.run("evaluate", "-f", "torn.yaml") in (2, 3)
    assert "task.query: " in project.out + project.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "Ranking"], "needs --query"),
        (["--query", "duration"], "and --score"),
        (["--query", "age", "--score", "amount", "--task", "Binary"], "other tasks have neither"),
        (["--query", "age", "--score", "amount"], "--target risk: holds string, and a Ranking needs numbers"),
    ],
)
def test_a_ranking_needs_its_columns(project: Project, arguments: list[str], words: str) -> None:
    assert project.run("init", "loans.csv", "--target", "risk", *arguments) == 2
    assert words in project.err


def test_nothing_is_overwritten(project: Project) -> None:
    before = (project.folder / "model.yaml").read_text()
    assert project.run("init", "loans.csv", "--target", "risk", "--out", "model.yaml") == 2
    assert "exists already" in project.err
    assert (project.folder / "model.yaml").read_text() == before


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("price", ["1.5", "2.5", "3.25", "8"] * 10, {"type": "Regression"}),
        ("kind", ["a", "b", "c", "a"] * 10, {"type": "Multiclass"}),
        ("churn", ["true", "false", "false", "false"] * 10, {"type": "Binary", "positive": "true"}),
        ("flag", ["1", "0", "0", "1"] * 10, {"type": "Binary", "positive": "0"}),
        ("yes", ["yes", "no", "no", "no"] * 10, {"type": "Binary", "positive": "yes"}),
    ],
)
def test_the_task_is_read_off_the_target(
    project: Project, column: str, values: list[str], expected: dict[str, str]
) -> None:
    rows = "\n".join(f"{index % 7},{value}" for index, value in enumerate(values))
    project.write("t.csv", f"x,{column}\n{rows}\n")
    assert project.run("init", "t.csv", "--target", column) == 0
    document = yaml.safe_load(project.out)
    task = copy.deepcopy(document["spec"]["task"])
    assert task == {**expected, "target": column}
    load_spec(document["spec"])


def test_times_make_the_split_one_by_time(project: Project) -> None:
    rows = "\n".join(f"2024-01-{day:02},{day},{day % 2}" for day in range(1, 29))
    project.write("t.csv", f"applied_at,x,y\n{rows}\n")
    project.run("init", "t.csv", "--target", "y")
    spec = load_spec(yaml.safe_load(project.out)["spec"])
    assert spec.task.time == "applied_at"
    assert spec.data.split is not None
    assert spec.data.split.method == "Time"


def test_odd_names_stay_what_they_are(project: Project) -> None:
    project.write("t.csv", 'a b,no,"x: #y","it\'s ""q""",y\n1,2,3,4,0\n2,3,4,5,1\n')
    project.run("init", "t.csv", "--target", "y", "--name", "odd")
    spec = load_spec(yaml.safe_load(project.out)["spec"])
    assert spec.model.inputs is not None
    assert spec.model.inputs.columns == ("a b", "no", "x: #y", 'it\'s "q"')


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.csv", "--target", "risk"], "gone.csv"),
        (["loans.csv", "--target", "riks"], "column 'riks' isn't in the table"),
        (["loans.csv", "--target", "risk", "--positive", "ugly"], "--positive ugly"),
        (["loans.csv", "--target", "risk", "--time", "when"], "column 'when' isn't in the table"),
        (["model.yaml", "--target", "risk"], "expected .parquet or .csv"),
    ],
)
def test_bad_input_is_said(project: Project, arguments: list[str], words: str) -> None:
    assert project.run("init", *arguments) == 2
    assert words in project.err


def sold(*, ahead: str = "horizon") -> str:
    rows = (
        f"2024-01-{day:02},{shop},{steps},{(day * 7 + len(shop) + steps) % 13}.5"
        for day in range(1, 29)
        for shop in ("north", "west")
        for steps in (1, 7)
    )
    return f"day,shop,{ahead},sold\n" + "\n".join(rows) + "\n"


def test_a_horizon_makes_a_forecast(project: Project) -> None:
    project.write("t.csv", sold())
    assert project.run("init", "t.csv", "--target", "sold") == 0
    assert "series: shop tells apart rows that are for the same time" in project.out
    task = load_spec(yaml.safe_load(project.out)["spec"]).task
    assert (task.type, task.time, task.series, task.horizon) == ("Forecast", "day", "shop", "horizon")


def test_a_forecast_is_asked_for_by_its_columns(project: Project) -> None:
    project.write("t.csv", sold(ahead="k"))
    given = ["--task", "Forecast", "--series", "shop", "--horizon", "k"]
    assert project.run("init", "t.csv", "--target", "sold", *given) == 0
    task = load_spec(yaml.safe_load(project.out)["spec"]).task
    assert (task.series, task.horizon) == ("shop", "k")
    assert project.run("init", "t.csv", "--target", "sold", "--horizon", "k", "--task", "Regression") == 2
    assert "belong to Forecast tasks" in project.err
    project.write("u.csv", "x,y\n1,2.5\n2,3.5\n")
    assert project.run("init", "u.csv", "--target", "y", "--task", "Forecast") == 2
    assert "--time: a Forecast needs" in project.err
