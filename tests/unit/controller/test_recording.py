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
from mandate.predictor import beside
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


def pod(**serving: Any) -> Any:
    """The Pod of an image of the user's own, which listens at `port`."""
    port = serving.pop("port", 9000)
    changes = {f"serving__{name}": value for name, value in serving.items()}
    document = declared("1", model__source={"image": IMAGE, "port": port}, **changes)
    return deployment(document, recorder_url=URL)["spec"]["template"]["spec"]


def test_before_an_image_of_the_user_s_own_stands_a_sidecar() -> None:
    [model], [sidecar] = pod()["containers"], pod()["initContainers"]
    assert model["image"] == IMAGE
    assert "command" not in model
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["command"][:7] == [
        *("python", "-m", "mandate.predictor.beside", "--port", "8090", "--upstream", "http://127.0.0.1:9000")
    ]
    document = declared("1", model__source={"image": IMAGE, "port": 9000})
    assert sidecar["command"][7:] == [
        *("--record", URL, "--namespace", "lending"),
        *("--model-deployment", "credit", "--revision", revision_of(document)),
        *("--output=probabilities", "--output-kind=Probability", "--positive=bad", "--cutoff=0.5"),
    ]
    assert [(port["name"], port["containerPort"]) for port in model["ports"]] == [("model", 9000), ("http", 8090)]
    assert "ports" not in sidecar, "EndpointSlices find names on containers in every version of Kubernetes"
    probes = (model["readinessProbe"], model["livenessProbe"], model["startupProbe"])
    assert {probe["httpGet"]["port"] for probe in probes} == {9000}


def test_the_sidecar_leaves_the_model_its_port() -> None:
    [model], [sidecar] = pod(port=8090)["containers"], pod(port=8090)["initContainers"]
    assert [port["containerPort"] for port in model["ports"]] == [8090, 8091]
    assert "8091" in sidecar["command"]
    assert "http://127.0.0.1:8090" in sidecar["command"]


def test_an_image_that_records_by_itself_runs_as_it_is() -> None:
    alone = pod(recording="Model")
    assert URL not in str(alone)
    assert "initContainers" not in alone
    document = declared("1", model__source={"image": IMAGE, "port": 9000})
    template = deployment(document, recorder_url="")["spec"]["template"]["spec"]
    assert template == alone


def test_the_sidecar_understands_what_it_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    [sidecar] = pod()["initContainers"]
    told = [part for part in sidecar["command"][3:] if part != URL]
    told.insert(told.index("--record") + 1, "nowhere")
    with pytest.raises(SystemExit):
        beside.main(told)
    assert "--record: expected a URL" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [SETTINGS, RECORDING])
def test_the_grant_holds_the_very_template_that_serves(settings: Any) -> None:
    document = declared("1", status={"champion": standing("1", "Suggest")})
    snapshot: GrantSnapshot = replace(namespace(document), settings=settings)
    (granted,) = holders(snapshot).values()
    assert granted.template == deployment(document, recorder_url=settings.recorder_url)["spec"]["template"]
