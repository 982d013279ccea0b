"""Live aggregates: no order, repetition or grouping of what comes in changes them, and a plain count gives the same."""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.evidence.blind import is_blind
from mandate.evidence.canonical import rounded
from mandate.evidence.live import LIVE_TASKS, Live, LiveTask
from mandate.predictor import recording
from mandate.recorder import aggregates, kserve
from mandate.recorder.events import Envelope, Event, RefusedError, known, structured
from mandate.recorder.events import facts as facts_from
from mandate.recorder.facts import Decision, Drops, Exchange, Fact, Outcome, Prediction
from mandate.recorder.moments import MomentsAggregate, Sums, expansion, parse
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.storage import Query
from tests import recording as events

PLACE = {"namespace": "lending", "model": "credit"}
LABELS = ("bad", "good", "other")
NUMBERS = (0.1, 0.2, 0.3, 1.0, -3.5, 1e16, -1e16, 1e100, 5e-324)


def facts_of(seed: int) -> tuple[list[Fact], Query]:
    """Up to 60 facts about few requests, rows and entities, so that most meet others; and a question about them."""
    luck = random.Random(seed)
    makers = (prediction, prediction, prediction, prediction, outcome, outcome, decision, exchange, drops)
    task: LiveTask = luck.choice(LIVE_TASKS)
    # Mostly what fits the task, so that joined rows are frequent; sometimes not, so that misfits are too.
    classes = (task != "Regression") if luck.random() < 0.8 else luck.random() < 0.5
    found = [luck.choice(makers)(luck, classes) for _ in range(luck.randrange(60))]
    since = luck.choice((0, 0, 0, 5, 15))
    query = Query(
        **PLACE,
        revision="A",
        task=task,
        positive="bad" if task == "Binary" else None,
        against=luck.choice(("B", "B", None)),
        since=since,
        pairs_since=luck.choice((None, 0, since, since + 5)),
        blind_share=luck.choice((0, 30, 30, 30, 100)),
        until=since + luck.choice((0, 10, 30, 30, 30)),
        missing_before=10,
    )
    return list({identity(fact): fact for fact in found}.values()), query


def said(luck: random.Random, classes: bool) -> dict[str, Any]:
    return {"label": luck.choice(LABELS)} if classes == (luck.random() < 0.95) else {"value": luck.choice(NUMBERS)}


def address(luck: random.Random) -> dict[str, Any]:
    return (
        {"request": luck.choice("qrst"), "row": luck.randrange(2)}
        if luck.random() < 0.6
        else {"entity": luck.choice("ef")}
    )


def slices(luck: random.Random) -> tuple[tuple[str, str], ...]:
    return tuple((name, luck.choice("xyz")) for name in ("age", "sex") if luck.random() < 0.5)


def prediction(luck: random.Random, classes: bool) -> Prediction:
    answer = {"failed": True} if luck.random() < 0.1 else said(luck, classes)
    if "label" in answer and luck.random() < 0.8:
        answer["probability"] = luck.choice((0.0, 0.1, 0.3, 0.7, 1.0))
    key = luck.choice((None, None, "k", "l"))
    return Prediction(
        **PLACE,
        revision=luck.choice("AB"),
        request=luck.choice("qrst"),
        row=luck.randrange(2),
        time=luck.randrange(20),
        latency=None if key or luck.random() < 0.2 else luck.choice((0.0, 0.1, 0.7, 1e9)),
        entity=luck.choice((None, "e", "f")),
        slices=slices(luck),
        exchange=key,
        **answer,
    )


def outcome(luck: random.Random, classes: bool) -> Outcome:
    return Outcome(**PLACE, time=luck.randrange(20), slices=slices(luck), **said(luck, classes), **address(luck))


def decision(luck: random.Random, classes: bool) -> Decision:
    return Decision(
        **PLACE,
        time=luck.randrange(20),
        by=luck.choice(("ann", "bob")),
        shown=luck.random() < 0.6,
        revision=luck.choice((None, "A", "B")),
        **said(luck, classes),
        **address(luck),
    )


def exchange(luck: random.Random, _: bool) -> Exchange:
    return Exchange(**PLACE, key=luck.choice("kl"), time=luck.randrange(20))


def drops(luck: random.Random, _: bool) -> Drops:
    return Drops(**PLACE, revision=luck.choice("AB"), reporter=luck.choice("12"), dropped=luck.randrange(1, 9), time=0)


def identity(fact: Fact) -> tuple[Any, ...]:
    match fact:
        case Prediction():
            return ("prediction", fact.revision, fact.request, fact.row)
        case Exchange():
            return ("exchange", fact.key)
        case Outcome():
            return ("outcome", fact.request, fact.row, fact.entity)
        case Decision():
            return ("decision", fact.request, fact.row, fact.entity, fact.by, fact.shown)
        case Drops():
            return ("drops", fact.revision, fact.reporter, fact.dropped)


def answered(groups: Sequence[Sequence[Fact]], query: Query) -> Live:
    with tempfile.TemporaryDirectory() as folder:
        storage = SqliteStorage(Path(folder) / "events.db")
        try:
            for group in groups:
                storage.write([group], received=0)
            return storage.live(query)
        finally:
            storage.close()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=150)
def test_order_repetition_and_grouping_change_nothing(seed: int) -> None:
    facts, query = facts_of(seed)
    luck = random.Random(seed)
    mixed = [*facts, *(luck.choice(facts) for _ in facts if luck.random() < 0.5)]
    luck.shuffle(mixed)
    cut = luck.randrange(len(mixed) + 1)
    plain = sorted(facts, key=repr)
    expected = answered([plain], query)
    assert answered([mixed[:cut], mixed[cut:]], query) == expected
    assert expected.dump() == Reference(plain, query).live()


# --- the same by counting, in plain Python with exact fractions ---


def moments(values: Iterable[float]) -> dict[str, Any]:
    numbers = list(values)
    shown: dict[str, Any] = {
        "count": len(numbers),
        "sum": rounded(float(sum(map(Fraction, numbers), Fraction(0)))),
        "sumSquares": rounded(float(sum((Fraction(n * n) for n in numbers), Fraction(0)))),
    }
    if numbers:
        shown |= {"min": rounded(min(numbers)), "max": rounded(max(numbers))}
    return shown


class Reference:
    def __init__(self, facts: Sequence[Fact], query: Query) -> None:
        self.query = query
        self.facts = facts
        self.predictions = [fact for fact in facts if isinstance(fact, Prediction)]
        self.outcomes = [fact for fact in facts if isinstance(fact, Outcome)]
        self.decisions = [fact for fact in facts if isinstance(fact, Decision)]
        self.began = {fact.key: fact.time for fact in facts if isinstance(fact, Exchange)}
        self.classes = query.task != "Regression"

    def within(self, time: int) -> bool:
        return self.query.since <= time < self.query.until

    def compared(self, time: int) -> bool:
        since = self.query.since if self.query.pairs_since is None else self.query.pairs_since
        return since <= time < self.query.until

    def latency(self, prediction: Prediction) -> float | None:
        began = self.began.get(prediction.exchange or "")
        if began is not None:
            return float(prediction.time - began) if prediction.time >= began else None
        return prediction.latency

    def outcome(self, p: Prediction) -> Outcome | None:
        by_request = [o for o in self.outcomes if (o.request, o.row) == (p.request, p.row)]
        by_entity = [o for o in self.outcomes if o.entity is not None and o.entity == p.entity]
        return next(iter([*by_request, *by_entity]), None)

    def truth(self, p: Prediction) -> Any:
        outcome = self.outcome(p)
        return None if outcome is None else outcome.label if self.classes else outcome.value

    def said(self, fact: Prediction | Decision) -> Any:
        return fact.label if self.classes else fact.value

    def same(self, one: Any, other: Any) -> bool:
        if self.query.task == "Binary":
            return bool((one == "bad") == (other == "bad"))
        return bool(one == other)

    def slices(self, *facts: Prediction | Outcome | None) -> dict[str, str]:
        merged: dict[str, str] = {}
        for fact in reversed(facts):
            merged |= dict(fact.slices) if fact else {}
        return merged

    def sliced(self, rows: list[tuple[dict[str, str], Any]], show: Any, counts: Any) -> dict[str, Any]:
        parts: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for slices, row in rows:
            for name, value in slices.items():
                if counts(row):
                    parts[name][value].append(row)
        return {
            "overall": show([row for _, row in rows]),
            "slices": {n: {"values": {v: show(found) for v, found in vs.items()}} for n, vs in parts.items()},
        }

    def outcome_part(self, found: list[Prediction]) -> dict[str, Any]:
        known = [(self.said(p), self.truth(p)) for p in found if self.labelled(p)]
        if self.query.task == "Binary":
            table = [(said == "bad", true == "bad") for said, true in known]
            cells = {"tp": (True, True), "fp": (True, False), "tn": (False, False), "fn": (False, True)}
            return {name: table.count(cell) for name, cell in cells.items()}
        if self.query.task == "Multiclass":
            return {"right": sum(s == t for s, t in known), "wrong": sum(s != t for s, t in known)}
        errors = moments(said - true for said, true in known)
        absolute = moments(abs(said - true) for said, true in known)
        return {
            "count": len(known),
            "sum": errors["sum"],
            "sumAbsolute": absolute["sum"],
            "sumSquares": errors["sumSquares"],
            **{end: errors[end] for end in ("min", "max") if end in errors},
        }

    def labelled(self, p: Prediction) -> bool:
        return not p.failed and self.said(p) is not None and self.truth(p) is not None

    def pair_part(self, rows: list[tuple[Prediction, Prediction | None]]) -> dict[str, Any]:
        both = [(b, a) for b, a in rows if a is not None and not a.failed and not b.failed]
        # Answers of the wrong kind are neither the same nor different.
        fit = [(b, a) for b, a in both if self.said(a) is not None and self.said(b) is not None]
        judged = [(b, a, self.truth(b)) for b, a in fit if self.truth(b) is not None]
        right = [(self.same(self.said(a), true), self.same(self.said(b), true)) for b, a, true in judged]
        if not self.classes:
            right = []
            scores = [a.value - b.value for b, a in fit]  # type: ignore[operator]
        else:
            scores = [
                a.probability - b.probability
                for b, a in both
                if a.probability is not None
                and b.probability is not None
                and (self.query.task == "Binary" or a.label == b.label)
            ]
        latencies = [(self.latency(a), self.latency(b)) for b, a in both]
        errors = [] if self.classes else [abs(a.value - t) - abs(b.value - t) for b, a, t in judged]
        missing = [b for b, a in rows if a is None and b.time < self.query.missing_before]
        paired = sum(a is not None for _, a in rows)
        return {
            "paired": paired,
            "missing": len(missing),
            "waiting": len(rows) - paired - len(missing),
            "compared": len(both),
            "agree": sum(self.same(self.said(a), self.said(b)) for b, a in fit),
            "scoreDifference": moments(scores),
            "latencyDifference": moments(a - b for a, b in latencies if a is not None and b is not None),
            "right": {
                "both": right.count((True, True)),
                "revision": right.count((True, False)),
                "against": right.count((False, True)),
                "neither": right.count((False, False)),
            },
            "absoluteErrorDifference": moments(errors),
        }

    def about(self, d: Decision, mine: list[Prediction]) -> Prediction | None:
        """The answer that a person decided on: by entity the last one by then, or else the first one after."""
        answers = [p for p in mine if not p.failed and self.said(p) is not None]
        if d.entity is None:
            return next((p for p in answers if (p.request, p.row) == (d.request, d.row)), None)
        of_entity = [p for p in answers if p.entity == d.entity]
        by_then, after = ([p for p in of_entity if (p.time <= d.time) == before] for before in (True, False))
        return min(by_then or after, key=lambda p: (abs(p.time - d.time), p.request, p.row), default=None)

    def kind(self, d: Decision) -> str:
        drawn = is_blind(**PLACE, percent=self.query.blind_share, request=d.request, row=d.row, entity=d.entity)
        if not drawn:
            return "shown" if d.shown else "unasked"
        others = [
            o.time
            for o in self.decisions
            if (o.by, o.request, o.row, o.entity) == (d.by, d.request, d.row, d.entity) and o.shown != d.shown
        ]
        if d.shown:
            return "revised" if any(time <= d.time for time in others) else "peeked"
        return "peeked" if any(time < d.time for time in others) else "blind"

    def decided(self, mine: list[Prediction]) -> dict[str, Any]:
        rows: dict[str, list[tuple[Decision, Prediction]]] = defaultdict(list)
        for d in self.decisions:
            p = self.about(d, mine)
            if p is not None and self.said(d) is not None and d.revision in (None, "A"):
                rows[self.kind(d)].append((d, p))
        counts = {name: len(rows[name]) for name in ("peeked", "revised", "unasked")}
        return counts | {name: self.decided_part(rows[name]) for name in ("shown", "blind")}

    def decided_part(self, rows: list[tuple[Decision, Prediction]]) -> dict[str, int]:
        known = [(d, p) for d, p in rows if self.classes and self.truth(p) is not None]
        human = [self.same(d.label, self.truth(p)) for d, p in known]
        model = [self.same(p.label, self.truth(p)) for d, p in known]
        return {
            "count": len(rows),
            "overridden": sum(not self.same(self.said(d), self.said(p)) for d, p in rows),
            "labelled": len(known),
            "humanRight": sum(human),
            "modelRight": sum(model),
            "bothRight": sum(h and m for h, m in zip(human, model, strict=True)),
        }

    def unknown(self) -> int:
        requests = {(p.request, p.row) for p in self.predictions}
        entities = {p.entity for p in self.predictions}
        return sum(
            (fact.request, fact.row) not in requests if fact.entity is None else fact.entity not in entities
            for fact in [*self.outcomes, *self.decisions]
            if self.within(fact.time)
        )

    def live(self) -> dict[str, Any]:
        query = self.query
        mine = [p for p in self.predictions if p.revision == "A" and self.within(p.time)]
        answers = [p for p in mine if not p.failed]
        result: dict[str, Any] = {
            **PLACE,
            "revision": "A",
            "task": query.task,
            "since": aggregates.rfc3339(query.since),
            "until": aggregates.rfc3339(query.until),
            "predictions": len(mine),
            "failed": len(mine) - len(answers),
            "labelled": sum(map(self.labelled, mine)),
            "latency": moments(value for p in answers if (value := self.latency(p)) is not None),
            "outcomes": self.sliced(
                [(self.slices(p, self.outcome(p)), [p]) for p in mine],
                lambda rows: self.outcome_part([p for row in rows for p in row]),
                lambda row: any(map(self.labelled, row)),
            ),
            "blindShare": query.blind_share,
            "decisions": self.decided(mine),
            "conflicts": 0,
            "unknown": self.unknown(),
            "dropped": sum(
                max(
                    (f.dropped for f in self.facts if isinstance(f, Drops) and (f.revision, f.reporter) == key),
                    default=0,
                )
                for key in (("A", "1"), ("A", "2"))
            ),
        }
        if query.task == "Binary":
            result["positive"] = "bad"
        if query.pairs_since is not None:
            result["pairsSince"] = aggregates.rfc3339(query.pairs_since)
        if mine:
            result["first"] = aggregates.rfc3339(min(p.time for p in mine))
            result["last"] = aggregates.rfc3339(max(p.time for p in mine))
        if query.against is not None:
            partners = {(p.request, p.row): p for p in self.predictions if p.revision == "A"}
            rows = [
                (b, partners.get((b.request, b.row)))
                for b in self.predictions
                if b.revision == "B" and self.compared(b.time)
            ]
            result["against"] = "B"
            result["pairs"] = self.sliced(
                [(self.slices(b, a, self.outcome(b)), (b, a)) for b, a in rows], self.pair_part, lambda row: True
            )
        return result


# --- exact sums ---

WILD = st.lists(st.floats(min_value=-1e150, max_value=1e150, allow_nan=False), max_size=30)


@given(values=WILD)
def test_an_expansion_has_exactly_the_same_sum(values: list[float]) -> None:
    assert sum(map(Fraction, expansion(values)), Fraction(0)) == sum(map(Fraction, values), Fraction(0))


@given(parts=st.lists(WILD, max_size=6))
def test_sums_of_parts_are_the_sums_of_the_whole(parts: list[list[float]]) -> None:
    whole, merged = MomentsAggregate(), Sums()
    for part in parts:
        aggregate = MomentsAggregate()
        for value in part:
            aggregate.step(value)
            whole.step(value)
        merged.add(parse(aggregate.finalize()))
    assert merged.moments() == parse(whole.finalize()).moments()


def test_what_plain_addition_loses_is_kept() -> None:
    aggregate = MomentsAggregate()
    for value in (1e16, 1.0, None, -1e16):
        aggregate.step(value)
    assert parse(aggregate.finalize()).total() == 1.0
    assert sum([1e16, 1.0, -1e16]) == pytest.approx(0.0)


# --- the predictor and the recorder read answers alike ---

WIDTHS = {"Value": 1, "Binary": 1, "Columns": 2, "Named": 2, "Multiclass": 3}


@given(
    kind=st.sampled_from(sorted(WIDTHS)),
    rows=st.lists(
        st.lists(st.floats(0, 1, width=32) | st.just(math.nan), min_size=3, max_size=3), min_size=1, max_size=5
    ),
    cutoff=st.sampled_from(["0.5", "0.7", "0", "1", "0.333333333"]),
    single=st.booleans(),
)
def test_predictor_and_recorder_read_answers_alike(
    kind: str, rows: list[list[float]], cutoff: str, single: bool
) -> None:
    values = np.array(rows, np.float32 if single else np.float64)[:, : WIDTHS[kind]]
    classes = {"Named": ("bad", "good"), "Multiclass": ("a", "b", "c")}.get(kind, ())
    positive = None if kind in ("Value", "Multiclass") else "bad"
    reading = "Value" if kind == "Value" else "Probability"
    mine = recording.answers(
        values,
        recording.Declared(output="p", kind=reading, classes=classes, positive=positive, cutoff=float(cutoff)),
    )
    parameters = {"output": ["p"], "kind": [reading], "cutoff": [cutoff], "revision": ["r"]}
    parameters |= {"class": list(classes)} if classes else {}
    parameters |= {"positive": [positive]} if positive else {}
    flat = [None if math.isnan(value) else value for value in values.ravel().tolist()]
    output = {"name": "p", "datatype": "FP32" if single else "FP64", "shape": list(values.shape), "data": flat}
    theirs = kserve.facts(response({"outputs": [output]}), kserve.declared(parameters))
    for answer, fact in zip(mine, theirs, strict=True):
        assert isinstance(fact, Prediction)
        said = {"label": fact.label, "probability": fact.probability, "value": fact.value}
        assert {name: value for name, value in said.items() if value is not None} == (answer or {})
        assert fact.failed == (answer is None)


def response(document: Any, **more: Any) -> Event:
    """A model server's answer as KServe's logger sends it."""
    outer = {"specversion": "1.0", "id": "1", "source": "s", "type": kserve.RESPONSE, "time": events.NOON}
    inside = {"namespace": "lending", "inferenceservicename": "credit"}
    return Event(envelope=Envelope.model_validate(outer | inside | more), data=document)


# --- whatever a client sends is kept or refused, never more ---

SAID = kserve.declared({"revision": ["r"], "positive": ["bad"]})


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStorage]:
    storage = SqliteStorage(Path(":memory:"))
    yield storage
    storage.close()


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["", "\0", "x" * 300, "bad", "2026-01-31T12:00:00Z", 2**63, -(2**63) - 1, 10**400, 1e308, [], {}])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
EVENTS = (events.prediction(), events.outcome(), events.decision(), events.prediction(failed=True))


@given(template=st.sampled_from(EVENTS), changes=st.dictionaries(st.integers(0, 30), JSON, max_size=3), data=JSON)
@settings(max_examples=500)
def test_a_garbled_event_is_kept_or_refused(
    store: SqliteStorage, template: dict[str, Any], changes: dict[int, Any], data: Any
) -> None:
    inner, outer = dict(template["data"]), dict(template)
    names = [*((inner, name) for name in (*inner, "slices", "entity", "value")), *((outer, name) for name in outer)]
    outer["data"] = inner
    for place, value in changes.items():
        target, name = names[place % len(names)]
        target[name] = value
    for document in (
        outer,
        {**outer, "type": kserve.RESPONSE, "namespace": "lending", "inferenceservicename": "credit"},
    ):
        try:
            event = structured(document)
            facts = facts_from(event) if known(event) else kserve.facts(event, SAID)
        except RefusedError as error:
            json.dumps(error.shown(), allow_nan=False)
            continue
        assert store.write([facts], received=0)[0]


@given(
    shape=st.lists(st.integers(-1, 4), max_size=3) | JSON,
    values=st.lists(LEAVES, max_size=8) | JSON,
    metadata=st.none() | st.text(max_size=20) | JSON.map(lambda value: json.dumps({"X-Request-Id": value})),
    id_=JSON,
)
def test_a_garbled_response_is_kept_or_refused(
    store: SqliteStorage, shape: Any, values: Any, metadata: str | None, id_: Any
) -> None:
    document = {"id": id_, "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": shape, "data": values}]}
    try:
        facts = kserve.facts(response(document, metadata=metadata), SAID)
    except RefusedError as error:
        json.dumps(error.shown(), allow_nan=False)
        return
    assert len(store.write([facts], received=0)[0]) == len(facts)
