"""A good spec, and small changes that make it bad: used by the checker's tests and by those on a real API server."""

from __future__ import annotations

import copy
from typing import Any

DIGEST = "sha256:" + "a" * 64

SLICES: list[dict[str, Any]] = [
    {"name": "age", "column": "age", "edges": ["20", "30"]},
    {"name": "sex", "column": "sex"},
]

LABELS: dict[str, Any] = {"revealedBy": {"column": "decision", "values": ["approve"]}}

GOOD: dict[str, Any] = {
    "useCase": {"decision": "Approve a loan", "owner": "credit-models", "riskTier": "Medium"},
    "model": {
        "version": "7",
        "source": {"uri": "pvc://models/credit/7/model.onnx", "format": "ONNX", "digest": DIGEST},
        "inputs": {"columns": ["amount", "duration"], "encoding": "Columns"},
        "output": {"name": "probabilities", "kind": "Probability", "cutoff": "0.5"},
    },
    "task": {"type": "Binary", "target": "risk", "positive": "bad", "time": "applied_at", "cluster": "customer"},
    "data": {
        "source": {"uri": "pvc://data/credit.parquet"},
        "split": {"method": "Time", "train": "0.6", "validation": "0.2", "test": "0.2", "gap": "30d"},
        "slices": SLICES,
    },
    "baselines": [{"name": "prior", "type": "Prior"}, {"name": "linear", "type": "Linear"}],
    "gates": [
        {"name": "beats", "metric": "roc_auc", "require": {"Suggest": "better than linear"}},
        {
            "name": "recall",
            "metric": "recall",
            "each": ["overall", "age"],
            "require": {"Shadow": ">= 0.50", "Automate": ">= 0.70"},
        },
        {
            "name": "fair",
            "metric": "selection_rate",
            "across": "sex",
            "as": "ratio",
            "require": {"Suggest": ">= 0.80"},
        },
        {"name": "fast", "metric": "latency_p99", "load": "50/s", "require": {"Suggest": "<= 40ms"}},
    ],
    "autonomy": {"target": "Automate"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value replaced (or, where it is `...`, removed); `path` such as `gates.0.metric`."""
    return _with(GOOD, path, value)


def _with(whole: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    spec = copy.deepcopy(whole)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    node: Any = spec
    for part in parents:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return spec


CONTAINER = {"image": f"repo/rival@{DIGEST}"}


def with_containers(*containers: dict[str, Any]) -> dict[str, Any]:
    """GOOD, compared with these containers too."""
    named = ({"name": f"rival-{place}", "container": dict(found)} for place, found in enumerate(containers))
    return changed("baselines", [*GOOD["baselines"], *(item | {"type": "Container"} for item in named)])


ERROR_COST = {"actual": "bad", "predicted": "good", "cost": "5200", "currency": "EUR"}
QUANTILES: dict[str, Any] = {
    "task": {"type": "Regression", "target": "loss", "quantiles": ["0.05", "0.5", "0.95"]},
    "model": {
        "version": "1",
        "source": {"columns": ["low", "middle", "high"]},
        "output": {"kind": "Quantiles"},
    },
    "data": {"test": {"uri": "pvc://data/test.parquet"}},
    "gates": [
        {"name": "high-end", "metric": "pinball_loss", "quantile": "0.95", "require": {"Shadow": "<= 3"}},
        {"name": "inside", "metric": "interval_coverage", "require": {"Shadow": "within 0.85 .. 0.95"}},
        {"name": "order", "metric": "crossed_quantiles", "require": {"Shadow": "<= 0"}},
    ],
    "autonomy": {"target": "Shadow"},
}
RANKING: dict[str, Any] = {
    "task": {"type": "Ranking", "target": "relevance", "query": "search", "cluster": "user", "topK": 1},
    "model": {"version": "1", "source": {"columns": ["score"]}, "output": {"kind": "Value"}},
    "data": {
        "source": {"uri": "pvc://data/searches.parquet"},
        "split": {"method": "Group"},
        "slices": [{"name": "device", "column": "device"}],
    },
    "baselines": [{"name": "popular", "type": "Popularity", "by": ["item"]}, {"name": "random", "type": "Uniform"}],
    "gates": [
        {
            "name": "order",
            "metric": "ndcg",
            "each": ["overall", "device"],
            "require": {"Shadow": "better than popular"},
        },
        {"name": "first", "metric": "precision_at_k", "require": {"Shadow": ">= 0.3"}},
    ],
    "autonomy": {"target": "Suggest"},
}
FORECAST: dict[str, Any] = {
    "task": {"type": "Forecast", "target": "sold", "time": "day", "series": "shop", "horizon": "ahead", "season": 7},
    "model": {"version": "1", "source": {"columns": ["said"]}, "output": {"kind": "Value"}},
    "data": {"source": {"uri": "pvc://data/sold.parquet"}, "split": {"method": "Time", "gap": "7d"}},
    "baselines": [{"name": "week", "type": "SeasonalNaive", "period": "Week"}],
    "gates": [
        {"name": "each", "metric": "mase", "horizon": "Each", "require": {"Shadow": "<= 1"}},
        {"name": "far", "metric": "mase", "horizon": "7", "require": {"Suggest": "better than week by 5 %"}},
        {"name": "lasts", "metric": "error_growth", "require": {"Suggest": "<= 0.01"}},
    ],
    "autonomy": {"target": "Suggest"},
}


def forecast(path: str, value: Any) -> dict[str, Any]:
    """FORECAST with one value replaced, as `changed` does it."""
    return _with(FORECAST, path, value)


def windowed(field: str, value: Any, **more: Any) -> dict[str, Any]:
    """GOOD with a gate on each month, of which one field is replaced."""
    gate = {"name": "months", "metric": "roc_auc", "window": "Each", "require": {"Shadow": ">= 0.6"}}
    document = changed("data.windows", {"length": "Month"})
    return {**document, "gates": [{**gate, field: value, **more}, *document["gates"][1:]]}


ANNOTATIONS = {"uri": "pvc://data/said.csv", "row": "application", "annotator": "officer", "label": "opinion"}
GATEWAY: dict[str, Any] = {"parentRefs": [{"name": "shared"}], "hostnames": ["credit.example.com"]}

KEY = "-----BEGIN PUBLIC KEY-----\n" + "A" * 100 + "\n-----END PUBLIC KEY-----\n"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": (changed("model.sauce", "x"), "model.sauce"),
    "unknown metric": (changed("gates.0.metric", "auc"), "gates[0].metric"),
    "metric of another task": (changed("gates.1.metric", "mean_absolute_error"), "gates"),
    "unknown slice": (changed("gates.1.each", ["age", "region"]), "gates"),
    "unknown slice across": (changed("gates.2.across", "region"), "gates"),
    "unknown baseline": (changed("gates.0.require", {"Suggest": "better than lin"}), "gates"),
    "unknown unit": (changed("gates.3.require", {"Suggest": "<= 40sec"}), "gates[3].require.Suggest"),
    "a cut-off by one rate alone": (changed("model.output.choose", {"metric": "recall"}), "model.output.choose.metric"),
    "a cut-off by a rate that keeps itself": (
        changed("model.output.choose", {"metric": "recall", "atLeast": {"metric": "recall", "value": "0.9"}}),
        "model.output.choose.atLeast",
    ),
    "a cut-off by costs that aren't declared": (
        changed("model.output.choose", {"metric": "expected_cost"}),
        "model.output.choose.metric",
    ),
    "a cut-off by an F that isn't declared": (
        changed("model.output.choose", {"metric": "f_beta"}),
        "model.output.choose.metric",
    ),
    "a cut-off of labels": (
        changed("model.output", {"kind": "Label", "choose": {"metric": "f1"}}),
        "model.output.choose",
    ),
    "a cut-off chosen on no rows": (
        changed("model.output.choose", {"metric": "f1"})
        | {"data": {"source": {"uri": "pvc://data/credit.csv"}, "split": {"method": "Random", "validation": "0"}}},
        "model.output.choose",
    ),
    "unknown format": (changed("model.source.format", "Pickle"), "model.source.format"),
    "an MLflow folder in a registry": (
        changed("model.source", {"uri": "oci://registry.example/credit:7", "format": "MLflow"}),
        "model.source.uri",
    ),
    "an MLflow folder behind a query": (
        changed("model.source", {"uri": "https://models.example/7?version=3", "format": "MLflow"}),
        "model.source.uri",
    ),
    "a table in no known format": (changed("data.source.uri", "pvc://data/credit.xlsx"), "data.source"),
    "told apart without being asked": (
        changed("gates.1", {"name": "alike", "metric": "domain_auc", "require": {"Shadow": "<= 0.6"}}),
        "gates[1].metric",
    ),
    "groups of no production": (
        changed("gates.1", {"name": "all", "metric": "unrepresented_groups", "require": {"Shadow": "<= 0"}}),
        "gates[1].metric",
    ),
    "production in no known format": (changed("data.production", {"uri": "pvc://data/june.xlsx"}), "data.production"),
    "csv of a profile": (
        changed("data.production", {"uri": "pvc://data/june.json", "csv": {"separator": "Tab"}}),
        "data.production.csv",
    ),
    "storage of production's volume": (
        changed("data.production", {"uri": "pvc://data/june.json", "s3": {"region": "eu-central-1"}}),
        "data.production.s3",
    ),
    "csv of another format": (changed("data.source.csv", {"separator": "Tab"}), "data.source.csv"),
    "a user in a web address": (changed("data.source.uri", "https://me:word@data/credit.csv"), "data.source.uri"),
    "storage of a volume": (
        changed("data.source", {"uri": "pvc://data/credit.csv", "s3": {"region": "eu-central-1"}}),
        "data.source.s3",
    ),
    "an endpoint with a path": (
        changed("data.source", {"uri": "s3://data/credit.csv", "s3": {"endpoint": "https://h/minio"}}),
        "data.source.s3.endpoint",
    ),
    "an artefact without a tag": (changed("data.source.uri", "oci://registry/credit#a.csv"), "data.source.uri"),
    "credentials for a volume": (
        changed("data.source", {"uri": "pvc://data/credit.csv", "credentialsRef": {"name": "reader"}}),
        "data.source.credentialsRef",
    ),
    "credentials for a container": (
        changed("model.source", {"image": f"repo/x@{DIGEST}", "credentialsRef": {"name": "reader"}}),
        "model.source.credentialsRef",
    ),
    "unknown encoding": (
        changed("data.source", {"uri": "pvc://data/credit.csv", "csv": {"encoding": "EBCDIC"}}),
        "data.source.csv.encoding",
    ),
    "contradictory levels": (
        changed("gates.1.require", {"Shadow": ">= 0.7", "Automate": ">= 0.6"}),
        "gates[1].require",
    ),
    "wrong direction": (changed("gates.1.require", {"Shadow": "<= 0.7"}), "gates[1].require"),
    "latency without load": (changed("gates.3.load", ...), "gates[3]"),
    "each and across": (changed("gates.2.each", ["age"]), "gates[2]"),
    "no level": (changed("gates.0.require", {}), "gates[0].require"),
    "live rows of a metric that has none": (changed("gates.0.rows", "live"), "gates[0]"),
    "live rows against another": (
        changed(
            "gates.1", {"name": "r", "metric": "recall", "rows": "live", "require": {"Shadow": "better than linear"}}
        ),
        "gates[1].require",
    ),
    "steps that fall": (
        changed("autonomy", {"target": "Automate", "automate": {"steps": ["50%", "10%", "100%"]}}),
        "autonomy.automate",
    ),
    "steps that stand still": (
        changed("autonomy", {"target": "Automate", "automate": {"steps": ["50%", "50%", "100%"]}}),
        "autonomy.automate",
    ),
    "steps that end early": (
        changed("autonomy", {"target": "Automate", "automate": {"steps": ["50%"]}}),
        "autonomy.automate",
    ),
    "a minimum of blind decisions without any": (
        changed("autonomy", {"target": "Automate", "suggest": {"minBlind": 50}}),
        "autonomy.suggest.minBlind",
    ),
    "overrides where nobody sees the answer": (
        changed("autonomy", {"target": "Automate", "suggest": {"blindShare": "100%", "maxOverrideRate": "0.05"}}),
        "autonomy.suggest.maxOverrideRate",
    ),
    "F-beta without its beta": (
        changed("gates.1", {"name": "f", "metric": "f_beta", "require": {"Shadow": ">= 0.5"}}),
        "gates",
    ),
    "an expected cost without costs": (
        changed("gates.1", {"name": "cost", "metric": "expected_cost", "require": {"Shadow": "<= 9"}}),
        "gates",
    ),
    "a cost per million without prices": (
        changed("gates.1", {"name": "budget", "metric": "cost_per_million", "require": {"Shadow": "<= 9"}}),
        "gates",
    ),
    "a price below nothing": (
        changed("serving", {"prices": {"cpuHour": "-1", "gibHour": "0.005", "currency": "EUR"}}),
        "serving.prices.cpuHour",
    ),
    "a load for throughput": (
        changed("gates.1", {"name": "enough", "metric": "throughput", "load": "50/s", "require": {"Shadow": ">= 9"}}),
        "gates[1].load",
    ),
    "one class of two": (
        changed("gates.1", {"name": "r", "metric": "recall", "class": "bad", "require": {"Shadow": ">= 0.5"}}),
        "gates",
    ),
    "one class by slice": (changed("gates.1.class", "bad"), "gates[1].class"),
    "beta of nothing": (changed("task.beta", "0.0"), "task.beta"),
    "beta as a number": (changed("task.beta", 2), "task.beta"),
    "rows of a query that are classified": (changed("task.query", "customer"), "task.query"),
    "quantiles of classes": (changed("task.quantiles", ["0.1", "0.5"]), "task.quantiles"),
    "quantiles that no task has": (changed("model.output.kind", "Quantiles"), ""),
    "one quantile of none": (changed("gates.1.quantile", "0.9"), "gates[1].quantile"),
    "a forecast for no time": ({**forecast("task.time", ...), "data": {"test": {"uri": "pvc://d/t.csv"}}}, "task"),
    "a personal truth": (changed("data.personal", ["age", "risk"]), "data.personal"),
    "personal times": (forecast("data.personal", ["day"]), "data.personal"),
    "personal weights": (
        {**changed("task.weight", "w"), "data": changed("data.personal", ["w"])["data"]},
        "data.personal",
    ),
    "a personal column twice": (changed("data.personal", ["age", "age"]), "data.personal"),
    "a forecast split at random": (forecast("data.split", {"method": "Random"}), "data.split"),
    "a forecast that rolls up": (
        forecast("task.unit", {"column": "shop", "answers": "Mean", "labels": "Mean"}),
        "task.unit",
    ),
    "a forecast of classes": (forecast("model.output.kind", "Label"), "model"),
    "a season of classes": (changed("task.season", 7), "task"),
    "a season of no step": (forecast("task.season", 0), "task.season"),
    "a horizon of no step": (forecast("gates.1.horizon", "0"), "gates[1].horizon"),
    "a horizon that no column tells": (forecast("task.horizon", ...), "gates"),
    "a horizon of a slice": (forecast("gates.1.rows", "train"), "gates[1].horizon"),
    "a horizon of a count": (
        forecast("gates.1", {"name": "f", "metric": "leaks", "horizon": "7", "require": {"Shadow": "<= 0"}}),
        "gates[1].horizon",
    ),
    "windows of no length": (changed("data.windows", {}), "data.windows"),
    "windows of two lengths": (changed("data.windows", {"length": "30d", "count": 500}), "data.windows"),
    "windows of few rows": (changed("data.windows", {"count": 29}), "data.windows.count"),
    "windows of rows in a time zone": (
        changed("data.windows", {"count": 500, "timeZone": "Europe/Berlin"}),
        "data.windows.timeZone",
    ),
    "windows by no time": (
        {**changed("task.time", ...), "data": {"test": {"uri": "pvc://d/t.csv"}, "windows": {"length": "Month"}}},
        "data",
    ),
    "a gate on windows that nobody declares": (changed("gates.0.window", "Each"), "gates"),
    "one window of many": (windowed("window", "2013-07"), "gates[0].window"),
    "windows of a slice": (windowed("each", ["age"]), "gates[0].window"),
    "windows of training rows": (windowed("rows", "train"), "gates[0].window"),
    "windows of a count": (windowed("metric", "leaks", require={"Shadow": "<= 0"}), "gates[0].window"),
    "windows beside a baseline": (windowed("require", {"Suggest": "better than linear"}), "gates[0].require"),
    "the mean of classes": (
        changed("task.unit", {"column": "customer", "answers": "Mean", "labels": "Mean"}),
        "task.unit.labels",
    ),
    "live rows that don't roll up": (
        {
            **changed("gates.1", {"name": "r", "metric": "recall", "rows": "live", "require": {"Shadow": ">= 0.5"}}),
            "task": {**GOOD["task"], "unit": {"column": "customer", "answers": "Mean", "labels": "Max"}},
        },
        "gates",
    ),
    "shares that make no whole": (
        changed("data.sampling", [{"class": "bad", "prevalence": "0.2"}, {"class": "good", "prevalence": "0.9"}]),
        "data.sampling",
    ),
    "a share here and a rate there": (
        changed("data.sampling", [{"class": "bad", "prevalence": "0.2"}, {"class": "good", "kept": "0.9"}]),
        "data.sampling",
    ),
    "a share and a rate": (
        changed("data.sampling", [{"class": "bad", "prevalence": "1", "kept": "1"}]),
        "data.sampling[0]",
    ),
    "a class of which no row was kept": (
        changed("data.sampling", [{"class": "bad", "kept": "0.0"}]),
        "data.sampling[0].kept",
    ),
    "the truth as weight": (changed("task.weight", "risk"), "task.weight"),
    "a holdout and propensities": (
        changed("task.labels", {**LABELS, "holdout": "drawn", "propensity": "p"}),
        "task.labels",
    ),
    "a gate called as what stands beside gates": (changed("gates.1.name", "revealed-labels"), "gates[1].name"),
    "clipping of nothing": (changed("task.labels", {**LABELS, "minPropensity": "0.1"}), "task.labels.minPropensity"),
    "clipping at nothing": (
        changed("task.labels", {**LABELS, "propensity": "p", "minPropensity": "0.0"}),
        "task.labels.minPropensity",
    ),
    "a decision that is the truth": (
        changed("task.labels", {"revealedBy": {"column": "risk", "values": ["good"]}}),
        "task.labels",
    ),
    "no decision reveals": (
        changed("task.labels", {"revealedBy": {"column": "decision", "values": []}}),
        "task.labels.revealedBy.values",
    ),
    "labels of units": (
        {
            **GOOD,
            "task": {
                **GOOD["task"],
                "labels": LABELS,
                "unit": {"column": "customer", "answers": "Mean", "labels": "Max"},
            },
        },
        "task.labels",
    ),
    "labels of queries": ({**RANKING, "task": {**RANKING["task"], "labels": LABELS}}, "task.labels"),
    "drawn by class and by decision": (
        {
            **changed("task.labels", LABELS),
            "data": {**GOOD["data"], "sampling": [{"class": "bad", "kept": "1"}, {"class": "good", "kept": "0.5"}]},
        },
        "data.sampling",
    ),
    "numbers of everyone where nobody says who is hidden": (
        changed("readiness", {"labels": "Suggest"}),
        "readiness",
    ),
    "a latency beside gates": (changed("serving", {"latency": {"p99": "40ms", "load": "50/s"}}), "serving.latency"),
    "a latency of what isn't served": (
        {**FORECAST, "gates": [], "serving": {"latency": {"p99": "40ms", "load": "50/s"}}},
        "serving.latency",
    ),
    "the top of two classes": (changed("task.topK", 2), "task.topK"),
    "costs in two currencies": (
        changed("useCase.errorCosts", [ERROR_COST, {**ERROR_COST, "actual": "ugly", "currency": "USD"}]),
        "useCase.errorCosts",
    ),
    "an error that pays": (changed("useCase.errorCosts", [ERROR_COST | {"cost": "-1"}]), "useCase.errorCosts[0].cost"),
    "the cost of a right answer": (
        changed("useCase.errorCosts", [ERROR_COST | {"predicted": "bad"}]),
        "useCase.errorCosts",
    ),
    "no target": (changed("autonomy", {}), "autonomy.target"),
    "two sources": (changed("model.source.image", f"repo/x@{DIGEST}"), "model.source"),
    "no positive": (changed("task.positive", ...), "task"),
    "time without column": (changed("task.time", ...), "task"),
    "split beyond one": (changed("data.split.train", "0.9"), "data.split"),
    "value for a class": (changed("model.output.kind", "Value"), "model.output"),
    "no inputs": (changed("model.inputs", ...), "model"),
    "nothing asked at Shadow": (changed("gates.1.require", {"Automate": ">= 0.70"}), "gates"),
    "reserved baseline": (changed("baselines.0.name", "champion"), "baselines[0]"),
    "a baseline of numbers for classes": (changed("baselines.0.type", "Median"), "baselines[0].type"),
    "a seed of nothing random": (changed("baselines.0.seed", 3), "baselines[0].seed"),
    "a season without its length": (
        changed("baselines.0", {"name": "prior", "type": "LastPeriodMean"}),
        "baselines[0]",
    ),
    "a period of no calendar": (
        changed("baselines.0", {"name": "prior", "type": "LastPeriodMean", "period": "Fortnight"}),
        "baselines[0].period",
    ),
    "a series of what doesn't look back": (changed("baselines.1.by", ["shop"]), "baselines[1].by"),
    "a column of no type Column": (changed("baselines.1.column", "rule"), "baselines[1]"),
    "a container of no type Container": (changed("baselines.0.container", CONTAINER), "baselines[0]"),
    "a baseline without its container": (
        changed("baselines.0", {"name": "prior", "type": "Container"}),
        "baselines[0]",
    ),
    "a container by its tag": (with_containers({"image": "repo/rival:7"}), "baselines[2].container.image"),
    "a container where the model listens": (with_containers(CONTAINER | {"port": 8080}), "baselines"),
    "a container where the champion listens": (with_containers(CONTAINER | {"port": 8081}), "baselines"),
    "two containers on one port": (with_containers(CONTAINER, CONTAINER), "baselines"),
    "three containers": (with_containers(*(CONTAINER | {"port": port} for port in (9001, 9002, 9003))), "baselines"),
    "a container that is fed nothing": (
        {**with_containers(CONTAINER), "model": {"version": "7", "source": {"columns": ["p"]}}},
        "baselines",
    ),
    "people without annotations": (changed("baselines.0", {"name": "prior", "type": "Human"}), "baselines"),
    "agreement without annotations": (
        changed("gates.1", {"name": "agree", "metric": "cohen_kappa", "require": {"Shadow": ">= 0.5"}}),
        "gates",
    ),
    "label noise by annotators who may have made the labels": (
        {
            **changed("gates.1", {"name": "noise", "metric": "label_noise", "require": {"Shadow": "<= 0.05"}}),
            "task": GOOD["task"] | {"id": "application"},
            "data": GOOD["data"] | {"annotations": ANNOTATIONS},
        },
        "gates",
    ),
    "annotations of rows without a name": (changed("data.annotations", ANNOTATIONS), "task"),
    "reserved slice": (changed("data.slices.0.name", "overall"), "data.slices[0]"),
    "gateway of no provider": (changed("serving", {"gateway": GATEWAY}), "serving.gateway"),
    "a gateway for Services": (changed("serving", {"provider": "Service", "gateway": GATEWAY}), "serving.gateway"),
    "a gateway for others": (changed("serving", {"provider": "External", "gateway": GATEWAY}), "serving.gateway"),
    "replicas of others": (changed("serving", {"provider": "External", "replicas": 2}), "serving.replicas"),
    "provider without gateway": (changed("serving", {"provider": "GatewayAPI"}), "serving.gateway"),
    "replays beside copies": (
        changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY, "replay": {}}),
        "serving.replay",
    ),
    "no replays a second": (changed("serving", {"replay": {"rate": "0/s"}}), "serving.replay.rate"),
    "inputs for ever": (changed("serving", {"replay": {"keep": "30d"}}), "serving.replay.keep"),
    "any number of inputs": (changed("serving", {"replay": {"inputs": 10_001}}), "serving.replay.inputs"),
    "no copies": (changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY | {"mirror": "0%"}}), "serving"),
    "any host": (
        changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY | {"hostnames": ["*.b.c"]}}),
        "serving",
    ),
    "no room for -suggest": (
        changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY | {"hostnames": ["a" * 56 + ".b"]}}),
        "serving",
    ),
    "one host for both addresses": (
        changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY | {"hostnames": ["a.b", "a-suggest.b"]}}),
        "serving.gateway.hostnames",
    ),
    "bad digest": (changed("model.source.digest", "md5:1"), "model.source.digest"),
    "bad uri": (changed("data.source.uri", "gopher://hole/x.parquet"), "data.source.uri"),
    "empty column": (changed("task.target", ""), "task.target"),
    "confidence below 95 %": (changed("gates.0.confidence", "0.90"), "gates[0].confidence"),
    "edges that fall": (changed("data.slices.0.edges", ["30", "20"]), "data.slices[0].edges"),
    "equalized odds of one group": (
        changed("gates.0", {"name": "odds", "metric": "equalized_odds", "require": {"Suggest": "<= 0.1"}}),
        "gates[0].across",
    ),
    "a ratio of what can be negative": (
        changed("gates.2.metric", "matthews_corrcoef"),
        "gates[2].as",
    ),
    "an absolute error of classes": (changed("data.search", {"loss": "AbsoluteError"}), "data.search.loss"),
    "a search of single rows": (changed("data.search", {"minRows": 5}), "data.search.minRows"),
    "the signature of an image": (
        changed(
            "model.source",
            {"image": "registry.example/model@sha256:" + "0" * 64, "signature": {"value": "A" * 64, "publicKey": KEY}},
        ),
        "model.source.signature",
    ),
    "a signature that is no base64": (
        changed("model.source.signature", {"value": "no signature " * 5, "publicKey": KEY}),
        "model.source.signature.value",
    ),
    "a key in another form": (
        changed("model.source.signature", {"value": "A" * 64, "publicKey": "ssh-ed25519 " + "A" * 100}),
        "model.source.signature.publicKey",
    ),
    "neither column nor cross": (changed("data.slices.0", {"name": "age"}), "data.slices[0]"),
    "column and cross": (changed("data.slices.1.cross", ["age", "sex"]), "data.slices[1]"),
    "edges beside quantiles": (changed("data.slices.0.quantiles", 4), "data.slices[0].quantiles"),
    "one quantile": (changed("data.slices.1.quantiles", 1), "data.slices[1].quantiles"),
    "edges of a cross": (
        changed("data.slices", [*SLICES, {"name": "both", "cross": ["age", "sex"], "edges": ["1"]}]),
        "data.slices",
    ),
    "a cross of three": (
        changed("data.slices", [*SLICES, {"name": "all", "cross": ["age", "sex", "region"]}]),
        "data.slices[2].cross",
    ),
    "a cross of an unknown slice": (
        changed("data.slices", [*SLICES, {"name": "both", "cross": ["age", "region"]}]),
        "data.slices",
    ),
    "a cross of a cross": (
        changed(
            "data.slices",
            [*SLICES, {"name": "both", "cross": ["age", "sex"]}, {"name": "more", "cross": ["both", "sex"]}],
        ),
        "data.slices",
    ),
    "a slice crossed with itself": (
        changed("data.slices", [*SLICES, {"name": "both", "cross": ["age", "age"]}]),
        "data.slices[2].cross",
    ),
    "a share with a unit": (changed("gates.1.require", {"Shadow": ">= 0.5ms"}), "gates[1].require.Shadow"),
    "better than rest, overall": (changed("gates.0.require", {"Suggest": "better than rest"}), "gates[0].each"),
    "probabilities of a label": (changed("model.output.kind", "Label"), "gates[0].metric"),
    "latency by slice": (changed("gates.3.each", ["age"]), "gates[3].each"),
    "latency of live rows": (changed("gates.3.rows", "train-test"), "gates[3].rows"),
    "resources without a quantity": (
        changed("serving", {"resources": {"limits": {"cpu": "lots"}}}),
        "serving.resources.limits.cpu",
    ),
    "a Dask cluster at two places": (
        changed("evaluation", {"dask": {"address": "tcp://scheduler.dask:8786", "cluster": "scoring"}}),
        "evaluation.dask",
    ),
    "a Dask cluster nowhere": (changed("evaluation", {"dask": {}}), "evaluation.dask"),
    "a scheduler without a port": (
        changed("evaluation", {"dask": {"address": "tcp://scheduler.dask"}}),
        "evaluation.dask.address",
    ),
    "a scheduler over HTTP": (
        changed("evaluation", {"dask": {"address": "http://scheduler.dask:8787"}}),
        "evaluation.dask.address",
    ),
    "a scheduler at no port": (
        changed("evaluation", {"dask": {"address": "tcp://scheduler.dask:65536"}}),
        "evaluation.dask.address",
    ),
    "a secret scheduler without its Secret": (
        changed("evaluation", {"dask": {"address": "tls://scheduler.dask:8786"}}),
        "evaluation.dask.credentialsRef",
    ),
    "a Secret for nothing secret": (
        changed("evaluation", {"dask": {"cluster": "scoring", "credentialsRef": {"name": "dask"}}}),
        "evaluation.dask.credentialsRef",
    ),
}
OPERATOR_ONLY = {
    "personal weights",
    "a scheduler at no port",
    "an absolute error of classes",
    "nothing asked at Shadow",
    "edges that fall",
    "a share with a unit",
    "better than rest, overall",
    "probabilities of a label",
    "latency by slice",
    "latency of live rows",
    "resources without a quantity",
}
"""What the schema has no way to say, so that the API server takes it and the operator refuses."""
