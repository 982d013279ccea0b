"""A small ModelDeployment and evidence for it, good or bad; shared with the tests on a real API server."""

from __future__ import annotations

import copy
from typing import Any

from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Computed, Estimate, Evidence, HeldOut, Inputs, Measured, Quantity, Support

MODEL_DIGEST = "sha256:" + "a" * 64
SPEC: dict[str, Any] = {
    "useCase": {"owner": "tests", "riskTier": "Low"},
    "model": {
        "version": "1",
        "source": {"uri": "pvc://models/credit/1/model.onnx", "format": "ONNX", "digest": MODEL_DIGEST},
        "inputs": {"columns": ["amount", "duration"]},
    },
    "task": {"type": "Binary", "target": "risk", "positive": "bad"},
    "data": {"source": {"uri": "pvc://data/credit.parquet"}, "split": {"method": "Random"}},
    "gates": [
        {
            "name": "accurate",
            "metric": "accuracy",
            "burden": "Shown",
            "require": {"Shadow": ">= 0.5", "Suggest": ">= 0.7", "Automate": ">= 0.9"},
        }
    ],
    "autonomy": {
        "target": "Suggest",
        "shadow": {"minDuration": "0s", "minPredictions": 0},
        "suggest": {"minDuration": "0s", "minPredictions": 0, "minLabelled": 0},
    },
}


def mdep(name: str = "credit", namespace: str = "lending", **changes: Any) -> dict[str, Any]:
    """A ModelDeployment as a user writes it; `changes` are `path__to__field=value`, below spec."""
    spec = copy.deepcopy(SPEC)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = spec
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def evidence(accuracy: float, *, rows: int = 10_000, model: str = MODEL_DIGEST, test_rows: int = 0) -> Evidence:
    """Evidence with one number; `test_rows` tells disjoint sets of test rows apart."""
    right = round(rows * accuracy)
    estimate = Estimate(
        quantity=Quantity(metric="accuracy"),
        estimate=right / rows,
        interval=Beta(successes=right, trials=rows),
        support=Support(rows=rows, events=rows - right),
    )
    digest = "sha256:" + "b" * 64
    computed = Computed(
        task="Binary",
        inputs=Inputs(model=model, data={"source": digest}, split=digest, predictions=digest, settings=digest),
        rows={"test": rows},
        row_sketch=tuple(f"{test_rows:08x}{index:08x}" for index in range(8)),
        held_out=HeldOut(status="Declared", reason="a sample"),
        estimates=(estimate,),
    )
    return Evidence(computed=computed, measured=Measured())
