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
from mandate.evidence.schema import Evidence, Measured
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.split import divide
from mandate.report.content import LookSource, Report, build
from mandate.verdict.judge import judge

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
    )
    return build(name="credit", spec=spec, evidence=evidence, verdict=verdict, look_source=look_source)


@cache
def evidence() -> Evidence:
    """SPEC measured on `table()`."""
    return measured(effective(load_spec(SPEC)), table())


def report(**options: Any) -> Report:
    """SPEC's report."""
    return judged(SPEC, evidence(), **options)
