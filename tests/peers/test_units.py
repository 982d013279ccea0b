"""Rows that roll up to units, against the evidence of a table that pandas rolled up beforehand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import Computed
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.split import Split, divide

HOW = {"Mean": "mean", "Max": "max", "Last": "last"}
SAMPLING = (
    spec.ClassSampling.model_validate({"class": "1", "prevalence": "0.1"}),
    spec.ClassSampling.model_validate({"class": "0", "prevalence": "0.9"}),
)

OF_ROWS = ("shared_rows", "changed_columns", "leaks", "data_faults", "row_count", "domain_auc")
"""Facts about rows, whatever production scores."""


def segments(kind: str, rows: int = 2400) -> pd.DataFrame:
    """Segments of videos of unequal length, in no order; `at` has ties neither within a video nor across."""
    rng = np.random.default_rng(5)
    video = rng.integers(0, 500, rows)
    level = rng.normal(size=500)[video]
    y = level + rng.normal(size=rows)
    frame = pd.DataFrame({"video": video, "at": rng.permutation(rows), "sex": video % 2, "show": video // 3})
    frame["w"] = rng.lognormal(size=500)[video]
    frame["y"] = y if kind == "Regression" else (y > 1).astype(int)
    for name, shift in (("p", 0.0), ("q", 0.7)):
        score = level + shift + rng.normal(size=rows)
        frame[name] = score if kind == "Regression" else 1 / (1 + np.exp(-score))
    return frame


def evidence(frame: pd.DataFrame, split: Split, task: spec.Task, *, sampling=()) -> Computed:
    kind = "Value" if task.type == "Regression" else "Probability"
    return compute(
        table=pa.Table.from_pandas(frame, preserve_index=False),
        split=split,
        answers=Answers(values=frame["p"].to_numpy()),
        champion=Answers(values=frame["q"].to_numpy()),
        model=spec.Model(version="1", source=spec.ModelSource(columns=("p",)), output=spec.ModelOutput(kind=kind)),
        task=task,
        data=spec.Data(
            source=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="sex", column="sex"),), sampling=sampling
        ),
    )


@pytest.mark.row("T3/units")
@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"cluster": "show"}], ids=["plain", "weights", "clusters"])
@pytest.mark.parametrize(
    ("kind", "answers", "labels"),
    [
        ("Binary", "Mean", "Max"),
        ("Binary", "Max", "Max"),
        ("Binary", "Last", "Last"),
        ("Regression", "Mean", "Mean"),
        ("Regression", "Max", "Last"),
    ],
)
def test_units_are_those_of_a_table_rolled_up_before(kind, answers, labels, more):
    frame = segments(kind)
    task = spec.Task(type=kind, target="y", time="at", positive="1" if kind == "Binary" else None, **more)
    part = np.select([frame["video"] < 150, frame["video"] < 250], [0, 1], 2).astype(np.int8)
    everything = spec.Split(method="Random", train="0", test="1", validation="0")
    whole = divide(pa.Table.from_pandas(frame, preserve_index=False), how=everything, task=task)
    unit = spec.Unit(column="video", answers=answers, labels=labels)
    sampling = SAMPLING if kind == "Binary" and not more else ()
    rows = Split(part=part, keys=whole.keys, digest=whole.digest)
    found = evidence(frame, rows, task.model_copy(update={"unit": unit}), sampling=sampling)

    grouped = frame.sort_values("at").groupby("video")
    reduced = {"p": HOW[answers], "q": HOW[answers], "y": HOW[labels], "w": "mean", "at": "max"}
    before = grouped.agg(reduced | {"sex": "last", "show": "last"}).reset_index()
    keys = np.arange(len(before)).astype(np.uint64)
    part = np.select([before["video"] < 150, before["video"] < 250], [0, 1], 2).astype(np.int8)
    expected = evidence(before, Split(part=part, keys=keys, digest=whole.digest), task, sampling=sampling)

    assert {e.quantity for e in found.estimates} == {e.quantity for e in expected.estimates}
    theirs = {e.quantity: e for e in expected.estimates if e.quantity.metric not in OF_ROWS}
    compared = 0
    for estimate in found.estimates:
        other = theirs.get(estimate.quantity)
        if other is None or other.estimate is None:
            continue
        assert estimate.estimate == pytest.approx(other.estimate, rel=1e-9, abs=1e-12), estimate.quantity
        assert estimate.support == other.support
        assert estimate.interval.family == other.interval.family
        compared += 1
    assert compared > 50
