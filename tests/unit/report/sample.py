"""A small real measurement: a synthetic table through the engine and the judge, for tests of what reports say."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec
from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Estimate, Evidence, Measured, Quantity, Support
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.split import divide
from mandate.report.content import LookSource, Report, build
from mandate.verdict.judge import judge
from mandate.verdict.required import required

SPEC: dict[str, Any] = {
    "useCase": {"decision": "Approve a loan", "owner": "credit-models"},
    "model": {
        "version": "7",
        "source": {"columns": ["score"]},
        "inputs": {"columns": ["amount", "age"]},
    },
    "task": {"type": "Binary", "target": "risk", "positive": "bad", "id": "id"},
    "data": {
        "source": {"uri": "loans.csv"},
        "split": {"method": "Random", "seed": 7},
        "slices": [
            {"name": "age", "column": "age", "edges": ["30", "45"]},
            {"name": "sex", "column": "sex", "sensitive": True},
        ],
    },
    "baselines": [{"name": "prior", "type": "Prior"}, {"name": "linear", "type": "Linear"}],
    "gates": [
        {"name": "beats-prior", "metric": "log_loss", "require": {"Shadow": "better than prior"}},
        {"name": "ranking", "metric": "roc_auc", "require": {"Suggest": ">= 0.60", "Automate": ">= 0.80"}},
        {
            "name": "recall",
            "metric": "recall",
            "each": ["overall", "age"],
            "require": {"Shadow": ">= 0.20", "Automate": ">= 0.90"},
        },
        {
            "name": "fair",
            "metric": "selection_rate",
            "across": "sex",
            "as": "ratio",
            "require": {"Automate": ">= 0.80"},
        },
    ],
    "autonomy": {"target": "Automate"},
}


def table(rows: int = 3000, *, seed: int = 11) -> pa.Table:
    """Loans whose risk depends on amount and age, with a score that knows a part of it."""
    random = np.random.default_rng(seed)
    amount = random.lognormal(8, 0.8, rows)
    age = random.integers(19, 75, rows)
    sex = random.choice(["female", "male"], rows)
    logit = 0.9 * (np.log(amount) - 8) - 0.02 * (age - 45) - 0.8
    bad = random.random(rows) < 1 / (1 + np.exp(-logit))
    score = 1 / (1 + np.exp(-(logit + random.normal(0, 0.3, rows))))
    return pa.table(
        {
            "id": [f"a{row}" for row in range(rows)],
            "amount": amount.round(2),
            "age": age,
            "sex": sex,
            "score": score,
            "risk": np.where(bad, "bad", "good"),
        }
    )


def changed(**parts: Any) -> dict[str, Any]:
    """SPEC with top-level parts replaced."""
    return copy.deepcopy(SPEC) | parts


COSTS = [
    {"actual": "bad", "predicted": "good", "cost": "5200", "currency": "EUR"},
    {"actual": "good", "predicted": "bad", "cost": "900", "currency": "EUR"},
]
ANIMALS = ("ant", "bee", "<b>")
SEVERAL: dict[str, Any] = {
    "model": {
        "version": "1",
        "source": {"columns": ["p0", "p1", "p2"]},
        "inputs": {"columns": ["x"]},
        "output": {"kind": "Probability", "classes": list(ANIMALS)},
    },
    "task": {"type": "Multiclass", "target": "kind", "id": "id", "beta": "0.5", "topK": 2},
    "data": {"source": {"uri": "animals.csv"}, "split": {"method": "Random"}},
    "baselines": [{"name": "usual", "type": "MostFrequent"}],
    "gates": [
        {"name": "bees", "metric": "recall", "class": "bee", "require": {"Shadow": ">= 0.2"}},
        {"name": "top", "metric": "top_k_accuracy", "require": {"Suggest": ">= 0.99"}},
    ],
    "autonomy": {"target": "Suggest"},
}
"""Three classes, one of them hostile."""


def animals(rows: int = 3000, *, seed: int = 5) -> pa.Table:
    """Three classes with probabilities that lean towards the truth."""
    random = np.random.default_rng(seed)
    shares = np.array([0.6, 0.3, 0.1])
    kind = random.choice(3, rows, p=shares)
    raw = np.exp(random.normal(size=(rows, 3)) + 1.6 * np.eye(3)[kind]) * shares
    scores = raw / raw.sum(axis=1, keepdims=True)
    return pa.table(
        {"id": np.arange(rows), "x": kind + random.normal(size=rows), "kind": [ANIMALS[k] for k in kind]}
        | {f"p{k}": scores[:, k] for k in range(3)}
    )


def measured(spec: ModelDeploymentSpec, rows: pa.Table) -> Evidence:
    """What the engine finds; nothing served."""
    assert spec.data.split is not None
    assert spec.model.source.columns is not None
    computed = compute(
        table=rows,
        split=divide(rows, how=spec.data.split, task=spec.task),
        answers=from_columns(rows, spec.model.source.columns),
        model=spec.model,
        task=spec.task,
        data=spec.data,
        references=spec.baselines,
        error_costs=spec.use_case.error_costs,
        data_digests={"data": "sha256:" + "d" * 64},
    )
    return Evidence(computed=computed, measured=Measured(versions={"mandate": "0.1.0"}, seconds={"measure": 0.4}))


def judged(
    document: dict[str, Any], evidence: Evidence, *, look: int = 1, look_source: LookSource = "Assumed"
) -> Report:
    """The report on evidence under a spec's criteria."""
    spec = effective(load_spec(document))
    verdict = judge(
        gates=spec.gates,
        tier=spec.use_case.risk_tier,
        evidence=evidence,
        look=look,
        champion=False,
        target=spec.autonomy.target,
        required=required(spec),
    )
    return build(name="credit", spec=spec, evidence=evidence, verdict=verdict, look_source=look_source)


CROWDED_METRICS = (
    "accuracy", "balanced_accuracy", "precision", "recall", "f1", "false_positive_rate", "selection_rate", "roc_auc",
    "log_loss", "brier_score",
)  # fmt: skip


@cache
def crowd() -> Report:
    """500 values of one slice × 10 metrics, each with a gate; the higher a value's number, the better it does."""
    asked = {"false_positive_rate": "<= 0.5", "log_loss": "<= 0.5", "brier_score": "<= 0.5"}
    gates = [
        {
            "name": metric.replace("_", "-"),
            "metric": metric,
            "each": ["overall", "city"],
            "require": {"Shadow": asked.get(metric, "within 0.1 .. 0.9" if metric == "selection_rate" else ">= 0.5")},
        }
        for metric in CROWDED_METRICS
    ]
    document = changed(gates=gates)
    document["data"]["slices"] = [{"name": "city", "column": "city"}]
    estimates = []
    for metric in CROWDED_METRICS:
        for value in range(-1, 500):
            share = 0.35 + 0.3 * value / 500 if metric not in asked else 0.65 - 0.3 * value / 500
            name = {} if value < 0 else {"slice": "city", "value": f"Köln {value:03} <b>&"}
            estimates.append(
                Estimate(
                    quantity=Quantity(metric=metric, **name),
                    estimate=share,
                    interval=Beta(successes=1000 * share, trials=1000.0),
                    support=Support(rows=1000 + value, events=500),
                )
            )
    found = evidence()
    computed = found.computed.model_copy(update={"estimates": tuple(estimates)})
    return judged(document, Evidence(computed=computed, measured=found.measured))


@cache
def evidence() -> Evidence:
    """SPEC measured on `table()`."""
    return measured(effective(load_spec(SPEC)), table())


def report(**options: Any) -> Report:
    """SPEC's report."""
    return judged(SPEC, evidence(), **options)
