"""Baselines of type Container: what a container answered counts as a column with the same answers does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mandate.api import spec
from mandate.evidence.schema import Computed, Evidence, Fault, Measured, computed_bytes
from mandate.measure.answers import Answers
from mandate.measure.containers import Asked
from mandate.measure.digests import settings_digest
from mandate.verdict.judge import judge
from tests.unit.measure.test_engine import Case, find

DIGEST = "sha256:" + "c" * 64
IMAGE = f"registry/rival@{DIGEST}"
DOWN = Fault(code="PredictorNotReady", message="baseline 'other': not there")


def container(**declared: object) -> spec.Baseline:
    return spec.Baseline.model_validate(
        {"name": "other", "type": "Container", "container": {"image": IMAGE} | declared}
    )


COLUMN = spec.Baseline(name="other", type="Column", column="guess")


def guessing(kind: str = "Binary") -> tuple[Case, np.ndarray]:
    """A case, and another model's answers for its rows, which are in its table as a column."""
    case = Case(kind)
    if kind == "Regression":
        case.task = case.task.model_copy(update={"quantiles": None})
        case.model = case.model.model_copy(update={"output": spec.ModelOutput(kind="Value")})
        case.answers = Answers(values=case.answers.values[:, 1])
    guess = np.random.default_rng(3).permutation(case.answers.values)
    case.table = case.table.append_column("guess", pa.array(guess))
    return case, guess


def asked(values: np.ndarray, image: str | None = DIGEST) -> dict[str, Asked]:
    return {"other": Asked(said=Answers(values=values), image=image)}


def numbers(computed: Computed) -> list[object]:
    return [estimate for estimate in computed.estimates if estimate.quantity.versus == "other"]


@pytest.mark.row("B1/container")
@pytest.mark.parametrize("kind", ["Binary", "Regression"])
def test_the_same_answers_give_the_numbers_that_a_column_gives(kind: str) -> None:
    case, guess = guessing(kind)
    ours = case.compute(references=(container(),), containers=asked(guess))
    assert len(numbers(ours)) > 20
    assert numbers(ours) == numbers(case.compute(references=(COLUMN,)))
    assert ours.inputs.containers == {"other": DIGEST}
    assert ours.learnt is not None
    assert (ours.learnt[0].baseline, ours.learnt[0].words) == (
        "other",
        f"answers of the container {IMAGE}, asked for the same rows",
    )


def test_several_classes_are_answered_for_which_a_column_cannot() -> None:
    case = Case("Multiclass")
    values = np.roll(case.answers.values, 7, axis=0)
    found = find(case.compute(references=(container(),), containers=asked(values)), "log_loss", versus="other")
    alone = find(case.compute(answers=Answers(values=values), references=()), "log_loss")
    assert (found.fault, found.reference) == (None, alone.estimate)


def test_a_chosen_cut_off_is_chosen_for_it_as_for_a_column() -> None:
    case, guess = guessing()
    output = spec.ModelOutput(choose=spec.CutoffChoice(metric="f1"))
    model = case.model.model_copy(update={"output": output})
    ours = case.compute(model=model, references=(container(),), containers=asked(guess))
    assert numbers(ours) == numbers(case.compute(model=model, references=(COLUMN,)))
    assert ours.learnt is not None
    assert "chosen as the model's" in ours.learnt[0].words


def test_the_order_of_rows_changes_no_byte() -> None:
    case, guess = guessing()
    order = np.random.default_rng(1).permutation(len(guess))
    shuffled = case.compute(
        table=case.table.take(pa.array(order)),
        split=case.split.take(order),
        answers=case.answers.take(order),
        references=(container(),),
        containers=asked(guess[order]),
    )
    assert computed_bytes(shuffled) == computed_bytes(case.compute(references=(container(),), containers=asked(guess)))


@pytest.mark.row("B1/container")
@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ({"other": Asked(said=DOWN)}, "PredictorNotReady", "baseline 'other': not there"),
        ({"other": Asked(said=Answers(values=np.zeros(7)), image=DIGEST)}, "DifferentRows", "7 answers of the"),
        ({}, "NotMeasured", "baseline 'other': its container wasn't asked"),
    ],
    ids=["down", "other rows", "not asked"],
)
def test_what_cannot_be_had_is_an_error_of_what_is_compared_with_it_alone(
    said: dict[str, Asked], code: str, words: str
) -> None:
    case, _ = guessing()
    computed = case.compute(references=(container(), spec.Baseline(name="prior", type="Prior")), containers=said)
    faults = [estimate.fault for estimate in numbers(computed)]  # type: ignore[attr-defined]
    assert {fault and fault.code for fault in faults} == {code}
    assert words in faults[0].message
    assert find(computed, "roc_auc").fault is None
    assert find(computed, "roc_auc", versus="prior").fault is None
    assert (computed.inputs.containers, computed.learnt) == (None, None)
    gates = [
        spec.Gate.model_validate({"name": name, "metric": "roc_auc", "require": {"Shadow": require}})
        for name, require in (("beats", "better than other"), ("sane", "better than prior"))
    ]
    evidence = Evidence(computed=computed, measured=Measured())
    told = judge(gates=gates, tier="Medium", evidence=evidence, look=1, champion=False, target="Shadow").at("Shadow")
    assert [gate.verdict for gate in told.gates] == ["Error", "Pass"]
    assert not told.holds
    assert words in told.gates[0].message


def test_a_server_that_ran_already_is_not_taken_for_the_image() -> None:
    case, guess = guessing()
    known = case.compute(references=(container(),), containers=asked(guess))
    unknown = case.compute(references=(container(),), containers=asked(guess, image=None))
    assert numbers(unknown) == numbers(known)
    assert unknown.inputs.containers is None
    assert unknown.learnt is not None
    assert unknown.learnt[0].words.endswith(f"that it is {IMAGE} isn't known")


def test_another_image_is_another_setting_and_another_port_is_not() -> None:
    case, _ = guessing()

    def settings(baseline: spec.Baseline) -> str:
        return settings_digest(model=case.model, task=case.task, data=case.data, references=(baseline,), error_costs=())

    same = container(port=9000, resources={"limits": {"cpu": "2"}})
    assert settings(same) == settings(container())
    others = [container(image=IMAGE[:-1] + "d"), container(output="score"), container(inputs={"columns": ["x"]})]
    assert len({settings(baseline) for baseline in (*others, container())}) == 4


def test_older_settings_are_the_same_to_the_byte() -> None:
    case, _ = guessing()
    assert "container" not in COLUMN.model_dump(mode="json", exclude_none=True)
    assert COLUMN.as_measured is COLUMN
    assert "containers" not in computed_bytes(case.compute(references=(COLUMN,))).decode()
