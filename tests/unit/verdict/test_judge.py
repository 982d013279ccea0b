"""Verdicts on evidence made by hand: every word, the burdens, the looks, the levels."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api.spec import Gate
from mandate.evidence.intervals import AllPairs, Beta, Fact, GroupPair, Paired, StudentT, Table, Unbounded
from mandate.evidence.schema import (
    Computed,
    Cutoff,
    Estimate,
    Evidence,
    Fault,
    HeldOut,
    Inputs,
    Measured,
    Quantity,
    Support,
)
from mandate.verdict.judge import Verdict, judge, share_of_alpha

DIGEST = "sha256:" + "0" * 64


def evidence(*estimates: Estimate, held_out: str = "Unknown") -> Evidence:
    return Evidence(
        computed=Computed(
            task="Binary",
            inputs=Inputs(model=DIGEST, data={}, split=DIGEST, predictions=DIGEST, settings=DIGEST),
            rows={"test": 1000},
            held_out=HeldOut(status=held_out, reason="for the test"),  # type: ignore[arg-type]
            estimates=estimates,
        ),
        measured=Measured(),
    )


def proportion(k: float, n: float, metric: str = "recall", **where: Any) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, **where),
        estimate=k / n,
        interval=Beta(successes=k, trials=n),
        support=Support(rows=int(n), events=int(n)),
    )


def gate(require: dict[str, str], metric: str = "recall", **rest: Any) -> Gate:
    return Gate.model_validate({"name": "g", "metric": metric, "require": require, **rest})


def judged(gates: Gate | list[Gate], record: Evidence, **options: Any) -> Verdict:
    settings: dict[str, Any] = {"tier": "Medium", "look": 1, "champion": False} | options
    return judge(gates=gates if isinstance(gates, list) else [gates], evidence=record, **settings)


def word(verdict: Verdict, level: Any = "Automate") -> str:
    (result,) = verdict.at(level).gates
    return result.verdict


@pytest.mark.row("T5/interval")
@pytest.mark.parametrize(
    ("k", "expected"), [(900, "Pass"), (720, "Inconclusive"), (700, "Inconclusive"), (500, "Fail")]
)
def test_the_whole_interval_decides(k: int, expected: str) -> None:
    assert word(judged(gate({"Automate": ">= 0.70"}), evidence(proportion(k, 1000)))) == expected


@pytest.mark.row("T5/rows-needed")
def test_inconclusive_says_how_many_rows_are_missing() -> None:
    verdict = judged(gate({"Automate": ">= 0.70"}), evidence(proportion(75, 100)))
    (outcome,) = verdict.at("Automate").gates[0].outcomes
    # At this look's 1.25 % instead of 2.5 %, 637 positives become 772 (the z of 1.96 is 2.24).
    assert outcome.needed == pytest.approx(772 - 100, abs=3)
    assert f"{outcome.needed} more rows needed" in outcome.message


def test_on_the_limit_no_number_of_rows_is_promised() -> None:
    verdict = judged(gate({"Automate": ">= 0.70"}), evidence(proportion(70, 100)))
    (outcome,) = verdict.at("Automate").gates[0].outcomes
    assert outcome.needed is None
    assert "sits on the limit" in outcome.message


def test_next_to_the_limit_no_number_of_rows_is_promised_either() -> None:
    """A gap whose square is next to nothing in floating point."""
    found = Estimate(
        quantity=Quantity(metric="bias"),
        estimate=1e-160,
        interval=StudentT(link="Identity", centre=1e-160, se=0.25, df=100),
        support=Support(rows=100, events=100),
    )
    (outcome,) = judged(gate({"Automate": "<= 0"}, metric="bias"), evidence(found)).at("Automate").gates[0].outcomes
    assert (outcome.verdict, outcome.needed) == ("Inconclusive", None)
    assert "sits on the limit" in outcome.message


def latency(upper: dict[float, float | None], *, rows: int, load: str) -> Estimate:
    """A p99 of 20 ms with limits of 15 ms and what `upper` says by level."""
    return Estimate(
        quantity=Quantity(metric="latency_p99", load=load),
        estimate=0.020,
        interval=Table(levels=tuple(upper), lower=(0.015,) * len(upper), upper=tuple(upper.values())),
        support=Support(rows=rows, events=rows // 100),
    )


FIRST, SECOND = 0.025 / 2, 0.025 / 6
"""The one-sided levels of the first two looks."""


@pytest.mark.parametrize(
    ("measured", "look", "needed", "words"),
    [
        # 0.99^n is at most 1.25 % from n = 436 on, and at most 0.42 % from n = 546 on.
        (
            latency({FIRST: None, SECOND: None}, rows=300, load="5/s"),
            1,
            137,
            "437 requests or more are needed to bound it at this look, there were 300; what may help: "
            "raise the gate's load to 8/s or more",
        ),
        (latency({FIRST: 0.05, SECOND: None}, rows=480, load="8/s"), 2, 66, "raise the gate's load to 10/s or more"),
        (
            latency({FIRST: None, SECOND: None}, rows=2000, load="50/s"),
            1,
            None,
            "its 2 000 requests don't bound it at this look: too many went unanswered, or were slow together; "
            "what may help: give the container more CPU",
        ),
        (latency({FIRST: 0.05}, rows=2000, load="50/s"), 9, None, "look as late as this; what may help: take fresh"),
        (latency({FIRST: 0.041, SECOND: 0.05}, rows=300, load="5/s"), 1, 326, "raise the gate's load to 11/s or more"),
        (
            latency({FIRST: 0.12, SECOND: 0.13}, rows=2000, load="50/s"),
            1,
            None,
            "requests or more are needed to tell, there were 2 000; what may help: give the container more CPU "
            "(serving.resources), or serve a smaller model; a load has at most 2 000",
        ),
    ],
)
def test_latencies_ask_for_requests_and_name_the_setting(
    measured: Estimate, look: int, needed: int | None, words: str
) -> None:
    record = evidence().model_copy(update={"measured": Measured(estimates=(measured,))})
    asked = gate({"Automate": "<= 40ms"}, metric="latency_p99", load=measured.quantity.load)
    (outcome,) = judged(asked, record, look=look).at("Automate").gates[0].outcomes
    assert outcome.verdict == "Inconclusive"
    assert words in outcome.message
    assert outcome.unit == "requests"
    if needed is not None:
        assert outcome.needed == needed


def test_as_many_requests_as_are_asked_for_bound_it() -> None:
    """The number in the message is enough for requests that don't resemble each other, and one fewer isn't."""
    for level in (FIRST, SECOND):
        least = math.ceil(math.log(level) / math.log(0.99))
        assert 0.99**least <= level < 0.99 ** (least - 1)


def test_a_load_generator_that_could_not_keep_up_decides_nothing() -> None:
    reason = "the load generator kept up 60% of the declared rate, so this is its own speed"
    slow = latency({FIRST: 0.02}, rows=2000, load="900/s").model_copy(
        update={"interval": Unbounded(reason=reason, unit="punctual", found=500, needed=2000)}
    )
    record = evidence().model_copy(update={"measured": Measured(estimates=(slow,))})
    asked = gate({"Automate": "<= 40ms"}, metric="latency_p99", load="900/s")
    (outcome,) = judged(asked, record).at("Automate").gates[0].outcomes
    assert (outcome.verdict, outcome.needed, outcome.unit) == ("Inconclusive", 1500, "requests sent in time")
    assert outcome.message == f"overall: 20ms, {reason}; 1 500 more requests sent in time needed"


def test_no_gates_never_hold() -> None:
    verdict = judged([], evidence(proportion(99, 100)))
    assert verdict.reached is None
    assert not any(level.holds for level in verdict.levels)


def test_a_level_without_gates_of_its_own_still_asks_what_lies_below() -> None:
    verdict = judged(gate({"Shadow": ">= 0.70"}), evidence(proportion(900, 1000)))
    assert verdict.reached == "Automate"


def test_a_gate_of_a_higher_level_alone_leaves_the_lower_ones_without_gates() -> None:
    # Nothing is asked at Shadow, so nothing is shown there, and no level can stand on it.
    verdict = judged(gate({"Automate": ">= 0.70"}), evidence(proportion(900, 1000)))
    assert verdict.reached is None


def test_burdens_follow_level_and_tier() -> None:
    record, asked = evidence(proportion(75, 100)), gate({"Shadow": ">= 0.70"})
    assert judged(asked, record, tier="Medium").reached == "Shadow"
    assert judged(asked, record, tier="Low").reached == "Suggest"
    strict = gate({"Shadow": ">= 0.70"}, burden="Shown")
    assert judged(strict, record, tier="Low").reached is None


def test_not_refuted_still_stops_at_fail_and_error() -> None:
    asked = gate({"Shadow": ">= 0.70"}, burden="NotRefuted")
    assert judged(asked, evidence(proportion(500, 1000))).reached is None
    fault = Estimate(
        quantity=Quantity(metric="recall"), support=Support(rows=0, events=0), fault=Fault(code="OneClass", message="x")
    )
    assert judged(asked, evidence(fault)).reached is None
    assert word(judged(asked, evidence(fault))) == "Error"


def test_what_was_not_measured_is_an_error() -> None:
    assert word(judged(gate({"Shadow": ">= 0.7"}, each=["age"]), evidence(proportion(99, 100)))) == "Error"
    other = evidence(proportion(99, 100, on="train"))
    assert word(judged(gate({"Shadow": ">= 0.7"}), other)) == "Error"


@pytest.mark.row("T2/gated")
def test_every_value_of_a_slice_must_hold() -> None:
    cells = [proportion(950, 1000, slice="age", value=value) for value in ("<20", "20-30")]
    cells.append(proportion(550, 1000, slice="age", value=">=30"))
    verdict = judged(gate({"Shadow": ">= 0.7"}, each=["age"]), evidence(*cells))
    assert word(verdict) == "Fail"
    assert "age >=30: 0.55 [" in verdict.at("Shadow").gates[0].message


@pytest.mark.row("G5/looks")
def test_later_looks_spend_less() -> None:
    shares = [share_of_alpha(confidence=0.95, look=look) for look in range(1, 2000)]
    assert shares[0] == pytest.approx(0.0125)
    assert sum(shares) < 0.025
    asked, record = gate({"Automate": ">= 0.70"}), evidence(proportion(735, 1000))
    assert word(judged(asked, record, look=1)) == "Pass"
    assert word(judged(asked, record, look=5)) == "Inconclusive"


@pytest.mark.row("G7/judged")
def test_comparison_with_a_missing_champion() -> None:
    asked = gate({"Shadow": "no worse than champion"}, metric="roc_auc")
    assert word(judged(asked, evidence())) == "Error"
    skipped = gate({"Shadow": "no worse than champion"}, metric="roc_auc", firstModel="Skip")
    assert word(judged(skipped, evidence())) == "Skipped"
    assert word(judged(skipped, evidence(), champion=True)) == "Error"


@pytest.mark.row("G7/judged")
@pytest.mark.parametrize("more", [{}, {"firstModel": "Skip"}])
def test_the_champion_itself_isnt_asked_to_beat_the_champion(more: dict[str, str]) -> None:
    asked = gate({"Shadow": "better than champion"}, metric="roc_auc", **more)
    verdict = judged(asked, evidence(), itself=True)
    assert word(verdict) == "Skipped"
    assert "this is the champion" in verdict.at("Shadow").gates[0].message


def compared(a: float, b: float, variance: float, cov: float, metric: str = "log_loss") -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, versus="linear"),
        estimate=a,
        reference=b,
        interval=Paired(a=a, b=b, var_a=variance, var_b=variance, cov=cov, df=500),
        support=Support(rows=1000, events=300),
    )


@pytest.mark.row("B3/margin")
@pytest.mark.parametrize(
    ("a", "b", "text", "expected"),
    [
        (0.40, 0.50, "better than linear", "Pass"),
        (0.50, 0.40, "better than linear", "Fail"),
        (0.50, 0.501, "better than linear", "Inconclusive"),
        (0.50, 0.501, "no worse than linear by 0.05", "Pass"),
        (0.40, 0.50, "better than linear by 0.09", "Inconclusive"),
        (0.40, 0.50, "better than linear by 5 %", "Pass"),
        (0.40, 0.50, "better than linear by 30 %", "Fail"),
        (0.40, 0.00, "no worse than linear by 5 %", "Error"),
    ],
)
def test_comparisons_follow_the_metric_s_direction(a: float, b: float, text: str, expected: str) -> None:
    record = evidence(compared(a, b, 1e-4, 0.5e-4))
    assert word(judged(gate({"Shadow": text}, metric="log_loss"), record)) == expected


@pytest.mark.row("T5/events")
def test_zero_variance_never_passes() -> None:
    record = evidence(compared(0.4, 0.5, 1e-4, 1e-4))
    assert word(judged(gate({"Shadow": "better than linear"}, metric="log_loss"), record)) == "Inconclusive"


def test_too_few_events_are_inconclusive_and_say_what_is_missing() -> None:
    estimate = Estimate(
        quantity=Quantity(metric="roc_auc"),
        estimate=1.0,
        interval=Unbounded(reason="only 5 positives", unit="positives", found=5, needed=30),
        support=Support(rows=50, events=5),
    )
    verdict = judged(gate({"Shadow": ">= 0.7"}, metric="roc_auc"), evidence(estimate))
    assert word(verdict) == "Inconclusive"
    assert "25 more positives needed" in verdict.at("Shadow").gates[0].message


def test_facts_pass_exactly_when_met() -> None:
    def shared(count: float) -> Evidence:
        estimate = Estimate(
            quantity=Quantity(metric="shared_rows"),
            estimate=count,
            interval=Fact(),
            support=Support(rows=100, events=0),
        )
        return evidence(estimate)

    asked = gate({"Shadow": "<= 0"}, metric="shared_rows")
    assert word(judged(asked, shared(0))) == "Pass"
    assert word(judged(asked, shared(1))) == "Fail"


def test_spread_over_groups_passes_when_every_pair_does() -> None:
    def spread(first: float, se: float) -> Evidence:
        pairs = tuple(
            GroupPair(first="a", second=other, interval=StudentT(link="Identity", centre=centre, se=se, df=200))
            for other, centre in (("b", first), ("c", 0.01))
        )
        estimate = Estimate(
            quantity=Quantity(metric="recall", across="sex", shape="difference"),
            estimate=abs(first),
            interval=AllPairs(pairs=pairs),
            support=Support(rows=900, events=300),
        )
        return evidence(estimate)

    asked = gate({"Shadow": "<= 0.15"}, across="sex", **{"as": "difference"})
    assert word(judged(asked, spread(0.02, 0.02))) == "Pass"
    assert word(judged(asked, spread(-0.30, 0.02))) == "Fail"
    assert word(judged(asked, spread(0.10, 0.05))) == "Inconclusive"


@pytest.mark.row("T6/gap")
def test_the_gap_between_train_and_test_is_read_in_the_metric_s_direction() -> None:
    def gap(metric: str, train: float, test: float) -> Evidence:
        estimate = Estimate(
            quantity=Quantity(metric=metric, on="train-test"),
            estimate=train,
            reference=test,
            interval=Paired(a=train, b=test, var_a=1e-5, var_b=1e-5, cov=0.0, df=500),
            support=Support(rows=1000, events=300),
        )
        return evidence(estimate)

    auc = gate({"Shadow": "<= 0.05"}, metric="roc_auc", rows="train-test")
    assert word(judged(auc, gap("roc_auc", 0.80, 0.79))) == "Pass"
    failed = judged(auc, gap("roc_auc", 0.95, 0.79))
    assert word(failed) == "Fail"
    assert "overall: 0.16 [" in failed.at("Shadow").gates[0].message
    assert "(train 0.95, test 0.79) misses <= 0.05" in failed.at("Shadow").gates[0].message
    open_ = judged(auc, gap("roc_auc", 0.80, 0.755)).at("Shadow").gates[0]
    # z(1.25 %) + z(80 %) is 3.08; a gap of 0.005 at a standard error of 0.0045 takes 7.6 times the rows.
    assert open_.outcomes[0].needed == pytest.approx(6640, rel=0.01)
    loss = gate({"Shadow": "<= 0.05"}, metric="log_loss", rows="train-test")
    assert word(judged(loss, gap("log_loss", 0.20, 0.50))) == "Fail"
    assert word(judged(loss, gap("log_loss", 0.50, 0.20))) == "Pass"


@pytest.mark.parametrize(
    "interval",
    [
        Unbounded(reason="a few rows decide the number", unit="minority", needed=60, found=20),
        Paired(a=0.995, b=0.99, var_a=1e-5, var_b=1e-5, cov=1e-5, df=500),
    ],
    ids=["too few events", "no variance"],
)
def test_a_gap_that_is_open_is_told_as_the_gap(interval) -> None:
    estimate = Estimate(
        quantity=Quantity(metric="roc_auc", on="train-test"),
        estimate=0.995,
        reference=0.99,
        interval=interval,
        support=Support(rows=114, events=44),
    )
    found = judged(gate({"Shadow": "<= 0.05"}, metric="roc_auc", rows="train-test"), evidence(estimate))
    (outcome,) = found.at("Shadow").gates[0].outcomes
    assert outcome.verdict == "Inconclusive"
    assert outcome.message.startswith("overall: 0.005 (train 0.995, test 0.99), ")
    assert outcome.estimate == pytest.approx(0.005)


@pytest.mark.row("G5/held-out")
def test_tier_high_wants_proof_that_the_test_rows_were_held_out() -> None:
    asked, estimate = gate({"Shadow": ">= 0.70"}), proportion(900, 1000)
    for status, reached in (("Unknown", "Shadow"), ("Declared", "Shadow"), ("Proven", "Automate")):
        verdict = judged(asked, evidence(estimate, held_out=status), tier="High")
        assert verdict.reached == reached
    assert "splitDigest" in judged(asked, evidence(estimate), tier="High").at("Suggest").gates[-1].message


@pytest.mark.row("G4/cutoff")
def test_nothing_acts_on_a_cut_off_that_is_not_the_measured_one() -> None:
    asked, record = gate({"Shadow": ">= 0.70"}), evidence(proportion(900, 1000))
    chosen = Cutoff(metric="f1", declared="0.5", chosen="0.37", value=0.8, low=0.3, high=0.4, rows=100, events=30)
    fault = Fault(code="OneClass", message="give rows of both classes")
    for cutoff, reached, word in (
        (chosen, "Shadow", "Inconclusive"),
        (chosen.model_copy(update={"declared": "0.370"}), "Automate", "Pass"),
        (chosen.model_copy(update={"chosen": None, "fault": fault}), None, "Error"),
    ):
        found = judged(
            asked, record.model_copy(update={"computed": record.computed.model_copy(update={"cutoff": cutoff})})
        )
        assert found.reached == reached
        assert found.at("Suggest").gates[-1].verdict == word
    bare = record.model_copy(update={"computed": record.computed.model_copy(update={"cutoff": chosen})})
    assert 'declare model.output.cutoff: "0.37"' in judged(asked, bare).at("Suggest").gates[-1].message
    frozen = chosen.model_copy(update={"declared": "0.37"})
    empty = record.model_copy(update={"computed": record.computed.model_copy(update={"cutoff": frozen})})
    assert judged([], empty).reached is None


LEVEL_ORDER = {None: 0, "Shadow": 1, "Suggest": 2, "Automate": 3}


@given(
    k=st.integers(0, 400),
    limits=st.lists(st.integers(0, 100), min_size=3, max_size=3).map(sorted),
    tier=st.sampled_from(["Low", "Medium", "High"]),
    look=st.integers(1, 20),
    held_out=st.sampled_from(["Unknown", "Proven"]),
)
def test_a_level_never_needs_less_than_the_one_below(
    k: int, limits: list[int], tier: str, look: int, held_out: str
) -> None:
    require = dict(zip(("Shadow", "Suggest", "Automate"), (f">= {limit / 100}" for limit in limits), strict=True))
    record = evidence(proportion(k, 400), held_out=held_out)
    verdict = judged(gate(require), record, tier=tier, look=look)
    holds = [level.holds for level in verdict.levels]
    assert holds == sorted(holds, reverse=True)
    assert LEVEL_ORDER[verdict.reached] == sum(holds)
    later = judged(gate(require), record, tier=tier, look=look + 1)
    if "Fail" not in {gate.verdict for level in verdict.levels for gate in level.gates}:
        assert LEVEL_ORDER[later.reached] <= LEVEL_ORDER[verdict.reached]


def test_a_fail_says_what_may_help() -> None:
    failed = judged(gate({"Shadow": ">= 0.70"}), evidence(proportion(500, 1000)))
    assert "what may help: lower model.output.cutoff" in failed.at("Shadow").gates[0].message


def test_the_worst_of_the_failing_numbers_is_named() -> None:
    cells = [
        proportion(k, 1000, slice="age", value=value) for value, k in (("<20", 600), ("20-30", 300), (">=30", 550))
    ]
    message = judged(gate({"Shadow": ">= 0.7"}, each=["age"]), evidence(*cells)).at("Shadow").gates[0].message
    assert message.startswith("age 20-30: 0.3 [")
    assert message.endswith("(and 2 more)")


def test_rows_missing_for_a_spread_follow_from_its_pairs() -> None:
    pair = GroupPair(first="f", second="m", interval=StudentT(link="Identity", centre=-0.007, se=0.15, df=200))
    estimate = Estimate(
        quantity=Quantity(metric="selection_rate", across="sex", shape="ratio"),
        estimate=0.993,
        interval=AllPairs(pairs=(pair,)),
        support=Support(rows=200, events=60),
    )
    asked = gate({"Shadow": ">= 0.80"}, metric="selection_rate", across="sex", **{"as": "ratio"})
    (outcome,) = judged(asked, evidence(estimate)).at("Shadow").gates[0].outcomes
    # -ln 0.8 is 0.2231; the gap of 0.2161 at z(1.25 %) + z(80 %) = 3.083 and 0.15 takes 4.58 times the rows.
    assert outcome.needed == pytest.approx(200 * 3.58, rel=0.01)


def test_gates_on_live_rows_ask_nothing_of_test_evidence() -> None:
    asked = [
        gate({"Suggest": ">= 0.70"}),
        gate({"Suggest": ">= 0.99"}, rows="live").model_copy(update={"name": "live"}),
    ]
    verdict = judged(asked, evidence(proportion(900, 1000)))
    assert [found.name for found in verdict.at("Automate").gates] == ["g"]
    assert judged(asked[1:], evidence(proportion(900, 1000))).reached is None, "nothing asked is nothing shown"
