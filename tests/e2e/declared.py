"""ModelDeployments, tables and users as the tests declare them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tests.e2e.cluster import API, Object, Space
from tests.e2e.images.server import PORTS
from tests.evaluation import loans

ROWS = 2000
LABELS = {"bad": "bad", "good": "good"}
LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def table(*, labels: Mapping[str, str] = LABELS, ids: str = "L", rows: int = ROWS) -> bytes:
    """A Parquet file of loans; `x` holds the log-odds that a perfect model would know."""
    whole = loans(rows)
    amount = np.nan_to_num(whole["amount"].to_numpy(zero_copy_only=False).astype(float))
    x = amount + whole["age"].to_numpy() / 100 + (np.array(whole["purpose"].to_pylist()) == "car") - 1
    renamed = pa.array([labels[label] for label in whole["risk"].to_pylist()])
    named = pa.array([f"{ids}{row:05d}" for row in range(rows)])
    whole = whole.set_column(whole.column_names.index("risk"), "risk", renamed)
    whole = whole.set_column(whole.column_names.index("id"), "id", named).append_column("x", pa.array(x))
    file = io.BytesIO()
    parquet.write_table(whole, file)
    return file.getvalue()


def model(
    name: str,
    *,
    version: str = "1",
    source: Mapping[str, Any],
    columns: tuple[str, ...] = ("amount", "age", "purpose"),
    data: str = "pvc://data/loans.parquet",
    positive: str = "bad",
    at_least: str = "0.60",
    fallback: bool = False,
) -> Object:
    """A ModelDeployment that may suggest if its ROC AUC is shown to be `at_least`."""
    use_case: Object = {"decision": "Approve a loan, or refer it", "riskTier": "Low"}
    if fallback:
        use_case["fallback"] = {"serviceRef": {"name": "rule", "port": 8080}}
    return {
        "apiVersion": API,
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {
            "useCase": use_case,
            "model": {"version": version, "source": dict(source), "inputs": {"columns": list(columns)}},
            "task": {"type": "Binary", "target": "risk", "positive": positive, "id": "id"},
            "data": {"source": {"uri": data}, "split": {"method": "Random", "seed": 7}},
            "baselines": [{"name": "prior", "type": "Prior"}],
            "gates": [
                {"name": "ranks", "metric": "roc_auc", "require": {"Shadow": f">= {at_least}"}, "burden": "Shown"}
            ],
            "autonomy": {"target": "Suggest", "shadow": {"minDuration": "0s", "minPredictions": 0}},
            "serving": {"resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "20m"}}},
        },
    }


def onnx(path: str = "good.onnx") -> Object:
    """A model file in the volume."""
    return {"uri": f"pvc://models/{path}", "format": "ONNX"}


def behaving(space: Space, behaviour: str) -> Object:
    """A container that answers, or misbehaves; see images/server.py."""
    return {"image": space.cluster.images["test-model"], "port": PORTS[behaviour]}


def dying(space: Space, name: str) -> Object:
    """A ModelDeployment of a container that ends before it listens, again and again."""
    source = {"image": space.cluster.images["test-dying"], "port": PORTS["honest"]}
    return model(name, source=source, columns=("x",))


def misbehaving(space: Space, name: str, behaviour: str, **more: Any) -> Object:
    """A ModelDeployment of such a container."""
    return model(name, source=behaving(space, behaviour), columns=("x",), **more)


def bystander(space: Space, name: str, *, port: int = PORTS["honest"]) -> list[Object]:
    """A Pod without labels of ours that answers the protocol, and its Service."""
    container = {
        "name": "main",
        "image": space.cluster.images["test-model"],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "securityContext": LOCKED,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    metadata = {"name": name, "namespace": space.name}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata | {"labels": {"app": name}},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "containers": [container],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": name}, "ports": [{"port": 8080, "targetPort": port}]},
        },
    ]
