"""What people decide at Suggest: of whom, since when, what is said of it, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mandate.api.kinds import DecisionsStatus, MeanLimits
from mandate.cli import ladder
from mandate.evidence.live import Live
from mandate.rollout.decisions import follow, is_news, suggesting
from mandate.rollout.record import seen_of
from mandate.rollout.state import Leaving, Rung, State
from mandate.telemetry.metrics import ModelCollector
from mandate.verdict.anytime import bounded_limits
from tests.unit.rollout.test_ladder import T0, holder

A, B = "a" * 32, "b" * 32
AUTOMATE, SUGGEST, SHADOW = Rung("Automate", 100), Rung("Suggest"), Rung("Shadow")
STATE = State(champion=holder(A, AUTOMATE), candidate=holder(B, SUGGEST))
SINCE = "2023-11-14T22:13:20.000Z"
"""T0."""
DOCUMENT = Path(__file__).parents[3] / "docs" / "user" / "deciding.md"


def decided(count: int = 0, differ: int = 0, labelled: int = 0, wrong: int = 0, model: int = 0, both: int = 0) -> Any:
    """So many decisions, of which some differ from the model's answer; of those with their outcome who was wrong."""
    return {
        "count": count, "overridden": differ, "labelled": labelled, "humanRight": labelled - wrong,
        "modelRight": labelled - model, "bothRight": labelled - wrong - model + both,
    }  # fmt: skip


def live(
    *, blind: Any = None, shown: Any = None, share: int = 10, revision: str = B, since: str = SINCE, **more: int
) -> dict[str, Live]:
    document = {
        "namespace": "lending", "model": "credit", "revision": revision, "task": "Binary", "positive": "bad",
        "since": since, "until": "2026-03-01T00:00:00.000Z", "predictions": 9, "failed": 0, "labelled": 0,
        "latency": {"count": 0, "sum": 0.0, "sumSquares": 0.0}, "conflicts": 0, "unknown": 0, "dropped": 0,
        "outcomes": {"overall": {"tp": 0, "fp": 0, "tn": 0, "fn": 0}}, "blindShare": share,
        "decisions": {"shown": shown or decided(), "blind": blind or decided(), **more},
    }  # fmt: skip
    return {revision: Live.model_validate(document)}


def followed(record: DecisionsStatus | None = None, state: State = STATE, **told: Any) -> DecisionsStatus:
    found = follow(record, state, state, share="10%", live=live(**told))
    assert found is not None
    return found


def limits(rows: int, total: float, alpha: float = 0.025) -> tuple[float, float]:
    return bounded_limits(rows=rows, total=total, alpha=alpha)


def ends(found: MeanLimits | None) -> tuple[float, float, float]:
    assert found is not None
    assert found.lower is not None
    assert found.upper is not None
    return float(found.mean), float(found.lower), float(found.upper)


def test_people_alone_people_with_the_answer_and_the_model_are_compared() -> None:
    # Of 100 blind ones 70 agree; people err in 30, the model in 20, both in 5. In sight 190 of 200 agree; 25, 30, 24.
    found = followed(blind=decided(100, 30, 90, 30, 20, 5), shown=decided(200, 10, 180, 25, 30, 24))
    assert (found.blind.count, found.blind.labelled) == (100, 90)
    for part, whole, measured in (
        (70, 100, found.blind.agreement),
        (30, 90, found.blind.errors),
        (20, 90, found.blind.model_errors),
        (5, 20, found.blind.shared_errors),
        (190, 200, found.shown.agreement),
        (25, 180, found.shown.errors),
        (30, 180, found.shown.model_errors),
        (24, 30, found.shown.shared_errors),
    ):
        assert ends(measured) == pytest.approx((part / whole, *limits(whole, part)), rel=1e-5)
    # Person - model: 25 rows only people were wrong about, 15 only the model.
    (one_low, one_high), (low, high) = limits(90, 25, 0.0125), limits(90, 15, 0.0125)
    assert ends(found.blind.error_difference) == pytest.approx((10 / 90, one_low - high, one_high - low), rel=1e-5)
    (one_low, one_high), (low, high) = limits(200, 190, 0.0125), limits(100, 70, 0.0125)
    assert ends(found.agreement_difference) == pytest.approx((0.25, one_low - high, one_high - low), rel=1e-5)
    (one_low, one_high), (low, high) = limits(180, 25, 0.0125), limits(90, 30, 0.0125)
    assert ends(found.error_difference) == pytest.approx((25 / 180 - 30 / 90, one_low - high, one_high - low), rel=1e-4)


def test_what_nobody_decided_is_not_a_number() -> None:
    found = followed(shown=decided(5, 1))
    assert (found.blind.count, found.blind.agreement, found.blind.errors) == (0, None, None)
    assert (found.shown.errors, found.shown.shared_errors, found.agreement_difference) == (None, None, None)
    never_wrong = followed(blind=decided(5, 1, 5, 1, 0, 0))
    assert never_wrong.blind.shared_errors is None, "there is no mistake to share"
    assert ends(never_wrong.blind.model_errors)[0] == 0


def test_whoever_stands_at_suggest_is_who_it_is_about() -> None:
    assert suggesting(STATE) == STATE.candidate
    alone = State(champion=holder(A, SUGGEST))
    assert suggesting(alone) == alone.champion
    assert suggesting(State(champion=holder(A, AUTOMATE), candidate=holder(B, SHADOW))) is None
    gone = replace(holder(B, SUGGEST), leaving=Leaving(reason="Failed", message="m", by="mandate"))
    assert suggesting(replace(STATE, candidate=gone)) is None


def test_it_begins_anew_with_another_revision_and_another_time_at_suggest() -> None:
    record = followed(blind=decided(5))
    others = replace(STATE, candidate=holder(A, SUGGEST), champion=None)
    assert follow(record, STATE, others, share="10%", live={}) is None
    later = replace(STATE, candidate=holder(B, SUGGEST, since=T0 + 1))
    assert follow(record, STATE, later, share="10%", live={}) is None
    assert follow(record, later, later, share="10%", live=live(blind=decided(9))) is None, "counted before"


def test_it_stays_to_be_seen_while_its_revision_climbs_on() -> None:
    record = followed(blind=decided(5))
    higher = replace(STATE, candidate=holder(B, Rung("Automate", 10), since=T0 + 50))
    assert follow(record, STATE, higher, share="10%", live=live(blind=decided(9))) == followed(blind=decided(9))
    assert follow(record, higher, higher, share="10%", live=live(blind=decided(9))) == record
    assert follow(record, higher, State(champion=holder(B, AUTOMATE)), share="10%", live={}) == record
    assert follow(record, higher, State(champion=holder(A, AUTOMATE)), share="10%", live={}) is None


@pytest.mark.parametrize("share", [None, "20%", "0%"])
def test_an_answer_by_another_share_changes_nothing(share: str | None) -> None:
    record = followed(blind=decided(5))
    assert follow(record, STATE, STATE, share=share, live=live(blind=decided(9))) == record
    assert follow(None, STATE, STATE, share=share, live=live(blind=decided(9))) is None


def test_without_a_blind_share_only_what_was_decided_is_told() -> None:
    assert follow(None, STATE, STATE, share="0%", live=live(share=0)) is None
    found = follow(None, STATE, STATE, share="0%", live=live(share=0, shown=decided(9, 2)))
    assert found is not None
    assert found.shown.count == 9
    assert followed().blind.count == 0, "a share that is declared is told before the first decision"


def test_a_few_more_are_no_news() -> None:
    record = followed(blind=decided(220, 44, 150, 15), shown=decided(900, 90), peeked=3)
    assert not is_news(record, followed(blind=decided(221, 44, 151, 15), shown=decided(901, 90), peeked=3))
    assert is_news(record, followed(blind=decided(220, 44, 150, 15), shown=decided(900, 90), peeked=4))
    assert is_news(record, followed(blind=decided(220, 60, 150, 15), shown=decided(900, 90), peeked=3))
    assert is_news(None, record)
    assert is_news(record, None)


def test_only_those_with_the_answer_in_sight_count_as_overrides() -> None:
    seen = seen_of(live(blind=decided(12, 5), shown=decided(100, 3), peeked=7, unasked=9)[B], {})
    assert (seen.decisions, seen.overridden, seen.blind) == (100, 3, 12)


def status(record: DecisionsStatus) -> dict[str, Any]:
    kept = record.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    place = {"metadata": {"namespace": "lending", "name": "credit"}}
    return place | {"spec": {"autonomy": {"target": "Automate"}}, "status": {"decisions": kept}}


def test_they_are_told_as_the_document_shows() -> None:
    found = followed(
        blind=decided(412, 87, 380, 74, 50, 18),
        shown=decided(3690, 110, 3400, 459, 449, 439),
        peeked=9,
    )
    lines = ladder.lines(status(found.model_copy(update={"since": "2026-02-01T00:00:00.000Z"})))
    begin = next(index for index, line in enumerate(lines) if line.startswith("decisions at Suggest"))
    text = "\n".join(lines[begin:])
    assert f"```\n{text}\n```" in DOCUMENT.read_text(), text


def test_nothing_drawn_is_not_told_as_none_blind() -> None:
    found = follow(None, STATE, STATE, share="0%", live=live(share=0, shown=decided(9, 2), unasked=2))
    assert found is not None
    lines = ladder.lines(status(found))
    assert not any(line.startswith("  blind") for line in lines)
    assert lines[-1] == "  not compared: 2 decided blind unasked"
    nothing = ladder.lines(status(followed()))
    assert nothing[-2:] == ("  blind: 0", "  with the answer in sight: 0")


def test_they_are_told_in_numbers() -> None:
    registry = CollectorRegistry()
    record = followed(blind=decided(100, 30, 90, 30, 20, 5), shown=decided(200, 10))
    registry.register(ModelCollector(lambda: [status(record)]))

    def value(name: str, answer: str) -> float | None:
        labels = {"namespace": "lending", "model": "credit", "answer": answer}
        return registry.get_sample_value(f"mandate_decisions_{name}", labels)

    assert (value("agreement", "blind"), value("agreement", "shown")) == (0.7, 0.95)
    assert value("errors", "blind") == pytest.approx(1 / 3, rel=1e-5)
    assert value("model_errors", "blind") == pytest.approx(2 / 9, rel=1e-5)
    assert value("shared_errors", "blind") == 0.25
    assert value("errors", "shown") is None, "no outcome is known"
