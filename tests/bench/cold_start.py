"""What a person waits for: `mandate evaluate` on 8,000 rows, and `mandate --help`, each in a process of its own.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.cold_start [runs]

The table has 20 features and a slice of six values; the model is a logistic regression as ONNX; the baselines are Prior
and Linear. Prints minimum, median and maximum of the wall time, after one run that isn't counted and fills the file
cache; ends with 1 where a median is over its limit.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

ROWS, FEATURES, GROUPS = 8000, 20, 6
EVALUATE_SECONDS, HELP_SECONDS = 3.0, 0.5
"""What the medians may be."""


def prepare(folder: Path) -> Path:
    """The table, the model and the manifest; returns the manifest."""
    random = np.random.default_rng(1)
    x = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    y = (random.random(ROWS) < 1 / (1 + np.exp(-x[:, 0] - x[:, 1] / 2))).astype(int)
    model = LogisticRegression().fit(x[: ROWS // 2], y[: ROWS // 2])
    exported = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=17)
    (folder / "model.onnx").write_bytes(exported.SerializeToString())
    names = [f"x{index}" for index in range(FEATURES)]
    columns = dict(zip(names, x.T, strict=True))
    groups = random.integers(0, GROUPS, ROWS).astype(str)
    parquet.write_table(pa.table({"id": np.arange(ROWS), "y": y, "group": groups} | columns), folder / "rows.parquet")
    manifest = {
        "apiVersion": "mandate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "bench"},
        "spec": {
            "useCase": {"decision": "none: this is a benchmark", "riskTier": "Low"},
            "model": {
                "version": "1",
                "source": {"uri": "model.onnx", "format": "ONNX"},
                "inputs": {"columns": names, "encoding": "Matrix", "name": "X"},
            },
            "task": {"type": "Binary", "target": "y", "positive": "1", "id": "id"},
            "data": {
                "source": {"uri": "rows.parquet"},
                "split": {"method": "Random", "seed": 7},
                "slices": [{"name": "group", "column": "group"}],
            },
            "baselines": [{"name": "prior", "type": "Prior"}, {"name": "linear", "type": "Linear"}],
            "gates": [
                {
                    "name": "ranks",
                    "metric": "roc_auc",
                    "each": ["overall", "group"],
                    "require": {"Shadow": ">= 0.6"},
                    "burden": "NotRefuted",
                },
                {"name": "calibrated", "metric": "log_loss", "require": {"Shadow": "better than prior"}},
                {
                    "name": "beats-linear",
                    "metric": "log_loss",
                    "require": {"Shadow": "no worse than linear by 0.1"},
                    "burden": "NotRefuted",
                },
            ],
            "autonomy": {"target": "Shadow"},
        },
    }
    path = folder / "model.json"
    path.write_text(json.dumps(manifest))
    return path


def run(arguments: list[str]) -> float:
    """Seconds that `mandate` takes with these arguments."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mandate.cli", *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def measure(title: str, arguments: list[str], *, limit: float, runs: int) -> bool:
    """Print how long a command takes; returns whether the median keeps to its limit in seconds."""
    run(arguments)
    seconds = [run(arguments) for _ in range(runs)]
    median = statistics.median(seconds)
    print(
        f"{title}: {min(seconds):.2f} / {median:.2f} / {max(seconds):.2f} s (minimum / median / maximum of {runs};"
        f" the median may be {limit} s)"
    )
    if median > limit:
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(
            f"{title}: a median of {median:.2f} s is over {limit} s; the load average of 1, 5 and 15 minutes is {load}"
            f" on {os.cpu_count()} cores: where it is above the cores, run this again when they are free",
            file=sys.stderr,
        )
    return median <= limit


def main(runs: int) -> int:
    """Measure both commands, whatever comes out of the first."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = prepare(Path(folder))
        evaluate = f"mandate evaluate, {ROWS} rows, a slice of {GROUPS}"
        kept = [
            measure(evaluate, ["evaluate", "-f", str(manifest)], limit=EVALUATE_SECONDS, runs=runs),
            measure("mandate --help", ["--help"], limit=HELP_SECONDS, runs=runs),
        ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
