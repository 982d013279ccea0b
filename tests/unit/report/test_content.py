"""What a report says of a verdict, whatever it is written in."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mandate.api.check import load_spec
from mandate.evidence.schema import Evidence
from mandate.report.content import REMEDY, steps
from tests.unit.report.sample import SPEC, changed, evidence, judged, report


def with_gates(*gates: dict[str, Any], target: str = "Automate", tier: str = "Medium") -> dict[str, Any]:
    return changed(gates=list(gates), autonomy={"target": target}, useCase={"riskTier": tier})


PASSING = {"name": "beats-prior", "metric": "log_loss", "require": {"Shadow": "better than prior"}}
FAILING = {"name": "recall", "metric": "recall", "require": {"Suggest": ">= 0.90"}}
OPEN = {"name": "ranking", "metric": "roc_auc", "require": {"Suggest": ">= 0.68"}}
BROKEN = {"name": "against", "metric": "roc_auc", "require": {"Suggest": "no worse than champion"}}


def test_the_first_words_say_what_the_model_may() -> None:
    assert judged(with_gates(PASSING), evidence()).headline == "credit 7 may Automate"
    assert judged(with_gates(PASSING, FAILING), evidence()).headline == "credit 7 may run in Shadow, not Automate"
    nothing = {**FAILING, "require": {"Shadow": ">= 0.90"}}
    assert judged(with_gates(nothing), evidence()).headline == "credit 7 may not run"


@pytest.mark.parametrize(
    ("gates", "result"),
    [
        ((PASSING,), "Holds"),
        ((PASSING, FAILING), "Refused"),
        ((PASSING, OPEN), "Refused"),
        ((PASSING, BROKEN), "NotJudged"),
        ((PASSING, BROKEN, OPEN), "NotJudged"),
        ((PASSING, BROKEN, FAILING), "Refused"),
    ],
)
def test_a_fail_decides_and_an_error_leaves_it_open(gates: tuple[dict[str, Any], ...], result: str) -> None:
    assert judged(with_gates(*gates), evidence()).result == result


def test_what_is_above_the_target_stands_in_no_way() -> None:
    strict = {**FAILING, "require": {"Automate": ">= 0.90"}}
    told = judged(with_gates(PASSING, strict, target="Suggest"), evidence())
    assert told.result == "Holds"
    assert told.obstacles == ()
    assert told.levels == ("Shadow", "Suggest")


def test_obstacles_name_gate_level_and_number() -> None:
    told = report()
    assert [(o.level, o.gate, o.verdict) for o in told.obstacles] == [
        ("Suggest", "recall", "Inconclusive"),
        ("Automate", "ranking", "Fail"),
        ("Automate", "recall", "Fail"),
        ("Automate", "fair", "Inconclusive"),
    ]
    number = next(row for row in told.metrics if row.metric == "roc_auc").test.text
    assert number in told.obstacles[1].message


def test_the_same_obstacle_is_told_once() -> None:
    told = judged(with_gates(PASSING, FAILING), evidence())
    assert [(o.level, o.gate) for o in told.obstacles] == [("Suggest", "recall")]


def test_each_obstacle_has_its_step() -> None:
    found = {(o.level, o.gate): o.step for o in report().obstacles}
    needed = next(o.needed for gate in report().gates if gate.name == "fair" for o in gate.outcomes)
    assert needed is not None
    assert f"add {needed:,} more rows".replace(",", " ") in found["Automate", "fair"]
    assert "model.output.cutoff" in found["Automate", "recall"], "the verdict's own remedy"
    assert all(REMEDY not in o.message for o in report().obstacles), "told once"


def test_steps_are_for_the_next_level() -> None:
    assert [step.split(":")[0] for step in steps(report())] == ["recall"]
    assert steps(judged(with_gates(PASSING), evidence())) == ["apply the manifest"]


def test_a_value_on_the_limit_asks_for_no_rows() -> None:
    told = report()
    value = next(row for row in told.metrics if row.metric == "roc_auc").test.value
    on_it = {"name": "ranking", "metric": "roc_auc", "require": {"Suggest": f">= {value:.4f}"}}
    (step,) = steps(judged(with_gates(PASSING, on_it), evidence()))
    assert "more rows won't decide" in step


def test_an_error_says_what_to_do_in_the_judges_words() -> None:
    (step,) = steps(judged(with_gates(PASSING, BROKEN), evidence()))
    assert step == "against: there is no champion to compare with; set firstModel: Skip for the first"


def test_what_was_not_served_can_be_served() -> None:
    document = with_gates(
        PASSING, {"name": "fast", "metric": "latency_p99", "load": "50/s", "require": {"Suggest": "<= 40ms"}}
    )
    document["model"] = copy.deepcopy(SPEC["model"]) | {"source": {"uri": "model.onnx", "format": "ONNX"}}
    told = judged(document, evidence())
    assert told.result == "NotJudged"
    assert "mandate evaluate --serve" in steps(told)[0]


def test_tier_high_asks_for_proof_and_says_how() -> None:
    told = judged(with_gates(PASSING, tier="High"), evidence())
    assert told.reached == "Shadow"
    row = next(gate for gate in told.gates if gate.name == "held-out")
    assert row.title == "Test rows held out"
    assert any(step.startswith("held-out: train on this split") for step in steps(told))


def test_looks_and_their_share_are_told() -> None:
    told = report(look=3, look_source="Ledger")
    assert told.look_share == pytest.approx(1 / 12)
    assert report().look_share == 0.5


def test_a_later_look_widens_the_intervals_shown() -> None:
    first, third = (next(row for row in report(look=look).metrics if row.metric == "recall").test for look in (1, 3))
    assert first.lower is not None
    assert third.lower is not None
    assert third.lower < first.lower


def test_slices_come_in_the_order_of_their_edges() -> None:
    age, sex = report().slices
    assert [row.value for row in age.rows] == ["<30", "30-45", ">=45"]
    assert [row.value for row in sex.rows] == ["female", "male"]
    assert sum(row.rows for row in age.rows) == report().rows["test"]
    assert age.metrics[0] == "recall", "what gates ask of the slice comes first"
    assert sex.sensitive


def test_baselines_stand_beside_the_model() -> None:
    told = report()
    assert told.references == ("prior", "linear")
    auc = next(row for row in told.metrics if row.metric == "roc_auc")
    assert auc.references[0].value == 0.5


def test_no_row_is_named() -> None:
    ids = {f"a{row}" for row in range(3000)}
    words = set(str(report()).replace("'", " ").replace(",", " ").split())
    assert not words & ids


def test_criteria_digest_is_the_verdicts_own() -> None:
    from mandate.verdict.criteria import criteria_digest

    spec = load_spec(SPEC)
    assert report().criteria_digest == criteria_digest(spec)


def test_evidence_survives_being_stored() -> None:
    assert Evidence.model_validate(evidence().dump()) == evidence()
