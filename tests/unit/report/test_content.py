"""What a report says of a verdict, whatever it is written in."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pyarrow as pa
import pytest

from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.evidence.canonical import digest
from mandate.evidence.schema import Evidence
from mandate.evidence.weakest import Side, Weakest, WeakSlice
from mandate.report import document, html, markdown, model_card, text
from mandate.report.content import REMEDY, Number, SliceRow, SliceTable, steps, worst_values
from mandate.report.fairness import TOLD
from mandate.report.weakest import sentence, tell
from tests.unit.report.sample import SEVERAL, SPEC, animals, changed, evidence, judged, measured, report, table


def with_gates(*gates: dict[str, Any], target: str = "Automate", tier: str = "Medium") -> dict[str, Any]:
    return changed(gates=list(gates), autonomy={"target": target}, useCase={"riskTier": tier})


PASSING = {"name": "beats-prior", "metric": "log_loss", "require": {"Shadow": "better than prior"}}
FAILING = {"name": "recall", "metric": "recall", "require": {"Suggest": ">= 0.90"}}
OPEN = {"name": "ranking", "metric": "roc_auc", "require": {"Suggest": ">= 0.68"}}
BROKEN = {"name": "against", "metric": "roc_auc", "require": {"Suggest": "no worse than champion"}}


def number(lower: float, upper: float) -> Number:
    return Number(value=(lower + upper) / 2, lower=lower, upper=upper)


@pytest.mark.parametrize(
    ("metric", "order"),
    [
        # What gates say comes first, then what is surely worse: a wide interval shows little.
        ("recall", ["refuted", "open", "low", "wide", "high", "unknown"]),
        ("log_loss", ["refuted", "open", "high", "low", "wide", "unknown"]),
        ("observed_expected", ["refuted", "open", "low", "wide", "high", "unknown"]),
    ],
)
def test_the_worst_values_come_first(metric: str, order: list[str]) -> None:
    numbers = {
        "unknown": (Number(value=0.0), None),
        "high": (number(0.85, 0.95), "Pass"),
        "wide": (number(0.05, 0.94), None),
        "low": (number(0.3, 0.4), None),
        "open": (number(0.9, 0.95), "Inconclusive"),
        "refuted": (number(0.9, 0.95), "Fail"),
    }
    rows = tuple(
        SliceRow(value=value, rows=10, events=5, numbers=(found,), verdict=verdict)  # type: ignore[arg-type]
        for value, (found, verdict) in numbers.items()
    )
    table = SliceTable(name="age", column="age", sensitive=False, metrics=(metric,), titles=("T",), rows=rows)
    assert [row.value for row in worst_values(table, most=5)[0]] == order[:5]
    assert worst_values(table, most=5)[1] == 1
    assert worst_values(table, most=6) == (rows, 0), "all of them stay in their order"


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
    assert "or narrow the spread of Selection rate (" in found["Automate", "fair"]
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


def test_a_gap_between_train_and_test_is_to_be_narrowed() -> None:
    gap = {"name": "overfit", "metric": "roc_auc", "rows": "train-test", "require": {"Suggest": "<= 0.02"}}
    (step,) = steps(judged(with_gates(PASSING, gap), evidence()))
    assert step.startswith("overfit: ")
    assert "narrow the gap of ROC AUC between train and test" in step


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


@pytest.mark.row("R3/no-rows")
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


def test_what_is_said_of_a_class_is_not_said_of_a_value_by_its_name() -> None:
    gates = [{"name": "bees", "metric": "recall", "class": "bee", "require": {"Shadow": ">= 0.99"}}]
    data = copy.deepcopy(SEVERAL["data"]) | {"slices": [{"name": "class", "column": "shop"}]}
    document_ = {**copy.deepcopy(SEVERAL), "data": data, "gates": gates, "autonomy": {"target": "Shadow"}}
    rows = animals()
    rows = rows.append_column("shop", pa.array(["bee", "other"] * (len(rows) // 2)))

    def verdicts() -> list[str | None]:
        told = judged(document_, measured(effective(load_spec(document_)), rows))
        return [row.verdict for row in told.slices[0].rows]

    assert verdicts() == [None, None]
    gates.append({"name": "shops", "metric": "accuracy", "each": ["class"], "require": {"Shadow": ">= 0.01"}})
    assert verdicts() == ["Pass", "Pass"]


@pytest.mark.row("R1/table")
def test_a_sensitive_slice_has_a_table_of_every_notion_whatever_gates_ask() -> None:
    told = report()
    (table_,) = told.fairness
    assert (table_.name, table_.of) == ("sex", "sex")
    assert [row.metric for row in table_.rows] == [
        "selection_rate", "equalized_odds", "recall", "precision", "observed_expected",
    ]  # fmt: skip
    parity, odds, *_ = table_.rows
    assert parity.lowest is not None
    assert parity.highest is not None
    low, high = parity.lowest.number.value, parity.highest.number.value
    assert low is not None
    assert high is not None
    assert parity.difference.value == pytest.approx(high - low)
    assert parity.ratio.value == pytest.approx(low / high)
    assert parity.difference.lower is not None
    assert parity.difference.upper is not None
    assert parity.difference.lower <= parity.difference.value <= parity.difference.upper
    gate = next(gate for gate in told.gates if gate.name == "fair")
    assert parity.verdict == gate.decided.verdict
    assert (odds.lowest, odds.verdict) == (None, None)
    words = {
        "text": text.render(told, width=200),
        "markdown": markdown.render(told),
        "html": html.render(told),
        "card": model_card.render(told),
    }
    for form, page in words.items():
        assert "Fairness across sex" in page, form
        assert "Equal opportunity" in page, form
        assert TOLD in page.replace("\n  ", " "), form
    (written,) = document.document(told)["fairness"]
    assert written["rows"][0]["lowest"]["group"] == parity.lowest.group
    assert written["rows"][1]["difference"]["value"] == odds.difference.value


def test_quantile_ranges_and_crosses_come_from_low_to_high() -> None:
    document = changed()
    document["data"]["slices"] = [
        {"name": "both", "cross": ["sex", "amount"]},
        {"name": "amount", "column": "amount", "quantiles": 3},
        {"name": "sex", "column": "sex", "sensitive": True},
    ]
    document["gates"] = [gate for gate in document["gates"] if gate["name"] != "recall"]
    found = judged(document, measured(effective(load_spec(document)), table()))
    both, amount, _ = found.slices
    low, middle, high = (row.value for row in amount.rows)
    assert low.startswith("<")
    assert high.startswith(">=")
    assert middle == f"{low[1:]}-{high[2:]}"
    sides = [f"{sex} × {name}" for sex in ("female", "male") for name in (low, middle, high)]
    assert [row.value for row in both.rows] == sides
    assert both.column == "sex × amount"


def weak(**changes: Any) -> Weakest:
    item = WeakSlice(
        sides=(Side(name="age", value="20-30"), Side(name="sex", value="<b>f")),
        rows=412,
        loss=0.449,
        elsewhere=0.2,
        at_least=0.1931,
        effect=0.6,
        p=1e-9,
        q=1e-7,
    )
    found = Weakest(
        loss="Error",
        rows=9000,
        mean=0.21,
        columns=("age", "sex"),
        candidates=77,
        level=0.05,
        floor=0.2,
        least_rows=50,
        found=1,
        slices=(item,),
    )
    return found.model_copy(update=changes)


@pytest.mark.row("T2/sentence")
def test_the_weakest_part_is_told_in_a_sentence() -> None:
    told = tell(weak())
    assert told is not None
    assert told.sentences == (
        "Accuracy is 55.1 % for age 20-30 and sex <b>f (n = 412) against 80 % elsewhere, at least 19 points less "
        "(q < 0.0001)",
    )
    assert "Searched: 77 parts of 9000 test rows, of 50 or more each, by the values of 2 columns" in told.told
    assert "1 is surely weaker" in told.told
    assert "at most 5 % of them are expected by chance" in told.told
    (item,) = weak().slices
    cluster = item.model_copy(update={"clusters": 40, "q": 0.0312, "at_least": -0.01})
    assert sentence(cluster, weak(loss="LogLoss")) == (
        "Log loss is 0.449 for age 20-30 and sex <b>f (n = 412 in 40 clusters) against 0.2 elsewhere (q = 0.0312)"
    )
    assert "Mean absolute error is 0.449" in sentence(item, weak(loss="AbsoluteError"))


def test_a_search_that_finds_nothing_or_cannot_search_says_so() -> None:
    empty = tell(weak(slices=(), found=0))
    assert empty is not None
    assert "None is surely weaker than the rest; that says nothing of smaller parts." in empty.told
    none = tell(weak(slices=(), found=0, candidates=0, left_out=("3 of 4 pairs",)))
    assert none is not None
    assert none.told.startswith("Nothing was searched: of 2 columns no value has 50 test rows or more")
    assert none.left_out == ("Not searched: 3 of 4 pairs.",)
    assert tell(None) is None


def test_every_form_tells_where_it_is_weakest() -> None:
    told = dataclasses.replace(report(), weakest=tell(weak()))
    pages = {
        "text": " ".join(text.render(told).split()),
        "markdown": markdown.render(told),
        "html": html.render(told),
        "card": model_card.render(told),
    }
    for form, page in pages.items():
        assert "Where it is weakest" in page, form
        assert "Accuracy is 55.1" in page, form
        assert "Searched: 77 parts" in page, form
        assert ("sex <b>f" in page) == (form == "text"), form
    written = document.document(told)["weakest"]
    assert written["sentences"] == list(told.weakest.sentences) if told.weakest else False
    assert written["search"]["slices"][0]["atLeast"] == 0.1931
    assert document.document(dataclasses.replace(told, weakest=None))["weakest"] is None
    (line,) = [line for line in text.render(report()).splitlines() if line.startswith("  Searched: ")]
    assert line


def test_digests_are_those_of_what_is_written() -> None:
    found = report()
    assert found.computed_digest == digest(evidence().dump()["computed"])
    assert found.evidence_digest == digest(evidence().dump())
