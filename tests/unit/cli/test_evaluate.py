"""`mandate evaluate` and `mandate report` on real runs: exit codes, outputs, looks."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mandate.cli import manifest
from mandate.cli.evaluate import starts
from mandate.evaluate.on_dask import DaskError
from mandate.evidence.schema import Evidence
from mandate.measure.work import Workers
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import COSTS, SPEC
from tests.unit.report.test_content import BROKEN, FAILING, OPEN, PASSING


def gates(*wanted: dict[str, Any]) -> dict[str, Any]:
    return {"gates": list(wanted), "autonomy": {"target": "Suggest"}}


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [
        ((PASSING,), 0, "credit 7 may Suggest"),
        ((PASSING, FAILING), 1, "misses >= 0.9"),
        ((PASSING, OPEN), 1, "can't be told from >= 0.68"),
        ((PASSING, BROKEN), 3, "NoChampion"),
    ],
)
def test_the_exit_code_is_the_verdict(project: Project, wanted: Any, code: int, words: str) -> None:
    project.manifest(**gates(*wanted))
    assert project.run("evaluate", "-f", "model.yaml") == code
    assert words in project.out
    assert project.err == ""


@pytest.mark.row("G4/defaults")
def test_built_in_gates_judge_a_manifest_without_any(project: Project) -> None:
    project.manifest(gates=[], baselines=[])
    assert project.run("evaluate", "-f", "model.yaml") == 1
    assert "fair-selection-sex" in project.out


def test_an_onnx_model_is_run(project: Project) -> None:
    project.write("model.onnx", "this is no model")
    model = copy.deepcopy(SPEC["model"]) | {"source": {"uri": "model.onnx", "format": "ONNX"}}
    project.manifest(model=model)
    assert project.run("evaluate", "-f", "model.yaml") == 2
    assert "Unreadable" in project.err


def test_a_container_model_needs_a_cluster(project: Project) -> None:
    model = copy.deepcopy(SPEC["model"]) | {"source": {"image": "registry/model@sha256:" + "a" * 64}}
    project.manifest(model=model)
    assert project.run("evaluate", "-f", "model.yaml") == 3
    assert "NeedsCluster" in project.err


def test_formats_go_where_they_are_sent(project: Project) -> None:
    arguments = ["-o", "html=r.html", "-o", "markdown=r.md", "-o", "evidence=e.json", "-o", "json"]
    assert project.run("evaluate", "-f", "model.yaml", *arguments) == 1
    assert json.loads(project.out)["result"] == "Refused"
    assert (project.folder / "r.html").read_text().startswith("<!doctype html>")
    assert (project.folder / "r.md").read_text().startswith("## ")
    Evidence.model_validate_json((project.folder / "e.json").read_text())
    assert "wrote html to r.html" in project.err


def test_text_comes_along_with_files(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "html=r.html")
    assert project.out.startswith("credit 7 may run in Shadow")


@pytest.mark.row("G6/verdict")
def test_evidence_is_the_same_every_time(project: Project) -> None:
    for name in ("one", "two"):
        project.run("evaluate", "-f", "model.yaml", "-o", f"evidence={name}.json")
    one, two = (json.loads((project.folder / f"{name}.json").read_text())["computed"] for name in ("one", "two"))
    assert one == two


@pytest.mark.row("G6/verdict")
def test_changed_criteria_are_judged_without_measuring(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json")
    (project.folder / "loans.csv").unlink()
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 1
    project.manifest(**gates(PASSING))
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 0


def test_other_settings_need_another_measurement(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json")
    changed = copy.deepcopy(SPEC["data"])
    changed["split"]["seed"] = 8
    project.manifest(data=changed)
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 2
    assert "run `mandate evaluate` again" in project.err


def test_costs_are_a_setting_of_the_measurement(project: Project) -> None:
    cheaper = {"name": "cheaper", "metric": "expected_cost", "require": {"Shadow": "better than prior"}}
    project.manifest(useCase={"errorCosts": COSTS}, **gates(cheaper))
    assert project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json") == 0
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 0
    assert "Expected cost of an answer (EUR)" in project.out
    project.manifest(useCase={"errorCosts": [COSTS[0], COSTS[1] | {"cost": "901"}]}, **gates(cheaper))
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 2
    assert "other settings" in project.err


def test_evidence_about_other_data_is_refused(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json")
    other = copy.deepcopy(SPEC["data"])
    other["source"]["digest"] = "sha256:" + "0" * 64
    project.manifest(data=other)
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 2
    assert "spec.data.source.digest" in project.err


@pytest.mark.parametrize("content", ["", "[]", "{", '{"computed": {}}', '{"a": NaN}', "[" * 100_000])
def test_what_is_no_evidence_is_refused(project: Project, content: str) -> None:
    project.write("e.json", content)
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 2
    assert "--evidence e.json" in project.err
    assert "mandate evaluate -o evidence=FILE" in project.err


@pytest.mark.row("G5/looks")
def test_looks_are_assumed_given_or_counted(project: Project) -> None:
    project.run("evaluate", "-f", "model.yaml", "-o", "evidence=e.json")
    assert "look 1 at these test rows, 50 % of the error budget (nobody counted" in project.out
    project.run("report", "-f", "model.yaml", "-e", "e.json", "--look", "3")
    assert "look 3 at these test rows, 8.3 % of the error budget (as given by --look)" in " ".join(project.out.split())
    for look, share in ((1, "0.80"), (1, "0.80"), (2, "0.81"), (3, "0.82"), (2, "0.81")):
        fair = copy.deepcopy(SPEC["gates"])
        fair[3]["require"]["Automate"] = f">= {share}"
        project.manifest(gates=fair)
        project.run("report", "-f", "model.yaml", "-e", "e.json", "--ledger", "looks.json")
        assert f"look {look} at these test rows" in project.out
        assert "(counted by the ledger)" in project.out
    assert len(json.loads((project.folder / "looks.json").read_text())) == 3


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"key": "a", "sketch": ["nope"]}]', "x"])
def test_a_broken_ledger_stops_before_anything_is_measured(project: Project, content: str) -> None:
    project.write("looks.json", content)
    (project.folder / "loans.csv").unlink()
    assert project.run("evaluate", "-f", "model.yaml", "--ledger", "looks.json") == 2
    assert "isn't a ledger of looks" in project.err


def test_standard_input_is_a_manifest(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (project.folder / "model.yaml").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert project.run("evaluate", "-f", "-") == 1


def test_claims_are_read_from_where_they_are_mounted(project: Project) -> None:
    data = copy.deepcopy(SPEC["data"])
    data["source"]["uri"] = "pvc://data/loans.csv"
    project.manifest(data=data)
    assert project.run("evaluate", "-f", "model.yaml") == 2
    assert "--mount pvc://data=DIR" in project.err
    assert project.run("evaluate", "-f", "model.yaml", "--mount", "pvc://data=.") == 1


def test_paths_start_from_the_manifest(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert project.run("evaluate", "-f", "../model.yaml") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-f", "gone.yaml"], "gone.yaml: No such file or directory"),
        (["-f", "model.yaml", "-o", "htm=x"], "did you mean html?"),
        (["-f", "model.yaml", "-o", "html="], "names no file"),
        (["-f", "model.yaml", "-o", "html=nowhere/r.html"], "there is no directory"),
        (["-f", "model.yaml", "-o", "json", "-o", "html"], "json and html both go to standard output"),
        (["-f", "model.yaml", "--mount", "data"], "expected pvc://CLAIM=DIR"),
        (["-f", "model.yaml", "--mount", "pvc://data=nowhere"], "there is no directory nowhere"),
        (["-f", "model.yaml", "--mount", "pvc://a=.", "--mount", "pvc://a=."], "mounted twice"),
        (["-f", "model.yaml", "--look", "0"], "--look: got 0"),
        (["-f", "model.yaml", "--look", "2", "--ledger", "l.json"], "not allowed with"),
        (["-f", "model.yaml", "--name", "other"], "holds no ModelDeployment named 'other'"),
    ],
)
def test_bad_options_are_bad_input(project: Project, arguments: list[str], words: str) -> None:
    assert project.run("evaluate", *arguments) == 2
    assert words in project.err
    assert project.out == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda text: text.replace("score,risk", "score,riks"),
            "spec.task.target: MissingColumn: column 'risk' isn't in data.source",
        ),
        (lambda text: "", "expected a line with the columns' names"),
        (lambda text: text.splitlines()[0] + "\n", "has no rows"),
        (lambda text: text.replace(',"bad"', ',"good"'), "'bad' never occurs"),
    ],
)
def test_bad_data_is_bad_input(project: Project, change: Any, words: str) -> None:
    table = project.folder / "loans.csv"
    table.write_text(change(table.read_text().replace('"score","risk"', "score,risk")))
    assert project.run("evaluate", "-f", "model.yaml") == 2
    assert words in project.err
    assert project.out == ""


def test_a_defect_of_ours_is_never_a_verdict(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mandate.cli.verdict.judge", lambda **_: 1 / 0)
    assert project.run("evaluate", "-f", "model.yaml") == 3
    assert "this is a defect of mandate" in project.err


def test_who_does_the_work_changes_no_evidence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.manifest(**gates(PASSING))
    asked: list[str] = []

    @contextmanager
    def on_dask(address: str, *, here: Workers) -> Iterator[Workers]:
        asked.append(address)
        if address == "tcp://gone:1":
            raise DaskError("DaskUnreachable", f"no Dask scheduler answers at {address}")
        yield here

    monkeypatch.setattr("mandate.evaluate.on_dask.on_dask", on_dask)
    found = set()
    for place, options in enumerate(
        ([], ["--workers", "1"], ["--workers", "3"], ["--dask", "tcp://here:1"], ["--memory", "1k"])
    ):
        assert project.run("evaluate", "-f", "model.yaml", "-o", f"evidence={place}.json", *options) == 0
        found.add(json.dumps(json.loads((project.folder / f"{place}.json").read_text())["computed"]))
    assert len(found) == 1
    assert asked == ["tcp://here:1"]
    assert project.run("evaluate", "-f", "model.yaml", "--dask", "tcp://gone:1") == 2
    assert "--dask tcp://gone:1: DaskUnreachable: no Dask scheduler" in project.err
    assert project.run("evaluate", "-f", "model.yaml", "--workers", "0") == 2
    assert "expected 1 to 1024 threads" in project.err
    for wrong in ("plenty", "0", "-1Gi", "nan"):
        assert project.run("evaluate", "-f", "model.yaml", f"--memory={wrong}") == 2
        assert f"{wrong}: expected bytes as Kubernetes writes them" in project.err


@pytest.mark.parametrize(("metric", "often"), [("cold_start", 16), ("latency_p99", 1)])
def test_the_predictor_is_started_again_and_again_where_a_gate_asks_how_long_that_takes(
    project: Project, metric: str, often: int
) -> None:
    """16 starts: 0.5 ** 16 is below the share of alpha that the thirtieth look has."""
    gate = {"name": "quick", "metric": metric, "require": {"Shadow": "<= 9s"}}
    model = copy.deepcopy(SPEC["model"]) | {"source": {"uri": "model.onnx", "format": "ONNX"}}
    project.manifest(model=model, **gates(PASSING, gate | ({"load": "50/s"} if metric == "latency_p99" else {})))
    assert starts(manifest.read(project.folder / "model.yaml")) == often
