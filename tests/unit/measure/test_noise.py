"""Label noise through the whole measurement: where it is declared, what can't be told, what a gate and a report say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.intervals import StudentT, Unbounded
from mandate.evidence.schema import Evidence, Measured
from mandate.measure.digests import settings_digest
from mandate.report.content import Number
from mandate.report.noise import ceiling
from mandate.verdict.judge import judge
from tests.unit.measure.test_engine import Case, find

GATE = spec.Gate(name="noise", metric="label_noise", require=spec.Require(shadow="<= 0.3"))


def annotated(
    annotators: int = 2, *, kind: str = "Binary", noise: float = 0.1, right: float = 0.8, rows: int = 6000
) -> Case:
    """Annotators who know the true class, a target that is another one on so many rows."""
    case = Case(kind, rows=rows)
    case.annotate(annotators, right=right)
    rng = np.random.default_rng(3)
    truth = np.array(case.table["y"])
    classes = len(np.unique(truth))
    wrong = rng.random(rows) < noise
    told(case, np.where(wrong, (truth + rng.integers(1, classes, rows)) % classes, truth))
    declared = case.data.annotations.model_copy(update={"independent": True})
    case.data = case.data.model_copy(update={"annotations": declared, "slices": ()})
    case.error_costs = ()
    case.references = ()
    return case


def told(case: Case, target) -> Case:
    case.table = case.table.set_column(case.table.column_names.index("y"), "y", pa.array(target))
    return case


def verdict(computed):
    record = Evidence(computed=computed, measured=Measured())
    found = judge(gates=(GATE,), tier="Medium", evidence=record, look=1, champion=False, target="Shadow")
    return found.at("Shadow").gates[0].verdict


@pytest.mark.row("P2/noise")
@pytest.mark.parametrize("kind", ["Binary", "Multiclass"])
def test_noise_is_measured_on_every_part(kind):
    computed = annotated(kind=kind).compute()
    for part in ("train", "validation", "test"):
        found = find(computed, "label_noise", on=part)
        assert isinstance(found.interval, StudentT)
        assert found.estimate == pytest.approx(0.1, abs=0.05)
        assert found.support.rows == computed.rows[part]
    assert verdict(computed) == "Pass"


def test_noise_is_measured_where_it_is_declared_that_labels_are_apart():
    case = annotated()
    undeclared = case.data.annotations.model_copy(update={"independent": False})
    data = case.data.model_copy(update={"annotations": undeclared})
    computed = case.compute(data=data)
    assert {e.quantity.metric for e in computed.estimates} >= {"cohen_kappa"}
    assert "label_noise" not in {e.quantity.metric for e in computed.estimates}
    assert verdict(computed) == "Error"
    given = {"model": case.model, "task": case.task, "references": (), "error_costs": ()}
    assert settings_digest(data=data, **given) != settings_digest(data=case.data, **given)
    older = undeclared.model_construct(uri="said.csv", row="id", annotator="who", label="said", independent=False)
    assert settings_digest(data=data, **given) == settings_digest(
        data=data.model_copy(update={"annotations": older}), **given
    )


def test_one_annotator_does_not_tell_who_is_wrong():
    one = annotated(1)
    assert find(one.compute(), "label_noise").fault.code == "OneAnnotator"
    assert verdict(one.compute()) == "Error"
    # A second one with a few labels is none; a third with some is.
    two = annotated(2)
    who = np.array(two.annotations["who"])
    few = (who == "p0") | (np.cumsum(who == "p1") <= 25)
    two.annotations = two.annotations.filter(pa.array(few))
    assert find(two.compute(), "label_noise").fault.code == "OneAnnotator"


def test_agreement_below_chance_tells_nothing():
    case = annotated(2)
    said, who = np.array(case.annotations["said"]), np.array(case.annotations["who"])
    flipped = pa.array(1 - said)
    against = case.annotations.set_column(2, "said", flipped)
    assert find(case.compute(annotations=against), "label_noise").fault.code == "BelowChance"
    each_other = case.annotations.set_column(2, "said", pa.array(np.where(who == "p0", said, 1 - said)))
    assert find(case.compute(annotations=each_other), "label_noise").fault.code == "BelowChance"


def test_a_target_that_people_made_is_seen_where_it_shows():
    """The majority of three is closer to each than they are to each other; one of two leaves nothing to vary."""
    three = annotated(3, right=0.5)
    said = np.array(three.annotations["said"]).reshape(3, -1)
    made = told(three, (said.sum(axis=0) >= 2).astype(int)).compute()
    assert find(made, "label_noise").fault.code == "NotIndependent"
    two = annotated(2)
    copied = told(two, np.array(two.annotations["said"]).reshape(2, -1)[0]).compute()
    assert isinstance(find(copied, "label_noise").interval, Unbounded)
    assert verdict(copied) == "Inconclusive"


def test_labels_that_all_agree_show_nothing_of_the_error():
    case = annotated(2, noise=0.0, right=1.0)
    found = find(case.compute(), "label_noise")
    assert found.estimate == pytest.approx(0.0, abs=1e-12)
    assert isinstance(found.interval, Unbounded)
    assert verdict(case.compute()) == "Inconclusive"


def test_clusters_of_rows_count_as_clusters():
    case = annotated(2)
    case.task = case.task.model_copy(update={"cluster": "who"})
    found = find(case.compute(), "label_noise")
    assert found.support.clusters == len(np.unique(np.array(case.table["who"])[case.split.rows("test")]))


def test_the_ceiling_is_what_a_model_that_is_always_right_gets():
    words = ceiling(Number(value=0.03, lower=-0.01, upper=0.06), classes=2)
    assert words == (
        "label_noise: 3.0 % (0.0 % to 6.0 %) of the labels of test rows are taken to be wrong, if errors of the "
        "target and of annotators are independent; a model that is always right would be measured at an accuracy of "
        "0.97 (0.94 to 1)"
    )
    assert "every wrong class is equally likely" in ceiling(Number(value=0.03), classes=3)
    assert ceiling(Number(value=-0.01, fault="no variation"), classes=2).endswith("at an accuracy of 1")
    assert ceiling(Number(fault="OneAnnotator"), classes=2) == ""
