"""Annotators through the whole measurement: as a baseline, as agreement, and when neither can be had."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.intervals import Paired, StudentT, Unbounded
from mandate.evidence.schema import computed_bytes
from tests.unit.measure.test_engine import Case, find

HUMAN = (spec.Baseline(name="human", type="Human"),)
TARGET = (spec.Baseline(name="human", type="Human", against="Target"),)


def annotated(kind: str = "Binary", annotators: int = 2, **how) -> Case:
    case = Case(kind)
    case.annotate(annotators, **how)
    return case


def kept(case: Case, mask: np.ndarray) -> Case:
    case.annotations = case.annotations.filter(pa.array(mask))
    return case


@pytest.mark.row("B2/panel")
def test_people_are_held_against_each_other_and_the_model_with_them():
    case = annotated()
    computed = case.compute(references=HUMAN)
    found = find(computed, "accuracy", versus="human")
    test = case.split.rows("test")
    one, two = np.array(case.annotations["said"]).reshape(2, -1)
    model = (case.answers.values >= 0.5).astype(int)
    assert found.reference == pytest.approx(np.mean(one[test] == two[test]))
    assert found.estimate == pytest.approx((np.mean(model[test] == one[test]) + np.mean(model[test] == two[test])) / 2)
    assert isinstance(found.interval, Paired)
    assert found.support.rows == 2 * test.sum()
    assert found.support.clusters == test.sum()
    assert computed.learnt[0].words == (
        f"2 annotators, {2 * test.sum()} labels on {test.sum()} of {test.sum()} test rows; "
        "held, like the model there, against the others' most frequent label"
    )


def test_people_are_held_against_the_target_where_it_is_none_of_theirs():
    case = annotated(annotators=3)
    found = find(case.compute(references=TARGET), "recall", versus="human")
    test = case.split.rows("test")
    truth, said = np.array(case.table["y"]), np.array(case.annotations["said"]).reshape(3, -1)
    positive = test & (truth == 1)
    assert found.reference == pytest.approx(np.mean(said[:, positive] == 1))
    assert found.estimate == pytest.approx(find(case.compute(), "recall").estimate)


@pytest.mark.parametrize("kind", ["Binary", "Multiclass"])
def test_people_stand_in_every_place_where_labels_are_measured(kind):
    case = annotated(kind, 3)
    computed = case.compute(references=HUMAN)
    for place in ({}, {"on": "train"}, {"slice": "sex", "value": "f"}, {"slice": "age", "value": ">=60"}):
        for metric in ("accuracy", "balanced_accuracy", "recall", "f1", "expected_cost"):
            assert isinstance(find(computed, metric, versus="human", **place).interval, Paired)
    if kind == "Multiclass":
        assert isinstance(find(computed, "recall", versus="human", of_class="1").interval, Paired)
    assert not [e for e in computed.estimates if e.quantity.versus == "human" and e.quantity.metric == "log_loss"]


def test_row_order_changes_no_byte():
    case = annotated(annotators=4)
    rng = np.random.default_rng(1)
    order, others = rng.permutation(1500), rng.permutation(6000)
    shuffled = case.compute(
        table=case.table.take(pa.array(order)),
        split=case.split.take(order),
        answers=case.answers.take(order),
        references=HUMAN,
        annotations=case.annotations.take(pa.array(others)),
    )
    assert computed_bytes(shuffled) == computed_bytes(case.compute(references=HUMAN))


def test_agreement_is_cohens_of_two_and_fleiss_of_more():
    two = annotated().compute()
    assert isinstance(find(two, "cohen_kappa").interval, StudentT)
    assert find(two, "cohen_kappa").estimate == pytest.approx(find(two, "fleiss_kappa").estimate, abs=0.01)
    three = annotated(annotators=3).compute()
    assert find(three, "cohen_kappa").fault.code == "NotTwoAnnotators"
    assert find(three, "fleiss_kappa", on="validation").fault is None
    assert not [e for e in Case().compute().estimates if e.quantity.metric.endswith("_kappa")]


def test_clusters_widen_agreement_and_comparisons():
    case = annotated()
    task = case.task.model_copy(update={"cluster": "who"})
    computed = case.compute(task=task, references=HUMAN)
    clusters = len(set(np.array(case.table["who"])[case.split.rows("test")].tolist()))
    assert find(computed, "cohen_kappa").support.clusters == clusters
    assert find(computed, "accuracy", versus="human").support.clusters == clusters


def test_an_annotator_alone_on_a_row_has_no_others():
    case = annotated()
    first = np.arange(3000) < 1500
    case = kept(case, first | (np.arange(3000) % 3 == 0))
    test = case.split.rows("test")
    pairs = int(np.count_nonzero(test & (np.arange(1500, 3000) % 3 == 0)))
    computed = case.compute(references=HUMAN)
    assert find(computed, "accuracy", versus="human").support.rows == 2 * pairs
    assert computed.learnt[0].words.endswith(f"; {test.sum() - pairs} rows with one label have no others")
    assert find(computed, "cohen_kappa").support.rows == pairs
    alone = kept(annotated(), first).compute(references=HUMAN)
    assert find(alone, "accuracy", versus="human").fault.code == "NoRows"
    assert find(alone, "fleiss_kappa").fault.code == "NoRows"
    target = kept(annotated(), first).compute(references=TARGET)
    assert find(target, "accuracy", versus="human").support.rows == test.sum()


def test_missing_labels_and_strange_rows_are_left_out_and_told():
    case = annotated()
    said = pa.array([None, *case.annotations["said"].to_pylist()[1:]])
    case.annotations = case.annotations.set_column(2, "said", said)
    more = pa.table({"id": [9_000_001], "who": ["p0"], "said": [1]})
    case.annotations = pa.concat_tables([case.annotations, more.cast(case.annotations.schema)])
    words = case.compute(references=HUMAN).learnt[0].words
    assert words.endswith("; 1 labels of rows that aren't in the data")


@pytest.mark.parametrize(
    ("row", "code", "told"),
    [
        ({"id": 0, "who": "p0", "said": 1}, "DuplicateAnnotation", "'p0' labelled a row twice"),
        ({"id": 0, "who": "p9", "said": 7}, "UnknownLabel", "label '7' isn't among the classes '0', '1'"),
        ({"id": None, "who": "p9", "said": 1}, "MissingId", "column 'id' is missing beside 1 labels"),
        ({"id": 0, "who": None, "said": 1}, "MissingId", "column 'who' is missing beside 1 labels"),
    ],
)
def test_annotations_that_do_not_do_are_errors_and_cost_no_other_number(row, code, told):
    case = annotated()
    more = pa.table({name: pa.array([value], case.annotations.schema.field(name).type) for name, value in row.items()})
    case.annotations = pa.concat_tables([case.annotations, more])
    computed = case.compute(references=HUMAN)
    for found in (find(computed, "accuracy", versus="human"), find(computed, "cohen_kappa")):
        assert found.fault.code == code
        assert told in found.fault.message
    assert find(computed, "accuracy").fault is None


def test_without_annotations_people_are_an_error():
    found = find(Case().compute(references=HUMAN), "accuracy", versus="human")
    assert found.fault.code == "NoAnnotations"
    lost = annotated().compute(references=HUMAN, annotations=None)
    assert find(lost, "accuracy", versus="human").fault.code == "NoAnnotations"


def test_people_who_all_agree_and_labels_of_one_class_are_never_sure():
    case = annotated(right=1.0)
    computed = case.compute(references=HUMAN)
    assert find(computed, "cohen_kappa").estimate == 1.0
    assert isinstance(find(computed, "cohen_kappa").interval, Unbounded)
    case.annotations = case.annotations.set_column(2, "said", pa.array([1] * 3000))
    assert find(case.compute(), "cohen_kappa").fault.code == "OneClass"


def test_people_and_model_that_always_say_the_same_are_never_better():
    case = annotated()
    said = (case.answers.values >= 0.5).astype(int)
    case.annotations = case.annotations.set_column(2, "said", pa.array(np.tile(said, 2)))
    assert isinstance(find(case.compute(references=HUMAN), "accuracy", versus="human").interval, Unbounded)


def test_what_is_held_against_what_is_a_setting():
    case = annotated()
    one, two = case.compute(references=HUMAN), case.compute(references=TARGET)
    assert one.inputs.settings != two.inputs.settings
    assert case.compute().inputs.settings != Case().compute().inputs.settings


@pytest.mark.parametrize("reference", [HUMAN, TARGET])
def test_an_id_of_several_rows_names_none(reference):
    """Where train and test both count from 0, labels of one part's rows must not be held against the other's."""
    case = annotated()
    test = case.split.rows("test")
    ids = np.array(case.table["id"].to_pylist())
    ids[np.flatnonzero(test)[0]] = ids[np.flatnonzero(~test)[0]]
    table = case.table.set_column(0, "id", pa.array(ids))
    computed = case.compute(table=table, references=reference)
    for found in (find(computed, "accuracy", versus="human"), find(computed, "cohen_kappa")):
        assert found.fault.code == "AmbiguousRow"
        assert "an id of its own" in found.fault.message


def test_kappa_that_knows_no_weights_says_so():
    case = Case(rows=600)
    case.annotate(3)
    table = case.table.append_column("w", pa.array(1.0 + np.arange(600) % 3))
    weighted = case.compute(table=table, task=case.task.model_copy(update={"weight": "w"}))
    words = "they know neither task.weight nor data.sampling"
    assert any(words in finding for finding in weighted.findings)
    assert not any(words in finding for finding in case.compute().findings)
    assert find(weighted, "fleiss_kappa") == find(case.compute(), "fleiss_kappa")
