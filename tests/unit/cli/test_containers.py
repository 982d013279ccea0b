"""`mandate evaluate --baseline NAME=URL`: which names it takes, and what a verdict rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mandate.evaluate.judge  # noqa: F401 - takes over_http as it is, before it is replaced
from mandate.evaluate import served
from mandate.evaluate.predict import Predicted
from mandate.evidence.schema import Evidence
from mandate.measure.answers import Answers
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC

RIVAL = {"name": "rival", "type": "Container", "container": {"image": "registry/rival@sha256:" + "a" * 64}}
BEATS = {"name": "beats-rival", "metric": "log_loss", "require": {"Shadow": "better than rival"}}
HERE = ("--baseline", "rival=http://127.0.0.1:8082")


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Servers that know nothing; which were asked."""
    asked: list[str] = []

    async def over_http(_: Any, rows: Any, *, url: str, **__: Any) -> Predicted:
        asked.append(url)
        return Predicted(answers=Answers(values=np.full(rows.table.num_rows, 0.5)), estimates=())

    monkeypatch.setattr(served, "over_http", over_http)
    return asked


def declare(project: Project, *more: dict[str, Any]) -> None:
    project.manifest(baselines=[*SPEC["baselines"], RIVAL, *more], gates=[BEATS], autonomy={"target": "Shadow"})


@pytest.mark.row("B1/container")
def test_a_container_is_beaten_where_its_server_runs(project: Project, answering: list[str]) -> None:
    declare(project)
    assert project.run("evaluate", "-f", "model.yaml", *HERE, "-o", "evidence=e.json", "-o", "text") == 0
    assert answering == ["http://127.0.0.1:8082"]
    assert "rival" in project.out
    learnt = Evidence.model_validate_json((project.folder / "e.json").read_text()).computed.learnt or ()
    assert [item.words.startswith("answers of a server that ran already") for item in learnt] == [True]
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 0
    other = {**RIVAL, "container": {"image": "registry/rival@sha256:" + "b" * 64}}
    project.manifest(baselines=[*SPEC["baselines"], other], gates=[BEATS], autonomy={"target": "Shadow"})
    assert project.run("report", "-f", "model.yaml", "-e", "e.json") == 2
    assert "other settings" in project.err


def test_without_a_server_it_says_what_to_do(project: Project, answering: list[str]) -> None:
    declare(project)
    assert project.run("evaluate", "-f", "model.yaml") == 3
    assert "spec.baselines[rival].container" in project.err
    assert "--baseline rival=http://127.0.0.1:8082" in project.err
    assert answering == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            (*HERE, "--baseline", "prior=http://127.0.0.1:9"),
            "'prior' is no baseline of type Container; those are rival",
        ),
        ((*HERE, *HERE), "'rival' was given as http://127.0.0.1:8082 before; give it once"),
        (("--baseline", "rival"), "expected NAME=URL"),
    ],
)
def test_an_address_of_nothing_is_refused(
    project: Project, answering: list[str], given: tuple[str, ...], words: str
) -> None:
    declare(project)
    assert project.run("evaluate", "-f", "model.yaml", *given) == 2
    assert words in project.err
    assert answering == []


def test_a_manifest_without_containers_takes_no_address(project: Project) -> None:
    assert project.run("evaluate", "-f", "model.yaml", *HERE) == 2
    assert "'rival' is no baseline of type Container; the manifest declares none" in project.err
