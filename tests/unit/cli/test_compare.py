"""`mandate compare` on real evidence files: who dominates whom, who passes, what can't be compared."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mandate.cli import compare_stored, kubectl
from mandate.cli.errors import InputError
from mandate.controller.desired import EVIDENCE_KEY
from mandate.controller.identity import evidence_name
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.intervals import Table
from mandate.evidence.schema import Estimate, Evidence, Fault, Measured, Quantity, Saturated, Support
from mandate.kube.client import Listing
from mandate.kube.resources import CONFIG_MAPS, MODEL_EVALUATIONS, Resource
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, evidence
from tests.unit.virtual import run

LOAD = "50/s"


def number(metric: str, value: float, *, load: str | None = None, spread: float = 0.1) -> Estimate:
    levels = (0.0125,)
    return Estimate(
        quantity=Quantity(metric=metric, load=load),
        estimate=value,
        interval=Table(levels=levels, lower=(value * (1 - spread),), upper=(value * (1 + spread),)),
        support=Support(rows=2000, events=20),
    )


def of(latency: float | None, cost: float | None, *, currency: str = "EUR", **inputs: Any) -> Evidence:
    record = evidence()
    estimates = [number("latency_p99", latency, load=LOAD)] if latency is not None else []
    estimates += [number("cost_per_million", cost)] if cost is not None else []
    saturated = None if cost is None else Saturated(rate=9, failed=0, own=0.1, currency=currency)
    computed = record.computed.model_copy(update={"inputs": record.computed.inputs.model_copy(update=inputs)})
    return Evidence(computed=computed, measured=Measured(estimates=tuple(estimates), saturated=saturated))


def write(project: Project, **records: Evidence) -> list[Path]:
    paths = []
    for name, record in records.items():
        paths.append(project.folder / f"{name}.json")
        paths[-1].write_bytes(canonical(record.dump()))
    return paths


def compared(project: Project, *arguments: str | Path) -> dict[str, Any]:
    assert project.run("compare", *arguments, "-o", "json") == 0, project.err
    found: dict[str, Any] = json.loads(project.out)
    return found


@pytest.mark.row("L4/compare")
def test_the_dearer_and_slower_of_two_equals_is_dominated(project: Project) -> None:
    found = compared(project, *write(project, small=of(0.01, 0.2), large=of(0.05, 0.9)))
    assert [m["metric"] for m in found["measures"]] == ["roc_auc", "latency_p99", "cost_per_million"]
    assert {row["name"]: row["dominatedBy"] for row in found["candidates"]} == {"small": [], "large": ["small"]}
    assert found["chosen"] == ["small"]


def test_intervals_that_overlap_decide_nothing(project: Project) -> None:
    found = compared(project, *write(project, small=of(0.0100, 0.20), large=of(0.0105, 0.21)))
    assert [row["dominatedBy"] for row in found["candidates"]] == [[], []]


def test_faster_but_dearer_is_a_matter_of_choice(project: Project) -> None:
    found = compared(project, *write(project, fast=of(0.01, 0.9), cheap=of(0.05, 0.2)))
    assert found["chosen"] == ["fast", "cheap"]


@pytest.mark.row("L4/compare")
def test_who_does_not_pass_is_not_to_be_chosen(project: Project) -> None:
    files = write(project, small=of(0.01, 0.2), large=of(0.05, 0.9))
    gates = [{"name": "fast", "metric": "latency_p99", "load": LOAD, "require": {"Shadow": "<= 20ms"}}]
    model = SPEC["model"] | {"source": {"uri": "model.onnx", "format": "ONNX"}}
    manifest = project.manifest(gates=gates, model=model, autonomy={"target": "Shadow"})
    found = compared(project, *files, "-f", manifest)
    assert {row["name"]: row["passes"] for row in found["candidates"]} == {"small": True, "large": False}
    assert project.run("compare", *files, "-f", manifest) == 0
    assert "Shadow ✓" in project.out
    assert "none ✗" in project.out
    strict = yaml.safe_load(manifest.read_text())
    strict["spec"]["gates"][0]["require"] = {"Shadow": "<= 1ms"}
    manifest.write_text(yaml.safe_dump(strict))
    found = compared(project, *files, "-f", manifest)
    assert found["chosen"] == []
    assert "nothing to choose from" in found["notes"][-1]


def test_what_somebody_lacks_is_shown_but_not_compared(project: Project) -> None:
    found = compared(project, *write(project, small=of(0.01, 0.2), bare=of(0.05, None)))
    assert [m["compared"] for m in found["measures"]] == [True, True, False]
    assert found["notes"][0].startswith("Cost of a million predictions (EUR) wasn't measured of bare: nobody")
    assert found["candidates"][1]["dominatedBy"] == ["small"]


def test_what_was_not_measured_wins_nothing(project: Project) -> None:
    """A faster and cheaper model whose quality isn't known is no better than one whose quality is."""
    good, unknown = of(0.05, 0.9), of(0.01, 0.2)
    fault = Fault(code="NotMeasured", message="gone")
    without = [
        estimate.model_copy(update={"estimate": None, "interval": None, "fault": fault})
        if estimate.quantity == Quantity(metric="roc_auc")
        else estimate
        for estimate in unknown.computed.estimates
    ]
    unknown = Evidence(
        computed=unknown.computed.model_copy(update={"estimates": tuple(without)}), measured=unknown.measured
    )
    found = compared(project, *write(project, good=good, unknown=unknown))
    assert found["chosen"] == ["good", "unknown"]
    assert "ROC AUC wasn't measured of unknown" in found["notes"][0]


def test_other_currencies_are_told_where_the_first_has_none(project: Project) -> None:
    files = write(project, bare=of(0.05, None), one=of(0.01, 0.2), two=of(0.01, 0.2, currency="USD"))
    assert project.run("compare", *files) == 2
    assert "one and two were measured on different currencies (EUR and USD)" in project.err


def test_other_settings_on_the_same_rows_are_told(project: Project) -> None:
    """Data and split are the same where only the target, the weights or the costs of errors differ."""
    found = compared(project, *write(project, one=of(0.01, 0.2), two=of(0.05, 0.9, settings="sha256:" + "1" * 64)))
    assert found["notes"][0].startswith("two: measured with other settings than one (task, output")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"data": {"source": "sha256:" + "1" * 64}}, "were measured on different data"),
        ({"split": "sha256:" + "2" * 64}, "were measured on different splits"),
        ({"currency": "USD"}, "were measured on different currencies (EUR and USD)"),
    ],
)
def test_different_rows_are_refused_with_words(project: Project, other: dict[str, Any], words: str) -> None:
    assert project.run("compare", *write(project, one=of(0.01, 0.2), two=of(0.05, 0.9, **other))) == 2
    assert words in project.err
    assert "one and two" in project.err


def test_a_manifest_of_another_measurement_is_refused(project: Project) -> None:
    files = write(project, one=of(0.01, 0.2), two=of(0.05, 0.9))
    manifest = project.manifest(data=SPEC["data"] | {"slices": SPEC["data"]["slices"][1:]}, gates=[])
    assert project.run("compare", *files, "-f", manifest) == 2
    assert "was measured with other settings" in project.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one.json"], "got 1 evaluation, expected two or more"),
        (["one.json", "one.json"], "'one' stands twice"),
        (["=one.json", "two.json"], "expected FILE or NAME=FILE"),
        (["one.json", "two.json", "--metric", "selection_rate"], "expected one with a better side"),
        (["one.json", "two.json", "--load", "9/s"], "nobody was put under it; known are 50/s"),
        (["one.json", "two.json", "-o", "junit"], "unknown format 'junit', expected text, json, markdown, html"),
        (["one.json", "three.json"], "three.json"),
        (["one.json", "two.json", "--look", "0"], "--look: got 0"),
    ],
)
def test_what_cannot_be_compared_is_told(project: Project, arguments: list[str], words: str) -> None:
    write(project, one=of(0.01, 0.2), two=of(0.05, 0.9))
    assert project.run("compare", *arguments) == 2
    assert words in project.err


def test_evidence_may_be_packed_as_the_cluster_keeps_it_and_named(project: Project) -> None:
    one, two = write(project, one=of(0.01, 0.2), two=of(0.05, 0.9))
    packed = project.folder / "evidence.json.gz"
    packed.write_bytes(gzip.compress(one.read_bytes()))
    found = compared(project, f"v7={packed}", two)
    assert [row["name"] for row in found["candidates"]] == ["v7", "two"]
    whole = packed.read_bytes()
    for broken in (whole[:-20], whole[:20] + b"\xff" * 40):
        packed.write_bytes(broken)
        assert project.run("compare", packed, two) == 2
        assert "can't be unpacked" in project.err


def test_every_form_tells_the_same_and_steers_nothing(project: Project) -> None:
    one, two = write(project, one=of(0.01, 0.2), two=of(0.05, 0.9))
    hostile = "<script>|\x1b[31m"
    outputs = ["-o", "html=page.html", "-o", "markdown=table.md"]
    assert project.run("compare", f"{hostile}={one}", two, *outputs) == 0
    assert "\x1b" not in project.out
    page, table = (project.folder / "page.html").read_text(), (project.folder / "table.md").read_text()
    assert "<script>" not in page
    assert len(page) < 50_000
    for form in (project.out, page, table):
        assert "surely worse somewhere" in form
        assert "Cost of a million predictions (EUR)".lower() in form.lower().replace("\\", "")
    assert "\x1b" not in table
    assert table.count("\n| ") == 3


class Cluster:
    """What a client reads of evaluations and their records."""

    def __init__(self, *mevals: dict[str, Any], records: dict[str, Evidence]) -> None:
        self.mevals, self.records = mevals, records

    async def list(self, resource: Resource, *, namespace: str) -> Listing:
        assert (resource, namespace) == (MODEL_EVALUATIONS, "lending")
        return Listing(self.mevals, "1")

    async def get(self, resource: Resource, name: str, *, namespace: str) -> dict[str, Any]:
        assert (resource, namespace) == (CONFIG_MAPS, "lending")
        [record] = [item for digest, item in self.records.items() if evidence_name(digest) == name]
        packed = base64.b64encode(gzip.compress(canonical(record.dump()))).decode()
        return {"metadata": {"name": name}, "binaryData": {EVIDENCE_KEY: packed}}


def meval(name: str, version: str, digest: str, *, model: str = "credit", made: str = "2026-01-01") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": made},
        "spec": {"modelDeployment": model, "model": {"version": version}},
        "status": {"evidenceDigest": digest, "evidenceConfigMap": evidence_name(digest) if digest else ""},
    }


def of_digest(record: Evidence) -> str:
    return sha256(canonical(record.dump()))


def test_what_a_cluster_keeps_is_read_verified_and_named_by_version() -> None:
    seven, eight = of(0.01, 0.2), of(0.05, 0.9)
    records = {of_digest(seven): seven, of_digest(eight): eight}
    cluster = Cluster(
        meval("credit-b", "8", of_digest(eight), made="2026-01-03"),
        meval("credit-a", "7", of_digest(seven), made="2026-01-02"),
        meval("credit-gone", "6", "", made="2026-01-01"),
        meval("other-a", "7", of_digest(seven), model="other"),
        records=records,
    )
    found = run(compare_stored.stored(cluster, "credit", namespace="lending"))
    assert [(name, of_digest(record)) for name, record in found] == [("7", of_digest(seven)), ("8", of_digest(eight))]
    cluster.records[of_digest(eight)] = seven
    with pytest.raises(InputError, match="8: EvidenceDamaged"):
        run(compare_stored.stored(cluster, "credit", namespace="lending"))


def test_several_evaluations_of_one_version_have_their_own_names() -> None:
    found = compare_stored.kept([meval("credit-a", "7", "x"), meval("credit-b", "7", "y")], "credit")
    assert found == [("7 (credit-a)", "x"), ("7 (credit-b)", "y")]


def test_the_command_of_the_cluster_compares_as_that_of_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = {of_digest(record): record for record in (of(0.01, 0.2), of(0.05, 0.9))}
    mevals = [meval(f"credit-{v}", v, digest) for v, digest in zip("78", records, strict=True)]

    def connected_to(*kept: dict[str, Any]) -> None:
        @asynccontextmanager
        async def connected(options: Any) -> AsyncIterator[tuple[Cluster, str]]:
            yield Cluster(*kept, records=records), options.namespace

        monkeypatch.setattr(compare_stored, "connected", connected)

    connected_to(*mevals)
    assert kubectl.main(["compare", "credit", "-n", "lending", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == ["7"]
    connected_to(mevals[0])
    assert kubectl.main(["compare", "credit", "-n", "lending"]) == 2
    assert "got 1 evaluation" in capsys.readouterr().err
