"""200,000 rows of 24 numbers through the predictor's own process, and through ONNX Runtime in this one.

Served: `evaluate_locally(serve=True)`, as `mandate evaluate --serve` does it: the predictor is a process beside, asked
over HTTP by the Open Inference Protocol with binary tensors, batches and concurrency; what counts is its evidence's
`predict`, from the table in memory to all answers, the first question included. In process: from the same table in
memory to a matrix, and `InferenceSession.run` with default options on all rows, or in batches, whichever is faster.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROWS, FEATURES, GROUPS, TREES, BATCH = 200_000, 24, 6, 100, 10_000
MODELS = ("logistic", "trees")
NAMES = [f"x{index}" for index in range(FEATURES)]


def prepare(folder: Path) -> None:
    """One table, two models, a manifest of each."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    x = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = (random.random(ROWS) < 1 / (1 + np.exp(-x[:, 0] - x[:, 1] / 2))).astype(int)
    columns = dict(zip(NAMES, x.T, strict=True))
    groups = random.integers(0, GROUPS, ROWS).astype(str)
    parquet.write_table(pa.table({"id": np.arange(ROWS), "y": y, "group": groups} | columns), folder / "rows.parquet")
    trees = RandomForestClassifier(n_estimators=TREES, max_depth=8, random_state=1, n_jobs=1)
    for name, model in zip(MODELS, (LogisticRegression(), trees), strict=True):
        exported = to_onnx(model.fit(x[:20_000], y[:20_000]), x[:1], options={"zipmap": False}, target_opset=17)
        (folder / f"{name}.onnx").write_bytes(exported.SerializeToString())
        (folder / f"{name}.json").write_text(json.dumps(_manifest(name)))


def _manifest(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "bench"},
        "spec": {
            "useCase": {"decision": "none: this is a benchmark", "riskTier": "Low"},
            "model": {
                "version": "1",
                "source": {"uri": f"{name}.onnx", "format": "ONNX"},
                "inputs": {"columns": NAMES, "encoding": "Matrix", "name": "X"},
            },
            "task": {"type": "Binary", "target": "y", "positive": "1", "id": "id"},
            "data": {
                "source": {"uri": "rows.parquet"},
                "split": {"method": "Random", "seed": 7},
                "slices": [{"name": "group", "column": "group"}],
            },
            "baselines": [{"name": "prior", "type": "Prior"}],
            "gates": [{"name": "ranks", "metric": "roc_auc", "require": {"Shadow": ">= 0.6"}}],
            "autonomy": {"target": "Shadow"},
        },
    }


def served(folder: Path, *, model: str) -> dict[str, float]:
    """Seconds of the evaluation's stages."""
    from mandate.cli import manifest
    from mandate.evaluate.local import evaluate_locally
    from mandate.evidence.measurement import evaluation_spec
    from mandate.measure.work import available, threads
    from mandate.sources import Reader

    declared = manifest.read(folder / f"{model}.json")
    found = evaluate_locally(
        evaluation_spec(declared.name, declared.declared),
        reader=Reader(mounts={}, base=folder),
        now=datetime.now(UTC),
        serve=True,
        workers=threads(available()),
    )
    return {stage: float(seconds) for stage, seconds in found.measured.seconds.items()}


def in_process(folder: Path, *, model: str) -> dict[str, float]:
    """Seconds of ONNX Runtime alone."""
    import numpy as np
    import onnxruntime
    from pyarrow import parquet

    table = parquet.read_table(folder / "rows.parquet")
    session = onnxruntime.InferenceSession(folder / f"{model}.onnx", providers=["CPUExecutionProvider"])
    (name,), outputs = (found.name for found in session.get_inputs()), ["probabilities"]
    found = []
    for size in (ROWS, BATCH):
        start = time.perf_counter()
        matrix = np.column_stack([table[column].to_numpy() for column in NAMES])
        for first in range(0, ROWS, size):
            session.run(outputs, {name: matrix[first : first + size]})
        found.append(time.perf_counter() - start)
    return {"predict": min(found)}
