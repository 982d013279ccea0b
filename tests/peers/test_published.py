"""Figures that others published, through our own engine."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.intervals import Beta
from mandate.measure.answers import Answers
from mandate.measure.engine import compute
from mandate.measure.split import join

LABEL = spec.ModelOutput(kind="Label")


def model(output: spec.ModelOutput) -> spec.Model:
    return spec.Model(version="1", source=spec.ModelSource(columns=("answer",)), output=output)


@pytest.mark.row("R1/spreads")
def test_fairlearns_user_guide():
    """Fairlearn's user guide, "Performing a fairness assessment": 18 rows, three groups."""
    actual = [0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    answer = [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0]
    group = list("bbabbcccaacabccbcc")
    task = spec.Task(type="Binary", target="y", positive="1", id="id")
    table = pa.table({"id": range(18), "y": actual, "group": group})
    table, split = join({"test": table}, task=task)
    data = spec.Data(
        test=spec.TableSource(uri="t.csv"), slices=(spec.Slice(name="group", column="group", sensitive=True),)
    )
    computed = compute(
        table=table, split=split, answers=Answers(values=np.array(answer)), model=model(LABEL), task=task, data=data
    )
    found = {(e.quantity.metric, e.quantity.slice, e.quantity.value, e.quantity.shape): e for e in computed.estimates
             if e.quantity.on == "test" and e.quantity.versus is None}  # fmt: skip
    names = {"tpr": "recall", "fpr": "false_positive_rate", "sel": "selection_rate"}

    def figure(short: str, value: str | None = None, shape: str | None = None) -> float | None:
        return found[names[short], "group" if value else "overall", value, shape].estimate

    overall = {"tpr": 0.5, "fpr": 0.666667, "sel": 0.555556}
    by_group = {
        "a": {"tpr": 0.5, "fpr": 1.0, "sel": 0.75},
        "b": {"tpr": 0.6, "fpr": 0.0, "sel": 0.5},
        "c": {"tpr": 0.4, "fpr": 0.666667, "sel": 0.5},
    }
    difference = {"tpr": 0.2, "fpr": 1.0, "sel": 0.25}
    ratio = {"tpr": 0.666667, "fpr": 0.0, "sel": 0.666667}
    for short in names:
        assert figure(short) == pytest.approx(overall[short], abs=5e-7)
        for value, expected in by_group.items():
            assert figure(short, value) == pytest.approx(expected[short], abs=5e-7)
        assert figure(short, shape="difference") == pytest.approx(difference[short], abs=5e-7)
        assert figure(short, shape="ratio") == pytest.approx(ratio[short], abs=5e-7)


def test_scikit_learns_digits_example():
    """scikit-learn's "Recognizing hand-written digits": SVC(gamma=0.001), halves in order; 871 of 899 right."""
    from sklearn import datasets, svm

    digits = datasets.load_digits()
    half = len(digits.target) // 2
    answers = svm.SVC(gamma=0.001).fit(digits.data[:half], digits.target[:half]).predict(digits.data)
    task = spec.Task(type="Multiclass", target="y", id="id")
    table = pa.table({"id": np.arange(len(digits.target)), "y": digits.target})
    table, split = join({"train": table.slice(0, half), "test": table.slice(half)}, task=task)
    computed = compute(
        table=table,
        split=split,
        answers=Answers(values=answers),
        model=model(LABEL),
        task=task,
        data=spec.Data(test=spec.TableSource(uri="t.csv")),
    )
    accuracy = next(e for e in computed.estimates if e.quantity.metric == "accuracy" and e.quantity.on == "test")
    assert accuracy.interval == Beta(successes=871, trials=899)
    assert accuracy.support.events == 28


def test_clopper_and_pearson_for_8_of_10():
    """R: binom.test(8, 10)$conf.int is 0.4439045 0.9747893."""
    from mandate.verdict.limits import beta_limits

    lower, upper = beta_limits(Beta(successes=8, trials=10), 0.025)
    assert (lower, upper) == pytest.approx((0.4439045, 0.9747893), abs=5e-8)
