"""Gates on live rows: what was counted, held against a number, by limits that hold at any time."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.api.spec import Gate
from mandate.evidence.live import Live
from mandate.verdict.anytime import bounded_limits
from mandate.verdict.live import judge_live

NONE = {"count": 0, "sum": 0, "sumSquares": 0}
DECIDED = {"count": 0, "overridden": 0, "labelled": 0, "humanRight": 0, "modelRight": 0, "bothRight": 0}


def live(task: str, outcomes: dict[str, Any], slices: dict[str, Any] | None = None) -> Live:
    time = "2026-01-31T09:00:00.000Z"
    return Live.model_validate(
        {
            "namespace": "lending",
            "model": "credit",
            "revision": "0" * 32,
            "task": task,
            "since": time,
            "until": time,
            "predictions": 9,
            "failed": 0,
            "labelled": 9,
            "latency": NONE,
            "conflicts": 0,
            "unknown": 0,
            "dropped": 0,
            "decisions": {"shown": DECIDED, "blind": DECIDED},
            "outcomes": {"overall": outcomes, "slices": slices or {}},
        }
    )


def binary(tp: int, fp: int, tn: int, fn: int) -> dict[str, int]:
    return {"tp": tp, "fp": fp, "tn": tn, "fn": fn}


def gate(metric: str, **more: Any) -> Gate:
    return Gate.model_validate({"name": metric.replace("_", "-"), "metric": metric, "rows": "live"} | more)


def verdict(asked: Gate, found: Live, level: Any = "Automate") -> tuple[str, str]:
    (judged,) = judge_live(gates=[asked], tier="Medium", live=found)[level].gates
    return judged.verdict, judged.message


@pytest.mark.parametrize(
    ("metric", "asked", "counted", "expected"),
    [
        ("recall", ">= 0.7", (900, 0, 0, 100), "Pass"),
        ("recall", ">= 0.7", (500, 0, 0, 500), "Fail"),
        ("recall", ">= 0.7", (8, 0, 0, 2), "Inconclusive"),
        ("recall", ">= 0.7", (0, 5, 900, 0), "Inconclusive"),
        ("precision", ">= 0.7", (900, 100, 0, 900), "Pass"),
        ("false_positive_rate", "<= 0.2", (0, 50, 950, 900), "Pass"),
        ("selection_rate", "within 0.4 .. 0.6", (250, 250, 250, 250), "Pass"),
        ("selection_rate", "within 0.4 .. 0.6", (500, 400, 50, 50), "Fail"),
        ("accuracy", ">= 0.7", (450, 50, 450, 50), "Pass"),
    ],
)
def test_binary(metric: str, asked: str, counted: tuple[int, int, int, int], expected: str) -> None:
    found = live("Binary", binary(*counted))
    assert verdict(gate(metric, require={"Automate": asked}), found)[0] == expected


def test_words_say_the_limits_and_what_is_missing() -> None:
    lower, upper = bounded_limits(rows=10, total=8, alpha=0.025)
    words = verdict(gate("recall", require={"Automate": ">= 0.7"}), live("Binary", binary(8, 0, 0, 2)))[1]
    assert words.startswith(f"overall: 0.8 [{lower:.4g}, {upper:.4g}] can't be told from >= 0.7; about ")
    assert words.endswith("more of its rows needed")


def test_one_slice_is_enough_to_fail_and_all_are_needed_to_pass() -> None:
    asked = gate("recall", each=["overall", "age"], require={"Automate": ">= 0.7"})
    good, bad, few = binary(900, 0, 0, 100), binary(100, 0, 0, 900), binary(3, 0, 0, 0)

    def of(value: dict[str, int], other: dict[str, int] | None = None) -> tuple[str, str]:
        part = {"values": {"20-30": value}} | ({"other": other} if other else {})
        return verdict(asked, live("Binary", good, {"age": part}))

    assert of(good)[0] == "Pass"
    assert of(few)[0] == "Inconclusive"
    assert of(good, bad)[0] == "Fail"
    assert of(good, bad)[1].startswith("age other: 0.1 [")
    assert verdict(asked, live("Binary", good))[0] == "Inconclusive", "no row says its age"


def test_refuting_one_of_many_places_takes_more_than_refuting_the_only_one() -> None:
    """What acts on something that runs is wrong in at most alpha of cases, over all places that there may ever be."""
    alone, among = (bounded_limits(rows=107, total=67, alpha=alpha)[1] for alpha in (0.025, 0.025 / 65))
    asked = gate("recall", require={"Automate": f">= {(alone + among) / 2:.6f}"})
    by_age = asked.model_copy(update={"each": ("age",)})
    counted = binary(67, 0, 0, 40)
    assert verdict(asked, live("Binary", counted))[0] == "Fail"
    for values in ({"0": counted}, {str(number): counted for number in range(40)}):
        found, words = verdict(by_age, live("Binary", counted, {"age": {"values": values}}))
        assert found == "Inconclusive"
        assert int(words.split("about ")[1].split(" ")[0]) > 1


def test_a_slice_without_rows_holds_nothing() -> None:
    asked = gate("recall", each=["age"], require={"Automate": ">= 0.5"})
    assert verdict(asked, live("Binary", binary(9, 0, 0, 0), {"age": {"values": {}}}))[0] == "Inconclusive"


def test_classes_and_numbers() -> None:
    right = live("Multiclass", {"right": 900, "wrong": 100})
    assert verdict(gate("accuracy", require={"Automate": ">= 0.8"}), right)[0] == "Pass"
    # 2 000 errors of -1 and 3 in turn: bias 1, absolute 2, squares 5.
    errors = {"count": 2000, "sum": 2000, "sumAbsolute": 4000, "sumSquares": 10000, "min": -1, "max": 3}
    found = live("Regression", errors)
    assert verdict(gate("bias", require={"Automate": "within 0.5 .. 1.5"}), found)[0] == "Pass"
    assert verdict(gate("bias", require={"Automate": "within -0.5 .. 0.5"}), found)[0] == "Fail"
    assert verdict(gate("mean_absolute_error", require={"Automate": "<= 2.5"}), found)[0] == "Pass"
    few = live("Regression", errors | {"count": 20, "sum": 20, "sumAbsolute": 40, "sumSquares": 100})
    assert verdict(gate("bias", require={"Automate": "within 0.5 .. 1.5"}), few) == (
        "Inconclusive",
        "overall: 1 [−∞, ∞] can't be told from within 0.5 .. 1.5; about 480 more of its rows needed",
    )
    empty = live("Regression", {"count": 0, "sum": 0, "sumAbsolute": 0, "sumSquares": 0})
    assert verdict(gate("bias", require={"Automate": "within 0.5 .. 1.5"}), empty)[0] == "Inconclusive"


def test_only_levels_and_gates_that_ask_something_of_live_rows() -> None:
    found = live("Binary", binary(900, 0, 0, 100))
    test = Gate.model_validate({"name": "t", "metric": "recall", "require": {"Shadow": ">= 0.9"}})
    levels = judge_live(gates=[test, gate("recall", require={"Suggest": ">= 0.7"})], tier="Medium", live=found)
    assert list(levels) == ["Suggest", "Automate"]
    assert levels["Suggest"].holds
    assert judge_live(gates=[test], tier="Medium", live=found) == {}


def test_a_burden_decides_what_an_open_question_means() -> None:
    few = live("Binary", binary(8, 0, 0, 2))
    asked = gate("recall", require={"Suggest": ">= 0.7"}, burden="NotRefuted")
    assert judge_live(gates=[asked], tier="High", live=few)["Suggest"].holds
    shown = asked.model_copy(update={"burden": None})
    assert not judge_live(gates=[shown], tier="High", live=few)["Suggest"].holds
