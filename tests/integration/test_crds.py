"""The CRDs on a real API server: good objects are taken, bad ones refused at apply, in words that name the field."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mandate.api.kinds import ModelDeploymentStatus
from mandate.controller.conditions import dumped
from mandate.rollout.decisions import follow
from tests.unit.api.specs import BAD, GATEWAY, GOOD, LABELS, OPERATOR_ONLY, QUANTILES, RANKING, changed
from tests.unit.rollout.test_decisions import STATE, decided, live

ROOT = Path(__file__).parents[2]
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]

TOLD = {
    "unknown field": ".spec.model.sauce: field not declared in schema",
    "unknown metric": 'spec.gates[0].metric: Unsupported value: "auc": supported values: "accuracy", ',
    "metric of another task": "gate 'recall', metric: 'mean_absolute_error': Binary tasks don't have this metric; "
    "known are accuracy, average_precision, ",
    "unknown slice": "gate 'recall', each: unknown slice 'region'; use overall or a name that data.slices declares",
    "unknown slice across": "gate 'fair', across: unknown slice 'region'; use a name that data.slices declares",
    "unknown baseline": "gate 'beats', require: unknown reference in 'better than lin'; use champion, rest or a name "
    "that baselines declares",
    "unknown unit": 'spec.gates[3].require.Suggest: Invalid value: "<= 40sec": ',
    "unknown format": 'spec.model.source.format: Unsupported value: "Pickle": supported values: "ONNX"',
    "a table in no known format": "'pvc://data/credit.xlsx' must end in .parquet, .csv, .arrow, .arrows, .feather, or "
    "format must be set",
    "an MLflow folder in a registry": "format MLflow needs the uri of a folder, got 'oci://registry.example/credit:7'",
    "an MLflow folder behind a query": "format MLflow needs the uri of a folder, got "
    "'https://models.example/7?version=3'",
    "production in no known format": "'pvc://data/june.xlsx' must end in .parquet, .csv, .arrow, .arrows, .feather, or "
    ".json for a profile, or format must be set",
    "csv of a profile": "csv belongs to tables in CSV: leave it out",
    "storage of production's volume": "s3 belongs to s3://…",
    "told apart without being asked": "a gate on domain_auc needs data.domainClassifier; declare it",
    "groups of no production": "a gate on unrepresented_groups needs data.production; declare it",
    "csv of another format": "csv belongs to tables in CSV: leave it out",
    "a user in a web address": 'spec.data.source.uri: Invalid value: "https://me:word@data/credit.csv": ',
    "storage of a volume": "s3 belongs to s3://…",
    "an endpoint with a path": 'spec.data.source.s3.endpoint: Invalid value: "https://h/minio": ',
    "an artefact without a tag": 'spec.data.source.uri: Invalid value: "oci://registry/credit#a.csv": ',
    "credentials for a volume": "credentialsRef belongs to a uri on a server, such as https://…, s3://… or ",
    "credentials for a container": "credentialsRef belongs to a uri on a server, such as https://…, s3://… or ",
    "unknown encoding": 'spec.data.source.csv.encoding: Unsupported value: "EBCDIC": ',
    "contradictory levels": "got Shadow '>= 0.7' Automate '>= 0.6': a level asks less than a level below",
    "wrong direction": "'<= 0.7': recall is better higher, so ask for '>= …'",
    "latency without load": "load: latency_p99 needs a load, for example 50/s",
    "each and across": "set each or across, not both",
    "no level": "at least one level must be set: Shadow, Suggest or Automate",
    "live rows of a metric that has none": "'roc_auc' isn't known of live rows; leave rows out, or ask for one of ",
    "live rows against another": "'better than linear': live rows are held against numbers only: '>= …', '<= …' or ",
    "steps that fall": "[50%, 10%, 100%] must rise, from above 0%, and end at 100%",
    "steps that stand still": "[50%, 50%, 100%] must rise, from above 0%, and end at 100%",
    "steps that end early": "[50%] must rise, from above 0%, and end at 100%",
    "a minimum of blind decisions without any": "no decision is taken blind while blindShare is 0%; set it, for "
    "example to 10%",
    "overrides where nobody sees the answer": "maxOverrideRate is of decisions with the answer in sight, and "
    "blindShare 100% leaves none",
    "F-beta without its beta": "a gate on f_beta needs task.beta; declare it",
    "an expected cost without costs": "a gate on expected_cost needs useCase.errorCosts; declare it",
    "a cost per million without prices": "a gate on cost_per_million or used_cost_per_million needs serving.prices; "
    "declare it",
    "a price below nothing": "should match",
    "a load for throughput": "load belongs to latencies, crashes and failed_requests",
    "equalized odds of one group": "equalized_odds compares groups: set across to a slice, and as to ",
    "a ratio of what can be negative": "matthews_corrcoef can be negative, so its groups have no ratio: use difference",
    "a search of single rows": "spec.data.search.minRows: Invalid value: 5: ",
    "the signature of an image": "signature is of the file at uri; an image's own is looked at where images are ",
    "a signature that is no base64": "spec.model.source.signature.value: Invalid value",
    "a key in another form": "spec.model.source.signature.publicKey: Invalid value",
    "neither column nor cross": "set either column, or cross with two slices' names",
    "column and cross": "set either column, or cross with two slices' names",
    "edges beside quantiles": "set edges or quantiles, not both",
    "one quantile": "spec.data.slices[1].quantiles: Invalid value: 1: ",
    "edges of a cross": "edges and quantiles belong to column: set them on the slices that are crossed",
    "a cross of three": "spec.data.slices[2].cross: Too many: 3: ",
    "a cross of an unknown slice": "slice 'both', cross: 'region' is no slice with a column; name one that is",
    "a cross of a cross": "slice 'more', cross: 'both' is no slice with a column; name one that is",
    "a slice crossed with itself": '.spec.data.slices[name="both"].cross: duplicate entries for key [="age"]',
    "one class of two": "gates[].class belongs to Multiclass tasks",
    "one class by slice": "one class is measured on all test rows: leave each, across and rows out",
    "a cut-off by one rate alone": "'recall' alone is best where all else is given up; set atLeast to another rate",
    "a cut-off by a rate that keeps itself": "atLeast must be on another metric than the one that is to be best",
    "a cut-off by costs that aren't declared": "model.output.choose by expected_cost needs useCase.errorCosts",
    "a cut-off by an F that isn't declared": "model.output.choose by f_beta needs task.beta; declare it",
    "a cut-off of labels": "choose belongs to kind Probability: other answers have no cut-off",
    "a cut-off chosen on no rows": "model.output.choose needs validation rows: set data.validation",
    "beta of nothing": "beta must be above 0",
    "beta as a number": "spec.task.beta",
    "rows of a query that are classified": "a Ranking task needs query: the column that says which rows are ranked ",
    "quantiles of classes": "quantiles belong to Regression tasks",
    "quantiles that no task has": "task.quantiles belongs to model.output.kind Quantiles: set both or neither",
    "one quantile of none": "quantile belongs to pinball_loss",
    "a forecast for no time": "a Forecast task needs time: the column that says which time a forecast is for",
    "a personal truth": "data.personal holds task.target or task.time, whose values reports tell; remove it there",
    "personal times": "data.personal holds task.target or task.time, whose values reports tell; remove it there",
    "a personal column twice": '.spec.data.personal: duplicate entries for key [="age"]',
    "a forecast split at random": "a Forecast task is split by method Time: other methods train on what comes after",
    "a forecast that rolls up": "unit belongs to other tasks: a forecast is of a series at a time",
    "a forecast of classes": "a Forecast task needs model.output.kind: Value",
    "a season of classes": "series, horizon and season belong to Forecast tasks",
    "a season of no step": "spec.task.season: Invalid value: 0: ",
    "a horizon of no step": 'spec.gates[1].horizon: Invalid value: "0": ',
    "a horizon that no column tells": "gates[].horizon needs task.horizon: the column that says how many steps ahead",
    "a horizon of a slice": "one horizon is measured on all test rows: leave each, across and rows out",
    "a horizon of a count": "horizon belongs to metrics of errors of a Forecast",
    "windows of no length": "set either length, or count",
    "windows of two lengths": "set either length, or count",
    "windows of few rows": "spec.data.windows.count: Invalid value: 29: ",
    "windows of rows in a time zone": "timeZone belongs to length: leave it out",
    "windows by no time": "data.windows.length needs task.time: the column that says when a row happened",
    "a gate on windows that nobody declares": "gates[].window needs data.windows: how long they are; declare it",
    "one window of many": 'spec.gates[0].window: Unsupported value: "2013-07": ',
    "windows of a slice": "windows are of all test rows: leave each, across, class, quantile, horizon and rows out",
    "windows of training rows": "windows are of all test rows: leave each, across, class, quantile, horizon and rows ",
    "windows of a count": "window belongs to metrics that are computed from answers and labels",
    "windows beside a baseline": "'better than linear': windows are held against numbers only",
    "the mean of classes": "classes have no mean: unit.labels must be Last, or Max for Binary",
    "live rows that don't roll up": "live rows don't roll up: leave gates[].rows live out where task.unit is set",
    "shares that make no whole": "the prevalences in sampling must add up to 1",
    "a share here and a rate there": "sampling gives the prevalence of every class, or how many of each were kept",
    "a share and a rate": "set prevalence or kept, not both",
    "a class of which no row was kept": "kept must be above 0",
    "the truth as weight": "'risk' is target or id; name the column that says how much a row counts for",
    "a holdout and propensities": "set holdout or propensity, not both",
    "a gate called as what stands beside gates": "declared-latency, declared-fallback and signed-model are taken",
    "a latency beside gates": "serving.latency is for the built-in gates",
    "a latency of what isn't served": "columns of answers aren't served",
    "clipping of nothing": "minPropensity belongs to propensity: set both, or leave it out",
    "clipping at nothing": "minPropensity must be above 0",
    "a decision that is the truth": "labels names target; name the columns with the decision",
    "no decision reveals": "spec.task.labels.revealedBy.values: Invalid value: 0: ",
    "labels of units": "labels are of rows, which unit rolls up: leave out one of both",
    "labels of queries": "labels are of rows, and a Ranking is measured by query: leave them out",
    "drawn by class and by decision": "task.labels and data.sampling both weigh rows: leave out one",
    "numbers of everyone where nobody says who is hidden": "readiness.labels needs task.labels",
    "the top of two classes": "topK belongs to Multiclass and Ranking tasks",
    "costs in two currencies": "errorCosts can't be added up in several currencies; give all in one",
    "an error that pays": 'spec.useCase.errorCosts[0].cost: Invalid value: "-1": ',
    "the cost of a right answer": "which is no error; remove it",
    "no target": "spec.autonomy.target: Required value",
    "two sources": "exactly one of uri, image or columns must be set, got uri image",
    "no positive": "a Binary task needs positive: the class that counts",
    "time without column": "data.split.method Time needs task.time: the column that says when a row happened",
    "split beyond one": "train 0.9, validation 0.2 and test 0.2 add up to more than 1, must be at most 1",
    "value for a class": "got 'Value': a Regression task needs Value or Quantiles, Forecast Value, classification "
    "Probability or Label",
    "no inputs": "model.inputs is needed: the columns that the model is fed",
    "reserved baseline": "'champion' is taken; rename it",
    "a baseline of numbers for classes": "prior is a Median, which isn't for Binary tasks; for those there are Prior, ",
    "a seed of nothing random": "'prior' is a Prior: seed belongs to type Uniform or Stratified or Human",
    "a season without its length": "'prior' is a LastPeriodMean and needs a period, such as Week or 90m",
    "a period of no calendar": 'spec.baselines[0].period: Invalid value: "Fortnight": ',
    "a series of what doesn't look back": "'linear' is a Linear: by belongs to type PreviousValue or SeasonalNaive or "
    "LastPeriodMean",
    "a column of no type Column": "column belongs to type Column: set both or neither",
    "a container of no type Container": "container belongs to type Container: set both or neither",
    "a baseline without its container": "container belongs to type Container: set both or neither",
    "a container by its tag": 'spec.baselines[2].container.image: Invalid value: "repo/rival:7": ',
    "a container where the model listens": "a baseline's container is to listen where the model listens, the champion",
    "a container where the champion listens": "a baseline's container is to listen where the model listens, the",
    "two containers on one port": "a baseline's container is to listen where the model listens, the champion may "
    "(8081), or another baseline does; set container.port to another one",
    "three containers": "at most 2 baselines may be of type Container: put the answers of others into columns",
    "a container that is fed nothing": "a baseline's container needs inputs where model.inputs isn't declared",
    "people without annotations": "a baseline of type Human needs data.annotations: what people said; declare it",
    "label noise by annotators who may have made the labels": "a gate on label_noise needs "
    "data.annotations.independent; declare it",
    "agreement without annotations": "a gate on cohen_kappa needs data.annotations; declare it",
    "annotations of rows without a name": "data.annotations needs task.id: the column that names a row",
    "reserved slice": "'overall' is taken: it means all rows; rename it",
    "bad digest": 'spec.model.source.digest: Invalid value: "md5:1": ',
    "bad uri": 'spec.data.source.uri: Invalid value: "gopher://hole/x.parquet": ',
    "empty column": 'spec.task.target: Invalid value: "": ',
    "gateway of no provider": "gateway belongs to provider GatewayAPI, which needs one, or KServe, which may",
    "a gateway for Services": "gateway belongs to provider GatewayAPI, which needs one, or KServe, which may",
    "a gateway for others": "gateway belongs to provider GatewayAPI, which needs one, or KServe, which may",
    "replicas of others": "replicas are your workload's where provider is External: leave them out",
    "provider without gateway": "gateway belongs to provider GatewayAPI, which needs one, or KServe, which may",
    "replays beside copies": "replay belongs to provider Service, which copies no requests: leave it out",
    "no replays a second": 'spec.serving.replay.rate: Invalid value: "0/s": ',
    "inputs for ever": 'spec.serving.replay.keep: Invalid value: "30d": ',
    "any number of inputs": "spec.serving.replay.inputs: Invalid value: 10001: ",
    "no copies": 'spec.serving.gateway.mirror: Invalid value: "0%": ',
    "any host": 'spec.serving.gateway.hostnames[0]: Invalid value: "*.b.c": ',
    "no room for -suggest": f'spec.serving.gateway.hostnames[0]: Invalid value: "{"a" * 56}.b": ',
    "one host for both addresses": "[a.b, a-suggest.b] holds a name at which suggestions are answered; leave it out",
    "a Dask cluster at two places": "set either address or cluster",
    "a Dask cluster nowhere": "set either address or cluster",
    "a scheduler without a port": 'spec.evaluation.dask.address: Invalid value: "tcp://scheduler.dask": ',
    "a scheduler over HTTP": 'spec.evaluation.dask.address: Invalid value: "http://scheduler.dask:8787": ',
    "a secret scheduler without its Secret": "credentialsRef belongs to an address tls://HOST:PORT, which needs it",
    "a Secret for nothing secret": "credentialsRef belongs to an address tls://HOST:PORT, which needs it",
    "confidence below 95 %": 'spec.gates[0].confidence: Invalid value: "0.90": ',
}
"""What the API server says: beside the field, the value and what was expected, as far as its rules can tell."""


@pytest.fixture(scope="module")
def kubectl(api_server: Path) -> Kubectl:
    binary = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "cluster"), "build", "kubectl"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()

    def run(*arguments: str, document: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binary, "--kubeconfig", str(api_server), *arguments],
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            timeout=60,
        )

    applied = run("apply", "--server-side", "-f", str(ROOT / "crds"))
    assert applied.returncode == 0, applied.stderr
    established = run("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    assert established.returncode == 0, established.stderr
    return run


def deployment(spec: Any, name: str = "credit") -> dict[str, Any]:
    return {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def apply(kubectl: Kubectl, document: Any) -> subprocess.CompletedProcess[str]:
    return kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", document=document)


def test_a_good_object_is_taken_and_defaulted(kubectl: Kubectl) -> None:
    result = kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-", document=deployment(GOOD))
    assert result.returncode == 0, result.stderr
    spec = json.loads(result.stdout)["spec"]
    suggest = {"minDuration": "7d", "minPredictions": 1000, "minLabelled": 500, "blindShare": "0%", "minBlind": 0}
    assert spec["autonomy"]["suggest"] == suggest
    assert spec["autonomy"]["automate"] == {"steps": ["10%", "50%", "100%"], "stepDuration": "6h"}
    assert spec["serving"]["resources"]["limits"]["memory"] == "512Mi"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_refused_at_apply(kubectl: Kubectl, name: str) -> None:
    document, field = BAD[name]
    result = apply(kubectl, deployment(document))
    # Rules are refused at the field that carries them: the words say which of its items is meant.
    carrier = field.split("[")[0]
    if name in OPERATOR_ONLY:
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode != 0, "the API server took it"
    assert f"spec.{carrier}" in result.stderr, result.stderr
    assert TOLD[name] in result.stderr, result.stderr


@pytest.mark.parametrize("name", ["Credit", "1credit", "a" * 41, "cre.dit"])
def test_names_must_fit_services(kubectl: Kubectl, name: str) -> None:
    result = apply(kubectl, deployment(GOOD, name))
    assert result.returncode != 0
    assert "metadata.name" in result.stderr


def test_kserve_makes_a_label_of_the_name(kubectl: Kubectl) -> None:
    by_kserve = changed("serving", {"provider": "KServe", "gateway": GATEWAY})
    assert apply(kubectl, deployment(by_kserve, "a" * 37)).returncode == 0
    assert apply(kubectl, deployment(GOOD, "a" * 38)).returncode == 0
    result = apply(kubectl, deployment(by_kserve, "a" * 38))
    assert "metadata.name must have at most 37 characters with the provider KServe" in result.stderr


def test_quantiles_units_weights_and_sampling_are_taken(kubectl: Kubectl) -> None:
    assert apply(kubectl, deployment(QUANTILES, "quantiles")).returncode == 0
    unit = {"column": "customer", "answers": "Mean", "labels": "Max"}
    document = changed("task", {**GOOD["task"], "unit": unit, "weight": "w"})
    document["data"]["sampling"] = [{"class": "bad", "prevalence": "0.02"}, {"class": "good", "prevalence": "0.98"}]
    assert apply(kubectl, deployment(document)).returncode == 0
    document["data"]["sampling"] = [{"class": "good", "kept": "0.05"}]
    assert apply(kubectl, deployment(document)).returncode == 0


def test_selective_labels_lineage_and_readiness_are_taken(kubectl: Kubectl) -> None:
    document = changed("task.labels", {**LABELS, "propensity": "p", "minPropensity": "0.01"})
    document["readiness"] = {"labels": "Suggest", "lineage": "Automate"}
    document["data"]["lineage"] = {"source": "core banking", "period": "2019 to 2023", "licence": "own"}
    result = apply(kubectl, deployment(document, "labels"))
    assert result.returncode == 0, result.stderr


def test_a_ranking_is_taken(kubectl: Kubectl) -> None:
    assert apply(kubectl, deployment(RANKING, "ranking")).returncode == 0
    for task, words in (
        ({"query": "relevance"}, "query is target or id"),
        (
            {"unit": {"column": "u", "answers": "Mean", "labels": "Mean"}},
            "unit is of rows, and a Ranking is measured by",
        ),
    ):
        result = apply(kubectl, deployment(RANKING | {"task": RANKING["task"] | task}, "ranking"))
        assert result.returncode != 0
        assert words in result.stderr, result.stderr
    served = RANKING | {"model": {**GOOD["model"], "output": {"name": "score", "kind": "Value"}}}
    assert apply(kubectl, deployment(served, "ranking")).returncode == 0
    weighty = RANKING | {"task": RANKING["task"] | {"weight": "shown"}}
    assert apply(kubectl, deployment(weighty, "ranking")).returncode == 0


def test_the_largest_spec_is_still_within_the_rules_budget(kubectl: Kubectl) -> None:
    slices = [{"name": f"s{index}", "column": f"c{index}"} for index in range(20)]
    gate = {"metric": "recall", "each": ["overall", *(item["name"] for item in slices)]}
    gates = [{**gate, "name": f"g{index}", "require": {"Shadow": ">= 0.5"}} for index in range(64)]
    document = changed("gates", gates)
    document["data"]["slices"] = [*slices[:2], *({"name": item["name"], "cross": ["s0", "s1"]} for item in slices[2:])]
    result = apply(kubectl, deployment(document))
    assert result.returncode == 0, result.stderr
    gates[-1]["each"] = [*gate["each"][:-1], "region"]
    assert "gate 'g63', each: unknown slice 'region'" in apply(kubectl, deployment(document)).stderr


def test_an_evaluation_is_immutable_and_its_evidence_written_once(kubectl: Kubectl) -> None:
    spec = {
        "modelDeployment": "credit",
        "revision": "0" * 32,
        **{part: GOOD[part] for part in ("model", "task", "data")},
    }
    document = {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelEvaluation",
        "metadata": {"name": "credit-1", "namespace": "default"},
        "spec": spec,
    }
    assert kubectl("apply", "--server-side", "-f", "-", document=document).returncode == 0
    document["spec"] = {**spec, "revision": "1" * 32}
    refused = kubectl("apply", "--server-side", "-f", "-", document=document)
    assert "immutable" in refused.stderr
    first = {**document, "spec": spec, "status": {"evidence": "{}"}}
    subresource = ("apply", "--server-side", "--subresource=status", "-f", "-")
    assert kubectl(*subresource, document=first).returncode == 0
    second = kubectl(*subresource, document={**first, "status": {"evidence": '{"better":true}'}})
    assert "written once" in second.stderr
    removed = kubectl(*subresource, document={**first, "status": {}})
    assert "written once" in removed.stderr


def test_what_is_told_of_decisions_is_kept_as_written(kubectl: Kubectl) -> None:
    rare = decided(20_000, 1, 19_000, 1, 1, 0)  # shares that are written with an exponent
    found = follow(None, STATE, STATE, share="10%", live=live(blind=rare, shown=decided(30, 3, 20, 2, 3, 1), peeked=4))
    assert found is not None
    document = deployment(GOOD, "decided")
    assert kubectl("apply", "--server-side", "-f", "-", document=document).returncode == 0
    told = dumped(ModelDeploymentStatus(decisions=found))
    subresource = ("apply", "--server-side", "--subresource=status", "-o", "json", "-f", "-")
    result = kubectl(*subresource, document={**document, "status": told})
    assert result.returncode == 0, result.stderr
    kept = json.loads(result.stdout)["status"]
    assert "e-05" in kept["decisions"]["blind"]["errors"]["mean"]
    assert ModelDeploymentStatus.model_validate(kept).decisions == found


def test_there_is_one_grant_per_namespace(kubectl: Kubectl) -> None:
    grant = {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "AutonomyGrant",
        "metadata": {"name": "other", "namespace": "default"},
        "spec": {},
    }
    assert "named mandate" in apply(kubectl, grant).stderr
    assert apply(kubectl, {**grant, "metadata": {"name": "mandate", "namespace": "default"}}).returncode == 0


@pytest.mark.parametrize("kind", ["modeldeployment", "modelevaluation", "autonomygrant"])
def test_every_field_is_explained(kubectl: Kubectl, kind: str) -> None:
    explained = kubectl("explain", f"{kind}.spec", "--recursive")
    assert explained.returncode == 0, explained.stderr
    document = json.loads(kubectl("get", "crd", f"{kind}s.mandate.dev", "-o", "json").stdout)
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def unexplained(node: dict[str, Any], path: str) -> list[str]:
        missing = []
        for name, child in node.get("properties", {}).items():
            if "description" not in child:
                missing.append(f"{path}.{name}")
            missing += unexplained(child, f"{path}.{name}")
        return missing + (unexplained(node["items"], f"{path}[]") if "items" in node else [])

    assert unexplained(schema["properties"]["spec"], "spec") == []


def test_a_grant_shows_its_models_and_what_found_no_room(kubectl: Kubectl) -> None:
    grant = {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "AutonomyGrant",
        "metadata": {"name": "mandate", "namespace": "default"},
        "spec": {"models": ["credit", "flights"], "leftOut": {"flights": 4096}},
    }
    created = kubectl("create", "-f", "-", document=grant)
    assert created.returncode == 0, created.stderr
    try:
        title, row = kubectl("get", "autonomygrants").stdout.splitlines()
        assert title.split() == ["NAME", "MODELS", "LEFT", "OUT", "AGE"]
        assert row.split()[:3] == ["mandate", '["credit","flights"]', '{"flights":4096}']
    finally:
        kubectl("delete", "autonomygrant", "mandate")
