"""A good spec, and small changes that make it bad: used by the checker's tests and by those on a real API server."""

from __future__ import annotations

import copy
from typing import Any

DIGEST = "sha256:" + "a" * 64

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
        "slices": [{"name": "age", "column": "age", "edges": ["20", "30"]}, {"name": "sex", "column": "sex"}],
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
    spec = copy.deepcopy(GOOD)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    node: Any = spec
    for part in parents:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return spec


GATEWAY: dict[str, Any] = {"parentRefs": [{"name": "shared"}], "hostnames": ["credit.example.com"]}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": (changed("model.sauce", "x"), "model.sauce"),
    "unknown metric": (changed("gates.0.metric", "auc"), "gates[0].metric"),
    "metric of another task": (changed("gates.1.metric", "mean_absolute_error"), "gates"),
    "unknown slice": (changed("gates.1.each", ["age", "region"]), "gates"),
    "unknown slice across": (changed("gates.2.across", "region"), "gates"),
    "unknown baseline": (changed("gates.0.require", {"Suggest": "better than lin"}), "gates"),
    "unknown unit": (changed("gates.3.require", {"Suggest": "<= 40sec"}), "gates[3].require.Suggest"),
    "unknown format": (changed("model.source.format", "Pickle"), "model.source.format"),
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
    "no target": (changed("autonomy", {}), "autonomy.target"),
    "two sources": (changed("model.source.image", f"repo/x@{DIGEST}"), "model.source"),
    "no positive": (changed("task.positive", ...), "task"),
    "time without column": (changed("task.time", ...), "task"),
    "split beyond one": (changed("data.split.train", "0.9"), "data.split"),
    "value for a class": (changed("model.output.kind", "Value"), "model.output"),
    "no inputs": (changed("model.inputs", ...), "model"),
    "nothing asked at Shadow": (changed("gates.1.require", {"Automate": ">= 0.70"}), "gates"),
    "reserved baseline": (changed("baselines.0.name", "champion"), "baselines[0]"),
    "reserved slice": (changed("data.slices.0.name", "overall"), "data.slices[0]"),
    "gateway of no provider": (changed("serving", {"gateway": GATEWAY}), "serving.gateway"),
    "provider without gateway": (changed("serving", {"provider": "GatewayAPI"}), "serving.gateway"),
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
    "bad uri": (changed("data.source.uri", "s3://bucket/x.parquet"), "data.source.uri"),
    "empty column": (changed("task.target", ""), "task.target"),
    "confidence below 95 %": (changed("gates.0.confidence", "0.90"), "gates[0].confidence"),
    "edges that fall": (changed("data.slices.0.edges", ["30", "20"]), "data.slices[0].edges"),
    "a share with a unit": (changed("gates.1.require", {"Shadow": ">= 0.5ms"}), "gates[1].require.Shadow"),
    "better than rest, overall": (changed("gates.0.require", {"Suggest": "better than rest"}), "gates[0].each"),
    "probabilities of a label": (changed("model.output.kind", "Label"), "gates[0].metric"),
    "latency by slice": (changed("gates.3.each", ["age"]), "gates[3].each"),
    "latency of live rows": (changed("gates.3.rows", "train-test"), "gates[3].rows"),
    "resources without a quantity": (
        changed("serving", {"resources": {"limits": {"cpu": "lots"}}}),
        "serving.resources.limits.cpu",
    ),
}

OPERATOR_ONLY = {
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
