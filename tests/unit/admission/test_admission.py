"""The generator, its drift check, and the template that goes into the grant."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from mandate.admission.__main__ import main
from mandate.admission.chart import IN_CHART, documents, files, policies
from mandate.admission.policy import cel
from mandate.admission.template import granted

CHART = Path(__file__).parents[3] / "helm" / "mandate" / "templates" / "admission"
IMAGE = "registry.example/server@sha256:" + "1" * 64


def test_the_chart_holds_what_the_source_says() -> None:
    assert main(["check", str(CHART)]) == 0


def test_generate_then_check(tmp_path: Path) -> None:
    assert main(["check", str(tmp_path)]) == 1
    (tmp_path / "gone.yaml").write_text("left over\n")
    assert main(["generate", str(tmp_path)]) == 0
    assert main(["check", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(files())


@pytest.mark.parametrize("damage", ["edited", "missing", "left over"])
def test_check_names_what_drifted(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    main(["generate", str(tmp_path)])
    file = tmp_path / "pods.yaml"
    if damage == "edited":
        file.write_text(file.read_text().replace("Deny", "Audit"))
    elif damage == "missing":
        file.unlink()
    else:
        file = tmp_path / "more.yaml"
        file.write_text("")
    assert main(["check", str(tmp_path)]) == 1
    assert f"{file}: differs from operator/mandate/admission; run `make generate`" in capsys.readouterr().err


def test_every_policy_fails_closed_denies_and_is_bound() -> None:
    every = documents(IN_CHART)
    bound = {item["spec"]["policyName"]: item["spec"] for item in every if item["kind"].endswith("Binding")}
    names = {item["metadata"]["name"] for item in every if item["kind"] == "ValidatingAdmissionPolicy"}
    assert set(bound) == names
    for item in every:
        if item["kind"].endswith("Binding"):
            assert item["spec"]["validationActions"] == ["Deny"]
        else:
            assert item["spec"]["failurePolicy"] == "Fail"


def test_deletion_is_only_asked_about_for_evidence() -> None:
    asked = {policy.name for policy in policies(IN_CHART) for match in policy.matches if "DELETE" in match.operations}
    assert asked == {"evidence-deletion", "record-deletion"}


def test_nothing_in_cel_is_left_to_be_formatted() -> None:
    """A forgotten f-string would leave a Python name in braces behind."""
    for item in documents(IN_CHART):
        for validation in item["spec"].get("validations", ()):
            text = validation["expression"] + validation["messageExpression"]
            assert not re.search(r"\{[A-Za-z_]", text.replace("{{ include", "")), text


def test_cel_loses_the_indentation_of_its_source() -> None:
    assert cel("\n        a &&\n          b\n    ") == "a &&\n  b"


def template() -> dict[str, object]:
    return {
        "metadata": {
            "creationTimestamp": None,
            "labels": {"mandate.dev/model": "credit"},
            "annotations": {"mandate.dev/model-digest": "sha256:0"},
        },
        "spec": {
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "gpu"}],
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "server",
            "serviceAccount": "server",
            "enableServiceLinks": False,
            "initContainers": [{"name": "fetch", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}],
            "containers": [
                {
                    "name": "server",
                    "image": IMAGE,
                    "args": ["--port", "8080"],
                    "resources": {"limits": {"cpu": "1"}},
                    "imagePullPolicy": "Always",
                }
            ],
        },
    }


def test_granted_keeps_what_is_compared() -> None:
    given = template()
    before = copy.deepcopy(given)
    assert granted(given) == {
        "metadata": {
            "labels": {"mandate.dev/model": "credit"},
            "annotations": {"mandate.dev/model-digest": "sha256:0"},
        },
        "spec": {
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "server",
            "enableServiceLinks": False,
            "initContainers": [{"name": "fetch", "image": IMAGE}],
            "containers": [{"name": "server", "image": IMAGE, "args": ["--port", "8080"]}],
        },
    }
    assert given == before, "the template given is left as it was"


def test_granted_fills_in_what_only_pods_are_defaulted_with() -> None:
    spec = granted({"spec": {"containers": [{"name": "server", "image": IMAGE}]}})["spec"]
    assert (spec["serviceAccountName"], spec["enableServiceLinks"]) == ("default", True)


def test_granted_takes_its_own_answer() -> None:
    once = granted(template())
    assert granted(once) == once


def test_granted_refuses_a_tag() -> None:
    with pytest.raises(
        ValueError, match=r"container server: image 'server:1' isn't pinned; expected NAME@sha256:DIGEST"
    ):
        granted({"spec": {"containers": [{"name": "server", "image": "server:1"}]}})
