"""Estimates of the evidence from points and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mandate.evidence.data import CHANGES, LEAKS, NOTES, UNREPRESENTED, DataEvidence
from mandate.evidence.intervals import AllPairs, Fact, GroupPair, Interval, Unbounded
from mandate.evidence.schema import Dataset, Estimate, Fault, Quantity, Support

from .metrics import Point
from .split import PARTS, Split


def estimated(
    quantity: Quantity, point: Point, interval: Interval, support: Support, *, reference: float | None = None
) -> Estimate:
    return Estimate(quantity=quantity, estimate=point.value, reference=reference, interval=interval, support=support)


def worst(quantity: Quantity, parts: Mapping[str, Estimate]) -> Estimate:
    """The worst of several metrics' spreads: it meets a limit where all of them do."""
    for name, part in parts.items():
        if part.fault is not None:
            return faulty(quantity, blamed(part.fault, name), rows=part.support.rows)
    values = [part.estimate for part in parts.values() if part.estimate is not None]
    pairs: list[GroupPair] = []
    hindrance: Unbounded | None = None
    each, left_out = 0, 0
    for name, part in parts.items():
        if isinstance(part.interval, AllPairs):
            pairs += [pair.model_copy(update={"metric": name}) for pair in part.interval.pairs]
            left_out += part.interval.left_out or 0
            each = len(part.interval.pairs) + (part.interval.left_out or 0)
        why = part.interval.hindrance if isinstance(part.interval, AllPairs) else part.interval
        if isinstance(why, Unbounded) and hindrance is None:
            hindrance = why.model_copy(update={"reason": f"{name}: {why.reason}"[:512]})
    left_out += each * sum(isinstance(part.interval, Unbounded) for part in parts.values())
    return Estimate(
        quantity=quantity,
        estimate=min(values) if quantity.shape == "ratio" else max(values),
        interval=AllPairs(pairs=tuple(pairs), hindrance=hindrance, left_out=left_out or None) if pairs else hindrance,
        support=min((part.support for part in parts.values()), key=lambda support: support.events),
    )


def faulty(quantity: Quantity, fault: Fault, *, rows: int) -> Estimate:
    return Estimate(quantity=quantity, support=Support(rows=rows, events=0), fault=fault)


def blamed(fault: Fault, name: str) -> Fault:
    return Fault(code=fault.code, message=f"{name}: {fault.message}"[:1024])


def data_facts(found: DataEvidence, split: Split, *, production: bool) -> Iterator[Estimate]:
    """Counts of what was found about the rows, for gates. Without training rows there's nothing to compare with."""
    rows = split.counts()
    against_train = next((c for c in found.comparisons if (c.reference, c.current) == ("train", "test")), None)
    if against_train is None:
        fault = Fault(code="NoTrainingRows", message="there are no training rows to compare the test rows with")
        for metric in ("changed_columns", "leaks", *(["unrepresented_groups"] if production else [])):
            yield faulty(Quantity(metric=metric, on="test"), fault, rows=rows["test"])
    else:
        leaks = sum(count for code, count in found.counts.items() if code in LEAKS)
        lacking = sum(count for code, count in found.counts.items() if code in UNREPRESENTED)
        counted = [("changed_columns", against_train.changed), ("leaks", leaks)]
        for metric, count in [*counted, *([("unrepresented_groups", lacking)] if production else [])]:
            open_ = next((unasked for unasked in found.unasked if unasked.count == metric), None)
            if count or open_ is None:
                yield fact(metric, "test", float(count), rows=rows["test"])
            else:
                fault = Fault(code=open_.code, message=open_.message)
                yield faulty(Quantity(metric=metric, on="test"), fault, rows=rows["test"])
    for part in PARTS:
        if rows[part]:
            yield fact("row_count", part, float(rows[part]), rows=rows[part])
    faults = sum(count for code, count in found.counts.items() if code not in LEAKS | CHANGES | UNREPRESENTED | NOTES)
    yield fact("data_faults", "test", float(faults), rows=rows["test"])


def fact(metric: str, on: Dataset, value: float, *, rows: int) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, on=on),
        estimate=value,
        interval=Fact(),
        support=Support(rows=rows, events=rows),
    )
