"""An improvement never makes a verdict worse, whatever is asked and however sure the numbers are.

Requirements are limits, leads over a reference, gaps between train and test, spreads over groups, and ranges around a
value that is to be met. A range is asked here of metrics that are best near a value: whoever asks a range of another
metric asks that it not be exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mandate.api.catalogue import METRICS as CATALOGUE
from mandate.api.criteria import LEVELS, OVERALL
from mandate.api.spec import Gate
from mandate.evidence.intervals import AllPairs, Beta, Fact, GroupPair, Paired, StudentT, Table, Unbounded
from mandate.evidence.schema import Computed, Estimate, Evidence, HeldOut, Inputs, Measured, Quantity, Support
from mandate.measure import uncertainty
from mandate.measure.metrics import METRICS, Sample
from mandate.verdict.judge import SEVERITY, Verdict, judge

DIGEST = "sha256:" + "0" * 64
LINKS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "Identity": (float, float),
    "Logit": (lambda value: math.log(value / (1 - value)), lambda value: 1 / (1 + math.exp(-value))),
    "Log": (math.log, math.exp),
    "LogComplement": (lambda value: -math.log1p(-value), lambda value: -math.expm1(-value)),
}


@dataclass(frozen=True)
class Case:
    """A gate, and the estimates that it asks for: as they are, and with one of the model's numbers better."""

    gate: Gate
    before: tuple[Estimate, ...]
    after: tuple[Estimate, ...]


def estimate(found: float, interval: Any, metric: str, *, reference: float | None = None, **where: Any) -> Estimate:
    quantity = Quantity(metric=metric, **where)
    support = Support(rows=400, events=100)
    return Estimate(quantity=quantity, estimate=found, reference=reference, interval=interval, support=support)


def gate(draw: Any, name: str, metric: str, texts: list[str], **rest: Any) -> Gate:
    """What `texts` ask, the mildest first, at one level or more."""
    first = draw(st.integers(0, len(LEVELS) - 1))
    require = dict(zip(LEVELS[first:], texts[: len(LEVELS) - first], strict=False))
    burden = draw(st.sampled_from([None, "Shown", "NotRefuted"]))
    return Gate.model_validate({"name": name, "metric": metric, "require": require, "burden": burden, **rest})


def number(value: float) -> str:
    return f"{value:.6f}"


def limits(draw: Any, near: list[float], *, better: str, low: float, high: float) -> list[str]:
    """Three limits among what is measured, each at least as hard as the one before."""
    spread = max(max(near) - min(near), 1e-3)
    chosen = draw(st.lists(st.floats(min(near) - spread, max(near) + spread), min_size=3, max_size=3))
    ordered = sorted((min(max(value, low), high) for value in chosen), reverse=better == "Lower")
    return [f"{'<=' if better == 'Lower' else '>='} {number(value)}" for value in ordered]


def leads(draw: Any, reference: str) -> list[str]:
    """Three leads over a reference, from behind it to ahead of it."""
    unit = draw(st.sampled_from(["", " %"]))
    scale = 1 if unit else 100
    texts = []
    for margin in sorted(draw(st.lists(st.integers(-25, 25), min_size=3, max_size=3))):
        sense = "no worse" if margin < 0 or (margin == 0 and not texts) else "better"
        by = f" by {abs(margin) / scale:g}{unit}" if margin else ""
        texts.append(f"{sense} than {reference}{by}")
    return texts


@st.composite
def proportions(draw: Any, name: str) -> Case:
    """A share overall and per value of a slice: of one of them, another row or more is right."""
    metric = draw(st.sampled_from(["recall", "false_positive_rate"]))
    up = CATALOGUE[metric].better == "Higher"
    trials = draw(st.integers(30, 2000))
    counts = draw(st.lists(st.integers(0, trials), min_size=4, max_size=4))
    better = list(counts)
    moved = draw(st.integers(0, 3))
    better[moved] = draw(st.integers(counts[moved], trials) if up else st.integers(0, counts[moved]))
    places = [{}] + [{"slice": "sex", "value": value} for value in "fmx"]

    def numbers(found: list[int]) -> tuple[Estimate, ...]:
        return tuple(
            estimate(count / trials, Beta(successes=count, trials=trials), metric, **place)
            for count, place in zip(found, places, strict=True)
        )

    shares = [count / trials for count in (*counts, *better)]
    texts = limits(draw, shares, better=CATALOGUE[metric].better, low=0, high=1)
    each = draw(st.sampled_from([(OVERALL,), ("sex",), (OVERALL, "sex")]))
    return Case(gate(draw, name, metric, texts, each=each), numbers(counts), numbers(better))


@st.composite
def scores(draw: Any, name: str) -> Case:
    """A number that is Student-t on some scale, alone and against a reference: both rest on the model's number."""
    metric, link, least, most = draw(
        st.sampled_from(
            [
                ("roc_auc", "Logit", 0.3, 0.99),
                ("log_loss", "Log", 0.05, 3.0),
                ("brier_score", "Identity", 0.01, 0.4),
                ("r2", "LogComplement", -2.0, 0.98),
                ("expected_cost", "Log", 0.05, 40.0),
            ]
        )
    )
    to, back = LINKS[link]
    up = CATALOGUE[metric].better == "Higher"
    value = draw(st.floats(least, most))
    lead = draw(st.one_of(st.floats(0, 0.3), st.floats(0, most - least)))
    better = min(value + lead, most) if up else max(value - lead, least)
    se, df = draw(st.floats(0.01, 0.5)), draw(st.floats(15, 500))
    reference = value + draw(st.floats(-0.3, 0.3))
    var_a, var_b = (draw(st.one_of(st.just(0.0), st.floats(1e-6, 0.02))) for _ in range(2))
    cov = draw(st.floats(-1, 1)) * math.sqrt(var_a * var_b)
    versus = draw(st.sampled_from(["linear", "champion"]))

    def numbers(found: float) -> tuple[Estimate, ...]:
        alone = StudentT(link=link, centre=to(found), se=se, df=df)  # type: ignore[arg-type]
        pair = Paired(a=found, b=reference, var_a=var_a, var_b=var_b, cov=cov, df=df)
        return estimate(found, alone, metric), estimate(found, pair, metric, reference=reference, versus=versus)

    ends = [back(to(found) + sign * 2 * se) for found in (value, better) for sign in (-1, 1)]
    asked = limits(draw, ends, better=CATALOGUE[metric].better, low=least, high=most)
    ahead = leads(draw, versus)
    texts = draw(st.sampled_from([asked, ahead, [asked[0], *ahead], [ahead[0], *asked[1:]]]))
    return Case(gate(draw, name, metric, texts), numbers(value), numbers(better))


@st.composite
def gaps(draw: Any, name: str) -> Case:
    """By how much train is better than test: the test rows' number comes nearer, or passes it."""
    metric = draw(st.sampled_from(["f1", "smape"]))
    up = CATALOGUE[metric].better == "Higher"
    train, test = draw(st.floats(0.1, 0.99)), draw(st.floats(0.1, 0.99))
    better = draw(st.floats(test, 0.99) if up else st.floats(0.1, test))
    var_a, var_b = (draw(st.floats(1e-6, 0.01)) for _ in range(2))
    df = draw(st.floats(15, 500))

    def numbers(found: float) -> tuple[Estimate, ...]:
        pair = Paired(a=train, b=found, var_a=var_a, var_b=var_b, cov=0.0, df=df)
        return (estimate(train, pair, metric, reference=found, on="train-test"),)

    sign = 1 if up else -1
    texts = limits(draw, [sign * (train - test), sign * (train - better)], better="Lower", low=-1, high=1)
    return Case(gate(draw, name, metric, texts, rows="train-test"), numbers(test), numbers(better))


@st.composite
def spreads(draw: Any, name: str) -> Case:
    """Groups that are compared with each other: two of them come nearer."""
    shape = draw(st.sampled_from(["difference", "ratio"]))
    centres = draw(st.lists(st.floats(-0.8, 0.8), min_size=1, max_size=6))
    moved = draw(st.integers(0, len(centres) - 1))
    nearer = list(centres)
    nearer[moved] *= draw(st.floats(0, 1))
    se, df = draw(st.floats(0.005, 0.3)), draw(st.floats(15, 500))
    hindrance = Unbounded(reason="too few rows", unit="rows", found=3, needed=50) if draw(st.booleans()) else None

    def spread(found: list[float]) -> float:
        widest = max(map(abs, found))
        return math.exp(-widest) if shape == "ratio" else widest

    def numbers(found: list[float]) -> tuple[Estimate, ...]:
        pairs = tuple(
            GroupPair(first="a", second=f"b{index}", interval=StudentT(link="Identity", centre=centre, se=se, df=df))
            for index, centre in enumerate(found)
        )
        interval = AllPairs(pairs=pairs, hindrance=hindrance)
        return (estimate(spread(found), interval, "selection_rate", across="sex", shape=shape),)

    better = "Higher" if shape == "ratio" else "Lower"
    texts = limits(draw, [spread(centres), spread(nearer)], better=better, low=0, high=1)
    asked = gate(draw, name, "selection_rate", texts, across="sex", **{"as": shape})
    return Case(asked, numbers(centres), numbers(nearer))


@st.composite
def latencies(draw: Any, name: str) -> Case:
    """Everything was answered sooner, and a limit that couldn't be had may be there now."""
    levels = (0.0125, 0.00417, 0.0021)
    value = draw(st.floats(0.005, 0.5))
    reach = np.cumsum(draw(st.lists(st.floats(0.01, 0.3), min_size=3, max_size=3)))
    bounded = draw(st.integers(0, 3))
    sooner, known = draw(st.floats(0.2, 1)), draw(st.integers(bounded, 3))

    def numbers(factor: float, known: int) -> tuple[Estimate, ...]:
        upper = tuple(value * factor * (1 + r) if index < known else None for index, r in enumerate(reach))
        table = Table(levels=levels, lower=tuple(value * factor * (1 - r) for r in reach), upper=upper)
        return (estimate(value * factor, table, "latency_p99", load="50/s"),)

    asked = sorted(draw(st.lists(st.integers(1, 900), min_size=3, max_size=3)), reverse=True)
    asked_of = gate(draw, name, "latency_p99", [f"<= {ms}ms" for ms in asked], load="50/s")
    return Case(asked_of, numbers(1.0, bounded), numbers(sooner, known))


@st.composite
def facts(draw: Any, name: str) -> Case:
    metric = draw(st.sampled_from(["finite_answers", "shared_rows"]))
    up = CATALOGUE[metric].better == "Higher"
    value = draw(st.floats(0, 1))
    better = draw(st.floats(value, 1) if up else st.floats(0, value))
    texts = limits(draw, [value, better], better=CATALOGUE[metric].better, low=0, high=1)
    asked = gate(draw, name, metric, texts)
    return Case(asked, (estimate(value, Fact(), metric),), (estimate(better, Fact(), metric),))


@st.composite
def ranges(draw: Any, name: str) -> Case:
    """A number that is to be met comes nearer to it."""
    metric, link = draw(st.sampled_from([("observed_expected", "Log"), ("calibration_slope", "Identity")]))
    to, back = LINKS[link]
    se, df = draw(st.floats(0.01, 0.4)), draw(st.floats(15, 500))
    off = draw(st.floats(-1, 1))
    near = off * draw(st.floats(0, 1))

    def numbers(found: float) -> tuple[Estimate, ...]:
        interval = StudentT(link=link, centre=to(1.0) + found, se=se, df=df)  # type: ignore[arg-type]
        return (estimate(back(to(1.0) + found), interval, metric),)

    texts = []
    for reach in sorted(draw(st.lists(st.floats(0.05, 0.9), min_size=3, max_size=3)), reverse=True):
        low, high = back(to(1.0) - reach), back(to(1.0) + reach)
        texts.append(f"within {number(low)} .. {number(high)}")
    return Case(gate(draw, name, metric, texts), numbers(off), numbers(near))


KINDS = (proportions, scores, gaps, spreads, latencies, facts, ranges)


@st.composite
def situations(draw: Any) -> tuple[list[Gate], Evidence, Evidence]:
    """Several gates, each on numbers of its own, of which one gate's get better."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True))
    cases = [draw(kind(f"g{index}")) for index, kind in enumerate(kinds)]
    moved = draw(st.integers(0, len(cases) - 1))
    event(f"better: {kinds[moved].__name__}")
    before = [found for case in cases for found in case.before]
    after = [found for index, case in enumerate(cases) for found in (case.after if index == moved else case.before)]
    return [case.gate for case in cases], evidence(before), evidence(after)


def evidence(estimates: list[Estimate]) -> Evidence:
    inputs = Inputs(model=DIGEST, data={}, split=DIGEST, predictions=DIGEST, settings=DIGEST)
    service = [found for found in estimates if CATALOGUE[found.quantity.metric].origin == "Service"]
    return Evidence(
        computed=Computed(
            task="Binary",
            inputs=inputs,
            rows={"test": 400},
            held_out=HeldOut(status="Proven", reason="for the test"),
            estimates=tuple(found for found in estimates if found not in service),
        ),
        measured=Measured(estimates=tuple(service)),
    )


def never_worse(before: Verdict, after: Verdict) -> None:
    """No gate's word or hold at any level, nor the level that is reached."""
    for was, now in zip(before.levels, after.levels, strict=True):
        for old, new in zip(was.gates, now.gates, strict=True):
            assert (old.name, old.level) == (new.name, new.level)
            assert SEVERITY[new.verdict] <= SEVERITY[old.verdict], f"{old.message}\n  became {new.message}"
            assert new.holds >= old.holds
        assert now.holds >= was.holds
    order = (None, *LEVELS)
    assert order.index(after.reached) >= order.index(before.reached)


@pytest.mark.row("G6/verdict")
@settings(max_examples=600, deadline=None)
@given(
    situation=situations(),
    tier=st.sampled_from(["Low", "Medium", "High"]),
    look=st.integers(1, 4),
    champion=st.booleans(),
)
def test_a_better_number_never_makes_a_verdict_worse(situation, tier, look, champion):
    gates, before, after = situation
    options = {"gates": gates, "tier": tier, "look": look, "champion": champion}
    was, now = judge(evidence=before, **options), judge(evidence=after, **options)
    never_worse(was, now)
    for old, new in zip(was.levels, now.levels, strict=True):
        for one, other in zip(old.gates, new.gates, strict=True):
            event(f"{one.verdict} → {other.verdict}")


@pytest.mark.row("G6/verdict")
@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(40, 600),
    skill=st.floats(0.5, 0.99),
    corrected=st.integers(1, 30),
    margin=st.integers(-15, 15),
    limit=st.floats(0.3, 1),
)
def test_another_right_answer_never_makes_a_verdict_worse(seed, rows, skill, corrected, margin, limit):
    """From rows to verdicts, where intervals widen and narrow with the answers. A Pass may be lost only to there being
    too few errors, or differences, for any interval; it never becomes a Fail."""
    random = np.random.default_rng(seed)
    actual = random.random(rows) < 0.5
    other = actual ^ (random.random(rows) < 0.25)
    label = actual ^ (random.random(rows) > skill)
    wrong = np.flatnonzero(label != actual)
    better = label.copy()
    better[wrong[:corrected]] ^= True
    gates = [
        Gate.model_validate({"name": "limit", "metric": "accuracy", "require": {"Shadow": f">= {number(limit)}"}}),
        Gate.model_validate(
            {
                "name": "lead",
                "metric": "accuracy",
                "require": {"Shadow": f"{'better' if margin > 0 else 'no worse'} than linear by {abs(margin) / 100:g}"},
            }
        ),
    ]
    reference = METRICS["accuracy"](Sample(actual=actual, label=other))

    def measured(answers: Any) -> Evidence:
        point = METRICS["accuracy"](Sample(actual=actual, label=answers))
        alone, pair = uncertainty.alone(point, None), uncertainty.paired(point, reference, None)
        return evidence(
            [
                estimate(point.value, alone, "accuracy"),
                estimate(point.value, pair, "accuracy", reference=reference.value, versus="linear"),
            ]
        )

    found = [measured(answers) for answers in (label, better)]
    was, now = (
        judge(gates=gates, evidence=each, tier="Medium", look=1, champion=False, target="Shadow") for each in found
    )
    intervals = dict(zip(("limit", "lead"), (each.interval for each in found[1].computed.estimates), strict=True))
    for old, new in zip(was.levels[0].gates, now.levels[0].gates, strict=True):
        event(f"{old.name}: {old.verdict} → {new.verdict}")
        if isinstance(intervals[new.name], Unbounded):
            # Too few labels are wrong, or differ, for an interval: that shows nothing, and refutes nothing.
            assert new.verdict == "Inconclusive"
        else:
            assert SEVERITY[new.verdict] <= SEVERITY[old.verdict], f"{old.message}\n  became {new.message}"
