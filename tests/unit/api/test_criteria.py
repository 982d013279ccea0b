"""The criteria language: what it reads, what it refuses, and in which words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mandate.api.catalogue import METRICS, derived
from mandate.api.criteria import Against, CriteriaError, Limit, Range, describe, looser, parse, requirements, seconds

RECALL, LATENCY, LOG_LOSS = METRICS["recall"], METRICS["latency_p99"], METRICS["log_loss"]


@pytest.mark.parametrize(
    ("text", "metric", "expected"),
    [
        (">= 0.70", RECALL, Limit("AtLeast", Decimal("0.70"))),
        ("<= 40ms", LATENCY, Limit("AtMost", Decimal("0.040"))),
        ("<= 2s", LATENCY, Limit("AtMost", Decimal(2))),
        ("within 0.8 .. 1.25", METRICS["observed_expected"], Range(Decimal("0.8"), Decimal("1.25"))),
        ("within -2 .. 2", METRICS["bias"], Range(Decimal(-2), Decimal(2))),
        ("better than linear", LOG_LOSS, Against("BetterThan", "linear", Decimal(0), False)),
        ("better than linear by 0.02", LOG_LOSS, Against("BetterThan", "linear", Decimal("0.02"), False)),
        ("no worse than champion by 2 %", RECALL, Against("NoWorseThan", "champion", Decimal("0.02"), True)),
        ("no worse than champion by 2%", RECALL, Against("NoWorseThan", "champion", Decimal("0.02"), True)),
    ],
)
def test_reads(text: str, metric: object, expected: object) -> None:
    assert parse(text, metric=metric, field="f") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "metric", "words"),
    [
        ("> 0.7", RECALL, "expected '>= N'"),
        (">=0.7", RECALL, "expected '>= N'"),
        (">= nan", RECALL, "expected '>= N'"),
        (">= 1e3", RECALL, "expected '>= N'"),
        (">= 1.2", RECALL, "lies between 0 and 1"),
        ("<= 0.7", RECALL, "better higher"),
        (">= 0.7", LOG_LOSS, "better lower"),
        ("<= 40", LATENCY, "needs a unit"),
        ("<= 0.5s", LATENCY, "whole numbers"),
        (">= 0.7ms", RECALL, "has no unit"),
        ("within 2 .. 1", METRICS["bias"], "below its second"),
        ("better than linear", METRICS["bias"], "neither better high nor low"),
        ("better than linear", METRICS["shared_rows"], "nothing to be compared with"),
        ("better than linear by 3 % more", RECALL, "expected"),
        ("better than", RECALL, "expected"),
        ("", RECALL, "expected"),
    ],
)
def test_refuses_with_field_value_and_advice(text: str, metric: object, words: str) -> None:
    with pytest.raises(CriteriaError, match=r"spec\.gates") as error:
        parse(text, metric=metric, field="spec.gates[0].require.Shadow")  # type: ignore[arg-type]
    assert words in str(error.value)
    assert repr(text) in str(error.value)


def test_each_level_asks_what_the_levels_below_ask() -> None:
    asked = requirements({"Shadow": ">= 0.5", "Automate": ">= 0.7"}, metric=RECALL, field="g")
    assert asked["Suggest"] == (Limit("AtLeast", Decimal("0.5")),)
    assert asked["Automate"] == (Limit("AtLeast", Decimal("0.7")),)


def test_another_reference_is_asked_besides() -> None:
    asked = requirements({"Shadow": "better than prior", "Automate": "better than linear"}, metric=LOG_LOSS, field="g")
    assert [item.ref for item in asked["Automate"] if isinstance(item, Against)] == ["prior", "linear"]


@pytest.mark.parametrize(
    ("below", "above", "metric"),
    [
        (">= 0.7", ">= 0.6", RECALL),
        ("<= 0.5", "<= 0.6", LOG_LOSS),
        ("within 0.9 .. 1.1", "within 0.8 .. 1.1", METRICS["observed_expected"]),
        ("better than linear", "no worse than linear by 0.01", RECALL),
        ("better than linear by 0.02", "better than linear", RECALL),
        ("better than linear", "no worse than linear", RECALL),
        ("no worse than linear by 1 %", "no worse than linear by 2 %", RECALL),
    ],
)
def test_a_level_never_asks_less(below: str, above: str, metric: object) -> None:
    with pytest.raises(CriteriaError, match="never asks less"):
        requirements({"Suggest": below, "Automate": above}, metric=metric, field="g")  # type: ignore[arg-type]


def test_looser_knows_the_direction_of_a_margin() -> None:
    tight, loose = (Against("NoWorseThan", "x", Decimal(margin), False) for margin in ("0.01", "0.02"))
    assert looser(loose, tight)
    assert not looser(tight, loose)


@pytest.mark.parametrize(
    "text", [">= 0.7", "<= 0.5", "within 0.8 .. 1.25", "better than linear by 0.02", "no worse than rest by 2 %"]
)
def test_describe_reads_back(text: str) -> None:
    metric = {"<": LOG_LOSS, "w": METRICS["observed_expected"]}.get(text[0], RECALL)
    assert describe(parse(text, metric=metric, field="f")) == text


@pytest.mark.row("T6/gap")
def test_gaps_and_spreads_turn_the_direction() -> None:
    auc = METRICS["roc_auc"]
    assert derived(auc, on="train-test").better == "Lower"
    assert derived(auc, shape="ratio").better == "Higher"
    assert derived(METRICS["log_loss"], on="train-test").better == "Lower"
    assert derived(auc) is auc


def test_durations_are_whole_numbers_with_a_unit() -> None:
    assert seconds("30d") == 30 * 86400
    assert seconds("40ms") == pytest.approx(0.04)
    with pytest.raises(ValueError, match="whole number"):
        seconds("1.5h")
