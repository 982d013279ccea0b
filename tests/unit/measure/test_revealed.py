"""Selective labels: whose label is known, and of whom numbers are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import Computed
from mandate.measure.answers import Answers
from mandate.measure.digests import settings_digest
from mandate.measure.split import PARTS
from mandate.measure.table import MeasureError
from tests.unit.measure.test_engine import TASKS, Case, find

LABELS = spec.Labels(revealed_by=spec.RevealedBy(column="decision", values=("approve",)))
HOLDOUT = LABELS.model_copy(update={"holdout": "drawn"})
WEIGHTED = LABELS.model_copy(update={"propensity": "p"})


class Loans(Case):
    """A case whose rows were approved the likelier the lower `x`; labels of the others are missing."""

    def __init__(self, kind: str = "Binary", rows: int = 1500, seed: int = 0) -> None:
        super().__init__(kind, rows, seed)
        rng = np.random.default_rng(seed + 77)
        self.chance = 0.08 + 0.9 / (1 + np.exp(1.5 * np.array(self.table["x"])))
        self.drawn = rng.random(rows) < 0.4
        self.approved = rng.random(rows) < self.chance
        self.full = self.table
        self.set("decision", np.where(self.approved, "approve", "refuse"))
        self.set("p", self.chance)
        self.set("drawn", self.drawn)
        self.hide(~self.approved)

    def set(self, name: str, values) -> None:
        place = self.table.column_names.index(name) if name in self.table.column_names else None
        self.table = (
            self.table.append_column(name, pa.array(values))
            if place is None
            else self.table.set_column(place, name, pa.array(values))
        )

    def hide(self, rows: np.ndarray, name: str = "y") -> None:
        values = self.full[name].to_pylist()
        self.set(name, [None if hidden else value for value, hidden in zip(values, rows, strict=True)])

    def by(self, labels: spec.Labels, **changes) -> Computed:
        return self.compute(**({"task": self.task.model_copy(update={"labels": labels})} | changes))

    def plain(self, rows: np.ndarray, **changes) -> Computed:
        """As if the table had only those rows, in their parts."""
        kept = np.flatnonzero(rows)
        return self.compute(
            **{
                "table": self.table.take(pa.array(kept)),
                "split": self.split.take(kept),
                "answers": self.answers.take(kept),
            }
            | changes
        )


@pytest.mark.row("P5/declared")
@pytest.mark.parametrize("kind", list(TASKS))
def test_rows_without_a_label_are_as_if_they_were_not_there(kind):
    case = Loans(kind, rows=900)
    found, plain = case.by(LABELS), case.plain(case.approved)
    assert found.estimates == plain.estimates
    assert found.row_sketch == plain.row_sketch
    assert found.rows == plain.rows


@pytest.mark.row("P5/corrected")
def test_without_a_holdout_or_propensities_numbers_are_marked_as_of_the_accepted_only():
    case = Loans()
    found = case.by(LABELS)
    test = case.split.rows("test")
    assert found.labels is not None
    assert found.labels.status == "AcceptedOnly"
    assert not found.labels.of_everyone
    assert found.labels.rows == {part: int(case.split.rows(part).sum()) for part in PARTS}
    assert found.labels.revealed["test"] == int((test & case.approved).sum()) < test.sum()
    assert "every number is of the accepted only" in found.findings[0]
    assert case.plain(case.approved).labels is None


@pytest.mark.row("P5/corrected")
def test_numbers_are_of_the_holdout_and_baselines_learn_from_every_label():
    case = Loans(rows=3000)
    case.hide(~case.approved & ~case.drawn)
    found = case.by(HOLDOUT)
    drawn = case.plain(case.drawn)
    for part in PARTS:
        assert find(found, "roc_auc", on=part) == find(drawn, "roc_auc", on=part)
        assert found.labels.measured[part] == int((case.split.rows(part) & case.drawn).sum())
    assert found.labels.status == "Holdout"
    assert found.labels.of_everyone
    test = case.drawn | (case.approved & case.split.rows("train"))
    learnt = find(case.plain(test), "log_loss", versus="linear")
    assert find(found, "log_loss", versus="linear") == learnt != find(drawn, "log_loss", versus="linear")


@pytest.mark.row("P5/corrected")
def test_inverse_propensities_are_weights():
    case = Loans(rows=3000)
    case.set("w", np.random.default_rng(4).lognormal(sigma=0.3, size=3000))
    found = case.by(WEIGHTED)
    case.set("ipw", 1 / case.chance)
    weighted = case.task.model_copy(update={"weight": "ipw"})
    assert found.estimates == case.plain(case.approved, task=weighted).estimates
    labels = found.labels
    assert labels.status == "Weighted"
    rows = case.split.rows("test") & case.approved
    assert labels.stands_for == pytest.approx(float((1 / case.chance[rows]).sum()))
    assert labels.effective == pytest.approx(
        float((1 / case.chance[rows]).sum() ** 2 / (1 / case.chance[rows] ** 2).sum())
    )
    assert labels.clipped is None
    both = case.task.model_copy(update={"weight": "w", "labels": WEIGHTED})
    case.set("ipw", np.array(case.table["w"]) * (1 / case.chance))
    assert case.compute(task=both).estimates == case.plain(case.approved, task=weighted).estimates


def test_small_propensities_are_clipped_and_counted():
    case = Loans(rows=2000)
    clipped = WEIGHTED.model_copy(update={"min_propensity": "0.3"})
    found = case.by(clipped)
    rows = case.split.rows("test") & case.approved
    assert found.labels.clipped == int((case.chance[rows] < 0.3).sum()) > 0
    assert f"{found.labels.clipped} small propensities were clipped" in found.findings[1]
    assert found.labels.effective > case.by(WEIGHTED).labels.effective
    assert found.labels.stands_for == case.by(WEIGHTED).labels.stands_for


@pytest.mark.parametrize(
    ("place", "wrong", "words"),
    [
        (0, 0.0, "is 0 or less"),
        (0, -0.1, "is 0 or less"),
        (0, 1.2, "is above 1"),
        (0, None, "is missing on 1 rows"),
        (0, np.nan, "is missing on 1 rows"),
    ],
)
@pytest.mark.parametrize("revealed", [True, False])
def test_propensities_that_are_none_are_refused(place, wrong, words, revealed):
    """Of rows without a label, too: whom nothing can reveal, no weight stands for."""
    case = Loans(rows=400)
    values = list(case.chance)
    within = case.split.rows("test") & (case.approved == revealed)
    values[np.flatnonzero(within)[place]] = wrong
    case.set("p", values)
    with pytest.raises(MeasureError, match=words) as caught:
        case.by(WEIGHTED)
    assert caught.value.code == "BadPropensity"


def test_propensities_of_something_else_are_refused():
    """As of a refusal, or the model's own answer: the revealed rows would stand for a number that isn't theirs."""
    case = Loans(rows=3000)
    case.set("p", 1.06 - case.chance)
    with pytest.raises(MeasureError, match="doesn't fit what was revealed"):
        case.by(WEIGHTED)
    found = case.plain(case.approved, task=case.task.model_copy(update={"labels": WEIGHTED}))
    assert found.labels.stands_for > 0, "without the others in the table nothing can be said"


@pytest.mark.parametrize(
    ("labels", "changes", "code"),
    [
        (LABELS, {"decision": lambda case: [None, *case.table["decision"].to_pylist()[1:]]}, "MissingDecision"),
        (LABELS, {"decision": lambda case: ["no"] * case.table.num_rows}, "UnknownDecision"),
        (LABELS, {"decision": lambda case: np.where(case.split.rows("test"), "refuse", "approve")}, "NoLabels"),
        (HOLDOUT, {"drawn": lambda case: np.zeros(case.table.num_rows, bool)}, "NoHoldout"),
        (HOLDOUT, {"drawn": lambda case: [None, *case.drawn[1:].tolist()]}, "BadHoldout"),
        (HOLDOUT, {"drawn": lambda case: case.drawn * 2}, "BadHoldout"),
        (HOLDOUT, {"drawn": lambda case: np.where(case.drawn, "yes", "no")}, "BadHoldout"),
        (HOLDOUT, {}, "MissingLabels"),  # the holdout's labels must be there, whatever was decided
        (WEIGHTED, {"y": lambda case: [None] * case.table.num_rows}, "MissingLabels"),
    ],
)
def test_what_does_not_say_whose_label_is_known_is_refused(labels, changes, code):
    case = Loans(rows=400)
    for name, values in changes.items():
        case.set(name, values(case))
    with pytest.raises(MeasureError) as caught:
        case.by(labels)
    assert caught.value.code == code
    assert "task." in str(caught.value)


def test_a_label_that_a_refusal_could_not_reveal_has_no_say():
    """As where refused rows were filled in as bad."""
    case = Loans(rows=900)
    found = case.by(LABELS)
    case.set("y", np.where(case.approved, np.array(case.full["y"]), 1))
    assert case.by(LABELS).estimates == found.estimates


def test_the_champion_is_compared_on_the_same_rows():
    case = Loans(rows=900)
    values = np.roll(case.answers.values, 1)
    found = case.by(WEIGHTED, champion=Answers(values=values))
    assert find(found, "roc_auc", versus="champion").fault is None
    kept = np.flatnonzero(case.approved)
    weighted = case.task.model_copy(update={"labels": WEIGHTED})
    plain = case.plain(case.approved, task=weighted, champion=Answers(values=values[kept]))
    assert find(found, "roc_auc", versus="champion") == find(plain, "roc_auc", versus="champion")
    keyed = Answers(values=values[kept], keys=case.split.keys[kept] + np.uint64(1))
    assert find(case.by(WEIGHTED, champion=keyed), "roc_auc", versus="champion").fault.code == "DifferentRows"


def test_what_says_who_was_chosen_is_no_feature():
    case = Loans(rows=900)
    model = case.model.model_copy(update={"inputs": None})
    found = case.by(WEIGHTED, model=model)
    assert found.data is not None
    columns = {column.column for comparison in found.data.comparisons for column in comparison.columns}
    assert "x" in columns
    assert not columns & {"p", "decision"}


def test_labels_are_settings():
    case = Loans(rows=50)
    digests = {
        settings_digest(
            model=case.model,
            task=case.task.model_copy(update={"labels": labels}),
            data=case.data,
            references=(),
            error_costs=(),
        )
        for labels in (None, LABELS, HOLDOUT, WEIGHTED)
    }
    assert len(digests) == 4
