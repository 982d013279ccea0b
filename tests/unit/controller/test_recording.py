"""Serving Pods of our runtime tell the recorder what they answer, evaluation Pods never do, and the grant knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mandate.controller.choice import wanted
from mandate.controller.decide_grant import holders
from mandate.controller.pods import evaluation_template
from mandate.controller.snapshot import GrantSnapshot
from mandate.predictor.__main__ import EXIT_MODEL, main
from tests.unit.controller.judged import SETTINGS, declared, deployment, namespace, revision_of, standing

URL = "http://recorder.mandate-system:8080"
IMAGE = "registry.example/model@sha256:" + "1" * 64
RECORDING = replace(SETTINGS, recorder_url=URL)


def command(document: Any, *, recorder_url: str) -> list[str]:
    template = deployment(document, recorder_url=recorder_url)["spec"]["template"]
    found: list[str] = template["spec"]["containers"][0].get("command", [])
    return found


def test_what_is_declared_is_what_the_recorder_is_told() -> None:
    document = declared("1", model__output={"classes": ["-good", "bad"], "cutoff": "0.3"})
    told = command(document, recorder_url=URL)
    plain = command(document, recorder_url="")
    assert told[: len(plain)] == plain, "what was evaluated is what serves"
    assert told[len(plain) :] == [
        *("--record", URL, "--namespace", "lending"),
        *("--model-deployment", "credit", "--revision", revision_of(document)),
        *("--output=probabilities", "--output-kind=Probability", "--class=-good", "--class=bad"),
        *("--positive=bad", "--cutoff=0.3"),
    ]


def test_the_model_server_understands_what_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = command(declared("1", model__output={"classes": ["-good", "bad"]}), recorder_url=URL)
    arguments = [str(tmp_path) if part.startswith(("/mandate", "/dev")) else part for part in told[3:]]
    arguments[arguments.index("--termination-log") + 1] = str(tmp_path / "log")
    assert main(arguments) == EXIT_MODEL, "there is no model here"
    assert "usage" not in capsys.readouterr().err
    assert (tmp_path / "log").exists()


def test_an_evaluation_is_not_live_use() -> None:
    template = evaluation_template(
        job="job", namespace="lending", evaluation="e", spec=wanted(declared("1"), []).spec, settings=RECORDING
    )
    assert URL not in str(template)


def test_an_image_of_the_user_s_own_runs_as_it_is() -> None:
    document = declared("1", model__source={"image": IMAGE, "port": 9000})
    assert URL not in str(deployment(document, recorder_url=URL))


@pytest.mark.parametrize("settings", [SETTINGS, RECORDING])
def test_the_grant_holds_the_very_template_that_serves(settings: Any) -> None:
    document = declared("1", status={"champion": standing("1", "Suggest")})
    snapshot: GrantSnapshot = replace(namespace(document), settings=settings)
    (granted,) = holders(snapshot).values()
    assert granted.template == deployment(document, recorder_url=settings.recorder_url)["spec"]["template"]
