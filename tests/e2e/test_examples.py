"""The examples in a cluster and on the command line: the same computed evidence, byte for byte, and equal verdicts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mandate.api.catalogue import METRICS
from mandate.evidence.schema import Evidence, computed_bytes
from tests.e2e.cluster import ROOT, Cluster, Object, Space, condition, holds, space

MORE_ROWS = re.compile(r"\b\d[\d ]* more rows\b")
SERVICE_METRICS = {name for name, metric in METRICS.items() if metric.origin == "Service"}
FLIGHTS = ROOT / "out" / "flights"
"""Where the demo makes this example's data and models too."""
Folders = Mapping[str, Path]


@dataclass(frozen=True)
class CommandLine:
    """`mandate` as a person runs it, counting looks in one file."""

    folder: Path

    def evaluate(self, manifest: Path, folders: Folders) -> tuple[Evidence, Any]:
        """What it measured, and its report as JSON; the models' targets aren't reached, so it ends with 1."""
        evidence, report = self.folder / "evidence.json", self.folder / "report.json"
        command = ["evaluate", "-f", str(manifest), "--ledger", str(self.folder / "looks.json")]
        command += [part for name, path in folders.items() for part in ("--mount", f"pvc://{name}={path}")]
        command += ["-o", f"evidence={evidence}", "-o", f"json={report}"]
        done = subprocess.run([sys.executable, "-m", "mandate.cli", *command], capture_output=True, text=True)
        assert done.returncode == 1, done.stdout + done.stderr
        return Evidence.model_validate_json(evidence.read_bytes()), json.loads(report.read_text())


@pytest.fixture(scope="module")
def flights() -> Folders:
    """The table of real flights, and the models trained on its training rows."""
    if not (FLIGHTS / "data" / "flights.parquet").exists():
        subprocess.run([sys.executable, "-m", "examples.flights.prepare", "--out", str(FLIGHTS)], cwd=ROOT, check=True)
    if not (FLIGHTS / "models" / "rule" / "model.onnx").exists():
        subprocess.run([sys.executable, "-m", "examples.flights.train", "--out", str(FLIGHTS)], cwd=ROOT, check=True)
    return {"data": FLIGHTS / "data", "models": FLIGHTS / "models"}


@pytest.fixture(scope="module")
def credit() -> Folders:
    return {name: ROOT / "examples" / "credit" / name for name in ("data", "models")}


@pytest.fixture
def examples(cluster: Cluster) -> Iterator[Space]:
    with space(cluster, "examples", enforce="Labelled") as found:
        yield found


def fill(examples: Space, folders: Folders) -> None:
    """Copy an example's folders into the volumes."""
    for volume, folder in ((examples.data, folders["data"]), (examples.models, folders["models"])):
        for path in folder.rglob("*"):
            if path.is_file():
                examples.put(volume / path.relative_to(folder), path.read_bytes())


def judged(examples: Space, manifest: Path) -> tuple[Evidence, Object]:
    """What the cluster measured, and the status it gave."""
    document = yaml.safe_load(manifest.read_text())
    version = document["spec"]["model"]["version"]
    document["metadata"]["namespace"] = examples.name
    # What falls back is beside the point here: nothing of the example's own runs in this namespace.
    document["spec"]["useCase"].pop("fallback", None)
    examples.apply(document)
    name = document["metadata"]["name"]

    def settled(item: Object) -> bool:
        evaluated = condition(item, "Evaluated")
        return evaluated.get("status") == "True" and not holds(item, "Reconciling")

    item = examples.until(name, f"version {version} judged and served", settled, seconds=600)
    assert item["status"]["version"] == version
    evaluations = {meval["metadata"]["name"]: meval for meval in examples.evaluations(name)}
    standing = item["status"].get("candidate") or item["status"].get("champion") or item["status"]["refused"][-1]
    return Evidence.model_validate(examples.evidence(evaluations[standing["evaluation"]])), item["status"]


def the_same(cluster: tuple[Evidence, Object], offline: tuple[Evidence, Any]) -> None:
    """Equal bytes, an equal level, and for each gate that needs no server an equal verdict in equal words."""
    (evidence, status), (expected, report) = cluster, offline
    assert computed_bytes(evidence.computed) == computed_bytes(expected.computed)
    assert status["level"] == (report["reached"] or "None")
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert {gate["name"] for gate in status["gates"]} == set(gates)
    compared = 0
    for gate in status["gates"]:
        if gates[gate["name"]]["metric"] not in SERVICE_METRICS:
            said = next(level for level in gates[gate["name"]]["levels"] if level["level"] == gate["level"])
            assert gate["verdict"] == said["verdict"], gate["name"]
            assert said["message"].startswith(gate["message"].removesuffix("…")), gate["name"]
            compared += 1
    assert compared >= 10


@pytest.mark.row("G6/evidence")
def test_flights(examples: Space, flights: Folders, tmp_path: Path) -> None:
    fill(examples, flights)
    offline = CommandLine(tmp_path)
    for version, level in (("1", "None"), ("2", "Suggest")):
        manifest = ROOT / "examples" / "flights" / f"flights-v{version}.yaml"
        in_cluster = judged(examples, manifest)
        assert in_cluster[1]["level"] == level
        the_same(in_cluster, offline.evaluate(manifest, flights))


@pytest.mark.row("G6/evidence")
def test_credit(examples: Space, credit: Folders, tmp_path: Path) -> None:
    fill(examples, credit)
    manifest = ROOT / "examples" / "credit" / "credit.yaml"
    in_cluster = judged(examples, manifest)
    the_same(in_cluster, CommandLine(tmp_path).evaluate(manifest, credit))
    undecided = [gate["message"] for gate in in_cluster[1]["gates"] if gate["verdict"] == "Inconclusive"]
    assert any(MORE_ROWS.search(message) for message in undecided), undecided
