"""`kubectl mandate report`: the evidence that a cluster keeps, judged as the operator judges it, in every form."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.moments import instant
from mandate.cli import kubectl, report_stored
from mandate.cli.parser import FORMATS
from mandate.controller.choice import understood, wanted
from mandate.controller.desired import EVIDENCE_KEY, controller_revision, evaluation
from mandate.controller.identity import evidence_name
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.measurement import stated
from mandate.evidence.schema import Evidence
from mandate.kube.client import Listing
from mandate.kube.errors import ForbiddenError, NotFoundError
from mandate.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    Resource,
)
from mandate.verdict.criteria import criteria_digest
from tests.unit.cli.conftest import Project
from tests.unit.controller.judged import SETTINGS, declared, judged, settled, standing
from tests.unit.controller.samples import evidence
from tests.unit.report.sample import SPEC
from tests.unit.report.sample import evidence as measured_here

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")


class Cluster:
    """What a client reads: objects by kind, of one namespace. `forbidden` kinds are refused."""

    def __init__(self, *mdeps: Object, mevals: list[Object], records: dict[str, bytes]) -> None:
        self.mdeps, self.mevals, self.records = list(mdeps), mevals, records
        self.revisions: list[Object] = []
        self.forbidden: Resource | None = None
        self.asked: list[Resource] = []

    def _ask(self, resource: Resource, namespace: str) -> None:
        assert namespace == "lending"
        self.asked.append(resource)
        if resource is self.forbidden:
            raise ForbiddenError(f'User "ann" cannot read {resource.plural}', status=403)

    async def get(self, resource: Resource, name: str, *, namespace: str) -> Object:
        self._ask(resource, namespace)
        if resource is CONFIG_MAPS and name in self.records:
            packed = base64.b64encode(gzip.compress(self.records[name])).decode()
            return {"metadata": {"name": name}, "binaryData": {EVIDENCE_KEY: packed}}
        found = [item for item in self.mdeps if resource is MODEL_DEPLOYMENTS and item["metadata"]["name"] == name]
        if not found:
            raise NotFoundError(f'{resource.plural} "{name}" not found', status=404)
        return found[0]

    async def list(self, resource: Resource, *, namespace: str, selector: str = "") -> Listing:
        self._ask(resource, namespace)
        if resource is MODEL_EVALUATIONS:
            return Listing(tuple(self.mevals), "1")
        assert resource is CONTROLLER_REVISIONS
        wanted_labels = dict(part.split("=") for part in selector.split(","))
        return Listing(
            tuple(item for item in self.revisions if wanted_labels.items() <= item["metadata"]["labels"].items()), "1"
        )


def measured(document: Object, found: Evidence, *, made: str = "2026-01-01T00:00:00Z") -> tuple[Object, bytes]:
    """The complete ModelEvaluation that `document` asks for, and the bytes of its record."""
    asks = wanted({**document, "status": {}}, [])
    meval = evaluation(document, asks.name, asks.spec)
    data = canonical(found.dump())
    meval["metadata"] |= {"uid": f"uid-{asks.name}", "creationTimestamp": made}
    meval["status"] = {
        "evidence": "{}",
        "evidenceDigest": sha256(data),
        "evidenceConfigMap": evidence_name(sha256(data)),
        "criteriaDigest": criteria_digest(understood(document)),
        "completed": made,
    }
    return meval, data


def cluster_of(*pairs: tuple[Object, Evidence], present: Object | None) -> Cluster:
    """The evaluations of these versions, a day apart, and the `present` ModelDeployment."""
    made = [measured(item, found, made=f"2026-01-0{day}T00:00:00Z") for day, (item, found) in enumerate(pairs, 1)]
    records = {meval["status"]["evidenceConfigMap"]: data for meval, data in made}
    cluster = Cluster(*([present] if present else []), mevals=[meval for meval, _ in made], records=records)
    cluster.revisions = [controller_revision(item, understood(item), images=SETTINGS.images) for item, _ in pairs]
    return cluster


def judged_model(version: str = "1", *, look: int = 1, status: Object | None = None, **changes: Any) -> Object:
    """A ModelDeployment as its operator left it after the verdict."""
    snapshot = judged(declared(version, status=status, **changes), accuracy=0.8)
    snapshot = copy.copy(snapshot)
    object.__setattr__(snapshot, "looks", dict.fromkeys(snapshot.looks, look))
    mdep: Object = settled(snapshot, NOW)[0].mdep
    return mdep


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `kubectl mandate report` on a cluster; exit code, standard output and error."""

    def run(cluster: Cluster, *arguments: str | Path) -> tuple[int, str, str]:
        @asynccontextmanager
        async def connected(options: Any) -> AsyncIterator[tuple[Cluster, str]]:
            yield cluster, options.namespace

        monkeypatch.setattr(report_stored, "connected", connected)
        code = kubectl.main(["report", *map(str, arguments), "-n", "lending"])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_newest_evaluation_is_judged_as_the_operator_did(command: Command) -> None:
    mdep = judged_model(look=3)
    cluster = cluster_of((declared("1"), evidence(0.8)), present=mdep)
    code, out, err = command(cluster, "credit", "-o", "json")
    read = json.loads(out)
    assert code == 0
    assert read["look"]["number"] == mdep["status"]["look"] == 3
    assert read["look"]["source"] == "Operator"
    assert (read["name"], read["version"], read["reached"]) == ("credit", "1", "Suggest")
    name = cluster.mevals[0]["metadata"]["name"]
    assert f"lending/{name}: version 1, measured 2026-01-01T00:00:00Z, judged on the present criteria" in err
    assert CONTROLLER_REVISIONS not in cluster.asked, "a right that isn't needed isn't asked for"


@pytest.mark.parametrize("accuracy", [0.8, 0.6])
def test_the_exit_code_is_the_verdict_at_the_target(command: Command, accuracy: float) -> None:
    cluster = cluster_of((declared("1"), evidence(accuracy)), present=declared("1"))
    assert command(cluster, "credit")[0] == (0 if accuracy == 0.8 else 1)


@pytest.mark.parametrize("form", FORMATS)
def test_it_is_rendered_in_every_form(command: Command, tmp_path: Path, form: str) -> None:
    cluster = cluster_of((declared("1"), evidence(0.8)), present=declared("1"))
    path = tmp_path / "out"
    code, out, err = command(cluster, "credit", "-o", f"{form}={path}")
    assert code == 0, err
    assert "credit 1" in out, "text joins on standard output"
    told = path.read_text()
    if form == "evidence":
        assert sha256(told.rstrip("\n").encode()) == cluster.mevals[0]["status"]["evidenceDigest"]
    elif form == "github":
        assert "::" in told
    else:
        assert "credit" in told


def test_the_options_say_which_look_it_is_before_the_operator(command: Command, tmp_path: Path) -> None:
    cluster = cluster_of((declared("1"), evidence(0.8)), present=judged_model(look=3))
    read = json.loads(command(cluster, "credit", "-o", "json", "--look", "5")[1])
    assert read["look"]["number"] == 5
    assert read["look"]["source"] == "Given"
    read = json.loads(command(cluster, "credit", "-o", "json", "--ledger", tmp_path / "looks.json")[1])
    assert (read["look"]["number"], read["look"]["source"]) == (1, "Ledger")
    code, _, err = command(cluster, "credit", "--look", "0")
    assert code == 2
    assert "--look: got 0" in err


@pytest.mark.parametrize("stale", ["generation", "criteria", "unjudged"])
def test_a_count_that_is_of_another_verdict_is_not_taken(command: Command, stale: str) -> None:
    mdep = judged_model(look=3)
    if stale == "generation":
        mdep["metadata"]["generation"] += 1
    elif stale == "criteria":
        mdep["spec"]["gates"][0]["require"]["Suggest"] = ">= 0.75"
    else:
        [item] = [item for item in mdep["status"]["conditions"] if item["type"] == "Evaluated"]
        item["status"] = "Unknown"
    cluster = cluster_of((declared("1"), evidence(0.8)), present=mdep)
    read = json.loads(command(cluster, "credit", "-o", "json")[1])
    assert (read["look"]["number"], read["look"]["source"]) == (1, "Assumed")


def test_changed_criteria_are_judged_on_the_same_evidence(command: Command) -> None:
    stricter = declared("1")
    stricter["spec"]["gates"][0]["require"] = {"Shadow": ">= 0.5", "Suggest": ">= 0.9"}
    cluster = cluster_of((declared("1"), evidence(0.8)), present=stricter)
    code, out, _ = command(cluster, "credit")
    assert code == 1
    assert "0.9" in out


def test_an_earlier_version_is_judged_on_what_is_on_record_of_it(command: Command) -> None:
    first, second = declared("1"), declared("2")
    cluster = cluster_of((first, evidence(0.8)), (second, evidence(0.6)), present=second)
    earlier, newest = (item["metadata"]["name"] for item in cluster.mevals)
    code, out, err = command(cluster, "credit", "-o", "json")
    assert (code, json.loads(out)["version"]) == (1, "2")
    assert newest in err
    code, out, err = command(cluster, earlier, "-o", "json")
    assert (code, json.loads(out)["version"]) == (0, "1"), err
    assert f"lending/{earlier}: version 1" in err
    assert "judged on the criteria of that time" in err


@pytest.mark.parametrize("lost", ["revision", "criteria", "model"])
def test_without_criteria_of_its_own_it_asks_for_a_manifest(command: Command, lost: str) -> None:
    first, second = declared("1"), declared("2")
    cluster = cluster_of((first, evidence(0.8)), (second, evidence(0.6)), present=second)
    earlier = cluster.mevals[0]["metadata"]["name"]
    if lost == "criteria":
        # The ControllerRevision is from before the criteria that it was measured under.
        cluster.mevals[0]["status"]["criteriaDigest"] = "sha256:" + "7" * 64
    else:
        cluster.revisions = cluster.revisions[1:]
    if lost == "model":
        cluster.mdeps = []
    code, out, err = command(cluster, earlier)
    assert (code, out) == (2, "")
    assert ("is gone" if lost == "model" else "its earlier criteria aren't kept") in err
    assert "--file" in err
    assert cluster.mevals[0]["status"]["evidenceConfigMap"] in err


def test_a_spec_that_is_measured_otherwise_by_now_is_no_judge_of_this_evidence(command: Command) -> None:
    cut = declared("1", model__output={"cutoff": "0.3"})
    cluster = cluster_of((declared("1"), evidence(0.8)), present=cut)
    cluster.revisions = []
    code, _, err = command(cluster, cluster.mevals[0]["metadata"]["name"])
    assert code == 2
    assert "asks for another measurement by now" in err


def test_a_spec_that_is_not_evaluated_yet_is_not_taken_for_the_version_before(command: Command) -> None:
    """`kubectl apply`, then a report: the exit code must not be that of what was there before."""
    cluster = cluster_of((declared("1"), evidence(0.8)), present=declared("2", status=judged_model()["status"]))
    name = cluster.mevals[0]["metadata"]["name"]
    code, out, err = command(cluster, "credit")
    assert (code, out) == (2, "")
    assert "lending/credit: version 2 has no evaluation yet: " in err
    assert f"the evidence of {name} is there: name that one" in err
    cluster.mdeps = [declared("2", task__type="Mystery")]
    code, out, err = command(cluster, "credit")
    assert (code, out) == (2, "")
    assert "spec.task" in err
    assert command(cluster, name)[0] == 0


def test_a_version_that_came_back_is_judged_on_its_own_evidence(command: Command) -> None:
    """Newer evidence is of another version."""
    first, second = declared("1"), declared("2")
    cluster = cluster_of((first, evidence(0.8)), (second, evidence(0.6)), present=first)
    code, out, _ = command(cluster, "credit", "-o", "json")
    assert (code, json.loads(out)["version"]) == (0, "1")


def test_of_several_tries_the_newest_counts(command: Command) -> None:
    model = declared("1")
    cluster = cluster_of((model, evidence(0.6)), present=model)
    again = wanted(model, []).spec.model_copy(update={"retry": "again"})
    meval, data = measured(model, evidence(0.8), made="2026-01-05T00:00:00Z")
    meval["metadata"]["name"], meval["spec"] = "credit-again", stated(again)
    cluster.mevals.insert(0, meval)
    cluster.records[meval["status"]["evidenceConfigMap"]] = data
    code, _, err = command(cluster, "credit")
    assert code == 0
    assert "lending/credit-again: version 1, measured 2026-01-05" in err


def test_digests_that_were_learnt_make_it_no_other_measurement() -> None:
    spec = understood(declared("1"))
    asks = wanted(declared("1"), []).spec
    assert spec.data.source is not None
    document = stated(asks)
    document["data"]["source"]["digest"] = "sha256:" + "5" * 64
    learnt = ModelEvaluationSpec.model_validate(document)
    assert learnt != asks
    assert report_stored.asks_for("credit", spec, learnt)
    document["data"]["split"]["seed"] = 8
    assert not report_stored.asks_for("credit", spec, ModelEvaluationSpec.model_validate(document))
    assert not report_stored.asks_for("other", spec, learnt), "another use case's model is another revision"


CHAMPION_GATE = {
    "name": "no-worse",
    "metric": "accuracy",
    "firstModel": "Skip",
    "require": {"Shadow": "no worse than champion by 0.01"},
}


@pytest.mark.parametrize(
    ("champion", "words"),
    [(None, "no champion yet"), ("1", "this is the champion"), ("0", "NotMeasured")],
    ids=["none", "itself", "another"],
)
def test_a_champion_that_stands_is_never_taken_for_none(command: Command, champion: str | None, words: str) -> None:
    """Without the status, `firstModel: Skip` would pass over a champion whose answers couldn't be measured."""
    gates = [*declared("1")["spec"]["gates"], CHAMPION_GATE]
    document = declared("1", gates=gates)
    present = copy.deepcopy(document)
    if champion is not None:
        present["status"] = {"champion": standing(champion, "Suggest")}
    cluster = cluster_of((document, evidence(0.8)), present=present)
    code, out, err = command(cluster, "credit", "-o", "json")
    [gate] = [item for item in json.loads(out)["gates"] if item["name"] == "no-worse"]
    assert words in json.dumps(gate), err
    assert code == (3 if champion == "0" else 0)


def test_no_evaluation_yet(command: Command) -> None:
    new = declared("1")
    code, _, err = command(Cluster(new, mevals=[], records={}), "credit")
    assert code == 2
    told = "lending/credit: version 1 has no evaluation yet: "
    assert f"{told}the operator hasn't looked at the present spec yet; `kubectl mandate status credit` shows" in err
    waits = _condition("Evaluated", "Unknown", "DaskNotAllowed", "the operator doesn't allow that address")
    new["status"] = {"observedGeneration": 1, "conditions": [waits]}
    code, _, err = command(Cluster(new, mevals=[], records={}), "credit")
    assert code == 2
    assert f"{told}the operator doesn't allow that address" in err


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-02T00:00:00Z",
        "observedGeneration": 1,
    }


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], "has no evidence yet; `kubectl mandate status credit` shows how it goes"),
        ([_condition("Complete", "False", "Running", "the Pod runs")], "has no evidence yet: the Pod runs; "),
        (
            [_condition("Failed", "True", "BadDigest", "attempt 3: not the model")],
            "has no evidence: BadDigest: attempt 3: not the model; mend the cause, then `kubectl mandate retry credit`",
        ),
    ],
)
def test_an_evaluation_without_evidence_says_why_and_which_other_there_is(
    command: Command, conditions: list[Object], words: str
) -> None:
    second = declared("2")
    cluster = cluster_of((declared("1"), evidence(0.8)), (second, evidence(0.6)), present=second)
    cluster.mevals[1]["status"] = {"conditions": conditions}
    code, out, err = command(cluster, "credit")
    assert (code, out) == (2, "")
    assert words in err
    assert f"the evidence of {cluster.mevals[0]['metadata']['name']} is there: name that one" in err


def test_evidence_that_is_not_kept_any_more_is_told(command: Command) -> None:
    cluster = cluster_of((declared("1"), evidence(0.8)), present=declared("1"))
    cluster.mevals[0]["status"]["evidenceConfigMap"] = ""
    code, _, err = command(cluster, cluster.mevals[0]["metadata"]["name"])
    assert code == 2
    assert "its evidence isn't kept any more (the last three and the champions' are kept)" in err
    assert "name that one" not in err


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("gone", "EvidenceLost: ConfigMap {record}, which held the evidence, is gone; the operator measures again"),
        ("other", "EvidenceDamaged: the stored evidence has digest {other}, expected {digest}; don't use it; "),
        ("newer", "EvidenceOutdated: this version doesn't understand the stored evidence; use the kubectl-mandate of"),
    ],
)
def test_evidence_that_is_gone_or_not_what_it_was_is_never_shown(command: Command, harm: str, words: str) -> None:
    cluster = cluster_of((declared("1"), evidence(0.8)), present=declared("1"))
    status, other = cluster.mevals[0]["status"], canonical(evidence(0.9).dump())
    if harm == "gone":
        cluster.records = {}
    elif harm == "other":
        cluster.records = dict.fromkeys(cluster.records, other)
    else:
        data = b'{"later":1}'
        status |= {"evidenceDigest": sha256(data), "evidenceConfigMap": evidence_name(sha256(data))}
        cluster.records = {status["evidenceConfigMap"]: data}
    code, out, err = command(cluster, "credit")
    assert (code, out) == (2, "")
    told = words.format(record=status["evidenceConfigMap"], other=sha256(other), digest=status["evidenceDigest"])
    assert told in err


@pytest.mark.parametrize("kind", [MODEL_DEPLOYMENTS, MODEL_EVALUATIONS, CONFIG_MAPS])
def test_a_missing_right_is_named_with_those_that_it_takes(command: Command, kind: Resource) -> None:
    cluster = cluster_of((declared("1"), evidence(0.8)), present=declared("1"))
    cluster.forbidden = kind
    code, out, err = command(cluster, "credit")
    assert (code, out) == (2, "")
    assert f'User "ann" cannot read {kind.plural}; it takes the rights to get modeldeployments.mandate.dev' in err
    assert "in lending" in err


def test_a_name_that_is_nobodys_is_told_with_how_to_find_one(command: Command) -> None:
    code, _, err = command(Cluster(mevals=[], records={}), "credti")
    assert code == 2
    assert "lending/credti: is neither a ModelDeployment nor a ModelEvaluation; `kubectl get mdep,meval" in err


def test_a_status_of_another_version_decides_nothing(command: Command) -> None:
    present = declared("1", status={"level": "Everything"})
    code, out, err = command(cluster_of((declared("1"), evidence(0.8)), present=present), "credit")
    assert (code, out) == (2, "")
    assert "status.level" in err


def real_cluster(**parts: Any) -> tuple[Cluster, Object]:
    """A real measurement in a cluster whose ModelDeployment is gone, and its manifest."""
    spec = copy.deepcopy(SPEC) | parts
    spec["data"]["source"]["uri"] = "pvc://data/loans.csv"
    document = {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "credit", "namespace": "lending", "uid": "uid-credit"},
        "spec": spec,
    }
    return cluster_of((document, measured_here()), present=None), document


def test_a_manifest_may_bring_the_criteria(command: Command, project: Project) -> None:
    cluster, document = real_cluster()
    name = cluster.mevals[0]["metadata"]["name"]
    cluster.revisions = []
    path = project.write("mine.yaml", yaml.safe_dump(document))
    code, out, err = command(cluster, name, "-f", path)
    assert code in (0, 1), err
    assert "judged on the criteria of --file" in err
    project.run("report", "-f", path, "-e", _on_disk(project, cluster))
    assert out == project.out, "as `mandate report` has it"


def _on_disk(project: Project, cluster: Cluster) -> Path:
    [data] = cluster.records.values()
    path = project.folder / "stored.json"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": SPEC["model"] | {"version": "9"}}, "spec.model.version: declared is '9', measured by"),
        ({"data": SPEC["data"] | {"slices": []}, "gates": []}, "was measured with other settings"),
        (
            {"data": SPEC["data"] | {"source": {"uri": "loans.csv", "digest": "sha256:" + "0" * 64}}},
            "spec.data.source.digest: declared is sha256:000",
        ),
    ],
)
def test_a_manifest_of_another_measurement_is_refused(
    command: Command, project: Project, change: Object, words: str
) -> None:
    cluster, _ = real_cluster()
    name = cluster.mevals[0]["metadata"]["name"]
    code, out, err = command(cluster, name, "-f", project.manifest(name="other.yaml", **change))
    assert (code, out) == (2, "")
    assert words in err


def test_nothing_is_asked_before_the_options_make_sense(command: Command, project: Project) -> None:
    cluster, _ = real_cluster()
    for arguments in (["-o", "pdf"], ["-f", "none.yaml"], ["-f", "model.yaml", "-o", "html=model.yaml"]):
        code, _, err = command(cluster, "credit", *arguments)
        assert code == 2, err
    assert cluster.asked == []


def test_a_missing_library_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: Any, **__: Any) -> int:
        raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")

    monkeypatch.setattr("mandate.cli.verdict.conclude", without)
    code, _, err = command(cluster_of((declared("1"), evidence(0.8)), present=declared("1")), "credit")
    assert code == 2
    assert "jinja2 is missing; install mandate-operator[all]" in err
